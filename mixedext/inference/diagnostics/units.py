"""What is deleted: rows, levels of factors, or groups of any labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.fitted import Fitted, ModelRows
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.data.codes import named_column
from mixedext.specification.data.labels import factorize, interact, level_index
from mixedext.specification.data.tables import as_pandas
from mixedext.specification.terms.random_terms import SparseTerm

__all__ = ["UnitSets", "Units", "row_units", "units"]


@dataclass(frozen=True, eq=False)
class UnitSets:
    """Sets of rows that do not overlap.

    Attributes
    ----------
    codes : ndarray
        Number of the set of every row, negative for none, (n,).
    count : int
        Number of sets.
    """

    codes: np.ndarray
    count: int


@dataclass(frozen=True, eq=False)
class Units:
    """What is deleted, one after the other.

    Attributes
    ----------
    index : Index
        Name of every unit.
    what : str
        What the units are, in words.
    sets : tuple of UnitSets
        The sets of every factor; of rows none.
    rows : ndarray or None
        Numbers of the rows, where each is a unit; None for all.
    """

    index: pd.Index
    what: str
    sets: tuple[UnitSets, ...] = ()
    rows: np.ndarray | None = None


def row_units(fitted: Fitted, rows: Any = None) -> Units:
    """Each row a unit, or each of some.

    Parameters
    ----------
    fitted : Fitted
        A fit with its rows in memory.
    rows : array_like, optional
        Numbers of rows of those that the fit has used, from 0, or a mask; all if None.
    """
    own = fitted.need_rows()
    n = len(own.endog)
    index = pd.RangeIndex(n) if own.labels is None else pd.Index(own.labels)
    if rows is None:
        return Units(index, "row")
    at = np.atleast_1d(np.asarray(rows))
    if at.dtype == bool:
        if at.shape != (n,):
            raise ValueError(
                f"rows is a mask of shape {at.shape}, but the model has {n} rows (rows "
                "with missing values are left out)"
            )
        at = np.flatnonzero(at)
    if at.dtype.kind not in "iu" or at.ndim != 1 or not len(at):
        raise ValueError(
            "rows must be numbers of rows of those that the fit has used, from 0, or a "
            "mask of them; data.index.get_indexer(labels) finds the numbers of labels"
        )
    if at.min() < -n or at.max() >= n:
        raise ValueError(f"rows must be from 0 to {n - 1}, the rows that the fit has used")
    at = np.where(at < 0, at + n, at).astype(np.intp)
    return Units(index[at], "row", rows=at)


def units(fitted: Fitted, by: Any) -> Units:
    """Groups of rows: levels of a factor, of several, or of any labels.

    Parameters
    ----------
    fitted : Fitted
        A fit with its rows in memory.
    by : object
        The name of a grouping factor, of the residual groups, of a column or index level of
        the data, names joined by colons for their combinations, or labels (array, Series),
        one a row; several of these in a list, or a DataFrame.

    Raises
    ------
    ValueError
        If a name is not known, or labels are missing or of another length than the rows.
    """
    rows = fitted.need_rows()
    residual = fitted.fit.residual
    bound = None if residual is None else residual.bound
    parts = [(*_one(rows, part, bound), str(name)) for name, part in _parts(rows, by)]
    sets = tuple(UnitSets(codes, len(levels)) for codes, levels, _ in parts)
    if len(parts) == 1:
        _, levels, name = parts[0]
        return Units(levels.rename(name), f"level of {name}", sets)
    index = pd.Index([f"{name}:{own}" for _, levels, name in parts for own in levels])
    names = " and of ".join(name for _, _, name in parts)
    return Units(index, f"level of {names}", sets)


def _parts(rows: ModelRows, by: Any) -> list[tuple[Any, Any]]:
    """Name and what was given of every factor."""
    if isinstance(by, list | tuple) and not _is_labels(rows, by):
        if not len(by):
            raise ValueError("by is empty: name a factor, or leave it out for rows")
        return [own for part in by for own in _parts(rows, part)]
    by = as_pandas(by, rows.labels)
    if isinstance(by, pd.DataFrame):
        return [(name, by[name]) for name in by.columns]
    if np.ndim(by) == 0:
        return [(by, by)]
    name = getattr(by, "name", None)
    return [("group" if name is None else name, by)]


def _is_labels(rows, by):
    """Whether a list is one of labels rather than of factors."""
    if any(np.ndim(part) > 0 for part in by):
        return False
    return len(by) == len(rows.endog) and not all(isinstance(p, str) for p in by)


def _one(
    rows: ModelRows, part: Any, bound: BoundResidual | None
) -> tuple[np.ndarray, pd.Index]:
    if np.ndim(part) == 0:
        codes, levels = _named(rows, part, bound)
    else:
        codes, levels = _given(rows, part)
    if len(codes) and codes.min() < 0:
        count = int((codes < 0).sum())
        raise ValueError(
            f"by has no label at {count} of the rows; give these a label of their own "
            "(such as 'unknown'), or leave them out of the fit"
        )
    return np.asarray(codes), levels


def _named(rows, name, bound):
    for term in rows.terms:
        if term.group == name:
            if isinstance(term, SparseTerm):
                raise ValueError(
                    f"by={name!r} is a SparseTerm, whose rows may belong to several "
                    "levels; give labels, one a row"
                )
            return term.codes, term.levels
    column = named_column(rows.frame, name)
    if column is not None:
        codes, levels = factorize(column)
        return codes, level_index(levels)
    if bound is not None and bound.correlation is not None and name == bound.group_name:
        return bound.group_codes, level_index(bound.group_levels)
    if isinstance(name, str) and ":" in name:
        first, *others = [_one(rows, part.strip(), bound) for part in name.split(":")]
        for other in others:
            codes, levels = interact(first, other)
            first = np.asarray(codes), level_index(levels)
        return first
    columns = [] if rows.frame is None else rows.frame.columns
    known = [*columns, *(term.group for term in rows.terms)]
    raise ValueError(
        f"by={name!r} is neither a grouping factor of the model nor a column or an index "
        f"level of its data{did_you_mean(name, known)}"
    )


def _given(rows, labels):
    n, own = len(rows.endog), rows.labels
    if isinstance(labels, pd.Series) and own is not None:
        same = len(labels) == n and labels.index.equals(pd.Index(own))
        if not same and labels.index.is_unique and pd.Index(own).isin(labels.index).all():
            labels = labels.loc[own]
    labels = np.squeeze(np.asarray(labels)) if np.ndim(labels) > 1 else labels
    if np.ndim(labels) != 1 or len(labels) != n:
        raise ValueError(
            f"by has labels of shape {np.shape(labels)}, but the model has {n} rows (rows "
            "with missing values are left out); give a Series with the index of the data, "
            "or the name of a column"
        )
    codes, levels = factorize(labels)
    return codes, level_index(levels)
