"""Containment, and between-within, against nlme's counts and SAS' rules."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.fev import fev_model, values
from helpers.small_sample import VALUES, build_model

import mixedext as mx
from mixedext.exceptions import DesignError
from mixedext.inference.fixed_effects.classical_df import (
    BetweenWithinTests,
    ContainmentTests,
    InnerOuterTests,
)
from mixedext.inference.fixed_effects.df_methods import ResidualTests

pytestmark = [
    pytest.mark.filterwarnings("ignore:The random effects covariance"),
    # a factor that is both fixed and random
    pytest.mark.filterwarnings("ignore:minimum, but flat"),
    pytest.mark.formula_engine,
]


def fit_of(formula, data):
    return mx.mixedlm(formula, data).fit().fitted.fit


@pytest.mark.parametrize("case", VALUES["nlme"], ids=lambda c: c["formula"])
def test_inner_and_outer_as_nlme(case):
    """lme(...)$fixDF$X"""
    fit = build_model(case).fit().fitted.fit
    want = np.array(case["df"], float)
    # all models give a constant
    for tests in (BetweenWithinTests(fit), InnerOuterTests(fit)):
        assert sorted(tests.column_df) == sorted(want)
        if "Sex * age" not in case["formula"]:  # there R orders the columns otherwise
            np.testing.assert_array_equal(tests.column_df, want)


def test_sas_split_plot():
    """Stroup (1989): the first example of PROC MIXED in the SAS/STAT User's Guide.

    RANDOM Block A*Block: covariance parameters 62.3958, 15.3819 and 9.3611; type 3 tests
    F(2, 6) = 4.07 of A, F(1, 9) = 19.39 of B, F(2, 9) = 4.02 of A*B.
    """
    y = [56, 41, 50, 36, 39, 35, 30, 25, 36, 28, 33, 30]
    y += [32, 24, 31, 27, 15, 19, 30, 25, 35, 30, 17, 18]
    block, a, b = np.unravel_index(np.arange(24), (4, 3, 2))
    data = pd.DataFrame({"y": y, "block": block})
    data["a"], data["b"] = pd.Categorical(a), pd.Categorical(b)
    result = mx.mixedlm("y ~ C(a, Sum) * C(b, Sum) + (1 | block / a)", data).fit()
    variances = sorted(result.var_corr["variance"].round(4))
    assert variances == [9.3611, 15.3819, 62.3958]
    tests = ContainmentTests(result.fitted.fit)
    names = list(result.model.exog_names)
    np.testing.assert_array_equal(
        [tests.column_df[names.index(n)] for n in names],
        [3 if n == "Intercept" else 9 if "b" in n else 6 for n in names],
    )
    eye = np.eye(6)
    whole = [i for i, n in enumerate(names) if "C(a" in n and "C(b" not in n]
    sub = [i for i, n in enumerate(names) if "C(a" not in n and "C(b" in n]
    both = [i for i, n in enumerate(names) if "C(a" in n and "C(b" in n]
    for at, df_denom, want in ((whole, 6, 4.07), (sub, 9, 19.39), (both, 9, 4.02)):
        found = tests.f_test(eye[at])
        assert (found.df_num, found.df_denom) == (len(at), df_denom)
        assert round(found.statistic, 2) == want
    # a combination has the fewest of what it involves
    row = eye[whole[0]] + eye[sub[0]]
    np.testing.assert_array_equal(tests.df([row, 0 * row]), [6, np.nan])


def test_sas_random_coefficients():
    """Obenchain (1990): the example "Random Coefficients" of PROC MIXED.

    RANDOM INT Month / TYPE=UN SUB=Batch: 0.9768, -0.1045, 0.03717, residual 3.2932;
    102.70 (0.6456), t(2) = 159.08; Month -0.5259 (0.1194), t(2) = -4.41, p = 0.0478.
    """
    text = """
        1 0 101.2 103.3 103.3 102.1 104.4 102.4; 1 1 98.8 99.4 99.7 99.5
        1 3 98.4 99.0 97.3 99.8; 1 6 101.5 100.2 101.7 102.7; 1 9 96.3 97.2 97.2 96.3
        1 12 97.3 97.9 96.8 97.7 97.7 96.7; 2 0 102.6 102.7 102.4 102.1 102.9 102.6
        2 1 99.1 99.0 99.9 100.6; 2 3 105.7 103.3 103.4 104.0
        2 6 101.3 101.5 100.9 101.4; 2 9 94.1 96.5 97.2 95.6
        2 12 93.1 92.8 95.4 92.2 92.2 93.0; 3 0 105.1 103.9 106.1 104.1 103.7 104.6
        3 1 102.2 102.0 100.8 99.8; 3 3 101.2 101.8 100.8 102.6
        3 6 101.1 102.0 100.1 100.2; 3 9 100.9 99.5 102.2 100.8
        3 12 97.8 98.3 96.9 98.4 96.9 96.5"""
    lines = [line.split() for line in text.replace("\n", ";").split(";") if line.strip()]
    rows = [(batch, int(month), float(y)) for batch, month, *ys in lines for y in ys]
    data = pd.DataFrame(rows, columns=["batch", "month", "y"])
    result = mx.mixedlm("y ~ month + (month | batch)", data).fit(df_method="containment")
    assert round(result.scale, 4) == 3.2932
    covariances = np.asarray(result.cov_re)[np.tril_indices(2)]
    assert covariances.round(4).tolist() == [0.9768, -0.1045, 0.0372]
    found = result.fixed_effects_inference()
    assert found.df.tolist() == [2, 2]
    assert found.se.round(4).tolist() == [0.6456, 0.1194]
    assert found.statistic.round(2).tolist() == [159.08, -4.41]
    row = result.anova().loc["month"]
    assert (round(row["statistic"], 2), round(row["pvalue"], 4)) == (19.41, 0.0478)


def test_sas_unbalanced_two_way():
    """Hemmerle and Hartley (1973), in PROC MIXED's manual: F(2, 2) = 28.00, p = 0.0345."""
    y = [237, 254, 246, 178, 179, 208, 178, 187, 146, 145, 141, 186, 183, 142, 125, 136]
    data = pd.DataFrame(
        {"y": y, "a": list("1111122222233333"), "b": list("1112211122211222")}
    )
    result = mx.mixedlm("y ~ a + (1 | b) + (1 | a:b)", data).fit()
    for method in ("containment", "satterthwaite"):
        row = result.anova(df_method=method).loc["a"]
        assert (row["df_num"], round(row["df_denom"], 3)) == (2, 2)
        assert (round(row["statistic"], 2), round(row["pvalue"], 4)) == (28.0, 0.0345)


