from __future__ import annotations

import numpy as np
import pytest
from helpers import correlations as definitions

from mixedext.specification.covariance.arma import ARMA
from mixedext.specification.covariance.toeplitz import Toeplitz

PLACE = np.array([[0, 1, 4], [3, 2, 0]])


@pytest.mark.parametrize("m", [2, 3, 5, 8])
def test_definition_and_derivatives(m):
    rng = np.random.default_rng(m)
    own, definition = Toeplitz(m), definitions.toeplitz()
    for _ in range(3):
        psi = rng.normal(size=m - 1) * 0.8
        places = [np.arange(m)[None], np.array([[0, m - 1], [1, 0]])]
        for place in places if m < 5 else [*places, PLACE]:
            definitions.check_correlation(own, definition, psi, place, rng)


@pytest.mark.parametrize("bands", [2, 3, 4])
def test_definition_and_derivatives_of_a_band(bands):
    rng = np.random.default_rng(bands)
    own, definition = Toeplitz(5, bands), definitions.banded()
    psi = rng.uniform(-0.15, 0.15, bands - 1)
    for place in (PLACE, np.arange(5)[None], np.array([[0, 1]])):
        definitions.check_correlation(own, definition, psi, place, rng)


def test_all_bands_are_no_band():
    assert Toeplitz(4, 4).n_psi == Toeplitz(4).n_psi == 3
    psi, place = [0.3, 0.9, -0.5], np.arange(4)[None]
    np.testing.assert_array_equal(
        Toeplitz(4, 4).matrix(psi, place), Toeplitz(4).matrix(psi, place)
    )


def test_definite_over_the_whole_range():
    rng = np.random.default_rng(1)
    place = np.arange(5)[None]
    for _ in range(100):
        psi = rng.uniform(-3, 3, size=4)
        assert definitions.is_definite(Toeplitz(5).matrix(psi, place))
    for k in range(4):
        psi = np.full(4, 0.4)
        psi[k] = 9.0
        assert definitions.is_definite(Toeplitz(5).matrix(psi, place))


def test_every_definite_matrix_has_its_psi():
    rng = np.random.default_rng(4)
    own, place, found = Toeplitz(4), np.arange(4)[None], 0
    for _ in range(300):
        rho = rng.uniform(-1, 1, 3)
        matrix = definitions.toeplitz().matrix(rho, np.arange(4))
        if np.linalg.eigvalsh(matrix)[0] > 0:
            found += 1
            np.testing.assert_allclose(
                own.matrix(own.free(rho), place)[0], matrix, atol=1e-12
            )
        else:
            with pytest.raises(ValueError, match="over 4 visits is not positive definite"):
                own.free(rho)
    assert 20 < found < 280


def test_a_band_is_a_moving_average():
    rng = np.random.default_rng(2)
    arma, own, place = ARMA(0, 2), Toeplitz(8, 3), np.arange(8)[None]
    matrix = arma.matrix(rng.normal(size=2), place)
    np.testing.assert_allclose(own.matrix(own.free(matrix[0, 0, 1:3]), place), matrix)


def test_near_one():
    own = Toeplitz(3)
    psi = own.free([0.9999, 0.9999**2])
    np.testing.assert_allclose(own.natural(psi), [0.9999, 0.9999**2], rtol=1e-15)
    np.testing.assert_allclose(psi[1], 0, atol=1e-11)
    # d rho_2 / d psi_2 = v there
    np.testing.assert_allclose(own.jacobian(psi)[1, 1], 1 - 0.9999**2, rtol=1e-10)


def test_starts():
    own, pairs = Toeplitz(5), np.full((5, 5), 9.0)
    rho = np.array([0.6, 0.5, 0.2, 0.1])
    r = definitions.toeplitz().matrix(rho, np.arange(5))
    first, second, third, fourth = own.starts(r, pairs)
    np.testing.assert_allclose(own.natural(first), rho, rtol=1e-12)
    np.testing.assert_array_equal(second, 0)
    np.testing.assert_allclose(third[1:], 0, atol=1e-12)
    np.testing.assert_allclose(own.natural(fourth), 0.95 ** np.arange(1, 5), rtol=1e-12)


def test_an_autoregression_is_nested():
    """At zeros of all partial autocorrelations but the first."""
    own, place = Toeplitz(5), np.arange(5)[None]
    nested = own.nested
    assert nested is not None
    np.testing.assert_allclose(
        own.matrix([0.4, 0, 0, 0], place), nested.matrix([0.4], place), rtol=1e-14
    )
    assert Toeplitz(5, 3).nested is None
    assert nested.nested is None


@pytest.mark.parametrize("bands", [None, 2, 3])
def test_starts_are_definite_whatever_the_moments(bands):
    rng = np.random.default_rng(3)
    own, place = Toeplitz(6, bands), np.arange(6)[None]
    for _ in range(50):
        r = np.clip(definitions.symmetric(rng, 6, 6), -1, 1)
        pairs = rng.integers(0, 3, (6, 6)).astype(float)
        for psi in own.starts(r, pairs + pairs.T):
            assert np.linalg.eigvalsh(own.matrix(psi, place)[0])[0] > 1e-6


def test_at_limit():
    own = Toeplitz(4)
    assert own.at_limit([0.1, 2.0, -3.0]) == []
    (limit,) = own.at_limit([0.5, 9.0, 0.3])
    # r_2 = 1: rho_2 = rho_1^2 + 1 - rho_1^2
    assert limit == (1, "rho 2", 1.0)
    (limit,) = own.at_limit([0.5, -9.0, 0.3])
    np.testing.assert_allclose(limit.value, 2 * np.tanh(0.5) ** 2 - 1, rtol=1e-14)


def test_at_limit_of_a_band():
    own = Toeplitz(4, 2)
    assert own.at_limit([0.3]) == []
    edge = 0.5 / np.cos(np.pi / 5)  # where the smallest eigenvalue is zero
    (limit,) = own.at_limit([edge * (1 - 1e-9)])
    assert limit[:2] == (0, "rho 1")


def test_errors():
    with pytest.raises(ValueError, match="needs 2 visits, m = 1"):
        Toeplitz(1)
    for bands in (1, 5):
        with pytest.raises(ValueError, match=f"bands = {bands} counts the main diagonal"):
            Toeplitz(4, bands)
    with pytest.raises(ValueError, match=r"rho 1 = 0\.7 over 4 visits is not positive"):
        Toeplitz(4, 2).free([0.7])


def test_what_it_is():
    assert Toeplitz(4).names == ("rho 1", "rho 2", "rho 3")
    assert Toeplitz(4, 3).names == ("rho 1", "rho 2")
    assert Toeplitz(4).linear_if_homogeneous
