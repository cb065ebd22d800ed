"""Fits side by side: their numbers, the order of rows, and what the notes must say."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

import mixedext as mx

pytestmark = [pytest.mark.formula_engine, pytest.mark.filterwarnings("ignore")]

FORMULAS = [
    "yield ~ nitro + (1 | Block)",
    "yield ~ nitro + (nitro | Block)",
    "yield ~ nitro * Variety + (1 | Block/Variety)",
    "yield ~ nitro + twice",
    "yield ~ 0 + (1 | Block)",
]


@pytest.fixture(scope="module")
def data():
    data = mx.datasets.oats.load().data.reset_index(drop=True)
    return data.assign(twice=2 * data["nitro"], w=1.0 + data["nitro"])


@pytest.fixture(scope="module")
def fits(data):
    return [mx.mixedlm(f, data).fit() for f in FORMULAS]


def test_numbers(fits):
    table = mx.summary_table(fits)
    for column, result in zip(table.numbers, fits, strict=True):
        own = table.numbers[column]
        fixed = own["Fixed effects"][result.fe_params.index]
        np.testing.assert_array_equal(fixed, result.fe_params)
        errors = table.errors[column]["Fixed effects"][result.fe_params.index]
        np.testing.assert_allclose(errors, result.bse_fe, rtol=1e-14)
        limits = result.conf_int_vcomp()
        section = "Random effects (standard deviations, correlations)"
        np.testing.assert_array_equal(own[section][limits.index], limits["estimate"])
        np.testing.assert_array_equal(
            table.errors[column][section][limits.index], limits["std_err"]
        )
        shares = own["Shares of the variance"]
        assert tuple(shares[["R2 marginal", "R2 conditional"]]) == result.r2_nakagawa
        if len(result.n_levels):
            assert shares["ICC"] == result.icc()
        assert own["Fit", "Log-likelihood"] == result.llf
        assert own["Fit", "AIC"] == result.aic
        for group, count in result.n_levels.items():
            assert own["Levels of the grouping factors", group] == count


def test_texts_are_the_numbers(fits):
    table = mx.summary_table(fits)
    for key in table.texts.index:
        for name in table.texts:
            text, value = table.texts.loc[key, name], table.numbers.loc[key, name]
            if text in ("", "REML", "dropped"):
                assert np.isnan(value)
                continue
            shown = [float(v) for v in re.findall(r"-?[\d.]+", text)]
            half = 0.5 * 10.0 ** -len(text.split(" ")[0].partition(".")[2])
            assert abs(shown[0] - value) <= half * (1 + 1e-9)
            if len(shown) > 1:
                assert abs(shown[1] - table.errors.loc[key, name]) <= half * (1 + 1e-9)


def test_rows_keep_the_order_of_the_fits(fits):
    rows = list(mx.summary_table(fits[:2]).numbers.loc[
        "Random effects (standard deviations, correlations)"].index)  # fmt: skip
    assert rows == [
        "sd Intercept|Block", "cor Intercept.nitro|Block", "sd nitro|Block", "sigma",
    ]  # fmt: skip
    assert list(mx.summary_table(fits[0]).numbers) == ["(1)"]


def test_standard_errors_by_method(fits):
    table = mx.summary_table(fits[0], df_method="kenward-roger")
    errors = table.errors["(1)"]["Fixed effects"]
    expected = fits[0].fixed_effects_inference("kenward-roger").se
    np.testing.assert_array_equal(errors, expected)


def test_notes(fits, data):
    def notes(*given):
        return " ".join(mx.summary_table(given).notes)

    assert "not comparable" in notes(fits[0], fits[2])
    assert "not comparable" not in notes(fits[0], fits[1])
    ml = mx.mixedlm(FORMULAS[0], data).fit(reml=False)
    assert "REML and ML" in notes(fits[0], ml)
    part = mx.mixedlm(FORMULAS[0], data.iloc[12:]).fit()
    assert "different numbers of rows" in notes(fits[0], part)
    other = mx.mixedlm("np.log(nitro + 1) ~ w + (1 | Block)", data).fit()
    assert "different responses" in notes(fits[0], other)
    assert "is weighted" in notes(mx.mixedlm(FORMULAS[0], data, weights="w").fit())
    singular = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff2.load().data)
    assert "(1) is singular" in notes(singular.fit())


def test_forms(fits):
    table = mx.summary_table(fits[:2], names=["a_b", "c"])
    for text in (repr(table), table.as_markdown(), table.as_html(), table.as_latex()):
        assert "ICC" in text
        assert table.notes[0] in text
    assert r"a\_b" in table.as_latex()
    again = pickle.loads(pickle.dumps(table))
    assert repr(again) == repr(table)


def test_great_tables_or_a_word(fits):
    table = mx.summary_table(fits[:2])
    try:
        import great_tables  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="pip install mixedext"):
            table.gt()
    else:
        assert "ICC" in table.gt().as_raw_html()


def test_wrong_arguments(fits):
    with pytest.raises(ValueError, match="empty"):
        mx.summary_table([])
    with pytest.raises(ValueError, match="names has 1"):
        mx.summary_table(fits[:2], names=["a"])
    with pytest.raises(ValueError, match="twice"):
        mx.summary_table(fits[:2], names=["a", "a"])
    with pytest.raises(TypeError, match="str"):
        mx.summary_table(["a"])
    with pytest.raises(TypeError, match="int"):
        mx.summary_table(5)
