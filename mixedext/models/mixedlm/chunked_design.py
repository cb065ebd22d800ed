"""A Design from data in chunks: every chunk is reduced to sums, and sums are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from mixedext.engine.rows.basis import (
    Bases,
    ColumnSums,
    Shifts,
    bases_from_sums,
    choose_shifts,
)
from mixedext.engine.rows.design import Design, finish_design
from mixedext.engine.rows.products import FactorLayout, Products, add_products, layouts_of
from mixedext.engine.rows.rows import Rows
from mixedext.engine.rows.within import within_from_rows
from mixedext.exceptions import DesignError
from mixedext.limits import NOT_ORTHONORMAL, VALUE_RANGE
from mixedext.models.mixedlm.identification import check_identification
from mixedext.specification.data.chunk_sources import ChunkSource
from mixedext.specification.data.value_range import check_not_too_large, check_value_range
from mixedext.specification.data.weights import check_weights
from mixedext.specification.formula.arrays import column_sizes
from mixedext.specification.formula.chunk_plan import ChunkPlan
from mixedext.specification.formula.model_frame import ModelFrame
from mixedext.specification.terms.random_terms import RandomTerm, check_levels

__all__ = ["ChunkedDesign", "chunk_rows", "design_from_chunks"]


@dataclass(frozen=True, eq=False)
class ChunkedDesign:
    """A design and what a model needs to know besides.

    Attributes
    ----------
    design : Design
        As from ``prepare_design`` on all rows.
    plan : ChunkPlan
        Evaluates further chunks.
    head : ModelFrame
        Model frame of some first rows.
    """

    design: Design
    plan: ChunkPlan
    head: ModelFrame


@dataclass(frozen=True, eq=False)
class Part:
    """Products of some chunks, and which of all levels occur in them."""

    products: Products
    numbers: tuple[np.ndarray, ...]

    @property
    def weight(self) -> int:
        """Work of an addition: levels that occur."""
        return sum(map(len, self.numbers))

    def __add__(self, other: Part) -> Part:
        unions, maps = [], []
        for a, b in zip(self.numbers, other.numbers, strict=True):
            size = max(a.max(initial=-1), b.max(initial=-1)) + 1
            occurs = np.zeros(size, bool)
            occurs[a] = occurs[b] = True
            rank = np.cumsum(occurs) - 1
            unions.append(np.flatnonzero(occurs))
            maps.append((rank[a], rank[b]))
        return Part(add_products(self.products, other.products, maps), tuple(unions))


def chunk_rows(plan: ChunkPlan, frame: ModelFrame) -> Rows:
    """The engine's rows of a chunk's model frame."""
    if frame.weights is not None:
        check_weights(frame.weights)
    return Rows(
        plan.response_and_offset(frame),
        np.asarray(frame.exog, float),
        frame.terms,
        frame.weights,
    )


def _column_sums(plan, shifts, triangular, chunk):
    frame = plan.evaluate(chunk)
    if frame is None:
        return None
    rows = chunk_rows(plan, frame)
    _check_not_too_large(frame, rows)
    return ColumnSums.of(rows, shifts, triangular)


def _check_not_too_large(frame, rows):
    """Refuse a chunk with values that are too large; small ones may be few."""
    check_not_too_large("the response (endog) less offset", rows.y)
    for what, size in column_sizes(frame.exog, None, frame.terms):
        check_not_too_large(what, size)


def _check_range(frame, rows, sums):
    """Refuse columns whose squares vanish in the first rows and in all of them."""
    squares = [sums.fixed, *sums.random]
    if min(np.diag(gram).min(initial=np.inf) for gram in squares) < VALUE_RANGE[0] ** 2:
        columns = column_sizes(frame.exog, None, frame.terms)
        check_value_range(rows.y, columns, rows.weights)


def _part(plan, bases, layouts, levels, chunk):
    frame = plan.evaluate(chunk)
    if frame is None:
        return None
    rows = chunk_rows(plan, frame)
    numbers = [_level_numbers(rows, layout, levels) for layout in layouts]
    own = [replace(f, n_levels=len(n)) for f, n in zip(layouts, numbers, strict=True)]
    return Part(Products.of(rows, bases, own), tuple(numbers))


def _level_numbers(rows, layout, levels):
    """Numbers, among all levels of a factor, of those of a chunk."""
    first = layout.terms[0]
    numbers = levels[first].get_indexer(rows.terms[first].levels).astype(np.intp)
    if (numbers < 0).any():
        raise ValueError(
            f"the grouping factor {layout.group!r} has levels in this pass over the "
            "chunks that it had not in an earlier one; chunks must be the same in "
            "every pass"
        )
    return numbers


def _within(plan, bases, layouts, levels, present, right, products, shift, chunk):
    frame = plan.evaluate(chunk)
    if frame is None:
        return None
    rows = chunk_rows(plan, frame)
    at = np.searchsorted(present[0], _level_numbers(rows, layouts[0], levels))
    own = replace(
        products, grams=(products.grams[0][at],), crosses=(products.crosses[0][at],)
    )
    return within_from_rows(rows, bases, right, own, shift)


def design_from_chunks(
    source: ChunkSource, plan: ChunkPlan, storage: str | None = None
) -> ChunkedDesign:
    """Read the chunks three times, or four where one variance dwarfs, and sum them up.

    Parameters
    ----------
    source : ChunkSource
        The chunks.
    plan : ChunkPlan
        The formula, without a vocabulary.
    storage : {"dense", "sparse"}, optional
        Storage of the tail; chosen by estimated cost if None.

    Raises
    ------
    ValueError
        If there are no complete rows, or chunks differ from pass to pass.
    DesignError
        As in ``prepare_design``.
    """
    vocabulary = source.sum(plan.collect)
    if vocabulary is None or vocabulary.nobs == 0:
        raise ValueError("chunks hold no complete rows")
    plan = plan.with_vocabulary(vocabulary)
    head = plan.evaluate(vocabulary.head)
    assert head is not None  # the vocabulary's rows are complete ones
    levels = plan.levels()
    structures = [t.structure for t in head.terms]
    rows = chunk_rows(plan, head)
    _check_not_too_large(head, rows)
    bases, sums = _first_pass(source, plan, choose_shifts(rows), structures)
    _check_range(head, rows, sums)
    layouts = _layouts(head.terms, plan.factors, levels)
    part = _second_pass(source, plan, bases, layouts, levels)
    _check_same_rows(part.products, sums.nobs)
    terms = _terms(head.terms, levels, layouts, part)
    for term in terms:
        check_levels(term, sums.nobs, weighted=True)  # the design itself is asked below

    def ask_rows(right, products, rotation, shift):
        share = partial(_within, plan, bases, layouts, levels, part.numbers)
        return source.sum(partial(share, right, products, shift))

    design = finish_design(
        part.products, bases, terms, sums.log_weights, storage, ask_rows=ask_rows
    )
    check_identification(design, terms)
    return ChunkedDesign(design, plan, head)


def _first_pass(source, plan, shifts: Shifts, structures) -> tuple[Bases, ColumnSums]:
    sums = source.sum(partial(_column_sums, plan, shifts, False))
    if not sums.is_constant:
        shifts = shifts.none()
        sums = source.sum(partial(_column_sums, plan, shifts, False))
    for term, gram in enumerate(sums.random):
        if (np.diag(gram) == 0).any() and not shifts.random[term].any():
            raise DesignError("a column of a random term is zero in every row")
    bases = bases_from_sums(sums, shifts, structures)
    if bases is None:
        triangles = source.sum(partial(_column_sums, plan, shifts, True))
        bases = bases_from_sums(triangles, shifts, structures)
        assert bases is not None  # triangular factors lose no digits
    return bases, sums


def _check_same_rows(products, nobs):
    """Refuse chunks that were not those of the first pass: Q'Q would be the identity."""
    if products.nobs != nobs:
        raise ValueError(
            f"chunks had {nobs} rows in one pass and {products.nobs} in the next; chunks "
            "must be the same in every pass"
        )
    gram = products.fixed_gram[:-1, :-1]
    if np.abs(gram - np.eye(len(gram))).max(initial=0.0) > NOT_ORTHONORMAL:
        raise ValueError(
            "the chunks' columns have changed since an earlier pass; chunks must be the "
            "same in every pass"
        )


def _second_pass(source, plan, bases, layouts, levels) -> Part:
    return source.sum(partial(_part, plan, bases, layouts, levels))


def _layouts(terms, factors, levels: Sequence[pd.Index]) -> list[FactorLayout]:
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, atoms in enumerate(factors):
        groups.setdefault(atoms, []).append(i)
    return layouts_of(list(groups.values()), terms, [len(index) for index in levels])


def _terms(terms, levels, layouts, part) -> list[RandomTerm]:
    """The random terms without rows, with all levels that occur."""
    present: dict[int, np.ndarray] = {}
    for layout, numbers in zip(layouts, part.numbers, strict=True):
        present |= dict.fromkeys(layout.terms, numbers)
    return [t.without_rows(levels[i][present[i]]) for i, t in enumerate(terms)]
