"""Overdispersion: Pearson's chi-squared over its degrees of freedom; a simulated law."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from mixedext.arguments import check_count
from mixedext.engine.generalized.refits import Refitter
from mixedext.engine.refits.simulation import generator_of
from mixedext.fitted import HasFitted
from mixedext.inference.bootstrap.response_draws import draws_of, response_of
from mixedext.inference.random_effects.live_engine import live_engine
from mixedext.tables.statistical_tests import TestResult

__all__ = ["Overdispersion", "overdispersion"]

_REMEDY = (
    "The response varies more than the model allows: consider {}a random effect for each "
    "row, (1 | row)"
)
_WIDER = {
    "binomial": "family='beta binomial' or ",
    "poisson": "family='negative binomial' or ",
}
_SMALL = (
    "the chi-squared p-value does not hold where means are small; the simulated one does"
)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Overdispersion(TestResult):
    """Pearson's statistic of a generalized model.

    Attributes
    ----------
    statistic : float
        Pearson's chi-squared at the conditional means.
    ratio : float
        Over its degrees of freedom.
    df_num : float
        Rows less the parameters of means and covariances.
    pvalue : float
        By simulation: responses drawn with the fitted random effects.
    pvalue_chi2 : float
        By the chi-squared law.
    draws : ndarray
        Simulated statistics.
    """

    ratio: float
    pvalue_chi2: float
    draws: np.ndarray = field(repr=False)

    def __repr__(self) -> str:
        lines = [
            f"Pearson chi2 {self.statistic:.4f} on {self.df_num:g} degrees of freedom, "
            f"ratio {self.ratio:.4f}",
            f"p (chi-squared) {self.pvalue_chi2:.4g}, p (simulated) {self.pvalue:.4g}",
        ]
        return "\n".join([*lines, *self.notes])


def overdispersion(results: HasFitted, n: int = 250, rng: Any = None) -> Overdispersion:
    """Whether the response varies more than the family allows.

    Parameters
    ----------
    n : int, optional
        Number of simulated responses.
    rng : Generator or int, optional
        Source of random numbers, or a seed.

    Returns
    -------
    Overdispersion
        Pearson's chi-squared over its degrees of freedom, with p-values by the chi-squared
        law and by simulation.

    Raises
    ------
    ValueError
        If ``n`` is no whole number, or the rows are not in memory.

    Notes
    -----
    Simulated responses have new random effects, and their statistics are about conditional
    means with the modes that they have at the estimates of the fit: residuals of simulated
    rows follow their own modes, as those of the data do.
    """
    check_count(n, "n")
    fitted, rng = results.fitted, generator_of(rng)
    draws, response = draws_of(fitted), response_of(fitted)
    trials = response.trials
    used = np.ones(len(draws.eta), bool) if trials is None else trials > 0
    engine = live_engine(fitted)
    refitter = Refitter(engine)

    def pearson(y, eta):
        mean = draws.family.mean(eta)
        variance = draws.family.variance(mean, draws.kappa, trials)
        if response.weights is not None:
            variance = variance / response.weights
        share = y if trials is None else y / np.where(used, trials, 1.0)
        return float((((share - mean) ** 2 / variance)[used]).sum())

    observed = pearson(response.y, engine.eta)
    found = []
    for block in draws.blocks(int(n), rng):
        for y in block:
            at = refitter.at_estimates(y)
            if np.isfinite(at.value):
                found.append(pearson(y, at.eta))
    drawn = np.array(found)
    df = int(used.sum()) - fitted.fixed.rank - len(fitted.fit.theta)
    above = 1 + np.count_nonzero(drawn >= observed)
    pvalue = above / (len(drawn) + 1)
    by_law = float(stats.chi2.sf(observed, df)) if df > 0 else np.nan
    notes = [_SMALL]
    if pvalue < 0.05 and observed > df:
        notes.append(_REMEDY.format(_WIDER.get(draws.family.name, "")))
    return Overdispersion(
        statistic=observed,
        pvalue=float(pvalue),
        df_num=df,
        method="Pearson's chi-squared, simulated",
        notes=tuple(notes),
        ratio=observed / df if df > 0 else np.nan,
        pvalue_chi2=by_law,
        draws=drawn,
    )
