"""The picture of estimates with their limits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from mixedext.graphics.estimates import plot_estimates

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
