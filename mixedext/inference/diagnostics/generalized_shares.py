"""Shares of the variance of generalized models: R squared and intraclass correlations.

On the latent scale, that of the linear predictor, the residual has the variance

    pi^2 / 3 (logit), 1 (probit), pi^2 / 6 (cloglog, loglog)      one trial,
    Var(y) / (d mu / d eta)^2                                     delta method,
    log(1 + Var(y) / mu^2), trigamma((Var(y) / mu^2)^-1)          logarithms,

with mu the population-averaged mean.  On the scale of observations the shares are of
Var(y) = Var(E(y | u)) + E(Var(y | u)), averages over the random effects u.

References
----------
Nakagawa, Johnson and Schielzeth (2017), The coefficient of determination R2 and
intra-class correlation coefficient from generalized linear mixed-effects models revisited
and expanded, Journal of the Royal Society Interface 14.  Goldstein, Browne and Rasbash
(2002), Partitioning variation in multilevel models, Understanding Statistics 1, 223-231.
De Villemereuil, Schielzeth, Nakagawa and Morrissey (2016), General methods for evolutionary
quantitative genetic inference from generalized mixed models, Genetics 204, 1281-1294.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from mixedext.algebra.normal_averages import normal_nodes
from mixedext.arguments import check_choice, did_you_mean
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.bootstrap.response_draws import random_variance, response_of
from mixedext.inference.prediction.marginal_means import (
    link_step,
    marginal_mean,
    marginal_moments,
)
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = [
    "GeneralizedICC",
    "GeneralizedR2",
    "generalized_icc",
    "generalized_r2",
    "latent_variance",
    "observation_terms",
]

METHODS = ("theoretical", "delta", "lognormal", "trigamma")
THEORETICAL = {
    "logit": (np.pi**2 / 3, "pi^2 / 3"),
    "probit": (1.0, "1"),
    "cloglog": (np.pi**2 / 6, "pi^2 / 6"),
    "loglog": (np.pi**2 / 6, "pi^2 / 6"),
}
LOG_FAMILIES = ("poisson", "negative binomial", "nb1", "gamma", "inverse gaussian")


@dataclass(frozen=True, repr=False)
class GeneralizedR2:
    """Shares of the variance on the latent scale; unpacks as (marginal, conditional).

    Attributes
    ----------
    marginal : float
        Of the fixed effects.
    conditional : float
        Of fixed and random effects.
    fixed, random, observation, distribution : float
        Variances: of the fixed part, of the random terms, of observation-level terms
        (which count as residual), and of the law of the response.
    method : str
        Where ``distribution`` comes from.
    notes : tuple of str
        What was used, in words.
    """

    marginal: float
    conditional: float
    fixed: float
    random: float
    observation: float
    distribution: float
    method: str
    notes: tuple[str, ...]

    def __iter__(self) -> Iterator[float]:
        return iter((self.marginal, self.conditional))

    def __getitem__(self, number: int) -> float:
        return (self.marginal, self.conditional)[number]

    def __repr__(self) -> str:
        head = f"R2 marginal {self.marginal:.4f}, conditional {self.conditional:.4f}"
        return "\n".join([f"{head} (latent scale)", *self.notes])


@dataclass(frozen=True, repr=False)
class GeneralizedICC:
    """An intraclass correlation and what it is made of; ``float()`` is its value.

    Attributes
    ----------
    estimate : float
        Share of the variance.
    group : str or None
        Grouping factor; None for all of them together.
    scale : {"latent", "observed"}
        Whether of the linear predictor or of observations.
    between, total : float
        The variances whose ratio it is.
    method : str
        Where the variance of the law comes from, on the latent scale.
    notes : tuple of str
        What was used, in words.
    """

    estimate: float
    group: str | None
    scale: str
    between: float
    total: float
    method: str
    notes: tuple[str, ...]

    def __float__(self) -> float:
        return self.estimate

    def __repr__(self) -> str:
        of = "all random effects" if self.group is None else self.group
        return "\n".join(
            [f"ICC {self.estimate:.4f} ({of}, {self.scale} scale)", *self.notes]
        )


def generalized_r2(results: HasFitted, method: str | None = None) -> GeneralizedR2:
    """Marginal and conditional R squared of Nakagawa, Johnson and Schielzeth.

    Parameters
    ----------
    method : {"theoretical", "delta", "lognormal", "trigamma"}, optional
        How the variance of the law stands on the latent scale: the variance of the
        threshold distribution (logit, probit, cloglog, loglog); by the delta method; for
        logarithms by the lognormal or the trigamma form.  If None the theoretical one for
        single trials, the delta method for several trials and beta responses, trigamma for
        logarithms (lognormal for inverse Gaussian responses).

    Returns
    -------
    GeneralizedR2
        Prints what was used.

    Raises
    ------
    ValueError
        If the method is not there for this family and link.
    """
    fitted = results.fitted
    rows = fitted.need_rows()
    fixed = _fixed_variance(fitted, rows)
    parts, count = _variances(fitted), _counts(fitted)
    own = observation_terms(fitted)
    means = {i: float(np.average(v, weights=count)) for i, v in parts.items()}
    observation = float(sum(v for i, v in means.items() if i in own))
    random = float(sum(v for i, v in means.items() if i not in own))
    distribution, method, notes = latent_variance(fitted, method)
    total = fixed + random + observation + distribution
    return GeneralizedR2(
        fixed / total,
        (fixed + random) / total,
        fixed,
        random,
        observation,
        distribution,
        method,
        (*notes, *_said_of(fitted, own, observation)),
    )


def generalized_icc(
    results: HasFitted,
    group: str | None = None,
    scale: str = "latent",
    *,
    adjusted: bool = True,
    method: str | None = None,
) -> GeneralizedICC:
    """Intraclass correlation: the random effects' share of the variance.

    Parameters
    ----------
    group : str, optional
        A grouping factor, for its share; all but observation-level terms if None.
    scale : {"latent", "observed"}, optional
        Of the linear predictor, with the variance that the law has there; or of single
        observations (single trials where the response counts successes), averaged over
        the random effects and the rows.
    adjusted : bool, optional
        Whether the variance of the fixed effects is left out of the total.
    method : str, optional
        As for ``r2_nakagawa``; on the latent scale.

    Returns
    -------
    GeneralizedICC
        ``float()`` of it is the correlation.

    Raises
    ------
    ValueError
        If an argument is not known, or the link has no population average.
    """
    fitted = results.fitted
    check_choice(scale, "scale", ("latent", "observed"))
    chosen, own = _chosen(fitted, group), observation_terms(fitted)
    if scale == "observed":
        if method is not None:
            raise ValueError("method= is for scale='latent'")
        return _observed(fitted, group, chosen, adjusted)
    rows, count = fitted.need_rows(), _counts(fitted)
    parts = {i: float(np.average(v, weights=count)) for i, v in _variances(fitted).items()}
    between = float(sum(parts[i] for i in chosen))
    distribution, method, notes = latent_variance(fitted, method)
    total = float(sum(parts.values())) + distribution
    if not adjusted:
        total += _fixed_variance(fitted, rows)
    extra = float(sum(v for i, v in parts.items() if i in own))
    notes = (*notes, *_said_of(fitted, own, extra))
    return GeneralizedICC(between / total, group, scale, between, total, method, notes)


def observation_terms(fitted: Fitted) -> set[int]:
    """Numbers of the random intercepts with a level for each row."""
    out, rows = set(), fitted.need_rows()
    n = len(rows.exog)
    for i, term in enumerate(rows.terms):
        if isinstance(term, SparseTerm) or term.names != ["Intercept"]:
            continue
        if term.n_levels == n and len(np.unique(term.codes)) == n:
            out.add(i)
    return out


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def latent_variance(
    fitted: Fitted, method: str | None = None
) -> tuple[float, str, tuple[str, ...]]:
    """Variance of the law of the response on the latent scale, its method and notes."""
    family = fitted.generalized.family
    link, response = family.link.name, response_of(fitted)
    binary = family.has_trials or family.name == "beta"
    if method is None:
        method = _usual(family, response)
    check_choice(method, "method", METHODS)
    label = family.label
    if method == "theoretical":
        if not family.has_trials or link not in THEORETICAL:
            raise ValueError(f"method='theoretical' is not there for {label}; use 'delta'")
        value, text = THEORETICAL[link]
        return value, method, (f"Variance of {label} on the latent scale: {text}",)
    if method in ("lognormal", "trigamma") and (link != "log" or binary):
        raise ValueError(f"method={method!r} is for logarithms, not for {label}")
    mean, variance = _typical(fitted, response)
    if method == "delta":
        eta = family.link.eta(np.array([mean]))
        slope = float(family.link.terms(eta).first[0])
        value, text = variance / slope**2, "by the delta method"
    elif method == "lognormal":
        value, text = np.log1p(variance / mean**2), "log(1 + Var(y) / mean^2)"
    else:
        value = float(special.polygamma(1, mean**2 / variance))
        text = "trigamma(mean^2 / Var(y))"
    note = f"Variance of {label} on the latent scale: {value:.4g}, {text}"
    return float(value), method, (note, f"at the population-averaged mean {mean:.4g}")


def _usual(family, response):
    if family.has_trials:
        single = bool((response.trials == 1).all())
        return "theoretical" if single and family.link.name in THEORETICAL else "delta"
    if family.link.name == "log" and family.name in LOG_FAMILIES:
        return "lognormal" if family.name == "inverse gaussian" else "trigamma"
    return "delta"


def _typical(fitted, response):
    """Population-averaged mean over the rows, and the law's variance there."""
    family, kappa = fitted.generalized.family, fitted.generalized.kappa
    rows = fitted.need_rows()
    eta = rows.mean(fitted.fixed.estimate)
    v, count = random_variance(rows.terms, fitted.random.covariances, len(eta)), None
    if response.counts is not None:
        count = response.counts
    mean = float(np.average(marginal_mean(family.link, eta, v).mean, weights=count))
    trials = response.trials
    if trials is not None:
        variance = family.variance(np.full(len(trials), mean), kappa, trials)
        return mean, float(np.average(variance, weights=count))
    variance = family.variance(np.array([mean]), kappa)
    value = float(variance[0])
    if response.weights is not None and family.law.weights_divide:
        value *= float(np.average(1 / response.weights, weights=count))
    return mean, value


