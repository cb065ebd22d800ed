"""Hypothesis matrices of terms and of smaller models; likelihood-ratio tests.

Hypotheses are rows over the coefficients that a fit kept.  They are found in the
coordinates of an orthonormal basis, X = Q R, where they are well conditioned whatever the
units of the columns are, and then multiplied by R.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, stats

from mixedext.engine.basis import FixedBasis
from mixedext.exceptions import DesignError

__all__ = [
    "LikelihoodRatioTest",
    "RowBasis",
    "adjusted_hypothesis",
    "likelihood_ratio_test",
    "marginal_hypothesis",
    "precision_root",
    "sequential_hypotheses",
]

# Singular values below this share of the largest count as zero.  Columns that R would
# drop (tolerance 1e-7) are gone before.
RANK_TOLERANCE = 1e-9
# A column whose part outside a space is below this share of its length lies in it (R's
# tolerance for dependent columns).
NESTING_TOLERANCE = 1e-7


class RowBasis:
    """An orthonormal basis of fixed-effects columns, evaluated on the rows.

    Parameters
    ----------
    exog : ndarray
        All fixed-effects columns, (n, k).
    basis : FixedBasis
        Of the fit; its triangle may belong to weighted rows.

    Attributes
    ----------
    q : ndarray
        (n, rank), q'q = I without weights.
    r : ndarray
        Upper triangular: exog[:, kept] = q r.
    """

    def __init__(self, exog: np.ndarray, basis: FixedBasis):
        rank = basis.rank
        q = exog[:, basis.kept] @ linalg.solve_triangular(basis.r, np.eye(rank))
        # what the weights, or the rounding of R, have left
        gram = q.T @ q
        if np.abs(gram - np.eye(rank)).max(initial=0.0) < 0.5 / max(rank, 1):
            upper = linalg.cholesky(gram) if rank else gram
            self.q = q @ linalg.solve_triangular(upper, np.eye(rank))
        else:  # uneven weights
            self.q, upper = linalg.qr(q, mode="economic")
        self.r = upper @ basis.r

    def restriction(self, columns: np.ndarray, shift=None):
        """Rows L and values c with L b = c where X b - shift lies in the columns' span.

        Parameters
        ----------
        columns : ndarray
            Columns of the smaller model, (n, m).
        shift : ndarray, optional
            The smaller model's offset less the larger one's, (n,).

        Returns
        -------
        rows : ndarray
            (rank - rank of the columns, rank), orthonormal.
        values : ndarray
            What the rows are to be.

        Raises
        ------
        DesignError
            If the smaller model's columns are not in the span of these columns.
        """
        inside = self._coordinates(columns, "columns")
        if inside.shape[1] == 0:
            outside = np.eye(len(self.r))
        else:
            left, size, _ = np.linalg.svd(inside)
            outside = left[:, int((size > NESTING_TOLERANCE * size[0]).sum()) :]
        values = np.zeros(outside.shape[1])
        if shift is not None and shift.any():
            values = outside.T @ self._coordinates(shift[:, None], "offset")[:, 0]
        if outside.shape[1] == 0:
            return np.zeros((0, len(self.r))), values
        # orthonormal, as pbkrtest's: Satterthwaite's joint df depend on the rows' form
        rows, triangle = linalg.qr((outside.T @ self.r).T, mode="economic")
        return rows.T, linalg.solve_triangular(triangle, values, trans="T")

    def spans(self, columns: np.ndarray) -> np.ndarray:
        """Which columns are combinations of the basis, (m,) bool."""
        _, rest, length = self._projected(columns)
        return rest <= NESTING_TOLERANCE * length

    def _projected(self, columns):
        """Coordinates of columns of length 1, length of what is left, and length."""
        length = np.sqrt((columns**2).sum(axis=0))
        unit = columns / np.where(length > 0, length, 1.0)
        inside = self.q.T @ unit
        rest = unit - self.q @ inside
        again = self.q.T @ rest  # what rounding has missed
        rest -= self.q @ again
        return inside + again, np.sqrt((rest**2).sum(axis=0)) * length, length

    def _coordinates(self, columns, what):
        inside, rest, length = self._projected(columns)
        foreign = int((rest > NESTING_TOLERANCE * length).sum())
        if foreign:
            raise DesignError(
                f"the models are not nested: {foreign} of the {columns.shape[1]} {what} "
                "of the smaller model's fixed effects are no combination of the larger's"
                if what == "columns"
                else "the models are not nested: their offsets differ by more than the "
                "larger model's fixed effects can make up for"
            )
        return inside * length if what == "offset" else inside

    def cell_products(self, codes: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """q' times indicators of cells times columns, (rank, cells * columns).

        Parameters
        ----------
        codes : ndarray
            Cell of every row, (n,).
        columns : ndarray
            Numeric columns that the indicators are multiplied by, (n, m).
        """
        count = int(codes.max(initial=-1)) + 1
        out = np.empty((self.q.shape[1], columns.shape[1], count))
        for j in range(self.q.shape[1]):
            for m in range(columns.shape[1]):
                weights = self.q[:, j] * columns[:, m]
                out[j, m] = np.bincount(codes, weights, minlength=count)
        return out.reshape(len(out), -1)


def sequential_hypotheses(r: np.ndarray, parts: Sequence[Sequence[int]]) -> list:
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


def adjusted_hypothesis(r: np.ndarray, before: Sequence[int], own: Sequence[int]):
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
    rows = linalg.qr(_range(others), mode="full")[0] if others.size else np.eye(len(r))
    rows = rows[:, _rank(others) :].T
    left, size, _ = _svd(rows @ own)
    rank = int((size > RANK_TOLERANCE * max(np.abs(own).max(initial=0), 1e-300)).sum())
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
        pivots = _independent(block)
        if len(pivots) == len(reduced):
            # the identity on its first pivots
            return np.linalg.solve(block[:, pivots], reduced) @ r
    return reduced @ r


def _independent(block):
    """Numbers of columns, as early as can be, that span what all columns do."""
    found, basis = [], np.zeros((len(block), 0))
    for j, column in enumerate(block.T):
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)
        size = np.linalg.norm(rest)
        if size > NESTING_TOLERANCE * np.linalg.norm(column) and len(found) < len(block):
            found.append(j)
            basis = np.column_stack([basis, rest / size])
    return found


def _svd(matrix):
    left, size, right = np.linalg.svd(matrix, full_matrices=True)
    padded = np.zeros(len(left))
    padded[: len(size)] = size
    return left, padded, right


def _normalized(matrix):
    length = np.sqrt((matrix**2).sum(axis=0))
    return matrix[:, length > 0] / length[length > 0]


def _range(matrix):
    """Orthonormal columns that span those of a matrix."""
    left, size, _ = np.linalg.svd(_normalized(matrix), full_matrices=False)
    return left[:, size > RANK_TOLERANCE * size.max(initial=0.0)]


def _rank(matrix):
    return _range(matrix).shape[1] if matrix.size else 0


@dataclass(frozen=True)
class LikelihoodRatioTest:
    """Twice the difference of two log-likelihoods.

    Attributes
    ----------
    statistic : float
        Not below zero.
    df : int
        Difference of the numbers of parameters.
    pvalue : float
        By chi-squared with ``df`` degrees of freedom; NaN if there are none.
    """

    statistic: float
    df: int
    pvalue: float


def likelihood_ratio_test(large: float, small: float, df: int) -> LikelihoodRatioTest:
    """The test of two log-likelihoods.

    Parameters
    ----------
    large, small : float
        Log-likelihoods of the larger and the smaller model.
    df : int
        Difference of their numbers of parameters.
    """
    statistic = max(2.0 * (large - small), 0.0)
    pvalue = float(stats.chi2.sf(statistic, df)) if df > 0 else float("nan")
    return LikelihoodRatioTest(statistic, df, pvalue)
