"""Residual groups in batches of one size, and the patterns that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixedext.kernels.rows.scans import sort_by_codes
from mixedext.limits import SAME_DISTANCES, SMALLEST_SHARE
from mixedext.specification.covariance.line_distances import LineDistances

# Visits that the bits of a number can tell.
BITS = 63
# Distances on a line above which they are made as they are asked for.
MANY_DISTANCES = 2**20

__all__ = ["Batch", "RowsOfGroups", "batches_of", "first_of", "group_order", "patterns"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Residual groups of one size s.

    Attributes
    ----------
    rows : ndarray
        Numbers of the rows, (G, s): those of a group in order of visit or time, of
        coordinates in that of the data.
    pattern : ndarray
        Number of the pattern of each group, (G,).
    count : ndarray
        Groups of each pattern, (c,).
    level : ndarray
        Number of the level of ``by`` of each pattern, (c,); 0 without it.
    place : ndarray
        Visits (c, s), or distances (c, s, s); of many on a line ``LineDistances``.
    strata : tuple of ndarray
        For each variance function the strata of the rows, (c, s).
    covariates : tuple of ndarray or None
        For each variance function its covariate, (c, s).
    group : ndarray
        Codes of the residual groups, (G,).
    """

    rows: np.ndarray
    pattern: np.ndarray
    count: np.ndarray
    level: np.ndarray
    place: np.ndarray
    strata: tuple[np.ndarray, ...]
    covariates: tuple[np.ndarray | None, ...]
    group: np.ndarray

    @property
    def size(self) -> int:
        """Rows of each group."""
        return self.rows.shape[1]


@dataclass(frozen=True, eq=False)
class RowsOfGroups:
    """What the rows of residual groups are, by which they are pooled.

    Attributes
    ----------
    order : ndarray
        Rows sorted by group, and within as the structure has it, (n,).
    codes : ndarray
        Residual groups, (n,).
    sizes : ndarray
        Rows of each group.
    level : ndarray or None
        Level of ``by`` of each row, (n,).
    visits : ndarray or None
        Places of the visits, (n,); None for distances, or where rows are exchangeable.
    coordinates : sequence of ndarray
        Times or places, (n,) each.
    manhattan : bool
        Whether distances are sums of those by coordinate.
    strata : sequence of ndarray or None
        For each variance function the strata of the rows, (n,); None for one.
    covariates : sequence of ndarray or None
        For each variance function its covariate, (n,).
    pooled : bool
        Whether groups that are alike share a pattern.
    """

    order: np.ndarray
    codes: np.ndarray
    sizes: np.ndarray
    level: np.ndarray | None = None
    visits: np.ndarray | None = None
    coordinates: Sequence[np.ndarray] = ()
    manhattan: bool = False
    strata: Sequence[np.ndarray | None] = ()
    covariates: Sequence[np.ndarray | None] = ()
    pooled: bool = True

    @classmethod
    def single(
        cls,
        n_obs: int,
        strata: Sequence[np.ndarray | None],
        covariates: Sequence[np.ndarray | None],
        pooled: bool,
    ) -> RowsOfGroups:
        """Independent rows, each a group of its own."""
        rows, ones = np.arange(n_obs), np.ones(n_obs, np.intp)
        known = strata, covariates, pooled
        return cls(rows, rows, ones, None, None, (), False, *known)


def group_order(
    codes: np.ndarray, n_groups: int, within: np.ndarray | None, width: int
) -> np.ndarray:
    """Rows sorted by group, and within groups by a number below ``width``.

    Parameters
    ----------
    codes : ndarray
        Residual groups, (n,).
    n_groups : int
        Their number.
    within : ndarray or None
        Numbers 0 .. width - 1, (n,); the order of the rows if None.
    width : int
        Their bound.
    """
    out = np.arange(len(codes), dtype=np.int64)
    if n_groups == 1 and within is None:
        return out
    key = codes if within is None else codes.astype(np.int64) * width + within
    if (key[1:] >= key[:-1]).all():
        return out
    if within is not None:
        out = _sorted(out, within, width)
    return _sorted(out, codes, n_groups)


def _sorted(rows, codes, n_codes):
    """Rows by their codes, those of one code in the order they have; by counting."""
    out = np.empty_like(rows)
    codes = np.ascontiguousarray(codes, np.int32)
    sort_by_codes(codes, rows, np.zeros(n_codes + 1, np.int64), out)
    return out


def batches_of(
    rows: RowsOfGroups, check: Callable[[list[tuple[int, int]]], None] | None = None
) -> tuple[Batch, ...]:
    """Groups by size, with their patterns.

    Parameters
    ----------
    rows : RowsOfGroups
        The rows.
    check : callable, optional
        Given the number of patterns and the size of each batch before any matrix of
        distances is made.
    """
    starts = np.cumsum(rows.sizes) - rows.sizes
    units = [_unit(v, rows) for v in rows.coordinates]
    strata = [z for z in rows.strata if z is not None and not _of_visits(z, rows.visits)]
    parts = []
    for s in np.unique(rows.sizes):
        groups = np.flatnonzero(rows.sizes == s)
        at = rows.order[starts[groups][:, None] + np.arange(s)]
        parts.append((at, *_pooled(rows, at, units, strata)))
    if check is not None:
        check([(len(first), at.shape[1]) for at, _, first in parts])
    return tuple(_batch(rows, *part) for part in parts)


