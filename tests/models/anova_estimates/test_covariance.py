"""Covariances of moment estimates against traces of dense matrices."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mixedext.models.anova_estimates.estimates import anova_table
from tests.models.anova_estimates.test_estimates import dense_sequence


def nested_tree(rng, depth, top, most, size):
    """Codes of ``depth`` nested factors: random branches and cell sizes, rows shuffled."""
    paths = [()]
    for level in range(depth):
        paths = [
            (*path, j)
            for path in paths
            for j in range(
                top if not level else rng.integers(1, most + 1) + (not sum(path))
            )
        ]
    rows = [p for p in paths for _ in range(rng.integers(1, size + 1) + (not sum(p)))]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    factors = []
    for level in range(depth):
        labels = sorted({row[: level + 1] for row in rows})
        number = {label: i for i, label in enumerate(labels)}
        codes = np.array([number[row[: level + 1]] for row in rows])
        factors.append((f"f{level}", codes, len(labels)))
    return factors


def dense_covariance(y, fixed, factors, variances):
    """K^-1 [2 tr(Q_i V Q_j V) / (df_i df_j)] K^-T."""
    df, _, coefficients, q, z = dense_sequence(y, fixed, factors)
    v = sum(s * zj @ zj.T for s, zj in zip(variances, z, strict=False))
    v = v + variances[-1] * np.eye(len(y))
    at = len(q) - len(z) - 1
    squares = np.array([[2 * np.trace(a @ v @ b @ v) for b in q[at:]] for a in q[at:]])
    solution = np.linalg.inv(coefficients[at:])
    return solution @ (squares / np.outer(df[at:], df[at:])) @ solution.T


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.booleans(), st.booleans())
def test_unbalanced_nested_designs(seed, depth, covariate, term):
    rng = np.random.default_rng(seed)
    factors = nested_tree(rng, depth, 4, 3 if depth < 3 else 2, 3)
    n = len(factors[0][1])
    fixed = [("Intercept", np.ones((n, 1)))]
    if covariate:
        fixed.append(("x", rng.normal(size=(n, 1)) + 5))
    if term:
        fixed.append(("t", np.eye(2)[factors[0][1] % 2][:, 1:]))
    y = rng.normal(size=n) + 3 * rng.normal(size=4)[factors[0][1]]
    table = anova_table(y, fixed, factors)
    variances = rng.uniform(0.2, 2, size=depth + 1)
    dense = dense_covariance(y, fixed, factors, variances)
    size = np.sqrt(dense.diagonal())
    covariance = table.covariance(variances)
    assert_allclose(covariance / np.outer(size, size), dense / np.outer(size, size),
                    atol=1e-9)  # fmt: skip
    at_estimates = dense_covariance(y, fixed, factors, table.estimates)
    if (at_estimates.diagonal() > 0).all():
        assert_allclose(np.sqrt(table.covariance().diagonal()),
                        np.sqrt(at_estimates.diagonal()), rtol=1e-7)  # fmt: skip


def test_crossed_factors_with_proportional_frequencies():
    # orthogonal, not balanced: cells (i, j) have r_i c_j rows
    rows, columns = np.array([1, 2, 3]), np.array([1, 2, 1, 2])
    counts = np.outer(rows, columns).ravel()
    first = np.repeat(np.repeat(np.arange(3), 4), counts)
    second = np.repeat(np.tile(np.arange(4), 3), counts)
    factors = [("a", first, 3), ("b", second, 4)]
    y = np.random.default_rng(0).normal(size=counts.sum())
    fixed = [("Intercept", np.ones((len(y), 1)))]
    table = anova_table(y, fixed, factors)
    assert not table.balanced
    variances = np.array([0.5, 2.0, 1.5])
    dense = dense_covariance(y, fixed, factors, variances)
    assert_allclose(table.covariance(variances), dense, rtol=1e-10, atol=1e-12)


def test_negative_variances_of_estimates_are_not_given():
    # a large negative estimate makes V indefinite; zero then takes its place
    n = 12
    outer = np.repeat(np.arange(3), 4)
    codes = np.array([0, 0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5])
    fixed = [("Intercept", np.ones((n, 1)))]
    found = False
    for seed in range(60):
        y = np.random.default_rng(seed).normal(size=n)
        y -= np.array([y[outer == g].mean() for g in range(3)])[outer]
        table = anova_table(y, fixed, [("a", outer, 3), ("b", codes, 6)])
        plain = table.covariance(table.estimates).diagonal()
        if (plain < 0).any():
            found = True
            truncated = table.covariance(np.maximum(table.estimates, 0.0))
            assert_allclose(table.covariance(), truncated, rtol=0)
        assert (table.covariance().diagonal() >= 0).all()
    assert found


def test_few_coarse_and_many_fine_levels():
    # blocks of the coarse levels would have 4e9 entries
    rng = np.random.default_rng(2)
    inner = np.sort(rng.integers(0, 50_000, size=200_000))
    inner = np.unique(inner, return_inverse=True)[1]
    outer = inner % 3
    factors = [("a", outer, 3), ("b", inner, inner.max() + 1)]
    y = rng.normal(size=len(inner))
    fixed = [("Intercept", np.ones((len(y), 1))), ("x", rng.normal(size=(len(y), 1)))]
    start = time.perf_counter()
    assert (anova_table(y, fixed, factors).covariance().diagonal() > 0).all()
    assert time.perf_counter() - start < 5
