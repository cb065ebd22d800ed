"""From a formula and a data frame to y, X and random terms.

Bars and offsets are split off (bars.py), rows with missing values are settled once for
all parts, sums of columns are read here (plain_formula.py), and everything else goes to
the formula engine (formula_engine.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import (
    FormulaError,
    NoGroupInterceptWarning,
    user_stacklevel,
)
from mixedext.specification.covariance.residual_columns import (
    StatedResidual,
    stated_residual,
)
from mixedext.specification.data.columns import (
    ColumnTable,
    as_floats,
    as_frame,
    index_levels,
)
from mixedext.specification.data.extremes import all_finite
from mixedext.specification.data.missing import (
    check_missing,
    complete_rows,
    missing_values,
)
from mixedext.specification.data.tables import as_pandas, data_frame, is_foreign
from mixedext.specification.formula.bar_terms import (
    bar_term,
    columns_of_text,
    deferred_spec,
    group_term,
    relationships,
)
from mixedext.specification.formula.bars import names_in, plain_name, split_formula
from mixedext.specification.formula.column_kinds import (
    bare_names,
    check_kinds,
    check_response,
    warn_of_labels,
    warn_of_powers,
)
from mixedext.specification.formula.formula_engine import (
    FormulaEngine,
    UsedColumns,
)
from mixedext.specification.formula.given_columns import (
    column_name,
    column_or_array,
)
from mixedext.specification.formula.offset_terms import OffsetTerm, evaluated_offset
from mixedext.specification.formula.plain_formula import (
    plain_response,
)
from mixedext.specification.formula.term_recipe import TermRecipe, recipes_of, right_side
from mixedext.specification.formula.vc_formula import formula_columns
from mixedext.specification.terms.grouped import Grouped, grouped_of, sorted_factor
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["ModelFrame", "model_frame", "subset_rows"]


@dataclass(frozen=True, eq=False)
class ModelFrame:
    """What a formula and a data frame give.

    Attributes
    ----------
    endog : Series
        Response, rows kept.
    exog : DataFrame or ColumnTable
        Fixed-effects columns; may have none.
    terms : list of RandomTerm or SparseTerm
        Random terms: those of ``groups``, then those in bars in the order written.
    offset, weights : ndarray or None
        Sum of all offsets; precision weights.
    data : DataFrame
        The rows kept, all columns.
    rows : ndarray
        Which rows of the data were kept, (n,) bool.
    model_spec : object
        The formula engine's specification of the fixed part.
    fixed_formula : str
        Response and fixed effects.
    offset_terms : tuple of OffsetTerm
        The offsets of the formula.
    namespace : dict
        What the formula uses besides the data.
    aliases : dict
        Names that the formula engine knows columns by whose own are not Python's.
    offset_name : str or None
        The column that ``offset`` names.
    offset_by_rows : bool
        Whether ``offset`` was given as values instead.
    emptied : dict
        For each categorical column its categories that no row kept has.
    grouped : Grouped or None
        The terms that ``groups``, ``re_formula`` and ``vc_formula`` say.
    recipes : tuple of TermRecipe
        What was written of each of the terms.
    residual : StatedResidual or None
        What ``residual`` and ``variance`` say, rows kept.
    """

    endog: pd.Series
    exog: pd.DataFrame | ColumnTable
    terms: list[RandomTerm | SparseTerm]
    offset: np.ndarray | None
    weights: np.ndarray | None
    data: pd.DataFrame
    rows: np.ndarray
    model_spec: object
    fixed_formula: str
    offset_terms: tuple[OffsetTerm, ...]
    namespace: dict = field(repr=False)
    aliases: dict[str, str] = field(repr=False)
    offset_name: str | None
    offset_by_rows: bool
    emptied: dict[Any, pd.Index] = field(repr=False)
    grouped: Grouped | None
    recipes: tuple[TermRecipe, ...] = ()
    residual: StatedResidual | None = None

    @property
    def groups(self) -> np.ndarray | None:
        """Labels of the ``groups`` argument."""
        return None if self.grouped is None else self.grouped.labels

    @property
    def bar_terms(self) -> list[RandomTerm | SparseTerm]:
        """The terms in bars alone."""
        first = 0 if self.grouped is None else len(self.grouped.all_terms)
        return list(self.terms[first:])


def model_frame(
    formula: str,
    data: Any,
    namespace: Mapping[str, Any],
    *,
    groups: Any = None,
    re_formula: str | None = None,
    vc_formula: Mapping | None = None,
    weights: Any = None,
    offset: Any = None,
    residual: Any = None,
    variance: Any = None,
    subset: Any = None,
    missing: str = "none",
    use_sparse: bool = False,
    all_categories: bool = False,
    covariances: Mapping[str, Any] | None = None,
    response: str | None = None,
) -> ModelFrame:
    """Evaluate a formula on a data frame.

    Parameters
    ----------
    formula : str
        Fixed effects, random terms in bars, offset(...).
    data : DataFrame
        Or another library's table, or what a DataFrame can be made of.
    namespace : dict
        Names that the formula may use besides the columns.
    groups, re_formula, vc_formula
        statsmodels' way to say the random terms; may be combined with bars.
    weights, offset : str or array_like, optional
        Column name, or one value a row.
    residual, variance : optional
        Structure of the residuals, whose columns may lack values, too.
    subset : array_like, optional
        Rows of ``data`` to use, for ``data.loc``.
    missing : {"none", "raise", "drop"}, optional
        Rows with missing values are an error, or are dropped.
    use_sparse : bool, optional
        Whether the components' matrices by group are shown as sparse ones.
    all_categories : bool, optional
        Whether categories without rows count, as other chunks may have them.
    covariances : Mapping, optional
        Known relationships of levels by grouping factor.
    response : str, optional
        What the user has written, where that of the formula stands for it.

    Raises
    ------
    FormulaError
        If the formula cannot be read or evaluated.
    MissingDataError
        If values are missing and ``missing`` is not "drop"; names the columns.
    """
    check_missing(missing)
    split = split_formula(formula)
    frame = data_frame(data)
    if subset is not None:
        frame = subset_rows(frame, subset)
    if len(frame) == 0:
        where = "" if subset is None else " that subset= names"
        raise ValueError(f"data has no rows{where}")
    given = {"groups": groups, "weights": weights, "offset": offset}
    given = {what: value for what, value in given.items() if value is not None}
    arrays = {what: column_or_array(v, frame, what) for what, v in given.items()}
    stated = None
    if residual is not None or variance is not None:
        known = [*frame.columns, *frame.index.names]
        stated = stated_residual(
            residual, variance, lambda v, *what: column_or_array(v, frame, *what), known
        )
    group_name = _group_name(groups)
    name = plain_name(split.response if response is None else response)
    if name in map(str, frame.columns):
        grouped = group_name if "groups" in arrays else None
        _check_response_apart(name, split, grouped, stated)
    vc_formula = {n: right_side(f) for n, f in (vc_formula or {}).items()}
    named = split.names.union(
        names_in(re_formula or ""), *(names_in(text) for text in vc_formula.values())
    )
    levels = index_levels(frame, named)
    all_columns = frame.columns.to_numpy(object).tolist() + levels
    columns = [c for c in all_columns if str(c) in named]
    repeated = sorted({str(c) for c in columns if columns.count(c) > 1})
    if repeated:
        raise FormulaError(
            f"data has several columns named {', '.join(repeated)}, which the formula uses"
        )
    used = UsedColumns(frame, columns)
    beside = [*arrays.items(), *(() if stated is None else stated.named())]
    keep, finite_data = _present_rows(used, beside, missing)
    if keep is not None:
        arrays = {name: a[keep] for name, a in arrays.items()}
        stated = None if stated is None else stated.take(keep)
    used.settle(keep, all_categories)
    engine = FormulaEngine(used, namespace, all_columns)
    texts = [split.fixed, re_formula or "", *(bar.columns for bar in split.bars)]
    texts += vc_formula.values()
    check_kinds(used, texts, engine.manager.engine, whole=not all_categories)
    warn_of_powers(texts)
    fixed_formula = f"{split.response} ~ {split.fixed}"
    sides = _plain_sides(engine, split, fixed_formula)
    sides = sides or _engine_sides(engine, split, fixed_formula)
    endog, exog, model_spec, of_data = sides
    related = relationships(covariances, split.bars)
    terms = [bar_term(engine, bar, related.get(bar.group)) for bar in split.bars]
    factors = {factor for bar in split.bars for factor in bar.factors}
    for name in () if all_categories else sorted(map(plain_name, factors)):
        warn_of_labels(name, engine.grouping_factor(name)[1])
    main, parts_of_groups = None, []
    if "groups" in arrays:
        factor = sorted_factor(arrays["groups"])
        warn_of_labels(group_name, factor[1])
        none = re_formula is not None and right_side(re_formula).strip() in ("0", "-1")
        if not vc_formula or not (re_formula is None or none):
            main = group_term(engine, factor, group_name, re_formula)
        of_groups = engine
        if vc_formula and used.emptied:  # as in statsmodels, these keep all categories
            whole = UsedColumns(frame, columns)
            whole.settle(keep, all_categories=True)
            of_groups = FormulaEngine(whole, namespace, all_columns)
        parts_of_groups = [
            formula_columns(of_groups, str(name), vc_formula[name], *factor)
            for name in sorted(vc_formula)
        ]
    elif re_formula is not None or vc_formula:
        raise AttributeError("groups= is required where re_formula or vc_formula is given")
    offsets, shift = _offset(engine, split.offsets, arrays)
    weight = None if "weights" not in arrays else _numbers(arrays["weights"], "weights")
    parts = {"offset": shift, "weights": weight}
    if not (of_data and finite_data):
        parts = {"the response": endog, "the fixed effects": exog} | parts
    checked = [*([] if main is None else [main]), *parts_of_groups, *terms]
    finite = _finite_rows(parts, checked, missing)
    if finite is not None and not all_categories and _empties(used, finite):
        # rows that only the evaluated formula shows to be missing had all of a category
        at = np.flatnonzero(np.ones(len(frame), bool) if keep is None else keep)[finite]
        kept: dict[str, Any] = {
            what: value if isinstance(value, str) else arrays[what][finite]
            for what, value in given.items()
        }
        kept |= {"re_formula": re_formula, "vc_formula": vc_formula, "missing": missing}
        kept["residual"] = None if stated is None else stated.take(finite)
        kept["covariances"] = covariances
        again = model_frame(
            formula, frame.iloc[at], namespace, use_sparse=use_sparse, **kept
        )
        rows = np.zeros(len(frame), bool)
        rows[at[again.rows]] = True
        return replace(again, rows=rows)
    if finite is not None:
        endog, exog = endog[finite], as_frame(exog)[finite]
        terms = [t.take(finite) for t in terms]
        main = None if main is None else main.take(finite)
        parts_of_groups = [c.take(finite) for c in parts_of_groups]
        shift = None if shift is None else shift[finite]
        weight = None if weight is None else weight[finite]
        arrays = {name: a[finite] for name, a in arrays.items()}
        stated = None if stated is None else stated.take(finite)
        keep = np.ones(len(frame), bool) if keep is None else keep.copy()
        keep[np.flatnonzero(keep)[~finite]] = False
    grouped = None
    if "groups" in arrays:
        if finite is not None:
            factor = sorted_factor(arrays["groups"])
        grouped = grouped_of(
            np.asarray(arrays["groups"]),
            factor,
            main,
            parts_of_groups,
            use_sparse,
            group_name,
        )
        if vc_formula and main is None and re_formula is None and len(factor[1]) > 1:
            _warn_no_intercept(group_name)
    return ModelFrame(
        endog=endog,
        exog=exog,
        terms=[*(() if grouped is None else grouped.all_terms), *terms],
        offset=shift,
        weights=weight,
        data=frame if keep is None else frame.loc[keep],
        rows=np.ones(len(frame), bool) if keep is None else keep,
        model_spec=model_spec,
        fixed_formula=fixed_formula,
        offset_terms=offsets,
        namespace=engine.namespace,
        aliases=engine.aliases,
        offset_name=column_name(offset),
        offset_by_rows=offset is not None and column_name(offset) is None,
        emptied=used.emptied,
        grouped=grouped,
        recipes=recipes_of(engine, split.bars, groups, grouped, re_formula, vc_formula),
        residual=stated,
    )


def _empties(used, finite):
    """Whether a column that is not numeric has values in the other rows alone."""
    for column in used.values():
        if getattr(column.dtype, "kind", "O") in "iufb":
            continue
        if not column[~finite].isin(column[finite]).all():
            return True
    return False


def _check_response_apart(name, split, group, stated):
    """Refuse a response that has a place among what explains it, too."""
    texts = {"the fixed effects": split.fixed}
    texts |= {bar.label: bar.columns for bar in split.bars}
    places = [place for place, text in texts.items() if name in bare_names(text)]
    factors = {bar.label: map(plain_name, bar.factors) for bar in split.bars}
    places += [label for label, names in factors.items() if name in names]
    if group is not None and name == str(group):
        places.append("groups=")
    if stated is not None and name in (what for what, _ in stated.named()):
        places.append("the residual structure")
    if places:
        raise FormulaError(
            f"the response {name!r} stands in {places[0]}, too, as if it could explain "
            "itself; leave it out there"
        )


def subset_rows(frame, subset):
    """The rows that ``subset`` names, as ``data.loc`` takes them."""
    if is_foreign(subset):  # it has no row labels
        subset = as_pandas(subset).to_numpy()
    values = np.asarray(subset) if np.ndim(subset) == 1 else np.zeros(0)
    numbers = values.dtype.kind in "iuf" and len(values) == len(frame) > 2
    column = isinstance(subset, pd.Series) and subset.index.equals(frame.index)
    if numbers and (
        np.isin(values, (0, 1)).all() or (column and subset.duplicated().any())
    ):
        raise ValueError(
            "subset= holds a number for each row of data, which name no rows; write a "
            "condition, as in subset=data['x'] > 0 or data['x'] == 1"
        )
    try:
        rows = frame.loc[subset]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        how = ": subset=data.eval(...)" if isinstance(subset, str) else ""
        raise ValueError(f"subset does not name rows of data: {error}{how}") from None
    if not isinstance(rows, pd.DataFrame):
        raise ValueError(f"subset={subset!r} must name several rows of data, as a list")
    return rows


def _plain_sides(engine, split, fixed_formula):
    """Response, fixed-effects columns and specification of a plain formula, else None.

    Also whether the columns hold no values but the data's and 0 and 1.
    """
    endog = plain_response(split.response, engine.series, engine.manager.engine)
    if endog is None:
        return None
    found = columns_of_text(engine, split.fixed)
    if found is None:
        return None
    columns, names = found
    table = np.empty((len(endog), len(columns)), order="F")
    for j, column in enumerate(columns):
        column.write(table[:, j])
        engine.made[column.key] = table[:, j]
    exog = ColumnTable(table, endog.index, names)
    spec = deferred_spec(engine, fixed_formula)
    of_data = not any(column.is_computed for column in columns)
    return endog, exog, spec, of_data


def _engine_sides(engine, split, fixed_formula):
    """Response, fixed-effects columns and specification, as the formula engine says."""
    check_response(engine.series, split.response)
    endog, exog = engine.matrices(fixed_formula)
    spec = engine.manager.spec
    column = engine.series.get(split.response)
    if endog.shape[1] != 1 or (column is not None and column.dtype == bool):
        raise ValueError(
            f"the response {split.response!r} has evaluated to {endog.shape[1]} columns; "
            "it must be one numeric column (a boolean or text response is not; numbers in "
            "a column of dtype object are text until pd.to_numeric makes them numbers)"
        )
    exog = pd.DataFrame(exog)
    exog.columns = engine.plain_names(exog.columns)
    response = pd.DataFrame(endog).iloc[:, 0]
    response.name = engine.plain_names([response.name])[0]
    return response, exog, spec, False


def _numbers(values, what):
    try:
        return as_floats(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is not numeric: {error}") from None


def _group_name(groups):
    if isinstance(groups, list) and len(groups) == 1:
        groups = groups[0]
    if isinstance(groups, str):
        return groups
    return "Group"


def _present_rows(columns, beside, missing):
    """Rows in which no column and no array is missing, None for all of them.

    Also whether no column can have a missing or infinite value.
    """
    absent, finite = {}, True
    for name, column in columns.items():
        if columns.is_finite(name):
            continue
        mask = missing_values(column)
        if mask is not None:
            absent[str(name)] = mask
            finite = finite and column.dtype.kind != "f"
    for name, values in beside:
        mask = missing_values(values)
        if mask is not None:
            absent[name] = absent[name] | mask if name in absent else mask
    return complete_rows(absent, missing), finite


def _finite_rows(parts, terms, missing):
    """Rows in which the evaluated formula is not missing, None for all of them.

    Infinite values are refused.
    """
    absent = {t.label: t.missing() for t in terms if t.any_missing()}
    for name, values in parts.items():
        if values is None:
            continue
        array = np.asarray(values)
        if array.dtype.kind not in "iubf":
            array = array.astype(float)
        if all_finite(array):
            continue
        array = array.reshape(len(array), -1)
        if np.isinf(array).any():
            column = ""
            if name == "the fixed effects":
                column = f" (column {values.columns[np.isinf(array).any(axis=0)][0]})"
            raise ValueError(
                f"infinite values in {name}{column}; a logarithm or quotient of zeros has "
                "such: leave these rows out by subset="
            )
        absent[name] = np.isnan(array).any(axis=1)
    empty = [name for name, mask in absent.items() if mask.all()]
    if empty:
        raise FormulaError(
            f"{_empty_columns(empty[0], parts.get(empty[0]))} has no value in any row, "
            "though the data have: it is scale() of a constant, or a function outside its "
            "domain; leave it out"
        )
    if absent:
        exog = parts.get("the fixed effects")
        names = "" if exog is None else _columns_with(np.isnan(np.asarray(exog)), exog)
        note = f" ({names})" if names else ""
        note += "; a logarithm or root of negative numbers has no value"
        return complete_rows(absent, missing, f", though the data have none there{note}")
    return None


def _empty_columns(part, table):
    """The columns of a part of the model that are missing in every row, or the part."""
    if not hasattr(table, "columns"):
        return part
    return ", ".join(table.columns[np.isnan(np.asarray(table, float)).all(axis=0)]) or part


def _columns_with(mask, table):
    """Names of the columns of a table in which some row is marked."""
    return ", ".join(table.columns[mask.any(axis=0)])


def _offset(engine, expressions, arrays):
    """The offsets of a formula, and the sum of all."""
    total, terms = None, []
    if "offset" in arrays:
        total = _numbers(arrays["offset"], "offset")
    for expression in expressions:
        term, value = evaluated_offset(engine, expression)
        terms.append(term)
        total = value if total is None else total + value
    return tuple(terms), total


def _warn_no_intercept(group_name):
    warnings.warn(
        "vc_formula is given without re_formula: as in statsmodels the model has no "
        f'random intercept of {group_name!r}; re_formula="1" adds it',
        NoGroupInterceptWarning,
        stacklevel=user_stacklevel(),
    )
