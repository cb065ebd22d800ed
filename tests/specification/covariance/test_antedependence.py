from __future__ import annotations

import numpy as np
import pytest
from helpers import correlations as definitions

from mixedext.specification.covariance.antedependence import Antedependence

PLACE = np.array([[0, 1, 4], [3, 2, 0]])


@pytest.mark.parametrize("seed", range(4))
def test_definition_and_derivatives(seed):
    rng = np.random.default_rng(seed)
    own, definition = Antedependence(5), definitions.antedependence()
    psi = rng.normal(size=4)
    for place in (PLACE, np.arange(5)[None], np.array([[2]])):
        definitions.check_correlation(own, definition, psi, place, rng)


def test_two_visits():
    rng = np.random.default_rng(0)
    definition = definitions.antedependence()
    definitions.check_correlation(Antedependence(2), definition, [0.4], [[0, 1]], rng)


def test_correlations_of_zero_have_derivatives():
    rng = np.random.default_rng(5)
    psi = np.array([0.0, 0.7, 0.0, -0.3])
    place = np.arange(5)[None]
    definition = definitions.antedependence()
    definitions.check_correlation(Antedependence(5), definition, psi, place, rng)


def test_definite_over_the_whole_range():
    rng = np.random.default_rng(1)
    for _ in range(50):
        psi = rng.uniform(-6, 6, size=7)
        assert definitions.is_definite(Antedependence(8).matrix(psi, np.arange(8)[None]))


def test_near_one():
    own = Antedependence(3)
    psi = own.free([0.9999, 0.9999])
    matrix = own.matrix(psi, np.arange(3)[None])[0]
    np.testing.assert_allclose(matrix[0, 2], 0.9999**2, rtol=1e-15)
    np.testing.assert_allclose(np.diag(own.jacobian(psi)), 1 - 0.9999**2, rtol=1e-11)


def test_starts():
    rng = np.random.default_rng(2)
    own, definition = Antedependence(5), definitions.antedependence()
    rho = rng.uniform(-0.8, 0.8, 4)
    r, pairs = definition.matrix(rho, np.arange(5)), np.full((5, 5), 9.0)
    first, second, third = (own.natural(psi) for psi in own.starts(r, pairs))
    np.testing.assert_allclose(first, rho, rtol=1e-12)
    np.testing.assert_allclose(second, 0)
    np.testing.assert_allclose(third, 0.7)


def test_neighbours_without_pairs_start_at_the_mean_of_others():
    r, pairs = np.full((3, 3), 0.5), np.full((3, 3), 9.0)
    r[0, 1] = r[1, 0] = np.nan
    pairs[0, 1] = pairs[1, 0] = 0
    own = Antedependence(3)
    np.testing.assert_allclose(own.natural(own.starts(r, pairs)[0]), 0.5)


def test_at_limit():
    limits = Antedependence(4).at_limit([0.2, -9.0, 9.0])
    assert limits == [(1, "rho 2", -1.0), (2, "rho 3", 1.0)]


def test_errors():
    with pytest.raises(ValueError, match="needs 2 visits, m = 1"):
        Antedependence(1)
    with pytest.raises(ValueError, match=r"rho 2 = 1\.5 is not between -1 and 1"):
        Antedependence(3).free([0.1, 1.5])


def test_what_it_is():
    own = Antedependence(4)
    assert own.names == ("rho 1", "rho 2", "rho 3")
    assert own.over_visits
    assert not own.linear_if_homogeneous
