"""The residual covariance as a curve in its free parameters, and in its natural ones.

Within a residual group, relative to sigma^2,

    Lambda_ab = exp(g_a + g_b) C_ab,

g the logarithm of a row's standard deviation, a sum over variance functions, C a
correlation (of an unstructured covariance C itself, with C_11 = 1).  Derivatives in psi,
the free parameters, follow from those of g and of C:

    d Lambda_ab / d g-parameter r    Lambda_ab (g_ra + g_rb)
    d Lambda_ab / d C-parameter r    exp(g_a + g_b) C_rab

and the second ones likewise.  Kenward and Roger's adjustment takes second derivatives in
natural parameters eta, SAS's: a variance of every stratum (or sigma^2), and C's own.

Parameters of standard deviations come first and are common to all levels of ``by``; every
level has those of its own C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mixedext.specification.covariance.correlation import Correlation
from mixedext.specification.covariance.variance_functions import (
    VarConstPower,
    VarianceFunction,
    VarIdent,
)

__all__ = ["Places", "ResidualCurve"]


class Places(NamedTuple):
    """Where the rows of residual groups of one size stand, a row of the arrays a pattern.

    Attributes
    ----------
    place : ndarray
        Visits (c, s), or distances (c, s, s).
    strata : sequence of ndarray
        For each variance function numbers of strata, (c, s).
    covariates : sequence of ndarray or None
        For each variance function its covariate, (c, s).
    """

    place: np.ndarray
    strata: Sequence[np.ndarray]
    covariates: Sequence[np.ndarray | None]

    @property
    def shape(self) -> tuple[int, int]:
        """Patterns, and rows of each."""
        return self.place.shape[0], self.place.shape[1]

    def at(self, numbers: np.ndarray) -> Places:
        """Some of the patterns."""
        return Places(
            self.place[numbers],
            [s[numbers] for s in self.strata],
            [None if v is None else v[numbers] for v in self.covariates],
        )


class _Slopes(NamedTuple):
    """Log standard deviations and their derivatives; ``second`` by pairs that have one."""

    log_sd: np.ndarray  # (c, s)
    first: np.ndarray  # (n, c, s)
    second: dict[tuple[int, int], np.ndarray]  # (c, s)


@dataclass(frozen=True, eq=False)
class ResidualCurve:
    """Lambda of one level of ``by`` as a function of its parameters.

    Parameters
    ----------
    correlation : Correlation or None
        Of the rows of a group; None for independent ones.
    functions : tuple of VarianceFunction
        Whose product is the standard deviation of a row.
    number : int
        Of the level.
    base : int
        Stratum of the level where the first ``VarIdent`` is one by level; else 0.
    is_linear : bool
        Whether the natural parameters stand for covariances, in which R is linear.
    """

    correlation: Correlation | None
    functions: tuple[VarianceFunction, ...] = ()
    number: int = 0
    base: int = 0
    is_linear: bool = False

    @cached_property
    def n_sd(self) -> int:
        """Parameters of standard deviations."""
        return sum(f.n_psi for f in self.functions)

    @cached_property
    def n_own(self) -> int:
        """Parameters of C."""
        return 0 if self.correlation is None else self.correlation.n_psi

    @property
    def n_psi(self) -> int:
        """Parameters of this level."""
        return self.n_sd + self.n_own

    @cached_property
    def at(self) -> np.ndarray:
        """Where its parameters stand among those of all levels."""
        start = self.n_sd + self.number * self.n_own
        return np.concatenate([np.arange(self.n_sd), start + np.arange(self.n_own)])

    @cached_property
    def slices(self) -> list[slice]:
        """Parameters of each variance function."""
        out, start = [], 0
        for f in self.functions:
            out.append(slice(start, start + f.n_psi))
            start += f.n_psi
        return out

    # ---- in the free parameters ----

    def matrix(self, psi: np.ndarray, at: Places) -> np.ndarray:
        """Lambda of every pattern, (c, s, s)."""
        if self.correlation is not None and not self.functions:
            return self.correlation.matrix(psi[self.n_sd :], at.place)
        size = np.exp(self.log_sd_of_functions(psi, at))
        if self.correlation is None:
            return _scaled(
                np.broadcast_to(np.eye(size.shape[1]), (*size.shape, size.shape[1])), size
            )
        return _scaled(self.correlation.matrix(psi[self.n_sd :], at.place), size)

    def log_sd(self, psi: np.ndarray, at: Places) -> np.ndarray:
        """Logarithm of the standard deviation of every row, sigma 1, (c, s)."""
        out = self.log_sd_of_functions(psi, at)
        if self.correlation is not None and self.correlation.is_covariance:
            own = self.correlation.matrix(psi[self.n_sd :], at.place)
            out = out + 0.5 * np.log(np.einsum("caa->ca", own))
        return out

    def tangent(self, psi: np.ndarray, at: Places) -> np.ndarray:
        """d Lambda / d psi of every pattern, (n_psi, c, s, s)."""
        c, s = at.shape
        out = np.empty((self.n_psi, c, s, s))
        slopes = self._slopes(psi, at)
        if self.n_sd:
            first = slopes.first
            whole = self.matrix(psi, at)
            np.multiply(
                first[:, :, :, None] + first[:, :, None, :], whole, out=out[: self.n_sd]
            )
        if self.correlation is not None and self.correlation.n_psi:
            own = self.correlation.tangent(psi[self.n_sd :], at.place)
            out[self.n_sd :] = (
                _scaled(own, np.exp(slopes.log_sd)) if self.functions else own
            )
        return out

    def bend(self, psi: np.ndarray, at: Places, score: np.ndarray) -> np.ndarray:
        """sum_c,ab S_ab d2 Lambda_ab / d psi d psi', S symmetric (c, s, s)."""
        out = np.zeros((self.n_psi, self.n_psi))
        n = self.n_sd
        slopes = self._slopes(psi, at)
        size = np.exp(slopes.log_sd)
        if n:
            weighted = score * self.matrix(psi, at)
            out[:n, :n] = _second_of_sd(slopes, weighted)
        if self.correlation is not None and self.correlation.n_psi:
            scaled = _scaled(score, size) if self.functions else score
            own = psi[n:]
            out[n:, n:] = self.correlation.bend(own, at.place, scaled)
            if n:
                tangent = self.correlation.tangent(own, at.place)
                # S, C_r symmetric: the sum over a and b of g_a + g_b is twice that of g_a
                rows = np.einsum("cab,rcab->rca", scaled, tangent)
                out[:n, n:] = 2 * np.einsum("gca,rca->gr", slopes.first, rows)
                out[n:, :n] = out[:n, n:].T
        return out

    def log_sd_of_functions(self, psi: np.ndarray, at: Places) -> np.ndarray:
        """Sum of the variance functions alone, (c, s); psi may end with them."""
        total = np.zeros(at.shape)
        for f, own, strata, covariate in zip(
            self.functions, self.slices, at.strata, at.covariates, strict=True
        ):
            total += f.log_sd(psi[own], strata, covariate)
        return total

    def _slopes(self, psi, at):
        first = np.zeros((self.n_sd, *at.shape))
        second = {}
        for f, own, strata, covariate in zip(
            self.functions, self.slices, at.strata, at.covariates, strict=True
        ):
            if not f.n_psi:
                continue
            first[own] = f.slope(psi[own], strata, covariate)
            bent = f.second(psi[own], strata, covariate)
            if bent is not None:
                for i in range(f.n_psi):
                    for j in range(f.n_psi):
                        second[own.start + i, own.start + j] = bent[i, j]
        return _Slopes(self.log_sd_of_functions(psi, at), first, second)

    # ---- natural parameters ----

    @cached_property
    def variances_of(self) -> int | None:
        """Number of the variance function whose strata have variances for parameters."""
        for number, f in enumerate(self.functions):
            if isinstance(f, VarIdent):
                return number
        return None

    @cached_property
    def natural_at(self) -> np.ndarray:
        """Where its natural parameters stand among those of all levels."""
        start = 1 + self.n_sd + self.number * self.n_own
        return np.concatenate([np.arange(1 + self.n_sd), start + np.arange(self.n_own)])

    @property
    def n_natural(self) -> int:
        """Natural parameters of this level: one more than free ones, of sigma^2."""
        return self.n_psi + 1

    def natural(self, psi: np.ndarray, scale: float) -> np.ndarray:
        """Variances by stratum (sigma^2 without strata), those of other functions, of C.

        Of an unstructured C covariances; of others, as SAS prints them, correlations.
        """
        variances = np.array([scale])
        others = []
        for number, (f, own) in enumerate(zip(self.functions, self.slices, strict=True)):
            if number == self.variances_of:
                variances = np.append(variances, scale * np.exp(2 * psi[own]))
            else:
                others.append(np.asarray(f.natural(psi[own]), float))
        if self.correlation is not None:
            rho = np.asarray(self.correlation.natural(psi[self.n_sd :]), float)
            if self.correlation.is_covariance:
                rho = variances[self.base] * rho
            others.append(rho)
        return np.concatenate([variances, *others])

    def sas_jacobian(self, psi: np.ndarray, scale: float) -> np.ndarray:
        """``jacobian`` of the parameters that ``curve`` is in."""
        out = self.jacobian(psi, scale)
        if self.correlation is not None and not self.correlation.is_covariance:
            rows = self.n_natural - self.n_own
            own = psi[self.n_sd :]
            out[rows:, self.n_sd : -1] = self.correlation.sas_jacobian(own)
        return out

    def jacobian(self, psi: np.ndarray, scale: float) -> np.ndarray:
        """d natural / d (psi, sigma^2)', (n_natural, n_psi + 1)."""
        out = np.zeros((self.n_natural, self.n_psi + 1))
        eta, rows, ratio = self.natural(psi, scale), 1, np.zeros(0, int)
        if self.variances_of is not None:
            own = self.slices[self.variances_of]
            ratio = np.arange(own.start, own.stop)
            at = 1 + np.arange(len(ratio))
            out[at, ratio] = 2 * eta[at]
            rows += len(ratio)
        out[:rows, -1] = eta[:rows] / scale
        for number, (f, own) in enumerate(zip(self.functions, self.slices, strict=True)):
            if number != self.variances_of and f.n_psi:
                stop = rows + f.n_psi
                out[rows:stop, own] = f.jacobian(psi[own])
                rows = stop
        if self.n_own:
            assert self.correlation is not None
            change = self.correlation.jacobian(psi[self.n_sd :])
            if self.correlation.is_covariance:
                change = eta[self.base] * change
                out[rows:, -1] = eta[rows:] / scale
                if self.base:
                    out[rows:, ratio[self.base - 1]] = 2 * eta[rows:]
            out[rows:, self.n_sd : -1] = change
        return out

    def curve(
        self, psi: np.ndarray, scale: float, at: Places, weight: np.ndarray
    ) -> np.ndarray:
        """sum_rs W_rs d2 R / d eta_r d eta_s of R = sigma^2 Lambda, (c, s, s).

        Eta are the natural parameters, but SAS's where it has others (``sas_jacobian``).

        Parameters
        ----------
        weight : ndarray
            W, symmetric, (n_natural, n_natural).
        """
        whole = scale * self.matrix(psi, at)
        if self.is_linear:
            return np.zeros_like(whole)
        slopes = self._natural_slopes(psi, scale, at)
        n = len(slopes.first)
        own = weight[:n, :n]
        first = slopes.first
        pair = first[:, :, :, None] + first[:, :, None, :]
        out = np.einsum("rs,rcab,scab->cab", own, pair, pair)
        for (i, j), bent in slopes.second.items():
            out += own[i, j] * (bent[:, :, None] + bent[:, None, :])
        out *= whole
        if self.correlation is not None and self.correlation.n_psi:
            free = psi[self.n_sd :]
            size = np.exp(slopes.log_sd) * np.sqrt(scale)
            inverse = _inverse(self.correlation.sas_jacobian(free))
            tangent = np.tensordot(inverse.T, self.correlation.tangent(free, at.place), 1)
            # g-slopes weighted: sum_r W_rk g_r, (k, c, s)
            across = np.tensordot(weight[:n, n:].T, first, 1)
            mixed = 2 * (across[:, :, :, None] + across[:, :, None, :]) * tangent
            bent = self.correlation.curve(free, at.place, weight[n:, n:])
            out += _scaled(mixed.sum(axis=0) + bent, size)
        return out

    def _natural_slopes(self, psi, scale, at):
        """log sd in the natural parameters, less the logarithm of sigma."""
        eta = self.natural(psi, scale)
        chosen = self.variances_of
        n = len(eta) - (0 if self.correlation is None else self.correlation.n_psi)
        first = np.zeros((n, *at.shape))
        second = {}
        # log sd = log(v_k) / 2
        strata = np.zeros(at.shape, np.intp) if chosen is None else at.strata[chosen]
        rows = 1 if chosen is None else 1 + self.functions[chosen].n_psi
        for k in range(rows):
            here = (strata == k).astype(float)
            first[k] = here / (2 * eta[k])
            second[k, k] = -here / (2 * eta[k] ** 2)
        for number, (f, own) in enumerate(zip(self.functions, self.slices, strict=True)):
            if number == chosen or not f.n_psi:
                continue
            free, given = psi[own], (at.strata[number], at.covariates[number])
            inverse = _inverse(f.jacobian(free))
            slope = f.slope(free, *given)
            first[rows : rows + f.n_psi] = np.tensordot(inverse.T, slope, 1)
            bent = f.second(free, *given)
            value = f.natural(free)
            for i in range(f.n_psi):
                for j in range(f.n_psi):
                    part = np.zeros(at.shape)
                    if bent is not None:
                        part += np.einsum(
                            "k,l,klcs->cs", inverse[:, i], inverse[:, j], bent
                        )
                    # psi = log eta; what has vanished does not move
                    if i == j and _is_log(f, i) and value[i] > 0:
                        part += -slope[i] / value[i] ** 2
                    second[rows + i, rows + j] = part
            rows += f.n_psi
        return _Slopes(self.log_sd_of_functions(psi, at), first, second)


