"""Limits by profiles of a residual covariance, against closed forms and other searches."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.residual_fits import fev_fit, fit_of, series
from scipy import optimize, stats

import mixedext as mx

pytestmark = pytest.mark.formula_engine

RISE = stats.chi2.ppf(0.95, 1)
AGAIN = "The model, fitted by REML, was fitted again by ML."


@pytest.fixture(scope="module")
def complete():
    """Forty groups of three visits, all there, and a mean for each visit."""
    rng = np.random.default_rng(8)
    y = rng.normal(size=(40, 3)) @ np.array([[2, 1, 0.3], [0, 1.5, -0.5], [0, 0, 1]])
    y = y * 1e-3  # millimetres
    subject, visit = np.repeat(np.arange(40), 3), np.tile(np.arange(3), 40)
    residual = mx.Unstructured(visit, group=subject)
    return y, mx.MixedLM(y.ravel(), np.eye(3)[visit], residual=residual).fit()


def crossings(rise, estimate, low, high):
    """Where a function of a parameter has risen by a chi-squared quantile."""
    return [
        optimize.brentq(lambda v: rise(v) - RISE, end, estimate, rtol=1e-12)
        for end in (low, high)
    ]


def test_standard_deviations_and_correlations_of_complete_visits(complete):
    y, result = complete
    table = result.conf_int_vcomp(method="profile")
    assert table.notes == (AGAIN,)
    n, r = len(y), np.corrcoef(y.T)
    for k, sd in enumerate(y.std(axis=0)):

        def rise(v, sd=sd):  # that of one normal sample
            return n * (2 * np.log(v / sd) + (sd / v) ** 2 - 1)

        wanted = crossings(rise, sd, sd / 3, 3 * sd)
        found = table.loc[f"sd({k})", ["lower", "upper"]]
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    for a, b in ((0, 1), (0, 2), (1, 2)):

        def rise(rho, r=r[a, b]):  # that of two, over both variances
            return n * np.log((1 - rho * r) ** 2 / ((1 - rho**2) * (1 - r**2)))

        wanted = crossings(rise, r[a, b], -0.999, 0.999)
        found = table.loc[f"cor({a},{b})", ["lower", "upper"]]
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_variances_and_covariances_of_complete_visits(complete):
    y, result = complete
    sd = result.conf_int_vcomp(method="profile")
    table = result.conf_int_vcomp(method="profile", scale="variance")
    sides, n = ["lower", "upper"], len(y)
    for k in range(3):
        found = table.loc[f"UN({k + 1},{k + 1})", sides].astype(float)
        np.testing.assert_allclose(found, sd.loc[f"sd({k})", sides] ** 2, rtol=1e-5)
    s = np.cov(y[:, :2].T, bias=True)
    least = n * (np.linalg.slogdet(s)[1] + 2)

    def rise(c):
        def deviance(log_v):
            v = np.exp(log_v)
            own = np.array([[v[0], c], [c, v[1]]])
            if np.linalg.det(own) <= 0:
                return np.inf
            inverse = np.linalg.inv(own)
            return n * (np.linalg.slogdet(own)[1] + np.trace(inverse @ s))

        start = np.log(s.diagonal()) + max(0.0, np.log(abs(c) / s[0, 1]))
        options = {"xatol": 1e-10, "fatol": 1e-11, "maxiter": 4000}
        found = optimize.minimize(deviance, start, method="Nelder-Mead", options=options)
        return found.fun - least

    size = np.sqrt(s[0, 0] * s[1, 1])
    wanted = crossings(rise, s[0, 1], -0.5 * size, 3 * size)
    found = table.loc["UN(2,1)", sides].astype(float)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * size)


def test_variances_of_strata_are_those_of_separate_samples():
    rng = np.random.default_rng(1)
    stratum = np.repeat(["a", "b"], [30, 50])
    y = rng.normal(size=80) * np.where(stratum == "a", 2.0, 0.5)
    x = (stratum[:, None] == ["a", "b"]) * 1.0
    result = mx.MixedLM(y, x, variance=mx.VarIdent(stratum)).fit(reml=False)
    table = result.conf_int_vcomp(method="profile", scale="variance")
    assert table.notes == ()
    for label in "ab":
        own = y[stratum == label]
        n, v = len(own), own.var()

        def rise(w, n=n, v=v):
            return n * (np.log(w / v) + v / w - 1)

        found = table.loc[f"Var({label})", ["lower", "upper"]]
        np.testing.assert_allclose(found, crossings(rise, v, v / 9, 9 * v), rtol=1e-5)


@pytest.mark.parametrize(("residual", "bar"), [("ar1", " + (1 | cluster)"), ("toep", "")])
def test_parameters_that_profile_follows_too(residual, bar):
    rng, data = np.random.default_rng(2), series()
    data["cluster"] = data["subject"] // 3
    data["y"] += 12 * rng.standard_normal(99)[data["cluster"]]
    residual = f"{residual}(visit | subject)"
    result = mx.mixedlm(f"y ~ x{bar}", data, residual=residual).fit()
    table = result.conf_int_vcomp(method="profile", level=0.9)
    wanted = result.profile(level=0.9).conf_int(level=0.9)
    assert len(table) > 2
    for name in table.index:
        np.testing.assert_allclose(
            table.loc[name, ["lower", "upper"]], wanted.loc[name], rtol=2e-5, atol=1e-6
        )


def test_unequal_variances_by_another_number_of_the_first():
    """Standard deviations of visits are sigma's where theirs is the first visit."""
    result = fit_of("Orthodont: gls_ar1h")
    table = result.conf_int_vcomp(method="profile")
    wanted = result.profile(["sigma", "AR1 rho"]).conf_int()
    sides = ["lower", "upper"]
    np.testing.assert_allclose(table.loc["sd(8)", sides], wanted.loc["sigma"], rtol=1e-5)
    np.testing.assert_allclose(
        table.loc["AR1 rho", sides], wanted.loc["AR1 rho"], rtol=1e-5
    )


