"""Python's expressions in formulas: powers, whole numbers, values of whole columns."""

from __future__ import annotations

import copy
import pickle
import time

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.compat import FormulaManager
from mixedext.specification.formula.expressions import (
    as_written,
    calls,
    check_nesting,
    float_name,
    number_use,
    python_powers,
)

# Columns that repeat each other are meant here.
pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings("ignore::mixedext.RankDeficientWarning"),
    pytest.mark.filterwarnings(
        "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
    ),
    pytest.mark.filterwarnings("ignore::mixedext.FlatLikelihoodWarning"),
]


@pytest.fixture(scope="module")
def sleepstudy():
    data = mx.datasets.sleepstudy.load().data
    days = data["Days"].astype(int)
    return data.assign(
        k=days,
        u8=(20 * days).astype(np.uint8),
        year=(2000 + days).astype(np.int32),
        low=pd.array(-days, dtype="Int8"),
    )


@pytest.fixture(scope="module")
def centred():
    rng = np.random.default_rng(12)
    n = 120
    frame = pd.DataFrame(
        {"g": np.repeat(np.arange(12), 10), "f": rng.choice(["a", "b"], n)}
    )
    frame["x"] = rng.normal(2.0, 1.5, n)
    noise = rng.standard_normal(n) + rng.standard_normal(12)[frame["g"]]
    frame["y"] = frame["x"] * (1 + 0.5 * (frame["f"] == "b")) + noise
    return frame


# ---- the text ----


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("(a + b)^2", "(a + b)**2"),
        ("I(x^-2^y)", "I(x**-2**y)"),
        ('`a^b` + Q(\'c^d\') + f("e^\\"^")', '`a^b` + Q(\'c^d\') + f("e^\\"^")'),
        ("x", "x"),
    ],
)
def test_powers_outside_quotes(text, want):
    assert python_powers(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a + (b + c):d", []),
        ("a + f(b)(c).d[0] * (e)", ["f(b)(c).d[0]"]),
        ("np.log(x + (1)) + {x + 1}", ["np.log(x + (1))", "{x + 1}"]),
        ("f('(') + g(\"]\").h()", ["f('(')", 'g("]").h()']),
        ("2(3)", []),
    ],
)
def test_calls_at_the_level_of_the_formula(text, want):
    assert [text[start:end].strip() for start, end in calls(text)] == want


def test_how_whole_numbers_are_used():
    columns = ["k", "m"]
    names = {"np": np, "own": abs}

    def use(text):
        return number_use(text, columns, names)[1:]

    both = frozenset(columns)
    assert use("k + I(m**2)") == (both, frozenset())
    assert use("C(k) + own(m)") == (frozenset(), frozenset())
    assert use("C(k) + k") == (frozenset(), {"k"})
    assert use("I((k > 1) & ~(m == 2)) + np.where(k > m, 'a', 'b')") == (both, frozenset())
    assert use("I(k & 1) + I(~m)") == (frozenset(), frozenset())
    assert use("I(k.astype(str)) + I([m for _ in m])") == (frozenset(), frozenset())
    assert use("np.take(m, k) + I(k.mean() * np.pi)") == (frozenset(), {"k"})
    assert use("f('k')") == (frozenset(), frozenset())


def test_names_for_the_engine_and_back():
    text = number_use("C(k) + I(k**3) + f(k=1) + k:x.k", ["k"], {}).text
    name = float_name("k")
    assert text == f"C(k) + I({name}**3) + f(k=1) + {name}:x.k"
    assert as_written(text) == "C(k) + I(k**3) + f(k=1) + k:x.k"


# ---- powers ----


def test_powers_are_those_of_numbers(sleepstudy):
    """R: lmer(Reaction ~ k + I(k^2) + (k | Subject), sleepstudy)."""
    result = mx.mixedlm("Reaction ~ k + I(k^2) + (k | Subject)", sleepstudy).fit()
    np.testing.assert_allclose(result.fe_params.iloc[1:], [7.434, 0.337], atol=6e-4)
    want = mx.mixedlm("Reaction ~ k + I(k**2) + (k | Subject)", sleepstudy).fit()
    assert result.llf == want.llf
    assert result.model.exog_names == want.model.exog_names


