"""Dependence of residuals within levels: autocorrelations and semivariances."""

from __future__ import annotations

from typing import Any, NamedTuple

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
    legend,
    one_axes,
    reference_line,
)
from mixedext.graphics.row_levels import RowLevels, default_factor, row_levels
from mixedext.graphics.serial_pairs import (
    MOST_PAIRS,
    RowPlaces,
    correlation_at,
    error_moments,
    has_order,
    pair_distances,
    pairs_at_lag,
    row_pairs,
    row_places,
)
from mixedext.inference.diagnostics.residuals import residuals
from mixedext.specification.covariance.residual_structure import name_of

__all__ = ["RESIDUALS", "acf_data", "plot_acf", "plot_variogram", "variogram_data"]

# Names of the residuals, and what ``residuals`` calls them.
RESIDUALS = {
    "normalized": ("conditional", "cholesky"),
    "pearson": ("conditional", "pearson"),
    "studentized": ("conditional", "studentized"),
    "raw": ("conditional", "raw"),
    "marginal": ("marginal", "raw"),
}
# Points of the curve that a model says.
CURVE = 200


class _Series(NamedTuple):
    """Residuals in order of level and place.

    Attributes
    ----------
    values, rows, codes, at : ndarray
        Residual, number of the row, of its level, and what it is ordered by.
    name : str
        What the levels are of.
    places : RowPlaces or None
        Places in the residual groups, if these are the levels.
    """

    values: np.ndarray
    rows: np.ndarray
    codes: np.ndarray
    at: np.ndarray
    name: str
    places: RowPlaces | None = None

    def at_rows(self, kept: np.ndarray) -> _Series:
        """Some of the rows, (n,) bool."""
        return self._replace(
            values=self.values[kept],
            rows=self.rows[kept],
            codes=self.codes[kept],
            at=self.at[kept],
        )

    def moments(self, fitted: Fitted, first: np.ndarray, second: np.ndarray):
        """``error_moments`` of pairs by their numbers in the series."""
        assert self.places is not None
        return error_moments(fitted, self.places, self.rows[first], self.rows[second])


