from __future__ import annotations

import numpy as np
import pytest
from helpers import correlations as definitions

from mixedext.specification.covariance.antedependence import Antedependence
from mixedext.specification.covariance.arma import ARMA
from mixedext.specification.covariance.autoregressive import (
    AutoRegressive,
    ContinuousAR1,
    nearest_power,
)
from mixedext.specification.covariance.spatial import Spatial
from mixedext.specification.covariance.toeplitz import Toeplitz

PLACE = np.array([[0, 1, 4, 9], [5, 2, 0, 3]])
LAG = np.abs(PLACE[:, :, None] - PLACE[:, None]).astype(float)


@pytest.mark.parametrize("psi", [-4.0, -0.4, 0.0, 1.3, 4.0])
def test_definition_and_derivatives(psi):
    rng = np.random.default_rng(1)
    definition = definitions.autoregressive()
    definitions.check_correlation(AutoRegressive(), definition, [psi], PLACE, rng)


@pytest.mark.parametrize("psi", [-9.0, -1.0, 0.0, 3.0, 9.0])
def test_definite_over_the_whole_range(psi):
    assert definitions.is_definite(AutoRegressive().matrix([psi], np.arange(12)[None]))


@pytest.mark.parametrize("rho", [1e-6, 0.3, 0.9, 0.9999, 1 - 1e-9])
def test_one_structure_by_many_names(rho):
    """AR(1) = CAR(1) on whole times = exp = antedependence with equal rho = ARMA(1, 0)."""
    own = AutoRegressive()
    matrix = own.matrix(own.free([rho]), PLACE)
    others = [
        (Antedependence(10), [rho] * 9, PLACE),
        (ARMA(1, 0), [rho], PLACE),
        (Toeplitz(10), rho ** np.arange(1, 10), PLACE),
        (ContinuousAR1(), [rho], LAG),
        (ContinuousAR1(7.0), [rho], LAG),
        (Spatial("pow"), [rho], LAG),
        (Spatial("exp", scale=3.0), [-1 / np.log(rho)], LAG),
    ]
    for other, natural, place in others:
        if isinstance(other, Toeplitz) and rho > 0.99:
            continue  # of nine lags, rounding of one makes it indefinite
        psi = other.free(natural)
        np.testing.assert_allclose(other.matrix(psi, place), matrix, rtol=1e-9, atol=1e-14)


def test_negative_rho_is_antedependence_too():
    own, ante = AutoRegressive(), Antedependence(10)
    matrix = own.matrix(own.free([-0.8]), PLACE)
    other = ante.matrix(ante.free([-0.8] * 9), PLACE)
    np.testing.assert_allclose(other, matrix, rtol=1e-13)


def test_tangents_agree_by_the_chain_rule():
    """d / d rho is the same under each name that has rho for a parameter."""
    own, car = AutoRegressive(), ContinuousAR1(2.5)
    for rho in (0.05, 0.6, 0.9999):
        ours, theirs = own.free([rho]), car.free([rho])
        first = own.tangent(ours, PLACE)[0] / own.jacobian(ours)
        second = car.tangent(theirs, LAG)[0] / car.jacobian(theirs)
        np.testing.assert_allclose(first, second, rtol=1e-11, atol=1e-14)
        weight = np.eye(1)
        np.testing.assert_allclose(
            own.curve(ours, PLACE, weight),
            car.curve(theirs, LAG, weight),
            rtol=1e-10,
            atol=1e-14,
        )


def test_near_one():
    """Derivatives keep their digits where 1 - rho^2 would cancel."""
    own = AutoRegressive()
    for psi in (-18.0, 10.0, 17.0, 300.0):
        # 1 / cosh(x)^2 = 4 exp(-2 |x|) there
        expected = 4 * np.exp(-2 * abs(psi))
        np.testing.assert_allclose(own.jacobian([psi]), expected, rtol=1e-8)
    np.testing.assert_allclose(
        own.tangent([9.0], np.array([[0, 3]]))[0, 0, 0, 1], 12 * np.exp(-18.0), rtol=1e-7
    )


def test_starts_at_exact_moments():
    own = AutoRegressive()
    pairs = np.full((6, 6), 20.0)
    lag = definitions.lags(np.arange(6))
    for rho in (-0.7, -0.2, 0.0, 0.33, 0.8):
        start = own.starts(rho**lag, pairs)[0]
        np.testing.assert_allclose(own.natural(start), rho, atol=1e-3)
    rest = [own.natural(psi)[0] for psi in own.starts(rho**lag, pairs)[1:]]
    np.testing.assert_allclose(rest, [0.0, 0.95, 0.7, -0.4], atol=1e-15)


def test_starts_without_some_pairs():
    own, lag = AutoRegressive(), definitions.lags(np.arange(5))
    r, pairs = 0.5**lag, np.full((5, 5), 8.0)
    r[lag == 1], pairs[lag == 1] = np.nan, 0
    np.testing.assert_allclose(own.natural(own.starts(r, pairs)[0]), 0.5, atol=1e-3)


