"""Information on the variances, and its traces, from blocks of cross-products alone.

Kenward and Roger (1997), and both kinds of information, need of V0 (covariance relative to
sigma^2) and of the matrices G_r = Z (I kron E_r) Z' that the variances multiply

    X'V0^-1 G_r V0^-1 X,    X'V0^-1 G_r V0^-1 G_s V0^-1 X,    tr V0^-1 G_r V0^-1 G_s.

With T = Z'V0^-1 X and N = Z'V0^-1 Z these are T'B_r T, T'B_r N B_s T and tr B_r N B_s N,
B_r = I kron E_r; never anything n x n, nor q x q.

The last direction is V0 itself, not the identity: V = sum_r gamma_r G_r + sigma^2 I, so
that G_r and V0 span the same matrices, results do not depend on which basis of them is
taken, and V0^-1 V0 = I leaves nothing to compute.  X stands for a basis with
X'V0^-1 X = I, y is its generalized least-squares residual scaled to y'P0 y = d, and
sigma^2 = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from scipy import linalg

from mixedext.engine.deviance.one_factor import OneFactorDeviance
from mixedext.engine.deviance.profiled import FactorDeviance
from mixedext.engine.factor.tail_traces import (
    trace_products,
)
from mixedext.engine.factor.templates import bases_along
from mixedext.engine.fit import Fit
from mixedext.engine.information.directions import DirectionLevels, direction_products
from mixedext.engine.residual.information import (
    Curved,
    ResidualInformation,
    residual_information,
)
from mixedext.engine.threads import blas_threads
from mixedext.limits import TAKEN_IN

__all__ = [
    "VarianceInformation",
    "covariance_traces",
    "information_along",
    "variance_information",
]


@dataclass(frozen=True, eq=False)
class VarianceInformation:
    """Products and traces in the directions G_r of all terms, and of V0 (the last).

    Attributes
    ----------
    reml : bool
        Whether information is of the restricted likelihood.
    dof : int
        d = n - p (REML) or n.
    nobs : int
        n.
    first : ndarray
        [X y]'P G_r P [X y] without the projection on X: [X y]'V0^-1 G_r V0^-1 [X y] for
        the n_gamma elements of all terms, (n_gamma, p + 1, p + 1).
    second : ndarray
        [X y]'V0^-1 G_r V0^-1 G_s V0^-1 [X y], (n_gamma, n_gamma, p + 1, p + 1).
    traces : ndarray
        tr V0^-1 G_r V0^-1 G_s with V0 as the last direction, (n_gamma + 1,) * 2.
    root : ndarray
        Coefficients of the columns of X, in the data's units, are ``root`` times those of
        the basis, times sigma: covariance = sigma^2 root root'; (rank, p).
    """

    reml: bool
    dof: int
    nobs: int
    first: np.ndarray
    second: np.ndarray
    traces: np.ndarray
    root: np.ndarray

    @property
    def n_gamma(self) -> int:
        """Elements of the covariance matrices of all terms."""
        return len(self.first)

    @cached_property
    def on_fixed(self) -> np.ndarray:
        """X'V0^-1 G_r V0^-1 X in all directions, (n_gamma + 1, p, p); minus P_r."""
        p = self.root.shape[1]
        return np.concatenate([self.first[:, :p, :p], np.eye(p)[None]])

    @cached_property
    def second_on_fixed(self) -> np.ndarray:
        """Q_rs = X'V0^-1 G_r V0^-1 G_s V0^-1 X in all directions."""
        count, p = self.n_gamma, self.root.shape[1]
        out = np.empty((count + 1, count + 1, p, p))
        out[:-1, :-1] = self.second[:, :, :p, :p]
        out[:, -1] = out[-1] = self.on_fixed
        return out

    def weighted_second(self, weight: np.ndarray) -> np.ndarray:
        """sum_rs W_rs Q_rs, (p, p)."""
        return np.einsum("rs,rsij->ij", weight, self.second_on_fixed)

    def curved(self, weight: np.ndarray) -> Curved:
        """Second derivatives of V0: none, for it is linear in all directions."""
        p = self.root.shape[1]
        return Curved(np.zeros((p, p)), np.zeros(len(weight)))

    @cached_property
    def expected(self) -> np.ndarray:
        """Expected information E, 2 E_rs = tr P G_r P G_s (ML: tr V0^-1 G_r V0^-1 G_s)."""
        return self._without_lost(self._expected)

    @cached_property
    def _expected(self):
        out = self.traces.copy()
        if self.reml:
            out -= 2 * np.einsum("rsii->rs", self.second_on_fixed)
            flat = self.on_fixed.reshape(len(out), -1)
            out += flat @ flat.T
        return out / 2

    def _without_lost(self, information):
        """Zero in directions that X takes in: what is left of them is rounding."""
        lost = self._expected.diagonal() <= TAKEN_IN * self.traces.diagonal()
        return np.where(lost | lost[:, None], 0.0, information)

    @cached_property
    def average(self) -> np.ndarray:
        """Average information AI, 2 AI_rs = y'P G_r P G_s P y."""
        count = self.n_gamma
        out = np.empty((count + 1, count + 1))
        on_x = self.first[:, -1, :-1]
        out[:-1, :-1] = self.second[:, :, -1, -1] - on_x @ on_x.T
        out[-1, :-1] = out[:-1, -1] = self.first[:, -1, -1]
        out[-1, -1] = self.dof
        return self._without_lost(out / 2)

    @cached_property
    def observed(self) -> np.ndarray:
        """Observed information, half the second derivatives of the deviance: 2 AI - E."""
        return 2 * self.average - self.expected


