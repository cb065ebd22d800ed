"""What statsmodels' MixedLM shows that the engine does not need, and what it lacks here."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mixedext.specification.terms import factorize

__all__ = ["UpstreamView"]


class UpstreamView:
    """The part of the model that speaks of the groups of one grouping factor."""

    @cached_property
    def _group_codes(self):
        """Codes and levels of ``groups``, or else of the first grouping factor."""
        if self.groups is not None:
            return factorize(self.groups)
        if self.random_terms:
            return self.random_terms[0].codes, self.random_terms[0].levels
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
