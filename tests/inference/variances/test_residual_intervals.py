"""Rows of the residual covariance in tables of variances, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.residual_fits import fev_fit, fit_of, series
from scipy import stats

import mixedext as mx
from mixedext.inference.variances.residual_intervals import joint_covariance

pytestmark = pytest.mark.formula_engine

Z = stats.norm.ppf(0.975)


@pytest.fixture(scope="module")
def complete():
    rng = np.random.default_rng(8)
    y = rng.normal(size=(40, 3)) @ np.array([[2, 1, 0.3], [0, 1.5, -0.5], [0, 0, 1]])
    subject, visit = np.repeat(np.arange(40), 3), np.tile(np.arange(3), 40)
    residual = mx.Unstructured(visit, group=subject)
    return y, mx.MixedLM(y.ravel(), np.eye(3)[visit], residual=residual).fit()


def test_unstructured_has_standard_deviations_and_correlations(complete):
    y, result = complete
    table = result.conf_int_vcomp()
    sd, r = y.std(axis=0, ddof=1), np.corrcoef(y.T)
    assert table.index.tolist() == [
        *("sd(0)", "cor(0,1)", "sd(1)", "cor(0,2)", "cor(1,2)", "sd(2)")
    ]
    a, b = np.tril_indices(3)
    estimate = np.where(a == b, sd[a], r[a, b])
    # of a Wishart matrix se(s) = s / sqrt(2 d), se(r) = (1 - r^2) / sqrt(d)
    error = np.where(a == b, estimate / np.sqrt(2 * 39), (1 - r[a, b] ** 2) / np.sqrt(39))
    np.testing.assert_allclose(table["estimate"], estimate, rtol=1e-8)
    np.testing.assert_allclose(table["std_err"], error, rtol=1e-7)
    with np.errstate(divide="ignore"):  # of a standard deviation there is no such limit
        fisher = np.tanh(np.arctanh(np.where(a == b, 0, estimate)) - Z / np.sqrt(39))
    lower = np.where(a == b, estimate * np.exp(-Z / np.sqrt(2 * 39)), fisher)
    np.testing.assert_allclose(table["lower"], lower, rtol=1e-7)
    wald = result.conf_int_vcomp(method="wald")
    np.testing.assert_allclose(wald["upper"], estimate + Z * error, rtol=1e-7)


def test_satterthwaite_limits_of_variances_are_chi_squared(complete):
    y, result = complete
    table = result.conf_int_vcomp(method="satterthwaite", scale="variance")
    v = y.var(axis=0, ddof=1)
    rows = table.loc[["UN(1,1)", "UN(2,2)", "UN(3,3)"]]
    np.testing.assert_allclose(rows["df"], 39, rtol=1e-7)
    np.testing.assert_allclose(rows["lower"], 39 * v / stats.chi2.ppf(0.975, 39), rtol=1e-7)
    assert table.loc["UN(2,1)", ["df", "lower", "upper"]].isna().all()
    on_sd = result.conf_int_vcomp(method="satterthwaite")
    np.testing.assert_allclose(on_sd.loc["sd(1)", "lower"] ** 2, rows["lower"].iloc[1])


def test_strata_have_the_variances_of_separate_samples():
    rng = np.random.default_rng(1)
    stratum = np.repeat(["a", "b"], [30, 50])
    y = rng.normal(size=80) * np.where(stratum == "a", 2.0, 0.5)
    x = (stratum[:, None] == ["a", "b"]) * 1.0
    result = mx.MixedLM(y, x, variance=mx.VarIdent(stratum)).fit()
    table = result.conf_int_vcomp(scale="variance")
    v = np.array([y[stratum == s].var(ddof=1) for s in "ab"])
    assert table.index.tolist() == ["Var(a)", "Var(b)"]
    error = v * np.sqrt(2 / np.array([29, 49]))
    np.testing.assert_allclose(table["estimate"], v, rtol=1e-6)
    np.testing.assert_allclose(table["std_err"], error, rtol=1e-6)
    np.testing.assert_allclose(table["upper"], v * np.exp(Z * error / v), rtol=1e-6)
    np.testing.assert_allclose(result.cov_vcomp, np.diag(error**2), rtol=2e-6, atol=1e-7)


def test_random_terms_stand_before_the_residual_covariance():
    result = mx.mixedlm(
        "y ~ x + (t | subject)", series(), residual="ar1(visit | subject)"
    ).fit()
    covariance, table = result.cov_vcomp, result.conf_int_vcomp(scale="variance")
    assert covariance.index.tolist() == [
        "var Intercept|subject",
        "cov Intercept.t|subject",
        "var t|subject",
        "residual",
        "AR1 rho",
    ]
    assert table.index.tolist()[-2:] == ["residual", "AR1 rho"]
    np.testing.assert_allclose(covariance, covariance.T, rtol=1e-12)
    assert np.linalg.eigvalsh(covariance.to_numpy())[0] > 0
    own = result.residual
    np.testing.assert_allclose(covariance.iloc[3:, 3:], own.cov_params, rtol=1e-10)
    np.testing.assert_allclose(table["std_err"].iloc[-2:], own.bse, rtol=1e-12)
    np.testing.assert_allclose(
        table[["lower", "upper"]].iloc[-2:].astype(float),
        own.conf_int()[["lower", "upper"]],
        rtol=1e-12,
    )
    variances = np.sqrt(np.diag(covariance))[[0, 2]]
    np.testing.assert_allclose(table["std_err"].iloc[[0, 2]], variances, rtol=1e-10)


def test_independent_errors_stay_as_they_were():
    formula, data = "y ~ x + (1 | subject)", series()
    plain = mx.mixedlm(formula, data).fit()
    same = mx.mixedlm(
        formula, data, residual=mx.AR1("visit", group="subject", rho=1e-12, fixed=True)
    ).fit()
    assert plain.cov_vcomp.index.tolist() == ["var Intercept|subject", "residual"]
    np.testing.assert_allclose(same.cov_vcomp.iloc[:2, :2], plain.cov_vcomp, rtol=1e-5)
    pair = same.conf_int_vcomp().iloc[:2], plain.conf_int_vcomp()
    np.testing.assert_allclose(*pair, rtol=1e-5)
    assert np.isnan(same.conf_int_vcomp().loc["AR1 rho", "std_err"])


def test_levels_have_names_of_their_own():
    table = fev_fit("us(AVISIT | USUBJID, by=ARMCD)").conf_int_vcomp()
    assert "TRT: cor(VIS1,VIS2)" in table.index
    found = fev_fit("us(AVISIT | USUBJID, by=ARMCD)").residual.corr["TRT"]
    row = table.loc["TRT: cor(VIS2,VIS4)"]
    assert row["estimate"] == pytest.approx(found.loc["VIS2", "VIS4"], rel=1e-10)


def test_joint_covariance_is_that_of_the_table():
    result = fit_of("Orthodont: lme_int_ar1_varident")
    np.testing.assert_array_equal(joint_covariance(result.fitted), result.cov_vcomp)