# What several tests of one fit share is computed once.
_KNOWN: WeakKeyDictionary[Fit, VarianceInformation | ResidualInformation] = (
    WeakKeyDictionary()
)


def variance_information(fit: Fit) -> VarianceInformation | ResidualInformation:
    """Products and traces at a fit, in the engine's units; kept as long as the fit is.

    Parameters
    ----------
    fit : Fit
        A fitted model.

    Returns
    -------
    VarianceInformation or ResidualInformation
    """
    found = _KNOWN.get(fit)
    if found is None:
        directions = [s.covariance_basis for s in fit.design.structures]
        found = _KNOWN[fit] = information_along(fit, directions)
    return found


def information_along(
    fit: Fit, directions: Sequence[np.ndarray]
) -> VarianceInformation | ResidualInformation:
    """Products and traces in other directions of the covariance matrices of the terms.

    Parameters
    ----------
    fit : Fit
        A fitted model.
    directions : sequence of ndarray
        Symmetric matrices of every term in the engine's units, (m, k, k); those of psi, if
        any, and V0 come after them.

    Returns
    -------
    VarianceInformation or ResidualInformation
    """
    objective, design = fit.objective, fit.design
    if fit.residual is not None:
        estimate, moved = fit.residual, []
        for own, inverse in zip(directions, design.inverse_transforms, strict=True):
            moved.append(inverse @ own @ inverse.T)
        return residual_information(estimate.stand(), moved, estimate.curves, fit.root)
    rank, dof = objective.rank, objective.dof
    count = sum(map(len, directions))
    # L^-1 [X y] is orthonormal in V0^-1; y is scaled from 1 to the square root of d
    whiten = linalg.solve_triangular(objective.fixed, np.eye(rank + 1), lower=True)
    whiten[-1] *= np.sqrt(dof)
    # where the effects leave hardly a residual rounding may leave no numbers of a level
    with blas_threads(), np.errstate(over="ignore", invalid="ignore"):
        if count == 0:
            size = rank + 1
            raw = np.zeros((0, size, size)), np.zeros((0, 0, size, size))
            traces, inner = np.zeros((0, 0)), np.zeros(0)
        elif isinstance(objective, OneFactorDeviance):
            *raw, traces, inner = _one_factor(objective, directions)
        else:
            *raw, traces, inner = _several_factors(objective, directions)
        first, second = (whiten @ part @ whiten.T for part in raw)
    whole = np.empty((count + 1, count + 1))
    whole[:-1, :-1] = (traces + traces.T) / 2
    whole[-1, :-1] = whole[:-1, -1] = inner
    whole[-1, -1] = design.blocks.nobs
    return VarianceInformation(
        fit.reml, dof, design.blocks.nobs, first, second, whole, fit.root
    )


def _one_factor(objective, directions):
    numbers, basis = bases_along(directions, objective.blocks.factors)[0]
    sums = objective.sums
    n_fixed, count, k = objective.blocks.n_fixed, len(basis), basis.shape[1]
    first = np.zeros((k * n_fixed, k * n_fixed))
    second = np.zeros((count * n_fixed, count * n_fixed))
    products, total = np.zeros((k * k, k * k)), np.zeros((k, k))
    levels = DirectionLevels(sums.gram, objective._lam(), basis, n_fixed)
    for start, inner, found, _, rooted in levels.slabs(sums.cross):
        flat = found.reshape(len(found), -1)
        first += flat.T @ flat
        rooted = rooted.reshape(-1, levels.width)
        second += rooted.T @ rooted
        flat = inner.reshape(len(inner), -1)
        weight = flat
        if sums.weight is not None:
            weight = flat * sums.weight[start : start + len(flat), None]
        products += flat.T @ weight
        total += weight.sum(axis=0).reshape(k, k)
    order = np.argsort(numbers)
    first = first.reshape(k, n_fixed, k, n_fixed)
    first = np.einsum("rab,aibj->rij", basis, first)[order]
    second = second.reshape(count, n_fixed, count, n_fixed).transpose(0, 2, 1, 3)
    second = second[np.ix_(order, order)]
    traces = trace_products(basis, basis, products.reshape(k, k, k, k))
    inner = np.einsum("rab,ab->r", basis, total)
    return first, second, traces[np.ix_(order, order)], inner[order]


def covariance_traces(objective: FactorDeviance) -> np.ndarray:
    """tr(B_r N B_s N) for all elements gamma, (n_gamma, n_gamma), engine's units.

    Parameters
    ----------
    objective : FactorDeviance
        It stands at the covariances.
    """
    directions = [s.covariance_basis for s in objective.structures]
    *_, traces, _ = _several_factors(objective, directions, 1)
    return (traces + traces.T) / 2


def _several_factors(objective, directions, n_fixed=None):
    """Products of the first ``n_fixed`` columns of [X y], all if None, and the traces."""
    found = bases_along(directions, objective.blocks.factors)
    numbers, bases = [n for n, _ in found], [e for _, e in found]
    n_fixed = n_fixed or objective.blocks.n_fixed
    return direction_products(objective.factor, numbers, bases, n_fixed)
