"""Values of the user's statistics: kinds, names, order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixedext.inference.bootstrap.user_statistics import (
    free_names,
    statistic_frame,
    statistic_values,
    vectorized_values,
)


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (2, {"statistic": 2.0}),
        (np.float32(0.5), {"statistic": 0.5}),
        (None, {"statistic": np.nan}),
        ([1, 2], {"statistic 1": 1.0, "statistic 2": 2.0}),
        (np.eye(1), {"statistic": 1.0}),
        ({"a": 1, "b": True}, {"a": 1.0, "b": 1.0}),
        (pd.Series([1.0], index=["q"]), {"q": 1.0}),
        (pd.Series([1.0], index=pd.MultiIndex.from_tuples([("g", 1)])), {"g, 1": 1.0}),
        (pd.DataFrame({"sd": [3.0]}, index=["g"]), {"g, sd": 3.0}),
    ],
)
def test_kinds_of_values(value, want):
    got = statistic_values(value)
    assert list(got.index) == list(want)
    np.testing.assert_array_equal(got.to_numpy(), list(want.values()))


def test_values_that_are_none():
    with pytest.raises(ValueError, match="two values with the name 'a'"):
        statistic_values(pd.Series([1.0, 2.0], index=["a", "a"]))
    with pytest.raises(ValueError, match="must give numbers, not str"):
        statistic_values("high")


def test_values_are_matched_by_name():
    own = pd.Series({"a": 1.0, "b": 2.0})
    values = [own, pd.Series({"b": 4.0, "a": 3.0}), None, pd.Series({"a": 1.0})]
    frame, messages = statistic_frame(own, values)
    nan = np.nan
    np.testing.assert_array_equal(frame, [[1.0, 2.0], [3.0, 4.0], [nan, nan], [nan, nan]])
    assert list(messages) == [3]
    assert "names ['a'], not ['a', 'b']" in messages[3]


def test_statistics_of_frames():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=[5, 6, 7])
    for statistic in (lambda f: f["a"] * 2, lambda f: {"statistic": f["a"] * 2}):
        got = vectorized_values(statistic, frame)
        assert list(got) == ["statistic"]
        assert got["statistic"].tolist() == [2.0, 4.0, 6.0]
        assert list(got.index) == [0, 1, 2]
    two = vectorized_values(lambda f: np.column_stack([f, f]), frame)
    assert list(two) == ["statistic 1", "statistic 2"]
    for wrong in (lambda f: 1.0, lambda f: f["a"][:2], lambda f: {"mean": f["a"].mean()}):
        with pytest.raises(ValueError, match="one a replicate"):
            vectorized_values(wrong, frame)


def test_values_of_frames_that_are_none():
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    with pytest.raises(ValueError, match="two values with the name 'a'"):
        vectorized_values(lambda f: pd.concat([f, f], axis=1), frame)
    with pytest.raises(ValueError, match="must give numbers, not str"):
        vectorized_values(lambda f: ["low", "high"], frame)


def test_missing_values_of_a_table_keep_their_names():
    table = pd.DataFrame({"sd": [3.0, np.nan], "mean": [1.0, 2.0]}, index=["g", "h"])
    got = statistic_values(table)
    assert list(got.index) == ["g, sd", "g, mean", "h, sd", "h, mean"]
    np.testing.assert_array_equal(got, [3.0, 1.0, np.nan, 2.0])


def test_names_of_parameters_are_kept_apart():
    assert free_names(["x", "z"], ["x", "sigma"]) == ["statistic x", "z"]
