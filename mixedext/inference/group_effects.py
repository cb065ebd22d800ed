"""Conditional covariances of all random effects of a group, group by group.

Given theta, beta and sigma they are D - D Z'V^-1 Z D = sigma^2 Lam (I + Lam'Z'Z Lam)^-1
Lam', which holds for singular Lam too.  Groups of the same size are done together.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

__all__ = ["conditional_covariances", "group_grams"]


def group_grams(z, sizes, weights=None) -> np.ndarray:
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


def conditional_covariances(grams, sizes, lam, deviations, scale) -> list[np.ndarray]:
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
    for size in np.unique(sizes[sizes > 0]).tolist():
        own = np.flatnonzero(sizes == size)
        gram = grams[starts[own][:, None] + np.arange(size**2)]
        gram = gram.reshape(-1, size, size)
        root = deviations[first[own][:, None] + np.arange(size)]
        factor = np.zeros_like(gram)
        diagonal = np.arange(k, size)
        factor[:, diagonal, diagonal] = root[:, k:]
        factor[:, :k, :k] = lam
        inner = factor.transpose(0, 2, 1) @ gram @ factor
        inner[:, np.arange(size), np.arange(size)] += 1.0
        # L^-1 Lam' of inner = LL': the covariance comes out exactly symmetric
        half = np.linalg.solve(np.linalg.cholesky(inner), factor.transpose(0, 2, 1))
        blocks = scale * (half.transpose(0, 2, 1) @ half)
        for number, block in zip(own.tolist(), blocks, strict=True):
            out[number] = block
    return out
