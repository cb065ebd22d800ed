"""The part of the results that simulates, and that bootstraps the model."""

from __future__ import annotations

import warnings
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
)
from mixedext.model_parts.refitting import (
    blocks_of,
    check_count,
    failed_row,
    generator_of,
    labelled,
    refit_draws,
    simulate_refits,
    simulated_rows,
)
from mixedext.results_parts.bootstrap_replicates import bootstrap_of
from mixedext.results_parts.bootstrap_statistics import (
    check_statistic,
    statistic_frame,
    statistic_values,
)
from mixedext.results_parts.bootstrap_tests import bootstrap_test
from mixedext.results_parts.model_comparison import refitted
from mixedext.results_parts.profiles import on_the_scale_of_the_data
from mixedext.results_parts.replication import runner
from mixedext.specification.alignment import warn_if_reordered
from mixedext.specification.labels import factorize
from mixedext.specification.sparse_terms import SparseTerm

__all__ = ["Bootstrapping"]

# Replicates of a block where Python sees each of them; part of what a seed means.
_SEEN_AT_A_TIME = 25

_COMMON = """
        statistic : callable, optional
            Function of the results of a refit that gives a number, an array, a dictionary,
            a Series or a frame; with ``vectorized`` of the frame ``replicates``, which must
            give a row (or a number) for each of its rows.  Where a value has the name of a
            parameter, "statistic " comes before it.
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
        model, rng = self.model, generator_of(rng)
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
        ...     return frame["sd Intercept|Subject"] / frame["sigma"]
        >>> more = result.bootstrap_parametric(2000, ratio, rng=1, vectorized=True)
        >>> round(float(more.estimate["statistic"]), 3)
        0.967
        """
        own = self if reml is None else refitted(self, reml)
        kind = "parametric, random effects as fitted" if conditional else "parametric"
        model, fit = own.model, own.engine_fit
        draw = partial(simulated_rows, model, fit, conditional=conditional)
        python = statistic is not None and not vectorized
        if conditional or python or own._held_arguments("the bootstrap"):
            return own._bootstrap_draws(
                kind, draw, n, statistic, rng, n_jobs, progress, vectorized
            )
        check_count(n)
        check_statistic(statistic)
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
        own = self if reml is None else refitted(self, reml)
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
            The factor whose levels are drawn, a column of the data, or labels, one a row;
            the model's ``groups``, or else the factor with fewest levels, if None.
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
        own = self if reml is None else refitted(self, reml)
        check_count(n)
        own.model._need_rows()
        sampler = _cases_sampler(own.model, group, within)
        python = statistic if statistic is not None and not vectorized else None
        arguments = own._held_arguments("the bootstrap")
        work = partial(_fit_cases, own.model, sampler, own.reml, python, arguments)
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
        arguments = self._held_arguments("the bootstrap")
        if statistic is None or vectorized:
            check_statistic(statistic)
            batched = in_batches(model._design) and not arguments
            run = runner(n_jobs, progress, batched)
            refits = refit_draws(model, draw, n, rng, self.reml, run, arguments)
            return bootstrap_of(self, kind, refits, vectorized=statistic)
        work = partial(_fit_draws, model, draw, self.reml, statistic, arguments)
        return self._bootstrap_seen(kind, work, n, statistic, rng, n_jobs, progress, False)

    def _bootstrap_seen(self, kind, work, n, statistic, rng, n_jobs, progress, vectorized):
        """Replicates that Python fits one by one: ``work(block)`` gives rows and values."""
        check_statistic(statistic)
        python = statistic is not None and not vectorized
        # first, so that a mistake in the statistic shows before the work is done
        own = statistic_values(statistic(self._wrapped(self))) if python else None
        run = runner(n_jobs, progress, False, statistic)
        parts = run(work, blocks_of(int(n), _SEEN_AT_A_TIME, rng))
        columns = joined(rows for rows, _, _ in parts)
        messages = {
            _SEEN_AT_A_TIME * number + i: text
            for number, (_, _, said) in enumerate(parts)
            for i, text in said.items()
        }
        refits = labelled(self.model, Refits(*columns, self.reml), whole=True)
        if not python:
            return bootstrap_of(self, kind, refits, None, messages, statistic)
        values = [value for _, found, _ in parts for value in found]
        frame, said = statistic_frame(own, values)
        return bootstrap_of(self, kind, refits, (own, frame), said | messages)

    def _bootstrap_limits(
        self, alpha, cols, n=1000, rng=None, interval="percentile", **kwds
    ):
        """Limits for ``conf_int(method="bootstrap")``, with the rows of a profile's."""
        bootstrap = self.bootstrap_parametric(n, rng=rng, **kwds)
        limits = bootstrap.conf_int(1 - alpha, interval).to_numpy()
        design = self.engine_fit.design
        rank = design.basis.rank
        frame = on_the_scale_of_the_data(self, limits[:rank], limits[rank:])
        return frame if cols is None else frame.iloc[np.asarray(cols)]


# ---- one replicate after the other ----


