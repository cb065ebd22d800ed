"""Random terms of formulas: structures over the levels of a factor, known relationships."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    subject = np.repeat([f"s{i}" for i in range(12)], 8)
    visit = np.tile(np.repeat(["V1", "V2", "V3", "V4"], 2), 12)
    frame = pd.DataFrame({"subject": subject, "visit": visit, "x": rng.normal(size=96)})
    effect = 1.5 * rng.normal(size=12).repeat(8) + np.tile(np.repeat([0, 2, 1, 3], 2), 12)
    return frame.assign(y=frame.x + rng.normal(size=96) + effect)


@pytest.mark.parametrize("name", ["cs", "homcs", "ar1", "hetar1", "toep", "adh"])
def test_columns_are_the_levels_in_order(data, name):
    (term,) = mx.mixedlm(f"y ~ x + {name}(0 + visit | subject)", data).random_terms
    assert term.structure.name == name
    assert term.names == [f"visit[V{i}]" for i in range(1, 5)]


@pytest.mark.parametrize(
    ("term", "match"),
    [
        ("ar1(visit | subject)", r"leave out the intercept, as in ar1\(0 \+ visit"),
        ("toep(0 + x | subject)", r"has one column, 'x'.*numbers become one by C\(visit\)"),
    ],
)
def test_columns_that_are_no_visits(data, term, match):
    with pytest.raises(mx.DesignError, match=match):
        mx.mixedlm(f"y ~ x + {term}", data)


def test_text_whose_numbers_sort_otherwise(data):
    data["visit"] = data.visit.map({"V1": "V2", "V2": "V3", "V3": "V4", "V4": "V10"})
    with pytest.raises(mx.DesignError, match="V10, V2, V3, V4, and by their numbers it is"):
        mx.mixedlm("y ~ x + ar1(0 + visit | subject)", data)
    mx.mixedlm("y ~ x + cs(0 + visit | subject)", data)  # whose order does not matter
    order = ["V2", "V3", "V4", "V10"]
    data["visit"] = pd.Categorical(data.visit, order, ordered=True)
    (term,) = mx.mixedlm("y ~ x + ar1(0 + visit | subject)", data).random_terms
    assert term.names == [f"visit[{name}]" for name in order]


def test_a_compound_symmetry_beside_its_own_intercept(data):
    with pytest.warns(mx.UnidentifiedVarianceWarning, match="cannot be told apart"):
        mx.mixedlm("y ~ x + (1 | subject) + homcs(0 + visit | subject)", data)


def test_a_structure_that_the_residual_takes_in(data):
    once = data.iloc[::2]
    with pytest.raises(mx.DesignError, match="cannot be told from the residual"):
        mx.mixedlm("y ~ x + homcs(0 + visit | subject)", once)
    mx.mixedlm("y ~ x + ar1(0 + visit | subject)", once)


def test_relationships_by_the_name_of_a_factor(data):
    names = [f"s{i}" for i in range(14)]
    relation = pd.DataFrame(np.eye(14) + 0.2, names, names)
    formula = "y ~ x + (1 | subject)"
    model = mx.mixedlm(formula, data, covariances={"subject": relation})
    (term,) = model.random_terms
    assert term.n_levels == 14
    assert "known relationship" in repr(term)
    with pytest.raises(ValueError, match=r"'sbject' is no grouping factor.*'subject'"):
        mx.mixedlm(formula, data, covariances={"sbject": relation})
    with pytest.raises(ValueError, match="must map grouping factors to matrices"):
        mx.mixedlm(formula, data, covariances=relation.to_numpy())
    with pytest.raises(NotImplementedError, match="has 2 columns and a known relationship"):
        mx.mixedlm("y ~ x + (x | subject)", data, covariances={"subject": relation})


def test_relationships_go_along_with_an_update(data):
    names = [f"s{i}" for i in range(12)]
    relation = pd.DataFrame(np.eye(12) + 0.5, names, names)
    formula = "y ~ x + (1 | subject) + (1 | visit)"
    result = mx.mixedlm(formula, data, covariances={"subject": relation}).fit()
    smaller = result.update(". ~ . - (1 | visit)")
    again = mx.mixedlm("y ~ x + (1 | subject)", data, covariances={"subject": relation})
    assert smaller.llf == again.fit().llf
    plain = result.update(". ~ . - (1 | subject)").llf
    assert plain == mx.mixedlm("y ~ x + (1 | visit)", data).fit().llf


def test_rows_that_are_left_out(data):
    names = [f"s{i}" for i in range(12)]
    relation = pd.DataFrame(np.eye(12) + 0.5, names, names)
    data.loc[3, "subject"] = None
    data.loc[10, "y"] = np.nan
    kept = data.drop(index=[3, 10])
    formula, related = "y ~ x + (1 | subject)", {"subject": relation}
    dropped = mx.mixedlm(formula, data, covariances=related, missing="drop").fit()
    assert dropped.nobs == 94
    assert dropped.llf == pytest.approx(
        mx.mixedlm(formula, kept, covariances=related).fit().llf
    )
