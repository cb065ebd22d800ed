"""Exact and large-sample likelihood-ratio tests of variance components."""

from __future__ import annotations

import numpy as np

from mixedext.arguments import check_count
from mixedext.exceptions import DesignError, NoExactLawError
from mixedext.inference.bootstrap.bootstrap_tests import bootstrap_test
from mixedext.inference.submodels.covariance_nesting import covariance_is_nested
from mixedext.inference.submodels.nesting import (
    check_same_data,
    fixed_is_nested,
    same_fixed_space,
)
from mixedext.inference.submodels.other_criteria import (
    as_mixed,
    own_results,
    quiet_fit,
    refitted,
)
from mixedext.inference.submodels.smaller_models import smaller_model
from mixedext.inference.variances.component_spectrum import component_spectrum
from mixedext.inference.variances.null_law import NullLaw
from mixedext.inference.variances.parts import VariancePart, find_part
from mixedext.inference.variances.statistics import VarianceTest, exact_test, mixture_test

__all__ = ["VarianceTests", "exact_lrt", "exact_rlrt", "part_test"]

# A difference of two deviances below this share of them is rounding.
ROUNDING = 1e-11

_BY_REML = "fitted by ML, refitted by REML for this test"
_BY_ML = "fitted by REML, refitted by ML for this test"
_OTHERS = (
    "the law is that of the model with this term alone (Greven et al. 2008): with other "
    "variances an approximation"
)
_NO_MIXTURE = (
    "{}: {} parameters, {} variances among them, have no mixture with known weights; use "
    "method='bootstrap', which simulates the smaller model and fits both"
)
_SINGULAR = (
    "the smaller model has a variance or covariance on the boundary: the mixture's weights "
    "are those of a model whose other variances are above zero"
)
_INDEPENDENT = "binomial weights: for variances that are estimated independently"
_SIMULATED = "{} responses simulated from the smaller model, and both models fitted"
# Methods that need no exact law.
_SIMULATED_OR_LARGE = ("mixture", "bootstrap")


def _statistic(large, small):
    value = small.deviance - large.deviance
    return value if value > ROUNDING * abs(large.deviance) else 0.0


def _alone(results):
    """Statistic against no random effects, of a model with one variance."""
    if not np.any(results.theta):
        return 0.0
    null, _ = results.model.objective(np.zeros(1), reml=results.reml)
    value = null - results.deviance
    return value if value > ROUNDING * abs(results.deviance) else 0.0


def _terms(results):
    """The random terms, which stay when the data are removed."""
    return results.engine_fit.design.terms


def _n_theta(results):
    return sum(t.structure.n_theta for t in _terms(results))


def _n_variances(terms):
    return sum(1 if t.structure.n_theta == 1 else len(t.names) for t in terms)


def _all_effects(results, name):
    """All random effects of a model as what is tested."""
    terms = _terms(results)
    if not terms:
        raise ValueError(f"{name} has no random effects: there is nothing to test")
    label = " + ".join(t.label for t in terms)
    return VariancePart(label, [], terms[0], _n_variances(terms), _n_theta(results))


def _check_has_law(part, name, method):
    if part.has_law or method in _SIMULATED_OR_LARGE:
        return
    raise NoExactLawError(
        f"{name} has {part.n_parameters} parameters of random effects; the exact law is "
        f"that of one variance. Test one term by res.exact_rlrt(term), or give {name} with "
        f"that term alone together with mA and m0. All at once: {part.why_no_law()}"
    )


def _check_method(method):
    if method not in ("simulation", "inversion", *_SIMULATED_OR_LARGE):
        raise ValueError(
            f"method={method!r} is not known; use 'simulation', 'inversion', 'mixture' or "
            "'bootstrap'"
        )


def _exact(statistic, model, reml, notes, part, options, q=0):
    """The test by the law of a model with the tested variance alone."""
    law = NullLaw(component_spectrum(model._design, reml), reml, q)
    return exact_test(
        statistic, law, tested=part.label, notes=notes, is_exact=not part.left, **options
    )


def _by_mixture(statistic, part, small, reml, notes, q=0):
    """The test by a mixture of chi-squared laws, if its weights are known."""
    if not part.has_mixture:
        counts = part.n_parameters, part.n_variances
        raise NoExactLawError(_NO_MIXTURE.format(part.label, *counts))
    if part.n_variances > 1:
        notes = (*notes, _INDEPENDENT)
    if small is not None and small.is_singular:
        notes = (*notes, _SINGULAR)
    df = q + part.n_parameters - part.n_variances
    return mixture_test(statistic, df, part.n_variances, reml, part.label, notes)


