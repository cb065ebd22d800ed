"""Levels of the rows of a fit, by which plots divide them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.fitted import Fitted
from mixedext.specification.data.columns import column_of
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["RowLevels", "default_factor", "row_index", "row_levels"]


class RowLevels(NamedTuple):
    """The level of every row.

    Attributes
    ----------
    name : str
        What the levels are of.
    codes : ndarray
        Number of the level of each row, (n,); -1 where it has none.
    levels : Index
        Labels.
    values : ndarray or None
        Numbers of a column that is no grouping factor, (n,).
    """

    name: str
    codes: np.ndarray
    levels: pd.Index
    values: np.ndarray | None = None


def row_index(fitted: Fitted) -> pd.Index:
    """Labels of the rows of a fit."""
    rows = fitted.need_rows()
    return pd.RangeIndex(len(rows.endog)) if rows.labels is None else pd.Index(rows.labels)


def row_levels(fitted: Fitted, by: Any, argument: str = "by") -> RowLevels:
    """Levels of a grouping factor, of a column of the data or of values of the rows.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    by : str, list of str or array_like
        A grouping factor or a column of the data; a list for their combinations; or a
        value for each row.
    argument : str, optional
        Name of the argument, for messages.

    Raises
    ------
    ValueError
        If there is no such factor or column, or another number of values than rows.
    """
    if isinstance(by, list) and by and all(isinstance(name, str) for name in by):
        parts = [row_levels(fitted, name, argument) for name in by]
        lost = np.any([part.codes < 0 for part in parts], axis=0)
        labels = [part.levels[part.codes].astype(str) for part in parts]
        joined = pd.Series([":".join(t) for t in zip(*labels, strict=True)], dtype=object)
        return _of(":".join(p.name for p in parts), joined.mask(lost), numbers=False)
    rows, model = fitted.need_rows(), fitted.model
    if not isinstance(by, str):
        values = pd.Series(np.asarray(by)) if np.ndim(by) == 1 else None
        if values is None or len(values) != len(rows.endog):
            raise ValueError(
                f"{argument} has shape {np.shape(by)}; it must be a name, or a value for "
                f"each of the {len(rows.endog)} rows that the model uses"
            )
        return _of(str(getattr(by, "name", None) or argument), values)
    for term in rows.terms:
        if term.group == by and isinstance(term, RandomTerm):
            return RowLevels(by, np.asarray(term.codes), pd.Index(term.levels))
    if model.groups is not None and by == model.group_name:
        return _of(by, pd.Series(np.asarray(model.groups)), numbers=False)
    if rows.frame is not None and by in rows.frame:
        return _of(by, column_of(rows.frame, by))
    columns = [] if rows.frame is None else [str(name) for name in rows.frame]
    known = list(dict.fromkeys([*fitted.random.groups, *columns]))
    raise ValueError(
        f"{argument}={by!r} is not a grouping factor or a column of the data; there are: "
        f"{', '.join(known) or 'none'}{did_you_mean(by, known)}"
    )


def _of(name: str, values: pd.Series, numbers: bool = True) -> RowLevels:
    codes, levels = pd.factorize(values, sort=True)
    own = None
    numeric = pd.api.types.is_numeric_dtype(values.dtype)
    if numbers and numeric and not pd.api.types.is_bool_dtype(values.dtype):
        own = values.to_numpy(dtype=float, na_value=np.nan)
    return RowLevels(name, np.asarray(codes), pd.Index(levels), own)


def default_factor(fitted: Fitted) -> str | None:
    """The grouping factor with the most levels, the innermost of nested ones.

    Returns
    -------
    str or None
        None if the model has none whose rows have one level each.
    """
    terms = [t for t in fitted.random.terms if isinstance(t, RandomTerm)]
    if not terms:
        return None
    return max(terms, key=lambda t: t.n_levels).group
