"""Contagious bovine pleuropneumonia in 15 herds (R's lme4, data cbpp)."""

from __future__ import annotations

import pandas as pd

__all__ = ["cbpp"]

# fmt: off
HERD = [
    1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8,
    9, 9, 9, 9, 10, 10, 10, 10, 11, 11, 11, 11, 12, 12, 12, 12, 13, 13, 13, 13, 14, 14,
    14, 14, 15, 15, 15, 15,
]
PERIOD = [
    1, 2, 3, 4, 1, 2, 3, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1,
    1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4,
]
INCIDENCE = [
    2, 3, 4, 0, 3, 1, 1, 8, 2, 0, 2, 2, 0, 2, 0, 5, 0, 0, 1, 3, 0, 0, 1, 8, 1, 3, 0, 12,
    2, 0, 0, 0, 1, 1, 0, 2, 0, 5, 3, 1, 2, 1, 0, 0, 1, 2, 0, 0, 11, 0, 0, 0, 1, 1, 1, 0,
]
SIZE = [
    14, 12, 9, 5, 22, 18, 21, 22, 16, 16, 20, 10, 10, 9, 6, 18, 25, 24, 4, 17, 17, 18,
    20, 16, 10, 9, 5, 34, 9, 6, 8, 6, 22, 22, 18, 22, 25, 27, 22, 22, 10, 8, 6, 5, 21,
    24, 19, 23, 19, 2, 3, 2, 19, 15, 15, 15,
]
# fmt: on


def cbpp() -> pd.DataFrame:
    """The rows: herd and period as categories, incidence of size."""
    return pd.DataFrame(
        {
            "herd": pd.Categorical(HERD),
            "period": pd.Categorical(PERIOD),
            "incidence": INCIDENCE,
            "size": SIZE,
        }
    )
