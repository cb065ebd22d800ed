"""Anova tables of the fixed effects: a row a term, F tests of types I, II and III."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixedext.fitted import has_rows, need_rows
from mixedext.inference.fixed_effects.covariance_choice import chosen_tests
from mixedext.inference.fixed_effects.hypotheses import (
    adjusted_hypothesis,
    marginal_hypothesis,
    precision_root,
    sequential_hypotheses,
)
from mixedext.inference.submodels.fixed_terms import FixedTerm, fixed_terms, term_cells
from mixedext.inference.submodels.row_basis import RowBasis
from mixedext.tables.noted_table import NotedTable

__all__ = ["anova", "f_row", "term_hypotheses"]

_TYPES = {"1": 1, "2": 2, "3": 3, "I": 1, "II": 2, "III": 3}


def anova(results, type="III", df_method=None, like="lmerTest"):
    """F tests of the terms of the fixed part.

    Parameters
    ----------
    type : {"III", "II", "I", 3, 2, 1}, optional
        I: each term adjusted for those before it in the formula (lower degrees come
        first).  II: each term adjusted for all that do not contain it.  III: SAS'
        hypotheses of each term, in which all cells count alike.  A term contains
        another if both have the same numeric factors, and it has all categorical
        ones of the other and more.  None of the types depends on the coding of the
        factors.
    df_method : {"residual", "satterthwaite", "kenward-roger", ...}, optional
        Denominator degrees of freedom; those of the fit if None.  If that has none,
        they are infinite: F times ``num_df`` is then a chi-squared statistic.
    like : {"lmerTest", "car"}, optional
        Whose hypotheses of type II: SAS' and lmerTest's, as above, adjusted by the
        columns alone; or those of R's car, in which ``a:x`` contains ``a`` also if x
        is numeric, adjusted by generalized least squares.

    Returns
    -------
    NotedTable
        A DataFrame, a row a term: ``sum_sq``, ``mean_sq``, ``num_df``, ``den_df``,
        ``F`` and ``p``.  As in lmerTest ``mean_sq`` is F times the residual variance
        and ``sum_sq`` is ``num_df`` times that.  A term that cannot be estimated has
        ``num_df`` 0.

    Raises
    ------
    ValueError
        If the type or method is not known; or if type III needs the rows of the data
        (there are interactions) and they are not in memory.

    References
    ----------
    Kuznetsova, Brockhoff and Christensen (2017), lmerTest package, Journal of
    Statistical Software 82(13).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.oats.load().data
    >>> model = mx.mixedlm("yield ~ nitro * Variety + (1 | Block/Variety)", data)
    >>> table = model.fit().anova(df_method="residual")
    >>> table[["num_df", "F"]].round(3)
                   num_df        F
    nitro               1  115.771
    Variety             2    1.942
    nitro:Variety       2    0.499
    """
    kind = _TYPES.get(str(type).upper())
    if kind is None:
        raise ValueError(f"type={type!r} is not known; use 'I', 'II' or 'III'")
    if like not in ("lmerTest", "car") or (like == "car" and kind != 2):
        raise ValueError(
            f"like={like!r} is not known for type {'I' * kind}; use 'lmerTest', or "
            "for type II 'car'"
        )
    tests, said = term_tests(results, df_method)
    rows = {
        term.name: f_row(tests, hypothesis, results.scale)
        for term, hypothesis in term_hypotheses(results, kind, like == "car")
    }
    roman = "I" * kind
    return NotedTable.of(
        pd.DataFrame.from_dict(rows, orient="index", columns=F_COLUMNS),
        f"Type {roman} analysis of variance, denominator df: {said}",
        held_notes(results, df_method),
    )


def held_notes(results, df_method):
    held = results.df_held(df_method)
    return (f"Held for the degrees of freedom: {'; '.join(held)}",) if held else ()


def term_tests(results, df_method):
    """Tests by a method, that of the fit if None, and what to say of its df."""
    tests = chosen_tests(results.fitted, df_method, True if df_method is not None else None)
    said = results.df_description(df_method)
    if results.cov_type != "nonrobust":
        said = f"{said}, covariance: {results.cov_type}"
    return tests, said


F_COLUMNS = ["sum_sq", "mean_sq", "num_df", "den_df", "F", "p"]


def f_row(tests, rows, scale) -> tuple:
    """Values of the columns of an anova table for one hypothesis."""
    if not len(rows):
        return np.nan, np.nan, 0, np.nan, np.nan, np.nan
    test = tests.f_test(rows)
    mean = test.statistic / test.scaling * scale
    return (
        mean * test.df_num,
        mean,
        test.df_num,
        test.df_denom,
        test.statistic,
        test.pvalue,
    )


def term_hypotheses(results, kind: int, as_car: bool = False) -> list:
    """Pairs of a term and its hypothesis, rows over the coefficients kept.

    Parameters
    ----------
    results : MixedLMResults
        The fit.
    kind : {1, 2, 3}
        Type of the hypotheses.
    as_car : bool, optional
        Of type II, whether containment goes by names and adjustment by V^-1.
    """
    model, basis = results.model, results.fitted.fit.design.basis
    terms = fixed_terms(model)
    place = {int(column): i for i, column in enumerate(basis.kept)}
    parts = {t: [place[c] for c in t.columns if c in place] for t in terms}
    tested = [t for t in terms if not t.is_intercept]
    if len(tested) == 1 and not as_car:
        kind = 1  # all types are the same, and lmerTest's rows are those of type I
    if as_car:
        r, contains = precision_root(results.fitted.fit.root), FixedTerm.includes
    else:
        r, contains = triangle(results, kind), FixedTerm.contains
    if kind == 1:
        rows = dict(zip(terms, sequential_hypotheses(r, list(parts.values())), strict=True))
        return [(t, rows[t]) for t in tested]
    if kind == 3:
        nested = any(t.contains(s) for t in terms for s in tested) or _full_term(terms)
        if nested or (has_rows(model) and any(t.categorical for t in terms)):
            return _marginal(results, terms, tested, parts)
    return [(t, _adjusted(r, parts, t, contains)) for t in tested]


def triangle(results, kind):
    """R with R'R = X'X, weights left out, as lmerTest's hypotheses do."""
    model, basis = results.model, results.fitted.fit.design.basis
    if results.fitted.is_weighted and kind < 3:
        need_rows(model)
        return RowBasis(model.exog, basis).r
    return basis.r


