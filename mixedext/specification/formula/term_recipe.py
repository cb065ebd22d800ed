"""How the rows of a random term are made of new data: columns, and levels of the fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mixedext.exceptions import FormulaError
from mixedext.specification.data.columns import column_of, index_levels
from mixedext.specification.data.known_levels import MISSING, UNKNOWN, known_codes
from mixedext.specification.data.labels import factorize, interact, level_index
from mixedext.specification.formula.bars import Bar, plain_name
from mixedext.specification.formula.component_rows import (
    ComponentRows,
    component_fault,
    component_rows,
    same_categories,
)
from mixedext.specification.formula.expressions import python_powers
from mixedext.specification.formula.formula_engine import (
    FormulaEngine,
    fixed_spec,
    used_columns,
)
from mixedext.specification.formula.new_data import new_fixed_columns
from mixedext.specification.formula.plain_formula import DeferredSpec
from mixedext.specification.formula.portable_spec import portable_spec
from mixedext.specification.formula.single_rows import (
    cure_of_whole_column,
    differs_alone,
    expressions_in,
)
from mixedext.specification.formula.vc_formula import formula_columns
from mixedext.specification.terms.components import Component
from mixedext.specification.terms.grouped import Grouped
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.related_terms import RelatedTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = [
    "Formulas",
    "TermRecipe",
    "TermRows",
    "fault_of",
    "named_columns",
    "named_rows",
    "new_component_rows",
    "new_labels",
    "new_term_rows",
    "recipes_of",
    "right_side",
    "term_columns",
]


@dataclass(frozen=True, eq=False)
class TermRows:
    """Rows of one random term, by the levels of the fit.

    Attributes
    ----------
    codes : ndarray
        Level of every row, (n,); ``UNKNOWN`` for one that the fit had not, ``MISSING``
        where there is none.
    z : ndarray or csr_array
        Columns of the term, (n, k); of a variance component with several columns a row
        the values at all effects of the term, (n, L k).
    new_square : ndarray or None
        Of such a component the sum of squares of the values that belong to no effect of
        the fit, (n,).
    """

    codes: np.ndarray
    z: np.ndarray | sparse.csr_array
    new_square: np.ndarray | None = None

    def take(self, rows: Any) -> TermRows:
        """Some of the rows."""
        square = None if self.new_square is None else self.new_square[rows]
        return TermRows(self.codes[rows], self.z[rows], square)

    def mean(self, effects: np.ndarray) -> np.ndarray:
        """z'b of every row, b = 0 for levels that the fit had not, (n,)."""
        if self.new_square is not None:
            return self.z @ np.ravel(effects)
        known = self.codes >= 0
        out = np.zeros(len(self.codes))
        own = effects[self.codes[known]]
        out[known] = np.einsum("nk,nk->n", self.z[known], own)
        return out


@dataclass(frozen=True, eq=False)
class TermRecipe:
    """What was written of one random term.

    Attributes
    ----------
    group : str
        Name of the grouping factor.
    columns : str
        Formula of the columns.
    factors : tuple of str or None
        Atoms of the grouping factor; None where its labels came as an array.
    component : str or None
        Name of the variance component whose columns are meant within each group.
    spec : object
        The formula engine's specification of the columns, if it is known.
    """

    group: str
    columns: str
    factors: tuple[str, ...] | None
    component: str | None = None
    spec: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "spec": portable_spec(self.spec)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def texts(self) -> list[str]:
        """Pieces of formula."""
        atoms = (f"`{self.group}`",) if self.factors is None else self.factors
        return [self.columns, *atoms]


@dataclass(frozen=True, eq=False)
class Formulas:
    """What formulas of a model are evaluated with.

    Attributes
    ----------
    namespace : Mapping
        Names besides the columns.
    aliases : Mapping
        Python's names of columns.
    emptied : Mapping
        For each categorical column its categories that no row of the fit has.
    frame : DataFrame or None
        The data of the fit, if they are there.
    fault : callable
        Why a part of a recipe, one of ``FAULTS``, cannot be evaluated on new data, "" if it
        can; None if that is not known.
    """

    namespace: Mapping[str, Any]
    aliases: Mapping[str, str]
    emptied: Mapping[Any, pd.Index]
    frame: pd.DataFrame | None
    fault: Callable[[TermRecipe, str], str | None]


def new_term_rows(
    recipe: TermRecipe,
    term: RandomTerm | SparseTerm,
    data: pd.DataFrame,
    formulas: Formulas,
    component: Component | None = None,
    groups: pd.Index | None = None,
) -> TermRows:
    """Rows of a random term for new data.

    Parameters
    ----------
    recipe : TermRecipe
        What was written.
    term : RandomTerm or SparseTerm
        The term; only names and levels are asked for.
    data : DataFrame
        The new data.
    formulas : Formulas
        Names and data of the model.
    component, groups : optional
        Of a variance component its columns, and the labels of the groups.

    Raises
    ------
    FormulaError
        If the data lack a column; names it.
    """
    if component is not None and groups is not None:
        found = new_component_rows(recipe, component, groups, data, formulas)
        known, square = found.split()
        codes = np.where(square > 0, UNKNOWN, 0)
        codes[found.codes < 0] = MISSING
        return TermRows(codes, known, square)
    _refuse_fault(recipe, "levels", formulas)
    _, factors = _factors(recipe, data, formulas)
    codes = known_codes(term._levels, factors)
    _refuse_fault(recipe, "columns", formulas)
    return _rows_at(term, codes, _columns(recipe, data, formulas))


