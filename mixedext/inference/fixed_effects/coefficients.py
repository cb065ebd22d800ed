"""Coefficients of the fixed effects with their errors, degrees of freedom and tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from mixedext.arguments import confidence
from mixedext.fitted import Fitted, HasFitted, once
from mixedext.inference.fixed_effects.covariance_choice import chosen_tests
from mixedext.inference.fixed_effects.df_methods import df_choice
from mixedext.inference.fixed_effects.parameter_covariance import bse, packed_params

__all__ = [
    "FixedEffectsInference",
    "alpha_of",
    "df_held",
    "fixed_effects_inference",
    "own_inference",
    "pvalues",
    "tvalues",
]


class FixedEffectsInference(NamedTuple):
    """Estimates of the fixed effects and their tests; NaN where a column was dropped.

    Attributes
    ----------
    estimate, se : ndarray
        Estimates and standard errors.
    df : ndarray
        Degrees of freedom; infinite for the normal law.
    statistic, pvalue : ndarray
        t or z, and two-sided p-values.
    """

    estimate: np.ndarray
    se: np.ndarray
    df: np.ndarray
    statistic: np.ndarray
    pvalue: np.ndarray

    def conf_int(self, alpha: float = 0.05, *, level: float | None = None) -> np.ndarray:
        """Lower and upper limits, (k_fe, 2), by ``alpha`` or the confidence ``level``."""
        alpha = alpha_of(alpha, level)
        margin = stats.t.ppf(1 - alpha / 2, self.df) * self.se
        return np.column_stack([self.estimate - margin, self.estimate + margin])


def alpha_of(alpha: float, level: float | None) -> float:
    """One minus the confidence level."""
    own = confidence(alpha, level)
    return alpha if level is None else 1 - own


def fixed_effects_inference(
    results: HasFitted, df_method: str | None = None, *, information: str | None = None
) -> FixedEffectsInference:
    """Estimates, standard errors, degrees of freedom and tests of the fixed effects.

    Parameters
    ----------
    df_method : str, optional
        Method for the degrees of freedom (and, for Kenward-Roger, the covariance), "z"
        for the normal law; the results' own choice if None.
    information : {"expected", "observed"}, optional
        Which information on the variances Kenward and Roger's method inverts: pbkrtest's
        (expected) or that of SAS, JMP and mmrm; that of the results if None.

    Returns
    -------
    FixedEffectsInference
        Named tuple of arrays: estimate, se, df, statistic, pvalue.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.fixed_effects_inference("residual").df.tolist()
    [178.0, 178.0]
    """
    fitted = results.fitted
    tests, fixed = chosen_tests(fitted, df_choice(df_method, information)), fitted.fixed
    se = fixed.full(np.sqrt(np.diag(tests.covariance)))
    df = fixed.full(tests.df(np.eye(fixed.rank)))
    estimate = fixed.estimate
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = estimate / se
    pvalue = 2 * stats.t.sf(np.abs(statistic), df)
    return FixedEffectsInference(estimate, se, df, statistic, pvalue)


def df_held(
    results: HasFitted, df_method: str | None = None, *, information: str | None = None
) -> tuple[str, ...]:
    """What Satterthwaite's method holds at the boundary: variances at zero, ranks.

    So does Kenward and Roger's by the observed information.

    Parameters
    ----------
    df_method : str, optional
        The results' own method if None; empty for methods that hold nothing.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.
    """
    return chosen_tests(results.fitted, df_choice(df_method, information)).held


@once
def own_inference(fitted: Fitted) -> FixedEffectsInference:
    """``fixed_effects_inference`` as the fit has chosen, computed once."""
    return fixed_effects_inference(fitted)


def tvalues(results: HasFitted) -> np.ndarray:
    """Estimates over standard errors; z for the variance parameters."""
    fitted = results.fitted
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = packed_params(fitted) / bse(fitted)
    own = own_inference(fitted)
    return np.concatenate([own.statistic, ratios[len(own.statistic) :]])


def pvalues(results: HasFitted) -> np.ndarray:
    """Two-sided p-values of ``tvalues``; by the normal law for variance parameters."""
    own = own_inference(results.fitted)
    variances = 2 * stats.norm.sf(np.abs(tvalues(results)[len(own.pvalue) :]))
    return np.concatenate([own.pvalue, variances])
