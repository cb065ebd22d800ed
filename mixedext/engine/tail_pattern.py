"""Pattern of the tail after the leading factor is eliminated, and how to store it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spilu

from mixedext.engine.kernels import sparse as sparse_kernel

__all__ = ["TailPattern", "choose_pattern"]

# Below this many columns a dense tail costs next to nothing.
SMALL_TAIL = 200
# Above this share of pairs that meet at one level of the lead, the tail is dense anyway.
DENSE_SHARE = 0.25
# Measured: a multiplication costs about this much more in the sparse kernels than in
# LAPACK's dense ones.
SPARSE_PENALTY = 25.0


@dataclass(frozen=True, eq=False)
class TailPattern:
    """Pattern of the tail's Cholesky factor, in compressed columns.

    Attributes
    ----------
    pointers, rows : ndarray
        Row numbers of each scalar column, ascending from the diagonal.
    level_of : ndarray
        Tail level of each scalar column.
    n_fill : int
        Stored values that are zero before the factorization.
    """

    pointers: np.ndarray
    rows: np.ndarray
    level_of: np.ndarray
    n_fill: int

    def locate(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Positions of the entries (i, j), i >= j."""
        position = np.empty(len(i), np.intp)
        i, j = (np.ascontiguousarray(v, np.intp) for v in (i, j))
        sparse_kernel.locate(self.pointers, self.rows, i, j, position)
        return position


def choose_pattern(link_pointers, link_index, level_width, storage=None):
    """Choose the storage of the tail and the order in which its levels are eliminated.

    Parameters
    ----------
    link_pointers, link_index : ndarray
        Tail levels that each level of the leading factor meets, compressed rows.
    level_width : ndarray
        Columns of each tail level.
    storage : {"dense", "sparse"}, optional
        Force the storage.

    Returns
    -------
    elimination : ndarray or None
        Tail levels in order of elimination; None to leave them as they are.
    pattern : TailPattern or None
        None for a dense tail.
    """
    m = int(level_width.sum())
    pairs = float((np.diff(link_pointers).astype(float) ** 2).sum())
    if storage == "dense" or (
        storage is None and (m <= SMALL_TAIL or pairs > DENSE_SHARE * len(level_width) ** 2)
    ):
        return None, None
    graph = _graph(link_pointers, link_index, len(level_width))
    candidates = [(None, _Symbolic(graph, level_width))]
    if candidates[0][1].n_fill_levels > 0:
        order = _minimum_degree(graph)
        candidates.append((order, _Symbolic(graph[order][:, order], level_width[order])))
    elimination, symbolic = min(candidates, key=lambda c: c[1].work)
    if storage is None and symbolic.work * SPARSE_PENALTY > m**3 / 3:
        return None, None
    return elimination, symbolic.expand()


def _graph(link_pointers, link_index, n_levels):
    """Symmetric pattern of the tail levels that meet at some level of the lead."""
    ones = np.ones(len(link_index), np.int32)
    links = sparse.csr_array(
        (ones, link_index, link_pointers), shape=(len(link_pointers) - 1, n_levels)
    )
    return sparse.csr_array(links.T @ links)


def _minimum_degree(graph):
    """Fill-reducing order by SuperLU's minimum degree (an incomplete factor is enough)."""
    n = graph.shape[0]
    degree = np.diff(graph.indptr)
    pattern = sparse.csc_array(
        (np.full(len(graph.indices), -1.0), graph.indices, graph.indptr), shape=(n, n)
    )
    pattern.setdiag(degree + 1.0)
    incomplete = spilu(
        pattern,
        drop_tol=1.0,
        fill_factor=1.0,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return np.argsort(incomplete.perm_c)


class _Symbolic:
    """Symbolic factorization of the graph of levels."""

    def __init__(self, graph, level_width):
        n = graph.shape[0]
        lower = sparse.csr_array(sparse.tril(graph, k=-1, format="csr"))
        lower.sort_indices()
        self.below = lower.indptr.astype(np.intp), lower.indices.astype(np.intp)
        self.parent = np.empty(n, np.intp)
        self.mark = np.empty(n, np.intp)
        self.count = np.empty(n, np.intp)
        sparse_kernel.count_fill(*self.below, self.parent, self.mark, self.count)
        self.level_width = level_width
        self.n_fill_levels = int(self.count.sum()) - len(lower.indices)
        # Row lists are counted in levels; widths differ little, so their mean serves.
        length = (1.0 + self.count) * level_width.mean()
        self.work = float((level_width * length**2).sum())

    def expand(self) -> TailPattern:
        """Scalar pattern of the factor."""
        pointers = np.concatenate([[0], np.cumsum(self.count)]).astype(np.intp)
        rows = np.empty(pointers[-1], np.intp)
        cursor = pointers[:-1].copy()
        sparse_kernel.fill_pattern(*self.below, self.parent, self.mark, cursor, rows)
        width = self.level_width
        start = np.concatenate([[0], np.cumsum(width)]).astype(np.intp)
        height = np.zeros(len(width), np.intp)
        column = np.repeat(np.arange(len(width)), np.diff(pointers))
        np.add.at(height, column, width[rows])
        within = np.arange(start[-1]) - np.repeat(start[:-1], width)
        scalar_count = np.repeat(height + width, width) - within
        scalar_pointers = np.concatenate([[0], np.cumsum(scalar_count)]).astype(np.intp)
        scalar_rows = np.empty(scalar_pointers[-1], np.intp)
        sparse_kernel.expand_levels(pointers, rows, start, scalar_pointers, scalar_rows)
        below_pointers, below_rows = self.below
        row_of = np.repeat(np.arange(len(width)), np.diff(below_pointers))
        stored = int((width[row_of] * width[below_rows]).sum())
        stored += int((width * (width + 1) // 2).sum())
        return TailPattern(
            scalar_pointers,
            scalar_rows,
            np.repeat(np.arange(len(width), dtype=np.intp), width),
            int(scalar_pointers[-1]) - stored,
        )