def _rows_at(term, codes, z):
    """Rows of a term at levels; where levels are related others are related to none."""
    if not isinstance(term, RelatedTerm):
        return TermRows(codes, z)
    square = np.where(codes == UNKNOWN, z[:, 0] ** 2, 0.0)
    return TermRows(np.minimum(codes, 0), term.rows_of(codes, z[:, 0]), square)


def new_component_rows(
    recipe: TermRecipe,
    component: Component,
    groups: pd.Index,
    data: pd.DataFrame,
    formulas: Formulas,
) -> ComponentRows:
    """Columns of a variance component for new data; as ``new_term_rows``.

    Raises
    ------
    FormulaError
        If the data lack a column; or if a row alone does not tell its columns.
    """
    engine, factors = _factors(recipe, data, formulas)
    check = _component_check(recipe, formulas)
    return component_rows(engine, recipe.columns, component, groups, factors[0], check)


def fault_of(recipe: TermRecipe, part: str, formulas: Formulas) -> str | None:
    """Why a part of a recipe cannot be evaluated on new data; None without the fit's rows.

    Parameters
    ----------
    recipe : TermRecipe
        What was written.
    part : str
        One of ``FAULTS``.
    formulas : Formulas
        Names and data of the model.
    """
    return None if formulas.frame is None else FAULTS[part](recipe, formulas)


def _component_fault(recipe, formulas):
    engine, factors = _factors(recipe, formulas.frame, formulas)
    name = recipe.component or ""
    return component_fault(formulas.frame, engine, name, recipe.columns, factors[0][0])


def _columns_fault(recipe, formulas):
    if not expressions_in(f"~ {recipe.columns}", formulas.namespace):
        return ""
    if differs_alone(lambda rows: _columns(recipe, rows, formulas), formulas.frame):
        return cure_of_whole_column(recipe.columns)
    return ""


def _levels_fault(recipe, formulas):
    for atom in recipe.factors or ():
        if plain_name(atom) in {*formulas.frame.columns, *formulas.frame.index.names}:
            continue

        own = replace(recipe, columns="1", factors=(atom,))
        if differs_alone(partial(_labels, own, formulas), formulas.frame):
            return cure_of_whole_column(atom, kept="x.mean() or x.max()")
    return ""


def _labels(recipe, formulas, data):
    """Label of every row, None without one."""
    codes, levels = new_labels(recipe, data, formulas)
    return np.append(levels.to_numpy(object), [None])[np.maximum(codes, -1)]


# What of a recipe may depend on other rows.
FAULTS = {
    "component": _component_fault,
    "columns": _columns_fault,
    "levels": _levels_fault,
}


def _refuse_fault(recipe, part, formulas):
    fault = formulas.fault(recipe, part)
    if fault:
        raise FormulaError(fault)


def _component_check(recipe, formulas):
    """What refuses rows that do not tell their columns of a component."""

    def check(engine):
        fault = formulas.fault(recipe, "component")
        if fault is None:
            raise FormulaError(
                "the data of the fit were removed, so that columns of "
                f"{recipe.component!r} ({recipe.columns}) in new data are not known to be "
                "those of the fit"
            )
        if fault:
            raise FormulaError(fault)
        known = formulas.frame, recipe.columns, formulas.emptied
        if not same_categories(engine, *known):
            raise FormulaError(
                f"columns of the variance component {recipe.component!r} "
                f"({recipe.columns}) are coded by the categories of the fit: give new data "
                "the same pandas Categorical, and leave the data in the model"
            )

    return check


def new_labels(
    recipe: TermRecipe, data: pd.DataFrame, formulas: Formulas
) -> tuple[np.ndarray, pd.Index]:
    """Codes of the rows of new data, (n,), negative without a level, and their labels."""
    _, factors = _factors(recipe, data, formulas)
    found = factors[0]
    for other in factors[1:]:
        found = interact(found, other)
    return found[0], level_index(found[1])


def _factors(recipe, data, formulas):
    """Codes and levels of the atoms of the grouping factor, and what evaluates them."""
    used = used_columns(data, recipe.texts)
    known = [*data.columns, *index_levels(data, used.columns)]
    engine = FormulaEngine(used, formulas.namespace, known, formulas.aliases)
    return engine, [_factor(engine, recipe, atom) for atom in recipe.factors or (None,)]


def _factor(engine, recipe, atom):
    if atom is not None:
        return engine.grouping_factor(atom)
    if recipe.group not in engine.series:
        raise FormulaError(
            f"the grouping factor {recipe.group!r} was given as an array, and the new data "
            "have no column of that name"
        )
    return factorize(column_of(engine.data, recipe.group))


