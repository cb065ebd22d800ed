"""Small triangular matrices through LAPACK, without the overhead of general wrappers."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

__all__ = ["cholesky_upper", "invert_upper", "solve_positive"]


def cholesky_upper(a: np.ndarray) -> np.ndarray | None:
    """R upper triangular with R'R = a; None if ``a`` is not positive definite."""
    if len(a) == 0:
        return np.zeros((0, 0))
    upper, info = lapack.dpotrf(a, lower=0, clean=1)
    return None if info else upper


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


def solve_positive(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """a^-1 b for a positive definite ``a``; None if it is not."""
    if len(a) == 0:
        return np.zeros_like(b)
    _, x, info = lapack.dposv(a, b)
    return None if info else x
