"""Rows of the data behind estimated means: how many, and the mean of their response."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mixedext.fitted import Fitted
from mixedext.inference.means.context import Context
from mixedext.inference.means.reference_grid import ReferenceGrid

__all__ = ["cell_counts"]


def cell_counts(
    fitted: Fitted,
    reference: ReferenceGrid,
    levels: Mapping[str, pd.Series],
    labels: pd.DataFrame,
    context: Context,
    type: str,
) -> pd.DataFrame:
    """Number of rows with the labels of each mean, and the mean of their response.

    Rows count whose factors stand at levels of the grid; of a covariate among the labels
    those at exactly that value.

    Parameters
    ----------
    fitted : Fitted
        The fit, its rows in memory.
    reference : ReferenceGrid
        Its predictors.
    levels : mapping
        Levels of the grid by name.
    labels : DataFrame
        Of the means, one row each.
    context : Context
        Scale of the means.
    type : {"link", "response"}
        Whether means are transformed back; then those of the response are, too.

    Returns
    -------
    DataFrame
        nobs, and raw_mean, NaN where there is no row, (m,).

    Raises
    ------
    ValueError
        If the rows are not in memory.
    """
    rows = fitted.need_rows()
    frame = rows.frame
    assert frame is not None  # a reference grid has been made of it
    inside = np.ones(len(frame), bool)
    for name in reference.factors:
        inside &= _codes(frame[name], levels[name]) >= 0
    shown = [n for n in labels.columns if n in levels]
    place, stride = np.zeros(len(frame), np.intp), 1
    wanted = np.zeros(len(labels), np.intp)
    for name in shown:
        values = pd.Series(labels[name]).drop_duplicates()
        codes = _codes(frame[name], values)
        inside &= codes >= 0
        place += stride * codes
        wanted += stride * _codes(labels[name], values)
        stride *= len(values)
    count = np.bincount(place[inside], minlength=stride)[wanted]
    total = np.bincount(place[inside], np.asarray(rows.endog)[inside], minlength=stride)
    with np.errstate(invalid="ignore"):
        mean = np.where(count > 0, total[wanted] / count, np.nan)
    if fitted.generalized is not None:  # the response is on the scale of its mean
        if type != "response":
            with np.errstate(divide="ignore"):
                mean = fitted.generalized.family.link.eta(mean)
    elif type == "response" and context.transform is not None:
        mean = context.transform.inverse(mean)
    return pd.DataFrame({"nobs": count, "raw_mean": mean})


def _codes(values: pd.Series, levels: pd.Series) -> np.ndarray:
    """Number of each value among the levels, -1 for one that is none of them."""
    index = pd.Index(np.asarray(levels, object))
    return index.get_indexer(pd.Index(np.asarray(values, object)))
