"""What statsmodels' MixedLM has that is lacking here."""

from __future__ import annotations

__all__ = ["UpstreamView"]


class UpstreamView:
    """Methods of statsmodels' model that have no counterpart."""

    def _not_available(self, *args, **kwargs):
        """Not available: use ``objective`` for the deviance and its gradient."""
        raise NotImplementedError(
            "mixedext has no such method of statsmodels' MixedLM; objective(theta) gives "
            "the deviance and its gradient, and fit the estimates"
        )

    loglike = score = score_full = score_sqrt = hessian = information = _not_available
    get_fe_params = get_scale = get_distribution = fit_regularized = _not_available