def test_random_coefficients_contain_their_covariate():
    """RANDOM INT Days / SUBJECT=Subject: 17 degrees of freedom both, 180 - 36 left."""
    data = mx.datasets.sleepstudy.load().data
    data["x"] = (np.arange(180) * 37) % 11
    tests = ContainmentTests(fit_of("Reaction ~ Days + x + (Days | Subject)", data))
    np.testing.assert_array_equal(tests.column_df, [17, 17, 180 - 37])
    tests = ContainmentTests(fit_of("Reaction ~ Days + x + (1 | Subject)", data))
    np.testing.assert_array_equal(tests.column_df, [17, 180 - 20, 180 - 20])


def test_crossed_factors_have_no_between_and_within():
    data = mx.datasets.penicillin.load().data
    fit = fit_of("diameter ~ 1 + (1 | plate) + (1 | sample)", data)
    with pytest.raises(ValueError, match="plate, sample are crossed"):
        BetweenWithinTests(fit)
    np.testing.assert_array_equal(ContainmentTests(fit).column_df, [5])


def test_a_slope_alone_does_not_tell_what_varies():
    data = mx.datasets.sleepstudy.load().data
    with pytest.raises(DesignError, match=r"\(1 \| Subject\)"):
        BetweenWithinTests(fit_of("Reaction ~ Days + (0 + Days | Subject)", data))


def test_cell_means_span_the_intercept():
    data = mx.datasets.machines.load().data
    tests = BetweenWithinTests(fit_of("score ~ Machine + (0 + Machine | Worker)", data))
    np.testing.assert_array_equal(tests.column_df, [46, 46, 46])


