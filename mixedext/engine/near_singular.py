"""Fits that the data do not tell from a singular one."""

from __future__ import annotations

import numpy as np

from mixedext.engine.fit import Fit
from mixedext.engine.threads import blas_threads

__all__ = ["loss_if_singular"]

# Singular values of lam (columns of Z at rms 1) above this are not worth a look.
SMALL_ROOT = 0.1


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
    lams = objective.lams(theta)
    loss, moved = np.inf, False
    with blas_threads():
        for i, (structure, lam) in enumerate(zip(objective.structures, lams, strict=True)):
            left, size, right = np.linalg.svd(lam)
            if structure.name == "identity":
                size = size[:1]
            if size[-1] >= SMALL_ROOT:
                continue
            root = np.zeros_like(lam)
            if len(size) > 1 and structure.correlated:
                root = (left * np.append(size[:-1], 0.0)) @ right
            elif len(size) > 1:
                root = np.where(np.abs(lam) <= size[-1], 0.0, lam)
            nearest = structure.theta(structure.triangular(root))
            other = np.array(theta, float)
            other[objective.theta_slices[i]] = nearest
            loss = min(loss, 0.5 * (objective.value(other) - fit.optimum.deviance))
            moved = True
        if moved:
            objective.value(theta)
    return float(loss)
