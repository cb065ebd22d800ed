"""Variance functions on rows: strata, covariates, starts, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.exceptions import DesignError
from mixedext.specification.covariance import variance_functions as functions
from mixedext.specification.covariance.residual_binding import bind_residual


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"sex": np.tile(["m", "f", "f"], 8), "x": rng.random(24) + 1})
    frame["diet"] = np.repeat([3, 1, 2, 1], 6)
    return frame


def refused(variance, data, text, kind=DesignError):
    with pytest.raises(kind) as caught:
        bind_residual(None, variance, columns=data)
    assert text in str(caught.value)


def test_strata_and_covariates_stand_beside_their_rows(data):
    bound = bind_residual(None, "ident(sex:diet) * power(x | diet)", columns=data)
    ident, power = bound.functions
    assert ident == functions.VarIdent(6)
    assert power == functions.VarPower(3)
    assert bound.strata_labels == (
        ["f:1", "f:2", "f:3", "m:1", "m:2", "m:3"],
        ["1", "2", "3"],
    )
    assert bound.function_texts == ("ident(sex:diet)", "power(x | diet)")
    (batch,) = bound.batches
    row = batch.rows[:, 0]
    labels = np.array(bound.strata_labels[0])[batch.strata[0][batch.pattern, 0]]
    assert labels.tolist() == (data["sex"] + ":" + data["diet"].astype(str))[row].tolist()
    assert (batch.covariates[0], bound.row_covariates[0]) == (None, None)
    assert batch.covariates[1][batch.pattern, 0].tolist() == data["x"][row].tolist()
    assert bound.row_strata[1].tolist() == (data["diet"] - 1).tolist()


def test_rows_that_are_alike_share_a_pattern(data):
    bound = bind_residual(None, "ident(sex)", columns=data)
    (batch,) = bound.batches
    assert batch.count.tolist() == [8, 16]
    assert (bound.n_obs, bound.n_groups, batch.size) == (24, 24, 1)


def test_one_level_is_the_model_without(data):
    assert bind_residual(None, "ident(one)", columns=data.assign(one="a")) is None
    data["one"] = "a"
    assert bind_residual(None, "ident(one) * ident(sex)", columns=data).function_texts == (
        "ident(sex)",
    )
    assert bind_residual("independent", columns=data) is None


def test_values_to_start_from(data):
    functions_ = [
        mx.VarIdent("sex", ratios={"m": 2}),
        mx.VarConstPower("x", "diet", const=0.5, fixed=True),
    ]
    bound = bind_residual(None, functions_, columns=data)
    assert bound.start == {
        "sd(m) ratio": 2.0,
        "const 1": 0.5,
        "const 2": 0.5,
        "const 3": 0.5,
    }
    assert bound.held == ("const 1", "const 2", "const 3")
    assert set(bound.start) < set(bound.names)


def test_fitted_values(data):
    bound = bind_residual(None, "power(fitted) * ident(sex)", columns=data)
    assert bound.of_fitted == (True, False)
    assert len(bound.batches[0].count) == 24  # each row has its own
    fitted = np.arange(24.0) + 1
    given = bound.with_fitted(fitted)
    (batch,) = given.batches
    assert (
        batch.covariates[0][batch.pattern, 0].tolist() == fitted[batch.rows[:, 0]].tolist()
    )
    assert given.row_covariates[0] is fitted
    own = bind_residual(None, "power(fitted)", columns=data.assign(fitted=data["x"]))
    assert own.of_fitted == (False,)
    assert own.with_fitted(fitted) is own
    serial = bind_residual(
        "ar1(v | g)",
        "power(fitted)",
        columns=data.assign(g=np.repeat(range(8), 3), v=np.tile(range(3), 8)),
    ).with_fitted(fitted)
    (batch,) = serial.batches
    assert batch.covariates[0][batch.pattern].tolist() == fitted[batch.rows].tolist()


REFUSED = {
    "power(z)": "variance power(z): 'z' must be positive, and its smallest value is -1; "
    "constpower or exp take any values",
    "fixed(z)": "'z' must be positive, and its smallest value is -1; a variance must be",
    "exp(one)": "variance exp(one): 'one' is 1 in all rows, which tells no parameter",
    "power(sex)": "power(sex): 'sex' must hold numbers",
    "ident(row)": "the variance by 'row': 0 has 1 row, which tells no variance; merge it",
}


@pytest.mark.parametrize("variance", REFUSED)
def test_refused(variance, data):
    data = data.assign(z=np.arange(24) - 1.0, one=1.0, row=np.arange(24))
    refused(variance, data, REFUSED[variance])


@pytest.mark.parametrize(
    ("ratios", "text"),
    [
        ({"x": 2}, "ident(sex): ratios has the level 'x', and there are f, m"),
        ({"f": 2, "m": 1}, "ratios are to 'f', whose own is 1; divide them by it"),
    ],
)
def test_ratios(ratios, text, data):
    refused(mx.VarIdent("sex", ratios=ratios), data, text, ValueError)


def test_a_ratio_of_one_level_cannot_be_held(data):
    held = mx.VarIdent("one", ratios={"a": 1}, fixed=True)
    refused(held, data.assign(one="a"), "has one level, 'a', and no ratio that could be")
