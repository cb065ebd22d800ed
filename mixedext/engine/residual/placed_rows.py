"""Rows that are not of the fit under its residual covariance.

Rows with weights W and the residual covariance W^-1/2 L L' W^-1/2 are whitened by
L^-1 W^1/2; by a parameter r the covariance of whitened rows has the derivative

    H_r = L^-1 (d Lambda / d psi_r) L^-T.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mixedext.engine.residual.rows import places_of, residual_curves
from mixedext.exceptions import DevianceError
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.residual_objects import Spatial
from mixedext.specification.covariance.residual_patterns import (
    Batch,
    RowsOfGroups,
    batches_of,
)
from mixedext.specification.covariance.residual_recipe import NewPlaces

__all__ = ["Whitening", "placed_batches", "whitening_of"]


def placed_batches(
    bound: BoundResidual, parts: Sequence[NewPlaces], group: np.ndarray, number: np.ndarray
) -> list[Batch]:
    """Residual groups of rows that may be of the fit or not.

    Parameters
    ----------
    bound : BoundResidual
        The structure.
    parts : sequence of NewPlaces
        Where the rows stand, those of the fit first.
    group : ndarray
        Residual group of every row, (n,).
    number : ndarray
        What the rows are numbered by, (n,).
    """
    _, codes = np.unique(group, return_inverse=True)
    rows = RowsOfGroups(
        np.argsort(codes, kind="stable"),
        codes,
        np.bincount(codes),
        np.concatenate([p.level for p in parts]),
        _visits(bound, parts),
        [np.concatenate(v) for v in zip(*(p.coordinates for p in parts), strict=True)],
        isinstance(bound.spec, Spatial) and bound.spec.metric == "manhattan",
        [_whole(v) for v in zip(*(p.strata for p in parts), strict=True)],
        [_whole(v) for v in zip(*(p.covariates for p in parts), strict=True)],
    )
    return [replace(b, rows=number[b.rows]) for b in batches_of(rows)]


def _visits(bound, parts):
    """Places of visits of rows of the fit and others; None for distances."""
    if bound.correlation is None or not bound.correlation.over_visits:
        return None
    out = []
    for part in parts:
        if part.visits is not None:
            out.append(part.visits)
        else:  # exchangeable rows, different from all others
            top = max((int(v.max(initial=0)) for v in out), default=0) + 1
            out.append(top + np.arange(len(part)))
    return np.concatenate(out)


def _whole(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    known = [p for p in parts if p is not None]
    return np.concatenate(known) if known else None


class Whitening(NamedTuple):
    """What rows are multiplied by, and how the covariance of the products moves.

    Attributes
    ----------
    root : csr_array
        L^-1 W^1/2, (n, n).
    moves : list of csr_array
        H_r of every element of psi, (n, n).
    """

    root: sparse.csr_array
    moves: list[sparse.csr_array]


def whitening_of(
    bound: BoundResidual, psi: np.ndarray, places: NewPlaces, precision: np.ndarray
) -> Whitening:
    """Whitening of rows none of which is of a residual group of the fit.

    Parameters
    ----------
    bound : BoundResidual
        The structure.
    psi : ndarray
        Its parameters.
    places : NewPlaces
        Where the rows stand; rows of one group have one number.
    precision : ndarray
        Weights, (n,).

    Raises
    ------
    DevianceError
        If the covariance of a group is not definite, as where two of its rows stand at
        one place.
    """
    n = len(places)
    batches = placed_batches(bound, [places], places.group, np.arange(n))
    entries: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(1 + len(psi))]
    for batch in batches:
        for curve in residual_curves(bound):
            here = np.flatnonzero(batch.level == curve.number)
            if not len(here):
                continue
            own, at = psi[curve.at], places_of(batch).at(here)
            try:
                inverse = np.linalg.inv(np.linalg.cholesky(curve.matrix(own, at)))
            except np.linalg.LinAlgError:
                raise DevianceError(
                    f"{bound}: the covariance of the residuals of a new group is not "
                    "definite; two of its rows may stand at one visit, time or place"
                ) from None
            chosen = np.flatnonzero(np.isin(batch.pattern, here))
            rows, pattern = batch.rows[chosen], np.searchsorted(here, batch.pattern[chosen])
            weighted = inverse[pattern] * np.sqrt(precision[rows])[:, None, :]
            entries[0].append(_blocks(rows, weighted))
            moved = inverse @ curve.tangent(own, at) @ inverse.transpose(0, 2, 1)
            for r, matrix in zip(curve.at, moved, strict=True):
                entries[1 + r].append(_blocks(rows, matrix[pattern]))
    root, *moves = (_sparse(own, n) for own in entries)
    return Whitening(root, moves)


def _blocks(rows, matrices):
    """Rows, columns and values of blocks (G, s, s)."""
    shape = matrices.shape
    i = np.broadcast_to(rows[:, :, None], shape).ravel()
    j = np.broadcast_to(rows[:, None, :], shape).ravel()
    return i, j, matrices.ravel()


def _sparse(entries, n):
    if not entries:
        return sparse.csr_array((n, n))
    i, j, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    return sparse.csr_array((values, (i, j)), shape=(n, n))
