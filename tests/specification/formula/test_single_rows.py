"""Formulas whose columns in a row depend on the other rows."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.compat import FormulaManager
from mixedext.specification.formula.single_rows import expressions_in

pytestmark = pytest.mark.formula_engine

FORMULAIC = FormulaManager().engine == "formulaic"


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
        "(x.rank() | g)",
        "(0 + np.digitize(x, np.quantile(x, [0.3, 0.6])) | g)",
        "(1 | np.digitize(x, np.quantile(x, [0.3, 0.6])))",
        "(1 | pd.cut(x, 4))",
        "(1 | f:(x.rank() > 40))",
        pytest.param(
            "(1 | center(x) > 0)",
            marks=pytest.mark.skipif(FORMULAIC, reason="formulaic has no name center here"),
        ),
    ],
)
def test_random_terms_that_depend_on_other_rows_are_refused(data, text):
    """Their columns or levels; what needs neither is answered."""
    result = mx.mixedlm(f"y ~ f + {text}", data).fit()
    for ask in (result.predict, pickle.loads(pickle.dumps(result)).predict):
        with pytest.raises(mx.FormulaError, match=r"than among all rows.*conditional=F"):
            ask(data.head(3))
    mean = result.predict(data.head(3), conditional=False)
    result.remove_data()
    assert result.predict(data.head(3), conditional=False).equals(mean)
    with pytest.raises(mx.FormulaError, match="than among all rows"):
        result.predict(data.head(3), new_levels="zero")


@pytest.mark.parametrize(
    "text",
    [
        "(1 | x > x.mean())",
        "(1 | g:(x < np.median(x)))",
        "offset(center(x)) + (1 | g)",
        "offset(2 * scale(x) - k) + (1 | g)",
        "f + offset(x - x.mean()) + offset(center(k)) + (center(x) | g)",
    ],
)
def test_offsets_and_levels_that_are_remembered(data, text):
    data = data.assign(y=data["y"] + 3 * (data["x"] > data["x"].mean()))
    new = data[data["x"] > 3.5]  # whose own means are others
    result = mx.mixedlm(f"y ~ {text}", data).fit()
    fitted = result.fittedvalues.loc[new.index]
    assert result.fittedvalues.std() > 0.5
    again = pickle.loads(pickle.dumps(result))
    result.remove_data()
    for own in (again, result, pickle.loads(pickle.dumps(result))):
        np.testing.assert_allclose(own.predict(new), fitted, rtol=1e-12)


@pytest.mark.parametrize("text", ["scale(y)", "center(y)", "I(y.rank())"])
def test_responses_that_depend_on_other_rows_are_refused(data, text):
    """Of rows of new levels; means of the whole column are remembered."""
    new = data[data["g"] == 3].assign(g=77)
    result = mx.mixedlm(f"{text} ~ x + (1 | g)", data).fit()
    with pytest.raises(mx.FormulaError, match=r"than among all rows.*I\(y - y.mean\(\)\)"):
        result.ranef_new(new)
    result.remove_data()
    with pytest.raises(mx.FormulaError, match="than among all rows"):
        result.ranef_new(new)
    written = mx.mixedlm("I((y - y.mean()) / y.std()) ~ x + (1 | g)", data).fit()
    before = data.assign(y=(data["y"] - data["y"].mean()) / data["y"].std())
    known = mx.mixedlm("y ~ x + (1 | g)", before).fit()
    found = written.ranef_new(new).values
    wanted = known.ranef_new(before[data["g"] == 3].assign(g=77)).values
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


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
