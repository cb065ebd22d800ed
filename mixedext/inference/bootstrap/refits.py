"""Refits of simulated responses, block by block, and what their rows are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

import numpy as np

from mixedext.arguments import check_count, check_reml
from mixedext.engine.deviance.likelihood import relative_root
from mixedext.engine.fit import Fit
from mixedext.engine.refits.batches import fit_responses, in_batches
from mixedext.engine.refits.refit import (
    Refits,
    Responses,
    joined,
    row_of_fit,
    run_blocks,
)
from mixedext.engine.refits.simulation import simulate_fits, spawn_seeds
from mixedext.exceptions import DesignError
from mixedext.fitted import need_rows
from mixedext.specification.terms.parameter_names import theta_names

__all__ = [
    "block_size",
    "blocks_of",
    "failed_row",
    "fit_each",
    "labelled",
    "refit_columns",
    "refit_draws",
    "responses_of",
    "simulated_refits",
    "simulated_rows",
    "sound_fits",
]

# Numbers of simulated rows that are held at a time.
_ROWS_AT_A_TIME = 2_000_000


# Fits of a block where each is made by itself.
_FITS_AT_A_TIME = 50


def labelled(model, refits: Refits, whole=False) -> Refits:
    """Refits with all fixed-effects columns (NaN where dropped) and names.

    ``whole`` if the columns are there already.
    """
    fixed = refits.fe_params
    if not whole:
        fixed = np.full((len(refits), model.k_fe), np.nan)
        fixed[:, model._design.basis.kept] = refits.fe_params
    names = tuple(theta_names(model._design.terms))
    return replace(
        refits, fe_params=fixed, fe_names=tuple(model.exog_names), theta_names=names
    )


def sound_fits(responses, y, reml, n_threads=1):
    """Fits to responses less offset, NaN and not converged where nothing is left of one.

    Returns
    -------
    refits : Refits
    exact : ndarray
        Which responses X or the model explain exactly, (R,) bool.
    """
    exact = np.zeros(y.shape[1], bool)
    try:
        refits = fit_responses(responses, y, reml, n_threads)
    except DesignError:
        exact = _explained_by_x(responses, y)
        if not exact.any():
            raise
        columns = [column[:0] for column in failed_row(responses.design)]
        if not exact.all():
            columns = refit_columns(fit_responses(responses, y[:, ~exact], reml, n_threads))
        whole = failed_row(responses.design, len(exact))
        for column, own in zip(whole, columns, strict=True):
            column[~exact] = own
        refits = Refits(*whole, reml)
    return refits, exact


def _explained_by_x(responses, y):
    """Which responses less offset X explains, (R,) bool."""
    out = np.zeros(y.shape[1], bool)
    for r in range(y.shape[1]):
        try:
            responses.products(y[:, r : r + 1])
        except DesignError:
            out[r] = True
    return out


def refit_columns(refits):
    """The columns of ``Refits``, without names."""
    return tuple(getattr(refits, f.name) for f in fields(refits)[:7])


def failed_row(design, count=1, k_fe=None):
    """Rows of ``Refits`` without estimates."""
    k_fe = design.basis.rank if k_fe is None else k_fe
    n_theta = sum(s.n_theta for s in design.structures)
    shapes = [(count, k_fe), (count, n_theta), count, count]
    nans = [np.full(shape, np.nan) for shape in shapes]
    return (*nans, np.zeros(count, bool), np.zeros(count, bool), np.zeros(count, np.intp))


def simulated_refits(
    model, fit: Fit, n, rng, reml, n_threads=1, run=None, arguments=None
) -> Refits:
    """Responses simulated from a fit, and the model fitted to each.

    ``arguments`` are those of ``fit`` that hold or penalize parameters.
    """
    check_count(n, "n")
    check_count(n_threads, "n_threads")
    reml = fit.reml if reml is None else reml
    check_reml(reml)
    run = partial(run_blocks, n_threads=n_threads) if run is None else run
    if fit.design.blocks.within is not None and not arguments:
        return labelled(model, simulate_fits(fit, int(n), rng, reml, run=run))
    draw = partial(simulated_rows, model, fit)  # sums over levels do not suffice
    return refit_draws(model, draw, n, rng, reml, run, arguments)


def blocks_of(n: int, size: int, rng) -> list:
    """Numbers of replicates of blocks of a size, with the seed of each block."""
    counts = [min(size, n - start) for start in range(0, n, size)]
    return list(zip(counts, spawn_seeds(rng, len(counts)), strict=True))


def block_size(model, one_by_one=False) -> int:
    """Replicates of a block; part of what a seed means."""
    size = max(1, _ROWS_AT_A_TIME // model.nobs)
    # fits one by one take long: small blocks are shared more evenly among processes
    batched = in_batches(model._design) and not one_by_one
    return size if batched else min(size, _FITS_AT_A_TIME)


def refit_draws(model, draw: Callable, n, rng, reml, run, arguments=None) -> Refits:
    """The model fitted to responses less offset that ``draw(count, rng)`` makes.

    ``arguments`` are those of ``fit`` that hold or penalize parameters.
    """
    need_rows(model)
    if arguments:
        work = partial(_fit_block_held, model, draw, reml, arguments)
    else:
        work = partial(_fit_block, responses_of(model), draw, reml)
    parts = run(work, blocks_of(n, block_size(model, bool(arguments)), rng))
    return labelled(model, Refits(*joined(parts), reml))


def _fit_block(responses, draw, reml, block):
    y = draw(block[0], np.random.default_rng(block[1]))
    return refit_columns(sound_fits(responses, y, reml)[0])


def _fit_block_held(model, draw, reml, arguments, block):
    y = draw(block[0], np.random.default_rng(block[1]))
    return fit_each(model, y, reml, arguments)


def fit_each(model, y, reml, arguments):
    """Columns of ``Refits`` of fits with arguments of ``fit``; responses less offset."""
    y = y if model.offset is None else y + model.offset[:, None]
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # verdicts are kept
        for column in y.T:
            try:
                fitted = model.refit(column, reml=reml, **arguments)
            except (DesignError, np.linalg.LinAlgError):
                rows.append(failed_row(model._design))
            else:
                rows.append(row_of_fit(fitted.fitted.fit))
    return joined(rows)


def simulated_rows(model, fit: Fit, count, rng, conditional=False):
    """Responses less offset, (nobs, count), with new or with the fitted random effects."""
    need_rows(model)
    sigma = np.sqrt(fit.scale)
    noise = rng.standard_normal((model.nobs, count))
    if model.weights is not None:
        noise /= np.sqrt(model.weights)[:, None]
    y = sigma * noise + (model.exog[:, fit.design.basis.kept] @ fit.coefficients)[:, None]
    if conditional:
        for term, effect in zip(model.random_terms, fit.effects, strict=True):
            y += term.contribution(effect)[:, None]
        return y
    for term, root in zip(model.random_terms, _roots(fit), strict=True):
        effect = rng.standard_normal((count, term.n_levels, term.k)) @ root.T
        y += term.contribution(effect.transpose(1, 2, 0))
    return y


def _roots(fit):
    """Factors of the covariances of all terms."""
    if fit.held is None or fit.held.covariances is None:
        sigma = np.sqrt(fit.scale)
        return [sigma * lam for lam in fit.lams]
    return [
        relative_root(term.structure, covariance)
        for term, covariance in zip(fit.design.terms, fit.covariances, strict=True)
    ]


def responses_of(model) -> Responses:
    """What all refits of a model share: Z'Z, Z'X and X'X."""
    return Responses(model._design, model.exog, model.random_terms, model.weights)
