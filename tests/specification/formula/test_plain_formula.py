"""Plain formulas give what the formula engine gives."""

from __future__ import annotations

import copy
import pickle
import warnings
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula
from hypothesis import given, settings
from hypothesis import strategies as st

import mixedext as mx
from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.inference.prediction.fixed_rows import new_columns
from mixedext.specification.formula import bar_terms as module
from mixedext.specification.formula.formula_engine import FormulaEngine
from mixedext.specification.formula.model_frame import model_frame

options = getattr(statsmodels.formula, "options", None)
ENGINES = ["patsy"] if options is None else ["patsy", "formulaic"]
pytestmark = [
    # the frames have a category that does not occur
    pytest.mark.filterwarnings("ignore::mixedext.exceptions.RankDeficientWarning"),
    pytest.mark.formula_engine,
]

# name: type, values (of three rows at a time), whether values may be missing
COLUMNS = {
    "y": ("float64", [1.5, -2.0, 3.25]),
    "i": ("int64", [4, -2, 9]),
    "x": ("float32", [0.1, 2.5, -7.0]),
    "small": ("int8", [1, 2, -3]),
    "unsigned": ("uint16", [1, 2, 3]),
    "half": ("float16", [1.0, 2.0, 0.5]),
    "b": ("bool", [True, False, True]),
    "same": ("bool", [True, True, True]),
    "s": ("str", ["b", "a", "c"]),
    "o": ("object", ["b", "a", "b"]),
    "mixed": ("object", ["b", 1, 2.5]),
    "truths": ("object", [True, False, True]),
    "numbers": ("object", [1, 2, 1]),
    "f": (pd.CategoricalDtype(["c", "a", "d", "b"]), ["b", "a", "c"]),
    "up": (pd.CategoricalDtype(["c", "a", "b"], ordered=True), ["b", "a", "c"]),
    "digits": (pd.CategoricalDtype([3, 1, 2]), [1, 2, 3]),
    "tenths": (pd.CategoricalDtype([0.5, 1.5]), [0.5, 1.5, 0.5]),
    "flags": (pd.CategoricalDtype([False, True]), [True, False, True]),
    "mixture": (pd.CategoricalDtype(["a", 1]), ["a", 1, "a"]),
    "one": ("str", ["z", "z", "z"]),
    "single": (pd.CategoricalDtype(["z"]), ["z", "z", "z"]),
    "days": ("datetime64[ns]", pd.to_datetime(["2020-01-01", "2020-01-02", "2021-01-01"])),
    "I64": ("Int64", [5, 2, 7]),
    "F64": ("Float64", [0.5, 2.0, 7.0]),
    "bool_": ("boolean", [True, False, False]),
    "class": ("float64", [3.0, 1.0, 2.0]),
    "p.h": ("float64", [7.0, 6.5, 5.0]),
    "my col": ("str", ["u", "v", "w"]),
    "C": ("float64", [0.0, 1.0, 5.0]),
    "np": ("str", ["k", "l", "k"]),
    "Intercept": ("float64", [2.0, 1.0, 2.0]),
    "tricky": ("str", ['Q("y")', "class_", "a: b"]),
}
USUAL = ("x", "i", "s", "o", "f", "up", "b", "digits", "one", "class", "my col", "F64")
PLAIN_NAMES = [name for name in COLUMNS if " " not in name]
MISSING = {name for name, (dtype, _) in COLUMNS.items() if dtype not in ("bool",)}


