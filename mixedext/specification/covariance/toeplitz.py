"""Toeplitz: a correlation of its own at each lag, or at the first few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mixedext.limits import CORRELATION_AT_LIMIT
from mixedext.specification.covariance.autoregressive import AutoRegressive, nearest_power
from mixedext.specification.covariance.correlation import (
    AtLimit,
    LagCorrelation,
    check_number,
    moments_by_lag,
)
from mixedext.specification.covariance.partial_correlations import (
    partials_of_correlations,
    recursion,
)

__all__ = ["Toeplitz"]

# Partial autocorrelations of a start are not larger.
_START = 0.95
# Its hyperbolic tangent is one.
_BEYOND = 40.0


@dataclass(frozen=True)
class Toeplitz(LagCorrelation):
    """C_ab = rho_|a - b| over visits a, b.

    With all bands psi are atanh of the partial autocorrelations: the matrix is definite at
    every psi.  With fewer, psi are the correlations themselves, those beyond are zero; the
    matrix is not definite everywhere, and a step that leaves that set is to be shortened.

    Parameters
    ----------
    m : int
        Number of visits, at least 2.
    bands : int, optional
        Diagonals that are not zero, with the main one, as in SAS's TOEP(q): lags
        1 .. bands - 1 have correlations.  All, m, if None.
    """

    m: int
    bands: int | None = None

    linear_if_homogeneous: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.m < 2:
            raise ValueError(f"a Toeplitz structure needs 2 visits, m = {self.m}")
        if self.bands is not None and not 2 <= self.bands <= self.m:
            raise ValueError(
                f"bands = {self.bands} counts the main diagonal: for {self.m} visits it "
                f"is 2 to {self.m}"
            )

    @property
    def is_full(self) -> bool:
        """Whether each lag has a correlation."""
        return self.bands is None or self.bands == self.m

    @property
    def n_psi(self) -> int:
        return (self.m if self.bands is None else self.bands) - 1

    @property
    def nested(self) -> AutoRegressive | None:
        # which has no partial autocorrelation but the first
        return AutoRegressive() if self.is_full and self.m > 2 else None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"rho {k + 1}" for k in range(self.n_psi))

    def by_lag(self, psi: ArrayLike, n: int) -> np.ndarray:
        return _from_lag_one(self.natural(psi), n, 1.0)

    def slopes(self, psi: ArrayLike, n: int) -> np.ndarray:
        return _from_lag_one(self.jacobian(psi).T, n, 0.0)

    def bend_by_lag(self, psi: ArrayLike, score: np.ndarray) -> np.ndarray:
        if not self.is_full:
            return np.zeros((self.n_psi, self.n_psi))
        score = _from_lag_one(score[1:], self.m, 0.0)[1:]
        return recursion(np.asarray(psi, dtype=float)).dd_rho @ score

    def curve_by_lag(self, psi: ArrayLike, n: int, weight: np.ndarray) -> np.ndarray:
        return np.zeros(n)

    def natural(self, psi: ArrayLike) -> np.ndarray:
        psi = np.asarray(psi, dtype=float)
        return recursion(psi, 0).rho if self.is_full else psi.copy()

    def free(self, rho: ArrayLike) -> np.ndarray:
        rho = np.asarray(rho, dtype=float)
        check_number(rho, self.names)
        partials = partials_of_correlations(_from_lag_one(rho, self.m, 1.0)[1:])
        if np.isnan(partials).any():
            given = ", ".join(
                f"{name} = {value:g}" for name, value in zip(self.names, rho, strict=True)
            )
            raise ValueError(
                f"the Toeplitz matrix of {given} over {self.m} visits is not positive "
                "definite"
            )
        return np.arctanh(partials) if self.is_full else rho.copy()

    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        if not self.is_full:
            return np.eye(self.n_psi)
        return recursion(np.asarray(psi, dtype=float), 1).d_rho.T

    def starts(
        self, correlation: np.ndarray, pairs: np.ndarray, distance: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Means by lag, shrunk until definite; no correlation; autoregressions."""
        r, n = moments_by_lag(correlation, pairs)
        powers = [rho ** np.arange(1, self.m) for rho in (nearest_power(r, n), 0.95)]
        mean = np.where(n > 0, r, 0.0)[1:]
        none = np.zeros(self.n_psi)
        return [self._definite(mean), none, *(self._definite(p) for p in powers)]

    def _definite(self, rho: np.ndarray) -> np.ndarray:
        """Psi of correlations by lag, shrunk until they lie well inside."""
        k = self.n_psi
        for share in np.linspace(1.0, 0.0, 21):
            inside = _from_lag_one(share * rho[:k], self.m, 1.0)[1:]
            if np.max(np.abs(partials_of_correlations(inside)), initial=0.0) <= _START:
                return self.free(inside[:k])
        return np.zeros(k)

    def at_limit(self, psi: ArrayLike) -> list[AtLimit]:
        """Partial autocorrelations at -1 or 1, named by the correlation at that lag."""
        psi = np.asarray(psi, dtype=float)
        if not self.is_full:
            partials = partials_of_correlations(_from_lag_one(psi, self.m, 1.0)[1:])
            if (np.abs(partials) < 1 - CORRELATION_AT_LIMIT).all():
                return []
            # at the edge of the definite matrices; the band's last correlation is named
            k = self.n_psi - 1
            return [AtLimit(k, self.names[k], float(psi[k]))]
        near = 2 * np.exp(-2 * np.abs(psi)) < CORRELATION_AT_LIMIT
        rho = recursion(np.where(near, _BEYOND * np.sign(psi), psi), 0).rho
        return [AtLimit(int(k), self.names[k], float(rho[k])) for k in np.flatnonzero(near)]


def _from_lag_one(values: np.ndarray, n: int, first: float) -> np.ndarray:
    """What holds at lags 1, 2 .., made a table of lags 0 .. n - 1, zero where untold."""
    out = np.zeros((*values.shape[:-1], n))
    out[..., 0] = first
    k = min(n - 1, values.shape[-1])
    out[..., 1 : k + 1] = values[..., :k]
    return out
