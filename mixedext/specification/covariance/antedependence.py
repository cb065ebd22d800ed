"""Antedependence of order one: a correlation of its own between neighbouring visits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mixedext.specification.covariance.correlation import (
    AtLimit,
    Correlation,
    at_visits,
    between_minus_one_and_one,
    known_moments,
    moments_by_lag,
    slope_of_tanh,
    sum_over_visits,
    tanh_limits,
)

__all__ = ["Antedependence"]


@dataclass(frozen=True)
class Antedependence(Correlation):
    """C_ab = rho_a rho_(a + 1) .. rho_(b - 1) for visits a < b; rho_k is tanh psi_k.

    Parameters
    ----------
    m : int
        Number of visits, at least 2.
    """

    m: int

    def __post_init__(self) -> None:
        if self.m < 2:
            raise ValueError(f"antedependence needs 2 visits, m = {self.m}")

    @property
    def n_psi(self) -> int:
        return self.m - 1

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"rho {k + 1}" for k in range(self.m - 1))

    @cached_property
    def _above(self) -> np.ndarray:
        """Whether an element is above the diagonal, (m, m)."""
        return np.arange(self.m)[:, None] < np.arange(self.m)

    def _upper(self, psi: ArrayLike) -> np.ndarray:
        """The upper triangle of C over all visits, (m, m); zeros below."""
        step = np.ones((self.m, self.m))
        np.copyto(step[:, 1:], self.natural(psi), where=self._above[:, 1:])
        return np.triu(np.multiply.accumulate(step, axis=1))

    def matrix(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        return _symmetric(self._upper(psi) - 0.5 * np.eye(self.m), place)

    def tangent(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        # without rho_k, C_ij with i <= k < j is C_ik C_(k + 1)j
        upper = self._upper(psi)
        left = slope_of_tanh(np.asarray(psi, dtype=float)) * upper[:, :-1]
        return _symmetric(left.T[:, :, None] * upper[1:, None, :], place)

    def bend(self, psi: ArrayLike, place: np.ndarray, score: np.ndarray) -> np.ndarray:
        psi = np.asarray(psi, dtype=float)
        score, upper = sum_over_visits(score, place, self.m), self._upper(psi)
        change = slope_of_tanh(psi)
        # without rho_k and rho_l, k < l, C_ij is C_ik C_(k + 1)l C_(l + 1)j
        part = 2 * upper[:, :-1].T @ score @ upper[1:].T
        mixed = np.triu(change[:, None] * change * upper[1:, :-1] * part, 1)
        out = mixed + mixed.T
        out.flat[:: self.m] = -2 * np.tanh(psi) * change * np.diag(part)
        return out

    def curve(self, psi: ArrayLike, place: np.ndarray, weight: np.ndarray) -> np.ndarray:
        upper = self._upper(psi)
        both = np.triu((weight + np.transpose(weight)) * upper[1:, :-1], 1)
        return _symmetric(upper[:, :-1] @ both @ upper[1:], place)

    def natural(self, psi: ArrayLike) -> np.ndarray:
        return np.tanh(np.asarray(psi, dtype=float))

    def free(self, rho: ArrayLike) -> np.ndarray:
        return between_minus_one_and_one(rho, self.names)

    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        return np.diag(slope_of_tanh(np.asarray(psi, dtype=float)))

    def starts(
        self, correlation: np.ndarray, pairs: np.ndarray, distance: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Correlations of neighbours, none, and 0.7 between all."""
        r, n = known_moments(correlation, pairs)
        means, _ = moments_by_lag(correlation, pairs)
        own = np.where(np.diag(n, 1) > 0, np.diag(r, 1), means[1])
        starts = (np.clip(own, -0.95, 0.95), np.zeros(self.m - 1), np.full(self.m - 1, 0.7))
        return [self.free(rho) for rho in starts]

    def at_limit(self, psi: ArrayLike) -> list[AtLimit]:
        return tanh_limits(np.asarray(psi, dtype=float), self.names)


def _symmetric(upper: np.ndarray, place: np.ndarray) -> np.ndarray:
    """U + U' at the visits of groups, (..., c, s, s)."""
    return at_visits(upper + np.swapaxes(upper, -1, -2), place)