def test_far_from_zero_and_weighted():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(12), 5)
    data = pd.DataFrame(
        {"y": rng.normal(size=60), "g": g, "between": 1e5 + g % 4, "year": 2000.0}
    )
    data["year"] += np.tile(np.arange(5), 12)
    fit = mx.mixedlm(
        "y ~ between + year + (1 | g)", data, weights=rng.uniform(0.5, 2, 60)
    ).fit()
    tests = BetweenWithinTests(fit.fitted.fit)
    np.testing.assert_array_equal(tests.column_df, [47, 10, 47])
    assert ContainmentTests(fit.fitted.fit).column_df.tolist() == [10, 10, 47]


def test_without_random_terms():
    data = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=["y", "x"])
    fit = fit_of("y ~ x", data)
    np.testing.assert_array_equal(ContainmentTests(fit).column_df, [18, 18])
    np.testing.assert_array_equal(BetweenWithinTests(fit).column_df, [18, 18])
    np.testing.assert_array_equal(InnerOuterTests(fit).column_df, [18, 18])


def test_rows_of_a_model_without_a_constant():
    # nlme grants one more than Pinheiro and Bates' rule, m_2 - m_1 - p_2
    data = mx.datasets.sleepstudy.load().data
    fit = fit_of("Reaction ~ 0 + Days + (1 | Subject)", data)
    np.testing.assert_array_equal(BetweenWithinTests(fit).column_df, [180 - 18 - 1])
    np.testing.assert_array_equal(InnerOuterTests(fit).column_df, [180 - 18])


# ---- beside a residual covariance ----


@pytest.mark.parametrize("structure", ["us", "ar1", "us_weighted"])
def test_residual_groups_as_mmrm(structure):
    weights = "WEIGHT" if structure.endswith("weighted") else None
    fit = fev_model(structure.split("_")[0], weights=weights).fit().fitted.fit
    want = values()["mmrm"][structure]["between_within"]["df"]
    np.testing.assert_array_equal(BetweenWithinTests(fit).column_df, want)
    for tests in (ContainmentTests(fit), InnerOuterTests(fit), ResidualTests(fit)):
        np.testing.assert_array_equal(tests.df(np.eye(11)), np.full(11, 537 - 11))


def test_residual_groups_as_sas():
    """EMPIRICAL with the degrees of freedom of BETWITHIN: 197 subjects, 195."""
    result = fev_model("toeph", "FEV1 ~ ARMCD").fit()
    test = result.t_test([[0, 1]], df_method="between-within")
    assert np.ravel(test.df_denom) == values()["sas"]["toeph"]["empirical"]["df"]


def test_random_terms_count_before_residual_groups():
    rng = np.random.default_rng(2)
    block, unit, visit = (a.ravel() for a in np.indices((8, 3, 5)))
    unit = block * 3 + unit
    data = pd.DataFrame({"block": block, "unit": unit, "visit": visit, "a": block % 2})
    data["b"], data["x"] = unit % 3, rng.normal(size=len(data))
    error = 0.6 * rng.normal(size=24)[unit] + rng.normal(size=len(data))
    data["y"] = rng.normal(size=8)[block] + error
    data = data[rng.random(len(data)) > 0.1]
    formula = "y ~ a + b + x + visit + (1 | block)"
    plain = fit_of(formula, data)
    fit = mx.mixedlm(formula, data, residual="ar1(visit | unit)").fit().fitted.fit
    for kind in (BetweenWithinTests, InnerOuterTests, ContainmentTests):
        np.testing.assert_array_equal(kind(fit).column_df, kind(plain).column_df)
    # groups that cross the blocks: their rows are no multiples of columns once whitened
    data["row"] = rng.integers(0, 6, len(data))
    data["place"] = data.groupby("row").cumcount()
    fit = mx.mixedlm(formula, data, residual="ar1(place | row)").fit().fitted.fit
    for kind in (BetweenWithinTests, InnerOuterTests, ContainmentTests):
        np.testing.assert_array_equal(kind(fit).column_df, kind(plain).column_df)
