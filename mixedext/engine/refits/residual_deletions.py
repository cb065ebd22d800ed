"""Refits of a model with a residual covariance without sets of whole residual groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mixedext.engine.fit import Fit
from mixedext.engine.refits.refit import in_turn
from mixedext.engine.refits.row_sets import DeletedFits, RowSets
from mixedext.engine.residual.fit import fit_residual_rows
from mixedext.engine.residual.rows import ResidualRows
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.threads import blas_threads
from mixedext.exceptions import DesignError, DevianceError
from mixedext.limits import RESTART_GAIN
from mixedext.specification.covariance.residual_taken import on_whole_groups

__all__ = ["ResidualDeletions", "fit_near", "residual_deletions", "rows_of_groups"]

# Sets of a block that are fitted one after the other.
SINGLY = 8
_INESTIMABLE = "the rows left do not identify all coefficients: their X has rank {} of {}"
_FLAT = "the rows left do not determine all parameters of the residual covariance"


@dataclass(frozen=True, eq=False)
class ResidualDeletions:
    """Fits without sets of rows.

    Attributes
    ----------
    fits : DeletedFits
        All but the residual covariance.
    psi : ndarray
        Its free parameters, NaN where there is no fit, (G, n_psi).
    """

    fits: DeletedFits
    psi: np.ndarray


def rows_of_groups(
    rows: ResidualRows, at: np.ndarray, terms: list, draw: np.ndarray | None = None
) -> ResidualRows:
    """Some rows of a model, as a model.

    Parameters
    ----------
    rows : ResidualRows
        The model.
    at : ndarray
        Numbers of the rows, of a residual group all or none.
    terms : list of RandomTerm
        The random terms of these rows.
    draw : ndarray, optional
        As of ``on_whole_groups``.

    Raises
    ------
    DesignError
        If the rows leave nothing to estimate.
    """
    y, x = rows.y[at], rows.x[at]
    weights = None if rows.weights is None else rows.weights[at]
    design = prepare_design(y, x, terms, weights)
    bound = on_whole_groups(rows.bound, at, draw)
    return ResidualRows(y, x, terms, weights, bound, design, rows.sums)


def residual_deletions(
    fit: Fit, sets: RowSets, *, one_step: bool = False, run: Callable = in_turn
) -> ResidualDeletions:
    """Fit a model with a residual covariance again without each of several sets of rows.

    Parameters
    ----------
    fit : Fit
        Of all rows, which it has.
    sets : RowSets
        What to delete: residual groups, whole.
    one_step : bool, optional
        Take one Newton step in (theta, psi) from those of all rows.
    run : callable, optional
        Maps a function over blocks of sets, (start, stop), in order.
    """
    blocks = [
        (start, min(start + SINGLY, len(sets))) for start in range(0, len(sets), SINGLY)
    ]

    def part(block: tuple[int, int]) -> ResidualDeletions:
        with blas_threads():
            return _fitted(fit, sets.part(*block), one_step)

    parts = list(run(part, blocks)) or [_fitted(fit, sets, one_step)]
    return ResidualDeletions(
        DeletedFits.joined([own.fits for own in parts]),
        np.concatenate([own.psi for own in parts]),
    )


def _fitted(fit: Fit, sets: RowSets, one_step: bool) -> ResidualDeletions:
    estimate = fit.residual
    assert estimate is not None
    assert estimate.rows is not None
    rank = fit.design.basis.rank
    out = DeletedFits.blank(sets, rank, len(estimate.theta), one_step)
    psi = np.full((len(sets), len(estimate.psi)), np.nan)
    rows = estimate.rows
    kept = replace(rows, x=rows.x[:, fit.design.basis.kept])
    for number in range(len(sets)):
        left = np.ones(len(rows.y), bool)
        left[sets[number]] = False
        try:
            own = rows_of_groups(
                kept, np.flatnonzero(left), [term.take(left) for term in rows.terms]
            )
            if own.design.basis.rank < rank:
                words = _INESTIMABLE.format(own.design.basis.rank, rank)
                out.clear(number, words)
                continue
            found = fit_near(fit, own, 1 if one_step else None)
        except (DesignError, DevianceError, np.linalg.LinAlgError) as error:
            out.clear(number, str(error))
            continue
        if found.convergence.is_flat and not fit.convergence.is_flat:
            out.clear(number, _FLAT)
            continue
        out.put(number, found)
        if not out.reason[number]:
            assert found.residual is not None
            out.theta[number] = found.residual.theta
            psi[number] = found.residual.psi
    return ResidualDeletions(out, psi)


def fit_near(fit: Fit, rows: ResidualRows, max_iterations: int | None = None) -> Fit:
    """The fit of other rows of a model, from the parameters of a fit of it.

    Where that ends at no clean minimum they are searched from the rows' own starts, too.

    Parameters
    ----------
    fit : Fit
        Whose parameters the search starts from.
    rows : ResidualRows
        What is fitted.
    max_iterations : int, optional
        Newton's steps, from that start alone.

    Raises
    ------
    DesignError, DevianceError
        If the rows have no fit.
    """
    estimate = fit.residual
    assert estimate is not None
    theta, held = estimate.theta, estimate.held
    steps = max_iterations
    found = fit_residual_rows(rows, fit.reml, theta, estimate.psi, held, steps)
    clean = found.convergence.status == "interior"
    if clean or steps is not None or held.any():
        return found
    try:
        other = fit_residual_rows(rows, fit.reml, theta)
    except DevianceError:
        return found
    failed = not found.convergence.converged
    return other if failed or other.deviance < found.deviance - RESTART_GAIN else found
