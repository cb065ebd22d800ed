"""Z of all random terms by rows, and where the products of a row's entries go.

A row has the columns of one level of every grouping factor, side by side, or several levels
of a factor whose levels rows share.  Unlike those of a linear model the cross-products of
Z depend on the parameters, by the weights W of the rows: the rows stay, and with every pair
of entries of a row the place where its product stands in the blocks of Z'WZ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from mixedext.engine.factor.spread import engine_terms
from mixedext.engine.rows.blocks import Blocks
from mixedext.engine.rows.design import Design
from mixedext.kernels.generalized.several_factors import SeveralFactors
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["RowLayout", "WeightedBlocks", "lay_out_rows"]


@dataclass(frozen=True, eq=False)
class RowLayout:
    """Rows of Z in the engine's units, the leading factor's columns first.

    Attributes
    ----------
    blocks : Blocks
        Of Z'WZ.
    pointers, index, z : ndarray
        Z compressed by rows: (n + 1,) intp, (entries,) int32 and float.
    """

    blocks: Blocks
    pointers: np.ndarray
    index: np.ndarray
    z: np.ndarray

    @property
    def head(self) -> int:
        """Random effects of the leading factor."""
        return int(np.prod(self.blocks.lead_gram.shape[:2]))

    @property
    def n_effects(self) -> int:
        """Random effects q."""
        return self.head + self.blocks.tail_size

    @cached_property
    def level_columns(self) -> list[np.ndarray]:
        """For each grouping factor the numbers of the effects of each level, (L, K)."""
        blocks = self.blocks
        if not blocks.factors:
            return []
        tails = range(len(blocks.factors) - 1)
        first = np.arange(self.head).reshape(-1, blocks.lead_gram.shape[1])
        return [first, *[self.head + blocks.tail_columns(f) for f in tails]]

    @cached_property
    def factor(self) -> np.ndarray:
        """Grouping factor of every random effect, (q,) int32."""
        out = np.zeros(self.n_effects, np.int32)
        for f, at in enumerate(self.level_columns):
            out[at] = f
        return out

    @cached_property
    def column(self) -> np.ndarray:
        """Column of every random effect among those of its level, (q,) int32."""
        out = np.zeros(self.n_effects, np.int32)
        for at in self.level_columns:
            out[at] = np.arange(at.shape[1])
        return out

    @property
    def is_scalar(self) -> bool:
        """Whether every level has one effect."""
        return all(f.width == 1 for f in self.blocks.factors)

    def by_factor(self, matrices: Sequence[np.ndarray], b: np.ndarray) -> np.ndarray:
        """Matrices (K, K) by grouping factor times the effects (q, ...) of each level."""
        out = np.empty_like(b)
        for at, matrix in zip(self.level_columns, matrices, strict=True):
            out[at] = np.einsum("ab,lb...->la...", matrix, b[at])
        return out

    @cached_property
    def _targets(self):
        """Place of every pair of entries of a row, row by row: (2, 1) before (2, 2)."""
        count = np.diff(self.pointers)
        first = np.concatenate([[0], np.cumsum(count * (count + 1) // 2)])
        out = np.empty(first[-1], np.intp)
        find = _Places(self.blocks)
        for c in np.unique(count[count > 0]):
            row = np.flatnonzero(count == c) if count.min() < count.max() else slice(None)
            at = self.pointers[:-1][row, None] + np.arange(c)
            number = self.index[at].astype(np.intp)
            pair = first[:-1][row]
            for a in range(c):
                for b in range(a + 1):
                    out[pair] = find(number[:, a], number[:, b])
                    pair = pair + 1
        return out

    def rows(self) -> SeveralFactors:
        """The rows for loops over them; with a scaled copy of its own."""
        return SeveralFactors(
            self.pointers,
            self.index,
            self.z,
            target=self._targets,
            factor=self.factor,
            column=self.column,
            width=np.array([f.width for f in self.blocks.factors], np.int32),
        )

    def sums(self, v: np.ndarray, squared: bool = False) -> np.ndarray:
        """Z'v of (n,), or the same with the squares of Z's elements, (q,)."""
        z = self.z**2 if squared else self.z
        weights = z * np.repeat(v, np.diff(self.pointers))
        return np.bincount(self.index, weights, self.n_effects)

    def matrix(self) -> sparse.csr_array:
        """Z without its zeros, (n, q)."""
        shape = len(self.pointers) - 1, self.n_effects
        # arrays of its own: dropping zeros moves what is left
        entries = self.z.copy(), self.index.copy(), self.pointers.copy()
        out = sparse.csr_array(entries, shape=shape)
        out.eliminate_zeros()
        return out


class _Places:
    """Where the product of two columns of Z stands: [lead_gram, link_value, tail_gram]."""

    def __init__(self, blocks):
        self.blocks = blocks
        self.width = blocks.lead_gram.shape[1]
        self.head = blocks.lead_gram[:, :, 0].size
        self.links = blocks.lead_gram.size
        self.tail = self.links + blocks.link_value.size

    @cached_property
    def _sorted_links(self):
        """Links by level and column: keys in ascending order, and their numbers."""
        pointers, index = self.blocks.link_pointers, self.blocks.link_index
        owner = np.repeat(np.arange(len(pointers) - 1), np.diff(pointers))
        key = owner.astype(np.int64) * self.blocks.tail_size + index
        if (np.diff(key) > 0).all():
            return key, None
        order = np.argsort(key, kind="stable")
        return key[order], order

    def __call__(self, first, second):
        high, low = np.maximum(first, second), np.minimum(first, second)
        kinds = (
            (high < self.head, self._within),
            ((low < self.head) & (high >= self.head), self._linked),
            (low >= self.head, self._of_tail),
        )
        out = np.empty(len(high), np.intp)
        for which, place in kinds:
            if which.all():
                return place(high, low)
            if which.any():
                out[which] = place(high[which], low[which])
        return out

    def _within(self, high, low):
        return high * self.width + low % self.width

    def _linked(self, high, low):
        level, a = (low, 0) if self.width == 1 else np.divmod(low, self.width)
        wanted = level * self.blocks.tail_size + (high - self.head)
        key, order = self._sorted_links
        # where every level meets every column a key is its own place
        whole = len(key) == len(self.blocks.lead_gram) * self.blocks.tail_size
        at = wanted if whole else np.searchsorted(key, wanted)
        return self.links + (at if order is None else order[at]) * self.width + a

    def _of_tail(self, high, low):
        i, j = high - self.head, low - self.head
        if self.blocks.pattern is not None:
            return self.tail + self.blocks.pattern.locate(i, j)
        return self.tail + i * self.blocks.tail_size + j


class WeightedBlocks:
    """Blocks of Z'WZ, or of A'WA, with arrays of their own.

    Parameters
    ----------
    given : Blocks
        Their pattern.

    Attributes
    ----------
    values : ndarray
        Of lead_gram, link_value and tail_gram, one after the other.
    blocks : Blocks
        Views of them.
    """

    def __init__(self, given: Blocks):
        sizes = given.lead_gram.size, given.link_value.size, given.tail_gram.size
        self._ends = np.cumsum(sizes)
        self._shapes = given.lead_gram.shape, given.link_value.shape
        self.values = np.zeros(self._ends[-1])
        lead, link, tail = self.parts(self.values)
        self.blocks = replace(
            given,
            lead_gram=lead,
            link_value=link,
            tail_gram=tail.reshape(given.tail_gram.shape),
        )

    def parts(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values as lead_gram (L, K, K), link_value (nnz, K) and those of the tail."""
        first, second, _ = self._ends
        lead, link = self._shapes
        return (
            values[:first].reshape(lead),
            values[first:second].reshape(link),
            values[second:],
        )

    def fill(self, rows: SeveralFactors, weights: np.ndarray, scaled: bool = True) -> None:
        """A'WA for weights (n,), or Z'WZ if not ``scaled``.

        Of a dense tail the lower triangle, which is all that factors read.
        """
        rows.fill(weights, self.values, scaled)
        gram = self.blocks.lead_gram
        for a in range(gram.shape[1]):
            for b in range(a):
                gram[:, b, a] = gram[:, a, b]


