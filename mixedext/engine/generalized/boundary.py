"""Ends of a search at the boundary: variances that are exactly zero."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["NEARLY_SINGULAR", "flattened", "is_singular"]

# Size of a standard deviation (or of what a correlation of +-1 leaves) at which it is tried
# whether zero does as well, and what that may cost.
NEARLY_SINGULAR, SAME = 1e-3, 1e-9
# Singular values of lam that are zero but for rounding.
ZERO = 1e-7


def flattened(objective: Any, found: Any) -> Any:
    """The evaluation with what is nearly zero exactly so, if that costs nothing.

    Parameters
    ----------
    objective : LaplaceDeviance or another
        The deviance.
    found : Any
        Its evaluation where a search has ended.

    Returns
    -------
    evaluation or None
        None where nothing is nearly zero, or zero does worse.
    """
    if not np.isfinite(found.value):
        return None
    theta, beta, kappa = objective.split(found.psi)
    parts = [
        s.singular(own, NEARLY_SINGULAR) for s, own in objective.parameters.parts(theta)
    ]
    flat = np.concatenate(parts) if parts else theta
    moved = (np.abs(flat - theta) > 1e-13) | ((flat == 0.0) & (theta != 0.0))
    if not moved.any():
        return None
    psi = np.concatenate([flat, beta, kappa])
    there = objective.evaluate(psi, found.predicted(psi - found.psi))
    return (
        there
        if there.value <= found.value + SAME * (1.0 + 1e-3 * abs(found.value))
        else None
    )


def is_singular(objective: Any, psi: np.ndarray) -> bool:
    """Whether some covariance is singular at psi."""
    theta, _, _ = objective.split(psi)
    return any(
        np.linalg.svd(s.lam(own), compute_uv=False)[-1] < ZERO
        for s, own in objective.parameters.parts(theta)
    )
