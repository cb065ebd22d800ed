"""Population means of new data: what the data do not tell, and the model's offset."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.exceptions import (
    FormulaError,
    NotEstimableWarning,
    OffsetWarning,
    RankDeficientWarning,
)

pytestmark = pytest.mark.formula_engine


def frame(seed=0, n=80):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": rng.integers(0, 8, n), "x": rng.normal(size=n)})
    data["f"] = pd.Categorical(rng.choice(["a", "b"], n), categories=["a", "b", "c"])
    data["h"] = rng.choice(["p", "q", "s"], n)
    data["y"] = rng.normal(size=8)[data["g"]] + rng.normal(size=n) + data["x"]
    return data


def in_all_states(formula, data):
    """Results with their rows, saved, without rows, both, and from chunks."""
    model = mx.mixedlm(formula, data)
    yield model.fit()
    yield pickle.loads(pickle.dumps(model.fit()))
    removed = pickle.loads(pickle.dumps(model.fit()))
    yield pickle.loads(pickle.dumps(model.fit(), protocol=4))
    _ = removed.predict(data.head(1))  # makes the specification, which goes with the rows
    removed.remove_data()
    yield removed
    chunks = [data.iloc[:30], data.iloc[30:31], data.iloc[31:]]
    yield mx.MixedLM.from_chunks(formula, chunks).fit()


@pytest.mark.filterwarnings("ignore::mixedext.api.RankDeficientWarning")
@pytest.mark.parametrize("formula", ["y ~ f * x + (1 | g)", "y ~ f * np.exp(x) + (f | g)"])
def test_categories_without_rows(formula):
    data = frame().sort_values("f")
    new = pd.DataFrame({"f": ["a", "c", "b"], "x": [0.5, 0.5, 0.5]})
    want = mx.mixedlm(formula, data.assign(f=data["f"].astype(str))).fit()
    want = want.predict(new.iloc[[0, 2]], conditional=False)
    for result in in_all_states(formula, data):
        assert result.model.exog_names[:2] == ["Intercept", "f[T.b]"]
        with pytest.warns(NotEstimableWarning, match="NaN where f = 'c': the fit had no"):
            got = result.predict(new, conditional=False)
        assert np.isnan(got.iloc[1])
        np.testing.assert_allclose(got.iloc[[0, 2]], want, rtol=1e-6)
        with pytest.warns(NotEstimableWarning, match="f = 'c'"):
            assert np.isnan(result.predict(new.iloc[[1]], conditional=False)).all()
        with pytest.raises(FormulaError, match="do not fit"):
            result.predict(new.assign(f=["a", "c", "d"]), conditional=False)


def test_a_category_without_rows_in_a_function_of_values():
    data = frame()
    result = mx.mixedlm("y ~ np.where(f == 'a', 1.0, 0.0) + (1 | g)", data).fit()
    got = result.predict({"f": ["b", "c"]}, conditional=False)
    assert got[0] == got[1]


@pytest.mark.filterwarnings("ignore::mixedext.api.RankDeficientWarning")
def test_missing_cells():
    data = frame()
    data = data[(data["f"] == "a") | (data["h"] != "s")].reset_index(drop=True)
    new = pd.DataFrame({"f": ["a", "b", "b"], "h": ["s", "s", "q"], "x": 0.0})
    for result in in_all_states("y ~ f * h + x + (1 | g)", data):
        with pytest.warns(NotEstimableWarning, match=r"1 of 3 rows.*f\[T.b\]:h\[T.s\]"):
            got = result.predict(new, conditional=False)
        assert np.isnan(got).tolist() == [False, True, False]
    means = mx.mixedlm("y ~ f * h + x + (1 | g)", data).fit().emmeans(["f", "h"])
    known = means.linfct.assign(x=0.0).to_numpy() @ np.nan_to_num(result.fe_params)
    table = means.table.assign(known=known).set_index(["f", "h"])["known"]
    assert got.iloc[2] == pytest.approx(table["b", "q"])


@pytest.mark.parametrize("weights", [False, True])
def test_aliased_columns(weights):
    data = frame().assign(z=lambda d: 2 * d["x"] - 1, big=lambda d: 1e6 + d["x"])
    w = np.linspace(0.5, 2, len(data)) if weights else None
    exog = np.column_stack([np.ones(len(data)), data["x"], data["z"], data["big"]])
    with pytest.warns(RankDeficientWarning):
        arrays = mx.MixedLM(data["y"], exog, data["g"], weights=w).fit()
    assert arrays.model.dropped_columns == ["x2", "x3"]
    rows = [
        [1, 3.0, 5.0, 1e6 + 3],
        [1, 3.0, 5.1, 1e6 + 3],
        [1, 3.0, 5.0, 1e6],
        [0, 1, 2, 1],
    ]
    with pytest.warns(NotEstimableWarning, match="2 of 4 rows are NaN.*: x2, x3"):
        got = arrays.predict(rows)
    assert np.isnan(got).tolist() == [False, True, True, False]
    slope = arrays.fe_params.iloc[1]
    np.testing.assert_allclose(got[[0, 3]], [arrays.fe_params.iloc[0] + 3 * slope, slope])
    with pytest.warns(NotEstimableWarning):
        own = arrays.model.predict(arrays.params, rows)
    np.testing.assert_array_equal(own, got)
    np.testing.assert_allclose(arrays.predict(exog), arrays.predict(), rtol=1e-12)
    arrays.remove_data()
    with pytest.warns(NotEstimableWarning):
        np.testing.assert_array_equal(arrays.predict(rows), got)
    with pytest.warns(RankDeficientWarning):
        by_name = mx.mixedlm("y ~ x + z + (1 | g)", data).fit()
    new = {"x": [1.0, 1.0, np.nan], "z": [1.0, 2.0, 1.0]}
    with pytest.warns(NotEstimableWarning, match="others: z"):
        got = by_name.predict(new, conditional=False)
    assert np.isnan(got).tolist() == [False, True, True]


def test_own_rows_and_rows_of_the_data_are_always_known():
    data = frame(n=400)
    data = data.assign(
        big=1e7 * data["x"] + 3, h=np.where(data["f"] == "a", "p", data["h"])
    )
    with pytest.warns(RankDeficientWarning):
        model = mx.mixedlm("y ~ f * h * x + big + (1 | g)", data)
    result = model.fit()
    np.testing.assert_allclose(result.predict(data), result.predict(), rtol=1e-9)


# ---- offset ----


def test_offset_by_name():
    data = mx.datasets.sleepstudy.load().data
    data["o"] = 3 * data["Days"]
    formula = "Reaction ~ Days + (Days | Subject)"
    named = mx.mixedlm(formula, data, offset="o").fit()
    chunked = mx.MixedLM.from_chunks(formula, [data[:60], data[60:]], offset="o").fit()
    in_formula = mx.mixedlm(f"{formula} + offset(o)", data).fit()
    want = in_formula.predict(data)
    for result in (named, pickle.loads(pickle.dumps(named)), chunked):
        np.testing.assert_allclose(result.predict(data), want, rtol=1e-9)
        for row, value in ((2, 272.34), (3, 282.81)):
            mean = result.predict(data.iloc[[row]], conditional=False)
            assert round(float(mean.iloc[0]), 2) == value
        # given by hand it stands in place of the column
        got = result.predict(data.drop(columns="o"), offset=data["o"] + 1)
        np.testing.assert_allclose(got, want + 1, rtol=1e-9)
        with pytest.raises(FormulaError, match="have no column 'o', which the model's off"):
            result.predict(data[["Days"]])
        with pytest.raises(ValueError, match="offset is not numeric"):
            result.predict(data.head(2).assign(o=["u", "v"]))
    np.testing.assert_allclose(named.predict(), want, rtol=1e-9)
    np.testing.assert_allclose(named.predict(data.set_index("o")), want, rtol=1e-9)
    smaller = named.drop1().index  # submodels keep what the offset is called
    assert "Days" in smaller


def test_both_offsets_and_one_that_new_data_cannot_have():
    data = frame().assign(o=lambda d: d["x"] ** 2, p=lambda d: 3.0 * d["g"])
    both = mx.mixedlm("y ~ x + offset(o) + (1 | g)", data, offset="p").fit()
    np.testing.assert_allclose(both.predict(data), both.predict(), rtol=1e-12)
    values = mx.mixedlm("y ~ x + (1 | g)", data, offset=data["o"]).fit()
    with pytest.warns(OffsetWarning, match="given as values"):
        without = values.predict(data)
    whole = values.predict(data, offset=data["o"])
    np.testing.assert_allclose(whole, values.predict(), rtol=1e-12)
    np.testing.assert_allclose(without, whole - data["o"], rtol=1e-12)


@pytest.mark.formula_engine
def test_variances_that_rounding_made_negative_are_told():
    data = mx.datasets.dyestuff.load().data
    found = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit().get_prediction(data.iloc[:3])
    variance = np.array([4.0, -1e-12, 1.0])
    with pytest.warns(mx.PrecisionWarning, match="1 of 3 variances of predictions"):
        errors = replace(found, var_pred_mean=variance).se_mean
    np.testing.assert_array_equal(errors, [2.0, np.nan, 1.0])
