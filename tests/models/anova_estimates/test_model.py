"""mx.anova_estimates against published tables, R's anova and aov, and REML."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from helpers.paths import RESULTS
from numpy.testing import assert_allclose
from scipy import stats

import mixedext as mx

pytestmark = pytest.mark.formula_engine

FOLDER = RESULTS
VALUES = json.loads((FOLDER / "classical.json").read_text())
SEQUENTIAL = {
    "pastes": ("Pastes", "strength ~ 1 + (1 | batch/cask)", None),
    "pastes_unbalanced": ("Pastes", "strength ~ 1 + (1 | batch/cask)", (7, 10, 0, 3)),
    "eggs": ("eggs", "Fat ~ 1 + (1 | Lab/Technician/Sample)", None),
    "eggs_unbalanced": ("eggs", "Fat ~ 1 + (1 | Lab/Technician/Sample)", (5, 13, 1, 2)),
    "penicillin": ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", None),
    "covariate": ("sleepstudy", "Reaction ~ Days + (1 | Subject)", (7, 11, 0, 3, 4)),
    "rail": ("Rail", "travel ~ 1 + (1 | Rail)", None),
    "pulp": ("pulp", "bright ~ 1 + (1 | operator)", None),
}
BALANCED = {
    "dyestuff": ("Dyestuff", "Yield ~ 1 + (1 | Batch)"),
    "rail": ("Rail", "travel ~ 1 + (1 | Rail)"),
    "pulp": ("pulp", "bright ~ 1 + (1 | operator)"),
    "pastes": ("Pastes", "strength ~ 1 + (1 | batch/cask)"),
    "eggs": ("eggs", "Fat ~ 1 + (1 | Lab/Technician/Sample)"),
    "penicillin": ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    "cake": ("cake", "angle ~ recipe * temperature + (1 | recipe:replicate)"),
    "oats": ("Oats", "Q('yield') ~ C(nitro) * Variety + (1 | Block/Variety)"),
    "sleepstudy": ("sleepstudy", "Reaction ~ Days + (1 | Subject)"),
    "machines": ("Machines", "score ~ Machine + (1 | Worker/Machine)"),
}


def read(name, keep=None):
    data = pd.read_csv(FOLDER / "data" / f"{name}.csv")
    if keep is not None:
        by, modulus, *out = keep
        data = data[~np.isin(np.arange(1, len(data) + 1) * by % modulus, out)]
    return data


@pytest.fixture(scope="module")
def dyestuff():
    return mx.anova_estimates(*BALANCED["dyestuff"][1:], read("Dyestuff"))


def test_dyestuff(dyestuff):
    # 56357.5 and 58830 are published with Davies' example
    table = dyestuff.table
    assert table["df"].tolist() == [5, 24]
    assert_allclose(table["sum_sq"], [56357.5, 58830], rtol=1e-12)
    assert_allclose(dyestuff.estimates["estimate"], [1764.05, 2451.25], rtol=1e-12)
    assert dyestuff.ems.to_numpy().tolist() == [[5, 1], [0, 1]]
    assert table["expected_mean_sq"].tolist() == ["Residual + 5 * Batch", "Residual"]
    assert table["exact"].tolist()[0] is True
    assert table["exact"].isna().tolist() == [False, True]
    assert_allclose(table["statistic"].iloc[0], 11271.5 / 2451.25, rtol=1e-12)
    assert_allclose(
        table["pvalue"].iloc[0], stats.f.sf(11271.5 / 2451.25, 5, 24), rtol=1e-10
    )


def test_pulp():
    # Faraway (2016), section 10.1
    anova = mx.anova_estimates(*BALANCED["pulp"][1:], read("pulp"))
    assert_allclose(anova.table["mean_sq"], [0.44667, 0.10625], rtol=1e-5)
    assert_allclose(anova.table["statistic"].iloc[0], 4.2, rtol=2e-3)
    assert_allclose(anova.table["pvalue"].iloc[0], 0.02261, rtol=1e-4)
    assert_allclose(anova.estimates["estimate"].iloc[0], 0.0681, rtol=1e-3)


@pytest.mark.parametrize("case", SEQUENTIAL)
def test_sequential_sums_of_squares_of_r(case):
    name, formula, keep = SEQUENTIAL[case]
    anova = mx.anova_estimates(formula, read(name, keep))
    expected = VALUES["sequential"][case]
    assert anova.table["df"].tolist() == expected["df"]
    assert_allclose(anova.table["sum_sq"], expected["sum_sq"], rtol=1e-10)
    # the last factor is tested against the residual
    assert_allclose(anova.table["statistic"].iloc[-2], expected["f"][-2], rtol=1e-9)
    assert_allclose(anova.table["pvalue"].iloc[-2], expected["p"][-2], rtol=1e-7)
    assert anova.balanced == (keep is None)


def test_strata_of_r():
    anova = mx.anova_estimates(*BALANCED["oats"][1:], read("Oats"))
    expected = VALUES["strata"]["oats"]
    names = [name.split(".")[-1] for name in expected["source"]]
    assert names[1::2] == ["Variety", "nitroF", "Residuals"]
    rows = ["Block", "Variety", "Variety:Block", "C(nitro)", "C(nitro):Variety", "Residual"]
    table = anova.table.loc[rows]
    assert table["df"].tolist() == expected["df"]
    assert_allclose(table["sum_sq"], expected["sum_sq"], rtol=1e-10)
    for at in (1, 3, 4):
        assert_allclose(table["statistic"].iloc[at], expected["f"][at], rtol=1e-10)
    assert table["exact"].iloc[:-1].all()
    assert table["denominator"].iloc[1] == "Variety:Block"


@pytest.mark.parametrize("case", BALANCED)
def test_balanced_estimates_are_those_of_reml(case):
    name, formula = BALANCED[case]
    data = read(name)
    anova = mx.anova_estimates(formula, data)
    fit = mx.mixedlm(formula, data).fit()
    assert anova.balanced
    assert anova.nobs == len(data)
    assert (anova.estimates["estimate"] > 0).all()
    assert not anova.estimates["negative"].any()
    expected = fit.var_corr["variance"]
    assert_allclose(anova.estimates["estimate"], expected, rtol=1e-8)


def test_one_way_unbalanced_by_the_formulas_of_the_books():
    # Searle, Casella and McCulloch (1992), chapter 3: n0 = (N - sum n^2 / N) / (a - 1)
    data = read("Dyestuff", (7, 11, 0, 3))
    anova = mx.anova_estimates("Yield ~ 1 + (1 | Batch)", data)
    groups = data.groupby("Batch")["Yield"]
    sizes, means = groups.size(), groups.mean()
    between = (sizes * (means - data["Yield"].mean()) ** 2).sum()
    within = ((data["Yield"] - groups.transform("mean")) ** 2).sum()
    average = (len(data) - (sizes**2).sum() / len(data)) / (len(sizes) - 1)
    residual = within / (len(data) - len(sizes))
    assert sizes.nunique() > 1
    assert_allclose(anova.ems.loc["Batch", "Batch"], average, rtol=1e-12)
    variance = (between / (len(sizes) - 1) - residual) / average
    assert_allclose(anova.estimates["estimate"], [variance, residual], rtol=1e-10)
    assert not anova.balanced
    assert anova.table["exact"].iloc[0]  # under the hypothesis there is no variance
    assert "Unbalanced" in repr(anova)
    # Searle (1971), section 11.6: exact variances for normal data
    n, a, s2, s3 = len(data), len(sizes), (sizes**2).sum(), (sizes**3).sum()
    of_residual = 2 * residual**2 / (n - a)
    of_batch = n * (n - 1) * (a - 1) / ((n - a) * (n**2 - s2)) * residual**2
    of_batch += 2 * residual * variance
    of_batch += (n**2 * s2 + s2**2 - 2 * n * s3) / (n * (n**2 - s2)) * variance**2
    of_batch *= 2 * n / (n**2 - s2)
    both = -2 * (a - 1) * residual**2 / ((n - a) * (n - s2 / n))
    expected = [[of_batch, both], [both, of_residual]]
    assert_allclose(anova.cov_estimates(), expected, rtol=1e-12)
    assert_allclose(
        anova.estimates["std_err"], np.sqrt([of_batch, of_residual]), rtol=1e-12
    )


def test_one_way_unbalanced_intervals():
    data = read("Dyestuff", (7, 11, 0, 3))
    anova = mx.anova_estimates("Yield ~ 1 + (1 | Batch)", data)
    limits = anova.conf_int(0.4)
    assert limits["method"].tolist() == ["Satterthwaite", "chi-square", "F", "F"]
    groups = data.groupby("Batch")["Yield"]
    sizes, means = groups.size(), groups.mean()
    df = len(sizes) - 1, len(data) - len(sizes)
    within = ((data["Yield"] - groups.transform("mean")) ** 2).sum() / df[1]
    for side, p in (("lower", 0.2), ("upper", 0.8)):
        # Wald (1940): the weighted sum of squares of the means
        weights = sizes / (1 + sizes * limits.loc["Batch / Residual", side])
        centre = (weights * means).sum() / weights.sum()
        f = (weights * (means - centre) ** 2).sum() / df[0] / within
        assert_allclose(f, stats.f.isf(p, *df), rtol=1e-10)
    ratio, share = limits.loc[["Batch / Residual", "ICC"], ["lower", "upper"]].to_numpy()
    assert_allclose(share, ratio / (1 + ratio), rtol=1e-14)
    batch, error = anova.estimates.loc["Batch", ["estimate", "std_err"]].astype(float)
    df = 2 * (batch / error) ** 2
    expected = df * batch / stats.chi2.isf([0.2, 0.8], df)
    found = limits.loc["Batch", ["lower", "upper"]].astype(float)
    assert_allclose(found, expected, rtol=1e-10)


def test_negative_estimates_have_limits_of_the_ratio_only():
    anova = mx.anova_estimates("Yield ~ 1 + (1 | Batch)", read("Dyestuff2").drop([0, 7]))
    limits = anova.conf_int()
    assert anova.estimates.loc["Batch", "negative"]
    assert limits.loc["Batch", "method"] == "none: the estimate is not positive"
    assert limits.loc["Batch / Residual", "lower"] == 0
    assert 0 < limits.loc["Batch / Residual", "upper"] < 1


def test_covariance_at_given_variances(dyestuff):
    by_name = dyestuff.cov_estimates({"Residual": 4.0, "Batch": 1.0})
    # mean squares with expectations 9 and 4 on 5 and 24 degrees of freedom
    of_batch = (2 * 81 / 5 + 2 * 16 / 24) / 25
    expected = [[of_batch, -2 * 16 / 24 / 5], [-2 * 16 / 24 / 5, 2 * 16 / 24]]
    assert_allclose(by_name, expected, rtol=1e-13)
    assert_allclose(dyestuff.cov_estimates([1.0, 4.0]), by_name, rtol=0)
    for wrong in ({"Batch": 1.0}, [1.0], [1.0, np.nan], {"Batch": 1, "Rest": 4}, "x"):
        with pytest.raises(ValueError, match=r"variances must .*Batch, Residual"):
            dyestuff.cov_estimates(wrong)


def test_nested_unbalanced_tests_are_by_satterthwaite():
    name, formula, keep = SEQUENTIAL["pastes_unbalanced"]
    # whole casks are left out: batches differ in size, but their test is exact
    assert mx.anova_estimates(formula, read(name, keep)).table["exact"].iloc[0]
    anova = mx.anova_estimates(formula, read(name, (7, 11, 0, 3)))
    row = anova.table.loc["batch"]
    assert not row["exact"]
    assert "* cask:batch" in row["denominator"]
    ems, table = anova.ems, anova.table
    w = ems.loc["batch", "cask:batch"] / ems.loc["cask:batch", "cask:batch"]
    parts = np.array([w, 1 - w]) * table["mean_sq"].iloc[1:]
    assert_allclose(row["statistic"], row["mean_sq"] / parts.sum(), rtol=1e-12)
    df = parts.sum() ** 2 / (parts**2 / table["df"].iloc[1:]).sum()
    assert_allclose(row["df_denom"], df, rtol=1e-12)


def test_negative_estimates_are_kept_and_flagged():
    anova = mx.anova_estimates("Yield ~ 1 + (1 | Batch)", read("Dyestuff2"))
    row = anova.estimates.loc["Batch"]
    mean_sq = anova.table["mean_sq"]
    assert_allclose(row["estimate"], (mean_sq.iloc[0] - mean_sq.iloc[1]) / 5)
    assert row["estimate"] < 0
    assert row["negative"]
    assert row["truncated"] == 0
    assert "negative" in repr(anova)
    intervals = anova.conf_int()
    assert (intervals["lower"] >= 0).all()
    assert intervals.loc["ICC", "estimate"] < 0


def test_one_way_intervals_by_their_definitions(dyestuff):
    alpha = 0.1
    intervals, table = dyestuff.conf_int(alpha), dyestuff.table
    between, within = table["mean_sq"]
    # F / (1 + 5 ratio) is at the quantiles of F(5, 24)
    ratio = intervals.loc["Batch / Residual"]
    limits = ratio[["lower", "upper"]].astype(float)
    tails = stats.f.sf(between / within / (1 + 5 * limits), 5, 24)
    assert_allclose(tails, [alpha / 2, 1 - alpha / 2], rtol=1e-10)
    icc = intervals.loc["ICC", ["estimate", "lower", "upper"]].astype(float)
    ratio = ratio[["estimate", "lower", "upper"]].astype(float)
    assert_allclose(icc, ratio / (1 + ratio), rtol=1e-12)
    residual = intervals.loc["Residual", ["lower", "upper"]].astype(float)
    assert_allclose(
        stats.chi2.sf(58830 / residual, 24), [alpha / 2, 1 - alpha / 2], rtol=1e-10
    )
    # Williams (1962)
    f = stats.f.isf([alpha / 2, 1 - alpha / 2], 5, 24)
    chi = stats.chi2.isf([alpha / 2, 1 - alpha / 2], 5)
    expected = 56357.5 * (1 - f * within / between) / (5 * chi)
    batch = intervals.loc["Batch"]
    assert_allclose(batch[["lower", "upper"]].astype(float), expected, rtol=1e-10)
    assert batch["method"] == "Williams-Tukey"


def test_williams_tukey_intervals_cover():
    # mean squares of 6 groups of 5 with variances 0.5 and 1, simulated as chi-squares
    rng = np.random.default_rng(3)
    alpha, variance, n = 0.05, 0.5, 4000
    data = pd.DataFrame({"g": np.repeat(np.arange(6), 5)})
    covered = np.zeros((n, 2), bool)
    group = np.sqrt(variance) * rng.standard_normal((n, 6))
    y = np.repeat(group, 5, axis=1) + rng.standard_normal((n, 30))
    # one analysis gives the recipe; the others are its formulas, vectorized
    means = y.reshape(n, 6, 5).mean(axis=2)
    between = 5 * means.var(axis=1, ddof=1)
    within = y.reshape(n, 6, 5).var(axis=2, ddof=1).mean(axis=1)
    f = stats.f.isf([alpha / 2, 1 - alpha / 2], 5, 24)
    chi = stats.chi2.isf([alpha / 2, 1 - alpha / 2], 5)
    limits = 5 * (between[:, None] - f * within[:, None]) / (5 * chi)
    limits = np.maximum(limits, 0)
    first = mx.anova_estimates("y ~ 1 + (1 | g)", data.assign(y=y[0])).conf_int(alpha)
    assert_allclose(first.loc["g", ["lower", "upper"]].astype(float), limits[0], rtol=1e-9)
    covered = (limits[:, 0] <= variance) & (variance <= limits[:, 1])
    error = np.sqrt(alpha * (1 - alpha) / n)
    assert covered.mean() > 1 - alpha - 3 * error


def test_intervals_of_several_factors_by_satterthwaite():
    anova = mx.anova_estimates("strength ~ 1 + (1 | batch/cask)", read("Pastes"))
    row = anova.conf_int().loc["cask:batch"]
    casks, residual = anova.table["mean_sq"].iloc[1:]
    estimate = (casks - residual) / 2
    df = estimate**2 / ((casks / 2) ** 2 / 20 + (residual / 2) ** 2 / 30)
    expected = df * estimate / stats.chi2.isf([0.025, 0.975], df)
    assert_allclose(row[["lower", "upper"]].astype(float), expected, rtol=1e-10)
    assert row["method"] == "Satterthwaite"


def test_covariance_is_the_inverse_information_of_reml(dyestuff):
    # var(MS) = 2 MS^2 / df; at the REML estimates the expected information's inverse
    between, within = dyestuff.table["mean_sq"]
    var_between, var_within = 2 * between**2 / 5, 2 * within**2 / 24
    expected = [
        [(var_between + var_within) / 25, -var_within / 5],
        [-var_within / 5, var_within],
    ]
    assert_allclose(dyestuff.cov_estimates(), expected, rtol=1e-12)
    errors = dyestuff.estimates["std_err"]
    assert_allclose(errors, np.sqrt(np.diag(expected)), rtol=1e-12)


def test_row_order_labels_and_scale():
    formula = "strength ~ 1 + (1 | batch/cask)"
    data = read("Pastes", (7, 10, 0, 3))
    anova = mx.anova_estimates(formula, data)
    other = data.sample(frac=1, random_state=0).assign(strength=lambda d: 1e6 * d.strength)
    other["batch"] = other["batch"].map({b: i for i, b in enumerate("JIHGFEDCBA")})
    again = mx.anova_estimates(formula, other)
    assert_allclose(again.table["sum_sq"], 1e12 * anova.table["sum_sq"], rtol=1e-10)
    assert_allclose(again.ems, anova.ems, rtol=1e-12)


def test_names_of_the_caller_offset_and_missing_rows():
    data = read("Rail")
    data["shift"] = np.arange(18.0)

    def twice(x):
        return 2 * x

    anova = mx.anova_estimates("twice(travel) ~ offset(shift) + (1 | Rail)", data)
    data["z"] = 2 * data["travel"] - data["shift"]
    plain = mx.anova_estimates("z ~ 1 + (1 | Rail)", data)
    assert_allclose(anova.table["sum_sq"], plain.table["sum_sq"], rtol=1e-12)
    data.loc[3, "travel"] = np.nan
    with pytest.raises(mx.MissingDataError):
        mx.anova_estimates("travel ~ 1 + (1 | Rail)", data)
    anova = mx.anova_estimates("travel ~ 1 + (1 | Rail)", data, missing="drop")
    assert anova.nobs == 17
    assert not anova.balanced


def test_without_intercept():
    data = read("cake")
    anova = mx.anova_estimates("angle ~ 0 + recipe + (1 | recipe:replicate)", data)
    other = mx.anova_estimates("angle ~ recipe + (1 | recipe:replicate)", data)
    assert anova.table.loc["recipe", "df"] == 3
    assert_allclose(anova.estimates["estimate"], other.estimates["estimate"], rtol=1e-10)


@pytest.mark.parametrize(
    ("formula", "error", "message"),
    [
        ("Reaction ~ Days", mx.FormulaError, "no random term"),
        ("Reaction ~ Days + (Days | Subject)", mx.FormulaError, "besides the intercept"),
        ("Reaction ~ 1 + (0 + Days | Subject)", mx.FormulaError, "besides the intercept"),
        ("Reaction ~ (1 | Subject) + (1 | half)", mx.DesignError, "crossed"),
        ("Reaction ~ C(Subject) + (1 | Subject)", mx.DesignError, "Subject"),
    ],
)
def test_designs_without_one_analysis(formula, error, message):
    data = read("sleepstudy", (7, 11, 0, 3, 4))
    data["half"] = data["Days"] % 4
    with pytest.raises(error, match=message):
        mx.anova_estimates(formula, data)


def test_alpha_out_of_range(dyestuff):
    with pytest.raises(ValueError, match="alpha"):
        dyestuff.conf_int(95)


def test_hundred_thousand_rows():
    rng = np.random.default_rng(4)
    g = rng.integers(0, 10_000, 100_000)
    data = pd.DataFrame({"g": g // 10, "h": g % 10, "x": rng.normal(size=100_000)})
    effects = rng.normal(size=1000)[data.g] + 2 * rng.normal(size=10_000)[g]
    data["y"] = effects + data.x + rng.normal(size=100_000)
    anova = mx.anova_estimates("y ~ x + (1 | g/h)", data)
    errors = np.abs(anova.estimates["estimate"] - [1, 4, 1])
    assert (errors < [0.25, 0.3, 0.03]).all()
