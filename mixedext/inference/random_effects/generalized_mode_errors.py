"""Errors of the conditional modes of a generalized model.

Given the parameters the covariance of the effects is Lam M^-1 Lam' at the mode, lme4's
``condVar``; with the uncertainty of theta, beta and kappa, as glmmTMB has it,

    Lam M^-1 Lam' + (d b / d psi) V (d b / d psi)',    V the covariance of psi.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.fitted import HasFitted
from mixedext.inference.random_effects import mode_errors
from mixedext.inference.random_effects.mode_errors import by_level, shares_known
from mixedext.inference.random_effects.modes import (
    component_frame,
    component_of,
    effect_names,
    terms_of,
)
from mixedext.specification.terms.related_terms import RelatedTerm

__all__ = ["any_ranef_cov", "random_effects_cov", "ranef_cov", "reliability"]


def ranef_cov(
    results: HasFitted, group: str | None = None, *, given_parameters: bool = True
) -> pd.DataFrame:
    """Covariances of the errors of the random effects' modes.

    Parameters
    ----------
    group : str, optional
        Name of the factor or variance component; may be left out if there is one.
    given_parameters : bool, optional
        Given all parameters, as lme4's ``condVar`` (True); or with their uncertainty, as
        glmmTMB (False).

    Returns
    -------
    DataFrame
        Rows by (level, effect), columns by effect; of a variance component the variances
        alone, rows as of ``ranef``.

    Raises
    ------
    ValueError
        If there is no such factor, or several and none is named.

    Examples
    --------
    >>> import numpy as np
    >>> import mixedext as mx
    >>> group, y = np.repeat(np.arange(10), 6), np.tile([0, 1, 2, 0, 3, 5], 10)
    >>> model = mx.MixedGLM(
    ...     y + group % 4, np.ones((60, 1)), groups=group, family="poisson"
    ... )
    >>> result = model.fit()
    >>> given, whole = (
    ...     result.ranef_cov(given_parameters=g).iloc[0, 0] for g in (True, False)
    ... )
    >>> bool(given < whole)
    True
    """
    fitted = results.fitted
    group, numbers = terms_of(fitted, group)
    component = component_of(fitted, numbers)
    blocks = _blocks(fitted, numbers, not given_parameters)
    if component is not None:
        values = component.values(np.diagonal(blocks, axis1=1, axis2=2))
        prior = fitted.random.covariances[numbers[0]][0, 0]
        values[component.place < 0] = prior
        return component_frame(fitted, component, values, prior)
    return by_level(fitted, numbers, group, blocks, effect_names(fitted, numbers))


def any_ranef_cov(results: HasFitted, group: str | None, given: bool) -> pd.DataFrame:
    """``ranef_cov`` of a linear or a generalized model; ``given`` the parameters or not."""
    if results.fitted.generalized is not None:
        return ranef_cov(results, group, given_parameters=given)
    return mode_errors.ranef_cov(results, group, given_beta=given)


def _blocks(fitted, numbers, joint):
    if any(isinstance(fitted.random.terms[i], RelatedTerm) for i in numbers):
        raise NotImplementedError(
            f"errors of the modes of {fitted.random.terms[numbers[0]].group!r} are not "
            "there: its levels are related by a matrix"
        )
    return fitted.generalized.joint_effect_covariance(numbers, joint)


def random_effects_cov(results: HasFitted) -> dict[Any, pd.DataFrame]:
    """Conditional covariances of the random effects given the parameters.

    Returns
    -------
    dict
        A DataFrame a level if there is one grouping factor without variance components,
        else one a factor, as ``ranef_cov``.
    """
    fitted = results.fitted
    groups = fitted.random.groups
    if len(groups) != 1 or fitted.model.components:
        return {group: ranef_cov(fitted, group) for group in groups}
    _, numbers = terms_of(fitted, None)
    labels = [
        t.group if name == "Intercept" else name
        for t in fitted.random.terms
        for name in t.names
    ]
    blocks = _blocks(fitted, numbers, False)
    return {
        level: pd.DataFrame(block, index=labels, columns=labels)
        for level, block in zip(fitted.random.terms[0].levels, blocks, strict=True)
    }


def reliability(results: HasFitted, group: str | None = None) -> pd.DataFrame:
    """Reliability of the modes: the share of the variance that the data have explained.

    Parameters
    ----------
    group : str, optional
        Name of the factor; may be left out if there is one.

    Returns
    -------
    DataFrame
        1 - Var(mode - b) / Var(b), with the uncertainty of the parameters; rows and columns
        as of ``ranef``.  NaN for a variance of zero.

    Raises
    ------
    ValueError
        If there is no such factor, or several and none is named.
    """
    fitted = results.fitted
    group, numbers = terms_of(fitted, group)
    found = ranef_cov(fitted, group, given_parameters=False)
    return shares_known(fitted, numbers, group, found)
