"""Correlations that fall with distance, in space or in time, with or without a nugget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from mixedext.limits import CORRELATION_AT_LIMIT
from mixedext.specification.covariance.correlation import (
    AtLimit,
    Correlation,
    FarEnd,
    check_number,
    known_moments,
)

__all__ = ["KINDS", "Spatial"]

# Log of a range, in units of the scale, beyond which all is as at its limit: squares of
# u = distance / range stay numbers of double precision.
_BEYOND = 200.0
# What the correlation at the longest distance leaves of one, below which the range is on
# its way to infinity; that of a start there; and words on that limit.
_FAR, _START_FAR = 0.01, 0.005
# Nuggets of such starts, by what the variogram rises over the longest distance.
_NUGGETS_FAR = 0.02, 0.1, 0.5
# Logarithms of the least and of the largest ones on the way to the limit.
_NUGGET_TO_RISE = -7.0, 7.0
_LINEAR = "the variogram is linear: sigma^2 grows with it"
# The nuggets of a start lie between these.
_SMALLEST_NUGGET, _LARGEST_NUGGET = 0.01, 0.9
# Ranges that a start is looked for among.
_N_RANGES = 40
# 1 / range beyond which derivatives by rho = exp(-1 / range) are no numbers.
_RHO_IS_ZERO = 300.0


class _Shape(NamedTuple):
    """A correlation c of u = distance / range, with what its derivatives ask for.

    Products are taken from the left in an order in which none is infinity times zero.
    """

    #: c
    value: Callable[[np.ndarray], np.ndarray]
    #: u c', from u and c
    first: Callable[[np.ndarray, np.ndarray], np.ndarray]
    #: u^2 c'', from u and c
    second: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _spherical(u):
    """1 - u (1.5 - 0.5 u^2), in one array."""
    out = u * u
    out *= 0.5
    out -= 1.5
    out *= u
    out += 1.0
    return out


def _slope_of_spherical(u):
    """-1.5 u (1 - u^2), in one array."""
    out = u * u
    out -= 1.0
    out *= u
    out *= 1.5
    return out


_EXP = _Shape(
    lambda u: np.exp(-u),
    lambda u, c: -u * c,
    lambda u, c: u * c * u,
)
_SHAPES = {
    "exp": _EXP,
    "gau": _Shape(
        lambda u: np.exp(-u * u),
        lambda u, c: -2 * u * c * u,
        lambda u, c: u * c * u * (4 * u * u - 2),
    ),
    "spher": _Shape(
        lambda u: _spherical(np.minimum(u, 1.0)),
        lambda u, c: _slope_of_spherical(np.minimum(u, 1.0)),
        lambda u, c: np.where(u < 1, 3 * u * u * u, 0.0),
    ),
    "lin": _Shape(
        lambda u: np.maximum(1 - u, 0.0),
        lambda u, c: np.where(u < 1, -u, 0.0),
        lambda u, c: np.zeros_like(u),
    ),
    "ratio": _Shape(
        lambda u: 1 / (1 + u * u),
        lambda u, c: -2 * u * c * u * c,
        lambda u, c: u * c * u * (6 * u * c * u - 2 * c) * c,
    ),
    "pow": _EXP,
}
#: Names of the shapes.
KINDS = tuple(_SHAPES)


@dataclass(frozen=True)
class Spatial(Correlation):
    """C_ab = (1 - nugget) c(d_ab / range) for a != b, d_ab the distance of two rows.

    =======  ===============================================
    exp      exp(-u)
    gau      exp(-u^2)
    spher    1 - 1.5 u + 0.5 u^3 for u < 1, else 0
    lin      1 - u for u < 1, else 0; a correlation on the line only
    ratio    1 / (1 + u^2)
    pow      exp(-u), in rho = exp(-1 / range): rho^d
    =======  ===============================================

    Psi is the logarithm of range / scale and, with a nugget, its logit.

    Parameters
    ----------
    kind : str
        One of those above.
    nugget : bool
        Whether correlations tend to 1 - nugget, not to 1, as distances vanish.
    scale : float
        A typical distance.
    shortest, longest : float, optional
        The shortest distance in the data that is not zero, and the longest; by them a
        range is told to have run to a limit.  The scale if None.
    """

    kind: str
    nugget: bool = False
    scale: float = 1.0
    shortest: float | None = None
    longest: float | None = None

    over_visits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.kind not in _SHAPES:
            raise ValueError(f"kind = {self.kind!r} is none of {', '.join(KINDS)}")
        for name in ("scale", "shortest", "longest"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise ValueError(f"{name} = {value:g} is not a positive distance")

    @property
    def n_psi(self) -> int:
        return 2 if self.nugget else 1

    @property
    def names(self) -> tuple[str, ...]:
        first = "rho" if self.kind == "pow" else "range"
        return (first, "nugget") if self.nugget else (first,)

    # ---- the curve ----

    def _range(self, psi: ArrayLike) -> float:
        log_range = float(np.asarray(psi, dtype=float)[0])
        return float(self.scale * np.exp(min(max(log_range, -_BEYOND), _BEYOND)))

    @property
    def is_chain(self) -> bool:
        return self.kind in ("exp", "pow") and not self.nugget

    def by_gap(self, psi: ArrayLike, gap: np.ndarray) -> np.ndarray:
        u = gap * (1 / self._range(psi))
        with np.errstate(over="ignore", invalid="ignore"):
            less, value = -np.expm1(-u), np.exp(-u)
            first = u * value
            return np.array([less, value, first, (u - 1) * first])

    def _share(self, psi: ArrayLike) -> float:
        """1 - nugget."""
        return float(expit(-np.asarray(psi, dtype=float)[1])) if self.nugget else 1.0

    def _slope_of_nugget(self, psi: ArrayLike) -> float:
        x = np.asarray(psi, dtype=float)[1]
        return float(expit(x) * expit(-x))

    def matrix(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        out = _SHAPES[self.kind].value(place * (1 / self._range(psi)))
        if self.nugget:
            out *= self._share(psi)
        _set_diagonal(out, 1.0)
        return out

    def tangent(self, psi: ArrayLike, place: np.ndarray) -> np.ndarray:
        # d u / d log range = -u
        shape, u = _SHAPES[self.kind], place * (1 / self._range(psi))
        value = shape.value(u)
        out = np.empty((self.n_psi, *u.shape))
        np.multiply(shape.first(u, value), -self._share(psi), out=out[0])
        if self.nugget:
            np.multiply(value, -self._slope_of_nugget(psi), out=out[1])
            _set_diagonal(out[1], 0.0)
        return out

    def bend(self, psi: ArrayLike, place: np.ndarray, score: np.ndarray) -> np.ndarray:
        shape, u = _SHAPES[self.kind], place * (1 / self._range(psi))
        score = np.asarray(score, dtype=float)
        value = shape.value(u)
        first = shape.first(u, value)
        slope = np.vdot(score, first)
        turn = slope + np.vdot(score, shape.second(u, value))
        out = np.full((self.n_psi, self.n_psi), self._share(psi) * turn)
        if self.nugget:
            x, change = np.asarray(psi, dtype=float)[1], self._slope_of_nugget(psi)
            off = np.vdot(score, value) - np.einsum("caa->", score)
            out[0, 1] = out[1, 0] = change * slope
            # d2 nugget = -(1 - 2 nugget) .. and 2 nugget - 1 = tanh(x / 2)
            out[1, 1] = change * np.tanh(x / 2) * off
        return out

    def curve(self, psi: ArrayLike, place: np.ndarray, weight: np.ndarray) -> np.ndarray:
        shape, size = _SHAPES[self.kind], self._range(psi)
        u = place * (1 / size)
        value = shape.value(u)
        if self.kind == "pow":
            slope, turn = self._by_rho(place, size)
        else:
            first = shape.first(u, value)
            slope = first * (-1 / size)
            turn = (2 * first + shape.second(u, value)) * (1 / size**2)
        out = weight[0, 0] * self._share(psi) * turn
        if self.nugget:
            out -= (weight[0, 1] + weight[1, 0]) * slope
        return out

    def _by_rho(self, place: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives d rho^(d - 1) and d (d - 1) rho^(d - 2) of rho^d."""
        if 1 / size > _RHO_IS_ZERO:
            raise ValueError(
                f"the correlation at distance 1 is exp(-{1 / size:.3g}), zero to rounding: "
                "it has no second derivatives; state distances in a unit nearer to those "
                "of the data, or take kind exp, whose parameter is the range"
            )
        d = np.asarray(place, dtype=float)
        # exponents of the rows with themselves do not matter: d is zero there
        slope = d * np.exp(np.where(d > 0, 1 - d, 0.0) / size)
        turn = d * (d - 1) * np.exp(np.where(d > 0, 2 - d, 0.0) / size)
        return slope, turn

    # ---- natural parameters ----

    def natural(self, psi: ArrayLike) -> np.ndarray:
        size = self._range(psi)
        first = np.exp(-1 / size) if self.kind == "pow" else size
        if not self.nugget:
            return np.array([first])
        return np.array([first, expit(np.asarray(psi, dtype=float)[1])])

    def free(self, rho: ArrayLike) -> np.ndarray:
        rho = np.asarray(rho, dtype=float)
        check_number(rho, self.names)
        if self.kind == "pow":
            if not 0 < rho[0] < 1:
                raise ValueError(f"rho = {rho[0]:g} is not between 0 and 1")
            psi = [-np.log(-np.log(rho[0])) - np.log(self.scale)]
        else:
            if not 0 < rho[0] < np.inf:
                raise ValueError(f"range = {rho[0]:g} is not positive")
            psi = [np.log(rho[0]) - np.log(self.scale)]
        if self.nugget:
            if not 0 < rho[1] < 1:
                raise ValueError(f"nugget = {rho[1]:g} is not between 0 and 1")
            psi.append(logit(rho[1]))
        return np.array(psi)

    def jacobian(self, psi: ArrayLike) -> np.ndarray:
        size = self._range(psi)
        slopes = [np.exp(-1 / size) / size if self.kind == "pow" else size]
        if self.nugget:
            slopes.append(self._slope_of_nugget(psi))
        return np.diag(slopes)

    # ---- where to start, where to end ----

    def starts(
        self, correlation: np.ndarray, pairs: np.ndarray, distance: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """The range, and nugget, nearest to the moments; near independence; wide."""
        if distance is None:
            raise ValueError("starts of a structure over distances need them: distance")
        r, n = known_moments(correlation, pairs)
        n = np.where(np.asarray(distance) > 0, n, 0.0)
        known = n > 0
        if not known.any():
            return [np.array([0.0, logit(0.2)][: self.n_psi])]
        d, r, n = np.asarray(distance, dtype=float)[known], r[known], n[known]
        ranges = np.geomspace(d.min() / 2, 2 * d.max(), _N_RANGES)
        c = _SHAPES[self.kind].value(d / ranges[:, None])
        if self.nugget:
            # least squares in the share 1 - nugget at each range
            square = (c**2) @ n
            share = np.divide(
                c @ (n * r), square, out=np.ones_like(square), where=square > 0
            )
            share = np.clip(share, 1 - _LARGEST_NUGGET, 1 - _SMALLEST_NUGGET)
        else:
            share = np.ones(len(ranges))
        best = int(np.argmin(((r - share[:, None] * c) ** 2) @ n))
        chosen = [
            (ranges[best], 1 - share[best]),
            (self._range_with(0.05, d.min()), 0.5),
            (d.max() / 2, 0.2),
        ]
        if self.nugget and self._initial_slope:
            size = self._initial_slope * (self.longest or d.max()) / _START_FAR
            chosen += [(size, own * _START_FAR) for own in _NUGGETS_FAR]
        return [self._psi_of_range(size, nugget) for size, nugget in chosen]

    def _psi_of_range(self, size: float, nugget: float) -> np.ndarray:
        """Psi of a range, also where it stands for a rho, and a nugget if there is one."""
        return np.array([np.log(size / self.scale), logit(nugget)][: self.n_psi])

    def _range_with(self, correlation: float, distance: float) -> float:
        """The range at which rows of a distance have about that correlation."""
        u = np.geomspace(1e-2, 1e2, 4001)
        above = _SHAPES[self.kind].value(u) > correlation
        return float(distance / u[np.flatnonzero(above)[-1]])

    def at_limit(self, psi: ArrayLike) -> list[AtLimit]:
        out = []
        size, shape = self._range(psi), _SHAPES[self.kind]
        near = shape.value(np.array((self.shortest or self.scale) / size))
        far = shape.value(np.array((self.longest or self.scale) / size))
        name = self.names[0]
        if near < CORRELATION_AT_LIMIT:
            out.append(AtLimit(0, name, 0.0))
        is_far = bool(1 - far < CORRELATION_AT_LIMIT)
        if is_far and not near < CORRELATION_AT_LIMIT:
            value = 1.0 if self.kind == "pow" else np.inf
            out.append(AtLimit(0, name, value))
        if self.nugget:
            x = float(np.asarray(psi, dtype=float)[1])
            # beside correlations near one it is small by what these leave
            rise = self._initial_slope * (self.longest or self.scale) / size
            own = x - np.log(rise) if is_far and rise else x
            if expit(-abs(own)) < CORRELATION_AT_LIMIT:
                out.append(AtLimit(1, "nugget", float(own > 0)))
        return out

    @property
    def _initial_slope(self) -> float:
        """-c'(0); zero of a kind whose variogram is not linear near zero."""
        return {"gau": 0.0, "ratio": 0.0, "spher": 1.5}.get(self.kind, 1.0)

    def note_on(self, limit: AtLimit) -> str:
        is_far = limit.number == 0 and limit.value > 0
        return _LINEAR if is_far and self._initial_slope else ""

    def far_end(self, psi: ArrayLike, share: float) -> FarEnd | None:
        """On the way to the linear variogram, nugget + slope d.

        As the range grows, with sigma^2 (1 - nugget) / range and sigma^2 nugget fixed, V
        has the limit sigma^2 11' + nugget I - slope D on contrasts, D the distances: an
        intrinsic random field of order zero (Matheron 1973, Advances in Applied Probability
        5, 439-468).
        """
        slope, longest = self._initial_slope, self.longest or self.scale
        before = slope * longest / self._range(psi)
        if not 0 < before < _FAR:
            return None
        out = np.array(psi, dtype=float)
        growth = before / share
        out[0] = np.log(longest * slope / share / self.scale)
        if self.nugget:
            ratio = out[1] - np.log(growth)
            # a nugget beside which the slope is nothing, or the reverse, is no start
            out[1] = np.log(share) + np.clip(ratio - np.log(share), *_NUGGET_TO_RISE)
        return FarEnd(0, out, growth)


def _set_diagonal(matrices: np.ndarray, value: float) -> None:
    # a view whatever the order in memory, which is that of the distances
    np.einsum("caa->ca", matrices)[...] = value
