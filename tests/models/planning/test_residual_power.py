"""Power and simulation with a residual covariance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import mixedext as mx
from mixedext.exceptions import DesignError

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings("ignore::mixedext.SimulationWarning"),
]

US = {"UN(2,1)": 0.6, "UN(2,2)": 1.5, "UN(3,1)": 0.3, "UN(3,2)": 0.8, "UN(3,3)": 2.0}


def layout(subjects, visits):
    frame = pd.DataFrame({"g": np.repeat(np.arange(subjects), visits)})
    frame["visit"] = np.tile(np.arange(1, visits + 1), subjects)
    frame["arm"] = np.where(frame["g"] % 2, "a", "b")
    return frame


@pytest.mark.slow
def test_unstructured_has_the_power_of_hotelling():
    """Complete visits: Kenward and Roger's F is Hotelling's, exactly."""
    subjects, means = 12, np.array([0.0, 0.9, 0.5])
    found = mx.power(
        "~ 0 + C(visit)", "C(visit)", layout(subjects, 3), fe_params=means, sigma=1.3,
        residual="us(visit | g)", residual_params=US, df_method="kenward-roger",
        n=300, rng=1,
    )  # fmt: skip
    sigma = 1.3**2 * np.array([[1, 0.6, 0.3], [0.6, 1.5, 0.8], [0.3, 0.8, 2.0]])
    shift = subjects * means @ np.linalg.solve(sigma, means)
    want = stats.ncf.sf(stats.f.isf(0.05, 3, subjects - 3), 3, subjects - 3, shift)
    assert abs(found.estimate[0] - want) < 4 * np.sqrt(want * (1 - want) / 300)
    assert found.n_failed.sum() == 0


@pytest.mark.slow
def test_likelihood_ratio_beside_a_residual_covariance():
    """Of a large study the noncentral chi-squared, by the covariance of all parameters."""
    data, rho, effect = layout(80, 4), 0.6, 0.35
    found = mx.power(
        "y ~ arm", "arm", data, fe_params=[0, effect], sigma=1.0, test="lrt",
        residual=mx.AR1("visit", group="g", rho=rho), n=800, rng=2,
    )  # fmt: skip
    c = rho ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    information = np.linalg.inv(c).sum() * 40 / 2  # of a difference of two arms of 40
    want = stats.ncx2.sf(stats.chi2.isf(0.05, 1), 1, information * effect**2)
    assert abs(found.estimate[0] - want) < 4 * np.sqrt(want * (1 - want) / 800) + 0.01


def test_responses_have_the_covariance():
    data, n = layout(2, 4), 40_000
    given = {"rho": 0.7, "sd(b) ratio": 2.0}
    y = mx.simulate(
        "~ 1", data, fe_params=[3.0], sigma=0.5, residual="ar1(visit | g)",
        variance="ident(arm)", residual_params=given, n=n, rng=3,
    ).to_numpy()  # fmt: skip
    c = 0.7 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    want = np.kron(np.diag([1.0, 0.25]), c)
    assert_allclose(y.mean(axis=1), 3.0, atol=0.03)
    assert_allclose(np.cov(y), want, atol=0.03)


def test_of_results_and_by_their_names():
    data = layout(30, 4)
    data["y"] = mx.simulate(
        "y ~ visit * arm", data, fe_params=[0, 0, 1, 0], sigma=1.0,
        residual=mx.AR1("visit", group="g", rho=0.5), rng=4,
    )  # fmt: skip
    fit = mx.mixedlm("y ~ visit * arm", data, residual="ar1(visit | g)").fit()
    given = {"n": 30, "rng": 5, "fe_params": {"visit:arm[T.b]": 0.3}}
    own = mx.power(fit, "visit:arm", **given)
    rho = float(fit.residual.params["rho"])
    named = mx.power(fit, "visit:arm", residual_params={"AR1 rho": rho}, **given)
    assert_allclose(named.pvalues, own.pvalues, rtol=1e-12)
    formula = mx.power(
        "y ~ visit * arm", "visit:arm", data, residual="ar1(visit | g)",
        residual_params={"rho": rho}, sigma=np.sqrt(fit.scale), n=30, rng=5,
        fe_params={**fit.fe_params.to_dict(), "visit:arm[T.b]": 0.3},
    )  # fmt: skip
    assert_allclose(formula.pvalues, own.pvalues, rtol=1e-8)
    weaker = mx.power(fit, "visit:arm", residual_params={"rho": 0.99}, **given)
    assert weaker.estimate[0] > own.estimate[0]  # slopes within subjects are sharper
    sizes = mx.power(fit, "visit:arm", along={"g": [10, 60]}, **given)
    assert sizes.table["nobs"].tolist() == [40, 240]


def test_random_effects_and_their_variance():
    data = layout(20, 5)
    given = {
        "fe_params": [0, 0.2], "cov_re": 1.0, "sigma": 1.0, "n": 20, "rng": 6,
        "residual": "ar1(visit | g)", "residual_params": {"rho": 0.3},
    }  # fmt: skip
    found = mx.power("y ~ visit + (1 | g)", "visit", data, **given)
    assert found.n_failed.sum() == 0
    variance = mx.power("y ~ visit + (1 | g)", "(1 | g)", data, **given)
    assert "restricted likelihood-ratio" in variance.tested
    assert np.isfinite(variance.pvalues).mean() > 0.9


def test_what_is_refused():
    data = layout(10, 4)
    given = {"fe_params": [0, 1], "sigma": 1.0, "n": 5}
    with pytest.raises(ValueError, match=r"residual_params= says nothing of 'rho'"):
        mx.power("y ~ visit", "visit", data, residual="ar1(visit | g)", **given)
    with pytest.raises(ValueError, match=r"'roh' is no parameter of .* there are: 'rho'"):
        mx.power(
            "y ~ visit", "visit", data, residual="ar1(visit | g)",
            residual_params={"roh": 0.5}, **given,
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"rho = 1\.5 is not between -1 and 1"):
        mx.simulate(
            "y ~ visit", data, residual="ar1(visit | g)", residual_params={"rho": 1.5},
            fe_params=[0, 1], sigma=1.0,
        )  # fmt: skip
    with pytest.raises(ValueError, match="goes with residual= or variance="):
        mx.power("y ~ visit", "visit", data, residual_params={"rho": 0.5}, **given)
    with pytest.raises(ValueError, match="follows fitted values"):
        mx.power(
            "y ~ visit", "visit", data, variance="power(fitted)",
            residual_params={"power": 0.5}, **given,
        )  # fmt: skip
    ar1 = {"residual": "ar1(visit | g)", "residual_params": {"rho": 0.5}}
    with pytest.raises(DesignError, match="twice"):
        mx.power("y ~ visit", "visit", data, **ar1, within={"g": 6}, **given)
    us = {"residual": "ar1h(visit | g)"}
    us["residual_params"] = {"rho": 0.5} | {f"sd({k}) ratio": 1.0 for k in (2, 3, 4)}
    with pytest.raises(ValueError, match=r"no 'sd\(4\) ratio'. Keep all visits"):
        mx.power("y ~ visit", "visit", data, **us, within={"g": 3}, **given)
