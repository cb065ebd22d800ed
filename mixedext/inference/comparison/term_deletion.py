"""Tests of single terms by leaving them out, and backward elimination."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mixedext.engine.refits.simulation import generator_of
from mixedext.exceptions import NoExactLawError
from mixedext.fitted import need_rows
from mixedext.inference.comparison.criteria import information_criterion
from mixedext.inference.fixed_effects.anova_tables import (
    F_COLUMNS,
    f_row,
    held_notes,
    term_hypotheses,
    term_tests,
)
from mixedext.inference.fixed_effects.df_methods import df_method_name
from mixedext.inference.fixed_effects.hypotheses import (
    adjusted_hypothesis,
    likelihood_ratio_test,
)
from mixedext.inference.submodels.fixed_terms import fixed_terms
from mixedext.inference.submodels.other_criteria import by_ml, quiet_fit, refitted
from mixedext.inference.submodels.row_basis import RowBasis
from mixedext.inference.submodels.smaller_models import (
    fixed_columns,
    formula_text,
    random_deletions,
    smaller_model,
)
from mixedext.inference.variances.parts import variance_parts
from mixedext.inference.variances.variance_tests import part_test
from mixedext.tables.noted_table import NotedTable

__all__ = ["Step", "drop1", "ranova", "step"]

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
    model: object

    def __repr__(self):
        return f"{self.random!r}\n\n{self.fixed!r}\n\nModel found:\n{self.formula}"


def drop1(results, test="F", df_method=None):
    """Tests of each fixed term that no other term includes, by leaving it out.

    Parameters
    ----------
    test : {"F", "lrt", None}, optional
        "F": Wald F tests in this fit.  "lrt" (or "Chisq"): likelihood-ratio tests of
        fits by maximum likelihood.  None: the information criterion of those alone.
    df_method : str or None, optional
        Denominator degrees of freedom of the F tests; those of the fit if None.

    Returns
    -------
    NotedTable
        A DataFrame, a row a term.  For "F" the columns of ``anova``; else ``Df``
        (parameters that the term has), ``AIC``, and for "lrt" ``LRT`` and
        ``Pr(>Chisq)``, with the row ``<none>`` for the model itself first.

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
    >>> model.fit().drop1(test="lrt")["LRT"].round(4).to_dict()
    {'<none>': nan, 'nitro:Variety': 1.0461}
    """
    known = {"F": "F", "lrt": "lrt", "Chisq": "lrt", None: None}
    if test not in known:
        raise ValueError(f"test={test!r} is not known; use 'F', 'lrt' or None")
    if known[test] == "F":
        return _drop1_f(results, df_method)
    return _drop1_likelihood(results, test is not None)


def _droppable(results):
    terms = fixed_terms(results.model)
    return terms, [
        t for t in terms if not t.is_intercept and not any(o.includes(t) for o in terms)
    ]


def _drop1_f(results, df_method):
    terms, droppable = _droppable(results)
    tests, said = term_tests(results, df_method)
    hypothesis = _deletions(results, terms)
    rows = {t.name: f_row(tests, hypothesis(t), results.scale) for t in droppable}
    return NotedTable.of(
        pd.DataFrame.from_dict(rows, orient="index", columns=F_COLUMNS),
        f"Single term deletions, denominator df: {said}",
        held_notes(results, df_method),
    )


def _deletions(results, terms):
    """From a term to the hypothesis that the model without it holds."""
    model, basis = results.model, results.fitted.fit.design.basis
    if sum(not t.is_intercept for t in terms) == 1:
        return dict(term_hypotheses(results, 1)).get
    same_coding = any(t.is_intercept for t in terms) or not any(
        t.categorical for t in terms
    )
    if basis.rank == model.k_fe and same_coding:

        def rows_of(term):
            others = [c for t in terms if t != term for c in t.columns]
            return adjusted_hypothesis(basis.r, others, list(term.columns))

        return rows_of
    need_rows(model)
    rows = RowBasis(model.exog, basis)

    def restriction_of(term):
        exog, _ = fixed_columns(model, [t for t in terms if t != term])
        return rows.restriction(np.asarray(exog, float))[0]

    return restriction_of


def _drop1_likelihood(results, with_test):
    terms, droppable = _droppable(results)
    full = by_ml(results)
    rows = {"<none>": (np.nan, full.aic, np.nan, np.nan)}
    for term in droppable:
        smaller = smaller_model(results.model, [t for t in terms if t != term])
        fit = quiet_fit(smaller, False)
        df = int(full.n_params - fit.n_params)
        test = likelihood_ratio_test(full.llf, fit.llf, df)
        rows[term.name] = df, fit.aic, test.statistic, test.pvalue
    columns = ["Df", "AIC", "LRT", "Pr(>Chisq)"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return NotedTable.of(
        table if with_test else table[columns[:2]],
        "Single term deletions, fits by maximum likelihood",
    )


def ranova(results, test="lrt", nsim=10_000, rng=None):
    """Tests of the random terms, each left out by itself.

    Of a term with slopes each slope is left out with its variance and covariances.
    Fits are by REML or ML, as these results are; the exact tests are by REML.

    Parameters
    ----------
    test : {"lrt", "exact", "inversion", "mixture", "bootstrap"}, optional
        "lrt": p by chi-squared, as lmerTest's.  "exact": by the simulated law of
        ``exact_rlrt`` where a single variance is left out, and no p-value for others.
        "inversion": the same by inversion.  "mixture": by the mixture of chi-squared
        laws of large samples, where its weights are known.  "bootstrap": responses are
        simulated from each smaller model, and both models fitted; for all terms.
    nsim : int, optional
        Number of simulations a term.
    rng : Generator or int, optional
        Source of random numbers, or a seed.

    Returns
    -------
    NotedTable
        A DataFrame: ``npar``, ``logLik``, ``AIC``, ``LRT``, ``Df`` and
        ``Pr(>Chisq)``; the first row, ``<none>``, is the model itself.  With another
        test than "lrt" the last columns are ``p``, ``p_se`` (its Monte Carlo standard
        error) and ``test``, which names it.

    Raises
    ------
    ValueError
        If ``test`` is not known.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    >>> result.ranova()["LRT"].round(3).to_dict()
    {'<none>': nan, 'Days in (Days | Subject)': 42.837}
    >>> data = mx.datasets.pastes.load().data
    >>> result = mx.mixedlm("strength ~ 1 + (1 | batch/cask)", data).fit()
    >>> result.ranova(test="exact", rng=1)["test"].to_dict()["(1 | batch)"]
    'RLRT, law of this variance alone'
    """
    if test != "lrt":
        return _tests_of_variances(results, test, nsim, rng)
    rows = {"<none>": _random_row(results, None)}
    for deletion in random_deletions(results.model):
        fit = quiet_fit(smaller_model(results.model, random=deletion.terms), results.reml)
        rows[deletion.label] = _random_row(fit, results)
    return NotedTable.of(
        pd.DataFrame.from_dict(rows, orient="index", columns=_RANDOM),
        "Likelihood-ratio tests of the random terms",
        (_NAIVE,),
    )


def step(
    results,
    df_method="satterthwaite",
    alpha_fixed=0.05,
    alpha_random=0.1,
    reduce_random=True,
    reduce_fixed=True,
    keep=(),
    verbose=True,
):
    """Backward elimination: random terms by likelihood ratio, then fixed by F tests.

    In each round the term with the largest p-value is left out, if that is above
    alpha.  A fixed term that another includes is not tested.  p-values after a
    selection are too small: they do not know of it.

    Parameters
    ----------
    df_method : str or None, optional
        Denominator degrees of freedom of the F tests, those of the fit if None;
        "residual" is used if no random term is left.
    alpha_fixed, alpha_random : float, optional
        Levels.
    reduce_random, reduce_fixed : bool, optional
        Which part is made smaller.
    keep : sequence of str, optional
        Fixed terms that are not left out.
    verbose : bool, optional
        Whether each term left out is printed.

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
    method = df_method_name(results.df_method if df_method is None else df_method)
    for name, alpha in (("alpha_fixed", alpha_fixed), ("alpha_random", alpha_random)):
        if not 0 <= alpha <= 1:
            raise ValueError(f"{name}={alpha!r} must lie between 0 and 1")
    keep = [keep] if isinstance(keep, str) else list(keep)
    names = [t.name for t in fixed_terms(results.model)]
    unknown = sorted(set(keep) - set(names))
    if unknown:
        raise ValueError(
            f"keep: {', '.join(unknown)} is no term of the model; there are: "
            f"{', '.join(names)}"
        )

    def tell(line):
        if verbose:
            print(line)

    fit, random = _reduce_random(results, alpha_random if reduce_random else 1.0, tell)
    level = alpha_fixed if reduce_fixed else 1.0
    fit, fixed = _reduce_fixed(fit, method, level, keep, tell)
    own = method if fit.model.random_terms else _without_random(method)
    final = fit.model.fit(reml=results.reml, df_method=own)
    return Step(random, fixed, formula_text(fit.model), final)


