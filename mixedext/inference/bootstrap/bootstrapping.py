"""Simulation from a fit, and bootstraps of what it estimates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from inspect import cleandoc
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from mixedext.arguments import check_count
from mixedext.engine.refits.refit import joined
from mixedext.engine.refits.simulation import generator_of
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.bootstrap.bootstrap_result import Bootstrap, bootstrap_of
from mixedext.inference.bootstrap.one_by_one import cases_sampler, fit_cases, fit_draws
from mixedext.inference.bootstrap.parallel import runner
from mixedext.inference.bootstrap.resampling import ResidualSampler
from mixedext.inference.bootstrap.simulated_refits import (
    Refits,
    blocks_of,
    is_batched,
    labelled,
    refit_draws,
    simulated_refits,
    simulated_rows,
)
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

Function = TypeVar("Function", bound=Callable)

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


def _documented(method: Function) -> Function:
    """Put the parameters that all bootstraps share into a docstring."""
    if method.__doc__ is not None:  # python -OO has none
        # whether the compiler removes indents depends on Python's version
        method.__doc__ = cleandoc(method.__doc__).replace("<common>", _COMMON)
    return method


def simulate(
    results: HasFitted, n: int = 1, rng: Any = None, conditional: bool = False
) -> pd.DataFrame:
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
    fitted = results.fitted
    rows = fitted.need_rows()
    y = simulated_rows(fitted, int(n), generator_of(rng), conditional)
    if rows.offset is not None:
        y += rows.offset[:, None]
    return pd.DataFrame(y, index=rows.labels)


def simulate_refits(
    results: HasFitted,
    n: int,
    rng: Any = None,
    reml: bool | None = None,
    n_jobs: int | None = None,
) -> Refits:
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
    n_jobs : int, optional
        Jobs of joblib, threads where that is as good; by default what
        ``joblib.parallel_config`` says, or else one.  The numbers do not depend on it.

    Returns
    -------
    Refits
        Estimates and verdicts, one row a response; ``to_frame()`` for a DataFrame.

    Raises
    ------
    ImportError
        If joblib is needed and not installed.

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
    run = runner(n_jobs, False, is_batched(fitted.model) and not arguments)
    return simulated_refits(fitted, n, rng, reml, run, arguments)


@_documented
def bootstrap_parametric(
    results: HasFitted,
    n: int = 1000,
    statistic: Callable | None = None,
    rng: Any = None,
    n_jobs: int | None = None,
    progress: bool = False,
    reml: bool | None = None,
    conditional: bool = False,
    vectorized: bool = False,
) -> Bootstrap:
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
    >>> bootstrap.table.loc["Days", ["estimate", "std_err"]].round(1).tolist()
    [10.5, 1.5]

    A statistic of the frame of replicates, here the ratio of two deviations:

    >>> def ratio(frame):
    ...     return frame["sd Intercept|Subject"] / frame["sigma"]
    >>> more = result.bootstrap_parametric(2000, ratio, rng=1, vectorized=True)
    >>> round(float(more.estimate["statistic"]), 3)
    0.967
    """
    own = _by_criterion(results, reml)
    kind = "parametric, random effects as fitted" if conditional else "parametric"
    draw = partial(simulated_rows, own, conditional=conditional)
    python = statistic is not None and not vectorized
    if conditional or python or own.arguments.held("the bootstrap"):
        return _bootstrap_draws(
            own, kind, draw, n, statistic, rng, n_jobs, progress, vectorized
        )
    check_count(n, "n")
    check_statistic(statistic)
    run = runner(n_jobs, progress, is_batched(own.model))
    refits = simulated_refits(own, n, rng, own.reml, run)
    return bootstrap_of(own, kind, refits, vectorized=statistic)


@_documented
def bootstrap_residual(
    results: HasFitted,
    n: int = 1000,
    statistic: Callable | None = None,
    rng: Any = None,
    n_jobs: int | None = None,
    progress: bool = False,
    reml: bool | None = None,
    vectorized: bool = False,
) -> Bootstrap:
    """Residual (semi-parametric) bootstrap of Carpenter, Goldstein and Rasbash.

    Conditional modes and residuals are centred, and reflated so that their second
    moments are the estimated covariances; responses are made of modes and residuals
    drawn with replacement.  It does not rest on the normal law.  Beside a residual
    covariance the residuals are resampled as that whitens them.

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
    >>> bootstrap.table.loc["Days", ["estimate", "std_err"]].round(1).tolist()
    [10.5, 1.5]
    """
    own = _by_criterion(results, reml)
    rows = own.need_rows()
    mean = rows.mean(own.fixed.estimate)
    if rows.offset is not None:
        mean = mean - rows.offset
    draw = ResidualSampler(
        rows.terms,
        own.fit.effects,
        own.random.covariances,
        mean,
        rows.endog - rows.mean(own.fixed.estimate, own.fit.effects),
        own.scale,
        rows.weights,
        own.fit.residual,
    )
    return _bootstrap_draws(
        own, "residual", draw, n, statistic, rng, n_jobs, progress, vectorized
    )


