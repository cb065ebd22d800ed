"""From rows with a residual covariance to a Fit.

Rows multiplied by L^-1, Lambda = L L', make an ordinary mixed model, of which every
formula of the engine holds; its log-determinant has sum log|Lambda| more.  So a search for
(theta, psi) ends in the design of whitened rows, and its fit at theta.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
from scipy import sparse

from mixedext.engine.fit import Fit, fit_at
from mixedext.engine.residual.estimate import ResidualEstimate
from mixedext.engine.residual.far_ends import far_ends
from mixedext.engine.residual.marginal import MarginalDeviance
from mixedext.engine.residual.roots import inverse_roots
from mixedext.engine.residual.rows import ResidualRows
from mixedext.engine.residual.search import FEW_PARAMETERS, Found, search_residual
from mixedext.engine.residual.starts import starting_psi
from mixedext.engine.residual.typical import typical_rows
from mixedext.engine.residual.vanishing import (
    hold_vanished,
    vanished_strata,
    vanishing_ends,
)
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.search.optimize import Optimum
from mixedext.engine.search.verdict import Convergence
from mixedext.engine.threads import blas_threads
from mixedext.exceptions import DevianceError
from mixedext.limits import (
    DECREMENT_ACCEPTED,
    FLAT_CURVATURE,
    SHARE_ACCEPTED,
    ZERO_SINGULAR_VALUE,
)
from mixedext.specification.covariance.curved import CurvedStructure
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm
from mixedext.specification.terms.spread_terms import SpreadTerm

NO_END = (
    "the search has ended where the residual covariance is singular, and the rows that it "
    "leaves without a residual cannot be weighed"
)
NO_END_CURE = (
    "The random effects take the place of these residuals: leave out the variance= of what "
    "they vary by, or a random term"
)
NO_RANK = (
    "digits are lost: as the estimated residual covariance sees them, columns of the fixed "
    "effects depend on each other. The data do not support so rich a covariance; use a "
    "simpler residual= or variance=, or centre and rescale the columns"
)
# Starts of the random effects, by the moments: small ones beside a strong correlation, too.
RANDOM_SHARES = 1.0, 0.3, 0.05
# Values of one or two parameters of few rows that are tried besides.
GRID, FEW_ROWS = (-1.2, -0.4, 0.4, 1.2), 500
# Standard deviations beyond which all starts of so few rows are searched from.
FEW_SIZES = 2
# Starts all over the range where many parameters are of fewer rows than these.
SPREAD, SEED, VERY_FEW_ROWS = 8, 1, 100
__all__ = [
    "fit_residual_rows",
    "limits_reached",
    "relative_curvature",
    "residual_fit_at",
    "verdict_of",
    "whitened_rows",
]


def fit_residual_rows(
    rows: ResidualRows,
    reml: bool,
    theta: np.ndarray,
    psi: np.ndarray | None = None,
    held: np.ndarray | None = None,
    max_iterations: int | None = None,
) -> Fit:
    """Fit by maximum (restricted) likelihood.

    Parameters
    ----------
    rows : ResidualRows
        The model.
    reml : bool
        Restricted or ordinary likelihood.
    theta : ndarray
        Start of the relative covariance factors, data's units.
    psi : ndarray, optional
        Start of the residual covariance, instead of moments.
    held : ndarray of bool, optional
        Elements of psi that stay at their start.
    max_iterations : int, optional
        Newton's steps, from one start.
    """
    held = np.zeros(rows.n_psi, bool) if held is None else held
    typical, outer = typical_rows(rows), theta
    with blas_threads():
        deviance = typical.rows.deviance(reml)
        theta = typical.inner(deviance, theta, psi)
        starts = starting_psi(rows) if psi is None else [psi]
        shares = RANDOM_SHARES if len(theta) else (1.0,)
        points = [
            np.concatenate([deviance.scaled_theta(theta, share), own])
            for share in shares
            for own in starts
        ]
        points += [np.concatenate([own, starts[0]]) for own in _others(deviance, theta)]
        if psi is None and rows.n_psi <= 2 and len(rows.y) <= FEW_ROWS:
            points += [
                np.concatenate([deviance.scaled_theta(theta, RANDOM_SHARES[1]), own])
                for own in product(GRID, repeat=rows.n_psi)
            ]

        def at_limit(x):
            reached = limits_reached(typical.rows, deviance, x)
            return bool(reached) or _is_singular(deviance, x)

        further: list[np.ndarray] = []
        if psi is None and max_iterations is None and _many_of_few(deviance):
            further = _spread(deviance, points[0], held)
        far = None
        if max_iterations is None:
            far = _ways_out(typical.rows, deviance, held)
        least = 1
        if _may_part(rows):
            least = len(starts)
            if psi is None and max_iterations is None and not held.any():
                points += _nested_end(typical, deviance, outer)
        found = search_residual(
            deviance, points, held, max_iterations, at_limit, further, far, least
        )
        if max_iterations is None:
            found = hold_vanished(typical.rows, deviance, found, held)
        if typical.rows is rows:
            return _finished(rows, deviance, found, held)
        at_end = limits_reached(typical.rows, deviance, found.x)
        verdict = verdict_of(deviance, found, at_end)
        own = rows.deviance(reml)
        at = own.evaluate(typical.outer(deviance, found.x))
        return _finished(rows, own, replace(found, x=at.x, value=at.value), held, verdict)


def _ways_out(rows, deviance, held):
    """All limits to which a search may run off; None of a model without any."""
    ways = [
        own
        for make in (far_ends, vanishing_ends)
        if (own := make(rows, deviance, held)) is not None
    ]
    if len(ways) < 2:
        return ways[0] if ways else None

    def far(x, held_there, n_steps):
        found = (own(x, held_there, n_steps) for own in ways)
        return next((own for own in found if own is not None), None)

    return far


def _may_part(rows):
    """Whether variances by visit and a correlation may make up for each other.

    So do of few rows strong correlations of visits unlike in variance, and weak ones.
    """
    curve = rows.curves[0]
    return curve.n_own > 0 and curve.n_sd > FEW_SIZES and len(rows.y) <= FEW_ROWS


def _nested_end(typical, deviance, theta):
    """Where the search for a simpler structure ends, which this one is at zeros of psi."""
    rows = typical.rows
    first = rows.curves[0]
    assert first.correlation is not None
    if first.correlation.nested is None:
        return []
    bound = replace(rows.bound, correlation=first.correlation.nested)
    try:
        found = fit_residual_rows(replace(rows, bound=bound), deviance.reml, theta).residual
    except DevianceError:  # finite at no start
        return []
    assert found is not None
    psi = np.zeros(rows.n_psi)
    psi[: first.n_sd] = found.psi[: first.n_sd]
    own = found.psi[first.n_sd :].reshape(len(rows.curves), -1)
    psi[first.n_sd :].reshape(len(own), -1)[:, : own.shape[1]] = own
    return [np.concatenate([typical.inner(deviance, found.theta, psi), psi])]


def _many_of_few(deviance):
    """Whether so many parameters are of so few rows that minima cannot be foreseen."""
    return deviance.n_psi > FEW_PARAMETERS and deviance.nobs <= VERY_FEW_ROWS


def _spread(deviance, first, held):
    """Points all over the range of parameters, the same ones at each call."""
    rng, out = np.random.default_rng(SEED), []
    for _ in range(SPREAD):
        point = first.copy()
        for s, at in zip(deviance.structures, deviance.theta_slices, strict=True):
            own = rng.uniform(0.0, 2.0, s.n_theta)
            if not isinstance(s, CurvedStructure):
                point[at] = own
        own = rng.standard_normal(deviance.n_psi)
        point[deviance.n_theta :] = np.where(held, deviance.psi(first), own)
        out.append(point)
    return out


def _others(deviance, theta):
    """Theta with other correlations of the covariances that are curves."""
    out = []
    for s, at in zip(deviance.structures, deviance.theta_slices, strict=True):
        if isinstance(s, CurvedStructure):
            for own in s.starts(s.matrix(theta[at])):
                point = theta.copy()
                point[at] = own
                out.append(point)
    return out


def residual_fit_at(
    rows: ResidualRows, reml: bool, theta: np.ndarray, psi: np.ndarray
) -> Fit:
    """The model at given parameters, not optimized."""
    held = np.zeros(rows.n_psi, bool)
    with blas_threads():
        deviance = rows.deviance(reml)
        x = np.concatenate([theta, psi])
        found = search_residual(deviance, [x], held, 0)
        return _finished(rows, deviance, found, held)


def _finished(rows, deviance, found, held, convergence=None):
    """The fit of the whitened rows at the theta that was found."""
    bound, psi = rows.bound, deviance.psi(found.x)
    theta = found.x[: deviance.n_theta]
    design = None if rows.terms else _summed_design(deviance, rows.design.intercept)
    if design is None:
        design = _whitened_design(rows, deviance, psi)
    objective = design.objective(deviance.reml)
    inner = design.inner_theta(theta)
    value = objective.stand(inner)
    at_limit = limits_reached(rows, deviance, found.x)
    if convergence is None:
        convergence = verdict_of(deviance, found, at_limit)
    shift = deviance.shift - design.deviance_shift(deviance.reml, objective.dof)
    verdict = replace(
        convergence, minima=tuple(float(v + shift) for v in convergence.minima)
    )
    records = np.array(
        [
            [
                *row[:1],
                row[1] + shift,
                *row[2:4],
                *design.inner_theta(row[4 : 4 + len(theta)]),
            ]
            for row in found.records
        ]
    )
    optimum = Optimum(
        inner,
        float(value),
        found.gradient[: len(theta)],
        found.hessian[: len(theta), : len(theta)],
        verdict.is_singular,
        verdict,
        records,
    )
    fit = fit_at(design, objective, optimum, deviance.reml)
    if not np.isfinite(fit.deviance):
        named = "; ".join(at_limit.values()) or "the parameters have run off"
        raise DevianceError(f"{NO_END} ({named}). {NO_END_CURE}")
    for_sigma = vanished_strata(rows, deviance, found.x).for_sigma
    estimate = ResidualEstimate(
        bound, psi, theta, deviance, held, at_limit, rows, for_sigma
    )
    return replace(fit, residual=estimate)


def _summed_design(deviance, intercept):
    """The design of the whitened rows by their cross-products, without random terms.

    That of the few rows L', L L' = [Q y]'Lambda^-1 [Q y]; None where it has another rank.
    """
    rank, basis = deviance.rank, deviance.basis
    root = deviance.fixed.T
    x = root[:, :rank] @ basis.r
    y = deviance.y_scale * root[:, rank] + root[:, :rank] @ deviance.least_squares
    design = prepare_design(y, x, [])
    if design.basis.rank < rank:
        return None
    return replace(
        design,
        blocks=replace(design.blocks, nobs=deviance.nobs),
        basis=replace(design.basis, kept=basis.kept, dependence=basis.dependence),
        log_weights=deviance.log_weights - deviance.log_determinant,
        intercept=intercept,
    )


def whitened_rows(
    rows: ResidualRows, psi: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[RandomTerm | SparseTerm]]:
    """Rows whose residuals are independent with one variance.

    Returns
    -------
    y, x : ndarray
        L^-1 W^1/2 times response (n,) and columns of the fixed effects (n, k).
    terms : list of RandomTerm or SparseTerm
        The random terms of such rows; a row may have effects of several levels.
    """
    return _whitened(rows, inverse_roots(rows.bound, psi))


def _whitened(rows, inverse):
    columns = np.column_stack([rows.y, np.asarray(rows.x, float)])
    if rows.root_weights is not None:
        columns = columns * rows.root_weights[:, None]
    columns = _times(rows.bound, inverse, columns)
    terms = [_whitened_term(rows, term, inverse) for term in rows.terms]
    return columns[:, 0], columns[:, 1:], terms


def _whitened_design(rows, deviance, psi):
    """The design of the whitened rows."""
    bound = rows.bound
    inverse = inverse_roots(bound, psi)
    design = prepare_design(*_whitened(rows, inverse))
    if design.basis.rank < deviance.rank:
        raise DevianceError(NO_RANK)
    log_det = 0.0
    for batch, own in zip(bound.batches, inverse, strict=True):
        log_det -= 2 * float(batch.count @ own.log_determinants())
    return replace(
        design,
        terms=tuple(t.without_rows() for t in rows.terms),
        log_weights=deviance.log_weights - log_det,
    )


def _times(bound, inverse, columns):
    """L^-1 times columns, by rows."""
    out = np.empty_like(columns)
    for batch, own in zip(bound.batches, inverse, strict=True):
        out[batch.rows] = own.times(batch, columns[batch.rows])
    return out


def _whitened_term(rows, term, inverse):
    """A random term of the whitened rows."""
    z = np.asarray(term.z, float)
    if rows.root_weights is not None:
        z = z * rows.root_weights[:, None]
    batches = rows.bound.batches
    if all((term.codes[b.rows] == term.codes[b.rows[:, :1]]).all() for b in batches):
        z = _times(rows.bound, inverse, z)
        return RandomTerm.of_columns(
            term.codes,
            [np.ascontiguousarray(column) for column in z.T],
            term.group,
            term.names,
            term.structure,
            term._levels,
        )
    i, j, value = [], [], []
    for batch, own in zip(batches, inverse, strict=True):
        # row a of a group has entries L^-1_ab z_b in the columns of the level of row b
        entry, row, before = own.entries(batch)
        of = batch.rows[:, before]
        part = entry[..., None] * z[of]
        column = term.codes[of].astype(np.intp)[..., None] * term.k + np.arange(term.k)
        i.append(np.broadcast_to(batch.rows[:, row][..., None], part.shape).ravel())
        j.append(column.ravel())
        value.append(part.ravel())
    entries = np.concatenate(value), (np.concatenate(i), np.concatenate(j))
    matrix = sparse.coo_array(entries, shape=(len(z), term.n_levels * term.k)).tocsr()
    if term.k == 1:
        return SparseTerm(matrix, term.group)
    return SpreadTerm(matrix, term.group, term.names, term.structure, term._levels)


def limits_reached(
    rows: ResidualRows, deviance: MarginalDeviance, x: np.ndarray
) -> dict[int, str]:
    """Words on the elements of psi that have run to an end of their range."""
    psi, out = deviance.psi(x), vanished_strata(rows, deviance, x).words
    for level, curve in enumerate(rows.curves):
        own, found = psi[curve.at], []
        for function, at in zip(curve.functions, curve.slices, strict=True):
            if function.n_psi and level == 0:
                limits = function.at_limit(own[at])
                found += [(at.start + f.number, f, "", "") for f in limits]
        if curve.correlation is not None:
            where = f" of {rows.bound.level_labels[level]}" if len(rows.curves) > 1 else ""
            for limit in curve.correlation.at_limit(own[curve.n_sd :]):
                note = curve.correlation.note_on(limit)
                note = f" ({note})" if note else ""
                found.append((curve.n_sd + limit.number, limit, where, note))
        for number, limit, where, note in found:
            words = f"{limit.name}{where} at {limit.value:.6g}{note}"
            out.setdefault(int(curve.at[number]), words)
    return out


def verdict_of(
    deviance: MarginalDeviance, found: Found, at_limit: dict[int, str]
) -> Convergence:
    """The verdict on where a search has ended."""
    free, singular = _free_theta(deviance, found.x)
    accepted = max(DECREMENT_ACCEPTED, SHARE_ACCEPTED * abs(found.value))
    free[[deviance.n_theta + k for k in at_limit]] = False
    curvature, flat = relative_curvature(found.hessian[np.ix_(free, free)])
    decrement = found.decrement
    if not free.all():  # along what runs away it may fall for ever, but ever less
        decrement = _decrement(found.gradient[free], found.hessian[np.ix_(free, free)])
    status, message = "interior", "minimum with positive curvature"
    if not decrement <= accepted:
        status = "failed"
        message = f"no minimum: the deviance could still fall by about {decrement:.2g}"
    elif at_limit or singular:
        status = "boundary"
        words = list(at_limit.values())
        if singular:
            words.append("some variance is zero or some correlation is +-1")
        message = f"minimum on the boundary: {'; '.join(words)}"
    elif flat:
        status = "flat"
        message = (
            "minimum, but flat in some direction: the data do not determine all "
            "parameters of the covariance; simplify the random effects or the residual "
            "covariance"
        )
    return Convergence(
        status,
        float(np.abs(found.gradient).max(initial=0.0)),
        float(decrement),
        curvature,
        deviance.n_values,
        deviance.n_derivatives,
        "trust-region Newton",
        message,
        singular,
        flat,
        found.minima,
        found.found_from,
        _may_be_others(deviance, found, status),
    )


def _may_be_others(deviance, found, status):
    """Whether there may be lower minima: of many parameters of few rows."""
    if deviance.n_psi <= FEW_PARAMETERS or deviance.nobs > FEW_ROWS:
        return False
    ended = status == "boundary" or len(found.minima) > 1
    return bool(ended or (deviance.n_theta and _many_of_few(deviance)))


def _is_singular(deviance, x):
    """Whether some variance is zero or some correlation +-1."""
    return _free_theta(deviance, x)[1]


def _free_theta(deviance, x):
    """Which parameters are at no end of their range, and whether some variance is zero."""
    singular, free = False, np.ones(len(x), bool)
    for s, at in zip(deviance.structures, deviance.theta_slices, strict=True):
        own = x[at]
        least = np.linalg.svd(s.lam(own), compute_uv=False)[-1]
        if isinstance(s, CurvedStructure):
            free[at] = ~s.at_limit(own)
        singular = singular or least < ZERO_SINGULAR_VALUE or not free[at].all()
    return free, singular


def _decrement(gradient, hessian):
    """Fall that Newton's step would bring."""
    if not len(gradient):
        return 0.0
    step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
    return max(float(gradient @ step) / 2, 0.0)


def relative_curvature(hessian: np.ndarray) -> tuple[float, bool]:
    """Smallest eigenvalue relative to the largest at unit diagonal, and whether it is 0."""
    if not len(hessian):
        return 1.0, False
    size = np.sqrt(np.maximum(np.abs(hessian.diagonal()), 1e-300))
    value = np.linalg.eigvalsh(hessian / np.outer(size, size))
    curvature = float(value[0] / max(value[-1], 1e-300))
    return curvature, curvature < FLAT_CURVATURE
