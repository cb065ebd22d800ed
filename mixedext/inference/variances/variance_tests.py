"""Exact and large-sample likelihood-ratio tests of variance components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mixedext.arguments import check_choice, check_count
from mixedext.exceptions import NoExactLawError
from mixedext.fitted import Fitted, HasFitted, Model, has_rows
from mixedext.inference.bootstrap.bootstrap_tests import bootstrap_test
from mixedext.inference.submodels.other_criteria import quiet_fit, refitted
from mixedext.inference.submodels.smaller_models import smaller_model
from mixedext.inference.variances.component_spectrum import component_spectrum
from mixedext.inference.variances.null_law import NullLaw
from mixedext.inference.variances.parts import VariancePart, find_part
from mixedext.inference.variances.variance_test_result import (
    VarianceTest,
    exact_test,
    mixture_test,
)
from mixedext.limits import SAME_DEVIANCE
from mixedext.specification.covariance.bound_residual import refuse_residual
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = [
    "BY_ML",
    "BY_REML",
    "LawArguments",
    "against_none",
    "all_effects",
    "check_has_law",
    "check_method",
    "compare_part",
    "count_of",
    "exact_rlrt",
    "n_theta_of",
    "part_test",
]


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


class LawArguments(NamedTuple):
    """How the law under the hypothesis is found; as for ``mx.exact_rlrt``.

    Attributes
    ----------
    n : int
        Number of simulations.
    rng : Generator, int or None
        Source of random numbers, or a seed.
    method : {"simulation", "inversion", "mixture", "bootstrap"}
        How the p-value is found.
    grid : array_like or None
        Ratios of variances.
    """

    n: int = 10_000
    rng: Any = None
    method: str = "simulation"
    grid: Any = None


def count_of(n: int, nsim: int | None) -> int:
    """The number of simulations, by either of its names."""
    if nsim is None:
        return n
    check_count(nsim, "nsim")
    return nsim


def _rise(large: Fitted, deviance: float) -> float:
    """The statistic from the smaller model's deviance; zero where that is rounding."""
    own = large.fit.deviance
    value = deviance - own
    return value if value > SAME_DEVIANCE * abs(own) else 0.0


def _alone(fitted: Fitted) -> float:
    """Statistic against no random effects, of a model with one variance."""
    if not np.any(fitted.fit.theta):
        return 0.0
    null, _ = fitted.model.objective(np.zeros(1), reml=fitted.reml)
    return _rise(fitted, null)


def n_theta_of(fitted: Fitted) -> int:
    """Number of parameters of the random effects but for sigma."""
    return sum(t.structure.n_theta for t in fitted.random.terms)


def _n_variances(terms: Sequence[RandomTerm | SparseTerm]) -> int:
    return sum(1 if t.structure.n_theta == 1 else len(t.names) for t in terms)


def all_effects(fitted: Fitted, name: str) -> VariancePart:
    """All random effects of a model as what is tested."""
    terms = fitted.random.terms
    if not terms:
        raise ValueError(f"{name} has no random effects: there is nothing to test")
    label = " + ".join(t.label for t in terms)
    return VariancePart(label, [], terms[0], _n_variances(terms), n_theta_of(fitted))


def check_has_law(part: VariancePart, name: str, method: str) -> None:
    """Raise NoExactLawError where the method needs an exact law and there is none."""
    if part.has_law or method in _SIMULATED_OR_LARGE:
        return
    raise NoExactLawError(
        f"{name} has {part.n_parameters} parameters of random effects; the exact law is "
        f"that of one variance. Test one term by res.exact_rlrt(term), or give {name} with "
        f"that term alone together with mA and m0. All at once: {part.why_no_law()}"
    )


def check_method(method: str) -> None:
    """Raise ValueError unless the method is known."""
    check_choice(method, "method", ("simulation", "inversion", *_SIMULATED_OR_LARGE))


def _exact(
    statistic: float,
    model: Model,
    reml: bool,
    notes: Sequence[str],
    part: VariancePart,
    arguments: LawArguments,
    q: int = 0,
) -> VarianceTest:
    """The test by the law of a model with the tested variance alone."""
    law = NullLaw(component_spectrum(model._design, reml), reml, q)
    return exact_test(
        statistic,
        law,
        **arguments._asdict(),
        tested=part.label,
        notes=notes,
        is_exact=not part.left,
    )


def _by_mixture(
    statistic: float,
    part: VariancePart,
    small: Fitted | None,
    reml: bool,
    notes: Sequence[str],
    q: int = 0,
) -> VarianceTest:
    """The test by a mixture of chi-squared laws, if its weights are known."""
    if not part.has_mixture:
        counts = part.n_parameters, part.n_variances
        raise NoExactLawError(_NO_MIXTURE.format(part.label, *counts))
    if part.n_variances > 1:
        notes = (*notes, _INDEPENDENT)
    if small is not None and small.fit.is_singular:
        notes = (*notes, _SINGULAR)
    df = q + part.n_parameters - part.n_variances
    return mixture_test(statistic, df, part.n_variances, reml, part.label, notes)


