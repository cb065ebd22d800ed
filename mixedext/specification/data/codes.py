"""From a name, or labels, of what rows belong to, to codes of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.specification.data.columns import column_of
from mixedext.specification.data.labels import factorize
from mixedext.specification.data.tables import as_pandas

__all__ = ["named_column", "row_codes"]


def named_column(frame: pd.DataFrame | None, name: Any) -> pd.Series | None:
    """The column, or level of the index, of that name; None if there is none."""
    if frame is None or name not in {*frame.columns, *frame.index.names}:
        return None
    return column_of(frame, name)


def row_codes(labels: Any, n_rows: int, argument: str) -> np.ndarray:
    """Codes 0..L-1 of labels, one a row.

    Parameters
    ----------
    labels : array_like
        What every row belongs to.
    n_rows : int
        Rows that the model uses.
    argument : str
        Name of the argument that they were given by.

    Raises
    ------
    ValueError
        If there are more or fewer labels than rows, or some are missing.
    """
    codes = np.asarray(factorize(as_pandas(labels))[0])
    if len(codes) != n_rows or (codes < 0).any():
        raise ValueError(
            f"{argument} must have one label, not missing, for each of the {n_rows} rows "
            f"of the model; got {len(codes)}"
        )
    return codes
