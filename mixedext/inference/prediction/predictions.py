"""Means of rows: fitted values, and predictions of the fit's rows and of new data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.fitted import HasFitted, Model, need_rows
from mixedext.inference.prediction.fixed_rows import numbers, without_inestimable
from mixedext.inference.prediction.new_rows import new_rows, precision_of
from mixedext.inference.prediction.residual_errors import residual_means

__all__ = ["fittedvalues", "predict", "predict_at"]


def fittedvalues(results: HasFitted) -> np.ndarray:
    """Offset, fixed effects and conditional modes of the rows."""
    fitted = results.fitted
    return fitted.need_rows().mean(fitted.fixed.estimate, fitted.fit.effects)


def predict(
    results: HasFitted,
    exog: Any = None,
    transform: bool = True,
    offset: Any = None,
    *,
    conditional: bool | str | Sequence[str] | None = None,
    new_levels: str = "raise",
) -> Any:
    """Means of the rows of the fit, or of new data.

    Parameters
    ----------
    exog : DataFrame or array_like, optional
        New data (or a table of polars, pyarrow and others), passed through the formula;
        the rows of the fit if None.  Without a formula the model's columns: by name where
        a frame has all of their names, else in their order, and the levels of grouping
        factors by theirs.
    transform : bool, optional
        False if ``exog`` already holds the model's columns.
    offset : array_like, optional
        Added to the mean besides the formula's own ``offset(...)``, in place of the
        column that the model's ``offset=`` names (for the rows of the fit: besides all of
        the model's own offset).
    conditional : bool, str or list of str, optional
        Which random effects the means are given: True all (x'b + z'u), False none (the
        population mean x'b), or those of some grouping factors; data need not have the
        others.  None is True for models stated in bars or by ``terms``, so that
        ``predict()`` is ``fittedvalues`` as in lme4, and False for those stated by
        ``groups``, as in statsmodels.  "all" is all random effects and, of models with
        ``residual=``, what the residuals of the rows of the fit say of those of new ones,
        x'b + c'V^-1 (y - X b): forecasts, visits to fill, kriging.  (A factor of that name
        is given as ["all"].)
    new_levels : {"raise", "zero", "missing"}, optional
        Levels that the fit had not are an error; or have random effects of zero, the
        mean of all levels, and so have rows without a level; or give NaN.

    Returns
    -------
    Series or ndarray
        NaN for rows that lack a value, or that the data of the fit do not determine.

    Raises
    ------
    ValueError
        If ``exog`` has another number of columns than the model, or lacks one that the
        formula or ``offset=`` of the model names, or a grouping factor, or has levels that
        the fit had not; if ``conditional="all"``, and the rows of the fit were removed, or
        it has weights and the rows are new (``get_prediction`` takes theirs).
    FormulaError
        If a value of the formula in one row depends on the other rows, as ``x.rank()``.

    Warns
    -----
    NotEstimableWarning
        If the data of the fit do not determine some of the means: categories or cells
        without rows, columns that depend on others.
    OffsetWarning
        If the model's offset was given as values, and none is given for new data.

    See Also
    --------
    get_prediction : the same with standard errors and intervals.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.predict({"Days": [0, 10], "Subject": [308, 308]}).round(1).tolist()
    [253.7, 450.3]
    >>> result.predict({"Days": [0, 10]}, conditional=False).round(1).tolist()
    [251.4, 356.1]

    A forecast of a subject's next days, whose last residual is still felt:

    >>> serial = mx.mixedlm(
    ...     "Reaction ~ Days + (1 | Subject)", data, residual="ar1(Days | Subject)"
    ... ).fit()
    >>> later = {"Days": [10, 11], "Subject": ["308", "308"]}
    >>> serial.predict(later, conditional="all").round(1).tolist()
    [446.3, 436.8]
    >>> serial.predict(later).round(1).tolist()
    [388.8, 399.2]
    """
    fitted = results.fitted
    rows = new_rows(fitted, exog, transform, offset, conditional, new_levels)
    mean = rows.mean(fitted)
    if rows.places is not None:
        mean += residual_means(fitted, rows, precision_of(fitted, rows, None))
    return rows.labelled(mean)


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
        mean = without_inestimable(model, exog, mean)
    return mean if offset is None else mean + numbers(offset)
