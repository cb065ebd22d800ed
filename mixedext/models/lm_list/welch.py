"""Welch's t test of one coefficient between two kinds of groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mixedext.arguments import confidence
from mixedext.tables.statistical_tests import TestResult

__all__ = ["WelchTest", "welch_test"]


@dataclass(frozen=True, kw_only=True)
class WelchTest(TestResult):
    """Welch's t test of a coefficient between two kinds of groups.

    Attributes
    ----------
    column : str
        The coefficient.
    levels : tuple
        The kinds compared, first minus second.
    statistic, df_denom, pvalue : float
        Student's t with Welch's degrees of freedom, two-sided.
    se : float
        Standard error of the difference.
    means : tuple of float
        Mean estimate of each kind.
    sizes : tuple of int
        Groups of each kind.
    n_left_out : int
        Groups of the two kinds that do not determine the coefficient.
    """

    column: str
    levels: tuple
    df_denom: float
    se: float
    means: tuple[float, float]
    sizes: tuple[int, int]
    n_left_out: int

    def __repr__(self) -> str:
        kinds = [
            f"{level}: mean {mean:.6g} of {size} groups"
            for level, mean, size in zip(self.levels, self.means, self.sizes, strict=True)
        ]
        lower, upper = self.conf_int()
        lines = [
            f"Welch's t test of {self.column}",
            *kinds,
            f"difference = {self.difference:.6g}, 95% interval {lower:.6g} to {upper:.6g}",
            f"t = {self.statistic:.4g}, df = {self.df_denom:.2f}, p = {self.pvalue:.4g}",
        ]
        if self.n_left_out:
            lines.append(f"groups that do not determine it, left out: {self.n_left_out}")
        return "\n".join(lines)

    @property
    def difference(self) -> float:
        """First mean minus second."""
        return self.means[0] - self.means[1]

    def conf_int(
        self, alpha: float = 0.05, *, level: float | None = None
    ) -> tuple[float, float]:
        """Confidence interval of the difference.

        Parameters
        ----------
        alpha : float, optional
            One minus the level of confidence.
        level : float, optional
            The level itself, in place of ``alpha``.

        Returns
        -------
        tuple of float

        Raises
        ------
        ValueError
            If the level does not lie between 0 and 1.
        """
        level = confidence(alpha, level)
        half = float(stats.t.isf((1 - level) / 2, self.df_denom)) * self.se
        return self.difference - half, self.difference + half


def welch_test(column: str, levels: tuple, samples: Sequence[np.ndarray]) -> WelchTest:
    """Welch's test of two samples of estimates by scipy, NaN left out.

    Parameters
    ----------
    column : str
        What was estimated.
    levels : tuple
        What the two samples are of.
    samples : sequence of ndarray
        Estimates, one a group.

    Returns
    -------
    WelchTest

    Raises
    ------
    ValueError
        If a sample has fewer than two estimates.
    """
    first, second = (sample[~np.isnan(sample)] for sample in samples)
    if min(len(first), len(second)) < 2:
        raise ValueError(
            f"{column!r} is estimated in {len(first)} and {len(second)} groups of "
            f"{levels[0]!r} and {levels[1]!r}; the test needs two of each"
        )
    test = stats.ttest_ind(first, second, equal_var=False)
    return WelchTest(
        column=column,
        levels=levels,
        statistic=float(test.statistic),
        df_denom=float(test.df),
        pvalue=float(test.pvalue),
        method="Welch",
        se=float(np.sqrt(sum(np.var(s, ddof=1) / len(s) for s in (first, second)))),
        means=(float(np.mean(first)), float(np.mean(second))),
        sizes=(len(first), len(second)),
        n_left_out=sum(map(len, samples)) - len(first) - len(second),
    )
