"""Clouds of points with a curve; many points are counted in hexagons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.graphics.figures import COLOURS

__all__ = [
    "MOST_POINTS",
    "draw_cloud",
    "draw_curve",
    "draw_points",
    "lowess_curve",
    "spread",
]

# Rows above which points are counted in hexagons, and those that a curve is made of.
MOST_POINTS, MOST_SMOOTHED = 50_000, 10_000
# Points of a curve that is drawn; hexagons beside each other.
MOST_KNOTS, HEXAGONS = 400, 60


def lowess_curve(x: Any, y: Any) -> pd.DataFrame:
    """A local regression (Cleveland's lowess), as statsmodels computes it.

    Parameters
    ----------
    x, y : array_like
        Finite values, (n,); above 10,000 as many rows, evenly in order of ``x``, are used.

    Returns
    -------
    DataFrame
        Columns x, smooth by ascending x, 400 rows at most; none if ``x`` has fewer than
        four values.
    """
    from statsmodels.nonparametric.smoothers_lowess import lowess

    x, y = np.asarray(x, float), np.asarray(y, float)
    order = spread(len(x), MOST_SMOOTHED, np.argsort(x, kind="stable"))
    x, y = x[order], y[order]
    if len(np.unique(x)) < 4:
        return pd.DataFrame({"x": [], "smooth": []}, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        smooth = lowess(y, x, frac=2 / 3, delta=0.005 * (x[-1] - x[0]), is_sorted=True)
    smooth = smooth[np.isfinite(smooth).all(axis=1)]
    smooth = smooth[np.unique(smooth[:, 0], return_index=True)[1]]
    smooth = smooth[spread(len(smooth), MOST_KNOTS)]
    return pd.DataFrame(smooth, columns=["x", "smooth"])


def spread(n: int, most: int, order: np.ndarray | None = None) -> np.ndarray:
    """Numbers of at most ``most`` of ``n`` things, evenly, first and last among them.

    Parameters
    ----------
    order : ndarray, optional
        Their order, (n,); as they are if None.
    """
    at = np.arange(n)
    if n > most:
        at = np.unique(np.linspace(0, n - 1, most).round().astype(np.intp))
    return at if order is None else order[at]


def draw_points(ax: Any, x: Any, y: Any, **style: Any) -> Any:
    """Points, the fainter and smaller the more there are."""
    many = len(x) > 300
    given = {
        "marker": "o",
        "ls": "",
        "ms": 2.5 if many else 4,
        "mew": 0,
        "alpha": float(np.clip(30 / np.sqrt(len(x) + 1), 0.15, 0.75)),
        "color": COLOURS[0],
        "rasterized": len(x) > 2000,
    }
    (line,) = ax.plot(np.asarray(x), np.asarray(y), **(given | style))
    return line


def draw_cloud(ax: Any, x: Any, y: Any, **style: Any) -> str:
    """Points, or above 50,000 their numbers in hexagons.

    Returns
    -------
    str
        What the title says of the hexagons; empty for points.
    """
    if len(x) <= MOST_POINTS:
        draw_points(ax, x, y, **style)
        return ""
    ax.hexbin(x, y, gridsize=HEXAGONS, bins="log", mincnt=1, cmap="Blues", linewidths=0)
    return f"{len(x):,} rows, darker where there are more (log)"


def draw_curve(ax: Any, frame: pd.DataFrame) -> None:
    """A smooth curve, where there is one."""
    if len(frame):
        ax.plot(frame["x"], frame["smooth"], color=COLOURS[1], lw=1.6, label="lowess")
