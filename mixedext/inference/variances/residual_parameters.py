"""Natural parameters of a residual covariance, their errors and limits.

With psi the free parameters and eta the natural ones, Cov(eta) = J Cov(psi, sigma^2) J',
J = d eta / d (psi, sigma^2)' (delta method, observed information).  Limits are Wald's on
the free scale, mapped back:

    a variance v                    v exp(-+ z se / v)
    a parameter of its own psi_k    eta(psi_k -+ z se(psi_k))
    a correlation r of many psi     tanh(atanh r -+ z se / (1 - r^2))
    a covariance, a coefficient     eta -+ z se
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from mixedext.engine.residual.estimate import ResidualEstimate
from mixedext.fitted import Fitted, once_a_fit
from mixedext.inference.variances.observed_covariance import covariance_of_variances
from mixedext.specification.covariance.residual_curve import ResidualCurve
from mixedext.specification.covariance.residual_parameters import (
    NaturalParameter,
    natural_parameters,
    packed_names,
)

__all__ = [
    "NaturalEstimates",
    "NaturalValues",
    "PackedResidual",
    "natural_estimates",
    "natural_limits",
    "natural_values",
    "packed_residual",
    "propagated",
    "residual_of",
    "variance_places",
]


class NaturalEstimates(NamedTuple):
    """Natural parameters with the covariance of their estimates.

    Attributes
    ----------
    parameters : list of NaturalParameter
        Names and kinds, in the order of the other fields, (m,).
    scaled : ndarray
        The estimates over ``size``, (m,).
    size : ndarray
        A unit of the order of the response's variance for variances and covariances, else
        1, (m,); see VarianceCovariance.
    covariance : ndarray
        Of ``scaled``, (m, m); NaN for what has none.
    slopes : ndarray
        d scaled / d (psi, sigma^2 over its size)', (m, n_psi + 1).
    own : ndarray
        Element of (psi, sigma^2) that belongs to each, (m,).
    notes : list of str
        Why some have none.
    """

    parameters: list[NaturalParameter]
    scaled: np.ndarray
    size: np.ndarray
    covariance: np.ndarray
    slopes: np.ndarray
    own: np.ndarray
    notes: list[str]

    @property
    def estimate(self) -> np.ndarray:
        """In the units of the data, (m,)."""
        return self.scaled * self.size

    @property
    def errors(self) -> np.ndarray:
        """Standard errors in the units of the data, (m,)."""
        return np.sqrt(np.diag(self.covariance)) * self.size


def residual_of(fitted: Fitted) -> ResidualEstimate:
    """The residual covariance of a fit.

    Raises
    ------
    ValueError
        If the model states none.
    """
    residual = fitted.fit.residual
    if residual is None:
        raise ValueError(
            "the residuals of this model are independent: it states no residual= and no "
            "variance="
        )
    return residual


def _psi_covariance(fitted: Fitted) -> np.ndarray:
    """Of (psi, sigma^2 over its size), (n_psi + 1, n_psi + 1); NaN for what has none."""
    n = len(residual_of(fitted).psi) + 1
    return covariance_of_variances(fitted).scaled[-n:, -n:]


def propagated(slopes: np.ndarray, covariance: np.ndarray, own: np.ndarray) -> np.ndarray:
    """J Cov J', parameters without a covariance taken as known, (m, m).

    Parameters
    ----------
    slopes : ndarray
        J, a row for each of the estimates wanted, (m, n).
    covariance : ndarray
        Of the parameters, NaN where they have none, (n, n).
    own : ndarray
        Number of the parameter of which an estimate is the function, (m,): it has no
        covariance where that has none.
    """
    known = np.where(np.isnan(covariance), 0.0, covariance)
    out = slopes @ known @ slopes.T
    lost = np.isnan(np.diag(covariance))[own]
    out[lost] = out[:, lost] = np.nan
    return out


@once_a_fit
def natural_estimates(fitted: Fitted) -> NaturalEstimates:
    """Natural parameters, SAS's, of the residual covariance of a fit."""
    residual = residual_of(fitted)
    curves = residual.curves
    parameters = natural_parameters(residual.bound, curves)
    unit = covariance_of_variances(fitted).size[-1]
    eta, slopes, own, _ = natural_values(curves, residual.psi, fitted.scale / unit)
    at = np.array([p.at for p in parameters])
    in_units = [p.kind in ("variance", "covariance") for p in parameters]
    size = np.where(in_units, unit, 1.0)
    covariance = _psi_covariance(fitted)
    whole = propagated(slopes[at], covariance, own[at])
    notes = _notes(residual, covariance) if np.isnan(np.diag(whole)).any() else []
    return NaturalEstimates(parameters, eta[at], size, whole, slopes[at], own[at], notes)


class NaturalValues(NamedTuple):
    """All natural parameters of all levels, in the order of ``NaturalParameter.at``.

    Attributes
    ----------
    eta : ndarray
        In the units of sigma^2, (N,).
    slopes : ndarray
        d eta / d (psi, sigma^2)', (N, n_psi + 1).
    own : ndarray
        Element of (psi, sigma^2) that belongs to each, (N,).
    scale : float
        sigma^2.
    """

    eta: np.ndarray
    slopes: np.ndarray
    own: np.ndarray
    scale: float


