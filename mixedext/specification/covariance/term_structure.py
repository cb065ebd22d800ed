"""What a structure of random effects answers beside the protocol of all curves.

The engine fits random terms of any structure.  It needs to know which linear structure
holds their covariances, in which directions these may change, what theta is in other units,
and which theta near another one is on the boundary.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from mixedext.specification.covariance.structure import Structure

__all__ = ["OutOfRangeError", "TermStructure"]


class OutOfRangeError(ValueError):
    """Natural parameters at which there is no covariance of the structure."""


class TermStructure(Structure):
    """Covariances of the ``k`` effects of a random term.

    Parameters
    ----------
    k : int
        Number of columns of the term.
    """

    #: Whether another order of the columns is another model.
    ordered = False

    @property
    @abstractmethod
    def n_gamma(self) -> int:
        """Number of directions of ``covariance_basis``, and of natural parameters."""

    @property
    @abstractmethod
    def ambient(self) -> Any:
        """The linear structure that holds all covariances of this one."""

    # ---- directions of Sigma ----

    @property
    @abstractmethod
    def covariance_basis(self) -> np.ndarray:
        """Directions in which Sigma may change, symmetric, (n_gamma, k, k).

        Of a linear structure those that the natural parameters multiply; of another the
        tangents by theta, where ``at`` says.
        """

    @abstractmethod
    def at(self, theta: ArrayLike) -> Self:
        """The structure with ``covariance_basis`` its directions at theta."""

    @property
    def always_bends(self) -> np.ndarray:
        """Elements of theta that may be zero, and bend Sigma there, (n_theta,) bool."""
        return np.ones(self.n_theta, bool)

    @abstractmethod
    def gamma(self, covariance: ArrayLike) -> np.ndarray:
        """Natural parameters of a covariance (k, k), or of many (..., k, k)."""

    @abstractmethod
    def covariance(self, gamma: ArrayLike) -> np.ndarray:
        """Covariance matrix of natural parameters (n_gamma,), or of many."""

    @property
    def is_variance(self) -> np.ndarray:
        """Which natural parameters have the units of a variance, (n_gamma,) bool."""
        return np.ones(self.n_gamma, bool)

    @abstractmethod
    def moved(self, theta: ArrayLike, transform: np.ndarray) -> np.ndarray:
        """Theta of T Sigma T' by that of Sigma."""

    @abstractmethod
    def congruence(self, transform: np.ndarray) -> np.ndarray:
        """Changes along ``covariance_basis`` of T Sigma T' by those of Sigma."""

    @abstractmethod
    def scaled(self, theta: ArrayLike, factor: float) -> np.ndarray:
        """Theta of factor^2 Sigma."""

    # ---- theta of the same or nearly the same covariance ----

    @abstractmethod
    def theta(self, lam: ArrayLike) -> np.ndarray:
        """Theta of a factor (k, k) of a covariance in the structure, or of many."""

    @abstractmethod
    def canonical(self, theta: ArrayLike) -> np.ndarray:
        """Theta of the same covariance that is the one to report."""

    @abstractmethod
    def singular(self, theta: ArrayLike, least: float) -> np.ndarray:
        """Theta with what makes lam singular but for ``least`` exactly so."""

    @abstractmethod
    def nearest_singular(self, lam: np.ndarray) -> np.ndarray:
        """A singular factor near lam."""