_RANDOM = ["npar", "logLik", "AIC", "LRT", "Df", "Pr(>Chisq)"]


def _random_row(fit, full):
    """A row of a table of random terms; with a test against the full fit, if given."""
    row = int(fit.n_params), fit.llf, information_criterion(fit, 2)
    if full is None:
        return *row, np.nan, np.nan, np.nan
    df = int(full.n_params - fit.n_params)
    test = likelihood_ratio_test(full.llf, fit.llf, df)
    # a statistic of zero has p = 1
    return *row, test.statistic, df, test.pvalue


def _tests_of_variances(results, test, nsim, rng):
    """The table of ``ranova`` with p-values by another law than chi-squared."""
    methods = {"exact": "simulation"}
    methods |= {name: name for name in ("inversion", "mixture", "bootstrap")}
    if test not in methods:
        known = ", ".join(map(repr, ["lrt", *methods]))
        raise ValueError(f"test={test!r} is not known; use one of {known}")
    full, rng, notes = refitted(results, True), generator_of(rng), []
    rows = {"<none>": (*_random_row(full, None)[:5], np.nan, np.nan, "")}
    for part in variance_parts(results.model):
        fit = quiet_fit(smaller_model(results.model, random=part.left), True)
        row = _random_row(fit, full)[:5]
        try:
            found = part_test(full, part, fit, nsim, rng, methods[test])
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
    if not results.reml:
        notes.insert(0, "Fitted by ML, refitted by REML for these tests")
    return NotedTable.of(
        pd.DataFrame.from_dict(
            rows, orient="index", columns=[*_RANDOM[:5], "p", "p_se", "test"]
        ),
        "Restricted likelihood-ratio tests of the random terms",
        notes,
    )


def _without_random(method):
    """Of a linear model residual degrees of freedom are exact."""
    return None if method is None else "residual"


def _reduce_random(fit, alpha, tell):
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


def _reduce_fixed(fit, method, alpha, keep, tell):
    rows, count = {}, 0
    while True:
        own = method if fit.model.random_terms else _without_random(method)
        table = fit.drop1("F", own)
        free = table["p"].drop(index=[k for k in keep if k in table.index]).dropna()
        if not len(free) or not free.max() > alpha:
            break
        count += 1
        name = free.idxmax()
        rows[name] = (count, *table.loc[name])
        tell(f"fixed term left out: {name}, p = {free[name]:.4g}")
        kept = [t for t in fixed_terms(fit.model) if t.name != name]
        fit = quiet_fit(smaller_model(fit.model, kept), fit.reml)
    rows |= {name: (0, *table.loc[name]) for name in table.index}
    columns = ["eliminated", *F_COLUMNS]
    said = "infinite" if method is None else method
    return fit, NotedTable.of(
        pd.DataFrame.from_dict(rows, orient="index", columns=columns),
        f"Backward elimination of fixed terms, denominator df: {said}",
    )
