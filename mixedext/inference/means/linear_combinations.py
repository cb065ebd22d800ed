"""Linear combinations of the fixed effects: estimates and joint tests.

Combinations are rows over all columns of the fixed part, those included that the fit
dropped; which can be estimated says ``engine.rows.estimability``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mixedext.engine.fit import Fit
from mixedext.engine.rows.estimability import ColumnRelations
from mixedext.exceptions import NotEstimableError
from mixedext.inference.fixed_effects.df_methods import FixedTests, FTest
from mixedext.limits import ROWS_RANK, ZERO_ROW

__all__ = [
    "LinearEstimates",
    "combined",
    "independent_count",
    "joint_test",
    "linear_estimates",
]


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


def combined(coefficients: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Combinations of rows, NaN only of those that a coefficient other than zero takes.

    Parameters
    ----------
    coefficients : ndarray
        (m, k).
    rows : ndarray
        (k, ...); a row that has NaN is one that does not exist.
    """
    lost = ~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)
    out = coefficients @ np.where(lost.reshape(-1, *[1] * (rows.ndim - 1)), 0.0, rows)
    out[(coefficients[:, lost] != 0).any(axis=1)] = np.nan
    return out


def linear_estimates(
    rows: Any, shift: Any, fit: Fit, tests: FixedTests, relations: ColumnRelations
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
    rows: Any, values: Any, tests: FixedTests, relations: ColumnRelations
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
    rows = rows[size > ZERO_ROW]
    if not len(rows):
        return 0
    return int(np.linalg.matrix_rank(rows, tol=ROWS_RANK * max(rows.shape)))
