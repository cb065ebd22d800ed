"""Welch's t test of one coefficient between two kinds of groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from mixedext.arguments import check_probability

__all__ = ["WelchTest", "welch_test"]


@dataclass(frozen=True)
class WelchTest:
    """Welch's t test of a coefficient between two kinds of groups.

    Attributes
    ----------
    column : str
        The coefficient.
    levels : tuple
        The kinds compared, first minus second.
    statistic, df, pvalue : float
        Student's t with Welch's degrees of freedom, two-sided.
    std_err : float
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
    statistic: float
    df: float
    pvalue: float
    std_err: float
    means: tuple[float, float]
    sizes: tuple[int, int]
    n_left_out: int

    def __repr__(self):
        kinds = [
            f"{level}: mean {mean:.6g} of {size} groups"
            for level, mean, size in zip(self.levels, self.means, self.sizes, strict=True)
        ]
        lower, upper = self.conf_int()
        lines = [
            f"Welch's t test of {self.column}",
            *kinds,
            f"difference = {self.difference:.6g}, 95% interval {lower:.6g} to {upper:.6g}",
            f"t = {self.statistic:.4g}, df = {self.df:.2f}, p = {self.pvalue:.4g}",
        ]
        if self.n_left_out:
            lines.append(f"groups that do not determine it, left out: {self.n_left_out}")
        return "\n".join(lines)

    @property
    def difference(self) -> float:
        """First mean minus second."""
        return self.means[0] - self.means[1]

    def conf_int(self, alpha: float = 0.05) -> tuple[float, float]:
        """Confidence interval of the difference.

        Parameters
        ----------
        alpha : float, optional
            One minus the level of confidence.

        Returns
        -------
        tuple of float

        Raises
        ------
        ValueError
            If ``alpha`` does not lie between 0 and 1.
        """
        check_probability(alpha, "alpha")
        half = float(stats.t.isf(alpha / 2, self.df)) * self.std_err
        return self.difference - half, self.difference + half


def welch_test(column: str, levels: tuple, samples) -> WelchTest:
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
    kept = [sample[~np.isnan(sample)] for sample in samples]
    if min(map(len, kept)) < 2:
        raise ValueError(
            f"{column!r} is estimated in {len(kept[0])} and {len(kept[1])} groups of "
            f"{levels[0]!r} and {levels[1]!r}; the test needs two of each"
        )
    test = stats.ttest_ind(*kept, equal_var=False)
    return WelchTest(
        column=column,
        levels=levels,
        statistic=float(test.statistic),
        df=float(test.df),
        pvalue=float(test.pvalue),
        std_err=float(np.sqrt(sum(np.var(s, ddof=1) / len(s) for s in kept))),
        means=tuple(float(np.mean(s)) for s in kept),
        sizes=tuple(map(len, kept)),
        n_left_out=sum(map(len, samples)) - sum(map(len, kept)),
    )
