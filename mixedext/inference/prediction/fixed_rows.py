"""Fixed-effects columns and offset of rows to predict, and which means are determined."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.engine.rows.estimability import column_relations
from mixedext.exceptions import (
    FormulaError,
    NotEstimableWarning,
    OffsetWarning,
    user_stacklevel,
)
from mixedext.fitted import Model, has_rows, need_rows
from mixedext.specification.data.columns import column_of
from mixedext.specification.data.tables import as_pandas, data_frame
from mixedext.specification.formula.formula_engine import (
    FormulaEngine,
    offset_column,
    used_columns,
)
from mixedext.specification.formula.new_data import (
    NewColumns,
    new_fixed_columns,
    series_as_frame,
)
from mixedext.specification.formula.single_rows import (
    cure_of_whole_column,
    differs_alone,
    expressions_in,
    whole_column_fault,
)

__all__ = [
    "FixedRows",
    "fixed_rows",
    "new_columns",
    "new_response",
    "numbers",
    "refuse_whole_columns",
    "response_fault",
    "without_inestimable",
]

_NO_SPECIFICATION = (
    "the data of this model were removed before it was saved or copied, and "
    "what its formula has learned from them cannot be pickled; predict first, save it "
    "with its data, or pass the model's own columns with transform=False"
)


@dataclass(frozen=True, eq=False)
class FixedRows:
    """Rows to predict, without their random effects.

    Attributes
    ----------
    index : Index or None
        Labels of the rows; None of an array.
    exog : ndarray
        All columns of the fixed effects, (n, k); NaN in rows that lack a value.
    offset : ndarray or None
        Known part of the mean, (n,).
    frame : DataFrame or None
        The new data.
    own : bool
        Whether these are the rows of the fit.
    """

    index: pd.Index | None
    exog: np.ndarray
    offset: np.ndarray | None
    frame: pd.DataFrame | None
    own: bool = False


def fixed_rows(
    model: Model, exog: Any = None, transform: bool = True, offset: Any = None
) -> FixedRows:
    """Columns and offset of rows to predict.

    Parameters
    ----------
    model : Model
        The model.
    exog : DataFrame or array_like, optional
        New data, passed through the formula; the rows of the fit if None.
    transform : bool, optional
        False if ``exog`` already holds the model's columns.
    offset : array_like, optional
        As for ``predict``.

    Raises
    ------
    ValueError
        If ``exog`` has another number of columns than the model, or lacks one that the
        formula or ``offset=`` of the model names.

    Warns
    -----
    NotEstimableWarning
        If new data have categories without rows in the fit.
    OffsetWarning
        If the model's offset was given as values, and none is given for new data.
    """
    exog = as_pandas(exog)
    if exog is None:
        rows = need_rows(model)
        own = rows.offset
        if offset is not None:
            own = numbers(offset) if own is None else own + numbers(offset)
        return FixedRows(model.data.row_labels, rows.exog, own, None, True)
    by_formula = transform and hasattr(model, "fixed_formula")
    if by_formula and isinstance(exog, pd.Series):
        exog = series_as_frame(exog, model.fixed_formula)
    index = exog.index if isinstance(exog, pd.Series | pd.DataFrame) else None
    if offset is None and model.offset_by_rows:
        warnings.warn(
            "the model's offset was given as values, which new data have not: the means "
            "are without it; give theirs by offset=",
            OffsetWarning,
            stacklevel=user_stacklevel(),
        )
    frame = exog if isinstance(exog, pd.DataFrame) else None
    if by_formula:
        frame = data_frame(exog)
        found = new_columns(model, frame, with_column=offset is None)
        exog = found.exog
        if found.offset is not None:
            offset = found.offset if offset is None else found.offset + numbers(offset)
        if found.emptied:
            _warn_emptied(found.emptied)
    else:
        if isinstance(exog, pd.DataFrame):
            exog = _own_columns(model, exog)
        exog = np.asarray(exog, float)
        exog = exog[:, None] if exog.ndim == 1 and model.k_fe == 1 else exog
        exog = np.atleast_2d(exog)
        if exog.shape[1] != model.k_fe:
            raise ValueError(
                f"exog has {exog.shape[1]} columns; the model has {model.k_fe}"
            )
    return FixedRows(index, exog, None if offset is None else numbers(offset), frame)


def numbers(offset: Any) -> np.ndarray:
    """An offset as numbers; ValueError if it is none."""
    try:
        return np.asarray(offset, float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"offset is not numeric: {error}") from None


def new_response(model: Model, frame: pd.DataFrame) -> np.ndarray:
    """The response of new data, (n,).

    Raises
    ------
    FormulaError
        If the data lack a column of it, or it is no number; names it.
    """
    text = str(model.endog_names)
    if hasattr(model, "fixed_formula"):
        text = model.fixed_formula.split("~", 1)[0].strip()
    if text in frame.columns or text in frame.index.names:
        column = column_of(frame, text)
        try:
            return np.asarray(column, float)
        except (TypeError, ValueError) as error:
            raise FormulaError(f"the response {text!r} is not numeric: {error}") from None
    if not hasattr(model, "fixed_formula"):
        raise FormulaError(f"the new data have no column {text!r}, the response")
    fault = response_fault(model)
    if fault:
        raise FormulaError(fault)
    try:
        return _response_column(model, text, frame)
    except FormulaError as error:
        raise FormulaError(f"the response {text!r} of the new data: {error}") from error


def _response_column(model, text, frame):
    used = used_columns(frame, [text])
    engine = FormulaEngine(used, model.namespace, frame.columns, model.aliases)
    return offset_column(engine, text)


def response_fault(model: Model) -> str:
    """Why new data have no response, as ``scale(y)``, "" if they have; looked at once."""
    known = vars(model)
    frame = getattr(model.data, "frame", None)
    if "response_fault" not in known and frame is not None:
        text, fault = model.fixed_formula.split("~", 1)[0].strip(), ""
        if text not in frame.columns and differs_alone(
            lambda rows: _response_column(model, text, rows), frame
        ):
            fault = cure_of_whole_column(text, kept="I(y - y.mean())")
        known["response_fault"] = fault
    return known.get("response_fault", "")


def without_inestimable(model: Model, exog: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Means with NaN where the columns lie outside the row space of X, and a warning."""
    basis = model._design.basis
    if not basis.dependence.shape[1]:
        return mean
    relations = column_relations(basis, model.nobs)
    rows = np.atleast_2d(exog)
    lost = np.isfinite(rows).all(axis=1) & ~relations.estimable(rows)
    if not lost.any():
        return mean
    names = [str(model.exog_names[j]) for j in relations.unknown(rows[lost])]
    warnings.warn(
        f"{lost.sum()} of {len(lost)} rows are NaN: the data of the fit do not determine "
        "their means (cells without rows, or columns that depend on others: "
        f"{', '.join(names)})",
        NotEstimableWarning,
        stacklevel=user_stacklevel(),
    )
    return np.where(lost.reshape(np.shape(mean)), np.nan, mean)


