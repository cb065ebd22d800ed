"""Kenward and Roger's methods beside a residual covariance: SAS, dense algebra, theory."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from helpers.dense_residual import DenseResidual, SasCovariance
from helpers.fev import fev_model, values

import mixedext as mx
from mixedext.engine.residual.fit import fit_residual_rows
from mixedext.exceptions import InformationWarning
from mixedext.fitted import DfChoice
from mixedext.inference.fixed_effects.df_methods import KENWARD_ROGER, fixed_tests
from mixedext.inference.fixed_effects.kenward_roger import KenwardRoger
from mixedext.models.mixedlm.residual_fitting import residual_rows

pytestmark = pytest.mark.formula_engine

# Relative error of standard errors, and of degrees of freedom: where SAS converged, and
# where it stopped at its own criterion before (-2 log L up to 1e-5 above the minimum).
CONVERGED, STOPPED = (1e-5, 1e-4), (2e-4, 1e-3)
SAS = {
    "ar1": CONVERGED,
    "ar1h": CONVERGED,
    "cs": CONVERGED,
    "toeph": CONVERGED,
    "csh": STOPPED,
    "adh": STOPPED,
    "toep": STOPPED,
    "us": STOPPED,
    "sp_exp": CONVERGED,
}


@pytest.mark.parametrize("structure", SAS)
def test_sas(structure):
    # as the exact optimum of SAS's own likelihood was found to differ from SAS
    error, df_error = SAS[structure]
    model = fev_model("us" if structure == "sp_exp" else structure, "FEV1 ~ ARMCD")
    if structure == "sp_exp":
        residual = "sp_exp(VISITN, VISITN2 | USUBJID)"
        model = mx.mixedlm("FEV1 ~ ARMCD", model.data.frame, residual=residual)
    result = model.fit()
    of = values()["sas"][structure]
    for method, name in (("kenward-roger", "kr"), ("kenward-roger-linear", "kr_linear")):
        test = result.t_test([[0, 1]], df_method=method)
        assert np.ravel(test.effect)[0] == pytest.approx(of[name]["estimate"], rel=error)
        assert np.ravel(test.sd)[0] == pytest.approx(of[name]["se"], rel=error)
        assert np.ravel(test.df_denom)[0] == pytest.approx(of[name]["df"], rel=df_error)


# with the observed information, to the digits that were found densely
KR2 = {"ar1": 0.959983, "us": 0.661300, "csh": 0.674176}


@pytest.mark.parametrize("structure", KR2)
def test_2009_on_the_trial(structure):
    result = fev_model(structure, "FEV1 ~ ARMCD").fit()
    test = result.t_test([[0, 1]], df_method="kenward-roger-2009")
    assert np.ravel(test.sd)[0] == pytest.approx(KR2[structure], abs=6e-7)


@pytest.mark.parametrize("structure", ["us", "ar1", "us_by_arm", "us_weighted"])
def test_linear_version_of_mmrm(structure):
    # mmrm stops where -2 log L is up to 1e-4 above its minimum
    of = values()["mmrm"][structure]
    weights = "WEIGHT" if structure.endswith("weighted") else None
    model = fev_model(structure.split("_")[0], weights=weights)
    if structure.endswith("arm"):
        residual = mx.Unstructured("AVISIT", group="USUBJID", by="ARMCD")
        model = mx.mixedlm(model.formula, model.data.frame, residual=residual)
    result = model.fit(df_method="kenward-roger-linear")
    want = of["kenward_roger_linear"]
    error = (result.fe_params - want["estimate"]) / want["se"]
    assert np.abs(error).max() < 3e-4
    np.testing.assert_allclose(result.bse_fe, want["se"], rtol=2e-4)
    np.testing.assert_allclose(result.t_test(np.eye(11)).df_denom, want["df"], rtol=1e-3)


# ---- dense algebra ----

KINDS = ["cs", "csh", "ar1", "ar1h", "toep", "toeph", "us", "ad", "adh", "car1", "exp"]
KINDS += ["arma", "armah"]


def residual_over_visits(fit, subject, visit, m):
    """Covariance of the residuals of all visits, weights apart."""
    root = np.linalg.inv(fit.residual.whitened(np.eye(len(visit))))
    i, j = np.nonzero(subject[:, None] == subject)
    whole = np.zeros((m, m))
    whole[visit[i], visit[j]] = fit.scale * (root @ root.T)[i, j]
    return whole


def design(seed, kind, weighted=False):
    """A fit of a random design, and the same model densely."""
    rng = np.random.default_rng(seed)
    n_groups, m = 14, 4
    subject, visit = np.divmod(np.arange(n_groups * m), m)
    shuffled = rng.permutation(n_groups * m)  # rows in no order
    shuffled = shuffled[rng.random(len(shuffled)) > 0.15]
    subject, visit = subject[shuffled], visit[shuffled]
    a, b = rng.standard_normal(n_groups)[subject], rng.standard_normal(len(visit))
    lag = np.abs(np.arange(m)[:, None] - np.arange(m))
    sigma = 0.6**lag + 0.2 * np.eye(m)
    error = (rng.standard_normal((n_groups, m)) @ np.linalg.cholesky(sigma).T)[
        subject, visit
    ]
    frame = pd.DataFrame(
        {
            "y": 1 + a + error * (1 + 0.2 * visit * kind.endswith("h")),
            "a": a,
            "b": b,
            "visit": visit + 1,
            "subject": subject,
            "w": rng.uniform(0.5, 2, len(visit)) if weighted else 1.0,
        }
    )
    residual = f"{'sp_exp' if kind == 'exp' else kind}(visit | subject)"
    if kind.startswith("arma"):
        residual = "arma(visit | subject, p=1, q=1)"
    weights = "w" if weighted else None
    result = mx.mixedlm(
        "y ~ a + b",
        frame,
        residual=residual,
        variance="ident(visit)" if kind == "armah" else None,
        weights=weights,
    ).fit()
    fit = result.fitted.fit
    whole = residual_over_visits(fit, subject, visit, m)
    w = frame["w"].to_numpy() if weighted else None
    covariance = SasCovariance(kind, visit, subject, w)
    phi = covariance.parameters(whole)
    dense = DenseResidual(frame["y"].to_numpy(), result.model.exog, covariance, phi)
    assert dense.deviance == pytest.approx(fit.deviance, rel=1e-11)
    return result, dense


@pytest.mark.parametrize("information", ["observed", "expected"])
@pytest.mark.parametrize("kind", KINDS)
def test_dense_algebra(kind, information):
    # the first design leads arma to an end of its range
    seed = 6 if kind == "arma" else 3
    result, dense = design(seed, kind, weighted=kind in ("ar1", "us"))
    assert result.fitted.fit.convergence.status == "interior"
    rows = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    size = np.sqrt(dense.fixed.diagonal())
    for method in KENWARD_ROGER:
        tests = fixed_tests(result.fitted.fit, DfChoice(method, information))
        assert (tests.information, tests.indefinite) == (information, False)
        error = tests.covariance - dense.adjusted(method, information)
        assert np.abs(error / np.outer(size, size)).max() < 1e-6
        df = [dense.satterthwaite(row, information) for row in np.eye(3)]
        np.testing.assert_allclose(tests.df(np.eye(3)), df, rtol=5e-6)
        test, want = tests.f_test(rows), dense.kenward_roger_test(rows, method, information)
        np.testing.assert_allclose([test.statistic, test.df_denom], want, rtol=5e-6)


def functions(kind, visit, subject, t):
    """The covariance of residuals with variance functions, in SAS's parameters."""
    same, lag = subject[:, None] == subject, np.abs(visit[:, None] - visit)
    odd = visit % 2

    def power(phi):  # sigma^2, delta
        return np.diag(phi[0] * t ** (2 * phi[1]))

    def exponential(phi):
        return np.diag(phi[0] * np.exp(2 * phi[1] * t))

    def strata(phi):  # variances: linear
        return np.diag(phi[odd])

    def both(phi):  # variances by stratum, delta, rho
        sd = np.sqrt(phi[odd]) * t ** phi[2]
        return same * sd[:, None] * phi[3] ** lag * sd

    return {"power": power, "exp": exponential, "ident": strata, "both": both}[kind]


