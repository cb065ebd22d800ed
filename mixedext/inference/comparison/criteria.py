"""How a fit is rated: log-likelihood and information criteria."""

from __future__ import annotations

import numpy as np

from mixedext.fitted import HasFitted
from mixedext.inference.submodels.nesting import n_params

__all__ = [
    "aic",
    "aicc",
    "bic",
    "corrected_criterion",
    "deviance",
    "has_criteria",
    "information_criterion",
    "llf",
    "n_params",
]


def llf(results: HasFitted) -> float:
    """(Restricted) log-likelihood with all constants."""
    return results.fitted.fit.log_likelihood


def deviance(results: HasFitted) -> float:
    """-2 times the (restricted) log-likelihood: lme4's REML criterion or deviance."""
    return results.fitted.fit.deviance


def has_criteria(results: HasFitted) -> bool:
    """Whether there are AIC and BIC.

    After ML always.  After REML for models stated by bars or ``terms``, as in lme4
    (values compare models with the same fixed effects); for models stated by
    ``groups`` they are NaN, as in statsmodels.
    """
    fitted = results.fitted
    return not (fitted.reml and fitted.model.stated_by_groups)


def information_criterion(results: HasFitted, penalty: float) -> float:
    """-2 llf + penalty * n_params, after ML and REML: 2 for AIC, log(nobs) for BIC."""
    return float(-2 * llf(results) + penalty * n_params(results))


def corrected_criterion(results: HasFitted) -> float:
    """AIC with the correction for few observations; infinite if there are too few.

    References
    ----------
    Hurvich and Tsai (1989), Regression and time series model selection in small samples,
    Biometrika 76, 297-307.
    """
    count = n_params(results)
    spare = results.fitted.nobs - count - 1
    if spare <= 0:
        return np.inf
    return information_criterion(results, 2) + 2 * count * (count + 1) / spare


def aic(results: HasFitted) -> float:
    """Akaike's criterion, -2 llf + 2 n_params; NaN unless ``has_criteria``."""
    return information_criterion(results, 2) if has_criteria(results) else np.nan


def aicc(results: HasFitted) -> float:
    """AIC with the correction for few observations; NaN unless ``has_criteria``."""
    return corrected_criterion(results) if has_criteria(results) else np.nan


def bic(results: HasFitted) -> float:
    """Bayesian criterion, with log(nobs) for 2; NaN unless ``has_criteria``."""
    if not has_criteria(results) or not results.fitted.nobs > 0:
        return np.nan
    return information_criterion(results, np.log(results.fitted.nobs))
