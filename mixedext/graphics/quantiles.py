"""Residuals against normal quantiles."""

from __future__ import annotations

import warnings
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
)
from mixedext.graphics.residual_plots import residual_label
from mixedext.graphics.row_clouds import draw_points, spread
from mixedext.graphics.row_levels import row_index
from mixedext.inference.bootstrap.bootstrapping import simulate
from mixedext.inference.diagnostics.residuals import residuals

__all__ = ["BANDS", "plot_qq", "qq_data"]

BANDS = ("pointwise", "simulated", None)
# Order statistics that are drawn of more rows, and how many of each end are among them.
MOST_ORDERS, ENDS = 10_000, 500
# Orders at which the law of order statistics is computed; between them it is smooth.
BAND_KNOTS = 1000


def qq_data(
    results: HasFitted,
    kind: str = "conditional",
    scale: str | None = None,
    band: str | None = "pointwise",
    alpha: float = 0.05,
    *,
    level: float | None = None,
    n: int = 99,
    rng: Any = None,
) -> pd.DataFrame:
    """What ``plot_qq`` draws.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    kind, scale, band, alpha, level, n, rng
        As for ``plot_qq``.

    Returns
    -------
    DataFrame
        quantile, residual, line, lower, upper by ascending residual, with the labels of
        the rows; lower and upper are NaN without a band.  Of more than 10,000 rows as many
        order statistics, the 500 least and greatest among them.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.quantiles import qq_data
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> qq_data(result).round(2).iloc[-1].tolist()
    [2.77, 5.53, 2.77, 2.05, 3.63]
    """
    check_choice(band, "band", BANDS)
    level, fitted = confidence(alpha, level), results.fitted
    scale = _usual_scale(fitted) if scale is None else scale
    values = np.asarray(residuals(fitted, kind=kind, scale=scale), float)
    sound = np.flatnonzero(np.isfinite(values))
    order = sound[np.argsort(values[sound], kind="stable")]
    at = _orders(len(order))
    quantile = stats.norm.ppf((at + 0.5) / max(len(order), 1))
    unit = 1.0
    if scale == "raw":
        unit = float(np.sqrt(np.mean(values[sound] ** 2))) if len(sound) else 1.0
    columns = {"quantile": quantile, "residual": values[order[at]], "line": unit * quantile}
    lower = upper = np.full(len(at), np.nan)
    if not len(order):
        pass  # no residual that is a number
    elif band == "pointwise":
        lower, upper = (unit * b for b in _pointwise(at, len(order), level))
    elif band == "simulated":
        lower, upper = _simulated(fitted, kind, scale, at, level, n, rng)
    columns |= {"lower": lower, "upper": upper}
    return pd.DataFrame(columns, index=row_index(fitted)[order[at]])


def _usual_scale(fitted: Fitted) -> str:
    """Studentized residuals; normalized ones where errors are correlated."""
    return "studentized" if fitted.fit.residual is None else "normalized"


def _orders(n: int) -> np.ndarray:
    """Numbers of the order statistics that are drawn of ``n``."""
    if n <= MOST_ORDERS:
        return np.arange(n)
    middle = ENDS + spread(n - 2 * ENDS, MOST_ORDERS - 2 * ENDS)
    return np.concatenate([np.arange(ENDS), middle, np.arange(n - ENDS, n)])


def _pointwise(at, n, level):
    """Normal quantiles of limits of the order statistics of uniforms, which are beta."""
    tail = (1 - level) / 2
    knots = at
    if len(at) > BAND_KNOTS:
        knots = at[
            np.unique(np.concatenate([np.arange(ENDS), spread(len(at), BAND_KNOTS - ENDS)]))
        ]
        knots = np.union1d(knots, n - 1 - knots)
    centre = stats.norm.ppf((at + 0.5) / n)
    own = stats.norm.ppf((knots + 0.5) / n)
    for q in (tail, 1 - tail):
        limit = stats.norm.ppf(stats.beta.ppf(q, knots + 1, n - knots))
        yield np.interp(centre, own, limit)


