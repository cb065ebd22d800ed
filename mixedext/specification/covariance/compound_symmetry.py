"""Compound symmetry: one correlation of any two rows of a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit, logit

from mixedext.limits import CORRELATION_AT_LIMIT
from mixedext.specification.covariance.correlation import (
    AtLimit,
    Correlation,
    check_number,
    known_moments,
)

__all__ = ["CompoundSymmetry"]


@dataclass(frozen=True)
class CompoundSymmetry(Correlation):
    """C_ab = rho for a != b, whatever the visits are.

    With a = 1 / (m - 1), rho lies between -a and 1, and psi = logit((rho + a) / (1 + a)).

    Parameters
    ----------
    m : int
        Rows of the largest group, at least 2.
    """

    m: int

    linear_if_homogeneous: ClassVar[bool] = True
    n_psi: ClassVar[int] = 1
    names: ClassVar[tuple[str, ...]] = ("rho",)

    def __post_init__(self) -> None:
        if self.m < 2:
            raise ValueError(f"compound symmetry needs groups of 2 rows, m = {self.m}")

    @property
    def lower_bound(self) -> float:
        """The least rho at which the largest group has a definite matrix."""
        return -1.0 / (self.m - 1)

    def matrix(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        return _off_diagonal(self.natural(psi)[0], place, 1.0)

    def tangent(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        return _off_diagonal(self.jacobian(psi)[0, 0], place, 0.0)[None]

    def bend(self, psi: ArrayLike, place: np.ndarray, score: np.ndarray) -> np.ndarray:
        (x,) = np.asarray(psi, dtype=float)
        # d2 expit = expit (1 - expit) (1 - 2 expit), and 2 expit(x) - 1 = tanh(x / 2)
        turn = -self.jacobian(psi) * np.tanh(x / 2)
        return turn * (np.sum(score) - np.einsum("caa->", score))

    def curve(self, psi: ArrayLike, place: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return np.zeros((*np.shape(place), np.shape(place)[1]))

    def natural(self, psi: ArrayLike) -> np.ndarray:
        psi, a = np.asarray(psi, dtype=float), self.lower_bound
        return a + (1 - a) * expit(psi)

    def free(self, rho: ArrayLike) -> np.ndarray:
        rho, a = np.asarray(rho, dtype=float), self.lower_bound
        check_number(rho, self.names)
        if not a < rho[0] < 1:
            raise ValueError(
                f"rho = {rho[0]:g} is not between {a:g} and 1, as compound symmetry in "
                f"groups of up to {self.m} rows asks"
            )
        return logit((rho - a) / (1 - a))

    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        psi = np.asarray(psi, dtype=float)
        return (1 - self.lower_bound) * (expit(psi) * expit(-psi))[:, None]

    def starts(
        self, correlation: np.ndarray, pairs: np.ndarray, distance: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """The mean correlation, none, a high one, and a negative one."""
        r, n = known_moments(correlation, pairs)
        n = n * (1 - np.eye(len(n)))
        a, total = self.lower_bound, n.sum()
        mean = float((n * r).sum() / total) if total > 0 else 0.0
        mean = min(max(mean, 0.9 * a), 0.95)
        return [self.free([rho]) for rho in (mean, 0.0, 0.7, 0.5 * a)]

    def at_limit(self, psi: ArrayLike) -> list[AtLimit]:
        (x,) = np.asarray(psi, dtype=float)
        if log_expit(-abs(x)) > np.log(CORRELATION_AT_LIMIT):
            return []
        return [AtLimit(0, "rho", 1.0 if x > 0 else self.lower_bound)]


def _off_diagonal(value: float, place: np.ndarray, diagonal: float) -> np.ndarray:
    """Matrices (c, s, s) of one value off the diagonal and another on it."""
    c, s = np.shape(place)
    out = np.full((c, s, s), value)
    out.reshape(c, s * s)[:, :: s + 1] = diagonal
    return out
