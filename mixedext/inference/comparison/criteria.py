"""The part of the results that rates a fit: log-likelihood and information criteria."""

from __future__ import annotations

import numpy as np

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


def information_criterion(results, penalty):
    """-2 llf + penalty * n_params, after ML and REML: 2 for AIC, log(nobs) for BIC."""
    return float(-2 * results.llf + penalty * results.n_params)


def corrected_criterion(results):
    """AIC with the correction for few observations; infinite if there are too few.

    References
    ----------
    Hurvich and Tsai (1989), Regression and time series model selection in small samples,
    Biometrika 76, 297-307.
    """
    count = results.n_params
    spare = results.nobs - count - 1
    if spare <= 0:
        return np.inf
    return information_criterion(results, 2) + 2 * count * (count + 1) / spare


def llf(results):
    """(Restricted) log-likelihood with all constants."""
    return results.engine_fit.log_likelihood


def deviance(results):
    """-2 times the (restricted) log-likelihood: lme4's REML criterion or deviance."""
    return results.engine_fit.deviance


def n_params(results):
    """Estimated parameters: fixed effects, theta and sigma."""
    return results.engine_fit.design.basis.rank + len(results.theta) + 1


def has_criteria(results):
    """Whether there are AIC and BIC.

    After ML always.  After REML for models stated by bars or ``terms``, as in lme4
    (values compare models with the same fixed effects); for models stated by
    ``groups`` they are NaN, as in statsmodels.
    """
    return not (results.reml and results.model.stated_by_groups)


def aic(results):
    """Akaike's criterion, -2 llf + 2 n_params; NaN unless ``has_criteria``."""
    return information_criterion(results, 2) if results.has_criteria else np.nan


def aicc(results):
    """AIC with the correction for few observations; NaN unless ``has_criteria``."""
    return corrected_criterion(results) if results.has_criteria else np.nan


def bic(results):
    """Bayesian criterion, with log(nobs) for 2; NaN unless ``has_criteria``."""
    if not results.has_criteria:
        return np.nan
    return information_criterion(results, np.log(results.nobs))
