"""The part of the results that simulates, and that bootstraps the model."""

from __future__ import annotations

from functools import partial
from inspect import cleandoc

import numpy as np
import pandas as pd

from mixedext.arguments import check_count
from mixedext.engine.refits.batches import in_batches
from mixedext.engine.refits.refit import Refits, joined
from mixedext.engine.refits.simulation import generator_of
from mixedext.fitted import need_rows
from mixedext.inference.bootstrap.refits import (
    blocks_of,
    labelled,
    refit_draws,
    simulated_refits,
    simulated_rows,
)
from mixedext.inference.bootstrap.replicate_fits import cases_sampler, fit_cases, fit_draws
from mixedext.inference.bootstrap.replicates import bootstrap_of
from mixedext.inference.bootstrap.replication import runner
from mixedext.inference.bootstrap.resampling import ResidualSampler
from mixedext.inference.bootstrap.user_statistics import (
    check_statistic,
    statistic_frame,
    statistic_values,
)
from mixedext.inference.profile.likelihood_profile import on_the_scale_of_the_data
from mixedext.inference.submodels.other_criteria import refitted

__all__ = [
    "bootstrap_cases",
    "bootstrap_limits",
    "bootstrap_parametric",
    "bootstrap_residual",
    "simulate",
    "simulate_refits",
]

# Replicates of a block where Python sees each of them; part of what a seed means.
_SEEN_AT_A_TIME = 25

_COMMON = cleandoc("""
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
""")


def _documented(method):
    """Put the parameters that all bootstraps share into a docstring."""
    if method.__doc__ is not None:  # python -OO has none
        # whether the compiler removes indents depends on Python's version
        method.__doc__ = cleandoc(method.__doc__).replace("<common>", _COMMON)
    return method


def simulate(results, n=1, rng=None, conditional=False):
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
    check_count(n, "n")
    model, rng = results.model, generator_of(rng)
    y = simulated_rows(model, results.fitted.fit, int(n), rng, conditional)
    if model.offset is not None:
        y += model.offset[:, None]
    return pd.DataFrame(y, index=model.data.row_labels)


def simulate_refits(results, n, rng=None, reml=None, n_threads=1) -> Refits:
    """Simulate responses from the fit and fit the model to each of them.

    With one grouping factor the sufficient statistics of a response are drawn, not its
    rows, so that this is fast however long the data are.

    Parameters
    ----------
    n : int
        Number of responses.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    reml : bool, optional
        Criterion of the refits; that of this fit if None.
    n_threads : int, optional
        Threads that the work is shared among.  The numbers do not depend on it.

    Returns
    -------
    Refits
        Estimates and verdicts, one row a response; ``to_frame()`` for a DataFrame.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> refits = result.simulate_refits(1000, rng=1)
    >>> len(refits), refits.n_failed
    (1000, 0)
    """
    fitted = results.fitted
    arguments = fitted.arguments.held("simulate_refits")
    return simulated_refits(
        fitted.model, fitted.fit, n, rng, reml, n_threads, arguments=arguments
    )


@_documented
def bootstrap_parametric(
    results,
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
    own = results if reml is None else _refitted(results, reml)
    kind = "parametric, random effects as fitted" if conditional else "parametric"
    model, fit = own.model, own.fitted.fit
    draw = partial(simulated_rows, model, fit, conditional=conditional)
    python = statistic is not None and not vectorized
    if conditional or python or own.fitted.arguments.held("the bootstrap"):
        return _bootstrap_draws(
            own, kind, draw, n, statistic, rng, n_jobs, progress, vectorized
        )
    check_count(n, "n")
    check_statistic(statistic)
    run = runner(n_jobs, progress, in_batches(fit.design))
    refits = simulated_refits(model, fit, n, rng, own.reml, run=run)
    return bootstrap_of(own, kind, refits, vectorized=statistic)


@_documented
def bootstrap_residual(
    results,
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
    own = results if reml is None else _refitted(results, reml)
    model, fit = own.model, own.fitted.fit
    need_rows(model)
    mean = need_rows(model).mean(own.fe_params)
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
    return _bootstrap_draws(
        own, "residual", draw, n, statistic, rng, n_jobs, progress, vectorized
    )


@_documented
def bootstrap_cases(
    results,
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
    own = results if reml is None else _refitted(results, reml)
    check_count(n, "n")
    need_rows(own.model)
    sampler = cases_sampler(own.model, group, within)
    python = statistic if statistic is not None and not vectorized else None
    arguments = own.fitted.arguments.held("the bootstrap")
    work = partial(fit_cases, own.model, sampler, own.reml, python, arguments)
    kind = "cases, and rows within them" if within else "cases"
    return _bootstrap_seen(own, kind, work, n, statistic, rng, n_jobs, progress, vectorized)


def _refitted(results, reml):
    """Results of the same model by another criterion."""
    fitted = refitted(results, reml)
    return fitted.model._present(fitted)


def _bootstrap_draws(results, kind, draw, n, statistic, rng, n_jobs, progress, vectorized):
    check_count(n, "n")
    model = results.model
    need_rows(model)
    arguments = results.fitted.arguments.held("the bootstrap")
    if statistic is None or vectorized:
        check_statistic(statistic)
        batched = in_batches(model._design) and not arguments
        run = runner(n_jobs, progress, batched)
        refits = refit_draws(model, draw, n, rng, results.reml, run, arguments)
        return bootstrap_of(results, kind, refits, vectorized=statistic)
    work = partial(fit_draws, model, draw, results.reml, statistic, arguments)
    return _bootstrap_seen(results, kind, work, n, statistic, rng, n_jobs, progress, False)


def _bootstrap_seen(results, kind, work, n, statistic, rng, n_jobs, progress, vectorized):
    """Replicates that Python fits one by one: ``work(block)`` gives rows and values."""
    check_statistic(statistic)
    python = statistic is not None and not vectorized
    # first, so that a mistake in the statistic shows before the work is done
    own = (
        statistic_values(statistic(results.fitted.model._present(results.fitted)))
        if python
        else None
    )
    run = runner(n_jobs, progress, False, statistic)
    parts = run(work, blocks_of(int(n), _SEEN_AT_A_TIME, rng))
    columns = joined(rows for rows, _, _ in parts)
    messages = {
        _SEEN_AT_A_TIME * number + i: text
        for number, (_, _, said) in enumerate(parts)
        for i, text in said.items()
    }
    refits = labelled(results.model, Refits(*columns, results.reml), whole=True)
    if not python:
        return bootstrap_of(results, kind, refits, None, messages, statistic)
    values = [value for _, found, _ in parts for value in found]
    frame, said = statistic_frame(own, values)
    return bootstrap_of(results, kind, refits, (own, frame), said | messages)


def bootstrap_limits(results, alpha, cols, n=1000, rng=None, interval="percentile", **kwds):
    """Limits for ``conf_int(method="bootstrap")``, with the rows of a profile's."""
    bootstrap = results.bootstrap_parametric(n, rng=rng, **kwds)
    limits = bootstrap.conf_int(1 - alpha, interval).to_numpy()
    design = results.fitted.fit.design
    rank = design.basis.rank
    frame = on_the_scale_of_the_data(results, limits[:rank], limits[rank:])
    return frame if cols is None else frame.iloc[np.asarray(cols)]
