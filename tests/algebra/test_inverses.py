"""Inverses in any units, definite or not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixedext.algebra.inverses import (
    generalized_inverse,
    inverse_if_definite,
    inverses_beside_identity,
    inverses_of_definite,
    solution_if_regular,
)

UNITS = np.array([1e-8, 1.0, 1e6])


def information(*values):
    """With these eigenvalues before the parameters' units."""
    vector = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    return (vector * np.array(values)) @ vector.T * np.outer(UNITS, UNITS)


def test_units_do_not_matter():
    want = information(1.0, 1 / 2, 1 / 3) / np.outer(UNITS, UNITS) ** 2
    for inverse in (
        inverse_if_definite(information(1, 2, 3)),
        generalized_inverse(information(1, 2, 3))[0],
    ):
        assert_allclose(inverse, want, rtol=1e-12)


@pytest.mark.parametrize("least", [0.0, 1e-14, -1.0])
def test_what_is_not_definite(least):
    singular = information(least, 2, 3)
    assert inverse_if_definite(singular) is None
    inverse, rank = generalized_inverse(singular)
    assert rank == 2
    if least == 0.0:
        assert_allclose(inverse @ singular @ inverse, inverse, rtol=1e-7)


def test_no_information_about_one():
    empty = np.diag([4.0, 0.0, 1.0])
    assert inverse_if_definite(empty) is None
    assert_allclose(generalized_inverse(empty)[0], np.diag([0.25, 0.0, 1.0]))
    assert inverse_if_definite(np.diag([4.0, np.nan])) is None


def test_no_parameters():
    assert inverse_if_definite(np.zeros((0, 0))).shape == (0, 0)


def test_stacks():
    """Each matrix by itself."""
    matrices = [information(1, 2, 3), information(0, 2, 3), np.diag([4.0, 0.0, 1.0])]
    inverses, ranks = generalized_inverse(np.array(matrices))
    np.testing.assert_array_equal(ranks, [3, 2, 2])
    for matrix, inverse in zip(matrices, inverses, strict=True):
        assert_allclose(inverse, generalized_inverse(matrix)[0], rtol=1e-12)


@pytest.mark.parametrize(("count", "k"), [(3, 4), (1, 4), (1, 210), (2, 210)])
def test_inverses_of_definite(count, k):
    root = np.random.default_rng(2).normal(size=(count, k, k))
    stack = root @ root.transpose(0, 2, 1) + np.eye(k)
    found = inverses_of_definite(stack)
    assert_allclose(found @ stack, np.broadcast_to(np.eye(k), stack.shape), atol=1e-10)
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1))


def test_generalized_inverses_of_what_is_not_finite_are_unknown():
    stack = np.array([[[2.0, 0.0], [0.0, 4.0]], [[np.nan, 0.0], [0.0, np.inf]]])
    inverse, rank = generalized_inverse(stack)
    np.testing.assert_allclose(inverse[0], [[0.5, 0.0], [0.0, 0.25]])
    assert np.isnan(inverse[1]).all()
    assert rank.tolist() == [2, 0]
    alone, none = generalized_inverse(stack[1])
    assert np.isnan(alone).all()
    assert none == 0


@pytest.mark.parametrize("size", [1.0, 1e4, 1e12, 1e18, 1e200])
def test_inverses_beside_identity(size):
    """Of a column twice: I - A / (1 + 2 a); the sum is singular beyond 1e16."""
    stack = size * np.ones((3, 2, 2))
    half = 1.0 / (2.0 + 1.0 / size)
    whole = [[1.0 - half, -half], [-half, 1.0 - half]]
    found = inverses_beside_identity(stack)
    assert_allclose(found, np.broadcast_to(whole, (3, 2, 2)), atol=1e-11)
    assert found.shape == (3, 2, 2)


def test_solutions_of_what_is_regular():
    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.eye(2)
    for kind in ("gen", "pos"):
        np.testing.assert_allclose(a @ solution_if_regular(a, b, kind), b, atol=1e-15)
        assert solution_if_regular(np.zeros((2, 2)), b, kind) is None
        near = np.array([[1.0, 1.0], [1.0, 1.0 + 2.0**-52]])
        assert solution_if_regular(near, b, kind) is None
