"""The part of the model that fits other responses: ``refit`` and ``fit_many``."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_reml
from mixedext.engine.refits.refit import Responses
from mixedext.exceptions import DesignError, ResponseWarning, user_stacklevel
from mixedext.fitted import Model, need_rows
from mixedext.inference.bootstrap.parallel import runner
from mixedext.inference.bootstrap.simulated_refits import (
    Refits,
    failed_row,
    fit_each,
    goes_by_fitted,
    labelled,
    responses_of,
    sound_fits,
)
from mixedext.limits import SUSPICIOUS_VARIANCE
from mixedext.models.mixedlm.statsmodels_face.groups_view import forget_groups
from mixedext.specification.data.alignment import warn_if_reordered
from mixedext.specification.data.columns import as_floats
from mixedext.specification.data.tables import as_pandas
from mixedext.specification.data.value_range import check_value_range, largest_sizes
from mixedext.specification.formula.arrays import column_sizes

__all__ = ["fit_many", "refit", "with_response"]

# Sizes of responses that are not asked for their ranges: the model's own was.
ORDINARY_SIZES = 1e-10, 1e10


def refit(model: Model, endog: Any, reml: bool = True, **fit_kwargs: Any) -> Any:
    """Fit the same model to another response.

    Parameters
    ----------
    endog : array_like
        Response, shape (nobs,) or one column: a value for each row that the model uses.
        Values are taken in their order; a Series with more rows than the model, such
        as a column of the data of which rows were left out, by its labels.
    reml : bool, optional
        REML (True) or ML.
    **fit_kwargs
        Other arguments of ``fit``.

    Returns
    -------
    MixedLMResultsWrapper
        The same as a new model with this response would give.

    Raises
    ------
    DesignError
        If the response is constant or explained exactly by X; a ValueError.
    ValueError
        If it has another shape, or missing values, or the rows are not in memory.

    Warns
    -----
    AlignmentWarning
        If a Series has the row labels of the data in another order.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
    >>> result = model.refit(data["Yield"] + 100)
    >>> round(float(result.fe_params.iloc[0]), 4)
    1627.5
    """
    return with_response(model, endog).fit(reml=reml, **fit_kwargs)


def with_response(model: Model, endog: Any) -> Model:
    """The model with another response, of ``refit``."""
    y = _new_responses(model, endog)
    if y.shape[1] != 1:
        raise ValueError(f"endog has {y.shape[1]} columns; fit_many fits many responses")
    return _with_response(model, y[:, 0].copy())


def fit_many(
    model: Model, endog: Any, reml: bool = True, n_jobs: int | None = None
) -> Refits:
    """Fit the same model to many responses.

    Parameters
    ----------
    endog : array_like
        Responses, shape (nobs, R): a column each, a value for each row that the model
        uses.  Of a frame with more rows than the model, rows are taken by their labels.
    reml : bool, optional
        REML (True) or ML.
    n_jobs : int, optional
        Jobs of joblib, threads unless its configuration names a backend; by default what
        ``joblib.parallel_config`` says, or else one.  The numbers do not depend on it.

    Returns
    -------
    Refits
        Estimates and verdicts, one row a response; ``to_frame()`` for a DataFrame.

    Raises
    ------
    ValueError
        If ``endog`` has another shape, or missing values in every column, or the rows are
        not in memory.
    ImportError
        If joblib is needed and not installed.

    Warns
    -----
    ResponseWarning
        If responses are constant, explained exactly, or have missing or infinite values:
        their rows are NaN, and not converged.
    AlignmentWarning
        If a frame has the row labels of the data in another order.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
    >>> many = model.fit_many(data[["Yield", "Yield"]])
    >>> many.llf.round(4).tolist(), many.n_failed
    ([-159.8271, -159.8271], 0)
    """
    check_reml(reml)
    run = runner(n_jobs, False, True)
    endog = as_pandas(endog, model.data.row_labels)
    y = _less_offset(model, _new_responses(model, endog, some_missing=True))
    lacking = ~np.isfinite(y).all(axis=0)
    sound = np.flatnonzero(~lacking)
    y = y[:, sound] if lacking.any() else y
    if model.residual is not None and model.residual.fallbacks:
        # which of the structures is taken may differ from response to response
        raise NotImplementedError(
            "fit_many fits one model, and residual= lists several structures: give one, or "
            "use refit for each response"
        )
    if goes_by_fitted(model):
        found, exact = fit_each(model, y, bool(reml), {}), np.zeros(y.shape[1], bool)
    else:
        found, exact = sound_fits(responses_of(model), y, bool(reml), run)
    n_residual = 0 if model.residual is None else model.residual.n_parameters
    refits, size = found, np.var(y, axis=0)
    for r in np.flatnonzero(found.scale < SUSPICIOUS_VARIANCE * size):
        exact[r] = not _leaves_variance(model, y[:, r], bool(reml))
        if exact[r]:
            none_of = failed_row(model._design, n_residual=n_residual)
            for column, none in zip(found, none_of, strict=True):
                column[r] = none[0]
    if lacking.any():
        refits = failed_row(model._design, len(lacking), n_residual=n_residual)
        for column, own in zip(refits, found, strict=True):
            column[sound] = own
        warnings.warn(
            f"{lacking.sum()} of {len(lacking)} responses have missing or infinite values "
            f"({_columns(endog, lacking)}): without these rows they have another design. "
            "Their rows of the result are NaN, and not converged; fit each by itself with "
            "missing='drop'",
            ResponseWarning,
            stacklevel=user_stacklevel(),
        )
    if exact.any():
        explained = np.zeros(len(lacking), bool)
        explained[sound[exact]] = True
        warnings.warn(
            f"{exact.sum()} of {len(lacking)} responses are constant, or explained "
            f"exactly by the model ({_columns(endog, explained)}): they leave no variance "
            "to estimate. Their rows are NaN, and not converged",
            ResponseWarning,
            stacklevel=user_stacklevel(),
        )
    return labelled(model, refits, bool(reml))


def _odd(endog):
    """Which columns of a frame are no numbers."""
    names = [endog] if isinstance(endog, str) else endog
    if isinstance(names, list) and names and all(isinstance(n, str) for n in names):
        return f", not names: data[{names!r}] has the columns"
    if not isinstance(endog, pd.DataFrame):
        return ""
    odd = [n for n, t in endog.dtypes.items() if not pd.api.types.is_numeric_dtype(t)]
    return f", not {', '.join(map(repr, odd))}" if odd else ""


def _new_responses(model: Model, endog: Any, some_missing: bool = False) -> np.ndarray:
    """Responses as a float array (nobs, R); of many, some may have missing values."""
    need_rows(model)
    index = model.data.row_labels
    endog = as_pandas(endog, index)
    if isinstance(endog, pd.Series | pd.DataFrame) and index is not None:
        unique = endog.index.is_unique and index.is_unique
        if len(endog) > model.nobs and unique and index.isin(endog.index).all():
            endog = endog.loc[index]  # without the rows that the model left out
        warn_if_reordered(endog, index, "endog")
    try:
        y = as_floats(endog)
    except (TypeError, ValueError) as error:
        fault = _odd(endog) or f": {error}"
        raise ValueError(f"endog must hold numbers only{fault}") from None
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or len(y) != model.nobs:
        raise ValueError(
            f"endog must have shape (nobs,) or (nobs, R) with nobs = {model.nobs}, the "
            f"rows that the model uses; got {np.shape(endog)}"
        )
    if y.size == 0:
        raise ValueError("endog has no columns")
    missing = ~np.isfinite(y).all(axis=0)
    if missing.any() and not (some_missing and not missing.all()):
        where = f" ({_columns(endog, missing)})" if len(missing) > 1 else ""
        raise ValueError(f"endog holds missing or infinite values{where}")
    _check_range(model, y)
    return y


def _check_range(model, y):
    """Refuse responses of which, or over columns of which, there are no squares."""
    sizes = largest_sizes(y)
    low, high = ORDINARY_SIZES
    for r in np.flatnonzero((sizes > high) | ((sizes < low) & (sizes > 0))):
        columns = column_sizes(model.exog, None, model.random_terms)
        check_value_range(y[:, r], columns, model.weights)


def _with_response(model: Model, y: np.ndarray) -> Any:
    """The model with the response y (nobs,) in place of its own."""
    try:
        # of the rows as they are, also beside a residual covariance
        given = model._design, model.exog, model.random_terms, model.weights
        design = Responses(*given).design_of(_less_offset(model, y[:, None])[:, 0])
    except DesignError:
        raise DesignError(
            "endog is constant or explained exactly by X: no variance is left to estimate"
        ) from None
    # copies of the objects, but of no array, and without pickling's detours
    other: Any = object.__new__(type(model))
    data: Any = object.__new__(type(model.data))
    vars(other).update(vars(model))
    forget_groups(other)  # made of the model's own response
    vars(data).update(vars(model.data))
    other.endog, other._design, other.data = y, design, data
    data.endog = y
    original = model.data.orig_endog
    if isinstance(original, pd.Series | pd.DataFrame):
        data.orig_endog = pd.Series(y, original.index, name=model.endog_names)
    else:
        data.orig_endog = y
    return other


def _leaves_variance(model: Model, y: np.ndarray, reml: bool) -> bool:
    """Whether the model does not explain a response less offset exactly."""
    y = y if model.offset is None else y + model.offset
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the verdict, which is kept
        try:
            _with_response(model, y)._fitted(reml=reml)
        except DesignError:
            return False
    return True


def _less_offset(model: Model, y: np.ndarray) -> np.ndarray:
    return y if model.offset is None else y - model.offset[:, None]


def _columns(endog: Any, which: np.ndarray) -> str:
    """Names or numbers of some columns, not too many."""
    numbers = np.flatnonzero(which)
    names = getattr(endog, "columns", None)
    if names is None:
        shown, kind = [str(i) for i in numbers[:5]], "number"
    else:
        shown, kind = [repr(names[i]) for i in numbers[:5]], "column"
    more = ", ..." if len(numbers) > 5 else ""
    return f"{kind}{'s' if len(numbers) > 1 else ''} {', '.join(shown)}{more}"
