"""A generalized fit made again with another formula, family, data or arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixedext.exceptions import FormulaError
from mixedext.fitted import Fitted, HasFitted
from mixedext.models.mixedlm.updating import (
    AS_FITTED,
    cluster_kwds,
    formula_of,
    given_offset,
    is_given,
    stated_arguments,
)
from mixedext.specification.families.left_side import split_sides
from mixedext.specification.formula.namespace import caller_namespace
from mixedext.specification.formula.updated_formula import updated_formula, without_dots

__all__ = ["update"]


def update(
    results: HasFitted,
    formula: str | None = None,
    data: Any = None,
    family: Any = None,
    *,
    weights: Any = AS_FITTED,
    freq_weights: Any = AS_FITTED,
    offset: Any = AS_FITTED,
    exposure: Any = AS_FITTED,
    missing: str | None = None,
    eval_env: Any = None,
    **fit_kwargs: Any,
) -> Any:
    """Fit the model again with another formula, family, other data or other arguments.

    Parameters
    ----------
    formula : str, optional
        Another formula, in which a dot stands for the response or the terms of the fit's:
        ``". ~ . - x"``, ``". ~ . + (1 | row)"``.
    data : DataFrame, optional
        Other data; if None the rows that the fit has used.
    family : str or statsmodels family, optional
        Another law or link; that of the fit if None.
    weights, freq_weights, offset, exposure : str or array_like or None, optional
        As for ``glmm``, in place of the fit's; None for none.
    missing : {"none", "raise", "drop"}, optional
        As for ``glmm``; as the fit if None.
    eval_env : int or Mapping, optional
        As for ``glmm``, for names that are new.
    **fit_kwargs
        Other arguments of ``fit``.  ``n_agq``, ``laplace`` and the covariance of the fit
        are kept unless they are given.

    Returns
    -------
    MixedGLMResultsWrapper

    Raises
    ------
    FormulaError
        If the formula cannot be read, or leaves out a term that is not there.
    ValueError
        If the model was not made from a formula, or has values by rows that other data have
        not; says what to give.

    Notes
    -----
    Rows that the fit left out for a missing value stay out unless ``data`` is given, even
    if the new formula has no use for the column.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.cbpp.load().data
    >>> formula = "incidence / size ~ period + (1 | herd)"
    >>> result = mx.glmm(formula, data, family="binomial", weights="size").fit()
    >>> smaller = result.update(". ~ . - period")
    >>> smaller.model.formula
    'incidence / size ~ 1 + (1 | herd)'
    >>> result.update(family="binomial(probit)").family
    binomial(probit)
    >>> result.update(n_agq=9).n_agq
    9
    """
    fitted = results.fitted
    model: Any = fitted.model
    arguments = _fit_arguments(fitted, fit_kwargs)
    given = {"weights": weights, "offset": offset, "groups": AS_FITTED}
    given |= {"freq_weights": freq_weights, "exposure": exposure}
    anew = any(value is not None for value in (formula, data, family, missing))
    if not anew and not any(is_given(value) for value in given.values()):
        return model.fit(**arguments)
    left, right = split_sides(formula_of(model))
    if formula is not None:
        left, right = _updated(left, right, formula)
    text = f"{left} ~ {right}"
    own = caller_namespace([text], eval_env, depth=1)
    made = stated_arguments(model, f"response ~ {right}", given, missing, data, _values)
    if model.stated.vc_formulas is not None:  # whose one group is no column
        made |= {"vc_formulas": model.stated.vc_formulas, "groups": None}
    made["eval_env"] = {**own, **model.namespace}
    data = model.data.frame if data is None else data
    law = model.stated.family if family is None else family
    return type(model).from_formula(text, data, law, **made).fit(**arguments)


def _updated(left, right, formula):
    """Both sides of the new formula; what is left of the tilde is no sum of terms."""
    if not isinstance(formula, str) or "~" not in formula:
        raise FormulaError(
            f"formula={formula!r} must be a formula, as in '. ~ . - x'; a dot stands for "
            "what the fit has on that side"
        )
    new_left, _, new_right = formula.partition("~")
    new_left = without_dots(new_left.strip() or ".", left)
    made = updated_formula(f"response ~ {right}", f". ~ {new_right}")
    return new_left, made.partition("~")[2].strip()


def _values(model, what):
    """Values by rows of an argument of the model."""
    if what == "weights":
        return model.n_trials if model.response.proportions else model.weights
    if what == "freq_weights":
        return model.freq_weights
    if what == "exposure":
        return model.exposure
    offset = model.offset
    if model.exposure is not None:
        offset = offset - np.log(model.exposure)
    return given_offset(model, offset)


def _fit_arguments(fitted: Fitted, given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of ``fit``: those of the fit that are not given."""
    settings = fitted.settings
    out = dict(fitted.arguments.options)
    if not {"cov_type", "cov_kwds", "use_t"} & set(given):
        out |= {"cov_type": settings.cov_type, "use_t": settings.use_t}
        if settings.cluster is not None:
            out["cov_kwds"] = cluster_kwds(settings)
    return out | given
