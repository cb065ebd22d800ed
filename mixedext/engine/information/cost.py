"""What the information on the variances costs beside the fit, from sizes alone.

Work is counted in multiplications of dense matrix products; those of single levels and of
sparse columns count as several.  No clock is read, so that the same data always give the
same answer.
"""

from __future__ import annotations

import numpy as np

from mixedext.engine.factor.tail_traces import DENSE_COLUMNS, DENSE_SHARE, tail_parts
from mixedext.engine.rows.blocks import Blocks
from mixedext.engine.rows.design import Design

__all__ = ["fit_work", "information_work", "work_beside_fit"]

# Evaluations of the deviance and its derivatives, as most fits take.
EVALUATIONS = 6
# What a multiplication of small blocks, and one of sparse columns, costs in those of
# large dense products.
SMALL, SPARSE = 4, 8
# The same of many small products of the fixed effects.
STACKED = 3
# Work of reading a number of a row, and of making a model however small.
READ, MAKE = 300, 2e7


def work_beside_fit(design: Design) -> float:
    """Work of ``variance_information`` as a multiple of that of the fit."""
    own = fit_work(design)
    most = information_work(design)
    if design.blocks.pattern is None or most <= own:
        return most / own
    return information_work(design, tail_parts(design.blocks)) / own


def fit_work(design: Design) -> float:
    """Work of summing the rows of a design, and of fitting it.

    Parameters
    ----------
    design : Design
        Its sizes and the patterns of its blocks are read.
    """
    b = design.blocks
    columns = b.n_fixed + sum(f.width for f in b.factors)
    rows = b.nobs * (READ * columns + columns**2)
    levels, k = _lead(b)
    p, m = b.n_fixed, b.tail_size
    lead = levels * SMALL * (k**3 + k * k * p + k * p * p)
    if m == 0:
        return MAKE + rows + EVALUATIONS * lead
    met = np.diff(b.link_pointers).astype(float)
    links = SPARSE * (k * float(met @ met) / 2 + k * p * met.sum())
    return MAKE + rows + EVALUATIONS * (lead + 2 * links + _tail_factor(b) + m * p * p)


def information_work(design: Design, parts: np.ndarray | None = None) -> float:
    """Work of the traces and products that the information is made of.

    Parameters
    ----------
    design : Design
        As for ``fit_work``.
    parts : ndarray, optional
        Number of the connected part of every level of a sparse tail; one part if None,
        which is the most work that there can be.
    """
    b = design.blocks
    levels, k = _lead(b)
    p, m = b.n_fixed, b.tail_size
    elements = [sum(design.structures[t].n_gamma for t in f.terms) for f in b.factors]
    count = sum(elements)
    r = elements[0] if elements else 0
    lead = levels * (SMALL * (k**3 + k * k * p * (1 + r)) + k * (r * p) ** 2 + k**4)
    lead += r * k**4 + (r * k) ** 2  # traces of pairs
    whole = lead + 2 * STACKED * (count * p) ** 2 * p  # whitened
    if m == 0:
        return whole
    met = np.diff(b.link_pointers).astype(float)
    whole += SPARSE * met.sum() * k * r * p + (count * p) ** 2 * m
    solved = float(m) * m if b.pattern is None else _sparse(b) * float(len(b.pattern.rows))
    whole += 2 * solved * count * p
    whole += r * SPARSE * k * float(met @ met) / 2  # of each element of the lead
    widths = [f.width for f in b.factors[1:]]
    largest = m
    if parts is not None:
        largest = int(np.bincount(parts, np.diff(b.level_start)).max())
    if b.pattern is None or (m <= DENSE_COLUMNS and largest >= DENSE_SHARE * m):
        whole += _tail_factor(b) if b.pattern is None else 4 * m * solved
        whole += r * float(m) ** 3 + (r * m) ** 2 + r * m * m * max(widths)
        sizes = [f.width**2 * f.n_levels for f in b.factors[1:]]
        return whole + float(sum(sizes)) ** 2
    # columns of the inverse, of which parts that nothing connects share one
    columns = largest
    each = 4 * solved * (1 + r) + m * (r * r + sum(e * e for e in elements[1:]))
    return whole + columns * each


def _lead(b: Blocks) -> tuple[int, int]:
    return (b.factors[0].n_levels, b.factors[0].width) if b.factors else (0, 0)


def _tail_factor(b: Blocks) -> float:
    """Work of factoring the tail and of its selected inverse."""
    m = float(b.tail_size)
    if b.pattern is None:
        return m**3
    heights = np.diff(b.pattern.pointers).astype(float)
    return 2 * _sparse(b) * float(heights @ heights)


def _sparse(b: Blocks) -> int:
    """Of a multiplication in the tail's pattern: panels are dense products."""
    return 2 if b.pattern is not None and b.pattern.supernodes is not None else SPARSE
