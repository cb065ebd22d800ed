"""Fits of which parameters are held or penalized: start, maximum, curvature there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixedext.algebra.definiteness import is_singular
from mixedext.engine.constrained.central_path import maximize_near_wall
from mixedext.engine.constrained.covariance import covariances_of
from mixedext.engine.constrained.held import held_fit
from mixedext.engine.constrained.maximum import maximize
from mixedext.engine.constrained.objective import Objective, Penalties
from mixedext.engine.constrained.regularized import shoot
from mixedext.engine.deviance.given_covariances import IndefiniteError, Likelihood
from mixedext.engine.fit import Fit, fit_design
from mixedext.engine.information.observed import variance_covariance
from mixedext.engine.rows.design import Design, prepare_design
from mixedext.engine.rows.rows import Rows
from mixedext.specification.covariance.diagonal import Diagonal
from mixedext.specification.terms.packing import ParameterLayout
from mixedext.specification.terms.parameters import Parameters
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["fit_constrained", "fit_l1"]


def fit_constrained(
    design: Design,
    reml: bool,
    layout: ParameterLayout,
    free: tuple[np.ndarray, np.ndarray],
    penalties: Penalties,
    start: Parameters | None = None,
    *,
    use_sqrt: bool,
    k_fe: int,
    rows: Rows | None = None,
    max_iterations: int | None = None,
    optimize: bool = True,
) -> Fit:
    """Fit of which some parameters are held, or which is penalized.

    Parameters
    ----------
    design : Design
        The model.
    reml : bool
        Restricted (True) or ordinary likelihood.
    layout : ParameterLayout
        Places of the variance parameters.
    free : tuple of ndarray of bool
        Which coefficients of the columns kept, and which packed parameters, are free.
    penalties : Penalties
        What is subtracted.
    start : Parameters or None
        Where to start, and the values of what is held, coefficients of the columns kept;
        if None statsmodels' start: no fixed effects, variances as large as sigma^2,
        independent.
    use_sqrt, k_fe
        Of ``Objective``.
    rows : Rows, optional
        The rows: with them a model without correlations is fitted as such.
    max_iterations : int, optional
        Newton steps.
    optimize : bool, optional
        If False, the fit is that at the start.

    Raises
    ------
    ValueError
        If there is no model at the start.
    """
    likelihood, terms = Likelihood(design, reml), design.terms
    (free_fixed, free_packed), given = free, start is not None
    start = _default_start(design, layout) if start is None else start
    use_sqrt = use_sqrt or _same_by_roots(design, layout, start, free_packed)
    settings = (layout, use_sqrt, k_fe, free_fixed, free_packed)
    objective = Objective(likelihood, *settings, penalties)
    fixed = _free_coefficients(likelihood, layout, start, free_fixed)
    packed, verdict = start.packed, None
    only_independent = (
        rows is not None
        and not penalties
        and free_fixed.all()
        and _only_independent(design, layout, start, free_packed)
    )
    if not optimize:
        max_iterations = 0
    elif only_independent:
        packed, verdict = _independent_fit(
            design, reml, layout, rows, packed if given else None, max_iterations
        )
    elif penalties and not given:
        if free_fixed.all() and free_packed.all():
            fit = fit_design(design, reml)
            fixed = fit.coefficients
            packed = layout.pack(terms, [lam @ lam.T for lam in fit.lams])
        else:
            first = maximize(Objective(likelihood, *settings), fixed, packed)
            fixed, packed = first.fixed, first.packed
        packed = _inside(objective, fixed, packed, free_packed)
    maximum = maximize(objective, fixed, packed, max_iterations)
    if not (use_sqrt or maximum.convergence or max_iterations is not None):
        maximum = maximize_near_wall(objective, fixed, packed, maximum)
    fixed_covariance, variances, observed = covariances_of(maximum, objective)
    return held_fit(
        likelihood,
        layout.unpack(terms, maximum.packed),
        maximum.fixed,
        -2 * maximum.value,
        fixed_covariance,
        variances,
        observed,
        objective.profiled,
        verdict or maximum.convergence,
    )


def _default_start(design, layout):
    packed = layout.pack_parts(
        design.terms, np.eye(len(layout.re_names)), np.ones(len(layout.components))
    )
    return Parameters(np.zeros(design.basis.rank), packed)


def _free_coefficients(likelihood, layout, start, free_fixed):
    """Coefficients at the start: those free are the best beside those held."""
    held = start.fixed
    try:
        point = likelihood.at(layout.unpack(likelihood.design.terms, start.packed))
    except IndefiniteError as error:
        raise ValueError(f"start_params: {error}") from None
    best, normal = point.coefficients(), point.normal_matrix()
    out = np.where(free_fixed, best, held)
    if free_fixed.any() and not free_fixed.all():
        shift = normal[np.ix_(free_fixed, ~free_fixed)] @ (held - best)[~free_fixed]
        inner = normal[np.ix_(free_fixed, free_fixed)]
        out[free_fixed] -= np.linalg.solve(inner, shift)
    return out


def _only_independent(design, layout, start, free_packed):
    """Whether all that is held are covariances, at zero: then terms are (x || g)."""
    if free_packed.all():
        return False
    rows, columns = layout.triangle(design.terms)
    count = len(rows)
    covariance = np.zeros(len(free_packed), bool)
    covariance[:count] = rows != columns
    return bool((free_packed == ~covariance).all() and not start.packed[covariance].any())


def _same_by_roots(design, layout, start, free_packed):
    """Whether holding elements of cov_re is the same as holding those of its factor.

    Then the factor is used: a variance of zero is an ordinary maximum in it.
    """
    rows, columns = layout.triangle(design.terms)
    free, off = free_packed[: len(rows)], rows != columns
    held_at_zero = not free[off].any() and not start.packed[: len(rows)][off].any()
    return bool(free.all() or held_at_zero)


def _independent_fit(design, reml, layout, rows, packed, max_iterations):
    """Packed elements and verdict of the model without correlations."""
    terms = []
    for i, term in enumerate(rows.terms):
        if i in layout.correlated and term.k > 1:
            term = RandomTerm(
                term.codes,
                term.z,
                term.group,
                list(term.names),
                Diagonal.of(term.k),
                levels=term.levels,
            )
        terms.append(term)
    independent = prepare_design(rows.y, rows.x, terms, rows.weights)
    theta = None
    if packed is not None:
        covariances = layout.unpack(design.terms, packed)
        parts = [
            t.structure.theta(t.structure.nearest(c))
            for t, c in zip(independent.terms, covariances, strict=True)
        ]
        theta = np.concatenate(parts)
    fit = fit_design(independent, reml, theta, max_iterations)
    relative = [lam @ lam.T for lam in fit.lams]
    return layout.pack(design.terms, relative), fit.convergence


def _inside(objective, fixed, packed, free_packed):
    """Packed elements at which a penalty of the covariance is finite, off the boundary.

    There it may be finite by rounding alone, or have no slope.
    """
    design, layout = objective.likelihood.design, objective.layout
    x = objective.start(fixed, packed)
    if np.isfinite(objective.at(x).value) and not (
        objective.penalties.covariance is not None
        and is_singular(layout.unpack_parts(design.terms, packed)[0])
    ):
        return packed
    covariances = [
        covariance + 0.1 * inverse @ inverse.T
        for covariance, inverse in zip(
            layout.unpack(design.terms, packed), design.inverse_transforms, strict=True
        )
    ]
    moved = layout.pack(design.terms, covariances)
    return np.where(free_packed, moved, packed)


def _inverse(matrix):
    """The inverse; NaN where the likelihood is flat in some direction."""
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return np.full_like(matrix, np.nan)


def fit_l1(fit: Fit, weights, threshold, tolerance, max_sweeps) -> Fit:
    """Fit with an L1 penalty of the fixed effects, covariances as in another.

    Parameters
    ----------
    fit : Fit
        The unpenalized fit.
    weights : ndarray
        Weight of every fixed effect, (k_fe,).
    threshold, tolerance : float
        What counts as zero, and as no movement.
    max_sweeps : int
        Limit.
    """
    kept = fit.design.basis.kept
    likelihood = Likelihood(fit.design, fit.reml)
    relative = [lam @ lam.T for lam in fit.lams]
    point = likelihood.at(relative)
    normal = point.normal_matrix() / fit.scale
    found = shoot(
        normal,
        normal @ fit.coefficients,
        fit.coefficients,
        weights[kept],
        threshold,
        tolerance,
        max_sweeps,
    )
    b = found.coefficients
    inside = np.flatnonzero(np.abs(b) > threshold)
    covariance = np.full((len(b), len(b)), np.nan)
    own = point.normal_matrix()[np.ix_(inside, inside)] / point.scale(b)
    covariance[np.ix_(inside, inside)] = _inverse(own)
    variances = variance_covariance(fit)
    loose = np.flatnonzero(~np.isnan(np.diag(variances.relative)))
    both = np.concatenate([inside, len(b) + loose])
    curvature = -point.hessian(b)
    observed = np.full(curvature.shape, np.nan)
    observed[np.ix_(both, both)] = _inverse(curvature[np.ix_(both, both)])
    done = "did not come to rest in" if not found.converged else "came to rest after"
    verdict = replace(
        fit.convergence,
        status=fit.convergence.status if found.converged else "failed",
        method="shooting",
        message=f"the fixed effects {done} {found.n_sweeps} sweeps",
    )
    return held_fit(
        likelihood,
        relative,
        b,
        -2 * point.log_likelihood(b),
        covariance,
        variances,
        observed,
        False,
        verdict,
        tuple(fit.covariances),
    )
