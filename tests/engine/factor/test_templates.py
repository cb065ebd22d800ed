"""Bases of terms side by side."""

from __future__ import annotations

import numpy as np
import pytest

from mixedext.engine.factor.templates import (
    covariance_bases,
    covariance_template,
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


def test_which_parameters_enter_by_their_squares():
    structures = [structure("unstructured", k) for k in (2, 1)] + [structure("diagonal", 2)]
    np.testing.assert_array_equal(squared(structures), [False] * 3 + [True] * 3)
