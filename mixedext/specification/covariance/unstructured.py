"""Any covariance matrix: ``(x | g)``."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mixedext.specification.covariance.linear import LinearStructure

__all__ = ["Unstructured"]


class Unstructured(LinearStructure):
    """Any covariance matrix; theta is the lower triangle of lam by columns, as lme4.

    Elements of gamma are those of the lower triangle of Sigma in the same order.
    """

    name = "unstructured"
    has_correlations = True
    any_basis = True

    @property
    def n_theta(self) -> int:
        return self.k * (self.k + 1) // 2

    @property
    def n_gamma(self) -> int:
        return self.k * (self.k + 1) // 2

    def lam(self, theta: ArrayLike) -> np.ndarray:
        if self.k == 1 and np.ndim(theta) == 1:
            return np.asarray(theta, float)[:, None]
        return super().lam(theta)

    @cached_property
    def lam_basis(self) -> np.ndarray:
        pairs = [(a, b) for b in range(self.k) for a in range(b, self.k)]
        basis = np.zeros((len(pairs), self.k, self.k))
        for r, (a, b) in enumerate(pairs):
            basis[r, a, b] = 1.0
        return basis

    @cached_property
    def covariance_basis(self) -> np.ndarray:
        basis = self.lam_basis
        return np.maximum(basis, basis.transpose(0, 2, 1))

    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        if self.k == 1:
            return 2 * np.asarray(theta, float).reshape(1, 1)
        # d (lam lam')_ij / d lam_ab = [i = a] lam_jb + [j = a] lam_ib
        lam = self.lam(theta)
        a, b = self.places
        of_i, of_j = self._meetings
        return of_i * lam[b[:, None], b] + of_j * lam[a[:, None], b]

    @cached_property
    def _meetings(self):
        a, b = self.places
        return (a[:, None] == a).astype(float), (b[:, None] == a).astype(float)

    def gradient(self, theta: ArrayLike, score: np.ndarray) -> np.ndarray:
        if self.k == 1:
            return 2 * np.asarray(theta, float) * score[0]
        return super().gradient(theta, score)

    def bend(self, theta: ArrayLike, score: np.ndarray) -> np.ndarray:
        if self.k == 1:
            return 2 * np.asarray(score)
        a, b = self.places
        return 2 * np.where(b[:, None] == b, np.asarray(score)[a[:, None], a], 0.0)
