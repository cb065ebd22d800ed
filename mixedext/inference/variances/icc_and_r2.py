"""Shares of the variance: R squared of Nakagawa and Johnson, intraclass correlations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, stats

from mixedext.arguments import check_choice, confidence, did_you_mean
from mixedext.engine.rows.design import Design
from mixedext.exceptions import BootstrapWarning, user_stacklevel
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.bootstrap.bootstrapping import simulate_refits
from mixedext.inference.bootstrap.intervals import limits
from mixedext.inference.variances.observed_covariance import covariance_of_variances
from mixedext.specification.covariance.bound_residual import refuse_residual
from mixedext.specification.covariance.curved import CurvedStructure
from mixedext.specification.terms.sparse_terms import SparseTerm

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


def r2_nakagawa(results: HasFitted) -> NakagawaR2:
    """Marginal and conditional R squared of Nakagawa, Schielzeth and Johnson.

    The variance of the random part is its mean over the rows, which with random
    slopes is not that of the intercepts alone (Johnson).  With weights the residual
    variance is its mean over the rows as well, and so is that of a residual covariance,
    whose correlations do not enter.

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
    >>> [round(r2, 4) for r2 in result.r2_nakagawa]
    [0.2787, 0.7992]
    """
    fitted = results.fitted
    fixed = _fixed_variance(fitted)
    slopes, residual = _variance_slopes(fitted)
    random = float(slopes @ _gamma(fitted))
    residual = residual * fitted.scale
    total = fixed + random + residual
    return NakagawaR2(fixed / total, (fixed + random) / total)


def icc(
    results: HasFitted,
    group: str | None = None,
    ci: str | None = None,
    *,
    adjusted: bool = True,
    alpha: float = 0.05,
    level: float | None = None,
    n: int = 1000,
    rng: Any = None,
) -> float | IntraclassCorrelation:
    """Intraclass correlation: the random effects' share of the variance.

    Parameters
    ----------
    group : str, optional
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
    level : float, optional
        The level itself, in place of ``alpha``.
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
    check_choice(ci, "ci", (None, "delta", "bootstrap"))
    level, fitted = confidence(alpha, level), results.fitted
    slopes, residual = _variance_slopes(fitted)
    share = slopes * _gamma_of(fitted, group)
    fixed = 0.0 if adjusted else _fixed_variance(fitted)

    def ratio(gamma: np.ndarray, scale: float) -> float:
        total = fixed + gamma @ slopes + residual * scale
        return (gamma @ share) / total

    gamma = _gamma(fitted)
    estimate = float(ratio(gamma, fitted.scale))
    if ci is None:
        return estimate
    if ci == "bootstrap":
        return _bootstrap_interval(fitted, ratio, estimate, n, rng, level)
    total = fixed + gamma @ slopes + residual * fitted.scale
    gradient = np.append(share - estimate * slopes, -estimate * residual) / total
    covariance, size = _in_gamma(fitted)
    if fitted.fit.residual is not None:
        gradient = _with_psi(fitted, gradient)
    used = gradient != 0  # a NaN variance of what has no effect does not matter
    gradient, covariance = (gradient * size)[used], covariance[np.ix_(used, used)]
    se = float(np.sqrt(gradient @ covariance @ gradient))
    margin = stats.norm.ppf((1 + level) / 2) * se
    ends = np.clip([estimate - margin, estimate + margin], 0.0, 1.0)
    return IntraclassCorrelation(estimate, se, *ends.tolist())


def _with_psi(fitted: Fitted, gradient: np.ndarray) -> np.ndarray:
    """The gradient in (gamma, psi, sigma^2), where variances do not depend on psi."""
    bound = fitted.fit.residual.bound if fitted.fit.residual is not None else None
    assert bound is not None
    own = bound.correlation is not None and bound.correlation.is_covariance
    if own or any(f.n_psi for f in bound.functions):
        refuse_residual(fitted.model, "ci='delta'", "leave ci= out")
    n_psi = bound.n_parameters
    return np.concatenate([gradient[:-1], np.zeros(n_psi), gradient[-1:]])


