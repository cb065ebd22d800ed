"""Autoregressive moving averages over visits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mixedext.kernels.covariance import autocorrelations
from mixedext.limits import CORRELATION_AT_LIMIT
from mixedext.specification.covariance.autoregressive import (
    slope_of_power,
    turn_of_power,
)
from mixedext.specification.covariance.correlation import (
    AtLimit,
    LagCorrelation,
    check_number,
    moments_by_lag,
)
from mixedext.specification.covariance.partial_correlations import (
    partials_of_coefficients,
    partials_of_correlations,
    recursion,
)

__all__ = ["ARMA"]

# Partial autocorrelations of a start are not larger.
_START = 0.9
# Steps of Gauss and Newton towards the moments.
_STEPS = 6
# They end where one leaves more than this share of the sum of squares.
_SETTLED = 0.95
# Its hyperbolic tangent is one.
_BEYOND = 40.0


class _Table(NamedTuple):
    """What holds at lags, in the last axis, with derivatives by coefficients before it."""

    value: np.ndarray
    first: np.ndarray
    second: np.ndarray


class _Natural(NamedTuple):
    """Coefficients (n_psi,), d eta_k / d psi_r as [k, r], d2 eta_k as [k, r, s]."""

    value: np.ndarray
    first: np.ndarray
    second: np.ndarray


@dataclass(frozen=True)
class ARMA(LagCorrelation):
    """Autocorrelations of y_t = sum_j ar_j y_(t - j) + e_t + sum_j ma_j e_(t - j).

    Psi are atanh of the partial autocorrelations of 1 - ar_1 z - .. and of
    1 + ma_1 z + .., of the latter with their signs turned, so that ma_1 = tanh psi if q is
    one: the process is stationary and invertible at every psi.  Where the two polynomials
    share a root (ar_1 = -ma_1) a smaller process is the same, and psi are not identified.
    Second derivatives of one coefficient each are taken in SAS's parameters.

    Parameters
    ----------
    p, q : int
        Number of autoregressive and of moving average coefficients, not both zero.
    """

    p: int
    q: int

    def __post_init__(self) -> None:
        if self.p < 0 or self.q < 0 or self.p + self.q < 1:
            raise ValueError(
                f"p = {self.p} and q = {self.q} count coefficients: not negative, and one "
                "of them positive"
            )

    @property
    def n_psi(self) -> int:
        return self.p + self.q

    @property
    def names(self) -> tuple[str, ...]:
        ar, ma = range(1, self.p + 1), range(1, self.q + 1)
        return (*(f"ar {j}" for j in ar), *(f"ma {j}" for j in ma))

    # ---- the curve ----

    def by_lag(self, psi: ArrayLike, n: int) -> np.ndarray:
        return self._table(self._natural(psi, 0).value, n, 0).value

    def slopes(self, psi: ArrayLike, n: int) -> np.ndarray:
        eta = self._natural(psi, 1)
        return eta.first.T @ self._table(eta.value, n, 1).first

    def bend_by_lag(self, psi: ArrayLike, score: np.ndarray) -> np.ndarray:
        eta = self._natural(psi, 2)
        table = self._table(eta.value, len(score), 2)
        by_chain = np.tensordot(table.first @ score, eta.second, 1)
        return eta.first.T @ (table.second @ score) @ eta.first + by_chain

    def curve_by_lag(self, psi: ArrayLike, n: int, weight: np.ndarray) -> np.ndarray:
        if self._is_sas:
            return _curve_by_gamma(self.by_lag(psi, 2)[1], self.natural(psi)[0], n, weight)
        table = self._table(self._natural(psi, 0).value, n, 2)
        return np.tensordot(np.asarray(weight, dtype=float), table.second, 2)

    def _table(self, eta: np.ndarray, n: int, order: int) -> _Table:
        """Correlations at lags 0 .. n - 1, with derivatives by the coefficients."""
        ar = _autoregression(eta[: self.p], n + self.q, order)
        if not self.q:
            return _Table(*(table[..., :n] for table in ar))
        out = _empty(self.n_psi, n, order)
        autocorrelations.add_moving_average(eta[self.p :], order, *ar, *out)
        return out

    # ---- natural parameters ----

    def _natural(self, psi: ArrayLike, order: int) -> _Natural:
        p, n = self.p, self.n_psi
        psi = np.asarray(psi, dtype=float)
        ar, ma = recursion(psi[:p], order), recursion(-psi[p:], order)
        first, second = np.zeros((n, n)), np.zeros((n, n, n))
        if order > 0:
            first[:p, :p], first[p:, p:] = ar.d_phi.T, ma.d_phi.T
        if order > 1:
            second[:p, :p, :p] = ar.dd_phi.transpose(2, 0, 1)
            second[p:, p:, p:] = -ma.dd_phi.transpose(2, 0, 1)
        return _Natural(np.concatenate([ar.phi, -ma.phi]), first, second)

    def natural(self, psi: ArrayLike) -> np.ndarray:
        return self._natural(psi, 0).value

    def free(self, rho: ArrayLike) -> np.ndarray:
        rho = np.asarray(rho, dtype=float)
        check_number(rho, self.names)
        ar = partials_of_coefficients(rho[: self.p])
        ma = -partials_of_coefficients(-rho[self.p :])
        if np.isnan(ar).any():
            raise ValueError(
                f"{_listed('ar', rho[: self.p])}: coefficients of no stationary process"
            )
        if np.isnan(ma).any():
            raise ValueError(
                f"{_listed('ma', rho[self.p :])}: coefficients of no invertible process"
            )
        return np.arctanh(np.concatenate([ar, ma]))

    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        return self._natural(psi, 1).first

    @property
    def _is_sas(self) -> bool:
        """Whether SAS has the structure, with the parameters rho and gamma.

        They are ar_1 and the correlation at lag 1: gamma rho^(k - 1) at lag k.
        """
        return self.p == self.q == 1

    def sas_jacobian(self, psi: ArrayLike) -> np.ndarray:
        out = self.jacobian(psi)
        if self._is_sas:
            out[1] = self.slopes(psi, 2)[:, 1]
        return out

    # ---- where to start, where to end ----

    def starts(
        self, correlation: np.ndarray, pairs: np.ndarray, distance: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """That nearest to the moments by lag, weak correlations, strong ones."""
        r, n = moments_by_lag(correlation, pairs)
        n[0] = 0.0
        size = self.n_psi
        strong = np.zeros(size)
        strong[0] = np.arctanh(0.7)
        # no shared root: there the derivatives by ar and ma are the same
        weak = np.full(size, 0.1)
        partials = np.zeros(self.p)
        known = r[1 : self.p + 1]
        partials[: len(known)] = partials_of_correlations(known)
        partials = np.clip(np.nan_to_num(partials), -_START, _START)
        own = [
            np.concatenate([np.arctanh(partials), np.full(self.q, part)])
            for part in ((-0.5, 0.1, 0.5) if self.q else (0.0,))
        ]
        by_distance = sorted((*own, weak, strong), key=lambda x: self._distance(x, r, n))
        tried = [self._nearer(psi, r, n) for psi in by_distance[:2]]
        nearest = min(tried, key=lambda psi: self._distance(psi, r, n))
        return [nearest, weak, strong]

    def _distance(self, psi: np.ndarray, r: np.ndarray, pairs: np.ndarray) -> float:
        return float(pairs @ (r - self.by_lag(psi, len(r))) ** 2)

    def _nearer(self, psi: np.ndarray, r: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """Steps of Gauss and Newton towards moments, within partial correlations 0.9."""
        bound, distance = np.arctanh(_START), self._distance(psi, r, pairs)
        for _ in range(_STEPS):
            slopes = self.slopes(psi, len(r)) * np.sqrt(pairs)
            miss = (r - self.by_lag(psi, len(r))) * np.sqrt(pairs)
            step = np.linalg.lstsq(slopes.T, miss, rcond=1e-6)[0]
            for share in (1.0, 0.3, 0.1):
                new = np.clip(psi + share * step, -bound, bound)
                nearer = self._distance(new, r, pairs)
                if nearer < distance:
                    break
            else:
                return psi
            settled = nearer > _SETTLED * distance
            psi, distance = new, nearer
            if settled:
                break
        return psi

    def at_limit(self, psi: ArrayLike) -> list[AtLimit]:
        """Partial autocorrelations at -1 or 1, named by the coefficient of that order."""
        psi = np.asarray(psi, dtype=float)
        near = 2 * np.exp(-2 * np.abs(psi)) < CORRELATION_AT_LIMIT
        limit = self.natural(np.where(near, _BEYOND * np.sign(psi), psi))
        return [
            AtLimit(int(k), self.names[k], float(limit[k])) for k in np.flatnonzero(near)
        ]


def _curve_by_gamma(gamma: float, rho: float, n: int, weight: np.ndarray) -> np.ndarray:
    """Second derivatives of gamma rho^(k - 1) at lags 0 .. n - 1, weighted."""
    out = np.zeros(n)
    own = max(n - 1, 0)
    both = slope_of_power(rho, own), turn_of_power(rho, own)
    out[1:] = 2 * weight[0, 1] * both[0] + weight[0, 0] * gamma * both[1]
    return out


def _empty(size: int, n: int, order: int) -> _Table:
    first, second = (size if order > 0 else 0), (size if order > 1 else 0)
    return _Table(np.empty(n), np.empty((first, n)), np.empty((second, second, n)))


def _autoregression(phi: np.ndarray, n: int, order: int) -> _Table:
    """Autocorrelations at lags 0 .. n - 1, and up to p, of an autoregression.

    The first p solve Yule and Walker's equations rho_k = sum_j phi_j rho_|k - j|, which
    are differentiated as they stand; those beyond follow by the same recursion.
    """
    p = len(phi)
    if p == 1:
        first, second = slope_of_power(phi, n)[None], turn_of_power(phi, n)[None, None]
        return _Table(phi ** np.arange(n), first, second)
    value, first, second = _empty(p, max(n, p + 1), order)
    value[0] = 1.0
    if p == 0:
        value[1:] = 0.0
        return _Table(value, first, second)
    orders = np.arange(1, p + 1)
    apart = np.abs(orders[:, None] - orders)  # |k - j|
    left = np.eye(p)
    for i in range(1, p):
        left[:, i - 1] -= (apart == i) @ phi
    value[1 : p + 1] = np.linalg.solve(left, phi)
    if order > 0:
        first[:, 0] = 0.0
        first[:, 1 : p + 1] = np.linalg.solve(left, value[apart]).T
    if order > 1:
        second[:, :, 0] = 0.0
        own = first[:, apart]  # [s, k, r]
        right = (own + own.transpose(2, 1, 0)).transpose(1, 0, 2)
        solved = np.linalg.solve(left, right.reshape(p, -1)).reshape(p, p, p)
        second[:, :, 1 : p + 1] = solved.transpose(1, 2, 0)
    autocorrelations.extend_autoregression(phi, order, value, first, second)
    return _Table(value, first, second)


def _listed(name: str, values: np.ndarray) -> str:
    return ", ".join(f"{name} {j} = {value:g}" for j, value in enumerate(values, 1))
