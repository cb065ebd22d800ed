"""Triangular matrices through LAPACK, without the overhead of general wrappers."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from mixedext.kernels.factor import triangles as kernel

__all__ = ["basis_of_squares", "invert_upper"]


def basis_of_squares(
    sums: np.ndarray,
    rank: int,
    condition: float,
    shift: np.ndarray | None = None,
    count: float = 1.0,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Orthogonal basis Q of the leading columns, from the cross-products of all.

    Parameters
    ----------
    sums : ndarray
        Cross-products C'C, (m, m).
    rank : int
        How many columns get a basis; the others become residuals E.
    condition : float
        Up to which squares tell the triangle.
    shift : ndarray, optional
        Multiples of the first column that had been taken off the columns to give C, (m,).
    count : float, optional
        Square of the length of the columns of Q.

    Returns
    -------
    share : float
        Least share of the length of a leading column (before the shift) that is
        orthogonal to the columns before it; 0 if the squares do not tell.
    r : ndarray
        Upper triangular, (m, m): columns before the shift = [Q, E at the length of Q] r.
    right : ndarray
        Upper triangular, (m, m): [Q E] = C right.
    """
    m = len(sums)
    r, right = np.empty((m, m)), np.empty((m, m))
    shift = np.zeros(m) if shift is None else shift
    length = np.empty(m)
    share = kernel.basis_of_squares(sums, shift, rank, count, condition, length, r, right)
    return share, r, right


def invert_upper(r: np.ndarray) -> np.ndarray:
    """Inverse of an upper triangular matrix.

    Raises
    ------
    LinAlgError
        If a diagonal element is zero.
    """
    if len(r) == 0:
        return np.zeros((0, 0))
    inverse, info = lapack.dtrtri(r, lower=0)
    if info:
        raise np.linalg.LinAlgError(f"the triangle is singular in column {info}")
    return inverse
