"""Columns that are no numbers: named, warned of, refused."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.compat import FormulaManager
from mixedext.specification.formula.column_kinds import bare_names, described

pytestmark = pytest.mark.formula_engine

N = 24
PATSY = FormulaManager().engine == "patsy"


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(6), 4)
    t = np.tile(np.arange(4), 6)
    days = pd.to_timedelta(t, "D")
    return pd.DataFrame(
        {
            "y": rng.normal(size=N) + rng.normal(size=6)[g],
            "g": g,
            "t": t.astype(float),
            "dates": pd.Timestamp("2024-02-01") + days,
            "zoned": pd.Timestamp("2024-02-01", tz="UTC") + days,
            "slept": days,
            "month": pd.PeriodIndex(pd.Timestamp("2024-02-01") + days, freq="D"),
            "complex": t + 1j,
            "objects": t.astype(object),
            "decimals": (t + 0.5).astype(str),
            "labels": t.astype(str),
            "words": np.where(t > 1, "late", "early"),
            "category": pd.Categorical(t.astype(str)),
        }
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a + b:c - d", "a b c d"),
        ("(a + b)**2 + f(c)", "a b"),
        ("C(a) + I(b) + Q('c') + Q(\"d\")", "c d"),
        ("`a b` + c.d + e['f'] + [g]", "a b"),
        ("f(a)(b) + 1 + 'c'", ""),
    ],
)
def test_bare_names(text, names):
    found = bare_names(text)
    assert found == ({"a b"} if text.startswith("`") else set(names.split()))


@pytest.mark.filterwarnings(
    "ignore::mixedext.exceptions.RankDeficientWarning",
    "ignore::mixedext.exceptions.UnidentifiedVarianceWarning",
)
def test_dates_become_categories_with_a_warning(data):
    what = r"column 'dates' holds dates \(4 values .*makes days of them"
    if not PATSY:
        with pytest.raises(mx.FormulaError, match=what):
            mx.mixedlm("y ~ dates + (1 | g)", data)
        return
    for formula in ("y ~ dates + (1 | g)", "y ~ t:dates + (1 | g)"):
        with pytest.warns(mx.CategoryWarning, match=what):
            mx.mixedlm(formula, data)
    groups = {"groups": "g", "re_formula": "1", "vc_formula": {"a": "0 + dates"}}
    with pytest.warns(mx.CategoryWarning, match=what):
        mx.mixedlm("y ~ t", data, **groups)


@pytest.mark.parametrize("name", ["objects", "decimals"])
def test_numbers_that_are_none_become_categories_with_a_warning(name, data):
    with pytest.warns(mx.CategoryWarning, match=r"pd\.to_numeric\(data\["):
        mx.mixedlm(f"y ~ {name} + (1 | g)", data)


@pytest.mark.parametrize(
    "term",
    ["C(dates)", "C(objects)", "labels", "words", "category"],
)
def test_what_is_meant_is_not_warned_of(term, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error", mx.CategoryWarning)
        warnings.simplefilter("error", mx.RankDeficientWarning)
        mx.mixedlm(f"y ~ {term} + (1 | g)", data)
        mx.mixedlm("y ~ t + (1 | dates)", data)  # groups may be of any type
        if PATSY:
            mx.mixedlm("y ~ dates.dt.day + (1 | g)", data)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("slept", r"'slept' holds durations .*total_seconds"),
        ("month", r"'month' holds periods .*\.dt\.year"),
        ("complex", r"'complex' holds complex numbers .*np\.real\(complex\)"),
        ("zoned", r"'zoned' holds dates with a time zone .*\.dt\.tz_localize\(None\)"),
    ],
)
def test_what_no_engine_takes_is_refused(name, match, data):
    for formula in (f"y ~ {name} + (1 | g)", f"y ~ t + ({name} | g)", f"y ~ C({name})"):
        with pytest.raises(mx.FormulaError, match=match):
            mx.mixedlm(formula, data)
    mx.mixedlm(f"y ~ t + (1 | {name})", data)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("words", r"text \(2 values such as 'early'\).*logistic"),
        ("decimals", r"text \(4 values such as '0.5'\).*pd\.to_numeric"),
        ("category", r"categorical \(4 categories\).*pd\.to_numeric"),
        ("objects", r"numbers kept as objects .*pd\.to_numeric"),
        ("dates", r"dates \(4 values .*\.dt\.days"),
        ("slept", r"durations \(4 values .*total_seconds"),
        ("month", r"periods \(4 values .*\.dt\.year"),
        ("complex", r"complex numbers \(4 values .*np\.real"),
    ],
)
def test_responses_that_are_no_numbers(name, match, data):
    with pytest.raises(ValueError, match=f"the response '{name}' is {match}"):
        mx.mixedlm(f"{name} ~ t + (1 | g)", data)


def test_too_many_columns_are_those_of_a_text(data):
    text = data.assign(x=(data["t"] + data["g"] / 7).astype(str) + "s", z=data["labels"])
    with pytest.raises(mx.DesignError, match=r"'x' holds text \(24 values.*no number"):
        mx.mixedlm("y ~ z + x + (1 | g)", text)
    with pytest.raises(mx.DesignError, match=r"\(4 columns .*'labels' holds text \(4 val"):
        mx.mixedlm("y ~ x + (labels | g)".replace("x +", "t +"), text)
    # numbers alone: nothing is added
    wide = data.assign(**{f"x{j}": data["t"] ** j for j in range(3)})
    with pytest.raises(mx.DesignError, match=r"Use fewer columns\.$"):
        mx.mixedlm("y ~ t + (x0 + x1 + x2 + t | g)".replace("x0", "np.cos(t)"), wide)


def test_dates_in_chunks_are_warned_of(data):
    halves = [data.iloc[:12], data.iloc[12:]]
    with pytest.warns(mx.CategoryWarning, match=r"column 'dates' holds dates"):
        mx.MixedLM.from_chunks("y ~ dates + (1 | g)", halves)


def test_descriptions():
    assert described(pd.Series([[1], [2]])) == "mixed objects (values such as '[1]')"
    assert described(pd.Series([True, False])) == "true or false"


def test_intervals_are_an_error_that_says_how():
    x = np.tile(np.arange(4.0), 3)
    halves = pd.arrays.IntervalArray.from_arrays(x // 2, x // 2 + 1)
    data = pd.DataFrame({"y": np.sin(np.arange(12.0)), "h": halves})
    with pytest.raises(mx.FormulaError, match=r"'h' holds .*astype\('category'\)"):
        mx.mixedlm("y ~ h", data)
    made = mx.mixedlm("y ~ h", data.assign(h=data["h"].astype("category")))
    assert made.exog.shape == (12, 2)
