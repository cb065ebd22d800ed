"""p-values and critical values of a family of t statistics, adjusted for multiplicity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import interpolate, optimize, stats
from statsmodels.stats.multitest import multipletests

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.algebra.roots import pivoted_root
from mixedext.arguments import did_you_mean
from mixedext.limits import NO_DIMENSION, QUANTILE_ACCURACY

__all__ = ["ADJUSTMENTS", "Family", "adjustment_name"]

ADJUSTMENTS = (
    "tukey",
    "dunnettx",
    "mvt",
    "scheffe",
    "sidak",
    "bonferroni",
    "holm",
    "hochberg",
    "hommel",
    "fdr",
    "fdr_by",
    "none",
)
_ALIASES = {
    None: "none",
    "bonf": "bonferroni",
    "bh": "fdr",
    "fdr_bh": "fdr",
    "by": "fdr_by",
    "scheffé": "scheffe",
    "šidák": "sidak",
    "dunnett": "mvt",
    "hsd": "tukey",
}
# As multipletests calls them; these have no simultaneous limits of their own.
_STEPWISE = {
    "holm": "holm",
    "hochberg": "simes-hochberg",
    "hommel": "hommel",
    "fdr": "fdr_bh",
    "fdr_by": "fdr_by",
}
# Directions for the multivariate t, as a power of 2, and the seed of their scrambling:
# results repeat to the last digit.
_DIRECTIONS, _SEED = 17, 20240501
# Values of 1 / df at which critical values are computed where more occur.
_NODES = 12


def adjustment_name(name: str | None) -> str:
    """The adjustment that a name or an alias stands for.

    Raises
    ------
    ValueError
        If it is not known.
    """
    key = name.lower() if isinstance(name, str) else name
    key = _ALIASES.get(key, key)
    if key not in ADJUSTMENTS:
        known = ", ".join(map(repr, ADJUSTMENTS))
        if key in ("lsd", "fisher"):
            known += "; least significant differences are 'none'"
        raise ValueError(
            f"adjust={name!r} is not known; use one of {known}"
            f"{did_you_mean(name, [*ADJUSTMENTS, *_ALIASES])}"
        )
    return key


@dataclass(frozen=True, eq=False)
class Family:
    """Tests or intervals that are adjusted together.

    Attributes
    ----------
    df : ndarray
        Degrees of freedom of each, infinite for the normal law; NaN for those that
        cannot be estimated.  They count as tests, as in emmeans, but for mvt.
    size : int
        Number of means compared, for Tukey's method.
    rank : int
        Of the combinations, for Scheffe's method.
    covariance : ndarray
        Of the estimates, for the multivariate t.

    Notes
    -----
    With p the unadjusted p-value of a statistic t on nu degrees of freedom, in a family of
    m tests:

    * tukey: the range of ``size`` independent normal means, q = sqrt(2) |t|;
    * scheffe: t^2 / rank against F(rank, nu);
    * sidak, bonferroni: 1 - (1 - p)^m, m p;
    * mvt (dunnett): P(max |T_i| > |t|), T multivariate t with the correlations of the
      estimates, which may be singular: the F tail of the radius, averaged over directions
      (Deak 1980; Somerville 1997) of scipy's Sobol sequence with a fixed seed.  The error
      is about 2e-5 with 5 estimates, 7e-5 with 10 and 4e-4 with 20 (mvtnorm, which emmeans
      uses, asks for 1e-3); with one or two dimensions there is none to speak of;
    * dunnettx: an approximation to that for correlations of 1/2: the weighted mean, with
      weights (m - 1)/m and 1/m, of Tukey's p-value for the number of means
      (1 + sqrt(1 + 8 m))/2 that have m pairs, and of Sidak's;
    * holm, hochberg, hommel, fdr (Benjamini-Hochberg), fdr_by: stepwise, by statsmodels'
      ``multipletests``.  Their confidence limits are Bonferroni's.
    """

    df: np.ndarray
    size: int
    rank: int
    covariance: np.ndarray

    @property
    def n_tests(self) -> int:
        """Number of tests, those included that cannot be estimated."""
        return len(self.df)

    def pvalues(self, statistic: np.ndarray, adjust: str) -> np.ndarray:
        """Adjusted two-sided p-values; NaN where the statistic is."""
        out = np.full(len(statistic), np.nan)
        good = np.isfinite(statistic)
        size = np.abs(statistic[good])
        single = 2 * stats.t.sf(size, self.df[good])
        if not good.any():
            return out
        if adjust in _STEPWISE:
            # those that cannot be estimated count as tests with p = 1
            padded = np.ones(self.n_tests)
            padded[: len(single)] = single
            adjusted = multipletests(padded, method=_STEPWISE[adjust])[1]
            out[good] = adjusted[: len(single)]
        else:
            out[good] = [
                self._tail(t, p, df, adjust)
                for t, p, df in zip(size, single, self.df[good], strict=True)
            ]
        return out

    def _tail(self, t, single, df, adjust):
        """P-value of one statistic."""
        count = self.n_tests
        if adjust == "none" or (count == 1 and adjust in ("mvt", "dunnettx")):
            return single
        if adjust == "tukey":
            return stats.studentized_range.sf(np.sqrt(2) * t, self.size, df)
        if adjust == "scheffe":
            return _f_law(self.rank, df).sf(t**2)
        if adjust == "sidak":
            return -np.expm1(count * np.log1p(-single)) if single < 1 else 1.0
        if adjust == "bonferroni":
            return min(1.0, count * single)
        if adjust == "dunnettx":
            means = (1 + np.sqrt(1 + 8 * count)) / 2
            tukey = stats.studentized_range.sf(np.sqrt(2) * t, means, df)
            sidak = -np.expm1(count * np.log1p(-single)) if single < 1 else 1.0
            return ((count - 1) * tukey + sidak) / count
        return self._beyond(t, df)

    @cached_property
    def _reach(self):
        """Rank r of the correlations, and max |a_i'u| at directions u of the r-sphere.

        With T = A z / s, z = rho u: the law of (rho / s)^2 / r is F(r, df), whatever u.
        """
        spread = np.diag(self.covariance)
        good = np.isfinite(spread) & (spread > 0)
        correlations, _ = unit_diagonal(self.covariance[np.ix_(good, good)])
        root, _ = pivoted_root(correlations, NO_DIMENSION)
        rank = root.shape[1]
        if rank == 1:
            return 1, np.ones(1)
        if rank == 2:
            angles = np.pi * (np.arange(2**_DIRECTIONS) + 0.5) / 2**_DIRECTIONS
            directions = np.column_stack([np.cos(angles), np.sin(angles)])
        else:
            points = stats.qmc.Sobol(rank, seed=_SEED).random_base2(_DIRECTIONS)
            directions = stats.norm.ppf(points)
            directions /= np.linalg.norm(directions, axis=1)[:, None]
        reach = np.zeros(len(directions))
        for row in root:
            np.maximum(reach, np.abs(directions @ row), out=reach)
        return rank, reach

    def _beyond(self, t, df):
        """P(max |T_i| > t) of the multivariate t."""
        rank, reach = self._reach
        return float(_f_law(rank, df).sf((t / reach) ** 2).mean())

    def critical(self, level: float, adjust: str) -> np.ndarray:
        """Multiples of the standard errors that simultaneous limits are away."""
        out = np.full(len(self.df), np.nan)
        good = np.isfinite(np.diag(self.covariance)) & (self.df > 0)
        distinct, place = np.unique(self.df[good], return_inverse=True)
        if len(distinct) <= _NODES or adjust == "none":
            found = [self._quantile(level, df, adjust) for df in distinct]
        else:
            # a smooth function of 1 / df, and costly for some adjustments
            low, high = 1 / distinct[-1], 1 / distinct[0]
            nodes = np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)
            nodes = low + (high - low) * (nodes + 1) / 2
            values = [self._quantile(level, 1 / node, adjust) for node in nodes]
            found = interpolate.BarycentricInterpolator(nodes, values)(1 / distinct)
        out[good] = np.asarray(found)[place]
        return out

    def _quantile(self, level, df, adjust):
        count = self.n_tests
        if adjust in _STEPWISE:
            adjust = "bonferroni"
        if adjust == "none" or (count == 1 and adjust in ("mvt", "dunnettx")):
            return stats.t.isf((1 - level) / 2, df)
        if adjust == "tukey":
            return stats.studentized_range.ppf(level, self.size, df) / np.sqrt(2)
        if adjust == "scheffe":
            return np.sqrt(_f_law(self.rank, df).isf(1 - level))
        if adjust == "sidak":
            return stats.t.isf(-np.expm1(np.log(level) / count) / 2, df)
        bonferroni = stats.t.isf((1 - level) / 2 / count, df)
        if adjust == "bonferroni":
            return bonferroni
        lowest = stats.t.isf((1 - level) / 2, df)
        return optimize.brentq(
            lambda t: self._tail(t, 2 * stats.t.sf(t, df), df, adjust) - (1 - level),
            0.99 * lowest,
            1.01 * bonferroni,
            xtol=QUANTILE_ACCURACY,
        )


def _f_law(rank, df):
    """Law of rank times an F on ``rank`` and ``df`` degrees of freedom."""
    return stats.chi2(rank) if np.isinf(df) else stats.f(rank, df, scale=rank)
