"""Containment, and between-within, against nlme's counts and SAS' rules."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.small_sample import VALUES, build_model

import mixedext as mx
from mixedext.exceptions import DesignError
from mixedext.inference.classical_df import BetweenWithinTests, ContainmentTests

pytestmark = [
    pytest.mark.filterwarnings("ignore:The random effects covariance"),
    # a factor that is both fixed and random
    pytest.mark.filterwarnings("ignore:minimum, but flat"),
]


def fit_of(formula, data):
    return mx.mixedlm(formula, data).fit().engine_fit


@pytest.mark.parametrize("case", VALUES["nlme"], ids=lambda c: c["formula"])
def test_inner_and_outer_as_nlme(case):
    """lme(...)$fixDF$X"""
    tests = BetweenWithinTests(build_model(case).fit().engine_fit)
    want = np.array(case["df"], float)
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
    tests = ContainmentTests(result.engine_fit)
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
    tests = BetweenWithinTests(fit.engine_fit)
    np.testing.assert_array_equal(tests.column_df, [47, 10, 47])
    assert ContainmentTests(fit.engine_fit).column_df.tolist() == [10, 10, 47]


def test_without_random_terms():
    data = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=["y", "x"])
    fit = fit_of("y ~ x", data)
    np.testing.assert_array_equal(ContainmentTests(fit).column_df, [18, 18])
    np.testing.assert_array_equal(BetweenWithinTests(fit).column_df, [18, 18])
