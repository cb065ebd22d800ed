"""Pictures of random effects: modes by level, their shrinkage, their distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.arguments import did_you_mean
from mixedext.fitted import HasFitted
from mixedext.graphics.figures import (
    COLOURS,
    GREY,
    HEIGHT,
    MOST_LABELS,
    WIDTH,
    check_rows,
    few_ticks,
    figure_of,
    label_axes,
    legend,
    name_ticks,
    one_axes,
    panels,
    reference_line,
    text_width,
)
from mixedext.inference.diagnostics.normal_band import normal_band
from mixedext.inference.random_effects.generalized_mode_errors import any_ranef_cov
from mixedext.inference.random_effects.modes import distinct_names, ranef, terms_of
from mixedext.inference.random_effects.shrinkage import shrinkage_ellipse, shrunk_levels
from mixedext.limits import MODE_VARIANCE

__all__ = [
    "plot_qq_random",
    "plot_random_effects",
    "plot_shrinkage",
    "qq_random_data",
    "random_effects_data",
    "shrinkage_data",
]

# Inches: of a panel of the caterpillar, of its rows, of its height at least, and where
# levels have no names.
_PANEL, _ROW, _LEAST, _TALL = 3.4, 0.2, 3.0, 6.5
# Arrows of a picture of shrinkage at most.
MOST_ARROWS = 2000
# More levels than these are drawn faintly.
_MANY = 100


def _chosen_effects(names: Sequence[str], effect: str | Sequence[str] | None) -> list[str]:
    """Effects that are asked for; all if None."""
    asked = list(names) if effect is None else effect
    asked = [asked] if isinstance(asked, str) else list(asked)
    for name in asked:
        if name not in names:
            raise ValueError(
                f"effect={name!r} is not a random effect of this factor; there are: "
                f"{', '.join(map(str, names))}{did_you_mean(name, names)}"
            )
    return asked


def _level_names(index: pd.Index) -> list[str]:
    """Names of levels; of several variables joined by colons."""
    if isinstance(index, pd.MultiIndex):
        return [":".join(map(str, level)) for level in index]
    return [str(level) for level in index]


def _distinct(modes: pd.DataFrame) -> pd.DataFrame:
    """Modes whose columns have names of their own."""
    return modes.set_axis(distinct_names(modes.columns), axis=1)


def _error_variances(results: HasFitted, group: str | None, given_beta: bool) -> np.ndarray:
    """Variances of the errors of the modes, (L, k)."""
    found = any_ranef_cov(results, group, given_beta)
    k = found.shape[1]
    if len(found) == len(ranef(results, group)):  # of a variance component, or k = 1
        return found.to_numpy()
    return np.diagonal(found.to_numpy().reshape(-1, k, k), axis1=1, axis2=2)


# ---- modes by level ----


def random_effects_data(
    results: HasFitted,
    group: str | None = None,
    effect: str | Sequence[str] | None = None,
    sort: bool | str = True,
    alpha: float = 0.05,
    *,
    given_beta: bool = True,
) -> pd.DataFrame:
    """What ``plot_random_effects`` draws.

    Parameters
    ----------
    group, effect, sort, alpha, given_beta
        As for ``plot_random_effects``.

    Returns
    -------
    DataFrame
        One row a level and effect: effect, place (0 at the bottom), level, mode, se,
        lower, upper.

    Raises
    ------
    ValueError
        If the factor or an effect is not one of the model.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.random_effects import random_effects_data
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> frame = random_effects_data(result, effect="Days")
    >>> frame[["mode", "se"]].iloc[0].round(2).tolist()
    [-10.75, 2.3]
    """
    modes = _distinct(ranef(results, group))
    names = _chosen_effects(modes.columns, effect)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha!r} must lie between 0 and 1")
    with np.errstate(invalid="ignore"):  # an adjusted variance may not be positive: NaN
        errors = np.sqrt(_error_variances(results, group, given_beta))
    order = np.arange(len(modes))
    if sort is not False:
        by = names[0] if sort is True else _chosen_effects(modes.columns, sort)[0]
        order = np.argsort(modes[by].to_numpy(), kind="stable")
    levels = np.array(_level_names(modes.index), dtype=object)
    width = stats.norm.ppf(1 - alpha / 2)
    parts = []
    for name in names:
        mode = modes[name].to_numpy()[order]
        se = errors[order, modes.columns.get_loc(name)]
        part = {
            "effect": name,
            "place": np.arange(len(order)),
            "level": levels[order],
            "mode": mode,
            "se": se,
            "lower": mode - width * se,
            "upper": mode + width * se,
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def plot_random_effects(
    results: HasFitted,
    group: str | None = None,
    effect: str | Sequence[str] | None = None,
    sort: bool | str = True,
    alpha: float = 0.05,
    *,
    given_beta: bool = True,
    max_labels: int = MOST_LABELS,
    ax: Any = None,
) -> Any:
    """Conditional modes of all levels with their intervals: a caterpillar.

    Parameters
    ----------
    group : str, optional
        Grouping factor or variance component; may be left out if there is one.
    effect : str or list of str, optional
        Random effects, a panel each; all if None.
    sort : bool or str, optional
        Whether levels are sorted by the first effect, or by which one.
    alpha : float, optional
        One minus the level of the intervals, which are by the normal law.
    given_beta : bool, optional
        Errors given the fixed effects, as lme4's; False adds the uncertainty of these.
    max_labels : int, optional
        Levels that are named at most; where there are more, each is a thin line and the
        lowest and the highest are named.
    ax : Axes or array of Axes, optional
        Where to draw, an Axes an effect; a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the factor or an effect is not one of the model, or axes are too few.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> figure = result.plot_random_effects()  # doctest: +SKIP
    """
    frame = random_effects_data(results, group, effect, sort, alpha, given_beta=given_beta)
    check_rows(frame, "levels")
    parts = dict(list(frame.groupby("effect", sort=False)))
    first = next(iter(parts.values()))
    names, count = first["level"].tolist(), len(first)
    few = count <= max_labels
    width = height = 0.0
    if ax is None:
        shown = names if few else [names[0], names[-1]]
        beside = min(text_width(shown), _PANEL) + 0.5
        width = _PANEL + beside / len(parts)
        height = max(_LEAST, _ROW * count + 1.0) if few else _TALL
    own = ax is None
    axes = panels(
        ax, len(parts), width=width, height=height, columns=len(parts), things="effects"
    )
    factor = terms_of(results.fitted, group)[0]
    for number, (axis, (name, part)) in enumerate(zip(axes, parts.items(), strict=True)):
        at = part["place"].to_numpy()
        reference_line(axis, x=0.0)
        lines = axis.hlines(
            at, part["lower"], part["upper"], color=COLOURS[0], lw=1.2 if few else 0.4
        )
        lines.set_rasterized(not few)
        style = {"ms": 4} if few else {"ms": 1, "color": COLOURS[1], "rasterized": True}
        axis.plot(part["mode"], at, "o", **{"color": COLOURS[0], **style})
        axis.set_ylim(-0.7, count - 0.3)
        few_ticks(axis, y=None)
        label_axes(axis, x=name, y="" if number else factor)
        if number and own:
            axis.set_yticks([])
        elif few:
            name_ticks(axis, "y", at, names, max_labels, whole=own)
        else:
            name_ticks(axis, "y", [0, count - 1], [names[0], names[-1]])
    return figure_of(axes)


# ---- shrinkage ----


def shrinkage_data(
    results: HasFitted,
    group: str | None = None,
    effects: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """What ``plot_shrinkage`` draws.

    Parameters
    ----------
    group, effects
        As for ``plot_shrinkage``.

    Returns
    -------
    DataFrame
        One row a level and effect: effect, level, ols (the least-squares estimate from the
        rows of the level; NaN where they do not determine it), blup (fixed effect plus
        mode), population (the fixed effect, 0 where there is none).

    Raises
    ------
    ValueError
        If the factor or an effect is not one of the model, or the rows are not in memory.

    Notes
    -----
    Least squares is of what the fixed effects without a random one and the other random
    terms leave of the response.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.random_effects import shrinkage_data
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> shrinkage_data(result)[["ols", "blup", "population"]].iloc[0].round(2).tolist()
    [244.19, 253.66, 251.41]
    """
    found = shrunk_levels(results.fitted, group)
    names = _chosen_effects(found.names, effects)
    levels = _level_names(found.levels)
    parts = []
    for name in names:
        j = found.names.index(name)
        part = {
            "effect": name,
            "level": levels,
            "ols": found.ols[:, j],
            "blup": found.blup[:, j],
            "population": found.population[j],
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def plot_shrinkage(
    results: HasFitted,
    group: str | None = None,
    effects: str | Sequence[str] | None = None,
    *,
    ax: Any = None,
) -> Any:
    """Coefficients of levels by themselves, and where the model draws them to.

    Two effects are drawn against each other, with arrows from the least-squares estimates
    of the levels to those of the model and the ellipses that hold 50% and 95% of the
    levels; of one effect each level has a line.

    Parameters
    ----------
    group : str, optional
        Grouping factor; may be left out if there is one.
    effects : str or list of str, optional
        One or two random effects; the first two if None.
    ax : Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the factor or an effect is not one of the model, there are more than two, or
        the rows are not in memory.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> figure = result.plot_shrinkage()  # doctest: +SKIP
    """
    frame = shrinkage_data(results, group, effects)
    names = list(dict.fromkeys(frame["effect"]))
    if effects is None:
        names = names[:2]
    if len(names) > 2:
        raise ValueError(f"effects={effects!r}: one or two effects can be drawn")
    parts = [frame[frame["effect"] == name].reset_index(drop=True) for name in names]
    check_rows(parts[0], "levels")
    factor = terms_of(results.fitted, group)[0]
    if len(names) == 1:
        return _dumbbells(parts[0], names[0], factor, ax)
    ellipses = [shrinkage_ellipse(results.fitted, group, names, p) for p in (0.5, 0.95)]
    return _arrows(parts, names, factor, ellipses, ax)


def _dumbbells(part, name, factor, ax):
    part = part.sort_values("blup", kind="stable").reset_index(drop=True)
    count, levels = len(part), part["level"].tolist()
    few, own = count <= MOST_LABELS, ax is None
    if own:
        shown = levels if few else [levels[0], levels[-1]]
        width = max(WIDTH, 5.0 + min(text_width(shown), _PANEL))
        ax = one_axes(None, width, max(HEIGHT, _ROW * count + 1.0) if few else _TALL)
    ax = one_axes(ax)
    at = np.arange(count)
    reference_line(ax, x=float(part["population"].iloc[0]))
    lines = ax.hlines(at, part["ols"], part["blup"], color=GREY, lw=1 if few else 0.4)
    size = 5 if few else 1.5
    common = {"ls": "none", "rasterized": not few, "ms": size}
    lines.set_rasterized(not few)
    colour, other = COLOURS[1], COLOURS[0]
    ax.plot(
        part["ols"], at, marker="o", mfc="none", mec=colour, label="least squares", **common
    )
    ax.plot(part["blup"], at, marker="o", color=other, label="mixed model", **common)
    ax.set_ylim(-0.7, count - 0.3)
    places = (at, levels) if few else ([0, count - 1], [levels[0], levels[-1]])
    name_ticks(ax, "y", *places, whole=own)
    label_axes(ax, x=name, y=factor)
    legend(ax, own)
    return ax.figure


def _arrows(parts, names, factor, ellipses, ax):
    own = ax is None
    ax = one_axes(ax, 7.4, 5.4)
    ols = np.column_stack([p["ols"] for p in parts])
    blup = np.column_stack([p["blup"] for p in parts])
    known = np.flatnonzero(np.isfinite(ols).all(axis=1))
    drawn = known
    if len(known) > MOST_ARROWS:
        places = np.linspace(0, len(known) - 1, MOST_ARROWS).round().astype(int)
        drawn = known[places]
    many = len(blup) > _MANY
    alpha = 0.25 if many else 1.0
    size = 2.5 if many else 5
    marks = {"ls": "none", "marker": "o", "ms": size, "alpha": alpha, "rasterized": many}
    shift = blup[drawn] - ols[drawn]
    if len(drawn):
        ax.quiver(
            *ols[drawn].T, *shift.T, angles="xy", scale_units="xy", scale=1.0,
            width=0.001 if many else 0.003, color=GREY, alpha=0.6 * alpha, zorder=2,
            headwidth=6, headlength=7, headaxislength=6, rasterized=many,
        )  # fmt: skip
    ax.plot(
        *ols[drawn].T, mfc="none", mec=COLOURS[1], label="least squares", zorder=2, **marks
    )
    ax.plot(*blup.T, color=COLOURS[0], label="mixed model", zorder=3, **marks)
    middle = [float(p["population"].iloc[0]) for p in parts]
    ax.plot(*middle, "P", color="black", ms=9, mec="white", label="population", zorder=5)
    for curve, style in zip(ellipses, ("-", "--"), strict=True):
        ax.plot(*curve.T, color=COLOURS[2], lw=1.3, ls=style, zorder=4)
    notes = _window(ax, blup, ols[drawn], ellipses[-1])
    if len(drawn) < len(known):
        notes.insert(0, f"arrows of {len(drawn)} of {len(known)} levels")
    if len(known) < len(blup):
        notes.append(f"{len(blup) - len(known)} levels do not determine them by themselves")
    note = f" ({'; '.join(notes)})" if notes else ""
    label_axes(ax, names[0], names[1], f"Shrinkage of {factor}{note}", small=True)
    legend(ax, own)
    return ax.figure


def _window(ax, blup, ols, ellipse):
    """Limits that levels of few rows far away do not stretch; says how many are outside."""
    whole = np.vstack([blup, ellipse])
    low, high = whole.min(axis=0), whole.max(axis=0)
    outside = np.zeros(len(ols), bool)
    if len(ols):
        near = np.quantile(ols, [0.01, 0.99], axis=0) if len(ols) > _MANY else None
        ends = (ols.min(axis=0), ols.max(axis=0)) if near is None else near
        low, high = np.minimum(low, ends[0]), np.maximum(high, ends[1])
    room = 0.06 * np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
    low, high = low - room, high + room
    if len(ols):
        outside = ((ols < low) | (ols > high)).any(axis=1)
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    count = int(outside.sum())
    return [f"{count} start outside"] if count else []


# ---- distribution ----


def qq_random_data(
    results: HasFitted,
    group: str | None = None,
    effect: str | Sequence[str] | None = None,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """What ``plot_qq_random`` draws.

    Parameters
    ----------
    group, effect, alpha
        As for ``plot_qq_random``.

    Returns
    -------
    DataFrame
        One row a level and effect, ascending: effect, level, theoretical (normal quantile),
        standardized (mode divided by its marginal standard error; NaN where its variance
        is zero), lower, upper (the band).

    Raises
    ------
    ValueError
        If the factor or an effect is not one of the model, or parameters were held or
        penalized.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.random_effects import qq_random_data
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> frame = qq_random_data(result, effect="Days")
    >>> frame[["theoretical", "standardized"]].iloc[0].round(2).tolist()
    [-1.91, -2.03]
    """
    modes = _distinct(ranef(results, group))
    names = _chosen_effects(modes.columns, effect)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha!r} must lie between 0 and 1")
    fitted = results.fitted
    if fitted.fit.held is not None:
        raise ValueError(
            "the modes' standard errors over all samples are known for (restricted) "
            "maximum likelihood, not for fits with penalties or held parameters"
        )
    numbers = terms_of(fitted, group)[1]
    prior = np.concatenate([np.diag(fitted.random.covariances[i]) for i in numbers])
    prior = prior[: modes.shape[1]]
    marginal = prior - _error_variances(results, group, given_beta=False)
    # zero but for the rounding of the difference: nothing has been learned of the level
    marginal = np.where(marginal > MODE_VARIANCE * prior, marginal, np.nan)
    scores = modes.to_numpy() / np.sqrt(marginal)
    levels = np.array(_level_names(modes.index), dtype=object)
    parts = []
    for name in names:
        own = scores[:, modes.columns.get_loc(name)]
        known = np.isfinite(own)
        order = np.argsort(own, kind="stable")  # NaN last
        count = int(known.sum())
        quantile, lower, upper = np.full((3, len(own)), np.nan)
        if count:
            quantile[:count] = stats.norm.ppf((np.arange(count) + 0.5) / count)
            lower[:count], upper[:count] = normal_band(count, alpha)
        part = {
            "effect": name,
            "level": levels[order],
            "theoretical": quantile,
            "standardized": own[order],
            "lower": lower,
            "upper": upper,
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def plot_qq_random(
    results: HasFitted,
    group: str | None = None,
    effect: str | Sequence[str] | None = None,
    alpha: float = 0.05,
    *,
    ax: Any = None,
) -> Any:
    """Standardized modes against normal quantiles, with a simultaneous band.

    Parameters
    ----------
    group : str, optional
        Grouping factor or variance component; may be left out if there is one.
    effect : str or list of str, optional
        Random effects, a panel each; all if None.
    alpha : float, optional
        Probability that a normal sample leaves the band anywhere.
    ax : Axes or array of Axes, optional
        Where to draw, an Axes an effect; a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the factor or an effect is not one of the model, or axes are too few.

    Notes
    -----
    Modes are divided by their own standard errors over all samples, the root of prior
    variance less error variance, so that levels of few rows are comparable to others.  The
    modes of normal effects are normal; those of others are drawn towards it.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> figure = result.plot_qq_random()  # doctest: +SKIP
    """
    frame = qq_random_data(results, group, effect, alpha)
    check_rows(frame, "levels")
    parts = dict(list(frame.groupby("effect", sort=False)))
    axes = panels(
        ax, len(parts), width=3.8, height=3.8, columns=min(len(parts), 3), things="effects"
    )
    factor = terms_of(results.fitted, group)[0]
    for axis, (name, part) in zip(axes, parts.items(), strict=True):
        part = part[part["standardized"].notna()]
        many = len(part) > _MANY
        if len(part):
            x = part["theoretical"].to_numpy()
            axis.fill_between(x, part["lower"], part["upper"], color="0.9", lw=0, zorder=0)
            axis.axline((0.0, 0.0), slope=1.0, color=GREY, lw=0.9, zorder=1)
            axis.plot(
                x, part["standardized"], "o", color=COLOURS[0], ms=3 if many else 5,
                rasterized=many,
            )  # fmt: skip
            few_ticks(axis, 6, 6)
            if len(part) == 1:  # a single place has no width
                axis.set_xlim(-1.0, 1.0)
        else:
            axis.text(
                0.5, 0.5, "its variance is\nestimated as zero", ha="center", va="center",
                transform=axis.transAxes, color=GREY,
            )  # fmt: skip
        label_axes(
            axis, "normal quantile", "mode / its standard error", f"{factor}: {name}",
            small=True,
        )  # fmt: skip
    return figure_of(axes)
