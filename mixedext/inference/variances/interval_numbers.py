"""Intervals of standard deviations and correlations from the information about variances.

With v an estimated variance of standard error s (observed information):

* log:  sd = sqrt(v) has standard error s / (2 sd) (delta method) and log sd s / (2 v); a
  correlation r of standard error t has limits tanh(atanh r -+ z t / (1 - r^2)) (Fisher);
* Satterthwaite (1946): df v / sigma_true^2 is taken as chi-squared with df = 2 v^2 / s^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

__all__ = ["log_limits", "satterthwaite_df", "satterthwaite_limits", "sd_and_correlation"]


def sd_and_correlation(
    values: np.ndarray, pairs: Sequence[tuple[int, ...] | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations and correlations of (co)variances, and their derivatives.

    Parameters
    ----------
    values : ndarray
        Variances, covariances and correlations.
    pairs : sequence of tuple
        For each value None (a variance), the numbers of the two variances that a
        covariance belongs to, or nothing, (), of a correlation.

    Returns
    -------
    transformed : ndarray
        Standard deviation, or correlation; NaN where a variance is zero.
    jacobian : ndarray
        Of ``transformed`` in ``values``.
    """
    count = len(values)
    out, jacobian = np.full(count, np.nan), np.full((count, count), 0.0)
    for i, pair in enumerate(pairs):
        if pair is None:
            out[i] = np.sqrt(values[i])
            jacobian[i, i] = 0.5 / out[i] if out[i] > 0 else np.nan
            continue
        if not pair:
            out[i], jacobian[i, i] = values[i], 1.0
            continue
        a, b = pair
        # the product of the variances of huge or tiny responses would overflow
        both = np.sqrt(values[a]) * np.sqrt(values[b])
        if not both > 0:
            jacobian[i, i] = np.nan
            continue
        out[i] = values[i] / both
        jacobian[i, i] = 1 / both
        jacobian[i, a] = -0.5 * out[i] / values[a]
        jacobian[i, b] = -0.5 * out[i] / values[b]
    return out, jacobian


def log_limits(
    estimate: np.ndarray, error: np.ndarray, is_correlation: np.ndarray, alpha: float
) -> np.ndarray:
    """Wald limits on the logarithm of a standard deviation, or Fisher's z.

    Parameters
    ----------
    estimate, error : ndarray
        Estimates and standard errors; NaN where there is none.
    is_correlation : ndarray of bool
        Which are correlations.
    alpha : float
        One minus the confidence level.
    """
    z = stats.norm.ppf(1 - alpha / 2)
    out = np.empty((len(estimate), 2))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for side, sign in enumerate((-1, 1)):
            sd = estimate * np.exp(sign * z * error / estimate)
            move = sign * z * error / (1 - estimate**2)
            correlation = np.tanh(np.arctanh(estimate) + move)
            out[:, side] = np.where(is_correlation, correlation, sd)
    return out


def satterthwaite_df(variance: Any, error: Any) -> np.ndarray:
    """Degrees of freedom 2 v^2 / s^2 of estimated variances."""
    with np.errstate(divide="ignore", invalid="ignore"):
        # squares of variances of tiny columns would overflow
        return 2 * np.square(np.asarray(variance, float) / error)


def satterthwaite_limits(variance: Any, error: Any, alpha: float) -> np.ndarray:
    """Chi-squared limits of variances, (count, 2)."""
    variance = np.asarray(variance, float)
    df = satterthwaite_df(variance, error)
    upper = stats.chi2.ppf(alpha / 2, df)
    lower = stats.chi2.ppf(1 - alpha / 2, df)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.column_stack([df * variance / lower, df * variance / upper])
