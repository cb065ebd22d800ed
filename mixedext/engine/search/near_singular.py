"""Fits that the data do not tell from a singular one."""

from __future__ import annotations

import numpy as np

from mixedext.engine.fit import Fit
from mixedext.engine.threads import blas_threads
from mixedext.limits import SMALL_ROOT

__all__ = ["loss_if_singular"]


def loss_if_singular(fit: Fit) -> float:
    """Least fall of the log-likelihood on making the covariance of one term singular.

    The smallest singular value of its relative covariance factor is set to zero, all else
    is held: an upper bound of the fall to the best singular fit.  Infinite where no
    singular value is small; zero where one is zero.

    Parameters
    ----------
    fit : Fit
        A fit; its objective stands at the optimum, and does so afterwards.
    """
    objective, theta = fit.objective, fit.optimum.theta
    small = []  # terms of which a singular value is small
    for i, lam in enumerate(objective.lams(theta)):
        # the product of all singular values over a bound of all but the least
        bound = np.linalg.norm(lam) ** (len(lam) - 1)
        if abs(np.diag(lam).prod()) >= SMALL_ROOT * bound:
            continue
        if np.linalg.svd(lam, compute_uv=False)[-1] < SMALL_ROOT:
            small.append((i, lam))
    if not small:
        return np.inf
    loss = np.inf
    with blas_threads():
        for i, lam in small:
            structure = objective.structures[i]
            other = np.array(theta, float)
            nearest = structure.nearest_singular(lam)
            other[objective.theta_slices[i]] = structure.theta(nearest)
            loss = min(loss, 0.5 * (objective.value(other) - fit.optimum.deviance))
        objective.value(theta)
    return float(loss)
