"""What all plots stand on: figures and axes, colours, names that fit.

Nothing here changes a state that others see: figures are not registered with
matplotlib.pyplot and no setting is changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import ModuleType
from typing import Any
from unicodedata import category

import numpy as np

__all__ = [
    "COLOURS",
    "GREY",
    "HEIGHT",
    "LIGHT",
    "MOST_LABELS",
    "REFERENCE",
    "WIDTH",
    "check_rows",
    "few_ticks",
    "figure_of",
    "label_axes",
    "legend",
    "matplotlib",
    "name_ticks",
    "one_axes",
    "panels",
    "plain",
    "reference_line",
    "shortened",
    "text_width",
]

# Okabe and Ito (2008), Color universal design: told apart by all readers, also in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Of references: zero, thresholds, the population; and of what stands behind all else.
GREY, LIGHT = "0.45", "0.8"
REFERENCE: dict[str, Any] = {"color": GREY, "lw": 0.9, "zorder": 1}
# Inches of a figure of one panel.
WIDTH, HEIGHT = 6.4, 4.8
# Names on an axis at most; a page has no room for more.
MOST_LABELS = 60

_POINTS = 72.0
# Room that a line of text takes, in units of its font's size.
_LINE = 1.35
# Share of the side of axes that text along it may take: the layout may make them smaller.
_WRAPPED = 0.85
# What names turned upright below the axes leave of their height.
_UPRIGHT = 0.7
# Texts that are measured at most.
_MEASURED = 20
# Share of a figure's side that names may take.
_SHARE = 0.4
# Characters of the shortest name that still says something.
_FEWEST = 4


def matplotlib() -> ModuleType:
    """Matplotlib, whose modules may be imported after this.

    Raises
    ------
    ImportError
        If it is not installed; says how to install it.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install mixedext[plot]") from error
    return mpl


# ---- figures and axes ----


def _new_figure(width: float, height: float) -> Any:
    matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from mixedext.graphics.own_figure import OwnFigure

    figure = OwnFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # with which it can be drawn, and its texts be measured
    return figure


def one_axes(ax: Any = None, width: float = WIDTH, height: float = HEIGHT) -> Any:
    """The axes to draw on.

    Parameters
    ----------
    ax : Axes, optional
        The user's; a new figure is made if None.
    width, height : float, optional
        Inches of the new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are several axes.
    """
    return panels(ax, 1, width=width, height=height)[0]


