"""Covariance matrix of the variance parameters from the observed information.

The observed information is 2 AI - E (engine.information.expected), in the parameters
gamma / sigma^2 and sigma^2.  Terms on the boundary are held there; of uncorrelated effects
those with a variance of zero.  The others' covariance lets a covariance matrix of lower
rank move among those of its rank (engine.information.boundary).
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from mixedext.algebra.inverses import inverse_if_definite
from mixedext.engine.fit import Fit
from mixedext.engine.information.boundary import free_directions
from mixedext.engine.information.expected import variance_information
from mixedext.engine.information.variance_covariance import VarianceCovariance

__all__ = ["variance_covariance"]


def variance_covariance(fit: Fit) -> VarianceCovariance:
    """Invert the observed information at a fit.

    Parameters
    ----------
    fit : Fit
        A fitted model.

    Returns
    -------
    VarianceCovariance
    """
    if not fit.design.terms:
        variance = 2 * fit.scale**2 / fit.objective.dof
        return VarianceCovariance(np.zeros((0, 0)), np.full((1, 1), variance))
    structures = fit.design.structures
    # V0 is the direction in which sigma^2 moves all of V.  A covariance matrix of lower
    # rank moves among those of its rank; it is left out afterwards.
    moves = free_directions(fit)
    held = moves.at_boundary
    free = np.flatnonzero(np.append(~held, True))
    d = moves.directions
    observed = d.T @ variance_information(fit).observed @ d + moves.bend
    inverse = inverse_if_definite(observed)
    if inverse is None:
        inverse = np.full_like(observed, np.nan)
    joint = d[free] @ inverse @ d[free].T
    inner_scale = fit.objective.residual_square / fit.objective.dof
    joint[-1] *= inner_scale
    joint[:, -1] *= inner_scale
    return _to_data_units(fit, structures, joint[:-1, :-1], joint, held, inner_scale)


# Variances of variances are fourth powers of the units, and may leave the range of double
# precision where all else stays within it: they are infinite.
@np.errstate(over="ignore", invalid="ignore")
def _to_data_units(fit, structures, relative, joint, held, inner_scale):
    # Sigma (data) = T^-1 Sigma (engine) T^-T, linear in gamma; sigma^2 grows by y_scale^2
    blocks = []
    for s, transform in zip(structures, fit.design.transforms, strict=True):
        blocks.append(s.congruence(np.linalg.inv(transform)))
    change = linalg.block_diag(*blocks)[np.ix_(~held, ~held)]
    numbers = np.flatnonzero(~held)
    outer = np.full((len(held), len(held)), np.nan)
    outer[np.ix_(numbers, numbers)] = change @ relative @ change.T
    gamma = np.concatenate(
        [
            s.gamma(lam @ lam.T)
            for s, lam in zip(structures, fit.design.lams(fit.theta), strict=True)
        ]
    )
    y_square = fit.design.y_scale**2
    # absolute gamma = sigma^2 * relative gamma
    jacobian = np.zeros((len(numbers) + 1, len(numbers) + 1))
    jacobian[:-1, :-1] = change * inner_scale * y_square
    jacobian[:-1, -1] = gamma[numbers] * y_square
    jacobian[-1, -1] = y_square
    absolute = np.full((len(held) + 1, len(held) + 1), np.nan)
    at = np.append(numbers, len(held))
    absolute[np.ix_(at, at)] = jacobian @ joint @ jacobian.T
    return VarianceCovariance(outer, absolute)
