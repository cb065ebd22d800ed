"""The levels of the only grouping factor, those with the same Z_l'Z_l pooled.

V0 depends on the grams Z_l'Z_l = U'D U alone, so levels with the same gram enter the
deviance and its derivatives through their number and sum_l vec(C_l) vec(C_l)',
C_l = U^-T Z_l'[X y].  As few pseudo-levels as that sum has rank do the same: random
intercepts have a class for each size of group, balanced designs one class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.engine.rows.blocks import Blocks
from mixedext.kernels.rows.pooling import classify_levels, pooled_products
from mixedext.kernels.rows.within import split_levels
from mixedext.limits import POOLED_EIGENVALUE

__all__ = ["LevelSums", "level_sums", "split_sums"]

# Pooling is tried from this many levels on.
LEAST_LEVELS = 64
# Classes of levels that are looked for at most, and the share of the levels that pooling
# may leave.
MOST_CLASSES = 2000
WORTHWHILE = 0.5


@dataclass(frozen=True, eq=False)
class LevelSums:
    """What the deviance needs of the levels, pooled where that pays.

    Attributes
    ----------
    gram, cross : ndarray
        (L, K, K) and (L, K, P) of levels, or of as few pseudo-levels as have the same
        sums.
    weight : ndarray or None
        How often each gram counts; None for once.
    triangle, half : ndarray or None
        (L, K, K) D and, above it, U, and (L, K, P) C; None where every evaluation computes
        them anew.
    """

    gram: np.ndarray
    cross: np.ndarray
    weight: np.ndarray | None = None
    triangle: np.ndarray | None = None
    half: np.ndarray | None = None


def split_sums(gram: np.ndarray, cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """D with U above it, (L, K, K), and C, (L, K, P), of every level."""
    triangle, half = np.zeros_like(gram), np.empty_like(cross)
    split_levels(gram, cross, triangle, half)
    return triangle, half


def level_sums(blocks: Blocks) -> LevelSums:
    """The levels of the leading factor, those with the same gram pooled if that pays.

    Parameters
    ----------
    blocks : Blocks
        Cross-products of a model with one grouping factor.
    """
    gram, cross = blocks.lead_gram, blocks.lead_cross
    plain = LevelSums(gram, cross)
    n_levels, width, n_fixed = cross.shape
    if n_levels < LEAST_LEVELS:
        return plain
    most = min(int(WORTHWHILE * n_levels / (width * n_fixed)), MOST_CLASSES)
    found = classify_levels(gram, most) if most else None
    if found is None:
        return plain
    label, first = found
    count = np.bincount(label)
    # Sums of vec(C) vec(C)' by class, brought to diagonal one: then the eigenvectors give
    # as many pseudo-levels as the sum has rank, with an error relative to each column.
    products = pooled_products(label, len(first), gram, cross)
    scaled, size = unit_diagonal(products)
    value, vector = np.linalg.eigh(scaled)
    kept = value > POOLED_EIGENVALUE * value[:, -1:]
    kept[:, -1] = True
    root = (vector * np.sqrt(value.clip(0))[:, None, :]).transpose(0, 2, 1)
    root *= size[:, None, :]
    classes = np.repeat(np.arange(len(first)), kept.sum(axis=1))
    if len(classes) > WORTHWHILE * n_levels:
        return plain
    weight = np.zeros(len(classes))
    weight[np.searchsorted(classes, np.arange(len(first)))] = count
    half = np.ascontiguousarray(root[kept]).reshape(-1, width, n_fixed)
    triangle = split_sums(gram[first], cross[first])[0][classes]
    unit = np.where(np.eye(width, dtype=bool), 1.0, triangle)
    cross = np.ascontiguousarray(unit.transpose(0, 2, 1) @ half)
    return LevelSums(gram[first[classes]], cross, weight, triangle, half)