def _is_log(function, number):
    """Whether a parameter of a variance function is the logarithm of its natural one."""
    if isinstance(function, VarIdent):
        return True
    return isinstance(function, VarConstPower) and number < function.n_psi // 2


def _inverse(jacobian):
    """The inverse; without what does not move, as of a parameter at its limit."""
    try:
        return np.linalg.inv(jacobian)
    except np.linalg.LinAlgError:
        return np.linalg.pinv(jacobian)


def _scaled(matrix, size):
    """exp(g_a) M_ab exp(g_b)."""
    return matrix * size[:, :, None] * size[:, None, :]


def _second_of_sd(slopes, weighted):
    """sum_c,ab (S Lambda)_ab [(g_ra + g_rb)(g_sa + g_sb) + g_rsa + g_rsb]."""
    first, diagonal = slopes.first, weighted.sum(axis=2)
    flat = first.reshape(len(first), -1)
    moved = first.transpose(1, 0, 2) @ weighted  # (c, r, b)
    moved += diagonal[:, None] * first.transpose(1, 0, 2)
    out = 2 * flat @ moved.transpose(0, 2, 1).reshape(flat.shape[1], -1)
    for (i, j), bent in slopes.second.items():
        out[i, j] += 2 * np.sum(bent * diagonal)
    return out