@_documented
def bootstrap_cases(
    results: HasFitted,
    n: int = 1000,
    statistic: Callable | None = None,
    rng: Any = None,
    n_jobs: int | None = None,
    progress: bool = False,
    reml: bool | None = None,
    vectorized: bool = False,
    group: Any = None,
    within: bool = False,
) -> Bootstrap:
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
        the model's ``groups``, or else the factor with fewest levels, if None; residual
        groups are a factor among these.
    within : bool, optional
        Whether the rows of each level drawn are drawn with replacement too; not beside a
        correlation of the residuals.

    Returns
    -------
    Bootstrap
        As of ``bootstrap_parametric``.  Replicates in which some fixed effect cannot
        be estimated are failures.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind, the rows are not in memory, or some random
        term, or the residual groups, are not nested in the factor.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> bootstrap = result.bootstrap_cases(100, rng=1)
    >>> len(bootstrap), bootstrap.n_failed
    (100, 0)
    """
    own = _by_criterion(results, reml)
    check_count(n, "n")
    own.need_rows()
    sampler = cases_sampler(own.model, group, within)
    python = statistic if statistic is not None and not vectorized else None
    arguments = own.arguments.held("the bootstrap")
    if python is not None:
        arguments = _as_asked(own, arguments)
    work = partial(fit_cases, own.model, sampler, own.reml, python, arguments, own.fit)
    kind = "cases, and rows within them" if within else "cases"
    return _bootstrap_seen(own, kind, work, n, statistic, rng, n_jobs, progress, vectorized)


def _as_asked(fitted: Fitted, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of refits that a statistic sees: their tests are those of the fit.

    Options of the session do not reach other processes.
    """
    return {**arguments, "df_method": fitted.settings.df_method}


def _by_criterion(results: HasFitted, reml: bool | None) -> Fitted:
    """The fit by a criterion; as it is if None."""
    return results.fitted if reml is None else refitted(results.fitted, reml)


def _bootstrap_draws(
    fitted: Fitted,
    kind: str,
    draw: Callable[[int, np.random.Generator], np.ndarray],
    n: int,
    statistic: Callable | None,
    rng: Any,
    n_jobs: int | None,
    progress: bool,
    vectorized: bool,
) -> Bootstrap:
    check_count(n, "n")
    fitted.need_rows()
    model = fitted.model
    arguments = fitted.arguments.held("the bootstrap")
    if statistic is None or vectorized:
        check_statistic(statistic)
        batched = is_batched(model) and not arguments
        run = runner(n_jobs, progress, batched)
        fit = fitted.fit
        refits = refit_draws(model, draw, n, rng, fitted.reml, run, arguments, fit)
        return bootstrap_of(fitted, kind, refits, vectorized=statistic)
    seen = _as_asked(fitted, arguments)
    work = partial(fit_draws, model, draw, fitted.reml, statistic, seen)
    return _bootstrap_seen(fitted, kind, work, n, statistic, rng, n_jobs, progress, False)


def _bootstrap_seen(
    fitted: Fitted,
    kind: str,
    work: Callable,
    n: int,
    statistic: Callable | None,
    rng: Any,
    n_jobs: int | None,
    progress: bool,
    vectorized: bool,
) -> Bootstrap:
    """Replicates that Python fits one by one: ``work(block)`` gives rows and values."""
    check_statistic(statistic)
    own = None
    if statistic is not None and not vectorized:
        # first, so that a mistake in the statistic shows before the work is done
        own = statistic_values(statistic(fitted.model._present(fitted)))
    run = runner(n_jobs, progress, False, statistic)
    parts = run(work, blocks_of(int(n), _SEEN_AT_A_TIME, rng))
    columns = joined(rows for rows, _, _ in parts)
    messages = {
        _SEEN_AT_A_TIME * number + i: text
        for number, (_, _, said) in enumerate(parts)
        for i, text in said.items()
    }
    residual = fitted.fit.residual
    bound = None if residual is None else residual.bound
    refits = labelled(fitted.model, columns, fitted.reml, True, bound)
    if own is None:
        return bootstrap_of(fitted, kind, refits, None, messages, statistic)
    values = [value for _, found, _ in parts for value in found]
    frame, said = statistic_frame(own, values)
    return bootstrap_of(fitted, kind, refits, (own, frame), said | messages)


def bootstrap_limits(
    results: HasFitted,
    alpha: float,
    cols: Any,
    n: int = 1000,
    rng: Any = None,
    interval: str = "percentile",
    **options: Any,
) -> pd.DataFrame:
    """Limits for ``conf_int(method="bootstrap")``, with the rows of a profile's."""
    fitted = results.fitted
    bootstrap = bootstrap_parametric(fitted, n, rng=rng, **options)
    table = bootstrap.conf_int(alpha, interval)
    limits, rank = table.to_numpy(), fitted.fixed.rank
    count = len(limits) - bootstrap.refits.residual.shape[1]
    frame = on_the_scale_of_the_data(fitted, limits[:rank], limits[rank:count])
    if count < len(limits):  # parameters of a residual covariance
        rest = pd.DataFrame(limits[count:], index=table.index[count:])
        frame = pd.concat([frame, rest])
    return frame if cols is None else frame.iloc[np.asarray(cols)]
