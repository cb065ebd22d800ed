"""Anova tables of the fixed effects: a row a term, F tests of types I, II and III."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mixedext.engine.rows.estimability import column_relations
from mixedext.fitted import DfChoice, Fitted, HasFitted
from mixedext.inference.fixed_effects.covariance_choice import (
    choice_in_words,
    chosen_tests,
    df_notes,
)
from mixedext.inference.fixed_effects.df_methods import FixedTests, df_choice
from mixedext.inference.fixed_effects.hypotheses import (
    adjusted_hypothesis,
    marginal_hypothesis,
    precision_root,
    sequential_hypotheses,
)
from mixedext.inference.submodels.fixed_terms import FixedTerm, fixed_terms, term_cells
from mixedext.inference.submodels.nesting import row_basis
from mixedext.limits import NOT_ESTIMABLE
from mixedext.tables.noted_table import NotedTable

__all__ = [
    "F_COLUMNS",
    "FRow",
    "anova",
    "f_table",
    "term_hypotheses",
]


_TYPES = {"1": 1, "2": 2, "3": 3, "I": 1, "II": 2, "III": 3}


def anova(
    results: HasFitted,
    type: str | int = "III",
    df_method: str | None = None,
    like: str = "lmerTest",
    *,
    information: str | None = None,
) -> NotedTable:
    """F tests of the terms of the fixed part.

    Parameters
    ----------
    type : {"III", "II", "I", 3, 2, 1}, optional
        I: each term adjusted for those before it in the formula (lower degrees come
        first).  II: each term adjusted for all that do not contain it.  III: SAS'
        hypotheses of each term, in which all cells count alike.  A term contains
        another if both have the same numeric factors, and it has all categorical
        ones of the other and more.  None of the types depends on the coding of the
        factors, unless terms share columns (empty cells in a model of three factors):
        a term is then tested without columns of others that were dropped, as in
        lmerTest, and a note names it.
    df_method : {"satterthwaite", "kenward-roger", "residual", "z", ...}, optional
        Denominator degrees of freedom; those of the fit if None.  Those of "z" are
        infinite: F times ``df_num`` is then a chi-squared statistic.
    like : {"lmerTest", "car"}, optional
        Whose hypotheses of type II: SAS' and lmerTest's, as above, adjusted by the
        columns alone; or those of R's car, in which ``a:x`` contains ``a`` also if x
        is numeric, adjusted by generalized least squares.
    information : {"expected", "observed"}, optional
        Of Kenward and Roger's method; that of the results if None.

    Returns
    -------
    NotedTable
        A DataFrame, a row a term: ``sum_sq``, ``mean_sq``, ``df_num``, ``df_denom``,
        ``statistic`` (F) and ``pvalue``.  As in lmerTest ``mean_sq`` is F times the
        residual variance and ``sum_sq`` is ``df_num`` times that.  A term that cannot be
        estimated has ``df_num`` 0.

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
    >>> table[["df_num", "statistic"]].round(3)
                   df_num  statistic
    nitro               1    115.771
    Variety             2      1.942
    nitro:Variety       2      0.499
    """
    kind = _TYPES.get(str(type).upper())
    if kind is None:
        if hasattr(type, "fitted"):
            raise ValueError("anova tests the terms of one model; mx.anova compares models")
        raise ValueError(f"type={type!r} is not known; use 'I', 'II' or 'III'")
    if like not in ("lmerTest", "car") or (like == "car" and kind != 2):
        raise ValueError(
            f"like={like!r} is not known for type {'I' * kind}; use 'lmerTest', or "
            "for type II 'car'"
        )
    fitted = results.fitted
    hypotheses = term_hypotheses(fitted, kind, like == "car")
    title = f"Type {'I' * kind} analysis of variance"
    notes = _notes_of_shared_columns(fitted, hypotheses, like == "car") if kind > 1 else []
    return f_table(fitted, hypotheses, df_choice(df_method, information), title, notes)


def _notes_of_shared_columns(fitted, hypotheses, as_car):
    """Which terms are tested without columns of others that depend on columns of theirs."""
    relations = column_relations(fitted.fit.design.basis, fitted.nobs)
    if not len(relations.dropped):
        return []
    contains = FixedTerm.includes if as_car else FixedTerm.contains
    scales = relations.scales
    part = np.abs(relations.coefficients) * scales[relations.kept, None]
    shared = part > NOT_ESTIMABLE * scales[relations.dropped]
    terms = fixed_terms(fitted.model)
    found = []
    for term, rows in hypotheses:
        others = [t for t in terms if t != term and not contains(t, term)]
        columns = [c for t in others for c in t.columns]
        beyond = ~np.isin(relations.kept, columns)
        if len(rows) and shared[np.ix_(beyond, np.isin(relations.dropped, columns))].any():
            found.append(term.name)
    if not found:
        return []
    return [
        f"{', '.join(found)}: tested without columns of other terms that depend on theirs; "
        "another order of terms or levels gives other tests, and joint_tests() what each "
        "term tells by itself"
    ]


class FRow(NamedTuple):
    """One row of an anova table; its fields are the columns."""

    sum_sq: float
    mean_sq: float
    df_num: float
    df_denom: float
    statistic: float
    pvalue: float


F_COLUMNS = list(FRow._fields)


def f_table(
    fitted: Fitted,
    hypotheses: Iterable[tuple[FixedTerm, np.ndarray]],
    choice: DfChoice,
    title: str,
    notes: Iterable[str] = (),
) -> NotedTable:
    """F tests of hypotheses of terms, a row a term.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    hypotheses : iterable of tuple
        Pairs of a term and its rows over the coefficients kept.
    choice : DfChoice
        Denominator degrees of freedom.
    title : str
        What the tests are; the heading says also what they rest on.
    notes : iterable of str, optional
        Told below the table, before those of the degrees of freedom.
    """
    tests = chosen_tests(fitted, choice)
    rows = {term.name: _f_row(tests, own, fitted.scale) for term, own in hypotheses}
    heading = f"{title}, denominator df: {choice_in_words(fitted, choice)}"
    if fitted.settings.cov_type != "nonrobust":
        heading += f", covariance: {fitted.settings.cov_type}"
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=F_COLUMNS)
    return NotedTable.of(frame, heading, [*notes, *df_notes(fitted, choice)])


def _f_row(tests: FixedTests, rows: np.ndarray, scale: float) -> FRow:
    """The row of one hypothesis; NaN for one without rows."""
    if not len(rows):
        nan = np.nan
        return FRow(nan, nan, df_num=0, df_denom=nan, statistic=nan, pvalue=nan)
    test = tests.f_test(rows)
    mean = test.statistic / test.scaling * scale
    return FRow(
        sum_sq=mean * test.df_num,
        mean_sq=mean,
        df_num=test.df_num,
        df_denom=test.df_denom,
        statistic=test.statistic,
        pvalue=test.pvalue,
    )


def term_hypotheses(
    results: HasFitted, kind: int, as_car: bool = False
) -> list[tuple[FixedTerm, np.ndarray]]:
    """Pairs of a term and its hypothesis, rows over the coefficients kept.

    Parameters
    ----------
    results : HasFitted
        The fit.
    kind : {1, 2, 3}
        Type of the hypotheses.
    as_car : bool, optional
        Of type II, whether containment goes by names and adjustment by V^-1.
    """
    fitted = results.fitted
    terms = fixed_terms(fitted.model)
    place = {int(column): i for i, column in enumerate(fitted.fixed.kept)}
    parts = {t: [place[c] for c in t.columns if c in place] for t in terms}
    tested = [t for t in terms if not t.is_intercept]
    if len(tested) == 1 and not as_car:
        kind = 1  # all types are the same, and lmerTest's rows are those of type I
    contains: Callable[[FixedTerm, FixedTerm], bool] = FixedTerm.contains
    if as_car:
        r, contains = precision_root(fitted.fit.root), FixedTerm.includes
    else:
        r = _triangle(fitted, kind)
    if kind == 1:
        rows = dict(zip(terms, sequential_hypotheses(r, list(parts.values())), strict=True))
        return [(t, rows[t]) for t in tested]
    if kind == 3:
        nested = any(t.contains(s) for t in terms for s in tested) or _full_term(terms)
        if nested or (fitted.rows is not None and any(t.categorical for t in terms)):
            return _marginal(fitted, terms, tested, parts)
    return [(t, _adjusted(r, parts, t, contains)) for t in tested]


def _triangle(fitted: Fitted, kind: int) -> np.ndarray:
    """R with R'R = X'X, weights and a residual covariance left out, as in lmerTest."""
    if (fitted.is_weighted or fitted.fit.residual is not None) and kind < 3:
        return row_basis(fitted).r
    return fitted.fit.design.basis.r


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


def _marginal(
    fitted: Fitted,
    terms: Sequence[FixedTerm],
    tested: Sequence[FixedTerm],
    parts: dict[FixedTerm, list[int]],
) -> list[tuple[FixedTerm, np.ndarray]]:
    basis = row_basis(fitted)
    cells = term_cells(fitted.model, terms)
    products = {t: basis.cell_products(c.codes, c.columns) for t, c in cells.items()}

    def hypothesis(term, own, interior):
        groups: list[list[Any]] = [[np.zeros((len(basis.r), 0))] for _ in range(2)]
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
