"""Limits from standard errors of variances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mixedext.inference.variances.interval_numbers import (
    log_limits,
    satterthwaite_df,
    satterthwaite_limits,
    sd_and_correlation,
)


def test_transformation_and_its_derivative():
    values, pairs = np.array([4.0, 1.5, 2.0, 0.25]), [None, (0, 2), None, None]
    out, jacobian = sd_and_correlation(values, pairs)
    np.testing.assert_allclose(out, [2, 1.5 / 8**0.5, 2**0.5, 0.5])
    h = 1e-6
    for i, e in enumerate(np.eye(4)):
        high = sd_and_correlation(values + h * e, pairs)[0]
        low = sd_and_correlation(values - h * e, pairs)[0]
        np.testing.assert_allclose((high - low) / (2 * h), jacobian[:, i], atol=1e-9)


def test_zero_variance_has_no_derivative():
    out, jacobian = sd_and_correlation(np.array([0.0, 0.0, 1.0]), [None, (0, 2), None])
    assert out[0] == 0.0
    assert np.isnan(out[1])
    assert np.isnan(jacobian[[0, 1], [0, 1]]).all()
    assert jacobian[2, 2] == 0.5


def test_log_limits_stay_within_bounds():
    limits = log_limits(np.array([1.0, 0.9]), np.array([5.0, 3.0]), [False, True], 0.05)
    assert 0 < limits[0, 0] < 1 < limits[0, 1]
    assert -1 <= limits[1, 0] < 0.9 < limits[1, 1] <= 1
    margin = stats.norm.ppf(0.975) * 5
    np.testing.assert_allclose(np.log(limits[0]), [-margin, margin])


def test_satterthwaite_is_exact_for_a_mean_square():
    # a mean square of 7 degrees of freedom with its own standard error
    error = 3.0 * np.sqrt(2 / 7)
    assert satterthwaite_df(np.array([3.0]), np.array([error]))[0] == pytest.approx(7)
    limits = satterthwaite_limits([3.0], [error], 0.1)
    np.testing.assert_allclose(limits[0], 21 / stats.chi2.ppf([0.95, 0.05], 7))


def test_limits_beyond_all_numbers_are_infinite():
    with np.errstate(all="raise", under="ignore"):
        (limits,) = log_limits(
            np.array([1e-3]), np.array([1.0]), np.array([False]), alpha=0.05
        )
    np.testing.assert_array_equal(limits, [0.0, np.inf])


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_degrees_of_freedom_of_variances_do_not_depend_on_units(size):
    found = satterthwaite_df(np.array([4.0, 0.5]) * size, np.array([2.0, 1.0]) * size)
    np.testing.assert_allclose(found, [8.0, 0.5])
