"""mx.lm_list against R's nlme::lmList (tests/results/make_classical.R) and OLS."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from helpers.paths import RESULTS
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal, assert_series_equal
from scipy import stats

import mixedext as mx

pytestmark = pytest.mark.formula_engine

FOLDER = RESULTS
VALUES = json.loads((FOLDER / "classical.json").read_text())
CASES = {
    "sleepstudy": ("sleepstudy", "Reaction ~ Days | Subject", None),
    "sleepstudy_unbalanced": ("sleepstudy", "Reaction ~ Days | Subject", (7, 11, 0, 3, 4)),
    "orthodont": ("Orthodont", "distance ~ age | Subject", None),
}


def read(name, keep=None):
    data = pd.read_csv(FOLDER / "data" / f"{name}.csv", dtype={"Subject": str})
    if keep is not None:
        by, modulus, *out = keep
        data = data[~np.isin(np.arange(1, len(data) + 1) * by % modulus, out)]
    return data


@pytest.fixture
def sleepstudy():
    return read("sleepstudy", (7, 11, 0, 3, 4))


@pytest.mark.parametrize("case", CASES)
def test_lmlist_of_r(case):
    name, formula, keep = CASES[case]
    expected = VALUES["lists"][case]
    fits = mx.lm_list(formula, read(name, keep))
    own = mx.lm_list(formula, read(name, keep), pooled=False)
    levels, x = expected["levels"], fits.coefficients.columns[1]
    for r_name, column in (("(Intercept)", "Intercept"), (x, x)):
        found = fits.coefficients.loc[levels, column]
        assert_allclose(found, expected["coefficients"][r_name], rtol=1e-10)
        for one, kind in ((fits, "pooled"), (own, "own")):
            bse = one.bse.loc[levels, column]
            assert_allclose(bse, expected[f"bse_{kind}"][r_name], rtol=1e-9)
            pvalues = one.pvalues.loc[levels, column]
            assert_allclose(pvalues, expected[f"p_{kind}"][r_name], rtol=1e-7)
    assert_allclose(fits.sigma[levels], expected["sigma"], rtol=1e-10)
    assert_allclose(fits.pooled_sigma, expected["pooled_sigma"], rtol=1e-11)
    assert fits.pooled_df == expected["pooled_df"]
    limits = fits.conf_int()[x].loc[levels]
    assert_allclose(limits["lower"], expected["lower"], rtol=1e-8)
    assert_allclose(limits["upper"], expected["upper"], rtol=1e-8)
    pool = fits.poolability()
    assert f"F({pool.df_num}, {pool.df_denom}) = {pool.statistic:.5g}" in repr(pool)
    assert_allclose(
        [pool.statistic, pool.df_num, pool.pvalue], expected["poolability"], 1e-8
    )
    homogeneity = fits.homogeneity()[["statistic", "df_num", "pvalue"]]
    assert_allclose(homogeneity.loc["Intercept"], expected["same_intercept"], rtol=1e-8)
    assert_allclose(homogeneity.loc[x], expected["same_slope"], rtol=1e-8)


def test_welch_test_of_r():
    fits = mx.lm_list("distance ~ age | Subject", read("Orthodont"))
    test, expected = fits.compare("age", by="Sex"), VALUES["welch"]
    assert test.levels == ("Female", "Male")
    for name, r in (("statistic", "statistic"), ("df_denom", "df"), ("pvalue", "pvalue")):
        assert_allclose(getattr(test, name), expected[r], rtol=1e-10)
    assert_allclose(test.means, expected["means"], rtol=1e-12)
    assert_allclose(test.conf_int(), [expected["lower"], expected["upper"]], rtol=1e-9)
    assert test.sizes == (11, 16)
    assert test.n_left_out == 0


@pytest.mark.skipif(
    "MIXEDEXT_REFERENCE" not in os.environ, reason="psid is not among the package's data"
)
def test_income_study():
    # Faraway (2016), section 11.1: t = -2.3786, df = 56.736; t = 8.2199, df = 79.719
    path = Path(os.environ["MIXEDEXT_REFERENCE"]) / "data" / "psid.csv"
    fits = mx.lm_list("log(income) ~ I(year - 78) | person", pd.read_csv(path))
    slope, intercept = fits.coefficients.columns[1], "Intercept"
    test = fits.compare(slope, by="sex", levels=["M", "F"])
    assert_allclose([test.statistic, test.df_denom], [-2.3786, 56.736], rtol=3e-5)
    assert_allclose(test.means, [0.05691046, 0.08903346], rtol=1e-6)
    test = fits.compare(intercept, by="sex", levels=["M", "F"])
    assert_allclose([test.statistic, test.df_denom], [8.2199, 79.719], rtol=3e-5)


def test_formulas_go_through_the_formula_engine(sleepstudy):
    sleepstudy["half"] = np.where(sleepstudy["Days"] > 4, "late", "early")
    formula = "np.log(Reaction) ~ C(half) + I(Days**2)"
    fits = mx.lm_list(f"{formula} | Subject", sleepstudy)
    for group, rows in sleepstudy.groupby("Subject"):
        ols = smf.ols(formula, rows).fit()
        found = fits.coefficients.loc[group]
        assert_allclose(found[ols.params.index], ols.params, rtol=1e-9)
        assert_allclose(fits.fittedvalues[rows.index], ols.fittedvalues, rtol=1e-12)
        assert_allclose(fits.ssr[group], ols.ssr, rtol=1e-10)


def test_names_of_the_caller_interactions_and_offsets(sleepstudy):
    def twice(x):
        return 2 * x

    sleepstudy["half"] = np.where(sleepstudy["Days"] > 4, "late", "early")
    fits = mx.lm_list("Reaction ~ twice(Days) + offset(Days) | Subject:half", sleepstudy)
    assert fits.coefficients.index.name == "Subject:half"
    assert fits.n_groups == 36
    plain = mx.lm_list("Reaction ~ Days | Subject:half", sleepstudy)
    assert_allclose(
        fits.coefficients["twice(Days)"], (plain.coefficients["Days"] - 1) / 2, rtol=1e-9
    )
    assert_allclose(fits.resid, plain.resid, atol=1e-10)
    assert_allclose(fits.fittedvalues, plain.fittedvalues, rtol=1e-12)


def test_without_intercept(sleepstudy):
    fits = mx.lm_list("Reaction ~ Days - 1 | Subject", sleepstudy)
    assert list(fits.coefficients) == ["Days"]
    squares = sleepstudy.assign(xy=sleepstudy.Reaction * sleepstudy.Days)
    squares["xx"] = squares.Days**2
    sums = squares.groupby("Subject")[["xy", "xx"]].sum()
    assert_allclose(fits.coefficients["Days"], sums.xy / sums.xx, rtol=1e-12)


def test_row_order_and_scale(sleepstudy):
    fits = mx.lm_list("Reaction ~ Days | Subject", sleepstudy)
    shuffled = sleepstudy.sample(frac=1, random_state=1)
    again = mx.lm_list("Reaction ~ Days | Subject", shuffled)
    assert_frame_equal(fits.coefficients, again.coefficients, rtol=1e-12)
    assert_series_equal(fits.resid, again.resid.sort_index(), atol=1e-10)
    scaled = sleepstudy.assign(Reaction=sleepstudy.Reaction * 1e6)
    large = mx.lm_list("Reaction ~ Days | Subject", scaled)
    assert_allclose(large.tvalues, fits.tvalues, rtol=1e-11)


def test_groups_keep_labels_and_leave_unused_ones_out(sleepstudy):
    kinds = pd.CategoricalDtype([*sorted(sleepstudy.Subject.unique(), reverse=True), "999"])
    data = sleepstudy.assign(Subject=sleepstudy.Subject.astype(kinds))
    fits = mx.lm_list("Reaction ~ Days | Subject", data)
    plain = mx.lm_list("Reaction ~ Days | Subject", sleepstudy)
    assert fits.n_groups == plain.n_groups == 18
    for label in plain.coefficients.index:
        assert_allclose(fits.coefficients.loc[label], plain.coefficients.loc[label], 1e-12)


def test_missing_values(sleepstudy):
    sleepstudy.loc[sleepstudy.index[3], "Days"] = np.nan
    with pytest.raises(mx.MissingDataError, match="Days"):
        mx.lm_list("Reaction ~ Days | Subject", sleepstudy)
    fits = mx.lm_list("Reaction ~ Days | Subject", sleepstudy, missing="drop")
    complete = mx.lm_list("Reaction ~ Days | Subject", sleepstudy.dropna())
    assert_frame_equal(fits.coefficients, complete.coefficients)
    assert fits.resid.index.equals(sleepstudy.dropna().index)


def test_groups_with_one_value_of_x(sleepstudy):
    data = sleepstudy[(sleepstudy.Subject != "308") | (sleepstudy.Days == 5)]
    assert (data.Subject == "308").sum() == 1
    with pytest.warns(
        mx.NotEstimableWarning, match="1 of 18 groups, 308 the first, do not"
    ):
        fits = mx.lm_list("Reaction ~ Days | Subject", data)
    assert fits.coefficients.loc["308"].isna().all()
    assert fits.bse.loc["308"].isna().all()
    assert fits.n_not_estimable.to_dict() == {"Intercept": 1, "Days": 1}
    assert (fits.nobs["308"], fits.df_resid["308"], fits.rank["308"]) == (1, 0, 1)
    assert np.isnan(fits.sigma["308"])
    notes = fits.summary().notes
    assert "Groups that do not determine all coefficients: 1" in notes
    assert "Groups without residual degrees of freedom: 1" in notes
    rest = mx.lm_list("Reaction ~ Days | Subject", data[data.Subject != "308"])
    assert_allclose(fits.pooled_sigma, rest.pooled_sigma, rtol=1e-13)
    assert_allclose(fits.homogeneity(), rest.homogeneity(), rtol=1e-11)
    kind = {label: "ab"[int(label) % 2] for label in fits.coefficients.index}
    test = fits.compare("Days", by=kind)
    assert test.n_left_out == 1
    assert sum(test.sizes) == 17


def test_weights_and_offset(sleepstudy):
    rng = np.random.default_rng(1)
    data = sleepstudy.assign(
        w=rng.uniform(0.5, 2, len(sleepstudy)), o=rng.normal(size=len(sleepstudy))
    )
    formula = "Reaction ~ Days | Subject"
    fits = mx.lm_list(formula, data, weights="w", offset="o")
    arrays = mx.lm_list(formula, data, weights=data.w.to_numpy(), offset=data.o.to_numpy())
    assert_frame_equal(fits.coefficients, arrays.coefficients)
    own = data[data.Subject == "335"]
    wls = sm.WLS(own.Reaction - own.o, sm.add_constant(own.Days), own.w).fit()
    assert_allclose(fits.coefficients.loc["335"], wls.params, rtol=1e-11)
    alone = fits.tests(pooled=False).loc["335"]
    assert_allclose(alone["std_err"], wls.bse, rtol=1e-11)
    assert_allclose(alone["pvalue"], wls.pvalues, rtol=1e-9)
    assert_allclose(fits.resid[own.index], wls.resid, atol=1e-9)
    # Chow's test and that of one coefficient as comparisons of weighted regressions
    text = "I(Reaction - o) ~ "
    whole = smf.wls(text + "Days * Subject", data, weights=data.w).fit()
    one = smf.wls(text + "Days", data, weights=data.w).fit()
    slope = smf.wls(text + "Days + Subject", data, weights=data.w).fit()
    pool = fits.poolability()
    found = pool.statistic, pool.pvalue
    assert_allclose(found, whole.compare_f_test(one)[:2], rtol=1e-8)
    found = fits.homogeneity().loc["Days", ["statistic", "pvalue"]]
    assert_allclose(found, whole.compare_f_test(slope)[:2], rtol=1e-8)
    with pytest.raises(ValueError, match="weights must be positive"):
        mx.lm_list(formula, data.assign(w=0.0), weights="w")


def test_response_without_variation(sleepstudy):
    fits = mx.lm_list("Reaction ~ Days | Subject", sleepstudy.assign(Reaction=2.0))
    assert_allclose(fits.coefficients["Intercept"], 2.0)
    assert fits.homogeneity()["statistic"].isna().all()
    assert np.isnan(fits.poolability().statistic)


def test_tests_and_intervals_agree(sleepstudy):
    fits = mx.lm_list("Reaction ~ Days | Subject", sleepstudy)
    for pooled in (True, False):
        table, limits = fits.tests(pooled), fits.conf_int(0.1, pooled)
        row = table.loc[("330", "Days")]
        half = stats.t.isf(0.05, row["df"]) * row["std_err"]
        low, high = limits.loc["330", "Days"]
        assert_allclose([low, high], [row["estimate"] - half, row["estimate"] + half])
        assert row["df"] == (fits.pooled_df if pooled else fits.df_resid["330"])
        assert_allclose(row["pvalue"], 2 * stats.t.sf(abs(row["statistic"]), row["df"]))
    assert_allclose(
        fits.tests().loc[(slice(None), "Days"), "statistic"], fits.tvalues["Days"]
    )


def test_ways_to_say_the_kinds_of_groups():
    data = read("Orthodont")
    fits = mx.lm_list("distance ~ age | Subject", data)
    by = data.groupby("Subject")["Sex"].first()
    test = fits.compare("age", by="Sex")
    assert fits.compare("age", by=by.sample(frac=1, random_state=0)) == test
    assert fits.compare("age", by=by.to_dict()) == test
    assert fits.compare("age", by=by[fits.coefficients.index].tolist()) == test
    other = fits.compare("age", by="Sex", levels=["Male", "Female"])
    assert_allclose(other.statistic, -test.statistic)
    categorical = data.assign(
        Sex=pd.Categorical(data.Sex, categories=["Male", "Female", "none"])
    )
    fits = mx.lm_list("distance ~ age | Subject", categorical)
    assert fits.compare("age", by="Sex").levels == ("Male", "Female")
    samples = [fits.coefficients["age"][by == k] for k in ("Male", "Female")]
    scipy = stats.ttest_ind(*samples, equal_var=False)
    assert_allclose(other.statistic, scipy.statistic, rtol=1e-12)
    assert_allclose(other.conf_int(), scipy.confidence_interval(), rtol=1e-10)


def test_kinds_that_cannot_be_compared():
    data = read("Orthodont")
    fits = mx.lm_list("distance ~ age | Subject", data)
    with pytest.raises(ValueError, match="no coefficient"):
        fits.compare("Sex", by="Sex")
    with pytest.raises(ValueError, match="several values in the group"):
        fits.compare("age", by="age")
    with pytest.raises(ValueError, match="not a column"):
        fits.compare("age", by="sex")
    with pytest.raises(ValueError, match="two of the kinds"):
        fits.compare("age", by="Sex", levels=["Male", "X"])
    with pytest.raises(ValueError, match="two of the kinds"):
        fits.compare("age", by="Sex", levels=["Male", "Male"])
    kinds = data.groupby("Subject")["Sex"].first()
    with pytest.raises(ValueError, match="several labels for the group 'F01'"):
        fits.compare("age", by=pd.concat([kinds, kinds[:1]]))
    assert fits.compare("age", by=[1, "a"] * 13 + [1]).levels == (1, "a")
    with pytest.raises(ValueError, match="no label for the group"):
        fits.compare("age", by={"M01": "a"})
    with pytest.raises(ValueError, match="one label for each"):
        fits.compare("age", by=["a", "b"])
    with pytest.raises(ValueError, match="two of each"):
        fits.compare("age", by=["a"] + ["b"] * 26)


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("Reaction ~ Days", "after one bar"),
        ("Reaction ~ Days + (1 | Subject)", "after one bar"),
        ("Reaction ~ (1 | a) + Days | Subject", "after one bar"),
        ("Reaction ~ Days || Subject", "after one bar"),
        ("Reaction ~ | Subject", "left of the bar"),
        ("Reaction ~ Days | ", "right of the bar"),
        ("Reaction ~ Days | Subject/Days", "2 groupings"),
        ("Reaction ~ 0 | Subject", "no regressors"),
        ("Reaction ~ Days | subject", "not a column"),
        (3, "must be a string"),
    ],
)
def test_formulas_that_cannot_be_read(formula, message, sleepstudy):
    with pytest.raises(mx.FormulaError, match=message):
        mx.lm_list(formula, sleepstudy)


def test_alpha_out_of_range(sleepstudy):
    with pytest.raises(ValueError, match="alpha"):
        mx.lm_list("Reaction ~ Days | Subject", sleepstudy).conf_int(95)


def test_summary_prints(sleepstudy):
    fits = mx.lm_list("Reaction ~ Days | Subject", sleepstudy)
    text = repr(fits)
    assert text == repr(fits.summary())
    assert f"{fits.pooled_sigma:.3f} on {fits.pooled_df} degrees of freedom" in text
    assert_allclose(fits.summary()["mean"], fits.coefficients.mean())


def test_groups_that_are_fitted_exactly(sleepstudy):
    two = sleepstudy[sleepstudy.Days.isin([1, 2])].groupby("Subject").head(2)
    two = two[two.groupby("Subject")["Days"].transform("size") == 2]
    fits = mx.lm_list("Reaction ~ Days | Subject", two)
    assert fits.pooled_df == 0
    assert fits.coefficients.notna().all().all()
    assert fits.pvalues.isna().all().all()
    assert fits.conf_int(pooled=False).isna().all().all()
    assert "All coefficients equal" not in repr(fits)


def test_pickle(sleepstudy):
    fits = mx.lm_list("Reaction ~ Days | Subject", sleepstudy)
    again = pickle.loads(pickle.dumps(fits))
    assert_frame_equal(again.tests(), fits.tests())


def test_a_hundred_thousand_groups_in_half_a_second():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(np.arange(100_000), 10)})
    data["x"], data["y"] = rng.normal(size=(2, 10**6))
    times = []
    for _ in range(3):
        start = perf_counter()
        fits = mx.lm_list("y ~ x | g", data)
        assert fits.bse.shape == (100_000, 2)
        times.append(perf_counter() - start)
    assert min(times) < 0.5
