"""Errors of conditional modes, and of the coefficients of levels that rest on them.

With U = C Lam'Z'X and F = (X'V0^-1 X)^-1 (Henderson 1975)

    Var(modes - b) = sigma^2 Lam (C + U F U') Lam',
    Cov(coefficients, modes - b) = -sigma^2 F U'Lam'.

Given the coefficients only Lam C Lam' is left, which is lme4's ``condVar``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.engine.information.joint_errors import joint_errors, random_rows
from mixedext.fitted import Fitted, HasFitted, once_a_fit
from mixedext.inference.random_effects.modes import (
    coef,
    component_frame,
    component_of,
    effect_names,
    own_scale,
    terms_of,
)
from mixedext.specification.terms.related_terms import RelatedTerm

__all__ = ["by_level", "coef_cov", "ranef_cov", "reliability", "shares_known"]


@once_a_fit
def _couplings(fitted: Fitted) -> list[np.ndarray]:
    """Lam U of every term, (L, k, rank), coefficients such that X'V0^-1 X = I."""
    fit = fitted.fit
    if fit.held is not None:
        raise ValueError(
            "errors of random effects beside those of the coefficients are known for "
            "(restricted) maximum likelihood, not for fits with penalties or held "
            "parameters; use given_beta=True"
        )
    errors, design, blocks = joint_errors(fit), fit.design, fit.design.blocks
    whole = errors.whitened[1]
    rank = whole.shape[1]
    head = blocks.lead_gram.shape[0] * blocks.lead_gram.shape[1]
    lead = whole[:head].reshape(*blocks.lead_gram.shape[:2], rank)
    out = []
    for i, term in enumerate(design.terms):
        inner = fit.objective.by_term(i, lead, whole[head:])
        own = np.empty((term.n_levels, term.k, rank))
        for j in range(rank):
            own[..., j] = design.own_effects(i, inner[..., j]) / design.y_scale
        out.append(own_scale(term, own))
    return out


def ranef_cov(
    results: HasFitted, group: str | None = None, *, given_beta: bool = True
) -> pd.DataFrame:
    """Covariances of the errors of the random effects' modes.

    Parameters
    ----------
    group : str, optional
        Name of the factor or variance component; may be left out if there is one.
    given_beta : bool, optional
        Given theta, beta and sigma, as lme4's ``condVar`` (True); or given theta and
        sigma, with the uncertainty of the fixed effects (False).

    Returns
    -------
    DataFrame
        Rows by (level, effect), columns by effect; of a variance component the
        variances alone, rows as of ``ranef``.

    Raises
    ------
    ValueError
        If there is no such factor, or several and none is named.

    References
    ----------
    Henderson, C. R. (1975). Best linear unbiased estimation and prediction under a
    selection model. Biometrics 31, 423-447.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.pulp.load().data
    >>> result = mx.mixedlm("bright ~ 1 + (1 | operator)", data).fit()
    >>> given, whole = (result.ranef_cov(given_beta=b).iloc[0, 0] for b in (True, False))
    >>> round(float(given), 4), round(float(whole), 4)
    (0.0162, 0.0292)
    """
    fitted = results.fitted
    group, numbers = terms_of(fitted, group)
    component = component_of(fitted, numbers)
    blocks = _given_beta(fitted, numbers)
    coupling = None
    if not given_beta:
        coupling = np.concatenate([_couplings(fitted)[i] for i in numbers], axis=1)
    if component is not None:
        variances = np.diagonal(blocks, axis1=1, axis2=2)
        if coupling is not None:
            variances = variances + fitted.scale * (coupling**2).sum(axis=2)
        values = component.values(variances)
        prior = fitted.random.covariances[numbers[0]][0, 0]
        values[component.place < 0] = prior
        return component_frame(fitted, component, values, prior)
    if coupling is not None:
        blocks = blocks + fitted.scale * coupling @ coupling.transpose(0, 2, 1)
    return by_level(fitted, numbers, group, blocks, effect_names(fitted, numbers))


def _given_beta(fitted, numbers):
    """Covariances of the effects of each level given beta, (L, k, k)."""
    term = fitted.random.terms[numbers[0]]
    if not isinstance(term, RelatedTerm):
        return fitted.fit.joint_effect_covariance(numbers)
    if len(numbers) > 1:
        raise NotImplementedError(
            f"errors of the modes of {term.group!r} are not there: several terms have this "
            "factor, and levels that are related"
        )
    terms: list[Any] = []
    for number, other in enumerate(fitted.random.terms):
        none = np.full(term.n_levels, -1), np.zeros((term.n_levels, other.k)), None
        own = np.zeros(term.n_levels, np.intp), term.root, np.zeros(term.n_levels)
        terms.append(own if number == numbers[0] else none)
    errors, rows = joint_errors(fitted.fit), random_rows(fitted.fit, terms)
    return fitted.scale * errors.given_fixed(rows, term.n_levels)[:, None, None]


