"""R squared, intraclass correlations, overdispersion and residuals of generalized fits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.herds import cbpp
from scipy import special

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def herds():
    text = "incidence / size ~ period + (1 | herd)"
    return mx.glmm(text, cbpp(), family="binomial", weights="size").fit()


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(range(20), 8), "x": rng.normal(size=160)})
    data["row"] = np.arange(160)
    eta = 1 + 0.4 * data["x"] + rng.normal(0, 0.6, 20)[data["g"]] + rng.normal(0, 0.5, 160)
    data["y"] = rng.poisson(np.exp(eta))
    return data


def test_r2_by_its_formula(herds):
    variance = herds.fitted.random.covariances[0][0, 0]
    fixed = np.var(herds.model.exog @ np.asarray(herds.fe_params), ddof=1)
    found = herds.r2_nakagawa("theoretical")
    total = fixed + variance + np.pi**2 / 3
    marginal, conditional = found
    assert marginal == pytest.approx(fixed / total)
    assert conditional == pytest.approx((fixed + variance) / total)
    assert "pi^2 / 3" in repr(found)
    usual = herds.r2_nakagawa()
    assert usual.method == "delta"  # several trials a row
    p = float(np.mean(herds.predict(marginal=True)))
    size = cbpp()["size"].to_numpy()
    assert usual.distribution == pytest.approx(np.mean(1 / size) / (p * (1 - p)))


def test_observation_level_terms_are_residual(counts):
    fit = mx.glmm("y ~ x + (1 | g) + (1 | row)", counts, family="poisson").fit()
    group, row = (c[0, 0] for c in fit.fitted.random.covariances)
    mean = float(np.mean(fit.predict(marginal=True)))
    own = float(special.polygamma(1, mean))
    found = fit.icc()
    assert float(found) == pytest.approx(group / (group + row + own))
    assert "row" in repr(found)
    assert fit.icc(method="lognormal").total == pytest.approx(
        group + row + np.log1p(1 / mean)
    )
    r2 = fit.r2_nakagawa()
    assert r2.observation == pytest.approx(row)
    assert r2.random == pytest.approx(group)
    with pytest.raises(ValueError, match="not a grouping factor"):
        fit.icc("h")


def test_observed_scale_of_counts(counts):
    fit = mx.glmm("y ~ x + (1 | g)", counts, family="poisson").fit()
    found = fit.icc(scale="observed")
    v = fit.fitted.random.covariances[0][0, 0]
    eta = fit.model.exog @ np.asarray(fit.fe_params)
    mean = np.exp(eta + v / 2)
    between = (mean**2 * np.expm1(v)).mean()
    assert float(found) == pytest.approx(between / (between + mean.mean()), rel=1e-9)
    with pytest.raises(ValueError, match="latent"):
        fit.icc(scale="observed", method="delta")
    with pytest.raises(ValueError, match="theoretical"):
        fit.icc(method="theoretical")


def test_observed_scale_of_one_of_two_terms(herds):
    data = cbpp().assign(row=np.arange(56))
    text = "incidence / size ~ period + (1 | herd) + (1 | row)"
    fit = mx.glmm(text, data, family="binomial", weights="size").fit()
    a, b = (np.sqrt(c[0, 0]) for c in fit.fitted.random.covariances)
    eta = fit.model.exog @ np.asarray(fit.fe_params)
    # the mean given the herd's effect, and its variance, by Gauss-Hermite quadrature
    z, w = np.polynomial.hermite_e.hermegauss(50)
    w = w / w.sum()
    at = eta[:, None, None] + a * z[:, None] + b * z
    mean = special.expit(at) @ w
    between = float(np.mean(mean**2 @ w - (mean @ w) ** 2))
    assert fit.icc("herd", scale="observed").between == pytest.approx(between, rel=1e-7)


def test_overdispersion(counts, herds):
    fit = mx.glmm("y ~ x + (1 | g)", counts, family="poisson").fit()
    found = fit.overdispersion(rng=1)
    assert found.statistic == pytest.approx(fit.pearson_chi2)
    assert found.ratio > 1.5
    assert found.pvalue == pytest.approx(1 / 251)
    assert "negative binomial" in repr(found)
    level = mx.glmm("y ~ x + (1 | g) + (1 | row)", counts, family="poisson").fit()
    assert level.overdispersion(100, rng=1).pvalue > 0.05


def test_residuals_of_results(counts, herds):
    fit = mx.glmm("y ~ x + (1 | g)", counts, family="poisson").fit()
    found = fit.simulated_residuals(rng=1)
    assert found.test_dispersion("larger").pvalue < 0.05
    again = fit.simulated_residuals(rng=1)
    np.testing.assert_array_equal(found.residuals, again.residuals)
    given = fit.simulated_residuals(rng=1, conditional=True)
    assert given.test_dispersion().pvalue < 0.01
    mean = np.asarray(fit.fittedvalues)
    assert np.corrcoef(given.fitted, mean)[0, 1] > 0.99
    trials = herds.simulated_residuals(100, rng=2)
    assert trials.test_uniformity().pvalue > 0.01
    heavy = mx.glmm(
        "y ~ x + (1 | g)", counts, family="poisson", freq_weights=np.full(160, 2)
    ).fit()
    with pytest.raises(ValueError, match="own row"):
        heavy.simulated_residuals()


def test_rows_that_count_several_times():
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.arange(90) // 9, "x": rng.normal(size=90)})
    effect = rng.normal(0, 0.7, 10)[data["g"]]
    data["y"] = rng.poisson(np.exp(0.3 * data["x"] + effect))
    data["n"] = rng.integers(1, 4, 90)
    long = data.loc[data.index.repeat(data["n"])].reset_index(drop=True)
    model = mx.glmm("y ~ x + (x | g)", data, family="poisson", freq_weights="n")
    short, other = model.fit(), mx.glmm("y ~ x + (x | g)", long, family="poisson").fit()
    assert tuple(short.r2_nakagawa()) == pytest.approx(tuple(other.r2_nakagawa()), rel=1e-6)
    for given in ({}, {"adjusted": False}, {"scale": "observed"}):
        found, expected = (float(r.icc(**given)) for r in (short, other))
        assert found == pytest.approx(expected, rel=1e-6)
