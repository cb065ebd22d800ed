"""Cholesky factors of the residual covariance, and rows times their inverses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from mixedext.engine.residual.inverse_roots import (
    ChainInverse,
    DenseInverse,
    chain_inverse,
)
from mixedext.engine.residual.marginal import NOT_DEFINITE
from mixedext.engine.residual.rows import places_of, residual_curves
from mixedext.exceptions import DevianceError
from mixedext.specification.covariance.residual_binding import BoundResidual

# Eigenvalues of correlations below this are rounding.
LEAST_EIGENVALUE = 1e-13

InverseRoot = ChainInverse | DenseInverse

__all__ = [
    "InverseRoot",
    "block_rows",
    "inverse_roots",
    "log_determinant",
    "log_deviations",
    "matrices",
    "roots",
    "whitened",
]


def whitened(
    bound: BoundResidual,
    psi: np.ndarray,
    columns: np.ndarray,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """L^-1 W^1/2 times columns, L the lower Cholesky factor of every group's Lambda.

    Parameters
    ----------
    psi : ndarray
        Parameters.
    columns : ndarray
        (n, w) or (n,).
    weights : ndarray, optional
        Precision weights W.

    Returns
    -------
    ndarray
        Rows stay where they are: that of the last visit holds what is new in it.
    """
    given = np.asarray(columns, float)
    flat = given.reshape(len(given), -1)
    if weights is not None:
        flat = flat * np.sqrt(weights)[:, None]
    out = np.empty_like(flat)
    for batch, inverse in zip(bound.batches, inverse_roots(bound, psi), strict=True):
        out[batch.rows] = inverse.times(batch, flat[batch.rows])
    return out.reshape(given.shape)


def inverse_roots(bound: BoundResidual, psi: np.ndarray) -> list[InverseRoot]:
    """L^-1 of every batch, of a chain without its matrix."""
    out: list[InverseRoot] = []
    for batch in bound.batches:
        chain = chain_inverse(bound, psi, batch)
        if chain is None:
            root = _root(_matrix(bound, psi, batch))
            out.append(DenseInverse(root))
        else:
            out.append(chain)
    return out


def roots(bound: BoundResidual, psi: np.ndarray) -> list[np.ndarray]:
    """Lower Cholesky factors of Lambda of the patterns of every batch, (c, s, s)."""
    return [_root(own) for own in matrices(bound, psi)]


def _root(own):
    """Cholesky factors; those of matrices that rounding has made singular are floored."""
    size = np.sqrt(np.einsum("caa->ca", own))
    if not (np.isfinite(own).all() and (size > 0).all()):
        raise DevianceError(NOT_DEFINITE)
    try:
        return np.linalg.cholesky(own)
    except np.linalg.LinAlgError:
        both = size[:, :, None] * size[:, None, :]
        value, vector = np.linalg.eigh(own / both)
        least = np.maximum(value, LEAST_EIGENVALUE)[:, None]
        floored = (vector * least) @ vector.transpose(0, 2, 1)
        return np.linalg.cholesky(floored * both)


def matrices(bound: BoundResidual, psi: np.ndarray) -> list[np.ndarray]:
    """Lambda of the patterns of every batch, (c, s, s)."""
    return [_matrix(bound, psi, batch) for batch in bound.batches]


def _matrix(bound, psi, batch):
    c, s = batch.place.shape[:2]
    own = np.empty((c, s, s))
    places = places_of(batch)
    for level, curve in enumerate(residual_curves(bound)):
        here = np.flatnonzero(batch.level == level)
        if len(here):
            own[here] = curve.matrix(psi[curve.at], places.at(here))
    return own


def log_deviations(bound: BoundResidual, psi: np.ndarray) -> np.ndarray:
    """Logarithm of the standard deviation of every row, sigma and weights 1, (n,)."""
    out = np.empty(bound.n_obs)
    for batch in bound.batches:
        places, own = places_of(batch), np.empty(batch.place.shape[:2])
        for level, curve in enumerate(residual_curves(bound)):
            here = np.flatnonzero(batch.level == level)
            if len(here):
                own[here] = curve.log_sd(psi[curve.at], places.at(here))
        out[batch.rows] = own[batch.pattern]
    return out


def block_rows(bound: BoundResidual, own: Sequence[np.ndarray]) -> sparse.csr_array:
    """Matrices of the patterns, (c, s, s) a batch, as blocks of all groups, (n, n)."""
    i, j, values = [], [], []
    for batch, matrix in zip(bound.batches, own, strict=True):
        block = matrix[batch.pattern]
        i.append(np.broadcast_to(batch.rows[:, :, None], block.shape).ravel())
        j.append(np.broadcast_to(batch.rows[:, None, :], block.shape).ravel())
        values.append(block.ravel())
    at = np.concatenate(i), np.concatenate(j)
    shape = bound.n_obs, bound.n_obs
    out = sparse.csr_array((np.concatenate(values), at), shape=shape)
    out.eliminate_zeros()
    return out


def log_determinant(bound: BoundResidual, psi: np.ndarray) -> float:
    """log|Lambda|, weights apart."""
    total = 0.0
    for batch, inverse in zip(bound.batches, inverse_roots(bound, psi), strict=True):
        total -= 2 * float(batch.count @ inverse.log_determinants())
    return total
