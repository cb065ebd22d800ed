"""Which combinations of the fixed effects the rows of the data determine.

Combinations are rows over all columns of the fixed part, those included that the fit
dropped because they depend on others.  A combination l'b is estimable if and only if l
lies in the row space of X (Searle 1971, Linear Models, 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from mixedext.engine.rows.basis import FixedBasis
from mixedext.limits import NO_RELATION, NOT_ESTIMABLE, ROW_ROUNDING

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
        Largest absolute value of each column of X; 1 for a column of zeros.
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
        size = np.abs(rows[:, self.dropped])
        size = size + np.abs(rows[:, self.kept]) @ np.abs(self.coefficients)
        # what is left of numbers that cancelled is small beside the whole row
        rest = np.outer(self.sizes(rows), self.scales[self.dropped])
        close = np.abs(self.excess(rows)) <= NOT_ESTIMABLE * size + ROW_ROUNDING * rest
        return close.all(axis=1) & np.isfinite(rows).all(axis=1)

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


def column_relations(exog: np.ndarray, basis: FixedBasis) -> ColumnRelations:
    """Relations among the columns of X, from X and the basis of those kept."""
    kept = np.asarray(basis.kept)
    dropped = np.setdiff1d(np.arange(exog.shape[1]), kept)
    coefficients = np.zeros((len(kept), len(dropped)))
    if len(dropped) and len(kept):
        inner, target = exog[:, kept], exog[:, dropped]
        # normal equations with R from the fit, and two steps of refinement
        for _ in range(3):
            rest = inner.T @ (target - inner @ coefficients)
            half = linalg.solve_triangular(basis.r, rest, trans="T")
            coefficients += linalg.solve_triangular(basis.r, half)
        small = np.abs(coefficients) * np.linalg.norm(inner, axis=0)[:, None]
        small = small <= NO_RELATION * np.linalg.norm(target, axis=0)
        coefficients[small] = 0.0
    scales = np.abs(exog).max(axis=0, initial=0.0)
    scales = np.where(scales > 0, scales, 1.0)
    return ColumnRelations(kept, dropped, coefficients, scales)