def lay_out_rows(
    units: Design, terms: Sequence[RandomTerm | SparseTerm], n: int
) -> RowLayout:
    """The rows of Z.

    Parameters
    ----------
    units : Design
        Blocks and units of Z.
    terms : sequence of RandomTerm or SparseTerm
        With their rows.
    n : int
        Rows.
    """
    blocks = units.blocks
    empty = np.zeros(0)
    layout = RowLayout(blocks, np.zeros(n + 1, np.intp), empty.astype(np.int32), empty)
    own, inverses = engine_terms(terms), units.inverse_transforms
    dense, compressed = [], []
    for at, factor in zip(layout.level_columns, blocks.factors, strict=True):
        if not factor.terms:
            continue
        first = own[factor.terms[0]]
        if isinstance(first, SparseTerm):
            matrix = sparse.csr_array(first.matrix, copy=True)
            matrix.eliminate_zeros()
            scale = inverses[factor.terms[0]][0, 0]
            compressed.append((matrix.indptr, at[matrix.indices, 0], matrix.data * scale))
            continue
        z = np.zeros((n, factor.width))
        for i, columns in zip(factor.terms, factor.slices, strict=True):
            z[:, columns] = _in_units(own[i], inverses[i])
        dense.append((at[first.codes], z))
    index = np.concatenate([np.zeros((n, 0), np.intp), *[a for a, _ in dense]], axis=1)
    z = np.concatenate([np.zeros((n, 0)), *[a for _, a in dense]], axis=1)
    pointers = np.arange(n + 1) * index.shape[1]
    found = pointers, index.ravel(), z.ravel()
    for more in compressed:
        found = _side_by_side(found, more)
    pointers, numbers, values = found
    return RowLayout(
        blocks,
        pointers.astype(np.intp),
        numbers.astype(np.int32),
        np.ascontiguousarray(values),
    )


def _in_units(term, change):
    """Columns of a term in the engine's units, (n, k)."""
    return term.z * change[0, 0] if change.size == 1 else term.z @ change


def _side_by_side(left, right):
    """Rows of two compressed matrices, the entries of the left one first."""
    counts = [np.diff(part[0]) for part in (left, right)]
    pointers = np.concatenate([[0], np.cumsum(counts[0] + counts[1])])
    number, value = np.empty(pointers[-1], np.intp), np.empty(pointers[-1])
    starts = pointers[:-1], pointers[:-1] + counts[0]
    for start, count, (own, index, values) in zip(
        starts, counts, (left, right), strict=True
    ):
        at = np.repeat(start - own[:-1], count) + np.arange(len(index))
        number[at], value[at] = index, values
    return pointers, number, value
