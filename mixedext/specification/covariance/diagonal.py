"""One variance a column, no correlations: ``(x || g)``."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mixedext.specification.covariance.linear import UncorrelatedStructure
from mixedext.specification.covariance.structure import Structure

__all__ = ["Diagonal"]


class Diagonal(UncorrelatedStructure):
    """One variance a column, no correlations; theta are ratios of standard deviations."""

    name = "diagonal"
    notation = "({columns} || {group})"

    @cached_property
    def lam_basis(self) -> np.ndarray:
        basis = np.zeros((self.k, self.k, self.k))
        index = np.arange(self.k)
        basis[index, index, index] = 1.0
        return basis

    def nearest(self, covariance: np.ndarray) -> np.ndarray:
        return np.diag(np.sqrt(np.diag(covariance).clip(0)))

    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        return np.diag(2 * np.asarray(theta, float))

    def bend(self, theta: ArrayLike, score: np.ndarray) -> np.ndarray:
        return np.diag(2 * np.diag(score))

    def label(self, columns: str, group: str) -> str:
        own = self.notation if self.k > 1 else Structure.notation
        return own.format(columns=columns, group=group)
