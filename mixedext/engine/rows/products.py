"""Second pass over the rows: the cross-products A = [Z X y]'[Z X y] by block.

Columns enter in the bases of the first pass.  Products of partitions of the rows are
added, each partition with level numbers of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

import numpy as np
from scipy import sparse

from mixedext.engine.rows.allocation import zeros
from mixedext.engine.rows.basis import Bases
from mixedext.engine.rows.eigenvectors import Rotation
from mixedext.engine.rows.rows import Rows
from mixedext.engine.threads import get_num_threads, run_pieces
from mixedext.kernels.rows import crossproducts
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

# Chunks of rows that are worth a thread.
SPAN = 8

__all__ = [
    "FactorLayout",
    "PairProducts",
    "Products",
    "RowSums",
    "add_products",
    "factor_columns",
    "fixed_chunks",
    "group_by_factor",
    "layouts_of",
]


@dataclass(frozen=True, eq=False)
class FactorLayout:
    """A grouping factor and the terms that share it.

    Attributes
    ----------
    group : str
        Name of the factor.
    n_levels, width : int
        Number of levels; columns of all its terms together.
    terms : tuple of int
        Numbers of its terms in the model's order.
    slices : tuple of slice
        Columns of each of these terms within the factor.
    spread : bool
        Whether rows belong to several levels (engine.factor.spread).
    block : int
        For a spread factor how many of its levels make up one level of its term.
    """

    group: str
    n_levels: int
    width: int
    terms: tuple[int, ...]
    slices: tuple[slice, ...]
    spread: bool = False
    block: int = 1


def group_by_factor(terms: Sequence[RandomTerm | SparseTerm]) -> list[FactorLayout]:
    """Terms that share a grouping factor, put together; the leading factor first.

    Each SparseTerm has a factor of its own, behind all others.
    """
    groups: list[list[int]] = []
    for i, term in enumerate(terms):
        for members in groups if isinstance(term, RandomTerm) else ():
            first = terms[members[0]]
            if _same_factor(first, term):
                members.append(i)
                break
        else:
            groups.append([i])
    return layouts_of(groups, terms, [t.n_levels for t in terms])


def _same_factor(one, other):
    return (
        isinstance(one, RandomTerm)
        and one.n_levels == other.n_levels
        and (one.codes is other.codes or np.array_equal(one.codes, other.codes))
    )


def layouts_of(
    groups: Sequence[Sequence[int]],
    terms: Sequence[RandomTerm | SparseTerm],
    n_levels: Sequence[int],
) -> list[FactorLayout]:
    """Layouts of given groups of terms, whose factors have ``n_levels`` levels."""
    layouts = []
    for members in groups:
        ends = list(accumulate(terms[i].k for i in members))
        slices = tuple(
            slice(end - terms[i].k, end) for i, end in zip(members, ends, strict=True)
        )
        first = members[0]
        layouts.append(
            FactorLayout(
                terms[first].group,
                int(n_levels[first]),
                ends[-1],
                tuple(members),
                slices,
                not isinstance(terms[first], RandomTerm),
            )
        )
    # The order depends on the design alone, not on the order in which terms were written.
    return sorted(
        layouts, key=lambda f: (f.spread, -f.n_levels * f.width, -f.n_levels, f.group)
    )


@dataclass(frozen=True, eq=False)
class PairProducts:
    """Z_other'Z of two grouping factors, compressed by level of the first.

    Attributes
    ----------
    pointers : ndarray
        (L + 1,) pairs of levels before each level of the first factor.
    index : ndarray
        (pairs,) levels of the other factor, ascending within a level.
    value : ndarray
        (pairs, other width, width).
    """

    pointers: np.ndarray
    index: np.ndarray
    value: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """Level of the first factor of every pair."""
        return np.repeat(np.arange(len(self.pointers) - 1), np.diff(self.pointers))


@dataclass(frozen=True, eq=False)
class Products:
    """Cross-products of the columns as they enter; [X y] counts as P fixed columns.

    Attributes
    ----------
    nobs : int
        Rows that were summed.
    layouts : tuple of FactorLayout
        The grouping factors, the leading one first.
    grams, crosses : tuple of ndarray
        For each factor Z_l'Z_l, (L, K, K), and Z_l'[X y], (L, K, P).
    pairs : dict
        ``pairs[f, g]``, f < g: the PairProducts of factors f and g.
    fixed_gram : ndarray
        (P, P), [X y]'[X y].
    inner : dict
        For each spread factor Z'Z, (L K, L K), dense or sparse.
    rotation : Rotation or None
        By which the columns of the only factor have been made orthogonal as they were
        summed.
    """

    nobs: int
    layouts: tuple[FactorLayout, ...]
    grams: tuple[np.ndarray, ...]
    crosses: tuple[np.ndarray, ...]
    pairs: dict[tuple[int, int], PairProducts]
    fixed_gram: np.ndarray
    inner: dict[int, np.ndarray | sparse.csr_array] = field(default_factory=dict)
    rotation: Rotation | None = None

    @classmethod
    def of(cls, rows: Rows, bases: Bases, layouts: Sequence[FactorLayout]) -> Products:
        """Sum one partition, with the levels of its own terms.

        Parameters
        ----------
        rows : Rows
            The partition.
        bases : Bases
            From the first pass over all rows.
        layouts : sequence of FactorLayout
            Factors in order; their numbers of levels are the partition's.
        """
        return RowSums(rows, bases, layouts).products()

    def change_fixed(self, right: np.ndarray) -> Products:
        """The products for the fixed columns [X y] right, in place where large."""
        for cross in self.crosses:
            crossproducts.transform_blocks(cross, right)
        gram = right.T @ self.fixed_gram @ right
        return replace(self, fixed_gram=gram)


class RowSums:
    """Cross-products of a partition that can be summed again when its weights change.

    Parameters
    ----------
    rows : Rows
        The partition.
    bases : Bases
        From the first pass over all rows.
    layouts : sequence of FactorLayout
        Factors in order; their numbers of levels are the partition's.
    """

    def __init__(self, rows: Rows, bases: Bases, layouts: Sequence[FactorLayout]):
        self.rows, self.bases, self.layouts = rows, bases, tuple(layouts)
        self.codes = [rows.codes(f.terms[0]) for f in layouts]
        self.row_pairs, self.pairs = _meeting_levels(layouts, self.codes)

    def products(self) -> Products:
        """The cross-products by the weights that the rows have."""
        known = self.rows, self.bases, self.layouts, self.codes, self.row_pairs, self.pairs

        def span(first: int, last: int) -> list[np.ndarray]:
            return _sum_span(*known, first, last)

        sums, *others = run_pieces(span, _spans(self.rows.n_chunks))
        for other in others:
            for total, part in zip(sums, other, strict=True):
                total += part
        count = len(self.layouts)
        fixed_gram, grams = sums[0], tuple(sums[1 : 1 + count])
        values = dict(zip(self.pairs, sums[1 + 2 * count :], strict=True))
        pairs = {k: replace(pair, value=values[k]) for k, pair in self.pairs.items()}
        for gram in grams:
            if gram.shape[1] > 1:
                crossproducts.mirror_blocks(gram)
        crosses = tuple(sums[1 + count : 1 + 2 * count])
        return Products(self.rows.nobs, self.layouts, grams, crosses, pairs, fixed_gram)


def _spans(n_chunks):
    """Runs of chunks, one for each thread that may be used; each has sums of its own."""
    count = min(get_num_threads(), max(n_chunks // SPAN, 1))
    bounds = np.linspace(0, n_chunks, count + 1).astype(int).tolist()
    return list(pairwise(bounds))


def _sum_span(rows, bases, layouts, codes, row_pairs, pairs, first, last):
    """[X y]'[X y], then grams and crosses of the factors, then values of the pairs."""
    n_fixed = bases.basis.rank + 1
    fixed_gram = np.zeros((n_fixed, n_fixed))
    grams = [zeros((f.n_levels, f.width, f.width)) for f in layouts]
    crosses = [zeros((f.n_levels, f.width, n_fixed)) for f in layouts]
    values = {key: zeros(pair.value.shape) for key, pair in pairs.items()}
    for at, fixed in fixed_chunks(rows, bases, first=first, last=last):
        fixed_gram += fixed.T @ fixed
        z = [factor_columns(rows, bases, f, at) for f in layouts]
        for f, own in enumerate(codes):
            crossproducts.level_products(own[at], z[f], fixed, grams[f], crosses[f])
        for (f, g), row_pair in row_pairs.items():
            crossproducts.pair_products(row_pair[at], z[f], z[g], values[f, g])
    return [fixed_gram, *grams, *crosses, *values.values()]


