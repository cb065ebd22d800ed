"""Covariance matrix of the variance parameters from the observed information.

The deviance in (gamma, sigma^2), gamma relative to sigma^2, has an analytic gradient
tr(E_r S_i); its derivative is taken by Richardson-extrapolated central differences, to
about 1e-9 relative.  Terms on the boundary are held there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from mixedext.engine.fit import Fit

__all__ = ["VarianceCovariance", "variance_covariance"]

STEP = 1e-3


@dataclass(frozen=True, eq=False)
class VarianceCovariance:
    """Asymptotic covariance of the variance parameters; NaN where held.

    Attributes
    ----------
    relative : ndarray
        Of gamma / sigma^2, (n_gamma, n_gamma), data's units.
    absolute : ndarray
        Of (gamma, sigma^2), (n_gamma + 1, n_gamma + 1).
    """

    relative: np.ndarray
    absolute: np.ndarray


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
    objective = fit.design.objective(fit.reml)
    structures, dof = fit.design.structures, objective.dof
    theta = fit.design.inner_theta(fit.theta)
    lams = objective.lams(theta)
    covariances = [lam @ lam.T for lam in lams]
    count = sum(s.n_gamma for s in structures)
    held = np.zeros(count, bool)
    free = []
    for i, s in enumerate(structures):
        value = np.linalg.eigvalsh(covariances[i])
        singular = value[0] <= 1e-7 * max(value[-1], 1e-7)
        held[objective.gamma_slices[i]] = singular
        for r, basis in enumerate(s.covariance_basis):
            if not singular:
                size = np.sqrt(np.diag(covariances[i]))
                step = STEP * float(np.max(np.outer(size, size) * (basis != 0)))
                step = min(step, 0.05 * value[0])
                free.append((i, r, basis, step))
    numbers = np.flatnonzero(~held)

    def score(i, basis, step):
        moved = list(covariances)
        moved[i] = covariances[i] + step * basis
        point = np.concatenate(
            [s.theta(s.nearest(c)) for s, c in zip(structures, moved, strict=True)]
        )
        return _score(objective, point)[numbers]

    hessian = np.empty((len(free), len(free)))
    for column, (i, _, basis, h) in enumerate(free):
        near = (score(i, basis, h) - score(i, basis, -h)) / (2 * h)
        far = (score(i, basis, 2 * h) - score(i, basis, -2 * h)) / (4 * h)
        hessian[:, column] = (4 * near - far) / 3
    hessian = (hessian + hessian.T) / 2
    relative = _inverse(hessian / 2)

    # Joint information of (gamma / sigma^2, sigma^2): sigma^2 profiled out leaves
    # `hessian / 2`, so the joint covariance follows from it and the cross term q.
    objective.value(theta)
    q = _quadratic(objective)
    inner_scale = objective.residual_square / dof
    cross = q[numbers] / (2 * inner_scale**2)
    own = dof / (2 * inner_scale**2)
    joint = np.empty((len(free) + 1, len(free) + 1))
    joint[:-1, :-1] = relative
    joint[:-1, -1] = joint[-1, :-1] = -relative @ cross / own
    joint[-1, -1] = 1 / own + cross @ relative @ cross / own**2
    return _to_data_units(fit, structures, relative, joint, held, inner_scale)


def _score(objective, theta):
    objective.value(theta, floor=True)
    scores = objective.derivatives(theta).scores
    return np.concatenate(
        [
            np.einsum("rab,ab->r", s.covariance_basis, score)
            for s, score in zip(objective.structures, scores, strict=True)
        ]
    )


def _quadratic(objective):
    """q_r = (Z'P0 y)'E_r(Z'P0 y) at the current factor."""
    parts = [
        np.einsum("rab,ab->r", s.covariance_basis, square)
        for s, square in zip(
            objective.structures, objective.response_squares(), strict=True
        )
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _inverse(information):
    if not len(information):
        return information
    value, vector = np.linalg.eigh(information)
    if value[0] <= 1e-10 * value[-1]:
        return np.full_like(information, np.nan)
    return (vector / value) @ vector.T


def _to_data_units(fit, structures, relative, joint, held, inner_scale):
    # Sigma (data) = T^-1 Sigma (engine) T^-T, linear in gamma; sigma^2 grows by y_scale^2
    blocks = []
    for s, transform in zip(structures, fit.design.transforms, strict=True):
        inverse = np.linalg.inv(transform)
        moved = [s.gamma(inverse @ e @ inverse.T) for e in s.covariance_basis]
        blocks.append(np.array(moved).T)
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
