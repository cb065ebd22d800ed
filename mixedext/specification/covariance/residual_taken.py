"""A residual structure on rows of whole residual groups, once or several times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.residual_patterns import Batch

__all__ = ["groups_are_whole", "on_whole_groups"]


def groups_are_whole(bound: BoundResidual, codes: np.ndarray) -> bool:
    """Whether all rows of a residual group have the same label.

    Parameters
    ----------
    bound : BoundResidual
        The structure, on n rows.
    codes : ndarray
        Labels, (n,).
    """
    return all((codes[b.rows] == codes[b.rows[:, :1]]).all() for b in bound.batches)


def on_whole_groups(
    bound: BoundResidual, rows: np.ndarray, draw: np.ndarray | None = None
) -> BoundResidual:
    """The same structure, with its parameters, on rows of whole residual groups.

    Parameters
    ----------
    bound : BoundResidual
        The structure.
    rows : ndarray
        Numbers of the rows, (m,): of a residual group all, or none.
    draw : ndarray, optional
        What each belongs to, (m,): a group that several draws have is as many groups, and
        a row without correlations as many as it is drawn.

    Returns
    -------
    BoundResidual
        On m rows, of groups that are numbered.
    """
    key = bound.group_codes[rows]
    if draw is not None:
        if bound.correlation is None:  # each row is a group, which one draw may have twice
            draw = np.arange(len(rows))
        key = draw * np.int64(bound.n_groups) + key
    taken, number = np.unique(key, return_inverse=True)
    # new numbers of the rows, by group taken and then as in the data
    order = np.lexsort((rows, number))
    start = np.searchsorted(number[order], np.arange(len(taken)))
    group = taken % bound.n_groups
    alone = any(bound.of_fitted)  # the fitted values of a row differ from draw to draw
    batches = [_of_batch(batch, group, start, order, alone) for batch in bound.batches]
    return replace(
        bound,
        batches=tuple(batch for batch in batches if len(batch.rows)),
        group_levels=pd.RangeIndex(len(taken)),
        group_codes=number,
        visit_codes=_at(bound.visit_codes, rows),
        n_obs=len(rows),
        row_strata=tuple(_at(own, rows) for own in bound.row_strata),
        row_covariates=tuple(_at(own, rows) for own in bound.row_covariates),
        fallbacks=(),
        passed_over=(),
    )


def _at(values, rows):
    return None if values is None else values[rows]


def _of_batch(batch, group, start, order, alone):
    """The groups of a batch that are taken, by the new numbers of their rows.

    ``alone`` gives each group a pattern of its own.
    """
    place = np.full(int(max(group.max(initial=0), batch.group.max(initial=0))) + 1, -1)
    place[batch.group] = np.arange(len(batch.group))
    at = place[group]
    taken = np.flatnonzero(at >= 0)
    at = at[taken]
    rank = np.argsort(np.argsort(batch.rows[at], axis=1), axis=1)
    if alone:
        used, pattern = batch.pattern[at], np.arange(len(at))
    else:
        used, pattern = np.unique(batch.pattern[at], return_inverse=True)
    return Batch(
        rows=order[start[taken][:, None] + rank],
        pattern=pattern.ravel(),
        count=np.bincount(pattern.ravel(), minlength=len(used)),
        level=batch.level[used],
        place=batch.place[used],
        strata=tuple(own[used] for own in batch.strata),
        covariates=tuple(_at(own, used) for own in batch.covariates),
        group=taken,
    )
