"""Fits of a generalized model to other responses of the same rows."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import MissingDataError
from mixedext.fitted import need_rows
from mixedext.models.mixedlm.statsmodels_face.groups_view import MADE_OF_ROWS
from mixedext.specification.data.alignment import warn_if_reordered
from mixedext.specification.data.tables import as_pandas
from mixedext.specification.families.response import RowResponse, read_response

__all__ = ["new_response", "refit", "with_response"]


def refit(model: Any, endog: Any, n_agq: int | str = 1, **fit_kwargs: Any) -> Any:
    """Fit the same model to another response.

    Parameters
    ----------
    endog : array_like
        Response, as the model's own: of successes their share of the trials of each row
        (as ``model.endog`` and ``simulate``), or two columns, successes and failures.
    n_agq : int or "auto", optional
        As for ``fit``.
    **fit_kwargs
        Other arguments of ``fit``.

    Returns
    -------
    MixedGLMResultsWrapper
        The same as a new model with this response would give.

    Raises
    ------
    ValueError
        If it has another length, missing values, or values outside the family's range, or
        the rows are not in memory.

    Examples
    --------
    >>> import numpy as np
    >>> import mixedext as mx
    >>> group, y = np.repeat(np.arange(10), 6), np.tile([0, 1, 2, 0, 3, 5], 10)
    >>> y = y + group % 3
    >>> model = mx.MixedGLM(y, np.ones((60, 1)), groups=group, family="poisson")
    >>> one, two = model.fit(), model.refit(2 * y)
    >>> bool(two.fe_params[0] > one.fe_params[0])
    True
    """
    return with_response(model, endog).fit(n_agq, **fit_kwargs)


def with_response(model: Any, endog: Any) -> Any:
    """The model with another response; rows, terms and design are shared."""
    response = new_response(model, endog)
    other = copy.copy(model)
    other.data = copy.copy(model.data)
    for name in MADE_OF_ROWS:
        vars(other).pop(name, None)
    vars(other.data).pop("_cache", None)
    values = response.observed
    other.response, other.endog, other.data.endog = response, values, values
    labels = model.data.row_labels
    if isinstance(model.data.orig_endog, pd.Series | pd.DataFrame):
        name = model.endog_names
        other.data.orig_endog = pd.Series(values, index=labels, name=name)
    else:
        other.data.orig_endog = values
    return other


def new_response(model: Any, endog: Any) -> RowResponse:
    """Another response of the model's rows, read as its own was."""
    rows, own = need_rows(model), model.response
    labels = rows.labels
    endog = as_pandas(endog, labels)
    if isinstance(endog, pd.Series | pd.DataFrame):
        if (
            len(endog) > len(own.y)
            and labels is not None
            and labels.isin(endog.index).all()
        ):
            endog = endog.loc[labels]
        warn_if_reordered(endog, labels, "endog")
    if isinstance(endog, pd.DataFrame) and endog.shape[1] == 1:
        endog = endog.iloc[:, 0]
    if len(endog) != len(own.y):
        raise ValueError(f"endog has {len(endog)} rows, the model has {len(own.y)}")
    family = model.family
    if not family.has_trials:
        found = read_response(family, endog, own.weights, own.counts, "endog")
    elif np.ndim(endog) == 2:
        prior = None if own.proportions else own.weights
        found = read_response(family, endog, prior, own.counts, "endog")
    else:
        if getattr(endog, "dtype", None) is not None and endog.dtype.kind == "f":
            endog = np.where(own.trials == 0, 0.0, np.asarray(endog, float))
        found = read_response(family, endog, own.trials, own.counts, "endog")
        found = replace(found, weights=own.weights)
    if np.isnan(found.y).any():
        raise MissingDataError(
            f"missing values in endog ({int(np.isnan(found.y).sum())}): the rows of the "
            "model are settled, make a new one of the complete rows"
        )
    return found
