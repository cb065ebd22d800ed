"""Drawings of profiles, from curves that no model has made."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

from mixedext.graphics.profiles import plot_profiles  # noqa: E402


def curve(*values):
    value = np.array(values)
    return SimpleNamespace(
        value=value, zeta=value - 2.0, middle=1, spline=lambda: lambda x: x - 2.0
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
