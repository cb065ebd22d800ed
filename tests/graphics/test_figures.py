"""Figures, axes and names, from no plot in particular."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pandas as pd
import pytest
from helpers.pictures import drawn

from mixedext.graphics.figures import (
    check_rows,
    figure_of,
    label_axes,
    name_ticks,
    one_axes,
    panels,
    plain,
    shortened,
    text_width,
)

LONG = "a level whose name has forty characters."


@pytest.mark.parametrize("name", [LONG, LONG.replace(" ", "_"), "W" * 40])
@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("count", [1, 6, 60, 5000])
def test_names_do_not_overlap(axis, count, name):
    ax = one_axes()
    at = range(count)
    ax.plot(at, at)
    name_ticks(ax, axis, at, [f"{name} {i}" for i in at])
    figure = drawn(figure_of(ax))
    shown = (ax.get_xticklabels if axis == "x" else ax.get_yticklabels)()
    assert len(shown) <= 60
    assert shown[0].get_text()[:4] == name[:4]
    assert "…" in shown[0].get_text() or shown[0].get_text() == f"{name} 0"
    assert ax.get_position().width * ax.get_position().height > 0.1
    assert figure.axes == [ax]


def test_every_name_where_there_is_room():
    assert name_ticks(one_axes(), "y", range(6), "abcdef") == 1
    ax = one_axes()
    assert name_ticks(ax, "y", range(100), ["a"] * 100, most=10) == 10
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a"] * 10


def test_labels_are_wrapped():
    axes = panels(None, 4)
    for ax in axes:
        ax.plot([0, 1], [0, 1])
        label_axes(ax, f"{LONG} {LONG}", "W" * 60, f"{LONG} {LONG} {LONG}", small=True)
    drawn(figure_of(axes))


def test_dollars_are_no_mathematics():
    assert plain("cost in $ or\n $\\alpha") == r"cost in \$ or \$\alpha"
    ax = one_axes()
    name_ticks(ax, "x", [0, 1], ["$\\wrong{$", "b"])
    label_axes(ax, "$x", "$y$", "_{$}")
    drawn(ax.figure)


def test_shortened():
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghijk", 7) == "abc…ijk"
    assert len(shortened(LONG, 12)) == 12


def test_width_grows_with_text():
    assert 0 == text_width([]) < text_width(["i"]) < text_width(["iW"])


def test_axes_of_the_user():
    from matplotlib.figure import Figure

    figure = Figure()
    grid = figure.subplots(2, 2)
    assert one_axes(grid[0, 0]) is grid[0, 0]
    assert panels(grid, 3) == list(grid.ravel()[:3])
    assert [ax.get_visible() for ax in figure.axes] == [True, True, True, False]
    assert figure_of(panels(grid, 3)) is figure
    with pytest.raises(ValueError, match="ax has 4 axes for 5 levels"):
        panels(grid, 5, things="levels")
    with pytest.raises(TypeError, match="ax: str is no Axes"):
        one_axes("here")


def test_notebooks_and_pickles():
    figure = one_axes().figure
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert len(pickle.loads(pickle.dumps(figure)).axes) == 1


def test_nothing_to_draw():
    check_rows(pd.DataFrame({"a": [1]}), "rows")
    with pytest.raises(ValueError, match="nothing to draw: no rows"):
        check_rows(pd.DataFrame(), "rows")


def test_without_matplotlib(without_matplotlib):
    with pytest.raises(
        ImportError, match=r"plots need matplotlib: pip install mixedext\[plot\]"
    ):
        one_axes()
    with pytest.raises(ImportError, match="plots need matplotlib"):
        text_width(["a"])


def test_the_package_needs_no_matplotlib():
    code = "import sys; sys.modules['matplotlib'] = None; import mixedext"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_text_without_a_glyph_has_no_width():
    """matplotlib fails at a character that only turns the direction."""
    assert text_width(["\u202e", "\x00", "  "]) == 0.0
    assert text_width(["\u202e", "wide"]) == text_width(["wide"]) > 0.0
