"""Slopes of columns of X along a covariate, where quotients could mislead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx

pytestmark = pytest.mark.formula_engine


def test_slopes_where_a_thousandth_of_the_range_is_no_step():
    """Numbers near 1e15 lie an eighth apart; only their products have coefficients."""
    rng = np.random.default_rng(0)
    x, z = 1e15 + rng.integers(-20, 21, 40) / 8, rng.normal(size=40)
    data = pd.DataFrame({"y": rng.normal(size=40), "x": x, "z": z})
    result = mx.mixedlm("y ~ x:z", data).fit()
    with np.errstate(all="raise"):
        found = result.emtrends("z", "x", at={"z": [0.5, 2.0]}).table["estimate"]
    wanted = result.fe_params["x:z"] * np.array([0.5, 2.0])
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def _broken_lines():
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"g": np.repeat(np.arange(8), 10), "x": rng.normal(0.6, 1.5, 80)})
    return data.assign(y=data["x"] + rng.normal(size=80) + rng.normal(size=8)[data["g"]])


@pytest.mark.parametrize(
    ("term", "at", "slope"),
    [
        ("I(x % 2)", 0.7, 1.0),  # the same quotient over half and a quarter of the range
        ("np.round(x)", 1.0, 0.0),
        ("np.maximum(x, 1)", 1.0005, 1.0),  # a corner within the first step
        ("np.maximum(x, 1)", 0.9995, 0.0),
        ("np.abs(x)", -1e-4, -1.0),
        ("np.sin(90 * x)", 0.0, 90.0),
        ("I(x**5)", 0.0, 0.0),
        ("I(x**5)", 1.0, 5.0),
    ],
)
def test_slopes_beside_jumps_and_corners(term, at, slope):
    result = mx.mixedlm(f"y ~ {term} + (1 | g)", _broken_lines()).fit()
    found = result.emtrends("1", "x", at={"x": at}).table["estimate"].iloc[0]
    wanted = slope * result.fe_params.iloc[1]
    assert found == pytest.approx(
        wanted, rel=1e-6, abs=1e-9 * abs(result.fe_params.iloc[1])
    )


@pytest.mark.parametrize(
    ("term", "at"),
    [
        ("np.where(x > x.mean(), 1, 0)", "mean"),
        ("np.abs(x)", 0.0),
        ("np.sign(x)", 0.0),
        ("bs(x, knots=[1], degree=1)", 1.0),
    ],
)
def test_no_slope_at_jumps_and_corners(term, at):
    result = mx.mixedlm(f"y ~ {term} + (1 | g)", _broken_lines()).fit()
    with pytest.raises(ValueError, match=r"x jumps or has a corner at x = .*delta="):
        result.emtrends("1", "x", at={"x": at})
    quotient = result.emtrends("1", "x", at={"x": at}, delta=0.1)
    assert np.isfinite(quotient.table["estimate"].iloc[0])
