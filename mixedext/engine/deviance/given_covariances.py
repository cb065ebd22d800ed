"""The log-likelihood and its exact derivatives at covariances that are given.

With relative covariances Sigma_i = sum_r gamma_r E_r, V0 = I + Z Sigma Z' and sigma^2
profiled out,

    l(b, gamma) = -1/2 [log det V0 + [REML] log det X'V0^-1 X + d (1 + log(2 pi q / d))],
    q = (y - Xb)'V0^-1 (y - Xb),    d = n - p (REML) or n (ML).

With N = Z'V0^-1 Z, T = Z'V0^-1 X, v = Z'V0^-1 (y - Xb), h = X'V0^-1 (y - Xb),
A = X'V0^-1 X = F^-1 and B_r = I kron E_r:

    l_b  = d h / q,      l_r = -1/2 [tr B_r N - d v'B_r v / q - [REML] tr F T'B_r T]
    l_bb = -d A / q + 2 d h h' / q^2,
    l_br = -d T'B_r v / q + d h (v'B_r v) / q^2,
    l_rs = 1/2 tr B_r N B_s N - d v'B_r N B_s v / q + d (v'B_r v)(v'B_s v) / (2 q^2)
           + [REML] (1/2 tr F T'B_r T F T'B_s T - tr F T'B_r N B_s T).

The terms with h vanish at the generalized least-squares estimate.  Nothing here needs
Sigma to be nonsingular.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from mixedext.algebra.roots import nearest_root, semidefinite_root
from mixedext.engine.deviance.covariance_forms import CovarianceForms
from mixedext.engine.deviance.profiled import FactorDeviance
from mixedext.engine.rows.design import Design
from mixedext.engine.threads import blas_threads
from mixedext.specification.covariance.term_structure import TermStructure
from mixedext.specification.terms.structured import refuse_structured

__all__ = [
    "IndefiniteError",
    "Likelihood",
    "Point",
    "nearest_relative_root",
    "relative_root",
]


class IndefiniteError(ValueError):
    """Covariances at which there is no model: one is not positive semidefinite."""


class Likelihood:
    """The log-likelihood of a design as a function of covariances and coefficients.

    Everything is in the units of the data: covariances relative to sigma^2, one (k, k) a
    term, and coefficients of the columns of X that were kept.

    Parameters
    ----------
    design : Design
        The model.
    reml : bool
        Restricted (True) or ordinary likelihood.
    """

    def __init__(self, design: Design, reml: bool):
        self.design, self.reml = design, bool(reml)
        self.objective = design.objective(self.reml)
        self._factored: FactorDeviance | None = None

    def at(self, covariances: Iterable[ArrayLike]) -> Point:
        """The model at relative covariances, which may be singular.

        Raises
        ------
        IndefiniteError
            If one is not positive semidefinite; names the term.
        """
        return Point(self, self._roots(covariances))

    def outer_theta(self, covariances: Iterable[ArrayLike]) -> np.ndarray:
        """Theta in the data's units of relative covariances; raises as ``at``."""
        return self.design.outer_theta(self._roots(covariances))

    def _roots(self, covariances):
        """Theta in the engine's units."""
        parts = []
        for term, transform, covariance in zip(
            self.design.terms, self.design.transforms, covariances, strict=True
        ):
            inner = transform @ np.asarray(covariance, float) @ transform.T
            lam = relative_root(term.structure, inner)
            if lam is None:
                raise IndefiniteError(
                    f"the covariance of the random effects of {term.group} "
                    f"({', '.join(term.names)}) is not positive semidefinite, so that "
                    f"there is no such model: {np.array2string(np.asarray(covariance))}"
                )
            parts.append(term.structure.theta(lam))
        return np.concatenate(parts) if parts else np.zeros(0)

    def factored(self, point: Point) -> FactorDeviance:
        """The blocked factor, at the theta of a point."""
        if self._factored is None:
            if isinstance(self.objective, FactorDeviance):
                self._factored = self.objective
            else:
                self._factored = FactorDeviance(
                    self.design.blocks, self.design.structures, self.reml
                )
        factored = self._factored
        factored.value(point.theta)
        if factored.factor.singular_tail:
            factored.value(point.theta, floor=True)
        factored.factor.fixed = point.fixed
        return factored

    @cached_property
    def change(self) -> np.ndarray:
        """Gamma in the engine's units by gamma in the data's, (n_gamma, n_gamma)."""
        blocks = [
            s.congruence(t)
            for s, t in zip(self.design.structures, self.design.transforms, strict=True)
        ]
        return linalg.block_diag(*blocks) if blocks else np.zeros((0, 0))


