"""Smooth curves, and points that are counted where they are many."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.pictures import drawn
from matplotlib.collections import PolyCollection
from statsmodels.nonparametric.smoothers_lowess import lowess

from mixedext.graphics.figures import figure_of, one_axes
from mixedext.graphics.row_clouds import (
    MOST_POINTS,
    draw_cloud,
    draw_curve,
    lowess_curve,
    spread,
)


def test_the_curve_is_statsmodels():
    rng = np.random.default_rng(1)
    x = rng.normal(size=200)
    y = np.sin(x) + rng.normal(size=200)
    found = lowess_curve(x, y)
    own = lowess(y, x, frac=2 / 3, delta=0.005 * np.ptp(x))
    np.testing.assert_allclose(found, own, rtol=1e-12)


def test_long_data_are_thinned():
    rng = np.random.default_rng(2)
    x = rng.normal(size=60_000)
    found = lowess_curve(x, 2 * x)
    assert len(found) <= 400
    np.testing.assert_allclose(found["smooth"], 2 * found["x"], atol=1e-8)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0, 3.0]])
def test_no_curve_through_three_places(values):
    x = np.repeat(values, 10)
    assert not len(lowess_curve(x, np.arange(len(x), dtype=float)))


def test_ties_and_repeats_give_a_curve():
    x = np.repeat(np.arange(6.0), 20)
    found = lowess_curve(x, x**2 + np.tile([-1.0, 1.0], 60))
    assert np.isfinite(found).all(axis=None)
    assert found["x"].is_monotonic_increasing


def test_spread_has_both_ends():
    np.testing.assert_array_equal(spread(5, 9), np.arange(5))
    found = spread(1000, 10)
    assert len(found) == 10
    assert found[0] == 0
    assert found[-1] == 999
    np.testing.assert_array_equal(spread(3, 2, np.array([4, 5, 6])), [4, 6])


def test_many_points_are_counted():
    rng = np.random.default_rng(3)
    x = rng.normal(size=MOST_POINTS + 1)
    ax = one_axes()
    assert "50,001 rows" in draw_cloud(ax, x, x)
    draw_curve(ax, lowess_curve(x, x))
    assert any(isinstance(c, PolyCollection) for c in ax.collections)
    assert len(drawn(figure_of(ax)).axes[0].lines) == 1
    ax = one_axes()
    assert draw_cloud(ax, x[:100], x[:100]) == ""
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.column_stack([x, x])[:100])
