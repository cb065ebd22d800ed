"""Tests of single terms by leaving them out, and backward elimination."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import check_choice, did_you_mean
from mixedext.engine.refits.simulation import generator_of
from mixedext.exceptions import NoExactLawError
from mixedext.fitted import DfChoice, Fitted, HasFitted, Model
from mixedext.inference.comparison.criteria import (
    aic,
    information_criterion,
    llf,
    n_params,
)
from mixedext.inference.fixed_effects.anova_tables import (
    F_COLUMNS,
    f_table,
    term_hypotheses,
)
from mixedext.inference.fixed_effects.covariance_choice import (
    choice_in_words,
    choose_settings,
    covariance_arguments,
    settled_choice,
)
from mixedext.inference.fixed_effects.df_methods import df_choice
from mixedext.inference.fixed_effects.hypotheses import (
    adjusted_hypothesis,
    likelihood_ratio_test,
)
from mixedext.inference.submodels.fixed_terms import FixedTerm, fixed_terms
from mixedext.inference.submodels.nesting import row_basis
from mixedext.inference.submodels.other_criteria import by_ml, quiet_fit, refitted
from mixedext.inference.submodels.smaller_models import (
    fixed_columns,
    formula_text,
    random_deletions,
    smaller_model,
)
from mixedext.inference.variances.parts import variance_parts
from mixedext.inference.variances.variance_tests import part_test
from mixedext.specification.covariance.bound_residual import refuse_residual
from mixedext.tables.noted_table import NotedTable

__all__ = ["Step", "deletion_hypotheses", "drop1", "droppable_terms", "ranova", "step"]

_NAIVE = (
    "p by chi-squared; a variance of zero lies on the boundary, so that it is too large "
    "(conservative)"
)


@dataclass(frozen=True, eq=False)
class Step:
    """What a backward elimination did.

    Attributes
    ----------
    random : NotedTable
        Likelihood-ratio tests of the random terms; ``eliminated`` is the step at which a
        term was left out, 0 if it was kept.
    fixed : NotedTable
        F tests of the fixed terms, likewise.
    formula : str
        The final model's formula.
    model : MixedLMResults
        Results of the final model.
    """

    random: NotedTable
    fixed: NotedTable
    formula: str
    model: Any

    def __repr__(self) -> str:
        return f"{self.random!r}\n\n{self.fixed!r}\n\nModel found:\n{self.formula}"


def drop1(
    results: HasFitted,
    test: str | None = "F",
    df_method: str | None = None,
    *,
    information: str | None = None,
) -> NotedTable:
    """Tests of each fixed term that no other term includes, by leaving it out.

    Parameters
    ----------
    test : {"F", "lrt", None}, optional
        "F": Wald F tests in this fit.  "lrt" (or "Chisq"): likelihood-ratio tests of
        fits by maximum likelihood.  None: the information criterion of those alone.
    df_method : str, optional
        Denominator degrees of freedom of the F tests, "z" for infinite ones; those of
        the fit if None.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.

    Returns
    -------
    NotedTable
        A DataFrame, a row a term.  For "F" the columns of ``anova``; else ``df``
        (parameters that the term has), ``aic``, and for "lrt" ``statistic`` and
        ``pvalue``, with the row ``<none>`` for the model itself first.

    Raises
    ------
    ValueError
        If ``test`` or ``df_method`` is not known, or the rows are needed and are not
        in memory.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.oats.load().data
    >>> model = mx.mixedlm("yield ~ nitro * Variety + (1 | Block/Variety)", data)
    >>> model.fit().drop1(test="lrt")["statistic"].round(4).to_dict()
    {'<none>': nan, 'nitro:Variety': 1.0461}
    """
    known = {"F": "F", "lrt": "lrt", "Chisq": "lrt", None: None}
    if not isinstance(test, str | None) or test not in known:
        check_choice(test, "test", ("F", "lrt", None))
    if known[test] == "F":
        return _drop1_f(results.fitted, df_choice(df_method, information))
    for name, given in (("df_method", df_method), ("information", information)):
        if given is not None:
            raise ValueError(f"test={test!r} has no use for {name}={given!r}; use test='F'")
    return _drop1_likelihood(results.fitted, test is not None)


def droppable_terms(model: Model) -> list[FixedTerm]:
    """The fixed terms that no other includes, without the intercept."""
    terms = fixed_terms(model)
    return [
        t for t in terms if not t.is_intercept and not any(o.includes(t) for o in terms)
    ]


def _drop1_f(fitted: Fitted, choice: DfChoice) -> NotedTable:
    hypothesis = deletion_hypotheses(fitted)
    hypotheses = [(t, hypothesis(t)) for t in droppable_terms(fitted.model)]
    return f_table(fitted, hypotheses, choice, "Single term deletions")


def deletion_hypotheses(fitted: Fitted) -> Callable[[FixedTerm], np.ndarray]:
    """From a term to the hypothesis, rows over the columns kept, that it is left out."""
    model, basis, terms = fitted.model, fitted.fit.design.basis, fixed_terms(fitted.model)
    if sum(not t.is_intercept for t in terms) == 1:
        return dict(term_hypotheses(fitted, 1)).__getitem__
    same_coding = any(t.is_intercept for t in terms) or not any(
        t.categorical for t in terms
    )
    if not fitted.fixed.dropped.any() and same_coding:

        def rows_of(term):
            others = [c for t in terms if t != term for c in t.columns]
            return adjusted_hypothesis(basis.r, others, list(term.columns))

        return rows_of
    rows = row_basis(fitted)

    def restriction_of(term):
        exog, _ = fixed_columns(model, [t for t in terms if t != term])
        return rows.restriction(np.asarray(exog, float))[0]

    return restriction_of


def _drop1_likelihood(fitted: Fitted, with_test: bool) -> NotedTable:
    terms, droppable = fixed_terms(fitted.model), droppable_terms(fitted.model)
    full = by_ml(fitted)
    rows: dict[str, tuple[float, ...]] = {"<none>": (np.nan, aic(full), np.nan, np.nan)}
    for term in droppable:
        smaller = smaller_model(fitted.model, [t for t in terms if t != term])
        fit = quiet_fit(smaller, False)
        df = n_params(full) - n_params(fit)
        test = likelihood_ratio_test(llf(full), llf(fit), df)
        rows[term.name] = df, aic(fit), test.statistic, test.pvalue
    columns = ["df", "aic", "statistic", "pvalue"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return NotedTable.of(
        table if with_test else table[columns[:2]],
        "Single term deletions, fits by maximum likelihood",
    )


def ranova(
    results: HasFitted,
    test: str = "lrt",
    n: int = 10_000,
    rng: Any = None,
    *,
    nsim: int | None = None,
) -> NotedTable:
    """Tests of the random terms, each left out by itself.

    Of a term with slopes each slope is left out with its variance and covariances; notes
    say what is left where nothing else of the term is, or an intercept in its place.
    Fits are by REML or ML, as these results are; the exact tests are by REML.

    Parameters
    ----------
    test : {"lrt", "exact", "inversion", "mixture", "bootstrap"}, optional
        "lrt": p by chi-squared, as lmerTest's.  "exact": by the simulated law of
        ``exact_rlrt`` where a single variance is left out, and no p-value for others.
        "inversion": the same by inversion.  "mixture": by the mixture of chi-squared
        laws of large samples, where its weights are known.  "bootstrap": responses are
        simulated from each smaller model, and both models fitted; for all terms.
    n : int, optional
        Number of simulations a term.
    rng : Generator or int, optional
        Source of random numbers, or a seed.
    nsim : int, optional
        ``n`` as RLRsim calls it.

    Returns
    -------
    NotedTable
        A DataFrame: ``n_params``, ``llf``, ``aic``, ``statistic``, ``df`` and
        ``pvalue``; the first row, ``<none>``, is the model itself.  With another test
        than "lrt" there are also ``pvalue_se`` (its Monte Carlo standard error) and
        ``test``, which names it.

    Raises
    ------
    ValueError
        If ``test`` is not known.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.ranova()["statistic"].round(3).to_dict()
    {'<none>': nan, 'Days in (Days | Subject)': 42.837}
    >>> data = mx.datasets.pastes.load().data
    >>> result = mx.mixedlm("strength ~ 1 + (1 | batch/cask)", data).fit()
    >>> result.ranova(test="exact", rng=1)["test"].to_dict()["(1 | batch)"]
    'RLRT, law of this variance alone'
    """
    fitted = results.fitted
    if test != "lrt":
        return _tests_of_variances(fitted, test, n if nsim is None else nsim, rng)
    rows = {"<none>": _random_row(fitted, None)}
    deletions = random_deletions(fitted.model)
    for deletion in deletions:
        fit = quiet_fit(smaller_model(fitted.model, random=deletion.terms), fitted.reml)
        rows[deletion.label] = _random_row(fit, fitted)
    return NotedTable.of(
        pd.DataFrame.from_dict(rows, orient="index", columns=_RANDOM),
        "Likelihood-ratio tests of the random terms",
        (_NAIVE, *(d.note for d in deletions if d.note)),
    )


def step(
    results: HasFitted,
    df_method: str | None = None,
    alpha_fixed: float = 0.05,
    alpha_random: float = 0.1,
    reduce_random: bool = True,
    reduce_fixed: bool = True,
    keep: str | Sequence[str] = (),
    verbose: bool = True,
    *,
    information: str | None = None,
) -> Step:
    """Backward elimination: random terms by likelihood ratio, then fixed by F tests.

    In each round the term with the largest p-value is left out, if that is above
    alpha.  A fixed term that another includes is not tested.  p-values after a
    selection are too small: they do not know of it.  Smaller models have the covariance
    of the fixed effects that the fit has, a cluster-robust one with the fit's clusters.

    Parameters
    ----------
    df_method : str, optional
        Denominator degrees of freedom of the F tests, by the fit's own method if None;
        "residual" is used if no random term is left, nor a residual covariance, unless
        it is "z".
    alpha_fixed, alpha_random : float, optional
        Levels.
    reduce_random, reduce_fixed : bool, optional
        Which part is made smaller.
    keep : sequence of str, optional
        Fixed terms that are not left out.
    verbose : bool, optional
        Whether each term left out is printed.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.

    Returns
    -------
    Step
        Tables, final formula and final model; prints as a report.

    Raises
    ------
    ValueError
        If a level is not between 0 and 1, a term to keep or the method is not known.

    References
    ----------
    Kuznetsova, Brockhoff and Christensen (2017), lmerTest package, Journal of
    Statistical Software 82(13).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.oats.load().data
    >>> model = mx.mixedlm("yield ~ nitro + Variety + (1 | Block/Variety)", data)
    >>> found = model.fit().step(df_method="residual")
    fixed term left out: Variety, p = 0.2337
    >>> found.formula
    'yield ~ nitro + (1 | Block) + (1 | Variety:Block)'
    """
    fitted = results.fitted
    choice = settled_choice(fitted, df_choice(df_method, information))
    for name, alpha in (("alpha_fixed", alpha_fixed), ("alpha_random", alpha_random)):
        if not 0 <= alpha <= 1:
            raise ValueError(f"{name}={alpha!r} must lie between 0 and 1")
    keep = [keep] if isinstance(keep, str) else list(keep)
    names = [t.name for t in fixed_terms(fitted.model)]
    unknown = sorted(set(keep) - set(names))
    if unknown:
        raise ValueError(
            f"keep: {', '.join(unknown)} is no term of the model; there are: "
            f"{', '.join(names)}{did_you_mean(unknown[0], names)}"
        )

    def tell(line):
        if verbose:
            print(line)

    fit, random = _reduce_random(fitted, alpha_random if reduce_random else 1.0, tell)
    level = alpha_fixed if reduce_fixed else 1.0
    covariance = covariance_arguments(fitted)
    if covariance:
        if choice.df_method is None:
            covariance["use_t"] = True  # by the covariance's own degrees of freedom
        if fit is not fitted:
            fit = fit.with_settings(choose_settings(fit, choice, **covariance))
    fit, fixed = _reduce_fixed(fit, choice, level, keep, tell, covariance)
    own = _choice_for(fit, choice)
    final = fit.model.fit(
        reml=fitted.reml,
        df_method=own.df_method,
        information=own.information,
        **covariance,
    )
    return Step(random, fixed, formula_text(fit.model), final)


_RANDOM = ["n_params", "llf", "aic", "statistic", "df", "pvalue"]


def _random_row(fit: Fitted, full: Fitted | None) -> tuple[float, ...]:
    """A row of a table of random terms; with a test against the full fit, if given."""
    row = n_params(fit), llf(fit), information_criterion(fit, 2)
    if full is None:
        return *row, np.nan, np.nan, np.nan
    df = n_params(full) - n_params(fit)
    test = likelihood_ratio_test(llf(full), llf(fit), df)
    # a statistic of zero has p = 1
    return *row, test.statistic, df, test.pvalue


def _tests_of_variances(fitted: Fitted, test: str, n: int, rng: Any) -> NotedTable:
    """The table of ``ranova`` with p-values by another law than chi-squared."""
    methods = {"exact": "simulation"}
    methods |= {name: name for name in ("inversion", "mixture", "bootstrap")}
    check_choice(test, "test", ["lrt", *methods])
    if test in ("exact", "inversion"):
        cure = "use test='mixture' or test='bootstrap'"
        refuse_residual(fitted.model, f"ranova(test={test!r})", cure)
    full, rng = refitted(fitted, True), generator_of(rng)
    notes: list[str] = []
    rows: dict[str, tuple[Any, ...]]
    rows = {"<none>": (*_random_row(full, None)[:5], np.nan, np.nan, "")}
    for part in variance_parts(fitted.model):
        fit = quiet_fit(smaller_model(fitted.model, random=part.left), True)
        row = _random_row(fit, full)[:5]
        try:
            found = part_test(full, part, fit, n, rng, methods[test])
        except NoExactLawError as error:
            rows[part.label] = (*row, np.nan, np.nan, "none")
            notes.append(str(error).replace("method=", "test="))  # as it is called here
            continue
        if test == "mixture":
            said = "chi-squared mixture"
        elif test == "bootstrap":
            said = "parametric bootstrap"
        else:
            said = "exact RLRT" if found.is_exact else "RLRT, law of this variance alone"
        # rounding of a difference of log-likelihoods is zero
        row = (*row[:3], found.statistic, row[4])
        rows[part.label] = (*row, found.pvalue, found.se, said)
        notes += [n for n in found.notes if n not in notes and test != "mixture"]
    notes += [d.note for d in random_deletions(fitted.model) if d.note]
    if not fitted.reml:
        notes.insert(0, "Fitted by ML, refitted by REML for these tests")
    return NotedTable.of(
        pd.DataFrame.from_dict(
            rows, orient="index", columns=[*_RANDOM, "pvalue_se", "test"]
        ),
        "Restricted likelihood-ratio tests of the random terms",
        notes,
    )


def _choice_for(fit: Fitted, choice: DfChoice) -> DfChoice:
    """The choice for a smaller fit: residual df are exact where errors are independent."""
    if fit.model.random_terms or fit.model.residual is not None:
        return choice
    if choice.df_method == "z" or fit.settings.estimator != "nonrobust":
        return choice
    return DfChoice("residual")


def _reduce_random(
    fit: Fitted, alpha: float, tell: Callable[[str], None]
) -> tuple[Fitted, NotedTable]:
    rows, count = {"<none>": (0, *_random_row(fit, None))}, 0
    while True:
        tests = []
        for deletion in random_deletions(fit.model):
            smaller = smaller_model(fit.model, random=deletion.terms)
            smaller = quiet_fit(smaller, fit.reml)
            tests.append((deletion.label, _random_row(smaller, fit), smaller))
        # of terms whose p-values differ by rounding the first
        worst = max(tests, key=lambda t: round(t[1][-1], 6), default=None)
        if worst is None or not worst[1][-1] > alpha:
            break
        count += 1
        label, row, fit = worst
        rows[label] = (count, *row)
        tell(f"random term left out: {label}, p = {row[-1]:.4g}")
    rows |= {label: (0, *row) for label, row, _ in tests}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["eliminated", *_RANDOM])
    heading = "Backward elimination of random terms"
    return fit, NotedTable.of(table, heading, (_NAIVE,))


def _reduce_fixed(
    fit: Fitted,
    choice: DfChoice,
    alpha: float,
    keep: Sequence[str],
    tell: Callable[[str], None],
    covariance: dict[str, Any],
) -> tuple[Fitted, NotedTable]:
    rows: dict[Any, tuple[Any, ...]] = {}
    count = 0
    while True:
        table = _drop1_f(fit, _choice_for(fit, choice))
        free = table["pvalue"].drop(index=[k for k in keep if k in table.index]).dropna()
        if not len(free) or not free.max() > alpha:
            break
        count += 1
        name = free.idxmax()
        rows[name] = (count, *table.loc[name])
        tell(f"fixed term left out: {name}, p = {free[name]:.4g}")
        kept = [t for t in fixed_terms(fit.model) if t.name != name]
        fit = quiet_fit(smaller_model(fit.model, kept), fit.reml, **covariance)
    rows |= {name: (0, *table.loc[name]) for name in table.index}
    columns = ["eliminated", *F_COLUMNS]
    said = choice_in_words(fit, _choice_for(fit, choice))
    return fit, NotedTable.of(
        pd.DataFrame.from_dict(rows, orient="index", columns=columns),
        f"Backward elimination of fixed terms, denominator df: {said}",
    )