def natural_values(
    curves: list[ResidualCurve], psi: np.ndarray, scale: float
) -> NaturalValues:
    """Natural parameters at psi and sigma^2.

    Parameters
    ----------
    curves : list of ResidualCurve
        Of every level of ``by``.
    psi : ndarray
        Free parameters.
    scale : float
        sigma^2.
    """
    size = 1 + len(psi)
    eta, slopes = np.empty(size), np.zeros((size, size))
    own = np.full(size, len(psi))
    for curve in curves:
        columns = np.append(curve.at, len(psi))
        eta[curve.natural_at] = curve.natural(psi[curve.at], scale)
        jacobian = curve.jacobian(psi[curve.at], scale)
        slopes[np.ix_(curve.natural_at, columns)] = jacobian
        of_curve = _own_psi(curve)
        own[curve.natural_at] = np.where(of_curve < 0, len(psi), of_curve)
    return NaturalValues(eta, slopes, own, scale)


def variance_places(parameters: list[NaturalParameter]) -> dict[str, tuple[int, int]]:
    """Of every covariance, by name, the numbers of its two variances.

    Parameters
    ----------
    parameters : list of NaturalParameter
        In the order that numbers refer to.
    """
    place = {p.name: k for k, p in enumerate(parameters) if p.kind == "variance"}
    # beside strata of another function the first variance is that of the first stratum
    whole = next((k for k, p in enumerate(parameters) if p.at == 0), 0)
    out = {}
    for parameter in parameters:
        if parameter.kind != "covariance":
            continue
        level, _, own = parameter.name.rpartition("UN(")
        i, j = own[:-1].split(",")
        first = place.get(f"{level}UN(1,1)", whole)
        names = [f"{level}UN({a},{a})" for a in (j, i)]
        out[parameter.name] = place.get(names[0], first), place.get(names[1], first)
    return out


def _own_psi(curve: ResidualCurve) -> np.ndarray:
    """Number of the element of psi that belongs to each natural parameter; -1: sigma^2."""
    chosen = curve.variances_of
    order = [np.array([-1])]
    if chosen is not None:
        own = curve.slices[chosen]
        order.append(curve.at[own])
    order += [curve.at[s] for k, s in enumerate(curve.slices) if k != chosen]
    order.append(curve.at[curve.n_sd :])
    return np.concatenate(order).astype(int)


def _notes(residual: ResidualEstimate, covariance: np.ndarray) -> list[str]:
    """Why parameters have no standard errors."""
    notes = []
    if residual.at_limit:
        words = "; ".join(residual.at_limit.values())
        notes.append(f"On the boundary, without standard errors: {words}")
    if residual.held.any():
        named = ", ".join(residual.bound.held)
        notes.append(f"Held, without standard errors: {named}")
    left = np.isnan(np.diag(covariance)[:-1]) & residual.moving_psi
    if np.isnan(covariance).all():
        notes.append(
            "No standard errors: the observed information is not positive definite"
        )
    elif left.any():
        notes.append("Without standard errors: what the data do not determine")
    return notes


def natural_limits(fitted: Fitted, level: float) -> np.ndarray:
    """Limits of the natural parameters, (m, 2); NaN for what has no standard error.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    level : float
        Confidence level.
    """
    found, residual = natural_estimates(fitted), residual_of(fitted)
    z = float(stats.norm.ppf((1 + level) / 2))
    error = found.errors
    free_error = np.sqrt(np.diag(_psi_covariance(fitted)))
    out = np.empty((len(error), 2))
    rows = zip(found.parameters, found.estimate, error, strict=True)
    for number, (parameter, value, se) in enumerate(rows):
        for side, sign in enumerate((-1.0, 1.0)):
            if np.isnan(se):
                out[number, side] = np.nan
            elif parameter.kind == "variance":
                out[number, side] = value * np.exp(sign * z * se / value)
            elif parameter.kind == "correlation":
                move = sign * z * se / (1 - value**2)
                out[number, side] = np.tanh(np.arctanh(value) + move)
            elif parameter.kind == "free":
                curve = residual.curves[parameter.level]
                place = int(np.flatnonzero(curve.natural_at == parameter.at)[0])
                k = _own_psi(curve)[place]
                psi = residual.psi.copy()
                psi[k] += sign * z * free_error[k]
                out[number, side] = curve.natural(psi[curve.at], fitted.scale)[place]
            else:
                out[number, side] = value + sign * z * se
    return np.sort(out, axis=1)  # a parameter may fall where its psi rises


# ---- in ``params`` ----


class PackedResidual(NamedTuple):
    """The parameters of a residual covariance in ``params``.

    Attributes
    ----------
    names : list of str
        (n_psi,); empty without a residual covariance.
    values : ndarray
        Natural, relative to sigma^2: ratios of standard deviations, correlations, elements
        of an unstructured covariance over its first variance.
    slopes : ndarray
        d values / d psi', (n_psi, n_psi).
    own : ndarray
        The element of psi of each.
    """

    names: list[str]
    values: np.ndarray
    slopes: np.ndarray
    own: np.ndarray


@once_a_fit
def packed_residual(fitted: Fitted) -> PackedResidual:
    """The parameters of the residual covariance of a fit, in the order of ``params``."""
    residual = fitted.fit.residual
    if residual is None:
        return PackedResidual([], np.zeros(0), np.zeros((0, 0)), np.zeros(0, int))
    bound, psi, curves = residual.bound, residual.psi, residual.curves
    values, slopes = np.zeros(len(psi)), np.zeros((len(psi), len(psi)))
    for curve in curves:
        for function, own in zip(curve.functions, curve.slices, strict=True):
            at = curve.at[own]
            values[at] = function.natural(psi[at])
            slopes[np.ix_(at, at)] = function.jacobian(psi[at])
        if curve.correlation is not None:
            at = curve.at[curve.n_sd :]
            values[at] = curve.correlation.natural(psi[at])
            slopes[np.ix_(at, at)] = curve.correlation.jacobian(psi[at])
    # names have correlations first, psi has standard deviations first
    order = np.roll(np.arange(len(psi)), -curves[0].n_sd)
    return PackedResidual(packed_names(bound), values[order], slopes[order], order)
