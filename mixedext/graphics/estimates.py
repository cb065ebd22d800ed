"""Estimates with their limits, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["plot_estimates"]

# Inches: of a figure at least, of a row, of what is beside the names.
WIDTH, HEIGHT, ROW, BESIDE = 6.4, 4.8, 0.3, 4.5


def plot_estimates(
    table: pd.DataFrame, names: Sequence[str], label: str, ax: Any = None
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

    Returns
    -------
    Figure
    """
    if ax is None:
        import matplotlib.pyplot as plt

        size = max(WIDTH, BESIDE + _inches(names)), max(HEIGHT, ROW * len(table) + 1)
        _, ax = plt.subplots(figsize=size, layout="constrained")
    shown, at = table["estimate"], np.arange(len(table))
    below, above = shown - table["lower"], table["upper"] - shown
    ax.errorbar(shown, at, xerr=[below, above], fmt="o", capsize=3)
    ax.set_yticks(at, names)
    ax.invert_yaxis()
    ax.set_xlabel(label)
    return ax.figure


def _inches(names):
    """Width of the longest name."""
    import matplotlib as mpl
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(size=mpl.rcParams["ytick.labelsize"])
    widths = [TextPath((0, 0), str(n), prop=font).get_extents().width for n in names if n]
    return max(widths, default=0.0) / 72
