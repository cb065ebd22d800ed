"""Slices of the deviance, and the way of the search."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.pictures import drawn
from helpers.plot_models import DESIGNS, fit_of
from scipy import stats

from mixedext.graphics.figures import one_axes
from mixedext.graphics.search import (
    deviance_data,
    fit_log_data,
    plot_deviance,
    plot_fit_log,
)

pytestmark = pytest.mark.formula_engine


@pytest.mark.parametrize("name", [*DESIGNS, "weighted"])
def test_slices_are_the_objective(name):
    result = fit_of(name)
    frame = deviance_data(result, n=11)
    theta = np.asarray(result.theta, float)
    for number, own in enumerate(result.theta_names):
        part = frame[frame["name"] == own]
        assert len(part) == 11
        assert theta[number] in part["value"].to_numpy()
        for value, deviance in part[["value", "deviance"]].to_numpy():
            at = theta.copy()
            at[number] = value
            found, _ = result.model.objective(at, reml=result.reml)
            np.testing.assert_allclose(deviance, found, rtol=1e-10)
        level = stats.chi2.ppf(0.95, 1)
        assert part["deviance"].iloc[-1] > result.deviance + level
    np.testing.assert_allclose(frame["deviance"].min(), result.deviance, rtol=1e-9)


def test_standard_deviations_are_not_negative():
    frame = deviance_data(fit_of("singular"))
    assert (frame["value"] >= 0).all()
    assert frame["value"].iloc[0] == 0


@pytest.mark.parametrize("name", DESIGNS)
def test_pictures_hold_the_data(name):
    result = fit_of(name)
    frame = deviance_data(result)
    axes = drawn(plot_deviance(result)).axes
    for ax, (own, part) in zip(axes, frame.groupby("name", sort=False)):  # noqa: B905
        np.testing.assert_allclose(
            ax.lines[2].get_xydata(), part[["value", "deviance"]], rtol=1e-12
        )
        assert ax.get_xlabel().replace("\n", " ") == own
    log = fit_log_data(result)
    np.testing.assert_array_equal(log["deviance"], result.fit_log["deviance"])
    (ax,) = drawn(plot_fit_log(result)).axes
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), log["evaluation"])
    assert ax.get_yscale() == "log"


def test_one_element():
    (ax,) = plot_deviance(fit_of("slopes"), "Subject.Days").axes
    assert ax.get_xlabel() == "Subject.Days"


def test_mistakes():
    result = fit_of("slopes")
    with pytest.raises(ValueError, match=r"name='Subject\.Day' is not an element of theta"):
        plot_deviance(result, "Subject.Day")
    with pytest.raises(ValueError, match="n=2"):
        plot_deviance(result, n=2)
    with pytest.raises(ValueError, match="1 axes for 3 parameters"):
        plot_deviance(result, ax=one_axes())


@pytest.mark.parametrize("plot", [plot_deviance, plot_fit_log])
def test_own_axes(plot):
    ax = one_axes()
    assert plot(fit_of("six"), ax=ax) is ax.figure


@pytest.mark.parametrize("plot", [plot_deviance, plot_fit_log])
def test_matplotlib_is_absent(plot, without_matplotlib):
    with pytest.raises(ImportError, match=r"pip install mixedext\[plot\]"):
        plot(fit_of("six"))
