"""Welch's test and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from mixedext.models.lm_list.welch import welch_test


def test_interval_is_that_of_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=7), 1 + 2 * rng.normal(size=12)
    test = welch_test("x", ("a", "b"), [np.r_[first, np.nan], second])
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert (test.n_left_out, test.sizes) == (1, (7, 12))
    assert_allclose(test.statistic, test.difference / test.se, rtol=1e-12)
    assert_allclose(test.conf_int(0.1), expected.confidence_interval(0.9), rtol=1e-12)


def test_equal_means_have_an_interval():
    # 0 / 0 if the standard error is taken from the statistic
    test = welch_test("x", ("a", "b"), [np.array([1.0, 3.0]), np.array([0.0, 2.0, 4.0])])
    assert test.difference == test.statistic == 0
    lower, upper = test.conf_int()
    assert_allclose(lower, -upper, rtol=1e-14)
    assert upper > 1


def test_printed_lines():
    samples = np.array([1.0, 3.0, np.nan]), np.array([0.0, 1.0])
    assert repr(welch_test("slope", ("a", "b"), samples)).splitlines() == [
        "Welch's t test of slope",
        "a: mean 2 of 2 groups",
        "b: mean 0.5 of 2 groups",
        "difference = 1.5, 95% interval -5.41852 to 8.41852",
        "t = 1.342, df = 1.47, p = 0.3499",
        "groups that do not determine it, left out: 1",
    ]


@pytest.mark.parametrize("alpha", [0, 1, 95])
def test_alpha_out_of_range(alpha):
    test = welch_test("x", ("a", "b"), [np.array([1.0, 3.0]), np.array([0.0, 2.0])])
    with pytest.raises(ValueError, match=r"alpha=.* must lie between 0 and 1"):
        test.conf_int(alpha)
