"""Rows with missing values: one rule for formulas and for arrays."""

from __future__ import annotations

import numpy as np

from mixedext.exceptions import MissingDataError

__all__ = ["check_missing", "complete_rows"]


def check_missing(missing: str) -> None:
    """Refuse a value of ``missing`` that is not known."""
    if missing not in ("none", "raise", "drop"):
        raise ValueError(f"missing={missing!r}; use 'none', 'raise' or 'drop'")


def complete_rows(
    absent: dict[str, np.ndarray], missing: str, note: str = ""
) -> np.ndarray:
    """Rows without missing values.

    Parameters
    ----------
    absent : dict
        For each part of the model which of its rows are missing, (n,) bool.
    missing : {"none", "raise", "drop"}
        Whether such rows are an error or are left out.
    note : str, optional
        Said after the names of the parts.

    Returns
    -------
    ndarray
        (n,) bool.

    Raises
    ------
    MissingDataError
        If values are missing and ``missing`` is not "drop".
    ValueError
        If no row is left.
    """
    counts = {what: int(mask.sum()) for what, mask in absent.items() if mask.any()}
    rows = ~np.logical_or.reduce(list(absent.values()))
    if counts and missing != "drop":
        listed = ", ".join(f"{what} ({count})" for what, count in counts.items())
        raise MissingDataError(
            f"missing values in {listed}{note}; pass missing='drop' to leave these rows out"
        )
    if not rows.any():
        raise ValueError("every row has a missing value; no data are left")
    return rows