def test_levels_are_profiled_each():
    table = fev_fit("cs(AVISIT | USUBJID, by=ARMCD)").conf_int_vcomp(method="profile")
    assert len(table) == 4
    assert (table["lower"] < table["estimate"]).all()
    assert (table["estimate"] < table["upper"]).all()


def test_what_is_held_has_no_limits():
    residual = mx.AR1("visit", group="subject", rho=0.3, fixed=True)
    result = mx.mixedlm("y ~ x", series(), residual=residual).fit()
    table = result.conf_int_vcomp(method="profile")
    assert table.loc["AR1 rho", ["lower", "upper"]].isna().all()
    assert table.loc["sigma", "lower"] < table.loc["sigma", "estimate"]


def test_limits_that_are_bounds_are_told():
    result = mx.mixedlm(
        "y ~ x + (t | subject)", series(), residual="ar1(visit | subject)"
    ).fit()
    table = result.conf_int_vcomp(method="profile")
    assert table.loc["sd Intercept|subject", "lower"] == 0
    assert any("sd Intercept|subject, lower" in note for note in table.notes)
    squared = result.conf_int_vcomp(method="profile", scale="variance")
    np.testing.assert_allclose(
        squared.loc["var Intercept|subject", "upper"],
        table.loc["sd Intercept|subject", "upper"] ** 2,
        rtol=1e-5,
    )
    assert any("var Intercept|subject, lower" in note for note in squared.notes)


def test_structured_random_effects_are_refused():
    result = mx.mixedlm(
        "y ~ x + cs(t | subject)", series(), residual="ar1(visit | subject)"
    ).fit()
    with pytest.raises(NotImplementedError, match="structured"):
        result.conf_int_vcomp(method="profile")
