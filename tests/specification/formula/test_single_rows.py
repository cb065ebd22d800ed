"""Formulas whose columns in a row depend on the other rows."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.specification.formula.single_rows import expressions_in

pytestmark = pytest.mark.formula_engine


def standardized(x):
    return (x - np.mean(x)) / np.std(x)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"g": np.repeat(np.arange(10), 8), "x": rng.normal(3, 2, 80)})
    frame["f"] = rng.choice(["a", "b"], 80)
    frame["k"] = rng.integers(0, 4, 80).astype(np.int8)
    noise = rng.standard_normal(80) + 3 * rng.standard_normal(10)[frame["g"]]
    return frame.assign(y=frame["x"] + noise)


def test_expressions_of_a_formula():
    text = "y ~ C(f) * x + I(x**2) + f(x).g + np.log(x) + poly(x, 2) + I(x - x.mean())"
    found = expressions_in(text, {"np": np}, ["x**2", "g(x)", "x.shift()"])
    assert found == ["f(x).g", "I(x - x.mean())", "I(g(x))", "I(x.shift())"]
    text = "y ~ C(f) + np.log(x) + (x + 1):x"
    assert expressions_in(text, {"np": len}) == ["np.log(x)"]


@pytest.mark.parametrize(
    "text",
    [
        "standardized(x)",
        "I(x.rank())",
        "I(x.cumsum())",
        "I(x.shift(1).fillna(0))",
        "I(x - x.groupby(g).transform('mean'))",
        "C(pd.cut(x, 3))",
        "offset(0.01 * x.rank())",
    ],
)
def test_what_depends_on_other_rows_is_refused(data, text):
    result = mx.mixedlm(f"y ~ f + {text} + (1 | g)", data).fit()
    name = text.replace(" ", "")
    asked = [
        lambda r: r.predict(data.head(3)),
        lambda r: r.emmeans("f"),
        lambda r: pickle.loads(pickle.dumps(r)).predict(data),
    ]
    for ask in asked if not text.startswith("offset") else asked[:1]:
        with pytest.raises(mx.FormulaError, match=r"center\(x\)") as caught:
            ask(result)
        assert name in str(caught.value).replace(" ", "")
    assert len(result.predict()) == len(data)
    result.remove_data()
    with pytest.raises(mx.FormulaError, match="than among all rows"):
        result.predict(data.head(3))


@pytest.mark.parametrize(
    "text",
    [
        "center(x)",
        "poly(x, 3)",
        "bs(x, df=5)",
        "C(x > 3)",
        "C(k) + I(k**20)",
        "I(x / x.sum())",
        "I(x - log(abs(x)).mean())",
        "C(x > x.median())",
    ],
)
@pytest.mark.filterwarnings("ignore::mixedext.RankDeficientWarning")
def test_what_rows_have_alone_is_taken(data, text):
    result = mx.mixedlm(f"y ~ f + {text} + (1 | g)", data).fit()
    np.testing.assert_allclose(result.predict(data.tail(2)), result.predict()[-2:])
