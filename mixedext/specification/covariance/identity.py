"""One variance common to all columns, no correlations."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mixedext.specification.covariance.linear import UncorrelatedStructure
from mixedext.specification.covariance.structure import ParameterName, Structure

__all__ = ["IdentityMultiple"]


class IdentityMultiple(UncorrelatedStructure):
    """One variance common to all columns: lam = theta I."""

    name = "identity"
    shares_one_variance = True

    @cached_property
    def lam_basis(self):
        return np.eye(self.k)[None]

    @property
    def pairs(self):
        return ((0, 0),)

    def names(self, columns):
        return [ParameterName("variance", tuple(columns) if self.k == 1 else ())]

    def column_scale(self, rms):
        return Structure.column_scale(self, rms)

    def nearest(self, covariance):
        return np.sqrt(max(np.trace(covariance) / self.k, 0.0)) * np.eye(self.k)

    def nearest_singular(self, lam):
        return np.zeros_like(lam)

    def jacobian(self, theta):
        return np.full((1, 1), 2 * float(theta[0]))

    def bend(self, theta, score):
        return np.full((1, 1), 2 * np.trace(score))
