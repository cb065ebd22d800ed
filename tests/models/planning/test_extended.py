"""Data with other numbers of levels, or of rows in each cell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixedext.models.planning.extended import extend_along, extend_within


@pytest.fixture
def data():
    return pd.DataFrame(
        {
            "school": np.repeat(["s", "t", "u"], 4),
            "class_": np.repeat(["a", "b", "c", "d", "e", "f"], 2),
            "number": np.repeat([1, 2, 5], 4),
            "region": np.repeat(["n", "n", "m"], 4),
            "x": np.arange(12.0),
        },
        index=pd.Index(range(100, 112)),
    )


def test_fewer_levels_are_the_first(data):
    out = extend_along(data, "school", 2)
    pd.testing.assert_frame_equal(out, data.iloc[:8].reset_index(drop=True))
    assert out.index.tolist() == list(range(8))


def test_more_levels_copy_in_turn(data):
    factors = ["school", "class_", "number", "region"]
    out = extend_along(data, "school", 7, factors)
    assert out["school"].nunique() == 7
    assert (out.groupby("school", observed=True).size() == 4).all()
    assert out["x"].tolist() == [*range(12), *range(12), *range(4)]
    assert list(out["school"].drop_duplicates()) == [
        "s", "t", "u", "s.2", "t.2", "u.2", "s.3"
    ]  # fmt: skip
    # nested factors have levels of their own, an outer one has not
    assert out["class_"].nunique() == 14
    assert out["number"].nunique() == 7
    assert set(out["region"]) == {"n", "m"}
    pairs = out[["school", "class_"]].drop_duplicates()
    assert not pairs["class_"].duplicated().any()


def test_whole_numbers_and_categories_go_on(data):
    out = extend_along(data, "number", 5)
    assert out["number"].drop_duplicates().tolist() == [1, 2, 5, 6, 7]
    data["school"] = pd.Categorical(data["school"], ["u", "t", "s"])
    out = extend_along(data, "school", 4)
    assert out["school"].cat.categories.tolist()[:3] == ["u", "t", "s"]
    assert out["x"].tolist()[-4:] == [8.0, 9.0, 10.0, 11.0]
    taken = data.assign(school=np.repeat(["s", "s.2", "t"], 4))
    out = extend_along(taken, "school", 6)
    assert out["school"].nunique() == 6


def test_rows_of_a_cell(data):
    out = extend_within(data, "school", 6)
    assert (out.groupby("school").size() == 6).all()
    assert out["x"].tolist()[:6] == [0, 1, 2, 3, 0, 1]
    few = extend_within(data, "school:class_", 1)
    assert few["x"].tolist() == [0, 2, 4, 6, 8, 10]
    uneven = extend_within(data.iloc[:9], "school", 2)
    assert uneven["x"].tolist() == [0, 1, 4, 5, 8, 8]


@pytest.mark.parametrize("count", [0, 2.5, "3", True])
def test_counts(data, count):
    for function, what in ((extend_along, "along"), (extend_within, "within")):
        with pytest.raises(ValueError, match=rf"{what}\['school'\]"):
            function(data, "school", count)


def test_columns(data):
    with pytest.raises(ValueError, match=r"'scool' is not a column.*'school'"):
        extend_along(data, "scool", 3)
    data.loc[101, "school"] = None
    with pytest.raises(ValueError, match="missing values"):
        extend_along(data, "school", 3)
    with pytest.raises(ValueError, match="missing values"):
        extend_within(data, "school", 3)
