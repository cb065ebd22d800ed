"""The part of the model that fits other responses: ``refit`` and ``fit_many``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from mixedext.engine.batches import fit_responses
from mixedext.engine.fit import Fit
from mixedext.engine.refit import (
    Refits,
    Responses,
    joined,
    run_blocks,
)
from mixedext.engine.simulation import simulate_fits, spawn_seeds

__all__ = [
    "Refitting",
    "block_size",
    "blocks_of",
    "check_count",
    "labelled",
    "refit_draws",
    "simulate_refits",
    "simulated_rows",
]

# Numbers of simulated rows that are held at a time.
_ROWS_AT_A_TIME = 2_000_000
# Fits of a block where each is made by itself.
_FITS_AT_A_TIME = 50


class Refitting:
    """Fits of the same model to other responses; all but one column of A is kept."""

    def refit(self, endog, reml=True, **fit_kwargs):
        """Fit the same model to another response.

        Parameters
        ----------
        endog : array_like
            Response, shape (nobs,): one value for each row that the model uses.
        reml : bool, optional
            REML (True) or ML.
        **fit_kwargs
            Other arguments of ``fit``.

        Returns
        -------
        MixedLMResultsWrapper
            The same as a new model with this response would give.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
        >>> result = model.refit(data["Yield"] + 100)
        >>> round(float(result.fe_params.iloc[0]), 4)
        1627.5
        """
        y = self._new_responses(endog, "endog", 1)
        design = self._responses().design_of(self._less_offset(y)[:, 0])
        # copies of the objects, but of no array, and without pickling's detours
        model, data = object.__new__(type(self)), object.__new__(type(self.data))
        vars(model).update(vars(self))
        vars(data).update(vars(self.data))
        model.endog, model._design, model.data = y[:, 0], design, data
        model.data.endog = model.endog
        original = self.data.orig_endog
        if isinstance(original, pd.Series | pd.DataFrame):
            original = pd.Series(model.endog, original.index, name=self.endog_names)
        else:
            original = model.endog
        model.data.orig_endog = original
        return model.fit(reml=reml, **fit_kwargs)

    def fit_many(self, endog, reml=True, n_threads=1) -> Refits:
        """Fit the same model to many responses.

        Parameters
        ----------
        endog : array_like
            Responses, shape (nobs, R): a column each, a value for each row that the model
            uses.
        reml : bool, optional
            REML (True) or ML.
        n_threads : int, optional
            Threads that the responses are shared among.  The numbers do not depend on it.

        Returns
        -------
        Refits
            Estimates and verdicts, one row a response; ``to_frame()`` for a DataFrame.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
        >>> many = model.fit_many(data[["Yield", "Yield"]])
        >>> many.llf.round(4).tolist(), many.n_failed
        ([-159.8271, -159.8271], 0)
        """
        if not isinstance(reml, bool | np.bool_):
            raise ValueError(f"reml={reml!r}; use True (REML) or False (ML)")
        check_threads(n_threads)
        y = self._less_offset(self._new_responses(endog, "endog", 2))
        refits = fit_responses(self._responses(), y, bool(reml), n_threads)
        return labelled(self, refits)

    def _new_responses(self, endog, what, ndim):
        self._need_rows()
        y = np.asarray(endog, float)
        shape = "(nobs,)" if ndim == 1 else "(nobs, R)"
        if y.ndim != ndim or len(y) != self.nobs:
            raise ValueError(
                f"{what} must have shape {shape} with nobs = {self.nobs}; got {y.shape}"
            )
        if y.size == 0:
            raise ValueError(f"{what} has no columns")
        if not np.isfinite(y).all():
            raise ValueError(f"{what} holds missing or infinite values")
        return y[:, None].copy() if ndim == 1 else y

    def _less_offset(self, y):
        return y if self.offset is None else y - self.offset[:, None]

    def _responses(self):
        return Responses(self._design, self.exog, self.random_terms, self.weights)


def check_threads(n_threads) -> None:
    """Raise ValueError unless ``n_threads`` is a whole number, 1 or more."""
    if not isinstance(n_threads, int | np.integer) or n_threads < 1:
        raise ValueError(f"n_threads={n_threads!r} must be a whole number, 1 or more")


def labelled(model, refits: Refits, whole=False) -> Refits:
    """Refits with all fixed-effects columns (NaN where dropped) and names.

    ``whole`` if the columns are there already.
    """
    fixed = refits.fe_params
    if not whole:
        fixed = np.full((len(refits), model.k_fe), np.nan)
        fixed[:, model._design.basis.kept] = refits.fe_params
    names = tuple(
        f"{t.group}.{name}"
        for t in model._design.terms
        for name in t.structure.theta_names(t.names)
    )
    return replace(
        refits, fe_params=fixed, fe_names=tuple(model.exog_names), theta_names=names
    )


def simulate_refits(model, fit: Fit, n, rng, reml, n_threads=1, run=None) -> Refits:
    """Responses simulated from a fit, and the model fitted to each."""
    check_count(n)
    check_threads(n_threads)
    reml = fit.reml if reml is None else bool(reml)
    run = partial(run_blocks, n_threads=n_threads) if run is None else run
    if fit.design.blocks.within is not None:
        return labelled(model, simulate_fits(fit, int(n), rng, reml, run=run))
    draw = partial(simulated_rows, model, fit)  # sums over levels do not suffice
    return refit_draws(model, draw, n, rng, reml, run)


def check_count(n) -> None:
    """Raise ValueError unless ``n`` is a whole number, 1 or more."""
    if not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n={n!r} must be a whole number, 1 or more")


def blocks_of(n: int, size: int, rng) -> list:
    """Numbers of replicates of blocks of a size, with the seed of each block."""
    counts = [min(size, n - start) for start in range(0, n, size)]
    return list(zip(counts, spawn_seeds(rng, len(counts)), strict=True))


def block_size(model) -> int:
    """Replicates of a block; part of what a seed means."""
    size = max(1, _ROWS_AT_A_TIME // model.nobs)
    # fits one by one take long: small blocks are shared more evenly among processes
    return size if model._design.blocks.within is not None else min(size, _FITS_AT_A_TIME)


def refit_draws(model, draw: Callable, n, rng, reml, run) -> Refits:
    """The model fitted to responses less offset that ``draw(count, rng)`` makes."""
    model._need_rows()
    responses = model._responses()

    def work(block):
        y = draw(block[0], np.random.default_rng(block[1]))
        refits = fit_responses(responses, y, reml)
        return tuple(vars(refits)[name] for name in list(vars(refits))[:7])

    parts = run(work, blocks_of(n, block_size(model), rng))
    return labelled(model, Refits(*joined(parts), reml))


def simulated_rows(model, fit: Fit, count, rng, conditional=False):
    """Responses less offset, (nobs, count), with new or with the fitted random effects."""
    model._need_rows()
    sigma = np.sqrt(fit.scale)
    noise = rng.standard_normal((model.nobs, count))
    if model.weights is not None:
        noise /= np.sqrt(model.weights)[:, None]
    y = sigma * noise + (model.exog[:, fit.design.basis.kept] @ fit.coefficients)[:, None]
    if conditional:
        for term, effect in zip(model.random_terms, fit.effects, strict=True):
            y += term.contribution(effect)[:, None]
        return y
    for term, lam in zip(model.random_terms, fit.lams, strict=True):
        effect = sigma * rng.standard_normal((count, term.n_levels, term.k)) @ lam.T
        y += term.contribution(effect.transpose(1, 2, 0))
    return y
