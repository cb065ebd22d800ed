"""The compiled deviance of models with several grouping factors and a small dense tail."""

from __future__ import annotations

import numpy as np

from mixedext.engine.factor.tail import PANEL_SHARE
from mixedext.engine.factor.templates import covariance_template, squared, template
from mixedext.engine.rows.blocks import Blocks
from mixedext.kernels.deviance.several_factors import SeveralFactors
from mixedext.kernels.factor import links

__all__ = ["is_compiled", "several_factors_function"]

# Numbers in the blocks above which calls from Python cost little beside the arithmetic, and
# the more general storages of ``engine.factor.tail`` pay.
MOST_NUMBERS = 200_000
# Columns of a level up to which plain loops over them are fast.
MOST_COLUMNS = 16


def is_compiled(blocks: Blocks) -> bool:
    """Whether the compiled function serves for these blocks."""
    numbers = blocks.lead_gram.size + blocks.lead_cross.size + blocks.link_value.size
    return (
        blocks.pattern is None
        and blocks.tail_size > 0
        and numbers + blocks.tail_gram.size <= MOST_NUMBERS
        and max(f.width for f in blocks.factors) <= MOST_COLUMNS
    )


def several_factors_function(
    blocks: Blocks, structures, reml: bool, dof: float
) -> SeveralFactors:
    """The compiled deviance of blocks for which ``is_compiled`` holds."""
    structures = tuple(structures)
    return SeveralFactors(
        blocks.lead_gram,
        (blocks.lead_cross.copy(), blocks.tail_cross.copy(), blocks.fixed_gram.copy()),
        blocks.tail_gram,
        *_links(blocks),
        _layout(blocks, structures),
        template(structures),
        covariance_template(structures),
        sum(s.n_theta for s in structures),
        sum(s.n_gamma for s in structures),
        reml,
        dof,
        squared(structures),
    )


def _links(blocks):
    """Links as a panel, or compressed with their order by tail column; and which."""
    pointers, index, value = blocks.link_pointers, blocks.link_index, blocks.link_value
    n_levels, width, m = len(pointers) - 1, value.shape[1], blocks.tail_size
    starts, by_column = np.empty(m + 1, np.intp), np.empty((2, len(index)), np.intp)
    panel = len(index) > PANEL_SHARE * n_levels * m
    if panel:
        whole = np.zeros((n_levels * width, m))
        links.fill_panel(pointers, index, value, 0, n_levels, whole)
        value = whole
    else:
        links.links_by_column(pointers, index, starts, *by_column, np.empty(m))
    return (pointers, index, value, starts, by_column), panel


def _layout(blocks, structures):
    ends = np.cumsum([0, *(s.k for s in structures)])
    count = ends[-1]
    term = np.repeat(np.arange(len(structures)), np.diff(ends))
    factor, place = np.empty(count, np.intp), np.empty(count, np.intp)
    columns = []
    for number, layout in enumerate(blocks.factors):
        for i, at in zip(layout.terms, layout.slices, strict=True):
            own = slice(ends[i], ends[i + 1])
            factor[own], place[own] = number, np.arange(at.start, at.stop)
            columns.append(np.arange(ends[i], ends[i + 1]))
    widths = [sum(structures[i].k for i in f.terms) for f in blocks.factors]
    level_of = np.repeat(np.arange(len(blocks.level_factor)), np.diff(blocks.level_start))
    layout = (
        blocks.level_start,
        blocks.level_factor,
        level_of,
        np.cumsum([0, *widths]),
        np.concatenate(columns),
        term,
        factor,
        place,
    )
    return tuple(np.ascontiguousarray(a, np.intp) for a in layout)
