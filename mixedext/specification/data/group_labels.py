"""Labels of whole groups, such as the treatment of every subject."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.specification.data.codes import named_column
from mixedext.specification.data.tables import as_pandas, is_foreign

__all__ = ["labels_of_groups", "two_labels"]


def labels_of_groups(
    by: Any, data: pd.DataFrame, codes: np.ndarray, groups: pd.Index
) -> pd.Series:
    """One label a group.

    Parameters
    ----------
    by : str, Series, Mapping or array_like
        Name of a column of the data that is constant within groups, labels by group, or
        one label a group in their order.
    data : DataFrame
        The data.
    codes : ndarray
        Group of each row, (n,).
    groups : Index
        Names of the groups.

    Raises
    ------
    ValueError
        If there is not one label for each group.
    """
    if isinstance(by, str):
        column = named_column(data, by)
        if column is None:
            meant = "" if data is None else did_you_mean(by, data.columns)
            raise ValueError(f"by={by!r} is not a column of the data{meant}")
        numbers, _ = pd.factorize(column)
        first = np.empty(len(groups), np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        differs = numbers != numbers[first][codes]
        if differs.any():
            group = groups[codes[differs.argmax()]]
            raise ValueError(f"by={by!r} has several values in the group {group!r}")
        return column.iloc[first].reset_index(drop=True)
    if is_foreign(by):  # without labels: in the order of the groups
        by = as_pandas(by).array
    if isinstance(by, Mapping):
        by = pd.Series(by)
    if isinstance(by, pd.Series):
        absent = groups.difference(by.index)
        if len(absent):
            raise ValueError(f"by has no label for the group {absent[0]!r}")
        again = by.index[by.index.duplicated()].intersection(groups)
        if len(again):
            raise ValueError(f"by has several labels for the group {again[0]!r}")
        return by.loc[groups].reset_index(drop=True)
    if np.shape(by) != (len(groups),):
        raise ValueError(
            f"by has shape {np.shape(by)}; expected one label for each of the "
            f"{len(groups)} groups"
        )
    return pd.Series(by)


def two_labels(kinds: pd.Series, levels: Iterable | None = None) -> tuple:
    """The two labels that groups are compared by, all that there are if None are given.

    Raises
    ------
    ValueError
        If they are not two, or some have no group.
    """
    if isinstance(kinds.dtype, pd.CategoricalDtype):
        found = [c for c in kinds.cat.categories if (kinds == c).any()]
    else:
        found = list(kinds.dropna().unique())
        if len({type(kind) for kind in found}) == 1:  # others have no order
            found.sort()
    levels = found if levels is None else list(levels)
    unknown = [level for level in levels if level not in found]
    if len(levels) != 2 or unknown or levels[0] == levels[1]:
        raise ValueError(
            "levels must name two of the kinds of groups that `by` has: "
            f"{', '.join(map(str, found))}"
            + next(filter(None, (did_you_mean(level, found) for level in unknown)), "")
        )
    return tuple(levels)
