"""Blocks: the cross-products A = [Z X y]'[Z X y], all that a fit needs of the rows.

Random terms that share a grouping factor share one block.  The factor with the most
random effects leads: it is block-diagonal and eliminated level by level.  The other
factors form the tail, dense or sparse.  The order inside never shows outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from mixedext.engine.kernels import crossproducts
from mixedext.engine.kernels.sparse import multiply_symmetric
from mixedext.engine.tail_pattern import TailPattern, choose_pattern
from mixedext.specification.terms import RandomTerm

__all__ = ["Blocks", "FactorLayout", "build_blocks"]


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
    """

    group: str
    n_levels: int
    width: int
    terms: tuple[int, ...]
    slices: tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Blocks:
    """Cross-products by block; ``[X y]`` counts as one set of P fixed columns.

    Attributes
    ----------
    nobs : int
        Rows that were summed.
    factors : tuple of FactorLayout
        The leading factor first, then those of the tail.  Empty without random terms.
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

    @property
    def n_fixed(self) -> int:
        """P: columns of X and y together."""
        return len(self.fixed_gram)

    @property
    def tail_size(self) -> int:
        """m: scalar columns of the tail."""
        return int(self.level_start[-1])

    @property
    def largest_link(self) -> int:
        """Tail columns that the busiest level of the leading factor meets."""
        return int(np.diff(self.link_pointers).max(initial=0))

    @property
    def storage(self) -> str:
        """How the tail is stored: "none", "dense", "nested" or "sparse"."""
        if self.tail_size == 0:
            return "none"
        if self.pattern is None:
            return "dense"
        return "nested" if self.pattern.n_fill == 0 else "sparse"

    def tail_columns(self, factor: int) -> np.ndarray:
        """Scalar tail columns of the levels of tail factor ``factor``, (L, K)."""
        start = self.level_start[self.tail_levels[factor]]
        return start[:, None] + np.arange(self.factors[factor + 1].width)

    def by_level(self, number: int, lead: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """Rows of factor ``number`` out of a (lead, tail) pair, (L, K, columns)."""
        return lead if number == 0 else tail[self.tail_columns(number - 1)]

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
    def nbytes(self) -> int:
        """Memory of a fit: these blocks and the factor that is computed from them."""
        own = sum(
            value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray)
        )
        return own + 2 * (self.lead_gram.nbytes + self.tail_gram.nbytes)

    def describe(self) -> str:
        """The block structure as text: one line a factor, then the tail."""
        lines = [f"{'role':<8}{'grouping factor':<32}{'levels':>10}{'columns':>9}"]
        for number, f in enumerate(self.factors):
            role = "tail" if number else "lead"
            lines.append(f"{role:<8}{f.group:<32}{f.n_levels:>10}{f.width:>9}")
        m = self.tail_size
        how = {
            "none": "no tail: one block a level",
            "dense": f"dense tail, {m} x {m}",
            "nested": f"nested tail, {m} columns, no fill-in",
            "sparse": f"sparse tail, {m} columns",
        }[self.storage if self.factors else "none"]
        if self.pattern is not None:
            how += f", {len(self.pattern.rows)} stored values"
            how += f", {self.pattern.n_fill} of them fill-in"
        lines.append(f"{how}; {self.n_fixed - 1} fixed columns, {self.nobs} rows")
        lines.append(f"memory of the blocks and their factor: {self.nbytes / 1e6:.1f} MB")
        return "\n".join(lines)


def group_by_factor(terms: list[RandomTerm]) -> list[FactorLayout]:
    """Terms that share a grouping factor, put together; the leading factor first."""
    groups: list[list[int]] = []
    for i, term in enumerate(terms):
        for members in groups:
            first = terms[members[0]]
            if first.n_levels == term.n_levels and (
                first.codes is term.codes or np.array_equal(first.codes, term.codes)
            ):
                members.append(i)
                break
        else:
            groups.append([i])
    layouts = []
    for members in groups:
        ends = np.cumsum([terms[i].k for i in members])
        slices = tuple(
            slice(int(end) - terms[i].k, int(end))
            for i, end in zip(members, ends, strict=True)
        )
        first = terms[members[0]]
        layouts.append(
            FactorLayout(first.group, first.n_levels, int(ends[-1]), tuple(members), slices)
        )
    # The order depends on the design alone, not on the order in which terms were written.
    return sorted(layouts, key=lambda f: (-f.n_levels * f.width, -f.n_levels, f.group))


def build_blocks(
    terms: list[RandomTerm],
    columns: list[np.ndarray],
    fixed: np.ndarray,
    storage: str | None = None,
) -> Blocks:
    """Sum the cross-products over the rows.

    Parameters
    ----------
    terms : list of RandomTerm
        Codes of the terms; may be empty.
    columns : list of ndarray
        Columns of Z of each term as they enter (scaled, weighted), (n, k).
    fixed : ndarray
        Columns of X and y as they enter, (n, P), C order.
    storage : {"dense", "sparse"}, optional
        Storage of the tail; chosen by estimated cost if None.
    """
    layouts = group_by_factor(terms)
    stacked = [
        np.ascontiguousarray(np.hstack([columns[i] for i in f.terms])) for f in layouts
    ]
    codes = [np.ascontiguousarray(terms[f.terms[0]].codes, np.intp) for f in layouts]
    n, n_fixed = fixed.shape
    if not layouts:
        width, n_levels = 1, 0
    else:
        width, n_levels = layouts[0].width, layouts[0].n_levels
    lead_gram = np.zeros((n_levels, width, width))
    lead_cross = np.zeros((n_levels, width, n_fixed))
    if layouts:
        crossproducts.level_products(codes[0], stacked[0], fixed, lead_gram, lead_cross)
    tail = _build_tail(layouts, codes, stacked, fixed, storage)
    return Blocks(
        nobs=n,
        factors=tuple(layouts),
        lead_gram=lead_gram,
        lead_cross=lead_cross,
        fixed_gram=fixed.T @ fixed,
        **tail,
    )


def _build_tail(layouts, codes, stacked, fixed, storage):
    tail_layouts = layouts[1:]
    n_levels = layouts[0].n_levels if layouts else 0
    widths = np.array([f.width for f in tail_layouts], np.intp)
    counts = np.array([f.n_levels for f in tail_layouts], np.intp)
    level_factor = np.repeat(np.arange(len(widths), dtype=np.intp), counts)
    if not tail_layouts:
        return {
            "link_pointers": np.zeros(n_levels + 1, np.intp),
            "link_index": np.zeros(0, np.intp),
            "link_value": np.zeros((0, layouts[0].width if layouts else 1)),
            "level_start": np.zeros(1, np.intp),
            "level_factor": level_factor,
            "tail_levels": (),
            "pattern": None,
            "tail_gram": np.zeros((0, 0)),
            "tail_cross": np.zeros((0, fixed.shape[1])),
        }
    first_level = np.concatenate([[0], np.cumsum(counts)])
    tail_levels = [np.arange(a, a + c) for a, c in zip(first_level, counts, strict=False)]
    tail_codes = np.stack(
        [c + a for c, a in zip(codes[1:], first_level, strict=False)], axis=1
    )
    order = np.empty(len(tail_codes), np.intp)
    pointers = np.zeros(n_levels + 1, np.intp)
    crossproducts.sort_rows(codes[0], order, pointers)

    links = _links(order, pointers, tail_codes, widths, level_factor)
    # A factor whose levels each lie in one level of every coarser one is nested; what
    # fill-in the tail would suffer, and so how to store it, follows from the links.
    elimination, pattern = choose_pattern(*links, widths[level_factor], storage)
    if elimination is not None:  # renumber the tail levels in order of elimination
        rank = np.empty_like(elimination)
        rank[elimination] = np.arange(len(elimination))
        tail_levels = [rank[levels] for levels in tail_levels]
        tail_codes = rank[tail_codes]
        level_factor = level_factor[elimination]
    tail_codes = np.ascontiguousarray(tail_codes)
    level_start = np.concatenate([[0], np.cumsum(widths[level_factor])]).astype(np.intp)
    first_column = np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(np.intp)
    tail_z = np.ascontiguousarray(np.hstack(stacked[1:]))
    link_pointers = np.empty(n_levels + 1, np.intp)
    mark = np.full(len(level_factor), -1, np.intp)
    crossproducts.count_links(order, pointers, tail_codes, widths, mark, link_pointers)
    link_index = np.empty(link_pointers[-1], np.intp)
    link_value = np.zeros((link_pointers[-1], layouts[0].width))
    mark[:] = -1
    crossproducts.link_products(
        order,
        pointers,
        tail_codes,
        widths,
        first_column,
        level_start,
        stacked[0],
        tail_z,
        link_pointers,
        mark,
        np.empty_like(mark),
        np.empty_like(mark),
        link_index,
        link_value,
    )
    m = int(level_start[-1])
    tail_cross = np.zeros((m, fixed.shape[1]))
    for f, layout in enumerate(tail_layouts):
        gram = np.zeros((layout.n_levels, layout.width, layout.width))
        cross = np.zeros((layout.n_levels, layout.width, fixed.shape[1]))
        crossproducts.level_products(codes[f + 1], stacked[f + 1], fixed, gram, cross)
        at = level_start[tail_levels[f]][:, None] + np.arange(layout.width)
        tail_cross[at] = cross
    if pattern is None:
        tail_gram = np.zeros((m, m))
        crossproducts.tail_products(
            tail_codes, widths, first_column, level_start, tail_z, tail_gram
        )
    else:
        tail_gram = _sparse_gram(tail_codes, widths, level_start, tail_z, pattern)
    return {
        "link_pointers": link_pointers,
        "link_index": link_index,
        "link_value": link_value,
        "level_start": level_start,
        "level_factor": level_factor,
        "tail_levels": tuple(tail_levels),
        "pattern": pattern,
        "tail_gram": tail_gram,
        "tail_cross": tail_cross,
    }


def _links(order, pointers, tail_codes, widths, level_factor):
    """Which tail levels each level of the leading factor meets (compressed rows)."""
    n_levels = len(pointers) - 1
    ones = np.ones(len(widths), np.intp)
    link_pointers = np.empty(n_levels + 1, np.intp)
    mark = np.full(len(level_factor), -1, np.intp)
    codes = np.ascontiguousarray(tail_codes)
    crossproducts.count_links(order, pointers, codes, ones, mark, link_pointers)
    index = np.empty(link_pointers[-1], np.intp)
    mark[:] = -1
    nothing = np.zeros((len(tail_codes), 0))
    crossproducts.link_products(
        order,
        pointers,
        codes,
        np.zeros(len(widths), np.intp),
        np.zeros(len(widths), np.intp),
        np.arange(len(level_factor) + 1, dtype=np.intp),
        nothing,
        nothing,
        link_pointers,
        mark,
        np.empty_like(mark),
        np.empty_like(mark),
        index,
        np.zeros((len(index), 0)),
    )
    return link_pointers, index


def _sparse_gram(tail_codes, widths, level_start, tail_z, pattern):
    """Z_tail'Z_tail on the pattern of the factor."""
    n = len(tail_codes)
    columns = np.concatenate(
        [
            level_start[tail_codes[:, f]][:, None] + np.arange(width)
            for f, width in enumerate(widths)
        ],
        axis=1,
    )
    pointers = np.arange(n + 1) * columns.shape[1]
    m = int(level_start[-1])
    z = sparse.csr_array((tail_z.ravel(), columns.ravel(), pointers), shape=(n, m))
    lower = sparse.tril(z.T @ z, format="coo")
    values = np.zeros(len(pattern.rows))
    values[pattern.locate(lower.row, lower.col)] = lower.data
    return values
