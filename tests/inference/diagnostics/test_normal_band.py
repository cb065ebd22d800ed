"""The simultaneous band of normal order statistics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mixedext.inference.diagnostics.normal_band import normal_band


@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_two_variables_by_integration(alpha):
    """P(a1 <= U(1) <= b1, a2 <= U(2) <= b2) is an area that can be written down."""
    lower, upper = stats.norm.cdf(normal_band(2, alpha))
    grid = np.linspace(lower[0], upper[0], 200_001)
    length = upper[1] - np.maximum(grid, lower[1])
    area = 2 * np.trapezoid(np.maximum(length, 0.0), grid)
    assert abs(area - (1 - alpha)) < 2e-3 * alpha + 1e-6


@pytest.mark.parametrize("n", [6, 60, 2000])
def test_share_of_samples_inside(n):
    rng = np.random.default_rng(n)
    lower, upper = normal_band(n)
    z = np.sort(rng.standard_normal((4000, n)), axis=1)
    out = ((z < lower) | (z > upper)).any(axis=1).mean()
    assert abs(out - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 4000)


def test_symmetric_and_ascending():
    lower, upper = normal_band(25, 0.1)
    np.testing.assert_allclose(lower, -upper[::-1])
    assert (np.diff(lower) > 0).all()
    assert (np.diff(upper) > 0).all()
    assert normal_band(1)[1][0] == pytest.approx(stats.norm.ppf(0.975))
