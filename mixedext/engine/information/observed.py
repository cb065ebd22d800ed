"""Covariance matrix of the variance parameters from the observed information.

The observed information is 2 AI - E (engine.information.expected), in the parameters
gamma / sigma^2 and sigma^2.  Terms on the boundary are held there; of uncorrelated effects
those with a variance of zero.  The others' covariance lets a covariance matrix of lower
rank move among those of its rank (engine.information.boundary).  Where the minimum is flat
what the data leave open has none, and all else has.

The free parameters psi of a residual covariance stand between gamma and sigma^2; they have
no units.  Those that were held, or have run to an end of their range, are held here too.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.algebra.inverses import generalized_inverse, inverse_if_definite
from mixedext.engine.fit import Fit
from mixedext.engine.information.boundary import free_directions
from mixedext.engine.information.expected import variance_information
from mixedext.engine.information.variance_covariance import VarianceCovariance
from mixedext.limits import IDENTIFIED, LEFT_OPEN
from mixedext.specification.covariance.linear import LinearStructure

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
    if not fit.design.terms and fit.residual is None:
        own = np.full((1, 1), 2.0 / fit.objective.dof)
        return VarianceCovariance(np.zeros((0, 0)), own, np.array([fit.scale]))
    structures = fit.design.structures
    # V0 is the direction in which sigma^2 moves all of V.  A covariance matrix of lower
    # rank moves among those of its rank; it is left out afterwards.
    moves = free_directions(fit)
    held = moves.at_boundary
    free = np.flatnonzero(np.append(~held, True))
    d = moves.directions
    observed = d.T @ variance_information(fit).observed @ d + moves.bend
    inverse, open_ = _inverse(observed, fit.convergence.is_flat)
    joint, open_ = d[free] @ inverse @ d[free].T, d[free] @ open_
    inner_scale = fit.objective.residual_square / fit.objective.dof
    joint[-1] *= inner_scale
    joint[:, -1] *= inner_scale
    open_[-1] *= inner_scale
    found = _to_data_units(fit, structures, joint, open_, held, inner_scale)
    if moves.holds_scale:
        found.scaled[-1] = found.scaled[:, -1] = np.nan
    return found


def _inverse(observed, flat):
    """The inverse, NaN if there is none; of a flat minimum, beside what is left open.

    What is left open are the columns of the second matrix, directions without curvature.
    """
    inverse, none = inverse_if_definite(observed), np.zeros((len(observed), 0))
    if inverse is not None:
        return inverse, none
    if not np.isfinite(observed).all():
        return np.full_like(observed, np.nan), none
    scaled, size = unit_diagonal(observed)
    value, vector = np.linalg.eigh(scaled)
    if not flat or value[0] < -IDENTIFIED:
        return np.full_like(observed, np.nan), none
    return generalized_inverse(observed)[0], (vector / size[:, None])[
        :, value <= IDENTIFIED
    ]


def _without_open(covariance, open_):
    """The covariance, NaN for elements that directions left open change."""
    share = np.sqrt((open_**2).sum(axis=1))
    lost = share > LEFT_OPEN * share.max(initial=0.0)
    covariance[lost] = covariance[:, lost] = np.nan
    return covariance


# Relative variances of columns of tiny units may have squares beyond the range of double
# precision, where all else stays within it: they are infinite.
@np.errstate(over="ignore", invalid="ignore")
def _to_data_units(fit, structures, joint, open_, held, inner_scale):
    # Sigma (data) = T^-1 Sigma (engine) T^-T, linear in gamma; sigma^2 grows by y_scale^2
    blocks = []
    for number, (s, transform) in enumerate(
        zip(structures, fit.design.transforms, strict=True)
    ):
        change = s.congruence(np.linalg.inv(transform))
        if not s.linear:  # from theta to natural parameters
            own = fit.theta[fit.objective.theta_slices[number]]
            change = s.jacobian(own) @ change
        blocks.append(change)
    n_psi = 0 if fit.residual is None else len(fit.residual.psi)
    blocks.append(np.eye(n_psi))
    units = [_units(s, own) for s, own in zip(structures, blocks, strict=False)]
    change = linalg.block_diag(*blocks)[np.ix_(~held, ~held)]
    numbers = np.flatnonzero(~held)
    outer = np.full((len(held), len(held)), np.nan)
    relative = change @ joint[:-1, :-1] @ change.T
    outer[np.ix_(numbers, numbers)] = _without_open(relative, change @ open_[:-1])
    gamma = np.concatenate(
        [
            *(
                s.gamma(lam @ lam.T)
                for s, lam in zip(structures, fit.design.lams(fit.theta), strict=True)
            ),
            np.zeros(n_psi),
        ]
    )
    # gamma = sigma^2 * relative gamma, in multiples of the square of the scale of y over
    # those of the columns of Z
    jacobian = np.zeros((len(numbers) + 1, len(numbers) + 1))
    # but of correlations and of psi, which are what they are in any units
    variances = [s.is_variance for s in structures]
    plain = np.concatenate([*variances, np.zeros(n_psi, bool)])
    unit = np.concatenate([*units, np.ones(n_psi)])
    own = unit[numbers]
    jacobian[:-1, :-1] = change / own[:, None]
    jacobian[:-1, :-1] *= np.where(plain[numbers], inner_scale, 1.0)[:, None]
    jacobian[:-1, -1] = np.where(plain, gamma, 0.0)[numbers] / own
    jacobian[-1, -1] = 1.0
    scaled = np.full((len(held) + 1, len(held) + 1), np.nan)
    at = np.append(numbers, len(held))
    of_all = jacobian @ joint @ jacobian.T
    scaled[np.ix_(at, at)] = _without_open(of_all, jacobian @ open_)
    size = np.where(np.append(plain, True), fit.design.y_scale**2, 1.0)
    size[:-1] *= unit
    return VarianceCovariance(outer, scaled, size)


def _units(structure, change):
    """Of the elements of gamma, by what one unit of the engine's is in the data's.

    A covariance is in the units of its two variances, a correlation in none.
    """
    own = np.abs(change.diagonal())
    own = np.where(structure.is_variance & (own > 0), own, 1.0)
    if not isinstance(structure, LinearStructure):
        return own
    root = {a: np.sqrt(u) for (a, b), u in zip(structure.pairs, own, strict=True) if a == b}
    return np.array([root[a] * root[b] for a, b in structure.pairs])
