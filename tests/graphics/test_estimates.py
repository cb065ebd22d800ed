"""The picture of estimates with their limits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from helpers.graphics_cases import fit_of, segments_of
from helpers.pictures import drawn

from mixedext.graphics.estimates import plot_estimates, plot_interaction

plt = pytest.importorskip("matplotlib.pyplot")
TABLE = pd.DataFrame({"estimate": [1.0, 3.0], "lower": [0.5, 2.0], "upper": [2.0, 3.5]})


def test_a_row_an_estimate_from_the_top():
    figure = plot_estimates(TABLE, ["a", "b"], "mean")
    (ax,) = figure.axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_xlabel() == "mean"
    assert ax.yaxis_inverted()
    points, _, bars = ax.containers[0]
    np.testing.assert_array_equal(points.get_xdata(), TABLE["estimate"])
    ends = np.array([segment[:, 0] for segment in bars[0].get_segments()])
    np.testing.assert_array_equal(ends, TABLE[["lower", "upper"]])
    plt.close(figure)


def test_own_axes():
    figure, ax = plt.subplots()
    assert plot_estimates(TABLE, ["a", "b"], "mean", ax=ax) is figure
    plt.close(figure)


@pytest.mark.parametrize("length", [1, 18, 90])
@pytest.mark.parametrize("count", [2, 40])
def test_names_are_seen_whole(length, count):
    table = pd.concat([TABLE] * (count // 2), ignore_index=True)
    figure = plot_estimates(table, ["W" * length] * count, "mean")
    figure.canvas.draw()
    (ax,) = figure.axes
    whole = figure.bbox
    boxes = [t.get_window_extent() for t in ax.get_yticklabels()]
    assert all(box.x0 >= whole.x0 and box.x1 <= whole.x1 for box in boxes)
    assert all(b.y1 >= a.y0 or a.y1 >= b.y0 for a, b in pairwise(boxes))
    assert ax.get_window_extent().width > 3 * figure.dpi
    plt.close(figure)


def test_arrows():
    arrows = np.array([[np.nan, 1.5], [2.5, np.nan]])
    figure = drawn(plot_estimates(TABLE, ["a", "b"], "mean", arrows=arrows))
    ends = [a.xy[0] for a in figure.axes[0].texts]
    assert sorted(ends) == [1.5, 2.5]


@pytest.mark.formula_engine
def test_interaction():
    result = fit_of("yield ~ nitroF * Variety + (1 | Block)", "oats")
    means = result.emmeans(["nitroF", "Variety"])
    (ax,) = drawn(means.plot_interaction()).axes
    names = [t.get_text() for t in ax.get_legend().get_texts()]
    assert names == ["Golden Rain", "Marvellous", "Victory"]
    for line, bars, name in zip(ax.lines, ax.collections, names, strict=True):
        part = means.table[means.table["Variety"] == name]
        np.testing.assert_allclose(line.get_ydata(), part["estimate"])
        np.testing.assert_allclose(segments_of(bars)[:, :, 1], part[["lower", "upper"]])
    drawn(means.plot_interaction("Variety", "nitroF"))
    drawn(result.emmeans("Variety").plot_interaction())
    drawn(result.emmeans("nitroF").plot(comparisons=True))
    with pytest.raises(ValueError, match=r"trace='Varieti' is not a factor.*Variety"):
        means.plot_interaction("nitroF", "Varieti")
    many = pd.concat([means.table] * 2)
    with pytest.raises(ValueError, match="several means for one level of nitroF"):
        plot_interaction(many, "nitroF", "Variety", "mean")


def test_interaction_of_long_names():
    levels = [f"a level with $name of forty characters {i:02d}" for i in range(6)]
    table = pd.concat([TABLE] * 3, ignore_index=True).assign(a=levels, b=["q" * 40] * 6)
    drawn(plot_interaction(table, "a", "b", "mean of something " * 5))
    table = table.assign(a=list("abcdef"), b=levels)
    drawn(plot_interaction(table, "a", "b", "mean"))


@pytest.mark.parametrize("plot", ["estimates", "interaction"])
def test_without_matplotlib(plot, without_matplotlib):
    table = TABLE.assign(a=["x", "y"])
    ask = {
        "estimates": lambda: plot_estimates(TABLE, ["a", "b"], "mean"),
        "interaction": lambda: plot_interaction(table, "a", None, "mean"),
    }[plot]
    with pytest.raises(ImportError, match="plots need matplotlib"):
        ask()