def _adjusted(r, parts, term, contains):
    before = [
        c for t, own in parts.items() if t != term and not contains(t, term) for c in own
    ]
    return adjusted_hypothesis(r, before, parts[term])


def _full_term(terms):
    """The categorical term that has an intercept's place in a model without one."""
    if any(t.is_intercept for t in terms):
        return None
    pure = [t for t in terms if not t.numeric]
    return min(pure, key=lambda t: t.columns[0]) if len(terms) > 1 and pure else None


def _single_means(rows, columns):
    """Rows combined so that each has but one of the columns, that of its own cell."""
    own = rows[:, columns]
    if own.shape[0] != own.shape[1]:
        return rows
    return np.linalg.solve(own, rows)


def _marginal(results, terms, tested, parts):
    model = results.model
    need_rows(model)
    basis = RowBasis(model.exog, results.fitted.fit.design.basis)
    cells = term_cells(model, terms)
    products = {t: basis.cell_products(c.codes, c.columns) for t, c in cells.items()}

    def hypothesis(term, own, interior):
        groups = [[np.zeros((len(basis.r), 0))] for _ in range(2)]
        for other in terms:
            if other == term:
                continue
            contains, columns = other.contains(term), products[other]
            if not contains and len(parts[other]) < len(other.columns):
                # as lmerTest: columns that depend on earlier ones are not in the model
                columns = basis.r[:, parts[other]]
            groups[contains].append(columns)
        others, containing = map(np.hstack, groups)
        return marginal_hypothesis(basis.r, others, own, containing, interior)

    found = {}
    for term in tested:
        interior = np.tile(cells[term].interior, cells[term].columns.shape[1])
        found[term] = hypothesis(term, products[term], interior)
    full = _full_term(terms)
    if full is not None and len(found[full]) < len(parts[full]):
        # its means are tested against zero, not only against each other
        intercept = FixedTerm("Intercept", (), (), frozenset(), "1")
        ones = basis.q.sum(axis=0)[:, None]
        rows = np.vstack([found[full], hypothesis(intercept, ones, np.ones(1, bool))])
        found[full] = _single_means(rows, parts[full])
    return list(found.items())
