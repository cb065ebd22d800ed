"""Averages over a normal variable against closed forms and adaptive quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, special, stats

from mixedext.algebra.normal_averages import average, normal_nodes


@pytest.mark.parametrize("tau", [0.0, 0.1, 1.0, 3.0, 10.0])
def test_weights_are_those_of_the_normal_law(tau):
    z, weight = normal_nodes(tau)
    moments = [float(weight @ z**k) for k in range(5)]
    np.testing.assert_allclose(moments, [1, 0, 1, 0, 3], atol=1e-13)


@pytest.mark.parametrize("tau", [0.0, 0.2, 1.0, 3.0, 5.0, 20.0])
def test_logistic_against_adaptive_quadrature(tau):
    eta = np.array([-6.0, -1.5, 0.0, 0.3, 4.0])
    (found,) = average(special.expit, eta, np.full(5, tau**2))
    for e, value in zip(eta, found, strict=True):

        def integrand(z, e=e):
            return special.expit(e + tau * z) * stats.norm.pdf(z)

        points = [-e / tau] if tau > 0 and abs(e / tau) < 9 else None
        wanted, _ = integrate.quad(
            integrand, -10, 10, points=points, epsabs=1e-14, epsrel=1e-13, limit=400
        )
        assert value == pytest.approx(wanted, rel=1e-11, abs=1e-14)


def test_rows_of_any_variance_at_once():
    rng = np.random.default_rng(1)
    eta, tau = rng.normal(size=500), np.exp(rng.normal(size=500) * 2)
    (found,) = average(special.ndtr, eta, tau**2, 0.2)
    np.testing.assert_allclose(
        found, special.ndtr(eta / np.sqrt(1 + tau**2)), rtol=1e-9, atol=1e-13
    )


def test_several_functions_share_their_nodes():
    first, second = average(lambda x: (np.exp(x), x**2), np.array([0.5]), np.array([0.7]))
    assert first[0] == pytest.approx(np.exp(0.85), rel=1e-13)
    assert second[0] == pytest.approx(0.95, rel=1e-13)


def test_missing_rows_stay_missing():
    (found,) = average(np.exp, np.array([0.0, np.nan]), np.array([1.0, 1.0]))
    assert np.isfinite(found[0])
    assert np.isnan(found[1])
    (found,) = average(np.exp, np.array([np.nan]), np.array([1.0]))
    assert np.isnan(found).all()
