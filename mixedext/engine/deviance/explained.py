"""Whether X and Z explain the response exactly, so that no residual variance is left.

With several grouping factors the cross-products cannot say: what is left of y is a
difference of them.  They tell whether it is worth to ask the rows, by least squares.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import lsmr

from mixedext.engine.deviance.row_deviance import DesignRows
from mixedext.engine.deviance.several_factors import is_compiled
from mixedext.engine.rows.design import Design
from mixedext.limits import EXACT_FIT, LITTLE_LEFT, NEARLY_FREE
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["is_explained", "leaves_little"]

# Numbers in [X Z] up to which it is decomposed, and steps of the search in larger ones.
MOST_NUMBERS, MOST_STEPS = 200_000, 1000
# Rows up to which it is asked before the fit; beyond, where the fit has lost digits.
MOST_ROWS = 5000


def leaves_little(design: Design) -> bool:
    """Whether effects that are hardly shrunk leave little of y, where few rows are asked.

    Parameters
    ----------
    design : Design
        A model with several grouping factors.
    """
    blocks = design.blocks
    if blocks.nobs > MOST_ROWS or blocks.within is not None or not is_compiled(blocks):
        return False
    objective = design.objective(False)
    free = np.concatenate([s.scaled(s.start(), NEARLY_FREE) for s in design.structures])
    if not np.isfinite(objective.value(free)):
        return True
    return objective.residual_square < LITTLE_LEFT * blocks.fixed_gram[-1, -1]


def is_explained(
    design: Design,
    y: np.ndarray,
    x: np.ndarray,
    terms: Sequence[RandomTerm | SparseTerm],
    weights: np.ndarray | None,
) -> bool:
    """Whether X and Z leave nothing of y although they leave degrees of freedom.

    Parameters
    ----------
    design : Design
        The model.
    y : ndarray
        Response less offset, (n,).
    x : ndarray
        All fixed-effects columns, (n, k).
    terms : sequence of RandomTerm or SparseTerm
        The terms with their rows.
    weights : ndarray or None
        Weights of the rows.
    """
    rows = DesignRows.of(design, y, x, terms, weights)
    fixed, target = rows.columns[:, :-1], rows.columns[:, -1]
    z = sparse.hstack([rows.lead.T, rows.tail.T], format="csr")
    n, count = len(target), fixed.shape[1] + z.shape[1]
    if n * count <= MOST_NUMBERS:
        both = np.column_stack([fixed, z.toarray()])
        effects, _, rank, _ = np.linalg.lstsq(both, target, rcond=None)
        rest = target - both @ effects
    else:
        both, rank = sparse.hstack([sparse.csr_array(fixed), z], format="csr"), count
        tight = {"atol": 1e-15, "btol": 1e-15, "conlim": 0.0, "maxiter": MOST_STEPS}
        rest = target - both @ lsmr(both, target, **tight)[0]
    return rank < n and bool(np.sqrt(np.mean(rest**2)) < EXACT_FIT)
