"""Columns with names that become a DataFrame when somebody looks at them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import FormulaError

__all__ = [
    "ColumnTable",
    "as_floats",
    "as_frame",
    "column_of",
    "index_levels",
    "known_columns",
    "with_columns",
]

# Names of more columns than this are not listed whole in a message.
_LISTED = 30


class ColumnTable:
    """A numeric data frame in the making: pandas takes longer than a small fit for one.

    Parameters
    ----------
    values : ndarray
        (n, k), float64.
    index : Index
        Labels of the rows.
    names : list of str
        Names of the columns.
    """

    def __init__(self, values: np.ndarray, index: pd.Index, names: list[str]):
        self.values, self.index, self.names = values, index, names

    @property
    def columns(self) -> pd.Index:
        """Labels of the columns."""
        return pd.Index(self.names, dtype=None if self.names else object)

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values if dtype in (None, np.float64) else self.values.astype(dtype)

    def frame(self) -> pd.DataFrame:
        """The table as a data frame, on the same memory."""
        return pd.DataFrame(self.values, index=self.index, columns=self.columns, copy=False)


def as_frame(values: Any) -> Any:
    """A table as a data frame; anything else as it is."""
    return values.frame() if isinstance(values, ColumnTable) else values


_NO_NUMBERS = {"M": "it holds dates", "m": "it holds durations", "c": "it is complex"}


def as_floats(values: Any) -> np.ndarray:
    """Values as float64.

    Raises
    ------
    TypeError, ValueError
        If they are no real numbers; dates and durations are none, though NumPy would count
        their units.

    Examples
    --------
    >>> as_floats([1, True])
    array([1., 1.])
    """
    array = np.asarray(values)
    if array.dtype.kind in _NO_NUMBERS:
        raise TypeError(_NO_NUMBERS[array.dtype.kind])
    return np.asarray(array, float)


def index_levels(frame: pd.DataFrame, names: Container[Any]) -> list[str]:
    """Levels of the index among the names that no column has; they serve as columns."""
    levels = [name for name in frame.index.names if name is not None and name in names]
    if not levels:
        return []
    columns = set(map(str, frame.columns))
    return [name for name in levels if name not in columns]


def known_columns(columns: Iterable[Any], levels: Iterable[Any] = ()) -> str:
    """Names of columns, and of levels of the index, as a message lists them.

    Examples
    --------
    >>> known_columns(["y", "x"], [None])
    'y, x'
    >>> known_columns(["y"], ["entity", "time"])
    'y; levels of the index: entity, time'
    """
    names, levels = list(map(str, columns)), [str(n) for n in levels if n is not None]
    text = ", ".join(names[:_LISTED]) or "none"
    if len(names) > _LISTED:
        text += f" and {len(names) - _LISTED} more"
    return f"{text}; levels of the index: {', '.join(levels)}" if levels else text


def with_columns(frame: pd.DataFrame, columns: Mapping[Any, Any]) -> pd.DataFrame:
    """A frame with columns replaced or added, whatever they are called.

    ``DataFrame.assign`` takes names as keywords: one called self is taken already.
    """
    if not columns:
        return frame
    out = frame.copy(deep=False)
    for name, values in columns.items():
        out[name] = values
    return out


def column_of(frame: pd.DataFrame, name: Any) -> pd.Series:
    """A column, or a level of the index, as a Series with the index of the frame.

    Raises
    ------
    FormulaError
        If the frame has several columns of that name.
    """
    if name in frame.columns:
        column = frame[name]
        if isinstance(column, pd.DataFrame):
            raise FormulaError(
                f"data has several columns named {name}; leave all but one of them out, "
                "or rename them"
            )
        return column
    values = frame.index.get_level_values(name)
    return pd.Series(values, index=frame.index, name=name)
