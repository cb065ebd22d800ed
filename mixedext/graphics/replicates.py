"""Replicates of a bootstrap: densities with what lies on a bound, ridges, pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.graphics.figures import (
    COLOURS,
    GREY,
    check_rows,
    few_ticks,
    figure_of,
    label_axes,
    name_ticks,
    one_axes,
    panels,
    reference_line,
    text_width,
)

__all__ = ["Spike", "plot_replicates", "replicate_density", "replicate_spikes"]

# Points of a density, of a cloud at most, parameters of a picture of pairs at most.
_POINTS, _CLOUD, MOST_PAIRED = 201, 2000, 7
# Inches of a panel, and of a ridge.
_WIDTH, _HEIGHT, _RIDGE = 3.2, 2.8, 0.75
# Width of a spike, in shares of the range.
_BAR = 0.02


class Spike(NamedTuple):
    """Replicates that have one value, such as a variance of zero.

    Attributes
    ----------
    value : float
        The value, an end of the range.
    share : float
        Share of the replicates.
    """

    value: float
    share: float


def replicate_spikes(values: np.ndarray) -> list[Spike]:
    """Ends of the range at which more than one replicate lies.

    Parameters
    ----------
    values : ndarray
        Of one parameter, finite.
    """
    if len(values) < 2:
        return []
    ends = sorted({float(values.min()), float(values.max())})
    counts = [int(np.count_nonzero(values == end)) for end in ends]
    return [Spike(e, c / len(values)) for e, c in zip(ends, counts, strict=True) if c > 1]


def replicate_density(samples: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Density of the replicates of each parameter that are at no bound.

    Parameters
    ----------
    samples : Mapping
        Finite values by the name of the parameter.

    Returns
    -------
    DataFrame
        parameter, value, density.  The area under it is the share of these replicates.

    Notes
    -----
    Normal kernels with Scott's width, reflected at the bounds that replicates lie on.
    """
    parts = [pd.DataFrame({"parameter": [], "value": [], "density": []})[:0]]
    for name, values in samples.items():
        spikes = replicate_spikes(values)
        free = values[~np.isin(values, [s.value for s in spikes])]
        if len(free) < 2 or np.ptp(free) == 0:
            continue
        width = free.std(ddof=1) * len(free) ** -0.2
        bounds = {s.value for s in spikes}
        low, high = values.min(), values.max()
        low = low if low in bounds else low - 3 * width
        high = high if high in bounds else high + 3 * width
        grid = np.linspace(low, high, _POINTS)
        kernel = stats.gaussian_kde(free)
        density = kernel(grid)
        for bound in bounds:  # what would lie beyond
            density = density + kernel(2 * bound - grid)
        density = density * len(free) / len(values)
        parts.append(pd.DataFrame({"parameter": name, "value": grid, "density": density}))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def plot_replicates(
    samples: Mapping[str, np.ndarray],
    table: pd.DataFrame,
    note: str,
    kind: str = "density",
    ax: Any = None,
    complete: pd.DataFrame | None = None,
) -> Any:
    """Draw the replicates of a bootstrap.

    Parameters
    ----------
    samples : Mapping
        Finite values by the name of the parameter.
    table : DataFrame
        Columns estimate, lower and upper, rows by name.
    note : str
        What the title says: replicates, failures, singular fits.
    kind : {"density", "ridge", "pairs"}
        A panel a parameter, one below the other in units of their standard errors, or each
        pair of them.
    ax : Axes or array of Axes, optional
        Where to draw; new ones if None.
    complete : DataFrame, optional
        Replicates in which all parameters have a value, for pairs.

    Returns
    -------
    Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are too many parameters for pairs, or too few axes.
    """
    check_rows(table, "parameters")
    if kind == "ridge":
        return _ridges(samples, table, note, ax)
    if kind == "pairs":
        return _pairs(complete, table, note, ax)
    own = ax is None
    axes = panels(ax, len(samples), width=_WIDTH, height=_HEIGHT, things="parameters")
    frame = replicate_density(samples)
    for axis, (name, values) in zip(axes, samples.items(), strict=True):
        part = frame[frame["parameter"] == name]
        if len(part):
            axis.fill_between(
                part["value"], 0, part["density"], color=COLOURS[0], alpha=0.2, lw=0
            )
            axis.plot(part["value"], part["density"], color=COLOURS[0])
        spread = np.ptp(values) if len(values) else 0.0
        width = _BAR * (spread if spread > 0 else 1.0)
        for spike in replicate_spikes(values):
            axis.bar(spike.value, spike.share / width, width, color=COLOURS[1])
            axis.annotate(
                f"{100 * spike.share:.3g}%", (spike.value, spike.share / width),
                xytext=(5, -2), textcoords="offset points", va="top", fontsize="small",
                color=COLOURS[1],
            )  # fmt: skip
        reference_line(axis, x=float(table.loc[name, "estimate"]))
        limits = table.loc[name, ["lower", "upper"]].to_numpy(float)
        if np.isfinite(limits).all():
            axis.plot(
                limits, [0, 0], color="black", lw=4, solid_capstyle="butt", clip_on=False
            )
        axis.set_ylim(0, None)
        few_ticks(axis)
        label_axes(axis, name, "density")
    figure = figure_of(axes)
    if own:
        _heading(figure, note)
    return figure


