"""Inverses of matrices, of symmetric ones on the scale on which their diagonal is one."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.limits import IDENTIFIED

__all__ = [
    "generalized_inverse",
    "inverse_if_definite",
    "inverses_beside_identity",
    "inverses_of_definite",
    "solution_if_regular",
]

# Matrices of so many rows are inverted one by one, as symmetric ones.
LARGE = 200
# Elements beside which digits of the identity are lost.
DWARFING = 1e10
EPSILON = float(np.finfo(float).eps)


def inverse_if_definite(
    information: np.ndarray, tolerance: float = IDENTIFIED
) -> np.ndarray | None:
    """The inverse of a positive definite matrix; None if it is not.

    Parameters
    ----------
    information : ndarray
        Symmetric, (k, k).
    tolerance : float, optional
        The smallest eigenvalue must be above it.
    """
    if not (np.diag(information) > 0).all():
        return None
    inverse, rank = generalized_inverse(information, tolerance)
    return inverse if rank == len(information) else None


def generalized_inverse(
    matrix: np.ndarray, tolerance: float = IDENTIFIED
) -> tuple[np.ndarray, int | Any]:
    """An inverse along the eigenvectors whose eigenvalues are positive.

    Parameters
    ----------
    matrix : ndarray
        Symmetric, or a stack of such, (..., k, k).
    tolerance : float, optional
        Eigenvalues up to this count as zero.

    Returns
    -------
    inverse : ndarray
        Zero along the other directions, (..., k, k); NaN of a matrix that is not finite.
    rank : int or ndarray
        How many eigenvalues are positive, of each matrix.
    """
    known = np.isfinite(matrix).all(axis=(-1, -2))
    if not known.all():
        one = np.eye(matrix.shape[-1])
        inverse, rank = generalized_inverse(
            np.where(known[..., None, None], matrix, one), tolerance
        )
        inverse = np.where(known[..., None, None], inverse, np.nan)
        rank = np.where(known, rank, 0)
        return inverse, (int(rank) if rank.ndim == 0 else rank)
    scaled, size = unit_diagonal(matrix)
    value, vector = np.linalg.eigh(scaled)
    good = value > tolerance
    reciprocal = np.where(good, 1.0 / np.where(good, value, 1.0), 0.0)
    vector = vector / size[..., :, None]
    inverse = (vector * reciprocal[..., None, :]) @ np.swapaxes(vector, -1, -2)
    rank = good.sum(axis=-1)
    return inverse, (int(rank) if rank.ndim == 0 else rank)


def inverses_beside_identity(stack: np.ndarray) -> np.ndarray:
    """(A + I)^-1 of stacked positive semidefinite matrices A, (m, k, k); A is lost.

    Where A dwarfs the identity the sum may be singular by rounding: along eigenvectors of
    A whose eigenvalues are rounding of the largest the identity alone is inverted.
    """
    k = stack.shape[1]
    diagonal = np.arange(k)
    largest = stack[:, diagonal, diagonal].max(initial=0.0)
    if not DWARFING < largest < np.inf:
        stack[:, diagonal, diagonal] += 1.0
        return inverses_of_definite(stack)
    value, vector = np.linalg.eigh(stack)
    value = np.where(value > k * EPSILON * value[:, -1:], value, 0.0)
    return (vector / (1.0 + value)[:, None, :]) @ vector.transpose(0, 2, 1)


def inverses_of_definite(stack: np.ndarray) -> np.ndarray:
    """Inverses of stacked positive definite matrices, (m, k, k)."""
    if len(stack) > 1 or stack.shape[1] < LARGE:
        inverse = np.linalg.inv(stack)
        return 0.5 * (inverse + inverse.transpose(0, 2, 1))
    factor, _ = lapack.dpotrf(stack[0], lower=1)
    inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    lower = np.tril(inverse)
    return (lower + np.tril(inverse, -1).T)[None]


def solution_if_regular(
    a: np.ndarray, b: np.ndarray, assume_a: str = "gen"
) -> np.ndarray | None:
    """The solution of a x = b; None where a is singular but for rounding.

    Parameters
    ----------
    a : ndarray
        (k, k).
    b : ndarray
        (k,) or (k, m).
    assume_a : str, optional
        What is known of ``a``, as of ``scipy.linalg.solve``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", linalg.LinAlgWarning)
        try:
            return linalg.solve(a, b, assume_a=assume_a)
        except (linalg.LinAlgError, linalg.LinAlgWarning):
            return None
