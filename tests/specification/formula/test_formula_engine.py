"""Data that formula engines do not take as they are, and new data."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

import mixedext as mx

pytestmark = pytest.mark.formula_engine

FORMULA = "y ~ x * f + (x | g)"


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    n = 240
    frame = pd.DataFrame({"g": np.repeat(np.arange(24), 10), "x": rng.standard_normal(n)})
    frame["f"] = rng.choice(list("abc"), n)
    frame["y"] = rng.standard_normal(n) + rng.standard_normal(24)[frame["g"]]
    return frame


@pytest.fixture(scope="module")
def result(data):
    return mx.mixedlm(FORMULA, data).fit()


def test_arrow_columns(data, result):
    arrow = pytest.importorskip("pyarrow")
    frame = data.convert_dtypes(dtype_backend="pyarrow")
    text = [arrow.large_string(), arrow.dictionary(arrow.int32(), arrow.string())]
    frames = [frame, *(frame.astype({"f": pd.ArrowDtype(t)}) for t in text)]
    for own in frames:
        got = mx.mixedlm(FORMULA, own).fit()
        assert got.llf == pytest.approx(result.llf, rel=1e-13)
        assert set(got.model.data.frame["f"]) == set("abc")
        np.testing.assert_allclose(result.predict(own), result.predict(data))
    whole = frame.assign(x=data["x"].round(3))
    decimal = whole.astype({"x": pd.ArrowDtype(arrow.decimal128(10, 3))})
    want = mx.mixedlm(FORMULA, whole).fit()
    assert mx.mixedlm(FORMULA, decimal).fit().llf == pytest.approx(want.llf, rel=1e-13)


def test_categories_of_new_data_in_another_order(data, result):
    new = data.assign(f=pd.Categorical(data["f"], categories=list("cxba")))
    np.testing.assert_array_equal(result.predict(new), result.predict(data))
    with pytest.raises(mx.FormulaError, match="do not fit the formula"):
        result.predict(new.assign(f=pd.Categorical(["x"] * len(new))))


def test_new_rows_that_lack_a_value(data, result):
    new = data.iloc[:6].copy()
    new["f"] = new["f"].astype(object)
    new.loc[1, "x"] = np.nan
    new.loc[4, "f"] = None
    got = result.predict(new)
    assert got.isna().tolist() == [False, True, False, False, True, False]
    good = got.notna()
    np.testing.assert_array_equal(got[good], result.predict(data.iloc[:6])[good])


def test_new_data_of_other_kinds(data, result):
    want = np.asarray(result.predict(data.iloc[:1]))
    one = {"g": data["g"].iloc[0], "x": data["x"].iloc[0], "f": data["f"].iloc[0]}
    np.testing.assert_array_equal(result.predict(one), want)
    np.testing.assert_array_equal(result.predict(pd.Series(one)), want)
    with pytest.raises(mx.FormulaError, match="have no column x; their columns are: f"):
        result.predict(data[["f"]])
    with pytest.raises(mx.FormulaError, match="transform=False"):
        result.predict(np.ones((2, 6)))


def test_columns_of_arrays_go_by_name(data):
    data = data.assign(z=data["x"] ** 2)
    fit = mx.MixedLM(data["y"], data[["x", "z"]], data["g"]).fit()
    want = fit.predict(data[["x", "z"]])
    np.testing.assert_array_equal(fit.predict(data[["z", "x"]]), want)
    np.testing.assert_array_equal(fit.predict(data), want)
    other = data[["x", "z"]].set_axis(["p", "q"], axis=1)
    np.testing.assert_array_equal(fit.predict(other), want)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (None, "data=None is no data"),
        ("file.csv", "data='file.csv' is no data"),
        (object(), "of which pandas makes no DataFrame"),
    ],
)
def test_data_that_are_no_frame(data, match):
    with pytest.raises(TypeError, match=match):
        mx.mixedlm(FORMULA, data)


def test_numbers_in_a_column_of_objects(data):
    with pytest.raises(ValueError, match=r"pd\.to_numeric"):
        mx.mixedlm("y ~ x + (1 | g)", data.astype({"y": object}))


def test_what_a_formula_has_learned_is_gone_with_the_data(data):
    fit = mx.mixedlm("y ~ C(f, Sum) + (1 | g)", data).fit()
    want = fit.predict(data)
    fit.remove_data()
    np.testing.assert_array_equal(fit.predict(data), want)
    for other in (pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit)):
        if other.model.data.has_spec:  # formulaic's specification can be pickled
            np.testing.assert_array_equal(other.predict(data), want)
            continue
        with pytest.raises(ValueError, match=r"data of this model were removed.*transform"):
            other.predict(data)
