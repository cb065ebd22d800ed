"""Tables that become data frames on demand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.specification.data.columns import (
    ColumnTable,
    as_floats,
    as_frame,
    known_columns,
    with_columns,
)


@pytest.mark.parametrize("names", [[], ["Intercept", "x"]])
def test_becomes_a_frame(names):
    index = pd.Index([3, 1, 2])
    values = np.arange(3.0 * len(names)).reshape(3, len(names))
    table = ColumnTable(values, index, names)
    want = pd.DataFrame(values, index=index, columns=names)
    pd.testing.assert_frame_equal(as_frame(table), want, check_column_type=bool(names))
    assert table.shape == want.shape
    assert len(table) == 3
    np.testing.assert_array_equal(np.asarray(table), values)
    assert np.asarray(table, np.float32).dtype == np.float32
    assert as_frame(want) is want


def test_model_shows_a_frame():
    """statsmodels' data object holds the frame that a constructor would have been given."""
    data = mx.datasets.sleepstudy.load().data
    data.index = data.index[::-1]
    model = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data)
    exog = model.data.orig_exog
    assert isinstance(exog, pd.DataFrame)
    assert model.data.orig_exog is exog
    assert list(exog.columns) == model.data.xnames == ["Intercept", "Days"]
    pd.testing.assert_index_equal(exog.index, data.index)
    pd.testing.assert_index_equal(model.data.row_labels, data.index)
    np.testing.assert_array_equal(exog.to_numpy(), model.exog)


def test_columns_of_any_name():
    data = pd.DataFrame({"self": [1, 2], 3: [0.5, 1.5]})
    out = with_columns(data, {"self": [5, 6], 3: [1.0, 2.0], "other": ["a", "b"]})
    assert out.to_dict("list") == {"self": [5, 6], 3: [1.0, 2.0], "other": ["a", "b"]}
    assert data.to_dict("list") == {"self": [1, 2], 3: [0.5, 1.5]}
    assert with_columns(data, {}) is data


@pytest.mark.formula_engine
@pytest.mark.parametrize("name", ["self", "kwargs", "data", "frame"])
def test_a_nullable_column_called_as_an_argument_is(name):
    data = mx.datasets.sleepstudy.load().data
    data[name] = pd.array(np.arange(len(data)) % 7, dtype="Int64")
    result = mx.mixedlm(f"Reaction ~ Days + {name} + (1 | Subject)", data).fit()
    got = result.predict(data.head(3), conditional=False)
    np.testing.assert_allclose(got, np.asarray(result.model.exog)[:3] @ result.fe_params)


def test_numbers_are_floats():
    for values in ([1, 2], np.array([True, False]), pd.Series([1.5], dtype="Float64")):
        assert as_floats(values).dtype == np.float64
    assert np.isnan(as_floats(pd.Series([1.0, None]))[1])


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (pd.date_range("2024-01-01", periods=3), "dates"),
        (pd.to_timedelta([1, 2], "D"), "durations"),
        (np.array([1j]), "complex"),
        (["a"], "could not convert"),
    ],
)
def test_what_are_no_numbers(values, match):
    with pytest.raises((TypeError, ValueError), match=match):
        as_floats(values)


def test_lists_of_columns_end():
    assert known_columns([], ["a", None]) == "none; levels of the index: a"
    assert known_columns(range(200)).endswith("28, 29 and 170 more")


@pytest.fixture(scope="module")
def with_a_column_twice():
    """A fit by variables of which there is one each, of data with two columns x."""
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(2, 24))
    data = pd.DataFrame({"y": y, "x": x, "f": list("ab") * 12, "g": np.repeat(range(6), 4)})
    return mx.mixedlm("y ~ f + (1 | g)", pd.concat([data, data[["x"]]], axis=1)).fit()


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: r.plot_fitted("x"),
        lambda r: r.get_influence("x"),
        lambda r: r.plot_residuals(by="x"),
        lambda r: r.acf(time="x"),
        lambda r: r.variogram("x"),
        lambda r: r.update(weights="x"),
        lambda r: r.bootstrap_cases(n=2, group="x"),
        lambda r: r.get_robustcov_results("cluster", groups="x"),
    ],
)
def test_which_column_is_meant_must_be_known(with_a_column_twice, ask):
    with pytest.raises(mx.FormulaError, match="several columns named x; leave all but"):
        ask(with_a_column_twice)


@pytest.mark.formula_engine
def test_other_columns_twice_are_no_matter(with_a_column_twice):
    assert with_a_column_twice.plot_effect("f").axes
    assert with_a_column_twice.plot_fitted("f").axes
