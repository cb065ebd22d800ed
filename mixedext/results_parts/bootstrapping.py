"""The part of the results that simulates, and that bootstraps the model."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from mixedext.engine.batches import in_batches
from mixedext.engine.design import prepare_design
from mixedext.engine.fit import fit_design
from mixedext.engine.refit import Refits, joined, row_of_fit
from mixedext.exceptions import DesignError
from mixedext.inference.bootstrap import (
    CasesSampler,
    ResidualSampler,
    relative_gammas,
)
from mixedext.model_parts.refitting import (
    blocks_of,
    check_count,
    labelled,
    refit_draws,
    simulate_refits,
    simulated_rows,
)
from mixedext.results_parts.bootstrap_replicates import bootstrap_of, statistic_names
from mixedext.results_parts.bootstrap_tests import bootstrap_test
from mixedext.results_parts.model_comparison import refitted
from mixedext.results_parts.replication import runner
from mixedext.specification.labels import factorize
from mixedext.specification.sparse_terms import SparseTerm

__all__ = ["Bootstrapping"]

# Replicates of a block where Python sees each of them; part of what a seed means.
_SEEN_AT_A_TIME = 25

_COMMON = """
        statistic : callable, optional
            Function of the results of a refit that gives a number, an array, a dictionary
            or a Series; with ``vectorized`` of the frame ``replicates``, which must give a
            row (or a number) for each of its rows.
        rng : Generator or int, optional
            Source of random numbers, or a seed.
        n_jobs : int, optional
            Jobs of joblib; by default what ``joblib.parallel_config`` says, or else one.
            The numbers do not depend on it, nor on joblib's backend.
        progress : bool, optional
            Whether to show a bar (needs tqdm).
        reml : bool, optional
            Criterion: the model is fitted by it first, where the results are by the
            other one; that of the results if None.
        vectorized : bool, optional
            Whether ``statistic`` is a function of the frame of all replicates.