def frame_of(n=9, missing=(), index=None):
    """Rows of all columns; in ``missing`` the (column, row) that have none."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, 3, (len(COLUMNS), n))
    picks[:, :3] = np.arange(3)  # each value occurs
    data = {}
    for pick, (name, (dtype, values)) in zip(picks, COLUMNS.items(), strict=True):
        values = [values[k] for k in pick]
        lacking = {row for column, row in missing if column == name}
        if lacking and dtype in ("int64", "int8", "uint16", "bool"):
            dtype = "object" if dtype == "bool" else "float64"
        values = [None if r in lacking else v for r, v in enumerate(values)]
        data[name] = pd.Series(values, dtype=dtype)
    frame = pd.DataFrame(data)
    frame["g"] = np.arange(n) % 3
    if index is not None:
        frame.index = index
    return frame


def quoted(name):
    return f"`{name}`" if " " in name else name


@contextmanager
def formula_engine(name):
    if options is None:  # statsmodels 0.14 has patsy alone
        yield
        return
    old = options.formula_engine
    options.formula_engine = name
    try:
        yield
    finally:
        options.formula_engine = old


def outcome(formula, frame, missing, plain, namespace=None):
    """The model frame or the error; whether the formula was read as plain."""
    read = []
    original = module.plain_columns

    def reader(*args):
        found = original(*args) if plain else None
        read.append(found is not None)
        return found

    with mock.patch.object(module, "plain_columns", reader), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return model_frame(formula, frame, namespace or {}, missing=missing), read
        except Exception as error:  # noqa: BLE001
            return error, read


def assert_same(got, want):
    if isinstance(want, Exception):
        assert type(got) is type(want), (got, want)
        assert str(got) == str(want)
        return
    assert not isinstance(got, Exception), got
    assert got.endog.dtype == want.endog.dtype
    pd.testing.assert_series_equal(got.endog, want.endog)
    assert list(got.exog.columns) == list(want.exog.columns)
    assert all(type(name) is str for name in got.exog.columns)
    pd.testing.assert_index_equal(got.exog.index, want.exog.index)
    seen = np.asarray(got.exog, dtype=float)
    np.testing.assert_array_equal(seen, np.asarray(want.exog, dtype=float))
    np.testing.assert_array_equal(got.rows, want.rows)
    pd.testing.assert_frame_equal(got.data, want.data)
    assert got.aliases == want.aliases
    assert got.namespace.keys() == want.namespace.keys()
    assert got.fixed_formula == want.fixed_formula
    for term, other in zip(got.terms, want.terms, strict=True):
        assert (term.names, term.group) == (other.names, other.group)
        assert term.structure == other.structure
        assert (term.z.dtype, term.codes.dtype) == (np.float64, np.int32)
        np.testing.assert_array_equal(term.z, other.z)
        np.testing.assert_array_equal(term.codes, other.codes)
        assert list(term.levels) == list(other.levels)
        for column, values in zip(term.columns, other.z.T, strict=True):
            ones = np.ones(len(values)) if column is None else column
            np.testing.assert_array_equal(ones, values)


@st.composite
def sums(draw, names=tuple(COLUMNS)):
    """A sum of names, with or without a word on the intercept, in any order."""
    calls = ["C(i)", "C( f )", "C(class)", "C(s)", "C(small)", "C(x)", "C(b)", "C(I64)"]
    calls += ["I(i**2)", "I( x ** 3 )", "I(small**2)", "I(y**9)", "I(b**2)", "I(F64**2)"]
    name = st.sampled_from([*(quoted(n) for n in names), *calls])
    pair = st.tuples(name, st.sampled_from([":", " * "]), name).map("".join)
    parts = draw(st.lists(st.one_of(name, name, pair), max_size=4))
    word = draw(st.sampled_from(["", "", "1", "0", "-1"]))
    at = draw(st.integers(0, len(parts)))
    if word:
        parts.insert(at, word)
    return " + ".join(parts).replace("+ -", "- ") or "1"


@pytest.mark.both_engines
@pytest.mark.slow
@given(
    engine=st.sampled_from(ENGINES),
    response=st.sampled_from(["y", "y", *PLAIN_NAMES]),
    fixed=sums() | sums(USUAL),
    random=sums() | sums(USUAL),
    missing=st.sampled_from(["none", "raise", "drop", "drop"]),
    absent=st.lists(
        st.tuples(st.sampled_from(sorted(MISSING)), st.integers(3, 8)), max_size=2
    ),
    index=st.sampled_from([None, list("abcdefghi"), [1, 1, 2, 2, 3, 3, 4, 4, 5]]),
    with_c=st.sampled_from([True, False, False]),
    infinite=st.sampled_from([None] * 5 + [("y", 1), ("class", 1), ("x", 0)]),
)
@settings(max_examples=300, deadline=None)
def test_equals_the_formula_engine(
    engine, response, fixed, random, missing, absent, index, infinite, with_c
):
    frame = frame_of(9, absent, index)
    if not with_c:
        frame = frame.drop(columns="C")
    if infinite is not None:
        column = frame[infinite[0]].to_numpy(copy=True)
        column[infinite[1]] = np.inf
        frame[infinite[0]] = column
    formula = f"{response} ~ {fixed} + ({random} | g)"
    with formula_engine(engine):
        want, _ = outcome(formula, frame, missing, plain=False)
        got, _ = outcome(formula, frame, missing, plain=True)
    assert_same(got, want)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + s + (x | g)",
        "y ~ 0 + f + i + b + (0 + f | g)",
        "i ~ x + digits + flags + up",
        "x ~ o - 1 + class + p.h + (`my col` || g)",
        "y ~ I64 + F64 + bool_ + (1 | g)",
        "y ~ -1 + single + one + s",
        "y ~ y + x + x",
        "y ~ C + np + (np | g)",
        "y ~ 0",
        "y ~ tricky + class",
        "y ~ x * f + x:class + (x * s | g)",
        "y ~ f * s + i",
        "y ~ 0 + f:y + y + `my col`:y",
        "y ~ y*class + b*y",
        "y ~ C(i) + y*C(digits) + C( s )*f + (0 + C(small) | g)",
        "y ~ x + I(y**2) + s + (I(y ** 2) | g)",
        "y ~ i*I(i^3) + f*I(y**2) + C(small) + I( small**2 )",
    ],
)
def test_these_formulas_are_plain(formula, engine):
    frame = frame_of()
    frame = frame.drop(columns="C") if "C(" in formula else frame
    with formula_engine(engine):
        want, _ = outcome(formula, frame, "none", plain=False)
        got, read = outcome(formula, frame, "none", plain=True)
    assert all(read), "left to the engine"
    assert_same(got, want)


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x:f",
        "y ~ 0 + f * s",
        "y ~ x * f * s",
        "y ~ x:x",
        "y ~ x:i + i:x",
        "y ~ np.log(i)",
        "y ~ C(x)",
        "y ~ I(y**0.5)",
        "y ~ I(x**2)",
        "y ~ I(b**2)",
        "y ~ I(y**2 + 1)",
        "y ~ C(i, Sum)",
        "y ~ `C(i)`",
        "y ~ x - i",
        "y ~ mixed",
    ],
)
def test_these_formulas_are_left_to_the_engine(formula):
    _, read = outcome(formula, frame_of(), "none", plain=True)
    assert not any(read)


def test_a_c_of_the_callers_is_not_ours():
    def halved(column):
        return column / 2

    frame = frame_of().drop(columns="C")
    got, _ = outcome("y ~ C(i)", frame, "none", plain=True, namespace={"C": halved})
    np.testing.assert_array_equal(got.exog["C(i)"], frame["i"] / 2)
    got, _ = outcome("y ~ I(i**2)", frame, "none", plain=True, namespace={"I": halved})
    np.testing.assert_array_equal(got.exog["I(i ** 2)"], frame["i"] ** 2 / 2)
    frame = frame_of().rename(columns={"C": "C(i)"})
    got, _ = outcome("y ~ `C(i)`", frame, "none", plain=True)
    np.testing.assert_array_equal(got.exog["C(i)"], frame["C(i)"])


@pytest.mark.skipif(options is None, reason="statsmodels without formulaic")
def test_formulaics_other_orders_are_left_to_the_engine():
    frame = frame_of()
    with formula_engine("formulaic"):
        for order in ("degree", "sort", "none"):
            options.ordering = order
            try:
                got, read = outcome("y ~ x + s", frame, "none", plain=True)
                want, _ = outcome("y ~ x + s", frame, "none", plain=False)
            finally:
                options.ordering = "legacy"
            assert not read
            assert_same(got, want)


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    n = 120
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": np.repeat(np.arange(12), 10)})
    frame["f"] = pd.Categorical(np.array(["b", "a", "c"])[np.arange(n) % 3], list("abcd"))
    frame["s"] = pd.Series(np.array(["v", "u"])[np.arange(n) % 2], dtype="str")
    frame["b"] = np.arange(n) % 5 == 0
    frame["y"] = frame["x"] + rng.normal(size=n) + rng.normal(size=12)[frame["g"]]
    return frame


def engines_spec(formula, data):
    """The specification that the engine makes from all rows."""
    frame, _ = outcome(formula, data, "none", plain=False)
    return frame.model_spec


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("formula", ["y ~ x + f + s + b", "y ~ 0 + s + f + x", "y ~ f"])
def test_the_specification_made_late_is_the_engines(formula, engine, data):
    with formula_engine(engine):
        model = mx.mixedlm(f"{formula} + (1 | g)", data)
        want = engines_spec(formula, data)
        assert hasattr(model.data, SPEC_ATTRIBUTE)
        spec = getattr(model.data, SPEC_ATTRIBUTE)
        assert spec is getattr(model.data, SPEC_ATTRIBUTE)
        assert type(spec) is type(want)
        assert list(spec.column_names) == list(want.column_names)
        if options is not None:
            manager = FormulaEngine(data, {}).manager
            assert manager.get_term_names(spec) == manager.get_term_names(want)
            slices = manager.get_term_name_slices(spec)
            assert slices == manager.get_term_name_slices(want)
        if engine == "patsy":
            assert spec.describe() == want.describe()
            got, known = (
                {
                    factor.name(): (i.type, i.num_columns, i.categories)
                    for factor, i in s.factor_infos.items()
                }
                for s in (spec, want)
            )
            assert got == known


@pytest.mark.parametrize("engine", ENGINES)
def test_predictions_for_new_data(engine, data):
    formula = "y ~ x + f + s + b + (1 | g)"
    new = data.iloc[[3, 50, 7]]
    with formula_engine(engine):
        result = mx.mixedlm(formula, data).fit()
        engine_frame, _ = outcome(formula, data, "none", plain=False)
        want = engine_frame.exog.iloc[[3, 50, 7]].to_numpy(float)
        beta = np.nan_to_num(result.fe_params)
        mean = result.predict(new, conditional=False)
        np.testing.assert_allclose(mean, want @ beta, rtol=1e-13)
        with pytest.raises(mx.FormulaError, match="do not fit"):
            result.predict(new.assign(s="w"))
        again = pickle.loads(pickle.dumps(result))
        np.testing.assert_array_equal(again.predict(new), result.predict(new))
        copied = copy.deepcopy(result.model)
        assert new_columns(copied, new)[0].shape == want.shape
        result.remove_data()
        mean = result.predict(new, conditional=False)
        np.testing.assert_allclose(mean, want @ beta, rtol=1e-13)
        again = pickle.loads(pickle.dumps(result))
        mean = again.predict(new, conditional=False)
        np.testing.assert_allclose(mean, want @ beta, rtol=1e-13)


def test_a_change_of_the_frame_does_not_reach_the_model(data):
    model = mx.mixedlm("y ~ x + f + (x | g)", data)
    before = model.endog.copy(), model.exog.copy(), model.terms[0].z.copy()
    columns = [c.copy() for c in model.terms[0].columns if c is not None]
    data.loc[5, "x"] = 100.0
    data["y"] += 1.0
    data.iloc[0, :1] = 7.0
    np.testing.assert_array_equal(model.endog, before[0])
    np.testing.assert_array_equal(model.exog, before[1])
    np.testing.assert_array_equal(model.terms[0].z, before[2])
    kept = [c for c in model.terms[0].columns if c is not None]
    for column, old in zip(kept, columns, strict=True):
        np.testing.assert_array_equal(column, old)


def test_columns_of_the_frame_are_not_copied(data):
    model = mx.mixedlm("y ~ x + (x | g)", data)
    assert model.data.frame is data
    ones, slope = model.terms[0].columns
    assert ones is None
    if module.COPY_ON_WRITE:
        assert np.shares_memory(slope, data["x"].to_numpy())
        assert np.shares_memory(model.endog, data["y"].to_numpy())
    assert np.shares_memory(model.exog, model.data.orig_exog.to_numpy())
    assert model.exog.flags.f_contiguous


def test_infinite_values_are_refused_without_a_warning_of_numpy():
    data = pd.DataFrame({"y": np.arange(8.0), "x": np.arange(8.0), "z": 0.0})
    data["g"] = np.arange(8) % 4
    data.loc[3, "x"] = np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.raises(ValueError, match="inf"):
            mx.mixedlm("y ~ x*z + (1 | g)", data)


def test_products_that_leave_the_range_are_refused_without_a_warning_of_numpy():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"y": rng.normal(size=12), "g": np.repeat(list("abcd"), 3)})
    frame["x"] = 10.0 ** rng.uniform(150, 300, 12)
    frame["z"] = frame["x"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"infinite|too large|range|1e"):
            mx.mixedlm("y ~ x:z + (1 | g)", frame)
