"""Intervals of variance components against dense generalized least squares."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from mixedext.exceptions import DesignError
from mixedext.models.anova_estimates.estimates import anova_table
from mixedext.models.anova_estimates.intervals import (
    factor_interval,
    ratio_interval,
    residual_interval,
)

SIZES = np.array([1, 2, 3, 8, 1, 5, 4])
GROUP = np.repeat(np.arange(7), SIZES)


def table_of(y, seed=1):
    """One unbalanced factor, a covariate and a treatment of groups."""
    n = len(GROUP)
    x = np.random.default_rng(seed).normal(size=n)
    columns = np.column_stack([np.ones(n), x, GROUP % 2])
    fixed = [("Intercept", columns[:, :1]), ("x", columns[:, 1:2]), ("t", columns[:, 2:])]
    return anova_table(y, fixed, [("g", GROUP, 7)]), columns


def generalized(y, x, ratio):
    """y'V^-1 P y, residual sum of squares of generalized least squares."""
    z = np.eye(7)[GROUP]
    inverse = np.linalg.inv(np.eye(len(y)) + ratio * z @ z.T)
    slope = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
    return (y - x @ slope) @ inverse @ (y - x @ slope)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 5.0, 300.0])
def test_generalized_sum_of_squares(ratio):
    y = np.random.default_rng(5).normal(size=len(GROUP)) + 20
    table, x = table_of(y)
    expected = generalized(y, x, ratio) - table.sum_sq[-1]
    assert_allclose(table.one_factor.at_ratio(ratio), expected, rtol=1e-9)


def test_generalized_sum_of_squares_far_out():
    # falls as 1 / ratio, to full precision where dense matrices have none left
    table, _ = table_of(np.random.default_rng(5).normal(size=len(GROUP)))
    far = [ratio * table.one_factor.at_ratio(ratio) for ratio in (1e10, 1e14)]
    assert_allclose(far[1], far[0], rtol=1e-8)


def test_ratio_limits_are_quantiles_of_f():
    rng = np.random.default_rng(6)
    y = 2 * rng.normal(size=7)[GROUP] + rng.normal(size=len(GROUP))
    table, x = table_of(y)
    limits = ratio_interval(table, 0.1)
    df = table.df[-2:]
    assert limits.lower > 0
    for limit, p in ((limits.lower, 0.05), (limits.upper, 0.95)):
        square = generalized(y, x, limit) - table.sum_sq[-1]
        assert_allclose(square / df[0] / table.mean_sq[-1], stats.f.isf(p, *df), rtol=1e-9)


def test_balanced_ratio_is_the_closed_form():
    rng = np.random.default_rng(7)
    group = np.repeat(np.arange(6), 4)
    y = rng.normal(size=6)[group] + rng.normal(size=24)
    table = anova_table(y, [("Intercept", np.ones((24, 1)))], [("g", group, 6)])
    f = table.mean_sq[0] / table.mean_sq[1]
    expected = np.maximum((f / stats.f.isf([0.025, 0.975], 5, 18) - 1) / 4, 0)
    assert_allclose(ratio_interval(table, 0.05)[:2], expected, rtol=1e-11)


def test_ratio_limits_cover():
    rng = np.random.default_rng(3)
    n, covered = 500, 0
    for _ in range(n):
        table, _ = table_of(1.2 * rng.normal(size=7)[GROUP] + rng.normal(size=len(GROUP)))
        lower, upper, _ = ratio_interval(table, 0.2)
        covered += lower <= 1.44 <= upper
    assert abs(covered / n - 0.8) < 3 * np.sqrt(0.8 * 0.2 / n)


def test_scale_of_the_response():
    y = np.random.default_rng(9).normal(size=7)[GROUP] * 3
    y += np.random.default_rng(10).normal(size=len(GROUP))
    table, _ = table_of(y)
    small, _ = table_of(1e-9 * y)
    assert_allclose(ratio_interval(small, 0.05)[:2], ratio_interval(table, 0.05)[:2],
                    rtol=1e-8)  # fmt: skip
    for interval in (residual_interval, lambda t, a: factor_interval(t, 0, a)):
        assert_allclose(interval(small, 0.05)[:2],
                        1e-18 * np.array(interval(table, 0.05)[:2]), rtol=1e-8)  # fmt: skip


def test_response_that_is_constant_within_groups():
    table, _ = table_of(np.arange(7.0)[GROUP] ** 2)
    assert table.sum_sq[-1] == 0
    assert ratio_interval(table, 0.05)[:2] == (np.inf, np.inf)
    assert residual_interval(table, 0.05)[:2] == (0, 0)


def test_response_that_does_not_vary():
    with pytest.raises(DesignError, match="fit the response exactly"):
        table_of(np.full(len(GROUP), 0.1))
