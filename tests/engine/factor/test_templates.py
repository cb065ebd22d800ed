"""Bases of terms side by side."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mixedext.engine.factor.templates import (
    covariance_bases,
    covariance_template,
    factor_bases,
    squared,
    template,
)
from mixedext.specification.covariance.registry import structure


@pytest.mark.parametrize("which", [template, covariance_template])
def test_elements_of_terms_side_by_side(which):
    structures = (structure("unstructured", 2), structure("diagonal", 3))
    index, value = which(structures)
    bases = [s.lam_basis if which is template else s.covariance_basis for s in structures]
    whole = np.zeros((6, 5, 5))
    whole[index[0], index[1], index[2]] = value
    np.testing.assert_array_equal(whole[:3, :2, :2], bases[0])
    np.testing.assert_array_equal(whole[3:, 2:, 2:], bases[1])
    assert np.count_nonzero(whole) == len(value) == sum(map(np.count_nonzero, bases))


def test_covariance_bases_side_by_side():
    structures = (structure("unstructured", 2), structure("diagonal", 3))
    whole = covariance_bases(structures)
    assert whole.shape == (6, 5, 5)
    np.testing.assert_array_equal(whole[:3, :2, :2], structures[0].covariance_basis)
    np.testing.assert_array_equal(whole[3:, 2:, 2:], structures[1].covariance_basis)
    assert np.count_nonzero(whole) == len(covariance_template(structures)[1])


def test_bases_by_factor():
    structures = [structure("unstructured", 2), structure("identity", 3)]
    structures.append(structure("diagonal", 2))
    layouts = [
        SimpleNamespace(terms=(2, 0), slices=(slice(0, 2), slice(2, 4)), width=4),
        SimpleNamespace(terms=(1,), slices=(slice(0, 3),), width=3),
        SimpleNamespace(terms=(), slices=(), width=1),
    ]
    (numbers, first), (others, second), (none, empty) = factor_bases(structures, layouts)
    np.testing.assert_array_equal(numbers, [4, 5, 0, 1, 2])
    np.testing.assert_array_equal(first[:2, :2, :2], structures[2].covariance_basis)
    np.testing.assert_array_equal(first[2:, 2:, 2:], structures[0].covariance_basis)
    assert np.count_nonzero(first) == 2 + 4
    np.testing.assert_array_equal(others, [3])
    np.testing.assert_array_equal(second, np.eye(3)[None])
    assert (none.shape, empty.shape) == ((0,), (0, 1, 1))


def test_no_terms():
    assert covariance_bases(()).shape == (0, 0, 0)
    assert template(())[0].shape == (3, 0)


def test_which_parameters_enter_by_their_squares():
    structures = [structure("unstructured", k) for k in (2, 1)] + [structure("diagonal", 2)]
    np.testing.assert_array_equal(squared(structures), [False] * 3 + [True] * 3)
