"""Predictions with their intervals, along a covariate or side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.graphics.figures import (
    COLOURS,
    check_rows,
    figure_of,
    label_axes,
    name_ticks,
    one_axes,
    shortened,
)

__all__ = ["draw_predictions", "plot_prediction", "prediction_data"]

# Curves that have a legend at most, and characters of a name in it.
MOST_NAMED, MOST_CHARACTERS = 7, 24
# Opacity of the bands of observations and of means.
OUTER, INNER = 0.12, 0.3
# Columns that predictions have.
OWN_COLUMNS = {"mean"} | {
    f"{k}_ci_{e}" for k in ("mean", "obs") for e in ("lower", "upper")
}


def draw_predictions(frame: pd.DataFrame, x: str, by: str | None, ax: Any = None) -> Any:
    """Draw means, their intervals, and those of observations where there are any.

    Parameters
    ----------
    frame : DataFrame
        Columns mean, mean_ci_lower, mean_ci_upper, perhaps obs_ci_lower, obs_ci_upper, and
        those that ``x`` and ``by`` name.
    x : str
        Column along the axis.
    by : str or None
        Column that tells curves from each other.
    ax : Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Notes
    -----
    Curves with bands along numbers; points with bars along anything else, or where a curve
    would have several predictions at a place.
    """
    whole, frame = len(frame), frame.dropna(subset=["mean", x])
    check_rows(frame, f"prediction has a mean and {x}")
    ax = one_axes(ax)
    numeric = pd.api.types.is_numeric_dtype(frame[x].dtype)
    places = [x] if by is None else [x, by]
    curves = numeric and len(frame) > 1 and not frame.duplicated(places).any()
    parts = [("", frame)] if by is None else list(frame.groupby(by, sort=False))
    at = frame[x].astype(float) if numeric else _numbered(frame[x])
    few = len(parts) <= MOST_NAMED
    for i, (name, part) in enumerate(parts):
        label = (
            {"label": shortened(name, MOST_CHARACTERS)} if by is not None and few else {}
        )
        colour = COLOURS[i % len(COLOURS)]
        if curves:
            _curve(ax, at[part.index], part, colour, label)
        else:
            apart = 0.0 if numeric else 0.6 * ((i + 0.5) / len(parts) - 0.5)
            _points(ax, at[part.index] + apart, part, colour, label)
    if not numeric:
        names = pd.unique(frame[x])
        name_ticks(ax, "x", range(len(names)), names)
        ax.set_xlim(-0.5, len(names) - 0.5)
    if by is not None and few:
        ax.legend(frameon=False, loc="upper left", title=str(by), fontsize="small")
    parts_of_title = ["intervals of means"]
    if "obs_ci_lower" in frame and np.isfinite(frame["obs_ci_lower"]).any():
        parts_of_title.append("of observations (pale)")
    title = " and ".join(parts_of_title)
    if whole > len(frame):
        title += f"; {whole - len(frame):,} rows without a prediction left out"
    label_axes(ax, x, "prediction", title, small=True)
    return figure_of(ax)


def _numbered(values):
    """Number of each value in order of appearance."""
    return pd.Series(pd.factorize(values)[0].astype(float), index=values.index)


def _curve(ax, at, part, colour, label):
    order = np.argsort(at.to_numpy(), kind="stable")
    at, part = at.iloc[order], part.iloc[order]
    for kind, alpha in (("obs", OUTER), ("mean", INNER)):
        if f"{kind}_ci_lower" in part:
            lower, upper = part[f"{kind}_ci_lower"], part[f"{kind}_ci_upper"]
            ax.fill_between(at, lower, upper, color=colour, alpha=alpha, lw=0)
    ax.plot(at, part["mean"], color=colour, lw=1.6, **label)


def _points(ax, at, part, colour, label):
    for kind, alpha, width in (("obs", 0.35, 1.2), ("mean", 1.0, 2.4)):
        if f"{kind}_ci_lower" in part:
            lower, upper = part[f"{kind}_ci_lower"], part[f"{kind}_ci_upper"]
            ax.vlines(at, lower, upper, color=colour, alpha=alpha, lw=width)
    ax.plot(at, part["mean"], "o", color=colour, ms=4, **label)


# ---- of an object of predictions ----


def prediction_data(
    prediction: Any,
    x: Any = None,
    by: Any = None,
    alpha: float = 0.05,
    *,
    level: float | None = None,
    obs: bool | None = None,
) -> pd.DataFrame:
    """What ``plot`` draws.

    Parameters
    ----------
    x, by, alpha, level, obs
        As for ``plot``.

    Returns
    -------
    DataFrame
        The columns that ``x`` and ``by`` are, mean, mean_ci_lower, mean_ci_upper and,
        with ``obs``, obs_ci_lower, obs_ci_upper; a row a prediction.
    """
    if obs is None:
        obs = not isinstance(prediction._observation, str)
    columns = {"row" if x is None else _name(x, "x"): _column(prediction, x, "x")}
    if by is not None:
        columns[_name(by, "by")] = _column(prediction, by, "by")
    means = prediction.conf_int(alpha=alpha, level=level)
    columns["mean"] = prediction.predicted_mean
    columns |= {"mean_ci_lower": means[:, 0], "mean_ci_upper": means[:, 1]}
    if obs:
        new = prediction.conf_int(True, alpha, level=level)
        columns |= {"obs_ci_lower": new[:, 0], "obs_ci_upper": new[:, 1]}
    return pd.DataFrame(columns)


def plot_prediction(
    prediction: Any,
    x: Any = None,
    by: Any = None,
    alpha: float = 0.05,
    *,
    level: float | None = None,
    obs: bool | None = None,
    ax: Any = None,
) -> Any:
    """Draw the means with their intervals, and those of observations.

    Parameters
    ----------
    x : str or array_like, optional
        What they are drawn along: a column of the new data, or a value for each row;
        the number of the row if None.
    by : str or array_like, optional
        What tells curves from each other, likewise.
    alpha, level : float, optional
        As for ``conf_int``.
    obs : bool, optional
        Whether intervals of observations are drawn; where they are known if None.
    ax : Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the new data have no such column, or the values are not one a row.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> new = {"Days": range(10), "Subject": [308] * 10}
    >>> figure = result.get_prediction(new).plot("Days")  # doctest: +SKIP
    """
    frame = prediction_data(prediction, x, by, alpha, level=level, obs=obs)
    along = str(frame.columns[0])
    divided = None if by is None else str(frame.columns[1])
    return draw_predictions(frame, along, divided, ax)


def _column(prediction, given, argument):
    """A column of the new data, or the values that are given, (n,)."""
    n = len(prediction.predicted_mean)
    if given is None:
        return np.arange(n)
    if not isinstance(given, str):
        values = np.asarray(given)
        if values.shape != (n,):
            raise ValueError(
                f"{argument} has shape {values.shape}; it must be a column's name or a "
                f"value for each of the {n} predictions"
            )
        return values
    if prediction._frame is None or given not in prediction._frame:
        columns = [] if prediction._frame is None else [str(c) for c in prediction._frame]
        raise ValueError(
            f"{argument}={given!r} is not a column of the data that were predicted; "
            f"there are: {', '.join(columns) or 'none'}"
        )
    values = prediction._frame[given]
    return (values.astype(str) if given in prediction._factors else values).to_numpy()


def _name(given, argument):
    """Name of a column that is drawn; never that of a column of the predictions."""
    name = (
        given if isinstance(given, str) else str(getattr(given, "name", None) or argument)
    )
    return f"{name} " if name in OWN_COLUMNS else name
