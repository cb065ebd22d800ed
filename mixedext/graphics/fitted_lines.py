"""Pictures of data and fit by level: a lattice, or all lines over each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.fitted import Fitted, HasFitted
from mixedext.graphics.figures import (
    COLOURS,
    GREY,
    WIDTH,
    few_ticks,
    figure_of,
    label_axes,
    legend,
    name_ticks,
    one_axes,
    panels,
    plain,
    shortened,
)
from mixedext.inference.means.estimated_means import reference_grid
from mixedext.inference.prediction.predictions import predict
from mixedext.inference.prediction.typical_rows import data_frame, is_number
from mixedext.inference.random_effects.modes import ranef, terms_of
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["fitted_lines_data", "plot_fitted"]

# Points of a line: of a panel, and of one among all.
_POINTS, _FEW_POINTS = 25, 9
# Points of the data in a panel, and lines among which none can be told from others.
_ROWS, _MANY = 2000, 60


def fitted_lines_data(
    results: HasFitted,
    x: str,
    group: str | None = None,
    levels: Sequence[Any] | None = None,
    n_panels: int = 16,
    *,
    spaghetti: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What ``plot_fitted`` draws.

    Parameters
    ----------
    x, group, levels, n_panels, spaghetti
        As for ``plot_fitted``.

    Returns
    -------
    rows : DataFrame
        The data: level, x, observed.
    lines : DataFrame
        Points of the lines: level, x, conditional, population; levels in the order of the
        panels.

    Raises
    ------
    ValueError
        If a column, factor or level is not there, or the model was not made from a formula.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.graphics.fitted_lines import fitted_lines_data
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> rows, lines = fitted_lines_data(result, "Days", levels=["308"])
    >>> lines[["x", "conditional", "population"]].iloc[0].round(1).tolist()
    [0.0, 253.7, 251.4]
    """
    fitted = results.fitted
    if isinstance(n_panels, bool) or int(n_panels) < 1:
        raise ValueError(f"n_panels={n_panels!r} must be at least 1")
    data = data_frame(fitted, [x])
    if data[x].dtype.kind == "c":
        raise ValueError(f"x={x!r} has complex numbers: they have no order to draw them in")
    group, numbers = terms_of(fitted, group)
    rows = fitted.need_rows()
    term = rows.terms[numbers[0]]
    if not isinstance(term, RandomTerm):
        raise ValueError(f"group={group!r}: its rows belong to several levels at a time")
    codes = np.asarray(term.codes)
    chosen = _chosen_levels(fitted, group, term, levels, None if spaghetti else n_panels)
    codes_of = {code: place for place, code in enumerate(chosen)}
    position = np.array([codes_of.get(c, -1) for c in range(term.n_levels)])
    at = np.where(codes >= 0, position[codes], -1)
    inside = np.flatnonzero(at >= 0)
    inside = inside[np.argsort(at[inside], kind="stable")]
    names = np.array([str(v) for v in term.levels], dtype=object)
    observed = pd.DataFrame(
        {
            "level": names[codes[inside]],
            "x": data[x].to_numpy()[inside],
            "observed": rows.endog[inside],
        }
    )
    grid, place = _grid(data, x, at, inside, _covariates(fitted, data), spaghetti)
    if group not in grid.columns:  # labels that were given beside the data
        grid[group] = pd.Index(term.levels)[np.asarray(chosen)[place]].array
    offset = None
    if fitted.model.offset_by_rows and rows.offset is not None:
        offset = pd.Series(rows.offset[inside]).groupby(at[inside]).mean().to_numpy()[place]
    given = _given(fitted, rows.terms, numbers, codes)
    conditional = predict(fitted, grid, offset=offset, conditional=given)
    population = predict(fitted, grid, offset=offset, conditional=False)
    lines = pd.DataFrame(
        {
            "level": names[np.asarray(chosen)[place]],
            "x": grid[x].to_numpy(),
            "conditional": np.asarray(conditional),
            "population": np.asarray(population),
        }
    )
    return observed, lines


