"""From what users give to the rows of a generalized model: response, X, terms, offset.

The formula engine and the arrays' reader know linear models' responses.  They are given
the numbers of the rows in place of a response, NaN where something beside X and Z lacks a
value: so they settle the rows, and what they leave says which were kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import FormulaError
from mixedext.specification.data.alignment import warn_if_reordered
from mixedext.specification.data.missing import (
    check_missing,
    complete_rows,
    missing_values,
)
from mixedext.specification.data.tables import as_pandas, data_frame
from mixedext.specification.families.family import Family
from mixedext.specification.families.left_side import left_side_values, split_sides
from mixedext.specification.families.response import RowResponse, read_response
from mixedext.specification.formula.arrays import ArrayFrame, array_frame
from mixedext.specification.formula.bars import names_in
from mixedext.specification.formula.given_columns import column_or_array
from mixedext.specification.formula.model_frame import (
    ModelFrame,
    model_frame,
    subset_rows,
)

__all__ = ["GivenRows", "read_arrays", "read_frame"]

# What stands for the response in formulas; underscores are added until it is free.
STAND_IN = "response_row"


@dataclass(frozen=True, eq=False)
class GivenRows:
    """What a model is made of, rows settled.

    Attributes
    ----------
    frame : ModelFrame or ArrayFrame
        X, random terms and what else formulas or arrays say.
    endog : Series or ndarray
        The response on the scale of its mean.
    response : RowResponse
        The response as the likelihood has it.
    offset : ndarray or None
        All of the known part of the linear predictor.
    exposure : ndarray or None
        As given.
    """

    frame: Any
    endog: Any
    response: RowResponse
    offset: np.ndarray | None
    exposure: np.ndarray | None


def read_frame(
    formula: str,
    data: Any,
    namespace: Mapping[str, Any],
    family: Family,
    *,
    weights: Any = None,
    freq_weights: Any = None,
    exposure: Any = None,
    subset: Any = None,
    missing: str = "none",
    **given: Any,
) -> GivenRows:
    """Rows of a formula and a data frame; ``given`` are arguments of ``model_frame``."""
    check_missing(missing)
    left, right = split_sides(formula)
    frame = data_frame(data)
    if subset is not None:
        frame = subset_rows(frame, subset)
    if len(frame) == 0:
        where = "" if subset is None else " that subset= names"
        raise ValueError(f"data has no rows{where}")
    values = left_side_values(left, frame, namespace)
    beside = {"weights": weights, "freq_weights": freq_weights, "exposure": exposure}
    arrays = {
        what: column_or_array(value, frame, what)
        for what, value in beside.items()
        if value is not None
    }
    response, exposed, absent = _read(family, values, arrays, f"the response {left!r}")
    stand_in = STAND_IN
    names = {*map(str, frame.columns), *names_in(right)}
    while stand_in in names:
        stand_in += "_"
    numbers = _stand_in(absent, missing, len(frame))
    frame = frame.assign(**{stand_in: numbers})
    try:
        found: ModelFrame = model_frame(
            f"{stand_in} ~ {right}",
            frame,
            namespace,
            missing=missing,
            response=left,
            **given,
        )
    except FormulaError as error:
        said = str(error).replace(f"{stand_in} ~", f"{left} ~")
        raise FormulaError(said.replace(f", {stand_in}", "")) from error
    rows = np.asarray(found.endog, float).astype(np.intp)
    response, exposed, shift = _settled(response, exposed, found.offset, rows, len(frame))
    endog = pd.Series(response.observed, index=found.endog.index, name=left)
    return GivenRows(found, endog, response, shift, exposed)


def read_arrays(
    endog: Any,
    exog: Any,
    family: Family,
    *,
    weights: Any = None,
    freq_weights: Any = None,
    exposure: Any = None,
    missing: str = "none",
    **given: Any,
) -> GivenRows:
    """Rows of arrays; ``given`` are arguments of ``array_frame``."""
    check_missing(missing)
    if isinstance(endog, str) and "~" in endog:
        raise ValueError(
            f"endog={endog!r} is a formula; write glmm(formula, data, family=...), or "
            "MixedGLM.from_formula"
        )
    endog = as_pandas(endog)
    index = endog.index if isinstance(endog, pd.Series | pd.DataFrame) else None
    beside = {"weights": weights, "freq_weights": freq_weights, "exposure": exposure}
    arrays = {}
    for what, value in beside.items():
        if value is not None:
            arrays[what] = as_pandas(value, index)
            warn_if_reordered(arrays[what], index, what)
    if not np.size(endog):
        raise ValueError("endog is empty")
    response, exposed, absent = _read(family, endog, arrays, "endog")
    count = len(response.y)
    numbers: Any = _stand_in(absent, missing, count)
    name = _name(endog)
    if index is not None:
        numbers = pd.Series(numbers, index=index, name=name)
    found: ArrayFrame = array_frame(numbers, exog, missing=missing, **given)
    rows = np.asarray(found.endog, float).astype(np.intp)
    response, exposed, shift = _settled(response, exposed, found.offset, rows, count)
    values: Any = response.observed
    if isinstance(found.endog, pd.Series):
        values = pd.Series(values, index=found.endog.index, name=name)
    return GivenRows(found, values, response, shift, exposed)


def _name(endog):
    if isinstance(endog, pd.DataFrame):
        return " + ".join(map(str, endog.columns))
    return getattr(endog, "name", None)


def _read(family, values, arrays, name):
    """Response, exposure, and which rows lack a value of something."""
    response = read_response(
        family, values, arrays.get("weights"), arrays.get("freq_weights"), name
    )
    exposed = _read_exposure(arrays.get("exposure"), family, len(response.y))
    absent = {}
    nothing = np.zeros(len(response.y), bool)
    if response.trials is not None:  # a row without trials says nothing; 0 / 0 is none
        nothing = response.trials == 0
        if nothing.any():
            response = response.with_y(np.where(nothing, 0.0, response.y))
    lacking = np.isnan(response.y)
    named = {"weights", "freq_weights"} & set(arrays)
    for what in named:
        mask = missing_values(pd.Series(np.asarray(arrays[what])))
        if mask is not None and mask.any():
            absent[what] = mask
            lacking = lacking & ~mask  # a proportion times no weight is no number, too
    own = missing_values(_one_column(values))
    lacking |= False if own is None else own & ~nothing
    if lacking.any():
        absent[name] = lacking
    if exposed is not None and np.isnan(exposed).any():
        absent["exposure"] = np.isnan(exposed)
    return response, exposed, absent


def _one_column(values):
    """Values (n,), missing where any of a row is."""
    if isinstance(values, pd.DataFrame):
        return values.isna().any(axis=1).map({True: np.nan, False: 0.0})
    if isinstance(values, pd.Series):
        return values
    array = np.asarray(values)
    if array.ndim == 2:
        return pd.Series(np.where(pd.isna(array).any(axis=1), np.nan, 0.0))
    return pd.Series(array)


def _read_exposure(exposure, family, count):
    if exposure is None:
        return None
    if family.link.name != "log":
        raise ValueError(
            "exposure is for the log link, where log(exposure) is added to the linear "
            f"predictor; the link is {family.link.name}. Write offset= for another"
        )
    try:
        values = np.asarray(exposure, float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"exposure is not numeric: {error}") from None
    if values.shape != (count,):
        raise ValueError(f"exposure has shape {values.shape}; expected ({count},)")
    bad = np.flatnonzero(~(values > 0) & ~np.isnan(values) | np.isinf(values))
    if len(bad):
        raise ValueError(
            f"exposure must be positive and finite; row {bad[0]} has {values[bad[0]]:g}. "
            "A row without exposure says nothing: leave it out"
        )
    return values


def _stand_in(absent, missing, count):
    """Numbers of the rows, NaN where they lack a value."""
    numbers = np.arange(count, dtype=float)
    rows = complete_rows(absent, missing)
    if rows is not None:
        numbers[~rows] = np.nan
    return numbers


def _settled(response, exposed, offset, rows, count):
    """Response, exposure and offset on the rows kept."""
    if len(rows) != count:
        response = response.take(rows)
        exposed = None if exposed is None else exposed[rows]
    shift = offset
    if exposed is not None:
        shift = np.log(exposed) if shift is None else shift + np.log(exposed)
    return response, exposed, shift
