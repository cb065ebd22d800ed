"""Pictures of estimated means and trends: methods of ``MarginalMeans``."""

from __future__ import annotations

from typing import Any, Protocol

import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.graphics import estimates
from mixedext.inference.means.comparison_arrows import Means as Compared
from mixedext.inference.means.comparison_arrows import comparison_arrows

__all__ = ["plot", "plot_interaction"]


class Means(Compared, Protocol):
    """What is drawn: the table, the names of its rows, what is estimated."""

    _labels: pd.DataFrame
    _trend: str | None


def _axis_label(means):
    kind, back = means._kind(), means._context.transform
    if kind == "trend":
        return f"slope of {means._trend}"
    if back is None or back.quantity == "response":
        return kind
    return {"response": back.quantity, "mean": f"{back.name} scale"}.get(kind, kind)


def plot(means: Means, ax: Any = None, *, comparisons: bool = False) -> Any:
    """Estimates with their confidence limits.

    Parameters
    ----------
    ax : Axes, optional
        Where to draw; new if None.
    comparisons : bool, optional
        Add arrows: means whose arrows do not overlap differ at the level of the table
        by Tukey's method, within each level of ``by``.

    Returns
    -------
    Figure

    Warns
    -----
    AdjustmentWarning
        If no arrows say for all pairs whether they differ; names one.
    """
    label = _axis_label(means)
    arrows = comparison_arrows(means) if comparisons else None
    return estimates.plot_estimates(means.table, means._row_names(), label, ax, arrows)


def plot_interaction(
    means: Means, x: str | None = None, trace: str | None = None, ax: Any = None
) -> Any:
    """Means against the levels of a factor, a line for each level of another.

    Parameters
    ----------
    x : str, optional
        Factor along the axis; the first of the table if None.
    trace : str, optional
        Factor with a line a level; the second of the table if None and there is one.
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
        If a factor is not one of the table, or others tell its means apart.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.oats.load().data
    >>> result = mx.mixedlm("yield ~ nitroF * Variety + (1 | Block)", data).fit()
    >>> means = result.emmeans(["nitroF", "Variety"])
    >>> figure = means.plot_interaction("nitroF", "Variety")  # doctest: +SKIP
    """
    known = list(means._labels.columns)
    for name, given in (("x", x), ("trace", trace)):
        if given is not None and given not in known:
            raise ValueError(
                f"{name}={given!r} is not a factor of these means; there are: "
                f"{', '.join(known)}{did_you_mean(given, known)}"
            )
    x = next(n for n in known if n != trace) if x is None else x
    if trace is None:
        trace = next((n for n in known if n != x), None)
    return estimates.plot_interaction(means.table, x, trace, _axis_label(means), ax)
