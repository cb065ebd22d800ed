"""Random terms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixedext.exceptions import DesignError
from mixedext.specification.covariance.registry import structure
from mixedext.specification.terms.random_terms import (
    RandomTerm,
    check_terms,
    crowding,
    factorize,
    interact,
)


@given(st.lists(st.sampled_from(["b", "a", "c", None]), min_size=1))
def test_factorize(labels):
    codes, levels = factorize(pd.Series(labels, dtype=object))
    present = sorted({v for v in labels if v is not None})
    assert list(levels) == present
    assert [levels[c] if c >= 0 else None for c in codes] == labels


def test_factorize_keeps_the_order_of_a_categorical():
    values = pd.Series(pd.Categorical(["lo", "hi", None], categories=["lo", "mid", "hi"]))
    codes, levels = factorize(values)
    assert list(levels) == ["lo", "hi"]
    assert list(codes) == [0, 1, -1]


def test_interact_keeps_combinations_apart_whose_labels_agree():
    first = factorize(pd.Series(["p:q", "p"]))
    second = factorize(pd.Series(["r", "q:r"]))
    _, levels = interact(first, second)
    assert len(set(levels)) == 2


def test_factorize_a_bare_categorical():
    _, levels = factorize(pd.Categorical(["b", "a"], categories=["b", "a"]))
    assert list(levels) == ["b", "a"]


def test_interact():
    first = factorize(pd.Series([1, 1, 2, np.nan]))
    second = factorize(pd.Series(["x", "y", "x", "x"]))
    codes, levels = interact(first, second)
    assert list(levels) == ["1.0:x", "1.0:y", "2.0:x"]
    assert list(codes) == [0, 1, 2, -1]


def test_random_intercept():
    term = RandomTerm(["a", "b", "a"], group="g")
    assert (term.k, term.n_levels, term.names, term.label) == (
        1,
        2,
        ["Intercept"],
        "(1 | g)",
    )
    np.testing.assert_array_equal(term.z, np.ones((3, 1)))


def test_names_and_labels():
    frame = pd.DataFrame({"x": [1.0, 2, 3], "z": [0.0, 1, 0]})
    term = RandomTerm([1, 1, 2], frame, group="g", structure="diagonal")
    assert term.names == ["x", "z"]
    assert term.label == "(0 + x + z || g)"
    plain = RandomTerm([1, 1, 2], np.column_stack([np.ones(3), [1, 2, 3]]))
    assert plain.names == ["Intercept", "z2"]
    assert plain.label == "(1 + z2 | Group)"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"codes": [[1], [2]]}, "codes .* must have one dimension"),
        ({"codes": [1, 2], "z": [1.0]}, r"shape \(1, 1\); expected \(2, k\)"),
        ({"codes": [1, 2], "z": np.zeros((2, 0))}, "with k > 0"),
        ({"codes": [1, 2], "z": ["a", "b"]}, "not numeric"),
        ({"codes": [1, 2], "z": [1.0, 2], "names": ["a", "b"]}, "2 entries for 1 columns"),
        ({"codes": [5, 0], "levels": pd.Index(["a", "b"])}, "integers from 0 to 1"),
        ({"codes": [0.5, 0], "levels": pd.Index(["a", "b"])}, "integers from 0 to 1"),
        ({"codes": [[0], [1]], "levels": ["a", "b"]}, "must have one dimension"),
        ({"codes": [1, 2], "structure": None}, "must be a name or a Structure"),
        ({"codes": [1, 2], "structure": structure("diagonal", 3)}, "of 1 columns"),
        ({"codes": [1, 2], "structure": "banded"}, "structure='banded' is unknown"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        RandomTerm(**arguments)


def test_take_drops_levels_that_no_longer_occur():
    term = RandomTerm(["a", "b", "c", "a"], [1.0, 2, 3, 4])
    part = term.take(np.array([True, False, True, True]))
    assert list(part.levels) == ["a", "c"]
    assert list(part.codes) == [0, 1, 0]
    np.testing.assert_array_equal(part.z[:, 0], [1, 3, 4])


@pytest.mark.parametrize(
    ("term", "match"),
    [
        (RandomTerm(["a"] * 4, group="one"), "'one' .* 1 level"),
        (RandomTerm([1, 2, 3, 4], group="rows"), "4 levels for 4 observations"),
        (RandomTerm([1, 1, 2, 2], np.eye(4)[:, :3] + 1), "6 variances and covariances"),
        (RandomTerm([1, 1, 2, 2], [0.0] * 4), "zero in every row"),
        (RandomTerm([1, 1, 2, 2], [np.inf, 0, 0, 1]), "infinite"),
    ],
)
def test_designs_that_are_refused(term, match):
    with pytest.raises(DesignError, match=match):
        check_terms([term], 4)


def test_as_many_effects_as_rows_may_be_told_from_the_residual():
    """With weights, or columns that differ from level to level: the design says."""
    rows = RandomTerm([1, 2, 3, 4], group="rows")
    check_terms([rows], 4, weighted=True)
    check_terms([RandomTerm([1, 2, 3, 4], [1.0, 2, 3, 4])], 4)
    pairs = RandomTerm([1, 1, 2, 2], np.arange(8.0).reshape(4, 2))
    check_terms([pairs], 4)
    assert "4 levels for 4 observations" in crowding(rows, 4)
    assert "4 random effects" in crowding(pairs, 4)
    assert crowding(rows, 5) is crowding(pairs, 5) is None


def test_uncorrelated_columns_may_be_many():
    """Each variance is estimated from its own column: as lme4 and as separate terms."""
    z = np.arange(8.0).reshape(4, 2)
    check_terms([RandomTerm([1, 1, 2, 2], z, structure="diagonal")], 4)


def test_one_level_is_enough_for_columns_of_one_variance():
    """The columns are the draws, as those of a spline; one column alone is one draw."""
    z = np.arange(8.0).reshape(4, 2)
    check_terms([RandomTerm([1] * 4, z, structure="identity")], 4)
    for one in (
        RandomTerm([1] * 4, z, structure="diagonal"),
        RandomTerm([1] * 4, z[:, :1], structure="identity"),
    ):
        with pytest.raises(DesignError, match="1 level; a variance"):
            check_terms([one], 4)


@pytest.mark.parametrize("name", ["unstructured", "diagonal", "identity"])
def test_other_columns(name):
    z = np.arange(12.0).reshape(4, 3)
    term = RandomTerm([1, 1, 2, 2], z, "g", ["a", "b", "c"], name)
    some = term.with_columns(z[:, 1:], ["b", "c"])
    assert (some.label, some.structure) == (
        structure(name, 2).label("0 + b + c", "g"),
        structure(name, 2),
    )
    np.testing.assert_array_equal(some.z, z[:, 1:])
    np.testing.assert_array_equal(some.codes, term.codes)
    one = term.with_columns(z[:, :1], ["Intercept"])
    assert one.structure == structure("unstructured", 1)
    assert one.columns == (None,)
