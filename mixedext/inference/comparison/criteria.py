"""The part of the results that rates a fit: log-likelihood and information criteria."""

from __future__ import annotations

import numpy as np

__all__ = ["Criteria", "corrected_criterion", "information_criterion"]


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


class Criteria:
    """Log-likelihood, deviance, number of parameters, AIC, AICc and BIC."""

    @property
    def llf(self):
        """(Restricted) log-likelihood with all constants."""
        return self.engine_fit.log_likelihood

    @property
    def deviance(self):
        """-2 times the (restricted) log-likelihood: lme4's REML criterion or deviance."""
        return self.engine_fit.deviance

    @property
    def n_params(self):
        """Estimated parameters: fixed effects, theta and sigma."""
        return self.engine_fit.design.basis.rank + len(self.theta) + 1

    @property
    def has_criteria(self):
        """Whether there are AIC and BIC.

        After ML always.  After REML for models stated by bars or ``terms``, as in lme4
        (values compare models with the same fixed effects); for models stated by
        ``groups`` they are NaN, as in statsmodels.
        """
        return not (self.reml and self.model.stated_by_groups)

    @property
    def aic(self):
        """Akaike's criterion, -2 llf + 2 n_params; NaN unless ``has_criteria``."""
        return information_criterion(self, 2) if self.has_criteria else np.nan

    @property
    def aicc(self):
        """AIC with the correction for few observations; NaN unless ``has_criteria``."""
        return corrected_criterion(self) if self.has_criteria else np.nan

    @property
    def bic(self):
        """Bayesian criterion, with log(nobs) for 2; NaN unless ``has_criteria``."""
        if not self.has_criteria:
            return np.nan
        return information_criterion(self, np.log(self.nobs))
