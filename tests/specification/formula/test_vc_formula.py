"""Formulas of variance components against statsmodels' matrices, group by group."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula
from helpers.versions import needs_statsmodels_15
from statsmodels.regression.mixed_linear_model import MixedLM as Upstream

import mixedext as mx
from mixedext.specification.formula import vc_formula as module
from mixedext.specification.formula.formula_engine import FormulaEngine

pytestmark = pytest.mark.formula_engine

ENGINES = ["patsy", "formulaic"]
# Formulas that one evaluation on all rows says, and formulas that it does not.
ONCE = [
    "0 + C(k)",
    "~0+C(k)",
    "C(k) - 1",
    "0 + s",
    "-1 + s",
    "0+o",
    "0 + C(s)",
    "0 + cat",
    "0 + C(cat)",
    "0 + C(fl)",
    "0 + b",
    "0 + C(inner)",
    "0 + x",
    "x",
    "1",
    "1 + x + z",
    "0 + x + z",
    "0 + k",
    "0 + fl",
    "x:z",
    "0 + d",
    "0 + C(k):x",
    "0 + s:x",
    "0 + x:s",
    "0 + cat:x",
    "0 + b:x",
    "0 + C(k):x:z",
    "1 + C(k):x",
    "0 + C(k) + x",
    "0 + x + C(k)",
    "0 + cat + x",
    "0 + C(k) + C(s):x",
    "0 + np.log(z)",
    "0 + np.log(z) + np.exp(x)",
    "0 + I(x**2)",
    "0 + I(x*z):C(k)",
    "0 + np.sqrt(z):s",
]
BY_GROUP = [
    "C(k)",
    "1 + s",
    "s",
    "0 + x + C(k):x",
    "0 + C(k) + C(s)",
    "0 + C(k):C(s)",
    "0 + x*z",
    "0 + (x + z)",
    "0 + center(x)",
    "0 + less_mean(x)",
    "0 + np.cumsum(x)",
    "0 + C(k, Sum)",
]


def less_mean(values):
    return values - values.mean()


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    n = 120
    data = pd.DataFrame({"y": rng.normal(size=n), "x": rng.normal(size=n)})
    data["z"] = rng.normal(size=n) ** 2 + 0.1
    data["g"] = rng.permutation(np.repeat(np.arange(10), 12))
    data["k"] = rng.integers(0, 4, n)
    data["fl"] = rng.integers(0, 3, n) * 1.5
    data["b"] = rng.random(n) > 0.5
    data["s"] = rng.choice(["u", "v", "w"], n)
    data.loc[(data["g"] == 3) & (data["s"] == "u"), "s"] = "v"
    data.loc[data["g"] == 4, "b"] = True
    data["o"] = data["s"].astype(object)
    data["cat"] = pd.Categorical(data["s"], categories=["w", "none", "v", "u"])
    data["inner"] = 100 * data["g"] + data["k"]  # labels of one group only
    data["d"] = (data["g"] % 2 == 0) * data["x"]  # zero in half of the groups
    return data


@pytest.fixture(params=ENGINES)
def engine(request, monkeypatch):
    options = getattr(statsmodels.formula, "options", None)
    if options is not None:
        monkeypatch.setattr(options, "formula_engine", request.param)
    elif request.param != "patsy":
        pytest.skip("statsmodels 0.14 has patsy alone")
    return request.param


def both(data, formula, groups, use_sparse=False):
    options = {"groups": groups, "vc_formula": {"v": formula}, "use_sparse": use_sparse}
    if isinstance(groups, str):
        options["re_formula"] = "1"
    want = Upstream.from_formula("y ~ x", data, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.UnidentifiedVarianceWarning)
        return want, mx.MixedLM.from_formula("y ~ x", data, **options)


def assert_same(want, got):
    assert isinstance(got.exog_vc, mx.VCSpec)
    assert got.exog_vc.names == want.exog_vc.names
    assert got.exog_vc.colnames == want.exog_vc.colnames
    for a, b in zip(want.exog_vc.mats[0], got.exog_vc.mats[0], strict=True):
        np.testing.assert_array_equal(b, a)


@pytest.mark.both_engines
@pytest.mark.parametrize("formula", ONCE + BY_GROUP)
@pytest.mark.parametrize("crossed", [False, True])
def test_matrices_of_statsmodels(formula, crossed, data, engine, monkeypatch):
    by_group = module._by_group
    taken = []
    monkeypatch.setattr(module, "_by_group", lambda *a: taken.append(1) or by_group(*a))
    want, got = both(data, formula, np.ones(len(data)) if crossed else "g")
    assert_same(want, got)
    assert bool(taken) == (formula in BY_GROUP)


@needs_statsmodels_15
@pytest.mark.parametrize("telling", ["the poorest", "the richest", "the last"])
def test_a_group_that_does_not_tell_the_columns_apart(telling, monkeypatch):
    """formulaic writes x before x:z; where z is one the first group cannot show that."""
    monkeypatch.setattr(statsmodels.formula.options, "formula_engine", "formulaic")
    rng = np.random.default_rng(6)
    labels = {0: "ab", 1: "ab", 2: "a", 3: "abc", 4: "ab"}
    data = pd.DataFrame({"y": rng.normal(size=40), "x": rng.normal(size=40)})
    data["g"] = np.repeat(np.arange(5), 8)
    data["k"] = [labels[g][i % len(labels[g])] for i, g in enumerate(data["g"])]
    group = {"the poorest": 2, "the richest": 3, "the last": 4}[telling]
    data["z"] = np.where(data["g"] == group, 3.0, 1.0)
    assert_same(*both(data, "0 + x:z + x + C(k)", "g"))


@needs_statsmodels_15
@pytest.mark.parametrize("formula", ["0 + cat", "0 + C(k):x", "C(k)"])
def test_sparse_matrices(formula, data):
    want, got = both(data, formula, "g", use_sparse=True)
    for a, b in zip(want.exog_vc.mats[0], got.exog_vc.mats[0], strict=True):
        assert type(b) is type(a)
        np.testing.assert_array_equal(b.toarray(), a.toarray())


def test_labels_of_groups_of_any_kind(data):
    data["t"] = data["g"].map("g{}".format)
    data["f"] = data["g"] / 4
    data["back"] = pd.Categorical(data["t"], categories=[f"g{i}" for i in range(9, -1, -1)])
    for groups in ("t", "f", "back"):
        want, got = both(data, "0 + C(k)", groups)
        assert got.group_labels == want.group_labels
        assert_same(want, got)
    shuffled = data.sample(frac=1, random_state=2)
    assert_same(*both(shuffled, "0 + C(k)", "t"))


@pytest.mark.parametrize("formula", ["0 + C(k)", "0 + C(inner)", "0 + s", "0 + cat"])
def test_a_category_is_a_factor_within_groups(formula, data):
    """One column a level and group: the model of (1 | g:v)."""
    name = formula.removeprefix("0 + ").removeprefix("C(").removesuffix(")")
    got = mx.mixedlm("y ~ x", data, groups="g", re_formula="1", vc_formula={"v": formula})
    data[name] = data[name].astype(str)
    want = mx.mixedlm(f"y ~ x + (1 | g) + (1 | g:{name})", data)
    theta = [0.7, 0.4]
    assert got.objective(theta)[0] == pytest.approx(want.objective(theta)[0], rel=1e-11)
    assert got.random_terms[1].k == 1


def test_crossed_terms_of_one_group():
    data = mx.datasets.penicillin.load().data
    components = {"plate": "0 + C(plate)", "sample": "0 + C(sample)"}
    model = mx.mixedlm(
        "diameter ~ 1", data, groups=np.ones(len(data)), vc_formula=components
    )
    want = mx.mixedlm("diameter ~ 1 + (1 | plate) + (1 | sample)", data)
    for got, term in zip(model.random_terms, want.random_terms, strict=True):
        np.testing.assert_array_equal(got.codes, term.codes)
        assert got.columns == term.columns == (None,)
    assert model.describe_blocks() == want.describe_blocks()
    result, expected = model.fit(), want.fit()
    assert result.llf == pytest.approx(expected.llf, rel=1e-12)
    np.testing.assert_allclose(result.vcomp, expected.vcomp, rtol=1e-8)


def test_no_intercept_of_the_groups_is_said(data):
    with pytest.warns(mx.NoGroupInterceptWarning, match="no random intercept of 'g'"):
        model = mx.mixedlm("y ~ x", data, groups="g", vc_formula={"v": "0 + C(k)"})
    assert model.k_re == 0
    one = np.ones(len(data))  # no warning: an intercept of one group has no sense
    mx.mixedlm("y ~ x", data, groups=one, vc_formula={"v": "0 + C(k)"})


def test_formulas_that_cannot_be_read(data):
    for formula, error, message in (
        ("0 + C(nope)", mx.FormulaError, "nope is neither a column"),
        ("", mx.FormulaError, "component 'v' is empty"),
        ("0", mx.FormulaError, "has no columns"),
        (3, ValueError, "vc_formula must map names to formulas, not to 3"),
    ):
        with pytest.raises(error, match=message):
            mx.mixedlm("y ~ x", data, groups="g", re_formula="1", vc_formula={"v": formula})


def test_missing_rows_of_components(data):
    """Rows without a value are left out before the groups' columns are made."""
    data.loc[[3, 70], "x"] = np.nan
    data.loc[5, "s"] = None
    data["f"] = data["g"].astype(float)
    data.loc[8, "f"] = np.nan
    options = {"groups": "f", "re_formula": "1", "vc_formula": {"v": "0 + s"}}
    got = mx.mixedlm("y ~ x", data, missing="drop", **options)
    complete = data.drop(index=[3, 5, 8, 70])
    want = mx.mixedlm("y ~ x", complete, **options)
    assert got.nobs == 116
    assert got.objective([0.5, 0.6])[0] == want.objective([0.5, 0.6])[0]
    with pytest.raises(mx.MissingDataError, match=r"x \(2\)"):
        mx.mixedlm("y ~ x", data, **options)