@pytest.mark.parametrize(
    ("written", "plain", "options"),
    [
        ("(k + u8)^2 + (1 | Subject)", "(k + u8)**2 + (1 | Subject)", {}),
        ("k + (I(k^2) | Subject)", "k + (I(k**2) | Subject)", {}),
        ("k + offset(k^2) + (1 | Subject)", "k + offset(k**2) + (1 | Subject)", {}),
        ("k + np.sqrt(k^3) + (1 | Subject)", "k + np.sqrt(k**3) + (1 | Subject)", {}),
        (
            "k",
            "k",
            {
                "groups": "Subject",
                "re_formula": "~I(k^2)",
                "vc_formula": {"v": "0 + I(k^3)"},
            },
        ),
    ],
)
def test_powers_in_every_part(sleepstudy, written, plain, options):
    got = mx.mixedlm(f"Reaction ~ {written}", sleepstudy, **options)
    power = {"re_formula": "~I(k**2)", "vc_formula": {"v": "0 + I(k**3)"}}
    want = mx.mixedlm(
        f"Reaction ~ {plain}", sleepstudy, **(options | power if options else {})
    )
    np.testing.assert_array_equal(got.exog, want.exog)
    for one, other in zip(got.terms, want.terms, strict=True):
        assert one.names == other.names
    for one, other in zip(got.terms[:1], want.terms[:1], strict=True):
        np.testing.assert_array_equal(one.z, other.z)
    if got.offset is not None:
        np.testing.assert_array_equal(got.offset, sleepstudy["k"].to_numpy(float) ** 2)


def test_a_name_with_the_sign(sleepstudy):
    data = sleepstudy.rename(columns={"k": "k^2"})
    model = mx.mixedlm("Reaction ~ `k^2` + I(`k^2`^2) + (1 | Subject)", data)
    assert model.exog_names[1] == "k^2"
    np.testing.assert_array_equal(model.exog[:, 2], sleepstudy["k"] ** 2)


@pytest.mark.parametrize(
    "response",
    ["Reaction^2", "Reaction - k", "Reaction:k", "log(Reaction) * 2", "-Reaction"],
)
def test_operators_of_the_response(sleepstudy, response):
    with pytest.raises(mx.FormulaError, match=r"write I\(") as caught:
        mx.mixedlm(f"{response} ~ k + (1 | Subject)", sleepstudy)
    assert python_powers(response) in str(caught.value)
    model = mx.mixedlm(f"I({response.replace(':', '*')}) ~ k + (1 | Subject)", sleepstudy)
    assert len(model.endog) == 180


# ---- whole numbers ----


@pytest.mark.parametrize("more", ["", " + C(u8)", " + C(year) + C(low)"])
@pytest.mark.parametrize(
    "text",
    [
        "I(u8 - 150)",
        "I(year**6)",
        "u8:year",
        "I(low * 200)",
        "I(-u8)",
        "np.square(year * u8)",
    ],
)
def test_whole_numbers_do_not_wrap_around(sleepstudy, text, more):
    big = sleepstudy.astype(dict.fromkeys(("u8", "year", "low"), float))
    model = mx.mixedlm(f"Reaction ~ {text}{more} + (1 | Subject)", sleepstudy)
    want = mx.mixedlm(f"Reaction ~ {text} + (1 | Subject)", big).exog[:, -1]
    names = [name for name in model.exog_names if "C(" not in name and name != "Intercept"]
    got = model.exog[:, model.exog_names.index(names[0])]
    np.testing.assert_allclose(got, want, rtol=1e-15)
    levels = {name.rsplit("[T.")[1] for name in model.exog_names if "C(" in name}
    assert not any("." in level for level in levels)
    few = sleepstudy.iloc[[9, 3, 0]]
    result = model.fit()
    own = model.exog[[9, 3, 0]] @ np.nan_to_num(result.fe_params)
    mean = result.predict(few, conditional=False)
    np.testing.assert_allclose(mean, own, rtol=1e-12)


def test_small_numbers_keep_their_digits(sleepstudy):
    """NumPy takes logarithms of 8-bit numbers to three digits."""
    data = sleepstudy.assign(half=sleepstudy["k"].astype(np.float16))
    want = np.log1p(sleepstudy["Days"])
    for text in ("np.log1p(k8)", "np.log1p(half)", "log1p(k8)"):
        frame = data.assign(k8=data["k"].astype(np.int8))
        model = mx.mixedlm(f"Reaction ~ {text} + (1 | Subject)", frame)
        np.testing.assert_array_equal(model.exog[:, 1], want)
        np.testing.assert_allclose(model.fit().predict(frame), model.fit().predict())
    big = mx.mixedlm("Reaction ~ I((half * 100)^3) + (1 | Subject)", data)
    np.testing.assert_array_equal(big.exog[:, 1], (100 * sleepstudy["Days"]) ** 3)


