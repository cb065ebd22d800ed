"""Factors and inverses of many small covariance matrices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixedext.kernels.covariance import clusters


def covariances(rng, count, s):
    root = rng.standard_normal((count, s, s + 2))
    return root @ root.transpose(0, 2, 1)


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("s", [1, 2, 7, 19])
def test_factors_and_inverses(s, width):
    rng = np.random.default_rng(s)
    v, c = covariances(rng, 5, s), rng.standard_normal((5, s, width))
    before = rng.standard_normal((width, width))
    before += before.T
    cross, work = before.copy(), v.copy()
    log_det = clusters.factor_clusters(work, c, np.empty((s, width)), cross)
    assert_allclose(log_det, np.linalg.slogdet(v)[1].sum(), rtol=1e-11)
    assert_allclose(np.tril(work), np.linalg.cholesky(v), rtol=1e-9, atol=1e-12)
    inverse = np.linalg.inv(v)
    wanted = before + np.einsum("gip,gij,gjq->pq", c, inverse, c)
    assert_allclose(cross, wanted, rtol=1e-8)
    clusters.invert_clusters(work, np.empty((s, s)))
    assert_allclose(work, inverse, rtol=1e-7, atol=1e-9 * np.abs(inverse).max())


@pytest.mark.parametrize("bad", [-1.0, 0.0, np.nan, np.inf])
def test_what_is_not_definite(bad):
    v = covariances(np.random.default_rng(1), 3, 4)
    v[1, 2, 2] = bad
    columns, cross = np.ones((3, 4, 1)), np.zeros((1, 1))
    found = clusters.factor_clusters(v, columns, np.empty((4, 1)), cross)
    assert found == np.inf


@pytest.mark.parametrize("size", [1e-20, 1e20])
def test_log_determinants_of_many(size):
    v = np.tile(size * np.eye(3), (200, 1, 1))
    cross = np.zeros((1, 1))
    found = clusters.factor_clusters(v, np.ones((200, 3, 1)), np.empty((3, 1)), cross)
    assert_allclose(found, 600 * np.log(size), rtol=1e-13)
