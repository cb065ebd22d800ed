"""Dependence of residuals within levels: autocorrelations and semivariances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.arguments import check_choice, confidence
from mixedext.fitted import Fitted, HasFitted
from mixedext.graphics.figures import (
    COLOURS,
    GREY,
    LIGHT,
    check_rows,
    figure_of,
    label_axes,
    one_axes,
    reference_line,
)
from mixedext.graphics.row_levels import RowLevels, default_factor, row_levels
from mixedext.inference.diagnostics.residuals import residuals

__all__ = ["RESIDUALS", "acf_data", "plot_acf", "plot_variogram", "variogram_data"]

# Names of the residuals, and what ``residuals`` calls them.
RESIDUALS = {
    "normalized": ("conditional", "cholesky"),
    "pearson": ("conditional", "pearson"),
    "studentized": ("conditional", "studentized"),
    "raw": ("conditional", "raw"),
    "marginal": ("marginal", "raw"),
}
# Pairs of rows that semivariances are made of; of more, a random sample of as many.
MOST_PAIRS = 1_000_000


def _series(fitted: Fitted, resid: str, group: Any, time: Any):
    """Residuals, codes and times of rows in order of level and time."""
    check_choice(resid, "resid", tuple(RESIDUALS))
    kind, scale = RESIDUALS[resid]
    values = np.asarray(residuals(fitted, kind=kind, scale=scale), float)
    n = len(values)
    if group is None:
        group = default_factor(fitted)
    found = RowLevels("the data", np.zeros(n, np.intp), pd.Index(["all"]))
    if group is not None:
        found = row_levels(fitted, group, "group")
    at = np.arange(n, dtype=float)
    if time is not None:
        own = row_levels(fitted, time, "time")
        at = own.codes.astype(float) if own.values is None else own.values
        at = np.where(own.codes < 0, np.nan, at)
    used = np.flatnonzero(np.isfinite(values) & np.isfinite(at) & (found.codes >= 0))
    order = used[np.lexsort((at[used], found.codes[used]))]
    return values[order], found.codes[order], at[order], found.name


def acf_data(
    results: HasFitted,
    lags: int | None = None,
    resid: str = "normalized",
    group: Any = None,
    time: Any = None,
    alpha: float = 0.05,
    *,
    level: float | None = None,
) -> pd.DataFrame:
    """What ``plot_acf`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    lags, resid, group, time, alpha, level
        As for ``plot_acf``.

    Returns
    -------
    DataFrame
        acf, n_pairs, lower, upper; a row a lag, from 0.

    Raises
    ------
    ValueError
        If no level has two rows.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.serial import acf_data
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> acf_data(result, lags=2).round(3)["acf"].tolist()
    [1.0, 0.116, -0.167]
    """
    level, fitted = confidence(alpha, level), results.fitted
    values, codes, _, name = _series(fitted, resid, group, time)
    longest = int(np.bincount(codes).max(initial=0)) if len(codes) else 0
    if longest < 2:
        raise ValueError(
            f"no level of {name} has two rows with a residual: there is no correlation "
            "within levels. group= names another factor"
        )
    if lags is None:
        lags = int(10 * np.log10(longest))
    elif isinstance(lags, bool) or int(lags) != lags or lags < 1:
        raise ValueError(f"lags={lags!r}; it must be a whole number from 1")
    lags = min(max(int(lags), 1), longest - 1)
    mean_square = float(np.mean(values**2))
    if mean_square == 0:
        raise ValueError("all residuals are zero: they have no correlations")
    rows = [(1.0, len(values))]
    for lag in range(1, lags + 1):
        same = codes[lag:] == codes[:-lag]
        count = int(np.count_nonzero(same))
        total = float(np.dot(values[lag:] * same, values[:-lag]))
        rows.append((total / count / mean_square if count else np.nan, count))
    frame = pd.DataFrame(rows, columns=["acf", "n_pairs"])
    half = stats.norm.ppf((1 + level) / 2) / np.sqrt(frame["n_pairs"].clip(lower=1))
    half[frame["n_pairs"] == 0] = np.nan
    frame["lower"], frame["upper"] = -half, half
    return frame.rename_axis("lag")


def plot_acf(
    results: HasFitted,
    lags: int | None = None,
    resid: str = "normalized",
    group: Any = None,
    time: Any = None,
    alpha: float = 0.05,
    *,
    level: float | None = None,
    ax: Any = None,
) -> Any:
    """Autocorrelations of residuals within levels, with a band.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    lags : int, optional
        The last lag; if None ten times the decimal logarithm of the longest series.
    resid : {"normalized", "pearson", "studentized", "raw", "marginal"}, optional
        Which residuals; "normalized" are conditional ones, scaled by the Cholesky factor
        of their covariance (Pearson's where residuals are independent).
    group : str, list of str or array_like, optional
        Levels within which rows are series; the grouping factor with the most levels if
        None.
    time : str or array_like, optional
        Column by which rows are ordered; in the order of the data if None.
    alpha, level : float, optional
        The band holds a correlation of independent residuals with probability 1 - alpha =
        level, about.
    ax : Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If an argument is not known, no level has two rows, or the rows are not in memory.

    Notes
    -----
    r_k = (sum of the products of pairs of rows k apart / their number) / mean square, the
    band -+ z / root of the number of pairs (Pinheiro and Bates 2000, section 5.3.1).  A fit
    makes conditional residuals of short series somewhat negatively correlated.

    See Also
    --------
    mixedext.graphics.serial.acf_data : the numbers.
    """
    frame = acf_data(results, lags, resid, group, time, alpha, level=level)
    shown = frame.iloc[1:].dropna()
    check_rows(shown, "pair of rows within a level")
    ax = one_axes(ax)
    lag = shown.index.to_numpy()
    ax.fill_between(
        np.r_[lag[0] - 0.5, np.repeat(lag[:-1] + 0.5, 2), lag[-1] + 0.5],
        np.repeat(shown["lower"], 2),
        np.repeat(shown["upper"], 2),
        color=LIGHT,
        alpha=0.6,
        lw=0,
    )
    reference_line(ax, y=0.0)
    ax.vlines(lag, 0.0, shown["acf"], color=COLOURS[0], lw=1.6)
    ax.plot(lag, shown["acf"], "o", color=COLOURS[0], ms=4)
    ax.xaxis.get_major_locator().set_params(integer=True)
    pairs = shown["n_pairs"]
    few, many = int(pairs.min()), int(pairs.max())
    count = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    unit = "rows" if time is None else f"rows by {_name(time)}"
    group = _name(default_factor(results.fitted) if group is None else group)
    label_axes(
        ax,
        f"lag ({unit} within {group})",
        f"correlation of {resid} residuals",
        f"{count} pairs a lag",
        small=True,
    )
    return figure_of(ax)


def _name(by):
    if by is None:
        return "the data"
    if isinstance(by, list):
        return ":".join(map(str, by))
    return by if isinstance(by, str) else str(getattr(by, "name", None) or "levels")


# ---- semivariances ----


def variogram_data(
    results: HasFitted,
    time: Any = None,
    resid: str = "normalized",
    group: Any = None,
    bins: int = 20,
    *,
    rng: Any = 0,
) -> pd.DataFrame:
    """What ``plot_variogram`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    time, resid, group, bins, rng
        As for ``plot_variogram``.

    Returns
    -------
    DataFrame
        distance, semivariance, n_pairs; a row a distance, or a bin of distances with its
        mean.

    Raises
    ------
    ValueError
        If no level has two rows.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.serial import variogram_data
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> variogram_data(result, "Days")["n_pairs"].tolist()
    [162, 144, 126, 108, 90, 72, 54, 36, 18]
    """
    if isinstance(bins, bool) or int(bins) != bins or bins < 1:
        raise ValueError(f"bins={bins!r}; it must be a whole number from 1")
    fitted = results.fitted
    values, codes, at, name = _series(fitted, resid, group, time)
    if time is None:  # rows of a level by their number in it
        start = np.flatnonzero(np.diff(codes, prepend=-1))
        size = np.diff(np.append(start, len(codes)))
        at = np.arange(len(codes)) - np.repeat(start, size).astype(float)
    first, second = _pairs(codes, rng)
    if not len(first):
        raise ValueError(
            f"no level of {name} has two rows with a residual: there are no pairs within "
            "levels. group= names another factor"
        )
    distance = np.abs(at[first] - at[second])
    square = 0.5 * (values[first] - values[second]) ** 2
    places, bin_of = np.unique(distance, return_inverse=True)
    if len(places) > bins:
        edges = np.quantile(distance, np.linspace(0, 1, int(bins) + 1)[1:-1])
        bin_of = np.unique(np.searchsorted(edges, distance), return_inverse=True)[1]
    count = np.bincount(bin_of)
    columns = {
        "distance": np.bincount(bin_of, distance) / count,
        "semivariance": np.bincount(bin_of, square) / count,
        "n_pairs": count,
    }
    return pd.DataFrame(columns)


def _pairs(codes: np.ndarray, rng: Any):
    """Pairs of rows of a level, rows being sorted by it; a random sample of too many."""
    start = np.flatnonzero(np.diff(codes, prepend=-1))
    size = np.diff(np.append(start, len(codes))).astype(np.int64)
    pairs = size * (size - 1) // 2
    ends = np.cumsum(pairs)
    whole = int(ends[-1]) if len(ends) else 0
    number = np.arange(min(whole, MOST_PAIRS), dtype=np.int64)
    if whole > MOST_PAIRS:
        number = np.random.default_rng(rng).integers(0, whole, MOST_PAIRS)
    level = np.searchsorted(ends, number, side="right")
    inside = number - (ends - pairs)[level]
    # pair number i (i - 1) / 2 + j of rows j < i
    i = np.floor((1 + np.sqrt(1 + 8 * inside.astype(float))) / 2).astype(np.int64)
    i -= i * (i - 1) // 2 > inside
    i += i * (i + 1) // 2 <= inside
    j = inside - i * (i - 1) // 2
    return start[level] + i, start[level] + j


def plot_variogram(
    results: HasFitted,
    time: Any = None,
    resid: str = "normalized",
    group: Any = None,
    bins: int = 20,
    *,
    rng: Any = 0,
    ax: Any = None,
) -> Any:
    """Semivariances of pairs of residuals within levels against their distance.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    time : str or array_like, optional
        What distances are of; the number of the row in its level if None.
    resid, group
        As for ``plot_acf``.
    bins : int, optional
        Bins of as many pairs each, where there are more distances.
    rng : Generator or int, optional
        Source of random numbers or a seed: of more than a million pairs a random million
        is used.
    ax : Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If an argument is not known, no level has two rows, or the rows are not in memory.

    Notes
    -----
    The semivariance is half the mean square of the difference of two residuals; it does not
    depend on the distance where residuals are independent.  The area of a point is
    proportional to its number of pairs.

    See Also
    --------
    mixedext.graphics.serial.variogram_data : the numbers.
    """
    frame = variogram_data(results, time, resid, group, bins, rng=rng)
    ax = one_axes(ax)
    count = frame["n_pairs"]
    level = float(np.average(frame["semivariance"], weights=count))
    reference_line(ax, y=level)
    ax.plot(frame["distance"], frame["semivariance"], color=GREY, lw=0.8)
    size = 12 + 90 * count / count.max()
    ax.scatter(frame["distance"], frame["semivariance"], s=size, color=COLOURS[0], zorder=3)
    ax.set_ylim(bottom=0.0)
    group = _name(default_factor(results.fitted) if group is None else group)
    unit = "rows" if time is None else _name(time)
    few, many = int(count.min()), int(count.max())
    title = f"{few:,} to {many:,} pairs a point" if few < many else f"{few:,} pairs a point"
    if count.sum() == MOST_PAIRS:
        title += f" of a random {MOST_PAIRS:,}"
    label_axes(ax, f"distance ({unit} within {group})", "semivariance", title, small=True)
    return figure_of(ax)
