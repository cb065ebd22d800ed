"""Generalized fits made again with another formula, family, data or other arguments."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

import mixedext as mx

pytestmark = pytest.mark.formula_engine

FORMULA = "incidence / size ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def data():
    data = mx.datasets.cbpp.load().data.reset_index(drop=True)
    data["z"], data["row"] = np.linspace(-1, 1, len(data)), np.arange(len(data))
    return data


@pytest.fixture(scope="module")
def shares(data):
    return mx.glmm(FORMULA, data, family="binomial", weights="size").fit()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (". ~ . - period", "incidence / size ~ 1 + (1 | herd)"),
        ("~ . + z", "incidence / size ~ period + z + (1 | herd)"),
        (". ~ . + (1 | row)", "incidence / size ~ period + (1 | herd) + (1 | row)"),
        (". ~ z + (z | herd)", "incidence / size ~ z + (z | herd)"),
        ("(.) ~ . - period", "(incidence / size) ~ 1 + (1 | herd)"),
    ],
)
@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
def test_formulas(data, shares, change, expected):
    found = shares.update(change)
    assert found.model.formula == expected
    anew = mx.glmm(expected, data, family="binomial", weights="size").fit()
    assert found.llf == pytest.approx(anew.llf, abs=1e-9)


def test_another_response_and_no_weights(shares):
    found = shares.update("cbind(incidence, size - incidence) ~ .", weights=None)
    assert found.llf == pytest.approx(shares.llf, abs=1e-9)


def test_another_family(data, shares):
    for family in ("binomial(probit)", sm.families.Binomial(sm.families.links.Probit())):
        found = shares.update(family=family)
        assert found.family.link.name == "probit"
    anew = mx.glmm(FORMULA, data, family="binomial(probit)", weights="size").fit()
    assert found.llf == pytest.approx(anew.llf, abs=1e-9)


def test_arguments_of_the_fit_are_kept_or_replaced(shares):
    fit = shares.model.fit(n_agq=5, cov_type="cluster", use_t=True)
    kept = fit.update(". ~ . - period")
    assert (kept.n_agq, kept.cov_type, kept.use_t) == (5, "cluster", True)
    assert kept.df_resid_inference == 14
    other = fit.update(n_agq=1, cov_type="nonrobust")
    assert (other.n_agq, other.cov_type, other.use_t) == (1, "nonrobust", False)
    assert shares.model.fit(laplace="expected").update("~ . + z").laplace == "expected"
    codes = np.arange(56) % 15
    named = shares.model.fit(cov_type="CR0", cov_kwds={"groups": shares.model.groups})
    assert named.update(". ~ . + z").cov_type == "CR0"
    given = np.asarray(shares.model.random_terms[0].codes)
    by_values = shares.get_robustcov_results("cluster", groups=given + 0 * codes)
    with pytest.raises(ValueError, match="clusters of this fit were given as values"):
        by_values.update(". ~ . + z")


def test_other_data(data, shares):
    some = data[data["herd"].astype(int) > 5]
    found = shares.update(data=some)
    anew = mx.glmm(FORMULA, some, family="binomial", weights="size").fit()
    assert found.llf == pytest.approx(anew.llf, abs=1e-9)
    with_gap = data.assign(z=data["z"].where(data["row"] > 3))
    assert shares.update("~ . + z", data=with_gap, missing="drop").nobs == 52


def test_values_by_rows(data, shares):
    size, offset = data["size"].to_numpy(), 0.1 * data["z"].to_numpy()
    counts = {"exposure": size, "offset": offset, "freq_weights": 1 + data["row"] % 2}
    formula = "incidence ~ period + (1 | herd)"
    fit = mx.glmm(formula, data, family="poisson", **counts).fit()
    for change in ({"formula": ". ~ ."}, {"family": "poisson"}):
        assert fit.update(**change).llf == pytest.approx(fit.llf, abs=1e-9)
    plain = fit.update(exposure=None, offset=None, freq_weights=None)
    anew = mx.glmm(formula, data, family="poisson").fit()
    assert plain.llf == pytest.approx(anew.llf, abs=1e-9)
    with pytest.raises(ValueError, match="as values, which other data have not: give"):
        fit.update(data=data.head(30))
    trials = mx.glmm(FORMULA, data, family="binomial", weights=size).fit()
    assert trials.update("~ .").llf == pytest.approx(shares.llf, abs=1e-9)


def test_terms_of_other_dialects(data):
    given = {"family": "poisson", "exposure": "size"}
    groups = mx.glmm("incidence ~ period", data, groups="herd", **given).fit()
    assert groups.update(". ~ . - period").fe_params.index.tolist() == ["Intercept"]
    formulas = {"herd": "0 + C(herd)"}
    bayes = mx.glmm("incidence ~ period", data, vc_formulas=formulas, **given).fit()
    assert bayes.llf == pytest.approx(groups.llf, abs=1e-9)
    found = bayes.update(". ~ . + z")
    anew = mx.glmm("incidence ~ period + z + (1 | herd)", data, **given).fit()
    assert found.llf == pytest.approx(anew.llf, abs=1e-8)


def test_what_cannot_be_made_anew(data, shares):
    arrays = mx.MixedGLM(
        data["incidence"], np.ones((56, 1)), groups=data["herd"], family="poisson"
    ).fit()
    with pytest.raises(ValueError, match="from arrays: make it by glmm"):
        arrays.update("~ . + z")
    assert arrays.update(n_agq=3).n_agq == 3
    with pytest.raises(mx.FormulaError, match="z is left out, but there is no such term"):
        shares.update(". ~ . - z")
    with pytest.raises(mx.FormulaError, match="must be a formula"):
        shares.update("period")
    bare = shares.update("~ .")
    bare.remove_data()
    with pytest.raises(ValueError, match="give data="):
        bare.update(". ~ . - period")
    assert bare.update(data=data).llf == pytest.approx(shares.llf, abs=1e-9)
