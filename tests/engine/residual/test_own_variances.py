"""Variances of residuals by themselves against the whole matrix, and differences."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.joint_residual import STRUCTURES, dense_case, dense_lambda, differences

from mixedext.engine.residual import own_variances as module
from mixedext.engine.residual.own_variances import own_variances
from mixedext.specification.covariance.residual_recipe import own_places


@pytest.mark.parametrize("structure", STRUCTURES)
def test_variances(structure, monkeypatch):
    monkeypatch.setattr(module, "MOST_NUMBERS", 30)
    case = dense_case(np.random.default_rng(4), structure, "none")
    bound, psi = case.fitted.fit.residual.bound, case.psi
    places = own_places(bound, case.fitted.model.residual_spec)
    found = own_variances(bound, psi, places)
    want = dense_lambda(bound, psi, case.data).diagonal()
    np.testing.assert_allclose(found.whole, want, rtol=1e-12)
    share = 1.0
    if getattr(bound.spec, "has_nugget", False):
        share = 1 - bound.correlation.natural(psi)[-1]
    np.testing.assert_allclose(found.shared, share * want, rtol=1e-12)
    if len(psi):
        for name in ("whole", "shared"):
            slope = differences(
                lambda p, name=name: getattr(own_variances(bound, p, places), name), psi
            )
            own = getattr(found, f"{name}_slope")
            np.testing.assert_allclose(own.T, slope, rtol=1e-7, atol=1e-9)
