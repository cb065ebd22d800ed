"""A simultaneous band of normal order statistics.

Order statistic i of n uniforms is beta(i, n + 1 - i).  Each stays within its quantiles at
one local level, which is such that all of them stay within theirs with the probability
wanted: a band that is as wide at the ends as it is in the middle, by probability.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

__all__ = ["normal_band"]

# Order statistics among which the band is simultaneous at most: all near the ends, and so
# many between, where neighbours say the same.
_ENDS, _BETWEEN = 100, 300


def normal_band(n: int, alpha: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Limits of all order statistics of n standard normal variables together.

    Parameters
    ----------
    n : int
        Number of variables.
    alpha : float, optional
        Probability that one of them leaves the band.

    Returns
    -------
    lower, upper : ndarray
        (n,) by ascending order.

    References
    ----------
    Aldor-Noiman, S., Brown, L. D., Buja, A., Rolke, W. and Stine, R. A. (2013). The power
    to see: a new graphical test of normality. The American Statistician 67, 249-260.

    Examples
    --------
    >>> from mixedext.inference.diagnostics.normal_band import normal_band
    >>> lower, upper = normal_band(1)
    >>> float(upper[0].round(3))
    1.96
    """
    local = _local_level(n, alpha)
    order = np.arange(1, n + 1)
    upper = -stats.norm.ppf(stats.beta.ppf(local / 2, n + 1 - order, order))
    return -upper[::-1], upper


def _local_level(n, alpha):
    """Level of each order statistic."""
    if n == 1:
        return alpha
    order = _chosen(n)
    low, high = alpha / len(order), alpha  # Bonferroni; a single one

    def miss(log_local):
        return _inside(order, n, np.exp(log_local)) - (1 - alpha)

    found = optimize.brentq(miss, np.log(low), np.log(high), xtol=1e-3)
    return float(np.exp(found))


def _chosen(n):
    if n <= 2 * _ENDS + _BETWEEN:
        return np.arange(1, n + 1)
    between = np.linspace(_ENDS, n + 1 - _ENDS, _BETWEEN + 2).round().astype(int)
    ends = np.arange(1, _ENDS + 1)
    return np.unique(np.concatenate([ends, between, n + 1 - ends]))


def _inside(order, n, local):
    """Probability that order statistics of n uniforms stay within their quantiles.

    The numbers of uniforms up to a sequence of times are those of a Poisson process of rate
    n, given that n have come at time 1 (Steck's problem, by Noe's kind of recursion).
    """
    lower = stats.beta.ppf(local / 2, order, n + 1 - order)
    upper = stats.beta.ppf(1 - local / 2, order, n + 1 - order)
    # before lower[i] at most order[i] - 1 have come, by upper[i] at least order[i]
    times = np.concatenate([lower, upper, [1.0]])
    most = np.concatenate([order - 1, np.full(len(order) + 1, n)])
    least = np.concatenate([np.zeros(len(order), int), order, [n]])
    sequence = np.argsort(times, kind="stable")
    most = np.minimum.accumulate(most[sequence][::-1])[::-1]
    least = np.maximum.accumulate(least[sequence])
    first, chance, before = 0, np.ones(1), 0.0
    for time, low, high in zip(times[sequence], least, most, strict=True):
        mean = n * (time - before)
        steps = np.arange(min(int(mean + 12 * np.sqrt(mean) + 25), high - first) + 1)
        chance = np.convolve(chance, stats.poisson._pmf(steps, mean))
        chance = chance[low - first : high - first + 1]
        if not len(chance):
            return 0.0
        first, before = low, time
    return float(chance[-1] / stats.poisson.pmf(n, n))
