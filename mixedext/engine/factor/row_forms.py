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
from mixedext.engine.rows.blocks import Blocks
from mixedext.kernels.rows import deletion

__all__ = ["RowForms", "lam_of_tail", "row_forms", "rows_of_lead"]

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
    return RowForms(factor.blocks, known).of(factor)


class RowForms:
    """Rows of Z laid out once, for the quadratic forms of many factors.

    Parameters
    ----------
    blocks : Blocks
        Cross-products that the factors have the pattern of.
    known : csr_array
        Rows of Z, (n, L K + m): the leading factor's columns, then the tail's.
    """

    def __init__(self, blocks: Blocks, known: sparse.csr_array):
        levels, k = blocks.lead_gram.shape[:2]
        head = levels * k
        lead = sparse.csr_array(known[:, :head])
        self._level, self._z = rows_of_lead(lead, k)
        tail = sparse.csr_array(known[:, head:])
        self._order = None
        if (np.diff(self._level) < 0).any():
            self._order = order = np.argsort(self._level, kind="stable")
            self._level, self._z, tail = self._level[order], self._z[order], tail[order]
        self._tail = tail
        self._starts = tail.indptr.astype(np.intp)
        self._columns = tail.indices.astype(np.intp)

    def of(self, factor: Factor) -> np.ndarray:
        """z'Lam C Lam'z of every row, (n,), where a factor stands."""
        if self._z.shape[1] == 1:
            y = self._z * factor.half[self._level, 0] if len(factor.half) else self._z
        elif len(factor.half):
            y = np.einsum("nb,nba->na", self._z, factor.half[self._level])
        else:
            y = np.zeros_like(self._z)
        found = np.einsum("nk,nk->n", y, y)
        if factor.tail.size:
            found += self._of_tail(factor, np.ascontiguousarray(y))
        if self._order is None:
            return found
        out = np.empty(len(found))
        out[self._order] = found
        return out

    def _of_tail(self, factor, y):
        """What the tail adds, (n,)."""
        tail, blocks = factor.tail, factor.blocks
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
        first, columns, values = self._moved(factor)
        edge, found = tail._edges(factor.half), np.empty(len(y))
        pointers = blocks.link_pointers
        deletion.link_squares(
            self._level,
            y,
            first,
            columns,
            values,
            pointers if len(pointers) > 1 else np.zeros(2, np.intp),
            blocks.link_index,
            edge,
            products=tail.link_products(edge),
            inverse=inverse.ravel(),
            starts=starts,
            rows=rows,
            size=tail.size,
            out=found,
        )
        return found

    def _moved(self, factor):
        """Lam2'z of every row, compressed."""
        if all(len(size) == 1 for _, size in factor.roots):
            scale = np.empty(factor.tail.size)
            for f, (vector, size) in enumerate(factor.roots):
                scale[factor.blocks.tail_columns(f)] = vector[0, 0] * size[0]
            return self._starts, self._columns, self._tail.data * scale[self._columns]
        moved = sparse.csr_array(self._tail @ lam_of_tail(factor))
        return moved.indptr.astype(np.intp), moved.indices.astype(np.intp), moved.data


def rows_of_lead(lead: sparse.csr_array, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Level of every row of the leading factor's Z, compressed, and its z, (n, k)."""
    n = lead.shape[0]
    z, level = np.zeros((n, k)), np.zeros(n, np.intp)
    if lead.shape[1]:
        row = np.repeat(np.arange(n), np.diff(lead.indptr))
        level[row] = lead.indices // k
        z[row, lead.indices % k] = lead.data
    return level, z


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
