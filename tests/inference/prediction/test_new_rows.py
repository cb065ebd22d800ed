"""Which random effects a prediction is given, and what is done with new levels."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.exceptions import FormulaError, OffsetWarning

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings(
        "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
    ),
    pytest.mark.filterwarnings("ignore::mixedext.api.NoGroupInterceptWarning"),
]


def crossed(seed=0, n=120):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": rng.integers(0, 8, n), "h": rng.integers(0, 5, n)})
    data["x"], data["o"] = rng.normal(size=(2, n))
    data["f"] = rng.choice(["p", "q", "r"], n)
    y = rng.normal(size=8)[data["g"]] + rng.normal(size=5)[data["h"]] + data["x"]
    data["y"] = y + rng.normal(size=8)[data["g"]] * data["x"] + rng.normal(size=n)
    data.index = [f"row {i}" for i in range(n)]
    return data


STATED = {
    "slopes": ("y ~ x + f + (x | g) + (1 | h)", {}),
    "interaction": ("y ~ x + (1 | g) + (1 | g:h)", {}),
    "transforms": ("y ~ center(x) + (scale(x) | g) + (0 + poly(x, 2) || h)", {}),
    "factor": ("y ~ x + (0 + f | g)", {}),
    "offset": ("y ~ x + offset(o) + (1 | g)", {}),
    "groups": ("y ~ x", {"groups": "g"}),
    "re_formula": ("y ~ x", {"groups": "g", "re_formula": "~ x"}),
    "vc_formula": (
        "y ~ x",
        {"groups": "g", "re_formula": "1", "vc_formula": {"h": "0 + C(h)"}},
    ),
    "vc columns": ("y ~ x", {"groups": "g", "vc_formula": {"i": "1", "s": "0 + x"}}),
    "both": ("y ~ x + (1 | h)", {"groups": "g", "re_formula": "~ x"}),
}


@pytest.mark.parametrize("name", STATED)
def test_no_rows_and_rows_of_no_group(name):
    """They have no prediction with random effects, and that of the population as others."""
    data = crossed()
    formula, options = STATED[name]
    result = mx.mixedlm(formula, data, **options).fit()
    assert result.predict(data.iloc[:0], conditional=True).shape == (0,)
    assert len(result.get_prediction(data.iloc[:0], conditional=True).summary_frame()) == 0
    lost = data.iloc[:3].assign(g=np.nan, h=np.nan)
    if "C(h)" not in str(options):
        assert result.predict(lost, conditional=True).isna().all()
    for conditional in (True, False):
        one = data.iloc[:3].assign(g=[np.nan, data["g"].iloc[1], np.nan])
        none = one.assign(g=np.nan)
        found, alone = (
            result.get_prediction(rows, conditional=conditional)
            .summary_frame()
            .iloc[[0, 2]]
            for rows in (one, none)
        )
        pd.testing.assert_frame_equal(found, alone)


@pytest.mark.parametrize("name", STATED)
def test_predictions_are_fitted_values(name):
    data = crossed()
    formula, options = STATED[name]
    result = mx.mixedlm(formula, data, **options).fit()
    want = result.fittedvalues
    np.testing.assert_allclose(result.predict(conditional=True), want, rtol=1e-10)
    some = data.iloc[[7, 100, 3]]
    states = [result, pickle.loads(pickle.dumps(result))]
    gone = mx.mixedlm(formula, data, **options).fit()
    gone.remove_data()
    for own in [*states, gone]:
        got = own.predict(some, conditional=True)
        np.testing.assert_allclose(got, want.iloc[[7, 100, 3]], rtol=1e-10)
        assert list(got.index) == list(some.index)
        population = own.predict(some, conditional=False)
        mean = result.predict(conditional=False)
        np.testing.assert_allclose(population, mean.iloc[[7, 100, 3]], rtol=1e-10)
    by_groups = bool(options) and "|" not in formula
    default = result.predict(some)
    np.testing.assert_array_equal(default, result.predict(some, conditional=not by_groups))
    errors = gone.get_prediction(some, conditional=True)
    again = result.get_prediction(conditional=True)
    np.testing.assert_allclose(errors.se_mean, again.se_mean[[7, 100, 3]], rtol=1e-8)


def test_chunks():
    data = crossed()
    formula = "y ~ x + f + (x | g) + (1 | h)"
    whole = mx.mixedlm(formula, data).fit()
    chunks = [data[:50], data[50:]]
    chunked = mx.MixedLM.from_chunks(formula, chunks).fit()
    for conditional in (None, False, "g", ["h"]):
        got = chunked.predict(data.head(9), conditional=conditional)
        want = whole.predict(data.head(9), conditional=conditional)
        np.testing.assert_allclose(got, want, rtol=1e-6)
    with pytest.raises(ValueError, match="chunks"):
        chunked.predict()
    with pytest.raises(ValueError, match="levels of 'g' that the fit had not: 99"):
        chunked.predict(data.head(2).assign(g=99))


def test_arrays_and_terms():
    data = crossed()
    x = data[["x"]].assign(one=1.0)[["one", "x"]]
    terms = [
        mx.RandomTerm(data["g"], x.to_numpy(), group="g", names=["Intercept", "x"]),
        mx.RandomTerm(data["h"], group="h"),
    ]
    result = mx.MixedLM(data["y"], x, terms=terms).fit()
    want = mx.mixedlm("y ~ x + (x | g) + (1 | h)", data).fit()
    new = data.assign(one=1.0).iloc[[3, 9]]
    got = result.predict(new)
    np.testing.assert_allclose(got, want.predict(new), rtol=1e-6)
    np.testing.assert_allclose(got, result.fittedvalues.iloc[[3, 9]], rtol=1e-10)
    with pytest.raises(ValueError, match=r"does not tell the levels.*conditional=False"):
        result.predict(new[["one", "x"]].to_numpy())
    with pytest.raises(FormulaError, match=r"no column 'h'.*conditional=False"):
        result.predict(new.drop(columns="h"))
    np.testing.assert_allclose(
        result.predict(new.drop(columns="h"), conditional="g"),
        want.predict(new, conditional="g"),
        rtol=1e-6,
    )
    random = mx.MixedLM(data["y"], x, data["g"], exog_re=x).fit()
    bars = mx.mixedlm("y ~ x + (x | g)", data).fit()
    np.testing.assert_allclose(random.predict(), bars.predict(conditional=False), rtol=1e-6)
    np.testing.assert_allclose(random.predict(conditional=True), bars.predict(), rtol=1e-6)


def test_factors_that_are_not_named_may_be_missing():
    data = crossed()
    result = mx.mixedlm("y ~ x + (x | g) + (1 | h)", data).fit()
    part = data[["x", "g"]].head(4)
    got = result.predict(part, conditional="g")
    mean = (
        result.predict(conditional=False)
        + result.ranef("g").loc[data["g"], "Intercept"].to_numpy()
    )
    mean += result.ranef("g").loc[data["g"], "x"].to_numpy() * data["x"]
    np.testing.assert_allclose(got, mean.head(4), rtol=1e-9)
    np.testing.assert_array_equal(got, result.predict(part, conditional=["g"]))
    with pytest.raises(FormulaError, match=r"'h' is not a column.*conditional=False"):
        result.predict(part)
    with pytest.raises(ValueError, match=r"'k' is not a grouping factor.*g, h"):
        result.predict(data, conditional=["g", "k"])
    for bad in (3, [3], {"g": 1}):
        with pytest.raises(ValueError, match="conditional="):
            result.predict(data, conditional=bad)


def test_new_levels_and_missing_labels():
    data = crossed().astype({"g": object})
    result = mx.mixedlm("y ~ x + (x | g)", data).fit()
    labels = pd.Series([1, 77, None, 88, 77, 91, 92, 93, 94], dtype=object)
    new = pd.DataFrame({"x": 1.0, "g": labels})
    with pytest.raises(ValueError, match=r"'g'.*: 77, 88, 91, 92, 93 and 1 more"):
        result.predict(new)
    population = result.predict(new, conditional=False)
    zero = result.predict(new, new_levels="zero")
    np.testing.assert_allclose(zero[1:], population[1:])
    assert zero[0] != population[0]
    gone = result.predict(new, new_levels="missing")
    assert gone.isna().tolist() == [False] + [True] * 8
    assert result.predict(new.iloc[[0, 2]]).isna().tolist() == [False, True]
    with pytest.raises(ValueError, match="new_levels='none'; use one of raise"):
        result.predict(new, new_levels="none")
    own = crossed()
    fixed = mx.mixedlm("y ~ f + (1 | g)", own).fit()
    with pytest.raises(FormulaError, match=r"do not fit the formula.*z"):
        fixed.predict(own.head(2).assign(f=["p", "z"]), new_levels="zero")


def test_offsets_given_as_values():
    data = crossed()
    result = mx.mixedlm("y ~ x + (1 | g)", data, offset=data["o"]).fit()
    with pytest.warns(OffsetWarning):
        without = result.predict(data)
    np.testing.assert_allclose(without + data["o"], result.fittedvalues, rtol=1e-10)
    got = result.get_prediction(data.head(3), offset=data["o"].head(3))
    np.testing.assert_allclose(got.predicted_mean, result.fittedvalues.head(3), rtol=1e-10)


@pytest.mark.parametrize("text", ["C(h)", "0 + center(x)", "0 + C(h):x + x"])
def test_components_that_one_row_does_not_tell(text):
    """Coded against the first of a group, or learnt of it: refused, before and after
    the data are removed."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(range(8), 12), "h": np.tile(range(4), 24)})
    data["x"] = rng.normal(size=96)
    data["y"] = rng.normal(size=8)[data["g"]] + rng.normal(size=96)
    model = mx.mixedlm("y ~ x", data, groups="g", re_formula="1", vc_formula={"h": text})
    result = model.fit()
    for _ in range(2):
        with pytest.raises(FormulaError, match="depend on the other rows of its group"):
            result.predict(data.head(3), conditional=True)
        assert len(result.predict(data.head(3), conditional=False)) == 3
        result.remove_data()