def test_whole_numbers_as_labels(sleepstudy):
    text = "C(year) + C(year.astype(str)) + I(year^2) + (1 | year) + (1 | Subject)"
    model = mx.mixedlm(f"Reaction ~ {text}", sleepstudy)
    assert "C(year)[T.2001]" in model.exog_names
    assert "C(year.astype(str))[T.2001]" in model.exog_names
    assert list(model.terms[0].levels) == list(range(2000, 2010))


def test_whole_numbers_in_random_terms(sleepstudy):
    text = "Reaction ~ 1 + (I(u8 - 150) | Subject) + offset(u8 - 150) + (1 | u8 - 100 > 0)"
    model = mx.mixedlm(text, sleepstudy)
    want = sleepstudy["u8"].to_numpy(float) - 150
    np.testing.assert_array_equal(model.terms[0].z[:, 1], want)
    np.testing.assert_array_equal(model.offset, want)
    np.testing.assert_array_equal(model.terms[1].codes, sleepstudy["k"] > 5)
    components = mx.mixedlm(
        "Reaction ~ 1",
        sleepstudy,
        groups="Subject",
        re_formula="1",
        vc_formula={"v": "0 + I(u8 - 150)"},
    )
    np.testing.assert_array_equal(components.terms[1].z[:, 0], want)


def test_terms_of_whole_numbers(sleepstudy):
    result = mx.mixedlm(
        "Reaction ~ C(k > 3) + I(k^2) + k + (1 | Subject)", sleepstudy
    ).fit()
    assert set(result.drop1().index) == {"C(k > 3)", "I(k ** 2)", "k"}
    assert set(result.anova().index) == {"C(k > 3)", "I(k ** 2)", "k"}


# ---- values of whole columns ----


@pytest.mark.parametrize(
    "text",
    [
        "I(x - x.mean()) * f",
        "I(x - np.mean(x)) * f",
        "I((x - np.median(x)) / x.std()) * f",
        "I(x / max(x) + 3 * len(x)) * f",
        "I(x - min(x.clip(0, 2))) * f",
        "center(x) * f",
    ],
)
def test_values_of_whole_columns_are_remembered(centred, text):
    want = mx.mixedlm("y ~ x * f + (1 | g)", centred).fit()
    result = mx.mixedlm(f"y ~ {text} + (1 | g)", centred).fit()
    assert result.model.exog_names[2] == text.split(" * f")[0]
    scale = np.ptp(result.model.exog[:, 2]) / np.ptp(centred["x"])
    assert result.llf == pytest.approx(want.llf + 2 * np.log(1 / scale), abs=1e-6)
    for new in (centred.head(3), centred.iloc[[7]], centred):
        np.testing.assert_allclose(result.predict(new), want.predict(new), rtol=1e-9)
    for name, options in (
        ("emmeans", {"specs": "~ f | x", "at": {"x": [1, 2]}}),
        ("emtrends", {"specs": "f", "var": "x"}),
    ):
        got, right = (getattr(r, name)(**options).table for r in (result, want))
        np.testing.assert_allclose(
            got[["estimate", "std_err"]], right[["estimate", "std_err"]], rtol=1e-5
        )


def test_remembered_values_are_kept(centred):
    text = "y ~ I(x - x.mean()) + f + offset(x - x.max()) + (1 | g)"
    result = mx.mixedlm(text, centred).fit()
    want = result.predict(centred)
    np.testing.assert_allclose(want, result.predict(), rtol=1e-12)
    copies = [pickle.loads(pickle.dumps(result)), copy.deepcopy(result)]
    for one in [*copies, result.model.refit(centred["y"])]:
        np.testing.assert_allclose(one.predict(centred.head(3)), want[:3], rtol=1e-12)
    assert set(result.drop1().index) == {"I(x - x.mean())", "f"}
    mine = centred.assign(x=centred["x"] + 5)
    other = mx.mixedlm(text, mine).fit()
    np.testing.assert_allclose(other.predict(mine.head(3)), want[:3], rtol=1e-9)


def test_within_groups_values_are_those_of_the_group(centred):
    model = mx.mixedlm(
        "y ~ x",
        centred,
        groups="g",
        re_formula="1",
        vc_formula={"v": "0 + I(x - x.mean())"},
    )
    want = centred["x"] - centred.groupby("g")["x"].transform("mean")
    np.testing.assert_allclose(model.terms[1].z[:, 0], want, atol=1e-12)


