"""Values whose squares leave double precision are refused, whatever they are."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.compat import FormulaManager
from mixedext.exceptions import DesignError

pytestmark = pytest.mark.formula_engine

FORMULA = "y ~ Days + (Days | Subject)"
SQUARES = "Squares of what is not between 1e-140 and 1e\\+140"


@pytest.fixture(scope="module")
def sleep():
    data = mx.datasets.sleepstudy.load().data
    return data.assign(y=data["Reaction"])


def scaled(sleep, y=0, days=0, weights=0, offset=None):
    data = sleep.assign(y=sleep["y"] * 10.0**y, Days=sleep["Days"] * 10.0**days)
    w = None if weights == 0 else np.full(len(data), 10.0**weights)
    o = None if offset is None else np.full(len(data), 10.0**offset)
    return mx.mixedlm(FORMULA, data, weights=w, offset=o)


@pytest.mark.parametrize("power", [-320, -300, -200, -150, 150, 200, 300])
@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("y", r"the response \(endog\):"),
        ("days", "column 'Days' of exog:"),
        ("weights", "weights:"),
    ],
)
def test_beyond_the_range(sleep, argument, named, power):
    if (argument, power) == ("weights", -320):
        power = -310
    with pytest.raises(DesignError, match=f"{named} a size of 1e") as error:
        scaled(sleep, **{argument: power})
    assert "are no numbers of double precision: use another unit" in str(error.value)


def test_offset_and_ratios(sleep):
    with pytest.raises(DesignError, match=f"offset: a size of 1e\\+200. {SQUARES}"):
        scaled(sleep, offset=200)
    with pytest.raises(DesignError, match=r"response \(endog\) over column 'Days' of"):
        scaled(sleep, y=100, days=-100)
    with pytest.raises(DesignError, match=r"response \(endog\) times the root of weights"):
        scaled(sleep, y=100, weights=130)


@pytest.mark.parametrize("given", [{"y": 130}, {"y": -135}, {"days": 135}, {"days": -130}])
@pytest.mark.parametrize("weights", [0, 8])
def test_inside_the_range_units_do_not_matter(sleep, given, weights):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = scaled(sleep, **given, weights=weights).fit()
        text = str(result.summary())
    want = scaled(sleep, weights=weights).fit()
    np.testing.assert_allclose(result.tvalues.iloc[:2], want.tvalues.iloc[:2], rtol=1e-5)
    assert "nan" not in text


def test_small_values_among_others_and_zeros(sleep):
    values = sleep["Days"] * np.where(sleep["Days"] > 4, 1.0, 1e-300)
    assert mx.mixedlm("y ~ v + (1 | Subject)", sleep.assign(v=values)).fit().converged


def test_refits(sleep):
    model = mx.mixedlm(FORMULA, sleep)
    y = sleep["y"].to_numpy()
    for power in (-200, 160):
        with pytest.raises(DesignError, match=SQUARES):
            model.refit(y * 10.0**power)
        with pytest.raises(DesignError, match=SQUARES):
            model.fit_many(np.column_stack([y, y * 10.0**power]))
    assert model.refit(y * 1e100).converged


@pytest.mark.parametrize("given", [{"y": 1e200}, {"y": 1e-200}, {"Days": 1e180}])
def test_chunks(sleep, given):
    data = sleep.assign(**{k: sleep[k] * v for k, v in given.items()})
    chunks = [data.iloc[:90], data.iloc[90:]]
    with pytest.raises(DesignError, match=SQUARES):
        mx.MixedLM.from_chunks(FORMULA, lambda: iter(chunks))


def test_matrices_and_arrays():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 5)
    y = rng.normal(size=40)
    with pytest.raises(DesignError, match="column 1 of exog: a size of"):
        mx.MixedLM(y, np.column_stack([np.ones(40), y * 1e160]), groups)
    z = pd.get_dummies(groups).to_numpy(float) * 1e170
    with pytest.raises(DesignError, match=r"the matrix of .*: a size of 1e\+170"):
        mx.MixedLM(y, np.ones((40, 1)), terms=[mx.SparseTerm(z)])


@pytest.mark.skipif(
    FormulaManager().engine != "patsy", reason="formulaic remembers by its own functions"
)
@pytest.mark.parametrize("function", ["poly({}, 2)", "scale({})", "center({})"])
def test_functions_of_columns(sleep, function):
    formula = f"y ~ {function.format('v')} + (1 | Subject)"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"the argument of \w+\(\): a size of 1e\+200"):
            mx.mixedlm(formula, sleep.assign(v=sleep["Days"] * 1e200))


@pytest.mark.skipif(
    FormulaManager().engine != "patsy", reason="formulaic remembers by its own functions"
)
def test_polynomials(sleep):
    """Units do not matter within the range; infinite and too few values have reasons."""
    want = mx.mixedlm("y ~ poly(v, 2) + (1 | Subject)", sleep.assign(v=sleep["Days"])).fit()
    small = sleep.assign(v=sleep["Days"] * 2.0**-330)
    got = mx.mixedlm("y ~ poly(v, 2) + (1 | Subject)", small).fit()
    np.testing.assert_array_equal(got.fe_params, want.fe_params)
    edge = np.resize([2.0**63, -(2.0**63), 0.0, 1.0], len(sleep))
    with pytest.raises(ValueError, match="distinct values are too near to each other"):
        mx.mixedlm("y ~ poly(v, 3) + (1 | Subject)", sleep.assign(v=edge))
    edge[0] = np.inf
    with pytest.raises(ValueError, match="poly: there are infinite values"):
        mx.mixedlm("y ~ poly(v, 2) + (1 | Subject)", sleep.assign(v=edge))


@pytest.mark.skipif(
    FormulaManager().engine != "patsy", reason="formulaic remembers by its own functions"
)
def test_polynomials_of_the_smallest_numbers(sleep):
    """Denormal numbers leave no warning of NumPy's."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = sleep.assign(v=sleep["Days"] * 1e-315)
        model = mx.mixedlm("y ~ poly(v, 2) + (1 | Subject)", small)
    np.testing.assert_allclose(
        model.exog[:, 1:].T @ model.exog[:, 1:], np.eye(2), atol=1e-6
    )
