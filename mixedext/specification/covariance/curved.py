"""Structured covariances of random effects: standard deviations times a correlation.

    Sigma_ab = s_a s_b C_ab(psi)

with one standard deviation for each column (heterogeneous) or one for all (homogeneous),
and a correlation over the columns in their order.  Free parameters theta are log s_a, or
s itself where there is one, and psi; natural parameters eta are the variances and the
correlations rho, as SAS prints them.

Nothing here is linear in theta.  The engine evaluates the deviance at lam = chol(Sigma) as
it does for any covariance matrix (``ambient``), and derivatives along the curve are those
of the deviance in Sigma by the chain rule.  Once a fit has ended, ``at`` takes the curve as
straight where it has: then ``covariance_basis`` are its tangents, and theta serves for
gamma.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from mixedext.algebra.roots import semidefinite_root
from mixedext.limits import (
    FREE_LIMIT,
    LARGEST_LOG,
    NO_SLOPE_LEFT,
    OF_STRUCTURE,
    RUN_TO_LIMIT,
    START_CEILING,
    START_FLOOR,
    TYPICAL_FREE,
    ZERO_LOG,
)
from mixedext.specification.covariance.antedependence import Antedependence
from mixedext.specification.covariance.autoregressive import AutoRegressive
from mixedext.specification.covariance.compound_symmetry import CompoundSymmetry
from mixedext.specification.covariance.correlation import Correlation
from mixedext.specification.covariance.structure import ParameterName
from mixedext.specification.covariance.term_structure import (
    OutOfRangeError,
    TermStructure,
)
from mixedext.specification.covariance.toeplitz import Toeplitz
from mixedext.specification.covariance.unstructured import Unstructured

__all__ = ["CURVED", "CurvedStructure"]

# Shares of correlations on the edge that lie inside; free parameters of such.
_INSIDE = (1.0, 1 - 2e-16, 1 - 2e-15, 1 - 2e-14, 1 - 2e-13)
_ROUNDED = 14.0
# What the smallest standard deviation of a start is multiplied by.
_SMALL = 0.05


class CurvedStructure(TermStructure):
    """Covariances of ``k`` effects in order, a curve in theta.

    Parameters
    ----------
    k : int
        Number of columns of the term, at least 2.

    Attributes
    ----------
    correlation : Correlation
        Of the columns, over the positions 0..k-1.
    """

    #: Whether every column has a variance of its own.
    het = True
    has_correlations = True

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.correlation = self.correlation_of(k)
        self._at: np.ndarray | None = None

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, k: int) -> Self:
        return cls(k)

    @staticmethod
    @abstractmethod
    def correlation_of(k: int) -> Correlation:
        """The correlation over k columns."""

    @staticmethod
    @abstractmethod
    def elements_of(k: int) -> list[list[tuple[int, int]]]:
        """For each natural parameter the elements of the correlation that it stands in."""

    # ---- sizes and places ----

    @property
    def n_sd(self) -> int:
        """Number of standard deviations."""
        return self.k if self.het else 1

    @property
    def n_theta(self) -> int:
        return self.n_sd + self.correlation.n_psi

    @property
    def n_gamma(self) -> int:
        """Number of natural parameters, as many as of free ones."""
        return self.n_theta

    @property
    def ambient(self) -> Unstructured:
        """The linear structure that holds the curve."""
        return Unstructured.of(self.k)

    @cached_property
    def is_variance(self) -> np.ndarray:
        """Which natural parameters are variances, in the units of the data squared."""
        return np.arange(self.n_theta) < self.n_sd

    @cached_property
    def _place(self):
        return np.arange(self.k, dtype=np.intp)[None]

    @cached_property
    def _elements(self):
        return [np.array(own, np.intp).T for own in self.elements_of(self.k)]

    # ---- the curve ----

    def sds(self, theta: ArrayLike) -> np.ndarray:
        """Standard deviations of the columns, (k,)."""
        first = np.asarray(theta, float)[: self.n_sd]
        if not self.het:
            return np.full(self.k, abs(first[0]))
        size = np.exp(np.clip(first, ZERO_LOG, LARGEST_LOG))
        return np.where(first > ZERO_LOG, size, 0.0)

    def _parts(self, theta):
        """Standard deviations and psi."""
        theta = np.asarray(theta, float)
        return self.sds(theta), theta[self.n_sd :]

    def _c(self, psi):
        return self.correlation.matrix(psi, self._place)[0]

    def matrix(self, theta: ArrayLike) -> np.ndarray:
        sd, psi = self._parts(theta)
        return np.outer(sd, sd) * self._c(psi)

    def tangent(self, theta: ArrayLike) -> np.ndarray:
        sd, psi = self._parts(theta)
        size, count = np.outer(sd, sd), self.n_sd
        out = np.zeros((self.n_theta, self.k, self.k))
        c = self._c(psi)
        if self.het:
            index = np.arange(self.k)
            out[index, index] = size * c
            out[index, :, index] += size * c
        else:
            out[0] = 2 * float(np.asarray(theta, float)[0]) * c
        out[count:] = size * self.correlation.tangent(psi, self._place)[:, 0]
        return out

    def bend(self, theta: ArrayLike, score: np.ndarray) -> np.ndarray:
        sd, psi = self._parts(theta)
        size, count = np.outer(sd, sd), self.n_sd
        out = np.zeros((self.n_theta, self.n_theta))
        c, slope = self._c(psi), self.correlation.tangent(psi, self._place)[:, 0]
        weighted = score * size
        if self.het:
            own = weighted * c
            out[:count, :count] = 2 * own
            out[range(count), range(count)] += 2 * own.sum(axis=1)
            mixed = 2 * np.einsum("ab,rab->ar", weighted, slope)
        else:
            out[0, 0] = 2 * float((score * c).sum())
            first = float(np.asarray(theta, float)[0])
            mixed = 2 * first * np.einsum("ab,rab->r", score, slope)[None]
        out[:count, count:], out[count:, :count] = mixed, mixed.T
        out[count:, count:] = self.correlation.bend(psi, self._place, weighted[None])
        return out

    def curve(self, theta: ArrayLike, weight: np.ndarray) -> np.ndarray:
        if self.correlation.linear_if_homogeneous and not self.het:
            # linear in the covariances, which are SAS's parameters
            return np.zeros((self.k, self.k))
        sd, psi = self._parts(theta)
        size, count = np.outer(sd, sd), self.n_sd
        slope = self._natural_slope(psi)
        out = size * self.correlation.curve(psi, self._place, weight[count:, count:])[0]
        with np.errstate(divide="ignore"):
            share = np.where(sd > 0, 1.0 / sd**2, 0.0)
        if not self.het:
            return out + 2 * np.tensordot(weight[0, count:], slope, 1)
        own = weight[:count, :count] * np.outer(share, share)
        of_sd = own / 2 - (own.diagonal()[:, None] + own.diagonal()) / 4
        half = (
            share[:, None]
            * np.tensordot(weight[:count, count:], slope, 1)[range(count), range(count)]
        )
        return out + size * (of_sd * self._c(psi) + half + half.T)

    def _natural_slope(self, psi):
        """d C / d rho, (n_psi, k, k); zero at a limit."""
        slope = self.correlation.tangent(psi, self._place)[:, 0]
        back = np.linalg.pinv(self.correlation.jacobian(psi), rcond=1e-14)
        return np.tensordot(back.T, slope, 1)

    @property
    def always_bends(self) -> np.ndarray:
        return np.arange(self.n_theta) < (0 if self.het else 1)

    def natural_slopes(self, covariance: np.ndarray) -> np.ndarray:
        """D Sigma / d eta at a covariance of the structure, (n_theta, k, k).

        Zero along what is at a limit.
        """
        # where variances are of order one: correlations and they compare in no other unit
        size = float(np.diagonal(covariance).max()) or 1.0
        theta = self.free(np.nan_to_num(self.gamma(covariance / size)))
        jacobian = self.jacobian(theta)
        own = jacobian.diagonal().copy()
        own[self.n_sd :] = 1.0
        own[own == 0.0] = 1.0
        back = np.linalg.pinv(jacobian / own[:, None], rcond=1e-14) / own
        out = np.tensordot(back.T, self.tangent(theta), 1)
        out[self.n_sd :] *= size
        return out

    def scaled(self, theta: ArrayLike, factor: float) -> np.ndarray:
        """Theta of factor^2 Sigma."""
        return self.moved(theta, factor * np.eye(self.k))

    # ---- where the curve is taken as straight ----

    def at(self, theta: ArrayLike) -> Self:
        """The structure with ``covariance_basis`` its tangents at theta."""
        made = type(self)(self.k)
        made._at = np.array(theta, float)
        return made

    @cached_property
    def covariance_basis(self) -> np.ndarray:
        """d Sigma / d theta where ``at`` says, or at a start, (n_theta, k, k)."""
        return self.tangent(self.typical() if self._at is None else self._at)

    def typical(self) -> np.ndarray:
        """A theta of no special place: no two standard deviations or correlations alike."""
        # sines of whole numbers are never equal
        sd = np.exp(TYPICAL_FREE * np.sin(1.0 + np.arange(self.n_sd)))
        psi = TYPICAL_FREE * (1.0 + np.sin(np.arange(self.correlation.n_psi)) / 2)
        return np.concatenate([self._free_sd(sd), psi])

    # ---- natural parameters ----

    def natural(self, theta: ArrayLike) -> np.ndarray:
        sd, psi = self._parts(theta)
        return np.concatenate([sd[: self.n_sd] ** 2, self.correlation.natural(psi)])

    def _free_sd(self, sd):
        sd = np.asarray(sd, float)
        if not self.het:
            return sd
        return np.where(sd > 0, np.log(np.maximum(sd, np.exp(ZERO_LOG))), 2 * ZERO_LOG)

    def _free_psi(self, rho):
        """Psi of correlations, at a limit too."""
        rho = np.asarray(rho, float)
        for share in _INSIDE:
            try:
                psi = np.asarray(self.correlation.free(share * rho), float)
            except ValueError:
                continue
            # correlations that are at a limit but for rounding
            at = np.abs(psi) > _ROUNDED
            return np.where(at, np.copysign(FREE_LIMIT, psi), psi)
        try:  # outside of what can be: the error says why
            return np.asarray(self.correlation.free(rho), float)
        except ValueError as error:
            raise OutOfRangeError(f"{self.name}: {error}") from None

    def free(self, eta: ArrayLike) -> np.ndarray:
        eta = np.asarray(eta, float)
        if (eta[: self.n_sd] < 0).any():
            raise OutOfRangeError(f"{self.name}: a variance is negative: {eta.tolist()}")
        sd = np.sqrt(np.maximum(eta[: self.n_sd], 0.0))
        return np.concatenate([self._free_sd(sd), self._free_psi(eta[self.n_sd :])])

    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        sd, psi = self._parts(theta)
        out = np.zeros((self.n_theta, self.n_theta))
        count = self.n_sd
        first = sd**2 if self.het else np.asarray(theta, float)[:1]
        out[range(count), range(count)] = 2 * first
        out[count:, count:] = self.correlation.jacobian(psi)
        return out

    def gamma(self, covariance: ArrayLike) -> np.ndarray:
        """Natural parameters of a covariance of the structure, or of many (..., k, k).

        A correlation is NaN where no two columns that vary have it.
        """
        covariance = np.asarray(covariance, float)
        variance = np.diagonal(covariance, axis1=-2, axis2=-1)
        parts = [variance if self.het else variance.mean(axis=-1, keepdims=True)]
        for a, b in self._elements:
            with np.errstate(divide="ignore", invalid="ignore"):
                both = np.sqrt(variance[..., a]) * np.sqrt(variance[..., b])
                rho = covariance[..., a, b] / both
            # the first of two columns that vary
            first = np.isfinite(rho).argmax(axis=-1)[..., None]
            parts.append(np.take_along_axis(rho, first, axis=-1))
        return np.concatenate(parts, axis=-1)

    def covariance(self, gamma: ArrayLike) -> np.ndarray:
        """Covariance matrix of natural parameters (n_gamma,), or of many (..., n_gamma)."""
        gamma = np.asarray(gamma, float)
        flat = gamma.reshape(-1, self.n_gamma)
        out = np.array([self.matrix(self.free(np.nan_to_num(own))) for own in flat])
        return out.reshape(*gamma.shape[:-1], self.k, self.k)

    def names(self, columns: Sequence[str]) -> list[ParameterName]:
        """The variances by column, and the correlations, which belong to all columns."""
        if self.het:
            own = [ParameterName("variance", (c,)) for c in columns]
        else:
            own = [ParameterName("variance")]
        return own + [ParameterName(name) for name in self.correlation.names]

    # ---- roots, starts, other units ----

    def lam(self, theta: ArrayLike) -> np.ndarray:
        """The relative covariance factor, (k, k), or of many theta (..., n_theta)."""
        theta = np.asarray(theta, float)
        if theta.ndim > 1:
            flat = theta.reshape(-1, theta.shape[-1])
            out = np.array([self.lam(own) for own in flat])
            return out.reshape(*theta.shape[:-1], self.k, self.k)
        sd, psi = self._parts(theta)
        c = self._c(psi)
        root = semidefinite_root(c)
        if root is None:
            raise ValueError(f"{self.name}: the correlation at {psi} is not definite")
        return sd[:, None] * root

    def theta(self, lam: ArrayLike) -> np.ndarray:
        """Theta of a factor (k, k) of a covariance in the structure, or of many."""
        lam = np.asarray(lam, float)
        eta = self.gamma(lam @ np.swapaxes(lam, -1, -2))
        flat = eta.reshape(-1, self.n_gamma)
        out = np.array([self.free(np.nan_to_num(own)) for own in flat])
        return out.reshape(*eta.shape)

    def start(self, covariance: np.ndarray | None = None) -> np.ndarray:
        """Theta near a covariance matrix, of one of the structure its own; of I if None."""
        covariance = np.eye(self.k) if covariance is None else covariance
        try:
            theta = self.free(self.gamma(covariance))
        except OutOfRangeError:
            return self.starts(covariance)[0]
        miss = np.abs(self.matrix(theta) - covariance).max()
        if miss <= OF_STRUCTURE * np.abs(covariance).max():
            return theta
        return self.starts(covariance)[0]

    def starts(self, covariance: np.ndarray | None = None) -> list[np.ndarray]:
        """Several starts, that by the moments first."""
        if covariance is None:
            covariance = np.eye(self.k)
        variance = np.diag(covariance).clip(START_FLOOR, START_CEILING)
        size = np.sqrt(variance)
        c = covariance / np.outer(size, size)
        np.fill_diagonal(c, 1.0)
        if not self.het:
            size = np.sqrt([variance.mean()])
        pairs = np.ones((self.k, self.k))
        found = self.correlation.starts(c.clip(-1.0, 1.0), pairs)
        sd = self._free_sd(size)
        out = [np.concatenate([sd, np.asarray(psi, float)]) for psi in found]
        if self.het:
            # without one column, that which varies least first, the others may have
            # another correlation
            for column in np.argsort(variance, kind="stable"):
                small = sd.copy()
                small[column] += np.log(_SMALL)
                out.append(np.concatenate([small, np.asarray(found[-2], float)]))
        return out

    def moved(self, theta: ArrayLike, transform: np.ndarray) -> np.ndarray:
        """Theta of T Sigma T' by that of Sigma, T diagonal."""
        theta = np.array(theta, float)
        scale = np.diag(transform)[: self.n_sd]
        theta[: self.n_sd] = self._free_sd(self.sds(theta)[: self.n_sd] * scale)
        return theta

    def congruence(self, transform: np.ndarray) -> np.ndarray:
        """D theta of T Sigma T' by theta of Sigma, (n_theta, n_theta)."""
        out = np.eye(self.n_theta)
        if not self.het:
            out[0, 0] = transform[0, 0]
        return out

    def column_scale(self, rms: ArrayLike) -> np.ndarray:
        if self.het:
            return np.asarray(rms, float)
        return super().column_scale(rms)

    # ---- the boundary ----

    def canonical(self, theta: ArrayLike) -> np.ndarray:
        """Theta with a standard deviation not below zero."""
        theta = np.array(theta, float)
        if not self.het:
            theta[0] = abs(theta[0])
        return theta

    def singular(self, theta: ArrayLike, least: float) -> np.ndarray:
        """Theta with what makes lam nearly singular exactly at its limit."""
        theta = self.canonical(theta)
        own = theta[: self.n_sd]
        small = self.sds(theta)[: self.n_sd] < least
        theta[: self.n_sd] = np.where(small, 2 * ZERO_LOG if self.het else 0.0, own)
        psi = theta[self.n_sd :]
        run = np.abs(psi) > RUN_TO_LIMIT
        psi[run] = np.copysign(FREE_LIMIT, psi[run])
        return theta

    def at_limit(self, theta: ArrayLike) -> np.ndarray:
        """Which elements of theta have no room: (n_theta,) bool.

        Standard deviations of zero, correlations at a limit, and all correlations where
        no two columns vary.
        """
        theta = np.asarray(theta, float)
        out = np.zeros(self.n_theta, bool)
        zero = self.sds(theta) == 0
        out[: self.n_sd] = zero[: self.n_sd]
        out[self.n_sd :] = np.abs(theta[self.n_sd :]) >= FREE_LIMIT
        size = np.outer(~zero, ~zero)
        slope = self.correlation.tangent(theta[self.n_sd :], self._place)[:, 0]
        # after a partial correlation of one those of longer lags change nothing
        moved = np.abs(size * slope).max(axis=(1, 2), initial=0.0)
        out[self.n_sd :] |= moved < NO_SLOPE_LEFT
        return out

    def nearest_singular(self, lam: np.ndarray) -> np.ndarray:
        """The factor with the least deviation zero, or one correlation at a limit."""
        theta = self.theta(lam)
        sd, psi = self._parts(theta)
        root = semidefinite_root(self._c(psi))
        least = 0.0 if root is None else np.linalg.svd(root, compute_uv=False)[-1]
        if len(psi) == 0 or sd.min() < least * sd.max():
            at = int(sd.argmin()) if self.het else 0
            theta[at] = 2 * ZERO_LOG if self.het else 0.0
        else:
            at = int(np.abs(psi).argmax())
            theta[self.n_sd + at] = np.copysign(FREE_LIMIT, psi[at])
        return self.lam(theta)

    def __eq__(self, other: object) -> bool:
        if not (isinstance(other, CurvedStructure) and super().__eq__(other)):
            return False
        if self._at is None or other._at is None:
            return self._at is other._at
        return np.array_equal(self._at, other._at)

    def __hash__(self) -> int:
        return hash((type(self), self.k, None if self._at is None else self._at.tobytes()))


