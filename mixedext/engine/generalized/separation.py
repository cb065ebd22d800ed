"""Separation: a direction along which the likelihood of the fixed effects never falls.

d with X_i d >= 0 where all trials of a row are successes, <= 0 where none is, 0 between
(of counts: <= 0 where y = 0, 0 elsewhere) and X d != 0 is a direction of recession of the
likelihood whatever the random effects, so that the maximum lies at infinity.  One linear
program finds it.

References
----------
Albert and Anderson (1984), Biometrika 71, 1-10; Konis (2007), Linear programming
algorithms for detecting separated data in binary logistic regression models, Oxford.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

__all__ = ["recession_direction"]

LEAST = 1e-7


def recession_direction(
    x: np.ndarray, y: np.ndarray, trials: np.ndarray | None
) -> np.ndarray | None:
    """A direction in which the likelihood does not fall, (p,); None if there is none.

    Parameters
    ----------
    x : ndarray
        Columns of the fixed effects, each of length 1, (n, p).
    y, trials : ndarray
        Successes out of trials; counts where ``trials`` is None.
    """
    up = np.zeros(len(y), bool) if trials is None else (y >= trials) & (trials > 0)
    down = (y <= 0) & ~up
    if trials is not None:
        down &= trials > 0
        between = (trials > 0) & ~(up | down)
    else:
        between = ~(up | down)
    sign = up.astype(float) - down
    signed = np.unique((sign[:, None] * x)[up | down], axis=0)
    fixed = np.unique(x[between], axis=0)
    if not len(signed) or not x.shape[1]:
        return None
    scale = np.abs(x).max(axis=0, initial=0.0)
    scale = np.where(scale > 0, scale, 1.0)
    signed, fixed = signed / scale, fixed / scale
    if len(fixed):  # X d = 0 on these rows: d lies in the null space of them
        _, size, right = np.linalg.svd(fixed, full_matrices=True)
        rank = int((size > 1e-9 * size.max(initial=0.0)).sum())
        null = right[rank:].T
    else:
        null = np.eye(x.shape[1])
    if not null.shape[1]:
        return None
    rows = signed @ null
    found = linprog(
        -rows.sum(axis=0),
        A_ub=-rows,
        b_ub=np.zeros(len(rows)),
        bounds=(-1, 1),
        method="highs",
    )
    if found.status != 0 or not -found.fun > LEAST:
        return None
    direction = null @ found.x
    moved = signed @ direction
    if moved.min() < -LEAST or moved.max() < LEAST:
        return None
    direction[np.abs(direction) < LEAST * np.abs(direction).max()] = 0.0
    return direction / scale