def by_level(fitted, numbers, group, blocks, names) -> pd.DataFrame:
    """Blocks (L, k, k) as a frame: rows by (level, effect), columns by effect."""
    levels = fitted.random.terms[numbers[0]].levels
    index = pd.MultiIndex.from_product([levels, names], names=[group, "effect"])
    return pd.DataFrame(blocks.reshape(-1, len(names)), index=index, columns=names)


def reliability(results: HasFitted, group: str | None = None) -> pd.DataFrame:
    """Reliability of the modes: the share of the variance that the data have explained.

    Parameters
    ----------
    group : str, optional
        Name of the factor or variance component; may be left out if there is one.

    Returns
    -------
    DataFrame
        1 - Var(mode - b) / Var(b), rows and columns as of ``ranef``: 1 where a level is
        known exactly, 0 where nothing is known of it.  NaN for a variance of zero, of
        which nothing can be reliable.

    Raises
    ------
    ValueError
        If there is no such factor, or several and none is named.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.reliability().iloc[0].round(3).to_dict()
    {'Intercept': 0.72, 'Days': 0.801}
    """
    fitted = results.fitted
    group, numbers = terms_of(fitted, group)
    found = ranef_cov(fitted, group, given_beta=False)
    return shares_known(fitted, numbers, group, found)


def shares_known(
    fitted: Fitted, numbers: list[int], group: Any, found: pd.DataFrame
) -> pd.DataFrame:
    """``reliability`` from the covariances of the errors of the modes of some terms."""
    prior = np.concatenate([np.diag(fitted.random.covariances[i]) for i in numbers])
    related = fitted.random.terms[numbers[0]]
    if isinstance(related, RelatedTerm):
        prior = related.diagonal[:, None] * prior
    with np.errstate(divide="ignore", invalid="ignore"):
        if component_of(fitted, numbers) is not None:
            return 1.0 - found / (prior[0] if prior[0] > 0 else np.nan)
        names = effect_names(fitted, numbers)
        blocks = found.to_numpy().reshape(-1, len(names), len(names))
        variances = np.diagonal(blocks, axis1=1, axis2=2)
        values = 1.0 - variances / np.where(prior > 0, prior, np.nan)
    index = pd.Index(fitted.random.terms[numbers[0]].levels, name=group)
    return pd.DataFrame(values, index=index, columns=names)


def coef_cov(results: HasFitted, group: str | None = None) -> pd.DataFrame:
    """Covariances of the errors of ``coef``: fixed plus random effects of every level.

    Parameters
    ----------
    group : str, optional
        Name of the factor; may be left out if there is one.

    Returns
    -------
    DataFrame
        Rows by (level, coefficient), columns by coefficient, in the order of ``coef``;
        NaN for coefficients that were dropped.

    Raises
    ------
    ValueError
        If there is no such factor, several and none is named, or it is a variance
        component.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> float(result.coef_cov().loc[("308", "Intercept"), "Intercept"].round(2))
    150.18
    """
    fitted = results.fitted
    group, numbers = terms_of(fitted, group)
    if component_of(fitted, numbers) is not None:
        raise ValueError(
            f"group={group!r} is a variance component, which has no coefficients by level; "
            "ranef_cov gives the variances of its effects"
        )
    names: list[Any] = list(coef(fitted, group).columns)
    effects = effect_names(fitted, numbers)
    fit, fixed = fitted.fit, fitted.fixed
    coupling = np.concatenate([_couplings(fitted)[i] for i in numbers], axis=1)
    on_fixed = np.zeros((len(names), fixed.rank))
    place = {name: number for number, name in enumerate(names)}
    for column, number in enumerate(fixed.kept):
        on_fixed[place[fixed.names[number]], column] = 1.0
    on_effects = np.zeros((len(names), len(effects)))
    for column, name in enumerate(effects):
        on_effects[place[name], column] = 1.0
    root = on_fixed @ fit.root
    # errors are root x - coupling x of one x ~ N(0, sigma^2 I), and Lam C Lam' besides
    both = root - on_effects @ coupling
    blocks = fitted.scale * both @ both.transpose(0, 2, 1)
    blocks += on_effects @ _given_beta(fitted, numbers) @ on_effects.T
    lost = [place[n] for n, gone in zip(fixed.names, fixed.dropped, strict=True) if gone]
    blocks[:, lost] = np.nan
    blocks[:, :, lost] = np.nan
    return by_level(fitted, numbers, group, blocks, names)
