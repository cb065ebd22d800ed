"""Refits of simulated responses, block by block, and what their rows are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd

from mixedext.arguments import check_count, check_reml
from mixedext.engine.deviance.given_covariances import relative_root
from mixedext.engine.fit import Fit
from mixedext.engine.refits.batches import fit_responses, in_batches
from mixedext.engine.refits.refit import (
    RefitColumns,
    Responses,
    in_turn,
    joined,
    row_of_fit,
)
from mixedext.engine.refits.residual_refits import ResidualResponses
from mixedext.engine.refits.simulation import simulate_fits, spawn_seeds
from mixedext.engine.residual.rows import ResidualRows
from mixedext.engine.residual.whitening import ResidualLaw, colored
from mixedext.engine.rows.design import Design
from mixedext.exceptions import DesignError, DevianceError
from mixedext.fitted import Fitted, Model, need_rows
from mixedext.limits import SEARCH_NOISE
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.residual_parameters import packed_names
from mixedext.specification.terms.parameter_names import theta_names
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = [
    "Refits",
    "block_size",
    "blocks_of",
    "failed_row",
    "fit_each",
    "goes_by_fitted",
    "is_batched",
    "labelled",
    "refit_draws",
    "responses_of",
    "simulated_refits",
    "simulated_responses",
    "simulated_rows",
    "sound_fits",
]

# Numbers of simulated rows that are held at a time.
_ROWS_AT_A_TIME = 2_000_000

# Fits of a block where each is made by itself.
_FITS_AT_A_TIME = 50


@dataclass(frozen=True, eq=False)
class Refits:
    """Fits of one model to many responses, one row each; none is left out.

    Attributes
    ----------
    fe_params : ndarray
        Fixed effects, (R, p); NaN for columns that were dropped.
    theta : ndarray
        Relative covariance factors of all terms, (R, n_theta).
    scale : ndarray
        Residual variances, (R,).
    llf : ndarray
        (Restricted) log-likelihoods with all constants, (R,).
    converged : ndarray
        Whether the fit ended at a minimum, (R,) bool.
    is_singular : ndarray
        Whether some variance is zero or some correlation +-1, (R,) bool.
    n_evaluations : ndarray
        Evaluations of the deviance, (R,).
    reml : bool
        Restricted or ordinary maximum likelihood.
    fe_names, theta_names : tuple of str
        Names of the columns.
    residual : ndarray
        Natural parameters of a residual covariance as ``params`` has them, (R, m); m is 0
        without one.
    residual_names : tuple of str
        Names of its columns.
    """

    fe_params: np.ndarray
    theta: np.ndarray
    scale: np.ndarray
    llf: np.ndarray
    converged: np.ndarray
    is_singular: np.ndarray
    n_evaluations: np.ndarray
    reml: bool
    fe_names: tuple[str, ...] = ()
    theta_names: tuple[str, ...] = ()
    residual: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    residual_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scale)

    def __repr__(self) -> str:
        by = "REML" if self.reml else "maximum likelihood"
        said = f"{self.n_failed} failed, {np.count_nonzero(self.is_singular)} singular"
        return f"Refits by {by}: {len(self)} responses, {said}"

    @property
    def n_failed(self) -> int:
        """Number of fits that did not end at a minimum."""
        return int(len(self) - np.count_nonzero(self.converged))

    def to_frame(self) -> pd.DataFrame:
        """All of it as a frame, one row a response.

        Returns
        -------
        DataFrame
            Fixed effects, theta, residual parameters, scale, llf, converged, is_singular,
            n_evaluations.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> many = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit_many(data[["Yield"]])
        >>> many.to_frame().shape
        (1, 7)
        """
        fixed = pd.DataFrame(self.fe_params, columns=list(self.fe_names))
        names = [*self.theta_names, *self.residual_names]
        parameters = np.hstack([self.theta, self.residual.reshape(len(self), -1)])
        theta = pd.DataFrame(parameters, columns=names)
        rest = pd.DataFrame(
            {
                "scale": self.scale,
                "llf": self.llf,
                "converged": self.converged,
                "is_singular": self.is_singular,
                "n_evaluations": self.n_evaluations,
            }
        )
        return pd.concat([fixed, theta, rest], axis=1)


def labelled(
    model: Model,
    columns: RefitColumns,
    reml: bool,
    whole: bool = False,
    bound: BoundResidual | None = None,
) -> Refits:
    """Refits with all fixed-effects columns (NaN where dropped) and names.

    Parameters
    ----------
    model : MixedLM
        The model.
    columns : RefitColumns
        The fits.
    reml : bool
        Their criterion.
    whole : bool, optional
        Whether the columns are there already.
    bound : BoundResidual, optional
        The residual covariance, where that is not the model's first.
    """
    fixed = columns.coefficients
    if not whole:
        fixed = np.full((len(fixed), model.k_fe), np.nan)
        fixed[:, model._design.basis.kept] = columns.coefficients
    names = tuple(theta_names(model._design.terms))
    n_theta = sum(s.n_theta for s in model._design.structures)
    out = Refits(
        fixed,
        columns.theta[:, :n_theta],
        *columns[2:],
        reml,
        tuple(model.exog_names),
        names,
        np.zeros((len(fixed), 0)),
    )
    bound = bound or model.residual
    if bound is None:
        return out
    # correlations come first in ``params``, standard deviations in psi
    own = columns.theta[:, n_theta:]
    own = np.roll(own, -sum(f.n_psi for f in bound.functions), axis=1)
    return replace(out, residual=own, residual_names=tuple(packed_names(bound)))


def sound_fits(
    responses: Responses | ResidualResponses,
    y: np.ndarray,
    reml: bool,
    run: Callable = in_turn,
    search_noise: float = SEARCH_NOISE,
) -> tuple[RefitColumns, np.ndarray]:
    """Fits to responses less offset, NaN and not converged where nothing is left of one.

    Arguments are those of ``fit_responses``.

    Returns
    -------
    columns : RefitColumns
    exact : ndarray
        Which responses X or the model explain exactly, (R,) bool.
    """
    exact = np.zeros(y.shape[1], bool)
    try:
        return fit_responses(responses, y, reml, run, search_noise), exact
    except DesignError:
        exact = _explained_by_x(responses, y)
        if not exact.any():
            raise
    whole = failed_row(responses.design, len(exact), n_residual=responses.n_residual)
    if not exact.all():
        found = fit_responses(responses, y[:, ~exact], reml, run, search_noise)
        for column, own in zip(whole, found, strict=True):
            column[~exact] = own
    return whole, exact


def _explained_by_x(responses, y):
    """Which responses less offset X explains, (R,) bool."""
    out = np.zeros(y.shape[1], bool)
    for r in range(y.shape[1]):
        try:
            responses.products(y[:, r : r + 1])
        except DesignError:
            out[r] = True
    return out


def failed_row(
    design: Design, count: int = 1, k_fe: int | None = None, n_residual: int = 0
) -> RefitColumns:
    """Rows of ``Refits`` without estimates."""
    k_fe = design.basis.rank if k_fe is None else k_fe
    n_theta = sum(s.n_theta for s in design.structures) + n_residual
    return RefitColumns(
        coefficients=np.full((count, k_fe), np.nan),
        theta=np.full((count, n_theta), np.nan),
        scale=np.full(count, np.nan),
        log_likelihood=np.full(count, np.nan),
        converged=np.zeros(count, bool),
        is_singular=np.zeros(count, bool),
        n_evaluations=np.zeros(count, np.intp),
    )


def simulated_refits(
    fitted: Fitted,
    n: int,
    rng: Any,
    reml: bool | None,
    run: Callable = in_turn,
    arguments: Mapping[str, Any] | None = None,
) -> Refits:
    """Responses simulated from a fit, and the model fitted to each.

    ``arguments`` are those of ``fit`` that hold or penalize parameters.
    """
    check_count(n, "n")
    model, fit = fitted.model, fitted.fit
    reml = fit.reml if reml is None else reml
    check_reml(reml)
    compiled = fit.design.blocks.within is not None and fit.residual is None
    if compiled and not fit.design.is_curved and not arguments:
        return labelled(model, simulate_fits(fit, int(n), rng, reml, run), reml)
    draw = partial(simulated_rows, fitted)  # sums over levels do not suffice
    return refit_draws(model, draw, n, rng, reml, run, arguments, fit)


def blocks_of(n: int, size: int, rng: Any) -> list[tuple[int, np.random.SeedSequence]]:
    """Numbers of replicates of blocks of a size, with the seed of each block."""
    counts = [min(size, n - start) for start in range(0, n, size)]
    return list(zip(counts, spawn_seeds(rng, len(counts)), strict=True))


def is_batched(model: Model) -> bool:
    """Whether fits to many responses are made by a compiled loop without the GIL."""
    return model.residual is None and in_batches(model._design)


def block_size(model: Model, one_by_one: bool = False) -> int:
    """Replicates of a block; part of what a seed means."""
    size = max(1, _ROWS_AT_A_TIME // model.nobs)
    # fits one by one take long: small blocks are shared more evenly among processes
    batched = is_batched(model) and not one_by_one
    return size if batched else min(size, _FITS_AT_A_TIME)


def refit_draws(
    model: Model,
    draw: Callable[[int, np.random.Generator], np.ndarray],
    n: int,
    rng: Any,
    reml: bool,
    run: Callable,
    arguments: Mapping[str, Any] | None = None,
    fit: Fit | None = None,
) -> Refits:
    """The model fitted to responses less offset that ``draw(count, rng)`` makes.

    ``arguments`` are those of ``fit`` that hold or penalize parameters; refits with a
    residual covariance start where ``fit`` has ended.
    """
    need_rows(model)
    work: Callable
    alone = bool(arguments) or goes_by_fitted(model)
    if alone:
        work = partial(_fit_block_held, model, draw, reml, arguments or {})
    else:
        work = partial(_fit_block, responses_of(model, fit), draw, reml)
    parts = run(work, blocks_of(n, block_size(model, alone), rng))
    bound = None if fit is None or fit.residual is None else fit.residual.bound
    return labelled(model, joined(parts), reml, bound=bound)


def goes_by_fitted(model: Model) -> bool:
    """Whether variances follow the fitted values, which every response has of its own."""
    return model.residual is not None and any(model.residual.of_fitted)


def _fit_block(responses, draw, reml, block):
    y = draw(block[0], np.random.default_rng(block[1]))
    return sound_fits(responses, y, reml)[0]


def _fit_block_held(model, draw, reml, arguments, block):
    y = draw(block[0], np.random.default_rng(block[1]))
    return fit_each(model, y, reml, arguments)


def fit_each(
    model: Model, y: np.ndarray, reml: bool, arguments: Mapping[str, Any]
) -> RefitColumns:
    """Columns of fits with arguments of ``fit``; responses less offset."""
    y = y if model.offset is None else y + model.offset[:, None]
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # verdicts are kept
        for column in y.T:
            try:
                fitted = model._with_response(column)._fitted(reml=reml, **arguments)
            except (DesignError, DevianceError, np.linalg.LinAlgError):
                n_residual = 0 if model.residual is None else model.residual.n_parameters
                rows.append(failed_row(model._design, n_residual=n_residual))
            else:
                rows.append(row_of_fit(fitted.fit))
    return joined(rows)


def simulated_rows(
    fitted: Fitted, count: int, rng: np.random.Generator, conditional: bool = False
) -> np.ndarray:
    """Responses less offset, (nobs, count), with new or with the fitted random effects."""
    rows, fixed = fitted.need_rows(), fitted.fixed
    mean = rows.exog[:, fixed.kept] @ fixed.coefficients
    sigma = np.sqrt(fitted.scale)
    given = sigma, rows.weights, count, rng, fitted.fit.residual
    if not conditional:
        return simulated_responses(mean, rows.terms, _roots(fitted), *given)
    y = simulated_responses(mean, (), (), *given)
    for term, effect in zip(rows.terms, fitted.fit.effects, strict=True):
        y += term.contribution(effect)[:, None]
    return y


def simulated_responses(
    mean: np.ndarray,
    terms: Sequence[RandomTerm | SparseTerm],
    roots: Sequence[np.ndarray],
    sigma: float,
    weights: np.ndarray | None,
    count: int,
    rng: np.random.Generator,
    residual: ResidualLaw | None = None,
) -> np.ndarray:
    """Responses less offset, (nobs, count), from a mean and factors of covariances.

    Parameters
    ----------
    mean : ndarray
        Of the rows, (nobs,).
    terms : sequence of RandomTerm or SparseTerm
        Random terms.
    roots : sequence of ndarray
        Of each a factor of the covariance of its effects, (k, k).
    sigma : float
        Residual standard deviation.
    weights : ndarray or None
        Precision weights, (nobs,).
    count : int
        Number of responses.
    rng : Generator
        Source of random numbers.
    residual : ResidualLaw, optional
        Their covariance.
    """
    noise = rng.standard_normal((len(mean), count))
    if residual is not None:
        noise = colored(residual, noise, weights)
    elif weights is not None:
        noise /= np.sqrt(weights)[:, None]
    y = sigma * noise + mean[:, None]
    for term, root in zip(terms, roots, strict=True):
        effect = rng.standard_normal((count, term.n_levels, term.k)) @ root.T
        y += term.contribution(effect.transpose(1, 2, 0))
    return y


def _roots(fitted: Fitted) -> list[np.ndarray]:
    """Factors of the covariances of all terms."""
    fit = fitted.fit
    if fit.held is None or fit.held.covariances is None:
        sigma = np.sqrt(fit.scale)
        return [sigma * lam for lam in fit.lams]
    # of a fit, so that there is a root
    return [
        cast(np.ndarray, relative_root(structure, covariance))
        for _, structure, covariance in fitted.random.blocks()
    ]


def responses_of(model: Model, fit: Fit | None = None) -> Responses | ResidualResponses:
    """What all refits of a model share: Z'Z, Z'X and X'X.

    With a residual covariance searches start where ``fit`` has ended, if one is given, and
    its parameters that were held are.
    """
    if model.residual is None:
        return Responses(model._design, model.exog, model.random_terms, model.weights)
    if fit is not None and fit.residual is not None:
        own = fit.residual
        assert own.rows is not None
        return ResidualResponses(own.rows, (own.theta, own.psi), own.held)
    y = model.endog if model.offset is None else model.endog - model.offset
    rows = ResidualRows(
        y, model.exog, model.random_terms, model.weights, model.residual, model._design
    )
    return ResidualResponses(rows)
