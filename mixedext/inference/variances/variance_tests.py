"""Exact and large-sample likelihood-ratio tests of variance components."""

from __future__ import annotations

import numpy as np

from mixedext.arguments import check_count
from mixedext.exceptions import NoExactLawError
from mixedext.fitted import has_rows
from mixedext.inference.bootstrap.bootstrap_tests import bootstrap_test
from mixedext.inference.submodels.other_criteria import (
    quiet_fit,
    refitted,
)
from mixedext.inference.submodels.smaller_models import smaller_model
from mixedext.inference.variances.component_spectrum import component_spectrum
from mixedext.inference.variances.null_law import NullLaw
from mixedext.inference.variances.parts import VariancePart, find_part
from mixedext.inference.variances.statistics import VarianceTest, exact_test, mixture_test

__all__ = [
    "BY_ML",
    "BY_REML",
    "against_none",
    "all_effects",
    "check_has_law",
    "check_method",
    "compare_part",
    "exact_rlrt",
    "n_theta_of",
    "part_test",
]

# A difference of two deviances below this share of them is rounding.
ROUNDING = 1e-11

BY_REML = "fitted by ML, refitted by REML for this test"
BY_ML = "fitted by REML, refitted by ML for this test"
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
    value = small.fitted.fit.deviance - large.fitted.fit.deviance
    return value if value > ROUNDING * abs(large.fitted.fit.deviance) else 0.0


def _alone(results):
    """Statistic against no random effects, of a model with one variance."""
    if not np.any(results.fitted.fit.theta):
        return 0.0
    null, _ = results.model.objective(np.zeros(1), reml=results.fitted.reml)
    value = null - results.fitted.fit.deviance
    return value if value > ROUNDING * abs(results.fitted.fit.deviance) else 0.0


def _terms(results):
    """The random terms, which stay when the data are removed."""
    return results.fitted.fit.design.terms


def n_theta_of(results):
    return sum(t.structure.n_theta for t in _terms(results))


def _n_variances(terms):
    return sum(1 if t.structure.n_theta == 1 else len(t.names) for t in terms)


def all_effects(results, name):
    """All random effects of a model as what is tested."""
    terms = _terms(results)
    if not terms:
        raise ValueError(f"{name} has no random effects: there is nothing to test")
    label = " + ".join(t.label for t in terms)
    return VariancePart(label, [], terms[0], _n_variances(terms), n_theta_of(results))


def check_has_law(part, name, method):
    if part.has_law or method in _SIMULATED_OR_LARGE:
        return
    raise NoExactLawError(
        f"{name} has {part.n_parameters} parameters of random effects; the exact law is "
        f"that of one variance. Test one term by res.exact_rlrt(term), or give {name} with "
        f"that term alone together with mA and m0. All at once: {part.why_no_law()}"
    )


def check_method(method):
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
    if small is not None and small.fitted.fit.is_singular:
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


def against_none(m, part, reml, options):
    """The test of all random effects."""
    notes = () if m.reml == reml else (BY_REML if reml else f"m {BY_ML}",)
    m, method = refitted(m, reml), options["method"]
    if part.has_law and method != "bootstrap":
        statistic = _alone(m)  # needs no rows
        if method == "mixture":
            return _by_mixture(statistic, part, None, reml, notes)
        return _exact(statistic, m.model, reml, notes, part, options)
    small = quiet_fit(smaller_model(m.model, random=[]), reml)
    return compare_part(m, part, small, m.model, notes, options)


def exact_rlrt(
    results, term=None, nsim=10_000, rng=None, method="simulation", grid=None
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
    check_method(method)
    model = results.model
    options = {"nsim": nsim, "rng": rng, "method": method, "grid": grid}
    if n_theta_of(results) == 1:
        if term is not None and has_rows(model):
            find_part(model, term)
        return against_none(results, all_effects(results, "m"), True, options)
    part = find_part(model, term)
    large = refitted(results, True)
    small = quiet_fit(smaller_model(model, random=part.left), True)
    return part_test(large, part, small, nsim, rng, method, grid, results.reml)


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
    notes = () if was_reml else (BY_REML,)
    options = {"nsim": nsim, "rng": rng, "method": method, "grid": grid}
    alone = None
    if part.has_law and method not in _SIMULATED_OR_LARGE:
        alone = smaller_model(large.model, random=[part.alone])
    return compare_part(large, part, small, alone, notes, options)


def compare_part(large, part, small, alone, notes, options, q=0):
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