def test_chunks_cannot_remember(centred):
    chunks = [centred[:50], centred[50:]]
    with pytest.raises(mx.FormulaError, match="depends on other rows"):
        mx.MixedLM.from_chunks("y ~ I(x - x.mean()) + (1 | g)", chunks)


def test_chunks_have_a_column_in_one_way(sleepstudy):
    chunks = [sleepstudy[:50], sleepstudy[50:]]
    for text in ("C(year) + year", "C(year):k + I(year - 2000)", "C(year) + offset(year)"):
        with pytest.raises(mx.FormulaError, match="'year' stands in C"):
            mx.MixedLM.from_chunks(f"Reaction ~ {text} + (1 | Subject)", chunks)
    text = "Reaction ~ C(year) + I(u8 - 150) + (1 | year)"
    model = mx.MixedLM.from_chunks(text, chunks)
    want = mx.mixedlm(text, sleepstudy).fit()
    assert model.fit().llf == pytest.approx(want.llf, abs=1e-8)


# ---- what runs ----


@pytest.mark.parametrize(
    "text",
    [
        "exit(7) + (1 | g)",
        "I(x - np.mean([exit(7), x]))",
        "offset(exit(7))",
        "(1 | exit(7))",
        "(exit(7) | g)",
    ],
)
def test_a_formula_does_not_end_the_program(centred, text):
    with pytest.raises(mx.FormulaError, match=r"would end the program \(SystemExit: 7\)"):
        mx.mixedlm(f"y ~ {text}", centred)


def test_new_data_do_not_end_the_program(centred):
    def h(x):
        return x if len(x) > 3 else exit(7)

    result = mx.mixedlm("y ~ h(x) + (1 | g)", centred).fit()
    with pytest.raises(mx.FormulaError, match="would end the program"):
        result.predict(centred.head(2))


def test_an_interrupt_is_one(centred):
    def h(x):
        raise KeyboardInterrupt

    for text in ("h(x)", "(1 | h(x))", "I(x - np.mean(h(x)))"):
        with pytest.raises(KeyboardInterrupt):
            mx.mixedlm(f"y ~ {text}", centred)


def test_errors_blame_the_right_word(centred):
    def broken(x):
        return undefined  # noqa: F821

    def short(x):
        raise ValueError("x is too short")

    with pytest.raises(mx.FormulaError, match="name 'undefined' is not defined") as caught:
        mx.mixedlm("y ~ broken(x)", centred)
    assert "neither a column" not in str(caught.value)
    with pytest.raises(mx.FormulaError, match="x is too short"):
        mx.mixedlm("y ~ short(x)", centred)
    with pytest.raises(mx.FormulaError, match="zz is neither a column"):
        mx.mixedlm("y ~ short(zz)", centred)


@pytest.mark.parametrize("count", [60, 400, 3000])
def test_brackets_in_brackets(centred, count):
    start = time.perf_counter()
    for text in (
        "y ~ (1 | " + "(" * count + "g" + ")" * count + ")",
        "y ~ " + "(" * count + "x" + ")" * count,
        "y ~ " + "I(" * count + "x" + ")" * count,
    ):
        with pytest.raises(mx.FormulaError, match="more than 50 brackets"):
            mx.mixedlm(text, centred)
    deep = "(" * count + "x" + ")" * count
    with pytest.raises(mx.FormulaError, match="more than 50 brackets"):
        mx.mixedlm("y ~ x", centred, groups="g", re_formula=deep)
    with pytest.raises(mx.FormulaError, match="more than 50 brackets"):
        mx.lm_list(f"y ~ x | {deep}", centred)
    assert time.perf_counter() - start < 5
    check_nesting("(" * 50 + "x" + ")" * 50 + "'" + "(" * 99 + "'")


def test_factors_that_double(centred):
    text = "*".join(f"g{i}" for i in range(40))
    with pytest.raises(mx.FormulaError, match="more than 1000 factors"):
        mx.mixedlm(f"y ~ x + (1 | {text})", centred)


@pytest.mark.skipif(
    FormulaManager().engine != "patsy", reason="formulaic remembers by its own functions"
)
@pytest.mark.parametrize("formula", ["scale(y) ~ x", "x ~ center(y)"])
def test_complex_arguments_are_refused(formula):
    data = pd.DataFrame({"y": np.arange(10) + 1j, "x": np.arange(10.0)})
    with pytest.raises(mx.FormulaError, match=r"is complex; take \.real"):
        mx.mixedlm(formula, data)
