"""Hypothesis matrices of terms and of smaller models; likelihood-ratio tests.

Hypotheses are rows over the coefficients that a fit kept.  They are found in the
coordinates of an orthonormal basis, X = Q R, where they are well conditioned whatever the
units of the columns are, and then multiplied by R.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg, stats

from mixedext.inference.submodels.row_basis import (
    column_rank,
    column_space,
    independent_columns,
    padded_svd,
)
from mixedext.limits import SPACE_RANK
from mixedext.tables.statistical_tests import TestResult

__all__ = [
    "adjusted_hypothesis",
    "likelihood_ratio_test",
    "marginal_hypothesis",
    "precision_root",
    "sequential_hypotheses",
]


def sequential_hypotheses(
    r: np.ndarray, parts: Sequence[Sequence[int]]
) -> list[np.ndarray]:
    """Type I: each part adjusted for the parts before it.

    With X = QR, in the order of the parts, the sequential sum of squares of a part is
    that of its rows of R b.  They are divided by the diagonal (Doolittle's factor of
    X'X), as lmerTest's are: Satterthwaite's joint df depend on the rows' form.

    Parameters
    ----------
    r : ndarray
        X'X = r'r, (p, p).
    parts : sequence of sequence of int
        Columns of each part in their order; together all columns, each once.

    Returns
    -------
    list of ndarray
        Rows of each part, (len(part), p).
    """
    order = np.array([j for part in parts for j in part], np.intp)
    triangle = linalg.qr(r[:, order], mode="economic")[1] if len(order) else r
    rows = np.zeros_like(triangle)
    rows[:, order] = triangle / np.diag(triangle)[:, None]
    ends = np.cumsum([len(part) for part in parts])
    return [rows[e - len(part) : e] for e, part in zip(ends, parts, strict=True)]


def adjusted_hypothesis(
    r: np.ndarray, before: Sequence[int], own: Sequence[int]
) -> np.ndarray:
    """Type II: the columns ``own`` adjusted for the columns ``before`` and no others."""
    count = r.shape[1]
    after = np.setdiff1d(np.arange(count), [*before, *own])
    if not len(after):
        return np.eye(count)[list(own)]
    return sequential_hypotheses(r, [list(before), list(own), list(after)])[1]


def precision_root(root: np.ndarray) -> np.ndarray:
    """R with R'R = (root root')^-1: type II in the metric of V^-1."""
    return np.linalg.inv(root)


def marginal_hypothesis(
    r: np.ndarray,
    others: np.ndarray,
    own: np.ndarray,
    containing: np.ndarray,
    interior: np.ndarray,
) -> np.ndarray:
    """Type III: SAS' hypothesis of a term, whatever its coding.

    The coefficients of the overparametrized model (an indicator for every cell of every
    term) enter through Q'X_o, as X_o lies in the span of Q.  The hypotheses of a term are
    the estimable functions that involve its own coefficients and those of terms that
    contain it, and are orthogonal to the estimable functions of the latter alone.

    Parameters
    ----------
    r : ndarray
        Of X = Q R, (p, p).
    others, own, containing : ndarray
        Q'X_o of the terms that do not contain the term, of itself, and of those that
        contain it, (p, .) each.
    interior : ndarray
        Own columns of cells in which no factor is at its first level, bool.  The rows are
        made the identity there: contrasts with the first levels, whatever the coding.
        If there are more rows (``a:x`` without ``x``), they are made the identity on all
        cells, as lmerTest's are: Satterthwaite's joint df depend on the rows' form.

    Returns
    -------
    ndarray
        Rows of the hypothesis, (df, p).

    References
    ----------
    SAS/STAT User's Guide, "The Four Types of Estimable Functions".
    """
    rows = (
        linalg.qr(column_space(others), mode="full")[0] if others.size else np.eye(len(r))
    )
    rows = rows[:, column_rank(others) :].T
    left, size, _ = padded_svd(rows @ own)
    rank = int((size > SPACE_RANK * max(np.abs(own).max(initial=0), 1e-300)).sum())
    if not containing.size or rank == len(rows):
        combined = left[:, :rank].T
    else:
        pure = left[:, rank:].T
        estimable = rows @ np.hstack([own, containing])
        estimable /= np.abs(estimable).max()
        cross = pure @ estimable @ estimable.T
        combined = linalg.qr(cross.T)[0][:, len(pure) :].T
    reduced = combined @ rows
    for columns in (own[:, interior], own):
        block = reduced @ columns
        pivots = independent_columns(block)
        if len(pivots) == len(reduced):
            # the identity on its first pivots
            return np.linalg.solve(block[:, pivots], reduced) @ r
    return reduced @ r


def likelihood_ratio_test(
    large: float, small: float, df: int, on_boundary: bool = False
) -> TestResult:
    """The test of two log-likelihoods.

    Parameters
    ----------
    large, small : float
        Log-likelihoods of the larger and the smaller model.
    df : int
        Difference of their numbers of parameters.
    on_boundary : bool, optional
        Whether one of these has the end of its range as its value under the hypothesis.

    Returns
    -------
    TestResult
        The statistic is not below zero; the p-value is by chi-squared with ``df`` degrees
        of freedom, NaN if there are none; with a parameter on the boundary by the mixture
        of that and one degree less in equal parts (Self and Liang 1987).
    """
    statistic = max(2.0 * (large - small), 0.0)
    pvalue = float(stats.chi2.sf(statistic, df)) if df > 0 else float("nan")
    if on_boundary:
        less = stats.chi2.sf(statistic, df - 1) if df > 1 else float(statistic <= 0)
        pvalue = float(pvalue + less) / 2
    return TestResult(
        statistic=statistic, pvalue=pvalue, df_num=df, method="likelihood ratio"
    )