def _variances(fitted):
    """Variance of each random term in every row."""
    rows = fitted.need_rows()
    pairs = zip(rows.terms, fitted.random.covariances, strict=True)
    return {
        i: random_variance([t], [covariance], len(rows.exog))
        for i, (t, covariance) in enumerate(pairs)
    }


def _counts(fitted):
    """How often every row counts; None where each does once."""
    return response_of(fitted).counts


def _fixed_variance(fitted, rows):
    """Variance of the fixed part of the linear predictor over the rows."""
    value, count = rows.exog @ np.nan_to_num(fitted.fixed.estimate), _counts(fitted)
    if count is None:
        return float(np.var(value, ddof=1))
    centred = value - np.average(value, weights=count)
    return float(count @ centred**2 / (count.sum() - 1))


def _said_of(fitted, own, variance):
    """A note on observation-level terms."""
    if not own:
        return ()
    names = ", ".join(fitted.random.terms[i].group for i in sorted(own))
    return (f"Observation-level variance ({names}), counted as residual: {variance:.4g}",)


def _chosen(fitted, group):
    """Numbers of the terms whose share is wanted."""
    groups, terms = fitted.random.groups, fitted.random.terms
    if group is None:
        own = observation_terms(fitted)
        return [i for i in range(len(terms)) if i not in own]
    if group not in groups:
        raise ValueError(
            f"group={group!r} is not a grouping factor of the model; there are: "
            f"{', '.join(groups)}{did_you_mean(group, groups)}"
        )
    return [i for i, t in enumerate(terms) if t.group == group]