def _heading(figure, note):
    wide = text_width([note], 11)
    size = min(11.0, 11.0 * 0.95 * figure.get_figwidth() / max(wide, 0.1))
    if size < 8:  # two lines
        half = note.rfind(",", 0, len(note) // 2 + 12) + 1
        note, size = f"{note[:half]}\n{note[half:].strip()}", min(2 * size, 11.0)
    figure.suptitle(note, fontsize=size)


def _ridges(samples, table, note, ax):
    if ax is None:
        width = 4.8 + min(text_width(list(samples)), 3.0)
        ax = one_axes(None, max(width, 6.4), max(3.0, _RIDGE * len(samples) + 1.2))
    ax = one_axes(ax)
    frame = replicate_density(samples)
    reference_line(ax, x=0.0)
    for number, (name, values) in enumerate(samples.items()):
        base = len(samples) - 1 - number
        centre, error = (
            float(table.loc[name, "estimate"]),
            np.std(values) if len(values) else 0.0,
        )
        error = error if error > 0 else 1.0
        part = frame[frame["parameter"] == name]
        spikes = replicate_spikes(values)
        if len(part):
            x = (part["value"].to_numpy() - centre) / error
            height = part["density"].to_numpy() * error
            y = base + 0.85 * height / max(height.max(), 0.45)
            colour = COLOURS[number % len(COLOURS)]
            ax.fill_between(x, base, y, color=colour, alpha=0.35, lw=0, zorder=number + 2)
            ax.plot(x, y, color=colour, lw=1.2, zorder=number + 2)
        for spike in spikes:
            at = (spike.value - centre) / error
            ax.plot([at, at], [base, base + 0.85 * spike.share], color=COLOURS[1], lw=4,
                    solid_capstyle="butt", zorder=number + 3)  # fmt: skip
        limits = (table.loc[name, ["lower", "upper"]].to_numpy(float) - centre) / error
        if np.isfinite(limits).all():
            ax.plot(limits, [base, base], color="black", lw=2.5, zorder=number + 3)
    names = list(samples)[::-1]
    name_ticks(ax, "y", range(len(names)), names, room=3.2)
    ax.set_ylim(-0.3, len(names))
    label_axes(ax, "(replicate - estimate) / standard error", title=note, small=True)
    return ax.figure


def _pairs(complete, table, note, ax):
    names = list(table.index)
    count = len(names)
    if count > MOST_PAIRED:
        raise ValueError(
            f"{count} parameters are too many for pairs; name at most {MOST_PAIRED} of "
            f"them by parameters=, such as parameters={[str(n) for n in names[:2]]}"
        )
    check_rows(complete, "replicates in which all of these parameters have a value")
    own = ax is None
    grid = panels(
        ax, count**2, width=1.9, height=1.7, columns=count, things="pairs of parameters"
    )
    cloud = complete
    if len(cloud) > _CLOUD:
        cloud = cloud.iloc[np.linspace(0, len(cloud) - 1, _CLOUD).round().astype(int)]
    for place, axis in enumerate(grid):
        row, column = divmod(place, count)
        if column > row:
            axis.set_visible(False)
            continue
        across, along = names[column], names[row]
        if row == column:
            axis.hist(
                complete[across], bins=25, color=COLOURS[5], lw=0, histtype="stepfilled"
            )
            reference_line(axis, x=float(table.loc[across, "estimate"]))
            axis.set_yticks([])
        else:
            axis.plot(
                cloud[across], cloud[along], ".", color=COLOURS[0], ms=2, alpha=0.4,
                rasterized=True,
            )  # fmt: skip
            at = table.loc[[across, along], "estimate"].to_numpy(float)
            axis.plot(*at, "P", color=COLOURS[1], mec="white", ms=8)
        few_ticks(axis, 2, None if row == column else 3)
        label_axes(
            axis, across if row == count - 1 else None,
            along if column == 0 and row else None,
        )  # fmt: skip
        for side in (axis.xaxis, axis.yaxis):
            side.label.set_fontsize("small")
        axis.tick_params(labelsize="x-small", color=GREY)
    figure = figure_of(grid)
    if own:
        _heading(figure, note)
    return figure
