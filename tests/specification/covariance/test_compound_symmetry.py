from __future__ import annotations

import numpy as np
import pytest
from helpers import correlations as definitions

from mixedext.specification.covariance.compound_symmetry import CompoundSymmetry
from mixedext.specification.covariance.toeplitz import Toeplitz

PLACE = np.array([[0, 1, 4], [3, 2, 0]])


@pytest.mark.parametrize("psi", [-3.0, -0.4, 0.0, 1.3, 9.0])
@pytest.mark.parametrize("m", [3, 10])
def test_definition_and_derivatives(m, psi):
    rng = np.random.default_rng(1)
    definition = definitions.compound_symmetry(m)
    definitions.check_correlation(CompoundSymmetry(m), definition, [psi], PLACE, rng)


def test_visits_do_not_matter():
    own = CompoundSymmetry(4)
    np.testing.assert_array_equal(
        own.matrix([0.3], np.array([[0, 1, 2]])), own.matrix([0.3], np.array([[0, 2, 3]]))
    )


@pytest.mark.parametrize("psi", [-14.0, -1.0, 0.0, 3.0, 14.0])
def test_definite_over_the_whole_range(psi):
    for m in (2, 3, 12):
        own = CompoundSymmetry(m)
        assert definitions.is_definite(own.matrix([psi], np.arange(m)[None]))


def test_is_a_toeplitz_matrix():
    cs, toeplitz, place = CompoundSymmetry(5), Toeplitz(5), np.arange(5)[None]
    matrix = cs.matrix(cs.free([0.6]), place)
    np.testing.assert_allclose(matrix, toeplitz.matrix(toeplitz.free([0.6] * 4), place))


def test_near_its_bounds():
    own = CompoundSymmetry(5)
    for rho in (0.9999, 1 - 1e-9, -0.25 + 1e-9):
        psi = own.free([rho])
        np.testing.assert_allclose(own.natural(psi), rho, rtol=1e-15)
        # (1 - rho) (rho + a) / (1 + a)
        expected = (1 - rho) * (rho + 0.25) / 1.25
        np.testing.assert_allclose(own.jacobian(psi), expected, rtol=1e-6)


def test_starts():
    own = CompoundSymmetry(4)
    r = np.full((4, 4), 0.4)
    pairs = np.full((4, 4), 10.0)
    r[0, 3] = r[3, 0] = np.nan
    pairs[0, 3] = pairs[3, 0] = 0
    rho = [own.natural(psi)[0] for psi in own.starts(r, pairs)]
    np.testing.assert_allclose(rho, [0.4, 0.0, 0.7, -1 / 6], atol=1e-15)
    rho = own.natural(own.starts(np.full((4, 4), -0.9), pairs)[0])
    assert -1 / 3 < rho[0] < -0.25


def test_moments_without_pairs_start_at_independence():
    own = CompoundSymmetry(2)
    start = own.starts(np.full((2, 2), np.nan), np.zeros((2, 2)))[0]
    np.testing.assert_allclose(own.natural(start), 0, atol=1e-15)


def test_at_limit():
    own = CompoundSymmetry(5)
    assert own.at_limit([5.0]) == own.at_limit(own.free([0.9999])) == []
    assert own.at_limit([12.0]) == [(0, "rho", 1.0)]
    assert own.at_limit([-12.0]) == [(0, "rho", -0.25)]


def test_errors():
    with pytest.raises(ValueError, match="groups of 2 rows, m = 1"):
        CompoundSymmetry(1)
    own = CompoundSymmetry(5)
    for rho in (-0.25, 1.0, np.nan):
        with pytest.raises(ValueError, match=r"not between -0\.25 and 1, as compound"):
            own.free([rho])
    with pytest.raises(ValueError, match=r"1 numbers, not an array of shape \(2,\)"):
        own.free([0.1, 0.2])


def test_what_it_is():
    own = CompoundSymmetry(5)
    assert own.over_visits
    assert own.linear_if_homogeneous
    assert not own.is_covariance
    assert own == CompoundSymmetry(5) != CompoundSymmetry(4)
