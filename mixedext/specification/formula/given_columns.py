"""Arguments beside the formula that name a column of the data, or hold its values."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.exceptions import FormulaError
from mixedext.specification.covariance.residual_text import is_variance
from mixedext.specification.data.alignment import warn_if_reordered
from mixedext.specification.data.columns import column_of, known_columns
from mixedext.specification.data.tables import as_pandas

__all__ = ["column_name", "column_or_array"]


def column_name(value: Any) -> str | None:
    """The column that an argument names, by itself or in a list of one; None if none."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else None


def column_or_array(value: Any, data: pd.DataFrame, what: str, where: str = "") -> Any:
    """An argument that is a column's name, a one-element list of it, or an array.

    Parameters
    ----------
    value : str or array_like
        What is given.
    data : DataFrame
        The data.
    what : str
        Name of the argument.
    where : str, optional
        What the name stands in, if the argument is more than a name.

    Raises
    ------
    FormulaError
        If there is no column of that name.
    ValueError
        If there is not one value for each row.
    """
    if what == "weights" and is_variance(value, data.columns):
        raise ValueError(
            f"weights= are known precisions, one for each row; a function of the variance "
            f"is estimated by variance={str(value)!r}"
        )
    name = column_name(value)
    if name is not None:
        value = name
        if value in data.columns:
            return column_of(data, value)
        if value in data.index.names:
            return data.index.get_level_values(value)
        given = f"{what}={where}: " if where else f"{what}="
        raise FormulaError(
            f"{given}{value!r} is not a column of the data; there are: "
            f"{known_columns(data.columns, data.index.names)}"
            + (
                _expression(value, data, what)
                or did_you_mean(value, [*data.columns, *data.index.names])
            )
        )
    value = as_pandas(value, data.index)
    if isinstance(value, pd.Series | pd.Index | pd.Categorical):
        array = value
    else:
        array = np.asarray(value)
    if np.shape(array) != (len(data),):
        raise ValueError(
            f"{what} has shape {np.shape(array)}; expected one value for each of the "
            f"{len(data)} rows of the data{_names_meant(value, data, what)}"
        )
    warn_if_reordered(array, data.index, what)
    return array


def _names_meant(value, data, what):
    """What to write for a list of names, or for columns in a frame; may be empty."""
    names = list(value.columns) if isinstance(value, pd.DataFrame) else value
    if not isinstance(names, list | tuple) or not all(n in data.columns for n in names):
        return ""
    if len(names) == 1:
        return f"; name the column: {what}={names[0]!r}"
    bars = " + ".join(f"(1 | {name})" for name in names)
    return f"; in the formula, several factors are written {bars}"


def _expression(text, data, what):
    """What to write for an expression of columns in place of a name; may be empty."""
    names = [str(name) for name in data.columns if str(name).isidentifier()]
    within = rf"(?<![\w.])(?:{'|'.join(map(re.escape, names))})(?![\w(])"
    if text.isidentifier() or not names or not re.search(within, text):
        return ""
    if what == "offset":
        return f"; an expression stands in the formula: offset({text})"
    values = re.sub(within, lambda found: f"data[{found[0]!r}]", text)
    return f"; an expression is given by its values: {what}={values}"
