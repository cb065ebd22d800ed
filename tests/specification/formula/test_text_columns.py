"""Text that was meant otherwise: numbers, missing values, one label written in two ways."""

from __future__ import annotations

import warnings

import pandas as pd
import pytest

import mixedext as mx
from mixedext.specification.formula.column_kinds import warn_of_categories
from mixedext.specification.formula.text_columns import fault_of_labels, fault_of_numbers


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["1,5", "-2,25", "3"], "'1,5' has a decimal comma"),
        (["1,000", "25,500", "7"], "'1,000' has a comma for thousands"),
        (["1,234,567.5"], "has a comma for thousands"),
        (["5%", "12.5 %"], "'5%' has a percent sign"),
        (["1.5", "2.5", "NA"], "'NA' is no number"),
        (["1", "2", "."], "'.' is no number"),
        ([1.0, 2.0, "x"], "'x' is no number"),
        (["1.5", "2.5", "3.5", "4,5"], "'4,5' has a decimal comma"),
    ],
)
def test_numbers_that_are_written_otherwise(values, said):
    assert said in fault_of_numbers("x", values)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1, 2],
        ["1", "2"],
        ["1.5", "2.5"],
        ["1", "2", "3a"],
        ["1.5", "low", "high"],
        ["1,2", "a"],
        ["a,b", "c,d"],
        ["a", "NA"],
        ["NA"],
    ],
)
def test_labels_are_no_numbers(values):
    assert fault_of_numbers("x", values) == ""


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["a", "a ", "b"], "'a' and 'a ', which differ in blanks"),
        (["a", " a"], "'a' and ' a', which differ in blanks"),
        (["Male", "male", "f"], "'Male' and 'male', which differ in capitals"),
        (["a", ""], "the label ''"),
        (["a", " <NA>"], "the label ' <NA>'"),
        (["a", "A"], ""),  # alleles
        (["AA", "Aa", "aa"], ""),
        (["none", "low", 3], ""),
    ],
)
def test_labels_that_are_hardly_meant(labels, said):
    found = fault_of_labels("x", labels)
    assert said in found if said else found == ""


def test_categories_that_are_stated_are_not_warned_of():
    data = mx.datasets.sleepstudy.load().data
    data["x"] = ["a ", "a", "NA", "1,5", "b"] * 36
    with warnings.catch_warnings():
        warnings.simplefilter("error", mx.CategoryWarning)
        mx.mixedlm("Reaction ~ C(x) + (1 | Subject)", data)


def test_of_many_rows_the_first_are_looked_at(monkeypatch):
    """What follows is not: one label among those is none of a constant column."""
    monkeypatch.setattr("mixedext.specification.formula.column_kinds.MOST_LOOKED", 3)
    with pytest.warns(mx.CategoryWarning, match="decimal comma"):
        warn_of_categories("x", pd.Series(["1,5", "2,5", "3,5", "word"], dtype=object))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_categories("f", pd.Series(["a", "a", "a", "b"], dtype=object))
