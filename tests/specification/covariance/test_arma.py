from __future__ import annotations

import numpy as np
import pytest
from helpers import correlations as definitions

from mixedext.specification.covariance.arma import ARMA
from mixedext.specification.covariance.autoregressive import AutoRegressive
from mixedext.specification.covariance.spatial import Spatial

PLACE = np.array([[0, 1, 4, 9], [5, 2, 0, 3]])
ORDERS = [(1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1), (1, 2), (3, 2)]


@pytest.mark.parametrize(("p", "q"), ORDERS)
def test_definition_and_derivatives(p, q):
    rng = np.random.default_rng(10 * p + q)
    own, definition = ARMA(p, q), definitions.arma(p)
    for place in (PLACE, np.array([[0, 1]]), np.array([[3]])):
        psi = rng.normal(size=p + q) * 0.7
        sas = definitions.arma_of_sas() if (p, q) == (1, 1) else None
        definitions.check_correlation(own, definition, psi, place, rng, 1e-8, sas)


@pytest.mark.parametrize(("p", "q"), ORDERS)
def test_definite_over_the_whole_range(p, q):
    rng = np.random.default_rng(1)
    place = np.arange(6)[None]
    for _ in range(30):
        psi = rng.uniform(-2.5, 2.5, p + q)
        assert definitions.is_definite(ARMA(p, q).matrix(psi, place))


def test_is_an_autoregression_without_moving_average():
    for rho in (-0.8, 0.3, 0.9999):
        own, ar1 = ARMA(1, 0), AutoRegressive()
        np.testing.assert_allclose(
            own.matrix(own.free([rho]), PLACE),
            ar1.matrix(ar1.free([rho]), PLACE),
            rtol=1e-12,
        )


def test_an_autoregression_with_a_residual():
    """AR(1) + residual = ARMA(1, 1) = exp with a nugget."""
    rho, nugget = 0.7, 0.3
    # first correlation of ARMA(1, 1): (1 + a b) (a + b) / (1 + 2 a b + b^2)
    a, first = rho, (1 - nugget) * rho
    b = np.roots([first - a, 2 * a * first - 1 - a**2, first - a])
    b = b[np.abs(b) < 1].real
    own, spatial = ARMA(1, 1), Spatial("exp", nugget=True)
    distance = np.abs(PLACE[:, :, None] - PLACE[:, None]).astype(float)
    other = spatial.matrix(spatial.free([-1 / np.log(rho), nugget]), distance)
    np.testing.assert_allclose(own.matrix(own.free([a, b[0]]), PLACE), other, rtol=1e-11)


def test_a_shared_root_is_no_correlation():
    own = ARMA(1, 1)
    matrix = own.matrix(own.free([0.6, -0.6]), PLACE)
    np.testing.assert_allclose(matrix, np.broadcast_to(np.eye(4), (2, 4, 4)), atol=1e-15)


def test_near_the_unit_root():
    own, definition = ARMA(1, 1), definitions.arma(1)
    rng = np.random.default_rng(0)
    psi = own.free([0.9999, 0.4])
    matrix = own.matrix(psi, PLACE)
    # (1 + a b) (a + b) / (1 + 2 a b + b^2), then powers of a
    a, b = 0.9999, 0.4
    first = (1 + a * b) * (a + b) / (1 + 2 * a * b + b**2)
    expected = np.array([1, first, first * a, first * a**2])
    np.testing.assert_allclose(own.by_lag(psi, 4), expected, rtol=1e-12)
    assert definitions.is_definite(matrix)
    score = definitions.symmetric(rng, *matrix.shape)
    tangent = definitions.first_derivative(
        lambda x: np.array([definition.of_free(x, v) for v in PLACE]), psi
    )
    np.testing.assert_allclose(own.tangent(psi, PLACE), tangent, rtol=1e-7, atol=1e-12)
    assert np.isfinite(own.bend(psi, PLACE, score)).all()


@pytest.mark.parametrize(("p", "q"), ORDERS)
def test_starts_at_exact_moments(p, q):
    rng = np.random.default_rng(p + q)
    own, m = ARMA(p, q), 8
    psi = rng.uniform(0.2, 0.8, p + q)
    r = own.matrix(psi, np.arange(m)[None])[0]
    starts = own.starts(r, np.full((m, m), 30.0))
    near = own.matrix(starts[0], np.arange(m)[None])[0]
    np.testing.assert_allclose(near, r, atol=0.02)
    for start in starts:
        assert start.shape == (p + q,)
        assert np.isfinite(start).all()


def test_starts_whatever_the_moments():
    rng = np.random.default_rng(5)
    for p, q in ORDERS:
        r = np.clip(definitions.symmetric(rng, 5, 5), -1, 1)
        pairs = rng.integers(0, 3, (5, 5)).astype(float)
        for psi in ARMA(p, q).starts(r, pairs + pairs.T):
            assert (np.abs(np.tanh(psi)) <= 0.9 + 1e-9).all()


def test_starts_of_few_visits():
    for psi in ARMA(3, 1).starts(np.array([[1, 0.4], [0.4, 1]]), np.full((2, 2), 9.0)):
        assert np.isfinite(psi).all()


def test_at_limit():
    own = ARMA(2, 1)
    assert own.at_limit([0.4, 0.2, -0.3]) == []
    ar, ma = own.at_limit([0.5, 9.0, -9.0])
    assert ar == (1, "ar 2", 1.0)
    assert ma == (2, "ma 1", -1.0)


def test_errors():
    for p, q in ((0, 0), (-1, 2), (1, -1)):
        with pytest.raises(ValueError, match=f"p = {p} and q = {q} count coefficients"):
            ARMA(p, q)
    own = ARMA(2, 1)
    with pytest.raises(
        ValueError, match=r"ar 1 = 0\.9, ar 2 = 0\.2: .* no stationary process"
    ):
        own.free([0.9, 0.2, 0.1])
    with pytest.raises(ValueError, match=r"ma 1 = -1: .* no invertible process"):
        own.free([0.9, 0.0, -1.0])


def test_what_it_is():
    own = ARMA(2, 1)
    assert own.names == ("ar 1", "ar 2", "ma 1")
    assert own.over_visits
    assert not own.linear_if_homogeneous
