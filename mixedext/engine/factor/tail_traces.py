"""Traces tr(B_r N B_s N), N = Z'V0^-1 Z, over what the tail holds or links.

Of the blocks of N only the tail's and the lead's share through the tail appear here:

    N_ll' = [l = l'] Z_l'V_1^-1 Z_l - b_l'D b_l',    b_l = Z_2'V_1^-1 Z_l,
    N_2l = (I - R D) b_l,   N_22 = R - R D R,        R = Z_2'V_1^-1 Z_2,   D = Lam C22 Lam'.

With S_r = sum_l b_l E_r b_l' all traces are of products of m x m matrices (m columns of
the tail), whatever the number of levels of the lead.  Where Lam is well conditioned it is
divided by instead: N_22 = Lam^-T (I - C22) Lam^-1 and N_2l = Lam^-T C22 Lam'b_l.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from mixedext.engine.factor.factor import Factor
from mixedext.engine.factor.tail import DenseTail, PanelTail
from mixedext.engine.rows.blocks import Blocks
from mixedext.engine.threads import blas_threads
from mixedext.kernels.deviance import expected
from mixedext.kernels.factor import links
from mixedext.limits import DIVISIBLE_ROOT

__all__ = [
    "TailTraces",
    "divided_roots",
    "has_dense_inverse",
    "reduced_links",
    "tail_parts",
    "tail_traces",
    "trace_products",
]

# Columns of a sparse tail up to which its inverse is dense for once (32 MB), unless the
# largest part that nothing connects to others is a smaller share of them.
DENSE_COLUMNS, DENSE_SHARE = 2048, 0.25
# Numbers in a slab of columns of the inverse of a sparse tail (16 MB).
SLAB_SIZE = 2**21


@dataclass(frozen=True, eq=False)
class TailTraces:
    """Traces by pairs of grouping factors.

    Attributes
    ----------
    lead : ndarray
        tr(S_r D S_s D) for elements r, s of the leading factor.
    mixed : list of ndarray
        tr(B_r N B_s N) for r of the lead, s of each factor of the tail.
    tail : list of list of ndarray
        The same for two factors of the tail.
    single : list of ndarray
        tr(B_r N) for each factor of the tail.
    """

    lead: np.ndarray
    mixed: list[np.ndarray]
    tail: list[list[np.ndarray]]
    single: list[np.ndarray]


def trace_products(left: np.ndarray, right: np.ndarray, products: np.ndarray) -> np.ndarray:
    """tr(E_r N E_s N') from products[b, c, a, d] = sum N[b, c] N[a, d]."""
    k, other = left.shape[1], right.shape[1]
    square = products.transpose(2, 0, 1, 3).reshape(k * k, other * other)
    # not -1: a lead without terms has no bases
    left, right = (b.reshape(len(b), b.shape[1] * b.shape[2]) for b in (left, right))
    return left @ square @ right.T


def divided_roots(factor: Factor) -> list[np.ndarray] | None:
    """Lam^-T of each factor of the tail, Lam = V diag(s); None if ill-conditioned."""
    if any(size.min() < DIVISIBLE_ROOT * max(1.0, size.max()) for _, size in factor.roots):
        return None
    return [vector / size for vector, size in factor.roots]


def tail_traces(factor: Factor, bases: list[np.ndarray]) -> TailTraces:
    """Traces at the factor as it stands.

    Parameters
    ----------
    factor : Factor
        Of a model with several grouping factors.
    bases : list of ndarray
        Symmetric matrices E_r of each grouping factor, (R, K, K), the lead's first.
    """
    way: type[_Dense | _Slabs] = _Dense
    if not has_dense_inverse(factor.blocks):
        way = _Slabs
    with blas_threads():
        return way(factor, bases).traces()


def has_dense_inverse(blocks: Blocks) -> bool:
    """Whether the inverse of the tail is made as a whole, not some columns at a time."""
    if blocks.pattern is None:
        return True
    if blocks.tail_size > DENSE_COLUMNS:
        return False
    largest = np.bincount(tail_parts(blocks), np.diff(blocks.level_start)).max()
    return bool(largest >= DENSE_SHARE * blocks.tail_size)


def tail_parts(blocks: Blocks) -> np.ndarray:
    """Number of the connected part of every level of a sparse tail."""
    if blocks.pattern is None:
        raise TypeError("a dense tail is one part")
    pointers, rows = blocks.pattern.pointers, blocks.pattern.rows
    n = len(blocks.level_factor)
    level_of = np.repeat(np.arange(n), np.diff(blocks.level_start))
    column = np.repeat(level_of, np.diff(pointers))
    graph = sparse.coo_array(
        (np.ones(len(rows), bool), (level_of[rows], column)), shape=(n, n)
    )
    return connected_components(graph, directed=False)[1]


def reduced_links(factor: Factor) -> np.ndarray:
    """Z_2'V_1^-1 Z_l on the pattern of the links."""
    b = factor.blocks
    out = np.empty_like(b.link_value)
    links.link_times(b.link_pointers, b.link_value, factor._shrinkage[0], out)
    return out


class _Traces:
    """What both storages share.

    In the coordinates of C22 where Lam is divided by ("divisible"), else in those of D.
    """

    def __init__(self, factor: Factor, bases: list[np.ndarray]):
        self.factor, self.blocks, self.tail = factor, factor.blocks, factor.tail
        divided = divided_roots(factor)
        self.divisible = divided is not None
        if divided is not None:
            self.edge = self.tail._edges(factor._shrinkage[0])
            self.bases = [bases[0]] + [
                root.T @ e @ root for e, root in zip(bases[1:], divided, strict=True)
            ]
        else:
            self.edge, self.bases = reduced_links(factor), bases

    def result(
        self,
        lead: np.ndarray,
        mixed: Iterable[np.ndarray | list[np.ndarray]],
        tail: list[list[np.ndarray]],
        diagonal: Iterable[np.ndarray],
    ) -> TailTraces:
        single = [
            np.einsum("rab,ab->r", e, sums)
            for sums, e in zip(diagonal, self.bases[1:], strict=True)
        ]
        by_lead = [
            np.einsum("rab,sab->rs", np.asarray(sums).reshape(-1, *e.shape[1:]), e)
            for sums, e in zip(mixed, self.bases[1:], strict=True)
        ]
        return TailTraces(lead, by_lead, tail, single)


class _Dense(_Traces):
    """Tail as an m x m matrix."""

    def _squares(self):
        """S_r of every element r of the lead."""
        tail, m = self.tail, self.tail.size
        for e in self.bases[0]:
            out = np.zeros((m, m))
            left = np.ascontiguousarray(self.edge @ e)
            if isinstance(tail, PanelTail):
                for piece in tail.panels:
                    panel = tail._fill(*piece, left).copy()
                    out += panel.T @ tail._fill(*piece, self.edge)
            else:
                expected.square_dense(tail.links, left, self.edge, out)
                _mirror(out)
            yield out

    def _inverse(self):
        """C22."""
        tail = self.tail
        if self.blocks.pattern is not None:
            out = np.eye(tail.size)
            tail.solve(out)
            tail.solve(out, transpose=True)
            return out
        if not tail.inverted:
            tail.invert()
        out = tail.reduced.copy()
        _mirror(out.T)
        return out

    def traces(self) -> TailTraces:
        tail = self.tail
        inverse = self._inverse()
        if self.divisible:
            right, left_of = inverse, None
            inner = -inverse
            inner[np.diag_indices_from(inner)] += 1.0
        else:
            gram = tail.multiply_reduced(np.eye(tail.size))
            inverse = tail.lam_times(tail.lam_times(inverse).T)
            right = left_of = -(gram @ inverse)
            right[np.diag_indices_from(right)] += 1.0
            inner = right @ gram
        at = [self.blocks.tail_columns(f) for f in range(len(self.bases) - 1)]
        rows = [_by_column(right, columns) for columns in at]
        mixed: list[list[np.ndarray]] = [[] for _ in at]
        images = []
        for square in self._squares():
            image = inverse @ square
            source = image if left_of is None else left_of @ square
            for f, columns in enumerate(at):
                mixed[f].append(_by_column(source, columns) @ rows[f].T)
            images.append(image)
        count = len(images)
        lead = np.empty((count, count))
        for r in range(count):
            turned = np.ascontiguousarray(images[r].T)
            for s in range(r + 1):
                lead[r, s] = lead[s, r] = np.vdot(turned, images[s])
        blocks = [
            [self._pair(inner, at[f], at[g], f, g) for g in range(len(at))]
            for f in range(len(at))
        ]
        diagonal = [inner[c[:, :, None], c[:, None, :]].sum(axis=0) for c in at]
        return self.result(lead, mixed, blocks, diagonal)

    def _pair(self, inner, first, second, f, g):
        k, other = first.shape[1], second.shape[1]
        block = np.empty((k, other, len(first) * len(second)))
        for a in range(k):
            for c in range(other):
                block[a, c] = inner[np.ix_(first[:, a], second[:, c])].ravel()
        flat = block.reshape(k * other, -1)
        products = (flat @ flat.T).reshape(k, other, k, other)
        return trace_products(self.bases[f + 1], self.bases[g + 1], products)


def _by_column(matrix, columns):
    """Rows of a factor's levels, those of one column after the other: (K, L m)."""
    return matrix[columns.T].reshape(columns.shape[1], -1)


def _mirror(a):
    """Copy the lower triangle to the upper one."""
    for start in range(0, len(a), 64):
        stop = min(start + 64, len(a))
        square = np.tril(a[start:stop, start:stop])
        a[start:stop, start:stop] = square + np.tril(square, -1).T
        a[start:stop, stop:] = a[stop:, start:stop].T


class _Slabs(_Traces):
    """Tail on a pattern: its inverse some columns at a time, none kept.

    Columns of parts of the tail that nothing connects share one right-hand side, so that
    there are no more of these than the largest part has columns.
    """

    def traces(self) -> TailTraces:
        b, tail = self.blocks, self.tail
        if isinstance(tail, DenseTail):
            raise TypeError("a dense tail has its inverse as a whole")
        pointers, rows = tail.columns
        self.squares = []
        for e in self.bases[0]:
            out = np.empty(len(rows))
            left = np.ascontiguousarray(self.edge @ e)
            expected.square_sparse(tail.links, left, self.edge, pointers, rows, out)
            self.squares.append(out)
        self.at = [b.tail_columns(f) for f in range(len(self.bases) - 1)]
        self.level_of = np.repeat(np.arange(len(b.level_factor)), np.diff(b.level_start))
        part = tail_parts(b)
        order = np.argsort(part, kind="stable")
        first = np.searchsorted(part[order], part[order])
        slot = np.empty_like(order)
        slot[order] = np.arange(len(order)) - first
        width = tail.lam.shape[1]
        some = max(1, SLAB_SIZE // (tail.size * width))
        count = len(self.bases[0])
        lead = np.zeros((count, count))
        mixed = [np.zeros((count, *e.shape[1:])) for e in self.bases[1:]]
        blocks = [
            [np.zeros((len(e), len(h))) for h in self.bases[1:]] for e in self.bases[1:]
        ]
        diagonal = [np.zeros(e.shape[1:]) for e in self.bases[1:]]
        sums = lead, mixed, blocks, diagonal
        for start in range(0, int(slot.max()) + 1, some):
            levels = np.flatnonzero((slot >= start) & (slot < start + some))
            slots = int(slot[levels].max()) - start + 1
            owner = np.full((int(part.max()) + 1, slots), -1)
            owner[part[levels], slot[levels] - start] = b.level_factor[levels]
            self.owner = owner[part][self.level_of]
            self._add_slab(levels, slot[levels] - start, slots, width, *sums)
        return self.result(*sums)

    def _invert(self, b):
        """C22 b, or D b."""
        out = np.array(b) if self.divisible else self.tail.lam_times(b, transpose=True)
        self.tail.solve(out)
        self.tail.solve(out, transpose=True)
        return out if self.divisible else self.tail.lam_times(out)

    def _add_slab(self, levels, slot, slots, width, lead, mixed, blocks, diagonal):
        b, tail = self.blocks, self.tail
        unit = np.zeros((tail.size, slots * width))
        for a in range(width):
            wide = np.diff(b.level_start)[levels] > a
            unit[b.level_start[levels[wide]] + a, slot[wide] * width + a] = 1.0
        at = []  # where the levels' own blocks stand
        for f, basis in enumerate(self.bases[1:]):
            own, inside = b.level_factor[levels] == f, np.arange(basis.shape[1])
            rows = b.level_start[levels[own]][:, None] + inside
            columns = slot[own][:, None] * width + inside
            at.append((rows[:, :, None], columns[:, None, :]))
        whole = self._invert(unit)
        inner = unit - whole
        if not self.divisible:
            source = unit - self._invert(tail.multiply_reduced(unit))
            inner = tail.multiply_reduced(source)
        on_square = [b.multiply_on_pattern(square, unit) for square in self.squares]
        for r, square in enumerate(self.squares):
            image = self._invert(b.multiply_on_pattern(square, whole))
            for s in range(len(self.squares)):
                lead[r, s] += np.vdot(image, on_square[s])
            if not self.divisible:
                image = b.multiply_on_pattern(square, source)
                image -= tail.multiply_reduced(self._invert(image))
            for f, sums in enumerate(mixed):
                sums[r] += image[at[f]].sum(axis=0)
        for f, sums in enumerate(diagonal):
            sums += inner[at[f]].sum(axis=0)
        turned = [
            [self._from_right(inner, f, e, slots) for e in basis]
            for f, basis in enumerate(self.bases[1:])
        ]
        for g, basis in enumerate(self.bases[1:]):
            rows = self.at[g]
            for s, e in enumerate(basis):
                image = np.einsum("ab,lbj->laj", e, inner[rows])
                for f, others in enumerate(turned):
                    for r, other in enumerate(others):
                        blocks[f][g][r, s] += np.vdot(other[rows], image)

    def _from_right(self, b, f, e, slots):
        """b (I kron e) for the columns that stand for levels of factor f, else zero."""
        k = len(e)
        wide = b.reshape(len(b), slots, -1)
        out = np.zeros_like(wide)
        own = (self.owner == f)[:, :, None]
        out[:, :, :k] = np.where(own, wide[:, :, :k] @ e, 0.0)
        return out.reshape(b.shape)
