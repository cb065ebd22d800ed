"""Hypotheses in every form: strings, dictionaries, frames, matrices of either width."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixedext.inference.fixed_effects.constraints import linear_constraints

pytestmark = pytest.mark.formula_engine

NAMES = ["Intercept", "x", "f[T.b]", "g Var"]


def parsed(r_matrix, **kwds):
    rows, values = linear_constraints(r_matrix, NAMES, 3, **kwds)
    assert rows.shape[1] == 4
    assert values.shape == (len(rows),)
    return rows.tolist(), values.tolist()


WANT = ([[0, 1, 0, 0], [0, 0, 1, 0]], [2, 3])


@pytest.mark.parametrize(
    "r_matrix",
    [
        "x = 2, f[T.b] = 3",
        ["x = 2", "f[T.b] = 3"],
        {"x": 2, "f[T.b]": 3},
        ([[0, 1, 0], [0, 0, 1]], [2, 3]),
        (np.eye(3)[1:], np.array([2.0, 3.0])),
        (np.eye(4)[1:3], [2, 3]),
        (pd.DataFrame(np.eye(2), columns=["x", "f[T.b]"]), pd.Series([2, 3])),
        (pd.DataFrame([[0, 1.0], [1, 0]], columns=["f[T.b]", "x"]), [2, 3]),
        (pd.DataFrame(np.eye(3)[1:]), [2, 3]),
    ],
    ids=repr,
)
def test_forms_of_the_same_hypothesis(r_matrix):
    assert parsed(r_matrix) == WANT


def test_other_forms():
    assert parsed([0, 1, 0]) == parsed("x = 0") == parsed({"x": 0})
    assert parsed(pd.Series({"x": 1.0})) == parsed("x")
    assert parsed(pd.Series([0, 1.0, 0])) == parsed("x")
    assert parsed({"x - f[T.b]": 1}) == parsed("x - f[T.b] = 1")
    assert parsed({"2 * x": 1, "g Var": 0})[0] == [[0, 2, 0, 0], [0, 0, 0, 1]]
    assert parsed((np.eye(3)[:2], 1.0))[1] == [1, 1]
    assert parsed(np.eye(4)[3])[0] == [[0, 0, 0, 1]]
    assert parsed(np.eye(4)[:3], variances=False)[0] == np.eye(4)[:3].tolist()


@pytest.mark.parametrize(
    ("r_matrix", "message"),
    [
        (np.eye(2), "should have 3 columns .* or 4 .*, not 2"),
        ("y = 0", "the parameters are: Intercept, x"),
        ({"y": 0}, "the parameters are"),
        ({}, "empty"),
        (pd.Series({"y": 1.0}), "column 'y', which is no parameter"),
        ((np.eye(3), [1, 2]), "2 values for 3 rows"),
        ((np.eye(3), 0, 1), "3 entries"),
        ([0, np.nan, 1], "missing or infinite"),
    ],
)
def test_errors(r_matrix, message):
    with pytest.raises(ValueError, match=message):
        linear_constraints(r_matrix, NAMES, 3)


def test_variance_columns_may_be_refused():
    with pytest.raises(ValueError, match=r"should have 3 columns .*must be zero"):
        linear_constraints(np.eye(4), NAMES, 3, variances=False)


def test_names_with_spaces():
    names = ["a b", "a b c", "x", "C(f, Sum)[S.p q]", "g x h Cov"]
    for j, name in enumerate(names):
        rows, values = linear_constraints(f"2 * {name} - x = 1", names, 5)
        want = 2 * np.eye(5)[j] - np.eye(5)[2]
        assert rows.tolist() == [want.tolist()]
        assert values == [1]
