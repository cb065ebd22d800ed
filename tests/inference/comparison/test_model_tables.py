"""Tables of several models: R's values, refits, names."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.formula.api as smf
from helpers.comparison import (
    case_fit,
    cases_with,
    model_of,
    parts_of,
    sleepstudy,
)
from helpers.reference import load_case, relative_error

import mixedext as mx

pytestmark = [
    pytest.mark.filterwarnings("ignore::mixedext.api.BoundaryWarning"),
    pytest.mark.filterwarnings("ignore:The random effects covariance"),
    pytest.mark.formula_engine,
]


@pytest.mark.parametrize(("name", "part"), parts_of("lrt_ml"))
def test_anova_of_lme4(name, part):
    case = load_case(name)
    want = case.values["lrt_ml"][part]
    if "chisq" not in want:
        pytest.skip("R gives none")
    fits = [model_of(case, want[size]).fit() for size in ("large", "small")]
    table = mx.anova(*fits)
    assert list(table.index) == ["model 2", "model 1"]
    assert table["n_params"].tolist() == [want["df_small"], want["df_large"]]
    last = table.iloc[1]
    assert relative_error([last["statistic"]], [want["chisq"]]) < 1e-8
    assert last["df"] == want["df_large"] - want["df_small"]
    assert relative_error([last["pvalue"]], [want["p"]]) < 1e-8
    for ours, theirs in (("llf", "logLik"), ("aic", "AIC"), ("bic", "BIC")):
        both = [want[f"{theirs}_small"], want[f"{theirs}_large"]]
        assert relative_error(table[ours], both) < 1e-10
    np.testing.assert_allclose(table["deviance"], -2 * table["llf"])
    assert "refitted by maximum likelihood" in table.notes[0]


@pytest.mark.parametrize("name", cases_with("lrt_vs_lm"))
def test_against_ols(name):
    case = load_case(name)
    want = case.values["lrt_vs_lm"]
    linear = smf.ols(want["lm_formula"], case.data).fit()
    mixed = model_of(case).fit()
    table = mx.anova(linear, mixed)
    np.testing.assert_allclose(table["llf"].iloc[0], want["logLik_lm"], rtol=1e-10)
    np.testing.assert_allclose(table["llf"].iloc[1], want["logLik_lmer_ML"], rtol=1e-9)
    np.testing.assert_allclose(table["statistic"].iloc[1], want["chisq"], atol=1e-8)
    assert table["n_params"].iloc[0] == 2
    by_reml = mixed.compare_lr_test(linear)
    expected = case_fit(name)
    if expected.reml:  # ranova's test is the restricted one
        want = expected.ranova()["statistic"].iloc[1]
        np.testing.assert_allclose(by_reml.statistic, want, rtol=1e-10)


def test_refit_false():
    data = sleepstudy()
    slope = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    plain = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
    other = mx.mixedlm("Reaction ~ 1 + (1 | Subject)", data).fit()
    table = mx.anova(plain, slope, refit=False)
    np.testing.assert_allclose(table["llf"], [plain.llf, slope.llf])
    assert not any("refitted" in note for note in table.notes)
    with pytest.raises(ValueError, match="different fixed effects"):
        mx.anova(other, slope, refit=False)
    with pytest.raises(ValueError, match="some by ML"):
        mx.anova(plain.model.fit(reml=False), slope, refit=False)
    # the same space in other columns
    centred = mx.mixedlm("Reaction ~ I(Days - 4.5) + (1 | Subject)", data).fit()
    again = mx.anova(centred, slope, refit=False)
    assert again["df"].iloc[1] == 2


def test_names_of_the_models():
    data = sleepstudy()
    fits = [
        mx.mixedlm(f"Reaction ~ {x} + (1 | Subject)", data).fit() for x in ("1", "Days")
    ]
    table = mx.anova(*fits, names=["small", "large"])
    assert list(table.index) == ["small", "large"]
    assert "large: Reaction ~ Days + (1 | Subject)" in repr(table)
    with pytest.raises(ValueError, match="2 different names"):
        mx.anova(*fits, names=["same", "same"])
    with pytest.raises(ValueError, match="at least 2"):
        mx.anova(fits[0])


def test_boundary():
    data = sleepstudy()
    large = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    small = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
    with pytest.warns(mx.BoundaryWarning, match="conservative"):
        table = mx.anova(small, large)
    assert "conservative" in table.notes[-1]


def test_model_table():
    data = sleepstudy()
    formulas = [f"Reaction ~ {x} + (Days | Subject)" for x in ("1", "Days", "Days + 1")]
    fits = [mx.mixedlm(f, data).fit(reml=False) for f in formulas]
    table = mx.model_table(*fits)
    assert table["delta"].iloc[0] == 0
    np.testing.assert_allclose(table["weight"].sum(), 1)
    ratio = table["weight"].iloc[-1] / table["weight"].iloc[0]
    np.testing.assert_allclose(ratio, np.exp(-table["delta"].iloc[-1] / 2))
    # k = 6 parameters, n = 180
    np.testing.assert_allclose(fits[1].aicc, fits[1].aic + 2 * 6 * 7 / (180 - 7))
