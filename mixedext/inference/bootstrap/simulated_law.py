"""Laws of a likelihood-ratio statistic from draws under the hypothesis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from mixedext.engine.rows.design import Design
from mixedext.limits import SAME_STATISTIC

__all__ = ["SimulatedLaw", "linear_log_likelihoods"]


@dataclass(frozen=True, eq=False)
class SimulatedLaw:
    """Laws of a likelihood-ratio statistic from draws under the hypothesis.

    Attributes
    ----------
    statistic : float
        Observed.
    draws : ndarray
        Simulated; NaN or infinite where a fit failed.
    df : int
        Parameters that the hypothesis fixes.

    References
    ----------
    Halekoh and Hojsgaard (2014), A Kenward-Roger approximation and parametric bootstrap
    methods for tests in linear mixed models, Journal of Statistical Software 59(9).
    Davison and Hinkley (1997), Bootstrap Methods and their Application, section 4.2.
    """

    statistic: float
    draws: np.ndarray
    df: int

    @property
    def n_extreme(self) -> int:
        """Draws as large as the statistic or larger, and failures."""
        slack = SAME_STATISTIC * max(abs(self.statistic), 1.0)
        return int(np.count_nonzero(~(self.draws < self.statistic - slack)))

    @property
    def pvalue(self) -> float:
        """(b + 1) / (B + 1)."""
        return (self.n_extreme + 1) / (len(self.draws) + 1)

    @property
    def _sound(self):
        return self.draws[np.isfinite(self.draws)]

    def laws(self) -> dict[str, tuple[float, float, float, float]]:
        """Statistic, degrees of freedom and p-value of every approximation.

        Returns
        -------
        dict
            Name to (statistic, df_num, df_denom, p); infinite or NaN where there is none.
        """
        t, df, draws = self.statistic, self.df, self._sound
        laws: dict[str, tuple[float, float, float, float]] = {
            "LRT": (t, df, np.nan, stats.chi2.sf(t, df)),
            "parametric bootstrap": (t, np.nan, np.nan, self.pvalue),
        }
        mean = draws.mean() if len(draws) else 0.0
        variance = draws.var(ddof=1) if len(draws) > 1 else 0.0
        if mean == 0 or variance == 0:  # no law has these moments
            none = (np.nan, np.nan, np.nan, np.nan)
            return laws | dict.fromkeys(["Bartlett", "gamma", "F"], none)
        ratio = mean / df
        # F with df and m has mean m / (m - 2); none has a mean of 1 or less
        denominator = 2 * ratio / (ratio - 1) if ratio > 1 else np.inf
        gamma = stats.gamma.sf(t, mean**2 / variance, scale=variance / mean)
        return laws | {
            "Bartlett": (t / ratio, df, np.nan, stats.chi2.sf(t / ratio, df)),
            "gamma": (t, np.nan, np.nan, gamma),
            "F": (t / df, df, denominator, stats.f.sf(t / df, df, denominator)),
        }


def linear_log_likelihoods(
    design: Design,
    x: np.ndarray,
    weights: np.ndarray | None,
    y: np.ndarray,
    reml: bool,
) -> np.ndarray:
    """Log-likelihoods of a model without random effects, for responses (n, R).

    Parameters
    ----------
    design : Design
        Of the model.
    x : ndarray
        All its fixed-effects columns.
    weights : ndarray or None
        Weights of the rows.
    y : ndarray
        Responses less offset.
    reml : bool
        Restricted or ordinary likelihood.
    """
    x, n, rank = x[:, design.basis.kept], len(y), design.basis.rank
    if weights is not None:
        root = np.sqrt(weights)[:, None]
        x, y = x * root, y * root
    q = np.linalg.qr(x)[0]
    residual = y - q @ (q.T @ y)
    residual -= q @ (q.T @ residual)
    dof = n - rank if reml else n
    square = np.einsum("ir,ir->r", residual, residual)
    deviance = dof * (1 + np.log(2 * np.pi * square / dof)) - design.log_weights
    return -0.5 * (deviance + (2.0 * design.basis.log_det if reml else 0.0))
