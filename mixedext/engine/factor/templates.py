"""Bases of lam and Sigma of the terms of a model side by side, for compiled functions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["covariance_bases", "covariance_template", "squared", "template"]


@lru_cache(maxsize=256)
def template(structures: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Elements of the template of all terms side by side that are not zero.

    Returns
    -------
    index : ndarray
        (3, count): element of theta, row and column of lam.
    value : ndarray
        (count,)
    """
    return _side_by_side([s.lam_basis for s in structures])


@lru_cache(maxsize=256)
def covariance_template(structures: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The same of the bases of their covariances: element of gamma, row and column."""
    return _side_by_side([s.covariance_basis for s in structures])


@lru_cache(maxsize=256)
def covariance_bases(structures: tuple) -> np.ndarray:
    """Every element of gamma of all terms as a matrix, (n_gamma, K, K)."""
    index, value = covariance_template(structures)
    count, width = sum(s.n_gamma for s in structures), sum(s.k for s in structures)
    out = np.zeros((count, width, width))
    out[tuple(index)] = value
    return out


def squared(structures) -> np.ndarray:
    """Which elements of theta enter by their squares alone, (n_theta,)."""
    return np.repeat(
        [s.k == 1 or not s.correlated for s in structures],
        [s.n_theta for s in structures],
    )


def _side_by_side(bases):
    index, value, member, column = [], [], 0, 0
    for basis in bases:
        r, a, b = np.nonzero(basis)
        index.append(np.stack([r + member, a + column, b + column]))
        value.append(basis[r, a, b])
        member, column = member + len(basis), column + basis.shape[1]
    return np.hstack(index).astype(np.intp), np.concatenate(value)
