"""The part of the model that fits other responses: ``refit`` and ``fit_many``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pandas as pd

from mixedext.arguments import check_count
from mixedext.engine.batches import fit_responses, in_batches
from mixedext.engine.evaluation import relative_root
from mixedext.engine.fit import Fit
from mixedext.engine.refit import (
    Refits,
    Responses,
    joined,
    row_of_fit,
    run_blocks,
)
from mixedext.engine.simulation import generator_of, simulate_fits, spawn_seeds
from mixedext.exceptions import DesignError, ResponseWarning, user_stacklevel
from mixedext.model_parts.fit_arguments import check_reml
from mixedext.specification.alignment import warn_if_reordered

__all__ = [
    "Refitting",
    "block_size",
    "blocks_of",
    "failed_row",
    "fit_each",
    "generator_of",
    "labelled",
    "refit_draws",
    "simulate_refits",
    "simulated_rows",
]

# Numbers of simulated rows that are held at a time.
_ROWS_AT_A_TIME = 2_000_000
# Fits of a block where each is made by itself.
_FITS_AT_A_TIME = 50
# Share of a response's variance that is so small a residual variance that a look at the
# rows tells whether it is rounding error.
SUSPICIOUS = 1e-10


class Refitting:
    """Fits of the same model to other responses; all but one column of A is kept."""

    def refit(self, endog, reml=True, **fit_kwargs):
        """Fit the same model to another response.

        Parameters
        ----------
        endog : array_like
            Response, shape (nobs,) or one column: a value for each row that the model uses.
            Values are taken in their order; a Series with more rows than the model, such
            as a column of the data of which rows were left out, by its labels.
        reml : bool, optional
            REML (True) or ML.
        **fit_kwargs
            Other arguments of ``fit``.

        Returns
        -------
        MixedLMResultsWrapper
            The same as a new model with this response would give.

        Raises
        ------
        DesignError
            If the response is constant or explained exactly by X; a ValueError.
        ValueError
            If it has another shape, or missing values, or the rows are not in memory.

        Warns
        -----
        AlignmentWarning
            If a Series has the row labels of the data in another order.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
        >>> result = model.refit(data["Yield"] + 100)
        >>> round(float(result.fe_params.iloc[0]), 4)
        1627.5
        """
        y = self._new_responses(endog)
        if y.shape[1] != 1:
            raise ValueError(
                f"endog has {y.shape[1]} columns; fit_many fits many responses"
            )
        return self._with_response(y[:, 0].copy()).fit(reml=reml, **fit_kwargs)

    def fit_many(self, endog, reml=True, n_threads=1) -> Refits:
        """Fit the same model to many responses.

        Parameters
        ----------
        endog : array_like
            Responses, shape (nobs, R): a column each, a value for each row that the model
            uses.  Of a frame with more rows than the model, rows are taken by their labels.
        reml : bool, optional
            REML (True) or ML.
        n_threads : int, optional
            Threads that the responses are shared among.  The numbers do not depend on it.

        Returns
        -------
        Refits
            Estimates and verdicts, one row a response; ``to_frame()`` for a DataFrame.

        Raises
        ------
        ValueError
            If ``endog`` has another shape, or missing values, or the rows are not in
            memory.

        Warns
        -----
        ResponseWarning
            If responses are constant, or explained exactly: their rows are NaN, and not
            converged.
        AlignmentWarning
            If a frame has the row labels of the data in another order.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)
        >>> many = model.fit_many(data[["Yield", "Yield"]])
        >>> many.llf.round(4).tolist(), many.n_failed
        ([-159.8271, -159.8271], 0)
        """
        check_reml(reml)
        check_count(n_threads, "n_threads")
        y = self._less_offset(self._new_responses(endog))
        refits, exact = _sound_fits(self._responses(), y, bool(reml), n_threads)
        for r in np.flatnonzero(refits.scale < SUSPICIOUS * np.var(y, axis=0)):
            exact[r] = not self._leaves_variance(y[:, r], bool(reml))
            if exact[r]:
                for column, none in zip(
                    _columns_of(refits), failed_row(self._design), strict=True
                ):
                    column[r] = none[0]
        if exact.any():
            warnings.warn(
                f"{exact.sum()} of {len(exact)} responses are constant, or explained "
                f"exactly by the model ({_columns(endog, exact)}): they leave no variance "
                "to estimate. Their rows are NaN, and not converged",
                ResponseWarning,
                stacklevel=user_stacklevel(),
            )
        return labelled(self, refits)

    def _new_responses(self, endog):
        """Responses as a float array (nobs, R)."""
        self._need_rows()
        index = self.data.row_labels
        if isinstance(endog, pd.Series | pd.DataFrame) and index is not None:
            unique = endog.index.is_unique and index.is_unique
            if len(endog) > self.nobs and unique and index.isin(endog.index).all():
                endog = endog.loc[index]  # without the rows that the model left out
            warn_if_reordered(endog, index, "endog")
        try:
            y = np.asarray(endog, float)
        except (TypeError, ValueError):
            raise ValueError("endog must hold numbers only") from None
        y = y[:, None] if y.ndim == 1 else y
        if y.ndim != 2 or len(y) != self.nobs:
            raise ValueError(
                f"endog must have shape (nobs,) or (nobs, R) with nobs = {self.nobs}, the "
                f"rows that the model uses; got {np.shape(endog)}"
            )
        if y.size == 0:
            raise ValueError("endog has no columns")
        missing = ~np.isfinite(y).all(axis=0)
        if missing.any():
            where = f" ({_columns(endog, missing)})" if len(missing) > 1 else ""
            raise ValueError(f"endog holds missing or infinite values{where}")
        return y

    def _with_response(self, y):
        """The model with the response y (nobs,) in place of its own."""
        try:
            design = self._responses().design_of(self._less_offset(y[:, None])[:, 0])
        except DesignError:
            raise DesignError(
                "endog is constant or explained exactly by X: no variance is left to "
                "estimate"
            ) from None
        # copies of the objects, but of no array, and without pickling's detours
        model, data = object.__new__(type(self)), object.__new__(type(self.data))
        vars(model).update(vars(self))
        vars(data).update(vars(self.data))
        model.endog, model._design, model.data = y, design, data
        model.data.endog = model.endog
        original = self.data.orig_endog
        if isinstance(original, pd.Series | pd.DataFrame):
            original = pd.Series(model.endog, original.index, name=self.endog_names)
        else:
            original = model.endog
        model.data.orig_endog = original
        return model

    def _leaves_variance(self, y, reml):
        """Whether the model does not explain a response less offset exactly."""
        y = y if self.offset is None else y + self.offset
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the verdict, which is kept
            try:
                self._with_response(y).fit(reml=reml)
            except DesignError:
                return False
        return True

    def _less_offset(self, y):
        return y if self.offset is None else y - self.offset[:, None]

    def _responses(self):
        return Responses(self._design, self.exog, self.random_terms, self.weights)


def _columns(endog, which):
    """Names or numbers of some columns, not too many."""
    numbers = np.flatnonzero(which)
    names = getattr(endog, "columns", None)
    if names is None:
        shown, kind = [str(i) for i in numbers[:5]], "number"
    else:
        shown, kind = [repr(names[i]) for i in numbers[:5]], "column"
    more = ", ..." if len(numbers) > 5 else ""
    return f"{kind}{'s' if len(numbers) > 1 else ''} {', '.join(shown)}{more}"


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


def _sound_fits(responses, y, reml, n_threads=1):
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
            columns = _columns_of(fit_responses(responses, y[:, ~exact], reml, n_threads))
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


def _columns_of(refits):
    """The columns of ``Refits``, without names."""
    return tuple(getattr(refits, f.name) for f in fields(refits)[:7])


def failed_row(design, count=1, k_fe=None):
    """Rows of ``Refits`` without estimates."""
    k_fe = design.basis.rank if k_fe is None else k_fe
    n_theta = sum(s.n_theta for s in design.structures)
    shapes = [(count, k_fe), (count, n_theta), count, count]
    nans = [np.full(shape, np.nan) for shape in shapes]
    return (*nans, np.zeros(count, bool), np.zeros(count, bool), np.zeros(count, np.intp))


def simulate_refits(
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
    model._need_rows()
    if arguments:
        work = partial(_fit_block_held, model, draw, reml, arguments)
    else:
        work = partial(_fit_block, model._responses(), draw, reml)
    parts = run(work, blocks_of(n, block_size(model, bool(arguments)), rng))
    return labelled(model, Refits(*joined(parts), reml))


def _fit_block(responses, draw, reml, block):
    y = draw(block[0], np.random.default_rng(block[1]))
    return _columns_of(_sound_fits(responses, y, reml)[0])


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
                fitted = model._with_response(column.copy()).fit(reml=reml, **arguments)
            except (DesignError, np.linalg.LinAlgError):
                rows.append(failed_row(model._design))
            else:
                rows.append(row_of_fit(fitted.engine_fit))
    return joined(rows)


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
    for term, root in zip(model.random_terms, _roots(fit), strict=True):
        effect = rng.standard_normal((count, term.n_levels, term.k)) @ root.T
        y += term.contribution(effect.transpose(1, 2, 0))
    return y


def _roots(fit):
    """Factors of the covariances of all terms."""
    if getattr(fit, "given_covariances", None) is None:
        sigma = np.sqrt(fit.scale)
        return [sigma * lam for lam in fit.lams]
    return [
        relative_root(term.structure, covariance)
        for term, covariance in zip(fit.design.terms, fit.covariances, strict=True)
    ]
