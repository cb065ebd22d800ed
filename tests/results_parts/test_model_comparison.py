"""Comparison of models: R's values, refits, nesting, bad input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import statsmodels.formula.api as smf
from helpers.comparison import (
    case_fit,
    cases_with,
    crossed,
    model_of,
    parts_of,
    sleepstudy,
)
from helpers.reference import load_case, relative_error

import mixedext as mx
from mixedext.inference.fixed_tests import fixed_tests
from mixedext.results_parts.model_comparison import restriction, unwrapped

pytestmark = [
    pytest.mark.filterwarnings("ignore::mixedext.api.BoundaryWarning"),
    pytest.mark.filterwarnings("ignore:The random effects covariance"),
]


# ---- likelihood ratio ----


@pytest.mark.parametrize(("name", "part"), parts_of("lrt_ml"))
def test_anova_of_lme4(name, part):
    case = load_case(name)
    want = case.values["lrt_ml"][part]
    if "chisq" not in want:
        pytest.skip("R gives none")
    fits = [model_of(case, want[size]).fit() for size in ("large", "small")]
    table = mx.anova(*fits)
    assert list(table.index) == ["model 2", "model 1"]
    assert table["npar"].tolist() == [want["df_small"], want["df_large"]]
    last = table.iloc[1]
    assert relative_error([last["Chisq"]], [want["chisq"]]) < 1e-8
    assert last["Df"] == want["df_large"] - want["df_small"]
    assert relative_error([last["Pr(>Chisq)"]], [want["p"]]) < 1e-8
    for ours, theirs in (("logLik", "logLik"), ("AIC", "AIC"), ("BIC", "BIC")):
        both = [want[f"{theirs}_small"], want[f"{theirs}_large"]]
        assert relative_error(table[ours], both) < 1e-10
    np.testing.assert_allclose(table["deviance"], -2 * table["logLik"])
    assert "refitted by maximum likelihood" in table.notes[0]


@pytest.mark.parametrize(("name", "part"), parts_of("model_comparisons"))
def test_model_comparisons_of_pbkrtest(name, part):
    case = load_case(name)
    want = case.values["model_comparisons"][part]
    large = model_of(case, want["large"]).fit()
    small = model_of(case, want["small"])
    rows, values = restriction(unwrapped(large), small)
    test = fixed_tests(large.engine_fit, None).f_test(rows, values)
    sat, kr = want["SATmodcomp"], want["KRmodcomp"]
    assert test.df_num == kr["ndf"]
    if "stat" in sat:
        assert relative_error([test.statistic], [sat["stat"]]) < 1e-7
    ratio, lrt = large.compare_lr_test(small.fit()), want["LRT_ML"]
    assert relative_error([ratio.statistic], [lrt["chisq"]]) < 1e-8
    assert relative_error([ratio.pvalue], [lrt["p"]]) < 1e-8
    assert ratio.df_diff == lrt["df"]
    if "stat" in sat:
        ours = large.compare_satterthwaite_test(small)
        assert relative_error([ours.statistic], [sat["stat"]]) < 1e-7
        assert relative_error([ours.df_denom], [sat["ddf"]]) < 1e-5
        # pbkrtest's p is one minus a probability
        np.testing.assert_allclose(ours.pvalue, sat["p"], rtol=1e-5, atol=1e-15)
    for ours in (large.compare_kr_test(small), large.compare_kr_test(small.fit())):
        assert relative_error([ours.statistic], [kr["stat"]]) < 1e-7
        assert relative_error([ours.df_denom], [kr["ddf"]]) < 1e-6
        assert relative_error([ours.scaling], [kr["F_scaling"]]) < 1e-6
        assert relative_error([ours.pvalue], [kr["p"]]) < 1e-6


@pytest.mark.parametrize("name", cases_with("lrt_vs_lm"))
def test_against_ols(name):
    case = load_case(name)
    want = case.values["lrt_vs_lm"]
    linear = smf.ols(want["lm_formula"], case.data).fit()
    mixed = model_of(case).fit()
    table = mx.anova(linear, mixed)
    np.testing.assert_allclose(table["logLik"].iloc[0], want["logLik_lm"], rtol=1e-10)
    np.testing.assert_allclose(table["logLik"].iloc[1], want["logLik_lmer_ML"], rtol=1e-9)
    np.testing.assert_allclose(table["Chisq"].iloc[1], want["chisq"], atol=1e-8)
    assert table["npar"].iloc[0] == 2
    by_reml = mixed.compare_lr_test(linear)
    expected = case_fit(name)
    if expected.reml:  # ranova's test is the restricted one
        want = expected.ranova()["LRT"].iloc[1]
        np.testing.assert_allclose(by_reml.statistic, want, rtol=1e-10)


def test_offset_of_the_smaller_model():
    # R: anova(lmer(y ~ offset(0.5 * x) + (1 | g)), lmer(y ~ x + (1 | g)))
    data = crossed()
    small = mx.mixedlm("y ~ offset(0.5 * x) + (1 | g)", data).fit()
    large = mx.mixedlm("y ~ x + (1 | g)", data).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error", mx.NestingWarning)
        table = mx.anova(small, large)
    np.testing.assert_allclose(
        table["logLik"], [-117.015908557023, -116.498247378250], rtol=1e-10
    )
    rows, values = restriction(unwrapped(large), small)
    np.testing.assert_allclose(values / rows[0, 1], 0.5, rtol=1e-10)
    with pytest.raises(mx.DesignError, match="offsets differ"):
        restriction(
            unwrapped(small), large.model.from_formula("y ~ offset(z) + (1 | g)", data)
        )


def test_refit_false():
    data = sleepstudy()
    slope = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    plain = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
    other = mx.mixedlm("Reaction ~ 1 + (1 | Subject)", data).fit()
    table = mx.anova(plain, slope, refit=False)
    np.testing.assert_allclose(table["logLik"], [plain.llf, slope.llf])
    assert not any("refitted" in note for note in table.notes)
    with pytest.raises(ValueError, match="different fixed effects"):
        mx.anova(other, slope, refit=False)
    with pytest.raises(ValueError, match="some by ML"):
        mx.anova(plain.model.fit(reml=False), slope, refit=False)
    # the same space in other columns
    centred = mx.mixedlm("Reaction ~ I(Days - 4.5) + (1 | Subject)", data).fit()
    again = mx.anova(centred, slope, refit=False)
    assert again["Df"].iloc[1] == 2


def test_refitting_leaves_the_results_alone():
    data = sleepstudy()
    slope = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    before = slope.llf, slope.model.reml
    mx.anova(slope, mx.mixedlm("Reaction ~ 1 + (Days | Subject)", data).fit())
    assert (slope.llf, slope.model.reml) == before


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


# ---- what cannot be compared ----


def test_other_data():
    data = sleepstudy()
    formula = "Reaction ~ Days + (1 | Subject)"
    full = mx.mixedlm(formula, data).fit()
    fewer = mx.mixedlm("Reaction ~ 1 + (1 | Subject)", data[:170]).fit()
    with pytest.raises(ValueError, match="170 and 180 rows"):
        mx.anova(full, fewer)
    logs = mx.mixedlm("np.log(Reaction) ~ 1 + (1 | Subject)", data).fit()
    for compare in (mx.anova, lambda a, b: a.compare_lr_test(b)):
        with pytest.raises(ValueError, match="responses differ in 180 of 180 rows"):
            compare(full, logs)
    weights = np.linspace(1, 2, len(data))
    weighted = mx.mixedlm("Reaction ~ 1 + (1 | Subject)", data, weights=weights).fit()
    with pytest.raises(ValueError, match="weights differ"):
        mx.anova(full, weighted)
    with pytest.raises(TypeError, match="not DataFrame"):
        mx.anova(full, data)
    linear = smf.ols("Reaction ~ Days", data).fit()
    with pytest.raises(TypeError, match="none of the models"):
        mx.anova(linear, linear)
    with pytest.raises(ValueError, match="call compare_lr_test of the larger"):
        mx.mixedlm("Reaction ~ 1 + (1 | Subject)", data).fit().compare_lr_test(full)


def test_not_nested():
    data = crossed()
    one = mx.mixedlm("y ~ x + (1 | g)", data).fit()
    two = mx.mixedlm("y ~ a + (1 | g)", data).fit()
    with pytest.warns(mx.NestingWarning, match="fixed effects are no special case"):
        mx.anova(one, two)
    with pytest.raises(mx.DesignError, match="not nested"):
        restriction(unwrapped(two), one.model)
    with pytest.raises(mx.DesignError, match="nothing to test"):
        restriction(unwrapped(two), two)
    three = mx.mixedlm("y ~ a + b + (0 + x | g)", data).fit()
    with pytest.warns(mx.NestingWarning, match="random effects are no special case"):
        mx.anova(two, three)


def test_boundary():
    data = sleepstudy()
    large = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    small = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
    with pytest.warns(mx.BoundaryWarning, match="conservative"):
        table = mx.anova(small, large)
    assert "conservative" in table.notes[-1]


def test_matrix_of_restrictions():
    result = unwrapped(mx.mixedlm("y ~ a*x + (1 | g)", crossed()).fit())
    matrix = np.eye(6)[4:]
    small = mx.mixedlm("y ~ a + x + (1 | g)", crossed())
    rows, _ = restriction(result, small)
    ours, _ = restriction(result, matrix)
    assert np.linalg.matrix_rank(np.vstack([rows, ours])) == 2
    with pytest.raises(ValueError, match="a column for each of the 6 fixed effects"):
        result.compare_kr_test(np.eye(5))
    with pytest.warns(mx.RankDeficientWarning):
        model = mx.mixedlm("y ~ x + I(2 * x) + (1 | g)", crossed())
    with pytest.raises(mx.DesignError, match="not estimable"):
        model.fit().compare_satterthwaite_test([[0, 0, 1]])


def test_kr_needs_reml():
    data = sleepstudy()
    large = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit(reml=False)
    with pytest.raises(ValueError, match="REML"):
        large.compare_kr_test(mx.mixedlm("Reaction ~ 1 + (Days | Subject)", data))


def test_test_of_models_prints():
    test = mx.ModelTest(5.1186, 1, 25.0, 0.03261, 1.0, "kenward-roger")
    assert repr(test) == (
        "<F test (kenward-roger): F = 5.1186, df = 1 and 25, p = 0.03261>"
    )


# ---- information criteria ----


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
