"""Covariance of fixed effects and variance parameters from the whole observed information.

The information is that of the log-likelihood with sigma^2 profiled out, in (beta, gamma),
gamma relative to sigma^2.  Its inverse follows from parts that the fit has: with
A = X'V^-1 X, J = d beta / d gamma of the generalized least-squares estimate and R the
inverse information about gamma with beta profiled out too,

    [ A^-1 + J R J'   J R ]
    [ R J'            R   ]
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from mixedext.engine.deviance.profiled import FactorDeviance
from mixedext.engine.fit import Fit
from mixedext.engine.information.expected import variance_information
from mixedext.engine.information.observed import variance_covariance
from mixedext.engine.information.variance_covariance import VarianceCovariance
from mixedext.fitted import Fitted, once_a_fit

__all__ = [
    "coefficient_slopes",
    "covariance_of_variances",
    "fixed_covariance",
    "observed_covariance",
]


def coefficient_slopes(fit: Fit) -> np.ndarray:
    """d beta / d gamma = -A^-1 X'V^-1 (dV) V^-1 (y - X beta), in the data's units.

    Parameters
    ----------
    fit : Fit
        A fitted model.

    Returns
    -------
    ndarray
        A row for each coefficient kept, a column for each element of the relative
        covariances of all terms in the model's order, and of psi of a residual covariance.
    """
    return fit.root @ _whitened_slopes(fit)


def _whitened_slopes(fit):
    """The same in the coordinates of ``fit.root``."""
    design = fit.design
    if fit.residual is not None:
        return _residual_slopes(fit)
    objective = FactorDeviance(design.blocks, design.structures, fit.reml)
    objective.value(design.inner_theta(fit.theta))
    whitened, residual = objective._residual_response()
    columns = []
    for i, (s, transform) in enumerate(
        zip(design.structures, design.transforms, strict=True)
    ):
        x = objective.by_term(i, *whitened)
        v = objective.by_term(i, residual[0][..., None], residual[1][..., None])[..., 0]
        # Z'V0^-1 X L_X^-T of every level by the column's own Z'V0^-1 (y - X beta)
        product = np.einsum("laj,lb->jab", x, v)
        inner = np.array([transform @ e @ transform.T for e in s.covariance_basis])
        columns.append(np.einsum("jab,rab->jr", product, inner))
    if not columns:
        return np.zeros((design.basis.rank, 0))
    return -design.y_scale * np.hstack(columns)


def _residual_slopes(fit):
    """The same beside a residual covariance: -X'V0^-1 V_r V0^-1 y of an orthonormal X."""
    info, design = variance_information(fit), fit.design
    rank = design.basis.rank
    slopes = -np.sqrt(fit.scale) * info.first[:, rank, :rank].T
    pairs = zip(design.structures, design.transforms, strict=True)
    inner = [s.congruence(transform) for s, transform in pairs]
    return slopes @ linalg.block_diag(*inner, np.eye(len(fit.residual.psi)))


def fixed_covariance(fit: Fit, relative: np.ndarray) -> np.ndarray:
    """The coefficients' part of ``observed_covariance`` in coordinates ``sigma fit.root``.

    Parameters
    ----------
    fit, relative
        As for ``observed_covariance``.

    Returns
    -------
    ndarray
        (rank, rank).
    """
    free = np.flatnonzero(~np.isnan(np.diag(relative)))
    slopes = _whitened_slopes(fit)[:, free] / np.sqrt(fit.scale)
    return np.eye(len(slopes)) + slopes @ relative[np.ix_(free, free)] @ slopes.T


def observed_covariance(fit: Fit, relative: np.ndarray) -> np.ndarray:
    """Inverse of the observed information about (beta, gamma).

    Parameters
    ----------
    fit : Fit
        A fitted model.
    relative : ndarray
        Inverse information about gamma, NaN where held (``variance_covariance``).

    Returns
    -------
    ndarray
        Coefficients kept, then gamma; NaN for elements of gamma that are held, which the
        coefficients then take as known.
    """
    rank = fit.design.basis.rank
    out = np.full((rank + len(relative),) * 2, np.nan)
    free = np.flatnonzero(~np.isnan(np.diag(relative)))
    slopes = coefficient_slopes(fit)[:, free] if len(free) else np.zeros((rank, 0))
    inner = relative[np.ix_(free, free)]
    cross = slopes @ inner
    out[:rank, :rank] = fit.covariance + cross @ slopes.T
    at = rank + free
    out[np.ix_(np.arange(rank), at)] = cross
    out[np.ix_(at, np.arange(rank))] = cross.T
    out[np.ix_(at, at)] = inner
    return out


@once_a_fit
def covariance_of_variances(fitted: Fitted) -> VarianceCovariance:
    """Covariance of the variance parameters, from the observed information."""
    held = fitted.fit.held
    return variance_covariance(fitted.fit) if held is None else held.variances
