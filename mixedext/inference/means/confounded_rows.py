"""Differences among estimated means that belong to no term alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from mixedext.algebra.roots import cholesky_if_definite
from mixedext.inference.means.context import Context
from mixedext.inference.means.reference_grid import Grid
from mixedext.limits import NOT_ESTIMABLE

__all__ = ["confounded_rows"]


def _unit_rows(rows):
    """Rows that are not zero, at length 1."""
    length = np.linalg.norm(rows, axis=1)
    return rows[length > 0] / length[length > 0, None]


def _metric_root(context):
    """A root of the covariance of the coefficients kept.

    Where that is singular (few clusters, coefficients that are held) of (X'X)^-1.
    """
    factor = cholesky_if_definite(context.tests.inner)
    if factor is not None:
        return context.tests.root @ factor
    r = context.fit.design.basis.r
    return linalg.solve_triangular(r, np.eye(len(r)))


def confounded_rows(
    grid: Grid, tested: Sequence[np.ndarray], context: Context
) -> np.ndarray:
    """Estimable differences among the grid's rows that are no sum of those tested."""
    if len(context.relations.dropped) == 0:
        return np.zeros((0, grid.exog.shape[1]))
    rows = grid.exog[1:] - grid.exog[0]
    if len(rows) == 0:
        return rows
    kept = context.relations.kept
    part = context.relations.estimable_part(rows)[:, kept]
    done = np.vstack([np.zeros((0, len(kept))), *[t[:, kept] for t in tested]])
    # on the scale of standard errors; what is uncorrelated with the rows tested
    root = _metric_root(context)
    part, done = (_unit_rows(own @ root) for own in (part, done))
    if len(done):
        _, sizes, right = np.linalg.svd(done, full_matrices=False)
        base = right[sizes > NOT_ESTIMABLE]
        part = part - part @ base.T @ base
    _, sizes, right = np.linalg.svd(part, full_matrices=False)
    count = int((sizes > NOT_ESTIMABLE).sum())
    rest = np.zeros((count, grid.exog.shape[1]))
    rest[:, kept] = np.linalg.solve(root.T, right[:count].T).T
    extra = context.relations
    rest[:, extra.dropped] = rest[:, extra.kept] @ extra.coefficients
    return rest