def _observed(fitted, group, chosen, adjusted):
    """Share of Var(E(y | effects of the group)) in Var(y), averaged over the rows."""
    family, kappa = fitted.generalized.family, fitted.generalized.kappa
    rows, parts = fitted.need_rows(), _variances(fitted)
    eta = rows.mean(fitted.fixed.estimate)
    whole = np.sum(list(parts.values()), axis=0) if parts else np.zeros(len(eta))
    own: Any = np.zeros(len(eta))
    for i in chosen:
        own = own + parts[i]
    response = response_of(fitted)
    weights = response.weights
    # rows of like covariates need but one average
    keys = np.column_stack([eta, own, whole])
    if weights is not None:
        keys = np.column_stack([keys, weights])
    distinct, back = np.unique(keys, axis=0, return_inverse=True)
    count = np.bincount(back.ravel(), response.counts, minlength=len(distinct))
    w = distinct[:, 3] if weights is not None else None
    moments = marginal_moments(family, distinct[:, 0], distinct[:, 2], kappa, None, w)
    between = moments.between
    if not np.allclose(distinct[:, 1], distinct[:, 2], rtol=1e-12, atol=0.0):
        between = _between(family.link, *distinct.T[:3])
    share = count / count.sum()
    total = float(share @ (moments.between + moments.within))
    note = "Of single trials" if family.has_trials else "Of observations"
    notes = [f"{note}, averaged over random effects and rows"]
    if not adjusted:
        mean = share @ moments.mean
        total += float(share @ (moments.mean - mean) ** 2)
    explained = float(share @ between)
    return GeneralizedICC(
        explained / total, group, "observed", explained, total, "", tuple(notes)
    )


def _between(link, eta, own, whole):
    """Var(E(y | u)) of rows, u the effects of some terms with variance ``own``."""
    tau = np.sqrt(own)
    rest = np.maximum(whole - own, 0.0)
    if link.name == "identity":
        return own
    if link.name == "log":
        with np.errstate(over="ignore"):
            return np.exp(2 * eta + whole) * np.expm1(own)
    step = link_step(link) if link.name not in ("probit", "sqrt") else 0.2
    z, weight = normal_nodes(float(tau.max(initial=0.0)), step)
    first, second = np.zeros(len(eta)), np.zeros(len(eta))
    for node, w in zip(z, weight, strict=True):
        mean = marginal_mean(link, eta + tau * node, rest).mean
        first += w * mean
        second += w * mean**2
    return np.maximum(second - first**2, 0.0)
