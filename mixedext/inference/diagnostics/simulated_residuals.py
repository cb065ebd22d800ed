"""Residuals of generalized models by simulation, uniform where the model holds.

Responses are drawn from the fitted model; the residual of a row is the rank of its response
among them, ties broken at random: with B draws, b of them below the response and t equal to
it, (b + U (t + 1)) / (B + 1), U uniform.  Were the parameters known, response and draws
would be exchangeable and the residual exactly uniform, whatever the family.

References
----------
Dunn and Smyth (1996), Randomized quantile residuals, Journal of Computational and Graphical
Statistics 5, 236-244.  Hartig (2022), DHARMa: residual diagnostics for hierarchical
(multi-level / mixed) regression models, R package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.arguments import check_choice, check_count
from mixedext.engine.refits.simulation import generator_of
from mixedext.fitted import HasFitted
from mixedext.graphics.simulated_residuals import plot_simulated_residuals
from mixedext.inference.bootstrap.response_draws import (
    ResponseDraws,
    draws_of,
    random_variance,
    response_of,
)
from mixedext.inference.prediction.marginal_means import marginal_moments
from mixedext.tables.statistical_tests import TestResult

__all__ = [
    "SimulatedResiduals",
    "SimulationTest",
    "simulated_ranks",
    "simulated_residuals",
]

ALTERNATIVES = ("two-sided", "larger", "smaller")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SimulationTest(TestResult):
    """A test of a statistic of the rows against its simulated values.

    Attributes
    ----------
    statistic : float
        What is tested, such as the ratio of the observed to the mean simulated value.
    pvalue : float
        Of the alternative.
    observed : float
        The statistic of the response itself.
    expected : float
        Its mean in the simulated responses, or under the hypothesis.
    draws : ndarray
        Its simulated values; empty where the law is known.
    """

    observed: float
    expected: float
    draws: np.ndarray = field(repr=False)

    def __repr__(self) -> str:
        return (
            f"<{self.method}: observed {self.observed:.6g}, expected {self.expected:.6g}, "
            f"statistic {self.statistic:.4g}, p = {self.pvalue:.4g}>"
        )


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedResiduals:
    """Residuals of the rows as ranks among simulated responses.

    ``results.simulated_residuals()`` makes them.

    Attributes
    ----------
    residuals : ndarray
        Uniform between 0 and 1 where the model holds, (n,).
    n : int
        Number of simulated responses.
    fitted : ndarray
        Means of the simulated responses, (n,).
    conditional : bool
        Whether they have the fitted random effects, or new ones.
    below, ties : ndarray
        How many simulated responses are below that of each row, and equal to it, (n,).
    """

    residuals: np.ndarray
    n: int
    fitted: np.ndarray
    conditional: bool
    below: np.ndarray = field(repr=False)
    ties: np.ndarray = field(repr=False)
    _spread: tuple[float, np.ndarray] = field(repr=False)
    _zeros: tuple[float, np.ndarray] = field(repr=False)
    _labels: pd.Index | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.residuals)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.residuals, dtype=dtype)

    @property
    def normal(self) -> np.ndarray:
        """The residuals as quantiles of the standard normal law, (n,)."""
        return stats.norm.ppf(self.residuals)

    def to_frame(self) -> pd.DataFrame:
        """residual, fitted, below and ties, one row a row of the model."""
        columns = {
            "residual": self.residuals,
            "fitted": self.fitted,
            "below": self.below,
            "ties": self.ties,
        }
        return pd.DataFrame(columns, index=self._labels)

    def test_uniformity(self) -> SimulationTest:
        """Kolmogorov and Smirnov's test that the residuals are uniform."""
        found = stats.kstest(self.residuals, "uniform")
        return SimulationTest(
            statistic=float(found.statistic),
            pvalue=float(found.pvalue),
            df_num=1,
            method="Kolmogorov-Smirnov test of uniform residuals",
            notes=_DEPENDENT,
            observed=float(np.mean(self.residuals)),
            expected=0.5,
            draws=np.zeros(0),
        )

    def test_dispersion(self, alternative: str = "two-sided") -> SimulationTest:
        """Spread of the response about its mean against that of simulated ones.

        Parameters
        ----------
        alternative : {"two-sided", "larger", "smaller"}, optional
            Over- and underdispersion are "larger" and "smaller".

        Returns
        -------
        SimulationTest
            ``statistic`` is the observed sum of squares about the means, in units of the
            model's standard deviations, over the mean simulated one.
        """
        return _against(*self._spread, alternative, "Simulated test of dispersion")

    def test_zero_inflation(self, alternative: str = "two-sided") -> SimulationTest:
        """Number of zeros against that of simulated responses.

        Parameters
        ----------
        alternative : {"two-sided", "larger", "smaller"}, optional
            More zeros than the model has are "larger".
        """
        return _against(*self._zeros, alternative, "Simulated test of zero inflation")

    def test_outliers(self, alternative: str = "two-sided") -> SimulationTest:
        """Number of responses outside all simulated ones, by the binomial law.

        Each response is below all of B simulated ones, or above them, with probability
        2 / (B + 1) where there are no ties.

        Parameters
        ----------
        alternative : {"two-sided", "larger", "smaller"}, optional
            More outliers than expected are "larger".
        """
        check_choice(alternative, "alternative", ALTERNATIVES)
        rank = np.floor(self.residuals * (self.n + 1))
        count = int(((rank < 1) | (rank >= self.n)).sum())
        share = 2.0 / (self.n + 1)
        side = {"two-sided": "two-sided", "larger": "greater", "smaller": "less"}
        found = stats.binomtest(count, len(self), share, side[alternative])
        expected = share * len(self)
        return SimulationTest(
            statistic=count / expected,
            pvalue=float(found.pvalue),
            df_num=1,
            method="Test of outliers",
            notes=_DEPENDENT,
            observed=float(count),
            expected=expected,
            draws=np.zeros(0),
        )

    def tests(self) -> pd.DataFrame:
        """All four tests: statistic, observed, expected and pvalue, a row a test."""
        found = {
            "uniformity": self.test_uniformity(),
            "dispersion": self.test_dispersion(),
            "zero inflation": self.test_zero_inflation(),
            "outliers": self.test_outliers(),
        }
        columns = ("statistic", "observed", "expected", "pvalue")
        rows = {name: [getattr(t, c) for c in columns] for name, t in found.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

    def __repr__(self) -> str:
        kind = "conditional on the random effects" if self.conditional else "unconditional"
        head = f"Simulated residuals of {len(self)} rows ({self.n} simulations, {kind})"
        return f"{head}\n{self.tests().to_string(float_format='{:.4g}'.format)}"

    plot = plot_simulated_residuals


_DEPENDENT = (
    "the test takes the residuals as independent, which those of rows that share a random "
    "effect are only nearly",
)


def _against(observed, draws, alternative, method) -> SimulationTest:
    """A test of a statistic against its simulated values."""
    check_choice(alternative, "alternative", ALTERNATIVES)
    count = len(draws)
    above = (1 + np.count_nonzero(draws >= observed)) / (count + 1)
    below = (1 + np.count_nonzero(draws <= observed)) / (count + 1)
    pvalue = {
        "larger": above,
        "smaller": below,
        "two-sided": min(1.0, 2 * min(above, below)),
    }[alternative]
    expected = float(np.mean(draws))
    ratio = observed / expected if expected else (np.inf if observed else 1.0)
    return SimulationTest(
        statistic=float(ratio),
        pvalue=float(pvalue),
        df_num=1,
        method=method,
        notes=(),
        observed=float(observed),
        expected=expected,
        draws=draws,
    )


def simulated_ranks(
    draws: ResponseDraws,
    y: np.ndarray,
    n: int,
    rng: np.random.Generator,
    *,
    center: np.ndarray,
    scale: np.ndarray,
    conditional: bool = False,
    labels: pd.Index | None = None,
) -> SimulatedResiduals:
    """Residuals of responses as ranks among simulated ones.

    Parameters
    ----------
    draws : ResponseDraws
        What draws the responses.
    y : ndarray
        Response as the family counts it, (n_rows,).
    n : int
        Number of simulated responses.
    rng : Generator
        Source of random numbers.
    center : ndarray
        Means about which the dispersion is measured, (n_rows,).
    scale : ndarray
        Standard deviations in units of which it is, (n_rows,); of rows with none 1.
    conditional : bool
        What is told of the random effects.
    labels : Index, optional
        Of the rows.
    """
    check_count(n, "n")
    rows = len(y)
    below, equal = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
    total, spread, zeros = np.zeros(rows), [], []
    for block in draws.blocks(n, rng):
        below += np.count_nonzero(block < y, axis=0).astype(np.int32)
        equal += np.count_nonzero(block == y, axis=0).astype(np.int32)
        total += block.sum(axis=0)
        zeros.append(np.count_nonzero(block == 0, axis=1))
        difference = (block - center) / scale
        spread.append(np.einsum("bn,bn->b", difference, difference))
    residuals = (below + rng.random(rows) * (equal + 1.0)) / (n + 1.0)
    own = float((((y - center) / scale) ** 2).sum())
    return SimulatedResiduals(
        residuals=residuals,
        n=int(n),
        fitted=total / n,
        conditional=conditional,
        below=below,
        ties=equal,
        _spread=(own, np.concatenate(spread)),
        _zeros=(float(np.count_nonzero(y == 0)), np.concatenate(zeros).astype(float)),
        _labels=labels,
    )


def simulated_residuals(
    results: HasFitted, n: int = 250, rng: Any = None, conditional: bool = False
) -> SimulatedResiduals:
    """Residuals that are uniform where the model holds, by simulation from the fit.

    Parameters
    ----------
    n : int, optional
        Number of simulated responses.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    conditional : bool, optional
        Whether simulated responses have the fitted random effects (conditional modes), or
        new ones, so that the law of the random effects is looked at, too.

    Returns
    -------
    SimulatedResiduals
        With ``test_uniformity()``, ``test_dispersion()``, ``test_zero_inflation()``,
        ``test_outliers()`` and ``plot()``.

    Raises
    ------
    ValueError
        If ``n`` is no whole number, or the rows are not in memory.
    """
    check_count(n, "n")
    fitted = results.fitted
    draws, response = draws_of(fitted, conditional), response_of(fitted)
    center, scale = _marginal_law(fitted, draws, conditional)
    rows = fitted.need_rows()
    return simulated_ranks(
        draws,
        response.y,
        int(n),
        generator_of(rng),
        center=center,
        scale=scale,
        conditional=conditional,
        labels=rows.labels,
    )


def _marginal_law(fitted, draws, conditional):
    """Means and standard deviations of responses as the family counts them."""
    rows, family, response = fitted.need_rows(), draws.family, draws.response
    trials, weights = response.trials, response.weights
    if conditional:
        mean = family.mean(draws.eta)
        v = family.variance(mean, draws.kappa, trials)
        if weights is not None and family.law.weights_divide:
            v = v / weights
    else:
        v = random_variance(rows.terms, fitted.random.covariances, len(rows.exog))
        try:
            found = marginal_moments(family, draws.eta, v, draws.kappa, trials, weights)
            mean, v = found.mean, found.between + found.within
        except ValueError:  # a link without population averages: about u = 0
            mean = family.mean(draws.eta)
            v = family.variance(mean, draws.kappa)
    scale = np.sqrt(v)
    if trials is not None:
        mean, scale = trials * mean, trials * scale
    return mean, np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