def relative_root(structure: TermStructure, covariance: np.ndarray) -> np.ndarray | None:
    """Factor lam of a covariance of the structure, None if that is indefinite."""
    if structure.has_correlations:
        return semidefinite_root(covariance)
    if not np.isfinite(covariance).all() or (np.diag(covariance) < 0).any():
        return None
    return structure.nearest(covariance)


def nearest_relative_root(structure: TermStructure, covariance: np.ndarray) -> np.ndarray:
    """Factor lam of a covariance that is semidefinite but for rounding."""
    return (
        nearest_root(covariance)
        if structure.has_correlations
        else structure.nearest(covariance)
    )


class Point:
    """The log-likelihood at one set of covariances.

    Attributes
    ----------
    theta : ndarray
        Relative covariance factors in the engine's units.
    fixed : ndarray
        Cholesky factor of [X y]'V0^-1 [X y], engine's units.
    """

    def __init__(self, likelihood: Likelihood, theta: np.ndarray):
        self.likelihood, self.theta = likelihood, theta
        self.design = likelihood.design
        objective = likelihood.objective
        with blas_threads():
            self.deviance = float(objective.stand(theta))
        self.rank, self.dof = objective.rank, objective.dof
        self.fixed = np.array(objective.fixed)
        self._best = objective.coefficients()
        self._root = self.fixed[:-1, :-1]

    # ---- values ----

    def coefficients(self) -> np.ndarray:
        """Generalized least-squares coefficients of the columns kept."""
        on_basis = self.design.least_squares + self.design.y_scale * self._best
        return self.design.basis.coefficients(on_basis)

    def log_likelihood(self, coefficients: ArrayLike | None = None) -> float:
        """Log-likelihood with all constants, at coefficients or maximized over them."""
        shift = self.design.deviance_shift(self.likelihood.reml, self.dof)
        value = self.deviance + shift
        if coefficients is not None:
            inner = self._inner(coefficients)
            value += self.dof * np.log1p(self._excess(inner) / self._least_square)
        return -0.5 * float(value)

    def scale(self, coefficients: ArrayLike | None = None) -> float:
        """Estimate of sigma^2: q / d."""
        square = self._least_square
        if coefficients is not None:
            square = square + self._excess(self._inner(coefficients))
        return float(square / self.dof * self.design.y_scale**2)

    def normal_matrix(self) -> np.ndarray:
        """X'V0^-1 X of the columns kept."""
        r = self.design.basis.r
        half = self._root.T @ r
        return half.T @ half

    @property
    def _least_square(self):
        return float(self.fixed[-1, -1] ** 2)

    def _inner(self, coefficients):
        """Coefficients of the scaled residual of y on the basis of X."""
        if coefficients is None:
            return self._best
        on_basis = self.design.basis.r @ np.asarray(coefficients, float)
        return (on_basis - self.design.least_squares) / self.design.y_scale

    def _excess(self, inner):
        return float(((self._root.T @ (inner - self._best)) ** 2).sum())

    def residual_squares(self, coefficients: ArrayLike | None = None) -> np.ndarray:
        """v'B_r v, v = Z'V0^-1 (y - Xb), for gamma of all terms."""
        if not self.design.terms:
            return np.zeros(0)
        refuse_structured(self.design.terms, "The score in the variance parameters")
        with blas_threads():
            forms = CovarianceForms(self.likelihood.factored(self))
            squares = forms.squares(forms.residuals(self._inner(coefficients)))
        return self.likelihood.change.T @ squares * self.design.y_scale**2

    def effects(self, coefficients: ArrayLike | None = None) -> tuple[np.ndarray, ...]:
        """Conditional modes of the random effects given coefficients, (L, k) a term."""
        if not self.design.terms:
            return ()
        inner, rank = self._inner(coefficients), self.rank
        with blas_threads():
            factored = self.likelihood.factored(self)
            lead, tail = factored.factor.response.effect
        out = []
        for i, inverse in enumerate(self.design.inverse_transforms):
            own = factored.by_term(i, lead, tail)
            modes = own[..., rank] - own[..., :rank] @ inner
            out.append(self.design.y_scale * modes @ inverse.T)
        return tuple(out)

    # ---- derivatives ----

    def score(self, coefficients: ArrayLike | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives in the coefficients and in gamma of all terms."""
        refuse_structured(self.design.terms, "The score in the variance parameters")
        inner = self._inner(coefficients)
        ratio = self.dof / (self._least_square + self._excess(inner))
        slope = self._root @ (self._root.T @ (self._best - inner))
        fixed = self.design.basis.r.T @ slope * ratio / self.design.y_scale
        if not self.design.terms:
            return fixed, np.zeros(0)
        with blas_threads():
            forms = CovarianceForms(self.likelihood.factored(self))
            slope = forms.trace() - ratio * forms.squares(forms.residuals(inner))
            if self.likelihood.reml:
                own = [np.tensordot(t, t, ((0, 2), (0, 2))) for t in forms.whitened()]
                pairs = zip(forms.basis, own, strict=True)
                slope -= np.concatenate([np.einsum("rab,ab->r", e, t) for e, t in pairs])
        return fixed, -0.5 * self.likelihood.change.T @ slope

    def hessian(self, coefficients: ArrayLike | None = None) -> np.ndarray:
        """Second derivatives in (coefficients, gamma of all terms)."""
        refuse_structured(self.design.terms, "The Hessian in the variance parameters")
        inner = self._inner(coefficients)
        square = self._least_square + self._excess(inner)
        ratio = self.dof / square
        slope = self._root @ (self._root.T @ (self._best - inner))
        rank = self.rank
        count = len(self.likelihood.change)
        out = np.zeros((rank + count, rank + count))
        out[:rank, :rank] = -ratio * self._root @ self._root.T
        out[:rank, :rank] += 2 * ratio / square * np.outer(slope, slope)
        if self.design.terms:
            with blas_threads():
                cross, own = self._curvatures(inner, slope, ratio, square)
            out[:rank, rank:], out[rank:, :rank] = cross, cross.T
            out[rank:, rank:] = own
        change = linalg.block_diag(
            self.design.basis.r / self.design.y_scale, self.likelihood.change
        )
        # columns of any scale: what is beyond the range of numbers is infinite, no more
        size = np.abs(change).max(axis=0, initial=0.0)
        size[size == 0] = 1.0
        change = change / size
        with np.errstate(over="ignore"):
            return change.T @ out @ change * size * size[:, None]

    def _curvatures(self, inner, slope, ratio, square):
        """Blocks l_br and l_rs."""
        forms = CovarianceForms(self.likelihood.factored(self))
        v = forms.residuals(inner)
        a = forms.squares(v)
        cross = -ratio * forms.mixed(v).T + ratio / square * np.outer(slope, a)
        own = 0.5 * forms.traces() - ratio * forms.curved(v)
        own += ratio / (2 * square) * np.outer(a, a)
        if self.likelihood.reml and self.rank:
            whitened = forms.whitened()
            squares = np.vstack(
                [
                    np.einsum("lap,rab,lbs->rps", t, e, t, optimize=True).reshape(
                        len(e), -1
                    )
                    for t, e in zip(whitened, forms.basis, strict=True)
                ]
            )
            own += 0.5 * squares @ squares.T
            for j in range(self.rank):
                own -= forms.curved([t[:, :, j] for t in whitened])
        return cross, own
