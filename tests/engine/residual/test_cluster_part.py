"""Dense clusters by the kernel and by LAPACK."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixedext.engine.residual import cluster_part
from mixedext.engine.residual.cluster_part import ClusterPart
from mixedext.exceptions import DevianceError
from mixedext.models.mixedlm.residual_fitting import residual_rows
from tests.engine.residual.test_marginal import some_point
from tests.helpers.dense_relative import DenseRelative
from tests.helpers.residual_designs import random_design


@pytest.mark.parametrize("random", ["none", "slopes", "crossed"])
@pytest.mark.parametrize("kind", ["ar1h", "gau+nugget", "arma"])
def test_large_and_small_clusters_say_the_same(kind, random, monkeypatch):
    model = random_design(kind, 4, random, weighted=True)
    _, x = some_point(model, 4)
    found = []
    for large in (0, 1000):
        monkeypatch.setattr(cluster_part, "LARGE_CLUSTER", large)
        rows = residual_rows(model)
        vars(rows)["has_patterns"] = False
        deviance = rows.deviance(True)
        assert all(isinstance(part, ClusterPart) for part in deviance.parts)
        found.append([deviance.evaluate(x).value, *deviance.derivatives()])
        x_bad = x.copy()
        x_bad[-1] = np.nan
        assert deviance.evaluate(x_bad).value == np.inf
    for one, two in zip(*found, strict=True):
        assert_allclose(one, two, rtol=1e-9, atol=1e-10 * np.abs(two).max())


@pytest.mark.parametrize("large", [0, 1000])
def test_what_is_not_definite(large, monkeypatch):
    monkeypatch.setattr(cluster_part, "LARGE_CLUSTER", large)
    model = random_design("toep2", 4, "finer")
    _, x = some_point(model, 4)
    deviance = residual_rows(model).deviance(True)
    x[-1] = 1.2
    assert deviance.evaluate(x).value == np.inf


@pytest.mark.parametrize("large", [0, 1000])
def test_random_effects_do_not_make_up_for_residuals_that_are_not_definite(
    large, monkeypatch
):
    monkeypatch.setattr(cluster_part, "LARGE_CLUSTER", large)
    model = random_design("toep2", 4, "same")
    rows, x = some_point(model, 4)
    deviance, dense = rows.deviance(True), DenseRelative(rows, True)
    x[:] = 1.5, -0.8
    assert np.linalg.eigvalsh(dense.covariance(x))[0] > 0.5
    assert np.linalg.eigvalsh(dense.lambda_(x[1:]))[0] < -0.2
    assert deviance.evaluate(x).value == np.inf
    with pytest.raises(DevianceError, match="run to variances of zero"):
        _ = deviance.fixed
    x[-1] = -0.4
    assert np.isfinite(deviance.evaluate(x).value)
    assert deviance.fixed.shape == (5, 5)
