"""What statsmodels' MixedLM shows that the engine does not need, and what it lacks here."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mixedext.specification.terms import RandomTerm, factorize

__all__ = ["UpstreamView"]


class UpstreamView:
    """The part of the model that speaks of the groups of one grouping factor."""

    @cached_property
    def _group_codes(self):
        """Codes and levels of ``groups``, or else of the first grouping factor."""
        if self.groups is not None:
            return factorize(self.groups)
        for term in self.random_terms:
            if isinstance(term, RandomTerm):
                return term.codes, term.levels
        return np.zeros(self.nobs, np.intp), [0]

    @cached_property
    def group_labels(self):
        """Levels of ``groups``, or else of the first grouping factor; one without any."""
        return list(self._group_codes[1])

    @cached_property
    def row_indices(self):
        """Rows of each group."""
        codes, levels = self._group_codes
        order = np.argsort(codes, kind="stable")
        counts = np.bincount(codes, minlength=len(levels))
        rows = np.split(order, np.cumsum(counts)[:-1])
        return dict(zip(levels, rows, strict=True))

    @property
    def n_groups(self):
        """Number of levels of the first grouping factor."""
        return len(self.group_labels)

    def _not_available(self, *args, **kwargs):
        """Not available: use ``objective`` for the deviance and its gradient."""
        raise NotImplementedError(
            "mixedext has no such method of statsmodels' MixedLM; objective(theta) gives "
            "the deviance and its gradient, and fit the estimates"
        )

    loglike = score = score_full = score_sqrt = hessian = information = _not_available
    get_fe_params = get_scale = get_distribution = fit_regularized = _not_available