def fixed_chunks(
    rows: Rows,
    bases: Bases,
    right: np.ndarray | None = None,
    first: int = 0,
    last: int | None = None,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Chunks of the rows with [X y] as they enter, (m, P), times ``right`` if given.

    Those numbered ``first`` to before ``last``, all if None.
    """
    kept: np.ndarray | None = None
    shift = bases.shifts.fixed
    if bases.basis.rank < rows.n_columns:
        kept = bases.basis.kept
        shift = shift[np.append(kept, rows.n_columns)]
    right = bases.right if right is None else bases.right @ right
    for at in rows.chunks(first=first, last=last):
        yield at, rows.fixed(at, shift, kept).T @ right


def factor_columns(rows: Rows, bases: Bases, layout: FactorLayout, at: slice) -> np.ndarray:
    """Columns of a factor as they enter, (K, m)."""
    parts = []
    for term in layout.terms:
        z = rows.random(term, at, bases.shifts.random[term])
        right = bases.random_right[term]
        if len(right) == 1:
            parts.append(z if right[0, 0] == 1.0 else z * right[0, 0])
        else:
            parts.append(right.T @ z)
    return parts[0] if len(parts) == 1 else np.vstack(parts)


def _meeting_levels(layouts, codes):
    """For every pair of factors the number of its pair a row has, and empty products."""
    row_pairs, pairs, n = {}, {}, len(codes[0]) if codes else 0
    order, index = np.empty(n, np.int32), np.empty(n, np.int32)
    for g in range(1, len(layouts)):
        # rows sorted by g and then by f have the levels of g in order within those of f
        before = np.empty(n, np.int32)
        pointers = np.empty(layouts[g].n_levels + 1, np.intp)
        crossproducts.sort_rows(codes[g], before, pointers)
        for f in range(g):
            pointers = np.empty(layouts[f].n_levels + 1, np.intp)
            crossproducts.sort_again(codes[f], before, order, pointers)
            pair_pointers, row_pair = np.empty_like(pointers), np.empty(n, np.int32)
            crossproducts.number_pairs(
                order, pointers, codes[g], pair_pointers, index, row_pair
            )
            count = int(pair_pointers[-1])
            shape = count, layouts[g].width, layouts[f].width
            own = PairProducts(
                pair_pointers, index[:count].copy(), np.broadcast_to(0.0, shape)
            )
            pairs[f, g], row_pairs[f, g] = own, row_pair
    return row_pairs, pairs


def add_products(
    one: Products, other: Products, level_maps: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Products:
    """Sum of two partitions.

    Parameters
    ----------
    one, other : Products
        With the same factors and columns; ``one`` is used up.
    level_maps : sequence of (ndarray, ndarray)
        For each factor the numbers in the union of the levels of ``one`` and of those of
        ``other``.
    """
    counts = [int(max(a.max(initial=-1), b.max(initial=-1))) + 1 for a, b in level_maps]
    layouts = tuple(
        replace(f, n_levels=c) for f, c in zip(one.layouts, counts, strict=True)
    )

    def joined(first: np.ndarray, second: np.ndarray, number: int) -> np.ndarray:
        a, b = level_maps[number]
        out = first
        in_place = len(a) == counts[number] and (np.diff(a) == 1).all()
        if not (in_place and first.flags.writeable):
            out = zeros((counts[number], *first.shape[1:]))
            out[a] = first
        out[b] += second
        return out

    pairs = {
        (f, g): _add_pairs(
            one.pairs[f, g], other.pairs[f, g], level_maps[f], level_maps[g], counts, f, g
        )
        for f, g in one.pairs
    }
    numbers = range(len(layouts))
    return Products(
        one.nobs + other.nobs,
        layouts,
        tuple(joined(one.grams[i], other.grams[i], i) for i in numbers),
        tuple(joined(one.crosses[i], other.crosses[i], i) for i in numbers),
        pairs,
        one.fixed_gram + other.fixed_gram,
    )


def _add_pairs(one, other, first_maps, other_maps, counts, f, g):
    key = np.concatenate(
        [
            first_maps[side][p.first].astype(np.int64) * counts[g]
            + other_maps[side][p.index]
            for side, p in enumerate((one, other))
        ]
    )
    present, position = np.unique(key, return_inverse=True)
    value = np.zeros((len(present), *one.value.shape[1:]))
    value[position[: len(one.index)]] = one.value
    value[position[len(one.index) :]] += other.value
    first, index = np.divmod(present, max(counts[g], 1))
    pointers = np.searchsorted(first, np.arange(counts[f] + 1)).astype(np.intp)
    return PairProducts(pointers, index.astype(np.int32), value)