def test_starts_without_any_pairs_or_sign():
    own, none = AutoRegressive(), np.zeros((3, 3))
    np.testing.assert_allclose(own.natural(own.starts(np.full((3, 3), np.nan), none)[0]), 0)
    # visits two apart tell the square alone
    r, pairs = np.full((3, 3), 0.49), none.copy()
    pairs[0, 2] = pairs[2, 0] = 5.0
    np.testing.assert_allclose(own.natural(own.starts(r, pairs)[0]), 0.7, atol=1e-3)


def test_nearest_power_is_the_least_sum_of_squares():
    rng = np.random.default_rng(3)
    fine = np.linspace(-0.95, 0.95, 4001)
    for _ in range(20):
        r = np.clip(0.6 ** np.arange(6) + rng.normal(size=6) * 0.1, -0.99, 1)
        n = rng.integers(1, 30, 6).astype(float)
        loss = ((r - fine[:, None] ** np.arange(6)) ** 2)[:, 1:] @ n[1:]
        at = nearest_power(r, n)
        found = ((r - at ** np.arange(6)) ** 2)[1:] @ n[1:]
        assert found <= loss.min() + 1e-3 * (np.median(loss) - loss.min())


def test_at_limit():
    own = AutoRegressive()
    assert own.at_limit(own.free([0.9999])) == []
    assert own.at_limit([8.0]) == [(0, "rho", 1.0)]
    assert own.at_limit([-8.0]) == [(0, "rho", -1.0)]


def test_errors():
    for rho in (-1.0, 1.2, np.nan):
        with pytest.raises(ValueError, match=r"rho = .* is not between -1 and 1"):
            AutoRegressive().free([rho])
    with pytest.raises(ValueError, match="rho = 0 is not between 0 and 1"):
        ContinuousAR1().free([0.0])


def test_continuous_is_the_definition():
    rng = np.random.default_rng(2)
    distance = definitions.distances(rng, 3, 4, 1)
    for scale in (1.0, 4.0):
        definition = definitions.spatial("pow", scale)
        for psi in (-0.8, 0.3, 2.0):
            own = ContinuousAR1(scale)
            definitions.check_correlation(own, definition, [psi], distance, rng)


def test_unit_of_time_changes_rho_alone():
    """Twice the numbers for times, the root of rho, the same matrix."""
    own = ContinuousAR1()
    matrix = own.matrix(own.free([0.49]), LAG)
    np.testing.assert_allclose(own.matrix(own.free([0.7]), 2 * LAG), matrix, rtol=1e-13)


def test_continuous_is_no_visit_structure():
    own = ContinuousAR1(2.0, shortest=0.5, longest=9.0)
    assert not own.over_visits
    assert own.names == ("rho",)
    assert own.n_psi == 1
    assert repr(own) == "ContinuousAR1(scale=2.0, shortest=0.5, longest=9.0)"
    assert own.at_limit([0.0]) == []
    assert own.at_limit([-4.0]) == [(0, "rho", 0.0)]
    assert own.at_limit([15.0]) == [(0, "rho", 1.0)]


@pytest.mark.parametrize("psi", [-2.0, -0.3, 0.0, 0.4, 3.0])
def test_gaps_of_visits(psi):
    own, gap, h = AutoRegressive(), np.array([2, 1, 5]), 1e-3
    less, value, first, second = own.by_gap([psi], gap)
    rho = np.tanh(psi + 1j * 1e-200) ** gap
    np.testing.assert_allclose(value, rho.real, rtol=1e-13)
    np.testing.assert_allclose(less, 1 - rho.real, rtol=1e-12)
    np.testing.assert_allclose(first, rho.imag / 1e-200, rtol=1e-12)
    slopes = [own.by_gap([psi + k * h], gap)[2] for k in (-2, -1, 1, 2)]
    numeric = (slopes[0] - 8 * slopes[1] + 8 * slopes[2] - slopes[3]) / (12 * h)
    np.testing.assert_allclose(second, numeric, atol=1e-9)


def test_gaps_near_one():
    less = AutoRegressive().by_gap([12.0], np.array([1, 3]))[0]
    one = 2 / (np.exp(24.0) + 1)  # 1 - tanh 12
    np.testing.assert_allclose(less, [one, 3 * one - 3 * one**2], rtol=1e-13)
    assert np.isfinite(AutoRegressive().by_gap([500.0], np.array([1]))).all()


@pytest.mark.parametrize("psi", [-1.5, 0.2, 4.0])
def test_gaps_of_times(psi):
    own, gap, h = ContinuousAR1(2.0), np.array([0.3, 1.0, 6.0]), 1e-3
    less, value, first, second = own.by_gap([psi], gap)
    r = np.exp(-gap / 2 * np.exp(-psi - 1j * 1e-200))
    np.testing.assert_allclose(value, r.real, rtol=1e-13)
    np.testing.assert_allclose(less, 1 - r.real, rtol=1e-12)
    np.testing.assert_allclose(first, r.imag / 1e-200, rtol=1e-12)
    slopes = [own.by_gap([psi + k * h], gap)[2] for k in (-2, -1, 1, 2)]
    numeric = (slopes[0] - 8 * slopes[1] + 8 * slopes[2] - slopes[3]) / (12 * h)
    np.testing.assert_allclose(second, numeric, atol=1e-9)