"""


def _documented(method):
    """Put the parameters that all bootstraps share into a docstring."""
    method.__doc__ = method.__doc__.replace("\n        <common>\n", _COMMON)
    return method


class Bootstrapping:
    """The part of the results that draws responses and refits the model to them."""

    def simulate(self, n=1, rng=None, conditional=False):
        """Simulate responses from the fitted model.

        Parameters
        ----------
        n : int, optional
            Number of responses.
        rng : Generator or int, optional
            Source of random numbers, or a seed.
        conditional : bool, optional
            Whether the random effects are the fitted ones (conditional modes) in all
            responses, or drawn anew for each.

        Returns
        -------
        DataFrame
            One row a row of the model, one column a response.

        Raises
        ------
        ValueError
            If ``n`` is no whole number, or the rows are not in memory.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.dyestuff.load().data
        >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
        >>> simulated = result.simulate(3, rng=1)
        >>> simulated.shape
        (30, 3)
        >>> result.model.fit_many(simulated).n_failed
        0
        """
        check_count(n)
        if isinstance(rng, np.random.RandomState):
            raise ValueError(
                f"rng={rng!r} must be a numpy Generator, a whole number or None"
            )
        model, rng = self.model, np.random.default_rng(rng)
        y = simulated_rows(model, self.engine_fit, int(n), rng, conditional)
        if model.offset is not None:
            y += model.offset[:, None]
        return pd.DataFrame(y, index=model.data.row_labels)

    @_documented
    def bootstrap_parametric(
        self,
        n=1000,
        statistic=None,
        rng=None,
        n_jobs=None,
        progress=False,
        reml=None,
        conditional=False,
        vectorized=False,
    ):
        """Parametric bootstrap: responses simulated from the fit, and refits to them.

        Without a statistic of results no Python code runs for a replicate.  With one
        grouping factor the sufficient statistics of responses are drawn, not their rows.

        Parameters
        ----------
        n : int, optional
            Number of replicates.
        <common>
        conditional : bool, optional
            Whether the responses have the fitted random effects in place of new ones.

        Returns
        -------
        Bootstrap
            Replicates with the verdicts of their fits, ``table`` and ``conf_int``.

        Raises
        ------
        ValueError
            If an argument is of the wrong kind.
        ImportError
            If joblib or tqdm is needed and not installed.

        Warns
        -----
        BootstrapWarning
            If replicates failed; they are listed in ``failures``.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> bootstrap = result.bootstrap_parametric(2000, rng=1)
        >>> bootstrap.table.loc["Days", ["estimate", "se"]].round(1).tolist()
        [10.5, 1.5]

        A statistic of the frame of replicates, here the ratio of two deviations:

        >>> def ratio(frame):
        ...     return frame["sd(Subject.Intercept)"] / frame["sigma"]
        >>> more = result.bootstrap_parametric(2000, ratio, rng=1, vectorized=True)
        >>> round(float(more.estimate["statistic"]), 3)
        0.967
        """
        own = self if reml is None else refitted(self, bool(reml))
        kind = "parametric, random effects as fitted" if conditional else "parametric"
        model, fit = own.model, own.engine_fit
        draw = partial(simulated_rows, model, fit, conditional=conditional)
        python = statistic is not None and not vectorized
        if conditional or python:
            return own._bootstrap_draws(
                kind, draw, n, statistic, rng, n_jobs, progress, vectorized
            )
        check_count(n)
        run = runner(n_jobs, progress, in_batches(fit.design))
        refits = simulate_refits(model, fit, n, rng, own.reml, run=run)
        return bootstrap_of(own, kind, refits, vectorized=statistic)

    @_documented
    def bootstrap_residual(
        self,
        n=1000,
        statistic=None,
        rng=None,
        n_jobs=None,
        progress=False,
        reml=None,
        vectorized=False,
    ):
        """Residual (semi-parametric) bootstrap of Carpenter, Goldstein and Rasbash.

        Conditional modes and residuals are centred, and reflated so that their second
        moments are the estimated covariances; responses are made of modes and residuals
        drawn with replacement.  It does not rest on the normal law.

        Parameters
        ----------
        n : int, optional
            Number of replicates.
        <common>
        Returns
        -------
        Bootstrap
            As of ``bootstrap_parametric``.

        Raises
        ------
        ValueError
            If an argument is of the wrong kind, or the rows are not in memory.

        References
        ----------
        Carpenter, Goldstein and Rasbash (2003), A novel bootstrap procedure for assessing
        the relationship between class size and achievement, Applied Statistics 52,
        431-443.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> bootstrap = result.bootstrap_residual(500, rng=1)
        >>> bootstrap.table.loc["Days", ["estimate", "se"]].round(1).tolist()
        [10.5, 1.5]
        """
        own = self if reml is None else refitted(self, bool(reml))
        model, fit = own.model, own.engine_fit
        model._need_rows()
        mean = model.linear_predictor(own.fe_params)
        if model.offset is not None:
            mean = mean - model.offset
        draw = ResidualSampler(
            model.random_terms,
            fit.effects,
            fit.covariances,
            mean,
            np.asarray(own.resid),
            fit.scale,
            model.weights,
        )
        return own._bootstrap_draws(
            "residual", draw, n, statistic, rng, n_jobs, progress, vectorized
        )

    @_documented
    def bootstrap_cases(
        self,
        n=1000,
        statistic=None,
        rng=None,
        n_jobs=None,
        progress=False,
        reml=None,
        vectorized=False,
        group=None,
        within=False,
    ):
        """Cases bootstrap: whole levels of the top grouping factor drawn with replacement.

        It rests on nothing but the independence of the levels, and needs many of them.  A
        level that is drawn twice counts as two, and so do the levels nested in it.

        Parameters
        ----------
        n : int, optional
            Number of replicates.
        <common>
        group : str or array_like, optional
            The factor whose levels are drawn, or its labels, one a row; the factor that
            all others are nested in if None.
        within : bool, optional
            Whether the rows of each level drawn are drawn with replacement too.

        Returns
        -------
        Bootstrap
            As of ``bootstrap_parametric``.  Replicates in which some fixed effect cannot
            be estimated are failures.

        Raises
        ------
        ValueError
            If an argument is of the wrong kind, the rows are not in memory, or some random
            term is not nested in the factor.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> bootstrap = result.bootstrap_cases(100, rng=1)
        >>> len(bootstrap), bootstrap.n_failed
        (100, 0)
        """
        own = self if reml is None else refitted(self, bool(reml))
        check_count(n)
        own.model._need_rows()
        sampler = _cases_sampler(own.model, group, within)
        python = statistic if statistic is not None and not vectorized else None
        work = partial(_fit_cases, own.model, sampler, own.reml, python)
        kind = "cases, and rows within them" if within else "cases"
        return own._bootstrap_seen(
            kind, work, n, statistic, rng, n_jobs, progress, vectorized
        )

    def bootstrap_test(
        self, small, n=1000, rng=None, n_jobs=None, progress=False, reml=None
    ):
        """Likelihood-ratio test of this model against a smaller one by simulation.

        See :func:`mixedext.bootstrap_test`, of which this model is the larger one.

        Returns
        -------
        BootstrapTest

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> formulas = [f"Reaction ~ {x} + (Days | Subject)" for x in ("1", "Days")]
        >>> small, large = [mx.mixedlm(f, data).fit(reml=False) for f in formulas]
        >>> test = large.bootstrap_test(small, 500, rng=1)
        >>> round(test.statistic, 2), test.pvalue < 0.01
        (23.54, True)
        """
        return bootstrap_test(self, small, n, rng, n_jobs, progress, reml)

    # ---- replicates with rows ----

    def _bootstrap_draws(self, kind, draw, n, statistic, rng, n_jobs, progress, vectorized):
        check_count(n)
        model = self.model
        model._need_rows()
        if statistic is None or vectorized:
            run = runner(n_jobs, progress, in_batches(model._design))
            refits = refit_draws(model, draw, n, rng, self.reml, run)
            return bootstrap_of(self, kind, refits, vectorized=statistic)
        work = partial(_fit_draws, model, draw, self.reml, statistic)
        return self._bootstrap_seen(kind, work, n, statistic, rng, n_jobs, progress, False)

    def _bootstrap_seen(self, kind, work, n, statistic, rng, n_jobs, progress, vectorized):
        """Replicates that Python fits one by one: ``work(block)`` gives rows and values."""
        run = runner(n_jobs, progress, False)
        parts = run(work, blocks_of(int(n), _SEEN_AT_A_TIME, rng))
        columns = joined(row for rows, _, _ in parts for row in rows)
        messages = {
            _SEEN_AT_A_TIME * number + i: text
            for number, (_, _, said) in enumerate(parts)
            for i, text in said.items()
        }
        names = labelled(self.model, Refits(*columns, self.reml), whole=True)
        if statistic is None or vectorized:
            return bootstrap_of(self, kind, names, None, messages, statistic)
        own = _as_series(statistic(self._wrapped(self)))
        values = [value for _, found, _ in parts for value in found]
        missing = pd.Series(np.nan, own.index)
        for number, value in enumerate(values):
            if value is not None and list(value.index) != list(own.index):
                messages.setdefault(
                    number, f"statistic: names {list(value.index)}, not {list(own.index)}"
                )
                values[number] = None
        frame = pd.DataFrame([missing if v is None else v for v in values], dtype=float)
        statistics = own, frame.reset_index(drop=True)
        return bootstrap_of(self, kind, names, statistics, messages)

    def _bootstrap_limits(
        self, alpha, cols, n=1000, rng=None, interval="percentile", **kwds
    ):
        """Limits of ``params`` for ``conf_int(method="bootstrap")``."""
        bootstrap = self.bootstrap_parametric(n, rng=rng, **kwds)
        refits, layout = bootstrap.refits, self.model.layout
        gammas = relative_gammas(self.engine_fit.design.terms, refits.theta)
        packed = np.hstack([refits.fe_params, gammas[:, layout.packed_gamma]])
        own = replace(
            bootstrap,
            estimate=pd.Series(np.asarray(self.params)),
            replicates=pd.DataFrame(packed),
        )
        limits = own.conf_int(1 - alpha, interval).to_numpy()
        return limits if cols is None else limits[np.asarray(cols)]


# ---- one replicate after the other ----


def _as_series(value):
    if isinstance(value, pd.Series):
        return value.astype(float)
    if isinstance(value, dict):
        return pd.Series(value, dtype=float)
    value = np.asarray(value, float).ravel()
    return pd.Series(value, statistic_names(len(value)))


def _seen(fitted, statistic, rows, values, messages):
    """Append a fit's row and the value of the statistic."""
    rows.append(row_of_fit(fitted.engine_fit))
    value = None
    if statistic is not None:
        try:
            value = _as_series(statistic(fitted))
        except Exception as error:  # noqa: BLE001 - told as a failure of the replicate
            messages[len(values)] = f"statistic: {type(error).__name__}: {error}"
    values.append(value)


