"""Fixed effects with an L1 penalty at the covariances of the unpenalized fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Shooting", "shoot"]


@dataclass(frozen=True, eq=False)
class Shooting:
    """Where the search ended.

    Attributes
    ----------
    coefficients : ndarray
        Exactly zero where the penalty wins.
    converged : bool
        Whether the last sweep moved no coefficient by ``tolerance``.
    n_sweeps : int
        Sweeps over all coefficients.
    """

    coefficients: np.ndarray
    converged: bool
    n_sweeps: int


def shoot(normal, right, start, weights, threshold, tolerance, max_sweeps) -> Shooting:
    """Minimize b'A b - 2 b'c + sum_j w_j |b_j| coordinate by coordinate.

    A coefficient that is smaller than the threshold when its turn comes stays as it is.

    Parameters
    ----------
    normal : ndarray
        A = X'V^-1 X, (p, p).
    right : ndarray
        c = X'V^-1 y, (p,).
    start : ndarray
        Coefficients at the start.
    weights : ndarray
        w, not negative.
    threshold, tolerance : float
        What counts as zero, and as no movement.
    max_sweeps : int
        Limit.

    References
    ----------
    Friedman, Hastie and Tibshirani (2010), Regularization paths for generalized linear
    models via coordinate descent, Journal of Statistical Software 33(1).
    """
    b = np.array(start, float)
    for sweep in range(1, max_sweeps + 1):
        before = b.copy()
        for j in range(len(b)):
            if abs(b[j]) < threshold:
                continue
            b[j] = 0.0
            slope = 2 * (normal[j] @ b - right[j])
            if slope > weights[j]:
                b[j] = -(slope - weights[j]) / (2 * normal[j, j])
            elif slope < -weights[j]:
                b[j] = -(slope + weights[j]) / (2 * normal[j, j])
        if np.abs(before - b).max(initial=0.0) < tolerance:
            return Shooting(b, True, sweep)
    return Shooting(b, False, max_sweeps)
