"""Ranges without bound: the linear variogram as a limit, by contrasts of the rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import linalg, optimize
from scipy.spatial.distance import cdist

import mixedext as mx
from mixedext.exceptions import ModelWarning
from tests.engine.residual.test_fit import data_of

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings("ignore::mixedext.exceptions.ModelWarning"),
    pytest.mark.filterwarnings(
        "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
    ),
]
PLACES = ["latitude", "longitude"]


@pytest.fixture(scope="module")
def wheat():
    return data_of("Wheat2.csv")


def field(data, kind, formula="yield_ ~ variety", reml=True, **options):
    options = {"nugget": True, **options}
    residual = mx.Spatial(kind, PLACES, **options)
    return mx.mixedlm(formula, data, residual=residual).fit(reml=reml)


def linear_variogram(data, x):
    """-2 REML log-likelihood of V = nugget I - slope D on contrasts, at its least."""
    y, n, p = data["yield_"].to_numpy(), *x.shape
    distance = cdist(data[PLACES], data[PLACES])
    contrasts = linalg.qr(x)[0][:, p:]
    rest = contrasts.T @ y

    def deviance(log_nugget):
        v = contrasts.T @ (np.exp(log_nugget) * np.eye(n) - distance) @ contrasts
        square = rest @ np.linalg.solve(v, rest)
        log_det = np.linalg.slogdet(v)[1]
        return (n - p) * (1 + np.log(2 * np.pi * square / (n - p))) + log_det

    found = optimize.minimize_scalar(deviance, bounds=(-3.0, 6.0), method="bounded")
    nugget = np.exp(found.x)
    return found.fun + np.linalg.slogdet(x.T @ x)[1], nugget


@pytest.mark.parametrize("kind", ["spher", "exp", "pow"])
def test_the_limit_is_found_and_named(kind, wheat):
    """nlme's default start of corSpher runs off to -533.418502, too."""
    result = field(wheat, kind)
    limit, nugget = linear_variogram(wheat, np.asarray(result.model.exog))
    assert_allclose(-2 * result.llf, limit, rtol=0, atol=5e-6)
    verdict = result.convergence
    assert verdict.status == "boundary"
    assert "the variogram is linear: sigma^2 grows with it" in verdict.message
    assert "nugget at" not in verdict.message
    assert_allclose(verdict.minima[0], limit, rtol=0, atol=5e-6)
    # what is told of a covariance without a bound: nugget over slope
    own = result.residual.params
    slope = {"spher": 1.5}.get(kind, 1.0)
    length = -1 / np.log(own["rho"]) if kind == "pow" else own["range"]
    assert_allclose(own["nugget"] * length / slope, nugget, rtol=2e-4)


def test_higher_minima_are_said(wheat):
    result = field(wheat, "spher")
    assert_allclose(result.convergence.minima[1], 1067.48497, atol=1e-4)
    assert "higher minima lie at 1067.485" in result.convergence.message


@pytest.mark.parametrize("kind", ["spher", "exp"])
def test_a_limit_that_is_higher_is_none(kind, wheat):
    """By ML the constant has a variance, and the range an end."""
    result = field(wheat, kind, reml=False)
    assert result.convergence.status == "interior"
    assert result.residual.params["range"] < 40


@pytest.mark.parametrize("kind", ["spher", "exp", "gau", "ratio"])
@pytest.mark.parametrize(
    "start", [(0.01, 1e-9), (3000.0, 0.999), (1e5, 1e-5), (1e8, 0.7), (1e15, 1e-12)]
)
def test_starts_anywhere_end_there(kind, start, wheat):
    own = dict(zip(["range", "nugget"], start, strict=True))
    result = field(wheat, kind, start=own)
    assert result.converged
    best = {"gau": 1067.101714, "ratio": 1065.277776}.get(kind, 1066.837004)
    assert_allclose(-2 * result.llf, best, rtol=0, atol=1e-5)


def test_random_effects_shrink_beside_sigma(wheat):
    """Their variances stay as sigma^2 grows."""
    result = field(wheat, "exp", "yield_ ~ 1 + (1 | variety)")
    assert "range at inf" in result.convergence.message
    variance = float(result.cov_re.iloc[0, 0])
    near = field(wheat, "exp", "yield_ ~ 1 + (1 | variety)", start={"range": 5e3})
    assert_allclose(-2 * result.llf, -2 * near.llf, atol=1e-4)
    assert 1.0 < variance < 10.0
    assert_allclose(float(near.cov_re.iloc[0, 0]), variance, rtol=1e-3)


def test_without_a_nugget(wheat):
    result = field(wheat, "spher", "yield_ ~ variety + latitude + longitude", nugget=False)
    assert_allclose(-2 * result.llf, 1104.80565, atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)
        assert np.isfinite(np.asarray(result.bse_fe)[1:]).all()
        result.summary()
