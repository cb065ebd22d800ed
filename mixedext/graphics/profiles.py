"""Profiles of the likelihood: signed root, density, and pairs of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.graphics.figures import (
    COLOURS,
    LIGHT,
    few_ticks,
    figure_of,
    label_axes,
    panels,
    reference_line,
)

__all__ = ["ProfileCurve", "plot_density", "plot_pairs", "plot_profiles", "profile_density"]

# Inches of the panel of one parameter.
WIDTH, HEIGHT = 3.2, 2.8
# Points of a curve, and parameters of a picture of pairs at most.
_POINTS, MOST_PAIRED = 201, 8


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

    def spline(self) -> Any:
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
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are fewer axes than curves.
    """
    axes = panels(ax, len(curves), width=WIDTH, height=HEIGHT, things="parameters")
    for own, (name, curve) in zip(axes, curves.items(), strict=True):
        _draw(own, name, curve, limits.loc[name].to_numpy(float), level)
    return figure_of(axes)


def _draw(
    ax: Any, name: str, curve: ProfileCurve, limits: np.ndarray, level: float
) -> None:
    """One curve, its points, the level and the limits."""
    value, zeta, middle = curve.value, curve.zeta, curve.middle
    quantile = float(np.sqrt(stats.chi2.ppf(level, 1)))
    reference_line(ax, y=0.0)
    for height in (-quantile, quantile):
        if not zeta.min() <= height <= zeta.max():
            continue  # beyond a bound, such as a standard deviation of zero
        ax.axhline(height, color=LIGHT, lw=0.8, ls="--")
    for limit in limits[np.isfinite(limits)]:
        ax.axvline(limit, color=LIGHT, lw=0.8)
    if len(value) > 1:
        grid = np.linspace(value[0], value[-1], _POINTS)
        ax.plot(grid, curve.spline()(grid), color=COLOURS[0])
    ax.plot(value, zeta, ".", color=COLOURS[0], ms=4)
    ax.plot(value[middle], zeta[middle], "o", color=COLOURS[0], ms=5)
    few_ticks(ax)
    label_axes(ax, name, "zeta")


def profile_density(curves: Mapping[str, ProfileCurve]) -> pd.DataFrame:
    """Densities that the profiles stand for: phi(zeta) |d zeta / d value|.

    Parameters
    ----------
    curves : Mapping
        Curves by the names of their parameters.

    Returns
    -------
    DataFrame
        parameter, value, density; no rows of a profile of a single point.  What lies
        beyond a bound, such as a standard deviation of zero, is left out, so that the
        area is then below one.

    References
    ----------
    Bates, Maechler, Bolker and Walker (2015), Fitting linear mixed-effects models using
    lme4, Journal of Statistical Software 67(1), section 5.1.
    """
    parts = [pd.DataFrame({"parameter": [], "value": [], "density": []})[:0]]
    for name, curve in curves.items():
        if len(curve.value) < 2:
            continue
        spline = curve.spline()
        grid = np.linspace(curve.value[0], curve.value[-1], _POINTS)
        density = stats.norm.pdf(spline(grid)) * np.abs(spline(grid, 1))
        part = {"parameter": name, "value": grid, "density": density}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def plot_density(
    curves: Mapping[str, ProfileCurve], limits: pd.DataFrame, ax: Any = None
) -> Any:
    """Draw the density that each profile stands for, with an interval.

    Parameters
    ----------
    curves, limits, ax
        As for ``plot_profiles``.

    Returns
    -------
    Figure
    """
    frame = profile_density(curves)
    axes = panels(ax, len(curves), width=WIDTH, height=HEIGHT, things="parameters")
    for own, (name, curve) in zip(axes, curves.items(), strict=True):
        part = frame[frame["parameter"] == name]
        low, high = limits.loc[name].to_numpy(float)
        value, density = part["value"].to_numpy(), part["density"].to_numpy()
        if len(value):
            inside = (value >= (low if low == low else -np.inf)) & (
                value <= (high if high == high else np.inf)
            )
            own.fill_between(
                value, 0, density, where=inside, color=COLOURS[5], alpha=0.35, lw=0
            )
            own.plot(value, density, color=COLOURS[0])
            own.set_ylim(0, None)
        reference_line(own, x=float(curve.value[curve.middle]))
        few_ticks(own)
        label_axes(own, name, "density")
    return figure_of(axes)


def plot_pairs(
    curves: Mapping[str, ProfileCurve], points: pd.DataFrame, ax: Any = None
) -> Any:
    """Draw for each pair of parameters how the best value of one moves with the other.

    Below the diagonal one line is the profile of the parameter across, the other that of
    the parameter along: at right angles where the two are estimated independently.  On the
    diagonal stands zeta.

    Parameters
    ----------
    curves : Mapping
        Curves by the names of their parameters.
    points : DataFrame
        Columns ``parameter`` and one for every parameter: a row a point of a profile.
    ax : array of Axes, optional
        Where to draw, (k, k); a grid of new ones if None.

    Returns
    -------
    Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are more parameters than can be drawn, or too few axes.
    """
    names = list(curves)
    count = len(names)
    if count > MOST_PAIRED:
        raise ValueError(
            f"{count} parameters are too many for pairs; name at most {MOST_PAIRED} of "
            f"them by parameters=, such as parameters={[str(n) for n in names[:2]]}"
        )
    grid = panels(
        ax, count**2, width=1.9, height=1.7, columns=count, things="pairs of parameters"
    )
    for place, own in enumerate(grid):
        row, column = divmod(place, count)
        if column > row:
            own.set_visible(False)
            continue
        across, along = names[column], names[row]
        if row == column:
            curve = curves[across]
            reference_line(own, y=0.0)
            own.plot(curve.value, curve.zeta, color=COLOURS[2], lw=1.2)
        else:
            for number, name in enumerate((across, along)):
                part = points[points["parameter"] == name]
                own.plot(part[across], part[along], color=COLOURS[number], lw=1.2)
            at = [curves[n].value[curves[n].middle] for n in (across, along)]
            own.plot(*at, "o", color="black", ms=3.5)
        few_ticks(own, 2, 3)
        label_axes(
            own, across if row == count - 1 else None,
            ("zeta" if row == column else along) if column in (0, row) else None,
        )  # fmt: skip
        for axis in (own.xaxis, own.yaxis):
            axis.label.set_fontsize("small")
        own.tick_params(labelsize="x-small")
    return figure_of(grid)