def _warn_emptied(emptied: dict[str, list]) -> None:
    """Say which categories of new data had no rows in the fit."""
    parts = [f"{name} = {', '.join(map(repr, v))}" for name, v in emptied.items()]
    warnings.warn(
        f"means are NaN where {' or '.join(parts)}: the fit had no row with that",
        NotEstimableWarning,
        stacklevel=user_stacklevel(),
    )


def _own_columns(model: Model, exog: pd.DataFrame) -> pd.DataFrame:
    """Columns of new data by name, if they have all names of the model's columns."""
    names = model.exog_names
    if exog.columns.is_unique and set(names) <= set(exog.columns):
        return exog[names]
    return exog


def refuse_whole_columns(model: Model, *, refuse: bool = True) -> None:
    """Refuse new data for a formula whose columns in a row depend on the other rows.

    Looked at once; ``refuse`` is False for a look before the data are removed.

    Raises
    ------
    FormulaError
        Names the term.
    """
    known = vars(model)
    if "whole_column_fault" not in known:
        frame = getattr(model.data, "frame", None)
        offsets = [term.text for term in model.offset_terms]
        if frame is None or not has_rows(model):
            return
        fault = ""
        if expressions_in(model.fixed_formula, model.namespace, offsets):
            fault = whole_column_fault(
                getattr(model.data, SPEC_ATTRIBUTE),
                frame,
                np.asarray(need_rows(model).exog),
                model.exog_names,
                model.fixed_formula,
                model.namespace,
                model.aliases,
                model.offset_terms,
            )
        known["whole_column_fault"] = fault
    if refuse and known["whole_column_fault"]:
        raise FormulaError(known["whole_column_fault"])


def new_columns(model: Model, data: Any, with_column: bool = True) -> NewColumns:
    """Fixed-effects columns and own offset for new data.

    Parameters
    ----------
    model : Model
        Made from a formula.
    data : DataFrame
        New data, or what a frame can be made of.
    with_column : bool, optional
        Whether the column that the model's ``offset=`` names is part of the offset.
    """
    spec = getattr(model.data, SPEC_ATTRIBUTE, None)
    if spec is None:
        raise ValueError(_NO_SPECIFICATION)
    refuse_whole_columns(model)
    data = data_frame(data)
    found = new_fixed_columns(
        spec,
        data,
        model.fixed_formula,
        model.namespace,
        model.aliases,
        model.offset_terms,
        model.emptied,
    )
    if found.exog.shape[1] < model.k_fe:  # not one row could be evaluated
        found = found._replace(exog=np.full((len(found.exog), model.k_fe), np.nan))
    name = model.offset_name
    if name is None or not with_column:
        return found
    if name not in data.columns and name not in data.index.names:
        raise FormulaError(
            f"the new data have no column {name!r}, which the model's offset= names; add "
            "it, or give offset="
        )
    column = numbers(column_of(data, name))
    own = column if found.offset is None else column + found.offset
    return found._replace(offset=own)
