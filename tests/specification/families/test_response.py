"""Responses as users write them, and what is said of those that do not do."""

import numpy as np
import pandas as pd
import pytest

from mixedext.exceptions import FormulaError, ResponseWarning
from mixedext.specification.families.left_side import left_side_values, split_sides
from mixedext.specification.families.registry import family_of
from mixedext.specification.families.response import read_response

BINOMIAL = family_of("binomial")


@pytest.mark.parametrize(
    "endog",
    [
        [0, 1, 1, 0],
        np.array([False, True, True, False]),
        pd.Series([False, True, True, False]),
        pd.Series(["no", "yes", "yes", "no"]),
        pd.Series(["a", "b", "b", "a"]).astype("category"),
        np.array([[0, 1], [1, 0], [1, 0], [0, 1]]),
    ],
)
def test_forms_of_one_trial_each(endog):
    found = read_response(BINOMIAL, endog)
    assert found.y.tolist() == [0, 1, 1, 0]
    assert found.trials.tolist() == [1, 1, 1, 1]


def test_proportions_and_two_columns_are_the_same():
    successes, trials = np.array([1.0, 0, 3]), np.array([3.0, 2, 7])
    one = read_response(BINOMIAL, successes / trials, trials)
    two = read_response(BINOMIAL, np.column_stack([successes, trials - successes]))
    np.testing.assert_array_equal(one.y, two.y)
    np.testing.assert_array_equal(one.trials, two.trials)
    assert one.weights is None


def test_rows_without_trials_do_not_count():
    found = read_response(BINOMIAL, [0.5, 0.0, 1.0], [2, 0, 3])
    assert found.nobs == 2


@pytest.mark.parametrize(
    ("family", "endog", "more", "words"),
    [
        ("binomial", [0, 0.3, 1], {}, r"give weights=.*two columns"),
        ("binomial", [0, 2, 1], {}, r"lie in \[0, 1\]; row 1 has 2"),
        ("binomial", [[1, -1], [0, 2]], {}, "negative; row 0"),
        ("binomial", list("abc"), {}, "3 categories.*ordinal and multinomial"),
        ("binomial", list("aaa"), {}, "1 categories"),
        ("poisson", [1, -2, 3], {}, "poisson must not be negative; row 1 has -2"),
        ("poisson", [[1, 2], [3, 4]], {}, "two columns"),
        ("poisson", list("ab"), {}, "takes numbers"),
        ("gamma", [1, 0, 3], {}, "gamma must be positive; row 1 has 0"),
        ("inverse gaussian", [1, -1, 3], {}, "must be positive"),
        ("beta", [0.2, 1.0], {}, "strictly between 0 and 1.*row 1 has 1"),
        ("poisson", [1, np.inf], {}, "infinite in row 1"),
        ("poisson", [1, 2], {"weights": [1, -1]}, "weights must not be negative; row 1"),
        ("poisson", [1, 2], {"weights": [1, 0]}, "weights must be positive; row 1 has 0"),
        ("poisson", [1, 2], {"weights": [1, np.inf]}, "infinite"),
        ("poisson", [1, 2], {"weights": [1, 2, 3]}, "3 values for 2 rows"),
        ("poisson", [1, 2], {"freq_weights": [1, 0.5]}, "whole numbers"),
        ("poisson", [1, 2], {"freq_weights": [1, -1]}, "whole numbers"),
    ],
)
def test_what_does_not_do_is_said(family, endog, more, words):
    with pytest.raises(ValueError, match=words):
        read_response(family_of(family), endog, **more)


def test_numbers_that_are_not_whole_warn():
    with pytest.warns(ResponseWarning, match="row 1"):
        read_response(BINOMIAL, [0.5, 0.3], [2, 5.5])
    with pytest.warns(ResponseWarning, match="not a whole number in row 0"):
        read_response(family_of("poisson"), [1.5, 2])


def test_missing_values_stay():
    found = read_response(BINOMIAL, pd.Series(["a", None, "b"]))
    assert np.isnan(found.y[1])


FRAME = pd.DataFrame(
    {"a": [1, 2], "b": [3, 1], "size": [4, 5], "yield": [1.0, 2.0], "two words": [5, 6]}
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a", [1, 2]),
        ("a / size", [0.25, 0.4]),
        ("cbind(a, size - a)", [[1, 3], [2, 3]]),
        ("a + b", [[1, 3], [2, 1]]),
        ("yield", [1, 2]),
        ("yield / 2", [0.5, 1]),
        ("`two words`", [5, 6]),
        ('Q("two words") / a', [5, 3]),
        ("np.log(a)", [0, np.log(2)]),
        ("a > 1", [False, True]),
    ],
)
def test_the_left_side_is_arithmetic(text, wanted):
    found = left_side_values(text, FRAME, {"np": np})
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(wanted, float))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sizee", "no column 'sizee'.*size"),
        ("cbind(a)", "two columns"),
        ("a +* b", "cannot be read"),
        ("a.nothing()", "cannot be evaluated"),
    ],
)
def test_a_left_side_that_cannot_be_read(text, words):
    with pytest.raises(FormulaError, match=words):
        left_side_values(text, FRAME, {})


def test_a_formula_without_a_response():
    assert split_sides("y ~ x") == ("y", "x")
    with pytest.raises(FormulaError, match="no response"):
        split_sides("~ x")
