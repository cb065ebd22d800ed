"""Rows at which curves are predicted: one variable moves, the others stand still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.fitted import Fitted
from mixedext.specification.data.columns import column_of

__all__ = ["data_frame", "is_number", "typical_frame", "typical_text"]


def data_frame(fitted: Fitted, names: Sequence[str]) -> pd.DataFrame:
    """The data of a fit, which have some columns, without names of several columns.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    names : sequence of str
        Columns that are asked for.

    Raises
    ------
    ValueError
        If the model was not made from a formula and a frame, its rows are not in memory,
        or there is no such column, or more than one.
    """
    frame = fitted.need_rows().frame
    if frame is None:
        raise ValueError(
            "the model was made from arrays, which have no variables to draw against; "
            "make it from a formula"
        )
    for name in names:
        if name not in frame.columns:
            known = [c for c in frame.columns if isinstance(c, str)]
            raise ValueError(
                f"{name!r} is not a column of the data{did_you_mean(name, known)}"
            )
        column_of(frame, name)
    return frame.loc[:, ~frame.columns.duplicated(keep=False)]


def is_number(column: pd.Series) -> bool:
    """Whether the values of a column are numbers."""
    is_bool = pd.api.types.is_bool_dtype(column.dtype)
    return pd.api.types.is_numeric_dtype(column.dtype) and not is_bool


def _typical(column: pd.Series) -> Any:
    """Mean of a number, first level of a factor, first value of anything else."""
    values = column.dropna()
    if is_number(values):
        return float(values.mean())
    if isinstance(values.dtype, pd.CategoricalDtype):
        used = values.cat.remove_unused_categories().cat.categories
        return used[0]
    try:
        return sorted(values.unique())[0]
    except TypeError:  # values that have no order
        return values.iloc[0]


def typical_frame(
    fitted: Fitted, values: Mapping[str, Any], factors: Sequence[str] = ()
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows with given values, the other columns at their mean or first level.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    values : Mapping
        Columns and their values, of one length.
    factors : sequence of str, optional
        Columns of numbers that stand for levels, which have no mean.

    Returns
    -------
    frame : DataFrame
    held : dict
        What the other columns of the fixed part stand at.
    """
    data = data_frame(fitted, list(values))
    frame = pd.DataFrame(dict(values))
    held = {}
    for name in data.columns:
        if name in values or data[name].notna().sum() == 0:
            continue
        column = data[name]
        if name in factors:
            column = column.astype("category")
        held[name] = _typical(column)
    others = pd.DataFrame(
        {
            name: pd.Series([value] * len(frame), index=frame.index).astype(
                "float64" if is_number(data[name]) else data[name].dtype
            )
            for name, value in held.items()
        },
        index=frame.index,
    )
    for name in frame.columns:
        if isinstance(data[name].dtype, pd.CategoricalDtype):
            frame[name] = frame[name].astype(data[name].dtype)
    return pd.concat([frame, others], axis=1), held


def typical_text(held: Mapping[str, Any]) -> str:
    """What other variables stand at, in words; empty if there are none."""
    shown = [
        f"{name} = {value:.4g}" if isinstance(value, int | float | np.number) else
        f"{name} = {value}"
        for name, value in held.items()
    ]  # fmt: skip
    return ", ".join(shown)
