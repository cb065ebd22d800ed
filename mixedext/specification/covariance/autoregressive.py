"""First-order autoregression over visits, and in continuous time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mixedext.specification.covariance.correlation import (
    AtLimit,
    LagCorrelation,
    between_minus_one_and_one,
    moments_by_lag,
    slope_of_tanh,
    tanh_limits,
)
from mixedext.specification.covariance.spatial import Spatial

__all__ = ["AutoRegressive", "ContinuousAR1"]


@dataclass(frozen=True)
class AutoRegressive(LagCorrelation):
    """C_ab = rho^|a - b| over visits a, b; rho in (-1, 1) is tanh psi."""

    n_psi: ClassVar[int] = 1
    names: ClassVar[tuple[str, ...]] = ("rho",)

    def by_lag(self, psi: ArrayLike, n: int) -> np.ndarray:
        return self.natural(psi) ** np.arange(n)

    def slopes(self, psi: ArrayLike, n: int) -> np.ndarray:
        return self.jacobian(psi) * slope_of_power(self.natural(psi), n)

    def bend_by_lag(self, psi: ArrayLike, score: np.ndarray) -> np.ndarray:
        n, rho, change = len(score), self.natural(psi), self.jacobian(psi)
        # d2 rho / d psi2 = -2 rho (1 - rho^2)
        turn = change**2 * turn_of_power(rho, n) - 2 * rho * change * slope_of_power(rho, n)
        return turn @ score[:, None]

    def curve_by_lag(self, psi: ArrayLike, n: int, weight: np.ndarray) -> np.ndarray:
        return weight[0, 0] * turn_of_power(self.natural(psi), n)

    def natural(self, psi: ArrayLike) -> np.ndarray:
        return np.tanh(np.asarray(psi, dtype=float))

    def free(self, rho: ArrayLike) -> np.ndarray:
        return between_minus_one_and_one(rho, self.names)

    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        return slope_of_tanh(np.asarray(psi, dtype=float))[:, None]

    is_chain: ClassVar[bool] = True

    def by_gap(self, psi: ArrayLike, gap: np.ndarray) -> np.ndarray:
        lag = np.asarray(gap, dtype=np.intp)
        n, x = int(lag.max(initial=0)) + 1, float(np.asarray(psi, dtype=float)[0])
        rho, change = self.natural(psi), self.jacobian(psi)[0, 0]
        value, slope = rho ** np.arange(n), slope_of_power(rho, n)
        less = 1 - value
        if x > 0:  # log tanh x, which keeps the digits of 1 - rho
            less = -np.expm1(np.arange(n) * np.log1p(-2 / (np.exp(min(2 * x, 700.0)) + 1)))
        turn = change**2 * turn_of_power(rho, n) - 2 * rho * change * slope
        return np.array([less, value, change * slope, turn])[:, lag]

    def starts(
        self, correlation: np.ndarray, pairs: np.ndarray, distance: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """The rho nearest to the moments, none, 0.95, 0.7, and a negative one."""
        r, pairs = moments_by_lag(correlation, pairs)
        others = 0.0, 0.95, 0.7, -0.4
        return [self.free([rho]) for rho in (nearest_power(r, pairs), *others)]

    def at_limit(self, psi: ArrayLike) -> list[AtLimit]:
        return tanh_limits(np.asarray(psi, dtype=float), self.names)


@dataclass(frozen=True)
class ContinuousAR1(Spatial):
    """C_ab = rho^|t_a - t_b| at times t; rho in (0, 1) is the correlation at distance one.

    Psi is the logarithm of -1 / log(rho), the time in which a correlation falls by a
    factor e, in units of the scale.

    Parameters
    ----------
    scale : float
        A typical distance of two times.
    shortest, longest : float, optional
        The shortest distance in the data that is not zero, and the longest; by them rho
        is told to have run to a limit.  The scale if None.
    """

    kind: str = field(default="pow", init=False, repr=False)
    nugget: bool = field(default=False, init=False, repr=False)


def slope_of_power(rho: ArrayLike, n: int) -> np.ndarray:
    """d rho^lag / d rho at lags 0 .. n - 1."""
    lag = np.arange(n)
    return lag * rho ** np.maximum(lag - 1, 0)


def turn_of_power(rho: ArrayLike, n: int) -> np.ndarray:
    """d2 rho^lag / d rho2 at lags 0 .. n - 1."""
    lag = np.arange(n)
    return lag * (lag - 1) * rho ** np.maximum(lag - 2, 0)


def nearest_power(r: np.ndarray, pairs: np.ndarray) -> float:
    """Rho with least sum of n_lag (r_lag - rho^lag)^2 over lags from 1 on."""
    lag = np.arange(len(r))
    pairs = np.where(lag > 0, pairs, 0.0)

    def loss(rho: np.ndarray) -> np.ndarray:
        return ((r - rho[:, None] ** lag) ** 2) @ pairs

    if not pairs.any():
        return 0.0
    # of rho and -rho alike, where only even lags have pairs, the positive one
    grid = np.linspace(0.95, -0.95, 20)
    best = grid[[np.argmin(loss(grid))]]
    for _ in range(2):
        miss, slope, n = r - best**lag, slope_of_power(best, len(r)), len(r)
        first = -pairs @ (miss * slope)
        second = pairs @ (slope**2 - miss * turn_of_power(best, n))
        if second <= 0:
            break
        step = np.clip(best - first / second, -0.95, 0.95)
        if loss(step) >= loss(best):
            break
        best = step
    return float(best[0])