def panels(
    ax: Any,
    count: int,
    *,
    width: float = 3.2,
    height: float = 2.8,
    columns: int | None = None,
    share: bool = False,
    things: str = "panels",
) -> list[Any]:
    """Axes of several panels.

    Parameters
    ----------
    ax : Axes, array_like of Axes or None
        The user's; a grid on a new figure if None.
    count : int
        Number of panels.
    width, height : float, optional
        Inches of a panel.
    columns : int, optional
        Panels side by side; as many as one below another if None.
    share : bool, optional
        Whether panels of a new figure have the same limits.
    things : str, optional
        What a panel shows, for the message.

    Returns
    -------
    list of Axes
        (count,).  Axes of the grid that are left over are not visible.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the user's axes are fewer than panels.
    TypeError
        If they are no axes.
    """
    matplotlib()
    from matplotlib.axes import Axes

    if ax is None:
        columns = columns or int(np.ceil(np.sqrt(count)))
        columns = min(columns, count)
        rows = -(-count // columns)
        figure = _new_figure(width * columns, height * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share)
    else:
        grid = ax if isinstance(ax, Axes) else np.asarray(ax, dtype=object)
    found = [grid] if isinstance(grid, Axes) else list(grid.ravel())
    wrong = next((a for a in found if not isinstance(a, Axes)), None)
    if wrong is not None:
        raise TypeError(f"ax: {type(wrong).__name__} is no Axes of matplotlib")
    if len(found) < count:
        raise ValueError(f"ax has {len(found)} axes for {count} {things}")
    for own in found[count:]:
        own.set_visible(False)
    return found[:count]


def figure_of(axes: Any) -> Any:
    """The Figure of axes, or of the first of them."""
    return (axes[0] if isinstance(axes, list) else axes).figure


def reference_line(ax: Any, *, x: float | None = None, y: float | None = None) -> None:
    """A grey line at a value: what the rest is seen against."""
    if x is not None:
        ax.axvline(x, **REFERENCE)
    if y is not None:
        ax.axhline(y, **REFERENCE)


# ---- text ----


def plain(label: Any) -> str:
    """A label as text of one line that matplotlib does not read as mathematics."""
    return " ".join(str(label).split()).replace("$", r"\$")


def shortened(label: Any, most: int) -> str:
    """A label of at most so many characters; what is left out of its middle is "…"."""
    text = " ".join(str(label).split())
    most = max(most, _FEWEST)
    if len(text) <= most:
        return plain(text)
    head = most // 2
    return plain(f"{text[:head]}…{text[head + 1 - most :]}")


def text_width(texts: Sequence[Any], size: Any = "ytick.labelsize") -> float:
    """Inches of the widest of some texts; ``size`` is points or a setting's name."""
    mpl = matplotlib()
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(size=mpl.rcParams[size] if isinstance(size, str) else size)
    # measuring takes a millisecond; the widest is among those of most characters
    # characters without a glyph, as of direction, make matplotlib fail
    shown = {t for t in map(plain, texts) if any(category(c)[0] not in "CZ" for c in t)}
    long = sorted(shown, key=len)[-_MEASURED:]
    widths = [TextPath((0, 0), text, prop=font).get_extents().width for text in long]
    return max(widths, default=0.0) / _POINTS


def _points(size: Any) -> float:
    mpl = matplotlib()
    from matplotlib.font_manager import FontProperties

    value = mpl.rcParams[size] if isinstance(size, str) and size in mpl.rcParams else size
    return FontProperties(size=value).get_size_in_points()


def _extent(ax: Any) -> tuple[float, float]:
    """Inches of axes, as far as they are known before the layout is made."""
    box = ax.get_window_extent()
    dpi = figure_of(ax).dpi
    return box.width / dpi, box.height / dpi


def _wrapped(text: str, inches: float, size: Any) -> str:
    """A text in lines of at most so many inches."""
    width, room = text_width([text], size), _WRAPPED * inches
    if width <= room:
        return plain(text)
    most = max(int(len(text) * room / width), _FEWEST)
    lines = _lines(text, most)
    while most > _FEWEST and text_width(lines, size) > room:  # lines of wide letters
        most = max(min(most - 1, int(0.9 * most)), _FEWEST)
        lines = _lines(text, most)
    return "\n".join(map(plain, lines))


def _lines(text: str, most: int) -> list[str]:
    """A text in lines of at most so many characters, broken at spaces and marks."""
    lines = [""]
    for piece in re.findall(r"[^\s|:._/-]*[|:._/-]*\s*", text):
        if len(lines[-1]) + len(piece.rstrip()) > most and lines[-1]:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > most:
            lines[-1:] = [lines[-1][:most], lines[-1][most:]]
    return [line for line in lines if line.strip()]


def label_axes(
    ax: Any,
    x: Any = None,
    y: Any = None,
    title: Any = None,
    *,
    small: bool = False,
    title_size: Any = None,
) -> None:
    """Labels and title of axes, in lines that are no longer than the axes.

    Parameters
    ----------
    ax : Axes
    x, y, title : str, optional
        Left as they are if None.
    small : bool, optional
        A title as large as the labels, for panels.
    title_size : float or str, optional
        Size of the title's letters, in place of that.
    """
    width, height = _extent(ax)
    # panels give room to labels and ticks when the layout is made
    width = 0.8 * width if small else width
    if x is not None:
        ax.set_xlabel(_wrapped(str(x), width, "axes.labelsize"))
    if y is not None:
        ax.set_ylabel(_wrapped(str(y), _UPRIGHT * height, "axes.labelsize"))
    if title is not None:
        own = "axes.labelsize" if small else "axes.titlesize"
        size = _points(own if title_size is None else title_size)
        ax.set_title(_wrapped(str(title), width, size), fontsize=size)


def name_ticks(
    ax: Any,
    axis: str,
    at: Sequence[float] | np.ndarray,
    names: Sequence[Any],
    most: int = MOST_LABELS,
    room: float | None = None,
    *,
    whole: bool = False,
) -> int:
    """Name places on an axis; every second, third ... where there is no room for all.

    Names too long for the figure are shortened in their middle.

    Parameters
    ----------
    ax : Axes
    axis : {"x", "y"}
    at : sequence of float
        Places, ascending.
    names : sequence of str
        Their names.
    most : int, optional
        Names at most.
    room : float, optional
        Inches that a name may take beside the axes; two fifths of the figure if None.
    whole : bool, optional
        Whether the figure was made as large as all names need.

    Returns
    -------
    int
        One of how many places has a name.
    """
    names = list(names)
    size = _points(f"{axis}tick.labelsize")
    width, height = _extent(ax)
    line = _LINE * size / _POINTS
    count = max(len(at), 1)
    widest = text_width(names, size)
    turned = axis == "x" and (widest + line / 2) * count > width
    if axis == "y" or turned:
        fits = max(int((height if axis == "y" else width) / line), 1)
    else:
        fits = count
    step = 1 if whole else -(-count // max(min(fits, most), 1))
    chosen = slice(None, None, step)
    shown = [plain(name) for name in names[chosen]]
    if axis == "y" or turned:
        box = ax.figure.bbox
        side = box.width if axis == "y" else box.height
        room = _SHARE * side / ax.figure.dpi if room is None else room
        if widest > room:
            longest = max(len(name) for name in shown)
            shown = [
                shortened(name, int(longest * room / widest)) for name in names[chosen]
            ]
    if axis == "y":
        ax.set_yticks(list(at)[chosen], shown)
    else:
        ax.set_xticks(list(at)[chosen], shown, rotation=90 if turned else 0)
    return step


def few_ticks(ax: Any, x: int | None = 5, y: int | None = 5) -> None:
    """At most so many intervals between ticks, so that numbers do not touch each other."""
    from matplotlib.ticker import MaxNLocator

    for axis, most in ((ax.xaxis, x), (ax.yaxis, y)):
        if most is not None:
            axis.set_major_locator(MaxNLocator(most, prune=None))


def legend(ax: Any, own: bool) -> None:
    """A legend beside axes of a figure of ours, within those of the user's.

    Parameters
    ----------
    ax : Axes
    own : bool
        Whether the figure is ours, whose layout makes room.
    """
    beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    place: dict[str, Any] = beside if own else {"loc": "upper right", "framealpha": 0.8}
    made = ax.legend(fontsize="small", frameon=not own, **place)
    for handle in made.legend_handles:
        handle.set_alpha(1.0)


def check_rows(frame: Any, what: str) -> None:
    """Refuse to draw nothing.

    Raises
    ------
    ValueError
        If a frame has no rows; says what it should have.
    """
    if len(frame) == 0:
        raise ValueError(f"there is nothing to draw: no {what}")
