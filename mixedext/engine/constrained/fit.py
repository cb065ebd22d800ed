"""Fits with masks and penalties: from statsmodels' arguments to a fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from statsmodels.regression.mixed_linear_model import MixedLMParams

from mixedext.algebra.definiteness import is_singular
from mixedext.engine.constrained.central_path import maximize_near_wall
from mixedext.engine.constrained.covariance import covariances_of
from mixedext.engine.constrained.held import held_fit
from mixedext.engine.constrained.maximum import maximize
from mixedext.engine.constrained.objective import Objective, Penalties
from mixedext.engine.constrained.regularized import shoot
from mixedext.engine.deviance.given_covariances import IndefiniteError, Likelihood
from mixedext.engine.fit import fit_design
from mixedext.engine.information.observed import variance_covariance
from mixedext.engine.rows.design import prepare_design
from mixedext.specification.covariance.diagonal import Diagonal
from mixedext.specification.terms.parameters import Parameters
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["constrained_fit", "default_start", "l1_fit", "read_mask"]


def default_start(model) -> Parameters:
    """statsmodels' start: no fixed effects, variances as large as sigma^2, independent."""
    packed = model.layout.pack_parts(
        model._design.terms, np.eye(model.k_re), np.ones(model.k_vc)
    )
    return Parameters(np.zeros(model.k_fe), packed)


def read_mask(model, free) -> tuple[np.ndarray, np.ndarray]:
    """Which coefficients of the columns kept, and which variance parameters, are free.

    Parameters
    ----------
    model : MixedLM
        The model.
    free : MixedLMParams or None
        1 where a parameter is free and 0 where it is held; None for all free.

    Raises
    ------
    ValueError
        If it is no mask of the model's parameters.
    """
    if free is None:
        return np.ones(model._design.basis.rank, bool), np.ones(model.layout.n_packed, bool)
    if not isinstance(free, MixedLMParams):
        raise ValueError(
            f"free must be MixedLMParams that hold 1 where a parameter is free and 0 where "
            f"it is held, or None; got {type(free).__name__}"
        )
    cov_re = np.asarray(free.cov_re, float)
    triangle = model.layout.triangle(model._design.terms)
    if cov_re.shape == (model.k_re, model.k_re):  # only the blocks of terms count
        only = np.zeros_like(cov_re)
        only[triangle] = only[triangle[::-1]] = cov_re[triangle]
        cov_re = only
    packed = model.layout.pack_parts(model._design.terms, cov_re, free.vcomp)
    fixed = np.asarray(free.fe_params, float)
    if fixed.shape != (model.k_fe,):
        raise ValueError(
            f"free.fe_params must have shape {(model.k_fe,)}; got {fixed.shape}"
        )
    if not np.isin(np.concatenate([fixed, packed]), (0, 1)).all():
        raise ValueError("free must hold only 1 (free) and 0 (held)")
    return fixed[model._design.basis.kept] == 1, packed == 1


def constrained_fit(
    model,
    reml: bool,
    start: Parameters | None,
    free,
    penalties: Penalties,
    max_iterations,
    optimize,
):
    """Fit of which some parameters are held, or which is penalized.

    Parameters
    ----------
    model : MixedLM
        The model.
    reml : bool
        Criterion.
    start : Parameters or None
        Where to start, and the values of what is held; statsmodels' start if None.
    free : MixedLMParams or None
        Mask.
    penalties : Penalties
        What is subtracted.
    max_iterations : int or None
        Newton steps.
    optimize : bool
        If False, the fit is that at the start.

    Returns
    -------
    Fit
    """
    likelihood = Likelihood(model._design, reml)
    free_fixed, free_packed = read_mask(model, free)
    given = start is not None
    start = default_start(model) if start is None else start
    use_sqrt = model.use_sqrt or _same_by_roots(model, start, free_packed)
    settings = (model.layout, use_sqrt, model.k_fe, free_fixed, free_packed)
    objective = Objective(likelihood, *settings, penalties)
    fixed = _free_coefficients(model, likelihood, start, free_fixed)
    packed, verdict = start.packed, None
    if not optimize:
        max_iterations = 0
    elif _only_independent(model, start, free_fixed, free_packed, penalties):
        packed, verdict = _independent_fit(
            model, reml, packed if given else None, max_iterations
        )
    elif penalties and not given:
        if free_fixed.all() and free_packed.all():
            fit = fit_design(model._design, reml)
            fixed = fit.coefficients
            relative = [lam @ lam.T for lam in fit.lams]
            packed = model.layout.pack(model._design.terms, relative)
        else:
            first = maximize(Objective(likelihood, *settings), fixed, packed)
            fixed, packed = first.fixed, first.packed
        packed = _inside(objective, fixed, packed, free_packed)
    maximum = maximize(objective, fixed, packed, max_iterations)
    if not (use_sqrt or maximum.convergence or max_iterations is not None):
        maximum = maximize_near_wall(objective, fixed, packed, maximum)
    fixed_covariance, *rest = covariances_of(maximum, objective)
    return held_fit(
        likelihood,
        model.layout.unpack(model._design.terms, maximum.packed),
        maximum.fixed,
        -2 * maximum.value,
        fixed_covariance,
        *rest,
        objective.profiled,
        verdict or maximum.convergence,
    )


