"""The part of the results that rates a fit: log-likelihood and information criteria."""

from __future__ import annotations

import numpy as np

__all__ = ["Criteria"]


class Criteria:
    """Log-likelihood, deviance, number of parameters, AIC and BIC."""

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
        return not (self.reml and self.stated_by_groups)

    @property
    def aic(self):
        """Akaike's criterion, -2 llf + 2 n_params; NaN unless ``has_criteria``."""
        return self.deviance + 2 * self.n_params if self.has_criteria else np.nan

    @property
    def bic(self):
        """Bayesian criterion, with log(nobs) for 2; NaN unless ``has_criteria``."""
        if not self.has_criteria:
            return np.nan
        return float(self.deviance + np.log(self.nobs) * self.n_params)
