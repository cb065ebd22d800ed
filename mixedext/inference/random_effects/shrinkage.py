"""Coefficients of levels by their own rows beside those of the model.

What the model's mean leaves of the response, less the effects of the other random terms, is
regressed on the columns of the term within each level; the fixed effects of the same names
are added to these deviations as to the modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.engine.rows.group_regressions import least_squares_by_group
from mixedext.fitted import Fitted
from mixedext.inference.random_effects.modes import (
    component_of,
    distinct_names,
    effect_names,
    ranef,
    terms_of,
)
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = ["ShrunkLevels", "shrinkage_ellipse", "shrunk_levels"]

# Points of a closed curve.
_POINTS = 181


class ShrunkLevels(NamedTuple):
    """Coefficients of all levels of a grouping factor.

    Attributes
    ----------
    names : list of str
        Names of the random effects, (k,).
    levels : Index
        (L,).
    ols, blup : ndarray
        Least-squares estimates from the level's rows, NaN where these do not determine
        them, and fixed effects plus modes, (L, k).
    population : ndarray
        Fixed effects, 0 where none has the name, (k,).
    """

    names: list[str]
    levels: pd.Index
    ols: np.ndarray
    blup: np.ndarray
    population: np.ndarray


def shrunk_levels(fitted: Fitted, group: str | None = None) -> ShrunkLevels:
    """Coefficients of levels by themselves and in the model.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    group : str, optional
        Grouping factor; may be left out if there is one.

    Raises
    ------
    ValueError
        If there is no such factor, its effects have no columns of their own (variance
        components), or the rows are not in memory.
    """
    group, numbers = terms_of(fitted, group)
    if component_of(fitted, numbers) is not None:
        raise ValueError(
            f"group={group!r} is a variance component, whose levels have no regression"
        )
    rows = fitted.need_rows()
    terms = [rows.terms[i] for i in numbers]
    plain = [t for t in terms if isinstance(t, RandomTerm)]
    if len(plain) < len(terms):
        raise ValueError(
            f"group={group!r}: rows belong to several levels of it at a time, so that none "
            "has a regression of its own"
        )
    names = distinct_names(effect_names(fitted, numbers))
    codes = np.asarray(plain[0].codes)
    left = rows.endog - rows.mean(fitted.fixed.estimate)
    for i, (term, effect) in enumerate(zip(rows.terms, fitted.fit.effects, strict=True)):
        if i not in numbers:
            left = left - term.contribution(effect)
    z = np.column_stack([t.z for t in plain])
    inside = codes >= 0
    weights = None if rows.weights is None else rows.weights[inside]
    levels, own = np.unique(codes[inside], return_inverse=True)
    found = least_squares_by_group(z[inside], left[inside], own, len(levels), weights)
    deviations = np.full((plain[0].n_levels, len(names)), np.nan)
    deviations[levels] = found.coefficients
    fixed = dict(zip(fitted.fixed.names, fitted.fixed.estimate, strict=True))
    stated = effect_names(fitted, numbers)
    population = np.nan_to_num([fixed.get(name, 0.0) for name in stated])
    modes = ranef(fitted, group)
    blup = population + modes.to_numpy()
    return ShrunkLevels(names, modes.index, population + deviations, blup, population)


def shrinkage_ellipse(
    fitted: Fitted, group: str | None, names: Sequence[str], share: float
) -> np.ndarray:
    """The ellipse about the population that holds a share of the levels.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    group : str or None
        Grouping factor.
    names : sequence of str
        Two of its effects.
    share : float
        Share of the levels.

    Returns
    -------
    ndarray
        Points of the curve, (m, 2); a line where the covariance is singular.
    """
    _, numbers = terms_of(fitted, group)
    stated = effect_names(fitted, numbers)
    own = distinct_names(stated)
    whole = np.zeros((len(own), len(own)))
    at = 0
    for i in numbers:
        k = fitted.random.terms[i].k
        whole[at : at + k, at : at + k] = fitted.random.covariances[i]
        at += k
    fixed = dict(zip(fitted.fixed.names, fitted.fixed.estimate, strict=True))
    pick = [own.index(name) for name in names]
    values, vectors = np.linalg.eigh(whole[np.ix_(pick, pick)])
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    angle = np.linspace(0.0, 2 * np.pi, _POINTS)
    circle = np.sqrt(stats.chi2.ppf(share, 2)) * np.stack([np.cos(angle), np.sin(angle)])
    middle = np.nan_to_num([fixed.get(stated[j], 0.0) for j in pick])
    return middle + (root @ circle).T
