"""Residuals: against fitted values, a covariate or levels, and their spread."""

from __future__ import annotations

from math import gamma, pi, sqrt
from typing import Any

import numpy as np
import pandas as pd

from mixedext.fitted import Fitted, HasFitted
from mixedext.graphics.figures import (
    COLOURS,
    MOST_LABELS,
    check_rows,
    figure_of,
    label_axes,
    name_ticks,
    one_axes,
    reference_line,
)
from mixedext.graphics.row_clouds import draw_cloud, draw_curve, lowess_curve
from mixedext.graphics.row_levels import RowLevels, row_index, row_levels
from mixedext.inference.diagnostics.residuals import residuals
from mixedext.inference.prediction.predictions import fittedvalues, predict

__all__ = [
    "SCALES",
    "plot_residuals",
    "plot_scale_location",
    "residuals_data",
    "scale_location_data",
]

# What residuals are called on an axis.
SCALES = {
    "raw": "residual",
    "pearson": "Pearson residual",
    "studentized": "studentized residual",
    "deleted": "deleted residual",
    "cholesky": "Cholesky-scaled residual",
    "normalized": "normalized residual",
}
# Whiskers end at the last value within so many quartile ranges of the box, as Tukey's.
WHISKER = 1.5
# Mean of the root of |z| for a standard normal z.
ROOT_OF_NORMAL = 2**0.25 * gamma(0.75) / sqrt(pi)


def residual_label(kind: str, scale: str) -> str:
    """What residuals are called on an axis."""
    own = SCALES.get(scale, scale)
    return own if kind == "conditional" else f"{kind} {own}"


def residuals_data(
    results: HasFitted, by: Any = None, kind: str = "conditional", scale: str = "pearson"
) -> pd.DataFrame:
    """What ``plot_residuals`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    by, kind, scale
        As for ``plot_residuals``.

    Returns
    -------
    DataFrame
        Without ``by``: fitted, residual; with a column of numbers that is no grouping
        factor: its name, residual; a row a row of the data.  With levels: n, lower, q1,
        median, q3, upper, a row a level in their order; lower and upper are the last
        residuals within 1.5 quartile ranges of the box.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.residual_plots import residuals_data
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> residuals_data(result, by="Subject").columns.tolist()
    ['n', 'lower', 'q1', 'median', 'q3', 'upper']
    """
    fitted = results.fitted
    values = np.asarray(residuals(fitted, kind=kind, scale=scale), float)
    if by is None:
        mean = _mean(fitted, kind)
        return pd.DataFrame({"fitted": mean, "residual": values}, row_index(fitted))
    found = row_levels(fitted, by)
    if found.values is not None:
        frame = {found.name: found.values, "residual": values}
        return pd.DataFrame(frame, row_index(fitted))
    return _boxes(values, found)


def _mean(fitted, kind):
    """What residuals of a kind are the rest of, (n,)."""
    if kind == "marginal":
        return np.asarray(predict(fitted, conditional=False), float)
    return np.asarray(fittedvalues(fitted), float)


def _boxes(values: np.ndarray, found: RowLevels) -> pd.DataFrame:
    """Quartiles and whiskers of every level that has rows."""
    used = (found.codes >= 0) & np.isfinite(values)
    codes, values = found.codes[used], values[used]
    order = np.lexsort((values, codes))
    codes, values = codes[order], values[order]
    level, start, count = np.unique(codes, return_index=True, return_counts=True)

    def quantile(q):
        at = q * (count - 1)
        low = np.floor(at).astype(np.intp)
        high = np.minimum(low + 1, count - 1)
        below = values[start + low]
        return below + (at - low) * (values[start + high] - below)

    q1, median, q3 = (quantile(q) for q in (0.25, 0.5, 0.75))
    reach = WHISKER * (q3 - q1)
    own = np.repeat(np.arange(len(level)), count)
    inside = (values >= (q1 - reach)[own]) & (values <= (q3 + reach)[own])
    at = np.where(inside, values, np.nan)
    lower = np.fmin.reduceat(at, start) if len(start) else at
    upper = np.fmax.reduceat(at, start) if len(start) else at
    columns = {"n": count, "lower": np.minimum(lower, q1), "q1": q1, "median": median}
    columns |= {"q3": q3, "upper": np.maximum(upper, q3)}
    return pd.DataFrame(columns, index=found.levels[level].rename(found.name))


