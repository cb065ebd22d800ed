"""Natural parameters with errors and limits, against closed forms and differences."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.residual_fits import fev_fit, fit_of, reference, series
from scipy import stats

import mixedext as mx
from mixedext.engine.residual.fit import residual_fit_at
from mixedext.inference.variances.observed_covariance import (
    coefficient_slopes,
    covariance_of_variances,
)
from mixedext.inference.variances.residual_parameters import natural_estimates
from mixedext.models.mixedlm.residual_fitting import residual_rows

pytestmark = pytest.mark.formula_engine

Z = stats.norm.ppf(0.975)


def test_complete_unstructured_is_a_wishart_matrix():
    rng = np.random.default_rng(8)
    y = rng.normal(size=(40, 3)) @ np.array([[2, 1, 0.3], [0, 1.5, -0.5], [0, 0, 1]])
    subject, visit = np.repeat(np.arange(40), 3), np.tile(np.arange(3), 40)
    x = np.eye(3)[visit]
    residual = mx.Unstructured(visit, group=subject)
    result = mx.MixedLM(y.ravel(), x, residual=residual).fit()
    s = np.cov(y.T)
    a, b = np.tril_indices(3)
    found = result.residual
    np.testing.assert_allclose(found.params, s[a, b], rtol=1e-9)
    # Cov(s_ij, s_kl) = (s_ik s_jl + s_il s_jk) / (n - 1)
    expected = s[np.ix_(a, a)] * s[np.ix_(b, b)] + s[np.ix_(a, b)] * s[np.ix_(b, a)]
    np.testing.assert_allclose(found.cov_params, expected / 39, rtol=1e-8)
    limits = found.conf_int()
    error = np.sqrt(np.diag(expected) / 39)
    is_variance = a == b
    lower = np.where(
        is_variance, s[a, b] * np.exp(-Z * error / s[a, b]), s[a, b] - Z * error
    )
    np.testing.assert_allclose(limits["lower"], lower, rtol=1e-7)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("bar", ["(1 | subject)", "(t | subject)"])
def test_covariance_is_the_inverse_of_second_differences(reml, bar):
    model = mx.mixedlm(
        f"y ~ x + visit + {bar}",
        series(),
        residual="ar1(visit | subject)",
        weights="weight",
    )
    fit = model.fit(reml=reml).fitted.fit
    rows, s = residual_rows(model), fit.design.structures[0]
    at_fit = np.append(s.gamma(fit.lams[0] @ fit.lams[0].T), fit.residual.psi)

    def at(point):
        lam = np.linalg.cholesky(s.covariance(point[:-1]))
        return residual_fit_at(rows, reml, s.theta(lam), point[-1:])

    n = len(at_fit)
    step = np.diag(np.maximum(np.abs(at_fit), 0.3) * 2e-3)
    second, slope = np.zeros((n, n)), np.zeros((3, n))
    for i in range(n):
        ahead, behind = at(at_fit + step[i]), at(at_fit - step[i])
        slope[:, i] = (ahead.coefficients - behind.coefficients) / (2 * step[i, i])
        for j in range(n):
            signs = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
            value = sum(
                sign * at(at_fit + a * step[i] + b * step[j]).deviance
                for a, b, sign in signs
            )
            second[i, j] = value / (4 * step[i, i] * step[j, j])
    found = covariance_of_variances(model._fitted(reml=reml)).relative
    expected = 2 * np.linalg.inv(second)
    size = np.sqrt(np.diag(expected))
    off = (found - expected) / np.outer(size, size)
    assert np.abs(off).max() < 1e-4
    np.testing.assert_allclose(coefficient_slopes(fit), slope, atol=2e-6)


def test_first_order_autoregression_of_complete_series_has_its_known_information():
    # ML, p = 0: the information on (log s2, rho) of N series of m visits is
    # N [m / 2, -rho (m - 1) / (1 - rho^2); ., (m - 1)(1 + rho^2) / (1 - rho^2)^2]
    # in expectation; the observed one is near it
    rng = np.random.default_rng(0)
    n, m, rho = 3000, 5, 0.6
    root = np.linalg.cholesky(rho ** np.abs(np.subtract.outer(np.arange(m), np.arange(m))))
    y = (rng.normal(size=(n, m)) @ root.T).ravel()
    visit, subject = np.tile(np.arange(m), n), np.repeat(np.arange(n), m)
    result = mx.MixedLM(y, np.ones((n * m, 1)), residual=mx.AR1(visit, group=subject)).fit()
    r = float(result.residual.params["rho"])
    information = n * np.array(
        [
            [m / 2, -r * (m - 1) / (1 - r**2)],
            [-r * (m - 1) / (1 - r**2), (m - 1) * (1 + r**2) / (1 - r**2) ** 2],
        ]
    )
    covariance = np.linalg.inv(information)
    error = result.residual.bse
    np.testing.assert_allclose(error["rho"], np.sqrt(covariance[1, 1]), rtol=0.02)
    s2 = result.scale
    np.testing.assert_allclose(error["sigma^2"], s2 * np.sqrt(covariance[0, 0]), rtol=0.02)


@pytest.mark.parametrize("name", ["ar1", "cs", "ad"])
def test_limits_of_own_parameters_are_mapped_from_the_free_scale(name):
    result = fev_fit(f"{name}(AVISIT | USUBJID)")
    table, residual = result.residual.conf_int(), result.fitted.fit.residual
    curve = residual.curves[0]
    own = covariance_of_variances(result.fitted).absolute
    error = np.sqrt(np.diag(own)[: len(residual.psi)])
    for k in range(len(residual.psi)):
        ends = []
        for sign in (-1, 1):
            psi = residual.psi.copy()
            psi[k] += sign * Z * error[k]
            ends.append(float(curve.correlation.natural(psi)[k]))
        np.testing.assert_allclose(table[["lower", "upper"]].iloc[1 + k], ends, rtol=1e-12)


def test_toeplitz_correlations_have_fishers_limits():
    table = fev_fit("toeph(AVISIT | USUBJID)").residual.conf_int(level=0.9)
    r, se = table.loc["rho 2", ["estimate", "std_err"]].astype(float)
    move = stats.norm.ppf(0.95) * se / (1 - r**2)
    expected = np.tanh(np.arctanh(r) + np.array([-move, move]))
    np.testing.assert_allclose(
        table.loc["rho 2", ["lower", "upper"]].astype(float), expected, rtol=1e-12
    )


def test_what_is_held_has_no_error_and_a_note():
    data = series()
    result = mx.mixedlm(
        "y ~ x", data, residual=mx.AR1("visit", group="subject", rho=0.5, fixed=True)
    ).fit()
    table = result.residual.conf_int()
    assert table.loc["rho", "estimate"] == pytest.approx(0.5, abs=1e-12)
    assert table.loc["rho", ["std_err", "lower", "upper"]].isna().all()
    assert table.loc["sigma^2", ["std_err", "lower", "upper"]].notna().all()
    assert any("Held" in note and "rho" in note for note in table.notes)
    # sigma^2 with rho known: 2 s^4 / d
    expected = result.scale * np.sqrt(2 / (len(data) - 2))
    assert table.loc["sigma^2", "std_err"] == pytest.approx(expected, rel=1e-9)


def test_what_has_run_to_a_limit_has_no_error_and_a_note():
    rng = np.random.default_rng(2)
    group, time = np.repeat(np.arange(15), 5), np.tile(np.arange(5.0), 15)
    distance = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    root = np.linalg.cholesky(np.exp(-distance / 2))
    y, x = (rng.normal(size=(15, 5)) @ root.T).ravel(), np.ones((75, 1))
    with_nugget = mx.Spatial("exp", time, group=group, nugget=True)
    with pytest.warns(mx.ResidualLimitWarning, match="at a limit .*: nugget at 0"):
        result = mx.MixedLM(y, x, residual=with_nugget).fit()
    table = result.residual.conf_int()
    assert table.loc["nugget", ["std_err", "lower", "upper"]].isna().all()
    assert table.notes == ("On the boundary, without standard errors: nugget at 0",)
    # the others have those of the fit without it
    other = mx.MixedLM(y, x, residual=mx.Spatial("exp", time, group=group)).fit()
    own = other.residual.conf_int().drop(columns="sas").astype(float)
    np.testing.assert_allclose(
        table.drop(columns="sas").loc[["sigma^2", "range"]].astype(float), own, rtol=1e-5
    )
    assert np.isnan(result.bse[-1])


@pytest.mark.parametrize("reml", [True, False])
def test_names_and_values_are_nlmes(reml):
    end = "" if reml else "_ml"
    ref = reference()[f"Orthodont: gls_ar1h{end}"]
    params = fit_of("Orthodont: gls_ar1h", reml).residual.params
    sd = np.sqrt(params.filter(like="Var(").to_numpy())
    assert list(params.index) == ["Var(8)", "Var(10)", "Var(12)", "Var(14)", "rho"]
    np.testing.assert_allclose(sd[0], ref["sigma"], rtol=1e-5)
    np.testing.assert_allclose(sd / sd[0], list(ref["variance"].values()), rtol=1e-5)
    np.testing.assert_allclose(params["rho"], ref["correlation"][0], rtol=1e-5)


@pytest.mark.parametrize(
    ("residual", "variance"),
    [
        ("us(visit | subject)", "ident(arm)"),
        ("arma(visit | subject, p=2)", None),
        ("toeph(visit | subject)", None),
        ("toep(visit | subject, bands=3)", None),
        ("car1(t | subject, by=arm)", "power(weight)"),
        ("sp_gau(t | subject, nugget=True)", "exp(t | arm)"),
        ("adh(visit | subject, by=arm)", None),
        ("csh(visit | subject)", "fixed(weight)"),
        (None, "ident(arm) * power(weight)"),
    ],
)
def test_every_parameter_has_its_own_error_and_limits(residual, variance):
    data = series(groups=80)
    result = mx.mixedlm("y ~ x", data, residual=residual, variance=variance).fit()
    found, fitted = natural_estimates(result.fitted), result.fitted
    psi, curves = fitted.fit.residual.psi, fitted.fit.residual.curves
    point, at = np.append(psi, fitted.scale), [p.at for p in found.parameters]

    def natural(x):
        eta = np.empty(len(x))
        for curve in curves:
            eta[curve.natural_at] = curve.natural(x[:-1][curve.at], x[-1])
        return eta[at]

    slopes = np.empty((len(at), len(point)))
    for k, step in enumerate(1e-5 * np.maximum(1, np.abs(point))):
        move = step * (np.arange(len(point)) == k)
        slopes[:, k] = (natural(point + move) - natural(point - move)) / (2 * step)
    n = len(point)
    covariance = np.nan_to_num(covariance_of_variances(fitted).absolute[-n:, -n:])
    known = ~np.isnan(np.diag(found.covariance))
    assert known.sum() >= len(at) - 1
    error = np.sqrt(np.diag(slopes @ covariance @ slopes.T))
    np.testing.assert_allclose(found.errors[known], error[known], rtol=1e-7)
    table = result.residual.conf_int()[known]
    assert (table["lower"] < table["estimate"]).all()
    assert (table["estimate"] < table["upper"]).all()
    for names in (table.index, result.params.index, result.conf_int_vcomp().index):
        assert names.is_unique
    assert result.residual.params.index.tolist() == [p.name for p in found.parameters]
