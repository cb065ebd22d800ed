"""Kenward and Roger's adjusted covariance and F test of a fitted model."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mixedext.fitted import DfChoice, HasFitted
from mixedext.inference.comparison.model_comparison import ModelTest, shown_method
from mixedext.inference.fixed_effects.covariance_choice import chosen_tests
from mixedext.inference.fixed_effects.df_methods import df_choice
from mixedext.inference.fixed_effects.wald import constraint
from mixedext.inference.submodels.other_criteria import by_reml

__all__ = ["cov_params_kr", "kenward_roger"]


def cov_params_kr(results: HasFitted) -> pd.DataFrame:
    """Kenward and Roger's adjusted covariance of the fixed effects; NaN where dropped.

    Raises
    ------
    ValueError
        If the fit is not by REML.
    """
    fixed = results.fitted.fixed
    found = chosen_tests(results.fitted, DfChoice("kenward-roger")).covariance
    covariance, names = fixed.full_square(found), list(fixed.names)
    return pd.DataFrame(covariance, index=names, columns=names)


def kenward_roger(
    results: HasFitted,
    r_matrix: Any,
    refit: bool = False,
    *,
    information: str | None = None,
) -> ModelTest:
    """Kenward and Roger's F test of linear combinations of the fixed effects.

    Parameters
    ----------
    r_matrix : array_like, str, list of str, dict or tuple
        As for ``t_test``; dependent rows are reduced to their rank.
    refit : bool, optional
        Whether a model fitted by maximum likelihood is fitted again by REML first.
    information : {"expected", "observed"}, optional
        Which information on the variances is inverted: pbkrtest's (expected) or that of
        SAS, JMP and mmrm; that of the fit if None, and expected if its method is another.

    Returns
    -------
    ModelTest
        statistic, df_num, df_denom, scaling, pvalue.

    Raises
    ------
    ValueError
        If this fit is not by REML (and ``refit`` is False), the width of the matrix is
        wrong, or a column that was dropped is used.

    References
    ----------
    Kenward and Roger (1997), Small sample inference for fixed effects from
    restricted maximum likelihood, Biometrics 53.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.irrigation.load().data
    >>> model = mx.mixedlm("yield ~ irrigation + variety + (1 | field)", data)
    >>> test = model.fit().kenward_roger([[0, 0, 0, 0, 1]])
    >>> round(test.statistic, 4), test.df_num, round(test.df_denom, 4)
    (1.5782, 1, 7.0)
    """
    choice = df_choice("kenward-roger", information)
    fitted = by_reml(results, refit)
    rows, values = constraint(fitted, r_matrix, variances=False)
    kept = rows[:, fitted.fixed.kept]
    test = chosen_tests(fitted, choice).f_test(kept, values)
    return ModelTest.of(test, shown_method(fitted, choice))
