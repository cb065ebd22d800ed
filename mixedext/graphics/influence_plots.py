"""Influence of rows, or of levels, on a fit: pictures that results make."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mixedext.fitted import HasFitted
from mixedext.graphics.influence_pictures import (
    draw_index,
    draw_influence,
    index_frame,
    influence_frame,
    own_threshold,
)
from mixedext.inference.diagnostics.influence import get_influence

__all__ = ["index_data", "influence_data", "plot_index", "plot_influence"]


def index_data(
    results: HasFitted, by: Any = None, y_var: str = "cooks", method: str = "held"
) -> pd.DataFrame:
    """What ``plot_index`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    by, y_var, method
        As for ``plot_index``.

    Returns
    -------
    DataFrame
        One column, ``y_var``; a row a row of the data, or a level.
    """
    return index_frame(get_influence(results, by=by, method=method), y_var)


def plot_index(
    results: HasFitted,
    by: Any = None,
    y_var: str = "cooks",
    threshold: float | None = None,
    method: str = "held",
    ax: Any = None,
) -> Any:
    """A measure of influence of rows, or of levels, one after the other.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    by : str, list of str or array_like, optional
        What is left out at a time: the rows of a level, see ``get_influence``; a row if
        None.
    y_var : str, optional
        "cooks" for Cook's distance; "dfbetas" for the largest in size over the
        coefficients; or a column of the ``summary_frame`` of ``get_influence``.
    threshold : float, optional
        The dashed line; if None 4 / n for Cook's distances of n units, 2 / sqrt(n) for
        DFBETAS, and none for other measures.
    method : {"held", "one-step", "refit"}, optional
        See ``get_influence``.
    ax : Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no such measure, or as ``get_influence`` raises.

    Notes
    -----
    The five largest beyond the threshold have names.  Of more than 2,000 units the largest
    of each of 2,000 runs is drawn.

    See Also
    --------
    mixedext.graphics.influence_plots.index_data : the numbers.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> figure = result.plot_index(by="Subject")  # doctest: +SKIP
    """
    frame = index_data(results, by, y_var, method)
    if threshold is None:
        threshold = own_threshold(y_var, len(frame))
    return draw_index(frame, threshold, ax, "row" if by is None else "level")


def influence_data(
    results: HasFitted, by: Any = None, method: str = "held"
) -> pd.DataFrame:
    """What ``plot_influence`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    by, method
        As for ``plot_influence``.

    Returns
    -------
    DataFrame
        Of rows: leverage, residual (deleted), cooks.  Of levels: cov_ratio, sigma_ratio,
        cooks.
    """
    return influence_frame(
        get_influence(results, by=by, method=method), results.fitted.scale
    )


def plot_influence(
    results: HasFitted, by: Any = None, method: str = "held", ax: Any = None
) -> Any:
    """Circles, whose areas are Cook's distances, at what these are made of.

    Rows stand at their leverages and deleted residuals; levels at how much less precise
    coefficients are without them (COVRATIO), and at how sigma changes, which falls without
    levels that fit ill.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    by : str, list of str or array_like, optional
        What is left out at a time; see ``plot_index``.
    method : {"held", "one-step", "refit"}, optional
        See ``get_influence``.
    ax : Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        As ``get_influence`` raises.

    Notes
    -----
    Units above 4 / n have another colour, the five largest of them names.  Of more than
    4,000 the 2,000 most influential and 2,000 others are drawn.

    See Also
    --------
    mixedext.graphics.influence_plots.influence_data : the numbers.
    """
    frame = influence_data(results, by, method)
    return draw_influence(frame, ax, "row" if by is None else "level")
