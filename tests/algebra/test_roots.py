"""Roots: what they are roots of, and that rounding and turns do not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mixedext.algebra.roots import (
    cholesky_if_definite,
    leading_signs,
    nearest_root,
    pivoted_root,
    principal_root,
    semidefinite_root,
)

SIZES = st.integers(1, 6)
SEEDS = st.integers(0, 10_000)
UNITS = st.sampled_from([0.0, 1.0, 6.0])


def covariance(k, rank, seed, units=0.0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(k, min(k, rank)))
    root *= 10 ** (units * rng.uniform(-1, 1, size=k))[:, None]
    return root @ root.T


@given(k=SIZES, rank=st.integers(0, 6), seed=SEEDS, units=UNITS)
def test_semidefinite_root(k, rank, seed, units):
    """Of any rank and in any units, and the same if the matrix is rounded again."""
    matrix = covariance(k, rank, seed, units)
    size = np.sqrt(np.diag(matrix))
    root = semidefinite_root(matrix)
    assert_allclose(root @ root.T, matrix, rtol=0, atol=1e-13 * np.outer(size, size).max())
    unit = np.where(size > 0, size, 1.0)
    scaled = (root @ root.T - matrix) / np.outer(unit, unit)
    assert np.abs(scaled).max() < 1e-13
    assert not np.triu(root, 1).any()
    assert (np.diag(root) >= 0).all()
    own = root[:rank, :rank] / unit[:rank, None]
    if np.diag(own).min(initial=1.0) > 0.1:  # that rounding cannot grow
        assert np.count_nonzero(np.diag(root)) == min(k, rank)
        noise = np.random.default_rng(seed).normal(size=(k, k))
        again = semidefinite_root(matrix * (1 + 1e-16 * (noise + noise.T)))
        assert_allclose(again / unit[:, None], root / unit[:, None], atol=1e-13)


@given(k=SIZES, seed=SEEDS, units=UNITS)
def test_definite_is_cholesky(k, seed, units):
    matrix = covariance(k, k, seed, units)
    lower = cholesky_if_definite(matrix)
    if lower is not None:
        np.testing.assert_array_equal(lower, np.linalg.cholesky(matrix))
        np.testing.assert_array_equal(semidefinite_root(matrix), lower)


@pytest.mark.parametrize("correlation", [1.0, -1.0])
@pytest.mark.parametrize("units", [1.0, 1e-9, 3e7])
def test_correlations_of_one(correlation, units):
    """Whatever a factorization that ends by rounding says."""
    sd = np.array([units, 0.3, units / 7])
    signs = np.array([1.0, correlation, 1.0])
    matrix = np.outer(sd * signs, sd * signs)
    assert cholesky_if_definite(matrix) is None
    root = semidefinite_root(matrix)
    assert_allclose(root[:, 0], sd * signs, rtol=1e-15)
    assert not root[:, 1:].any()
    assert cholesky_if_definite(np.where(np.eye(3), 1 + 1e-13, 1.0) * matrix) is not None


def test_zero_variances_keep_their_place():
    root = semidefinite_root(np.diag([0.0, 4.0, 0.0]))
    np.testing.assert_array_equal(root, np.diag([0.0, 2.0, 0.0]))


def test_a_tiny_pivot_does_not_cost_a_covariance():
    """A standard deviation of 1e-8 that another one shares is no rounding."""
    true = np.array([[1.0, 0.0, 0.0], [1.0, 1e-8, 0.0], [0.0, 1.0, 0.5]])
    matrix = true @ true.T
    root = semidefinite_root(matrix)
    assert_allclose(root @ root.T, matrix, atol=1e-15)


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([1.0, -1e-3]),
        np.array([[1.0, 1.1], [1.1, 1.0]]),
        np.array([[0.0, 1e-3], [1e-3, 1.0]]),
        np.diag([1.0, np.nan]),
        np.diag([1.0, np.inf]),
    ],
)
def test_indefinite(matrix):
    assert semidefinite_root(matrix) is None
    assert cholesky_if_definite(matrix) is None


def test_no_rows():
    assert semidefinite_root(np.zeros((0, 0))).shape == (0, 0)
    root, pivots = pivoted_root(np.zeros((0, 0)), 1e-9)
    assert root.shape == (0, 0)
    assert len(pivots) == 0


def test_nearest_root():
    """Of a semidefinite matrix its root; else of the nearest one in correlations."""
    matrix = covariance(3, 2, 1)
    np.testing.assert_array_equal(nearest_root(matrix), semidefinite_root(matrix))
    size = np.array([1e-4, 1.0, 1e5])
    correlation = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    value, vector = np.linalg.eigh(correlation)
    want = (vector * value.clip(0)) @ vector.T
    root = nearest_root(correlation * np.outer(size, size)) / size[:, None]
    assert_allclose(root @ root.T, want, atol=1e-14)


@given(k=SIZES, rank=st.integers(0, 6), seed=SEEDS)
def test_pivoted_root(k, rank, seed):
    matrix = covariance(k, rank, seed)
    root, pivots = pivoted_root(matrix, 1e-9)
    size = np.diag(matrix).max(initial=0.0)
    assert_allclose(root @ root.T, matrix, atol=1e-8 + 1e-13 * size)
    assert root.shape == (k, len(pivots))
    assert len(pivots) <= min(k, rank)
    assert not np.triu(root[pivots], 1).any()
    assert (np.diag(root[pivots]) > 0).all()


@pytest.mark.parametrize("k", [2, 5, 9])
def test_equal_eigenvalues_do_not_turn_a_root(k):
    """Of pivots that are alike the first is taken, also where rounding differs."""
    matrix = np.full((k, k), 0.5) + 0.5 * np.eye(k)
    want = np.linalg.cholesky(matrix)
    for seed in range(20):
        noise = 1e-15 * np.random.default_rng(seed).normal(size=(k, k))
        root, pivots = pivoted_root(matrix + noise + noise.T, 1e-9)
        np.testing.assert_array_equal(pivots, np.arange(k))
        assert_allclose(root, want, atol=1e-13)


def test_leading_signs():
    columns = np.array([[1.0, -2.0, -1.0, 0.0], [0.5, 1.0, 1.0 + 1e-9, 0.0]])
    np.testing.assert_array_equal(leading_signs(columns), [1, -1, -1, 1])
    assert leading_signs(np.zeros((0, 2))).shape == (2,)


@given(k=SIZES, seed=SEEDS)
def test_principal_root(k, seed):
    lam = np.tril(np.random.default_rng(seed).normal(size=(k, k)))
    vector, size = principal_root(lam)
    assert_allclose((vector * size**2) @ vector.T, lam @ lam.T, atol=1e-13 * k**2)
    assert_allclose(vector.T @ vector, np.eye(k), atol=1e-13)
    assert (np.diff(size) <= 0).all()
    assert (size >= 0).all()
