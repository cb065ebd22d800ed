"""Terms of the fixed part: names, columns, factors, text."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.comparison import crossed, sleepstudy

import mixedext as mx
from mixedext.inference.submodels.fixed_terms import (
    fixed_formula_text,
    fixed_terms,
    term_cells,
)

pytestmark = pytest.mark.formula_engine

FORMULAS = [
    "y ~ a*b*x + C(c, Sum) + (1 | g)",
    "y ~ 0 + a + b:z + np.exp(x) + (1 | g)",
    "y ~ x*z + a:x + (1 | g)",
    "y ~ a:b + (1 | g)",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_every_column_has_one_term(formula):
    model = mx.mixedlm(formula, crossed())
    terms = fixed_terms(model)
    assert sorted(c for t in terms for c in t.columns) == list(range(model.k_fe))
    degrees = [len(t.factors) for t in terms]
    assert degrees == sorted(degrees)
    # the text gives the same columns again
    again = mx.mixedlm(f"y ~ {fixed_formula_text(terms)} + (1 | g)", crossed())
    own, other = model.exog, again.exog
    rank = np.linalg.matrix_rank(np.hstack([own, other]))
    assert rank == np.linalg.matrix_rank(own) == np.linalg.matrix_rank(other)


@pytest.mark.filterwarnings("ignore::mixedext.api.RankDeficientWarning")
@pytest.mark.parametrize("formula", FORMULAS)
def test_cells_span_the_columns(formula):
    model = mx.mixedlm(formula, crossed())
    blocks = []
    for codes, columns, interior in term_cells(model, fixed_terms(model)).values():
        assert len(interior) == codes.max() + 1
        indicators = np.eye(len(interior))[codes]
        blocks.append(np.einsum("ni,nm->nim", indicators, columns).reshape(len(codes), -1))
    full = np.hstack(blocks)
    both = np.hstack([full, model.exog])
    assert np.linalg.matrix_rank(both) == np.linalg.matrix_rank(full)
    assert np.linalg.matrix_rank(full) == np.linalg.matrix_rank(model.exog)


def test_containment():
    model = mx.mixedlm("y ~ a*b*x + z + (1 | g)", crossed())
    terms = {frozenset(t.factors): t for t in fixed_terms(model)}

    def term(*names):
        return terms[frozenset(names)]

    assert term("a", "b").contains(term("a"))
    assert term("a", "x").contains(term("x"))
    assert not term("a", "x").contains(term("a"))  # the numeric factors differ
    assert term("a", "x").includes(term("a"))
    assert term("a").contains(term())
    assert not term("z").contains(term())
    assert not term("a", "b").contains(term("a", "b"))


def test_names_that_are_not_python():
    data = crossed().rename(columns={"x": "my x", "a": "a.b"})
    model = mx.mixedlm("y ~ `my x` * a.b + np.log(`my x` ** 2) + (1 | g)", data)
    terms = fixed_terms(model)
    names = {frozenset(t.name.split(":")) for t in terms}
    assert frozenset(["my x", "a.b"]) in names
    again = mx.mixedlm(f"y ~ {fixed_formula_text(terms)} + (1 | g)", data)
    np.testing.assert_allclose(again.exog, model.exog)


def test_arrays():
    data = sleepstudy()
    exog = np.column_stack([data["Days"], np.ones(len(data))])
    model = mx.MixedLM(data["Reaction"], exog, data["Subject"])
    terms = fixed_terms(model)
    assert terms[0].is_intercept
    assert terms[0].columns == (1,)
    assert terms[1].columns == (0,)
