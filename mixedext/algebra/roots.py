"""Roots of covariances, A = R R', with one rule for singular matrices.

R is determined up to a turn, R Q with Q Q' = I, and LAPACK's eigenvectors take any turn
where eigenvalues are equal, another on every processor.  What is drawn by R, or averaged
over directions, turns with it.  Hence:

* ``semidefinite_root`` is the Cholesky factor; where a pivot is zero but for rounding, its
  column is zero.  That is the lower triangle that fills a relative covariance factor.
* ``pivoted_root`` has as many columns as the rank, by Cholesky steps that take the largest
  pivot first, and of pivots that are alike the first.
* ``principal_root`` has eigenvectors as its columns, scaled: for what no turn changes, and
  where directions of small variance must keep their digits.

A definite matrix is one whose pivots, on the scale on which its diagonal is one, are
clearly above rounding: that a factorization ends is no sign.
"""

from __future__ import annotations

import numpy as np

from mixedext.algebra.definiteness import (
    nearest_semidefinite,
    smallest_eigenvalue,
    unit_diagonal,
)
from mixedext.limits import ALIKE_PIVOTS, NEGATIVE_EIGENVALUE, ROUNDED_EIGENVALUE

__all__ = [
    "cholesky_if_definite",
    "clipped_roots",
    "leading_signs",
    "nearest_root",
    "pivoted_root",
    "principal_root",
    "semidefinite_root",
]


def cholesky_if_definite(matrix: np.ndarray) -> np.ndarray | None:
    """The Cholesky factor of a positive definite matrix (k, k); None if it is not one."""
    try:
        lower = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    zero = ROUNDED_EIGENVALUE * len(lower) * np.diag(matrix)
    return lower if (np.diag(lower) ** 2 > zero).all() else None


def semidefinite_root(matrix: np.ndarray) -> np.ndarray | None:
    """The lower triangular root of a positive semidefinite matrix, diagonal >= 0.

    The Cholesky factor, which keeps its digits whatever the units of the rows.  Of a
    singular matrix the columns without a pivot are zero.

    Parameters
    ----------
    matrix : ndarray
        Symmetric, (k, k).

    Returns
    -------
    ndarray or None
        (k, k); None if the matrix is indefinite, or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> semidefinite_root(np.array([[4.0, 2.0, 2.0], [2.0, 1.0, 1.0], [2.0, 1.0, 2.0]]))
    array([[2., 0., 0.],
           [1., 0., 0.],
           [1., 0., 1.]])
    """
    lower = cholesky_if_definite(matrix)
    if lower is not None:
        return lower
    k = len(matrix)
    if (
        not np.isfinite(matrix).all()
        or smallest_eigenvalue(matrix) < -NEGATIVE_EIGENVALUE * k
    ):
        return None
    rest, size = unit_diagonal(matrix)
    lower, zero = np.zeros((k, k)), ROUNDED_EIGENVALUE * k
    for j in range(k):
        left, below = np.diag(rest)[j + 1 :], rest[j + 1 :, j]
        # the least pivot with which what is left is semidefinite
        least = (below[left > zero] ** 2 / left[left > zero]).max(initial=0.0)
        if rest[j, j] <= zero and least <= (10 * zero) ** 2:
            continue
        pivot = np.sqrt(max(rest[j, j], least))
        lower[j, j], lower[j + 1 :, j] = pivot, below / pivot
        rest[j + 1 :, j + 1 :] -= np.outer(lower[j + 1 :, j], lower[j + 1 :, j])
    return size[:, None] * lower


def nearest_root(matrix: np.ndarray) -> np.ndarray:
    """``semidefinite_root`` of the nearest semidefinite matrix, where the diagonal is one.

    Parameters
    ----------
    matrix : ndarray
        Symmetric, perhaps indefinite, (k, k).
    """
    root = semidefinite_root(matrix)
    if root is None:
        scaled, size = unit_diagonal(matrix)
        nearest, _ = nearest_semidefinite(scaled, 0.0)
        root = size[:, None] * semidefinite_root(nearest)
    return root


def pivoted_root(matrix: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """A root of a positive semidefinite matrix with as many columns as its rank.

    Parameters
    ----------
    matrix : ndarray
        Symmetric, in units in which its rows compare, (k, k).
    tolerance : float
        Pivots up to this count as zero.

    Returns
    -------
    root : ndarray
        (k, rank); the rows ``pivots`` are lower triangular.
    pivots : ndarray
        Rows in the order in which they were taken.

    Examples
    --------
    >>> import numpy as np
    >>> pivoted_root(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 4.0]]), 1e-9)
    (array([[0., 1.],
           [0., 1.],
           [2., 0.]]), array([2, 0]))
    """
    rest = np.array(matrix, float)
    columns, pivots = [], []
    left = np.ones(len(rest), bool)
    while left.any():
        own = np.where(left, np.diag(rest), -np.inf)
        if not own.max() > tolerance:
            break
        j = int(np.argmax(own >= (1 - ALIKE_PIVOTS) * own.max()))
        column = np.where(left, rest[:, j], 0.0) / np.sqrt(rest[j, j])
        rest -= np.outer(column, column)
        left[j] = False
        columns.append(column)
        pivots.append(j)
    root = np.array(columns).T if columns else np.zeros((len(rest), 0))
    return root, np.array(pivots, np.intp)


def clipped_roots(stack: np.ndarray, share: float, most: float) -> np.ndarray:
    """``kernels.factor.triangles.clipped_root`` of stacked symmetric matrices, (m, k, k).

    Eigenvalues are at least ``share`` of the largest and of one, and at most ``most``.
    """
    value, vector = np.linalg.eigh(stack)
    value = np.minimum(np.maximum(value, share * np.maximum(value[:, -1:], 1.0)), most)
    return np.linalg.cholesky((vector * value[:, None, :]) @ vector.transpose(0, 2, 1))


def leading_signs(columns: np.ndarray) -> np.ndarray:
    """Signs with which the largest element of each column is positive, (m,).

    Of elements that are alike the first counts.  For columns (k, m) whose signs nothing
    else tells, as those of eigenvectors.
    """
    size = np.abs(columns)
    if not size.size:
        return np.ones(columns.shape[1])
    first = np.argmax(size >= (1 - ALIKE_PIVOTS) * size.max(axis=0), axis=0)
    return np.where(columns[first, np.arange(columns.shape[1])] < 0, -1.0, 1.0)


def principal_root(lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V and s, descending, of lam lam' = V diag(s^2) V' for a square factor lam (k, k).

    By singular values, so that half of the digits of a small s are not lost in lam lam'.
    """
    if len(lam) == 1:
        return np.ones((1, 1)), np.abs(lam[0])
    vector, size, _ = np.linalg.svd(lam)
    return vector, size
