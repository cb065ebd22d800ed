"""Inverses of information matrices in any units, definite or not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixedext.engine.information.inverse import generalized_inverse, inverse_if_definite

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
    inverse, complete = generalized_inverse(singular)
    assert not complete
    if least == 0.0:
        assert_allclose(inverse @ singular @ inverse, inverse, rtol=1e-7)


def test_no_information_about_one():
    empty = np.diag([4.0, 0.0, 1.0])
    assert inverse_if_definite(empty) is None
    assert_allclose(generalized_inverse(empty)[0], np.diag([0.25, 0.0, 1.0]))


def test_no_parameters():
    assert inverse_if_definite(np.zeros((0, 0))).shape == (0, 0)
