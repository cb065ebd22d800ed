from __future__ import annotations

import numpy as np
import pytest
from helpers import correlations as definitions

from mixedext.specification.covariance.autoregressive import AutoRegressive
from mixedext.specification.covariance.unstructured_visits import UnstructuredVisits

PLACE = np.array([[0, 1, 3], [3, 2, 0]])


@pytest.mark.parametrize("seed", range(3))
def test_definition_and_derivatives(seed):
    rng = np.random.default_rng(seed)
    own, definition = UnstructuredVisits(4), definitions.unstructured(4)
    psi = rng.normal(size=9) * 0.8
    for place in (PLACE, np.arange(4)[None], np.array([[2]])):
        definitions.check_correlation(own, definition, psi, place, rng, rtol=1e-8)


def test_two_visits():
    rng = np.random.default_rng(0)
    own, definition = UnstructuredVisits(2), definitions.unstructured(2)
    definitions.check_correlation(own, definition, [0.4, -0.2], [[0, 1]], rng)


def test_any_covariance_has_its_psi():
    rng = np.random.default_rng(1)
    own, place = UnstructuredVisits(5), np.arange(5)[None]
    a = rng.normal(size=(5, 9)) * 10.0 ** np.arange(-2, 3)[:, None]  # sd ratios of 1e4
    sigma = a @ a.T
    sigma /= sigma[0, 0]
    psi = own.free(sigma[own.elements])
    np.testing.assert_allclose(own.matrix(psi, place)[0], sigma, rtol=1e-12)


def test_definite_over_the_whole_range():
    rng = np.random.default_rng(2)
    for _ in range(50):
        psi = rng.uniform(-4, 4, 9)
        assert definitions.is_definite(UnstructuredVisits(4).matrix(psi, [[0, 1, 2, 3]]))


def test_holds_an_autoregression_near_one():
    own, ar1, place = UnstructuredVisits(4), AutoRegressive(), np.arange(4)[None]
    matrix = ar1.matrix(ar1.free([0.9999]), place)
    psi = own.free(matrix[0][own.elements])
    np.testing.assert_allclose(own.matrix(psi, place), matrix, rtol=1e-14)


def test_starts():
    rng = np.random.default_rng(3)
    a = rng.normal(size=(4, 20))
    sigma, pairs = a @ a.T, np.full((4, 4), 20.0)
    own, place = UnstructuredVisits(4), np.arange(4)[None]
    first, second = own.starts(sigma, pairs)
    np.testing.assert_allclose(own.matrix(first, place)[0], sigma / sigma[0, 0], rtol=1e-12)
    diagonal = np.diag(np.diag(sigma) / sigma[0, 0])
    np.testing.assert_allclose(own.matrix(second, place)[0], diagonal, rtol=1e-12)


def test_starts_are_definite_whatever_the_moments():
    rng = np.random.default_rng(4)
    own, place = UnstructuredVisits(5), np.arange(5)[None]
    for _ in range(50):
        moments = definitions.symmetric(rng, 5, 5)
        pairs = rng.integers(0, 3, (5, 5))
        for psi in own.starts(moments, pairs + pairs.T):
            sigma = own.matrix(psi, place)[0]
            sd = np.sqrt(np.diag(sigma))
            assert np.linalg.eigvalsh(sigma / np.outer(sd, sd))[0] > 0.0199


def test_at_limit():
    own = UnstructuredVisits(3)
    assert own.at_limit([0.5, 0.1, 0.2, 0.3, -0.5]) == []
    (limit,) = own.at_limit([0.5, -20.0, 0.2, 0.3, 0.0])
    assert limit == (1, "UN(2,2)", 0.25)
    assert own.at_limit([0.0, -30.0, 0.2, 0.3, 20.0]) == [
        (1, "UN(2,2)", 0.0),
        (4, "UN(3,3)", np.inf),
    ]
    assert own.at_limit([0.0, np.log(1e-4), 0.2, 0.3, np.log(1e4)]) == []


def test_errors():
    with pytest.raises(ValueError, match="needs 2 visits, m = 1"):
        UnstructuredVisits(1)
    own = UnstructuredVisits(2)
    with pytest.raises(ValueError, match=r"a variance .* is not positive"):
        own.free([0.1, 0.0])
    with pytest.raises(ValueError, match="is not positive definite"):
        own.free([1.1, 1.0])
    with pytest.raises(ValueError, match=r"UN\(2,1\), UN\(2,2\): 2 numbers"):
        own.free([1.1])


def test_what_it_is():
    own = UnstructuredVisits(3)
    assert own.names == ("UN(2,1)", "UN(2,2)", "UN(3,1)", "UN(3,2)", "UN(3,3)")
    assert own.is_covariance
    assert own.linear_if_homogeneous
    assert own.matrix(np.ones(5), [[0, 1, 2]])[0, 0, 0] == 1.0
    assert own == UnstructuredVisits(3)
