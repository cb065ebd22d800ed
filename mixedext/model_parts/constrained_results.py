"""Results at parameters that were penalized or partly held."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mixedext.results import MixedLMResults

__all__ = ["ConstrainedResults"]


class ConstrainedResults(MixedLMResults):
    """Results whose fixed effects or variance parameters were penalized or partly held.

    Standard errors are from the curvature of the (penalized) log-likelihood in the
    parameters that were free: 0 for those held, NaN for what has none.
    """

    def __init__(self, model, fit, df_method=None):
        super().__init__(model, fit, df_method)
        if fit.given_covariances is not None:
            covariances = list(fit.given_covariances)
            self.cov_re = model.layout.cov_re(covariances)
            self.vcomp = model.layout.vcomp(fit.design.terms, covariances)

    @cached_property
    def _variance_covariance(self):
        return self.engine_fit.variances

    @property
    def n_params(self):
        """Parameters that were estimated, and sigma: what aic and bic count."""
        if self.freepat is None:
            return super().n_params
        kept = self.engine_fit.design.basis.kept
        free = np.asarray(self.freepat.fe_params)[kept].sum()
        packed = self.model.layout.pack_parts(
            self.engine_fit.design.terms, self.freepat.cov_re, self.freepat.vcomp
        )
        return int(free + packed.sum()) + 1
