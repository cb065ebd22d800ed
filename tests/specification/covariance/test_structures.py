"""Closed forms of the structures against their definition for any linear template."""

from __future__ import annotations

import numpy as np
import pytest

from mixedext.specification.covariance.structures import STRUCTURES, Structure, structure


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_derivatives_in_closed_form(name, k):
    rng = np.random.default_rng(k)
    own = structure(name, k)
    lam = own.lam(rng.normal(size=own.n_theta))
    score = rng.normal(size=(k, k))
    score += score.T
    np.testing.assert_allclose(own.jacobian(lam), Structure.jacobian(own, lam), atol=1e-14)
    np.testing.assert_allclose(own.bend(score), Structure.bend(own, score), atol=1e-14)


@pytest.mark.parametrize(("name", "match"), [("ar1", "is not built"), ("x", "is unknown")])
def test_structures_that_there_are_not(name, match):
    with pytest.raises(ValueError, match=f"{match}; use one of 'unstructured'"):
        structure(name, 2)