def _columns(recipe, data, formulas):
    """Columns of the term, (n, k)."""
    if recipe.columns.strip() == "1":
        return np.ones((len(data), 1))
    spec = recipe.spec
    if spec is None:
        if formulas.frame is None:
            raise FormulaError(
                "the data of this model were removed before it was saved or copied, and "
                f"what ({recipe.columns} | {recipe.group}) has learned from them cannot "
                "be pickled; predict first, or save it with its data"
            )
        spec = fixed_spec(
            f"~ {recipe.columns}",
            formulas.frame,
            formulas.namespace,
            formulas.aliases,
            formulas.emptied,
        )
    return new_fixed_columns(
        spec.resolve() if isinstance(spec, DeferredSpec) else spec,
        data,
        f"~ {recipe.columns}",
        formulas.namespace,
        formulas.aliases,
        emptied=formulas.emptied,
    ).exog


def term_columns(
    recipe: TermRecipe,
    term: RandomTerm | SparseTerm,
    data: pd.DataFrame | None,
    n: int,
    formulas: Formulas,
) -> np.ndarray:
    """Columns of a random term for new data, whatever their levels, (n, k).

    Of a variance component, one column whose square is the sum of squares of all.

    Parameters
    ----------
    recipe, term, formulas
        As for ``new_term_rows``.
    data : DataFrame or None
        The new data, if there is a frame.
    n : int
        Number of rows.

    Raises
    ------
    FormulaError
        If the data lack a column; names it.
    ValueError
        If there is no frame, and the columns are not constant.
    """
    if recipe.columns.strip() == "1" and recipe.component is None:
        return np.ones((n, 1))
    if data is None:
        raise ValueError(f"an array does not tell the columns of {term.label}")
    if recipe.component is None:
        _refuse_fault(recipe, "columns", formulas)
        return _columns(recipe, data, formulas)
    used = used_columns(data, [recipe.columns])
    engine = FormulaEngine(used, formulas.namespace, data.columns, formulas.aliases)
    found = formula_columns(
        engine,
        recipe.component,
        recipe.columns,
        np.zeros(n, np.int32),
        pd.Index([0]),
        _component_check(recipe, formulas),
    )
    square = sparse.csr_array(found.matrix).power(2).sum(axis=1)
    return np.sqrt(np.asarray(square, float))[:, None]


def named_columns(
    term: RandomTerm | SparseTerm, data: pd.DataFrame | None, n: int
) -> np.ndarray:
    """Columns of a term that arrays stated, by their names, (n, k).

    Raises
    ------
    FormulaError
        If the data lack a column; names it.
    ValueError
        If there is no frame, and the columns are not constant.
    """
    names = [name for name in term.names if name != "Intercept"]
    plain = isinstance(term, SparseTerm) and not isinstance(term, RelatedTerm)
    if plain or (names and data is None):
        raise ValueError(f"new data do not tell the columns of {term.label}")
    lacking = [] if data is None else [name for name in names if name not in data.columns]
    if lacking:
        raise FormulaError(
            f"the new data have no column {', '.join(map(repr, lacking))}, by whose name "
            f"the columns of {term.label} are known"
        )
    z = np.ones((n, term.k))
    for j, name in enumerate(term.names):
        if data is not None and name != "Intercept":
            z[:, j] = np.asarray(data[name], float)
    return z


def named_rows(term: RandomTerm | SparseTerm, data: pd.DataFrame) -> TermRows:
    """Rows of a term that arrays stated, from columns of its names.

    Raises
    ------
    FormulaError
        If the data lack a column; names it.
    """
    z = named_columns(term, data, len(data))
    if term.group not in data.columns:
        raise FormulaError(
            f"the new data have no column {term.group!r}, by whose name the levels of "
            f"{term.label} are known"
        )
    codes = known_codes(term._levels, [factorize(data[term.group])])
    return _rows_at(term, codes, z)


def recipes_of(
    engine: FormulaEngine,
    bars: Sequence[Bar],
    groups: Any,
    grouped: Grouped | None,
    re_formula: str | None,
    vc_formula: Mapping[Any, str],
) -> tuple[TermRecipe, ...]:
    """What was written of each random term, in the order of the terms."""
    found = []
    if grouped is not None:
        by_name = isinstance(groups[0] if isinstance(groups, list) else groups, str)
        atoms = (f"`{grouped.name}`",) if by_name else None
        if grouped.main is not None:
            text = "1" if re_formula is None else right_side(re_formula)
            found.append(TermRecipe(grouped.name, text, atoms, spec=engine.specs.get(text)))
        texts = {str(name): text for name, text in vc_formula.items()}
        for component in grouped.components:
            text, name = texts[component.name], component.name
            found.append(TermRecipe(grouped.name, text, atoms, name))
    for bar in bars:
        spec = engine.specs.get(bar.columns)
        found.append(TermRecipe(bar.group, bar.columns, bar.factors, spec=spec))
    return tuple(found)


def right_side(text: Any) -> str:
    """A formula of columns without its tilde."""
    if not isinstance(text, str):
        raise ValueError(f"vc_formula must map names to formulas, not to {text!r}")
    return python_powers(text.strip().removeprefix("~"))
