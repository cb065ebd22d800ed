"""Pattern of the tail after the leading factor is eliminated, and how to store it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spilu

from mixedext.kernels.factor import ordering
from mixedext.kernels.factor import sparse as sparse_kernel

__all__ = ["TailPattern", "choose_pattern"]

# Below this many columns a dense tail costs next to nothing.
SMALL_TAIL = 400
# Above this share of pairs of tail levels that meet, the factor is dense anyway.
DENSE_SHARE = 0.7
# Rows of bits serve up to so many levels (8 MB), and up to more (128 MB) unless the share
# of pairs that meet is small; beyond that a graph that is not so sparse counts as dense.
MOST_BITS = 8192
MOST_LEVELS = 32768
SPARSE_GRAPH = 0.02
# Above that, the density of the graph is judged by so many of its levels first.
SAMPLED_LEVELS = 64
# What is left is eliminated as one dense block once it is as full as this.
DENSE_REST = 0.85
# Panels pay while they need less than this share of the dense multiplications.
SUPERNODAL_SHARE = 0.6
# Below this many multiplications a column, panels cost more than they save.
SIMPLE_WORK = 200.0
# Zeros that supernodes of at most 4, 16, 48 and more columns may store, as shares.
RELAXATION = np.array([1.0, 0.4, 0.1, 0.03])


@dataclass(frozen=True, eq=False)
class TailPattern:
    """Pattern of the tail's Cholesky factor, in compressed columns.

    Attributes
    ----------
    pointers, rows : ndarray
        Row numbers of each scalar column, ascending from the diagonal.
    n_fill : int
        Stored values that are zero before the factorization.
    supernodes : ndarray or None
        First columns of the runs that share their rows, and m: these are factored as dense
        panels.  None where columns are factored one by one.
    """

    pointers: np.ndarray
    rows: np.ndarray
    n_fill: int
    supernodes: np.ndarray | None = None

    def locate(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Positions of the entries (i, j), i >= j."""
        position = np.empty(len(i), np.intp)
        i, j = (np.ascontiguousarray(v, np.intp) for v in (i, j))
        sparse_kernel.locate(self.pointers, self.rows, i, j, position)
        return position


def choose_pattern(
    link_pointers: np.ndarray,
    link_index: np.ndarray,
    level_width: np.ndarray,
    storage: str | None = None,
    check: Callable | None = None,
) -> tuple[np.ndarray | None, TailPattern | None]:
    """Choose the storage of the tail and the order in which its levels are eliminated.

    Parameters
    ----------
    link_pointers, link_index : ndarray
        Tail levels that each level of the leading factor meets, compressed rows.
    level_width : ndarray
        Columns of each tail level.
    storage : {"dense", "sparse", "supernodal"}, optional
        Force the storage.
    check : callable, optional
        Called with the number of values that a sparse tail would store, before anything
        of that size is allocated; may raise.

    Returns
    -------
    elimination : ndarray or None
        Tail levels in order of elimination; None to leave them as they are.
    pattern : TailPattern or None
        None for a dense tail.
    """
    n, m = len(level_width), int(level_width.sum())
    if storage == "dense" or (storage is None and m <= SMALL_TAIL):
        return None, None
    dense_work = m**3 / 6.0
    most = np.inf if storage else dense_work
    graph: _BitGraph | _SparseGraph
    if n <= MOST_BITS:
        bits = graph = _BitGraph(link_pointers, link_index, n)
        if storage is None and bits.n_neighbours > DENSE_SHARE * n * (n - 1.0):
            return None, None
    else:
        # The graph itself may be too large: ask a sample of its levels first.
        expected = _expected_neighbours(link_pointers, link_index, n)
        density = expected / (n * (n - 1.0))
        sparse_graph = density < SPARSE_GRAPH
        if storage is None and (
            density > DENSE_SHARE or not (sparse_graph or n <= MOST_LEVELS)
        ):
            return None, None
        if check is not None:
            check(int(expected / 2 * level_width.mean() ** 2))
        as_bits = n <= MOST_LEVELS and not sparse_graph
        graph = (_BitGraph if as_bits else _SparseGraph)(link_pointers, link_index, n)
    symbolic = _Symbolic(graph, np.arange(n), level_width, stop_at_fill=True)
    if storage != "supernodal" and not symbolic.fills:
        # One column after the other costs next to nothing.
        symbolic.check(check)
        return None, symbolic.expand(None)
    order = graph.minimum_degree(SUPERNODAL_SHARE * most / level_width.mean() ** 3)
    if order is None:
        return None, None
    symbolic = _Symbolic(graph, order, level_width)
    order = order[symbolic.postorder()]
    symbolic = _Symbolic(graph, order, level_width)
    if storage is None and symbolic.work > SUPERNODAL_SHARE * dense_work:
        return None, None
    symbolic.check(check)
    if storage == "sparse" or (storage is None and symbolic.work < SIMPLE_WORK * n):
        return order, symbolic.expand(None)
    return order, symbolic.expand(symbolic.supernodes())


def _expected_neighbours(link_pointers, link_index, n_levels):
    """Neighbours of all tail levels together, estimated from a few spread among them."""
    chosen = np.unique(np.linspace(0, n_levels - 1, SAMPLED_LEVELS).astype(np.intp))
    number = np.full(n_levels, -1, np.intp)
    number[chosen] = np.arange(len(chosen))
    met = np.empty((len(chosen), n_levels), np.uint8)
    total = ordering.sample_graph(link_pointers, link_index, number, met)
    return total * n_levels / len(chosen)


