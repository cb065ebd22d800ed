"""Profiles of the likelihood: the signed root against the parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import stats

__all__ = ["ProfileCurve", "plot_profiles"]

# Inches of the panel of one parameter.
WIDTH, HEIGHT = 3.2, 2.8


class ProfileCurve(Protocol):
    """What is drawn of one parameter.

    Attributes
    ----------
    value, zeta : ndarray
        Points by ascending value.
    middle : int
        Number of the point at the estimate.
    """

    @property
    def value(self) -> np.ndarray: ...

    @property
    def zeta(self) -> np.ndarray: ...

    @property
    def middle(self) -> int: ...

    def spline(self) -> Callable[[np.ndarray], np.ndarray]:
        """The curve through the points."""


def plot_profiles(
    curves: Mapping[str, ProfileCurve], limits: pd.DataFrame, level: float, ax: Any = None
) -> Any:
    """Draw zeta against each parameter, with an interval.

    Parameters
    ----------
    curves : Mapping
        Curves by the names of their parameters.
    limits : DataFrame
        Columns lower and upper, rows by name; NaN where there is none.
    level : float
        Confidence level of the limits.
    ax : Axes or array of Axes, optional
        Where to draw; a grid of new ones if None.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there are fewer axes than curves.
    """
    import matplotlib.pyplot as plt

    if ax is None:
        columns = int(np.ceil(np.sqrt(len(curves))))
        rows = -(-len(curves) // columns)
        size = (WIDTH * columns, HEIGHT * rows)
        _, ax = plt.subplots(
            rows, columns, figsize=size, squeeze=False, layout="constrained"
        )
    axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    if len(axes) < len(curves):
        raise ValueError(f"ax has {len(axes)} axes for {len(curves)} parameters")
    for own, (name, curve) in zip(axes, curves.items(), strict=False):
        _draw(own, name, curve, limits.loc[name].to_numpy(float), level)
    for own in axes[len(curves) :]:
        own.set_visible(False)
    return axes[0].figure


def _draw(
    ax: Any, name: str, curve: ProfileCurve, limits: np.ndarray, level: float
) -> None:
    """One curve, its points, the level and the limits."""
    value, zeta, middle = curve.value, curve.zeta, curve.middle
    quantile = float(np.sqrt(stats.chi2.ppf(level, 1)))
    ax.axhline(0.0, color="0.7", lw=0.8)
    for height in (-quantile, quantile):
        if not zeta.min() <= height <= zeta.max():
            continue  # beyond a bound, such as a standard deviation of zero
        ax.axhline(height, color="0.7", lw=0.8, ls="--")
    for limit in limits[np.isfinite(limits)]:
        ax.axvline(limit, color="0.7", lw=0.8)
    if len(value) > 1:
        grid = np.linspace(value[0], value[-1], 201)
        ax.plot(grid, curve.spline()(grid))
    ax.plot(value, zeta, ".", color="C0", ms=4)
    ax.plot(value[middle], zeta[middle], "o", color="C0", ms=5)
    ax.set_xlabel(name)
    ax.set_ylabel("zeta")
