"""Conditional covariances of all random effects of a group, group by group.

Given theta, beta and sigma they are D - D Z'V^-1 Z D = sigma^2 Lam (I + Lam'Z'Z Lam)^-1
Lam', which holds for singular Lam too.  Groups of the same size are done together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from mixedext.algebra.inverses import inverses_beside_identity

__all__ = ["conditional_covariances", "group_grams"]

# Elements of covariances that are computed together, at most.
_BATCH = 1 << 20


def group_grams(
    z: sparse.csr_array, sizes: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Z_g'W Z_g of all groups, one after the other.

    Parameters
    ----------
    z : csr_array
        (n, sum of sizes): the columns of one group after those of another.
    sizes : ndarray
        Number of columns of every group.
    weights : ndarray, optional
        Precision weights, (n,).

    Returns
    -------
    ndarray
        (sum of sizes squared,).
    """
    if weights is not None:
        z = sparse.csr_array(z.multiply(np.sqrt(weights)[:, None]))
    gram = sparse.coo_array(z.T @ z)
    rows, columns = gram.coords
    group = np.repeat(np.arange(len(sizes)), sizes)[rows]
    first = np.cumsum(sizes) - sizes
    blocks = np.cumsum(sizes**2) - sizes**2
    out = np.zeros(int((sizes**2).sum()))
    at = blocks[group] + (rows - first[group]) * sizes[group] + columns - first[group]
    out[at] = gram.data
    return out


def conditional_covariances(
    grams: np.ndarray,
    sizes: np.ndarray,
    lam: np.ndarray,
    deviations: np.ndarray,
    scale: float,
) -> list[np.ndarray]:
    """Conditional covariance of the effects of every group.

    Parameters
    ----------
    grams : ndarray
        From ``group_grams``.
    sizes : ndarray
        Number of effects of every group.
    lam : ndarray
        Relative covariance factor of the first k effects of every group, (k, k).
    deviations : ndarray
        Relative standard deviations of all effects (those of the first k are not used),
        (sum of sizes,).
    scale : float
        sigma^2.

    Returns
    -------
    list of ndarray
        One matrix a group.
    """
    k = len(lam)
    first = np.cumsum(sizes) - sizes
    starts = np.cumsum(sizes**2) - sizes**2
    out: list[np.ndarray] = [np.zeros((0, 0))] * len(sizes)
    for size, own in _batches(sizes):
        gram = grams[starts[own][:, None] + np.arange(size**2)]
        gram = gram.reshape(-1, size, size)
        root = deviations[first[own][:, None] + np.arange(size)]
        root[:, :k] = 1.0
        inverse = inverses_beside_identity(_sandwich(gram, lam.T, root))
        blocks = scale * _sandwich(inverse, lam, root)
        for number, block in zip(own.tolist(), blocks, strict=True):
            out[number] = block
    return out


def _sandwich(middle, lam, root):
    """F M F' of stacked M, F the block-diagonal matrix of lam and the other roots."""
    k = len(lam)
    out = middle * root[:, :, None] * root[:, None, :]
    if k:
        out[:, :k, :] = lam @ out[:, :k, :]
        out[:, :, :k] = out[:, :, :k] @ lam.T
    return out


def _batches(sizes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Sizes, and groups of that size in batches."""
    for size in np.unique(sizes[sizes > 0]).tolist():
        groups = np.flatnonzero(sizes == size)
        count = max(_BATCH // size**2, 1)
        for start in range(0, len(groups), count):
            yield size, groups[start : start + count]
