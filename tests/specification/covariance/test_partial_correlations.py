from __future__ import annotations

import numpy as np
import pytest
from helpers.correlations import coefficients, from_partials, lags

from mixedext.specification.covariance.partial_correlations import (
    partials_of_coefficients,
    partials_of_correlations,
    recursion,
)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 9])
def test_there_and_back(n):
    psi = np.random.default_rng(n).normal(size=n)
    own = recursion(psi, 0)
    np.testing.assert_allclose(
        np.arctanh(partials_of_correlations(own.rho)), psi, atol=1e-9
    )
    np.testing.assert_allclose(
        np.arctanh(partials_of_coefficients(own.phi)), psi, atol=1e-9
    )
    np.testing.assert_allclose(own.rho, from_partials(np.tanh(psi)), atol=1e-12)
    np.testing.assert_allclose(own.phi, coefficients(np.tanh(psi)), atol=1e-11)


def test_strided_psi():
    psi = np.arange(6.0)[::2] / 5
    np.testing.assert_array_equal(recursion(psi).rho, recursion(psi.copy()).rho)


def test_nan_where_no_definite_matrix_is():
    rng = np.random.default_rng(1)
    for _ in range(200):
        rho = rng.uniform(-1, 1, 3)
        matrix = np.concatenate([[1.0], rho])[lags(np.arange(4))]
        definite = np.linalg.eigvalsh(matrix)[0] > 0
        assert np.isfinite(partials_of_correlations(rho)).all() == definite


def test_nan_where_no_stationary_process_is():
    rng = np.random.default_rng(2)
    for _ in range(200):
        phi = rng.uniform(-2, 2, 3)
        roots = np.roots([1.0, *-phi])
        stationary = np.abs(roots).max() < 1
        assert np.isfinite(partials_of_coefficients(phi)).all() == stationary


def test_the_argument_is_left_alone():
    phi = np.array([0.5, 0.2])
    partials_of_coefficients(phi)
    np.testing.assert_array_equal(phi, [0.5, 0.2])
