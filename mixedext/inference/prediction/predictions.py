"""Means of rows: fitted values, and the population mean of new data."""

from __future__ import annotations

import warnings
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
from mixedext.fitted import HasFitted, Model, has_rows, need_rows
from mixedext.specification.data.columns import column_of
from mixedext.specification.data.tables import as_pandas, data_frame
from mixedext.specification.formula.new_data import (
    NewRows,
    new_fixed_columns,
    series_as_frame,
)
from mixedext.specification.formula.single_rows import expressions_in, whole_column_fault

__all__ = ["fittedvalues", "new_rows", "predict", "predict_at", "refuse_whole_columns"]

_NO_SPECIFICATION = (
    "the data of this model were removed before it was saved or copied, and "
    "with them what its formula has learned from them; predict first, save it "
    "with its data, or pass the model's own columns with transform=False"
)


def fittedvalues(results: HasFitted) -> np.ndarray:
    """Offset, fixed effects and conditional modes of the rows."""
    fitted = results.fitted
    return fitted.need_rows().mean(fitted.fixed.estimate, fitted.fit.effects)


def predict(
    results: HasFitted,
    exog: Any = None,
    transform: bool = True,
    offset: Any = None,
) -> Any:
    """Population mean (random effects at zero).

    Parameters
    ----------
    exog : DataFrame or array_like, optional
        New data (or a table of polars, pyarrow and others), passed through the formula;
        the rows of the fit if None.  Without a formula the model's columns: by name where
        a frame has all of their names, else in their order.
    transform : bool, optional
        False if ``exog`` already holds the model's columns.
    offset : array_like, optional
        Added to the mean besides the formula's own ``offset(...)``, in place of the
        column that the model's ``offset=`` names (for the rows of the fit: besides all of
        the model's own offset).

    Returns
    -------
    Series or ndarray
        NaN for rows that lack a value, or that the data of the fit do not determine.

    Raises
    ------
    ValueError
        If ``exog`` has another number of columns than the model, or lacks one that the
        formula or ``offset=`` of the model names.
    FormulaError
        If a value of the formula in one row depends on the other rows, as ``x.rank()``.

    Warns
    -----
    NotEstimableWarning
        If the data of the fit do not determine some of the means: categories or cells
        without rows, columns that depend on others.
    OffsetWarning
        If the model's offset was given as values, and none is given for new data.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.predict({"Days": [0, 10]}).round(1).tolist()
    [251.4, 356.1]
    """
    fitted = results.fitted
    model, estimate = fitted.model, fitted.fixed.estimate
    exog = as_pandas(exog)
    if exog is None:
        own = model.offset
        if own is not None and offset is not None:
            offset = own + _floats(offset)
        mean = predict_at(model, estimate, None, offset)
        return pd.Series(mean, index=model.data.row_labels)
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
    if by_formula:
        found = new_rows(model, exog, with_column=offset is None)
        exog = found.exog
        if found.offset is not None:
            offset = found.offset if offset is None else found.offset + _floats(offset)
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
    mean = predict_at(model, estimate, exog, offset)
    return mean if index is None else pd.Series(mean, index=index)


def predict_at(
    model: Model, params: Any, exog: Any = None, offset: Any = None
) -> np.ndarray:
    """Population mean for rows of fixed-effects columns.

    Parameters
    ----------
    params : array_like or MixedLMParams
        Fixed effects, possibly followed by variance parameters.
    exog : array_like, optional
        Columns as in the model; the model's own rows if None.
    offset : array_like, optional
        Added to the mean; the model's own for its own rows.

    Returns
    -------
    ndarray
        NaN for rows of ``exog`` that those of the model do not determine.

    Warns
    -----
    NotEstimableWarning
        If there are such rows.
    """
    if isinstance(params, pd.DataFrame | dict | str):
        raise TypeError(
            f"params is a {type(params).__name__}: a model's predict takes parameters and "
            "columns; for new data write model.fit().predict(data)"
        )
    beta = getattr(params, "fe_params", params)
    beta = np.nan_to_num(np.asarray(beta, float)[: model.k_fe])
    own = exog is None
    if own:
        rows = need_rows(model)
        exog, offset = rows.exog, rows.offset if offset is None else offset
    exog = np.asarray(exog, float)
    mean = exog @ beta
    if not own:
        mean = _without_inestimable(model, exog, mean)
    return mean if offset is None else mean + _floats(offset)


def _floats(offset: Any) -> np.ndarray:
    """An offset as numbers; ValueError if it is none."""
    try:
        return np.asarray(offset, float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"offset is not numeric: {error}") from None


def _without_inestimable(model: Model, exog: np.ndarray, mean: np.ndarray) -> np.ndarray:
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
        about = model.fixed_formula, model.namespace, model.offset_formulas
        if frame is None or not has_rows(model):
            return
        fault = ""
        if expressions_in(*about):
            fault = whole_column_fault(
                getattr(model.data, SPEC_ATTRIBUTE),
                frame,
                np.asarray(need_rows(model).exog),
                model.exog_names,
                model.fixed_formula,
                model.namespace,
                model.aliases,
                model.offset_formulas,
            )
        known["whole_column_fault"] = fault
    if refuse and known["whole_column_fault"]:
        raise FormulaError(known["whole_column_fault"])


def new_rows(model: Model, data: Any, with_column: bool = True) -> NewRows:
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
        model.offset_formulas,
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
    column = _floats(column_of(data, name))
    own = column if found.offset is None else column + found.offset
    return found._replace(offset=own)
