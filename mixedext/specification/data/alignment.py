"""Rows are matched by position, as in statsmodels; labels in another order get a word."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd

from mixedext.exceptions import AlignmentWarning, user_stacklevel

__all__ = ["warn_if_reordered"]


def warn_if_reordered(values: Any, index: pd.Index | None, what: str) -> None:
    """Warn if a Series or frame has the row labels of the data, in another order.

    Parameters
    ----------
    values : array_like
        What has been given beside the data.
    index : Index or None
        Row labels of the data.
    what : str
        Name of the argument.

    Warns
    -----
    AlignmentWarning
        If the labels are the same but do not stand in the same order.
    """
    if index is None or not isinstance(values, pd.Series | pd.DataFrame):
        return
    own = values.index
    if own is index or len(own) != len(index) or own.equals(index):
        return
    if own.is_unique and own.isin(index).all():
        warnings.warn(
            f"{what} has the row labels of the data in another order; rows are matched by "
            f"position, as in statsmodels. If labels should be matched, pass {what} with "
            f".reindex(data.index).",
            AlignmentWarning,
            stacklevel=user_stacklevel(),
        )
