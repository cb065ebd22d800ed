"""Splitting formulas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixedext.exceptions import FormulaError
from mixedext.specification.formula.bars import (
    Bar,
    grouped_formula,
    names_in,
    parse_grouping,
    split_formula,
)

ANY, APART = "unstructured", "diagonal"


@pytest.mark.parametrize(
    ("formula", "fixed", "bars"),
    [
        ("y ~ x + (1 | g)", "x", [("1", "g", ANY)]),
        ("y ~ (1|g)", "1", [("1", "g", ANY)]),
        ("y~0+(1|g)", "0", [("1", "g", ANY)]),
        ("y ~ (x|g) + x - 1", "x - 1", [("x", "g", ANY)]),
        ("y ~ -1 + x + (1|g)", "- 1 + x", [("1", "g", ANY)]),
        ("y ~ x + (x || g) + z", "x + z", [("x", "g", APART)]),
        ("y ~ a*b + (1 | g:h)", "a*b", [("1", "g:h", ANY)]),
        ("y ~ (x + (1|g))", "x", [("1", "g", ANY)]),
        ("y ~ (x + z) * w + (1|g)", "(x + z) * w", [("1", "g", ANY)]),
        ("y ~ x**-1 + (1|g)", "x**-1", [("1", "g", ANY)]),
        ("y ~ I(a|b) + (1|g)", "I(a|b)", [("1", "g", ANY)]),
        ("y ~ f('a|b') + (1|g)", "f('a|b')", [("1", "g", ANY)]),
        ("y ~ x + (np.log(x) + 1 | `my g`)", "x", [("np.log(x) + 1", "my g", ANY)]),
        ("y ~ x + (poly(x, 2) | cut(g, 3))", "x", [("poly(x, 2)", "cut(g, 3)", ANY)]),
        ("y ~ x\n + (1\n | g)", "x", [("1", "g", ANY)]),
        ("y ~ x + (1 | a/b)", "x", [("1", "a", ANY), ("1", "b:a", ANY)]),
        ("y ~ x", "x", []),
    ],
)
def test_split(formula, fixed, bars):
    split = split_formula(formula)
    assert split.response == "y"
    assert split.fixed == fixed
    assert [(b.columns, b.group, b.structure) for b in split.bars] == bars


def test_bars_as_written():
    bars = split_formula("y ~ (x|a/b) + (1 || c)").bars
    assert [bar.label for bar in bars] == ["(x | a)", "(x | b:a)", "(1 || c)"]


def test_offsets():
    split = split_formula("y ~ x + offset(log(e)) + (1 | g) + offset(z)")
    assert split.offsets == ("log(e)", "z")
    assert split.fixed == "x"
    assert split_formula("y ~ offset(z) + (1 | g)").fixed == "1"


@pytest.mark.parametrize(
    ("formula", "match"),
    [
        ("y ~ x * (1 | g)", "must stand by itself"),
        ("y ~ x:(1 | g)", "must stand by itself"),
        ("y ~ x + 1 | g", "write random terms in parentheses"),
        ("y ~ (1 | )", "nothing right of the bar"),
        ("y ~ ( | g)", "nothing left of the bar"),
        ("y ~ (1 | g | h)", "more than one bar"),
        ("y ~ x - (1 | g)", "cannot be subtracted"),
        ("y ~ x - offset(z)", "subtract inside"),
        ("y ~ x +", "a term is missing"),
        ("y ~ + + x + ", "a term is missing"),
        ("y", "exactly one '~'"),
        ("y ~ x ~ z", "exactly one '~'"),
        ("~ x + (1 | g)", "no response"),
        ("y ~ ", "no terms"),
        ("y ~ x + (1 | g", "a bracket is not closed"),
        ("y ~ x) + (1 | g)", "closes nothing"),
        ("y ~ f('x) + (1 | g)", "quote ' is not closed"),
        ("y ~ (1 | a:)", "cannot read the grouping factor"),
        ("y ~ (1 | a b:)", "cannot read the grouping factor"),
        ("y ~ (1 |~ g)", "cannot read the grouping factor"),
        ("y ~ (1 | g:~h)", "cannot read the grouping factor"),
        ("y ~ (1 | (a)", "bracket is not closed"),
        (42, "must be a string"),
    ],
)
def test_formulas_that_cannot_be_read(formula, match):
    with pytest.raises(FormulaError, match=match) as caught:
        split_formula(formula)
    if isinstance(formula, str):
        assert formula in str(caught.value)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("g", ["g"]),
        ("a/b", ["a", "b:a"]),
        ("a/b/c", ["a", "b:a", "c:b:a"]),
        ("a:b", ["a:b"]),
        ("a:b:c", ["a:b:c"]),
        ("a*b", ["a", "b", "a:b"]),
        ("a + b", ["a", "b"]),
        ("a/(b + c)", ["a", "b:a", "c:a"]),
        ("(a:b)/c", ["a:b", "c:a:b"]),
        ("a:b/c", ["a:b", "c:a:b"]),
        ("a*a", ["a"]),
        ("f(a + b):c", ["f(a + b):c"]),
        ("`a:b`/c", ["a:b", "c:a:b"]),
    ],
)
def test_grouping(text, groups):
    assert [Bar("1", f).group for f in parse_grouping(text)] == groups


def test_names():
    text = "np.log(x) + Q('a b') + `c d` + g('text') + a.b"
    assert {"np", "np.log", "x", "a b", "c d", "g", "a.b"} <= names_in(text)
    assert "text" not in names_in(text)
    keywords = names_in("bs(x, df=4, degree = k) + I(a == b) + f(lower=z)")
    assert keywords == {"bs", "x", "k", "I", "a", "b", "f", "z"}


@given(st.text(alphabet="xyg01|()+-~:/* `'", max_size=25))
def test_any_text_is_read_or_refused(text):
    try:
        split = split_formula(text)
    except FormulaError:
        return
    assert split.fixed
    assert all(b.columns and b.factors for b in split.bars)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("y ~ x | g", "y ~ x + (1 | g)"),
        ("log(y)~x - 1|a:b", "log(y)~x - 1 + (1 | a:b)"),
        ("f(a | b) ~ I(x | z) | g", "f(a | b) ~ I(x | z) + (1 | g)"),
        ("y ~ x | `my | group`", "y ~ x + (1 | `my | group`)"),
    ],
)
def test_regression_in_every_group(formula, expected):
    assert grouped_formula(formula) == expected
    assert len(split_formula(expected).bars) == 1


@pytest.mark.parametrize(
    "formula",
    ["y ~ x", "y ~ x || g", "y | g ~ x", "y ~ (x | h) | g", "y ~ | g", "y ~ x |", 1],
)
def test_regressions_that_cannot_be_read(formula):
    with pytest.raises(FormulaError):
        grouped_formula(formula)


@pytest.mark.parametrize(
    ("term", "columns", "structure", "label"),
    [
        ("cs(x | g)", "x", "cs", "cs(x | g)"),
        ("ar1(0 + factor(t) | g)", "0 + factor(t)", "ar1", "ar1(0 + factor(t) | g)"),
        ("ar1(0 + t | g, hom = FALSE)", "0 + t", "hetar1", "hetar1(0 + t | g)"),
        ("us(x | g)", "x", "unstructured", "(x | g)"),
        ("diag (x|g)", "x", "diagonal", "(x || g)"),
        ("homtoep(0 + t|g)", "0 + t", "homtoep", "homtoep(0 + t | g)"),
    ],
)
def test_structures_before_a_bar(term, columns, structure, label):
    (bar,) = split_formula(f"y ~ x + {term}").bars
    assert (bar.columns, bar.factors, bar.structure) == (columns, ("g",), structure)
    assert bar.label == label


def test_structures_of_nested_factors():
    bars = split_formula("y ~ ar1(0 + t | a/b)").bars
    assert [(b.group, b.structure) for b in bars] == [("a", "ar1"), ("b:a", "ar1")]


@pytest.mark.parametrize(
    ("term", "match"),
    [
        ("rr(0 + t | g)", "reduced rank"),
        ("ou(0 + t | g)", "continuous-time autoregression"),
        ("ar1(0 + t || g)", "write one bar"),
        ("ar1(0 + t | g, 3)", "'3' in .* is not known"),
        ("ar1(0 + t | g, rho=1)", "hom=True or hom=False"),
        ("us(0 + t | g, hom=True)", "has a variance for each column"),
        ("ar1(| g)", "nothing left of the bar"),
    ],
)
def test_structures_that_cannot_be(term, match):
    with pytest.raises(FormulaError, match=match):
        split_formula(f"y ~ x + {term}")


def test_structures_are_not_subtracted():
    with pytest.raises(FormulaError, match="cannot be subtracted"):
        split_formula("y ~ x - ar1(0 + t | g)")