def _free_coefficients(model, likelihood, start, free_fixed):
    """Coefficients at the start: those free are the best beside those held."""
    held = np.nan_to_num(start.fixed)[model._design.basis.kept]
    try:
        point = likelihood.at(model.layout.unpack(model._design.terms, start.packed))
    except IndefiniteError as error:
        raise ValueError(f"start_params: {error}") from None
    best, normal = point.coefficients(), point.normal_matrix()
    out = np.where(free_fixed, best, held)
    if free_fixed.any() and not free_fixed.all():
        shift = normal[np.ix_(free_fixed, ~free_fixed)] @ (held - best)[~free_fixed]
        inner = normal[np.ix_(free_fixed, free_fixed)]
        out[free_fixed] -= np.linalg.solve(inner, shift)
    return out


def _only_independent(model, start, free_fixed, free_packed, penalties):
    """Whether all that is held are covariances, at zero: then terms are (x || g)."""
    if penalties or not free_fixed.all() or free_packed.all() or model.endog is None:
        return False
    rows, columns = model.layout.triangle(model._design.terms)
    count = len(rows)
    covariance = np.zeros(len(free_packed), bool)
    covariance[:count] = rows != columns
    return bool((free_packed == ~covariance).all() and not start.packed[covariance].any())


def _same_by_roots(model, start, free_packed):
    """Whether holding elements of cov_re is the same as holding those of its factor.

    Then the factor is used: a variance of zero is an ordinary maximum in it.
    """
    rows, columns = model.layout.triangle(model._design.terms)
    free, off = free_packed[: len(rows)], rows != columns
    held_at_zero = not free[off].any() and not start.packed[: len(rows)][off].any()
    return bool(free.all() or held_at_zero)


def _independent_fit(model, reml, packed, max_iterations):
    """Packed elements and verdict of the model without correlations."""
    terms = []
    for i, term in enumerate(model.random_terms):
        if i in model.layout.correlated and term.k > 1:
            term = RandomTerm(
                term.codes,
                term.z,
                term.group,
                list(term.names),
                Diagonal.of(term.k),
                levels=term.levels,
            )
        terms.append(term)
    design = prepare_design(
        (model.endog if model.offset is None else model.endog - model.offset),
        model.exog,
        terms,
        model.weights,
    )
    theta = None
    if packed is not None:
        covariances = model.layout.unpack(model._design.terms, packed)
        parts = [
            t.structure.theta(t.structure.nearest(c))
            for t, c in zip(design.terms, covariances, strict=True)
        ]
        theta = np.concatenate(parts)
    fit = fit_design(design, reml, theta, max_iterations)
    relative = [lam @ lam.T for lam in fit.lams]
    return model.layout.pack(model._design.terms, relative), fit.convergence


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


def l1_fit(fit, weights, threshold, tolerance, max_sweeps):
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

    Returns
    -------
    Fit
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
    covariance[np.ix_(inside, inside)] = np.linalg.inv(own)
    variances = variance_covariance(fit)
    loose = np.flatnonzero(~np.isnan(np.diag(variances.relative)))
    both = np.concatenate([inside, len(b) + loose])
    curvature = -point.hessian(b)
    observed = np.full(curvature.shape, np.nan)
    observed[np.ix_(both, both)] = np.linalg.inv(curvature[np.ix_(both, both)])
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
