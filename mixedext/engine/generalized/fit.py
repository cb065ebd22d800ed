"""From the rows of a generalized model to its fit: start, search, verdict, units undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.engine.generalized.boundary import (
    NEARLY_SINGULAR,
    flattened,
    is_singular,
)
from mixedext.engine.generalized.design import GeneralizedDesign
from mixedext.engine.generalized.joint_modes import JointModesDeviance
from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance
from mixedext.engine.generalized.observed import observed_information
from mixedext.engine.generalized.one_factor import OneFactorDeviance, is_one_factor
from mixedext.engine.generalized.outer import inner_psi, outer_psi, theta_jacobian
from mixedext.engine.generalized.search import (
    FIRST_RADIUS,
    SearchEnd,
    first_radius,
    search_minimum,
)
from mixedext.engine.generalized.start import linear_start, moment_start
from mixedext.engine.generalized.verdict import RUN_OFF, Separation, at_limit, judge
from mixedext.engine.search.verdict import Convergence, with_minima
from mixedext.engine.threads import blas_threads
from mixedext.exceptions import ConvergenceError

__all__ = ["GeneralizedFit", "fit_generalized", "make_deviance"]

# Rows up to which a second start is tried where one search alone may not do.
FEW_ROWS = 10_000
# Rows up to which it always is.
VERY_FEW_ROWS = 25
# Rows up to which a third one is, with so many parameters of the covariances.
SEVERAL_ROWS, SEVERAL = 100, 3
# How many times larger the standard deviations of further starts are where some run off.
FURTHER = 3.0, 10.0
DIFFERENT = 1e-5


@dataclass(frozen=True, eq=False)
class GeneralizedFit:
    """A fitted generalized model in the units of the data.

    Attributes
    ----------
    deviance : float
        -2 log-likelihood with all constants.
    theta : ndarray
        Factors of the covariances of all terms, in the model's order.
    coefficients : ndarray
        Of the columns of X that are kept.
    kappa : ndarray
        Logarithms of dispersions that are estimated.
    lams : tuple of ndarray
        Factor of the covariance of each term, (k, k), lower triangular.
    convergence : Convergence
        Verdict.
    separation : Separation
        What has infinite estimates.
    n_agq : int
        Nodes of the quadrature a dimension; 1 is Laplace's approximation.
    laplace : str
        Information in the determinant.
    log : list of tuple
        Deviance, iterations for the modes and length of the step, an evaluation.
    design : GeneralizedDesign
        The rows.
    rows : LikelihoodRows
        Family and response.
    objective : LaplaceDeviance or another
        The deviance, engine's units.
    evaluation : Any
        Its evaluation at the optimum.
    approximate : bool
        Whether the coefficients were found with the modes (n_agq=0).
    robust_covariance : ndarray or None
        Covariance of the engine's psi in the place of the inverse information.
    """

    deviance: float
    theta: np.ndarray
    coefficients: np.ndarray
    kappa: np.ndarray
    lams: tuple[np.ndarray, ...]
    convergence: Convergence
    separation: Separation
    n_agq: int
    laplace: str
    log: list[tuple[float, int, float]]
    design: GeneralizedDesign
    rows: Any
    objective: Any
    evaluation: Any
    approximate: bool = False
    robust_covariance: np.ndarray | None = None

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood with all constants."""
        return -0.5 * self.deviance

    @property
    def covariances(self) -> list[np.ndarray]:
        """Covariance matrix of the effects of each term."""
        return [lam @ lam.T for lam in self.lams]

    @property
    def n_evaluations(self) -> int:
        """Evaluations of the deviance."""
        return len(self.log)

    @property
    def n_iterations(self) -> int:
        """Penalized Newton iterations in all of them."""
        return sum(entry[1] for entry in self.log)

    @cached_property
    def at_modes(self) -> Any:
        """Laplace's evaluation at the estimates, whatever the quadrature.

        Raises
        ------
        ConvergenceError
            If a search has failed where the conditional modes cannot be found once more.
        """
        if isinstance(self.objective, LaplaceDeviance):
            return self.evaluation
        laplace = LaplaceDeviance(self.design, self.rows, self.laplace)
        found = laplace.evaluate(self.evaluation.psi, self.evaluation.modes)
        if not np.isfinite(found.value):
            raise ConvergenceError(
                "errors of the random effects need the conditional modes at the estimates, "
                f"where the fit has failed: {found.reason}. {self.convergence.message}"
            )
        return found

    @property
    def eta(self) -> np.ndarray:
        """Linear predictor with the conditional modes, (n,)."""
        return self.evaluation.eta

    @property
    def variance_eta(self) -> np.ndarray:
        """Variance of the linear predictor given y and the parameters, (n,)."""
        return self.at_modes.variance_eta

    @cached_property
    def modes(self) -> list[np.ndarray]:
        """Conditional modes of the effects of each term, (L, k)."""
        return self._by_term(self.evaluation.effects)

    def _by_term(self, effects):
        units = self.design.units
        return [
            units.own_effects(i, self.design.of_term(i, effects))
            for i in range(len(units.terms))
        ]

    @cached_property
    def mode_derivatives(self) -> list[np.ndarray]:
        """Change of the modes by the engine's psi, (L, k, n_psi) a term."""
        moves = self.at_modes.mode_derivatives
        by_parameter = [self._by_term(moves[:, j]) for j in range(moves.shape[1])]
        return [np.stack(parts, axis=-1) for parts in zip(*by_parameter, strict=True)]

    def mode_covariances(self, term: int, joint: bool = True) -> np.ndarray:
        """Covariances of the effects of a term given y, level by level, (L, k, k).

        Parameters
        ----------
        term : int
            Number of the term.
        joint : bool
            Whether the uncertainty of the parameters counts, too.
        """
        number, columns = self.design.place[term]
        own = self.at_modes.stand().conditional_covariance(number)[:, columns, columns]
        units = self.design.units
        if term in units.scalar_terms:
            k = units.terms[term].k
            own = own.reshape(-1, k)[:, :, None] * np.eye(k)
        inverse = units.inverse_transforms[term]
        own = inverse @ own @ inverse.T
        if joint:
            at = self.determined
            moves = self.mode_derivatives[term][:, :, at]
            spread = self.inner_covariance[np.ix_(at, at)]
            own = own + np.einsum("laj,jk,lbk->lab", moves, spread, moves)
        return own

    # ---- information ----

    @cached_property
    def inner_information(self) -> np.ndarray:
        """Observed information on the engine's psi."""
        with blas_threads():
            return observed_information(self.objective, self.evaluation)

    @cached_property
    def determined(self) -> np.ndarray:
        """Numbers of the parameters with a curvature: not a dispersion at its limit."""
        n = len(self.evaluation.psi)
        return np.arange(n - 1 if at_limit(self.objective, self.evaluation.psi) else n)

    @cached_property
    def is_definite(self) -> bool:
        """Whether the observed information is positive definite."""
        at = self.determined
        info = self.inner_information[np.ix_(at, at)]
        if not np.isfinite(info).all():
            return False
        if not len(info):
            return True
        if not (np.diag(info) > 0).all():
            return False
        return bool(np.linalg.eigvalsh(unit_diagonal(info)[0])[0] > 1e-12)

    @cached_property
    def inner_covariance(self) -> np.ndarray:
        """Inverse of the observed information; NaN where that is not definite.

        Or the robust covariance, where the fit has one.
        """
        if self.robust_covariance is not None:
            return self.robust_covariance
        whole = np.full_like(self.inner_information, np.nan)
        if self.is_definite:
            at = np.ix_(self.determined, self.determined)
            info = self.inner_information[at]
            size = np.sqrt(np.diag(info))
            root = linalg.cho_factor(info / np.outer(size, size))
            whole[at] = linalg.cho_solve(root, np.eye(len(info))) / np.outer(size, size)
        return whole

    def _outer_change(self, of_theta):
        units, objective = self.design.units, self.objective
        r = units.basis.r
        inverse = linalg.solve_triangular(r, np.eye(len(r))) if len(r) else r
        return linalg.block_diag(of_theta, inverse, np.eye(objective.n_kappa))

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance of (covariance elements, coefficients kept, kappa).

        The covariance elements are the natural parameters of the terms' structures, such
        as the lower triangles of Sigma; their variances are zero on the boundary.
        """
        units, objective = self.design.units, self.objective
        theta, _, _ = objective.split(self.evaluation.psi)
        blocks = []
        pairs = zip(
            objective.parameters.parts(theta), units.inverse_transforms, strict=True
        )
        for (s, own), inverse in pairs:
            moved = s.moved(own, inverse)
            if s.linear:
                blocks.append(s.congruence(inverse) @ s.jacobian(own))
            else:  # such structures leave one scale to the columns
                blocks.append(_natural_jacobian(s, own, inverse, moved))
        of_theta = linalg.block_diag(*blocks) if blocks else np.zeros((0, 0))
        return self._propagated(self._outer_change(of_theta))

    @cached_property
    def theta_covariance(self) -> np.ndarray:
        """Covariance of (theta, coefficients kept, kappa)."""
        jacobian = theta_jacobian(self.design.units, self.theta)
        try:
            of_theta = np.linalg.inv(jacobian)
        except np.linalg.LinAlgError:
            of_theta = np.full_like(jacobian, np.nan)
        return self._propagated(self._outer_change(of_theta))

    def _propagated(self, change):
        """The covariance by the delta rule; NaN of a dispersion at its limit alone."""
        at = self.determined
        if len(at) == len(change) or not self.is_definite:
            return change @ self.inner_covariance @ change.T
        out = np.full((len(change),) * 2, np.nan)
        inner = self.inner_covariance[np.ix_(at, at)]
        known = change[np.ix_(at, at)]
        out[np.ix_(at, at)] = known @ inner @ known.T
        return out

    @cached_property
    def conditional_covariance(self) -> np.ndarray:
        """(X'V^-1 X)^-1 of the columns kept, at the covariances as if known."""
        units = self.design.units
        found = self.at_modes.conditional_information
        try:
            inner = np.linalg.inv(found)
        except np.linalg.LinAlgError:  # some coefficients are infinite
            inner = np.full_like(found, np.nan)
        return units.basis.coefficients(units.basis.coefficients(inner).T)

    def evaluate(
        self, theta: np.ndarray, coefficients: np.ndarray, kappa: Sequence[float] = ()
    ) -> tuple[float, np.ndarray]:
        """Deviance and gradient at any parameters in the data's units."""
        return evaluate_at(self.objective, theta, coefficients, kappa)


def _natural_jacobian(s, own, inverse, moved):
    """d natural parameters in the data's units / d theta in the engine's."""
    change = np.empty((s.n_theta, s.n_theta))
    for j in range(s.n_theta):
        step = np.zeros(s.n_theta)
        step[j] = 1e-6 * max(1.0, abs(own[j]))
        sides = [s.natural(s.moved(own + sign * step, inverse)) for sign in (1.0, -1.0)]
        change[:, j] = (sides[0] - sides[1]) / (2.0 * step[j])
    return change


def evaluate_at(
    objective: Any, theta: Any, coefficients: Any, kappa: Any = ()
) -> tuple[float, np.ndarray]:
    """Deviance and gradient of an objective at parameters in the data's units."""
    given = theta, coefficients, kappa
    theta, beta, kappa = (np.atleast_1d(np.asarray(a, float)) for a in given)
    psi = np.concatenate([theta.ravel(), beta.ravel(), kappa.ravel()])
    found = objective.evaluate(inner_psi(objective, psi))
    if not np.isfinite(found.value):
        return found.value, np.full(len(psi), np.nan)
    units = objective.design.units
    jacobian = linalg.block_diag(
        theta_jacobian(units, theta), units.basis.r, np.eye(objective.n_kappa)
    )
    return found.value, jacobian.T @ found.gradient


def make_deviance(
    design: GeneralizedDesign, rows: Any, n_agq: int = 1, laplace: str = "observed"
) -> Any:
    """The deviance for a number of nodes: the fastest that computes it."""
    fast = n_agq and rows.kernel.is_compiled and is_one_factor(design)
    if n_agq > 1 or fast:
        return OneFactorDeviance(design, rows, laplace, n_agq)
    return LaplaceDeviance(design, rows, laplace)


def fit_generalized(
    design: GeneralizedDesign,
    rows: Any,
    *,
    n_agq: int = 1,
    laplace: str = "observed",
    start: np.ndarray | None = None,
) -> GeneralizedFit:
    """Fit a generalized model by maximum likelihood.

    Parameters
    ----------
    design : GeneralizedDesign
        The rows.
    rows : LikelihoodRows
        Family and response.
    n_agq : int
        Nodes of adaptive quadrature a dimension; 1 for Laplace's approximation, 0 for
        coefficients that minimize the penalized likelihood with the modes.
    laplace : {"observed", "expected"}
        Information in the determinant.
    start : ndarray, optional
        (theta, coefficients kept, kappa) in the data's units.

    Raises
    ------
    ConvergenceError
        If no start has a likelihood; says why.
    """
    with blas_threads():
        return _fitted(design, rows, n_agq, laplace, start)


def _fitted(design, rows, n_agq, laplace, start):
    objective = make_deviance(design, rows, n_agq, laplace)
    search = search_minimum if n_agq else _joint_search
    if start is not None:
        ends = [search(objective, inner_psi(objective, start))]
    else:
        psi = moment_start(objective, *linear_start(design, rows))
        ends = [search(objective, psi, radius=first_radius(design.nobs))]
        few = design.nobs <= FEW_ROWS
        doubtful = design.nobs <= VERY_FEW_ROWS or _doubtful(objective, ends[0])
        if ends[0].failed or (few and doubtful):
            sizes = _further_sizes(design.nobs, objective.n_theta)
            known = None if ends[0].failed else ends[0].evaluation
            for size in sizes:
                other = _unit_start(objective, psi, size)
                ends.append(search(objective, other, known=known))
        if few and _runs_off(objective, ends[-1]):
            # where levels are all alike Laplace's deviance has minima far apart
            # the coefficients grow with the standard deviations there
            starts = [_unit_start(objective, psi, 0.5)]
            for factor in FURTHER:
                far = ends[-1].evaluation.psi.copy()
                far[: objective.n_theta + objective.rank] *= factor
                starts.append(far)
            ends += [search(objective, other) for other in starts]
    log = [entry for one in ends for entry in one.log]
    values = [one.evaluation.value for one in ends]
    end = ends[int(np.argmin(values))]
    if not np.isfinite(end.evaluation.value):
        raise ConvergenceError(
            f"no likelihood can be computed at the start: {end.reason or 'it overflows'}; "
            "look at the offset and the units of the columns, take a link whose domain "
            "holds all means, or give start_params="
        )
    end, singular = _snapped(objective, end, search)
    verdict, separation = judge(objective, end, singular, bool(n_agq))
    minima = sorted(v for v in values if np.isfinite(v))
    distinct = [v for i, v in enumerate(minima) if not i or v - minima[i - 1] > DIFFERENT]
    clean = [one for one in ends if not one.failed]
    if len(distinct) > 1 and len(clean) == len(ends):
        verdict = replace(verdict, minima=tuple(distinct))
    # a few rows and several variances have more minima than starts
    many = objective.n_theta > 1
    verdict = replace(
        verdict,
        n_evaluations=len(log),
        others_may_exist=many and design.nobs <= VERY_FEW_ROWS and start is None,
    )
    verdict = with_minima(verdict, 0.0)
    outer = outer_psi(objective, end.evaluation.psi)
    theta, beta, kappa = objective.split(outer)
    theta = _canonical(design.units, theta)
    return GeneralizedFit(
        deviance=float(end.evaluation.value),
        theta=theta,
        coefficients=beta,
        kappa=kappa,
        lams=tuple(design.units.own_lams(theta)),
        convergence=verdict,
        separation=separation,
        n_agq=n_agq,
        laplace=laplace,
        log=log,
        design=design,
        rows=rows,
        objective=objective,
        evaluation=end.evaluation,
        approximate=not n_agq,
    )


def _joint_search(objective, psi, modes=None, radius=FIRST_RADIUS, known=None):
    """Search over covariances and dispersion, the coefficients found with the modes."""
    theta, beta, kappa = objective.split(psi)
    joint = JointModesDeviance(objective, beta)
    start = None if modes is None else (modes, beta)
    end = search_minimum(joint, np.concatenate([theta, kappa]), start, radius=radius)
    if np.isfinite(end.evaluation.value):
        end.evaluation = end.evaluation.inner
        end.correction = np.zeros((0, 0))
    return end


def _canonical(units, theta):
    parts, start = [], 0
    for s in units.structures:
        parts.append(s.canonical(theta[start : start + s.n_theta]))
        start += s.n_theta
    return np.concatenate(parts) if parts else theta


def _doubtful(objective, end):
    """Whether a search has ended where others may end lower: where a variance is zero."""
    theta, _, _ = objective.split(end.evaluation.psi)
    for s, own in objective.parameters.parts(theta):
        size = np.linalg.svd(s.lam(own), compute_uv=False)
        if size[-1] < NEARLY_SINGULAR * max(size[0], 1.0):
            return True
    return False


def _runs_off(objective, end):
    """Whether the variance of some term runs off."""
    theta, _, _ = objective.split(end.evaluation.psi)
    lams = objective.parameters.lams(theta)
    return any(not np.abs(lam).max(initial=0.0) < RUN_OFF for lam in lams)


def _further_sizes(nobs, n_theta):
    """Standard deviations of further starts."""
    if nobs <= VERY_FEW_ROWS:
        return 1.0, 0.3, 3.0
    # covariances of several effects have minima apart where rows are few
    return (3.0, 1.0) if nobs <= SEVERAL_ROWS and n_theta >= SEVERAL else (1.0,)


def _unit_start(objective, psi, size=1.0):
    """A start at standard deviations of one size."""
    _, beta, kappa = objective.split(psi)
    structures = objective.parameters.structures
    parts = [s.scaled(s.start(None), size) for s in structures]
    return np.concatenate([*parts, beta, kappa])


def _snapped(objective, end: SearchEnd, search) -> tuple[SearchEnd, bool]:
    """The end with what is nearly zero exactly so, and the rest searched once more."""
    there = flattened(objective, end.evaluation)
    if there is not None:
        again = search(objective, there.psi, there.modes)
        if again.evaluation.value <= there.value:
            again.log = [*end.log, (there.value, there.iterations, 0.0), *again.log]
            end = again
        else:
            end.evaluation = there
    found = end.evaluation
    return end, bool(np.isfinite(found.value)) and is_singular(objective, found.psi)
