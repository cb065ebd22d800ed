"""The rows of a generalized linear mixed model in the engine's units.

Columns of X enter in an orthonormal basis, those of a random term orthogonal at root mean
square 1.  Unlike those of a linear model the cross-products depend on the parameters, by
the weights W of the rows: the rows stay, and a linear map gives the values that the blocks
of Z'WZ have for any W.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np
from scipy import sparse

from mixedext.engine.factor.row_forms import RowForms
from mixedext.engine.factor.spread import engine_terms, factor_layouts, sum_products
from mixedext.engine.rows.blocks import Blocks, build_blocks
from mixedext.engine.rows.design import Design, first_pass
from mixedext.engine.rows.products import fixed_chunks
from mixedext.engine.rows.rows import Rows
from mixedext.engine.rows.sparse_rows import transposed_rows
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["GeneralizedDesign", "WeightedBlocks", "prepare_rows"]

# Columns of the tail from which on a pattern without fill-in beats a dense matrix.
LEAST_PATTERN = 48


@dataclass(frozen=True, eq=False)
class GeneralizedDesign:
    """Rows, blocks and units of a generalized model.

    Attributes
    ----------
    units : Design
        Blocks (their values by weights of one), structures of the terms, the basis of X
        and the units of Z; nothing of a response.
    x : ndarray
        Q, the orthonormal basis of X, (n, rank), by columns.
    offset : ndarray or None
        Known part of the linear predictor, (n,).
    lead, tail : csr_array
        Z' of the leading factor and of the tail, (L K, n) and (m, n).
    """

    units: Design
    x: np.ndarray
    offset: np.ndarray | None
    lead: sparse.csr_array
    tail: sparse.csr_array

    @property
    def nobs(self) -> int:
        """Number of rows."""
        return len(self.x)

    @property
    def rank(self) -> int:
        """Columns of the basis of X."""
        return self.x.shape[1]

    @property
    def blocks(self) -> Blocks:
        """The blocks."""
        return self.units.blocks

    @cached_property
    def z(self) -> sparse.csr_array:
        """Z, the leading factor's columns first, (n, L K + m)."""
        return sparse.csr_array(sparse.vstack([self.lead, self.tail]).T.tocsr())

    @cached_property
    def zt(self) -> sparse.csr_array:
        """Z', (L K + m, n)."""
        return sparse.csr_array(sparse.vstack([self.lead, self.tail]).tocsr())

    @cached_property
    def row_forms(self) -> RowForms:
        """The rows of Z, laid out for their quadratic forms."""
        return RowForms(self.blocks, self.z)

    @cached_property
    def weighted(self) -> WeightedBlocks:
        """The blocks of Z'WZ, to be filled for any W."""
        return WeightedBlocks(self)

    def with_offset(self, offset: np.ndarray | None) -> GeneralizedDesign:
        """The same rows with another offset."""
        other = replace(self, offset=offset)
        for name in ("z", "zt"):
            if name in vars(self):
                vars(other)[name] = vars(self)[name]
        return other

    def split(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (q,) or (q, R) as those of the lead, (L, K, ...), and the tail's."""
        levels, width = self.blocks.lead_gram.shape[:2]
        head = levels * width
        return u[:head].reshape(levels, width, *u.shape[1:]), u[head:]

    def joined(self, lead: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """The reverse of ``split``."""
        shape = (lead.shape[0] * lead.shape[1], *lead.shape[2:])
        return np.concatenate([lead.reshape(shape), tail])

    def of_factor(self, number: int, u: np.ndarray) -> np.ndarray:
        """What of coefficients (q, ...) belongs to a grouping factor, (L, K, ...)."""
        return self.blocks.by_level(number, *self.split(u))

    @cached_property
    def place(self) -> dict[int, tuple[int, slice]]:
        """For each term the number of its grouping factor, and its columns there."""
        return {
            term: (number, columns)
            for number, layout in enumerate(self.blocks.factors)
            for term, columns in zip(layout.terms, layout.slices, strict=True)
        }

    def of_term(self, term: int, u: np.ndarray) -> np.ndarray:
        """What of coefficients (q, ...) belongs to a term, (L, k, ...)."""
        number, columns = self.place[term]
        return self.of_factor(number, u)[:, columns]

    def factor_lams(self, lams: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Factors of the covariance by grouping factor, (K, K), from those by term."""
        out = []
        for layout in self.blocks.factors:
            lam = np.zeros((layout.width, layout.width))
            for term, at in zip(layout.terms, layout.slices, strict=True):
                lam[at, at] = lams[term]
            out.append(lam)
        return out

    @cached_property
    def _factor_of(self):
        """Grouping factor of every coefficient, (q,); None if some has several columns."""
        blocks = self.blocks
        if any(layout.width > 1 for layout in blocks.factors):
            return None
        out = np.zeros(self.zt.shape[0], np.intp)
        for f in range(len(blocks.factors) - 1):
            out[blocks.lead_gram.shape[0] + blocks.tail_columns(f)] = f + 1
        return out

    def times_lam(
        self, lams: Sequence[np.ndarray], u: np.ndarray, transpose: bool = False
    ) -> np.ndarray:
        """Lam u, or Lam'u, of (q,) or (q, R); ``lams`` by grouping factor."""
        if not self.blocks.factors:
            return u.copy()
        if self._factor_of is not None:
            size = np.array([lam[0, 0] for lam in lams])[self._factor_of]
            return u * (size if u.ndim == 1 else size[:, None])
        lead, tail = self.split(u)
        first = lams[0].T if transpose else lams[0]
        head = np.einsum("ab,lb...->la...", first, lead)
        out = np.empty_like(tail)
        for f, lam in enumerate(lams[1:]):
            at = self.blocks.tail_columns(f)
            own = lam.T if transpose else lam
            out[at] = np.einsum("ab,lb...->la...", own, tail[at])
        return self.joined(head, out)


def prepare_rows(
    x: np.ndarray,
    terms: Sequence[RandomTerm | SparseTerm],
    offset: np.ndarray | None = None,
    storage: str | None = None,
) -> GeneralizedDesign:
    """Lay out the rows of a generalized model.

    Parameters
    ----------
    x : ndarray
        Fixed-effects columns, (n, k), finite; dependent columns are dropped.
    terms : sequence of RandomTerm or SparseTerm
        Random terms, at least one.
    offset : ndarray, optional
        Known part of the linear predictor, (n,), finite.
    storage : {"dense", "sparse"}, optional
        Storage of the tail; chosen by estimated cost if None.

    Raises
    ------
    MemoryError
        If the blocks would not fit into memory; says why and what to do.
    """
    own = engine_terms(terms)
    n = len(x)
    # the passes of linear models want a response; any one that is not in X will do
    stand_in = np.cos(np.arange(n, dtype=float))
    rows = Rows(stand_in, x, own, None)
    layouts = factor_layouts(own, terms)
    bases = first_pass(rows, sample=False)
    products = sum_products(rows, bases, layouts)
    count = len(products.grams)
    empty = tuple(np.zeros((*products.grams[i].shape[:2], 1)) for i in range(count))
    products = replace(products, crosses=empty, fixed_gram=np.zeros((1, 1)))
    blocks = _blocks(products, storage)
    units = Design(
        blocks,
        tuple(t.without_rows() for t in terms),
        bases.basis,
        np.zeros(bases.basis.rank),
        1.0,
        _transforms(bases, products.layouts),
        0.0,
    )
    lead, tail = transposed_rows(units, terms, n, None)
    return GeneralizedDesign(units, _basis_of_rows(rows, bases), offset, lead, tail)


def _blocks(products, storage):
    """Blocks; those of nested factors by their pattern, which has then no fill-in.

    A factorization is made in each iteration, not in each evaluation alone.
    """
    if storage is None and not any(f.spread for f in products.layouts):
        tail = sum(f.n_levels * f.width for f in products.layouts[1:])
        if tail >= LEAST_PATTERN:
            found = build_blocks(products, "sparse")
            if found.storage == "nested":
                return found
    return build_blocks(products, storage)


def _transforms(bases, layouts):
    """The terms' changes of columns; columns that have become levels have one scale."""
    transforms = list(bases.transforms)
    for f in layouts:
        for number, at in zip(f.terms, f.slices, strict=True):
            width = at.stop - at.start
            transforms[number] = transforms[number][:width, :width]
    return tuple(transforms)


def _basis_of_rows(rows, bases):
    """Q, by columns; once more orthogonal, which costs no digits of the coefficients."""
    rank = bases.basis.rank
    out = np.empty((rows.nobs, rank), order="F")
    for at, fixed in fixed_chunks(rows, bases):
        out[at] = fixed[:, :rank]
    return out


class WeightedBlocks:
    """Blocks of Z'WZ whose values are a linear map of the weights W of the rows.

    Parameters
    ----------
    design : GeneralizedDesign
        The rows.

    Attributes
    ----------
    blocks : Blocks
        Blocks with arrays of their own, which ``fill`` fills.
    """

    def __init__(self, design: GeneralizedDesign):
        given = design.blocks
        self.blocks = replace(
            given,
            lead_gram=np.zeros_like(given.lead_gram),
            link_value=np.zeros_like(given.link_value),
            tail_gram=np.zeros_like(given.tail_gram),
        )
        self._map, self._tail_at = _value_map(design)

    def another(self) -> WeightedBlocks:
        """The same map with arrays of its own, for other weights at the same time."""
        other = object.__new__(WeightedBlocks)
        other._map, other._tail_at = self._map, self._tail_at
        b = self.blocks
        other.blocks = replace(
            b,
            lead_gram=b.lead_gram.copy(),
            link_value=b.link_value.copy(),
            tail_gram=b.tail_gram.copy(),
        )
        return other

    def fill(self, weights: np.ndarray) -> None:
        """Z'WZ for weights (n,)."""
        values, b = self._map @ weights, self.blocks
        first = b.lead_gram.size
        second = first + b.link_value.size
        b.lead_gram.reshape(-1)[:] = values[:first]
        b.link_value.reshape(-1)[:] = values[first:second]
        b.tail_gram.reshape(-1)[self._tail_at] = values[second:]


def _value_map(design):
    """The map from W to [lead_gram, link_value, elements of tail_gram], and the latter."""
    z, blocks = design.z, design.blocks
    count = np.diff(z.indptr)
    targets, rows, values = [], [], []
    for c in np.unique(count):
        if c == 0:
            continue
        row = np.flatnonzero(count == c)
        at = z.indptr[row][:, None] + np.arange(c)
        index, value = z.indices[at].astype(np.int64), z.data[at]
        for a, b in combinations_with_replacement(range(c), 2):
            product = value[:, a] * value[:, b]
            for target, own in _targets(blocks, index[:, a], index[:, b]):
                targets.append(target)
                rows.append(row[own])
                values.append(product[own])
    size = blocks.lead_gram.size + blocks.link_value.size
    if not targets:
        return sparse.csr_array((size, z.shape[0])), np.zeros(0, np.intp)
    target = np.concatenate(targets)
    # elements of the tail that are ever filled, numbered
    tail = target >= size
    tail_at, number = np.unique(target[tail] - size, return_inverse=True)
    target[tail] = size + number
    entries = np.concatenate(values), (target, np.concatenate(rows))
    shape = size + len(tail_at), z.shape[0]
    return sparse.csr_array(sparse.coo_array(entries, shape=shape)), tail_at


def _targets(blocks, first, second):
    """Where products of columns go: pairs (numbers of elements, which rows)."""
    levels, width = blocks.lead_gram.shape[:2]
    head = levels * width
    out = []

    def add(target, own):
        if own.any():
            out.append((target, own))

    both = (first < head) & (second < head)
    level, a = np.divmod(first[both], width)
    b = second[both] % width
    add((level * width + a) * width + b, both)
    other = both.copy()
    other[both] = a != b
    add(((level * width + b) * width + a)[a != b], other)
    for one, two in ((first, second), (second, first)):
        mixed = (one < head) & (two >= head)
        if mixed.any():
            level, a = np.divmod(one[mixed], width)
            at = _link_positions(blocks, level, two[mixed] - head)
            add(blocks.lead_gram.size + at * width + a, mixed)
    inner = (first >= head) & (second >= head)
    if inner.any():
        size = blocks.lead_gram.size + blocks.link_value.size
        i, j = first[inner] - head, second[inner] - head
        high, low = np.maximum(i, j), np.minimum(i, j)
        if blocks.pattern is not None:
            add(size + blocks.pattern.locate(high, low), inner)
        else:
            m = blocks.tail_size
            add(size + high * m + low, inner)
            other = inner.copy()
            other[inner] = high != low
            add((size + low * m + high)[high != low], other)
    return out


def _link_positions(blocks, level, column):
    """Numbers of the links between levels of the lead and columns of the tail."""
    pointers, index, m = blocks.link_pointers, blocks.link_index, blocks.tail_size
    owner = np.repeat(np.arange(len(pointers) - 1), np.diff(pointers))
    key = owner.astype(np.int64) * m + index
    order = np.argsort(key, kind="stable")
    return order[np.searchsorted(key[order], level * m + column)]
