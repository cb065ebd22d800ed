"""Means of rows: fitted values, and the population mean of new data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.exceptions import FormulaError
from mixedext.fitted import HasFitted, Model, has_rows, need_rows
from mixedext.specification.data.tables import as_pandas
from mixedext.specification.formula.formula_engine import (
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
        Added to the mean besides the formula's own ``offset(...)`` (for the rows of
        the fit: besides all of the model's own offset).

    Returns
    -------
    Series or ndarray

    Raises
    ------
    ValueError
        If ``exog`` has another number of columns than the model.
    FormulaError
        If a value of the formula in one row depends on the other rows, as ``x.rank()``.

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
            offset = own + np.asarray(offset, float)
        mean = predict_at(model, estimate, None, offset)
        return pd.Series(mean, index=model.data.row_labels)
    by_formula = transform and hasattr(model, "fixed_formula")
    if by_formula and isinstance(exog, pd.Series):
        exog = series_as_frame(exog, model.fixed_formula)
    index = exog.index if isinstance(exog, pd.Series | pd.DataFrame) else None
    if by_formula:
        exog, own = new_rows(model, exog)
        if own is not None:
            offset = own if offset is None else own + np.asarray(offset, float)
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
    """
    beta = getattr(params, "fe_params", params)
    beta = np.nan_to_num(np.asarray(beta, float)[: model.k_fe])
    if exog is None:
        rows = need_rows(model)
        exog, offset = rows.exog, rows.offset if offset is None else offset
    mean = np.asarray(exog, float) @ beta
    return mean if offset is None else mean + np.asarray(offset, float)


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


def new_rows(model: Model, data: Any) -> tuple[Any, np.ndarray | None]:
    """Fixed-effects columns and formula offset for new data."""
    spec = getattr(model.data, SPEC_ATTRIBUTE, None)
    if spec is None:
        raise ValueError(_NO_SPECIFICATION)
    refuse_whole_columns(model)
    return new_fixed_columns(
        spec,
        data,
        model.fixed_formula,
        model.namespace,
        model.aliases,
        model.offset_formulas,
    )
