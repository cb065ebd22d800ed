"""What a simulation of the power of a test has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.arguments import confidence
from mixedext.tables.noted_table import NotedTable

__all__ = ["Power"]


@dataclass(frozen=True, eq=False)
class Power:
    """The power of a test at one or several sizes of a study, by simulation.

    Attributes
    ----------
    tested : str
        The term that is tested, and how.
    alpha : float
        Level of the test.
    sizes : DataFrame
        Levels and rows of each study: what was extended, and nobs.
    pvalues : ndarray
        Of all refits, (n, studies); NaN where one has failed.
    singular : ndarray
        Which refits were singular, (n, studies) bool.
    notes : tuple of str
        What the reader must know.
    """

    tested: str
    alpha: float
    sizes: pd.DataFrame
    pvalues: np.ndarray = field(repr=False)
    singular: np.ndarray = field(repr=False)
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def n(self) -> int:
        """Simulated responses of each study."""
        return len(self.pvalues)

    @property
    def n_failed(self) -> np.ndarray:
        """Refits without a p-value; they count as not significant, (studies,)."""
        return np.isnan(self.pvalues).sum(axis=0)

    @property
    def n_significant(self) -> np.ndarray:
        """Refits with a p-value below ``alpha``, (studies,)."""
        return (self.pvalues < self.alpha).sum(axis=0)

    @property
    def estimate(self) -> np.ndarray:
        """Share of them, the power of each study, (studies,)."""
        return self.n_significant / self.n

    def conf_int(self, alpha: float = 0.05, *, level: float | None = None) -> NotedTable:
        """Limits of the power for the finite number of simulations.

        Parameters
        ----------
        alpha : float, optional
            One minus the confidence level.
        level : float, optional
            Confidence level, in place of ``alpha``.

        Returns
        -------
        NotedTable
            lower, upper: the limits of Clopper and Pearson, which are exact.

        Raises
        ------
        ValueError
            If ``alpha`` or ``level`` does not lie between 0 and 1.

        References
        ----------
        Clopper and Pearson (1934), The use of confidence or fiducial limits illustrated
        in the case of the binomial, Biometrika 26, 404-413.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.sleepstudy.load().data
        >>> result = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
        >>> power = mx.power(result, "Days", fe_params={"Days": 2.0}, n=50, rng=1)
        >>> list(power.conf_int(level=0.9).columns)
        ['lower', 'upper']
        """
        tail, hits = (1 - confidence(alpha, level)) / 2, self.n_significant
        lower = stats.beta.ppf(tail, hits, self.n - hits + 1)
        upper = stats.beta.isf(tail, hits + 1, self.n - hits)
        limits = {
            "lower": np.where(hits == 0, 0.0, lower),
            "upper": np.where(hits == self.n, 1.0, upper),
        }
        frame = pd.DataFrame(limits, index=self.sizes.index)
        return NotedTable.of(frame, f"Limits of the power of {self.tested}")

    @property
    def table(self) -> NotedTable:
        """One row a study: its size, power, limits, simulations, failures, singular."""
        frame = self.sizes.copy()
        frame["estimate"] = self.estimate
        frame[["lower", "upper"]] = self.conf_int().to_numpy()
        frame["n"], frame["n_failed"] = self.n, self.n_failed
        frame["singular"] = self.singular.mean(axis=0)
        return NotedTable.of(frame, f"Power of {self.tested}", self.notes)

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()