def _series(fitted: Fitted, resid: str, group: Any, time: Any) -> _Series:
    check_choice(resid, "resid", tuple(RESIDUALS))
    kind, scale = RESIDUALS[resid]
    values = np.asarray(residuals(fitted, kind=kind, scale=scale), float)
    n, places = len(values), None
    residual = fitted.fit.residual
    if residual is not None and group is None and residual.bound.correlation is not None:
        places, bound = row_places(residual.bound), residual.bound
        codes = np.asarray(bound.group_codes, np.intp)
        found = RowLevels(bound.group_name, codes, pd.RangeIndex(bound.n_groups))
        at = places.at.astype(float)
    else:
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
    return _Series(values[order], order, found.codes[order], at[order], found.name, places)


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
    """Autocorrelations of residuals within levels; what ``plot_acf`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    lags, resid, group, time, alpha, level
        As for ``plot_acf``.

    Returns
    -------
    DataFrame
        acf, n_pairs, lower, upper; a row a lag, from 0.  Within residual groups lags are
        differences of visits, and ``model`` is what the residual covariance says (NaN of
        residuals that are neither normalized nor Pearson's).

    Raises
    ------
    ValueError
        If no level has two rows; if residual groups have no order, as in the plane.

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
    series = _series(fitted, resid, group, time)
    values, codes, name = series.values, series.codes, series.name
    of_groups = series.places is not None and time is None
    if of_groups and not has_order(fitted.fit.residual.bound):  # type: ignore[union-attr]
        raise ValueError(
            f"rows of {name} stand in a plane and have no order, and so no lags; "
            "variogram() goes by their distances, and time= names a column that orders them"
        )
    longest = int(np.bincount(codes).max(initial=0)) if len(codes) else 0
    if of_groups and longest > 1:
        longest = 1 + int(series.at.max())
    if longest < 2:
        raise ValueError(
            f"no level of {name} has two rows with a residual: there is no correlation "
            "within levels. group= names another factor"
        )
    if lags is None:
        lags = int(10 * np.log10(longest))
    elif (
        not isinstance(lags, int | float) or isinstance(lags, bool) or lags % 1 or lags < 1
    ):
        raise ValueError(f"lags={lags!r}; it must be a whole number from 1")
    lags = min(max(int(lags), 1), longest - 1)
    mean_square = float(np.mean(values**2))
    if mean_square == 0:
        raise ValueError("all residuals are zero: they have no correlations")
    rows, model = [(1.0, len(values))], [1.0]
    for lag in range(1, lags + 1):
        if of_groups:
            first, second = pairs_at_lag(codes, series.at.astype(np.int64), lag)
        else:
            second = np.flatnonzero(codes[lag:] == codes[:-lag]) + lag
            first = second - lag
        count = len(first)
        total = float(np.dot(values[first], values[second]))
        rows.append((total / count / mean_square if count else np.nan, count))
        if series.places is not None:
            model.append(_model_correlation(fitted, series, resid, first, second))
    frame = pd.DataFrame(rows, columns=["acf", "n_pairs"])
    if series.places is not None:
        frame["model"] = model
    half = stats.norm.ppf((1 + level) / 2) / np.sqrt(frame["n_pairs"].clip(lower=1))
    half[frame["n_pairs"] == 0] = np.nan
    frame["lower"], frame["upper"] = -half, half
    return frame.rename_axis("lag")


def _model_correlation(fitted, series, resid, first, second):
    """Mean correlation of pairs of errors by the residual covariance."""
    if resid == "normalized":
        return 0.0
    if resid != "pearson" or not len(first):
        return np.nan
    one, other, both = series.moments(fitted, first, second)
    return float(np.mean(both / (np.sqrt(one) * np.sqrt(other))))


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
        Levels within which rows are series.  If None residual groups, of a model with a
        residual covariance; else the grouping factor with the most levels.
    time : str or array_like, optional
        Column by which rows are ordered, lags then counting rows.  If None lags are
        differences of visits within residual groups (of times numbers of rows); else rows
        are in the order of the data.
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
    makes conditional residuals of short series somewhat negatively correlated.  With a
    residual covariance normalized residuals are uncorrelated if it is right; those of
    Pearson have its correlations, which are drawn as a line.

    See Also
    --------
    mixedext.graphics.serial.acf_data : the numbers.
    """
    frame = acf_data(results, lags, resid, group, time, alpha, level=level)
    shown = frame.iloc[1:].dropna(subset=["acf"])
    check_rows(shown, "pair of rows within a level")
    ax, own = one_axes(ax), ax is None
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
    if resid == "pearson" and "model" in shown:
        known = shown["model"].notna()
        ax.plot(lag[known], shown["model"][known], color=COLOURS[1], lw=1.4, label="model")
        legend(ax, own=own)
    ax.xaxis.get_major_locator().set_params(integer=True)
    pairs = shown["n_pairs"]
    few, many = int(pairs.min()), int(pairs.max())
    count = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    label_axes(
        ax,
        f"lag ({_unit(results.fitted, group, time)})",
        f"correlation of {'Pearson' if resid == 'pearson' else resid} residuals",
        f"{count} pairs a lag",
        small=True,
    )
    return figure_of(ax)


def _unit(fitted: Fitted, group: Any, time: Any) -> str:
    """What lags count, and within what."""
    residual = fitted.fit.residual
    if group is None and residual is not None and residual.bound.correlation is not None:
        within, visit = residual.bound.group_name, residual.bound.visit_name
    else:
        within = _name(default_factor(fitted) if group is None else group)
        visit = None
    unit = visit or "rows"
    if time is not None:
        unit = f"rows by {_name(time)}"
    return f"{unit} within {within}"


def _name(by):
    if by is None:
        return "the data"
    if isinstance(by, list):
        return ":".join(map(str, by))
    return by if isinstance(by, str) else str(getattr(by, "name", None) or "levels")


# ---- semivariances ----


