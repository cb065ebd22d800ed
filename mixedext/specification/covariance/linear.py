"""Structures that are linear: lam = sum_r theta_r B_r and Sigma = sum_r gamma_r E_r.

With Sigma = lam lam' and gamma the natural parameters, for a symmetric score S

    d Sigma / d theta_r = B_r lam' + lam B_r',    <S, d Sigma / d theta_r> = 2 <B_r, S lam>,
    <S, d2 Sigma / d theta_r d theta_s> = 2 <B_r, S B_s>,    d2 Sigma / d gamma2 = 0.

Compiled functions take the matrices B_r and E_r themselves (engine.factor.templates).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from mixedext.kernels.factor.triangles import lower_root
from mixedext.specification.covariance.structure import ParameterName
from mixedext.specification.covariance.term_structure import TermStructure

__all__ = ["LinearStructure", "UncorrelatedStructure"]


class LinearStructure(TermStructure):
    """Covariances of ``k`` effects whose relative factor is linear in theta.

    Parameters
    ----------
    k : int
        Number of columns of the term.
    """

    linear = True

    @property
    @abstractmethod
    def lam_basis(self) -> np.ndarray:
        """Orthogonal matrices B_r, (n_theta, k, k)."""

    @property
    @abstractmethod
    def covariance_basis(self) -> np.ndarray:
        """Orthogonal symmetric matrices E_r, (n_gamma, k, k)."""

    @property
    def n_theta(self) -> int:
        return len(self.lam_basis)

    @property
    def n_gamma(self) -> int:
        """Number of free elements of the covariance matrix."""
        return len(self.covariance_basis)

    # ---- between parameters and matrices ----

    def lam(self, theta: ArrayLike) -> np.ndarray:
        """The relative covariance factor, lower triangular.

        Parameters
        ----------
        theta : array_like
            (n_theta,), or (..., n_theta) for many.

        Returns
        -------
        ndarray
            (k, k), or (..., k, k).
        """
        return self._combined(self._flat_lam_basis[0], theta)

    def theta(self, lam: ArrayLike) -> np.ndarray:
        """Theta of a factor (k, k) that fits the template, or of many (..., k, k)."""
        flat, square = self._flat_lam_basis
        return _projected(flat, square, lam)

    def covariance(self, gamma: ArrayLike) -> np.ndarray:
        """Covariance matrix of its free elements (n_gamma,), or of many (..., n_gamma)."""
        return self._combined(self._flat_covariance_basis[0], gamma)

    def gamma(self, covariance: ArrayLike) -> np.ndarray:
        """Free elements of a covariance matrix, in the order of the basis."""
        flat, square = self._flat_covariance_basis
        return _projected(flat, square, covariance)

    def congruence(self, transform: np.ndarray) -> np.ndarray:
        """Gamma of T Sigma T' by that of Sigma, (n_gamma, n_gamma)."""
        moved = [self.gamma(transform @ e @ transform.T) for e in self.covariance_basis]
        return np.array(moved).T

    @cached_property
    def covariance_dual(self) -> np.ndarray:
        """Matrices D_r with gamma_r = <D_r, Sigma>, (n_gamma, k, k)."""
        flat, square = self._flat_covariance_basis
        return (flat / square[:, None]).reshape(-1, self.k, self.k)

    # ---- as the curve of parameters that it is ----

    @property
    def ambient(self) -> LinearStructure:
        """The linear structure that holds it: itself."""
        return self

    def at(self, theta: ArrayLike) -> Self:
        """The structure with ``covariance_basis`` its tangents at theta: itself."""
        return self

    def moved(self, theta: ArrayLike, transform: np.ndarray) -> np.ndarray:
        """Theta of T Sigma T' by that of Sigma."""
        return self.theta(self.triangular(transform @ self.lam(theta)))

    def scaled(self, theta: ArrayLike, factor: float) -> np.ndarray:
        """Theta of factor^2 Sigma."""
        return factor * np.asarray(theta, float)

    def canonical(self, theta: ArrayLike) -> np.ndarray:
        """Theta of the same covariance with a diagonal not negative."""
        return self.theta(self.triangular(self.lam(theta)))

    def singular(self, theta: ArrayLike, least: float) -> np.ndarray:
        """Theta with singular values of lam below ``least`` exactly zero."""
        return self.theta(self.truncated(self.lam(theta), least))

    # ---- places of the free elements ----

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Row and column of the covariance that each element of gamma stands for."""
        # of a symmetric matrix the last element is in the lower triangle
        last = [np.argwhere(e)[-1] for e in self.covariance_basis]
        return tuple((int(a), int(b)) for a, b in last)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """The same as an array of rows and one of columns."""
        rows, columns = np.array(self.pairs, np.intp).reshape(-1, 2).T
        return rows, columns

    @cached_property
    def by_rows(self) -> np.ndarray:
        """Numbers of the elements of gamma in the order of rows."""
        rows, columns = self.places
        return np.lexsort((columns, rows))

    # ---- the protocol ----

    def matrix(self, theta: ArrayLike) -> np.ndarray:
        lam = self.lam(theta)
        return lam @ lam.T

    def tangent(self, theta: ArrayLike) -> np.ndarray:
        half = self.lam_basis @ self.lam(theta).T
        return half + half.transpose(0, 2, 1)

    def bend(self, theta: ArrayLike, score: np.ndarray) -> np.ndarray:
        basis = self.lam_basis
        return 2 * np.einsum("rab,ac,scb->rs", basis, score, basis)

    def curve(self, theta: ArrayLike, weight: np.ndarray) -> np.ndarray:
        return np.zeros((self.k, self.k))

    def gradient(self, theta: ArrayLike, score: np.ndarray) -> np.ndarray:
        return 2 * np.einsum("rab,ab->r", self.lam_basis, score @ self.lam(theta))

    def natural(self, theta: ArrayLike) -> np.ndarray:
        return self.gamma(self.matrix(theta))

    def free(self, eta: ArrayLike) -> np.ndarray:
        return self.theta(self.nearest(self.covariance(eta)))

    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        return np.array([self.gamma(d) for d in self.tangent(theta)]).T

    def names(self, columns: Sequence[str]) -> list[ParameterName]:
        return [
            ParameterName("variance", (columns[a],))
            if a == b
            else ParameterName("covariance", (columns[b], columns[a]))
            for a, b in self.pairs
        ]

    def start(self, covariance: np.ndarray | None = None) -> np.ndarray:
        lam = np.eye(self.k) if covariance is None else self.nearest(covariance)
        return self.theta(lam)

    def nearest(self, covariance: np.ndarray) -> np.ndarray:
        value, vector = np.linalg.eigh(covariance)
        return self.triangular(vector * np.sqrt(value.clip(0)))

    def column_scale(self, rms: ArrayLike) -> np.ndarray:
        return np.asarray(rms, float)

    # ---- factors ----

    def triangular(self, root: np.ndarray) -> np.ndarray:
        """Factor lam of the template with lam lam' = root root', root square."""
        lam = np.empty((self.k, self.k))
        lower_root(root, lam)
        return lam

    def truncated(self, lam: np.ndarray, least: float) -> np.ndarray:
        """The factor, diagonal not negative, with singular values below ``least`` zero."""
        vector, size, _ = np.linalg.svd(lam)
        # by its root: through lam lam' half of the digits of a zero would be lost
        return self.triangular(vector * np.where(size < least, 0, size))

    def nearest_singular(self, lam: np.ndarray) -> np.ndarray:
        """The factor, diagonal not negative, with its least singular value zero."""
        left, size, right = np.linalg.svd(lam)
        return self.triangular((left * np.append(size[:-1], 0.0)) @ right)

    # ---- bases as rows ----

    def _combined(self, flat: np.ndarray, amounts: ArrayLike) -> np.ndarray:
        amounts = np.asarray(amounts, float)
        return (amounts @ flat).reshape(*amounts.shape[:-1], self.k, self.k)

    @cached_property
    def _flat_lam_basis(self) -> tuple[np.ndarray, np.ndarray]:
        return _flat(self.lam_basis)

    @cached_property
    def _flat_covariance_basis(self) -> tuple[np.ndarray, np.ndarray]:
        return _flat(self.covariance_basis)


class UncorrelatedStructure(LinearStructure):
    """Effects without correlations: lam and Sigma are diagonal, of one basis."""

    @property
    def covariance_basis(self) -> np.ndarray:
        return self.lam_basis

    def triangular(self, root: np.ndarray) -> np.ndarray:
        return np.abs(root)

    def truncated(self, lam: np.ndarray, least: float) -> np.ndarray:
        lam = np.abs(lam)
        return np.where(lam < least, 0.0, lam)

    def nearest_singular(self, lam: np.ndarray) -> np.ndarray:
        lam = np.abs(lam)
        return np.where(lam <= lam.diagonal().min(), 0.0, lam)


def _flat(basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthogonal matrices as rows, and the squares of their lengths."""
    flat = basis.reshape(len(basis), -1)
    return flat, (flat**2).sum(axis=1)


def _projected(flat: np.ndarray, square: np.ndarray, matrix: ArrayLike) -> np.ndarray:
    """Coefficients of a matrix, or of each of many, on orthogonal ones."""
    matrix = np.asarray(matrix, float)
    if matrix.ndim == 2:
        return flat @ matrix.ravel() / square
    return matrix.reshape(*matrix.shape[:-2], -1) @ (flat.T / square)
