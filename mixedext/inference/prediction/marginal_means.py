"""Population-averaged means of a generalized mixed model.

Whatever the random terms, the linear predictor of a row is normal given its covariates,
eta + N(0, v) with v = sum_t z_t' Sigma_t z_t, so that the mean over the population is an
average over one dimension,

    m(eta, v) = E g(eta + sqrt(v) Z),    dm/d eta = E g',    dm/d v = E g'' / 2,

g the inverse of the link.  It is exp(eta + v / 2) for the logarithm,
Phi(eta / sqrt(1 + v)) for probit, eta for the identity, eta^2 + v for the square root.

References
----------
Zeger, Liang and Albert (1988), Models for longitudinal data: a generalized estimating
equation approach, Biometrics 44, 1049-1060.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from mixedext.algebra.normal_averages import average
from mixedext.specification.families.links import Power

__all__ = [
    "MarginalMean",
    "MarginalMoments",
    "link_step",
    "marginal_mean",
    "marginal_moments",
]

# Step of the trapezoid rule on the scale of the linear predictor: it goes with the distance
# of the mean's singularities, or of where it grows, from the real line: pi for logit,
# pi / 2 for the extreme-value links, 1 for cauchit.
STEPS = {"logit": 0.6, "cloglog": 0.3, "loglog": 0.3, "cauchy": 0.18}
OTHER = 0.2
_NO_MEAN = (
    "there is no population average for the {link} link: the linear predictor of a normal "
    "random effect leaves the link's domain. Use conditional=False, the mean at random "
    "effects of zero, or a log link"
)


class MarginalMean(NamedTuple):
    """Population averages of rows.

    Attributes
    ----------
    mean : ndarray
        m, (n,).
    by_eta, by_variance : ndarray
        Its derivatives, (n,).
    """

    mean: np.ndarray
    by_eta: np.ndarray
    by_variance: np.ndarray


def link_step(link: Any) -> float:
    """Step of the trapezoid rule for functions of a link's mean.

    Raises
    ------
    ValueError
        If no linear predictor with a normal effect stays in the link's domain.
    """
    if isinstance(link, Power):
        raise ValueError(_NO_MEAN.format(link=link.name))
    return STEPS.get(link.name, OTHER)


def marginal_mean(link: Any, eta: Any, variance: Any) -> MarginalMean:
    """Population-averaged means of rows and their derivatives.

    Parameters
    ----------
    link : Link
        The link.
    eta : array_like
        Linear predictor without random effects, (n,).
    variance : array_like
        Variance of the random part of each, (n,) or one number.

    Raises
    ------
    ValueError
        If the link has no population average (inverse links).
    """
    eta = np.atleast_1d(np.asarray(eta, float))
    v = np.broadcast_to(np.asarray(variance, float), eta.shape)
    closed = _CLOSED.get(link.name)
    if closed is not None:
        with np.errstate(over="ignore"):
            return MarginalMean(*closed(eta, v))

    def derivatives(at):
        own = link.terms(at)
        return own.mean, own.first, own.second

    step = link_step(link)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        mean, slope, bend = average(derivatives, eta, v, step)
    return MarginalMean(mean, slope, 0.5 * bend)


class MarginalMoments(NamedTuple):
    """Moments over the random effects of rows.

    Attributes
    ----------
    mean : ndarray
        E mu, (n,).
    between : ndarray
        Var mu, (n,).
    within : ndarray
        E Var(y | mu), (n,); of proportions where the response counts successes.
    """

    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray


def marginal_moments(
    family: Any,
    eta: Any,
    variance: Any,
    kappa: Any = (),
    trials: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> MarginalMoments:
    """Means and variances of responses over the random effects.

    Parameters
    ----------
    family : Family
        The family.
    eta, variance : array_like
        As for ``marginal_mean``.
    kappa : array_like
        Logarithms of dispersions.
    trials, weights : ndarray or None
        Trials of counts of successes; prior weights that divide a dispersion, (n,).
    """
    link = family.link
    eta = np.atleast_1d(np.asarray(eta, float))
    v = np.broadcast_to(np.asarray(variance, float), eta.shape)
    center = marginal_mean(link, eta, v).mean
    count = np.ones(eta.shape) if trials is None else np.asarray(trials, float)
    divided = np.ones(eta.shape)
    if weights is not None and family.law.weights_divide:
        divided = np.asarray(weights, float)
    one = family.variance(np.full(1, 0.5), kappa, np.ones(1)) if family.has_trials else None
    # out of m trials the variance is that of one trial times a number
    factor = 1.0 / divided
    if one is not None:
        many = family.variance(np.full(eta.shape, 0.5), kappa, count)
        factor = factor * many / one

    def both(at):
        mu = link.mean(at)
        return mu, mu**2, family.variance(mu, kappa)

    step = OTHER if link.name in _CLOSED else link_step(link)
    growth = 3.0 if link.name == "log" else 0.0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if link.name == "sqrt":  # the square, whatever the sign
            between = 4.0 * eta**2 * v + 2.0 * v**2
            within = family.variance(center, kappa)
        else:
            mean, square, within = average(both, eta, v, step, growth)
            between = np.maximum(square - mean**2, 0.0)
            if link.name == "identity":
                between = v + 0.0
    return MarginalMoments(center, between, within * factor)


def _log(eta, v):
    mean = np.exp(eta + 0.5 * v)
    return mean, mean, 0.5 * mean


def _probit(eta, v):
    root = np.sqrt(1.0 + v)
    at = eta / root
    density = np.exp(-0.5 * at**2) / np.sqrt(2.0 * np.pi)
    return special.ndtr(at), density / root, -0.5 * density * at / (1.0 + v)


def _identity(eta, v):
    return eta.copy(), np.ones_like(eta), np.zeros_like(eta)


def _sqrt(eta, v):
    return eta**2 + v, 2.0 * eta, np.ones_like(eta)


_CLOSED = {"log": _log, "probit": _probit, "identity": _identity, "sqrt": _sqrt}
