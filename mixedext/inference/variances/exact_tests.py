"""Exact likelihood-ratio tests that one variance is zero, of models that are given."""

from __future__ import annotations

from typing import Any

from mixedext.exceptions import DesignError, NoExactLawError
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.submodels.covariance_nesting import covariance_is_nested
from mixedext.inference.submodels.nesting import (
    check_same_data,
    fixed_is_nested,
    same_fixed_space,
)
from mixedext.inference.submodels.other_criteria import (
    as_mixed,
    own_fitted,
    refitted,
)
from mixedext.inference.variances.variance_test_result import VarianceTest
from mixedext.inference.variances.variance_tests import (
    BY_ML,
    BY_REML,
    LawArguments,
    against_none,
    all_effects,
    check_has_law,
    check_method,
    compare_part,
    count_of,
    n_theta_of,
)
from mixedext.specification.covariance.bound_residual import refuse_residual

__all__ = ["exact_lrt", "exact_rlrt"]


def exact_rlrt(
    m: HasFitted,
    mA: HasFitted | None = None,
    m0: Any = None,
    n: int = 10_000,
    rng: Any = None,
    method: str = "simulation",
    grid: Any = None,
    *,
    nsim: int | None = None,
) -> VarianceTest:
    """Exact restricted likelihood-ratio test that one variance is zero.

    With one variance in the model the law of the statistic is known exactly, for any
    number of observations.  The chi-squared law is wrong (too large p-values), and so is
    its mixture in equal parts, mostly: a variance of zero is estimated as zero more often
    than every second time.

    Parameters
    ----------
    m : MixedLMResults
        Results of the model whose only random effect is the one to be tested: a random
        intercept, one slope without correlations, or one common variance.
    mA, m0 : MixedLMResults, optional
        With other random effects, the results of the full model and of the model without
        the effect to be tested.  Both or none.
    n : int, optional
        Number of simulated null statistics.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    method : {"simulation", "inversion", "mixture", "bootstrap"}, optional
        "simulation": p from simulated statistics, (b + 1) / (n + 1).
        "inversion": by the beta law of the share that Z has of the sum of squares: exact
        if all eigenvalues of Z'P0Z that are not zero agree (balanced data); otherwise the
        mean of exact probabilities given ``n`` simulated directions, which has a small
        standard error even where p is tiny.
        "mixture": chi2(0) and chi2(1) in equal parts, for large samples; not exact.
        "bootstrap": ``n`` responses are simulated from the smaller model, and both
        models fitted to each; the others are not zero then, as they are in the law above.
        The last two also test several variances at once, where no exact law exists.
    grid : array_like, optional
        Ratios of variances from 0 on, between whose points the supremum is looked for.
    nsim : int, optional
        ``n`` as RLRsim calls it.

    Returns
    -------
    VarianceTest
        statistic, pvalue, se, by_inversion, mass_at_zero, draws, method, notes.

    Raises
    ------
    ValueError
        If ``m`` has more than one variance, or the models do not fit together.
    TypeError
        If something else than results of a mixed model is given.

    See Also
    --------
    MixedLMResults.exact_rlrt : Makes the three models itself.
    exact_lrt : Tests fixed effects too.

    Notes
    -----
    With ``mA`` and ``m0`` the other variances are not zero, and the law of the model with
    the tested effect alone is an approximation.

    References
    ----------
    Crainiceanu and Ruppert (2004), Likelihood ratio tests in linear mixed models with one
    variance component, Journal of the Royal Statistical Society B 66, 165-185.
    Greven, Crainiceanu, Kuechenhoff and Peters (2008), Restricted likelihood ratio
    testing for zero variance components in linear mixed models, Journal of Computational
    and Graphical Statistics 17, 870-891.
    Scheipl, Greven and Kuechenhoff (2008), Size and power of tests for a zero random
    effect variance or polynomial regression in additive and linear mixed models,
    Computational Statistics and Data Analysis 52, 3283-3299.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> mx.exact_rlrt(result, method="inversion")
    exact RLRT of (1 | Batch)
    statistic = 6.36896, p = 0.004398 (inversion)
    under the hypothesis the estimate is 0 with probability 0.5611
    """
    check_method(method)
    one = _linear(m)
    refuse_residual(one.model, "the exact law", "compare_lr_test has the chi-squared law")
    part = all_effects(one, "m")
    check_has_law(part, "m", method)
    if (mA is None) != (m0 is None):
        raise ValueError("mA and m0 belong together: give both, or m alone")
    arguments = LawArguments(count_of(n, nsim), rng, method, grid)
    if mA is None:
        return against_none(one, part, True, arguments)
    full, rest = own_fitted(mA, "mA"), as_mixed(m0, one)
    check_same_data([one, full, rest], ["m", "mA", "m0"])
    for name, other in (("mA", full), ("m0", rest)):
        if not same_fixed_space(one, other):
            raise ValueError(
                f"{name} and m have different fixed effects; exact_rlrt tests a variance, "
                "under the same fixed effects"
            )
    _check_three(one, full, rest)
    changed = [name for name, f in (("mA", full), ("m0", rest)) if not f.reml]
    notes = (f"{' and '.join(changed)} {BY_REML}",) if changed else ()
    return compare_part(
        refitted(full, True),
        part._replace(left=list(rest.random.terms)),
        refitted(rest, True),
        one.model,
        notes,
        arguments,
    )


