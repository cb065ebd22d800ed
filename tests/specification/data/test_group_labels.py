"""Labels of whole groups, however they are given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixedext.specification.data.group_labels import labels_of_groups, two_labels

GROUPS = pd.Index(["a", "b", "c"], name="g")
CODES = np.array([1, 0, 2, 1, 0])
DATA = pd.DataFrame({"kind": ["y", "x", None, "y", "x"], "row": range(5)})


@pytest.mark.parametrize(
    "by",
    [
        "kind",
        {"c": None, "a": "x", "b": "y"},
        pd.Series({"c": None, "b": "y", "a": "x", "other": "z"}),
        ["x", "y", None],
        pd.Categorical(["x", "y", None]),
    ],
)
def test_one_label_a_group(by):
    found = labels_of_groups(by, DATA, CODES, GROUPS)
    assert found.isna().tolist() == [False, False, True]
    assert found[:2].tolist() == ["x", "y"]
    assert two_labels(found) == ("x", "y")
    assert two_labels(found, ["y", "x"]) == ("y", "x")


def test_a_level_of_the_index():
    found = labels_of_groups("kind", DATA.set_index("kind"), CODES, GROUPS)
    assert found[:2].tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("row", "several values in the group 'b'"),
        ("nobody", "not a column"),
        ({"a": 1}, "no label for the group 'b'"),
        (pd.Series([1, 2, 3, 4], index=list("abca")), "several labels for the group 'a'"),
        ([1, 2], "one label for each of the 3 groups"),
    ],
)
def test_labels_that_are_none(by, message):
    with pytest.raises(ValueError, match=message):
        labels_of_groups(by, DATA, CODES, GROUPS)


@pytest.mark.parametrize("levels", [["x"], ["x", "x"], ["x", "z"], ["x", "y", "z"]])
def test_levels_that_are_not_two(levels):
    with pytest.raises(ValueError, match="two of the kinds"):
        two_labels(pd.Series(["x", "y", "y"]), levels)


def test_labels_without_an_order():
    assert two_labels(pd.Series([2, "a", 2])) == (2, "a")
    ordered = pd.Series(pd.Categorical(["x", "y"], categories=["y", "none", "x"]))
    assert two_labels(ordered) == ("y", "x")
