"""Residual groups in batches of one size, and the patterns that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mixedext.limits import SAME_DISTANCES

__all__ = ["Batch", "batches_of", "group_order", "single_rows"]


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
        Visits (c, s), or distances (c, s, s).
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
    if n_groups == 1 and within is None:
        return np.arange(len(codes))
    key = codes if within is None else codes.astype(np.int64) * width + within
    if (key[1:] >= key[:-1]).all():
        return np.arange(len(codes))
    return np.argsort(key, kind="stable")


def batches_of(
    order: np.ndarray,
    codes: np.ndarray,
    sizes: np.ndarray,
    level: np.ndarray | None,
    visits: np.ndarray | None,
    coordinates: Sequence[np.ndarray],
    manhattan: bool,
    strata: Sequence[np.ndarray | None],
    covariates: Sequence[np.ndarray | None],
    pooled: bool = True,
) -> tuple[Batch, ...]:
    """Groups by size, with their patterns.

    Parameters
    ----------
    order : ndarray
        Rows sorted by group, (n,).
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
    pooled : bool, optional
        Whether groups that are alike share a pattern.
    """
    starts = np.cumsum(sizes) - sizes
    unit = _unit(coordinates)
    out = []
    for s in np.unique(sizes):
        groups = np.flatnonzero(sizes == s)
        rows = order[starts[groups][:, None] + np.arange(s)]
        columns = []
        if level is not None:
            columns.append(level[rows[:, :1]])
        if visits is not None:
            columns.append(visits[rows])
        if s > 1:
            for values in coordinates:
                shift = values[rows] - values[rows[:, :1]]
                columns.append(np.rint(shift[:, 1:] / unit) + 0.0)  # no negative zero
        columns += [z[rows] for z in strata if z is not None]
        columns += [v[rows] for v in covariates if v is not None]
        if pooled:
            pattern, first = _patterns(len(groups), columns)
        else:
            pattern, first = np.arange(len(groups)), np.arange(len(groups))
        one = rows[first]  # a group of each pattern
        if len(coordinates):
            place = _distances([v[one] for v in coordinates], manhattan)
        elif visits is not None:
            place = visits[one]
        else:
            place = np.broadcast_to(np.arange(s), one.shape).copy()
        out.append(
            Batch(
                rows,
                pattern,
                np.bincount(pattern, minlength=len(first)),
                np.zeros(len(first), np.intp) if level is None else level[one[:, 0]],
                place,
                tuple(
                    np.zeros(one.shape, np.intp) if z is None else z[one] for z in strata
                ),
                tuple(None if v is None else v[one] for v in covariates),
                codes[rows[:, 0]],
            )
        )
    return tuple(out)


def single_rows(
    n_obs: int,
    strata: Sequence[np.ndarray | None],
    covariates: Sequence[np.ndarray | None],
    pooled: bool = True,
) -> tuple[Batch, ...]:
    """The one batch of independent rows, each a group of its own."""
    rows = np.arange(n_obs)
    ones = np.ones(n_obs, np.intp)
    return batches_of(rows, rows, ones, None, None, (), False, strata, covariates, pooled)


def _unit(coordinates):
    """The difference of coordinates that counts as none, the same for all."""
    if not coordinates:
        return 1.0
    extent = max(float(np.ptp(v)) for v in coordinates)
    gaps = [np.diff(np.unique(v)) for v in coordinates]
    smallest = min((float(g.min()) for g in gaps if len(g)), default=extent)
    unit = min(SAME_DISTANCES * extent, 1e-6 * smallest)
    return unit or 1.0


def _distances(coordinates, manhattan):
    """Distances within groups, (c, s, s), of coordinates (c, s)."""
    total = 0.0
    for values in coordinates:
        gap = np.abs(values[:, :, None] - values[:, None, :])
        total = total + (gap if manhattan or len(coordinates) == 1 else gap**2)
    return total if manhattan or len(coordinates) == 1 else np.sqrt(total)


def _patterns(n_groups, columns):
    """Number of the pattern of each group, and a group of each pattern.

    Groups are alike if they agree in all columns, (G, k) each; patterns are numbered as
    they come first.
    """
    if n_groups == 1 or not columns:
        return np.zeros(n_groups, np.intp), np.zeros(1, np.intp)
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
    first = np.empty(int(pattern.max()) + 1, np.intp)
    first[pattern[::-1]] = np.arange(n_groups)[::-1]
    return pattern.astype(np.intp, copy=False), first


def _refined(pattern, values):
    """Patterns split by one more column."""
    if (values == values[0]).all():
        return pattern
    codes, levels = pd.factorize(values)
    return pd.factorize(pattern * len(levels) + codes)[0]
