from __future__ import annotations

import numpy as np
import pytest
from helpers.correlations import (
    coefficients,
    first_derivative,
    from_partials,
    second_derivative,
)

from mixedext.kernels import reference
from mixedext.kernels.covariance import partial_correlations


def compiled(psi, order=2):
    n = len(psi)
    out = [np.empty(n), np.empty(n)]
    out += [np.zeros((n if order > 0 else 0, n)) for _ in range(2)]
    out += [np.zeros((n if order > 1 else 0, n, n)) for _ in range(2)]
    partial_correlations.durbin_levinson(psi, order, *out)
    return out


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 12])
def test_compiled_and_numpy_are_alike(n):
    rng = np.random.default_rng(n)
    psi = rng.normal(size=n)
    both = zip(compiled(psi), reference.durbin_levinson(psi), strict=True)
    for own, twin in both:
        np.testing.assert_allclose(own, twin, rtol=1e-12, atol=1e-13)


def test_lower_orders():
    psi = np.array([0.3, -1.0, 0.4])
    whole = compiled(psi)
    for order in (0, 1):
        part = compiled(psi, order)
        for own, all_of_it in zip(part[: 2 + 2 * order], whole, strict=False):
            np.testing.assert_array_equal(own, all_of_it)


@pytest.mark.parametrize("seed", range(3))
def test_against_the_definition(seed):
    psi = np.random.default_rng(seed).normal(size=5)
    rho, phi, d_rho, d_phi, dd_rho, dd_phi = compiled(psi)
    for value, first, second, of_partials in (
        (rho, d_rho, dd_rho, from_partials),
        (phi, d_phi, dd_phi, coefficients),
    ):

        def definition(x, of_partials=of_partials):
            return of_partials(np.tanh(x))

        close = {"rtol": 1e-11, "atol": 1e-12}
        np.testing.assert_allclose(value, definition(psi), **close)
        np.testing.assert_allclose(first, first_derivative(definition, psi), **close)
        np.testing.assert_allclose(
            second, second_derivative(definition, psi), rtol=1e-9, atol=1e-9
        )


def test_no_cancellation_near_one():
    """d r / d psi is 4 exp(-2 psi) there."""
    _, _, d_rho, d_phi, dd_rho, _ = compiled(np.array([15.0]))
    np.testing.assert_allclose([d_rho[0, 0], d_phi[0, 0]], 4 * np.exp(-30.0), rtol=1e-12)
    np.testing.assert_allclose(dd_rho, -8 * np.exp(-30.0), rtol=1e-12)


def test_psi_without_end():
    for own in compiled(np.array([800.0, 0.3])):
        assert np.isfinite(own).all()
