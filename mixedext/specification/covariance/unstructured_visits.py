"""Any covariance matrix over visits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mixedext.limits import CORRELATION_AT_LIMIT, SD_RATIO_AT_LIMIT
from mixedext.specification.covariance.correlation import (
    AtLimit,
    Correlation,
    at_visits,
    check_number,
    known_moments,
    sum_over_visits,
)

__all__ = ["UnstructuredVisits"]

# Smallest eigenvalue of the correlations of a start.
_START = 0.02


@dataclass(frozen=True)
class UnstructuredVisits(Correlation):
    """Sigma, any positive definite matrix whose element [0, 0] is one.

    Psi are the elements of the lower Cholesky factor L by rows, the first left out, those
    of the diagonal as logarithms.  The natural parameters are the elements of the lower
    triangle of Sigma in the same order, relative to the variance of the first visit.

    Parameters
    ----------
    m : int
        Number of visits, at least 2.
    """

    m: int

    is_covariance: ClassVar[bool] = True
    linear_if_homogeneous: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.m < 2:
            raise ValueError(f"an unstructured covariance needs 2 visits, m = {self.m}")

    @property
    def n_psi(self) -> int:
        return self.m * (self.m + 1) // 2 - 1

    @property
    def names(self) -> tuple[str, ...]:
        a, b = self.elements
        return tuple(f"UN({i + 1},{j + 1})" for i, j in zip(a, b, strict=True))

    @cached_property
    def elements(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each parameter, (n_psi,) each."""
        a, b = np.tril_indices(self.m)
        return a[1:], b[1:]

    @cached_property
    def diagonal(self) -> np.ndarray:
        """Numbers of the parameters of the diagonal, from the second on, (m - 1,)."""
        a, b = self.elements
        return np.flatnonzero(a == b)

    @cached_property
    def _same_column(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether two parameters share a column of L; the rows of both."""
        a, b = self.elements
        return 2.0 * (b[:, None] == b), a[:, None], a

    def _factor(self, psi: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """L, (m, m), and the derivative of each free element by its psi, (n_psi,)."""
        values = np.array(psi, dtype=float)
        change = np.ones(self.n_psi)
        values[self.diagonal] = change[self.diagonal] = np.exp(values[self.diagonal])
        lower = np.zeros((self.m, self.m))
        lower[self.elements] = values
        lower[0, 0] = 1.0
        return lower, change

    def matrix(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        return at_visits(self._whole(psi), place)

    def _whole(self, psi: ArrayLike) -> np.ndarray:
        lower, _ = self._factor(psi)
        return lower @ lower.T

    def tangent(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        return at_visits(self._tangent(psi), place)

    def _tangent(self, psi: ArrayLike) -> np.ndarray:
        # dSigma = h (e_i l_j' + l_j e_i') of element (i, j), l_j column j of L
        lower, change = self._factor(psi)
        a, b = self.elements
        out = np.zeros((self.n_psi, self.m, self.m))
        out[np.arange(self.n_psi), a] = lower.T[b] * change[:, None]
        return out + out.transpose(0, 2, 1)

    def bend(self, psi: ArrayLike, place: np.ndarray, score: np.ndarray) -> np.ndarray:
        score = sum_over_visits(score, place, self.m)
        lower, change = self._factor(psi)
        same, rows, columns = self._same_column
        out = change[:, None] * change * same * score[rows, columns]
        # exp of the diagonal has itself for second derivative
        d = self.diagonal
        out[d, d] += 2 * change[d] * np.einsum("ab,ba->a", score, lower)[1:]
        return out

    def curve(self, psi: ArrayLike, place: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return np.zeros((*np.shape(place), np.shape(place)[1]))

    def natural(self, psi: ArrayLike) -> np.ndarray:
        return self._whole(psi)[self.elements]

    def free(self, rho: ArrayLike) -> np.ndarray:
        rho = np.asarray(rho, dtype=float)
        check_number(rho, self.names)
        sigma = np.eye(self.m)
        a, b = self.elements
        sigma[a, b] = sigma[b, a] = rho
        sd = np.sqrt(np.maximum(np.diag(sigma), 0))
        if not (sd > 0).all():
            raise ValueError("a variance of the covariance matrix is not positive")
        if np.linalg.eigvalsh(sigma / (sd[:, None] * sd))[0] <= 0:
            raise ValueError("the covariance matrix is not positive definite")
        psi = np.linalg.cholesky(sigma)[a, b]
        psi[self.diagonal] = np.log(psi[self.diagonal])
        return psi

    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        a, b = self.elements
        return self._tangent(psi)[:, a, b].T

    def starts(
        self, correlation: np.ndarray, pairs: np.ndarray, distance: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """The moment covariances, shrunk until definite, and their diagonal alone."""
        s, _ = known_moments(correlation, pairs)
        variance = np.diag(s).copy()
        known = variance > 0
        variance[~known] = variance[known].mean() if known.any() else 1.0
        sd = np.sqrt(variance)
        r = s / (sd[:, None] * sd)
        least = np.linalg.eigvalsh(r - np.diag(np.diag(r)) + np.eye(self.m))[0]
        # eigenvalues of the correlations go to one in proportion
        share = 1.0 if least >= _START else (1 - _START) / (1 - least)
        out = []
        for part in (share, 0.0):
            sigma = part * r * (sd[:, None] * sd)
            np.fill_diagonal(sigma, variance)
            out.append(self.free((sigma / sigma[0, 0])[self.elements]))
        return out

    def at_limit(self, psi: ArrayLike) -> list[AtLimit]:
        """Variances at zero, without end, or of which the visits before leave nothing."""
        lower, _ = self._factor(psi)
        own, whole = np.diag(lower)[1:] ** 2, np.sum(lower**2, axis=1)[1:]
        limit = np.full(self.m - 1, np.nan)
        near = own < CORRELATION_AT_LIMIT * whole
        limit[near] = (whole - own)[near]
        limit[whole < SD_RATIO_AT_LIMIT**2] = 0.0
        limit[whole > SD_RATIO_AT_LIMIT**-2] = np.inf
        names = self.names
        return [
            AtLimit(int(self.diagonal[a]), names[self.diagonal[a]], float(limit[a]))
            for a in np.flatnonzero(~np.isnan(limit))
        ]
