"""Quadratic forms z'Lam C Lam'z of rows of Z, by the blocked factor.

C is needed where rows are, and nowhere else.  Row i in level l of the leading factor, with
y = half_l'z_l and q = Lam2'(z_t - link_l half_l y), has

    z'Lam C Lam'z = |y|^2 + q'C22 q,

where links_l' C22 between the columns that meet level l serves all rows of the level.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from mixedext.engine.factor.factor import Factor
from mixedext.kernels.rows import deletion

__all__ = ["lam_of_tail", "row_forms"]

# Columns of a tail on a pattern up to which C22 is laid out as a matrix (32 MB).
MOST_DENSE = 2048


def row_forms(factor: Factor, known: sparse.csr_array) -> np.ndarray:
    """z'Lam C Lam'z of rows, (n,).

    Parameters
    ----------
    factor : Factor
        It stands at the covariances.
    known : csr_array
        Rows of Z, (n, L K + m): the leading factor's columns, then the tail's.
    """
    n_levels, k = factor.half.shape[:2]
    head = n_levels * k
    lead, tail = sparse.csr_array(known[:, :head]), sparse.csr_array(known[:, head:])
    level, y = _of_lead(lead, factor)
    moved = sparse.csr_array(tail @ lam_of_tail(factor))
    return np.einsum("nk,nk->n", y, y) + _of_tail(factor, level, y, moved)


def _of_lead(lead, factor):
    """Level of every row, and half_l'z_l, (n, k)."""
    n, k = lead.shape[0], factor.half.shape[1]
    if not lead.shape[1]:
        return np.zeros(n, np.intp), np.zeros((n, k))
    count = np.diff(lead.indptr)
    row = np.repeat(np.arange(n), count)
    z, level = np.zeros((n, k)), np.zeros(n, np.intp)
    level[row] = lead.indices // k
    z[row, lead.indices % k] = lead.data
    return level, np.einsum("nb,nba->na", z, factor.half[level])


def lam_of_tail(factor: Factor) -> sparse.csr_array:
    """Lam2, the roots that the tail was factored with, (m, m)."""
    none = np.zeros(0, np.intp)
    rows, columns, values = [none], [none], [np.zeros(0)]
    for f, (vector, size) in enumerate(factor.roots):
        at = factor.blocks.tail_columns(f)
        i, j = np.broadcast_arrays(at[:, :, None], at[:, None, :])
        rows.append(i.ravel())
        columns.append(j.ravel())
        values.append(np.tile((vector * size).ravel(), len(at)))
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array(entries, shape=(factor.tail.size,) * 2)


def _of_tail(factor, level, y, moved):
    """What the tail adds to z'Lam C Lam'z, (n,)."""
    tail, blocks = factor.tail, factor.blocks
    if not tail.size:
        return np.zeros(len(y))
    if not tail.inverted:
        tail.invert()
    starts = rows = np.zeros(0, np.intp)
    if blocks.pattern is None:
        inverse = tail.reduced
    elif tail.size <= MOST_DENSE:  # elements are found at once
        (first, row), inverse = tail.columns, np.zeros((tail.size,) * 2)
        inverse[np.repeat(np.arange(tail.size), np.diff(first)), row] = tail.inverse
    else:
        inverse, (starts, rows) = tail.inverse, tail.columns
    order = None
    if (np.diff(level) < 0).any():
        order = np.argsort(level, kind="stable")
        level, y, moved = level[order], y[order], moved[order]
    found = np.empty(len(y))
    pointers = blocks.link_pointers
    deletion.link_squares(
        level,
        y,
        moved.indptr.astype(np.intp),
        moved.indices.astype(np.intp),
        moved.data,
        pointers if len(pointers) > 1 else np.zeros(2, np.intp),
        blocks.link_index,
        tail._edges(factor.half),
        inverse=inverse.ravel(),
        starts=starts,
        rows=rows,
        size=tail.size,
        out=found,
    )
    if order is None:
        return found
    out = np.empty(len(y))
    out[order] = found
    return out
