"""Fits made again with another formula, other data or other arguments."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.models.mixedlm import updating

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def data():
    data = mx.datasets.sleepstudy.load().data.reset_index(drop=True)
    rng = np.random.default_rng(1)
    data["w"], data["z"] = rng.uniform(0.5, 2, 180), rng.normal(size=180)
    return data


@pytest.fixture(scope="module")
def fit(data):
    return mx.mixedlm("Reaction ~ Days + z + (Days | Subject)", data).fit()


@pytest.fixture(scope="module")
def trial():
    return mx.datasets.fev.load().data.dropna(subset=["FEV1"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("us(AVISIT | USUBJID)", "ident(SEX)")),
        ({"residual": "cs(1 | USUBJID)"}, ("cs(1 | USUBJID)", "ident(SEX)")),
        ({"variance": None}, ("us(AVISIT | USUBJID)", None)),
        ({"residual": None, "variance": None}, (None, None)),
    ],
)
def test_residual_structures_are_kept_or_replaced(given, expected, trial):
    stated = {"residual": "us(AVISIT | USUBJID)", "variance": "ident(SEX)"}
    model = mx.mixedlm("FEV1 ~ ARMCD", trial, **stated)
    asked = dict.fromkeys(("residual", "variance"), "as the fit") | given
    found = updating.residual_arguments(model, **asked, other_data=True)
    assert (found["residual"], found["variance"]) == expected


def test_residual_structures_of_values(trial):
    structure = mx.Unstructured("AVISIT", group=trial["USUBJID"])
    model = mx.mixedlm("FEV1 ~ ARMCD", trial, residual=structure)
    kept = dict.fromkeys(("residual", "variance"), "as the fit")
    found = updating.residual_arguments(model, **kept, other_data=False)
    again = mx.mixedlm("FEV1 ~ SEX", model.data.frame, **found)
    assert str(again.residual) == str(model.residual)
    text = "residual= of this model holds values by rows, which other data have not: give"
    with pytest.raises(ValueError, match=text):
        updating.residual_arguments(model, **kept, other_data=True)
    both = {"residual": None, "variance": None}
    assert updating.residual_arguments(model, **both, other_data=True) == both


def same(one, other):
    assert one.model.formula == other.model.formula
    assert one.reml == other.reml
    assert one.df_method == other.df_method
    np.testing.assert_allclose(one.llf, other.llf, rtol=1e-12)
    pd.testing.assert_series_equal(one.fe_params, other.fe_params)


@pytest.mark.parametrize(
    ("formula", "want"),
    [
        (". ~ . - z", "Reaction ~ Days + (Days | Subject)"),
        ("~ . - z - (Days | Subject) + (1 | Subject)", "Reaction ~ Days + (1 | Subject)"),
        ("np.log(.) ~ .", "np.log(Reaction) ~ Days + z + (Days | Subject)"),
        (". ~ . + Days:z", "Reaction ~ Days + z + Days:z + (Days | Subject)"),
    ],
)
def test_another_formula(fit, data, formula, want):
    same(fit.update(formula), mx.mixedlm(want, data).fit())


def test_other_data(fit, data):
    some = data[data["Days"] < 8]
    want = mx.mixedlm("Reaction ~ Days + z + (Days | Subject)", some).fit()
    same(fit.update(data=some), want)
    small = mx.mixedlm("Reaction ~ Days + (Days | Subject)", some).fit(reml=False)
    same(fit.update(". ~ . - z", some, False), small)


def test_criterion_and_tests(fit, data):
    formula = "Reaction ~ Days + z + (Days | Subject)"
    same(fit.update(reml=False), mx.mixedlm(formula, data).fit(reml=False))
    kr = mx.mixedlm(formula, data).fit(df_method="kenward-roger")
    assert kr.update(". ~ . - z").df_method == "kenward-roger"
    assert kr.update(". ~ . - z", df_method="z").df_method == "z"
    robust = mx.mixedlm(formula, data).fit(cov_type="CR2", cov_kwds={"groups": "Subject"})
    other = robust.update(". ~ . - z")
    want = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data)
    want = want.fit(cov_type="CR2", cov_kwds={"groups": "Subject"})
    assert other.cov_type == "CR2"
    np.testing.assert_allclose(other.bse_fe, want.bse_fe)


def test_weights_and_offset(fit, data):
    formula = "Reaction ~ Days + z + (Days | Subject)"
    weighted = mx.mixedlm(formula, data, weights="w").fit()
    same(fit.update(weights="w"), weighted)
    same(weighted.update(weights=None), fit)
    np.testing.assert_allclose(weighted.update(reml=False).model.weights, data["w"])
    assert weighted.update(". ~ . - z").model.stated.weights == "w"
    arrays = mx.mixedlm(formula, data, weights=data["w"].to_numpy(), offset="z").fit()
    again = arrays.update(". ~ . - z")
    np.testing.assert_array_equal(again.model.weights, data["w"])
    assert again.model.offset_name == "z"
    with pytest.raises(ValueError, match="weights of this model were given as values"):
        arrays.update(data=data.iloc[:90])
    half = arrays.update(data=data.iloc[:90], weights="w")
    assert half.nobs == 90


def test_rows_with_missing_values(data):
    some = data.copy()
    some.loc[3, "z"] = np.nan
    formula = "Reaction ~ Days + z + (1 | Subject)"
    fit = mx.mixedlm(formula, some, missing="drop").fit()
    assert fit.update(". ~ . - z").nobs == 179  # to be compared with the fit
    assert fit.update(". ~ . - z", data=some).nobs == 180
    with pytest.raises(mx.MissingDataError):
        fit.update(data=some, missing="raise")


def test_models_of_groups(data):
    for groups in ("Subject", data["Subject"]):
        fit = mx.mixedlm("Reaction ~ Days + z", data, groups=groups, re_formula="~Days")
        made = fit.fit().update(". ~ . - z")
        want = mx.mixedlm("Reaction ~ Days", data, groups=groups, re_formula="~Days").fit()
        same(made, want)
        assert made.model.stated_by_groups


def test_names_of_the_caller(data):
    def half(x):
        return x / 2

    fit = mx.mixedlm("Reaction ~ half(Days) + (1 | Subject)", data).fit()

    def elsewhere():
        def third(x):
            return x / 3

        return fit.update(". ~ . + third(z)")

    assert "third(z)" in elsewhere().fe_params.index


def test_refused(fit, data):
    with pytest.raises(mx.FormulaError, match="no such term"):
        fit.update(". ~ . - nowhere")
    term = mx.RandomTerm(data["Subject"], group="Subject")
    arrays = mx.MixedLM(data["Reaction"], np.ones((180, 1)), terms=[term]).fit()
    assert arrays.update(reml=False).reml is False
    with pytest.raises(ValueError, match="made from arrays"):
        arrays.update(". ~ . + z")
    given = mx.mixedlm("Reaction ~ Days", data, terms=[term]).fit()
    with pytest.raises(ValueError, match="does not say all random terms"):
        given.update(". ~ . - Days")
    gone = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
    gone.remove_data()
    with pytest.raises(ValueError, match="give data="):
        gone.update(". ~ . - Days")
    same_as = gone.update(". ~ . + z", data=data)
    assert "z" in same_as.fe_params
    with pytest.raises(ValueError, match="no argument"):
        fit.update(remml=True)
