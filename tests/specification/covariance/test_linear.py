"""Linear structures: the protocol, and closed forms against the definition by bases."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers.structure_protocol import check_protocol

from mixedext.specification.covariance.linear import LinearStructure
from mixedext.specification.covariance.registry import STRUCTURES, structure
from mixedext.specification.covariance.structure import Structure

LINEAR = [n for n, built in STRUCTURES.items() if issubclass(built, LinearStructure)]
every = pytest.mark.parametrize("name", LINEAR)
of_all_sizes = pytest.mark.parametrize("k", [1, 2, 5])


def theta_of(own, rng):
    """Theta of a factor with a positive diagonal."""
    lam = own.lam(rng.normal(size=own.n_theta))
    return own.theta(lam * np.sign(np.diag(lam)))


@every
@of_all_sizes
def test_protocol(name, k):
    own, rng = structure(name, k), np.random.default_rng(k)
    assert own.linear
    check_protocol(own, theta_of(own, rng), rng, rtol=1e-7)


@every
@of_all_sizes
def test_derivatives_in_closed_form(name, k):
    rng = np.random.default_rng(k)
    own = structure(name, k)
    theta = rng.normal(size=own.n_theta)
    score = rng.normal(size=(k, k))
    score += score.T
    jacobian = LinearStructure.jacobian(own, theta)
    np.testing.assert_allclose(own.jacobian(theta), jacobian, atol=1e-14)
    bend = LinearStructure.bend(own, theta, score)
    np.testing.assert_allclose(own.bend(theta, score), bend, atol=1e-14)
    slope = Structure.gradient(own, theta, score)
    np.testing.assert_allclose(own.gradient(theta, score), slope, atol=1e-13)


@every
@of_all_sizes
def test_natural_parameters_are_elements_of_the_covariance(name, k):
    own, rng = structure(name, k), np.random.default_rng(k)
    covariance = own.matrix(rng.normal(size=own.n_theta))
    gamma = own.gamma(covariance)
    np.testing.assert_allclose(own.covariance(gamma), covariance, atol=1e-14)
    np.testing.assert_allclose([covariance[p] for p in own.pairs], gamma, atol=1e-14)
    dual = np.tensordot(own.covariance_dual, covariance, 2)
    np.testing.assert_allclose(dual, gamma, atol=1e-14)
    rows, columns = own.places
    assert list(zip(rows, columns, strict=True)) == list(own.pairs)
    order = [own.pairs[i] for i in own.by_rows]
    assert order == sorted(own.pairs)


@every
def test_many_at_a_time(name):
    own, rng = structure(name, 3), np.random.default_rng(0)
    theta = rng.normal(size=(4, 2, own.n_theta))
    lams = own.lam(theta)
    assert lams.shape == (4, 2, 3, 3)
    np.testing.assert_array_equal(lams[3, 1], own.lam(theta[3, 1]))
    np.testing.assert_allclose(own.theta(lams), theta, atol=1e-15)
    gamma = rng.normal(size=(5, own.n_gamma))
    np.testing.assert_array_equal(own.covariance(gamma)[2], own.covariance(gamma[2]))


@every
def test_congruence(name):
    own, rng = structure(name, 3), np.random.default_rng(4)
    # one that keeps the structure
    transform = np.diag(np.full(3, 1.7)) if name == "identity" else np.diag([1.7, 0.2, 3])
    transform = np.triu(rng.normal(size=(3, 3))) if own.any_basis else transform
    gamma = rng.normal(size=own.n_gamma)
    moved = transform @ own.covariance(gamma) @ transform.T
    np.testing.assert_allclose(own.congruence(transform) @ gamma, own.gamma(moved))


@every
@of_all_sizes
def test_factors_of_less_rank(name, k):
    own, rng = structure(name, k), np.random.default_rng(k)
    lam = own.lam(theta_of(own, rng))
    size = np.linalg.svd(lam, compute_uv=False)
    for made in (own.nearest_singular(lam), own.truncated(lam, size[-1] * 1.001)):
        np.testing.assert_allclose(own.lam(own.theta(made)), made, atol=1e-12)
        assert (np.diag(made) >= 0).all()
        left = np.linalg.svd(made, compute_uv=False)
        want = np.where(size > size[-1] * 1.001, size, 0.0)
        np.testing.assert_allclose(left, want, atol=1e-12)
    kept = own.truncated(-lam, size[-1] / 2)
    np.testing.assert_allclose(kept @ kept.T, lam @ lam.T, atol=1e-12)


@every
def test_pickled(name):
    own = structure(name, 3)
    own.by_rows, own.pairs  # noqa: B018 - kept, and pickled too
    again = pickle.loads(pickle.dumps(own))
    assert again == own
    np.testing.assert_array_equal(again.lam_basis, own.lam_basis)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("k", [1, 2, 4])
def test_structure(name, k):
    s = structure(name, k)
    rng = np.random.default_rng(k)
    theta = rng.normal(size=s.n_theta)
    lam = s.lam(theta)
    assert (np.triu(lam, 1) == 0).all()
    np.testing.assert_allclose(s.theta(lam), theta)
    covariance = lam @ lam.T
    gamma = s.gamma(covariance)
    np.testing.assert_allclose(np.tensordot(gamma, s.covariance_basis, 1), covariance)
    np.testing.assert_allclose(s.lam(s.start()), np.eye(k))
    root = s.nearest(covariance)
    np.testing.assert_allclose(root @ root.T, covariance, atol=1e-12)
    assert (np.diag(root) >= 0).all()
    np.testing.assert_allclose(s.lam(s.theta(root)), root, atol=1e-14)


@pytest.mark.parametrize("name", LINEAR)
def test_derivatives_of_a_structure(name):
    """gamma(theta) is quadratic, so central differences are exact."""
    s = structure(name, 3)
    rng = np.random.default_rng(0)
    theta, h = rng.normal(size=s.n_theta), 1e-3
    score = rng.normal(size=(3, 3))
    score += score.T

    def gamma(t):
        return s.gamma(s.lam(t) @ s.lam(t).T)

    def weighted(t):
        return (score * (s.lam(t) @ s.lam(t).T)).sum()

    eye = np.eye(s.n_theta)
    jacobian = [(gamma(theta + h * e) - gamma(theta - h * e)) / (2 * h) for e in eye]
    np.testing.assert_allclose(s.jacobian(theta), np.array(jacobian).T, atol=1e-9)
    bend = [
        [
            (
                weighted(theta + h * (e + f))
                - weighted(theta + h * (e - f))
                - weighted(theta - h * (e - f))
                + weighted(theta - h * (e + f))
            )
            / (4 * h * h)
            for e in eye
        ]
        for f in eye
    ]
    np.testing.assert_allclose(s.bend(theta, score), bend, atol=1e-6)