def _seen(fitted, statistic, rows, values, messages):
    """Append a fit's row and the value of the statistic."""
    rows.append(row_of_fit(fitted.engine_fit))
    value = None
    if statistic is not None:
        try:
            value = statistic_values(statistic(fitted))
        except Exception as error:  # noqa: BLE001 - told as a failure of the replicate
            messages[len(values)] = f"statistic: {type(error).__name__}: {error}"
    values.append(value)


def _failed(model, rows, values, messages, error):
    """Append a replicate without estimates."""
    messages[len(values)] = f"{type(error).__name__}: {error}"
    rows.append(failed_row(model._design, k_fe=model.k_fe))
    values.append(None)


def _whole(row, kept, k_fe):
    """A fit's row with all fixed effects, NaN where dropped."""
    fixed = np.full((1, k_fe), np.nan)
    fixed[:, kept] = row[0]
    return (fixed, *row[1:])


def _fit_draws(model, draw, reml, statistic, arguments, block):
    """Refits of a block of responses, each shown to the statistic."""
    y = draw(block[0], np.random.default_rng(block[1]))
    if model.offset is not None:
        y = y + model.offset[:, None]
    rows, values, messages = [], [], {}
    for r in range(block[0]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # verdicts are kept
            try:
                fitted = model.refit(y[:, r], reml=reml, **arguments)
            except (DesignError, np.linalg.LinAlgError) as error:
                _failed(model, rows, values, messages, error)
                continue
            _seen(fitted, statistic, rows, values, messages)
        rows[-1] = _whole(rows[-1], model._design.basis.kept, model.k_fe)
    return joined(rows), values, messages


def _cases_sampler(model, group, within):
    terms = model.random_terms
    factors = {t.group: t for t in terms if not isinstance(t, SparseTerm)}
    if group is not None:
        own = factors[group].codes if _is_among(group, factors) else None
        return CasesSampler(terms, _row_codes(model, group) if own is None else own, within)
    if model.groups is not None:  # as in statsmodels, all terms are nested in them
        return CasesSampler(terms, model._group_codes[0], within)
    found = sorted(factors.values(), key=lambda t: t.n_levels)
    if not found:
        raise ValueError("the model has no grouping factor; name one by group=")
    return CasesSampler(terms, found[0].codes, within)


def _is_among(name, factors):
    return isinstance(name, str) and name in factors


def _row_codes(model, group):
    """Codes of a column of the data, or of labels that are given, one a row."""
    labels = group
    if isinstance(group, str):
        frame = getattr(model.data, "frame", None)
        frame = None if frame is None else frame.reset_index()
        if frame is None or group not in frame:
            known = ", ".join(t.group for t in model.random_terms) or "none"
            raise ValueError(
                f"group={group!r} is neither a grouping factor of the model ({known}) nor "
                "a column of its data"
            )
        labels = frame[group]
    else:
        warn_if_reordered(group, model.data.row_labels, "group")
    codes = np.asarray(factorize(labels)[0])
    if len(codes) != model.nobs or (codes < 0).any():
        raise ValueError(
            f"group must have one label, not missing, for each of the {model.nobs} rows of "
            f"the model; got {len(codes)}"
        )
    return codes


def _fit_cases(model, sampler, reml, statistic, arguments, block):
    """Fits of a block of resampled data."""
    rng = np.random.default_rng(block[1])
    rows, values, messages = [], [], {}
    names, weights, offset = model.exog_names, model.weights, model.offset
    for _ in range(block[0]):
        at, number = sampler.draw(rng)
        terms = sampler.terms_of(at, number)
        own = {"weights": weights, "offset": offset}
        own = {name: a[at] for name, a in own.items() if a is not None}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # verdicts are kept
            try:
                if statistic is None and not arguments:
                    fitted = _BareFit(_engine_fit(model, at, terms, reml, **own))
                else:
                    fresh = _model_of_rows(model, at, terms, own)
                    fitted = fresh.fit(reml=reml, **arguments)
            except (DesignError, np.linalg.LinAlgError) as error:
                _failed(model, rows, values, messages, error)
                continue
            _seen(fitted, statistic, rows, values, messages)
        kept = fitted.engine_fit.design.basis.kept
        rows[-1] = _whole(rows[-1], kept, model.k_fe)
        lost = sorted(set(model._design.basis.kept) - set(kept))
        if lost:
            text = ", ".join(names[j] for j in lost)
            messages.setdefault(len(rows) - 1, f"not estimable: {text}")
    return joined(rows), values, messages


class _BareFit:
    """A fit without results around it."""

    def __init__(self, engine_fit):
        self.engine_fit = engine_fit


def _engine_fit(model, at, terms, reml, weights=None, offset=None):
    y = model.endog[at] if offset is None else model.endog[at] - offset
    return fit_design(prepare_design(y, model.exog[at], terms, weights), reml)


def _model_of_rows(model, at, terms, own):
    """A new model of some rows of another one."""
    names = model.exog_names
    exog = pd.DataFrame(model.exog[at], columns=names) if len(names) else None
    endog = pd.Series(model.endog[at], name=model.endog_names)
    return type(model)(endog, exog, terms=terms, **own)
