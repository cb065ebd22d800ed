"""Second derivatives of covariances that are curves of their natural parameters.

Kenward and Roger's (1997) covariance takes of them one matrix for each term,

    Vbar = sum_rs W_rs d2 Sigma / d eta_r d eta_s,

W the covariance of the natural parameters eta: of SAS, variances and correlations.  A
covariance that is linear in its parameters has none.
"""

from __future__ import annotations

import numpy as np

from mixedext.engine.fit import Fit
from mixedext.engine.information.expected import information_along, variance_information
from mixedext.engine.residual.information import Curved

__all__ = ["natural_bends", "outer_bends", "second_derivatives"]


def natural_bends(fit: Fit, spread: np.ndarray) -> list[np.ndarray | None]:
    """Vbar of every term, relative to sigma^2, in the engine's units.

    Parameters
    ----------
    fit : Fit
        A fitted model.
    spread : ndarray
        Covariance of the variance parameters in the directions of ``VarianceInformation``,
        (n_gamma + 1, n_gamma + 1).

    Returns
    -------
    list of ndarray or None
        (k, k) a term; None for one that is linear.
    """
    if not fit.design.is_curved:
        return [None] * len(fit.design.terms)
    out: list[np.ndarray | None] = []
    objective = fit.objective
    for i, (s, theta) in enumerate(objective.parts(fit.optimum.theta)):
        if s.linear:
            out.append(None)
            continue
        slots = objective.gamma_slices[i]
        at = np.append(np.arange(slots.start, slots.stop), len(spread) - 1)
        # the last direction, V0, moves all variances with sigma^2
        with_scale = np.where(s.is_variance, s.natural(theta), 0.0)
        change = np.column_stack([s.jacobian(theta), with_scale])
        out.append(s.curve(theta, change @ spread[np.ix_(at, at)] @ change.T))
    return out


def outer_bends(fit: Fit, spread: np.ndarray) -> list[np.ndarray | None]:
    """The same in the units of the terms' columns."""
    out: list[np.ndarray | None] = []
    bends = natural_bends(fit, spread)
    for bend, inverse in zip(bends, fit.design.inverse_transforms, strict=True):
        out.append(None if bend is None else inverse @ bend @ inverse.T)
    return out


def second_derivatives(fit: Fit, spread: np.ndarray) -> Curved:
    """What the second derivatives of V0 come to: of random terms and of residuals.

    Parameters
    ----------
    fit : Fit
        A fitted model.
    spread : ndarray
        Covariance W of the variance parameters in all directions of
        ``variance_information``, V0 the last.
    """
    info = variance_information(fit)
    residual = info.curved(spread)
    bends = natural_bends(fit, spread)
    if all(bend is None for bend in bends):
        return residual
    # Vbar of each term as one more direction of it
    directions, places, start = [], [], 0
    for s, bend in zip(fit.design.structures, bends, strict=True):
        own = s.covariance_basis
        if bend is not None:
            own = np.concatenate([own, bend[None]])
            places.append(start + len(own) - 1)
        directions.append(own)
        start += len(own)
    wide = information_along(fit, directions)
    extra = np.array(places, np.intp)
    given = np.delete(np.arange(len(wide.expected)), extra)
    on_fixed = wide.on_fixed[extra].sum(axis=0)
    traces = 2 * wide.expected[np.ix_(given, extra)].sum(axis=1)
    return Curved(residual.on_fixed + on_fixed, residual.traces + traces)
