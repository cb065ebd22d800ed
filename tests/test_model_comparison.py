"""Comparison of models: R's values, refits, nesting, bad input."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from helpers.reference import case_names, load_case, relative_error

import mixedext as mx
from mixedext.inference.fixed_tests import DF_METHODS, fixed_tests
from mixedext.model_comparison import restriction, unwrapped

FOLDER = Path(__file__).parent / "results" / "comparison"
pytestmark = [
    pytest.mark.filterwarnings("ignore::mixedext.api.BoundaryWarning"),
    pytest.mark.filterwarnings("ignore:The random effects covariance"),
]


def cases_with(field):
    found = []
    for name in case_names():
        value = load_case(name).values.get(field)
        if value and "error" not in value and not name.startswith("insteval"):
            found.append(name)
    return found


def parts_of(field):
    return [
        pytest.param(name, part, id=f"{name}-{part}")
        for name in cases_with(field)
        for part, value in load_case(name).values[field].items()
        if isinstance(value, dict) and "error" not in value
    ]


def model_of(case, formula=None):
    formula = case.formula if formula is None else formula.replace("^", "**")
    return mx.mixedlm(formula, case.data, missing="drop", **case.options)


def case_fit(name):
    case = load_case(name)
    return model_of(case).fit(reml=case.values["REML"])


def crossed():
    data = pd.read_csv(FOLDER / "crossed.csv", float_precision="round_trip")
    return data.astype(dict.fromkeys("abcg", str))


def sleepstudy():
    return mx.datasets.sleepstudy.load().data


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
    if "satterthwaite" in DF_METHODS and "stat" in sat:
        ours = large.compare_satterthwaite_test(small)
        assert relative_error([ours.statistic], [sat["stat"]]) < 1e-7
        assert relative_error([ours.df_denom], [sat["ddf"]]) < 1e-5
        # pbkrtest's p is one minus a probability
        np.testing.assert_allclose(ours.pvalue, sat["p"], rtol=1e-5, atol=1e-15)
    if "kenward-roger" in DF_METHODS:
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
    if "kenward-roger" not in DF_METHODS:
        pytest.skip("kenward-roger is not there")
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


# ---- leaving out terms ----


@pytest.mark.parametrize("name", cases_with("drop1"))
def test_drop1(name):
    values, result = load_case(name).values, case_fit(name)
    table, want = result.drop1(df_method=None), values["drop1"]
    assert table["num_df"].tolist() == want["NumDF"]
    assert relative_error(table["F"], want["F"]) < 1e-8
    ratio, want = result.drop1(test="lrt"), values["drop1_lrt_ml"]
    assert list(ratio.index) == ["<none>", *table.index]
    assert relative_error(ratio["LRT"][1:], want["LRT"]) < 1e-8
    assert relative_error(ratio["Pr(>Chisq)"][1:], want["p"]) < 1e-7
    assert relative_error(ratio["AIC"][1:], want["AIC"]) < 1e-10
    assert ratio["Df"][1:].tolist() == want["npar"]
    if "satterthwaite" in DF_METHODS:
        table = result.drop1(df_method="satterthwaite")
        np.testing.assert_allclose(table["den_df"], values["drop1"]["DenDF"], rtol=1e-5)


def test_drop1_of_recoded_and_dependent_terms():
    # without a, b takes the columns of the intercept: two columns of a are left to test
    data = crossed()
    result = mx.mixedlm("y ~ 0 + a + b + x + (1 | g)", data).fit(reml=False)
    table, ratio = result.drop1(), result.drop1(test="lrt")
    assert table["num_df"].tolist() == ratio["Df"][1:].tolist() == [2, 1, 1]
    with pytest.warns(mx.RankDeficientWarning):
        model = mx.mixedlm("y ~ x + I(2 * x) + z + (1 | g)", data)
    table = model.fit().drop1()
    assert table["num_df"].tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="test='t' is not known"):
        result.drop1(test="t")


def key(label):
    return re.sub(r"I\((.*?)\)", r"\1", label.replace("^", "**").replace(" ", ""))


@pytest.mark.parametrize("name", cases_with("ranova"))
def test_ranova(name):
    want, table = load_case(name).values["ranova"], case_fit(name).ranova()
    table.index = [key(label) for label in table.index]
    rows = [key(label) for label in want["rows"]]
    table = pd.DataFrame(table).loc[rows]
    assert table["npar"].tolist() == want["npar"]
    np.testing.assert_allclose(table["logLik"], want["logLik"], rtol=1e-9)
    np.testing.assert_allclose(table["LRT"][1:], want["LRT"], rtol=1e-7, atol=1e-7)
    assert table["Df"][1:].tolist() == want["Df"]
    sound = table["LRT"][1:].to_numpy() > 1e-6
    p = table["Pr(>Chisq)"][1:].to_numpy()[sound]
    np.testing.assert_allclose(p, np.array(want["p"])[sound], rtol=1e-6)


def test_ranova_of_arrays():
    data = sleepstudy()
    exog = np.column_stack([np.ones(len(data)), data["Days"]])
    term = mx.RandomTerm(
        data["Subject"], exog, group="Subject", names=["Intercept", "Days"]
    )
    table = mx.MixedLM(data["Reaction"], exog, terms=[term]).fit().ranova()
    np.testing.assert_allclose(table["LRT"].iloc[1], 42.8368134364302, rtol=1e-9)


def steps():
    table = pd.read_csv(FOLDER / "step.csv", skipinitialspace=True)
    return [pytest.param(f, p, id=f) for f, p in table.groupby("formula", sort=False)]


@pytest.mark.parametrize(("formula", "want"), steps())
def test_step(formula, want, capsys):
    known = "satterthwaite" in DF_METHODS
    method = "satterthwaite" if known else "residual"
    found = mx.mixedlm(formula, crossed()).fit().step(df_method=method)
    for part, table in (("random", found.random), ("fixed", found.fixed)):
        rows = want[want["part"] == part].set_index("term")
        rows = rows.drop(index="<none>", errors="ignore")
        table = pd.DataFrame(table).drop(index="<none>", errors="ignore")
        assert set(table.index) == set(rows.index)
        rows = rows.loc[table.index]
        np.testing.assert_array_equal(table["eliminated"] > 0, rows["eliminated"] > 0)
        column = "LRT" if part == "random" else "F"
        np.testing.assert_allclose(table[column], rows["statistic"], rtol=1e-6, atol=1e-7)
        if known and part == "fixed":
            np.testing.assert_allclose(table["p"], rows["p"], rtol=1e-5)
    eliminated = int((want["eliminated"] > 0).sum())
    assert len(capsys.readouterr().out.splitlines()) == eliminated
    # the final model is what its formula says
    again = mx.mixedlm(found.formula, crossed()).fit()
    np.testing.assert_allclose(again.llf, found.model.llf, rtol=1e-10)
    np.testing.assert_allclose(again.predict(crossed()), found.model.predict(crossed()))
    assert "Model found:" in repr(found)


def test_step_of_all_random_terms():
    data = mx.datasets.dyestuff2.load().data
    data["x"] = np.arange(len(data)) % 5
    result = mx.mixedlm("Yield ~ x + (1 | Batch)", data).fit()
    found = result.step(df_method="residual", verbose=False)
    assert found.random["eliminated"].tolist() == [0, 1]
    assert found.formula == "Yield ~ 1"
    linear = smf.ols("Yield ~ x", data).fit()
    np.testing.assert_allclose(found.fixed.loc["x", "p"], linear.pvalues["x"], rtol=1e-10)
    np.testing.assert_allclose(found.model.scale, data["Yield"].var(ddof=1), rtol=1e-10)


def test_step_arguments():
    result = mx.mixedlm("y ~ a + x + z + (1 | g)", crossed()).fit()
    kept = result.step(df_method="residual", keep=["z"], verbose=False)
    assert "z" in kept.formula
    still = result.step(
        df_method="residual", reduce_fixed=False, reduce_random=False, verbose=False
    )
    assert (still.fixed["eliminated"] == 0).all()
    with pytest.raises(ValueError, match="keep: nothing is no term"):
        result.step(df_method="residual", keep=["nothing"])
    with pytest.raises(ValueError, match=r"alpha_fixed=2 must lie"):
        result.step(df_method="residual", alpha_fixed=2)


def test_smaller_models_keep_weights_and_offset():
    data = crossed()
    weights = np.linspace(0.5, 2, len(data))
    data["w"] = weights
    formula = "y ~ a + x + offset(z) + (1 | g)"
    result = mx.mixedlm(formula, data, weights="w").fit()
    table = result.drop1(test="lrt")
    small = mx.mixedlm("y ~ a + offset(z) + (1 | g)", data, weights="w")
    np.testing.assert_allclose(table.loc["x", "AIC"], small.fit(reml=False).aic, rtol=1e-12)
    alone = mx.mixedlm("y ~ a + x + offset(z)", data, weights="w").fit()
    np.testing.assert_allclose(result.ranova()["logLik"].iloc[1], alone.llf, rtol=1e-12)


def test_smaller_models_of_odd_names():
    data = crossed().rename(columns={"x": "my x", "y": "yield"})
    result = mx.mixedlm("`yield` ~ a * `my x` + np.exp(z) + (1 | g)", data).fit()
    table = result.drop1(test="lrt")
    assert list(table.index[1:]) == ["np.exp(z)", "a:my x"]
    plain = mx.mixedlm("y ~ a * x + np.exp(z) + (1 | g)", crossed()).fit()
    np.testing.assert_allclose(table["LRT"], plain.drop1(test="lrt")["LRT"], rtol=1e-9)


# ---- shares of the variance ----

# performance's own values for slopes without an intercept in the same term are wrong: it
# gives another share for (0 + Machine | Worker) than for the same model as
# (Machine | Worker).
NO_INTERCEPT = {"machines_cellmeans", "sleepstudy_uncorr"}


@pytest.mark.parametrize("name", sorted(set(cases_with("performance")) - NO_INTERCEPT))
def test_performance(name):
    want, result = load_case(name).values["performance"], case_fit(name)
    shares = [*result.r2_nakagawa(), result.icc(), result.icc(adjusted=False)]
    keys = ["r2_marginal", "r2_conditional", "icc_adjusted", "icc_unadjusted"]
    assert relative_error(shares, [want[k] for k in keys]) < 1e-6


def test_shares_do_not_depend_on_the_columns_of_a_term():
    one, two = case_fit("machines_cellmeans"), case_fit("machines_slope")
    np.testing.assert_allclose(one.r2_nakagawa(), two.r2_nakagawa(), rtol=1e-6)


def test_random_variance_is_the_mean_over_the_rows():
    result = case_fit("sleepstudy_uncorr")
    intercept, slope = result.var_corr["variance"][:2]
    days = result.model.exog[:, 1]
    random = intercept + slope * np.mean(days**2)
    np.testing.assert_allclose(result.icc(), random / (random + result.scale))
    fixed = np.var(result.model.exog @ result.fe_params.to_numpy(), ddof=1)
    total = fixed + random + result.scale
    np.testing.assert_allclose(result.r2_nakagawa().marginal, fixed / total)


def test_icc_of_one_factor():
    result = case_fit("pastes")
    groups = list(result.n_levels.index)
    shares = [result.icc(g) for g in groups]
    np.testing.assert_allclose(sum(shares), result.icc())
    with pytest.raises(ValueError, match="which='nothing' is not a grouping factor"):
        result.icc("nothing")
    with pytest.raises(ValueError, match="ci='wald' is not known"):
        result.icc(ci="wald")


def test_icc_delta_method():
    # balanced one-way layout: Fisher's large-sample variance of the intraclass
    # correlation, 2 (1 - r)^2 (1 + (k - 1) r)^2 / (k (k - 1) (groups - 1)), is the delta
    # method with (groups - 1) k for the residual's degrees of freedom groups (k - 1)
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data).fit()
    found = result.icc(ci="delta")
    r, k, groups = found.estimate, 5, 6
    # d log F of the two mean squares: 2 / df each
    derivative = (1 - r) * (1 + (k - 1) * r) / k
    spread = 2 / (groups - 1) + 2 / (groups * (k - 1))
    np.testing.assert_allclose(found.se, derivative * np.sqrt(spread), rtol=1e-6)
    assert found.lower < r < found.upper
    narrow = result.icc(ci="delta", alpha=0.5)
    assert narrow.upper - narrow.lower < found.upper - found.lower


def test_icc_bootstrap():
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data).fit()
    found = result.icc(ci="bootstrap", n=400, rng=1)
    assert found == result.icc(ci="bootstrap", n=400, rng=1)
    refits = result.simulate_refits(400, rng=1)
    share = refits.theta[:, 0] ** 2 / (1 + refits.theta[:, 0] ** 2)
    np.testing.assert_allclose(
        [found.lower, found.upper], np.quantile(share, [0.025, 0.975]), rtol=1e-10
    )


def test_icc_on_the_boundary():
    result = case_fit("dyestuff2")
    found = result.icc(ci="delta")
    assert found.estimate == pytest.approx(0, abs=1e-12)
    assert np.isnan(found.se)
