"""Shares of the variance: R squared of Nakagawa and Johnson, intraclass correlations."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from scipy import stats

from mixedext.arguments import check_probability
from mixedext.exceptions import BootstrapWarning, user_stacklevel
from mixedext.fitted import need_rows
from mixedext.inference.bootstrap.intervals import limits
from mixedext.inference.variances.observed_covariance import covariance_of_variances

__all__ = ["IntraclassCorrelation", "NakagawaR2", "icc", "r2_nakagawa"]


class NakagawaR2(NamedTuple):
    """Shares of the variance that a model explains.

    Attributes
    ----------
    marginal : float
        Of the fixed effects.
    conditional : float
        Of fixed and random effects.
    """

    marginal: float
    conditional: float


class IntraclassCorrelation(NamedTuple):
    """An intraclass correlation with its interval.

    Attributes
    ----------
    estimate : float
        Share of the variance.
    se : float
        Standard error; NaN where a variance on the boundary leaves none.
    lower, upper : float
        Limits.
    """

    estimate: float
    se: float
    lower: float
    upper: float


def r2_nakagawa(results):
    """Marginal and conditional R squared of Nakagawa, Schielzeth and Johnson.

    The variance of the random part is its mean over the rows, which with random
    slopes is not that of the intercepts alone (Johnson).  With weights the residual
    variance is its mean over the rows as well.

    Returns
    -------
    NakagawaR2
        marginal, conditional.

    Raises
    ------
    ValueError
        If the rows are not in memory.

    References
    ----------
    Nakagawa, Johnson and Schielzeth (2017), The coefficient of determination R2 and
    intra-class correlation coefficient from generalized linear mixed-effects models
    revisited and expanded, Journal of the Royal Society Interface 14.
    Johnson (2014), Extension of Nakagawa & Schielzeth's R2GLMM to random slopes models,
    Methods in Ecology and Evolution 5.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> [round(r2, 4) for r2 in result.r2_nakagawa()]
    [0.2787, 0.7992]
    """
    fixed = _fixed_variance(results)
    slopes, residual = _variance_slopes(results)
    random = float(slopes @ _gamma(results))
    residual = residual * results.scale
    total = fixed + random + residual
    return NakagawaR2(fixed / total, (fixed + random) / total)


def icc(results, which=None, ci=None, *, adjusted=True, alpha=0.05, n=1000, rng=None):
    """Intraclass correlation: the random effects' share of the variance.

    Parameters
    ----------
    which : str, optional
        A grouping factor, for its share; all of them together if None.
    ci : {None, "delta", "bootstrap"}, optional
        Interval: none; estimate -+ normal quantile times the standard error by the
        delta method from the observed information, cut at 0 and 1; or percentiles of
        refits to responses simulated from the fit.
    adjusted : bool, optional
        Whether the variance of the fixed effects is left out of the total.  If not,
        the intervals take it as known.
    alpha : float, optional
        One minus the confidence level.
    n : int, optional
        Number of refits of the bootstrap.
    rng : Generator or int, optional
        Source of random numbers, or a seed.

    Returns
    -------
    float or IntraclassCorrelation
        A number if ``ci`` is None; else estimate, se, lower, upper.

    Raises
    ------
    ValueError
        If an argument is not known, or the rows are not in memory.

    Warns
    -----
    BootstrapWarning
        If refits failed; they are left out of the interval.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> round(result.icc(), 4)
    0.4185
    >>> [round(value, 3) for value in result.icc(ci="delta")]
    [0.418, 0.216, 0.0, 0.842]
    """
    if ci not in (None, "delta", "bootstrap"):
        raise ValueError(f"ci={ci!r} is not known; use None, 'delta' or 'bootstrap'")
    check_probability(alpha, "alpha")
    slopes, residual = _variance_slopes(results)
    share = slopes * _gamma_of(results, which)
    fixed = 0.0 if adjusted else _fixed_variance(results)

    def ratio(gamma, scale):
        total = fixed + gamma @ slopes + residual * scale
        return (gamma @ share) / total

    gamma = _gamma(results)
    estimate = float(ratio(gamma, results.scale))
    if ci is None:
        return estimate
    if ci == "bootstrap":
        return _bootstrap_interval(results, ratio, estimate, n, rng, alpha)
    total = fixed + gamma @ slopes + residual * results.scale
    gradient = np.append(share - estimate * slopes, -estimate * residual) / total
    covariance = covariance_of_variances(results.fitted).absolute
    used = gradient != 0  # a NaN variance of what has no effect does not matter
    gradient, covariance = gradient[used], covariance[np.ix_(used, used)]
    se = float(np.sqrt(gradient @ covariance @ gradient))
    margin = stats.norm.ppf(1 - alpha / 2) * se
    ends = np.clip([estimate - margin, estimate + margin], 0.0, 1.0)
    return IntraclassCorrelation(estimate, se, *ends.tolist())


def _bootstrap_interval(results, ratio, estimate, n, rng, alpha):
    refits = results.simulate_refits(n, rng=rng)
    design, sound = results.fitted.fit.design, np.flatnonzero(refits.converged)
    if len(sound) < len(refits):
        warnings.warn(
            f"{len(refits) - len(sound)} of {len(refits)} replicates failed and are "
            "left out of the interval",
            BootstrapWarning,
            stacklevel=user_stacklevel(),
        )
    values = np.array(
        [
            ratio(_gamma_at(design.structures, design.lams(theta), scale), scale)
            for theta, scale in zip(refits.theta[sound], refits.scale[sound], strict=True)
        ]
    )
    lower, upper = limits(values, estimate, 1 - alpha, "percentile")
    se = float(values.std(ddof=1)) if len(values) > 1 else np.nan
    return IntraclassCorrelation(estimate, se, lower, upper)


def _fixed_variance(results):
    """Variance of the fixed part over the rows, divisor n - 1 as in R."""
    need_rows(results.model)
    mean = results.model.exog @ np.nan_to_num(results.fe_params)
    return float(np.var(mean, ddof=1))


def _gamma(results):
    fit = results.fitted.fit
    return _gamma_at(fit.design.structures, fit.lams, results.scale)


def _gamma_of(results, which):
    """1 for each element of gamma that belongs to a grouping factor, else 0."""
    terms = results.fitted.fit.design.terms
    groups = list(dict.fromkeys(t.group for t in terms))
    if which is not None and which not in groups:
        raise ValueError(
            f"which={which!r} is not a grouping factor of the model; there are: "
            f"{', '.join(groups)}"
        )
    own = [np.full(t.structure.n_gamma, which is None or t.group == which) for t in terms]
    return np.concatenate([np.zeros(0), *own])


def _variance_slopes(results):
    """Mean over the rows of the random part's variance per unit of each gamma.

    tr(E_r Z'Z) / n, with Z'Z summed over all rows; and of the residual's per unit of
    sigma^2, the mean of 1 / weight.
    """
    model = results.model
    need_rows(model)
    slopes = [np.zeros(0)]
    for term in model.random_terms:
        matrix = getattr(term, "matrix", None)  # a term given by Z itself
        if matrix is None:
            square = term.z.T @ term.z / model.nobs
        else:
            square = np.full((1, 1), matrix.power(2).sum() / model.nobs)
        slopes.append(np.einsum("rab,ab->r", term.structure.covariance_basis, square))
    residual = 1.0 if model.weights is None else float(np.mean(1 / model.weights))
    return np.concatenate(slopes), residual


def _gamma_at(structures, lams, scale):
    """Elements of the covariances of all terms."""
    parts = [s.gamma(scale * lam @ lam.T) for s, lam in zip(structures, lams, strict=True)]
    return np.concatenate([np.zeros(0), *parts])
