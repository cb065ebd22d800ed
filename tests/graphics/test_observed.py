"""Observed values against predictions."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.pictures import drawn
from helpers.plot_models import DESIGNS, fit_of

from mixedext.graphics.figures import one_axes, panels
from mixedext.graphics.observed import observed_data, plot_observed, squared_correlation

pytestmark = pytest.mark.formula_engine


@pytest.mark.parametrize("name", DESIGNS)
def test_the_picture_holds_the_data(name):
    result = fit_of(name)
    frame = observed_data(result)
    np.testing.assert_array_equal(frame["observed"], result.model.endog)
    np.testing.assert_allclose(frame["conditional"], result.fittedvalues, rtol=1e-12)
    np.testing.assert_allclose(
        frame["marginal"], result.predict(conditional=False), rtol=1e-12
    )
    axes = drawn(plot_observed(result)).axes
    for ax, kind in zip(axes, ("marginal", "conditional"), strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_xydata(), frame[[kind, "observed"]])
        assert ax.get_xlabel() == f"predicted, {kind}"
        title = ax.get_title()
        if np.ptp(frame[kind]) > 1e-8:
            r2 = np.corrcoef(frame[kind], frame["observed"])[0, 1] ** 2
            assert title == f"r² = {r2:.3f}"
        else:
            assert title == "the same for all rows"


def test_one_axes_has_the_conditional_ones():
    ax = one_axes()
    assert plot_observed(fit_of("six"), ax=ax) is ax.figure
    assert ax.get_xlabel() == "predicted, conditional"
    axes = panels(None, 2)
    assert plot_observed(fit_of("six"), ax=axes) is axes[0].figure
    assert all(ax.lines for ax in axes)


def test_mistakes():
    with pytest.raises(ValueError, match="kind"):
        plot_observed(fit_of("six"), "raw")
    with pytest.raises(ValueError, match="1 axes for 2 panels"):
        plot_observed(fit_of("six"), ["marginal", "conditional"], ax=one_axes())


def test_matplotlib_is_absent(without_matplotlib):
    with pytest.raises(ImportError, match=r"pip install mixedext\[plot\]"):
        plot_observed(fit_of("six"))


def test_squares_of_huge_values_are_numbers():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20))
    want = np.corrcoef(x, y)[0, 1] ** 2
    for size in (1.0, 1e120, 1e-120):
        with np.errstate(all="raise"):
            assert squared_correlation(size * x, y) == pytest.approx(want, rel=1e-12)
