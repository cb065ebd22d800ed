"""Blocks: the cross-products A = [Z X y]'[Z X y], all that a fit needs of the rows.

Random terms that share a grouping factor share one block.  The factor with the most
random effects leads: it is block-diagonal and eliminated level by level.  The other
factors form the tail, dense or sparse.  The order inside never shows outside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from mixedext.engine.factor.tail_pattern import SMALL_TAIL, TailPattern, choose_pattern
from mixedext.engine.rows.allocation import zeros
from mixedext.engine.rows.memory import MemoryEstimate, estimate_memory
from mixedext.engine.rows.products import FactorLayout, Products
from mixedext.engine.rows.within import Within
from mixedext.kernels.factor.sparse import multiply_symmetric
from mixedext.kernels.rows import crossproducts

__all__ = ["Blocks", "build_blocks"]


@dataclass(frozen=True, eq=False)
class Blocks:
    """Cross-products by block; ``[X y]`` counts as one set of P fixed columns.

    Attributes
    ----------
    nobs : int
        Rows that were summed.
    factors : tuple of FactorLayout
        The leading factor first, then those of the tail.  Empty without random terms.
        Spread factors (engine.factor.spread) are in the tail, behind a leading factor
        without levels or terms if there is no other.
    lead_gram : ndarray
        (L, K, K), Z_l'Z_l of the leading factor.
    lead_cross : ndarray
        (L, K, P), Z_l'[X y].
    link_pointers, link_index, link_value : ndarray
        Rows of Z_tail'Z_l that are not zero, compressed by level: the scalar tail columns
        ``link_index[link_pointers[l]:link_pointers[l + 1]]``, values (nnz, K).
    level_start, level_factor : ndarray
        First scalar column of every tail level, and the number of its tail factor.
    tail_levels : tuple of ndarray
        For each tail factor the tail level of each of its levels.
    pattern : TailPattern or None
        Pattern of the sparse tail; None for a dense tail.
    tail_gram : ndarray
        Z_tail'Z_tail, (m, m) if dense, else on the pattern of the factor.
    tail_cross : ndarray
        (m, P), Z_tail'[X y].
    fixed_gram : ndarray
        (P, P), [X y]'[X y].
    within : Within or None
        With one grouping factor of few columns the cross-products within its levels.
    """

    nobs: int
    factors: tuple[FactorLayout, ...]
    lead_gram: np.ndarray
    lead_cross: np.ndarray
    link_pointers: np.ndarray
    link_index: np.ndarray
    link_value: np.ndarray
    level_start: np.ndarray
    level_factor: np.ndarray
    tail_levels: tuple[np.ndarray, ...]
    pattern: TailPattern | None
    tail_gram: np.ndarray
    tail_cross: np.ndarray
    fixed_gram: np.ndarray
    within: Within | None = None

    @property
    def n_fixed(self) -> int:
        """P: columns of X and y together."""
        return len(self.fixed_gram)

    @property
    def tail_size(self) -> int:
        """m: scalar columns of the tail."""
        return int(self.level_start[-1])

    @property
    def storage(self) -> str:
        """How the tail is stored: "none", "dense", "nested", "sparse" or "supernodal"."""
        if self.tail_size == 0:
            return "none"
        if self.pattern is None:
            return "dense"
        if self.pattern.supernodes is not None:
            return "supernodal"
        return "nested" if self.pattern.n_fill == 0 else "sparse"

    def tail_columns(self, factor: int) -> np.ndarray:
        """Scalar tail columns of the levels of tail factor ``factor``, (L, K)."""
        start = self.level_start[self.tail_levels[factor]]
        return start[:, None] + np.arange(self.factors[factor + 1].width)

    def by_level(self, number: int, lead: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """Rows of factor ``number`` out of a (lead, tail) pair, (L, K, columns)."""
        return lead if number == 0 else tail[self.tail_columns(number - 1)]

    def level_grams(self, number: int) -> np.ndarray:
        """Z_l'Z_l of the levels of factor ``number``, (L, K, K)."""
        if number == 0:
            return self.lead_gram
        at = self.tail_columns(number - 1)
        i, j = np.broadcast_arrays(at[:, :, None], at[:, None, :])
        if self.pattern is None:
            return self.tail_gram[i, j]
        position = self.pattern.locate(np.maximum(i, j).ravel(), np.minimum(i, j).ravel())
        return self.tail_gram[position].reshape(i.shape)

    def level_crosses(self, number: int) -> np.ndarray:
        """Z_l'[X y] of the levels of factor ``number``, (L, K, P)."""
        return self.by_level(number, self.lead_cross, self.tail_cross)

    def multiply_tail_gram(self, b: np.ndarray) -> np.ndarray:
        """Z_tail'Z_tail b, (m, columns)."""
        return self.multiply_on_pattern(self.tail_gram, b)

    def multiply_on_pattern(self, values: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Product with a symmetric matrix that is stored as the tail is."""
        if self.pattern is None:
            return values @ b
        out = np.zeros_like(b)
        multiply_symmetric(self.pattern.pointers, self.pattern.rows, values, b, out)
        return out

    @property
    def memory(self) -> MemoryEstimate:
        """Estimate of what a fit takes: these blocks and all that is computed from them."""
        return estimate_memory(
            self.factors, len(self.link_index), self.n_fixed, self.pattern
        )

    def describe(self) -> str:
        """The block structure as text: one line a factor, then the tail."""
        lines = [f"{'role':<8}{'grouping factor':<32}{'levels':>10}{'columns':>9}"]
        for number, f in enumerate(self.factors):
            if not f.terms:
                continue
            role = "tail" if number else "lead"
            lines.append(f"{role:<8}{f.group:<32}{f.n_levels:>10}{f.width:>9}")
        m = self.tail_size
        how = {
            "none": "no tail: one block a level",
            "dense": f"dense tail, {m} x {m}",
            "nested": f"nested tail, {m} columns, no fill-in",
            "sparse": f"sparse tail, {m} columns",
            "supernodal": f"sparse tail in dense panels, {m} columns",
        }[self.storage if self.factors else "none"]
        if self.pattern is not None:
            how += f", {len(self.pattern.rows)} stored values"
            how += f", {self.pattern.n_fill} of them fill-in"
        lines.append(f"{how}; {self.n_fixed - 1} fixed columns, {self.nobs} rows")
        lines.append(f"memory of a fit beyond the data: about {self.memory}")
        return "\n".join(lines)


def build_blocks(
    products: Products, storage: str | None = None, within: Within | None = None
) -> Blocks:
    """Arrange cross-products for elimination.

    Parameters
    ----------
    products : Products
        Of all rows.
    storage : {"dense", "sparse"}, optional
        Storage of the tail; chosen by estimated cost if None.
    within : Within, optional
        Of a design with one grouping factor.
    """
    n_fixed = len(products.fixed_gram)
    if products.layouts:
        gram, cross = products.grams[0], products.crosses[0]
    else:
        gram, cross = np.zeros((0, 1, 1)), np.zeros((0, 1, n_fixed))
    several = len(products.layouts) > 1
    tail = _build_tail(products, storage) if several else _no_tail(gram, n_fixed)
    return Blocks(
        nobs=products.nobs,
        factors=products.layouts,
        lead_gram=gram,
        lead_cross=cross,
        fixed_gram=products.fixed_gram,
        within=within,
        **tail,
    )


def _no_tail(gram, n_fixed):
    return {
        "link_pointers": np.zeros(len(gram) + 1, np.intp),
        "link_index": np.zeros(0, np.intp),
        "link_value": np.zeros((0, gram.shape[1])),
        "level_start": np.zeros(1, np.intp),
        "level_factor": np.zeros(0, np.intp),
        "tail_levels": (),
        "pattern": None,
        "tail_gram": np.zeros((0, 0)),
        "tail_cross": np.zeros((0, n_fixed)),
    }


def _build_tail(products, storage):
    layouts = products.layouts[1:]
    widths = np.array([f.width for f in layouts], np.intp)
    counts = np.array([f.n_levels for f in layouts], np.intp)
    level_factor = np.repeat(np.arange(len(widths), dtype=np.intp), counts)
    first_level = np.concatenate([[0], np.cumsum(counts)])
    tail_levels = [np.arange(a, a + c) for a, c in zip(first_level, counts, strict=False)]
    lead_pairs = [products.pairs[0, f + 1] for f in range(len(layouts))]
    # A factor whose levels each lie in one level of every coarser one is nested; what
    # fill-in the tail would suffer, and so how to store it, follows from the links.
    scalar = (widths == 1).all()
    ones = [replace(p, value=np.ones((len(p.index), 1, 0))) for p in lead_pairs]
    links = _links(
        lead_pairs if scalar else ones, first_level[:-1], np.arange(first_level[-1])
    )
    pointers, index, _ = links
    n_links = int(sum(len(p.index) * p.value.shape[1] for p in lead_pairs))

    def check(n_stored: int | None = None, pattern: TailPattern | None = None) -> None:
        n_fixed = len(products.fixed_gram)
        estimate_memory(products.layouts, n_links, n_fixed, pattern, n_stored).check()

    large = widths[level_factor].sum() > SMALL_TAIL or storage == "sparse"
    if any(f.spread for f in layouts) and large:
        pointers, index = _with_spread(pointers, index, products, first_level)
    elimination, pattern = choose_pattern(
        pointers, index, widths[level_factor], storage, check
    )
    check(pattern=pattern)
    if elimination is not None:  # renumber the tail levels in order of elimination
        rank = np.empty_like(elimination)
        rank[elimination] = np.arange(len(elimination))
        tail_levels = [rank[levels] for levels in tail_levels]
        level_factor = level_factor[elimination]
    level_start = np.concatenate([[0], np.cumsum(widths[level_factor])]).astype(np.intp)
    starts = [level_start[levels] for levels in tail_levels]
    if elimination is not None or not scalar:
        zero = np.zeros(len(layouts), np.intp)
        links = _links(lead_pairs, zero, starts, sort=elimination is not None)
    m = int(level_start[-1])
    tail_cross = np.zeros((m, len(products.fixed_gram)))
    for f, start in enumerate(starts):
        at = start[:, None] + np.arange(widths[f])
        tail_cross[at] = products.crosses[f + 1]
    return {
        "link_pointers": links[0],
        "link_index": links[1],
        "link_value": links[2],
        "level_start": level_start,
        "level_factor": level_factor,
        "tail_levels": tuple(tail_levels),
        "pattern": pattern,
        "tail_gram": _tail_gram(products, starts, m, pattern),
        "tail_cross": tail_cross,
    }


def _with_spread(pointers, index, products, first_level):
    """Tail levels that meet, compressed rows, with those that meet outside the lead.

    A row of the data belongs to several levels of a spread factor: any two of them, and
    levels of other factors of the tail, meet whatever the lead.
    """
    first, second = [], []
    for f, gram in products.inner.items():
        start = first_level[f - 1]
        width, block = products.layouts[f].width, products.layouts[f].block
        row, column = _levels_that_meet(gram, width)
        first.append(row + start)
        second.append(column + start)
        # the covariance of what is one level of a term, or of several, is wanted
        own = np.arange(products.layouts[f].n_levels).reshape(-1, block) + start
        for g in range(1, f + 1):
            other = products.layouts[g]
            if other.spread and other.n_levels == len(own) * other.block:
                beside = np.arange(other.n_levels).reshape(-1, other.block)
                beside = beside + first_level[g - 1]
                i, j = np.broadcast_arrays(own[:, :, None], beside[:, None, :])
                first.append(i[i > j])
                second.append(j[i > j])
        for g in range(1, f):
            pair = products.pairs[g, f]
            first.append(pair.index + start)
            second.append(pair.first + first_level[g - 1])
    both = np.stack([np.concatenate(first), np.concatenate(second)], axis=1)
    ends = pointers[-1] + 2 * np.arange(1, len(both) + 1)
    return (
        np.concatenate([pointers, ends]).astype(np.intp),
        np.concatenate([index, both.ravel()]).astype(np.intp),
    )


def _lower_entries(gram):
    """Rows and columns of the entries below the diagonal that are not zero."""
    if not sparse.issparse(gram):
        return np.nonzero(np.tril(gram, -1))
    lower = sparse.tril(gram, -1).tocoo()
    return lower.row, lower.col


def _levels_that_meet(gram, width):
    """Pairs of levels of some columns each with entries in Z'Z, the larger one first."""
    row, column = _lower_entries(gram)
    if width == 1:
        return row, column
    row, column = row // width, column // width
    n_levels = gram.shape[0] // width
    apart = row > column
    pair = np.unique(row[apart].astype(np.int64) * n_levels + column[apart])
    return np.divmod(pair, n_levels)


def _links(pairs, offsets, starts, sort=False):
    """Links of the leading factor with all tail factors, compressed by its levels.

    ``starts`` are the first scalar columns of the levels of each tail factor, or with
    ``offsets`` one array of all.
    """
    count = sum(np.diff(p.pointers) * p.value.shape[1] for p in pairs)
    pointers = np.concatenate([[0], np.cumsum(count)]).astype(np.intp)
    index = np.empty(pointers[-1], np.intp)
    value = np.empty((pointers[-1], pairs[0].value.shape[2]))
    cursor = pointers[:-1].copy()
    for f, pair in enumerate(pairs):
        start = starts[f] if isinstance(starts, list) else starts[offsets[f] :]
        start = np.ascontiguousarray(start, np.intp)
        crossproducts.place_links(
            pair.pointers, pair.index, pair.value, start, cursor, index, value
        )
    if sort:
        shape = len(count), int(index.max(initial=-1)) + 1
        order = sparse.csr_array((np.arange(len(index)), index, pointers), shape=shape)
        order.sort_indices()
        index, value = order.indices.astype(np.intp), value[order.data]
    return pointers, index, value


def _tail_gram(products, starts, m, pattern):
    """Z_tail'Z_tail, dense or on the pattern of the factor."""
    rows, columns, values = [], [], []
    for f, start in enumerate(starts):
        gram = products.grams[f + 1]
        inner = np.arange(gram.shape[1])
        shape = gram.shape
        rows.append(np.broadcast_to((start[:, None] + inner)[:, :, None], shape))
        columns.append(np.broadcast_to((start[:, None] + inner)[:, None, :], shape))
        values.append(gram)
        for g in range(f):
            pair = products.pairs[g + 1, f + 1]
            shape = pair.value.shape
            row = start[pair.index][:, None] + np.arange(shape[1])
            column = starts[g][pair.first][:, None] + np.arange(shape[2])
            rows.append(np.broadcast_to(row[:, :, None], shape))
            columns.append(np.broadcast_to(column[:, None, :], shape))
            values.append(pair.value)
    for f, gram in products.inner.items():
        i, j = _lower_entries(gram)
        at = starts[f - 1][:, None] + np.arange(products.layouts[f].width)
        rows.append(at.ravel()[i])
        columns.append(at.ravel()[j])
        values.append(np.asarray(gram[i, j]).ravel())
    if pattern is None:
        out = zeros((m, m))
        for row, column, value in zip(rows, columns, values, strict=True):
            out[row, column] = value
            out[column, row] = value
        return out
    out = np.zeros(len(pattern.rows))
    for row, column, value in zip(rows, columns, values, strict=True):
        i, j = np.maximum(row, column).ravel(), np.minimum(row, column).ravel()
        out[pattern.locate(i, j)] = value.ravel()
    return out
