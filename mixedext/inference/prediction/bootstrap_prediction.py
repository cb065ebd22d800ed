"""Predictions by the parametric bootstrap: percentiles over refits.

Responses are simulated from the fit and the model is fitted to each.  Of a row whose group
is known the modes of the fit are held in the responses, and its mean in a replicate is
x'b* + z'u* with the modes u* of the refit; of any other row the random effects are drawn
anew.  An effect of which nothing is known is drawn from the variances of the refit, and so
is the error of an observation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mixedext.arguments import confidence
from mixedext.engine.fit import evaluate_design
from mixedext.engine.refits.batches import in_batches
from mixedext.engine.refits.refit import joined
from mixedext.engine.refits.simulation import spawn_seeds
from mixedext.exceptions import BootstrapWarning, DevianceError, user_stacklevel
from mixedext.fitted import Fitted
from mixedext.inference.bootstrap.parallel import runner
from mixedext.inference.bootstrap.simulated_refits import (
    Refits,
    block_size,
    blocks_of,
    labelled,
    responses_of,
    simulated_refits,
    simulated_rows,
    sound_fits,
)
from mixedext.inference.prediction.new_rows import NewRows
from mixedext.inference.prediction.prediction_result import MixedPrediction, columns_of
from mixedext.inference.prediction.residual_errors import replicated_deviations
from mixedext.specification.covariance.residual_recipe import NewPlaces

__all__ = ["BootstrapPrediction", "bootstrap_prediction"]

# Numbers of all replicates of all rows that are held; those that are worked on at once.
MOST_DRAWS, AT_A_TIME = 2**27, 2**22


@dataclass(frozen=True, eq=False, repr=False)
class BootstrapPrediction(MixedPrediction):
    """Predictions of rows with limits that are percentiles of a bootstrap.

    Attributes
    ----------
    mean_draws, obs_draws : ndarray
        Means and observations of the replicates that did not fail, (replicates, n); of
        observations none where they are not known.
    n : int
        Number of replicates asked for.
    n_failed : int
        Replicates whose fit failed, which are left out.
    singular_share : float
        Share of the others whose fit is singular.
    """

    mean_draws: np.ndarray
    obs_draws: np.ndarray | None
    n: int
    n_failed: int
    singular_share: float

    def __repr__(self) -> str:
        return (
            f"Predictions of {len(self)} rows by a parametric bootstrap: {self.n} "
            f"replicates, {self.n_failed} failed, {self.singular_share:.0%} singular"
        )

    def conf_int(
        self, obs: bool = False, alpha: float = 0.05, *, level: float | None = None
    ) -> np.ndarray:
        """Percentiles of the means, or of new observations.

        Parameters
        ----------
        obs, alpha, level
            As for ``MixedPrediction.conf_int``.

        Returns
        -------
        ndarray
            (n, 2), lower and upper.

        Warns
        -----
        BootstrapWarning
            If there are fewer than 2 / alpha replicates: the limits are the extremes then.
        """
        alpha = 1.0 - confidence(alpha, level)
        draws = self.obs_draws if obs else self.mean_draws
        if draws is None:
            raise ValueError(self._observation)
        if len(draws) < 2.0 / alpha:
            warnings.warn(
                f"{len(draws)} replicates do not tell limits at alpha={alpha:.3g}: their "
                f"extremes stand for them; give n={int(np.ceil(2.0 / alpha))} or many more",
                BootstrapWarning,
                stacklevel=user_stacklevel(),
            )
        tails = [alpha / 2, 1 - alpha / 2]
        out = np.empty((len(self), 2))
        step = max(1, AT_A_TIME // len(draws))
        for start in range(0, len(self), step):
            at = slice(start, start + step)
            out[at] = np.quantile(draws[:, at], tails, axis=0, method="weibull").T
        return out


@dataclass(frozen=True, eq=False)
class _Replicates:
    """Estimates of the replicates that did not fail.

    Attributes
    ----------
    fixed : ndarray
        Coefficients of all columns, zero where dropped, (R, k).
    roots : list of ndarray
        For each term a root of its covariance, (R, k, k).
    sigma : ndarray
        Residual deviations, (R,).
    modes : list of ndarray or None
        For each term the modes that are asked for, (R, levels, k).
    levels : sequence
        For each term the numbers of these levels in increasing order.
    n_failed, n_singular : int
        How many failed, and how many of the others are singular.
    residual : ndarray
        Natural parameters of a residual covariance, (R, m).
    """

    fixed: np.ndarray
    roots: list[np.ndarray]
    sigma: np.ndarray
    modes: list[np.ndarray] | None
    levels: Sequence[Any]
    n_failed: int
    n_singular: int
    residual: np.ndarray

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        refits: Refits,
        modes: list[np.ndarray] | None = None,
        levels: Sequence[Any] = (),
    ) -> _Replicates:
        """The replicates that did not fail."""
        good = refits.converged
        if good.sum() < 2:
            raise ValueError(
                f"{len(refits) - good.sum()} of {len(refits)} replicates failed: no limits "
                "can be taken of the rest"
            )
        design, sigma = fitted.fit.design, np.sqrt(refits.scale[good])
        roots: list[list[np.ndarray]] = [[] for _ in design.terms]
        for theta, own in zip(refits.theta[good], sigma, strict=True):
            for number, lam in enumerate(design.own_lams(theta)):
                roots[number].append(own * lam)
        return cls(
            np.nan_to_num(refits.fe_params[good]),
            [np.stack(root) for root in roots],
            sigma,
            None if modes is None else [m[good] for m in modes],
            levels,
            int(len(good) - good.sum()),
            int(refits.is_singular[good].sum()),
            refits.residual.reshape(len(good), -1)[good],
        )


def bootstrap_prediction(
    fitted: Fitted,
    rows: NewRows,
    not_given: Sequence[np.ndarray | None] | str,
    places: NewPlaces | None,
    precision: np.ndarray,
    mean: np.ndarray,
    kind: np.ndarray,
    labels: pd.Index | None,
    n: int,
    rng: Any,
    n_jobs: int | None,
) -> BootstrapPrediction:
    """Predictions by the parametric bootstrap.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    rows : NewRows
        The rows.
    not_given : list of ndarray or None, or str
        Columns (n, k) of the terms that the predictions are not given, None of the others;
        or why they are not known.
    places : NewPlaces or None
        Where the rows stand under a residual covariance.
    precision, mean, kind : ndarray
        Weights of the observations, means (NaN where there is none) and kinds, (n,).
    labels : Index or None
        Labels of the rows.
    n : int
        Number of replicates.
    rng, n_jobs
        As for ``get_prediction``.

    Raises
    ------
    ValueError
        If parameters of the fit are held or penalized, the rows of the fit are needed and
        gone, or too many replicates failed.
    MemoryError
        If replicates of all rows would not fit.
    """
    if fitted.fit.held is not None or fitted.arguments.held("method='bootstrap'"):
        raise ValueError(
            "method='bootstrap' is for (restricted) maximum likelihood, not for fits with "
            "penalties or held parameters; use method='analytic' with conditional=False"
        )
    if n * len(rows) > MOST_DRAWS:
        raise MemoryError(
            f"{n} replicates of {len(rows)} rows do not fit; predict "
            f"{max(MOST_DRAWS // n, 1)} rows at a time"
        )
    lost = np.isnan(mean)
    known = np.zeros(len(rows), bool)
    for own in rows.terms:
        if own is None:
            continue
        if own.new_square is not None:  # of several effects a row some may be new
            known |= np.diff(sparse.csr_array(own.z).indptr) > 0
        else:
            known |= own.codes >= 0
    seeds = spawn_seeds(rng, 3)
    generator = np.random.default_rng(seeds[2])
    run = runner(n_jobs, False, in_batches(fitted.fit.design))
    parts: list[tuple[np.ndarray, _Replicates]] = []
    at = np.flatnonzero(~known & ~lost)
    if len(at) or lost.all():
        refits = simulated_refits(fitted, n, seeds[0], None, run)
        parts.append((at, _Replicates.of(fitted, refits)))
    at = np.flatnonzero(known & ~lost)
    if len(at):
        wanted = [None if t is None else _levels(t, at) for t in rows.terms]
        refits, modes = _refits_given_modes(fitted, n, seeds[1], run, wanted)
        parts.append((at, _Replicates.of(fitted, refits, modes, wanted)))
    count = min(len(own.sigma) for _, own in parts)
    means = np.full((count, len(rows)), np.nan)
    told = not isinstance(not_given, str)
    observed = np.full((count, len(rows)), np.nan) if told else None
    for at, replicates in parts:
        step = max(1, AT_A_TIME // count)
        for start in range(0, len(at), step):
            some = at[start : start + step]
            found = _draws(
                fitted,
                rows,
                not_given,
                places,
                precision,
                some,
                replicates,
                count,
                generator,
            )
            means[:, some] = found[0]
            if observed is not None:
                observed[:, some] = found[1]
    failed = max(own.n_failed for _, own in parts)
    if failed:
        warnings.warn(
            f"{failed} of {n} replicates failed and are left out",
            BootstrapWarning,
            stacklevel=user_stacklevel(),
        )
    infinite = np.where(lost, np.nan, np.inf)
    observation: Any = not_given
    if observed is not None:
        observation = observed.var(axis=0, ddof=1), infinite
    return BootstrapPrediction(
        mean,
        means.var(axis=0, ddof=1),
        infinite,
        kind,
        labels,
        "none (percentiles of a parametric bootstrap)",
        observation,
        means,
        observed,
        n,
        failed,
        max(own.n_singular / len(own.sigma) for _, own in parts),
        **columns_of(fitted, rows),
    )


def _levels(term, at):
    """Levels of a term that some rows have; all effects of a variance component."""
    if term.new_square is not None:
        return slice(None)
    codes = term.codes[at]
    return np.unique(codes[codes >= 0])


def _refits_given_modes(
    fitted: Fitted, n: int, seed: Any, run: Callable, wanted: Sequence[Any]
) -> tuple[Refits, list[np.ndarray]]:
    """Fits to responses with the fitted modes, and modes of theirs that are wanted."""
    draw = partial(simulated_rows, fitted, conditional=True)
    fitted.need_rows()
    model, reml = fitted.model, fitted.reml
    work = partial(_block, responses_of(model), draw, reml, wanted)
    parts = run(work, blocks_of(n, block_size(model), seed))
    refits = labelled(model, joined(columns for columns, _ in parts), reml)
    count = len(fitted.random.terms)
    modes = [np.concatenate([own[i] for _, own in parts]) for i in range(count)]
    return refits, modes


def _block(responses, draw, reml, wanted, block):
    """Fits of a block of responses, and their modes."""
    y = draw(block[0], np.random.default_rng(block[1]))
    columns, _ = sound_fits(responses, y, reml)
    terms = responses.design.terms
    shapes = [_shape(term, own) for term, own in zip(terms, wanted, strict=True)]
    modes = [np.full((len(columns.scale), *shape), np.nan) for shape in shapes]
    good = np.flatnonzero(columns.converged)
    products = responses.products(y[:, good]) if len(good) else ()
    for column, r in enumerate(good.tolist()):
        design = responses.design_of(y[:, r], products, column)
        try:
            effects = _effects(design, reml, columns.theta[r])
        except DevianceError:
            columns.converged[r] = False
            continue
        for own, effect, levels in zip(modes, effects, wanted, strict=True):
            if levels is not None:
                own[r] = effect[levels]
    return columns, modes


def _effects(design, reml, theta):
    """Conditional modes of every term at a theta in the units of the data, (L, k) each."""
    objective = design.objective(reml)
    value = objective.value(design.inner_theta(theta))
    if not np.isfinite(value) or objective.loses_y_in_x:
        return evaluate_design(design, reml, theta).effects
    lead, tail = (part[..., None] for part in objective.effects())
    return [
        design.own_effects(i, objective.by_term(i, lead, tail)[..., 0])
        for i in range(len(design.terms))
    ]


def _shape(term, levels):
    if levels is None:
        return 0, term.k
    return (term.n_levels if isinstance(levels, slice) else len(levels)), term.k


def _draws(fitted, rows, not_given, places, precision, at, own, count, generator):
    """Means and observations of some rows in every replicate, (R, n) each."""
    sigma = own.sigma[:count]
    mean = own.fixed[:count] @ rows.exog[at].T
    if rows.offset is not None:
        mean += rows.offset[at]
    for number, term in enumerate(rows.terms):
        if term is None:
            continue
        root, new = own.roots[number][:count], term.codes[at] < 0
        if term.new_square is not None:
            if own.modes is not None:
                mean += (term.z[at] @ own.modes[number][:count].reshape(count, -1).T).T
            z = np.sqrt(term.new_square[at])[:, None]
            mean += _new_effects(root[:, :1, :1], z, generator)
            continue
        z = term.z[at]
        if not new.all():
            known = ~new
            modes = own.modes[number][:count]
            place = np.searchsorted(own.levels[number], term.codes[at][known])
            mean[:, known] += np.einsum("rnk,nk->rn", modes[:, place], z[known])
        if new.any():
            mean[:, new] += _new_effects(root, z[new], generator)
    if isinstance(not_given, str):
        return mean, None
    observed = mean.copy()
    for root, z in zip(own.roots, not_given, strict=True):
        if z is not None:
            root = root[:count] if z.shape[1] == root.shape[1] else root[:count, :1, :1]
            observed += _new_effects(root, z[at], generator)
    noise = generator.standard_normal(observed.shape)
    if places is not None:
        noise *= replicated_deviations(fitted, places.take(at), own.residual[:count])
    observed += sigma[:, None] * noise / np.sqrt(precision[at])
    return mean, observed


def _new_effects(root, z, generator):
    """Draws of z'b of effects of which nothing is known, (R, n)."""
    size = np.sqrt((np.einsum("rab,na->rnb", root, z) ** 2).sum(axis=2))
    return size * generator.standard_normal(size.shape)
