"""Formulas made of others and R's dots."""

from __future__ import annotations

from itertools import combinations

import patsy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixedext.exceptions import FormulaError
from mixedext.specification.formula.bars import split_formula
from mixedext.specification.formula.updated_formula import expanded_terms, updated_formula


@pytest.mark.parametrize(
    ("old", "new", "want"),
    [
        # as R's update.formula and lme4's update
        ("y ~ x", ". ~ . + z", "y ~ x + z"),
        ("y ~ x + z", ". ~ . - z", "y ~ x"),
        ("y ~ x * z", ". ~ . - x:z", "y ~ x + z"),
        ("y ~ x * z", ". ~ . - x", "y ~ z + x:z"),
        ("y ~ x * z", "~ . - z:x", "y ~ x + z"),
        ("y ~ x", "log(.) ~ .", "log(y) ~ x"),
        ("y ~ x", "z ~ .", "z ~ x"),
        ("y ~ x + z", ". ~ .:w", "y ~ (x + z):w"),
        ("y ~ x + z", ". ~ .^2", "y ~ (x + z)**2"),
        ("y ~ x + z", ". ~ .^2 - x", "y ~ z + x:z"),
        ("y ~ x", ". ~ . - 1", "y ~ 0 + x"),
        ("y ~ 0 + x", ". ~ . + 1", "y ~ x"),
        ("y ~ 0 + x", ". ~ . + z", "y ~ 0 + x + z"),
        ("y ~ x", ". ~ . - x", "y ~ 1"),
        ("y ~ 0 + x", ". ~ . - x + z", "y ~ 0 + z"),
        ("y ~ x", ". ~ 1", "y ~ 1"),
        ("y ~ x", ". ~ . + x", "y ~ x"),
        ("y ~ x", ". ~ . - x + x", "y ~ x"),
        ("y ~ a/b", ". ~ . - a", "y ~ a:b"),
        ("y ~ (a + b + c)^2", ". ~ . - a:b", "y ~ a + b + c + a:c + b:c"),
        # bars
        ("y ~ x + (1 | g)", ". ~ . - x", "y ~ 1 + (1 | g)"),
        ("y ~ x + (x | g)", ". ~ . - (x | g) + (1 | g)", "y ~ x + (1 | g)"),
        ("y ~ x + (1 + x|g)", ". ~ . - (x | g)", "y ~ x"),
        ("y ~ x + (1 | g)", ". ~ . + (1 | h)", "y ~ x + (1 | g) + (1 | h)"),
        ("y ~ x + (1 | g)", ". ~ . + (1 | g)", "y ~ x + (1 | g)"),
        ("y ~ (1 | a/b)", ". ~ . - (1 | a/b)", "y ~ 1"),
        ("y ~ (1 | a/b)", ". ~ . - (1 | a:b)", "y ~ 1 + (1 | a)"),
        ("y ~ x + (x || g)", ". ~ . - (x || g) + (x | g)", "y ~ x + (x | g)"),
        ("y ~ x + (1 | g)", ". ~ z + (1 | h)", "y ~ z + (1 | h)"),
        ("y ~ x + (1 | g)", "~ (1 | h)", "y ~ 1 + (1 | h)"),
        # offsets, names and numbers with dots
        ("y ~ x + offset(o)", ". ~ . - offset(o)", "y ~ x"),
        ("y ~ x", ". ~ . + offset(log(t))", "y ~ x + offset(log(t))"),
        ("y ~ a.b", ". ~ . + I(x ** 0.5) + np.log(z)", "y ~ a.b + I(x ** 0.5) + np.log(z)"),
        ("y ~ a.b + c", ". ~ . - a.b", "y ~ c"),
        ("y ~ `a . b` + c", ". ~ . - c", "y ~ `a . b`"),
        ("y ~ f(x, s='. ~') + c", ". ~ . - c", "y ~ f(x, s='. ~')"),
    ],
)  # fmt: skip
def test_as_r(old, new, want):
    assert updated_formula(old, new) == want


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("x", "must be a formula"),
        (None, "must be a formula"),
        (". ~", "nothing right"),
        (". ~ . - w", "w is left out, but there is no such term; there are: x, zed"),
        (". ~ . - zedd", "Did you mean 'zed'"),
        (
            ". ~ . - (x | g)",
            r"\(x \| g\) is not in the fit's formula, which has \(1 \| g\)",
        ),
        (". ~ . - offset(x)", r"offset\(x\) is not in"),
        (". ~ x - .", "all terms are left out"),
        (". ~ (. | g)", "a dot stands for no part of a random term"),
        (". ~ . ~ x", "exactly one '~'"),
        (". ~ . + (x + (1 | g))", "without parentheses"),
        (". ~ . + (1 | )", "nothing right of the bar"),
    ],
)
def test_mistakes(new, message):
    with pytest.raises(FormulaError, match=message):
        updated_formula("y ~ x + zed + (1 | g)", new)


NAMES = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.recursive(
    NAMES,
    lambda inner: st.one_of(
        st.builds("{} + {}".format, inner, inner),
        st.builds("{} - {}".format, inner, NAMES),
        st.builds("({}) * ({})".format, inner, inner),
        st.builds("({}) : ({})".format, inner, inner),
        st.builds("({}) / ({})".format, inner, inner),
        st.builds("({}) ** 2".format, inner),
    ),
    max_leaves=5,
)


@given(TEXTS, st.sampled_from(["", "0 + ", "1 + "]))
def test_terms_as_patsy_has_them(text, head):
    try:
        intercept, terms = expanded_terms(head + text)
    except FormulaError:  # a term is left out that is not there
        return
    known = patsy.ModelDesc.from_formula(head + text).rhs_termlist
    theirs = {frozenset(f.name() for f in t.factors) for t in known}
    ours = {frozenset(t) for t in terms} | ({frozenset()} if intercept else set())
    assert ours == theirs


def test_leaving_out_each_term():
    """Of all terms of a crossing each goes by itself."""
    old = "y ~ a * b * c + (1 | g)"
    every = [c for size in (1, 2, 3) for c in combinations("abc", size)]
    for gone in every:
        made = updated_formula(old, f". ~ . - {':'.join(gone)}")
        left = expanded_terms(split_formula(made).fixed)[1]
        assert left == [t for t in every if t != gone]
