"""Lambda of residual groups as it is defined, element by element."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.correlations import first_derivative, second_derivative, symmetric
from numpy.testing import assert_allclose

from mixedext.specification.covariance.autoregressive import AutoRegressive
from mixedext.specification.covariance.residual_curve import Places, ResidualCurve
from mixedext.specification.covariance.unstructured_visits import UnstructuredVisits
from mixedext.specification.covariance.variance_functions import (
    VarConstPower,
    VarFixed,
    VarIdent,
    VarPower,
)

SCALE, EXACT, CLOSE = 1.7, {"rtol": 1e-11, "atol": 1e-12}, {"rtol": 1e-8, "atol": 1e-8}
VISITS = np.array([[0, 1, 3], [2, 0, 1]])


def places(rng):
    strata = [rng.integers(0, 3, VISITS.shape), np.zeros(VISITS.shape, int)]
    return Places(VISITS, strata, [None, rng.uniform(0.5, 3.0, VISITS.shape)])


def covariance(eta, at):
    """R by variances of three strata, const, power and rho: (const + v^power) in each."""
    size = np.sqrt(eta[:3])[at.strata[0]] * (eta[3] + at.covariates[1] ** eta[4])
    lag = np.abs(VISITS[:, :, None] - VISITS[:, None])
    return size[:, :, None] * size[:, None] * eta[5] ** lag


def natural(free):
    """Of log ratios of standard deviations, log const, power, atanh rho and sigma^2."""
    ratio, const, power, rho, scale = free[:2], free[2], free[3], free[4], free[5]
    first = scale * np.exp(2 * np.append(0.0, ratio))
    return np.append(first, [np.exp(const), power, np.tanh(rho)])


CURVE = ResidualCurve(AutoRegressive(), (VarIdent(3), VarConstPower()))
PSI = np.array([0.3, -0.5, -0.2, 0.6, 0.4])


def test_free_parameters():
    rng = np.random.default_rng(1)
    at, score = places(rng), symmetric(rng, *VISITS.shape, VISITS.shape[1])

    def of_free(psi):
        return covariance(natural(np.append(psi, 1.0)), at)

    assert_allclose(CURVE.matrix(PSI, at), of_free(PSI).real, **EXACT)
    deviations = np.log(np.einsum("caa->ca", of_free(PSI))) / 2
    assert_allclose(CURVE.log_sd(PSI, at), deviations, **EXACT)
    assert_allclose(CURVE.tangent(PSI, at), first_derivative(of_free, PSI), **EXACT)
    bend = np.einsum("rscab,cab->rs", second_derivative(of_free, PSI), score)
    assert_allclose(CURVE.bend(PSI, at, score), bend, **CLOSE)


def test_natural_parameters():
    rng = np.random.default_rng(2)
    at, weight, free = places(rng), symmetric(rng, 6, 6), np.append(PSI, SCALE)
    eta = CURVE.natural(PSI, SCALE)
    assert_allclose(eta, natural(free), **EXACT)
    jacobian = first_derivative(natural, free).T
    assert_allclose(CURVE.jacobian(PSI, SCALE), jacobian, **EXACT)
    second = second_derivative(lambda x: covariance(x, at), eta)
    curve = np.einsum("rscab,rs->cab", second, weight)
    assert_allclose(CURVE.curve(PSI, SCALE, at, weight), curve, **CLOSE)


@pytest.mark.parametrize("log_const", [-40.0, -800.0])
def test_a_constant_that_has_vanished(log_const):
    rng = np.random.default_rng(3)
    at, weight = places(rng), symmetric(rng, 6, 6)
    weight[3] = weight[:, 3] = 0.0  # it is held
    psi, rest = PSI.copy(), [0, 1, 2, 4, 5]
    psi[2] = log_const
    other = ResidualCurve(AutoRegressive(), (VarIdent(3), VarPower()))
    without = np.delete(psi, 2)
    assert_allclose(CURVE.matrix(psi, at), other.matrix(without, at), **EXACT)
    own = CURVE.tangent(psi, at)
    assert_allclose(own[2], 0, atol=1e-15)
    assert_allclose(np.delete(own, 2, axis=0), other.tangent(without, at), **EXACT)
    wanted = other.curve(without, SCALE, at, weight[np.ix_(rest, rest)])
    assert_allclose(CURVE.curve(psi, SCALE, at, weight), wanted, **EXACT)


def test_covariances_are_linear_in_themselves():
    own = ResidualCurve(UnstructuredVisits(4), is_linear=True)
    at = Places(VISITS, [], [])
    psi = np.random.default_rng(4).normal(size=own.n_psi) * 0.3
    eta = own.natural(psi, SCALE)
    whole = np.zeros((4, 4))
    whole[np.tril_indices(4)] = eta
    whole = whole + np.tril(whole, -1).T
    wanted = [whole[np.ix_(v, v)] for v in VISITS]
    assert_allclose(SCALE * own.matrix(psi, at), wanted, **EXACT)
    weight = np.ones((len(eta), len(eta)))
    assert_allclose(own.curve(psi, SCALE, at, weight), 0, atol=0)
    step = 1e-6
    moved = [
        (own.natural(psi + step * e, SCALE) - own.natural(psi - step * e, SCALE))
        / (2 * step)
        for e in np.eye(len(psi))
    ]
    jacobian = np.column_stack([*moved, eta / SCALE])
    assert_allclose(own.jacobian(psi, SCALE), jacobian, rtol=1e-8, atol=1e-8)


def test_independent_rows_with_known_ratios():
    own = ResidualCurve(None, (VarFixed(),))
    v = np.random.default_rng(5).uniform(0.5, 3.0, VISITS.shape)
    at = Places(VISITS, [np.zeros(VISITS.shape, int)], [v])
    none = np.zeros(0)
    assert_allclose(own.matrix(none, at), v[:, :, None] * np.eye(3), **EXACT)
    assert own.tangent(none, at).shape == (0, *VISITS.shape, 3)
    assert_allclose(own.natural(none, SCALE), [SCALE])


def test_parameters_of_levels_follow_common_ones():
    first, second = (
        ResidualCurve(AutoRegressive(), (VarIdent(3),), number=number) for number in (0, 1)
    )
    np.testing.assert_array_equal(first.at, [0, 1, 2])
    np.testing.assert_array_equal(second.at, [0, 1, 3])
    np.testing.assert_array_equal(second.natural_at, [0, 1, 2, 4])
