"""Tests of a model against a smaller one by simulation from the smaller."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mixedext.arguments import check_count, check_reml
from mixedext.engine.fit import Fit
from mixedext.exceptions import (
    BootstrapWarning,
    BoundaryWarning,
    DesignError,
    user_stacklevel,
)
from mixedext.fitted import Fitted, HasFitted, Model
from mixedext.inference.bootstrap.parallel import runner
from mixedext.inference.bootstrap.simulated_law import SimulatedLaw, linear_log_likelihoods
from mixedext.inference.bootstrap.simulated_refits import (
    block_size,
    blocks_of,
    fit_each,
    goes_by_fitted,
    is_batched,
    responses_of,
    simulated_rows,
    sound_fits,
)
from mixedext.inference.submodels.nesting import (
    check_same_rows,
    doubts,
    n_params,
    same_fixed_space,
)
from mixedext.inference.submodels.other_criteria import as_mixed, own_fitted, refitted
from mixedext.limits import (
    DEVIANCE_SEARCH_NOISE,
    MANY_ZEROS,
    MISSED_MINIMUM,
    STATISTIC_AT_ZERO,
)
from mixedext.tables.noted_table import NotedTable
from mixedext.tables.statistical_tests import TestResult

__all__ = ["BootstrapTest", "bootstrap_test", "finished_test"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BootstrapTest(TestResult):
    """A likelihood-ratio test whose law under the hypothesis was simulated.

    Attributes
    ----------
    statistic : float
        Twice the difference of the log-likelihoods.
    df_num : int
        Parameters that the smaller model lacks.
    pvalue : float
        (b + 1) / (B + 1), of B simulated statistics b as large as the observed one, or
        larger; failures count among the b.
    se : float
        Monte-Carlo standard error of ``pvalue``.
    n, n_extreme, n_failed : int
        B, b, and how many replicates failed.
    draws : ndarray
        Simulated statistics, (B,); NaN where a fit failed.
    singular : ndarray
        Whether the fit of the larger model was singular, (B,) bool.
    reml : bool
        Criterion of the fits.
    table : NotedTable
        A row a law: chi-squared ("LRT"), "parametric bootstrap", "Bartlett" (statistic
        scaled to the mean of chi-squared), "gamma" (with mean and variance of the draws)
        and "F" (with the mean of the draws); statistic, df_num, df_denom, pvalue.
    """

    se: float
    n: int
    n_extreme: int
    n_failed: int
    draws: np.ndarray = field(repr=False)
    singular: np.ndarray = field(repr=False)
    reml: bool
    table: NotedTable = field(repr=False)

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def bootstrap_test(
    large: HasFitted,
    small: Any,
    n: int = 1000,
    rng: Any = None,
    n_jobs: int | None = None,
    progress: bool = False,
    reml: bool | None = None,
) -> BootstrapTest:
    """Likelihood-ratio test by the parametric bootstrap.

    Responses are simulated from the smaller model, and both models fitted to each of
    them.  This holds for variances that are zero under the hypothesis and for fixed
    effects alike, where chi-squared laws do not.

    Parameters
    ----------
    large : MixedLMResults
        The larger model.
    small : MixedLMResults or RegressionResults
        The smaller model; it may be a model without random effects, also of statsmodels'
        OLS or WLS.
    n : int, optional
        Number of simulated responses.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    n_jobs : int, optional
        Jobs of joblib; by default what ``joblib.parallel_config`` says, or else one.  The
        numbers do not depend on it.
    progress : bool, optional
        Whether to show a bar (needs tqdm).
    reml : bool, optional
        Criterion.  If None maximum likelihood, but REML where the larger model was fitted
        by it and both have the same fixed effects.

    Returns
    -------
    BootstrapTest
        ``pvalue`` and its Monte-Carlo error; ``table`` has approximations that need fewer
        replicates.

    Raises
    ------
    ValueError
        If the models are not of the same rows, or REML is asked for with other fixed
        effects.

    Warns
    -----
    BootstrapWarning
        If replicates failed: they count as larger than the statistic.
    NestingWarning
        If the smaller model is no special case of the larger.

    References
    ----------
    Halekoh and Hojsgaard (2014), A Kenward-Roger approximation and parametric bootstrap
    methods for tests in linear mixed models, Journal of Statistical Software 59(9).

    Examples
    --------
    >>> import statsmodels.formula.api as smf
    >>> import mixedext as mx
    >>> data = mx.datasets.pulp.load().data
    >>> large = mx.mixedlm("bright ~ 1 + (1 | operator)", data).fit(reml=False)
    >>> small = smf.ols("bright ~ 1", data).fit()
    >>> test = mx.bootstrap_test(large, small, n=2000, rng=1)
    >>> round(test.statistic, 4)
    2.5684
    >>> abs(test.pvalue - 0.0226) < 3 * test.se
    True
    """
    check_count(n, "n")
    outer = own_fitted(large, "large")
    if outer.generalized is not None:
        whole: Any = large
        return whole.bootstrap_test(small, n, rng, n_jobs, progress)
    inner = as_mixed(small, outer)
    check_same_rows(inner.model, outer.model, "small", "large")
    for each in (inner, outer):
        each.need_rows()
        held = each.arguments.held("the bootstrap test")
        if held.get("fe_pen") is not None or held.get("cov_pen") is not None:
            raise ValueError(
                "a penalized fit has no likelihood-ratio test: the penalty is no part of "
                "the likelihood"
            )
    same = same_fixed_space(inner, outer) and not (
        _holds_fixed(inner) or _holds_fixed(outer)
    )
    if reml is None:
        reml = bool(outer.reml and same)
    check_reml(reml)
    if reml and not same:
        raise ValueError(
            "reml=True: restricted likelihoods of models with different fixed effects "
            "cannot be compared; use reml=False"
        )
    inner, outer = refitted(inner, reml), refitted(outer, reml)
    df = n_params(outer) - n_params(inner)
    if df < 1:
        raise DesignError(
            f"small has {n_params(inner)} parameters and large {n_params(outer)}: there is "
            "nothing to test"
        )
    for text, kind in doubts(inner, outer):
        if kind is not None and kind is not BoundaryWarning:
            warnings.warn(text, kind, stacklevel=user_stacklevel())
    return _tested(inner, outer, int(n), rng, n_jobs, progress, bool(reml), df)


def _tested(
    small: Fitted,
    large: Fitted,
    n: int,
    rng: Any,
    n_jobs: int | None,
    progress: bool,
    reml: bool,
    df: int,
) -> BootstrapTest:
    models = [
        Refitted(each.model, each.arguments.held("the bootstrap test"), each.fit)
        for each in (small, large)
    ]
    batched = [(is_batched(m.model) or m.is_linear) and not m.held for m in models]
    sizes = [block_size(m.model, bool(m.held)) for m in models if not m.is_linear]
    size = min(sizes)
    run = runner(n_jobs, progress, all(batched))
    draw = partial(simulated_rows, small)
    work = partial(fit_both, models[0], models[1], draw, reml)
    parts = run(work, blocks_of(n, size, rng))
    draws, singular = (np.concatenate(part) for part in zip(*parts, strict=True))
    statistic = max(2 * (large.fit.log_likelihood - small.fit.log_likelihood), 0.0)
    return finished_test(statistic, draws, singular, df, reml)


def finished_test(
    statistic: float, draws: np.ndarray, singular: np.ndarray, df: int, reml: bool
) -> BootstrapTest:
    """The test of a statistic by those of responses that were simulated.

    Parameters
    ----------
    statistic : float
        Likelihood-ratio statistic.
    draws, singular : ndarray
        Statistics of the replicates, NaN where a fit has failed, and where that of the
        larger model is singular; (n,).
    df : int
        Degrees of freedom of the chi-squared law.
    reml : bool
        Whether the fits are by REML.

    Warns
    -----
    BootstrapWarning
        If replicates failed.
    """
    n, law = len(draws), SimulatedLaw(statistic, draws, df)
    failed = int(np.count_nonzero(np.isnan(draws)))
    p = law.pvalue
    se = float(np.sqrt(p * (1 - p) / n))
    notes = [
        f"{n} responses simulated from the smaller model; {failed} failed; the fit of the "
        f"larger model is singular for {int(singular.sum())}",
        f"Standard error of the p-value of the parametric bootstrap: {se:.2g}",
        "Fits by REML" if reml else "Fits by maximum likelihood",
    ]
    zeros = np.mean(draws < STATISTIC_AT_ZERO)
    if zeros > MANY_ZEROS:
        notes.append(
            f"{zeros:.0%} of the simulated statistics are zero, so that Bartlett, gamma "
            "and F do not fit"
        )
    if failed:
        text = f"{failed} of {n} replicates failed; they count as larger than the statistic"
        warnings.warn(text, BootstrapWarning, stacklevel=user_stacklevel())
    columns = ["statistic", "df_num", "df_denom", "pvalue"]
    laws = pd.DataFrame.from_dict(law.laws(), orient="index", columns=columns)
    return BootstrapTest(
        statistic=statistic,
        pvalue=p,
        df_num=df,
        method="parametric bootstrap",
        notes=tuple(notes),
        se=se,
        n=n,
        n_extreme=law.n_extreme,
        n_failed=failed,
        draws=draws,
        singular=singular,
        reml=reml,
        table=NotedTable.of(laws, "Bootstrap likelihood-ratio test", notes),
    )


def _holds_fixed(fitted: Fitted) -> bool:
    """Whether fixed effects were held."""
    pattern = fitted.arguments.free
    return pattern is not None and not np.all(pattern.fe_params)


class Refitted(NamedTuple):
    """A model that is fitted to responses.

    Attributes
    ----------
    model : MixedLM
        The model.
    held : Mapping
        Arguments that hold parameters.
    fit : Fit, optional
        Its fit to the data, where searches for a residual covariance start.
    """

    model: Model
    held: Mapping[str, Any]
    fit: Fit | None = None

    @property
    def is_linear(self) -> bool:
        """Whether nothing is estimated by a search."""
        return not self.model.random_terms and self.model.residual is None


def fit_both(
    small: Refitted,
    large: Refitted,
    draw: Callable[[int, np.random.Generator], np.ndarray],
    reml: bool,
    block: tuple[int, Any],
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of a block of responses, NaN for failures; and where large is singular."""
    y = draw(block[0], np.random.default_rng(block[1]))
    llf, sound, _ = _fits(small, y, reml)
    offsets = [small.model.offset, large.model.offset]
    if offsets[0] is not None:
        y = y + offsets[0][:, None]
    if offsets[1] is not None:
        y = y - offsets[1][:, None]
    above, good, singular = _fits(large, y, reml)
    draws = 2 * (above - llf)
    good &= sound & (draws > -MISSED_MINIMUM)
    return np.where(good, draws.clip(0.0), np.nan), singular


def _fits(
    refitted: Refitted, y: np.ndarray, reml: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihoods, whether fits converged, and whether they are singular."""
    model, held, fit = refitted
    if held or goes_by_fitted(model):
        _, _, _, llf, converged, singular, _ = fit_each(model, y, reml, held)
        return llf, converged, singular
    if refitted.is_linear:
        llf = linear_log_likelihoods(model._design, model.exog, model.weights, y, reml)
        return llf, np.ones(len(llf), bool), np.zeros(len(llf), bool)
    refits, _ = sound_fits(
        responses_of(model, fit), y, reml, search_noise=DEVIANCE_SEARCH_NOISE
    )
    return refits.log_likelihood, refits.converged.copy(), refits.is_singular
