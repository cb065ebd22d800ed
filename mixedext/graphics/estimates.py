"""Estimates with their limits, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["plot_estimates"]


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
    from statsmodels.graphics.utils import create_mpl_ax

    figure, ax = create_mpl_ax(ax)
    shown, at = table["estimate"], np.arange(len(table))
    below, above = shown - table["lower"], table["upper"] - shown
    ax.errorbar(shown, at, xerr=[below, above], fmt="o", capsize=3)
    ax.set_yticks(at, names)
    ax.invert_yaxis()
    ax.set_xlabel(label)
    return figure
