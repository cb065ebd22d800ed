"""Rows of a variance component for new data: its columns go by group and label."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from scipy import sparse

from mixedext.exceptions import FormulaError
from mixedext.limits import SAME_COLUMN
from mixedext.specification.data.known_levels import known_codes
from mixedext.specification.data.labels import Levels, level_index
from mixedext.specification.formula.formula_engine import FormulaEngine, used_columns
from mixedext.specification.formula.vc_formula import formula_columns
from mixedext.specification.terms.components import Component

__all__ = [
    "CheckRows",
    "ComponentRows",
    "component_fault",
    "component_rows",
    "same_categories",
]

# Rows of the fit that are evaluated alone.
_FEW = 20

#: Raises where rows of new data do not tell their columns; is given what evaluates them.
CheckRows: TypeAlias = Callable[[FormulaEngine], None]


@dataclass(frozen=True, eq=False)
class ComponentRows:
    """Columns of a variance component on new rows.

    Attributes
    ----------
    codes : ndarray
        Group of every row, (n,), negative where it has none; all its values are then those
        of a group that nobody knows.
    matrix : coo_array
        Values, (n, q).
    place : ndarray
        Number of every column's effect among those of the fit, (q,); -1 for others.
    keys : MultiIndex
        Group and label of every column, (q,).
    size : int
        Number of effects of the fit.
    """

    codes: np.ndarray
    matrix: sparse.coo_array
    place: np.ndarray
    keys: pd.MultiIndex
    size: int

    def split(self) -> tuple[sparse.csr_array, np.ndarray]:
        """Values at the effects of the fit, (n, size), and the sum of squares of others."""
        row, column = self.matrix.coords
        place, value = self.place[column], self.matrix.data
        there = (place >= 0) & (self.codes[row] >= 0)
        known = sparse.csr_array(
            (value[there], (row[there], place[there])),
            shape=(self.matrix.shape[0], self.size),
        )
        return known, np.bincount(
            row[~there], value[~there] ** 2, minlength=self.matrix.shape[0]
        )


def component_rows(
    engine: FormulaEngine,
    text: str,
    component: Component,
    groups: pd.Index,
    factor: tuple[np.ndarray, Levels],
    check: CheckRows | None = None,
) -> ComponentRows:
    """Columns of a component on new rows.

    Parameters
    ----------
    engine : FormulaEngine
        The engine on the new data.
    text : str
        Formula of the columns.
    component : Component
        The columns of the fit.
    groups : Index
        Labels of the groups of the fit.
    factor : tuple
        Codes (n,) and labels of the groups of the rows.
    check : callable, optional
        Called where the formula has to be evaluated group by group.

    Raises
    ------
    FormulaError
        If the data lack a column; names it.
    """
    codes, levels = factor
    if not len(levels):  # no row of any group: their columns are as those of another
        levels = groups[:1]
    found = formula_columns(
        engine, component.name, text, np.maximum(codes, 0), level_index(levels), check
    )
    names = found.labels.index[found.column_label]
    own_group = known_codes(groups, [(found.column_group, levels)])
    labels = pd.Index(component.labels.index, dtype=object)
    table = pd.MultiIndex.from_arrays([component.column_group, component.column_label])
    wanted = pd.MultiIndex.from_arrays([own_group, labels.get_indexer(names)])
    column = table.get_indexer(wanted)
    place = np.where(column >= 0, component.place[column], -1)
    keys = pd.MultiIndex.from_arrays([level_index(levels).take(found.column_group), names])
    matrix = sparse.coo_array(found.matrix)
    return ComponentRows(codes, matrix, place, keys, component.n_effects)


def component_fault(
    data: pd.DataFrame, engine: FormulaEngine, name: str, text: str, codes: np.ndarray
) -> str:
    """Why new rows cannot be given to a component's formula, "" if they can.

    A category that is coded against the first of its group, and a function that learns
    from the rows of the group, give a row alone other columns.

    Parameters
    ----------
    data : DataFrame
        Rows of the fit.
    engine : FormulaEngine
        The engine on them.
    name, text : str
        Name and formula of the component.
    codes : ndarray
        Group of every row, (n,), negative where it has none.
    """
    if len(data) == 0:
        return ""
    fault = (
        f"the columns of the variance component {name!r} ({text}) in one row depend on the "
        "other rows of its group, so that there are none for new data: categories are to "
        "be coded in full (0 + C(a), 0 + C(a):x), and what a function learns from the rows "
        "is to be computed before the model is made"
    )
    for row in np.unique(np.linspace(0, len(data) - 1, _FEW).astype(int)):
        if codes[row] < 0:
            continue
        own = np.flatnonzero(codes == codes[row])
        try:
            alone = engine.own_matrix(text, np.array([row]))
        except FormulaError:
            return fault
        among = engine.own_matrix(text, own).iloc[[int(np.searchsorted(own, row))]]
        names = dict.fromkeys([*alone.columns, *among.columns])
        one, other = (
            frame.reindex(columns=list(names), fill_value=0.0).to_numpy(float)[0]
            for frame in (alone, among)
        )
        size = SAME_COLUMN * np.abs(other).max(initial=0.0)
        if np.isfinite(other).all() and not (np.abs(one - other) <= size).all():
            return fault
    return ""


def same_categories(
    engine: FormulaEngine, data: pd.DataFrame | None, text: str, emptied: Container[Any]
) -> bool:
    """Whether new rows have the categories by which a component's columns were coded.

    Parameters
    ----------
    engine : FormulaEngine
        The engine on the new data.
    data : DataFrame or None
        Rows of the fit, if they are there.
    text : str
        Formula of the component.
    emptied : container
        Columns with categories that no row of the fit has.
    """
    used = used_columns(engine.data, [text])
    coded = [n for n in used if getattr(used[n].dtype, "kind", "O") not in "iufb"]
    if not coded or data is None:
        return not coded
    fit = used_columns(data, [text])
    return all(
        isinstance(used[n].dtype, pd.CategoricalDtype)
        and n in fit
        and used[n].dtype == fit[n].dtype
        and n not in emptied
        for n in coded
    )