def test_values_that_go_missing_in_the_formula(data):
    """NumPy's logarithm of a negative number is no row of the model."""
    options = {"groups": "g", "re_formula": "1", "vc_formula": {"v": "0 + np.log(x)"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        got = mx.mixedlm("y ~ z", data, missing="drop", **options)
        with pytest.raises(mx.MissingDataError, match="component 'v'"):
            mx.mixedlm("y ~ z", data, **options)
    want = mx.mixedlm("y ~ z", data[data["x"] > 0], **options)
    assert got.objective([0.5, 0.6])[0] == pytest.approx(want.objective([0.5, 0.6])[0])


def test_subset_is_obeyed(data):
    """statsmodels drops the argument and uses all rows."""
    options = {"groups": "g", "re_formula": "1", "vc_formula": {"v": "0 + C(k)"}}
    got = mx.mixedlm("y ~ x", data, subset=data["x"] > -1, **options)
    want = mx.mixedlm("y ~ x", data[data["x"] > -1], **options)
    upstream = Upstream.from_formula("y ~ x", data, subset=data["x"] > -1, **options)
    assert got.objective([0.5, 0.6])[0] == want.objective([0.5, 0.6])[0]
    assert got.nobs == (data["x"] > -1).sum()
    assert upstream.nobs == len(data)


def test_many_levels_take_no_table(data):
    """Labels used once: no table of rows by levels, and none of groups by categories."""
    n = 40_000
    rng = np.random.default_rng(1)
    many = pd.DataFrame({"y": rng.normal(size=n), "g": np.repeat(np.arange(n // 4), 4)})
    many["v"] = pd.Categorical(np.arange(n) // 2)
    options = {"groups": "g", "re_formula": "1", "vc_formula": {"v": "0 + v"}}
    model = mx.mixedlm("y ~ 1", many, **options)
    component = model.component_columns[0]
    assert component.complete
    assert len(component.column_group) == n // 2
    assert (component.sizes == n // 2).all()


def test_many_groups_take_few_calls_of_the_engine(monkeypatch):
    rng = np.random.default_rng(4)
    n = 6000
    data = pd.DataFrame({"y": rng.normal(size=n), "g": np.repeat(np.arange(1000), 6)})
    data["v"] = rng.integers(0, 3, n)
    calls, own_matrix = [], FormulaEngine.own_matrix
    monkeypatch.setattr(
        FormulaEngine, "own_matrix", lambda *a: calls.append(1) or own_matrix(*a)
    )
    options = {"groups": "g", "re_formula": "1", "vc_formula": {"v": "0 + C(v)"}}
    got = mx.mixedlm("y ~ 1", data, **options)
    assert len(calls) <= 4
    want = mx.mixedlm("y ~ 1 + (1 | g) + (1 | g:v)", data)
    assert got.objective([0.4, 0.3])[0] == pytest.approx(want.objective([0.4, 0.3])[0])


@pytest.mark.parametrize("text", ["0", "~ 0", "-1"])
def test_no_effect_of_the_groups_themselves(text):
    """statsmodels' re_formula="0" beside vc_formula: the components are all there is."""
    data = mx.datasets.pastes.load().data
    arguments = {"groups": "batch", "vc_formula": {"cask": "0 + C(cask)"}}
    model = mx.MixedLM.from_formula("strength ~ 1", data, re_formula=text, **arguments)
    assert [t.group for t in model.random_terms] == ["cask"]
    bars = mx.mixedlm("strength ~ 1 + (1 | batch:cask)", data).fit()
    assert model.fit().llf == pytest.approx(bars.llf, rel=1e-12)
