"""Compound symmetry of rows of which some are the same."""

from __future__ import annotations

import numpy as np

from mixedext.specification.covariance.compound_symmetry import CompoundSymmetry
from mixedext.specification.covariance.same_visits import SymmetryByVisit


def test_rows_at_one_visit_are_one():
    plain, own = CompoundSymmetry(4), SymmetryByVisit(4)
    psi = plain.free([0.3])
    apart = np.array([[0, 2, 1], [3, 1, 0]])
    for name in ("matrix", "tangent"):
        want = getattr(plain, name)(psi, apart)
        np.testing.assert_allclose(getattr(own, name)(psi, apart), want, rtol=1e-14)
    twice = np.array([[0, 2, 0]])
    np.testing.assert_allclose(
        own.matrix(psi, twice)[0], [[1, 0.3, 1], [0.3, 1, 0.3], [1, 0.3, 1]]
    )
    assert own.tangent(psi, twice)[0, 0, 0, 2] == 0.0