def variogram_data(
    results: HasFitted,
    distance: Any = None,
    resid: str | None = None,
    group: Any = None,
    bins: int = 20,
    robust: bool = False,
    *,
    rng: Any = 0,
) -> pd.DataFrame:
    """Semivariances of residuals by distance; what ``plot_variogram`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    distance, resid, group, bins, robust, rng
        As for ``plot_variogram``.

    Returns
    -------
    DataFrame
        distance, semivariance, n_pairs; a row a distance, or a bin of distances with its
        mean.  Within residual groups also ``model``, the mean of what the residual
        covariance says of the same pairs (NaN of residuals other than normalized, Pearson's
        and raw ones).

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
    if not isinstance(robust, bool | np.bool_):
        raise ValueError(f"robust={robust!r} must be True or False")
    fitted = results.fitted
    resid = _variogram_residuals(fitted, group) if resid is None else resid
    series = _series(fitted, resid, group, None)
    values, codes = series.values, series.codes
    coordinates = _coordinates(fitted, series, distance)
    if coordinates is not None:
        known = np.isfinite(coordinates).all(axis=1)
        series = series.at_rows(known)
        values, codes, coordinates = series.values, series.codes, coordinates[known]
    first, second = row_pairs(codes, rng, MOST_PAIRS)
    if not len(first):
        raise ValueError(
            f"no level of {series.name} has two rows with a residual: there are no pairs "
            "within levels. group= names another factor"
        )
    if coordinates is None:
        assert series.places is not None
        bound = fitted.fit.residual.bound  # type: ignore[union-attr]
        rows = series.rows[first], series.rows[second]
        apart = pair_distances(bound, series.places, *rows)
    else:
        apart = np.sqrt(((coordinates[first] - coordinates[second]) ** 2).sum(axis=1))
    places, bin_of = np.unique(apart, return_inverse=True)
    if len(places) > bins:
        edges = np.quantile(apart, np.linspace(0, 1, int(bins) + 1)[1:-1])
        bin_of = np.unique(np.searchsorted(edges, apart), return_inverse=True)[1]
    count = np.bincount(bin_of)
    difference = values[first] - values[second]
    if robust:
        roots = np.bincount(bin_of, np.sqrt(np.abs(difference))) / count
        semivariance = 0.5 * roots**4 / (0.457 + 0.494 / count)
    else:
        semivariance = np.bincount(bin_of, 0.5 * difference**2) / count
    columns = {
        "distance": np.bincount(bin_of, apart) / count,
        "semivariance": semivariance,
        "n_pairs": count,
    }
    if series.places is not None:
        said = _model_semivariance(fitted, series, resid, first, second)
        columns["model"] = np.bincount(bin_of, said) / count
    return pd.DataFrame(columns)


def _variogram_residuals(fitted: Fitted, group: Any) -> str:
    """Pearson's beside a residual covariance, which says what they are; else normalized."""
    residual = fitted.fit.residual
    serial = residual is not None and residual.bound.correlation is not None
    return "pearson" if serial and group is None else "normalized"


def _coordinates(fitted: Fitted, series: _Series, distance: Any) -> np.ndarray | None:
    """Coordinates of the rows of a series, (m, d); None for the structure's distances."""
    if distance is None:
        if series.places is not None:
            return None
        start = np.flatnonzero(np.diff(series.codes, prepend=-1))
        size = np.diff(np.append(start, len(series.codes)))
        number = np.arange(len(series.codes)) - np.repeat(start, size)
        return number[:, None].astype(float)
    several = isinstance(distance, list | tuple) and not np.isscalar(distance)
    several = several and all(isinstance(d, str) or np.ndim(d) == 1 for d in distance)
    columns = []
    for one in distance if several else [distance]:
        own = row_levels(fitted, one, "distance")
        codes = np.where(own.codes < 0, np.nan, own.codes.astype(float))
        columns.append(codes if own.values is None else own.values)
    return np.column_stack(columns)[series.rows]


def _model_semivariance(fitted, series, resid, first, second):
    """What the residual covariance says of pairs of residuals, (m,)."""
    if resid == "normalized":
        return np.ones(len(first))
    if resid not in ("pearson", "raw"):
        return np.full(len(first), np.nan)
    one, other, both = series.moments(fitted, first, second)
    if resid == "raw":
        return (one + other) / 2 - both
    return 1 - both / (np.sqrt(one) * np.sqrt(other))


