"""Estimates with their limits: one below the other, or against a factor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.graphics.figures import (
    COLOURS,
    HEIGHT,
    MOST_LABELS,
    WIDTH,
    check_rows,
    label_axes,
    legend,
    name_ticks,
    one_axes,
    plain,
    shortened,
    text_width,
)

__all__ = ["plot_estimates", "plot_interaction"]

# Inches: of a row, of what is beside the names.
ROW, BESIDE = 0.3, 4.5
# Lines of an interaction at most.
_LINES = 12


def plot_estimates(
    table: pd.DataFrame,
    names: Sequence[str],
    label: str,
    ax: Any = None,
    arrows: np.ndarray | None = None,
) -> Any:
    """Draw estimates with their limits.

    Parameters
    ----------
    table : DataFrame
        Columns estimate, lower, upper; a row an estimate.
    names : sequence of str
        What each row is called.
    label : str
        What is estimated, for the axis.
    ax : Axes, optional
        Where to draw; new if None.
    arrows : ndarray, optional
        Ends of arrows to the left and right of each estimate, (m, 2): those of two
        estimates that differ significantly do not overlap.  NaN where there is none.

    Returns
    -------
    Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are no estimates.
    """
    check_rows(table, "estimates")
    own = ax is None
    if own:
        size = max(WIDTH, BESIDE + text_width(names)), max(HEIGHT, ROW * len(table) + 1)
        ax = one_axes(None, *size)
    ax = one_axes(ax)
    shown, at = table["estimate"], np.arange(len(table))
    below, above = shown - table["lower"], table["upper"] - shown
    ax.errorbar(shown, at, xerr=[below, above], fmt="o", capsize=3, color=COLOURS[0])
    if arrows is not None:
        drawn = [
            (j, side) for side in (0, 1) for j in np.flatnonzero(~np.isnan(arrows[:, side]))
        ]
        for j, side in drawn:
            ax.annotate(
                "", (arrows[j, side], at[j]), (shown.iloc[j], at[j]),
                arrowprops={
                    "arrowstyle": "-|>", "color": COLOURS[1], "lw": 1.5,
                    "shrinkA": 0, "shrinkB": 0,
                },
            )  # fmt: skip
    room = text_width(names) + 0.1 if own else None
    name_ticks(ax, "y", at, names, len(names) if own else MOST_LABELS, room, whole=own)
    ax.set_ylim(len(table) - 0.5, -0.5)
    label_axes(ax, x=label)
    return ax.figure


def plot_interaction(
    table: pd.DataFrame,
    x: str,
    trace: str | None,
    label: str,
    ax: Any = None,
) -> Any:
    """Draw means against the levels of a factor, a line for each level of another.

    Parameters
    ----------
    table : DataFrame
        Columns ``x`` and ``trace``, estimate, lower, upper; a row a mean.
    x, trace : str
        The factors; one line if ``trace`` is None.
    label : str
        What is estimated, for the axis.
    ax : Axes, optional
        Where to draw; new if None.

    Returns
    -------
    Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are too many lines, or several means at one place.
    """
    check_rows(table, "means")
    own = ax is None
    lines = [None] if trace is None else list(dict.fromkeys(table[trace]))
    if len(lines) > _LINES:
        raise ValueError(
            f"trace={trace!r} has {len(lines)} levels; at most {_LINES} are drawn"
        )
    keys = [x] if trace is None else [x, trace]
    if table.duplicated(keys).any():
        raise ValueError(
            f"there are several means for one level of {' and '.join(keys)}; ask for "
            "emmeans of these factors alone, or restrict others by at="
        )
    ax = one_axes(ax, WIDTH if trace is None else WIDTH + 1.0)
    levels = list(dict.fromkeys(table[x]))
    marks = "osD^v<>pPX*h"
    for i, level in enumerate(lines):
        part = table if trace is None else table[table[trace] == level]
        colour = COLOURS[i % len(COLOURS)]
        at = np.array([levels.index(v) for v in part[x]], float)
        at += 0.08 * (i - (len(lines) - 1) / 2)
        order = np.argsort(at)
        part, at = part.iloc[order], at[order]
        ax.vlines(at, part["lower"], part["upper"], color=colour, lw=1.3)
        name = None if trace is None else shortened(level, 24)
        ax.plot(at, part["estimate"], color=colour, marker=marks[i], ms=5, label=name)
    texts = [f"{v:g}" if isinstance(v, float) else v for v in levels]
    name_ticks(ax, "x", range(len(levels)), texts)
    ax.set_xlim(-0.5, len(levels) - 0.5)
    label_axes(ax, x, label)
    if trace is not None:
        legend(ax, own)
        ax.get_legend().set_title(plain(shortened(trace, 24)))
    return ax.figure