def test_components_coded_by_categories():
    """Categories of the fit code one row as all: so they are given, else refused."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(range(8), 12), "h": np.tile(list("abcd"), 24)})
    data["h"] = pd.Categorical(data["h"], categories=list("cabd"))
    data["y"] = rng.normal(size=8)[data["g"]] + rng.normal(size=96)
    model = mx.mixedlm("y ~ 1", data, groups="g", re_formula="1", vc_formula={"h": "C(h)"})
    result = model.fit()
    whole = result.predict(data, conditional=True)
    np.testing.assert_allclose(whole, result.fittedvalues, rtol=1e-10)
    one = [result.predict(data.iloc[[i]], conditional=True).iloc[0] for i in range(5)]
    np.testing.assert_allclose(one, whole[:5], rtol=1e-10)
    with pytest.raises(FormulaError, match="the same pandas Categorical"):
        result.predict(data.head(3).assign(h=["a", "b", "c"]), conditional=True)
    result.remove_data()
    with pytest.raises(FormulaError, match="the same pandas Categorical"):
        result.predict(data.head(3), conditional=True)


def test_levels_of_another_type_are_told():
    data = pd.DataFrame({"g": np.repeat(range(1, 7), 5), "x": np.arange(30.0)})
    data["y"] = np.sin(data["x"]) + data["g"]
    result = mx.mixedlm("y ~ x + (1 | g)", data).fit()
    with pytest.raises(ValueError, match=r"fit had 2, of type int.*this is '2', of type"):
        result.predict(pd.DataFrame({"x": [1.0], "g": ["2"]}))
    with pytest.raises(ValueError, match=r"had not: 9\. new_levels"):
        result.predict(pd.DataFrame({"x": [1.0], "g": [9]}))


def test_component_of_a_row_without_a_group():
    """It is that of a group nobody knows, not that of the first one."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(list("abcdef"), 12), "h": np.tile(range(4), 18)})
    data["y"] = rng.normal(size=(6, 4))[np.repeat(range(6), 12), data["h"]]
    data["y"] += 0.3 * rng.normal(size=72)
    vc = {"h": "0 + C(h)"}
    model = mx.mixedlm("y ~ 1", data, groups="g", re_formula="1", vc_formula=vc)
    result = model.fit()
    rows = pd.DataFrame({"g": [None, "new"], "h": [1, 1]})
    found = result.get_prediction(rows, conditional=True, new_levels="zero")
    np.testing.assert_allclose(found.predicted_mean, result.fe_params.iloc[0])
    np.testing.assert_allclose(found.se_mean[0], found.se_mean[1])


