"""Linear combinations of the fixed effects: estimability, estimates, joint tests.

Combinations are rows over all columns of the fixed part, those included that the fit
dropped because they depend on others.  A combination l'b is estimable if and only if l
lies in the row space of X (Searle 1971, Linear Models, 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from mixedext.engine.basis import FixedBasis
from mixedext.engine.fit import Fit
from mixedext.exceptions import NotEstimableError
from mixedext.inference.fixed_tests import FixedTests, FTest

__all__ = [
    "ColumnRelations",
    "LinearEstimates",
    "column_relations",
    "joint_test",
    "linear_estimates",
]

# A difference this small beside the numbers it comes from is rounding: columns are told
# dependent at 1e-7 of their length (engine.basis).
TOLERANCE = 1e-7
ROUNDING = 1e-11


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
        close = np.abs(self.excess(rows)) <= TOLERANCE * size + ROUNDING * rest
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
        rank = int((sizes > TOLERANCE).sum())
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
        small = small <= 1e-10 * np.linalg.norm(target, axis=0)
        coefficients[small] = 0.0
    scales = np.abs(exog).max(axis=0, initial=0.0)
    scales = np.where(scales > 0, scales, 1.0)
    return ColumnRelations(kept, dropped, coefficients, scales)


@dataclass(frozen=True, eq=False)
class LinearEstimates:
    """Estimates of combinations of the fixed effects.

    Attributes
    ----------
    rows : ndarray
        Combinations over all columns, (m, k).
    shift : ndarray
        Known part that is added to each (offset), (m,).
    estimable : ndarray
        Which are estimable, (m,) bool; the others have NaN below.
    estimate, df : ndarray
        Estimates and their degrees of freedom, (m,).
    covariance : ndarray
        Of the estimates, (m, m).
    """

    rows: np.ndarray
    shift: np.ndarray
    estimable: np.ndarray
    estimate: np.ndarray
    df: np.ndarray
    covariance: np.ndarray

    @cached_property
    def error(self) -> np.ndarray:
        """Standard errors, (m,)."""
        return np.sqrt(np.diag(self.covariance))


def linear_estimates(
    rows, shift, fit: Fit, tests: FixedTests, relations: ColumnRelations
) -> LinearEstimates:
    """Estimate combinations; those that are not estimable get NaN.

    Parameters
    ----------
    rows : array_like
        Combinations over all columns, (m, k).
    shift : array_like
        Known part of each, (m,).
    fit : Fit
        The fitted model.
    tests : FixedTests
        Covariance and degrees of freedom by some method.
    relations : ColumnRelations
        Of the dropped columns to the others.

    Returns
    -------
    LinearEstimates
    """
    rows, shift = np.atleast_2d(np.asarray(rows, float)), np.asarray(shift, float)
    good = relations.estimable(rows)
    own = rows[np.ix_(good, relations.kept)]
    estimate, df = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    covariance = np.full((len(rows), len(rows)), np.nan)
    estimate[good] = own @ fit.coefficients + shift[good]
    between = tests.spread(own)
    covariance[np.ix_(good, good)] = (between + between.T) / 2
    moving = good.copy()
    moving[good] = np.abs(own).max(axis=1, initial=0.0) > 0
    if moving.any():
        df[moving] = tests.df(rows[np.ix_(moving, relations.kept)])
    return LinearEstimates(rows, shift, good, estimate, df, covariance)


def joint_test(
    rows, values, tests: FixedTests, relations: ColumnRelations
) -> tuple[FTest, int]:
    """F test that estimable combinations have given values, and how many were lost.

    Parameters
    ----------
    rows : array_like
        Combinations over all columns, (m, k); their estimable part is tested.
    values : float
        What they equal under the null hypothesis; 0 if some are not estimable.
    tests : FixedTests
        By some method for the degrees of freedom.
    relations : ColumnRelations
        Of the dropped columns to the others.

    Returns
    -------
    test : FTest
    lost : int
        Degrees of freedom that are not estimable.

    Raises
    ------
    NotEstimableError
        If nothing of the combinations is estimable.
    """
    rows = np.atleast_2d(np.asarray(rows, float))
    part = relations.estimable_part(rows)
    full = rows[np.isfinite(rows).all(axis=1)]
    rank = independent_count(full)
    own = part[:, relations.kept]
    if len(own) == 0 or independent_count(own) == 0:
        raise NotEstimableError("none of the combinations can be estimated")
    if len(part) < len(full) and np.any(values):
        raise NotEstimableError(
            "combinations that are not estimable can only be tested against zero"
        )
    test = tests.f_test(own, values)
    return test, rank - test.df_num


def independent_count(rows: np.ndarray) -> int:
    """Rank of rows, each column on its own scale."""
    size = np.abs(rows).max(axis=0, initial=0.0)
    rows = rows / np.where(size > 0, size, 1.0)
    size = np.abs(rows).max(axis=1, initial=0.0)
    rows = rows[size > 1e-10]
    return int(np.linalg.matrix_rank(rows, tol=1e-9 * max(rows.shape))) if len(rows) else 0