@pytest.mark.parametrize("information", ["observed", "expected"])
@pytest.mark.parametrize("kind", ["power", "exp", "ident", "both"])
def test_variance_functions(kind, information):
    rng = np.random.default_rng(11)
    subject, visit = np.divmod(np.arange(80), 5)
    lag = np.abs(np.arange(5)[:, None] - np.arange(5))
    frame = pd.DataFrame({"subject": subject, "visit": visit, "odd": visit % 2})
    frame["t"], frame["x"] = rng.uniform(1, 4, 80), rng.normal(size=80)
    error = rng.standard_normal((16, 5)) @ np.linalg.cholesky(0.5**lag).T
    frame["y"] = error.ravel() * frame["t"] ** 0.6 + frame["x"]
    variance = {"both": "ident(odd) * power(t)", "ident": "ident(odd)"}
    model = mx.mixedlm(
        "y ~ x + t",
        frame,
        residual="ar1(visit | subject)" if kind == "both" else None,
        variance=variance.get(kind, f"{kind}(t)"),
    )
    result = model.fit()
    fit, psi = result.fitted.fit, result.fitted.fit.residual.psi
    phi = np.append(fit.scale, psi)
    if kind in ("ident", "both"):  # psi: the logarithm of a ratio first
        phi[1] = fit.scale * np.exp(2 * psi[0])
    if kind == "both":
        phi[3] = np.tanh(psi[2])
    covariance = functions(kind, visit, subject, frame["t"].to_numpy())
    dense = DenseResidual(frame["y"].to_numpy(), result.model.exog, covariance, phi)
    assert dense.deviance == pytest.approx(fit.deviance, rel=1e-11)
    size = np.sqrt(dense.fixed.diagonal())
    for method in KENWARD_ROGER:
        tests = fixed_tests(fit, DfChoice(method, information))
        error = tests.covariance - dense.adjusted(method, information)
        assert np.abs(error / np.outer(size, size)).max() < 2e-6
        df = [dense.satterthwaite(row, information) for row in np.eye(3)]
        np.testing.assert_allclose(tests.df(np.eye(3)), df, rtol=2e-5)


