"""Fits with a residual covariance against nlme, and identities between them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.residual_designs import random_design
from numpy.testing import assert_allclose
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx
from mixedext.exceptions import ModelWarning

pytestmark = pytest.mark.formula_engine
FOLDER = Path(__file__).parents[2] / "results" / "residual"
NLME = json.loads((FOLDER / "nlme.json").read_text())


def data_of(name):
    data = pd.read_csv(FOLDER / "data" / name).rename(columns={"yield": "yield_"})
    if "Sex" in data:
        data["Sex"] = pd.Categorical(data["Sex"], ["Male", "Female"])
    return data


@pytest.mark.parametrize("case", NLME, ids=[c["case"] for c in NLME])
def test_nlme(case):
    data = data_of(case["data"])
    given = {k: case[k] for k in ("residual", "variance") if k in case}
    with warnings.catch_warnings():
        # some of nlme's fits have variances of zero, or a parameter at a limit
        warnings.simplefilter("ignore", ModelWarning)
        warnings.simplefilter("ignore", SingularMatrixWarning)
        result = mx.mixedlm(case["formula"], data, **given).fit(reml=case["reml"])
    assert result.converged
    assert result.llf > case["llf"] - 1e-7 * abs(case["llf"])
    if result.llf > case["llf"] + 1e-3:
        return  # nlme has ended at a higher minimum
    if "range" in result.convergence.message:
        return  # where a range is infinite, so is the variance of a mean
    order = np.argsort(np.asarray(result.fe_params))
    se = np.array(case["se"])
    # nlme stops where the log-likelihood is within about 1e-8 of its maximum
    slack = np.sqrt(2 * max(result.llf - case["llf"], 0.0)) + 1e-5
    assert_allclose(
        np.asarray(result.fe_params)[order] / se,
        np.array(case["fixef"]) / se,
        atol=slack,
        rtol=1e-7,
    )
    assert_allclose(np.asarray(result.bse_fe)[order], se, rtol=1e-5 + 10 * slack)


@pytest.mark.parametrize(("reml", "llf"), [(True, -349.192976818), (False, -351.605098911)])
def test_variances_of_visits_that_make_up_for_a_correlation(reml, llf):
    """The moments lead to rho = 0.68, 11 lower, with smaller variances.

    nlme: gls(rate ~ (pressure + I(pressure^2)) * QB, Dialyzer,
    correlation = corAR1(form = ~ index | Subject), weights = varIdent(form = ~ 1 | index)).
    """
    model = mx.mixedlm(
        "rate ~ (pressure + I(pressure**2)) * C(QB)",
        data_of("Dialyzer.csv"),
        residual="ar1h(index | Subject)",
    )
    result = model.fit(reml=reml)
    assert result.llf == pytest.approx(llf, rel=1e-9)
    if reml:
        assert result.residual.params["rho"] == pytest.approx(0.9771521, rel=1e-6)


def both(formula, data, one, other, reml=True):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = mx.mixedlm(formula, data, **one).fit(reml=reml)
        second = mx.mixedlm(formula, data, **other).fit(reml=reml)
    return first, second


ORTHODONT = data_of("Orthodont.csv").assign(
    visit=lambda d: ((d["age"] - 8) // 2).astype(int), hours=lambda d: (d["age"] - 8) / 2.0
)
GROWTH = "distance ~ Sex * age"


@pytest.mark.parametrize("reml", [True, False])
def test_compound_symmetry_is_a_random_intercept(reml):
    data = ORTHODONT
    one = mx.mixedlm(GROWTH, data, residual="cs(1 | Subject)").fit(reml=reml)
    other = mx.mixedlm(f"{GROWTH} + (1 | Subject)", data).fit(reml=reml)
    assert_allclose(one.llf, other.llf, rtol=1e-11)
    assert_allclose(one.fe_params, other.fe_params, rtol=1e-8)
    assert_allclose(one.bse_fe, other.bse_fe, rtol=1e-6)
    whole = other.scale + float(
        other.vcomp[0] if len(other.vcomp) else other.var_corr["variance"].iloc[0]
    )
    assert_allclose(one.scale, whole, rtol=1e-5)


IDENTITIES = {
    "car1 on whole times": ("ar1(visit | Subject)", "car1(hours | Subject)"),
    "exp in one dimension": ("car1(hours | Subject)", "sp_exp(hours | Subject)"),
    "pow in one dimension": ("car1(hours | Subject)", "sp_pow(hours | Subject)"),
    "arma(1, 0)": ("ar1(visit | Subject)", "arma(visit | Subject, p=1, q=0)"),
    "one band": ("arma(visit | Subject, p=0, q=1)", "toep(visit | Subject, bands=2)"),
    "order of rows": ("ar1(1 | Subject)", "ar1(visit | Subject)"),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_two_names_of_one_model(name):
    one, other = IDENTITIES[name]
    first, second = both(GROWTH, ORTHODONT, {"residual": one}, {"residual": other})
    assert_allclose(first.llf, second.llf, rtol=1e-10)
    assert_allclose(first.fe_params, second.fe_params, rtol=1e-6)


def test_autoregression_and_noise_is_arma():
    # Orthodont, three programs: -216.6948369
    nugget = mx.Spatial("exp", ["hours"], group="Subject", nugget=True)
    first, second = both(
        "distance ~ Sex * I(age - 11)",
        ORTHODONT,
        {"residual": "arma(visit | Subject, p=1, q=1)"},
        {"residual": nugget},
    )
    assert_allclose(first.llf, -216.6948369, atol=2e-7)
    assert_allclose(second.llf, first.llf, atol=1e-8)


def test_unstructured_covariance_of_complete_data_is_that_of_the_sample():
    data = ORTHODONT
    wide = data.pivot(index="Subject", columns="visit", values="distance")
    result = mx.mixedlm(
        "distance ~ 0 + C(visit)", data, residual="us(visit | Subject)"
    ).fit()
    estimate = result.fitted.fit.residual
    curve = estimate.curves[0]
    found = result.scale * curve.matrix(estimate.psi, estimate.stand().parts[0].places)[0]
    assert_allclose(found, wide.cov(), rtol=1e-7)
    assert_allclose(result.fe_params, wide.mean(), rtol=1e-10)


@pytest.mark.parametrize("residual", ["us", "ar1", "csh", "toeph", "adh"])
def test_order_of_rows_labels_and_scale_change_nothing(residual):
    data = ORTHODONT
    given = f"{residual}(visit | Subject)"
    plain = mx.mixedlm(GROWTH, data, residual=given).fit()
    mixed = data.sample(frac=1, random_state=3)
    mixed["Subject"] = "s" + mixed["Subject"].astype("category").cat.codes.map(
        lambda c: f"{37 * c % 101:03d}"
    )
    mixed["visit"] = mixed["visit"] * 1
    other = mx.mixedlm(GROWTH, mixed, residual=given).fit()
    assert_allclose(other.llf, plain.llf, rtol=1e-12)
    assert_allclose(other.fe_params, plain.fe_params, rtol=1e-8)
    scaled = mx.mixedlm(
        GROWTH, data.assign(distance=1e3 * data["distance"] + 1e6), residual=given
    ).fit()
    n = len(data) - 4
    assert_allclose(scaled.llf + n * np.log(1e3), plain.llf, rtol=1e-8)


def test_a_group_of_one_row_is_a_row_more():
    data = ORTHODONT
    more = pd.concat([data, data.iloc[[0]].assign(Subject="alone")], ignore_index=True)
    result = mx.mixedlm(GROWTH, more, residual="ar1(visit | Subject)").fit()
    assert result.converged
    assert result.nobs == len(data) + 1


@pytest.mark.parametrize("reml", [True, False])
def test_one_stratum_is_the_model_without(reml):
    data = ORTHODONT.assign(one="a")
    one, other = both(
        f"{GROWTH} + (1 | Subject)", data, {"variance": "ident(one)"}, {}, reml
    )
    assert_allclose(one.llf, other.llf, rtol=1e-12)
    assert_allclose(one.fe_params, other.fe_params, rtol=1e-12)


@pytest.mark.parametrize("kind", ["us", "ar1", "csh", "arma", "toeph", "adh", "car1"])
def test_a_stationary_point(kind):
    result = random_design(kind, 40, weighted=True).fit()
    estimate = result.fitted.fit.residual
    gradient, _ = estimate.stand().derivatives()
    assert np.abs(gradient).max() < 1e-4
    assert result.convergence.decrement < 1e-8


def test_the_engine_s_fit_is_that_of_the_whitened_rows():
    model = random_design("ar1", 41, "same", weighted=True)
    result = model.fit()
    fit = result.fitted.fit
    deviance = fit.residual.stand()
    assert_allclose(fit.deviance, deviance.at.value + deviance.shift, rtol=1e-11)
    assert_allclose(
        fit.scale, deviance.residual_square / deviance.dof * deviance.y_scale**2, rtol=1e-10
    )