def plot_residuals(
    results: HasFitted,
    by: Any = None,
    kind: str = "conditional",
    scale: str = "pearson",
    ax: Any = None,
) -> Any:
    """Residuals against fitted values, against a covariate, or by level.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    by : str, list of str or array_like, optional
        A grouping factor or a column of the data, a list of them for their combinations,
        or a value for each row.  Numbers that are no grouping factor are an axis; of
        levels each has a box.  None for the fitted values.
    kind, scale : str, optional
        Which residuals; see ``residuals``.
    ax : Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there is no such factor, column or residual, or the rows are not in memory.

    Notes
    -----
    The curve is statsmodels' lowess, of 10,000 rows at most.  Above 50,000 rows points are
    counted in hexagons.  Of more than 60 levels those are shown whose medians are farthest
    from zero.

    See Also
    --------
    mixedext.graphics.residual_plots.residuals_data : the numbers.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> figure = result.plot_residuals(by="Subject")  # doctest: +SKIP
    """
    frame = residuals_data(results, by, kind, scale)
    label = residual_label(kind, scale)
    if "q1" in frame.columns:
        check_rows(frame, "level has a residual")
        return _draw_boxes(frame, label, ax)
    name = str(frame.columns[0])
    whole, frame = len(frame), frame.dropna()
    check_rows(frame, f"row has {name} and a residual")
    ax = one_axes(ax)
    reference_line(ax, y=0.0)
    x, y = frame.iloc[:, 0].to_numpy(), frame["residual"].to_numpy()
    note = draw_cloud(ax, x, y)
    draw_curve(ax, lowess_curve(x, y))
    title = _title(note, whole - len(frame))
    label_axes(ax, "fitted value" if by is None else name, label, title, small=True)
    return figure_of(ax)


def _title(note, lost):
    """What a title says of binned rows, and of rows that were left out."""
    parts = [note] if note else []
    if lost:
        parts.append(f"{lost:,} rows without a value left out")
    return "; ".join(parts) or None


def _draw_boxes(frame, label, ax):
    """A box a level, of the levels with the largest medians if there are too many."""
    whole = len(frame)
    if whole > MOST_LABELS:
        size = frame["median"].abs().to_numpy()
        frame = frame.iloc[np.sort(np.argsort(-size, kind="stable")[:MOST_LABELS])]
    ax = one_axes(ax, width=max(6.4, 1.5 + 0.16 * len(frame)))
    reference_line(ax, y=0.0)
    names = ["lower", "q1", "median", "q3", "upper"]
    ends = ["whislo", "q1", "med", "q3", "whishi"]
    boxes = frame[names].set_axis(ends, axis=1).to_dict("records")
    at = list(range(len(frame)))
    ax.bxp(
        boxes,
        positions=at,
        widths=0.6,
        showfliers=False,
        showcaps=False,
        manage_ticks=False,
        patch_artist=True,
        boxprops={"facecolor": "0.92", "edgecolor": COLOURS[0], "lw": 0.8},
        whiskerprops={"color": COLOURS[0], "lw": 0.8},
        medianprops={"color": COLOURS[1], "lw": 1.6},
    )
    ax.set_xlim(-0.7, len(frame) - 0.3)
    name_ticks(ax, "x", at, frame.index.astype(str))
    title = None
    if whole > len(frame):
        share = len(frame) / whole
        title = (
            f"the {len(frame)} levels of {whole:,} ({share:.1%}) with the largest medians"
        )
    label_axes(ax, str(frame.index.name), label, title, small=True)
    return figure_of(ax)


# ---- spread ----


def scale_location_data(results: HasFitted, kind: str = "conditional") -> pd.DataFrame:
    """What ``plot_scale_location`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    kind : {"conditional", "marginal"}, optional
        Which residuals.

    Returns
    -------
    DataFrame
        fitted, root (of the size of the studentized residual, with a residual covariance
        of Pearson's), a row a row of the data.
    """
    fitted = results.fitted
    values = np.asarray(residuals(fitted, kind=kind, scale=_spread_scale(fitted)), float)
    columns = {"fitted": _mean(fitted, kind), "root": np.sqrt(np.abs(values))}
    return pd.DataFrame(columns, row_index(fitted))


def _spread_scale(fitted: Fitted) -> str:
    """Scale of the residuals whose spread is looked at."""
    return "studentized" if fitted.fit.residual is None else "pearson"


def plot_scale_location(
    results: HasFitted, kind: str = "conditional", ax: Any = None
) -> Any:
    """Root of the size of the studentized residuals against fitted values.

    Where the curve is level the residual variance is the same everywhere.  With a residual
    covariance residuals are Pearson's, over the standard deviations of their rows.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    kind : {"conditional", "marginal"}, optional
        Which residuals, and the fitted values that they are the rest of.
    ax : Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the rows are not in memory.

    Notes
    -----
    As for ``plot_residuals``.  The grey line is the mean of the root for normal residuals.

    See Also
    --------
    mixedext.graphics.residual_plots.scale_location_data : the numbers.
    """
    frame = scale_location_data(results, kind)
    whole, frame = len(frame), frame.dropna()
    check_rows(frame, "row has a studentized residual")
    ax = one_axes(ax)
    reference_line(ax, y=ROOT_OF_NORMAL)
    x, y = frame["fitted"].to_numpy(), frame["root"].to_numpy()
    note = draw_cloud(ax, x, y)
    draw_curve(ax, lowess_curve(x, y))
    ax.set_ylim(bottom=0.0)
    label = f"root of |{residual_label(kind, _spread_scale(results.fitted))}|"
    label_axes(ax, "fitted value", label, _title(note, whole - len(frame)), small=True)
    return figure_of(ax)
