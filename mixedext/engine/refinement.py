"""The fixed-effects block once more from the rows, where cross-products have lost digits.

With several grouping factors (for one of few columns, see engine.within) eliminating the
random effects leaves [X y]'V0^-1 [X y] as a difference of cross-products; where one
variance dwarfs the other it is a small difference of large numbers.  With
u = C Lam'Z'c for each column c, computed as usual,

    c'V0^-1 d = (c - Z Lam u_c)'(d - Z Lam u_d) + u_c'u_d

is a sum of small terms taken from the rows, and errors in u enter squared only, because u
minimizes the penalized sum of squares.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mixedext.engine.fit import Fit, fit_at
from mixedext.engine.spread import engine_terms, times_rows

__all__ = ["needs_refinement", "precision_of", "refine_fit"]

# Error of the deviance, estimated from the cancellation, above which the rows are asked.
DEVIANCE_NOISE = 1e-7


def needs_refinement(fit: Fit) -> bool:
    """Whether cancellation may have cost the deviance more than a negligible error."""
    blocks = fit.design.blocks
    return (
        bool(blocks.factors)
        and blocks.within is None
        and fit.objective.noise > DEVIANCE_NOISE
    )


def refine_fit(fit: Fit, y, x, terms, weights) -> Fit:
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

    Returns
    -------
    Fit
    """
    design, objective = fit.design, fit.objective
    columns = _fixed_columns(design, y, x, weights)
    root = None if weights is None else np.sqrt(weights)
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
        u = np.linalg.lstsq(lam, flat, rcond=1e-10)[0].reshape(-1, columns.shape[1])
        penalty += u.T @ u
    if not objective.set_fixed(columns.T @ columns + penalty):
        return fit  # not positive definite: precision_of will say so
    optimum = replace(fit.optimum, deviance=objective.deviance())
    return fit_at(design, objective, optimum, fit.reml)


def _fixed_columns(design, y, x, weights):
    """[Q y] of the rows in the engine's units, (n, P)."""
    kept = x[:, design.basis.kept]
    if weights is not None:
        root = np.sqrt(weights)
        kept, y = kept * root[:, None], y * root
    q = np.linalg.solve(design.basis.r.T, kept.T).T
    residual = y - kept @ design.basis.coefficients(design.least_squares)
    return np.column_stack([q, residual / design.y_scale])


def precision_of(fit: Fit, residual, weights) -> float:
    """Relative error of the penalized residual sum of squares, by a pass over the rows.

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
    return abs(rows - fit.scale * fit.objective.dof) / rows