def _by_bootstrap(
    statistic: float,
    part: VariancePart,
    large: Fitted,
    small: Fitted,
    notes: Sequence[str],
    arguments: LawArguments,
) -> VarianceTest:
    """The test by responses that are simulated from the smaller model."""
    check_count(arguments.n, "n")
    found = bootstrap_test(
        large, small, int(arguments.n), arguments.rng, reml=bool(large.reml)
    )
    notes = (*notes, _SIMULATED.format(found.n))
    if found.n_failed:
        notes = (*notes, f"{found.n_failed} fits failed; they count as larger")
    p, se = (found.pvalue, found.se) if statistic > 0 else (1.0, 0.0)
    return VarianceTest(
        statistic=statistic,
        pvalue=p,
        se=se,
        n=found.n,
        draws=found.draws,
        mass_at_zero=(
            float(found.singular.mean()) if part.has_law and not part.left else np.nan
        ),
        method="bootstrap",
        kind="RLRT" if large.reml else "LRT",
        tested=part.label,
        notes=tuple(notes),
    )


def against_none(
    fitted: Fitted, part: VariancePart, reml: bool, arguments: LawArguments
) -> VarianceTest:
    """The test of all random effects."""
    notes = () if fitted.reml == reml else (BY_REML if reml else f"m {BY_ML}",)
    fitted, method = refitted(fitted, reml), arguments.method
    if part.has_law and method != "bootstrap":
        statistic = _alone(fitted)  # needs no rows
        if method == "mixture":
            return _by_mixture(statistic, part, None, reml, notes)
        return _exact(statistic, fitted.model, reml, notes, part, arguments)
    small = quiet_fit(smaller_model(fitted.model, random=[]), reml)
    return compare_part(fitted, part, small, fitted.model, notes, arguments)


def exact_rlrt(
    results: HasFitted,
    term: str | None = None,
    n: int = 10_000,
    rng: Any = None,
    method: str = "simulation",
    grid: Any = None,
    *,
    nsim: int | None = None,
) -> VarianceTest:
    """Exact restricted likelihood-ratio test that one variance is zero.

    Parameters
    ----------
    term : str, optional
        What is tested: a term as in the formula, a label of ``ranova``, or the name
        of its grouping factor, variable or column if no other part has it.  May be left
        out if there is one.
    n, rng, grid
        As for ``mx.exact_rlrt``.
    method : {"simulation", "inversion", "mixture", "bootstrap"}, optional
        As for ``mx.exact_rlrt``.  For a slope that is correlated with other effects,
        and for several variances at once, there is no exact law: "bootstrap" simulates
        the model without them, "mixture" gives the chi-bar-square mixture of large
        samples.
    nsim : int, optional
        ``n`` as RLRsim calls it.

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
    fitted = results.fitted
    model = fitted.model
    refuse_residual(model, "the exact law", "ranova has the chi-squared law")
    n = count_of(n, nsim)
    if n_theta_of(fitted) == 1:
        if term is not None and has_rows(model):
            find_part(model, term)
        arguments = LawArguments(n, rng, method, grid)
        return against_none(fitted, all_effects(fitted, "m"), True, arguments)
    part = find_part(model, term)
    large = refitted(fitted, True)
    small = quiet_fit(smaller_model(model, random=part.left), True)
    return part_test(large, part, small, n, rng, method, grid, fitted.reml)


def part_test(
    large: HasFitted,
    part: VariancePart,
    small: HasFitted,
    n: int,
    rng: Any,
    method: str,
    grid: Any = None,
    was_reml: bool = True,
) -> VarianceTest:
    """The restricted test of one part of a model.

    Parameters
    ----------
    large, small : HasFitted
        Fits by REML with and without the part.
    part : VariancePart
        The part.
    n, rng, method, grid
        As for ``exact_rlrt``.
    was_reml : bool, optional
        Whether the model had been fitted by REML.
    """
    notes = () if was_reml else (BY_REML,)
    whole, alone = large.fitted, None
    if part.has_law and method not in _SIMULATED_OR_LARGE:
        alone = smaller_model(whole.model, random=[part.alone])
    arguments = LawArguments(n, rng, method, grid)
    return compare_part(whole, part, small.fitted, alone, notes, arguments)


def compare_part(
    large: Fitted,
    part: VariancePart,
    small: Fitted,
    alone: Model | None,
    notes: Sequence[str],
    arguments: LawArguments,
    q: int = 0,
) -> VarianceTest:
    """A test of fits with and without a part; ``alone`` is the model of it alone."""
    statistic, method = _rise(large, small.fit.deviance), arguments.method
    if method == "mixture":
        return _by_mixture(statistic, part, small, bool(large.reml), notes, q)
    if method == "bootstrap":
        return _by_bootstrap(statistic, part, large, small, notes, arguments)
    if not part.has_law or alone is None:
        raise NoExactLawError(part.why_no_law())
    notes = (*notes, _OTHERS) if part.left else notes
    return _exact(statistic, alone, bool(large.reml), notes, part, arguments, q)
