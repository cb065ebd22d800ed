"""Whether a minimum determines all covariances, told apart from whether it is singular.

At a minimum the score S_i = d dev / d Sigma_i vanishes along lam_i, and what curvature
there is comes from the average information along changes of the covariances, and from the
bend of Sigma = lam lam' where lam is singular and S_i is positive.  Where it is singular
and S_i vanishes all the same, the variance that is zero may grow.  A direction without
curvature that changes the covariances leaves the likelihood as it is: they are not
determined.  One that does not change them, as where the only column of a singular lam may
stand in several places, leaves nothing open.
"""

from __future__ import annotations

import numpy as np

from mixedext.algebra.roots import principal_root
from mixedext.engine.deviance.profiled import ProfiledDeviance
from mixedext.limits import (
    CONSTANT_DEVIANCE,
    FLAT_CURVATURE,
    NO_CHANGE,
    ZERO_SCORE,
    ZERO_SINGULAR_VALUE,
)
from mixedext.specification.covariance.curved import CurvedStructure
from mixedext.specification.covariance.linear import LinearStructure

__all__ = ["is_flat"]


def is_flat(objective: ProfiledDeviance, theta: np.ndarray) -> bool:
    """Whether the deviance is flat along some change of the covariances at a minimum.

    Parameters
    ----------
    objective : ProfiledDeviance
        The deviance; it stands at ``theta`` afterwards.
    theta : ndarray
        A minimizer, singular directions exactly zero.
    """
    objective.stand(theta)
    found = objective.derivatives(theta)
    objective.stand(theta)
    information, count = found.information, len(theta)
    # elements of theta in units of themselves, or of one: curvatures in units of the
    # log-likelihood
    unit = np.maximum(np.abs(theta), 1.0)
    changes = np.zeros((len(information), count))
    bend = np.zeros((count, count))
    growing = [np.zeros((len(information), 0))]
    for i, s in enumerate(objective.structures):
        at, rows = objective.theta_slices[i], objective.gamma_slices[i]
        if isinstance(s, CurvedStructure):  # whose information is along theta
            changes[rows, at] = np.diag(unit[at] * ~s.at_limit(theta[at]))
            continue
        changes[rows, at] = s.jacobian(theta[at]) * unit[at]
        directions, score = _at_zero(s.ambient, s.lam(theta[at]), found.scores[i])
        bend[at, at] = s.bend(theta[at], score) * np.outer(unit[at], unit[at])
        slope = np.einsum("rab,ab->r", s.covariance_basis, found.scores[i]) @ directions
        own = np.einsum("rc,rs,sc->c", directions, information[rows, rows], directions)
        open_ = directions[:, slope**2 <= ZERO_SCORE * np.abs(own)]
        growing.append(np.zeros((len(information), open_.shape[1])))
        growing[-1][rows] = open_
    changes = np.hstack([changes, *growing])
    curvature = changes.T @ information @ changes
    curvature[:count, :count] += bend
    value, vector = np.linalg.eigh(curvature)
    none = value < max(FLAT_CURVATURE * value[-1], CONSTANT_DEVIANCE)
    return bool(none.any() and np.linalg.norm(changes @ vector[:, none], 2) > NO_CHANGE)


def _at_zero(s: LinearStructure, lam: np.ndarray, score: np.ndarray):
    """Variances at zero as directions in gamma, and what the score is at a minimum.

    That is the score without what the search leaves of it: its positive part where lam is
    zero.
    """
    if not s.has_correlations:
        size = np.einsum("raa->r", s.covariance_basis @ np.abs(lam))
        zero = np.abs(lam.diagonal()) < ZERO_SINGULAR_VALUE
        positive = np.where(zero, np.maximum(score.diagonal(), 0.0), 0.0)
        return np.eye(s.n_gamma)[:, size < ZERO_SINGULAR_VALUE], np.diag(positive)
    vector, size = principal_root(lam)
    null = vector[:, size < ZERO_SINGULAR_VALUE]
    value, turn = np.linalg.eigh(null.T @ score @ null)
    null = null @ turn
    rows = np.array([s.gamma(np.outer(v, v)) for v in null.T])
    directions = rows.reshape(-1, s.n_gamma).T
    return directions, (null * np.maximum(value, 0.0)) @ null.T
