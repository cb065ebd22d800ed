"""Images of matrices with their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mixedext.graphics.figures import (
    MOST_LABELS,
    figure_of,
    label_axes,
    matplotlib,
    one_axes,
    plain,
    shortened,
    text_width,
)

__all__ = ["Block", "Elements", "MatrixPicture", "draw_matrix", "thinned"]

# Elements that are printed, rows and columns at most.
MOST_PRINTED = 12
# Ratio of the largest element to the lowest tenth above which colours are logarithmic.
WIDE = 100.0
# Share of the largest element below which logarithmic colours do not reach.
LEAST_SHARE = 1e-6
# Levels that have lines, and names, of their own at most; characters of a name.
MOST_LINES, MOST_NAMED, MOST_CHARACTERS = 40, 20, 24
# Points of the numbers in the elements, and of names; lines of names are so many apart.
PRINT_SIZE, FONT_SIZE, LINE = 8.0, 10.0, 1.5
# Elements from this size on are printed with an exponent.
LONGEST = 1e5
# Inches about the image.
PAD = 0.1
# Weights of red, green and blue in what the eye takes for brightness.
LUMINANCE = (0.299, 0.587, 0.114)


class Elements(NamedTuple):
    """Elements of a matrix that are not zero.

    Attributes
    ----------
    row, column : ndarray
        Where they are, (m,).
    value : ndarray
        What they are, (m,).
    shape : tuple of int
        Of the matrix.
    """

    row: np.ndarray
    column: np.ndarray
    value: np.ndarray
    shape: tuple[int, int]


class Block(NamedTuple):
    """Rows or columns that belong together.

    Attributes
    ----------
    name : str
        Their name; empty if they have none.
    start, stop : int
        The first, and the first after them.
    outer : bool
        Whether they are a whole term, and not a level of one.
    """

    name: str
    start: int
    stop: int
    outer: bool = True


@dataclass(frozen=True, eq=False)
class MatrixPicture:
    """What is drawn of a matrix.

    Attributes
    ----------
    values : DataFrame
        The elements, or the largest in size of those that share a pixel.
    rows, columns : tuple of Block
        Blocks in rows and columns of the matrix.
    step : tuple of int
        Rows and columns of the matrix that a pixel stands for.
    unit : str
        What an element is.
    title : str
        What the matrix is.
    notes : tuple of str
        What is not shown.
    more : bool
        Whether the matrix goes on beyond what is drawn.
    """

    values: pd.DataFrame
    rows: tuple[Block, ...]
    columns: tuple[Block, ...]
    step: tuple[int, int]
    unit: str
    title: str
    notes: tuple[str, ...] = ()
    more: bool = False


def thinned(elements: Elements, pixels: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A matrix on so many pixels a side at most.

    Returns
    -------
    values : ndarray
        The largest element in size of each pixel.
    step : tuple of int
        Rows and columns of the matrix that a pixel stands for.
    """
    step = tuple(max(1, -(-size // pixels)) for size in elements.shape)
    height, width = (
        -(-size // own) for size, own in zip(elements.shape, step, strict=True)
    )
    at = (elements.row // step[0]) * np.int64(width) + elements.column // step[1]
    values = np.zeros(height * width)
    if step == (1, 1):
        np.add.at(values, at, elements.value)
    else:
        order = np.argsort(np.abs(elements.value), kind="stable")
        values[at[order]] = elements.value[order]
    return values.reshape(height, width), (step[0], step[1])


def draw_matrix(picture: MatrixPicture, ax: Any = None, values: bool = True) -> Any:
    """An image with lines between blocks, and numbers where they are few.

    Parameters
    ----------
    picture : MatrixPicture
        What is drawn.
    ax : Axes, optional
        Where to draw; on a new figure if None.
    values : bool, optional
        Whether the elements of a small matrix are printed.

    Returns
    -------
    Figure
    """
    found = picture.values.to_numpy(float)
    own = ax is None
    ax = one_axes(ax, *_size(picture))
    if own:  # the layout of square images is not exact
        ax.figure.get_layout_engine().set(w_pad=PAD, h_pad=PAD)
    cmap, norm, ticks = _colours(found)
    shown = np.ma.masked_equal(found, 0.0)
    square = found.shape[0] == found.shape[1]
    image = ax.imshow(
        shown,
        cmap=cmap,
        norm=norm,
        aspect="equal" if square else "auto",
        interpolation="none",
    )
    for axis, blocks in (("y", picture.rows), ("x", picture.columns)):
        _draw_blocks(ax, axis, blocks, picture.step[axis == "x"])
    if values and max(found.shape) <= MOST_PRINTED:
        _print(ax, found, image)
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
    if ticks is not None:
        bar.set_ticks(ticks)
        bar.minorticks_off()
    bar.set_label(plain(picture.unit + (" (log colours)" if ticks is not None else "")))
    if picture.more:
        ax.text(1.0, -0.01, "⋱", transform=ax.transAxes, ha="right", va="top", fontsize=14)
    _name_blocks(ax, "y", picture.rows, picture.step[0], picture.values.index)
    _name_blocks(ax, "x", picture.columns, picture.step[1], picture.values.columns)
    notes = list(picture.notes)
    if picture.step != (1, 1):
        rows, columns = picture.step
        notes.append(f"a pixel is the largest of {rows} x {columns} elements")
    label_axes(ax, title="; ".join([picture.title, *notes]), small=True)
    return figure_of(ax)


def _size(picture):
    """Inches of the figure: near the form of the matrix, with room for names."""
    height, width = picture.values.shape
    named = [b.name for b in picture.rows]
    named = named or list(picture.values.index[:: 1 + height // MOST_LABELS])
    names = text_width([shortened(name, MOST_CHARACTERS) for name in named])
    if height == width:
        return 6.0 + names, 5.2
    return 5.4 + names, float(np.clip(5.0 * height / width, 4.0, 7.0))


def _colours(values):
    """Map, norm, ticks of colours; logarithmic where one element hides the others."""
    from matplotlib.colors import LogNorm, Normalize, SymLogNorm

    size = np.abs(values[values != 0])
    most = float(size.max(initial=0.0)) or 1.0
    small = float(np.quantile(size, 0.1)) if len(size) else most
    signed = bool((values < 0).any())
    if most <= WIDE * small:
        if signed:
            return "RdBu_r", Normalize(-most, most), None
        return "Blues", Normalize(0, most), None
    least = max(float(size.min()), most * LEAST_SHARE)
    powers = np.arange(np.ceil(np.log10(least)), np.floor(np.log10(most)) + 1)
    powers = 10.0 ** powers[:: -(-len(powers) // 4)]
    if not signed:
        return "Blues", LogNorm(least / 10, most), powers
    ticks = [*-powers[::-1], 0.0, *powers]
    return "RdBu_r", SymLogNorm(least, vmin=-most, vmax=most, base=10), ticks


def _draw_blocks(ax, axis, blocks: Sequence[Block], step):
    """Lines between terms, and thin ones between levels if these are few."""
    line = ax.axhline if axis == "y" else ax.axvline
    levels = [b for b in blocks if not b.outer]
    inner = {b.start for b in levels} if len(levels) <= MOST_LINES else set()
    outer = {b.start for b in blocks if b.outer} - {0}
    for start in sorted(inner - outer - {0}):
        line(start / step - 0.5, color="0.6", lw=0.4)
    for start in sorted(outer):
        line(start / step - 0.5, color="0.1", lw=1.0)


def _name_blocks(ax, axis, blocks: Sequence[Block], step, labels):
    """Names in the middle of levels, else of terms; of rows where there are none."""
    levels = [b for b in blocks if not b.outer]
    shown = [b for b in blocks if b.outer]
    if 0 < len(levels) <= MOST_NAMED:
        within = {b.start for b in levels}
        shown = [*levels, *(b for b in shown if b.start not in within)]
    if not shown:
        shown = [Block(str(v), i, i + 1, outer=False) for i, v in enumerate(labels)]
        step = 1
    _put_names(ax, axis, shown, step)


def _put_names(ax, axis, blocks, step):
    """Names in the middle of blocks: of those too near each other levels are left out.

    Terms, X and y are named together.
    """
    size = matplotlib().rcParams[f"{axis}tick.labelsize"]
    points = FONT_SIZE if isinstance(size, str) else float(size)
    rows, columns = ax.images[0].get_array().shape
    box = ax.get_window_extent()
    width, height = box.width / ax.figure.dpi, box.height / ax.figure.dpi
    if rows == columns:
        width = height = min(width, height)
    inch = height / rows if axis == "y" else width / columns
    gap = LINE * points / 72
    kept: list[tuple[float, str]] = []
    for block in reversed(blocks):
        at = (block.start + block.stop - 1) / 2 / step
        name = shortened(block.name, MOST_CHARACTERS)
        if kept and (kept[-1][0] - at) * inch < gap:
            if block.outer:
                kept[-1] = (0.5 * (kept[-1][0] + at), f"{name}, {kept[-1][1]}")
        else:
            kept.append((at, name))
    kept.reverse()
    at, names = [place for place, _ in kept], [name for _, name in kept]
    if axis == "y":
        ax.set_yticks(at, names)
    else:
        half = [text_width([name], "xtick.labelsize") / 2 for name in names]
        turned = any(
            (at[i + 1] - at[i]) * inch < half[i] + half[i + 1] + gap / 2
            for i in range(len(at) - 1)
        )
        ax.set_xticks(at, names, rotation=90 if turned else 0)
    if any(b.stop - b.start > step for b in blocks):
        ax.tick_params(axis=axis, length=0)


def _print(ax, values, image):
    """The elements as numbers, white on dark colours."""
    most = np.abs(values).max(initial=0.0)
    digits = 3 if most < 1 else 2 if most < 100 else 0
    for (i, j), value in np.ndenumerate(values):
        if value == 0:
            continue
        shade = np.dot(image.to_rgba(value)[:3], LUMINANCE)
        ax.text(
            j,
            i,
            f"{value:.{digits}f}" if abs(value) < LONGEST else f"{value:.1e}",
            ha="center",
            va="center",
            fontsize=PRINT_SIZE,
            color="white" if shade < 0.5 else "black",
        )
