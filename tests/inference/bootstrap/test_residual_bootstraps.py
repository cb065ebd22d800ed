"""Simulation and bootstraps beside a residual covariance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.fev import fev_model

import mixedext as mx
from mixedext.exceptions import NestingWarning

pytestmark = pytest.mark.formula_engine


def series(n_groups=30, m=4, rho=0.6, seed=3):
    """Series of an AR(1) about a random intercept, rows in no order."""
    rng = np.random.default_rng(seed)
    subject, visit = np.divmod(np.arange(n_groups * m), m)
    lag = np.abs(np.arange(m)[:, None] - np.arange(m))
    error = rng.standard_normal((n_groups, m)) @ np.linalg.cholesky(rho**lag).T
    frame = pd.DataFrame({"y": error.ravel(), "visit": visit, "subject": subject})
    frame["y"] += rng.standard_normal(n_groups)[subject]
    frame["w"] = rng.uniform(0.5, 2, len(frame))
    return frame.sample(frac=0.9, random_state=1)


@pytest.mark.parametrize("formula", ["y ~ visit", "y ~ visit + (1 | subject)"])
def test_simulated_responses_have_the_covariance_of_the_model(formula):
    data = series(8)
    result = mx.mixedlm(formula, data, residual="ar1(visit | subject)", weights="w").fit()
    y = result.simulate(40_000, rng=1).to_numpy()
    v = result.V().values.toarray()
    size = np.sqrt(np.outer(v.diagonal(), v.diagonal()))
    assert np.abs((np.cov(y) - v) / size).max() < 6 / np.sqrt(40_000)
    mean = np.asarray(result.model.exog @ result.fe_params)
    assert np.abs((y.mean(axis=1) - mean) / np.sqrt(v.diagonal())).max() < 6 / 200
    assert (result.simulate(1).index == result.model.data.row_labels).all()


def test_given_random_effects_stay():
    data = series(8)
    model = mx.mixedlm("y ~ visit + (1 | subject)", data, residual="ar1(visit | subject)")
    result = model.fit()
    y = result.simulate(20_000, rng=1, conditional=True).to_numpy()
    r = result.R().values.toarray()
    assert np.abs(np.cov(y) - r).max() < 6 * r.max() / np.sqrt(20_000)
    error = y.mean(axis=1) - np.asarray(result.fittedvalues)
    assert np.abs(error).max() < 6 * np.sqrt(r.max() / 20_000)


def test_parametric_bootstrap_agrees_with_asymptotic_errors():
    result = fev_model("ar1", "FEV1 ~ ARMCD + AVISIT").fit()
    found = result.bootstrap_parametric(400, rng=2)
    assert found.n_failed == 0
    table = found.table
    error = table.loc[list(result.fe_params.index), "std_err"] / result.bse_fe
    assert error.between(0.85, 1.15).all()
    assert table.loc["AR1 rho", "estimate"] == pytest.approx(result.params["AR1 rho"])
    assert table.loc["AR1 rho", "std_err"] == pytest.approx(result.bse["AR1 rho"], rel=0.15)
    assert list(table.index[-2:]) == ["sigma", "AR1 rho"]
    frame = found.refits.to_frame()
    assert {"AR1 rho", "scale", "llf"} <= set(frame.columns)
    other = result.bootstrap_parametric(400, rng=2)
    pd.testing.assert_frame_equal(found.replicates, other.replicates)


def test_a_statistic_sees_the_residual_covariance():
    result = fev_model("us", "FEV1 ~ ARMCD").fit()

    def last(shown):
        return shown.residual.params["UN(4,4)"]

    found = result.bootstrap_parametric(3, last, rng=1)
    assert found.estimate["statistic"] == pytest.approx(last(result))
    own = found.replicates["UN(4,4)"] * found.replicates["sigma"] ** 2
    np.testing.assert_allclose(found.replicates["statistic"], own, rtol=1e-6)


def test_residuals_are_resampled_as_they_are_whitened():
    data = series()
    model = mx.mixedlm("y ~ visit", data, residual="ar1(visit | subject)", weights="w")
    result = model.fit()
    found = result.bootstrap_residual(400, rng=3)
    ratio = found.table.loc[["Intercept", "visit"], "std_err"] / result.bse_fe
    assert ratio.between(0.85, 1.15).all()
    beside = mx.mixedlm("y ~ visit + (1 | subject)", data, residual="ar1(visit | subject)")
    assert beside.fit().bootstrap_residual(5, rng=1).n_failed == 0


def test_bootstrap_of_statsmodels():
    result = fev_model("ar1", "FEV1 ~ ARMCD").fit()
    mean, std, estimates = result.bootstrap(nrep=20, rng=1)
    assert estimates.shape == (20, len(result.params))
    assert np.isfinite(std).all()
    assert mean[-1] == pytest.approx(result.params["AR1 rho"], abs=0.1)


# ---- tests ----


def test_no_correlation_against_one():
    rng = np.random.default_rng(0)
    data = series(20)
    data["y"] = rng.standard_normal(len(data))
    large = mx.mixedlm("y ~ visit", data, residual="ar1(visit | subject)").fit()
    small = mx.mixedlm("y ~ visit", data).fit()
    test = mx.bootstrap_test(large, small, n=400, rng=1)
    assert test.reml
    assert test.statistic == pytest.approx(2 * (large.llf - small.llf), abs=1e-9)
    assert test.n_failed == 0
    # an interior hypothesis: the chi-squared law holds
    want = large.compare_lr_test(small).pvalue
    assert test.pvalue == pytest.approx(want, abs=4 * test.se + 0.03)
    assert np.mean(test.draws > 3.84) == pytest.approx(0.05, abs=0.04)


def test_one_structure_against_another():
    data = series()
    large = mx.mixedlm("y ~ visit", data, residual="us(visit | subject)").fit()
    small = mx.mixedlm("y ~ visit", data, residual="ar1(visit | subject)").fit()
    test = mx.bootstrap_test(large, small, n=100, rng=1)
    assert test.df_num == 10 - 2
    assert test.n_failed == 0
    with pytest.warns(NestingWarning, match="residual covariance is no special case"):
        mx.anova(
            small,
            mx.mixedlm("y ~ visit", data, residual="ad(visit | subject)").fit(),
            mx.mixedlm("y ~ visit", data, residual="toeph(visit | subject)").fit(),
        )


def test_fixed_effects():
    data = series()
    large = mx.mixedlm("y ~ visit", data, residual="ar1(visit | subject)").fit()
    small = mx.mixedlm("y ~ 1", data, residual="ar1(visit | subject)").fit()
    test = mx.bootstrap_test(large, small, n=60, rng=1)
    assert not test.reml
    assert test.df_num == 1
