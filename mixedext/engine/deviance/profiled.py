"""The profiled (restricted) deviance as a function of theta, its gradient and curvature.

    dev = log det M + [REML] log det X'V0^-1 X + d (1 + log(2 pi rho^2 / d))

with d = n - p (REML) or n (ML).  Everything here is in the engine's units: columns of Z
at rms 1, X replaced by an orthonormal basis, y by its scaled residual.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.engine.deviance.several_factors import is_compiled, several_factors_function
from mixedext.engine.factor.factor import Factor
from mixedext.engine.factor.templates import squared
from mixedext.engine.rows.blocks import Blocks
from mixedext.exceptions import DevianceError
from mixedext.kernels.search.function import Function
from mixedext.kernels.search.python_function import PythonFunction
from mixedext.limits import CURVED_UP
from mixedext.specification.covariance.linear import LinearStructure
from mixedext.specification.covariance.term_structure import TermStructure

__all__ = ["Derivatives", "FactorDeviance", "ProfiledDeviance"]

# Numbers in the blocks above which the search should save derivatives.
COSTLY_SIZE = 200_000
# Columns of a dense tail above which the first derivatives are estimated.
ROUGH_SIZE = 1500
_NO_FACTOR = (
    "digits are lost: rounding makes the factorization of the model fail at these "
    "variances. The random effects nearly explain the response, or columns differ too much "
    "in size; leave out a term, or centre and rescale the columns"
)


@dataclass(frozen=True, eq=False)
class Derivatives:
    """First and second derivatives at one theta.

    Attributes
    ----------
    gradient : ndarray
        Of the deviance in theta, (n_theta,).
    hessian : ndarray
        Average information plus the bend of Sigma = lam lam', (n_theta, n_theta).
    scores : list of ndarray
        For each term d dev / d Sigma, symmetric (k, k).
    information : ndarray
        Average information in the elements gamma of all Sigma, sigma^2 profiled out.
    """

    gradient: np.ndarray
    hessian: np.ndarray
    scores: list[np.ndarray]
    information: np.ndarray


class ProfiledDeviance:
    """Deviance with beta and sigma^2 profiled out, and its blocks and parameters.

    Parameters
    ----------
    blocks : Blocks
        Cross-products.
    structures : list of Structure
        One for each random term, in the model's order.
    reml : bool
        Restricted (True) or ordinary deviance.

    Attributes
    ----------
    theta_slices, gamma_slices : list of slice
        Elements of theta, and of gamma, of each term.
    place : dict
        For each term the number of its grouping factor, and its columns there.
    rank, dof : int
        Columns of the basis of X, and n less them (REML) or n.
    """

    def __init__(self, blocks: Blocks, structures: Sequence[TermStructure], reml: bool):
        self.blocks = blocks
        self.structures = structures
        self.reml = reml
        ends = np.cumsum([s.n_theta for s in structures]).astype(int)
        self.theta_slices = [
            slice(end - s.n_theta, end) for end, s in zip(ends, structures, strict=True)
        ]
        self.n_theta = int(ends[-1]) if len(ends) else 0
        ends = np.cumsum([s.n_gamma for s in structures]).astype(int)
        self.gamma_slices = [
            slice(end - s.n_gamma, end) for end, s in zip(ends, structures, strict=True)
        ]
        self.place = {
            term: (number, columns)
            for number, layout in enumerate(blocks.factors)
            for term, columns in zip(layout.terms, layout.slices, strict=True)
        }
        self.rank = blocks.n_fixed - 1
        self.dof = blocks.nobs - self.rank if reml else blocks.nobs

    def lams(self, theta: ArrayLike) -> list[np.ndarray]:
        """Relative covariance factor of every term."""
        theta = np.asarray(theta, float)
        return [
            s.lam(theta[at])
            for s, at in zip(self.structures, self.theta_slices, strict=True)
        ]

    def parts(self, theta: ArrayLike) -> list[tuple[TermStructure, np.ndarray]]:
        """Structure and theta of every term."""
        theta = np.asarray(theta, float)
        return [
            (s, theta[at]) for s, at in zip(self.structures, self.theta_slices, strict=True)
        ]

    @cached_property
    def is_curved(self) -> bool:
        """Whether some covariance is not linear in its parameters."""
        return not all(s.linear for s in self.structures)

    @property
    def ambient(self) -> list[LinearStructure]:
        """For each term the linear structure that holds its covariances."""
        if not self.is_curved:
            return list(self.structures)  # type: ignore[arg-type]
        return [s.ambient for s in self.structures]

    def straighten(self, structures: Sequence[TermStructure]) -> None:
        """Take structures that are straight where this stands."""
        self.structures = structures

    def jacobian(self, theta: np.ndarray) -> np.ndarray:
        """Change by theta along the directions of the terms' covariances.

        Of a structure that is linear by its natural parameters, of one that is not along
        its tangents at theta; (n_gamma, n_theta).
        """
        out = np.zeros((sum(s.n_gamma for s in self.structures), self.n_theta))
        for i, (s, own) in enumerate(self.parts(theta)):
            change = s.jacobian(own) if s.linear else np.eye(s.n_theta)
            out[self.gamma_slices[i], self.theta_slices[i]] = change
        return out

    def along_curves(
        self, theta: np.ndarray, scores: list[np.ndarray], information: np.ndarray
    ) -> Derivatives:
        """Derivatives in theta from those in the covariances, by the chain rule.

        Parameters
        ----------
        theta : ndarray
            Where they are, (n_theta,).
        scores : list of ndarray
            For each term d dev / d Sigma, symmetric (k, k).
        information : ndarray
            Average information along ``covariance_basis`` of a structure that is linear,
            along ``tangent`` at theta of one that is not.

        Notes
        -----
        Along a curve the score is not zero at a minimum, only its expectation is: the bend
        of a curve enters whole where the Hessian is definite so, and else by the share of
        it that goes up.
        """
        gradient = np.empty(self.n_theta)
        hessian = np.zeros((self.n_theta, self.n_theta))
        jacobian = self.jacobian(theta)
        curved = np.zeros_like(hessian)
        for i, (s, own) in enumerate(self.parts(theta)):
            at = self.theta_slices[i]
            gradient[at] = s.gradient(own, scores[i])
            (hessian if s.linear else curved)[at, at] = s.bend(own, scores[i])
        hessian += jacobian.T @ information @ jacobian
        whole = hessian + curved
        if self.is_curved and np.linalg.eigvalsh(unit_diagonal(whole)[0])[0] < CURVED_UP:
            for i, s in enumerate(self.structures):
                if not s.linear:
                    at = self.theta_slices[i]
                    curved[at, at] = _upward(curved[at, at], s.always_bends)
            whole = hessian + curved
        return Derivatives(gradient, whole, scores, information)

    def _factor_lams(self, theta):
        lams = self.lams(theta)
        return [
            lams[f.terms[0]]
            if len(f.terms) == 1
            else linalg.block_diag(*[lams[i] for i in f.terms])
            if f.terms
            else np.zeros((1, 1))
            for f in self.blocks.factors
        ]

    # ---- what each way to compute it answers ----

    @property
    def function(self) -> Function:
        """The deviance for the compiled search."""
        raise NotImplementedError

    def value(self, theta: np.ndarray, floor: bool = False) -> float:
        """The deviance; infinite where rounding makes the factorization fail."""
        raise NotImplementedError

    def stand(self, theta: np.ndarray) -> float:
        """The deviance; small variances are floored where rounding asks for that."""
        value = self.value(theta)
        return value if np.isfinite(value) else self.value(theta, floor=True)

    def derivatives(self, theta: np.ndarray) -> Derivatives:
        """Derivatives at the theta of the last ``value``."""
        raise NotImplementedError

    def stand_at(self, theta: ArrayLike) -> None:
        """Take note of where a compiled search has left the function."""
        raise NotImplementedError

    @property
    def noise(self) -> float:
        """Estimate of the rounding error of the deviance at the theta of the last value."""
        raise NotImplementedError

    @property
    def loses_y_in_x(self) -> bool:
        """Whether digits were lost that another residual of y on X would keep."""
        return False

    @property
    def n_values(self) -> int:
        """Evaluations so far."""
        raise NotImplementedError

    @property
    def n_derivatives(self) -> int:
        """Evaluations of the derivatives so far."""
        raise NotImplementedError

    @property
    def fixed(self) -> np.ndarray:
        """Cholesky factor of [X y]'V0^-1[X y] at the theta of the last value, (P, P)."""
        raise NotImplementedError

    @property
    def factor(self) -> Factor:
        """The blocked Cholesky factor, where there is one."""
        raise NotImplementedError("sums over levels are no factor")

    def factor_at(self, theta: ArrayLike) -> Factor:
        """The blocked factor of the cross-products at ``theta``, where this stands."""
        factor = Factor(self.blocks)
        if not factor.update(self._factor_lams(theta)):
            raise DevianceError(
                "rounding leaves no factor of the random effects at the estimates: they "
                "nearly explain the response (endog). Leave out a term"
            )
        return factor

    def effects(self) -> tuple[np.ndarray, np.ndarray]:
        """Conditional modes given beta as (lead, tail), (L, K) and (m,)."""
        raise NotImplementedError

    def conditional_covariance(self, number: int) -> np.ndarray:
        """Level blocks of Lam C Lam' for one grouping factor, (L, K, K)."""
        raise NotImplementedError

    # ---- the fixed-effects block, [X y]'V0^-1[X y] = L L' ----

    @property
    def residual_square(self) -> float:
        """The penalized residual sum of squares y'P0 y."""
        return float(self.fixed[-1, -1] ** 2)

    def coefficients(self) -> np.ndarray:
        """Generalized least-squares coefficients of y on the basis of X."""
        return self.solve_fixed(self.fixed[-1, :-1], transpose=True)

    def solve_fixed(self, b: np.ndarray, transpose: bool = False) -> np.ndarray:
        """L_X^-1 b, or L_X^-T b."""
        if self.rank == 0:  # older LAPACK wrappers refuse empty matrices
            return np.zeros_like(b)
        # L as the transpose of an upper triangle in Fortran's order: nothing is copied
        upper = np.ascontiguousarray(self.fixed[:-1, :-1]).T
        return linalg.lapack.dtrtrs(upper, b, lower=0, trans=0 if transpose else 1)[0]

    def by_term(self, term: int, lead: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """Rows of one random term out of a (lead, tail) pair, (L, k, columns)."""
        number, columns = self.place[term]
        return self.blocks.by_level(number, lead, tail)[:, columns]


def _upward(bend, always):
    """The positive part of a bend, but the elements ``always`` of its diagonal whole."""
    value, vector = np.linalg.eigh(bend)
    out = (vector * value.clip(0)) @ vector.T
    own = np.flatnonzero(always)
    out[own] = out[:, own] = 0.0
    out[own, own] = bend[own, own]
    return out


class FactorDeviance(ProfiledDeviance):
    """The deviance from the blocked Cholesky factor: any number of grouping factors."""

    def __init__(self, blocks: Blocks, structures: Sequence[TermStructure], reml: bool):
        super().__init__(blocks, structures, reml)
        self._factor: Factor | None = None
        self._own_values, self._own_derivatives = 0, 0
        # Theta where the compiled function stands, and the factor does not yet.
        self._ahead: np.ndarray | None = None
        # Whether rounding made the last factorization fail: nothing can be read off it.
        self._failed = False

    @cached_property
    def function(self) -> Function:
        if self.compiles:
            return several_factors_function(self.blocks, self.ambient, self.reml, self.dof)
        return PythonFunction(self)

    @property
    def compiles(self) -> bool:
        """Whether there is a compiled function."""
        return is_compiled(self.blocks) and not self.is_curved

    @property
    def factor(self) -> Factor:
        """The factor, brought to where a compiled search has ended.

        Raises
        ------
        DevianceError
            If rounding made its factorization fail.
        """
        if self._ahead is not None:
            self._update(self._ahead, True)
        if self._failed:
            raise DevianceError(_NO_FACTOR)
        return self._own_factor()

    def _own_factor(self):
        if self._factor is None:
            self._factor = Factor(self.blocks)
        return self._factor

    def factor_at(self, theta: ArrayLike) -> Factor:
        return self.factor

    def _update(self, theta, floor):
        """Factor at theta; whether that could be done."""
        self._ahead = None
        self._failed = not self._own_factor().update(self._factor_lams(theta), floor)
        return not self._failed

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        state.pop("function", None)
        return state

    @property
    def n_values(self) -> int:
        return self._own_values + self._compiled_count("n_values")

    @property
    def n_derivatives(self) -> int:
        return self._own_derivatives + self._compiled_count("n_derivatives")

    def _compiled_count(self, name):
        # a Python function counts here
        return getattr(vars(self).get("function"), name, 0)

    @property
    def costly(self) -> bool:
        """Whether one evaluation takes so long that every one saved counts."""
        b = self.blocks
        return b.lead_gram.size + b.link_value.size + b.tail_gram.size > COSTLY_SIZE

    @property
    def starts_rough(self) -> bool:
        """Whether the inverse of the tail is so dear that the search first estimates it."""
        return self.blocks.pattern is None and self.blocks.tail_size > ROUGH_SIZE

    @property
    def squared(self) -> np.ndarray:
        """Which elements of theta enter by their squares alone, (n_theta,)."""
        return squared(self.structures)

    def stand_at(self, theta: ArrayLike) -> None:
        """Take note of where a compiled search has left the function."""
        if self.compiles:
            self._ahead = np.asarray(theta, float)

    @property
    def fixed(self) -> np.ndarray:
        if self._ahead is not None and "function" in vars(self):
            return self.function.fixed
        return self.factor.fixed

    def set_fixed(self, fixed: np.ndarray) -> bool:
        """Take [X y]'V0^-1 [X y]; False if rounding has made it indefinite."""
        return self.factor.set_fixed(fixed)

    def value(self, theta: np.ndarray, floor: bool = False) -> float:
        """The deviance; infinite where rounding makes the factorization fail."""
        self._own_values += 1
        return self.deviance() if self._update(theta, floor) else np.inf

    def deviance(self) -> float:
        """The deviance at the factor as it stands."""
        f, d = self.factor, self.dof
        deviance = f.log_det + d * (1 + np.log(2 * np.pi * f.residual_square / d))
        return deviance + f.fixed_log_det if self.reml else deviance

    @property
    def noise(self) -> float:
        """Estimate of the rounding error of the deviance at the factor as it stands."""
        if self._ahead is not None and "function" in vars(self):
            return self.function.noise
        return self.dof * np.finfo(float).eps * self.factor.cancellation

    def effects(self) -> tuple[np.ndarray, np.ndarray]:
        rank, beta = self.rank, self.coefficients()
        lead, tail = (
            part[..., rank] - part[..., :rank] @ beta
            for part in self.factor.response.effect
        )
        return lead, tail

    def conditional_covariance(self, number: int) -> np.ndarray:
        return self.factor.conditional_covariance(number)

    def _residual_response(self):
        """Z'V0^-1 X L_X^-T, and Z'P0 y, both as (lead, tail)."""
        rank = self.rank
        # both at once: [X y] times [L_X^-T, -beta; 0, 1]
        change = np.eye(rank + 1)
        change[:rank, :rank] = self.solve_fixed(change[:rank, :rank]).T
        change[:rank, rank] = -self.coefficients()
        moved = [part @ change for part in self.factor.response.response]
        whitened = [np.ascontiguousarray(part[..., :rank]) for part in moved]
        return whitened, [np.ascontiguousarray(part[..., rank]) for part in moved]

    def derivatives(self, theta: np.ndarray, rough: bool = False) -> Derivatives:
        """Derivatives at the theta of the last ``value``.

        ``rough`` ones have traces of the inverse of the tail estimated by random vectors,
        the same in every call.
        """
        self._own_derivatives += 1
        if self.factor.singular_tail:
            self._update(theta, True)
        f, scale = self.factor, self.dof / self.factor.residual_square
        whitened, residual = self._residual_response()
        vectors = [
            self.by_term(i, residual[0][..., None], residual[1][..., None])[..., 0]
            for i in range(len(self.structures))
        ]
        scores = []
        weights = self.by_gamma(vectors, theta)
        curvature = f.estimate_curvature() if rough else f.curvature
        for i, s in enumerate(self.structures):
            number, columns = self.place[i]
            score = curvature[number][columns, columns].copy()
            score -= scale * (vectors[i].T @ vectors[i])
            if self.reml:
                x = self.by_term(i, *whitened)
                x = x.transpose(1, 0, 2).reshape(s.k, -1)
                score -= x @ x.T
            scores.append(score)
        information = self._average_information(weights, whitened, residual, scale)
        return self.along_curves(theta, scores, information)

    def by_gamma(
        self, vectors: Iterable[np.ndarray], theta: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(I kron E_r) v for each element of gamma, as (lead, tail); v by term, (L, k).

        With theta E_r of a curve are its tangents there.
        """
        b = self.blocks
        count = self.gamma_slices[-1].stop
        lead = np.zeros((*b.lead_gram.shape[:2], count))
        tail = np.zeros((b.tail_size, count))
        for i, (s, v) in enumerate(zip(self.structures, vectors, strict=True)):
            number, columns = self.place[i]
            if s.k == 1:
                w = v[:, :, None]
            else:
                own = s if theta is None else s.at(theta[self.theta_slices[i]])
                w = np.tensordot(v, own.covariance_basis, (1, 2)).transpose(0, 2, 1)
            if number == 0:
                lead[:, columns, self.gamma_slices[i]] = w
            else:
                rows = b.tail_columns(number - 1)[:, columns]
                tail[rows, self.gamma_slices[i]] = w
        return lead, tail

    def _average_information(self, weights, whitened, residual, scale):
        lead, tail = weights
        count = lead.shape[2]
        quadratic = self.factor.project(lead, tail)
        flat = lead.reshape(-1, count)
        rank = self.factor.rank
        x = whitened[0].reshape(len(flat), rank).T @ flat + whitened[1].T @ tail
        a = residual[0].ravel() @ flat + residual[1] @ tail
        information = scale * (quadratic - x.T @ x)
        return information - scale**2 / self.dof * np.outer(a, a)
