"""The quadrature of x^-1/2, and large clusters in which it is needed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from mixedext.inference.fixed_effects.matrix_root import inverse_root_nodes, large_cluster


@pytest.mark.parametrize("condition", [1.5, 1e2, 1e4, 1e8, 1e12])
@pytest.mark.parametrize("low", [1e-6, 1.0, 1e5])
def test_inverse_roots(low, condition):
    nodes, weights = inverse_root_nodes(low, low * condition)
    x = np.geomspace(low, low * condition, 300)
    got = (weights / (x[:, None] + nodes**2)).sum(axis=1)
    np.testing.assert_allclose(got * np.sqrt(x), 1.0, rtol=1e-12)
    assert len(nodes) < 60


def test_against_a_dense_root():
    rng = np.random.default_rng(0)
    n, q = 60, 12
    z = rng.standard_normal((n, q)) * (rng.random((n, q)) < 0.2)
    w = rng.uniform(0.2, 5, n)
    v = np.diag(1 / w) + z @ z.T
    x = rng.standard_normal((n, 3))
    share = np.linalg.eigvalsh(x.T @ np.linalg.solve(v, x))[-1]
    x *= np.sqrt(0.7 / share)
    e = rng.standard_normal(n)
    scores, spread, cross = large_cluster(sparse.csr_matrix(z), w, x, e, 1e-6)
    lower = np.linalg.cholesky(v)
    value, vector = np.linalg.eigh(lower.T @ (v - x @ x.T) @ lower)
    adjust = lower @ (vector / np.sqrt(value)) @ vector.T @ lower.T
    columns = adjust @ np.linalg.solve(v, x)
    np.testing.assert_allclose(adjust @ (v - x @ x.T) @ adjust, v, atol=1e-10)
    np.testing.assert_allclose(scores, columns.T @ v @ (w * e), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(spread, columns.T @ v @ columns, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(cross, x.T @ columns, rtol=1e-10, atol=1e-12)
    assert large_cluster(sparse.csr_matrix(z), w, x, e, 0.5) is None
