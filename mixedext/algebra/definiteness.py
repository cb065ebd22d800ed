"""Whether a symmetric matrix is definite, on the scale on which its diagonal is one.

A covariance of effects in unlike units has eigenvalues of unlike sizes, which say nothing;
those of its correlations do.  That a Cholesky factorization ends, or a number is finite,
is no sign of a definite matrix: by rounding, which other processors do otherwise, both
happen for singular ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mixedext.limits import NEGATIVE_EIGENVALUE, SINGULAR_EIGENVALUE

__all__ = [
    "is_singular",
    "nearest_semidefinite",
    "smallest_eigenvalue",
    "unit_diagonal",
]


def unit_diagonal(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A symmetric matrix in units in which its diagonal is one, and the units.

    Parameters
    ----------
    matrix : ndarray
        Symmetric, or a stack of such, (..., k, k).

    Returns
    -------
    scaled : ndarray
        With the diagonal 1 (-1, 0) where that of the matrix is positive (negative, zero).
    size : ndarray
        The matrix is ``scaled`` times the outer product of size, (..., k); 1 for zeros.
    """
    matrix = np.asarray(matrix, float)
    size = np.sqrt(np.abs(np.diagonal(matrix, axis1=-2, axis2=-1)))
    size = np.where(size > 0, size, 1.0)
    return matrix / (size[..., :, None] * size[..., None, :]), size


def smallest_eigenvalue(matrix: np.ndarray) -> float | Any:
    """Smallest eigenvalue of a symmetric matrix (k, k) where its diagonal is one.

    A float, infinite without rows; of a stack (..., k, k) an array.
    """
    value = np.linalg.eigvalsh(unit_diagonal(matrix)[0]).min(axis=-1, initial=np.inf)
    return float(value) if value.ndim == 0 else value


def is_singular(covariance: np.ndarray, tolerance: float = SINGULAR_EIGENVALUE) -> bool:
    """Whether a covariance (k, k) is singular: a variance of zero, a correlation of one."""
    return smallest_eigenvalue(covariance) <= tolerance


def nearest_semidefinite(
    matrix: np.ndarray, tolerance: float = NEGATIVE_EIGENVALUE
) -> tuple[np.ndarray, bool]:
    """A symmetric matrix (k, k) without its negative eigenvalues.

    In the units given: the nearest in the sum of squared elements.

    Parameters
    ----------
    matrix : ndarray
        Symmetric, (k, k).
    tolerance : float, optional
        Share of the largest absolute eigenvalue up to which a negative one is rounding.

    Returns
    -------
    nearest : ndarray
        The matrix itself where it is semidefinite.
    unchanged : bool
        Whether it is.
    """
    value, vector = np.linalg.eigh(matrix)
    if not (value < -tolerance * np.abs(value).max(initial=0.0)).any():
        return matrix, True
    return (vector * value.clip(0)) @ vector.T, False
