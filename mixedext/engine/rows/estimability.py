"""Which combinations of the fixed effects the rows of the data determine.

Combinations are rows over all columns of the fixed part, those included that the fit
dropped because they depend on others.  A combination l'b is estimable if and only if l
lies in the row space of X (Searle 1971, Linear Models, 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixedext.engine.rows.basis import FixedBasis
from mixedext.limits import NOT_ESTIMABLE, ROW_ROUNDING

__all__ = ["ColumnRelations", "column_relations"]


@dataclass(frozen=True, eq=False)
class ColumnRelations:
    """How the columns that were dropped depend on those kept: X_d = X_k A.

    Attributes
    ----------
    kept, dropped : ndarray
        Numbers of the columns.
    coefficients : ndarray
        A, shape (kept, dropped).
    scales : ndarray
        Root mean square of each column of X; 1 for a column of zeros.
    """

    kept: np.ndarray
    dropped: np.ndarray
    coefficients: np.ndarray
    scales: np.ndarray

    def sizes(self, rows: np.ndarray) -> np.ndarray:
        """How large rows are in units of the columns, (m,)."""
        return np.abs(rows / self.scales).max(axis=1, initial=0.0)

    def excess(self, rows: np.ndarray) -> np.ndarray:
        """l_d - A'l_k, which is zero for estimable rows, (m, dropped)."""
        return rows[:, self.dropped] - rows[:, self.kept] @ self.coefficients

    def estimable(self, rows: np.ndarray) -> np.ndarray:
        """Which rows are estimable, (m,) bool; one with NaN is not."""
        return self._close(rows).all(axis=1) & np.isfinite(rows).all(axis=1)

    def unknown(self, rows: np.ndarray) -> np.ndarray:
        """Numbers of the dropped columns for which some of the rows are not estimable."""
        return self.dropped[~self._close(rows).all(axis=0)]

    def _close(self, rows):
        """Where the excess is zero but for rounding, (m, dropped) bool."""
        size = np.abs(rows[:, self.dropped])
        size = size + np.abs(rows[:, self.kept]) @ np.abs(self.coefficients)
        # what is left of numbers that cancelled is small beside the whole row
        rest = np.outer(self.sizes(rows), self.scales[self.dropped])
        return np.abs(self.excess(rows)) <= NOT_ESTIMABLE * size + ROW_ROUNDING * rest

    def estimable_part(self, rows: np.ndarray) -> np.ndarray:
        """Combinations of the rows that are estimable, as many as there are."""
        rows = rows[np.isfinite(rows).all(axis=1)]
        if len(self.dropped) == 0 or self.estimable(rows).all():
            return rows
        size = self.sizes(rows)
        rows = rows[size > 0] / size[size > 0, None]
        excess = self.excess(rows) / self.scales[self.dropped]
        left, sizes, _ = np.linalg.svd(excess)
        rank = int((sizes > NOT_ESTIMABLE).sum())
        return left[:, rank:].T @ rows


def column_relations(basis: FixedBasis, nobs: int) -> ColumnRelations:
    """Relations among the columns of X, from the basis of those kept; needs no rows."""
    kept, coefficients = np.asarray(basis.kept), basis.dependence
    count = sum(coefficients.shape)
    dropped = np.setdiff1d(np.arange(count), kept)
    length = np.zeros(count)
    length[kept] = np.linalg.norm(basis.r, axis=0)
    length[dropped] = np.linalg.norm(basis.r @ coefficients, axis=0)
    scales = length / np.sqrt(nobs)
    scales = np.where(scales > 0, scales, 1.0)
    return ColumnRelations(kept, dropped, coefficients, scales)
