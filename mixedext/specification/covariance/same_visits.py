"""Compound symmetry of rows of which some are the same: predictions at visits observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mixedext.specification.covariance.compound_symmetry import CompoundSymmetry

__all__ = ["SymmetryByVisit"]


@dataclass(frozen=True)
class SymmetryByVisit(CompoundSymmetry):
    """C_ab = rho at different visits a and b, 1 at the same.

    Parameters
    ----------
    m : int
        As for ``CompoundSymmetry``.
    """

    def matrix(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        return np.where(_same(place), 1.0, self.natural(psi)[0])

    def tangent(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        return np.where(_same(place), 0.0, self.jacobian(psi)[0, 0])[None]


def _same(place: np.ndarray) -> np.ndarray:
    place = np.asarray(place)
    return place[:, :, None] == place[:, None, :]
