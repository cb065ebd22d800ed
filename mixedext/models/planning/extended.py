"""Data with more or fewer levels of a factor, or rows in each cell, as simr's extend."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_count, did_you_mean
from mixedext.specification.data.columns import with_columns
from mixedext.specification.data.labels import factorize

__all__ = ["extend_along", "extend_within"]


def extend_along(
    data: pd.DataFrame, name: str, count: int, factors: Sequence[str] = ()
) -> pd.DataFrame:
    """Data with a number of levels of a factor.

    The first levels are kept.  Those beyond the levels that there are copy these in turn,
    with all their rows, under new labels; so do the levels of other grouping factors that
    are nested in it.

    Parameters
    ----------
    data : DataFrame
        The rows.
    name : str
        Column of the factor.
    count : int
        Number of its levels.
    factors : sequence of str, optional
        Columns of the grouping factors.

    Returns
    -------
    DataFrame
        With row labels of its own.

    Raises
    ------
    ValueError
        If there is no such column, or it has missing values.
    """
    codes, levels = _codes(data, name, "along")
    check_count(count, f"along[{name!r}]")
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(levels) + 1))
    source = np.arange(count) % len(levels)
    rows = [order[starts[level] : starts[level + 1]] for level in source]
    turn = np.repeat(np.arange(count) // len(levels), [len(own) for own in rows])
    at = np.concatenate(rows)
    out = data.iloc[at].reset_index(drop=True)
    nested = [f for f in factors if f != name and _is_nested(data, f, codes)]
    changed = {c: _relabelled(data[c], at, turn) for c in [name, *nested]}
    return with_columns(out, changed)


def extend_within(data: pd.DataFrame, name: str, count: int) -> pd.DataFrame:
    """Data with a number of rows in every level, or in every cell of several columns.

    The first rows are kept, and used again in turn where there are too few.

    Parameters
    ----------
    data : DataFrame
        The rows.
    name : str
        Column, or columns joined by colons.
    count : int
        Rows in each cell.

    Returns
    -------
    DataFrame
        With row labels of its own.

    Raises
    ------
    ValueError
        If there is no such column, or it has missing values.
    """
    check_count(count, f"within[{name!r}]")
    names = [name] if name in data.columns else [n.strip() for n in name.split(":")]
    columns = [_codes(data, n, "within")[0] for n in names]
    cells = np.unique(np.column_stack(columns), axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(cells, kind="stable")
    starts = np.searchsorted(cells[order], np.arange(cells.max() + 2))
    at = [
        order[first + np.arange(count) % (last - first)] for first, last in pairwise(starts)
    ]
    return data.iloc[np.concatenate(at)].reset_index(drop=True)


def _codes(data, name, what):
    if name not in data.columns:
        raise ValueError(
            f"{what}: {name!r} is not a column of the data"
            f"{did_you_mean(name, data.columns)}"
        )
    codes, levels = factorize(data[name])
    if (codes < 0).any():
        raise ValueError(f"{what}: the column {name!r} has missing values")
    return codes, levels


def _is_nested(data, factor, codes):
    """Whether every level of a factor occurs in one level of another alone."""
    own = factorize(data[factor])[0]
    return len(np.unique(np.column_stack([own, codes]), axis=0)) == own.max() + 1


def _relabelled(column: pd.Series, at: np.ndarray, turn: np.ndarray) -> Any:
    """A column of the rows chosen, its levels new ones in each turn but the first."""
    codes, levels = factorize(column)
    levels = pd.Index(levels)
    turns, count = int(turn.max()) + 1, len(levels)
    if turns == 1:
        return column.iloc[at].array
    if pd.api.types.is_integer_dtype(levels.dtype):
        step = int(levels.max()) - int(levels.min()) + 1
        labels: Any = np.concatenate([levels.to_numpy() + step * t for t in range(turns)])
        return labels[turn * count + codes[at]]
    taken, names = {str(v) for v in levels}, [list(levels)]
    for t in range(1, turns):
        mark = f".{t + 1}"
        while any(f"{v}{mark}" in taken for v in levels):
            mark = f".{mark}"
        names.append([f"{v}{mark}" for v in levels])
        taken |= set(names[-1])
    labels = np.array([v for own in names for v in own], object)
    return pd.Categorical.from_codes(turn * count + codes[at], categories=labels)
