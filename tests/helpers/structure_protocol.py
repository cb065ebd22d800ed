"""What every covariance structure must hold, by differences."""

from __future__ import annotations

import numpy as np


def by_differences(function, x, step=1e-5):
    """Derivative of an array in x, which comes last; by central differences."""
    eye = np.eye(len(x)) * step
    moved = [(function(x + e) - function(x - e)) / (2 * step) for e in eye]
    return np.stack(moved, axis=-1)


def by_complex_steps(function, x):
    """The same to rounding, of functions that take complex numbers."""
    eye = np.eye(len(x)) * 1e-30
    return np.stack([function(x + 1j * e).imag / 1e-30 for e in eye], axis=-1)


def symmetric(rng, size):
    matrix = rng.normal(size=(size, size))
    return matrix + matrix.T


def check_protocol(s, theta, rng, derivative=by_differences, rtol=1e-8):
    """The methods of a structure agree with each other at theta."""
    k, score = s.k, symmetric(rng, s.k)
    close = {"rtol": rtol, "atol": rtol}

    def slope_by_eta(eta):
        """d Sigma / d eta."""
        own = s.free(eta)
        return np.einsum("rab,rs->sab", s.tangent(own), np.linalg.inv(s.jacobian(own)))

    matrix, eta = s.matrix(theta), s.natural(theta)
    assert matrix.shape == (k, k)
    assert eta.shape == (s.n_theta,) == (len(s.names(list(range(k)))),)
    lam = s.lam(theta)
    np.testing.assert_allclose(lam @ lam.T, matrix, **close)
    np.testing.assert_array_equal(np.triu(lam, 1), 0)
    np.testing.assert_allclose(s.matrix(s.free(eta)), matrix, **close)
    np.testing.assert_allclose(s.natural(s.free(eta)), eta, **close)
    np.testing.assert_allclose(s.matrix(s.start(matrix)), matrix, **close)
    np.testing.assert_allclose(s.matrix(s.start()), np.eye(k), **close)
    nearest = s.nearest(matrix)
    np.testing.assert_allclose(nearest @ nearest.T, matrix, **close)

    tangent = np.moveaxis(derivative(s.matrix, theta), -1, 0)
    np.testing.assert_allclose(s.tangent(theta), tangent, **close)
    np.testing.assert_allclose(s.jacobian(theta), derivative(s.natural, theta), **close)
    gradient = np.einsum("rab,ab->r", tangent, score)
    np.testing.assert_allclose(s.gradient(theta, score), gradient, **close)
    bend = derivative(lambda t: np.einsum("rab,ab->r", s.tangent(t), score), theta)
    np.testing.assert_allclose(s.bend(theta, score), bend, **close)
    weight = symmetric(rng, s.n_theta)
    curve = np.einsum("rabs,rs->ab", by_differences(slope_by_eta, eta), weight)
    np.testing.assert_allclose(s.curve(theta, weight), curve, rtol=1e-6, atol=1e-6)
