"""Drawings of profiles, from curves that no model has made."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers.graphics_cases import fit_of
from helpers.pictures import drawn
from matplotlib import pyplot as plt
from scipy import stats
from scipy.interpolate import CubicHermiteSpline

from mixedext.graphics.profiles import plot_pairs, plot_profiles, profile_density


def curve(*values):
    value = np.array(values)
    return SimpleNamespace(
        value=value, zeta=value - 2.0, middle=1, spline=lambda: np.poly1d([1.0, -2.0])
    )


LIMITS = pd.DataFrame(
    [[0.5, 3.5], [np.nan, 3.0]], index=["a", "b"], columns=["lower", "upper"]
)


def test_a_panel_a_curve():
    curves = {"a": curve(0.0, 2.0, 4.0), "b": curve(1.0, 2.0, 3.0)}
    figure = plot_profiles(curves, LIMITS, 0.9)
    assert [ax.get_xlabel() for ax in figure.axes if ax.get_visible()] == ["a", "b"]
    drawn = [
        {line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1}
        for ax in figure.axes
    ]
    assert {0.5, 3.5} <= drawn[0]
    assert 3.0 in drawn[1]
    assert not any(np.isnan(x) for x in drawn[1])
    plt.close(figure)


def test_own_axes():
    figure, ax = plt.subplots()
    assert plot_profiles({"a": curve(0.0, 2.0, 4.0)}, LIMITS, 0.9, ax) is figure
    with pytest.raises(ValueError, match="ax has 1 axes for 2 parameters"):
        plot_profiles({"a": curve(0.0, 2.0), "b": curve(0.0, 2.0)}, LIMITS, 0.9, ax)
    plt.close(figure)


def test_density_of_a_straight_profile_is_normal():
    line = CubicHermiteSpline([-3.0, 2.0, 7.0], [-2.5, 0.0, 2.5], [0.5, 0.5, 0.5])
    straight = SimpleNamespace(
        value=line.x, zeta=line(line.x), middle=1, spline=lambda: line
    )
    frame = profile_density({"a": straight})
    expected = stats.norm.pdf(frame["value"], 2.0, 2.0)
    np.testing.assert_allclose(frame["density"], expected, rtol=1e-12)
    assert len(profile_density({"a": curve(0.0)})) == 0


@pytest.mark.formula_engine
def test_profiles_of_a_fit():
    profile = fit_of("Reaction ~ Days + (Days | Subject)", "sleepstudy").profile("random")
    frame, zeta = profile.density_data(), profile.zeta
    figure = drawn(profile.plot_density())
    for ax, name in zip(figure.axes, profile.names, strict=True):
        part = frame[frame["parameter"] == name]
        np.testing.assert_allclose(ax.lines[0].get_xydata(), part[["value", "density"]])
        assert 0.97 < np.trapezoid(part["density"], part["value"]) < 1
    figure = drawn(profile.plot_pairs())
    across, along = profile.names[:2]
    ax = figure.axes[len(profile.names)]  # the first below the diagonal
    for line, name in zip(ax.lines, (across, along), strict=False):
        part = zeta[zeta["parameter"] == name]
        np.testing.assert_allclose(line.get_xydata(), part[[across, along]])
    drawn(profile.plot())


def test_pairs_need_few_parameters():
    many = {f"p{i}": curve(0.0, 2.0, 4.0) for i in range(9)}
    with pytest.raises(ValueError, match="9 parameters are too many"):
        plot_pairs(many, pd.DataFrame())


def test_without_matplotlib(without_matplotlib):
    with pytest.raises(ImportError, match="plots need matplotlib"):
        plot_profiles({"a": curve(0.0, 2.0, 4.0)}, LIMITS, 0.9)
