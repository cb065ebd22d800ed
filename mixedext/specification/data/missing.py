"""Rows with missing values: one rule for formulas and for arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import MissingDataError
from mixedext.specification.data.extremes import all_finite

__all__ = ["check_missing", "complete_rows", "missing_values"]


def check_missing(missing: str) -> None:
    """Refuse a value of ``missing`` that is not known."""
    if missing not in (None, "none", "raise", "drop"):
        raise ValueError(
            f"missing={missing!r}; use 'none', 'raise' or 'drop' (leave incomplete rows "
            "out, R's na.omit)"
        )


def complete_rows(
    absent: dict[str, np.ndarray], missing: str, note: str = ""
) -> np.ndarray | None:
    """Rows without missing values.

    Parameters
    ----------
    absent : dict
        For the parts of the model that may lack values which of their rows do, (n,) bool.
    missing : {"none", "raise", "drop"}
        Whether such rows are an error or are left out.
    note : str, optional
        Said after the names of the parts.

    Returns
    -------
    ndarray or None
        (n,) bool; None if all rows are complete.

    Raises
    ------
    MissingDataError
        If values are missing and ``missing`` is not "drop".
    ValueError
        If no row is left.
    """
    counts = {what: int(mask.sum()) for what, mask in absent.items() if mask.any()}
    if not counts:
        return None
    if missing != "drop":
        listed = ", ".join(f"{what} ({count})" for what, count in counts.items())
        raise MissingDataError(
            f"missing values in {listed}{note}; pass missing='drop' to leave these rows out"
        )
    rows = ~np.logical_or.reduce([absent[what] for what in counts])
    if not rows.any():
        raise ValueError("every row has a missing value; no data are left")
    return rows


def missing_values(values: Any) -> np.ndarray | None:
    """Which values are missing, (n,) bool; None where none can be."""
    if isinstance(values.dtype, np.dtype):
        array = np.asarray(values)
        if array.dtype.kind in "iub" or (array.dtype.kind == "f" and all_finite(array)):
            return None
    if isinstance(values, pd.Series):
        values = values.array
    return np.asarray(pd.isna(values))