def _by_bootstrap(statistic, part, large, small, notes, options):
    """The test by responses that are simulated from the smaller model."""
    nsim = options["nsim"]
    check_count(nsim, "nsim")
    found = bootstrap_test(large, small, int(nsim), options["rng"], reml=bool(large.reml))
    notes = (*notes, _SIMULATED.format(found.n))
    if found.n_failed:
        notes = (*notes, f"{found.n_failed} fits failed; they count as larger")
    p, se = (found.pvalue, found.se) if statistic > 0 else (1.0, 0.0)
    return VarianceTest(
        statistic,
        p,
        se,
        found.n,
        found.draws,
        float(found.singular.mean()) if part.has_law and not part.left else np.nan,
        "bootstrap",
        "RLRT" if large.reml else "LRT",
        part.label,
        notes,
    )


def exact_rlrt(
    m, mA=None, m0=None, nsim=10_000, rng=None, method="simulation", grid=None
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
    nsim : int, optional
        Number of simulated null statistics.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    method : {"simulation", "inversion", "mixture", "bootstrap"}, optional
        "simulation": p from simulated statistics, (b + 1) / (nsim + 1).
        "inversion": by the beta law of the share that Z has of the sum of squares: exact
        if all eigenvalues of Z'P0Z that are not zero agree (balanced data); otherwise the
        mean of exact probabilities given ``nsim`` simulated directions, which has a small
        standard error even where p is tiny.
        "mixture": chi2(0) and chi2(1) in equal parts, for large samples; not exact.
        "bootstrap": ``nsim`` responses are simulated from the smaller model, and both
        models fitted to each; the others are not zero then, as they are in the law above.
        The last two also test several variances at once, where no exact law exists.
    grid : array_like, optional
        Ratios of variances from 0 on, between whose points the supremum is looked for.

    Returns
    -------
    VarianceTest
        statistic, pvalue, pvalue_se, by_inversion, mass_at_zero, null_sample, method,
        notes.

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
    _check_method(method)
    m = own_results(m, "m")
    part = _all_effects(m, "m")
    _check_has_law(part, "m", method)
    if (mA is None) != (m0 is None):
        raise ValueError("mA and m0 belong together: give both, or m alone")
    options = {"nsim": nsim, "rng": rng, "method": method, "grid": grid}
    if mA is None:
        return _against_none(m, part, True, options)
    mA, m0 = own_results(mA, "mA"), as_mixed(m0, m)
    check_same_data([m, mA, m0], ["m", "mA", "m0"])
    for name, other in (("mA", mA), ("m0", m0)):
        if not same_fixed_space(m, other):
            raise ValueError(
                f"{name} and m have different fixed effects; exact_rlrt tests a variance, "
                "under the same fixed effects"
            )
    _check_three(m, mA, m0)
    changed = [n for n, f in (("mA", mA), ("m0", m0)) if not f.reml]
    notes = (f"{' and '.join(changed)} {_BY_REML}",) if changed else ()
    return _part_test(
        refitted(mA, True),
        part._replace(left=_terms(m0)),
        refitted(m0, True),
        m.model,
        notes,
        options,
    )


def _check_three(m, mA, m0):
    """Raise ValueError unless mA has the random effects of m0 and of m, no others."""
    counts = [_n_theta(each) for each in (m, mA, m0)]
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


def _against_none(m, part, reml, options):
    """The test of all random effects."""
    notes = () if m.reml == reml else (_BY_REML if reml else f"m {_BY_ML}",)
    m, method = refitted(m, reml), options["method"]
    if part.has_law and method != "bootstrap":
        statistic = _alone(m)  # needs no rows
        if method == "mixture":
            return _by_mixture(statistic, part, None, reml, notes)
        return _exact(statistic, m.model, reml, notes, part, options)
    small = quiet_fit(smaller_model(m.model, random=[]), reml)
    return _part_test(m, part, small, m.model, notes, options)


def exact_lrt(
    m, m0=None, nsim=10_000, rng=None, method="simulation", grid=None
) -> VarianceTest:
    """Exact likelihood-ratio test that one variance and some fixed effects are zero.

    Parameters
    ----------
    m : MixedLMResults
        Results of a model with one variance.
    m0 : MixedLMResults or RegressionResults, optional
        Results of the model without random effects (``OLS`` of statsmodels will do) and
        with the same fixed effects or fewer; the same if None.
    nsim, rng, grid
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
    _check_method(method)
    m = own_results(m, "m")
    part = _all_effects(m, "m")
    _check_has_law(part, "m", method)
    options = {"nsim": nsim, "rng": rng, "method": method, "grid": grid}
    if m0 is None:
        return _against_none(m, part, False, options)
    m0 = as_mixed(m0, m)
    if m0.model.random_terms:
        raise ValueError(
            "m0 has random effects; the exact law is known for one variance and no "
            "other. Use exact_rlrt(m, mA, m0) for a variance alone, or "
            "mx.bootstrap_test(large, small)"
        )
    check_same_data([m, m0], ["m", "m0"])
    if not fixed_is_nested(m0, m):
        raise DesignError("the fixed effects of m0 are no special case of those of m")
    notes = (f"m {_BY_ML}",) if m.reml else ()
    m, m0 = refitted(m, False), refitted(m0, False)
    ranks = [f.engine_fit.design.basis.rank for f in (m, m0)]
    restricted = ranks[0] - ranks[1]
    if restricted:
        effects = f"{restricted} fixed effect{'s' if restricted > 1 else ''}"
        part = part._replace(label=f"{part.label} and {effects}")
    return _part_test(m, part, m0, m.model, notes, options, restricted)


class VarianceTests:
    """The part of the results that tests variances."""

    def exact_rlrt(
        self, term=None, nsim=10_000, rng=None, method="simulation", grid=None
    ) -> VarianceTest:
        """Exact restricted likelihood-ratio test that one variance is zero.

        Parameters
        ----------
        term : str, optional
            What is tested: a term as in the formula, a label of ``ranova``, or the name
            of its grouping factor, variable or column if no other part has it.  May be left
            out if there is one.
        nsim, rng, grid
            As for ``mx.exact_rlrt``.
        method : {"simulation", "inversion", "mixture", "bootstrap"}, optional
            As for ``mx.exact_rlrt``.  For a slope that is correlated with other effects,
            and for several variances at once, there is no exact law: "bootstrap" simulates
            the model without them, "mixture" gives the chi-bar-square mixture of large
            samples.

        Returns
        -------
        VarianceTest

        Raises
        ------
        ValueError
            If the term is not known, or has no exact law: the message says what to use.

        See Also
        --------
        mixedext.exact_rlrt : The same for fitted models.

        References
        ----------
        Greven, Crainiceanu, Kuechenhoff and Peters (2008), Restricted likelihood ratio
        testing for zero variance components in linear mixed models, Journal of
        Computational and Graphical Statistics 17, 870-891.

        Examples
        --------
        >>> import mixedext as mx
        >>> data = mx.datasets.pastes.load().data
        >>> result = mx.mixedlm("strength ~ 1 + (1 | batch/cask)", data).fit()
        >>> test = result.exact_rlrt("batch", method="inversion")
        >>> round(test.statistic, 4), round(test.pvalue, 4)
        (0.6577, 0.1786)
        """
        _check_method(method)
        model = self.model
        options = {"nsim": nsim, "rng": rng, "method": method, "grid": grid}
        if _n_theta(self) == 1:
            if term is not None and model.has_rows:
                find_part(model, term)
            return _against_none(self, _all_effects(self, "m"), True, options)
        part = find_part(model, term)
        large = refitted(self, True)
        small = quiet_fit(smaller_model(model, random=part.left), True)
        return part_test(large, part, small, nsim, rng, method, grid, self.reml)


def part_test(
    large, part, small, nsim, rng, method, grid=None, was_reml=True
) -> VarianceTest:
    """The restricted test of one part of a model.

    Parameters
    ----------
    large, small : MixedLMResults
        Fits by REML with and without the part.
    part : VariancePart
        The part.
    nsim, rng, method, grid
        As for ``exact_rlrt``.
    was_reml : bool, optional
        Whether the model had been fitted by REML.
    """
    notes = () if was_reml else (_BY_REML,)
    options = {"nsim": nsim, "rng": rng, "method": method, "grid": grid}
    alone = None
    if part.has_law and method not in _SIMULATED_OR_LARGE:
        alone = smaller_model(large.model, random=[part.alone])
    return _part_test(large, part, small, alone, notes, options)


def _part_test(large, part, small, alone, notes, options, q=0):
    """A test of fits with and without a part; ``alone`` is the model of it alone."""
    statistic, method = _statistic(large, small), options["method"]
    if method == "mixture":
        return _by_mixture(statistic, part, small, bool(large.reml), notes, q)
    if method == "bootstrap":
        return _by_bootstrap(statistic, part, large, small, notes, options)
    if not part.has_law:
        raise NoExactLawError(part.why_no_law())
    notes = (*notes, _OTHERS) if part.left else notes
    return _exact(statistic, alone, bool(large.reml), notes, part, options, q)