def _chosen_levels(fitted, group, term, levels, n_panels):
    """Codes of the levels that are drawn: the lowest, middle and highest modes of many."""
    if levels is not None:
        levels = [levels] if isinstance(levels, str) else list(levels)
        found = pd.Index(term.levels).get_indexer(pd.Index(levels))
        if (found < 0).any():
            lost = levels[int(np.flatnonzero(found < 0)[0])]
            raise ValueError(f"levels: {lost!r} is not a level of {group}")
        return found.tolist()
    modes = ranef(fitted, group).iloc[:, 0].to_numpy()
    order = np.argsort(modes, kind="stable")
    if n_panels is None or len(order) <= n_panels:
        return order.tolist() if n_panels is None else list(range(len(order)))
    low = -(-n_panels // 3)
    high = (n_panels - low + 1) // 2
    middle = n_panels - low - high
    start = max((len(order) - middle) // 2, low)
    start = min(start, len(order) - high - middle)
    parts = order[:low], order[start : start + middle], order[len(order) - high :]
    return np.concatenate(parts).tolist()


def _covariates(fitted, data):
    """Columns that are numbers and no factors of the formula."""
    factors = reference_grid(fitted).factors
    return [c for c in data.columns if is_number(data[c]) and c not in factors]


def _grid(data, x, at, inside, numbers, spaghetti):
    """Rows at which lines are predicted, and the number of the level of each.

    Numbers besides x are at their mean in the level, anything else at its first value.
    """
    own, keys = data.iloc[inside].reset_index(drop=True), at[inside]
    # no model has complex columns, nor has groupby
    own = own.loc[:, [dtype.kind != "c" for dtype in own.dtypes]]
    numbers = [c for c in numbers if c in own]
    grouped = own.groupby(keys, sort=True)
    numeric = [c for c in numbers if c != x]
    constant = grouped[numeric].nunique().eq(1).all() if numeric else pd.Series(dtype=bool)
    base = grouped.first()
    varying = [c for c in numeric if not constant[c]]
    if varying:
        means = grouped[varying].mean()
        base = base.astype(dict.fromkeys(varying, "float64"))
        base[varying] = means[varying]
    if x in numbers:
        points = _FEW_POINTS if spaghetti else _POINTS
        low, high = grouped[x].min().to_numpy(float), grouped[x].max().to_numpy(float)
        share = np.linspace(0.0, 1.0, points)
        values = low[:, None] + (high - low)[:, None] * share
        place = np.repeat(np.arange(len(low)), points)
        grid = base.iloc[place].reset_index(drop=True)
        grid[x] = values.ravel()
    else:
        pairs = own[[x]].assign(key=keys).dropna().drop_duplicates().sort_values(["key", x])
        place = pairs["key"].to_numpy()
        grid = base.iloc[place].reset_index(drop=True)
        grid[x] = pairs[x].array
    return grid, place


def _given(fitted: Fitted, terms, numbers, codes):
    """The factor and those that its levels are nested in: each lies in one of theirs."""
    names = [fitted.random.terms[numbers[0]].group]
    known = codes >= 0
    for term in terms:
        if term.group in names or not isinstance(term, RandomTerm):
            continue
        frame = pd.DataFrame({"own": codes[known], "other": np.asarray(term.codes)[known]})
        if frame.drop_duplicates()["own"].is_unique:
            names.append(term.group)
    return names


def plot_fitted(
    results: HasFitted,
    x: str,
    group: str | None = None,
    levels: Sequence[Any] | None = None,
    n_panels: int = 16,
    *,
    spaghetti: bool = False,
    ax: Any = None,
) -> Any:
    """Data and fit of levels against a variable: a panel a level, or all lines together.

    Parameters
    ----------
    x : str
        Column of the data.
    group : str, optional
        Grouping factor; may be left out if there is one.
    levels : list, optional
        Levels that are drawn; all, or of many those with the lowest, middle and highest
        modes, if None.
    n_panels : int, optional
        Panels at most.
    spaghetti : bool, optional
        Lines of all levels over each other in one panel, without data.
    ax : Axes or array of Axes, optional
        Where to draw; a new figure if None.

    Returns
    -------
    Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If a column, factor or level is not there, axes are too few, or the model was not
        made from a formula.

    Notes
    -----
    The line of a level has the random effects of the factor and of those that it is nested
    in.  Other numbers stand at their mean within the level, other factors at its first row.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> figure = result.plot_fitted("Days")  # doctest: +SKIP
    """
    rows, lines = fitted_lines_data(
        results, x, group, levels, n_panels, spaghetti=spaghetti
    )
    fitted = results.fitted
    group, numbers = terms_of(fitted, group)
    places = None
    if x not in _covariates(fitted, data_frame(fitted, [x])):
        places = pd.Index(sorted(rows["x"].dropna().unique(), key=str))
        if isinstance(rows["x"].dtype, pd.CategoricalDtype):
            places = rows["x"].cat.remove_unused_categories().cat.categories
        for frame in (rows, lines):
            frame["x"] = places.get_indexer(frame["x"]).astype(float)
    labels = (x, str(fitted.model.endog_names))
    total = fitted.random.terms[numbers[0]].n_levels
    if spaghetti:
        return _spaghetti(lines, labels, group, places, ax)
    return _lattice(rows, lines, labels, group, places, total, levels is None, ax)


def _lattice(rows, lines, labels, group, places, total, picked, ax):
    parts = dict(list(lines.groupby("level", sort=False)))
    points = dict(list(rows.groupby("level", sort=False)))
    own = ax is None
    columns = min(int(np.ceil(np.sqrt(len(parts)))), 4)
    axes = panels(
        ax, len(parts), width=2.2, height=2.0, columns=columns, share=True, things="levels"
    )
    for axis, (level, part) in zip(axes, parts.items(), strict=True):
        own_rows = points[level]
        if len(own_rows) > _ROWS:
            pick = np.linspace(0, len(own_rows) - 1, _ROWS).round().astype(int)
            own_rows = own_rows.iloc[pick]
        axis.plot(own_rows["x"], own_rows["observed"], "o", color=GREY, ms=3, label="data")
        axis.plot(
            part["x"],
            part["population"],
            "--",
            color=COLOURS[1],
            lw=1.2,
            label="population",
        )
        single = part["x"].nunique() == 1  # one value of x has no line
        axis.plot(
            part["x"], part["conditional"], "_" if single else "-", color=COLOURS[0],
            lw=1.5, ms=10, label="level",
        )  # fmt: skip
        axis.set_title(shortened(level, 22), fontsize="small", pad=3)
        if places is None:
            few_ticks(axis, 3, 4)
        else:
            name_ticks(axis, "x", range(len(places)), list(places))
        if not own:
            label_axes(axis, *labels)
    figure = figure_of(axes)
    if own:
        figure.supxlabel(shortened(labels[0], 60), fontsize="medium")
        most = max(int(9 * figure.get_figheight()), 12)
        figure.supylabel(shortened(labels[1], most), fontsize="medium")
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside right upper", frameon=False, fontsize="small")
        if picked and total > len(parts):
            note = (
                f"{len(parts)} of {total} levels of {group}: lowest, middle, highest modes"
            )
            size = min(11.0, 72 * figure.get_figwidth() / (0.6 * len(note)))
            figure.suptitle(plain(note), fontsize=size)
    return figure


def _spaghetti(lines, labels, group, places, ax):
    from matplotlib.collections import LineCollection

    own = ax is None
    ax = one_axes(ax, WIDTH + 1.2)
    xy = lines[["x", "conditional"]].to_numpy(float)
    ends = np.flatnonzero(lines["level"].ne(lines["level"].shift()).to_numpy())[1:]
    curves = np.split(xy, ends)
    many = len(curves) > _MANY
    alpha = float(np.clip(30 / len(curves), 0.03, 0.7))
    drawn = LineCollection(
        curves, colors=COLOURS[0], alpha=alpha, lw=0.8, rasterized=many,
        label=f"{len(curves)} levels",
    )  # fmt: skip
    ax.add_collection(drawn)
    middle = lines.groupby("x")["population"].mean()
    if len(middle) > 4 * _POINTS:  # levels of many ranges
        middle = middle.groupby(
            pd.qcut(middle.index, _POINTS, duplicates="drop"), observed=True
        )
        middle = pd.Series(
            middle.mean().to_numpy(), index=[float(c.mid) for c in middle.mean().index]
        )
    ax.plot(middle.index, middle, color=COLOURS[1], lw=2, label="population")
    ax.autoscale_view()
    title = f"{group}: {len(curves)} levels"
    label_axes(ax, labels[0], labels[1], title, small=True)
    if places is not None:
        name_ticks(ax, "x", range(len(places)), list(places))
    legend(ax, own)
    return ax.figure
