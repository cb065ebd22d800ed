"""Parameters of replicates of a bootstrap, and limits from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from mixedext.algebra.deviations import standard_deviations
from mixedext.limits import WHOLE_COUNT
from mixedext.specification.covariance.linear import LinearStructure
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["INTERVALS", "covariance_parameters", "limits"]


def covariance_parameters(
    terms: Sequence[RandomTerm | SparseTerm], theta: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Standard deviations and correlations of all terms, and sigma, of each replicate.

    Parameters
    ----------
    terms : sequence of RandomTerm or SparseTerm
        The random terms.
    theta : ndarray
        Relative covariance factors, (R, n_theta).
    scale : ndarray
        Residual variances, (R,).

    Returns
    -------
    ndarray
        (R, count), in the order of ``covariance_names``; correlations with an effect of no
        variance are NaN.
    """
    sigma, columns = np.sqrt(scale), []
    for term, lam in zip(terms, relative_factors(terms, theta), strict=True):
        form = term.structure
        if not isinstance(form, LinearStructure):
            eta, plain = form.gamma(lam @ lam.transpose(0, 2, 1)), form.is_variance
            columns += [
                np.sqrt(eta[:, r]) * sigma if plain[r] else eta[:, r]
                for r in range(len(plain))
            ]
            continue
        relative = np.sqrt((lam**2).sum(axis=2))
        for a, b in form.pairs:
            if a == b:
                columns.append(relative[:, a] * sigma)
                continue
            both = relative[:, a] * relative[:, b]
            product = (lam[:, a] * lam[:, b]).sum(axis=1)
            value = np.divide(product, both, out=np.full_like(both, np.nan), where=both > 0)
            columns.append(value.clip(-1.0, 1.0))
    return np.column_stack([*columns, sigma])


def relative_factors(
    terms: Sequence[RandomTerm | SparseTerm], theta: np.ndarray
) -> list[np.ndarray]:
    """Relative covariance factors lam of each term, (R, k, k)."""
    start, out = 0, []
    for term in terms:
        own = theta[:, start : start + term.structure.n_theta]
        out.append(term.structure.lam(own))
        start += term.structure.n_theta
    return out


def _percentile(values, estimate, level):
    tails = [(1 - level) / 2, (1 + level) / 2]
    # order statistics at (n + 1) p, as Davison and Hinkley (1997), section 5.3
    return np.quantile(values, tails, method="weibull")


def _basic(values, estimate, level):
    low, high = _percentile(values, estimate, level)
    return 2 * estimate - high, 2 * estimate - low


def _normal(values, estimate, level):
    center = 2 * estimate - values.mean()
    margin = stats.norm.ppf((1 + level) / 2) * standard_deviations(values, 1)
    return center - margin, center + margin


def _shortest(values, estimate, level):
    values = np.sort(values)
    count = int(np.ceil(level * len(values) - WHOLE_COUNT))  # 0.55 * 100 is more than 55
    low, high = values[: len(values) - count + 1], values[count - 1 :]
    at = int(np.argmin(high - low))
    return low[at], high[at]


INTERVALS: dict[str, Callable] = {
    "percentile": _percentile,
    "basic": _basic,
    "normal": _normal,
    "shortest": _shortest,
}


def limits(
    values: np.ndarray, estimate: float, level: float, method: str
) -> tuple[float, float]:
    """Lower and upper limit of a parameter from its replicates.

    Parameters
    ----------
    values : ndarray
        Replicates, (R,), none of them NaN.
    estimate : float
        The estimate.
    level : float
        Confidence level.
    method : {"percentile", "basic", "normal", "shortest"}
        Kind of the interval.

    Returns
    -------
    tuple of float
        NaN with fewer than two replicates.
    """
    if len(values) < 2:
        return np.nan, np.nan
    low, high = INTERVALS[method](values, estimate, level)
    return float(low), float(high)
