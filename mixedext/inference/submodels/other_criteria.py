"""Fits by other criteria and of statsmodels' linear models, for comparisons.

What users give, results with or without their wrapper, becomes a ``Fitted`` here.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from statsmodels.regression.linear_model import RegressionResults
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

from mixedext.arguments import check_reml
from mixedext.fitted import Fitted, HasFitted, Model

__all__ = [
    "as_mixed",
    "by_ml",
    "by_reml",
    "check_is_fitted",
    "is_mixed",
    "own_fitted",
    "quiet_fit",
    "refitted",
]


def is_mixed(results: Any) -> bool:
    """Whether these are the results of a mixed model of mixedext."""
    return isinstance(getattr(results, "fitted", None), Fitted)


def own_fitted(results: Any, name: str) -> Fitted:
    """The record of results of a mixed model, or TypeError with the argument's name."""
    if not is_mixed(results):
        check_is_fitted(results)
        raise TypeError(
            f"{name} must be the results of a mixed model of mixedext, not "
            f"{type(_unwrapped(results)).__name__}"
        )
    return results.fitted


def _unwrapped(results):
    """Results without the wrapper that attaches labels."""
    return getattr(results, "_results", results)


def as_mixed(results: Any, like: HasFitted) -> Fitted:
    """The record of a mixed model; of OLS or WLS as a model without random effects.

    Parameters
    ----------
    results : MixedLMResults or RegressionResults
        What a user gave.
    like : HasFitted
        The mixed model that it stands beside; a linear model is fitted as it is.

    Raises
    ------
    TypeError
        If these are other results.
    """
    if is_mixed(results):
        return results.fitted
    check_is_fitted(results)
    results, beside = _unwrapped(results), like.fitted
    if not isinstance(results, RegressionResults):
        raise TypeError(
            f"results of a mixed model of mixedext, or of statsmodels' OLS or WLS, are "
            f"needed, not {type(results).__name__}"
        )
    model = results.model
    kind = type(model).__name__
    if kind not in ("OLS", "WLS"):
        raise TypeError(f"results of OLS or WLS are needed, not of {kind}")
    # the rows in memory, not those that the model has multiplied by its weights
    weights = np.asarray(model.weights, float) if kind == "WLS" else None
    formula = getattr(model, "formula", None)
    made: Any = type(beside.model)
    linear = made(model.data.orig_endog, model.data.orig_exog, terms=[], weights=weights)
    linear.formula = formula or f"{kind} of {model.endog_names}"
    return linear._fitted(reml=beside.reml)


def check_is_fitted(results: Any) -> None:
    """Refuse a model that was not fitted, where its results are wanted."""
    if hasattr(results, "fit") and not hasattr(results, "params"):
        raise TypeError(
            f"results are needed, not a model ({type(results).__name__}): fit it first, "
            "model.fit()"
        )


def by_ml(results: HasFitted) -> Fitted:
    """The fit itself if it is by maximum likelihood, or else a refit."""
    return refitted(results, False)


def by_reml(results: HasFitted, refit: bool) -> Fitted:
    """The fit itself if it is by REML, or else a refit if that is wanted."""
    if not (results.fitted.reml or refit):
        raise ValueError(
            "Kenward and Roger's test needs a REML fit, and this one is by maximum "
            "likelihood: pass refit=True to have the model fitted by REML, or use "
            "Satterthwaite's test"
        )
    return refitted(results, True)


def refitted(results: HasFitted, reml: bool) -> Fitted:
    """The same model fitted by REML or ML, with the same parameters held or penalized."""
    check_reml(reml)
    fitted = results.fitted
    if fitted.reml == reml:
        return fitted
    held = fitted.arguments.held("the other criterion")
    return quiet_fit(fitted.model, reml, **held)


def quiet_fit(model: Model, reml: bool, **arguments: Any) -> Fitted:
    """A fit; that it is singular is said where it is shown, not by a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)
        return model._fitted(reml=reml, **arguments)
