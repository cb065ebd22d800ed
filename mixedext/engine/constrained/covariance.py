"""Covariance of estimates of which some were held or penalized."""

from __future__ import annotations

import numpy as np

from mixedext.algebra.definiteness import is_singular
from mixedext.algebra.inverses import inverse_if_definite
from mixedext.engine.constrained.maximum import Maximum
from mixedext.engine.constrained.objective import Objective
from mixedext.engine.information.variance_covariance import VarianceCovariance
from mixedext.limits import HELD_DEFINITE

__all__ = ["covariances_of"]


def covariances_of(maximum: Maximum, objective: Objective):
    """Covariance of the coefficients, and of the variance parameters, at a maximum.

    From the curvature of the (penalized) log-likelihood in the parameters that are free;
    zero for those held, NaN for terms whose covariance is singular (where the variance
    parameters have no such covariance).

    Parameters
    ----------
    maximum : Maximum
        Where the maximization ended.
    objective : Objective
        What was maximized.

    Returns
    -------
    fixed : ndarray
        (rank, rank)
    variances : VarianceCovariance
    observed : ndarray
        Of coefficients kept and variance parameters together.
    """
    state, layout = maximum.state, objective.layout
    rank, count = len(maximum.fixed), layout.n_packed
    free = np.flatnonzero(objective.free_fixed)
    fixed = np.zeros((rank, rank))
    fixed[np.ix_(free, free)] = _inverse(-state.curvature[np.ix_(free, free)])

    to_gamma = np.argsort(layout.packed_gamma)  # elements in the order of the terms
    at = np.concatenate([np.arange(rank), rank + to_gamma])
    curvature = state.curvature[np.ix_(at, at)]
    loose = objective.free_packed[np.argsort(objective.order)][to_gamma]
    singular = _singular_elements(maximum, objective)
    both = np.concatenate([free, rank + np.flatnonzero(loose & ~singular)])
    observed = np.zeros((rank + count, rank + count))
    observed[np.ix_(both, both)] = _inverse(-curvature[np.ix_(both, both)])
    relative = observed[rank:, rank:].copy()
    scaled, size = _scaled(relative, maximum, maximum.packed[to_gamma])
    lost = np.flatnonzero(loose & singular)
    for matrix in (relative, scaled):
        matrix[lost, :] = matrix[:, lost] = np.nan
    observed[rank + lost, :] = observed[:, rank + lost] = np.nan
    return fixed, VarianceCovariance(relative, scaled, size), observed


def _scaled(relative, maximum, gamma):
    """Covariance of (co)variances, and of sigma^2, the last, over sigma^2; and sigma^2.

    ``relative`` is that of gamma, their ratios to sigma^2, with sigma^2 at its best for
    each.  It is completed by the block inverse with the information about sigma^2,
    dof / (2 sigma^4), and that which sigma^2 and gamma share; then sigma^2 gamma by the
    delta method.
    """
    point = maximum.state.point
    scale = point.scale(maximum.fixed)
    own = point.dof / 2
    shared = point.residual_squares(maximum.fixed) / (2 * scale)
    count = len(gamma)
    both = np.empty((count + 1, count + 1))
    both[:-1, :-1] = relative
    both[:-1, -1] = both[-1, :-1] = -relative @ shared / own
    both[-1, -1] = 1 / own + shared @ relative @ shared / own**2
    change = np.eye(count + 1)
    change[:-1, -1] = gamma
    return change @ both @ change.T, np.full(count + 1, scale)


def _singular_elements(maximum, objective):
    """Which elements are of terms whose covariance is singular, in the terms' order."""
    layout, terms = objective.layout, objective.terms
    covariances = layout.unpack(terms, maximum.packed)
    parts = [
        np.full(term.structure.n_gamma, is_singular(covariance))
        for term, covariance in zip(terms, covariances, strict=True)
    ]
    return np.concatenate([np.zeros(0, bool), *parts])


def _inverse(information):
    """The inverse; NaN if the information is not positive definite."""
    inverse = inverse_if_definite(information, HELD_DEFINITE)
    return np.full_like(information, np.nan) if inverse is None else inverse
