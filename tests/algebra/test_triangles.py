"""Triangles by one compiled call, against their definitions in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mixedext.kernels.factor.triangles import clipped_root, lower_root

from mixedext.algebra.roots import clipped_roots
from mixedext.algebra.triangles import basis_of_squares

SIZES = st.integers(1, 6)
SEEDS = st.integers(0, 10_000)


@given(k=SIZES, rest=st.integers(0, 2), seed=SEEDS, scale=st.sampled_from([1e-6, 1, 1e8]))
def test_basis_of_squares(k, rest, seed, scale):
    """Columns times ``right`` are orthogonal; ``r`` leads back, with the shift undone."""
    rng = np.random.default_rng(seed)
    n, m, count = 40, k + rest, 40.0
    columns = rng.normal(size=(n, m)) * scale ** rng.uniform(size=m)
    shift = np.r_[0.0, rng.normal(size=m - 1)]
    share, r, right = basis_of_squares(columns.T @ columns, k, 1e8, shift, count)
    new = columns @ right
    np.testing.assert_allclose(new[:, :k].T @ new[:, :k], count * np.eye(k), atol=1e-9)
    size = np.linalg.norm(columns, axis=0) * np.sqrt(n)
    assert (np.abs(new[:, :k].T @ new[:, k:]) < 1e-11 * size[k:]).all()
    assert not np.tril(r, -1).any()
    assert not np.tril(right, -1).any()
    np.testing.assert_array_equal(right[k:, k:], np.eye(rest))
    before = columns + columns[:, :1] * shift
    unit = new.copy()
    unit[:, k:] /= np.linalg.norm(new[:, k:], axis=0) / np.sqrt(count)
    for j in range(k):
        np.testing.assert_allclose(
            unit @ r[:, j], before[:, j], atol=1e-11 * np.abs(before[:, j]).max()
        )
    length = np.linalg.norm(r[:, :k], axis=0)
    assert share == pytest.approx((np.diag(r)[:k] / length).min(), rel=1e-12)


@pytest.mark.parametrize("kind", ["zero", "equal", "close"])
def test_squares_that_do_not_tell(kind):
    rng = np.random.default_rng(1)
    columns = rng.normal(size=(30, 3))
    columns[:, 1] = {
        "zero": 0.0,
        "equal": columns[:, 0],
        "close": columns[:, 0] + 1e-6 * columns[:, 1],
    }[kind]
    share, _, _ = basis_of_squares(columns.T @ columns, 3, 1e5)
    assert share == 0.0


def test_no_columns():
    share, r, right = basis_of_squares(np.array([[4.0]]), 0, 1e5)
    assert (share, r.item(), right.item()) == (1.0, 2.0, 1.0)


@given(k=SIZES, rank=st.integers(0, 6), seed=SEEDS)
def test_lower_root(k, rank, seed):
    """Of any rank; the input may lie in any order and stays as it is."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(k, min(k, rank))) @ rng.normal(size=(min(k, rank), k))
    for given_root in (root, np.asfortranarray(root)):
        kept, out = given_root.copy(), np.empty((k, k))
        lower_root(given_root, out)
        np.testing.assert_array_equal(given_root, kept)
        size = max(np.abs(root).max(), 1e-300)
        np.testing.assert_allclose(out @ out.T, root @ root.T, atol=1e-13 * k * size**2)
        assert not np.triu(out, 1).any()
        assert (out.diagonal() >= 0).all()


@given(k=SIZES, seed=SEEDS)
def test_clipped_root(k, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(k, k)) * 10
    matrix += matrix.T
    out = np.empty((k, k))
    clipped_root(matrix, 0.01, 15.0, out)
    value, vector = np.linalg.eigh(matrix)
    value = value.clip(max(0.01, 0.01 * value[-1]), 15.0)
    want = np.linalg.cholesky((vector * value) @ vector.T)
    np.testing.assert_allclose(out, want, atol=1e-10)
    stack = np.array([matrix, np.eye(k)])
    np.testing.assert_allclose(clipped_roots(stack, 0.01, 15.0)[0], want, atol=1e-10)