def first_of(pattern: np.ndarray) -> np.ndarray:
    """The first group of each pattern, (c,)."""
    first = np.empty(int(pattern.max(initial=-1)) + 1, np.intp)
    first[pattern[::-1]] = np.arange(len(pattern))[::-1]
    return first


def _batch(rows, at, pattern, first):
    one = at[first]  # the rows of a group of each pattern
    if len(rows.coordinates):
        coordinates = [v[one] for v in rows.coordinates]
        if len(coordinates) == 1 and one.size * one.shape[1] > MANY_DISTANCES:
            place: Any = LineDistances(coordinates[0])
        else:
            place = _distances(coordinates, rows.manhattan)
    elif rows.visits is not None:
        place = rows.visits[one]
    else:
        place = np.broadcast_to(np.arange(at.shape[1]), one.shape).copy()
    zero = np.zeros(one.shape, np.intp)
    return Batch(
        at,
        pattern,
        np.bincount(pattern, minlength=len(first)),
        zero[:, 0].copy() if rows.level is None else rows.level[one[:, 0]],
        place,
        tuple(zero if z is None else z[one] for z in rows.strata),
        tuple(None if v is None else v[one] for v in rows.covariates),
        rows.codes[at[:, 0]],
    )


def _of_visits(strata, visits):
    """Whether the strata of rows are those of their visits."""
    if visits is None:
        return False
    known = np.zeros(int(visits.max(initial=0)) + 1, strata.dtype)
    known[visits] = strata
    return bool((known[visits] == strata).all())


def _sets_of_visits(visits, at):
    """Which visits groups have, (G, 1): a bit for each; or all of them, (G, s).

    Where the rows of a group are in order of visit, each of which is there once, the set
    tells where each stands; rows that are predicted may repeat a visit of the fit.
    """
    own = visits[at]
    if visits.max(initial=0) >= BITS or not (own[:, 1:] > own[:, :-1]).all():
        return own
    bits = np.left_shift(1, own, dtype=np.int64)
    return np.bitwise_or.reduce(bits, axis=1)[:, None]


def _pooled(rows, at, units, strata):
    """Number of the pattern of each of the groups, and the first group of each."""
    if not rows.pooled:
        return np.arange(len(at)), np.arange(len(at))
    columns = []
    if rows.level is not None:
        columns.append(rows.level[at[:, :1]])
    if rows.visits is not None:
        columns.append(_sets_of_visits(rows.visits, at))
    for values, unit in zip(rows.coordinates, units, strict=True):
        shift = values[at[:, 1:]] - values[at[:, :1]]
        columns.append(np.rint(shift / unit) + 0.0)  # no negative zero
    columns += [z[at] for z in strata]
    columns += [v[at] for v in rows.covariates if v is not None]
    pattern = patterns(len(at), columns)
    return pattern, first_of(pattern)


def _unit(values, rows):
    """The difference of a coordinate within groups that counts as none."""
    v, g = values[rows.order], rows.codes[rows.order]
    if ((v[1:] < v[:-1]) & (g[1:] == g[:-1])).any():
        order = np.lexsort((v, g))
        v = v[order]  # the groups stand as they stood
    gap = np.diff(v)[g[1:] == g[:-1]]
    last = np.append(g[1:] != g[:-1], True)
    extent = float((v[last] - v[np.append(True, last[:-1])]).max())
    gap = gap[gap > 0]
    smallest = float(gap.min()) if len(gap) else extent
    return min(SAME_DISTANCES * extent, SMALLEST_SHARE * smallest) or 1.0


def _distances(coordinates, manhattan):
    """Distances within groups, (c, s, s), of coordinates (c, s)."""
    total = 0.0
    for values in coordinates:
        gap = np.abs(values[:, :, None] - values[:, None, :])
        total = total + (gap if manhattan or len(coordinates) == 1 else gap**2)
    return total if manhattan or len(coordinates) == 1 else np.sqrt(total)


def patterns(n_groups: int, columns: Sequence[np.ndarray]) -> np.ndarray:
    """Number of the pattern of each group.

    Groups are alike if they agree in all columns, (G, k) each; patterns are numbered as
    they come first.
    """
    if n_groups == 1 or not columns:
        return np.zeros(n_groups, np.intp)
    width = sum(c.shape[1] for c in columns)
    if n_groups <= width:  # few groups of many rows: each as one piece of memory
        seen: dict[tuple[bytes, ...], int] = {}
        parts = [np.ascontiguousarray(c) for c in columns]
        pattern = np.array(
            [
                seen.setdefault(tuple(p[g].tobytes() for p in parts), len(seen))
                for g in range(n_groups)
            ]
        )
    else:
        pattern = np.zeros(n_groups, np.int64)
        for column in columns:
            for j in range(column.shape[1]):
                pattern = _refined(pattern, column[:, j])
    return pattern.astype(np.intp, copy=False)


def _refined(pattern, values):
    """Patterns split by one more column."""
    if (values == values[0]).all():
        return pattern
    codes, levels = pd.factorize(values)
    return pd.factorize(pattern * len(levels) + codes)[0]