@pytest.mark.parametrize("text", ["C(h)", "0 + C(h)"])
def test_a_component_whose_last_group_has_fewer_columns(text):
    """Its effects are padded; those of the fit's rows are the fit's."""
    data = crossed()
    data["h"] = pd.Categorical(np.where((data["g"] < 7) & (data["h"] > 2), "b", "a"))
    model = mx.mixedlm("y ~ x", data, groups="g", re_formula="1", vc_formula={"h": text})
    result = model.fit()
    found = result.predict(data, conditional=True)
    np.testing.assert_allclose(found, result.fittedvalues, rtol=1e-12)


def test_numbers_for_what_were_categories():
    """Numbers that are the categories are taken for them, others are refused."""
    data = crossed()
    data = data.assign(k=pd.Categorical(np.arange(len(data)) % 3 + 1))
    result = mx.mixedlm("y ~ k + (1 | g)", data).fit()
    new = data.head(6).assign(k=np.asarray(data["k"].head(6), int))
    np.testing.assert_allclose(result.predict(new), result.fittedvalues[:6], rtol=1e-12)
    with pytest.raises(FormulaError, match="do not fit the formula"):
        result.predict(new.assign(k=7))


def test_refused_rows_leave_the_fit_alone():
    """Text for numbers is refused; the rows after it are taken as if it had not been."""
    result = mx.mixedlm("y ~ x + (1 | g)", crossed()).fit()
    new = crossed().head(6)
    before = result.predict(new)
    with pytest.raises(FormulaError, match="do not fit the formula"):
        result.predict(new.assign(x=["a", "b", "c"] * 2))
    np.testing.assert_array_equal(result.predict(new), before)


@pytest.mark.parametrize("formula", ["y ~ log(x) + (1 | g)", "y ~ 1 + (log(x) | g)"])
def test_warnings_of_expressions_point_at_the_call(formula):
    """A logarithm of new data that is none is numpy's to say, at the user's line."""
    data = crossed()
    result = mx.mixedlm(formula, data.assign(x=data["x"].abs())).fit()
    new = data.iloc[:3].assign(x=[1.0, -1.0, 2.0])
    with pytest.warns(RuntimeWarning, match="in log") as caught:
        mean = result.predict(new, conditional=True)
    assert {message.filename for message in caught} == {__file__}
    assert np.isfinite(mean).tolist() == [True, False, True]
