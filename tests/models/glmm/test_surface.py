"""What results of generalized models share with those of linear ones, and what not."""

from __future__ import annotations

import re

import numpy as np
import pytest

import mixedext as mx
from mixedext.models.glmm.model import MixedGLM
from mixedext.models.glmm.results import MixedGLMResults
from mixedext.models.mixedlm.results import MixedLMResults
from mixedext.other_names import ON_GENERALIZED_RESULTS

pytestmark = pytest.mark.formula_engine

# Of statsmodels' likelihood models, or of linear models alone, of which nobody asks here.
INNER = {
    *("bsejac", "bsejhj", "by_chunk", "covjac", "covjhj", "df_held", "df_modelwc"),
    *("get_nlfun", "has_criteria", "hessv", "hist", "mle_retvals", "mle_settings"),
    *("params_object", "score_obsv"),
}


@pytest.fixture(scope="module")
def shares():
    data = mx.datasets.cbpp.load().data
    formula = "incidence / size ~ period + (1 | herd)"
    return mx.glmm(formula, data, family="binomial", weights="size").fit()


def _public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


def test_every_name_of_linear_results_is_there_or_told():
    lacking = _public(MixedLMResults) - _public(MixedGLMResults)
    assert lacking - INNER == lacking & set(ON_GENERALIZED_RESULTS)


@pytest.mark.parametrize("name", sorted(ON_GENERALIZED_RESULTS))
def test_what_is_told_is_there(shares, name):
    """Every attribute that a message names exists on results, on the model or on means."""
    text = ON_GENERALIZED_RESULTS[name]
    model = _public(MixedGLM) | set(vars(shares.model))
    known = _public(MixedGLMResults) | set(vars(shares._results))
    known |= {"plot", "contrast", "hat_matrix_diag"}
    for found in re.findall(r"(?<![\w.])\.(\w+)(?:\.(\w+))?", text):
        first, second = found
        assert first in known | {"model"}, text
        if first == "model" and second:
            assert second in model, text
    if name not in _public(MixedGLMResults):
        with pytest.raises(AttributeError, match=re.escape(text)):
            getattr(shares, name)


def test_tables_of_one_shape(shares):
    table = shares.tidy()
    assert table["term"].tolist()[-1] == "sd Intercept"
    assert table["estimate"].to_numpy()[:4] == pytest.approx(np.asarray(shares.fe_params))
    assert table["std_err"].to_numpy()[:4] == pytest.approx(np.asarray(shares.bse_fe))
    limits = shares.conf_int_vcomp()
    assert table["lower"].iloc[-1] == pytest.approx(limits["lower"].iloc[0])
    odds = shares.tidy("fixed", exponentiate=True)
    assert odds["estimate"].to_numpy() == pytest.approx(np.exp(table["estimate"][:4]))
    assert odds["upper"].to_numpy() == pytest.approx(np.exp(table["upper"][:4]))
    size = np.exp(table["estimate"][:4]) * table["std_err"][:4]
    assert odds["std_err"].to_numpy() == pytest.approx(size)
    assert any("odds ratios" in note for note in odds.notes)
    broom = shares.tidy(names="broom")
    assert broom["term"].iloc[-1] == "sd__(Intercept)"
    with pytest.raises(ValueError, match="effects is empty"):
        shares.tidy([])
    row = shares.glance().iloc[0]
    assert (row["family"], row["n_groups"], row["n_agq"]) == ("binomial", 15, 1)
    assert row["r2_conditional"] == pytest.approx(shares.r2_nakagawa().conditional)


def test_a_dispersion_stands_last_without_a_group():
    data = mx.datasets.grouseticks.load().data
    model = mx.glmm("TICKS ~ YEAR + (1 | LOCATION)", data, family="negative binomial")
    result = model.fit()
    row = result.tidy().iloc[-1]
    assert (row["term"], row["estimate"]) == ("alpha", pytest.approx(result.dispersion))
    assert row["std_err"] == pytest.approx(result.dispersion_se)
    assert np.isnan(row["group"])
    assert result.tidy(names="broom")["term"].iloc[-1] == "alpha"
    texts = mx.summary_table(result).texts
    name = "Random effects (standard deviations, correlations)"
    assert texts.loc[name].index.tolist() == ["sd Intercept|LOCATION", "alpha"]


def test_rows(shares):
    data = shares.model.data.frame
    table = shares.augment()
    assert table["resid"].to_numpy() == pytest.approx(table["response"] - table["fitted"])
    assert table["fixed"].to_numpy() == pytest.approx(shares.predict(conditional=False))
    new = shares.augment(data.head(3))
    assert new["fitted"].to_numpy() == pytest.approx(table["fitted"].head(3))
    for kind in ("response", "pearson", "working", "deviance"):
        own = np.asarray(getattr(shares, f"resid_{kind}"))
        assert shares.residuals(kind).to_numpy() == pytest.approx(own)
    assert shares.residuals().equals(shares.residuals("deviance"))
    with pytest.raises(ValueError, match="kind='student'"):
        shares.residuals("student")
    assert shares.group_sizes.sum() == 56


def test_side_by_side(shares):
    other = shares.update(n_agq=9)
    table = mx.summary_table([shares, other])
    assert table.texts.loc[("Fit", "Estimation")].tolist() == [
        "Laplace", "adaptive Gauss-Hermite, 9 nodes",
    ]  # fmt: skip
    assert table.texts.loc[("Fit", "Family")].tolist() == ["binomial(logit)"] * 2
    shown = table.numbers.loc[("Shares of the variance", "ICC")]
    assert shown.tolist() == pytest.approx([float(shares.icc()), float(other.icc())])
    with pytest.raises(ValueError, match="df_method='satterthwaite' is of linear models"):
        mx.summary_table(shares, df_method="satterthwaite")


def test_plots(shares):
    plt = pytest.importorskip("matplotlib.pyplot")
    for draw in (
        shares.plot_random_effects,
        shares.plot_qq_random,
        shares.plot_forest,
        shares.plot_fit_log,
    ):
        figure = draw()
        assert figure.axes
        plt.close(figure)
    whole, given = (
        mx.graphics.random_effects.random_effects_data(shares, given_beta=g)["se"]
        for g in (False, True)
    )
    assert (whole > given).all()
    log = mx.graphics.search.fit_log_data(shares)
    assert log["deviance"].tolist() == shares.fit_log["deviance"].tolist()


def test_functions_of_linear_models_say_so(shares):
    with pytest.raises(mx.NoExactLawError, match=r"ranova\(\) tests a variance"):
        mx.exact_rlrt(shares)
    with pytest.raises(mx.NoExactLawError, match="bootstrap_test"):
        mx.exact_lrt(shares)
    with pytest.raises(TypeError, match=r"power is of linear models.*result.simulate"):
        mx.power(shares, "period")
    with pytest.raises(ValueError, match="wald_test_terms"):
        mx.anova(shares)
