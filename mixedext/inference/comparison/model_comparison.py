"""Comparing a fitted model with a smaller one: likelihood-ratio and F tests."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from mixedext.exceptions import user_stacklevel
from mixedext.fitted import DfChoice, Fitted, HasFitted
from mixedext.inference.comparison.criteria import llf, n_params
from mixedext.inference.fixed_effects.covariance_choice import chosen_tests, settled_choice
from mixedext.inference.fixed_effects.df_methods import (
    FTest,
    default_information,
    df_choice,
)
from mixedext.inference.fixed_effects.hypotheses import likelihood_ratio_test
from mixedext.inference.submodels.nesting import (
    check_same_data,
    doubts,
    restriction,
    same_fixed_space,
)
from mixedext.inference.submodels.other_criteria import as_mixed, by_ml, by_reml

try:
    from statsmodels.regression.linear_model import CompareLRTestResult
except ImportError:  # statsmodels 0.14 gives a plain tuple

    class CompareLRTestResult(NamedTuple):  # type: ignore[no-redef]  # the older one
        """Likelihood-ratio test, as statsmodels 0.15 has it."""

        statistic: float
        pvalue: float
        df_diff: int


__all__ = [
    "ModelTest",
    "compare_kr_test",
    "compare_lr_test",
    "compare_satterthwaite_test",
    "shown_method",
]


class ModelTest(FTest):
    """An F test of a model against a smaller one.

    Attributes
    ----------
    statistic : float
        F, already times ``scaling``.
    df_num : int
        Number of restrictions.
    df_denom : float
        Denominator degrees of freedom.
    pvalue : float
        Of F with these degrees of freedom.
    scaling : float
        Factor on the Wald F; 1 but for Kenward-Roger.
    method : str
        "kenward-roger" or "satterthwaite".
    notes : tuple of str
        What the reader must know.
    """

    @classmethod
    def of(cls, test: FTest, method: str) -> ModelTest:
        """The same from a fit's own test, with the name of its method."""
        return cls(
            statistic=float(test.statistic),
            df_num=int(test.df_num),
            df_denom=float(test.df_denom),
            pvalue=float(test.pvalue),
            scaling=float(test.scaling),
            method=method,
        )

    def __repr__(self) -> str:
        scaling = f"{self.scaling:.6g}"
        scaled = f", scaling {scaling}" if scaling != "1" else ""
        return (
            f"<F test ({self.method}): F = {self.statistic:.6g}, df = {self.df_num} and "
            f"{self.df_denom:.6g}, p = {self.pvalue:.4g}{scaled}>"
        )


def compare_lr_test(
    results: HasFitted, restricted: Any, large_sample: bool = False
) -> CompareLRTestResult:
    """Likelihood-ratio test against a smaller model.

    Fits by REML are compared as they are if their fixed effects span the same space;
    else both models are fitted by maximum likelihood for the test.

    Parameters
    ----------
    restricted : MixedLMResults or RegressionResults
        Results of the smaller model; those of OLS or WLS are the model without
        random effects.
    large_sample : bool, optional
        Kept for statsmodels; has no effect: the test is by chi-squared anyway.

    Returns
    -------
    CompareLRTestResult
        statistic, pvalue, df_diff.

    Raises
    ------
    ValueError
        If the models are on different data, or this one has no more parameters.

    Warns
    -----
    NestingWarning
        If the smaller model is no special case of this one.
    BoundaryWarning
        If variances are tested: the p-value is then too large.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> full = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit(reml=False)
    >>> small = mx.mixedlm("Reaction ~ 1 + (1 | Subject)", data).fit(reml=False)
    >>> full.compare_lr_test(small).df_diff
    1
    """
    large, small = results.fitted, as_mixed(restricted, results)
    check_same_data([small, large])
    if not (small.reml and large.reml and same_fixed_space(small, large)):
        large, small = by_ml(large), by_ml(small)
    counts = n_params(small), n_params(large)
    if counts[0] >= counts[1]:
        raise ValueError(
            f"restricted has {counts[0]} parameters and this model "
            f"{counts[1]}; call compare_lr_test of the larger model"
        )
    for note, kind in doubts(small, large):
        if kind is not None:
            warnings.warn(note, kind, stacklevel=user_stacklevel())
    df = counts[1] - counts[0]
    test = likelihood_ratio_test(llf(large), llf(small), df)
    return CompareLRTestResult(test.statistic, test.pvalue, df)


def compare_kr_test(
    results: HasFitted,
    restricted: Any,
    refit: bool = False,
    *,
    information: str | None = None,
) -> ModelTest:
    """Kenward and Roger's F test against a model with fewer fixed effects.

    Parameters
    ----------
    restricted : MixedLMResults, MixedLM or array_like
        The smaller model or its results (its random part has no effect), or a matrix
        L of which L b = 0 is tested, a column for each fixed effect.
    refit : bool, optional
        Whether a model fitted by maximum likelihood is fitted again by REML first.
    information : {"expected", "observed"}, optional
        As for ``kenward_roger``.

    Returns
    -------
    ModelTest
        statistic, df_num, df_denom, pvalue, scaling.

    Raises
    ------
    DesignError
        If the smaller model's fixed effects are not in the span of this one's, or
        are all of it; a ValueError.
    ValueError
        If this fit is not by REML (and ``refit`` is False), the rows differ, or L has
        the wrong width.

    References
    ----------
    Kenward and Roger (1997), Small sample inference for fixed effects from
    restricted maximum likelihood, Biometrics 53.
    Halekoh and Hojsgaard (2014), A Kenward-Roger approximation and parametric
    bootstrap methods for tests in linear mixed models: the R package pbkrtest,
    Journal of Statistical Software 59(9).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> large = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> small = mx.mixedlm("Reaction ~ 1 + (Days | Subject)", data)
    >>> large.compare_kr_test(small)
    <F test (kenward-roger): F = 45.853, df = 1 and 17, p = 3.264e-06>
    """
    choice = df_choice("kenward-roger", information)
    return _model_test(by_reml(results, refit), restricted, choice)


def compare_satterthwaite_test(results: HasFitted, restricted: Any) -> ModelTest:
    """F test with Satterthwaite's degrees of freedom against a smaller model.

    Parameters
    ----------
    restricted : MixedLMResults, MixedLM or array_like
        As for ``compare_kr_test``; this fit may be by maximum likelihood.

    Returns
    -------
    ModelTest

    Raises
    ------
    DesignError, ValueError
        As for ``compare_kr_test``.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> large = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> large.compare_satterthwaite_test([[0, 1]])
    <F test (satterthwaite): F = 45.853, df = 1 and 17, p = 3.264e-06>
    """
    return _model_test(results.fitted, restricted, df_choice("satterthwaite"))


def _model_test(fitted: Fitted, restricted: Any, choice: DfChoice) -> ModelTest:
    rows, values = restriction(fitted, restricted)
    test = chosen_tests(fitted, choice).f_test(rows, values)
    return ModelTest.of(test, shown_method(fitted, choice))


def shown_method(fitted: Fitted, choice: DfChoice) -> str:
    """The name of a method, with the information where that is not the default."""
    settled = settled_choice(fitted, choice)
    name = settled.df_method or ""
    if settled.information in (None, default_information(fitted.fit)):
        return name
    return f"{name}, {settled.information} information"
