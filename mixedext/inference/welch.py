"""Welch's t test of one coefficient between two kinds of groups."""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats

__all__ = ["WelchTest"]


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
    means: tuple[float, float]
    sizes: tuple[int, int]
    n_left_out: int

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
        """
        half = stats.t.isf(alpha / 2, self.df) * self.difference / self.statistic
        return self.difference - abs(half), self.difference + abs(half)
