"""Pairs of rows of a residual group, and what the residual covariance says of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mixedext.engine.residual.estimate import ResidualEstimate
from mixedext.fitted import Fitted
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.residual_objects import Spatial

__all__ = [
    "RowPlaces",
    "correlation_at",
    "error_moments",
    "has_order",
    "pair_distances",
    "pairs_at_lag",
    "row_pairs",
    "row_places",
]

# Pairs of rows that semivariances are made of; of more, a random sample of as many.
MOST_PAIRS = 1_000_000


class RowPlaces(NamedTuple):
    """Where the rows stand in the residual groups.

    Attributes
    ----------
    batch, member, position : ndarray
        Number of the batch, of the group in it, and of the row in the group, (n,) each.
    visit : ndarray or None
        Place of the visit, (n,); None where rows stand at distances.
    """

    batch: np.ndarray
    member: np.ndarray
    position: np.ndarray
    visit: np.ndarray | None

    @property
    def at(self) -> np.ndarray:
        """What rows of a group are ordered by: visits, or their number by time."""
        return self.position if self.visit is None else self.visit


def row_places(bound: BoundResidual) -> RowPlaces:
    """Places of all rows."""
    batch, member, position, visit = np.zeros((4, bound.n_obs), np.intp)
    has_visits = True
    for number, own in enumerate(bound.batches):
        batch[own.rows], position[own.rows] = number, np.arange(own.size)
        member[own.rows] = np.arange(len(own.rows))[:, None]
        if own.place.ndim > 2:
            has_visits = False
        else:
            visit[own.rows] = own.place[own.pattern]
    if bound.visit_codes is not None:  # of compound symmetry, too
        visit = np.asarray(bound.visit_codes)
    return RowPlaces(batch, member, position, visit if has_visits else None)


def has_order(bound: BoundResidual) -> bool:
    """Whether rows of a group stand one after the other, and not in a plane."""
    return not (isinstance(bound.spec, Spatial) and len(bound.spec.places) > 1)


def pairs_at_lag(
    codes: np.ndarray, at: np.ndarray, lag: int
) -> tuple[np.ndarray, np.ndarray]:
    """Places in sorted rows of the pairs whose whole numbers ``at`` are a lag apart.

    Parameters
    ----------
    codes, at : ndarray
        Group and place of the rows, sorted by both; no place twice in a group.
    lag : int
        Difference of the places.
    """
    width = int(at.max(initial=0)) + lag + 1
    key = codes.astype(np.int64) * width + at
    found = np.minimum(np.searchsorted(key, key + lag), len(key) - 1)
    first = np.flatnonzero(key[found] == key + lag)
    return first, found[first]


def row_pairs(
    codes: np.ndarray, rng: object = None, most: int = MOST_PAIRS
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows of a level, rows being sorted by it; a random sample of too many."""
    start = np.flatnonzero(np.diff(codes, prepend=-1))
    size = np.diff(np.append(start, len(codes))).astype(np.int64)
    pairs = size * (size - 1) // 2
    ends = np.cumsum(pairs)
    whole = int(ends[-1]) if len(ends) else 0
    number = np.arange(min(whole, most), dtype=np.int64)
    if whole > most:
        number = np.random.default_rng(rng).integers(0, whole, most)  # type: ignore[arg-type]
    level = np.searchsorted(ends, number, side="right")
    inside = number - (ends - pairs)[level]
    # pair number i (i - 1) / 2 + j of rows j < i
    i = np.floor((1 + np.sqrt(1 + 8 * inside.astype(float))) / 2).astype(np.int64)
    i -= i * (i - 1) // 2 > inside
    i += i * (i + 1) // 2 <= inside
    j = inside - i * (i - 1) // 2
    return start[level] + i, start[level] + j


def pair_distances(
    bound: BoundResidual, places: RowPlaces, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Distances of pairs of rows of a group, as the structure has them, (m,)."""
    if places.visit is not None:
        return np.abs(places.visit[first] - places.visit[second]).astype(float)
    out = np.empty(len(first))
    for number, own in enumerate(bound.batches):
        here = np.flatnonzero(places.batch[first] == number)
        one, other = first[here], second[here]
        pattern = own.pattern[places.member[one]]
        out[here] = own.place[pattern, places.position[one], places.position[other]]
    return out


def error_moments(
    fitted: Fitted, places: RowPlaces, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Variances and covariances of the errors of pairs of rows.

    Returns
    -------
    variance, other, covariance : ndarray
        Of the first rows, the second ones and between them, (m,), in the units of the data;
        rows of different groups have none.
    """
    residual, weights = fitted.fit.residual, fitted.need_rows().weights
    assert residual is not None
    out = np.zeros((3, len(first)))
    pairs = zip(residual.bound.batches, residual.matrices(), strict=True)
    for number, (batch, own) in enumerate(pairs):
        for row, (one, other) in enumerate(
            ((first, first), (second, second), (first, second))
        ):
            here = np.flatnonzero(
                (places.batch[one] == number)
                & (places.batch[other] == number)
                & (places.member[one] == places.member[other])
            )
            pattern = batch.pattern[places.member[one[here]]]
            at = places.position[one[here]], places.position[other[here]]
            out[row, here] = own[(pattern, *at)]
    out *= fitted.scale
    if weights is not None:
        root = np.sqrt(weights)
        out[0] /= root[first] ** 2
        out[1] /= root[second] ** 2
        out[2] /= root[first] * root[second]
    return out[0], out[1], out[2]


def correlation_at(residual: ResidualEstimate, distance: np.ndarray) -> np.ndarray | None:
    """Correlation of the errors of two rows at distances, (m,); None without a function.

    Where rows stand at distances, and all have one correlation as a function of these.
    """
    bound = residual.bound
    if bound.correlation is None or bound.n_levels > 1:
        return None
    if all(b.place.ndim < 3 for b in bound.batches):
        return None
    place = np.zeros((len(distance), 2, 2))
    place[:, 0, 1] = place[:, 1, 0] = distance
    curve = residual.curves[0]
    return bound.correlation.matrix(residual.psi[curve.at][curve.n_sd :], place)[:, 0, 1]
