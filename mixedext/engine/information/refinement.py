"""The fixed-effects block once more from the rows, where cross-products have lost digits.

With several grouping factors (for one of few columns, see engine.rows.within)
eliminating the random effects leaves [X y]'V0^-1 [X y] as a difference of
cross-products; where one variance dwarfs the other it is a small difference of large
numbers.  With u = C Lam'Z'c for each column c, computed as usual,

    c'V0^-1 d = (c - Z Lam u_c)'(d - Z Lam u_d) + u_c'u_d

is a sum of small terms taken from the rows, and errors in u enter squared only, because u
minimizes the penalized sum of squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mixedext.engine.deviance.profiled import FactorDeviance
from mixedext.engine.deviance.row_deviance import (
    DesignRows,
    RowDeviance,
    fixed_columns,
)
from mixedext.engine.factor.spread import engine_terms, times_rows
from mixedext.engine.fit import Fit, evaluate_design, fit_at, fit_design, followed
from mixedext.engine.rows.design import Design
from mixedext.exceptions import DevianceError
from mixedext.limits import DEVIANCE_NOISE, NO_ROOT, SEARCH_NOISE
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = [
    "fit_by_rows",
    "has_lost_digits",
    "needs_refinement",
    "precision_of",
    "refine_fit",
]

_LOST = (
    "the deviance cannot be computed where it becomes least: the random effects nearly "
    "explain the response, or one variance dwarfs the others; leave out a term"
)


def has_lost_digits(fit: Fit) -> bool:
    """Whether cancellation may have cost the deviance more than a negligible error."""
    return bool(fit.design.blocks.factors) and fit.objective.noise > DEVIANCE_NOISE


def needs_refinement(fit: Fit) -> bool:
    """Whether the rows may give back digits; those of one factor have been asked before."""
    return fit.design.blocks.within is None and has_lost_digits(fit)


def _search_is_lost(fit, accepted):
    """Whether the search, too, has to go by the rows."""
    noise, design = fit.objective.noise, fit.design
    lost = not noise < accepted * fit.objective.dof
    return lost and design.rotation is None and fit.objective.n_theta > 0


def _searched_again(fit, design, most):
    """The search goes on from where it has ended; a theta that was given stays."""
    if fit.convergence.method == "none":
        return evaluate_design(design, fit.reml, fit.theta)
    # refits, whose iterations are limited, are many: nothing is read of their factor
    search = _fit_rows if most is None else fit_design
    again = search(design, fit.reml, fit.theta, most)
    optimum = followed(fit.optimum, again.optimum)
    return replace(again, optimum=optimum, convergence=optimum.convergence)


def fit_by_rows(
    design: Design,
    reml: bool,
    start: np.ndarray | None,
    max_iterations: int | None,
    y: np.ndarray,
    x: np.ndarray,
    terms: Sequence[RandomTerm | SparseTerm],
    weights: np.ndarray | None,
) -> Fit | None:
    """The fit by sums from the rows alone, where a search by cross-products broke down.

    None for a design of which sums from the rows are not made; arguments are those of
    ``fit_design`` and ``refine_fit``.

    Raises
    ------
    DevianceError
        If this breaks down, too.
    """
    several = bool(design.blocks.factors) and design.blocks.within is None
    if not several or design.rotation is not None or not design.terms:
        return None
    rows = DesignRows.of(design, y, x, terms, weights)
    return _fit_rows(replace(design, rows=rows), reml, start, max_iterations)


def _fit_rows(design, reml, start, most):
    """``fit_design`` by the rows.

    Where rounding stops the compiled search that in Python, which rounds otherwise, may
    come through.
    """
    if not design.objective(reml).compiles:
        return fit_design(design, reml, start, most)
    try:
        fit = fit_design(design, reml, start, most)
        objective = fit.objective
        failed = isinstance(objective, RowDeviance) and objective.compiled_failed
        # that of a search stopped by its limit would be stopped, too
        failed = failed or (most is None and not fit.convergence.converged)
    except DevianceError:
        failed = True
    if failed:
        rows = replace(design.rows, may_compile=False)
        fit = fit_design(replace(design, rows=rows), reml, start, most)
    return fit


def _failed(fit):
    """The fit from cross-products, with the verdict that the rows tell no better one."""
    verdict = replace(fit.convergence, status="failed", message=_LOST)
    optimum = replace(fit.optimum, convergence=verdict)
    return replace(fit, optimum=optimum, convergence=verdict)


def refine_fit(
    fit: Fit,
    y: np.ndarray,
    x: np.ndarray,
    terms: Sequence[RandomTerm | SparseTerm],
    weights: np.ndarray | None,
    search_noise: float = SEARCH_NOISE,
    max_iterations: int | None = None,
) -> Fit:
    """The fit with its fixed-effects block, deviance and sigma^2 from the rows.

    Parameters
    ----------
    fit : Fit
        A fit; its theta stays.
    y : ndarray
        Response less offset, (n,).
    x : ndarray
        All fixed-effects columns, (n, k).
    terms : list of RandomTerm
        The terms with their rows.
    weights : ndarray or None
        Weights of the rows.
    search_noise : float, optional
        Relative error of a sum of squares from which theta, too, is searched by the rows.
    max_iterations : int, optional
        Of that search, after which no other is tried.

    Returns
    -------
    Fit
    """
    if _search_is_lost(fit, search_noise):
        rows = DesignRows.of(fit.design, y, x, terms, weights)
        try:
            design = replace(fit.design, rows=rows)
            return _searched_again(fit, design, max_iterations)
        except DevianceError:
            return _failed(fit)
    design, objective = fit.design, fit.objective
    if not isinstance(objective, FactorDeviance):
        raise TypeError("sums over the levels of one factor lose no digits to refine")
    root = None if weights is None else np.sqrt(weights)
    columns = fixed_columns(design, y, x, root)
    penalty = np.zeros((columns.shape[1],) * 2)
    lams = design.lams(fit.optimum.theta)
    everything = slice(0, len(columns))
    for i, (term, inverse, lam) in enumerate(
        zip(engine_terms(terms), design.inverse_transforms, lams, strict=True)
    ):
        effect = objective.by_term(i, *objective.factor.response.effect)
        image = times_rows(term, everything, np.einsum("ab,lbm->lam", inverse, effect))
        columns -= image if root is None else image * root[:, None]
        flat = effect.transpose(1, 0, 2).reshape(term.k, -1)
        u = np.linalg.lstsq(lam, flat, rcond=NO_ROOT)[0].reshape(-1, columns.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):  # of variances without end
            penalty += u.T @ u
    with np.errstate(over="ignore", invalid="ignore"):
        form = columns.T @ columns + penalty
    if not (np.isfinite(form).all() and objective.set_fixed(form)):
        return fit  # not positive definite: precision_of will say so
    optimum = replace(fit.optimum, deviance=objective.deviance())
    return fit_at(design, objective, optimum, fit.reml)


def precision_of(fit: Fit, residual: np.ndarray, weights: np.ndarray | None) -> float:
    """Relative error of the penalized residual sum of squares, by a pass over the rows.

    Or that of the deviance, a degree of freedom, by the estimate of its rounding error,
    if that is larger.

    Parameters
    ----------
    fit : Fit
        A fit.
    residual : ndarray
        Response less fitted values of the rows, (n,).
    weights : ndarray or None
        Weights of the rows.
    """
    square = residual**2 if weights is None else weights * residual**2
    rows = float(square.sum()) + fit.penalty
    error = abs(rows - fit.scale * fit.objective.dof) / rows
    return max(error, fit.objective.noise / fit.objective.dof)
