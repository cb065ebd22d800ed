"""Confidence intervals of variance components and their ratio by analysis of variance.

References
----------
A. Wald (1940), A note on the analysis of variance with unequal class frequencies. Annals of
Mathematical Statistics 11, 96-100.
J. Seely and Y. El-Bassiouni (1983), Applying Wald's variance component test. Annals of
Statistics 11, 197-201.
J.S. Williams (1962), A confidence interval for variance components. Biometrika 49, 278-281.
J.W. Tukey (1951), Components in regression. Biometrics 7, 33-69.
F.E. Satterthwaite (1946), An approximate distribution of estimates of variance components.
Biometrics Bulletin 2, 110-114.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
from scipy import optimize, stats

from mixedext.inference.variances.interval_numbers import satterthwaite_limits
from mixedext.limits import RATIO_ACCURACY
from mixedext.models.anova_estimates.estimates import AnovaTable, OneFactor

__all__ = ["Interval", "factor_interval", "ratio_interval", "residual_interval"]


class Interval(NamedTuple):
    """Limits, and the name of what they rest on."""

    lower: float
    upper: float
    method: str


def residual_interval(table: AnovaTable, alpha: float) -> Interval:
    """Exact interval of the residual variance."""
    chi = stats.chi2.isf([alpha / 2, 1 - alpha / 2], table.df[-1])
    lower, upper = table.sum_sq[-1] / chi
    return Interval(lower, upper, "chi-square")


def ratio_interval(table: AnovaTable, alpha: float) -> Interval:
    """Exact interval of the one factor's variance divided by the residual's.

    The limits are the ratios at which the generalized sum of squares
    (`anova_estimates.OneFactor`) has F at a quantile; below zero they are zero.
    """
    df, below = table.df[-2:]
    quantiles = stats.f.isf([alpha / 2, 1 - alpha / 2], df, below)
    squares = quantiles * df * table.mean_sq[-1]
    factor = cast(OneFactor, table.one_factor)
    lower, upper = (_ratio_at(factor, s) for s in squares)
    return Interval(lower, upper, "F")


def _ratio_at(factor: OneFactor, square: float) -> float:
    """The ratio at which the sum of squares falls to a value."""
    if not factor.at_ratio(0.0) > square:
        return 0.0
    if square == 0:
        return np.inf
    upper = 1 / factor.sizes.max()
    while factor.at_ratio(upper) > square:
        upper *= 8
    return optimize.brentq(
        lambda ratio: factor.at_ratio(ratio) - square,
        0.0,
        upper,
        xtol=1e-300,
        rtol=RATIO_ACCURACY,
    )


def factor_interval(table: AnovaTable, i: int, alpha: float) -> Interval:
    """Interval of the variance of factor ``i``.

    Williams's and Tukey's for the one factor of a balanced design, else Satterthwaite's,
    from the standard error of the estimate.
    """
    if len(table.estimates) == 2 and table.balanced:
        df, below = table.df[-2:]
        quantiles = stats.f.isf([alpha / 2, 1 - alpha / 2], df, below)
        chi = stats.chi2.isf([alpha / 2, 1 - alpha / 2], df)
        limits = table.sum_sq[-2] - quantiles * df * table.mean_sq[-1]
        limits /= table.coefficients[-2, 0] * chi
        lower, upper = np.maximum(limits, 0.0)
        return Interval(lower, upper, "Williams-Tukey")
    estimate = table.estimates[i]
    if not estimate > 0:
        return Interval(np.nan, np.nan, "none: the estimate is not positive")
    error = np.sqrt(table.covariance()[i, i])
    lower, upper = satterthwaite_limits([estimate], [error], alpha)[0]
    return Interval(lower, upper, "Satterthwaite")
