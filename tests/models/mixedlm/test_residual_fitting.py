"""Models with residual= and variance= against SPSS, and what the data do not tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.residual_fits import series
from numpy.testing import assert_allclose
from statsmodels.base._penalties import L2

import mixedext as mx
from mixedext.exceptions import ResidualLimitWarning

PLAIN = "ar1(AVISIT | USUBJID)"
FEV = mx.datasets.fev.load().data
pytestmark = pytest.mark.formula_engine
FOLDER = Path(__file__).parents[2] / "results" / "residual" / "data"


def test_autoregression_beside_an_intercept():
    # SPSS MIXED: -2 REML 453.339544 and 471.851077, days in the order of their text
    data = pd.read_csv(FOLDER / "RepeatedPulse.csv")
    data["Day"] = pd.Categorical(data["Day"], sorted(data["Day"].unique()), ordered=True)
    both = mx.mixedlm("Pulse ~ 1 + (1 | Time)", data, residual="ar1(Day | Time)").fit()
    alone = mx.mixedlm("Pulse ~ 1", data, residual="ar1(Day | Time)").fit()
    assert_allclose(-2 * both.llf, 453.339544, atol=1e-6)
    assert_allclose(-2 * alone.llf, 471.851077, atol=1e-6)


def test_labels_whose_numbers_sort_otherwise_are_refused():
    data = pd.read_csv(FOLDER / "RepeatedPulse.csv")
    with pytest.raises(mx.DesignError, match="ordered categorical"):
        mx.mixedlm("Pulse ~ 1", data, residual="ar1(Day | Time)")


def once_each(rng):
    """Two treatments, of which T is given to each subject once."""
    subject = np.repeat(np.arange(12), 3)
    treatment = np.tile(["R", "R", "T"], 12)
    y = rng.standard_normal(36) + rng.standard_normal(12)[subject] + (treatment == "T")
    return pd.DataFrame({"y": y, "subject": subject, "treatment": treatment})


@pytest.mark.filterwarnings("ignore:The random effects covariance")
def test_variances_that_cannot_be_told_apart_are_named():
    data = once_each(np.random.default_rng(1))
    formula = "y ~ treatment + (0 + treatment | subject)"
    with pytest.warns(mx.UnidentifiedVarianceWarning, match="treatment"):
        result = mx.mixedlm(formula, data, variance="ident(treatment)").fit()
    # the likelihood is that of any covariance of the three rows of a subject with equal R
    other = mx.mixedlm(formula, data).fit()
    assert result.llf >= other.llf - 1e-8


def test_a_list_takes_the_first_that_the_data_allow():
    two = FEV[FEV["AVISIT"].isin(["VIS1", "VIS2"])]
    structures = ["us(AVISIT | USUBJID)", "cs(1 | USUBJID)"]
    result = mx.mixedlm("FEV1 ~ AVISIT", two, residual=structures, missing="drop").fit()
    assert str(result.fitted.fit.residual.bound.spec) == structures[0]


def test_penalties_and_masks_are_refused():
    formula = "FEV1 ~ ARMCD + (1 | USUBJID)"
    model = mx.mixedlm(formula, FEV, residual=PLAIN, missing="drop")
    with pytest.raises(ValueError, match="fixed=True"):
        model.fit(fe_pen=L2())


def test_held_parameters_stay():
    given = mx.AR1("AVISIT", group="USUBJID", rho=0.3, fixed=True)
    held = mx.mixedlm("FEV1 ~ ARMCD", FEV, residual=given, missing="drop").fit()
    free = mx.mixedlm(
        "FEV1 ~ ARMCD", FEV, residual="ar1(AVISIT | USUBJID)", missing="drop"
    ).fit()
    assert_allclose(np.tanh(held.fitted.fit.residual.psi), [0.3], rtol=1e-12)
    assert held.llf < free.llf


def test_a_start_leads_to_the_same_maximum():
    given = mx.AR1("AVISIT", group="USUBJID", rho=-0.5)
    started = mx.mixedlm("FEV1 ~ ARMCD", FEV, residual=given, missing="drop").fit()
    free = mx.mixedlm(
        "FEV1 ~ ARMCD", FEV, residual="ar1(AVISIT | USUBJID)", missing="drop"
    ).fit()
    assert_allclose(started.llf, free.llf, rtol=1e-12)


@pytest.mark.parametrize(
    ("residual", "llf"),
    [(None, -570.960710924646), ("sp_exp(Time | Rat)", -560.570208070454)],
)
def test_powers_of_the_fitted_values_are_nlme_s(residual, llf):
    # nlme's varPower(), whose rounds end a little earlier
    data = pd.read_csv(FOLDER / "BodyWeight.csv")
    formula = "weight ~ Time * C(Diet) + (Time | Rat)"
    result = mx.mixedlm(formula, data, residual=residual, variance="power(fitted)").fit()
    assert_allclose(result.llf, llf, atol=5e-7)
    assert "no maximum of a likelihood" in result.convergence.message


FLAT = "car1(Days | Subject, rho=1e-200)"


@pytest.mark.parametrize(
    "variance", ["power(fitted)", mx.VarPower(power=2.0, fixed=True), "power(level)"]
)
def test_starts_where_the_likelihood_is_flat_are_left(variance):
    # the rounds of a variance of the fitted values start where the one before has ended,
    # which is flat where the correlation has gone
    data = mx.datasets.sleepstudy.load().data
    data["level"] = 250.0 + 10.0 * data["Days"]
    formula = "Reaction ~ Days"
    plain = mx.mixedlm(formula, data, residual="car1(Days | Subject)", variance=variance)
    started = mx.mixedlm(formula, data, residual=FLAT, variance=variance).fit()
    assert started.convergence.status == "interior"
    assert_allclose(started.llf, plain.fit().llf, rtol=1e-9)


@pytest.mark.parametrize("variance", ["power(v)", "exp(v)"])
def test_covariates_far_from_one_are_no_harder(variance):
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(15), 8)
    v = rng.uniform(200, 400, 120)
    y = 5 + 20 * rng.standard_normal(15)[group] + 0.1 * v * rng.standard_normal(120)
    data = pd.DataFrame({"y": y, "v": v, "g": group})
    formula = "y ~ 1 + (1 | g)"
    result = mx.mixedlm(formula, data, variance=variance).fit()
    assert result.converged
    assert result.convergence.n_evaluations < 120
    data["v"] = v / 300 if variance == "power(v)" else v - 300
    near = mx.mixedlm(formula, data, variance=variance).fit()
    assert_allclose(result.llf, near.llf, rtol=1e-9)
    assert_allclose(result.fe_params, near.fe_params, rtol=1e-5)


BY_ARM = "us(AVISIT | USUBJID, by=ARMCD)"


@pytest.mark.parametrize("residual", ["ar1h(AVISIT | USUBJID)", BY_ARM])
def test_params_are_a_start(residual):
    data = FEV.dropna(subset=["FEV1"])
    model = mx.mixedlm("FEV1 ~ AVISIT", data, residual=residual)
    first = model.fit()
    given = np.asarray(first.params).copy()
    again = model.fit(start_params=given)
    assert_allclose(again.llf, first.llf, rtol=1e-10)
    assert again.convergence.n_evaluations < first.convergence.n_evaluations
    for there in (given, given[4:]):
        held = model.fit(start_params=there, do_cg=False)
        assert_allclose(held.llf, first.llf, rtol=1e-12)
    given[-1] = -4.0
    with pytest.raises(ValueError, match="start_params"):
        model.fit(start_params=given)


def test_visits_without_a_residual_are_an_end():
    formula = "y ~ x + ar1(0 + C(visit) | subject)"
    words = "residual variance of 2 at 0; residual variance of 3 at 0"
    with pytest.warns(ResidualLimitWarning, match=words):
        result = mx.mixedlm(formula, series(), variance="ident(visit)").fit()
    # the lowest of 25 ends of the n x n deviance, in variances of which any may be zero
    assert_allclose(-2 * result.llf, 903.8516422738634, rtol=1e-8)


@pytest.mark.parametrize("structure", ["us", "cs"])
def test_the_order_of_visits_is_that_of_the_labels(structure):
    """It changes normalized residuals alone, within groups."""
    rng = np.random.default_rng(0)
    text = ["V1", "V10", "V2"]
    data = pd.DataFrame({"subject": np.repeat(np.arange(30), 3), "visit": text * 30})
    data["y"] = rng.standard_normal(90) + rng.standard_normal(30)[data["subject"]]
    natural = pd.Categorical(data["visit"], ["V1", "V2", "V10"], ordered=True)
    formula, residual = "y ~ 1", f"{structure}(visit | subject)"
    by_text, by_level, by_alphabet = (
        mx.mixedlm(formula, data.assign(visit=own), residual=residual).fit()
        for own in (data["visit"], natural, data["visit"].astype("category"))
    )
    assert by_text.model.residual.visit_labels == by_level.model.residual.visit_labels
    assert by_text.model.residual.visit_labels == ["V1", "V2", "V10"]
    assert by_alphabet.model.residual.visit_labels == text
    assert_allclose(by_text.resid_normalized, by_level.resid_normalized, rtol=1e-12)
    assert_allclose(by_alphabet.llf, by_text.llf, rtol=1e-10)
    one, other = (
        np.asarray(own.resid_normalized).reshape(30, 3) for own in (by_text, by_alphabet)
    )
    assert np.abs(one - other).max() > 0.1
    assert_allclose((one**2).sum(axis=1), (other**2).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("seed", [24, 39, 60])
def test_toeplitz_is_no_worse_than_the_autoregression_in_it(seed):
    """A mean that is no line: from moments alone it was 11 to 28 below."""
    rng = np.random.default_rng(seed)
    size = np.exp(rng.normal(0, 1.2, 6))
    rho = (0.98, 0.7)[seed % 2]
    root = np.linalg.cholesky(rho ** np.abs(np.subtract.outer(np.arange(6), np.arange(6))))
    y = rng.normal(size=(10, 6)) @ (root * size[:, None]).T + 5 * np.arange(6) ** 2
    data = {"s": np.repeat(np.arange(10), 6), "t": np.tile(np.arange(6), 10)}
    data = pd.DataFrame(data | {"y": y.ravel()})
    nested, whole = (
        mx.mixedlm("y ~ t", data, residual=f"{name}(t | s)").fit()
        for name in ("ar1h", "toeph")
    )
    assert whole.llf > nested.llf
