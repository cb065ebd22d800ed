"""Conditional covariances by group against D - D Z'V^-1 Z D of all rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, sparse

from mixedext.algebra import inverses
from mixedext.inference.random_effects import group_effects as module
from mixedext.inference.random_effects.group_effects import (
    conditional_covariances,
    group_grams,
)


@pytest.fixture(params=[False, True], ids=["stacked", "one by one"], autouse=True)
def one_by_one(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(module, "_BATCH", 1)
        monkeypatch.setattr(inverses, "LARGE", 1)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [0, 2])
def test_against_dense_algebra(k, weighted):
    rng = np.random.default_rng(k)
    sizes = np.array([3, 5, 2, 3, 5]) if k else np.array([3, 0, 2, 3, 1])
    rows = np.array([4, 6, 3, 2, 5])
    blocks = [rng.normal(size=(n, q)) for n, q in zip(rows, sizes, strict=True)]
    z = linalg.block_diag(*blocks).reshape(rows.sum(), sizes.sum())
    order = rng.permutation(len(z))
    weights = rng.uniform(0.2, 3.0, len(z)) if weighted else None
    lam = np.array([[1.2, 0.0], [-0.7, 0.0]])[:k, :k]  # singular
    deviations = rng.uniform(0, 1.5, sizes.sum()) * (rng.random(sizes.sum()) > 0.2)
    scale = 1.7
    grams = group_grams(sparse.csr_array(z[order]), sizes, weights)
    found = conditional_covariances(grams, sizes, lam, deviations, scale)
    w = np.ones(len(z)) if weights is None else weights[np.argsort(order)]
    ends = np.cumsum(sizes)
    row_ends = np.cumsum(rows)
    for number, (block, got) in enumerate(zip(blocks, found, strict=True)):
        own = slice(ends[number] - sizes[number], ends[number])
        d = np.diag(deviations[own] ** 2)
        d[:k, :k] = lam @ lam.T
        d *= scale
        noise = scale / w[row_ends[number] - rows[number] : row_ends[number]]
        v = np.diag(noise) + block @ d @ block.T
        want = d - d @ block.T @ np.linalg.solve(v, block @ d)
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-13)
