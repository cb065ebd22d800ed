"""The compiled deviance of models with several grouping factors and a small dense tail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from mixedext.engine.factor.tail import PANEL_SHARE
from mixedext.engine.factor.templates import covariance_template, squared, template
from mixedext.engine.rows.blocks import Blocks
from mixedext.kernels.deviance.row_factors import RowFactors
from mixedext.kernels.deviance.several_factors import SeveralFactors
from mixedext.kernels.factor.layout import Links, TailLevels
from mixedext.kernels.factor.links import fill_panel
from mixedext.specification.covariance.linear import LinearStructure

__all__ = ["is_compiled", "row_factors_function", "several_factors_function"]

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
    blocks: Blocks, structures: Sequence[LinearStructure], reml: bool, dof: float
) -> SeveralFactors:
    """The compiled deviance of blocks for which ``is_compiled`` holds."""
    return SeveralFactors(**_parameters(blocks, tuple(structures), reml, dof))


def row_factors_function(
    blocks: Blocks,
    structures: Sequence[LinearStructure],
    reml: bool,
    dof: float,
    columns: np.ndarray,
    z: Sequence[sparse.csr_array],
) -> RowFactors:
    """The same with sums from the rows.

    Parameters
    ----------
    blocks, structures, reml, dof
        As of ``several_factors_function``; no factor may be spread.
    columns : ndarray
        [X y] of the rows in the engine's units, (n, P).
    z : sequence of sparse array
        Z of the leading factor and of the tail, by rows.
    """
    function = RowFactors(**_parameters(blocks, tuple(structures), reml, dof))
    lead, tail = ((own.indptr, own.indices, own.data) for own in z)
    function.take_rows(columns, lead, tail, blocks.nobs)
    function.sharp = True
    return function


def _parameters(blocks, structures, reml, dof):
    """Of the compiled functions."""
    links, link_value = _links(blocks)
    return {
        "lead_gram": blocks.lead_gram,
        "crosses": (
            blocks.lead_cross.copy(),
            blocks.tail_cross.copy(),
            blocks.fixed_gram.copy(),
        ),
        "tail_gram": blocks.tail_gram,
        "links": links,
        "link_value": link_value,
        "levels": TailLevels(blocks.level_start, blocks.level_factor),
        "columns": _columns(blocks, structures),
        "template": template(structures),
        "basis": covariance_template(structures),
        "n_theta": sum(s.n_theta for s in structures),
        "n_gamma": sum(s.n_gamma for s in structures),
        "reml": reml,
        "dof": dof,
        "squared": squared(structures),
    }


def _links(blocks):
    """Links and their values; None and a panel where most of them are there."""
    pointers, index, value = blocks.link_pointers, blocks.link_index, blocks.link_value
    n_levels, width, m = len(pointers) - 1, value.shape[1], blocks.tail_size
    if len(index) <= PANEL_SHARE * n_levels * m:
        return Links(pointers, index, m), value
    panel = np.zeros((n_levels * width, m))
    fill_panel(pointers, index, value, 0, n_levels, panel)
    return None, panel


def _columns(blocks, structures):
    """Where the columns of factors stand among those of all terms, and the reverse."""
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
    out = np.cumsum([0, *widths]), np.concatenate(columns), term, factor, place
    return tuple(np.ascontiguousarray(a, np.intp) for a in out)
