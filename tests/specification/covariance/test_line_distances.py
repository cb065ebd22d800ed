"""Distances on a line beside their matrix."""

from __future__ import annotations

import numpy as np
import pytest

from mixedext.specification.covariance.line_distances import LineDistances
from mixedext.specification.covariance.spatial import Spatial


@pytest.fixture
def pair():
    times = np.random.default_rng(0).uniform(0, 9, (4, 6))
    return LineDistances(times), np.abs(times[:, :, None] - times[:, None, :])


def test_an_array_to_whoever_computes(pair):
    own, whole = pair
    assert own.shape == whole.shape
    assert own.ndim == 3
    assert len(own) == 4
    np.testing.assert_array_equal(np.asarray(own), whole)
    np.testing.assert_array_equal(own * 2.0, whole * 2.0)
    np.testing.assert_array_equal(own > 1, whole > 1)
    np.testing.assert_array_equal(np.exp(-1 * own), np.exp(-whole))


def test_some_of_it(pair):
    own, whole = pair
    np.testing.assert_array_equal(own[np.array([2, 0])], whole[[2, 0]])
    np.testing.assert_array_equal(own[np.arange(4) > 1], whole[2:])
    group, a, b = np.array([[0], [3]]), np.array([1, 2, 5]), np.array([0, 4, 3])
    np.testing.assert_array_equal(own[group, a, b], whole[group, a, b])


def test_sums(pair):
    own, whole = pair
    np.testing.assert_allclose(own.total(), whole.sum(axis=(1, 2)), rtol=1e-13)
    np.testing.assert_allclose(own.gaps().sum(axis=1), whole.max(axis=(1, 2)))
    assert (own.gaps() >= 0).all()


@pytest.mark.parametrize("nugget", [False, True])
def test_what_structures_do_with_it(pair, nugget):
    own, whole = pair
    structure = Spatial("exp", nugget, 2.0)
    psi, score = np.full(structure.n_psi, 0.3), whole * 0.1
    weight = np.eye(structure.n_psi)
    for name, *more in (("matrix",), ("tangent",), ("bend", score), ("curve", weight)):
        one, other = (getattr(structure, name)(psi, p, *more) for p in (own, whole))
        np.testing.assert_array_equal(one, other)