def _bootstrap_interval(
    fitted: Fitted,
    ratio: Callable[[np.ndarray, float], float],
    estimate: float,
    n: int,
    rng: Any,
    level: float,
) -> IntraclassCorrelation:
    refits = simulate_refits(fitted, n, rng=rng)
    design, sound = fitted.fit.design, np.flatnonzero(refits.converged)
    if len(sound) < len(refits):
        warnings.warn(
            f"{len(refits) - len(sound)} of {len(refits)} replicates failed and are "
            "left out of the interval",
            BootstrapWarning,
            stacklevel=user_stacklevel(),
        )
    values = np.array(
        [
            ratio(_gamma_at(design, design.lams(theta), scale), scale)
            for theta, scale in zip(refits.theta[sound], refits.scale[sound], strict=True)
        ]
    )
    lower, upper = limits(values, estimate, level, "percentile")
    se = float(values.std(ddof=1)) if len(values) > 1 else np.nan
    return IntraclassCorrelation(estimate, se, lower, upper)


def _fixed_variance(fitted: Fitted) -> float:
    """Variance of the fixed part over the rows, divisor n - 1 as in R; of one row none."""
    mean = fitted.need_rows().exog @ np.nan_to_num(fitted.fixed.estimate)
    return float(np.var(mean, ddof=1)) if len(mean) > 1 else np.nan


def _gamma(fitted: Fitted) -> np.ndarray:
    """Elements of the covariances of all terms."""
    parts = [structure.ambient.gamma(own) for _, structure, own in fitted.random.blocks()]
    return np.concatenate([np.zeros(0), *parts])


def _in_gamma(fitted: Fitted) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of gamma (psi) and sigma^2 over sizes, from that of natural parameters."""
    found = covariance_of_variances(fitted)
    covariance, size = found.scaled, found.size
    blocks = list(fitted.random.blocks())
    if all(structure.linear for _, structure, _ in blocks):
        return covariance, size
    changes = []
    for _, s, own in blocks:
        change = np.eye(s.n_gamma)
        if isinstance(s, CurvedStructure):
            change = np.array([s.ambient.gamma(e) for e in s.natural_slopes(own)]).T
        changes.append(change)
    n_natural = sum(own.shape[1] for own in changes)
    change = linalg.block_diag(*changes, np.eye(len(covariance) - n_natural))
    sizes = np.full(sum(own.shape[0] for own in changes), size[-1])
    sizes = np.append(sizes, size[n_natural:])
    change = change * size / sizes[:, None]
    unknown = np.isnan(covariance.diagonal())
    lost = (change[:, unknown] != 0).any(axis=1)
    out = change @ np.where(np.isnan(covariance), 0.0, covariance) @ change.T
    out[lost] = out[:, lost] = np.nan
    return out, sizes


def _gamma_of(fitted: Fitted, group: str | None) -> np.ndarray:
    """1 for each element of gamma that belongs to a grouping factor, else 0."""
    terms, groups = fitted.random.terms, fitted.random.groups
    if group is not None and group not in groups:
        raise ValueError(
            f"group={group!r} is not a grouping factor of the model; there are: "
            f"{', '.join(groups)}{did_you_mean(group, groups)}"
        )
    own = [
        np.full(t.structure.ambient.n_gamma, group is None or t.group == group)
        for t in terms
    ]
    return np.concatenate([np.zeros(0), *own])


def _variance_slopes(fitted: Fitted) -> tuple[np.ndarray, float]:
    """Mean over the rows of the random part's variance per unit of each gamma.

    tr(E_r Z'Z) / n, with Z'Z summed over all rows; and of the residual's per unit of
    sigma^2, the mean of 1 / weight, or of the squared standard deviations of the rows.
    """
    rows, slopes = fitted.need_rows(), [np.zeros(0)]
    for term in rows.terms:
        if isinstance(term, SparseTerm):
            square = np.full((1, 1), term.matrix.power(2).sum() / fitted.nobs)
        else:
            square = term.z.T @ term.z / fitted.nobs
        slopes.append(
            np.einsum("rab,ab->r", term.structure.ambient.covariance_basis, square)
        )
    residual = 1.0 if rows.weights is None else float(np.mean(1 / rows.weights))
    if fitted.fit.residual is not None:
        residual = float(np.mean(fitted.fit.residual.deviations(rows.weights) ** 2))
    return np.concatenate(slopes), residual


def _gamma_at(design: Design, lams: Sequence[np.ndarray], scale: float) -> np.ndarray:
    """The same of a refit."""
    pairs = zip(design.structures, lams, strict=True)
    parts = [s.ambient.gamma(scale * lam @ lam.T) for s, lam in pairs]
    return np.concatenate([np.zeros(0), *parts])
