"""L^-1 of the residual groups, L L' = Lambda, as matrices or by the recursion of a chain.

Of a chain, whose row a depends on the row before alone, with a correlation r_a,

    (L^-1 c)_a = (c_a / s_a - r_a c_{a-1} / s_{a-1}) / sqrt(1 - r_a^2),

so that whitening n rows takes n steps and no matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mixedext.engine.residual.chain_part import places_of
from mixedext.engine.residual.rows import residual_curves
from mixedext.specification.covariance.line_distances import LineDistances
from mixedext.specification.covariance.residual_binding import BoundResidual
from mixedext.specification.covariance.residual_patterns import Batch

__all__ = ["ChainInverse", "DenseInverse", "chain_inverse"]

# Least 1 - r^2: what is less is rounding.
LEAST_REST = 1e-13
# How far distances of rows that follow each other may miss that of the outermost ones.
ON_A_LINE = 1e-12


@dataclass(frozen=True, eq=False)
class DenseInverse:
    """L^-1 of the patterns of a batch.

    Attributes
    ----------
    root : ndarray
        L, (c, s, s), lower triangles.
    """

    root: np.ndarray

    @cached_property
    def matrix(self) -> np.ndarray:
        """L^-1, (c, s, s)."""
        return np.linalg.inv(self.root)

    def times(self, batch: Batch, columns: np.ndarray) -> np.ndarray:
        """L^-1 times columns of all groups, (G, s, w)."""
        return self.matrix[batch.pattern] @ columns

    def root_times(self, batch: Batch, columns: np.ndarray) -> np.ndarray:
        """L times columns of all groups, (G, s, w)."""
        return self.root[batch.pattern] @ columns

    def transposed_times(self, batch: Batch, columns: np.ndarray) -> np.ndarray:
        """L^-T times columns of all groups, (G, s, w)."""
        return self.matrix.transpose(0, 2, 1)[batch.pattern] @ columns

    def log_determinants(self) -> np.ndarray:
        """log|L^-1| of the patterns, (c,)."""
        return -np.log(np.einsum("caa->ca", self.root)).sum(axis=1)

    def entries(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Entries of L^-1 of all groups: values (G, m), and their row and column (m,)."""
        row, column = np.tril_indices(batch.size)
        return self.matrix[:, row, column][batch.pattern], row, column


@dataclass(frozen=True, eq=False)
class ChainInverse:
    """L^-1 of the patterns of a batch whose groups are chains.

    Attributes
    ----------
    diagonal : ndarray
        Of L^-1, (c, s).
    before : ndarray
        To the left of it, (c, s); that of the first row is zero.
    """

    diagonal: np.ndarray
    before: np.ndarray

    def times(self, batch: Batch, columns: np.ndarray) -> np.ndarray:
        """L^-1 times columns of all groups, (G, s, w)."""
        out = self.diagonal[batch.pattern][:, :, None] * columns
        out[:, 1:] += self.before[batch.pattern][:, 1:, None] * columns[:, :-1]
        return out

    def root_times(self, batch: Batch, columns: np.ndarray) -> np.ndarray:
        """L times columns of all groups, (G, s, w)."""
        inverse = 1 / self.diagonal[batch.pattern][:, :, None]
        out = inverse * columns
        step = -self.before[batch.pattern][:, :, None] * inverse
        for a in range(1, batch.size):
            out[:, a] += step[:, a] * out[:, a - 1]
        return out

    def transposed_times(self, batch: Batch, columns: np.ndarray) -> np.ndarray:
        """L^-T times columns of all groups, (G, s, w)."""
        out = self.diagonal[batch.pattern][:, :, None] * columns
        out[:, :-1] += self.before[batch.pattern][:, 1:, None] * columns[:, 1:]
        return out

    def log_determinants(self) -> np.ndarray:
        """log|L^-1| of the patterns, (c,)."""
        return np.log(self.diagonal).sum(axis=1)

    def entries(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Entries of L^-1 of all groups: values (G, m), and their row and column (m,)."""
        value = np.hstack([self.diagonal, self.before[:, 1:]])[batch.pattern]
        place = np.arange(batch.size)
        row = np.concatenate([place, place[1:]])
        return value, row, np.concatenate([place, place[:-1]])


def chain_inverse(
    bound: BoundResidual, psi: np.ndarray, batch: Batch
) -> ChainInverse | None:
    """L^-1 of the groups of a batch; None of groups that are no chains as they stand."""
    correlation = bound.correlation
    if correlation is None or not correlation.is_chain or correlation.n_psi != 1:
        return None
    gap = _gaps(batch)
    if gap is None:
        return None
    size = np.empty(gap.shape)
    correlated, rest = np.zeros(gap.shape), np.ones(gap.shape)
    places = places_of(batch)
    for level, curve in enumerate(residual_curves(bound)):
        here = np.flatnonzero(batch.level == level)
        if not len(here):
            continue
        own = psi[curve.at]
        size[here] = np.exp(curve.log_sd_of_functions(own, places.at(here)))
        if gap.shape[1] > 1:
            less, value = correlation.by_gap(own[curve.n_sd :], gap[here, 1:].ravel())[:2]
            value = value.reshape(len(here), -1)
            correlated[here, 1:] = value
            rest[here, 1:] = less.reshape(value.shape) * (1 + value)
    if not (np.isfinite(size).all() and (size > 0).all() and np.isfinite(rest).all()):
        return None
    inverse = 1 / np.sqrt(np.maximum(rest, LEAST_REST))
    before = np.zeros(gap.shape)
    before[:, 1:] = -correlated[:, 1:] * inverse[:, 1:] / size[:, :-1]
    return ChainInverse(inverse / size, before)


def _gaps(batch):
    """Gap to the row before, (c, s), of groups whose rows stand in their order."""
    place = batch.place
    if isinstance(place, LineDistances):
        gap = np.diff(place.times, axis=1)
        if not ((gap >= 0).all() or (gap <= 0).all()):
            return None
        gap = np.abs(gap)
    elif place.ndim == 3:
        at = np.arange(place.shape[1] - 1)
        gap = place[:, at, at + 1]
        whole = place[:, 0, -1]
        if (np.abs(gap.sum(axis=1) - whole) > ON_A_LINE * np.abs(whole)).any():
            return None
    else:
        gap = np.diff(place, axis=1)
    out = np.zeros((place.shape[0], place.shape[1]), gap.dtype)
    out[:, 1:] = gap
    return out
