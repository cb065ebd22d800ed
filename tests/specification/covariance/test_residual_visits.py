"""Labels of visits to places: whole numbers, categoricals, text; and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixedext.exceptions import CategoryWarning, DesignError
from mixedext.specification.covariance.residual_visits import visits_of


def visits(values, ordered=True, by_lag=True):
    return visits_of(pd.Series(values), "v", ordered, by_lag)


@pytest.mark.parametrize(
    "values",
    [
        np.array([0, 4, 8, 16]),
        np.array([0, 4, 8, 16], np.uint8),
        np.array([0.0, 4.0, 8.0, 16.0]),
        pd.array([0, 4, 8, 16], dtype="Int64"),
    ],
    ids=lambda v: str(v.dtype),
)
def test_gaps_between_whole_numbers_count_in_their_common_step(values):
    found = visits(values)
    assert found.codes.tolist() == [0, 1, 2, 3]
    assert found.positions.tolist() == [0, 1, 2, 4]
    assert found.labels == [0, 4, 8, 16]
    assert found.at_positions == [0, 4, 8, 12, 16]
    assert found.n_places == 5


def test_where_lags_do_not_count_the_order_does():
    found = visits([3, 1, 10, 1], by_lag=False)
    assert found.codes.tolist() == [1, 0, 2, 0]
    assert found.positions.tolist() == [0, 1, 2]
    assert found.at_positions == [1, 3, 10]


def test_negative_numbers_and_one_visit():
    assert visits([-2, 0, -2]).positions.tolist() == [0, 1]
    assert visits([7, 7]).at_positions == [7]


def test_categories_in_their_order_without_those_of_no_row():
    values = pd.Categorical(["b", "c", "b"], categories=["c", "a", "b"])
    found = visits_of(pd.Series(values), "v", True, True)
    assert found.labels == ["c", "b"]
    assert found.codes.tolist() == [1, 0, 1]
    assert found.positions.tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [object, "string"])
def test_text_in_the_order_of_the_alphabet_if_numbers_agree(dtype):
    found = visits(pd.Series(["VIS2", "VIS1", "VIS3"], dtype=dtype))
    assert found.labels == ["VIS1", "VIS2", "VIS3"]
    assert visits(["week 02", "week 10"]).labels == ["week 02", "week 10"]


def test_text_whose_numbers_sort_otherwise():
    text = (
        "the visits 'v' are text, of which the order by alphabet is V1, V10, V2, by their "
        r"numbers V1, V2, V10: make it an ordered categorical, pd.Categorical\("
    )
    with pytest.raises(DesignError, match=text):
        visits(["V1", "V2", "V10"])
    found = visits(["V10", "V1", "V2"], ordered=False)
    assert found.labels == ["V1", "V2", "V10"]
    assert found.codes.tolist() == [2, 0, 1]


def test_text_without_numbers_is_told():
    text = "order of the alphabet: after, before, end; make it an ordered categorical"
    with pytest.warns(CategoryWarning, match=text):
        visits(["before", "after", "end"])


@pytest.mark.filterwarnings("error")
def test_text_without_numbers_where_order_is_nothing():
    assert visits(["before", "after", "end"], ordered=False).labels[0] == "after"
    assert visits(["post", "pre"]).labels == ["post", "pre"]


def test_truth_values():
    found = visits([True, False])
    assert found.labels == [False, True]
    assert found.positions.tolist() == [0, 1]


REFUSED = {
    "half": ([1.0, 2.5], r"not whole numbers \(v=2.5\): car1\(v \| g\) takes times"),
    "large": ([1e300, 2e300], "too large for whole numbers"),
    "dates": (pd.to_datetime(["2020-01-01"]), "are dates: make days of them"),
    "durations": (pd.to_timedelta([1], unit="D"), "are durations: make days of them"),
    "far": ([0, 1, 10**9], "run from 0 to 1000000000, .* car1.* if their order alone"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    values, text = REFUSED[name]
    with pytest.raises(DesignError, match=text):
        visits(values)
