"""What the data sets have in common: one reader and one notice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

import pandas as pd
from statsmodels.datasets.utils import Dataset, process_pandas

__all__ = ["PUBLISHED", "Dataset", "load_csv"]

PUBLISHED = "These are published data; facts are in the public domain."


def load_csv(package: str, endog: str, factors: Mapping[str, Sequence[str]]) -> Dataset:
    """Read the CSV file of a data set, which is named like its package.

    Parameters
    ----------
    package : str
        Full name of the data set's package, its ``__name__``.
    endog : str
        Column of the response; all others are ``exog``.
    factors : Mapping[str, Sequence[str]]
        Levels, in order, of the columns that are categorical; all others are float64.

    Returns
    -------
    Dataset
        As made by statsmodels, all columns of the file in ``data``.
    """
    path = files(package) / f"{package.rpartition('.')[2]}.csv"
    with path.open(encoding="utf-8") as file:
        text = pd.read_csv(file, dtype=str)
    dtypes = {
        column: pd.CategoricalDtype(factors[column]) if column in factors else "float64"
        for column in text.columns
    }
    data = text.astype(dtypes)
    return process_pandas(data, endog_idx=data.columns.get_loc(endog))
