"""Observed information of a generalized model: differences of its exact gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["observed_information"]

# Length of the differences, in units of the square root of 1 / curvature: the third
# derivatives then cost 1e-8, rounding of the gradient less.
LENGTH = 3e-4


def observed_information(deviance: Any, evaluation: Any) -> np.ndarray:
    """Half of the Hessian of the deviance, (n_psi, n_psi), engine's units.

    Parameters
    ----------
    deviance : LaplaceDeviance or another with ``evaluate``
        The deviance.
    evaluation : Any
        Its evaluation at the minimum.

    Notes
    -----
    Central differences with modes that start from their first-order change.  NaN where
    the deviance cannot be computed beside the minimum.
    """
    psi, n = evaluation.psi, len(evaluation.psi)
    size = np.abs(np.diag(evaluation.hessian))
    size = np.maximum(size, 1e-10 * size.max(initial=1e-300))
    out = np.empty((n, n))
    evaluate = getattr(deviance, "evaluate_beside", deviance.evaluate)
    for j in range(n):
        step = np.zeros(n)
        step[j] = LENGTH / np.sqrt(size[j])
        sides = []
        for sign in (1.0, -1.0):
            beside = evaluate(psi + sign * step, evaluation.predicted(sign * step))
            finite = np.isfinite(beside.value)
            sides.append(beside.gradient if finite else np.full(n, np.nan))
        out[j] = (sides[0] - sides[1]) / (2.0 * step[j])
    return 0.25 * (out + out.T)