def _failed(model, rows, values, messages, error):
    """Append a replicate without estimates."""
    messages[len(values)] = f"{type(error).__name__}: {error}"
    n_theta = sum(t.structure.n_theta for t in model.random_terms)
    nan, no = np.array([np.nan]), np.array([False])
    fixed = np.full((1, model.k_fe), np.nan)
    rows.append((fixed, np.full((1, n_theta), np.nan), nan, nan, no, no, np.array([0])))
    values.append(None)


def _whole(row, kept, k_fe):
    """A fit's row with all fixed effects, NaN where dropped."""
    fixed = np.full((1, k_fe), np.nan)
    fixed[:, kept] = row[0]
    return (fixed, *row[1:])


def _fit_draws(model, draw, reml, statistic, block):
    """Refits of a block of responses, each shown to the statistic."""
    y = draw(block[0], np.random.default_rng(block[1]))
    if model.offset is not None:
        y = y + model.offset[:, None]
    rows, values, messages = [], [], {}
    for r in range(block[0]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # verdicts are kept
            try:
                fitted = model.refit(y[:, r], reml=reml)
            except (DesignError, np.linalg.LinAlgError) as error:
                _failed(model, rows, values, messages, error)
                continue
            _seen(fitted, statistic, rows, values, messages)
        rows[-1] = _whole(rows[-1], model._design.basis.kept, model.k_fe)
    return rows, values, messages


def _cases_sampler(model, group, within):
    terms = model.random_terms
    factors = {t.group: t for t in terms if not isinstance(t, SparseTerm)}
    if group is not None and not isinstance(group, str):
        codes = np.asarray(factorize(group)[0])
        if len(codes) != model.nobs or (codes < 0).any():
            raise ValueError(
                f"group must have one label, not missing, for each of the {model.nobs} "
                f"rows of the model; got {len(codes)}"
            )
        return CasesSampler(terms, codes, within)
    if group is not None:
        if group not in factors:
            known = ", ".join(factors) or "none"
            raise ValueError(
                f"group={group!r} is not a grouping factor of the model; there are: {known}"
            )
        return CasesSampler(terms, factors[group].codes, within)
    found = sorted(factors.values(), key=lambda t: t.n_levels)
    if not found:
        raise ValueError("the model has no grouping factor; name one by group=")
    return CasesSampler(terms, found[0].codes, within)


def _fit_cases(model, sampler, reml, statistic, block):
    """Fits of a block of resampled data."""
    rng = np.random.default_rng(block[1])
    rows, values, messages = [], [], {}
    names, weights, offset = model.exog_names, model.weights, model.offset
    for _ in range(block[0]):
        at, number = sampler.draw(rng)
        terms = sampler.terms_of(at, number)
        own = [None if a is None else a[at] for a in (weights, offset)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # verdicts are kept
            try:
                fitted, design = _fit_rows(model, at, terms, own, reml, statistic, names)
            except (DesignError, np.linalg.LinAlgError) as error:
                _failed(model, rows, values, messages, error)
                continue
            _seen(fitted, statistic, rows, values, messages)
        kept = design.basis.kept
        rows[-1] = _whole(rows[-1], kept, model.k_fe)
        lost = sorted(set(model._design.basis.kept) - set(kept))
        if lost:
            text = ", ".join(names[j] for j in lost)
            messages.setdefault(len(rows) - 1, f"not estimable: {text}")
    return rows, values, messages


class _BareFit:
    """A fit without results around it."""

    def __init__(self, engine_fit):
        self.engine_fit = engine_fit


def _fit_rows(model, at, terms, own, reml, statistic, names):
    weights, offset = own
    if statistic is None:
        y = model.endog[at] if offset is None else model.endog[at] - offset
        design = prepare_design(y, model.exog[at], terms, weights)
        return _BareFit(fit_design(design, reml)), design
    exog = pd.DataFrame(model.exog[at], columns=names)
    endog = pd.Series(model.endog[at], name=model.endog_names)
    fresh = type(model)(
        endog, exog if len(names) else None, terms=terms, weights=weights, offset=offset
    )
    return fresh.fit(reml=reml), fresh._design
