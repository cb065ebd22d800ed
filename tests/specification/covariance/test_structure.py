"""The protocol serves structures that are not linear: two of them, written against it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.structure_protocol import by_complex_steps, by_differences, check_protocol

import mixedext as mx
from mixedext.specification.covariance.structure import (
    EffectReport,
    ParameterName,
    Structure,
)


class AR1(Structure):
    """v rho^|a - b|; theta is the standard deviation and atanh rho."""

    name = "ar1"
    has_correlations = True
    notation = "ar1({columns} | {group})"
    n_theta = 2

    @property
    def lag(self):
        place = np.arange(self.k)
        return np.abs(place[:, None] - place)

    def natural(self, theta):
        return np.array([theta[0] ** 2, np.tanh(theta[1])])

    def free(self, eta):
        return np.array([np.sqrt(eta[0]), np.arctanh(eta[1])])

    def jacobian(self, theta):
        return np.diag([2 * theta[0], 1 - np.tanh(theta[1]) ** 2])

    def matrix(self, theta):
        variance, rho = self.natural(theta)
        return variance * rho**self.lag

    def _slopes(self, theta):
        """d Sigma / d eta."""
        variance, rho = self.natural(theta)
        lag = self.lag
        by_rho = np.where(lag > 0, lag * rho ** np.maximum(lag - 1, 0), 0)
        return np.array([rho**lag, variance * by_rho])

    def tangent(self, theta):
        return np.einsum("rab,rs->sab", self._slopes(theta), self.jacobian(theta))

    def curve(self, theta, weight):
        variance, rho = self.natural(theta)
        lag, mixed = self.lag, self._slopes(theta)[1] / variance
        twice = lag * (lag - 1) * rho ** np.maximum(lag - 2, 0)
        return 2 * weight[0, 1] * mixed + weight[1, 1] * variance * twice

    def bend(self, theta, score):
        change = self.jacobian(theta)
        out = np.empty((2, 2))
        for r, s in np.ndindex(2, 2):
            unit = np.outer(change[:, r], change[:, s])
            out[r, s] = np.sum(score * self.curve(theta, (unit + unit.T) / 2))
        rho = np.tanh(theta[1])
        own = np.einsum("rab,ab->r", self._slopes(theta), score)
        return out + np.diag(own * [2, -2 * rho * (1 - rho**2)])

    def names(self, columns):
        return [ParameterName("variance"), ParameterName("rho")]

    def start(self, covariance=None):
        if covariance is None:
            return np.array([1.0, 0.0])
        variance = np.trace(covariance) / self.k
        neighbours = np.diag(covariance, 1).mean() if self.k > 1 else 0.0
        return AR1.free(self, [variance, neighbours / variance])


class CompoundSymmetry(AR1):
    """v on the diagonal, v rho off it: eta is the variance and the covariance."""

    name = "cs"

    def natural(self, theta):
        variance, rho = super().natural(theta)
        return np.array([variance, variance * rho])

    def free(self, eta):
        return super().free([eta[0], eta[1] / eta[0]])

    def jacobian(self, theta):
        (first, _), (_, own) = super().jacobian(theta)
        rho = np.tanh(theta[1])
        return np.array([[first, 0], [first * rho, theta[0] ** 2 * own]])

    def matrix(self, theta):
        return np.tensordot(self.natural(theta), self._slopes(theta), 1)

    def _slopes(self, theta):
        return np.array([np.eye(self.k), 1 - np.eye(self.k)])

    def curve(self, theta, weight):
        return np.zeros((self.k, self.k))

    def bend(self, theta, score):
        sd, rho = theta[0], np.tanh(theta[1])
        variance, covariance = np.einsum("rab,ab->r", self._slopes(theta), score)
        mixed = covariance * 2 * sd * (1 - rho**2)
        return np.array(
            [
                [2 * variance + 2 * rho * covariance, mixed],
                [mixed, -2 * sd**2 * rho * (1 - rho**2) * covariance],
            ]
        )


@pytest.mark.parametrize("kind", [AR1, CompoundSymmetry])
@pytest.mark.parametrize("theta", [[0.8, 0.6], [1.7, -0.1], [0.3, 1.5]])
def test_protocol_of_structures_that_are_not_linear(kind, theta):
    s = kind.of(4)
    assert not s.linear
    rng, theta = np.random.default_rng(3), np.array(theta)
    check_protocol(s, theta, rng, by_complex_steps, 1e-12)


def test_derivative_of_a_deviance_by_the_score_that_the_engine_hands_out():
    """The chain rule of a term whose four visits are an autoregression."""
    rng = np.random.default_rng(8)
    levels, visits = np.repeat(np.arange(12), 9), np.tile(np.arange(9) % 4, 12)
    z = np.eye(4)[visits]
    y = rng.normal(size=108) + rng.normal(size=12)[levels] + 0.5 * visits
    model = mx.MixedLM(y, np.ones((108, 1)), terms=[mx.RandomTerm(levels, z)])
    own, any_covariance = AR1.of(4), model.terms[0].structure
    objective = model._design.objective(True)

    def deviance(theta):
        root = any_covariance.theta(own.lam(theta))
        return objective.value(model._design.inner_theta(root))

    theta = np.array([0.7, 0.4])
    deviance(theta)
    root = any_covariance.theta(own.lam(theta))
    (score,) = objective.derivatives(model._design.inner_theta(root)).scores
    (transform,) = model._design.transforms
    slope = own.gradient(theta, transform.T @ score @ transform)
    np.testing.assert_allclose(slope, by_differences(deviance, theta), rtol=1e-6)


def test_terms_take_structures_of_their_own_alone():
    with pytest.raises(
        ValueError, match="Structure of random terms, of 2 columns, not ar1"
    ):
        mx.RandomTerm([1, 1, 2, 2], np.ones((4, 2)), structure=AR1(2))


def test_what_is_printed():
    covariance = np.array([[4.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    rows = AR1.of(3).report(covariance, ["a", "b", "c"])
    assert rows[0] == EffectReport("a", 4.0, 2.0, ())
    assert rows[1] == EffectReport("b", 1.0, 1.0, (0.5,))
    assert rows[2][:3] == ("c", 0.0, 0.0)
    assert np.isnan(rows[2].correlations).all()
    assert AR1.of(3).label("0 + visit", "g") == "ar1(0 + visit | g)"


def test_structures_are_compared_by_kind_and_columns():
    assert AR1.of(3) is AR1.of(3)
    assert AR1.of(3) == AR1(3) != AR1(2)
    assert AR1(3) != CompoundSymmetry(3)
    assert len({AR1(3), AR1.of(3), CompoundSymmetry(3)}) == 2
    assert AR1(3).resized(5) == AR1(5)
    assert repr(AR1(3)) == "ar1(3)"


def test_scales_of_columns_keep_the_structure():
    np.testing.assert_allclose(AR1(2).column_scale([1.0, 7.0]), [5.0, 5.0])


def test_a_structure_without_the_protocol_is_none():
    class Part(AR1):
        curve = Structure.curve

    with pytest.raises(TypeError, match="curve"):
        Part(3)
