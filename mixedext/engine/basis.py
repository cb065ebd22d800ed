"""Orthonormal basis of the fixed-effects columns, and the columns that depend on others.

Cross-products of raw columns lose digits (a response with mean 1e6 costs 0.2 in the
criterion).  So X is replaced by an orthonormal basis Q, X[:, kept] = Q R, and y by its
least-squares residual before anything is squared; both are undone at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

__all__ = ["FixedBasis", "orthonormal_basis", "project_out", "standardized_columns"]

# R's tolerance (qr, tol = 1e-7): a column whose part orthogonal to the columns before it
# is shorter than this share of its own length is dropped.
RANK_TOLERANCE = 1e-7
# Columns of a random term closer to dependence than this keep their own coordinates.
BASIS_TOLERANCE = 1e-9
# Cholesky-QR is repeated once; that is enough while the condition stays below this.
CONDITION_LIMIT = 1e6


@dataclass(frozen=True, eq=False)
class FixedBasis:
    """X[:, kept] = Q R.

    Attributes
    ----------
    q : ndarray
        Orthonormal columns, shape (n, rank).
    r : ndarray
        Upper triangular, shape (rank, rank).
    kept : ndarray
        Numbers of the columns of X in the basis, ascending.
    """

    q: np.ndarray
    r: np.ndarray
    kept: np.ndarray

    @property
    def rank(self) -> int:
        return len(self.kept)

    @property
    def log_det(self) -> float:
        """log |det R|."""
        return float(np.log(np.abs(np.diag(self.r))).sum())

    def coefficients(self, on_q) -> np.ndarray:
        """Coefficients of X[:, kept] from those of Q: R^-1 b."""
        if self.rank == 0:
            return np.zeros_like(on_q)
        return linalg.solve_triangular(self.r, on_q)


def orthonormal_basis(x: np.ndarray) -> FixedBasis:
    """Orthonormal basis of the columns of ``x``, in their order.

    Parameters
    ----------
    x : ndarray
        Shape (n, k), finite.

    Returns
    -------
    FixedBasis
        Columns that depend on earlier ones (R's rule) are left out.
    """
    n, k = x.shape
    if k == 0:
        return FixedBasis(np.zeros((n, 0)), np.zeros((0, 0)), np.arange(0))
    scale = np.sqrt(np.einsum("ij,ij->j", x, x))
    scale = np.where(scale > 0, scale, 1.0)
    fast = _cholesky_qr(x, scale) if n >= k else None
    if fast is not None:
        return FixedBasis(*fast, np.arange(k))
    r = np.linalg.qr(x / scale, mode="r")
    kept = _independent_columns(r)
    if len(kept) == 0:
        return FixedBasis(np.zeros((n, 0)), np.zeros((0, 0)), kept)
    q, r = np.linalg.qr(x[:, kept] / scale[kept])
    return FixedBasis(q, r * scale[kept], kept)


def _cholesky_qr(x, scale):
    """Cholesky-QR, twice; None where the columns are too close to dependence."""
    q, factor = x / scale, np.diag(scale)
    for _ in range(2):
        try:
            upper = linalg.cholesky(q.T @ q)
        except linalg.LinAlgError:
            return None
        inverse, info = linalg.lapack.dtrtri(upper)
        if info or np.linalg.norm(inverse) * np.linalg.norm(upper) > CONDITION_LIMIT:
            return None
        q, factor = q @ inverse, upper @ factor
    return q, factor


def _independent_columns(r):
    """Columns of an upper triangular factor that do not depend on earlier ones.

    Householder reflections on R, which has the inner products of the whole matrix; a
    dependent column is passed over, so that it spoils no later one (as R's dqrdc2).
    """
    work, kept, row = r.copy(), [], 0
    length = np.linalg.norm(r, axis=0)
    for j in range(r.shape[1]):
        if row == len(work):
            break
        rest = work[row:, j]
        size = np.linalg.norm(rest)
        if length[j] == 0 or size <= RANK_TOLERANCE * length[j]:
            continue
        v = rest.copy()
        v[0] += np.copysign(size, v[0])
        v /= np.linalg.norm(v)
        work[row:, j:] -= 2 * np.outer(v, v @ work[row:, j:])
        kept.append(j)
        row += 1
    return np.array(kept, dtype=np.intp)


def project_out(q: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residual of y on orthonormal columns and the coefficients, projected twice."""
    first = q.T @ y
    residual = y - q @ first
    second = q.T @ residual
    return residual - q @ second, first + second


def standardized_columns(structure, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of a random term in a basis that is good to compute with.

    Where the structure allows any basis the columns become orthogonal (so that a slope's
    covariate may lie far from zero); all get rms 1, or keep one common scale.

    Parameters
    ----------
    structure : Structure
        Of the term.
    z : ndarray
        Columns, weighted, (n, k).

    Returns
    -------
    columns : ndarray
        (n, k).
    transform : ndarray
        Upper triangular T with z = columns T, (k, k).
    """
    n, k = z.shape
    length = np.sqrt(np.einsum("ij,ij->j", z, z))
    if structure.any_basis and k > 1 and n >= k:
        found = _cholesky_qr(z, length) or _householder(z, length)
        if found is not None:
            return found[0] * np.sqrt(n), found[1] / np.sqrt(n)
    scale = structure.column_scale(length / np.sqrt(n))
    return z / scale, np.diag(scale)


def _householder(z, length):
    q, r = np.linalg.qr(z / length)
    if np.abs(np.diag(r)).min() < BASIS_TOLERANCE:
        return None
    return q, r * length
