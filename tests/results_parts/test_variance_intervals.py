"""Covariance of variances and intervals from it, against dense algebra and closed forms."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

import mixedext as mx

SLEEP = "Reaction ~ Days + (Days | Subject)"


def data_of(name):
    return getattr(mx.datasets, name).load().data.copy()


@pytest.mark.parametrize("reml", [False, True])
def test_covariance_is_the_inverse_of_the_dense_information(reml):
    data = data_of("sleepstudy")
    results = mx.mixedlm(SLEEP, data).fit(reml=reml)
    y, x = results.model.endog, results.model.exog
    same = (data["Subject"].to_numpy()[:, None] == data["Subject"].to_numpy()) * 1.0
    one, days = np.ones(len(y)), data["Days"].to_numpy(float)
    parts = [
        same * np.outer(one, one),
        same * (np.outer(one, days) + np.outer(days, one)),
        same * np.outer(days, days),
        np.eye(len(y)),
    ]
    cov = results.engine_fit.covariances[0]
    values = np.array([cov[0, 0], cov[1, 0], cov[1, 1], results.scale])
    inverse = np.linalg.inv(sum(v * p for v, p in zip(values, parts, strict=True)))
    project = inverse @ x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
    whole = inverse - project
    py = whole @ y
    # -l_rs = y'P V_r P V_s P y - tr(Q V_r Q V_s) / 2, Q = P (REML) or V^-1
    trace = whole if reml else inverse
    information = np.array(
        [
            [py @ a @ whole @ b @ py - 0.5 * np.trace(trace @ a @ trace @ b) for a in parts]
            for b in parts
        ]
    )
    got = results.cov_vcomp()
    assert list(got.index) == [
        "var Intercept|Subject",
        "cov Intercept.Days|Subject",
        "var Days|Subject",
        "residual",
    ]
    np.testing.assert_allclose(got, np.linalg.inv(information), rtol=2e-6)
    # delta method: by differences of sd and correlation
    table = results.conf_int_vcomp()

    def transform(v):
        return np.array(
            [v[0] ** 0.5, v[1] / (v[0] * v[2]) ** 0.5, v[2] ** 0.5, v[3] ** 0.5]
        )

    step = 1e-5 * np.abs(values)
    jacobian = np.array(
        [
            (transform(values + h) - transform(values - h)) / (2 * h.max())
            for h in np.diag(step)
        ]
    ).T
    want = np.sqrt(np.diag(jacobian @ got.to_numpy() @ jacobian.T))
    np.testing.assert_allclose(table["estimate"], transform(values), rtol=1e-12)
    np.testing.assert_allclose(table["se"], want, rtol=1e-7)


def test_balanced_residual_variance_has_its_degrees_of_freedom():
    data = data_of("dyestuff")
    results = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    table = results.conf_int_vcomp(method="satterthwaite", scale="variance", alpha=0.1)
    assert table.loc["residual", "df"] == pytest.approx(24, rel=1e-9)
    want = 24 * results.scale / stats.chi2.ppf([0.95, 0.05], 24)
    np.testing.assert_allclose(table.loc["residual", ["lower", "upper"]], want, rtol=1e-9)
    # of the batches: Satterthwaite's of (MSB - MSE) / n
    n, a = 5, 6
    between = n * data.groupby("Batch", observed=True)["Yield"].mean().var()
    variance = (between - results.scale) / n
    df = variance**2 / ((between / n) ** 2 / (a - 1) + (results.scale / n) ** 2 / 24)
    assert table.loc["var Intercept|Batch", "df"] == pytest.approx(df, rel=1e-6)
    want = df * variance / stats.chi2.ppf([0.95, 0.05], df)
    got = table.loc["var Intercept|Batch", ["lower", "upper"]]
    np.testing.assert_allclose(got, want, rtol=1e-6)
    sd = results.conf_int_vcomp(method="satterthwaite", alpha=0.1)
    np.testing.assert_allclose(
        sd[["lower", "upper"]] ** 2, table[["lower", "upper"]], rtol=1e-12
    )


def test_log_and_plain_limits():
    results = mx.mixedlm(SLEEP, data_of("sleepstudy")).fit()
    log, plain = results.conf_int_vcomp(), results.conf_int_vcomp(method="wald")
    z = stats.norm.ppf(0.975)
    sd = log.loc["sd Days|Subject"]
    ratio = np.exp(z * sd["se"] / sd["estimate"])
    assert sd["upper"] / sd["estimate"] == pytest.approx(ratio, rel=1e-12)
    assert sd["estimate"] / sd["lower"] == pytest.approx(ratio, rel=1e-12)
    cor = log.loc["cor Intercept.Days|Subject"]
    move = z * cor["se"] / (1 - cor["estimate"] ** 2)
    assert np.arctanh(cor["upper"]) - np.arctanh(cor["estimate"]) == pytest.approx(move)
    np.testing.assert_allclose(
        plain["upper"] - plain["lower"], 2 * z * plain["se"], rtol=1e-12
    )
    variance = results.conf_int_vcomp(scale="variance")
    assert variance.loc["residual", "estimate"] == results.scale
    assert variance.loc["residual", "upper"] == pytest.approx(
        log.loc["sigma", "upper"] ** 2
    )
    own = results.conf_int_vcomp(method="wald", scale="variance").loc["residual"]
    error = results.cov_vcomp().loc["residual", "residual"] ** 0.5
    assert own["upper"] - own["estimate"] == pytest.approx(z * error)


def test_profile_limits_are_those_of_the_profile():
    results = mx.mixedlm(SLEEP, data_of("sleepstudy")).fit(reml=False)
    table = results.conf_int_vcomp(method="profile")
    want = results.profile("random").conf_int()
    np.testing.assert_allclose(table[["lower", "upper"]], want, rtol=1e-11)
    assert list(table.index) == list(want.index)


def test_boundary_has_no_standard_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data_of("dyestuff2")).fit()
    for method in ("log", "wald", "satterthwaite"):
        table = results.conf_int_vcomp(method=method)
        assert table.loc["sd Intercept|Batch", ["se", "lower", "upper"]].isna().all()
        assert table.loc["sigma"].notna().all()
    assert table.loc["sigma", "df"] == pytest.approx(29, rel=1e-9)


@pytest.mark.parametrize("factor", [1e-5, 1e5])
def test_scale(factor):
    data = data_of("pastes")
    formula = "strength ~ 1 + (1 | batch / cask)"
    want = mx.mixedlm(formula, data).fit()
    scaled = data.assign(strength=data["strength"] * factor)
    got = mx.mixedlm(formula, scaled).fit()
    covariance = want.cov_vcomp()
    np.testing.assert_allclose(
        got.cov_vcomp() / factor**4,
        covariance,
        rtol=1e-8,
        atol=1e-10 * covariance.max().max(),
    )
    np.testing.assert_allclose(
        got.conf_int_vcomp() / factor, want.conf_int_vcomp(), rtol=1e-8
    )


def test_arguments():
    results = mx.mixedlm(SLEEP, data_of("sleepstudy")).fit()
    with pytest.raises(ValueError, match="method"):
        results.conf_int_vcomp(method="exact")
    with pytest.raises(ValueError, match="alpha"):
        results.conf_int_vcomp(alpha=1.5)
    with pytest.raises(ValueError, match="scale"):
        results.conf_int_vcomp(scale="log")
