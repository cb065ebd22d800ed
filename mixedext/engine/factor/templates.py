"""Bases of lam and Sigma of the terms of a model side by side, for compiled functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from mixedext.engine.rows.products import FactorLayout
from mixedext.specification.covariance.term_structure import TermStructure

__all__ = [
    "bases_along",
    "covariance_bases",
    "covariance_template",
    "factor_bases",
    "linear_bases",
    "squared",
    "template",
]


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


def covariance_bases(structures: Sequence[TermStructure]) -> np.ndarray:
    """Every element of gamma of all terms as a matrix, (n_gamma, K, K)."""
    structures = tuple(structures)
    # bases of curves are those of one point, which will not come again
    kept = all(s.linear for s in structures)
    return (linear_bases if kept else _bases)(structures)


def _bases(structures):
    index, value = _side_by_side([s.covariance_basis for s in structures])
    count, width = sum(s.n_gamma for s in structures), sum(s.k for s in structures)
    out = np.zeros((count, width, width))
    out[tuple(index)] = value
    return out


@lru_cache(maxsize=256)
def linear_bases(structures: tuple) -> np.ndarray:
    """The same of structures that are linear all."""
    return _bases(structures)


def factor_bases(
    structures: Sequence[TermStructure], factors: Iterable[FactorLayout]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same for each grouping factor by itself.

    Parameters
    ----------
    structures : sequence of Structure
        Of all terms, in the model's order.
    factors : sequence of FactorLayout
        Terms of each grouping factor, and their columns.

    Returns
    -------
    list of tuple
        Numbers of the factor's elements of gamma, and these as matrices
        (count, width, width).
    """
    return bases_along([s.covariance_basis for s in structures], factors)


def bases_along(
    directions: Sequence[np.ndarray], factors: Iterable[FactorLayout]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same of any directions of every term's covariance, (m, k, k) each."""
    start = np.cumsum([0, *map(len, directions)])
    out = []
    for layout in factors:
        numbers, parts = [np.zeros(0, int)], [np.zeros((0, layout.width, layout.width))]
        for term, columns in zip(layout.terms, layout.slices, strict=True):
            own = directions[term]
            whole = np.zeros((len(own), layout.width, layout.width))
            whole[:, columns, columns] = own
            numbers.append(np.arange(start[term], start[term + 1]))
            parts.append(whole)
        out.append((np.concatenate(numbers), np.concatenate(parts)))
    return out


def squared(structures: Sequence[TermStructure]) -> np.ndarray:
    """Which elements of theta enter by their squares alone, (n_theta,)."""
    return np.repeat(
        [s.is_diagonal for s in structures],
        [s.n_theta for s in structures],
    )


def _side_by_side(bases):
    index, value, member, column = [np.zeros((3, 0), int)], [np.zeros(0)], 0, 0
    for basis in bases:
        r, a, b = np.nonzero(basis)
        index.append(np.stack([r + member, a + column, b + column]))
        value.append(basis[r, a, b])
        member, column = member + len(basis), column + basis.shape[1]
    return np.hstack(index).astype(np.intp), np.concatenate(value)