def _check_three(m: Fitted, mA: Fitted, m0: Fitted) -> None:
    """Raise ValueError unless mA has the random effects of m0 and of m, no others."""
    counts = [n_theta_of(each) for each in (m, mA, m0)]
    one, full, rest = (each.model.random_terms for each in (m, mA, m0))
    weights = m.model.weights

    def within(few, many):
        return covariance_is_nested(few, many, weights)

    if counts[1] == counts[0] + counts[2] and within(one, full) and within(rest, full):
        if not rest or not within(one, rest):
            return
        why = "m0 has the random effect of m too"
    elif counts[2] == counts[0] + counts[1] and within(full, rest):
        why = "they are given the other way round, mA is the larger one"
    else:
        why = (
            f"their numbers of parameters of random effects are m: {counts[0]}, "
            f"mA: {counts[1]}, m0: {counts[2]}"
        )
    raise ValueError(
        "mA must be the model with the random effects of m0 and that of m, and m0 the "
        f"same without that of m; {why}"
    )


def exact_lrt(
    m: HasFitted,
    m0: Any = None,
    n: int = 10_000,
    rng: Any = None,
    method: str = "simulation",
    grid: Any = None,
    *,
    nsim: int | None = None,
) -> VarianceTest:
    """Exact likelihood-ratio test that one variance and some fixed effects are zero.

    Parameters
    ----------
    m : MixedLMResults
        Results of a model with one variance.
    m0 : MixedLMResults or RegressionResults, optional
        Results of the model without random effects (``OLS`` of statsmodels will do) and
        with the same fixed effects or fewer; the same if None.
    n, rng, grid, nsim
        As for ``exact_rlrt``.
    method : {"simulation", "inversion", "mixture", "bootstrap"}, optional
        As for ``exact_rlrt``.

    Returns
    -------
    VarianceTest
        ``mass_at_zero`` is the probability that the variance is estimated as zero.

    Raises
    ------
    DesignError
        If the fixed effects of ``m0`` are no special case of those of ``m``.
    ValueError
        If ``m`` has more than one variance, or ``m0`` has random effects.
    TypeError
        If something else than results of a mixed model is given.

    Notes
    -----
    The restricted test, ``exact_rlrt``, is the more powerful one if no fixed effects are
    tested.

    References
    ----------
    Crainiceanu and Ruppert (2004), Likelihood ratio tests in linear mixed models with one
    variance component, Journal of the Royal Statistical Society B 66, 165-185.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.pulp.load().data
    >>> result = mx.mixedlm("bright ~ 1 + (1 | operator)", data).fit(reml=False)
    >>> test = mx.exact_lrt(result, method="inversion")
    >>> round(test.statistic, 4), round(test.pvalue, 4)
    (2.5684, 0.0226)
    """
    check_method(method)
    one = _linear(m)
    refuse_residual(one.model, "the exact law", "compare_lr_test has the chi-squared law")
    part = all_effects(one, "m")
    check_has_law(part, "m", method)
    arguments = LawArguments(count_of(n, nsim), rng, method, grid)
    if m0 is None:
        return against_none(one, part, False, arguments)
    small = as_mixed(m0, one)
    if small.random.terms:
        raise ValueError(
            "m0 has random effects; the exact law is known for one variance and no "
            "other. Use exact_rlrt(m, mA, m0) for a variance alone, or "
            "mx.bootstrap_test(large, small)"
        )
    check_same_data([one, small], ["m", "m0"])
    if not fixed_is_nested(small, one):
        raise DesignError("the fixed effects of m0 are no special case of those of m")
    notes = (f"m {BY_ML}",) if one.reml else ()
    one, small = refitted(one, False), refitted(small, False)
    restricted = one.fixed.rank - small.fixed.rank
    if restricted:
        effects = f"{restricted} fixed effect{'s' if restricted > 1 else ''}"
        part = part._replace(label=f"{part.label} and {effects}")
    return compare_part(one, part, small, one.model, notes, arguments, restricted)


def _linear(m: Any) -> Fitted:
    """The record of results of a linear mixed model."""
    fitted = own_fitted(m, "m")
    if fitted.generalized is not None:
        raise NoExactLawError(
            "the exact law is that of linear models; of generalized ones ranova() tests a "
            "variance by the mixture of chi-squared laws, bootstrap_test(smaller) by "
            "simulation"
        )
    return fitted
