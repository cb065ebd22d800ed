"""Exact and large-sample likelihood-ratio tests of variance components."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from mixedext.exceptions import DesignError, NoExactLawError
from mixedext.inference.component_spectrum import component_spectrum
from mixedext.inference.covariance_nesting import covariance_is_nested
from mixedext.inference.exact_lrt import NullLaw, VarianceTest, exact_test, mixture_test
from mixedext.results_parts.model_comparison import (
    ModelComparison,
    as_mixed,
    check_same_data,
    fixed_is_nested,
    quiet_fit,
    refitted,
    same_fixed_space,
    unwrapped,
)
from mixedext.results_parts.smaller_models import random_deletions, smaller_model
from mixedext.specification.terms import RandomTerm

__all__ = [
    "VariancePart",
    "VarianceTests",
    "exact_lrt",
    "exact_rlrt",
    "part_test",
    "variance_parts",
]

# A difference of two deviances below this share of them is rounding.
ROUNDING = 1e-11

_BY_REML = "fitted by ML, refitted by REML for this test"
_BY_ML = "fitted by REML, refitted by ML for this test"
_OTHERS = (
    "the law is that of the model with this term alone (Greven et al. 2008): with other "
    "variances an approximation"
)
_NO_LAW = (
    "no exact law exists for {}: {}. {}mx.bootstrap_test(large, small) simulates the models"
)
_MIXTURE = "By method='mixture' the p-value is that of large samples; "
_NO_MIXTURE = (
    "{}: {} parameters, {} variances among them, have no mixture with known weights; "
    "mx.bootstrap_test(large, small) simulates the models"
)
_CORRELATED = "{} parameters are tested, a variance with its covariances"
_SEVERAL = "{} variances are tested at once"


class VariancePart(NamedTuple):
    """What a smaller model leaves out.

    Attributes
    ----------
    label : str
        Name of it, as in ``ranova``.
    left : list of RandomTerm
        The random terms that are left.
    alone : RandomTerm or SparseTerm
        What is left out, as a term of its own.
    n_variances, n_parameters : int
        Variances, and all parameters, that are left out.
    """

    label: str
    left: list
    alone: object
    n_variances: int
    n_parameters: int

    @property
    def has_law(self) -> bool:
        """Whether there is one variance and nothing else: it has an exact law."""
        return self.n_parameters == self.n_variances == 1

    @property
    def has_mixture(self) -> bool:
        """Whether the law in large samples is a mixture with known weights."""
        covariances = self.n_parameters - self.n_variances
        return covariances == 0 or (covariances > 0 and self.n_variances == 1)

    def why_no_law(self) -> str:
        """What stands in the way of an exact law."""
        if self.n_parameters > self.n_variances:
            why = _CORRELATED.format(self.n_parameters)
        else:
            why = _SEVERAL.format(self.n_variances)
        return _NO_LAW.format(self.label, why, _MIXTURE if self.has_mixture else "")


def variance_parts(model) -> list[VariancePart]:
    """All parts of the random effects that can be left out by themselves."""
    return [
        _tested(model, deletion.label, deletion.terms)
        for deletion in random_deletions(model)
    ]


def _tested(model, label, left):
    (term,) = [t for t in model.random_terms if not any(t is o for o in left)]
    rest = [t for t in left if not any(t is o for o in model.random_terms)]
    n_theta = sum(s.structure.n_theta for s in rest)
    alone, names = term, [name for t in rest for name in t.names]
    if rest:
        own = [j for j, name in enumerate(term.names) if name not in names]
        alone = _columns_of(term, own)
    scalar = alone.structure.n_theta == 1
    variances = 1 if scalar else len(alone.names)
    return VariancePart(label, left, alone, variances, term.structure.n_theta - n_theta)


def _columns_of(term, own):
    names = [term.names[j] for j in own]
    z = None if names == ["Intercept"] else term.z[:, own]
    kind = "unstructured" if len(own) == 1 else term.structure.name
    return RandomTerm(term.codes, z, term.group, names, kind, term.levels)


def find_part(model, term) -> VariancePart:
    """The part of that name, or the only one if ``term`` is None.

    Raises
    ------
    ValueError
        If there is no such part, or more than one.
    """
    parts = variance_parts(model)
    labels = ", ".join(repr(p.label) for p in parts)
    if not parts:
        raise ValueError("the model has no random effects to test")
    if term is None:
        if len(parts) > 1:
            raise ValueError(f"term must say which of {labels} is tested")
        return parts[0]
    if not isinstance(term, str):
        raise TypeError(f"term must be a string, one of {labels}")

    def plain(text):
        # an interaction's factors in any order
        text = re.sub(r"\s", "", text)
        return re.sub(
            r"\w+(:\w+)+", lambda found: ":".join(sorted(found[0].split(":"))), text
        )

    name, names = plain(term), []
    for part in parts:
        alone = part.alone
        own = [part.label, alone.label, part.label.rpartition(" in ")[2], alone.group]
        own += [n for n in alone.names if n != "Intercept"]
        names.append([plain(n) for n in own])
    # labels before names of factors and columns
    for place in range(5):
        found = [p for p, own in zip(parts, names, strict=True) if name in own[place:][:1]]
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            break
    said = "is not one part of the random effects"
    raise ValueError(f"term={term!r} {said}; use one of {labels}")


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


def _own_results(value, name):
    value = unwrapped(value)
    if not isinstance(value, ModelComparison):
        raise TypeError(
            f"{name} must be the results of a mixed model of mixedext, not "
            f"{type(value).__name__}"
        )
    return value


def _terms(results):
    """The random terms, which stay when the data are removed."""
    return results.engine_fit.design.terms


def _n_theta(results):
    return sum(t.structure.n_theta for t in _terms(results))


def _check_one_variance(results, name):
    terms = _terms(results)
    count, variances = _n_theta(results), sum(len(t.names) for t in terms)
    if count == 0:
        raise ValueError(f"{name} has no random effects: there is nothing to test")
    if count == 1:
        return
    correlated = any(t.structure.correlated and t.structure.n_theta > 1 for t in terms)
    why = "a variance with its covariances" if correlated else f"{variances} variances"
    raise ValueError(
        f"{name} has {count} parameters of random effects, {why}; the exact law is that "
        f"of one variance. Test one term by res.exact_rlrt(term), or give {name} with "
        "that term alone together with mA and m0. Several at once, or correlated ones, "
        "have no exact law: use res.exact_rlrt(term, method='mixture') or "
        "mx.bootstrap_test(large, small)"
    )


def _test(statistic, model, reml, method, options, tested, notes, q=0):
    if method == "mixture":
        return mixture_test(statistic, q, 1, reml, tested, notes)
    _check_method(method)
    law = NullLaw(component_spectrum(model._design, reml), reml, q)
    return exact_test(
        statistic,
        law,
        method=method,
        tested=tested,
        notes=notes,
        is_exact=_OTHERS not in notes,
        **options,
    )


def _check_method(method):
    if method == "bootstrap":
        raise ValueError(
            "method='bootstrap' is no method of the exact test; "
            "mx.bootstrap_test(large, small) simulates and refits the models"
        )
    if method not in ("simulation", "inversion", "mixture"):
        raise ValueError(
            f"method={method!r} is not known; use 'simulation', 'inversion' or 'mixture'"
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
    method : {"simulation", "inversion", "mixture"}, optional
        "simulation": p from simulated statistics, (b + 1) / (nsim + 1).
        "inversion": by the beta law of the share that Z has of the sum of squares: exact
        if all eigenvalues of Z'P0Z that are not zero agree (balanced data); otherwise the
        mean of exact probabilities given ``nsim`` simulated directions, which has a small
        standard error even where p is tiny.
        "mixture": chi2(0) and chi2(1) in equal parts, for large samples; not exact.
    grid : array_like, optional
        Ratios of variances from 0 on, between whose points the supremum is looked for.

    Returns
    -------
    VarianceTest
        statistic, pvalue, pvalue_se, mass_at_zero, null_sample, method, notes.

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
    m = _own_results(m, "m")
    _check_one_variance(m, "m")
    options = {"nsim": nsim, "rng": rng, "grid": grid}
    tested = _terms(m)[0].label
    if (mA is None) != (m0 is None):
        raise ValueError("mA and m0 belong together: give both, or m alone")
    if mA is None:
        notes = () if m.reml else (_BY_REML,)
        statistic = _alone(refitted(m, True))
        return _test(statistic, m.model, True, method, options, tested, notes)
    mA, m0 = _own_results(mA, "mA"), as_mixed(m0, m)
    check_same_data([m, mA, m0])
    for name, other in (("mA", mA), ("m0", m0)):
        if not same_fixed_space(m, other):
            raise ValueError(
                f"{name} and m have different fixed effects; exact_rlrt tests a variance, "
                "under the same fixed effects"
            )
    terms = [each.model.random_terms for each in (m, m0, mA)]
    weights = m.model.weights
    if _n_theta(mA) != _n_theta(m0) + 1 or not all(
        covariance_is_nested(few, terms[2], weights) for few in terms[:2]
    ):
        raise ValueError(
            "mA must be the model with the random effects of m0 and that of m, and m0 the "
            "same without that of m"
        )
    changed = [n for n, f in (("mA", mA), ("m0", m0)) if not f.reml]
    notes = (f"{' and '.join(changed)} {_BY_REML}",) if changed else ()
    notes = (*notes, _OTHERS) if terms[1] else notes
    statistic = _statistic(refitted(mA, True), refitted(m0, True))
    return _test(statistic, m.model, True, method, options, tested, notes)


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
    method : {"simulation", "inversion", "mixture"}, optional
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
    m = _own_results(m, "m")
    _check_one_variance(m, "m")
    notes = (f"m {_BY_ML}",) if m.reml else ()
    m = refitted(m, False)
    restricted = 0
    if m0 is None:
        statistic = _alone(m)
    else:
        m0 = as_mixed(m0, m)
        if m0.model.random_terms:
            raise ValueError(
                "m0 has random effects; the exact law is known for one variance and no "
                "other. Use exact_rlrt(m, mA, m0) for a variance alone, or "
                "mx.bootstrap_test(large, small)"
            )
        check_same_data([m, m0])
        if not fixed_is_nested(m0, m):
            raise DesignError("the fixed effects of m0 are no special case of those of m")
        ranks = [f.engine_fit.design.basis.rank for f in (m, m0)]
        restricted = ranks[0] - ranks[1]
        statistic = _statistic(m, refitted(m0, False))
    tested = _terms(m)[0].label
    if restricted:
        tested += f" and {restricted} fixed effect{'s' if restricted > 1 else ''}"
    options = {"nsim": nsim, "rng": rng, "grid": grid}
    return _test(statistic, m.model, False, method, options, tested, notes, restricted)


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
            of its grouping factor or column if no other part has it.  May be left out if
            there is one.
        nsim, rng, grid
            As for ``mx.exact_rlrt``.
        method : {"simulation", "inversion", "mixture"}, optional
            As for ``mx.exact_rlrt``.  For a slope that is correlated with other effects,
            and for several variances at once, there is no exact law: "mixture" gives the
            chi-bar-square mixture of large samples.

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
        if _n_theta(self) == 1:
            (only,) = _terms(self)
            if term is not None and model.has_rows:
                find_part(model, term)
            options = {"nsim": nsim, "rng": rng, "grid": grid}
            notes = () if self.reml else (_BY_REML,)
            statistic = _alone(refitted(self, True))
            return _test(statistic, model, True, method, options, only.label, notes)
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
    statistic = _statistic(large, small)
    if method == "mixture":
        covariances = part.n_parameters - part.n_variances
        if not part.has_mixture:
            counts = part.n_parameters, part.n_variances
            raise NoExactLawError(_NO_MIXTURE.format(part.label, *counts))
        return mixture_test(
            statistic, covariances, part.n_variances, True, part.label, notes
        )
    if not part.has_law:
        raise NoExactLawError(part.why_no_law())
    alone = smaller_model(large.model, random=[part.alone])
    notes = (*notes, _OTHERS) if part.left else notes
    options = {"nsim": nsim, "rng": rng, "grid": grid}
    return _test(statistic, alone, True, method, options, part.label, notes)