def plot_variogram(
    results: HasFitted,
    distance: Any = None,
    resid: str | None = None,
    group: Any = None,
    bins: int = 20,
    robust: bool = False,
    *,
    rng: Any = 0,
    ax: Any = None,
) -> Any:
    """Semivariances of pairs of residuals within levels against their distance.

    With a residual covariance the curve of the model is drawn on top.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    distance : str, list of str or array_like, optional
        What distances are of: a column, several of coordinates, or a value for each row.
        If None those of the residual covariance, differences of visits or distances of
        times and places; without one the number of the row in its level.
    resid : str, optional
        As for ``plot_acf``.  If None Pearson's within residual groups, which have the
        correlations of the model; else normalized ones.
    group
        As for ``plot_acf``.
    bins : int, optional
        Bins of as many pairs each, where there are more distances.
    robust : bool, optional
        Cressie and Hawkins' estimate, by the fourth power of the mean root of the size of
        differences, on which outliers have little influence.
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
    depend on the distance where residuals are independent, and is one less the correlation
    where they have variance one.  The area of a point is proportional to its number of
    pairs.

    References
    ----------
    Cressie and Hawkins (1980), Robust estimation of the variogram: I, Journal of the
    International Association for Mathematical Geology 12(2), 115-125.

    See Also
    --------
    mixedext.graphics.serial.variogram_data : the numbers.
    """
    frame = variogram_data(results, distance, resid, group, bins, robust, rng=rng)
    ax, own = one_axes(ax), ax is None
    fitted, count = results.fitted, frame["n_pairs"]
    chosen = _variogram_residuals(fitted, group) if resid is None else resid
    line = frame["distance"], frame["semivariance"]
    has_model = "model" in frame and frame["model"].notna().all()
    if not has_model:
        level = float(np.average(frame["semivariance"], weights=count))
        reference_line(ax, y=level)
    ax.plot(*line, color=GREY, lw=0.8)
    size = 12 + 90 * count / count.max()
    ax.scatter(*line, s=size, color=COLOURS[0], zorder=3)
    if has_model:
        curve = _curve(fitted, frame, chosen, distance)
        ax.plot(*curve, color=COLOURS[1], lw=1.6, zorder=4, label="model")
        legend(ax, own=own)
    ax.set_ylim(bottom=0.0)
    if (frame["distance"] % 1 == 0).all():
        ax.xaxis.get_major_locator().set_params(integer=True)
    few, many = int(count.min()), int(count.max())
    title = f"{few:,} to {many:,} pairs a point" if few < many else f"{few:,} pairs a point"
    if count.sum() == MOST_PAIRS:
        title += f" of a random {MOST_PAIRS:,}"
    what = "robust semivariance" if robust else "semivariance"
    label_axes(
        ax,
        f"distance ({_of_distance(fitted, group, distance)})",
        f"{what} of {'Pearson' if chosen == 'pearson' else chosen} residuals",
        title,
        small=True,
    )
    return figure_of(ax)


def _curve(fitted, frame, resid, distance):
    """Distances and what the model says there: a curve where it is a function of these."""
    points = frame["distance"], frame["model"]
    if resid != "pearson" or distance is not None:
        return points
    grid = np.linspace(0, float(frame["distance"].max()), CURVE + 1)[1:]
    found = correlation_at(fitted.fit.residual, grid)
    return points if found is None else (grid, 1 - found)


def _of_distance(fitted, group, distance):
    """What distances are of, and within what."""
    if distance is None:
        residual = fitted.fit.residual
        unit = _unit(fitted, group, None)
        if residual is not None and group is None and residual.bound.visit_name is None:
            names = ", ".join(name_of(p, "place") for p in residual.bound.spec.places)
            unit = f"{names or 'rows'}{unit[unit.index(' within ') :]}"
        return unit
    columns = list(distance) if isinstance(distance, list | tuple) else [distance]
    within = _unit(fitted, group, None).rpartition(" within ")[2]
    return f"{', '.join(_name(one) for one in columns)} within {within}"