class _Compound(CurvedStructure):
    @staticmethod
    def correlation_of(k: int) -> Correlation:
        return CompoundSymmetry(k)

    @staticmethod
    def elements_of(k: int) -> list[list[tuple[int, int]]]:
        return [[(a, b) for a in range(k) for b in range(a)]]


class CompoundVariances(_Compound):
    """One correlation, a variance for each column: ``cs(0 + f | g)``."""

    name = "cs"
    notation = "cs({columns} | {group})"


class HomogeneousCompound(_Compound):
    """One correlation, one variance: ``homcs(0 + f | g)``."""

    name, het = "homcs", False
    notation = "homcs({columns} | {group})"


class _AutoRegressive(CurvedStructure):
    ordered = True

    @staticmethod
    def correlation_of(k: int) -> Correlation:
        return AutoRegressive()

    @staticmethod
    def elements_of(k: int) -> list[list[tuple[int, int]]]:
        return [[(a, a - 1) for a in range(1, k)]]


class HomogeneousAR1(_AutoRegressive):
    """A correlation that falls geometrically, one variance: ``ar1(0 + f | g)``."""

    name, het = "ar1", False
    notation = "ar1({columns} | {group})"


class HeterogeneousAR1(_AutoRegressive):
    """The same with a variance for each column: ``hetar1(0 + f | g)``."""

    name = "hetar1"
    notation = "hetar1({columns} | {group})"


