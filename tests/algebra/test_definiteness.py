"""Definite, singular, indefinite: the same in any units."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixedext.algebra.definiteness import (
    is_singular,
    nearest_semidefinite,
    smallest_eigenvalue,
    unit_diagonal,
)

UNITS = np.array([1e-8, 1.0, 1e6])
CORRELATION = np.array([[1.0, 0.5, 0.2], [0.5, 1.0, -0.3], [0.2, -0.3, 1.0]])


def test_units_do_not_matter():
    matrix = CORRELATION * np.outer(UNITS, UNITS)
    scaled, size = unit_diagonal(matrix)
    assert_allclose(scaled, CORRELATION, rtol=1e-15)
    assert_allclose(size, UNITS, rtol=1e-15)
    want = np.linalg.eigvalsh(CORRELATION)[0]
    assert smallest_eigenvalue(matrix) == pytest.approx(want, rel=1e-13)
    both = smallest_eigenvalue(np.array([matrix, CORRELATION]))
    assert_allclose(both, want, rtol=1e-13)


def test_zero_and_negative_diagonals():
    scaled, size = unit_diagonal(np.diag([4.0, 0.0, -9.0]))
    np.testing.assert_array_equal(scaled, np.diag([1.0, 0.0, -1.0]))
    np.testing.assert_array_equal(size, [2.0, 1.0, 3.0])


@pytest.mark.parametrize("units", [np.ones(3), UNITS])
def test_singular(units):
    both = np.outer(units, units)
    assert not is_singular(CORRELATION * both)
    assert is_singular(np.diag([1.0, 0.0, 1.0]) * both)
    assert is_singular(np.ones((3, 3)) * both)
    assert is_singular((np.ones((3, 3)) + 1e-8 * np.eye(3)) * both)
    assert not is_singular((np.ones((3, 3)) + 1e-4 * np.eye(3)) * both)


def test_nearest_semidefinite():
    same, unchanged = nearest_semidefinite(CORRELATION)
    assert unchanged
    assert same is CORRELATION
    rounded = np.ones((2, 2)) - 1e-16 * np.eye(2)
    assert nearest_semidefinite(rounded)[1]
    for unit in (1e-15, 1e15):  # what is rounding is a share
        assert nearest_semidefinite(unit * np.diag([1.0, -1e-13]))[1]
        assert not nearest_semidefinite(unit * np.diag([1.0, -1e-11]))[1]
    nearest, unchanged = nearest_semidefinite(np.diag([2.0, -1.0]))
    assert not unchanged
    assert_allclose(nearest, np.diag([2.0, 0.0]), atol=1e-15)
    assert nearest_semidefinite(np.zeros((0, 0)))[1]
