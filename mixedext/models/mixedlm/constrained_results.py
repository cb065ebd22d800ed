"""Results at parameters that were penalized or partly held."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mixedext.inference.fixed_effects.df_methods import check_df_method
from mixedext.models.mixedlm.results import MixedLMResults

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

    def _choose_covariance(self, cov_type=None, use_t=None, kwds=None):
        check_df_method(self.engine_fit, self.df_method)
        super()._choose_covariance(cov_type, use_t, kwds)

    def _make_cluster_covariance(self, kind, kwds):
        if not self.engine_fit.least_squares:
            raise ValueError(
                f"cov_type={self.cov_type!r} is the covariance of generalized "
                "least-squares estimates, but fixed effects of this fit were penalized or "
                "held; use cov_type='nonrobust' or 'oim'"
            )
        super()._make_cluster_covariance(kind, kwds)

    @cached_property
    def _observed_covariance(self):
        return self.engine_fit.observed

    @property
    def _kept_inner(self):
        return self._kept_covariance

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