class _Toeplitz(CurvedStructure):
    ordered = True

    @staticmethod
    def correlation_of(k: int) -> Correlation:
        return Toeplitz(k)

    @staticmethod
    def elements_of(k: int) -> list[list[tuple[int, int]]]:
        return [[(a, a - lag) for a in range(lag, k)] for lag in range(1, k)]


class ToeplitzVariances(_Toeplitz):
    """A correlation for each lag, a variance for each column: ``toep(0 + f | g)``."""

    name = "toep"
    notation = "toep({columns} | {group})"


class HomogeneousToeplitz(_Toeplitz):
    """A correlation for each lag, one variance: ``homtoep(0 + f | g)``."""

    name, het = "homtoep", False
    notation = "homtoep({columns} | {group})"


class _Antedependent(CurvedStructure):
    ordered = True

    @staticmethod
    def correlation_of(k: int) -> Correlation:
        return Antedependence(k)

    @staticmethod
    def elements_of(k: int) -> list[list[tuple[int, int]]]:
        return [[(a, a - 1)] for a in range(1, k)]


class AntedependentVariances(_Antedependent):
    """A correlation for each pair of neighbours, a variance for each column."""

    name = "adh"
    notation = "adh({columns} | {group})"


class HomogeneousAntedependence(_Antedependent):
    """A correlation for each pair of neighbours, one variance: ``ad(0 + f | g)``."""

    name, het = "ad", False
    notation = "ad({columns} | {group})"


CURVED = (
    CompoundVariances,
    HomogeneousCompound,
    HomogeneousAR1,
    HeterogeneousAR1,
    ToeplitzVariances,
    HomogeneousToeplitz,
    AntedependentVariances,
    HomogeneousAntedependence,
)
