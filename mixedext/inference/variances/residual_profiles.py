"""Limits of natural parameters by the profile of the likelihood.

A variance is followed in its logarithm, a correlation in its inverse hyperbolic tangent, a
parameter with a free one of its own in that, a covariance by the standard deviations
of the fit: intervals are then the same on either scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from mixedext.engine.fit import Fit
from mixedext.engine.residual.rows import residual_curves
from mixedext.engine.threads import blas_threads
from mixedext.fitted import Fitted
from mixedext.inference.profile.chosen_parameters import refuse_beside_residual
from mixedext.inference.profile.coordinates import Target
from mixedext.inference.profile.likelihood_profile import STEP
from mixedext.inference.profile.residual_minimum import Held
from mixedext.inference.profile.residual_profile import (
    ResidualValues,
    ml_fit,
    profile_target,
)
from mixedext.inference.profile.residual_targets import ResidualTarget, residual_targets
from mixedext.inference.variances.residual_parameters import (
    NaturalValues,
    natural_values,
    variance_places,
)
from mixedext.specification.covariance.residual_parameters import natural_parameters

__all__ = ["ProfileLimits", "natural_targets", "profile_limits"]

# Level to which profiles are followed at least: limits lie between points.
LEAST_LEVEL = 0.9
REFITTED = "The model, fitted by REML, was fitted again by ML."


@dataclass(frozen=True, eq=False)
class ProfileLimits:
    """Limits of all parameters of the covariance.

    Attributes
    ----------
    random : ndarray
        Of standard deviations and correlations of the random effects, (k, 2).
    residual : ndarray
        Of the natural parameters, on the scale asked for, (m, 2).
    notes : list of str
        Limits that are bounds, or do not exist; that the model was fitted again.
    """

    random: np.ndarray
    residual: np.ndarray
    notes: list[str]


def profile_limits(
    fitted: Fitted, names: Sequence[str], scale: str, level: float
) -> ProfileLimits:
    """Profile all parameters of the covariance of a model with a residual covariance.

    Parameters
    ----------
    fitted : Fitted
        The fit; by maximum likelihood it is fitted again where it is not.
    names : sequence of str
        Of the parameters, in order.
    scale : {"sd", "variance"}
        Whether covariances are profiled as correlations.
    level : float
        Confidence level.

    Raises
    ------
    NotImplementedError
        If random effects are singular or structured, or variances follow fitted values.
    """
    refuse_beside_residual(fitted)
    with blas_threads():
        own = ml_fit(fitted.fit)
        targets, moving = natural_targets(own, scale)
        whole = ResidualValues(own, targets)
        furthest = float(np.sqrt(stats.chi2.ppf(max(level, LEAST_LEVEL), 1)))
        limits, notes = np.full((len(targets), 2), np.nan), []
        for k, (name, target) in enumerate(zip(names, targets, strict=True)):
            if not moving[k]:
                continue
            curve = profile_target(whole, target, furthest, STEP)
            for side, limit in enumerate(curve.limits(None, level)):
                value = limit.value
                limits[k, side] = value
                if limit.reason:
                    where = ("lower", "upper")[side]
                    notes.append(f"{name}, {where}: {limit.reason}")
    if fitted.fit.reml:
        notes.append(REFITTED)
    n = sum(target.target.kind != "residual" for target in targets)
    return ProfileLimits(limits[:n], limits[n:], notes)


def natural_targets(fit: Fit, scale: str) -> tuple[list[ResidualTarget], list[bool]]:
    """Random effects' parameters, then natural ones, and which of them move.

    Parameters
    ----------
    fit : Fit
        By maximum likelihood.
    scale : {"sd", "variance"}
        Scale of variances and covariances.
    """
    estimate = fit.residual
    assert estimate is not None
    assert estimate.rows is not None
    deviance, bound = estimate.rows.deviance(False), estimate.bound
    given = residual_targets(deviance, bound, estimate.psi)
    out = [t for t in given if t.target.kind in ("sd", "correlation")]
    by_psi = {t.target.rows[0]: t for t in given if t.target.kind == "residual"}
    moving = [True] * len(out)
    curves, n_theta = residual_curves(bound), deviance.n_theta
    parameters = natural_parameters(bound, curves)
    pairs = variance_places(parameters)

    def values(z: np.ndarray) -> NaturalValues:
        s2 = float(np.exp(z[-1])) * deviance.y_scale**2
        return natural_values(curves, z[n_theta:-1], s2)

    at = np.concatenate([estimate.theta, estimate.psi])
    middle = natural_values(curves, estimate.psi, fit.scale)
    make = _Coordinates(values, len(at) + 1, n_theta)
    for parameter in parameters:
        k = parameter.at
        own = int(middle.own[k])
        if parameter.kind == "free":
            out.append(by_psi[own])
        elif parameter.kind == "variance":
            out.append(make.variance(k, scale))
        elif parameter.kind == "covariance":
            i, j = (parameters[place].at for place in pairs[parameter.name])
            size = float(np.sqrt(middle.eta[i]) * np.sqrt(middle.eta[j]))
            out.append(make.pair(k, i, j) if scale == "sd" else make.plain(k, size))
        elif parameter.kind == "correlation":
            out.append(make.correlation(k))
        else:
            out.append(make.plain(k, 1.0))
        moving.append(own == len(estimate.psi) or not estimate.fixed_psi[own])
    return out, moving


class _Coordinates:
    """Coordinates of natural parameters as functions of z = (theta, psi, log sigma^2).

    Parameters
    ----------
    values : callable
        Natural parameters at z.
    n, n_theta : int
        Elements of z, and of theta.
    """

    def __init__(self, values: Callable[[np.ndarray], NaturalValues], n: int, n_theta: int):
        self.values, self.n, self.n_theta = values, n, n_theta

    def _slopes(self, found: NaturalValues) -> np.ndarray:
        """d eta / dz', (N, n); sigma^2 by its logarithm."""
        out = np.zeros((len(found.eta), self.n))
        out[:, self.n_theta :] = found.slopes
        out[:, -1] *= found.scale
        return out

    def variance(self, k: int, scale: str) -> ResidualTarget:
        """By its logarithm; as a standard deviation on the scale of these."""
        power = 0.5 if scale == "sd" else 1.0

        def value(z):
            with np.errstate(divide="ignore"):
                return float(power * np.log(self.values(z).eta[k]))

        def slope(z):
            found = self.values(z)
            return power * self._slopes(found)[k] / found.eta[k]

        exp = partial(_of_coordinate, np.exp)
        return ResidualTarget(_target(k), Held(value, slope), exp, exp, (0.0, np.inf))

    def pair(self, k: int, i: int, j: int) -> ResidualTarget:
        """A covariance, as the correlation that it is with two variances."""

        def value(z):
            eta = self.values(z).eta
            with np.errstate(divide="ignore", invalid="ignore"):
                return float(np.arctanh(eta[k] / (np.sqrt(eta[i]) * np.sqrt(eta[j]))))

        def slope(z):
            found = self.values(z)
            eta, slopes = found.eta, self._slopes(found)
            both = np.sqrt(eta[i]) * np.sqrt(eta[j])
            r = eta[k] / both
            change = slopes[k] / both - r * (slopes[i] / eta[i] + slopes[j] / eta[j]) / 2
            return change / (1 - r**2)

        return _in_tanh(k, Held(value, slope))

    def correlation(self, k: int) -> ResidualTarget:
        """A correlation that several parameters make."""

        def value(z):
            with np.errstate(divide="ignore", invalid="ignore"):
                return float(np.arctanh(self.values(z).eta[k]))

        def slope(z):
            found = self.values(z)
            return self._slopes(found)[k] / (1 - found.eta[k] ** 2)

        return _in_tanh(k, Held(value, slope))

    def plain(self, k: int, size: float) -> ResidualTarget:
        """As it is, in units of a size."""
        held = Held(
            lambda z: float(self.values(z).eta[k] / size),
            lambda z: self._slopes(self.values(z))[k] / size,
        )
        return ResidualTarget(_target(k), held, lambda u, z: u * size, lambda u, z: size)


def _target(k: int) -> Target:
    return Target("residual", -1, (k,))


def _in_tanh(k: int, held: Held) -> ResidualTarget:
    value, rise = (partial(_of_coordinate, f) for f in (np.tanh, _slope_of_tanh))
    return ResidualTarget(_target(k), held, value, rise, (-1.0, 1.0))


def _of_coordinate(function, u, z):
    return float(function(u))


def _slope_of_tanh(u):
    return 1 / np.cosh(u) ** 2