def _simulated(fitted: Fitted, kind, scale, at, level, n, rng):
    """Quantiles of the same order statistics in refits to simulated responses."""
    if int(n) < 2 / (1 - level):
        raise ValueError(
            f"n={n}: the limits of a band of level {level:g} need {2 / (1 - level):.0f} "
            "refits or more"
        )
    simulated, model = simulate(fitted, int(n), rng=rng), fitted.model
    held = fitted.arguments.held("the simulated band")
    found = np.full((int(n), len(at)), np.nan)
    for i, name in enumerate(simulated):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of singular fits, which are as valid
            refit = model.refit(simulated[name].to_numpy(), reml=fitted.fit.reml, **held)
        own = np.asarray(residuals(refit.fitted, kind=kind, scale=scale), float)
        found[i] = np.sort(own)[at]  # NaN last
    return np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)


def plot_qq(
    results: HasFitted,
    kind: str = "conditional",
    scale: str | None = None,
    band: str | None = "pointwise",
    alpha: float = 0.05,
    *,
    level: float | None = None,
    n: int = 99,
    rng: Any = None,
    ax: Any = None,
) -> Any:
    """Residuals against normal quantiles, with a band.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    kind, scale : str, optional
        Which residuals; see ``residuals``.  Without a scale "studentized", with a residual
        covariance "normalized".
    band : {"pointwise", "simulated", None}, optional
        Limits of each order statistic alone: by the beta law, as if residuals were
        independent; or from refits to responses simulated from the fit, which have the
        dependence that the fit makes.  None for no band.
    alpha, level : float, optional
        Each order statistic is outside its limits with probability alpha = 1 - level.
    n : int, optional
        Number of refits of a simulated band.
    rng : Generator or int, optional
        Source of their random numbers, or a seed.
    ax : Axes, optional
        Where to draw; on a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If an argument is not known, ``n`` is too small for ``alpha``, or the rows are not
        in memory.

    Notes
    -----
    The line is that of the normal law: y = x of scaled residuals, with the root mean square
    as its slope of raw ones.  Of more than 10,000 rows as many order statistics are drawn,
    all of the 500 at either end.

    See Also
    --------
    mixedext.graphics.quantiles.qq_data : the numbers.
    plot_qq_random : conditional modes against normal quantiles.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> figure = result.plot_qq(band="simulated", rng=1)  # doctest: +SKIP
    """
    scale = _usual_scale(results.fitted) if scale is None else scale
    frame = qq_data(results, kind, scale, band, alpha, level=level, n=n, rng=rng)
    check_rows(frame, "row has a residual of this kind and scale")
    ax = one_axes(ax)
    x = frame["quantile"]
    if band is not None:
        ax.fill_between(x, frame["lower"], frame["upper"], color=LIGHT, lw=0, alpha=0.6)
    ax.plot(x, frame["line"], color=GREY, lw=0.9)
    outside = (frame["residual"] < frame["lower"]) | (frame["residual"] > frame["upper"])
    draw_points(ax, x, frame["residual"], alpha=0.8)
    if outside.any():
        draw_points(ax, x[outside], frame["residual"][outside], color=COLOURS[1], alpha=0.9)
    parts, rows = [], results.fitted.nobs
    thinned = len(frame) == MOST_ORDERS < rows
    if band is not None and not thinned:
        parts.append(f"{np.mean(outside):.1%} outside the {band} band")
    if thinned:
        parts.append(f"{MOST_ORDERS:,} order statistics of {rows:,} rows")
    elif len(frame) < rows:
        parts.append(f"{rows - len(frame):,} rows without a residual left out")
    title = "; ".join(parts) or None
    label_axes(ax, "normal quantile", residual_label(kind, scale), title, small=True)
    return figure_of(ax)
