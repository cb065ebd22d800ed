"""Results of other criteria and of statsmodels' linear models, for comparisons."""

from __future__ import annotations

import warnings

import numpy as np
from statsmodels.regression.linear_model import RegressionResults
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

from mixedext.arguments import check_reml

__all__ = [
    "as_mixed",
    "by_ml",
    "by_reml",
    "is_mixed",
    "own_results",
    "quiet_fit",
    "refitted",
    "unwrapped",
]


def unwrapped(results):
    """Results without the wrapper that attaches labels."""
    return getattr(results, "_results", results)


def is_mixed(results) -> bool:
    """Whether these are the results of a mixed model of mixedext."""
    return hasattr(results, "fitted")


def own_results(results, name):
    """Results of a mixed model without their wrapper, or TypeError with the name."""
    results = unwrapped(results)
    if not is_mixed(results):
        raise TypeError(
            f"{name} must be the results of a mixed model of mixedext, not "
            f"{type(results).__name__}"
        )
    return results


def as_mixed(results, like):
    """Results of a mixed model; of OLS or WLS as a model without random effects."""
    results = unwrapped(results)
    if is_mixed(results):
        return results
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
    linear = type(like.model)(
        model.data.orig_endog, model.data.orig_exog, terms=[], weights=weights
    )
    linear.formula = formula or f"{kind} of {model.endog_names}"
    return unwrapped(linear.fit(reml=like.reml))


def by_ml(results):
    """The results themselves if they are by maximum likelihood, or else a refit."""
    return refitted(results, False)


def by_reml(results, refit):
    """The results themselves if they are by REML, or else a refit if that is wanted."""
    if not (results.reml or refit):
        raise ValueError(
            "Kenward and Roger's test needs a REML fit, and this one is by maximum "
            "likelihood: pass refit=True to have the model fitted by REML, or use "
            "Satterthwaite's test"
        )
    return refitted(results, True)


def refitted(results, reml):
    """The same model fitted by REML or ML, with the same parameters held or penalized."""
    check_reml(reml)
    if results.reml == reml:
        return results
    held = results.fitted.arguments.held("the other criterion")
    return quiet_fit(results.model, reml, **held)


def quiet_fit(model, reml, **arguments):
    """Results of a fit; that it is singular is said of the results, not by a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)
        return unwrapped(model._present(model._fitted(reml=reml, **arguments)))
