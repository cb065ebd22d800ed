"""One variance common to all columns, no correlations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mixedext.specification.covariance.linear import UncorrelatedStructure
from mixedext.specification.covariance.structure import ParameterName, Structure

__all__ = ["IdentityMultiple"]


class IdentityMultiple(UncorrelatedStructure):
    """One variance common to all columns: lam = theta I."""

    name = "identity"
    shares_one_variance = True

    @cached_property
    def lam_basis(self) -> np.ndarray:
        return np.eye(self.k)[None]

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        return ((0, 0),)

    def names(self, columns: Sequence[str]) -> list[ParameterName]:
        return [ParameterName("variance", tuple(columns) if self.k == 1 else ())]

    def column_scale(self, rms: ArrayLike) -> np.ndarray:
        return Structure.column_scale(self, rms)

    def nearest(self, covariance: np.ndarray) -> np.ndarray:
        return np.sqrt(max(np.trace(covariance) / self.k, 0.0)) * np.eye(self.k)

    def nearest_singular(self, lam: np.ndarray) -> np.ndarray:
        return np.zeros_like(lam)

    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        return np.full((1, 1), 2 * float(np.asarray(theta)[0]))

    def bend(self, theta: ArrayLike, score: np.ndarray) -> np.ndarray:
        return np.full((1, 1), 2 * np.trace(score))