# ---- theory ----


def unstructured(seed, n_groups=12, m=3):
    """A complete trial: cell means of m visits, unstructured covariance."""
    rng = np.random.default_rng(seed)
    y = rng.multivariate_normal(
        [1.0, 1.3, 0.8], [[1, 0.5, 0.2], [0.5, 2, 0.3], [0.2, 0.3, 1.5]], n_groups
    )
    subject, visit = np.divmod(np.arange(n_groups * m), m)
    frame = pd.DataFrame({"y": y.ravel(), "visit": visit, "subject": subject})
    return y, mx.mixedlm("y ~ 0 + C(visit)", frame, residual="us(visit | subject)").fit()


@pytest.mark.parametrize("method", KENWARD_ROGER)
def test_hotelling(method):
    y, result = unstructured(5)
    rows = np.array([[1.0, -1, 0], [0, 1, -1]])
    n, q, d = len(y), 2, y @ rows.T
    t2 = n * d.mean(0) @ np.linalg.solve(np.cov(d.T), d.mean(0))
    test = result.f_test(rows, df_method=method)
    assert test.df_denom == pytest.approx(n - q, rel=1e-6)
    assert np.ravel(test.statistic)[0] == pytest.approx(
        t2 * (n - q) / (q * (n - 1)), rel=1e-6
    )


@pytest.mark.parametrize("kind", ["ar1", "csh"])
def test_2009_is_the_same_in_any_parameters(kind):
    # by the expected information; the version of 1997 is not
    result, dense = design(4, kind)
    variances = 1 if kind == "ar1" else 4

    def covariance(free):
        rho = np.tanh(free[variances:])
        return dense.covariance(np.concatenate([np.exp(free[:variances]), rho]))

    phi = dense.phi
    free = np.concatenate([np.log(phi[:variances]), np.arctanh(phi[variances:])])
    other = DenseResidual(dense.y, dense.x, covariance, free)
    size = np.sqrt(dense.fixed.diagonal())

    def error(method):
        tests = fixed_tests(result.fitted.fit, DfChoice(method, "expected"))
        difference = tests.covariance - other.adjusted(method, "expected")
        return np.abs(difference / np.outer(size, size)).max()

    assert error("kenward-roger-2009") < 1e-6 < 1e-3 < error("kenward-roger")
    assert error("kenward-roger-linear") < 1e-6


# ---- random effects beside them ----


@pytest.mark.parametrize("information", ["observed", "expected"])
@pytest.mark.parametrize("kind", ["ar1", "ar1h"])
def test_random_effects(kind, information):
    rng = np.random.default_rng(8)
    n_groups, m = 25, 5
    subject, visit = np.divmod(np.arange(n_groups * m), m)
    lag = np.abs(np.arange(m)[:, None] - np.arange(m))
    error = rng.standard_normal((n_groups, m)) @ np.linalg.cholesky(0.4**lag).T
    y = error.ravel() + 1.5 * rng.standard_normal(n_groups)[subject] + visit
    frame = pd.DataFrame({"y": y, "x": subject % 2, "visit": visit, "subject": subject})
    keep = rng.random(len(frame)) > 0.1
    frame, subject, visit = frame[keep], subject[keep], visit[keep]
    formula, residual = "y ~ x + visit + (1 | subject)", f"{kind}(visit | subject)"
    result = mx.mixedlm(formula, frame, residual=residual).fit()
    fit = result.fitted.fit
    assert fit.convergence.status == "interior"
    own, same = SasCovariance(kind, visit, subject), subject[:, None] == subject
    phi = own.parameters(residual_over_visits(fit, subject, visit, m))
    phi = np.concatenate([fit.covariances[0][0], phi])
    dense = DenseResidual(
        frame["y"].to_numpy(), result.model.exog, lambda q: own(q[1:]) + q[0] * same, phi
    )
    assert dense.deviance == pytest.approx(fit.deviance, rel=1e-11)
    size = np.sqrt(dense.fixed.diagonal())
    for method in KENWARD_ROGER:
        tests = fixed_tests(fit, DfChoice(method, information))
        error = tests.covariance - dense.adjusted(method, information)
        assert np.abs(error / np.outer(size, size)).max() < 2e-6
        df = [dense.satterthwaite(row, information) for row in np.eye(3)]
        np.testing.assert_allclose(tests.df(np.eye(3)), df, rtol=2e-5)


