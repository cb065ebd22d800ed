"""Refits of what is left when rows are deleted: a row, a level, any set of them.

A set I takes its own cross-products off those of all rows, A - A_I, and Newton's method
starts from theta of all rows.  With one grouping factor of few columns a compiled loop fits
one set after the other (deletion_loop): sums over the levels that the set touches are
exchanged for those of what is left of them, which are summed over their rows.  With several
there is a new factorization for each set, on the pattern of all rows (deletion_products).
Where a set held so much of a column that the difference would lose digits, and where that
cannot be done, the rows left are summed anew (single_deletions).

A level of which no row is left is none of the model: its columns are zero, so that it adds
nothing to the deviance.  Other minima are looked for as in every fit, and from the start of
an ordinary fit; the lowest is taken, wherever the search from theta of all rows has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mixedext.engine.fit import Fit
from mixedext.engine.refits.deletion_loop import DeletionLoop
from mixedext.engine.refits.refit import in_turn
from mixedext.engine.refits.row_sets import DeletedFits, RowSets
from mixedext.engine.refits.single_deletions import SingleFits
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["DeletedFits", "RowSets", "deleted_fits"]

# Sets of a block that are fitted one after the other.
SINGLY = 8


def deleted_fits(
    fit: Fit,
    y: np.ndarray,
    x: np.ndarray,
    terms: Sequence[RandomTerm | SparseTerm],
    weights: np.ndarray | None,
    sets: RowSets,
    *,
    one_step: bool = False,
    run: Callable = in_turn,
) -> DeletedFits:
    """Fit a model again without each of several sets of rows.

    Parameters
    ----------
    fit : Fit
        Of all rows, with nothing held or penalized.
    y : ndarray
        Response less offset, (n,).
    x : ndarray
        All fixed-effects columns, (n, k).
    terms : sequence of RandomTerm or SparseTerm
        The terms with their rows.
    weights : ndarray or None
        Weights of the rows.
    sets : RowSets
        What to delete.
    one_step : bool, optional
        Take one Newton step in theta from that of all rows, and the coefficients and the
        scale that go with it (Christensen, Pearson and Johnson 1992, Technometrics 34,
        38-45), in place of the minimum.
    run : callable, optional
        Maps a function over blocks of sets, (start, stop), in order.

    Returns
    -------
    DeletedFits

    Raises
    ------
    ValueError
        If parameters of the fit were held or penalized, or a set names rows that there
        are not.
    """
    if fit.held is not None:
        raise ValueError(
            "the fit holds or penalizes parameters: refits without some of the rows are "
            "those of plain (restricted) maximum likelihood; fit without free=, fe_pen= "
            "and cov_pen="
        )
    if len(sets.rows) and not 0 <= sets.rows.min() <= sets.rows.max() < len(y):
        raise ValueError(f"sets: rows are numbered 0 to {len(y) - 1}")
    rows = y, x, tuple(terms), weights
    single = SingleFits(fit, rows, one_step)
    design, work = fit.design, single.fit_sets
    size = SINGLY
    looped = design.rotation is None and not design.is_curved
    if design.blocks.within is not None and looped:
        loop = DeletionLoop(fit, rows, single)
        work, size = loop.fit_sets, loop.size(sets)
    blocks = [(start, min(start + size, len(sets))) for start in range(0, len(sets), size)]

    def part(block: tuple[int, int]) -> DeletedFits:
        return work(sets.part(*block))

    parts = list(run(part, blocks))
    if not parts:
        return single.blank(sets)
    return DeletedFits.joined(parts)
