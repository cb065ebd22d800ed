"""Estimated marginal means, trends and joint tests of a fitted model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import confidence, did_you_mean
from mixedext.exceptions import NotEstimableError
from mixedext.fitted import DfChoice, Fitted, HasFitted, once_a_fit
from mixedext.inference.fixed_effects.covariance_choice import (
    choice_in_words,
    chosen_tests,
    df_notes,
)
from mixedext.inference.fixed_effects.df_methods import df_choice
from mixedext.inference.means.averaged_means import averaged_context
from mixedext.inference.means.back_transform import link_transform, response_transform
from mixedext.inference.means.cell_counts import cell_counts
from mixedext.inference.means.confounded_rows import confounded_rows
from mixedext.inference.means.context import Context
from mixedext.inference.means.linear_combinations import joint_test
from mixedext.inference.means.linear_functions import MarginalMeans
from mixedext.inference.means.local_slopes import local_slopes
from mixedext.inference.means.reference_grid import Grid, ReferenceGrid
from mixedext.limits import ROW_ROUNDING
from mixedext.tables.noted_table import NotedTable

__all__ = ["emmeans", "emtrends", "joint_tests", "keep_grid", "reference_grid"]

WEIGHTS = ("equal", "proportional", "outer", "cells", "flat")
_NO_DIFFERENCE = "the columns do not differ between the values; give others by at="
_NOT_ALONE = "the data determine none of its differences by itself"


def reference_grid(results: HasFitted) -> ReferenceGrid:
    """The predictors of the fixed part: levels, means, frequencies."""
    return _grid_of(results.fitted)


@once_a_fit
def _grid_of(fitted: Fitted) -> ReferenceGrid:
    return ReferenceGrid(fitted)


def keep_grid(fitted: Fitted) -> None:
    """Make the reference grid, if there is one, while the rows are there."""
    by_formula = getattr(fitted.model, "fixed_formula", None) is not None
    rows = fitted.rows
    if by_formula and rows is not None and rows.frame is not None:
        _ = _grid_of(fitted)


def emmeans(
    results: HasFitted,
    specs: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    weights: Any = "equal",
    df_method: str | None = None,
    alpha: float = 0.05,
    type: str = "link",
    bias_adjust: bool = False,
    sigma: float | None = None,
    *,
    level: float | None = None,
    information: str | None = None,
    counts: bool = False,
    marginal: bool = False,
) -> MarginalMeans:
    """Estimated marginal means (least-squares means).

    Parameters
    ----------
    specs : str or list of str
        Factors whose means are wanted; or as in R, ``"~ a * b | c"``.  An empty list
        (or ``"1"``) gives the overall mean.
    by : str or list of str, optional
        Factors within whose levels contrasts are made.
    at : dict, optional
        Values of predictors in place of all levels, or the mean: a number or level, a
        list of them, a function of the column such as ``np.median``, or one of "mean",
        "median", "min", "max", "range".
    weights : str or array_like, optional
        How means are averaged over the other factors: "equal"; "proportional" to the
        frequencies of their combinations; "outer", the product of each one's own
        frequencies; "cells", frequencies within each mean; "flat", equal, but for
        combinations without data; or one number a combination.
    df_method : str, optional
        Method for the degrees of freedom, "z" for the normal law; that of the results
        if None.
    alpha : float, optional
        One minus the confidence level.
    type : {"link", "response"}, optional
        Whether means of log(y), sqrt(y) and the like, and those on the link's scale of
        generalized models, are transformed back; contrasts are then ratios (of odds for
        the logit, of rates for logarithms of counts) where the scale makes them so.
    bias_adjust : bool, optional
        Add sigma^2 h'' / 2 to means that h transforms back.
    sigma : float, optional
        Standard deviation for that; the residual one if None.
    level : float, optional
        Confidence level, in place of ``alpha``.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.
    counts : bool, optional
        Whether the table has ``nobs``, the rows behind each mean (at its levels, and at
        exactly the values of its covariates), and ``raw_mean``, their mean response.
    marginal : bool, optional
        Of generalized models: whether each mean of the response is averaged over the
        random effects (a population average), and over the other factors on the scale of
        the response; if False, means are those at random effects of zero.

    Returns
    -------
    MarginalMeans

    Raises
    ------
    ValueError
        If a variable is not one of the fixed effects, or the model has no formula.

    References
    ----------
    Searle, Speed and Milliken (1980), Population marginal means in the linear model,
    The American Statistician 34(4).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.oats.load().data
    >>> formula = "yield ~ nitroF + Variety + (1 | Block/Variety)"
    >>> result = mx.mixedlm(formula, data).fit()
    >>> means = result.emmeans("nitroF")
    >>> means.table["estimate"].round(2).tolist()
    [79.39, 98.89, 114.22, 123.39]
    >>> pairs = means.contrast("pairwise").table
    >>> pairs["contrast"].tolist()[:2]
    ['n0 - n0.2', 'n0 - n0.4']
    """
    fitted, choice = results.fitted, df_choice(df_method, information)
    reference = _grid_of(fitted)
    names, by = _read_specs(specs, by)
    level = confidence(alpha, level)
    reference.check_names([*names, *by], "specs and by")
    levels = reference.levels_at(at, _rows_for_functions(fitted))
    grid = reference.grid(levels)
    shown = reference.with_parents([*names, *by])
    labels, rows, shift, notes = _average(reference, grid, shown, by, weights)
    if marginal:
        if bias_adjust or sigma is not None:
            raise ValueError("marginal=True averages; leave bias_adjust= and sigma= out")
        whole = Grid(grid.levels, grid.codes, np.eye(len(grid.codes)), 0.0 * grid.shift)
        share = _average(reference, whole, shown, by, weights)[1]
        context, rows, shift = averaged_context(
            fitted, grid, share, choice, reference.relations
        )
        notes.append("Population averages: means over the random effects")
    else:
        context = _linear_context(fitted, choice, bias_adjust, sigma)
        if fitted.generalized is not None:
            notes.append("Means at random effects of zero")
    estimates, cells = context.estimates(rows, shift), None
    if counts:
        cells = cell_counts(fitted, reference, levels, labels, context, type)
    return MarginalMeans(
        context, labels, by, estimates, level=level, type=type, notes=notes, cells=cells
    )


def emtrends(
    results: HasFitted,
    specs: str | Sequence[str],
    var: str,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    weights: Any = "equal",
    df_method: str | None = None,
    alpha: float = 0.05,
    delta: float | None = None,
    *,
    level: float | None = None,
    information: str | None = None,
) -> MarginalMeans:
    """Estimated slopes of a covariate, averaged as ``emmeans`` does.

    The slope is that of the model's columns at the reference grid: exact where they
    are linear in the covariate, else by extrapolated central differences.

    Parameters
    ----------
    specs, by, at, weights, df_method, alpha, level, information
        As for ``emmeans``; ``at`` may say where on a curve the slope is wanted.
    var : str
        The covariate.
    delta : float, optional
        Step h of the quotient (f(x + h) - f(x)) / h, to be used in place of the
        slope.  R's emmeans takes a thousandth of the covariate's range.

    Returns
    -------
    MarginalMeans

    Raises
    ------
    ValueError
        If an argument is not known, ``var`` is no covariate of the model, or a column of
        it jumps or has a corner at the grid's value.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.oats.load().data
    >>> result = mx.mixedlm("yield ~ nitro * Variety + (1 | Block)", data).fit()
    >>> result.emtrends("Variety", "nitro").table["estimate"].round(2).tolist()
    [75.33, 64.58, 81.08]
    """
    fitted, choice = results.fitted, df_choice(df_method, information)
    reference = _grid_of(fitted)
    names, by = _read_specs(specs, by)
    level = confidence(alpha, level)
    reference.check_names([var, *names, *by], "specs, by and var")
    predictor = reference.predictors[var]
    if not predictor.summaries:
        raise ValueError(f"var={var!r} is a factor; a slope needs a number")
    levels = reference.levels_at(at, _rows_for_functions(fitted))
    if predictor.is_factor and var not in (at or {}):
        levels[var] = pd.Series(predictor.summaries["mean"])
    grid = reference.grid(levels)
    low, high = predictor.summaries["range"]
    slopes = local_slopes(reference, grid, var, high - low, delta)
    grid = Grid(grid.levels, grid.codes, slopes, np.zeros(len(slopes)))
    shown = reference.with_parents([*names, *by])
    labels, rows, shift, notes = _average(reference, grid, shown, by, weights)
    notes.insert(0, f"Slopes of {var}")
    context = _linear_context(fitted, choice, False, None)
    estimates = context.estimates(rows, shift)
    return MarginalMeans(
        context, labels, by, estimates, level=level, notes=notes, trend=var
    )


def joint_tests(
    results: HasFitted,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    df_method: str | None = None,
    *,
    information: str | None = None,
) -> NotedTable:
    """F tests of every term, made of contrasts among estimated marginal means.

    For factors alone these are tests of type III, whatever the coding.  Covariates
    stand at their mean less and plus 1, or nearer to it where that leaves the range of
    the data.

    Parameters
    ----------
    by : str or list of str, optional
        Factors; the others are tested within each combination of their levels.
    at : dict, optional
        As for ``emmeans``.
    df_method, information : str, optional
        As for ``emmeans``.

    Returns
    -------
    NotedTable
        By term (within the levels of ``by``): df_num, df_denom, statistic (F), pvalue;
        and df_lost, how many degrees of freedom cannot be estimated, if any are.  What
        can be estimated but belongs to no term alone is the row "(confounded)"; notes
        name the terms that have no row.

    Raises
    ------
    ValueError
        If a variable is not one of the fixed effects, the model has no formula, or its
        columns are not finite at the values of ``at``.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.irrigation.load().data
    >>> model = mx.mixedlm("yield ~ irrigation * variety + (1 | field)", data)
    >>> model.fit().joint_tests()["statistic"].round(4).to_dict()
    {'irrigation': 0.3882, 'variety': 1.0676, 'irrigation:variety': 0.2452}
    """
    fitted, choice = results.fitted, df_choice(df_method, information)
    reference = _grid_of(fitted)
    _, by = _read_specs([], by)
    reference.check_names(by, "by")
    levels = reference.levels_at(at, _rows_for_functions(fitted), spread=1.0)
    context = _linear_context(fitted, choice, False, None)
    records: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for picks in product(*[range(len(levels[name])) for name in by]):
        own = dict(levels)
        for name, pick in zip(by, picks, strict=True):
            own[name] = levels[name].iloc[[pick]].reset_index(drop=True)
        with np.errstate(all="ignore"):  # what is not finite is refused below
            grid = reference.grid(own)
        if not len(grid.codes):
            continue
        _check_finite(grid, context.columns)
        where = {name: own[name].iloc[0] for name in by}
        tests, lacking = _term_tests(reference, grid, by, context)
        records += [where | record for record in tests]
        place = "".join(f" at {name} = {value}" for name, value in where.items())
        missing |= {f"{term}{place}": why for term, why in lacking.items()}
    columns = [*by, "term", "df_num", "df_denom", "statistic", "pvalue", "df_lost"]
    table = pd.DataFrame(records, columns=columns).set_index([*by, "term"])
    if not table["df_lost"].any():
        table = table.drop(columns="df_lost")
    notes = [f"{term} has no row: {why}" for term, why in missing.items()]
    return NotedTable.of(table, "Joint tests of terms", [*notes, *context.df_notes()])


def _rows_for_functions(fitted: Fitted) -> pd.DataFrame | None:
    return getattr(fitted.model.data, "frame", None)


def _linear_context(
    fitted: Fitted, choice: DfChoice, bias_adjust: bool, sigma: float | None
) -> Context:
    own = fitted.generalized
    if own is None:
        transform = response_transform(_grid_of(fitted).response)
    else:
        transform = link_transform(own.family)
    if bias_adjust:
        if sigma is None and own is not None:
            raise ValueError(
                "bias_adjust=True needs sigma=, the standard deviation of all random "
                "effects together; marginal=True averages over them without it"
            )
        sigma = fitted.sigma if sigma is None else float(sigma)
        if not sigma >= 0:
            raise ValueError(f"sigma={sigma!r} must not be negative")
    elif sigma is not None:
        raise ValueError("sigma= is for bias_adjust=True")
    return Context(
        fit=fitted.fit,
        tests=chosen_tests(fitted, choice),
        relations=_grid_of(fitted).relations,
        columns=list(fitted.fixed.names),
        df_method=choice_in_words(fitted, choice),
        notes=tuple(df_notes(fitted, choice)),
        transform=transform,
        sigma=sigma,
    )


def _read_specs(specs, by):
    """Names of the factors wanted, and of those to go by."""
    by = [by] if isinstance(by, str) else list(by or [])
    if isinstance(specs, str):
        left, tilde, right = specs.partition("~")
        if tilde and left.strip():
            raise ValueError(
                f"specs={specs!r}: contrasts are made by .contrast({left.strip()!r}); give "
                "the right-hand side alone"
            )
        if "|" in left and not tilde:
            raise ValueError(f"specs={specs!r}: write {'~ ' + specs.strip()!r}, or by=")
        if tilde or specs.strip() == "1":
            text, _, within = (right if tilde else specs).partition("|")
            specs = _split_names(text)
            by = by + [n for n in _split_names(within) if n not in by]
        else:
            specs = [specs]
    if not isinstance(specs, Iterable):
        raise ValueError(f"specs={specs!r} must be a name, or a list of names")
    names = list(dict.fromkeys(specs))
    wrong = [n for n in [*names, *by] if not isinstance(n, str)]
    if wrong:
        raise ValueError(f"specs and by are names of variables, not {wrong[0]!r}")
    return [n for n in names if n not in by], list(dict.fromkeys(by))


def _split_names(text):
    names = [part.strip().strip("`") for part in re.split(r"[+*:]", text)]
    return [n for n in names if n not in ("", "1")]


def _average(reference, grid, shown, by, weights):
    """Rows of the grid averaged to one for each combination of the factors shown.

    Returns labels, rows, offsets and notes.
    """
    over = [n for n, v in grid.levels.items() if n not in shown and len(v) > 1]
    size = _weights_of_rows(reference, grid, shown, over, weights)
    order = [n for n in shown if n not in by] + list(by)
    place = grid.places(order)
    found, first, group = np.unique(place, return_index=True, return_inverse=True)
    total = np.bincount(group, size)
    with np.errstate(invalid="ignore"):
        share = size / np.where(total > 0, total, np.nan)[group]
    rows = np.zeros((len(found), grid.exog.shape[1]))
    np.add.at(rows, group, share[:, None] * grid.exog)
    shift = np.bincount(group, share * grid.shift)
    labels = grid.values(order, first)
    if not order:
        labels = pd.DataFrame({"1": ["overall"]})
    notes = []
    if over:
        kind = _weights_kind(weights)
        how = "" if kind == "equal" else f" (weights: {kind})"
        notes.append(f"Averaged over the levels of: {', '.join(over)}{how}")
        if reference.interact(shown, over):
            notes.append("Means may mislead: a factor interacts with one averaged over")
    return labels, rows, shift, notes


def _weights_of_rows(reference, grid, shown, over, weights):
    """Weight of each row of the grid, before they are made to sum to one."""
    kind = _weights_kind(weights)
    if kind == "given":
        return _given_weights(grid, over, weights)
    if kind == "equal":
        return np.ones(len(grid.codes))
    if kind == "proportional":
        return reference.frequencies(grid, over)
    if kind == "outer":
        size = np.ones(len(grid.codes))
        for name in over:
            size = size * reference.frequencies(grid, [name])
        return size
    cells = reference.frequencies(grid, [*shown, *over])
    return cells if kind == "cells" else (cells > 0).astype(float)


def _weights_kind(weights):
    """The kind of weights that a name or its beginning stands for."""
    if not isinstance(weights, str):
        return "given"
    known = [w for w in WEIGHTS if w.startswith(weights)] if weights else []
    if len(known) != 1:
        raise ValueError(
            f"weights={weights!r} is not known; use one of "
            f"{', '.join(map(repr, WEIGHTS))}, or numbers{did_you_mean(weights, WEIGHTS)}"
        )
    return known[0]


def _given_weights(grid, over, weights):
    given = np.asarray(weights, float)
    count = int(np.prod([len(grid.levels[n]) for n in over]))
    if given.shape != (count,):
        raise ValueError(
            f"weights has shape {given.shape}; there are {count} combinations of "
            f"{', '.join(over) or 'no factor'} to average over"
        )
    if not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise ValueError("weights must be finite, not negative, and not all zero")
    return given[grid.places(over)]


def _term_tests(reference, grid, by, context):
    """Records of the tests of all terms on one grid, and why other terms have none."""
    names = [n for n, v in grid.levels.items() if n not in by and len(v) > 1]
    tested, records, missing = [], [], {}
    for subset in reference.subsets(names):
        around = [p for n in subset for p in reference.nesting.get(n, ())]
        if any(p not in subset and p in names for p in around):
            continue
        rows = _interaction_rows(reference, grid, subset, set(around))
        rows, term = rows[context.relations.sizes(rows) > ROW_ROUNDING], ":".join(subset)
        if len(rows) == 0:
            missing[term] = _NO_DIFFERENCE
            continue
        try:
            test, lost = joint_test(rows, 0.0, context.tests, context.relations)
        except NotEstimableError:
            missing[term] = _NOT_ALONE
            continue
        tested.append(context.relations.estimable_part(rows))
        records.append(_record(term, test, lost))
    rest = confounded_rows(grid, tested, context)
    if len(rest):
        test, _ = joint_test(rest, 0.0, context.tests, context.relations)
        records.append(_record("(confounded)", test, 0))
    return records, missing


def _check_finite(grid, columns):
    """Refuse values at which columns of the model are not finite."""
    wrong = ~np.isfinite(grid.exog)
    if wrong.any():
        at = {n: grid.values([n], wrong.any(axis=1))[n].iloc[0] for n in grid.levels}
        raise ValueError(
            f"{columns[int(wrong.any(axis=0).argmax())]} is not finite at "
            f"{', '.join(f'{n} = {v}' for n, v in at.items())}; give other values by at="
        )


def _record(term, test, lost):
    return {
        "term": term,
        "df_num": test.df_num,
        "df_denom": test.df_denom,
        "statistic": test.statistic,
        "pvalue": test.pvalue,
        "df_lost": lost,
    }


def _interaction_rows(reference, grid, subset, around):
    """Differences of neighbouring levels of all factors of a set, multiplied out.

    Within each combination of the factors that others of the set are nested in.
    """
    order = [n for n in subset if n not in around] + [n for n in subset if n in around]
    labels, rows, _, _ = _average(reference, grid, order, [], "equal")
    codes = pd.DataFrame({n: _numbered(labels[n], grid.levels[n]) for n in order})
    moving = [n for n in order if n not in around]
    fixed = [n for n in order if n in around]
    found = []
    groups = (
        codes.groupby(fixed, sort=True).indices if fixed else {0: np.arange(len(codes))}
    )
    for members in groups.values():
        members = np.sort(members)
        shape = tuple(codes[n].iloc[members].nunique() for n in moving)
        if int(np.prod(shape)) != len(members):
            continue  # nested factors of different parents do not cross
        block = rows[members].reshape(*shape[::-1], -1)
        for axis in range(len(shape)):
            block = np.diff(block, axis=axis)
        found.append(block.reshape(-1, rows.shape[1]))
    return np.vstack(found) if found else np.zeros((0, rows.shape[1]))


def _numbered(values, levels):
    return pd.Index(levels).get_indexer(pd.Index(values))