# ---- what is held, what fails, what is said ----


def test_what_is_held_does_not_vary():
    model = fev_model("ar1", "FEV1 ~ ARMCD")
    start, held = np.arctanh([0.4]), np.array([True])
    fit = fit_residual_rows(residual_rows(model), True, np.zeros(0), start, held)
    for method in KENWARD_ROGER:
        for information in ("expected", "observed"):
            tests = fixed_tests(fit, DfChoice(method, information))
            # as in a linear model with a known correlation: one variance, n - p of it
            np.testing.assert_allclose(tests.df(np.eye(2)), model.nobs - 2, rtol=1e-9)
            np.testing.assert_allclose(tests.covariance, fit.covariance, rtol=1e-9)


def test_one_that_is_not_definite_is_replaced():
    rng = np.random.default_rng(37)
    n_groups, m = (int(k) for k in (rng.integers(2, 6), rng.integers(3, 6)))
    subject, visit = np.divmod(np.arange(n_groups * m), m)
    lag = np.abs(np.arange(m)[:, None] - np.arange(m))
    root = np.linalg.cholesky(rng.uniform(0.3, 0.98) ** lag)
    y = (rng.standard_normal((n_groups, m)) @ root.T)[subject, visit]
    frame = pd.DataFrame({"y": y, "x": subject % 2, "visit": visit, "subject": subject})
    result = mx.mixedlm("y ~ x", frame, residual="ar1(visit | subject)").fit()
    fit = result.fitted.fit
    linear = fixed_tests(fit, DfChoice("kenward-roger-linear", None))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (linear.indefinite, linear.held_notes()) == (False, [])
    for method in ("kenward-roger", "kenward-roger-2009"):
        with pytest.warns(InformationWarning, match="kenward-roger-linear"):
            tests = fixed_tests(fit, DfChoice(method, None))
        assert tests.indefinite
        np.testing.assert_allclose(tests.covariance, linear.covariance)
        assert any("not positive definite" in note for note in tests.held_notes())
    with pytest.warns(InformationWarning):
        table = result.anova(df_method="kenward-roger")
    assert np.isfinite(table["pvalue"]).all()
    assert "kenward-roger-linear" in str(table)


def test_headers_name_the_information():
    result = fev_model("ar1", "FEV1 ~ ARMCD").fit(df_method="kr2")
    assert result.df_method == "kenward-roger-2009"
    assert "kenward-roger-2009 (observed information)" in str(result.anova())
    asked = result.anova(information="expected")
    assert "kenward-roger-2009 (expected information)" in str(asked)
    test = result.kenward_roger([[0, 1]])
    assert str(test).startswith("<F test (kenward-roger):")
    assert "expected" in str(result.kenward_roger([[0, 1]], information="expected"))
    report = str(result.report())
    for text in ("covariance of 2009", "Biometrics 53(3)", "Data Analysis 53(7)"):
        assert text in report


@pytest.mark.parametrize("method", KENWARD_ROGER)
def test_maximum_likelihood_is_refused(method):
    model = fev_model("ar1", "FEV1 ~ ARMCD")
    with pytest.raises(ValueError, match=f"{method}' needs reml=True"):
        model.fit(reml=False, df_method=method)
    with pytest.raises(ValueError, match=f"{method}' needs a REML fit"):
        model.fit(reml=False).anova(df_method=method)
    with mx.option_context(df_method=method):
        assert model.fit(reml=False).df_method == "satterthwaite"
        assert model.fit().df_method == method


def test_information_belongs_to_all_versions():
    result = fev_model("ar1", "FEV1 ~ ARMCD").fit()
    with pytest.raises(ValueError, match="rests on the observed one"):
        result.anova(df_method="satterthwaite", information="observed")
    for method in KENWARD_ROGER:
        tests = fixed_tests(result.fitted.fit, DfChoice(method, None))
        assert isinstance(tests, KenwardRoger)
        assert tests.information == "observed"


def test_adjusted_errors_are_those_of_the_results():
    model = fev_model("toeph", "FEV1 ~ ARMCD")
    for method in KENWARD_ROGER:
        result = model.fit(df_method=method)
        tests = fixed_tests(result.fitted.fit, DfChoice(method, None))
        np.testing.assert_allclose(np.array(result.cov_params())[:2, :2], tests.covariance)
        np.testing.assert_allclose(result.bse_fe, np.sqrt(tests.covariance.diagonal()))
