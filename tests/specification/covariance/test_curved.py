"""Structures along curves: the protocol, limits, natural parameters, other units."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers.structure_protocol import check_protocol

from mixedext.limits import FREE_LIMIT, ZERO_LOG
from mixedext.specification.covariance.curved import CURVED
from mixedext.specification.covariance.linear import LinearStructure
from mixedext.specification.covariance.structure import ParameterName
from mixedext.specification.covariance.term_structure import OutOfRangeError

every = pytest.mark.parametrize("kind", CURVED, ids=lambda kind: kind.name)
# linear in the covariances, which are SAS's parameters, not in variance and correlations
LINEAR_IN_SAS = {"homcs", "homtoep"}


def theta_of(s, rng):
    sd = rng.uniform(0.5, 2.0, s.n_sd)
    psi = rng.uniform(-0.6, 0.9, s.correlation.n_psi)
    return np.concatenate([np.log(sd) if s.het else sd, psi])


@every
@pytest.mark.parametrize("k", [2, 4, 5])
def test_protocol(kind, k, monkeypatch):
    s, rng = kind.of(k), np.random.default_rng(k)
    assert not s.linear
    assert isinstance(s.ambient, LinearStructure)
    theta = theta_of(s, rng)
    if s.name in LINEAR_IN_SAS:
        np.testing.assert_array_equal(s.curve(theta, np.eye(s.n_theta)), 0)
        monkeypatch.setattr(type(s.correlation), "linear_if_homogeneous", False)
    check_protocol(s, theta, rng, rtol=1e-7)


@every
def test_natural_parameters_of_a_covariance(kind):
    s, rng = kind.of(4), np.random.default_rng(1)
    thetas = np.array([theta_of(s, rng) for _ in range(3)])
    eta = np.array([s.natural(theta) for theta in thetas])
    covariances = np.array([s.matrix(theta) for theta in thetas])
    np.testing.assert_allclose(s.gamma(covariances), eta, rtol=1e-12)
    np.testing.assert_allclose(s.covariance(eta), covariances, rtol=1e-12)
    np.testing.assert_allclose(s.lam(thetas)[1], s.lam(thetas[1]))
    np.testing.assert_allclose(s.theta(s.lam(thetas)), thetas, rtol=1e-9, atol=1e-12)
    assert s.is_variance.sum() == (4 if s.het else 1)


@every
def test_directions_are_the_tangents_where_the_curve_is_straight(kind):
    s, rng = kind.of(4), np.random.default_rng(2)
    theta = theta_of(s, rng)
    np.testing.assert_array_equal(s.at(theta).covariance_basis, s.tangent(theta))
    assert s.at(theta) == s.at(theta.copy()) != s
    assert len({s.at(theta), s.at(theta), s}) == 2
    # of no special place: all directions are there without a point
    flat = s.covariance_basis.reshape(s.n_theta, -1)
    assert np.linalg.matrix_rank(flat) == s.n_theta
    slopes = s.natural_slopes(s.matrix(theta))
    whole = np.tensordot(s.jacobian(theta).T, slopes, 1)
    np.testing.assert_allclose(whole, s.tangent(theta), atol=1e-12)


@every
def test_natural_slopes_in_other_units(kind):
    s, rng = kind.of(3), np.random.default_rng(3)
    covariance = s.matrix(theta_of(s, rng))
    slopes, count = s.natural_slopes(covariance), s.n_sd
    units = [np.full(3, 1e-30), np.full(3, 1e30)]
    for unit in [*units, np.array([1e-6, 1.0, 1e6])] if s.het else units:
        both = np.outer(unit, unit)
        wanted = slopes * both
        wanted[:count] /= unit[:count, None, None] ** 2
        found = s.natural_slopes(covariance * both)
        np.testing.assert_allclose(found / both, wanted / both, rtol=1e-9, atol=1e-12)


@every
def test_other_units(kind):
    s, rng = kind.of(3), np.random.default_rng(3)
    theta = theta_of(s, rng)
    scale = np.diag([0.5, 2.0, 3.0]) if s.het else 2.0 * np.eye(3)
    expected = scale @ s.matrix(theta) @ scale
    np.testing.assert_allclose(s.matrix(s.moved(theta, scale)), expected)
    np.testing.assert_allclose(s.matrix(s.scaled(theta, 3.0)), 9 * s.matrix(theta))
    step = 1e-6
    for r, own in enumerate(s.congruence(scale).T):
        up = s.moved(theta + step * np.eye(s.n_theta)[r], scale) - s.moved(theta, scale)
        np.testing.assert_allclose(up / step, own, atol=1e-8)
    np.testing.assert_allclose(
        s.column_scale([1.0, 7.0, 2.0]), [1.0, 7.0, 2.0] if s.het else [18**0.5] * 3
    )


@every
def test_limits_are_exact(kind):
    s = kind.of(3)
    theta = np.concatenate([np.zeros(s.n_sd) if s.het else [1.0], [12.0]])
    theta = np.append(theta, np.zeros(s.n_theta - len(theta)))
    exact = s.singular(theta, 1e-4)
    assert exact[s.n_sd] == FREE_LIMIT
    matrix = s.matrix(exact)
    assert matrix[1, 0] == 1.0
    assert np.linalg.svd(s.lam(exact), compute_uv=False)[-1] < 1e-7
    held = s.at_limit(exact)
    assert held[s.n_sd]
    assert not held[: s.n_sd].any()
    # the natural parameters of the limit are those of the covariance
    np.testing.assert_allclose(s.gamma(matrix)[s.n_sd], 1.0)
    np.testing.assert_allclose(s.matrix(s.free(s.gamma(matrix))), matrix, atol=1e-12)
    assert np.isfinite(s.tangent(exact)).all()
    assert np.isfinite(s.bend(exact, np.ones((3, 3)))).all()


@every
def test_a_standard_deviation_of_zero(kind):
    s, rng = kind.of(4), np.random.default_rng(4)
    theta = theta_of(s, rng)
    theta[0] = -12.0 if s.het else -1e-6
    exact = s.singular(theta, 1e-4)
    assert s.sds(exact)[0] == 0
    if not s.het:
        assert s.at_limit(exact).all()  # without a variance there are no correlations
        assert np.isnan(s.gamma(s.matrix(exact))[1:]).all()
        return
    assert exact[0] <= ZERO_LOG
    np.testing.assert_array_equal(s.matrix(exact)[0], 0)
    eta = s.gamma(s.matrix(exact))
    known = np.isfinite(eta)
    np.testing.assert_allclose(eta[known], s.natural(exact)[known], rtol=1e-12)
    # what the first column alone would tell is lost
    lost = {"cs": 0, "hetar1": 0, "toep": 1, "adh": 1}[s.name]
    assert (~known).sum() == lost
    np.testing.assert_array_equal(s.at_limit(exact), ~known | (np.arange(len(eta)) == 0))


@every
def test_nearest_singular_factor(kind):
    s, rng = kind.of(3), np.random.default_rng(5)
    lam = s.lam(theta_of(s, rng))
    root = s.nearest_singular(lam)
    assert np.linalg.svd(root, compute_uv=False)[-1] < 1e-7


@every
def test_starts_are_definite_and_begin_with_the_moments(kind):
    s, rng = kind.of(4), np.random.default_rng(6)
    z = rng.normal(size=(30, 4)) @ np.triu(np.ones((4, 4)))
    covariance = z.T @ z / 30
    for theta in s.starts(covariance):
        assert np.linalg.eigvalsh(s.matrix(theta))[0] > 0
    own = s.matrix(s.start(covariance))
    variance = np.diag(covariance) if s.het else np.full(4, np.diag(covariance).mean())
    np.testing.assert_allclose(np.diag(own), variance)


@every
def test_out_of_range(kind):
    s = kind.of(3)
    eta = s.natural(s.start())
    eta[0] = -1.0
    with pytest.raises(OutOfRangeError, match="variance is negative"):
        s.covariance(eta)
    eta[0], eta[s.n_sd] = 1.0, 1.5
    with pytest.raises(OutOfRangeError, match=s.name):
        s.covariance(eta)


@every
def test_names_and_copies(kind):
    s = kind.of(3)
    names = s.names(["a", "b", "c"])
    if s.het:
        assert names[1] == ParameterName("variance", ("b",))
    assert names[s.n_sd].kind.startswith("rho")
    assert pickle.loads(pickle.dumps(s)) == s
    assert s.resized(4) == kind.of(4) != s
    assert s.label("0 + v", "g") == f"{s.name}(0 + v | g)"
    assert [r.name for r in s.report(np.eye(3), ["a", "b", "c"])] == ["a", "b", "c"]
    assert s.ordered == (not s.name.endswith("cs"))
