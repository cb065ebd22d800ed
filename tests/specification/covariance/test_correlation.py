"""What the structures share: lags, sums at visits, moments."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from mixedext.specification.covariance import correlation
from mixedext.specification.covariance.antedependence import Antedependence
from mixedext.specification.covariance.arma import ARMA
from mixedext.specification.covariance.autoregressive import AutoRegressive, ContinuousAR1
from mixedext.specification.covariance.compound_symmetry import CompoundSymmetry
from mixedext.specification.covariance.spatial import Spatial
from mixedext.specification.covariance.toeplitz import Toeplitz
from mixedext.specification.covariance.unstructured_visits import UnstructuredVisits

ALL = [
    Antedependence(4),
    ARMA(1, 1),
    AutoRegressive(),
    CompoundSymmetry(4),
    ContinuousAR1(),
    Spatial("gau", True),
    Toeplitz(4),
    Toeplitz(4, 2),
    UnstructuredVisits(4),
]


def places(own, c, rng):
    if own.over_visits:
        return np.array([rng.permutation(4)[:3] for _ in range(c)])
    where = rng.uniform(0, 3, (c, 3))
    return np.abs(where[:, :, None] - where[:, None])


@pytest.mark.parametrize("own", ALL, ids=repr)
def test_groups_do_not_know_each_other(own):
    rng = np.random.default_rng(1)
    place, psi = places(own, 4, rng), rng.uniform(-0.3, 0.3, own.n_psi)
    score, weight = rng.normal(size=(4, 3, 3)), rng.normal(size=(own.n_psi,) * 2)
    score, weight = score + score.transpose(0, 2, 1), weight + weight.T
    one_by_one = [place[k : k + 1] for k in range(4)]
    close = {"rtol": 1e-13, "atol": 1e-14}
    for whole, parts, axis in (
        (own.matrix(psi, place), [own.matrix(psi, p) for p in one_by_one], 0),
        (own.tangent(psi, place), [own.tangent(psi, p) for p in one_by_one], 1),
        (own.curve(psi, place, weight), [own.curve(psi, p, weight) for p in one_by_one], 0),
    ):
        np.testing.assert_allclose(whole, np.concatenate(parts, axis=axis), **close)
    bends = [own.bend(psi, p, score[k : k + 1]) for k, p in enumerate(one_by_one)]
    np.testing.assert_allclose(own.bend(psi, place, score), sum(bends), **close)


@pytest.mark.parametrize("own", ALL, ids=repr)
def test_no_groups(own):
    place = np.zeros((0, 3), dtype=np.intp) if own.over_visits else np.zeros((0, 3, 3))
    psi, n = np.full(own.n_psi, 0.2), own.n_psi
    assert own.matrix(psi, place).shape == (0, 3, 3)
    assert own.tangent(psi, place).shape == (n, 0, 3, 3)
    assert own.curve(psi, place, np.eye(n)).shape == (0, 3, 3)
    np.testing.assert_array_equal(
        own.bend(psi, place, np.zeros((0, 3, 3))), np.zeros((n, n))
    )


@pytest.mark.parametrize("own", ALL, ids=repr)
def test_order_of_rows(own):
    """Rows of a group in another order: the matrix in that order."""
    rng = np.random.default_rng(2)
    place, psi = places(own, 2, rng), rng.uniform(-0.3, 0.3, own.n_psi)
    turn = [2, 0, 1]
    turned = place[:, turn] if own.over_visits else place[:, turn][:, :, turn]
    np.testing.assert_allclose(
        own.matrix(psi, turned), own.matrix(psi, place)[:, turn][:, :, turn], rtol=1e-14
    )


@pytest.mark.parametrize("own", ALL, ids=repr)
def test_arguments_are_left_alone(own):
    rng = np.random.default_rng(3)
    place, psi = places(own, 2, rng), rng.uniform(-0.3, 0.3, own.n_psi)
    score = np.ones((2, 3, 3))
    for array in (place, psi, score):
        array.flags.writeable = False
    own.matrix(psi, place)
    own.tangent(psi, place)
    own.bend(psi, place, score)
    rho = own.natural(psi)
    rho.flags.writeable = False
    own.free(rho)
    assert not np.shares_memory(rho, psi)


@pytest.mark.parametrize("own", ALL, ids=repr)
def test_pickled_and_compared(own):
    own.matrix(np.zeros(own.n_psi), places(own, 1, np.random.default_rng(0)))
    again = pickle.loads(pickle.dumps(own))
    assert again == own
    assert hash(again) == hash(own)
    assert type(own).__name__ in repr(own)


@pytest.mark.parametrize("own", ALL, ids=repr)
def test_names_are_as_many_as_parameters(own):
    assert len(own.names) == own.n_psi == len(set(own.names))


def test_slope_of_tanh():
    x = np.array([-20.0, -1.0, 0.0, 0.5, 30.0])
    np.testing.assert_allclose(correlation.slope_of_tanh(x), np.cosh(x) ** -2, rtol=1e-14)
    assert correlation.slope_of_tanh(np.array([1e4])) == 0


def test_sum_over_visits():
    rng = np.random.default_rng(4)
    place, score = np.array([[0, 2], [2, 1], [3, 0]]), rng.normal(size=(3, 2, 2))
    expected = np.zeros((4, 4))
    for visits, own in zip(place, score, strict=True):
        expected[np.ix_(visits, visits)] += own
    np.testing.assert_allclose(correlation.sum_over_visits(score, place, 4), expected)
    whole = rng.normal(size=(2, 4, 4))
    np.testing.assert_array_equal(
        correlation.at_visits(whole, place)[1, 2], whole[1][np.ix_([3, 0], [3, 0])]
    )


def test_moments_by_lag():
    r = np.array([[1.0, 0.4, 0.3], [0.4, 1.0, np.nan], [0.3, np.nan, 1.0]])
    pairs = np.array([[9, 3, 2], [3, 9, 0], [2, 0, 9]])
    mean, n = correlation.moments_by_lag(r, pairs)
    np.testing.assert_allclose(mean, [1.0, 0.4, 0.3])
    np.testing.assert_array_equal(n, [27, 6, 4])
    mean, n = correlation.moments_by_lag(r, np.zeros((3, 3)))
    np.testing.assert_array_equal([mean, n], np.zeros((2, 3)))
