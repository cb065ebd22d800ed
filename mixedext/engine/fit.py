"""From a Design to a frozen Fit: start, minimize, undo the scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from mixedext.algebra.roots import nearest_root
from mixedext.engine.deviance.profiled import ProfiledDeviance
from mixedext.engine.information.variance_covariance import VarianceCovariance
from mixedext.engine.rows.design import Design
from mixedext.engine.search.optimize import (
    Optimum,
    SearchLog,
    evaluate,
    minimize_deviance,
)
from mixedext.engine.search.rivals import NO_OTHERS, other_starts
from mixedext.engine.search.starting_values import moment_covariances, start_of
from mixedext.engine.search.verdict import Convergence, with_minima
from mixedext.engine.threads import blas_threads
from mixedext.limits import NO_ROOT
from mixedext.specification.terms.random_terms import RandomTerm

if TYPE_CHECKING:  # it is made of fits
    from mixedext.engine.residual.estimate import ResidualEstimate

__all__ = [
    "Fit",
    "evaluate_design",
    "fit_at",
    "fit_design",
    "followed",
    "inner_start",
]

# Residuals of y on X by V0 that are taken one after the other, each where the search with
# the one before has ended.
MOST_RESIDUALS = 3
# Halvings of a theta that rounding rejects, as in a search.
MOST_HALVES = 60


@dataclass(frozen=True, eq=False)
class Held:
    """What is known of estimates of which some were held, or that were penalized.

    Attributes
    ----------
    covariance : ndarray
        Covariance of the coefficients.
    variances : VarianceCovariance
        Covariance of the variance parameters.
    observed : ndarray
        Inverse curvature in coefficients and variance parameters together.
    least_squares : bool
        Whether the coefficients are, given the covariances, free and not penalized.
    inner_effects : tuple of ndarray
        Coefficients of the random effects, engine's units, (L, k) a term.
    covariances : tuple of ndarray, optional
        Covariance matrices of the terms, where they are not scale times lam lam'.
    """

    covariance: np.ndarray
    variances: VarianceCovariance
    observed: np.ndarray
    least_squares: bool
    inner_effects: tuple[np.ndarray, ...]
    covariances: tuple[np.ndarray, ...] | None = None


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model in the units of the data.

    Attributes
    ----------
    reml : bool
        Restricted or ordinary maximum likelihood.
    deviance : float
        -2 (restricted) log-likelihood with all constants.
    theta : ndarray
        Relative covariance factors of all terms, in the model's order.
    scale : float
        Residual variance sigma^2.
    coefficients : ndarray
        Generalized least-squares coefficients of the columns kept.
    lams : tuple of ndarray
        Relative covariance factor of each term.
    convergence : Convergence
        Verdict.
    optimum : Optimum
        Optimum in the engine's units.
    design : Design
        The model.
    objective : ProfiledDeviance
        It stands at the optimum.
    held : Held or None
        Of a fit of which parameters were held or penalized: the coefficients are not
        those of generalized least squares, and their covariance is another.
    residual : ResidualEstimate or None
        Of a model with a residual covariance: ``design`` is that of whitened rows.
    """

    reml: bool
    deviance: float
    theta: np.ndarray
    scale: float
    coefficients: np.ndarray
    lams: tuple[np.ndarray, ...]
    convergence: Convergence
    optimum: Optimum
    design: Design
    objective: ProfiledDeviance
    held: Held | None = None
    residual: ResidualEstimate | None = None

    @property
    def log_likelihood(self) -> float:
        return -0.5 * self.deviance

    @property
    def covariances(self) -> list[np.ndarray]:
        """Covariance matrix Sigma_i = sigma^2 lam lam' of each term."""
        if self.held is not None and self.held.covariances is not None:
            return list(self.held.covariances)
        return [self.scale * lam @ lam.T for lam in self.lams]

    @cached_property
    def root(self) -> np.ndarray:
        """R^-1 L_X^-T, upper triangular: root root' = (X'V0^-1 X)^-1.

        Combinations of coefficients times it have the identity as their covariance, but
        for sigma^2.  It keeps the digits that their covariance matrix loses where columns
        are far from zero.
        """
        if self.held is not None:
            # coefficients that are held have no variance, those that a penalty has made
            # zero none that is known
            return nearest_root(np.nan_to_num(self.held.covariance / self.scale))
        basis = self.design.basis
        return basis.coefficients(self.objective.solve_fixed(np.eye(basis.rank)).T)

    @cached_property
    def covariance(self) -> np.ndarray:
        """Covariance sigma^2 (X'V0^-1 X)^-1 of the coefficients."""
        if self.held is not None:
            return self.held.covariance
        return self.scale * self.root @ self.root.T

    @cached_property
    def _inner_effects(self) -> list[np.ndarray]:
        """Coefficients of the random effects, engine's units, (L, k) a term."""
        if self.held is not None:
            return list(self.held.inner_effects)
        lead, tail = self.objective.effects()
        return [
            self.objective.by_term(i, lead[..., None], tail[..., None])[..., 0]
            for i in range(len(self.lams))
        ]

    @cached_property
    def effects(self) -> tuple[np.ndarray, ...]:
        """Conditional modes of each term, (L, k)."""
        return tuple(
            self.design.own_effects(i, effect)
            for i, effect in enumerate(self._inner_effects)
        )

    @cached_property
    def penalty(self) -> float:
        """u'u, the part of the penalized residual sum of squares that no row has."""
        lams = self.design.lams(self.optimum.theta)
        total = 0.0
        for lam, effect in zip(lams, self._inner_effects, strict=True):
            # a standard deviation whose square is no number is none
            lam = np.where(np.abs(lam) < np.sqrt(np.finfo(float).tiny), 0.0, lam)
            u = np.linalg.lstsq(lam, effect.T, rcond=NO_ROOT)[0]
            total += float((u**2).sum())
        return total * self.design.y_scale**2

    @property
    def is_singular(self) -> bool:
        """Whether some variance is zero or some correlation +-1."""
        return self.optimum.is_singular

    @property
    def log(self) -> SearchLog:
        """What the search did, in the units of the data."""
        log = self.optimum.log
        shift = self.design.deviance_shift(self.reml, self.objective.dof)
        return replace(
            log,
            deviance=log.deviance + shift,
            theta=[self.design.outer_theta(t) for t in log.theta],
        )

    @cached_property
    def _factor_covariances(self):
        count = len(self.design.blocks.factors)
        return [self.objective.conditional_covariance(number) for number in range(count)]

    def joint_effect_covariance(self, terms: list[int]) -> np.ndarray:
        """Conditional covariance of the effects of terms that share a grouping factor.

        Given theta, beta and sigma: sigma^2 [Lam C Lam']_ll, (L, columns, columns).
        """
        design, place = self.design, self.objective.place
        inverse = linalg.block_diag(*[design.inverse_transforms[i] for i in terms])
        numbers = [place[i][0] for i in terms]
        if len(set(numbers)) > 1:
            return self._spread_covariance(terms, numbers)
        block, own = self._factor_covariances[numbers[0]], design.terms[terms[0]]
        if design.rotation is not None:
            prior = design.lams(self.optimum.theta)[0][0, 0] ** 2
            block = design.rotation.covariance(block.ravel(), prior, own.k)
        if terms[0] in design.scalar_terms or design.rotation is not None:
            return self.scale * inverse[0, 0] ** 2 * block
        pick = np.concatenate([np.r_[place[i][1]] for i in terms])
        block = block[:, pick[:, None], pick]
        return self.scale * inverse @ block @ inverse.T

    def _spread_covariance(self, terms, numbers):
        """The same for terms of one grouping factor that the engine has made several."""
        design = self.design
        own = [design.terms[i] for i in terms]
        layouts = [design.blocks.factors[number] for number in numbers]
        shared = all(isinstance(t, RandomTerm) and t.group == own[0].group for t in own)
        if not (shared and all(f.spread for f in layouts)):
            raise ValueError("the terms do not share a grouping factor")
        block = self.objective.factor.tail.joint_covariance([n - 1 for n in numbers])
        inverses = [design.inverse_transforms[i] for i in terms]
        counts = [t.k // len(inv) for t, inv in zip(own, inverses, strict=True)]
        if all(len(inv) == 1 for inv in inverses):
            inverse = np.repeat([inv[0, 0] for inv in inverses], counts)
            return self.scale * inverse[:, None] * block * inverse
        parts = [inv for inv, n in zip(inverses, counts, strict=True) for _ in range(n)]
        whole = linalg.block_diag(*parts)
        return self.scale * whole @ block @ whole.T


def fit_design(
    design: Design,
    reml: bool,
    start: np.ndarray | None = None,
    max_iterations: int | None = None,
    look: bool = False,
    far: bool = True,
) -> Fit:
    """Fit by maximum (restricted) likelihood.

    Parameters
    ----------
    design : Design
        From ``prepare_design``.
    reml : bool
        Restricted (True) or ordinary likelihood.
    start : ndarray, optional
        Starting theta in the units of the data; moment estimates, or lam = I, if None.
    max_iterations : int, optional
        Newton iterations from that one start, with no fallback.  There is no second start
        if either is given.
    look : bool, optional
        Whether to look for other minima although a start is given, and search from the
        moments, too, where that is looked for.
    far : bool, optional
        Whether to find out whether the deviance of few rows has a lower bound; else the
        verdict does not tell.

    Returns
    -------
    Fit
    """
    alone = (start is not None or max_iterations is not None) and not look
    with blas_threads():
        objective = design.objective(reml)
        start = inner_start(design, start)
        others = NO_OTHERS if alone else other_starts(design)
        if look and others.looks:
            usual = inner_start(design, None)
            others = replace(others, starts=np.vstack([usual, others.starts]), always=True)
        optimum = minimize_deviance(objective, start, others, max_iterations, far)

        def search(objective: ProfiledDeviance) -> Optimum:
            at = optimum.theta
            return minimize_deviance(objective, at, max_iterations=max_iterations)

        design, objective, optimum = _sharper(design, objective, optimum, search)
        return fit_at(design, objective, optimum, reml)


def evaluate_design(design: Design, reml: bool, theta: np.ndarray | None = None) -> Fit:
    """The model at a given theta (that of the start if None), not optimized."""
    with blas_threads():
        objective = design.objective(reml)
        at = inner_start(design, theta)
        try:
            optimum = evaluate(objective, at)
        except ValueError:  # rounding rejects it
            nearer = _nearer_residual(design, objective, at)
            if nearer is None:
                raise
            design, objective = nearer, nearer.objective(reml)
            optimum = evaluate(objective, at)

        def again(objective: ProfiledDeviance) -> Optimum:
            return evaluate(objective, at)

        design, objective, optimum = _sharper(design, objective, optimum, again)
        return fit_at(design, objective, optimum, reml)


def _nearer_residual(
    design: Design, objective: ProfiledDeviance, at: np.ndarray
) -> Design | None:
    """The design with y less what X explains near a theta, where only rows lose digits."""
    within = design.blocks.within
    if within is None or within.square:
        return None
    for _ in range(MOST_HALVES):
        at = at / 2
        if np.isfinite(objective.value(at)):
            return design.less_fixed(objective.coefficients())
    return None


def _sharper(
    design: Design,
    objective: ProfiledDeviance,
    optimum: Optimum,
    search: Callable[[ProfiledDeviance], Optimum],
) -> tuple[Design, ProfiledDeviance, Optimum]:
    """Design, objective and optimum, again where y is nearly in X as V0 sees it."""
    for _ in range(MOST_RESIDUALS):
        if not objective.loses_y_in_x:
            break
        design = design.less_fixed(objective.coefficients())
        objective = design.objective(objective.reml)
        optimum = followed(optimum, search(objective))
    return design, objective, optimum


def followed(first: Optimum, second: Optimum) -> Optimum:
    """The optimum of a search that went on where another ended, with the log of both."""
    one, other = first.convergence, second.convergence
    verdict = replace(
        other,
        n_evaluations=one.n_evaluations + other.n_evaluations,
        n_derivatives=one.n_derivatives + other.n_derivatives,
        minima=(second.deviance, *one.minima[1:]),
        found_from=one.found_from,
        others_may_exist=one.others_may_exist,
        is_unbounded=one.is_unbounded,
        has_lower_limit=one.has_lower_limit,
    )
    records = np.vstack([first.records, second.records])
    return replace(second, convergence=verdict, records=records)


def inner_start(design: Design, start: np.ndarray | None) -> np.ndarray:
    """Theta in the engine's units: as given, from moments, or lam = I."""
    if start is not None:
        return design.inner_theta(start)
    if not design.terms:
        return np.zeros(0)
    sums = None if design.blocks.within is None else design.level_sums
    ambient = [s.ambient for s in design.structures]
    covariances = moment_covariances(design.blocks, ambient, sums)
    if covariances is None:
        return np.concatenate([s.start() for s in design.structures])
    return start_of(design.structures, covariances)


def fit_at(
    design: Design, objective: ProfiledDeviance, optimum: Optimum, reml: bool
) -> Fit:
    """Fit in the data's units from an optimum at which the objective stands."""
    y_scale = design.y_scale
    scale = objective.residual_square / objective.dof * y_scale**2
    on_basis = design.least_squares + y_scale * objective.coefficients()
    if design.is_curved:
        design = design.straightened(optimum.theta)
        objective.straighten(design.structures)
    theta = design.outer_theta(optimum.theta)
    shift = float(design.deviance_shift(reml, objective.dof))
    return Fit(
        reml=reml,
        deviance=float(optimum.deviance + shift),
        theta=theta,
        scale=float(scale),
        coefficients=design.basis.coefficients(on_basis),
        lams=tuple(design.own_lams(theta)),
        convergence=with_minima(optimum.convergence, shift, reml),
        optimum=optimum,
        design=design,
        objective=objective,
    )