class _BitGraph:
    """Tail levels that meet at some level of the lead, as rows of bits."""

    def __init__(self, link_pointers: np.ndarray, link_index: np.ndarray, n_levels: int):
        words = (n_levels + 63) // 64
        self.bits = np.empty((n_levels, words), np.uint64)
        self.n_neighbours = ordering.meeting_graph(
            link_pointers, link_index, np.empty(words, np.uint64), self.bits
        )

    def lower(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower triangle after reordering, compressed rows."""
        n = len(order)
        rank = np.empty(n, np.intp)
        rank[order] = np.arange(n)
        pointers = np.empty(n + 1, np.intp)
        indices = np.empty(self.n_neighbours // 2, np.intp)
        ordering.list_neighbours(self.bits, order, rank, pointers, indices)
        return pointers, indices

    def minimum_degree(self, most_work: float) -> np.ndarray | None:
        """Fill-reducing order; None if the factor would cost more than ``most_work``."""
        n, words = self.bits.shape
        order = np.empty(n, np.intp)
        scratch = np.empty(n, np.intp), np.empty(words, np.uint64)
        complete = ordering.minimum_degree(
            self.bits.copy(), DENSE_REST, most_work, *scratch, order
        )
        return order if complete else None


class _SparseGraph:
    """The same for so many levels that rows of bits would cost too much memory."""

    def __init__(self, link_pointers: np.ndarray, link_index: np.ndarray, n_levels: int):
        ones = np.ones(len(link_index), np.int32)
        links = sparse.csr_array(
            (ones, link_index, link_pointers), shape=(len(link_pointers) - 1, n_levels)
        )
        self.graph = sparse.csr_array(links.T @ links)

    def lower(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower triangle after reordering, compressed rows."""
        lower = sparse.csr_array(
            sparse.tril(self.graph[order][:, order], k=-1, format="csr")
        )
        return lower.indptr.astype(np.intp), lower.indices.astype(np.intp)

    def minimum_degree(self, most_work: float) -> np.ndarray | None:
        """Order by SuperLU's minimum degree (an incomplete factor is enough)."""
        n = self.graph.shape[0]
        degree = np.diff(self.graph.indptr)
        pattern = sparse.csc_array(
            (np.full(len(self.graph.indices), -1.0), self.graph.indices, self.graph.indptr),
            shape=(n, n),
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
    """Symbolic factorization of the graph of levels in a given order."""

    def __init__(
        self,
        graph: _BitGraph | _SparseGraph,
        order: np.ndarray,
        level_width: np.ndarray,
        stop_at_fill: bool = False,
    ):
        n = len(order)
        self.below = graph.lower(np.ascontiguousarray(order, np.intp))
        self.width = np.ascontiguousarray(level_width[order])
        self.parent = np.empty(n, np.intp)
        self.mark = np.empty(n, np.intp)
        self.count = np.empty(n, np.intp)
        self.fills = sparse_kernel.count_fill(
            *self.below, self.parent, self.mark, self.count, stop_at_fill
        )
        # Row lists are counted in levels; widths differ little, so their mean serves.
        length = (1.0 + self.count) * self.width.mean()
        self.work = 0.5 * float((self.width * length**2).sum())

    def check(self, check: Callable | None) -> None:
        """Tell ``check`` how many values the pattern stores."""
        if check is not None:
            check(int(((1.0 + self.count) * self.width).sum() * self.width.mean()))

    def postorder(self) -> np.ndarray:
        """Order in which children of the elimination tree come right before parents."""
        order = np.empty(len(self.parent), np.intp)
        scratch = [np.empty(len(self.parent), np.intp) for _ in range(3)]
        ordering.postorder(self.parent, *scratch, order)
        return order

    @cached_property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows below the diagonal of every column of levels: pointers, and the rows."""
        pointers = np.concatenate([[0], np.cumsum(self.count)]).astype(np.intp)
        rows = np.empty(pointers[-1], np.intp)
        cursor = pointers[:-1].copy()
        sparse_kernel.fill_pattern(*self.below, self.parent, self.mark, cursor, rows)
        return pointers, rows

    def supernodes(self) -> np.ndarray:
        """First levels of the supernodes, and the number of levels."""
        pointers, rows = self.rows
        running = np.concatenate([[0], np.cumsum(self.width[rows])])
        height = np.ascontiguousarray(np.diff(running[pointers]), np.intp)
        n = len(self.width)
        start = np.empty(n + 1, np.intp)
        count = ordering.find_supernodes(
            self.parent, height, self.width, RELAXATION, start, np.empty(n)
        )
        start[count] = n
        return start[: count + 1]

    def expand(self, supernodes: np.ndarray | None) -> TailPattern:
        """Scalar pattern of the factor; each column as it is, or by supernodes."""
        pointers, rows = self.rows
        width = self.width
        start = np.concatenate([[0], np.cumsum(width)]).astype(np.intp)
        if supernodes is not None:
            pointers, rows = _widened(pointers, rows, supernodes)
        height = np.diff(np.concatenate([[0], np.cumsum(width[rows])])[pointers])
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
            int(scalar_pointers[-1]) - stored,
            None if supernodes is None else start[supernodes],
        )


def _widened(pointers, rows, supernodes):
    """Row lists of levels when all of a supernode share those of its last one."""
    n = supernodes[-1]
    last = np.repeat(supernodes[1:] - 1, np.diff(supernodes))
    inside = last - np.arange(n)
    count = inside + np.diff(pointers)[last]
    wide_pointers = np.concatenate([[0], np.cumsum(count)]).astype(np.intp)
    wide = np.empty(wide_pointers[-1], np.intp)
    ordering.widen_rows(pointers, rows, last, wide_pointers, wide)
    return wide_pointers, wide
