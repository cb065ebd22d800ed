"""Analyses of variance against dense projections."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mixedext.models.anova_estimates.estimates import anova_table, f_test


def projection(columns):
    """Dense projection onto the columns."""
    u, s, _ = np.linalg.svd(columns, full_matrices=False)
    u = u[:, s > 1e-9 * s[0]]
    return u @ u.T


def dense_sequence(y, fixed, factors):
    """df, sums of squares, coefficients and projections of the sequential analysis."""
    columns, before = np.empty((len(y), 0)), np.zeros((len(y), len(y)))
    z = [np.eye(n)[codes] for _, codes, n in factors]
    q = []
    for part in [c for _, c in fixed] + z:
        columns = np.hstack([columns, part])
        after = projection(columns)
        q.append(after - before)
        before = after
    q.append(np.eye(len(y)) - before)
    q = q[1:]  # the intercept
    df = np.array([np.trace(m) for m in q])
    squares = np.array([y @ m @ y for m in q])
    traces = np.array([[np.trace(m @ zj @ zj.T) for zj in z] + [np.trace(m)] for m in q])
    return df, squares, traces / df[:, None], q, z


def nested_design(rng, a, b, n, covariate=True, term=True):
    """An unbalanced nested design with fixed effects, rows shuffled."""
    outer, inner = [], []
    for i in range(a):
        for j in range(rng.integers(2, b + 1)):
            size = rng.integers(1, n + 1) + (j == 0)
            outer += [i] * size
            inner += [max(inner, default=-1) + 1] * size
    order = rng.permutation(len(outer))
    outer, inner = np.array(outer)[order], np.array(inner)[order]
    fixed = [("Intercept", np.ones((len(outer), 1)))]
    if covariate:
        fixed.append(("x", rng.normal(size=(len(outer), 1)) + 5))
    if term:  # of levels of the outer factor, so that this is nested in it
        fixed.append(("t", np.eye(2)[outer % 2][:, 1:]))
    factors = [("a", outer, a), ("b", inner, inner.max() + 1)]
    y = rng.normal(size=a)[outer] + rng.normal(size=len(outer)) + 10
    return y, fixed, factors


def compare(table, dense):
    df, squares, coefficients, *_ = dense
    assert_allclose(table.df, df, atol=1e-8)
    assert_allclose(table.sum_sq, squares, rtol=1e-9, atol=1e-10)
    assert_allclose(table.coefficients, coefficients, rtol=1e-8, atol=1e-9)
    at = table.n_fixed
    estimates = np.linalg.solve(coefficients[at:], (squares / df)[at:])
    assert_allclose(table.estimates, estimates, rtol=1e-7, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 6), st.booleans(), st.booleans())
def test_unbalanced_nested_designs(seed, a, covariate, term):
    rng = np.random.default_rng(seed)
    y, fixed, factors = nested_design(rng, a, 4, 3, covariate, term)
    table = anova_table(y, fixed, factors[::-1])  # sorted by nesting, not as given
    compare(table, dense_sequence(y, fixed, factors))
    assert table.sources[table.n_fixed :] == ["a", "b", "residual"]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(2, 4), st.integers(1, 3))
def test_balanced_crossed_designs(seed, a, b, n):
    rng = np.random.default_rng(seed)
    first, second = (m.ravel() for m in np.indices((a, b, n))[:2])
    factors = [("a", first, a), ("b", second, b)]
    if n > 1:
        factors.insert(0, ("a:b", first * b + second, a * b))
    y = rng.normal(size=a * b * n)
    fixed = [("Intercept", np.ones((a * b * n, 1)))]
    table = anova_table(y, fixed, factors)
    in_order = sorted(factors, key=lambda f: ":" in f[0])
    compare(table, dense_sequence(y, fixed, in_order))
    assert table.balanced


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_distribution_against_dense_matrices(seed, balanced):
    rng = np.random.default_rng(seed)
    if balanced:
        outer = np.repeat(np.arange(4), 6)
        inner = np.repeat(np.arange(12), 2)
        fixed = [("Intercept", np.ones((24, 1))), ("t", np.eye(2)[outer % 2][:, 1:])]
        factors = [("a", outer, 4), ("b", inner, 12)]
        y = rng.normal(size=24)
    else:
        y, fixed, factors = nested_design(rng, 4, 3, 3)
    table = anova_table(y, fixed, factors)
    *_, coefficients, q, z = dense_sequence(y, fixed, factors)
    for k, qk in enumerate(q):
        for j, zj in enumerate(z):
            between = qk @ zj @ zj.T @ qk
            scaled = np.allclose(between, coefficients[k, j] * qk, atol=1e-7)
            assert table.scaled[k, j] == scaled
            for i, qi in enumerate(q):
                if i != k:
                    independent = np.allclose(qi @ zj @ zj.T @ qk, 0, atol=1e-7)
                    assert table.independent[i, k, j] == independent
    if balanced:
        assert table.balanced


def test_covariance_of_balanced_estimates_is_that_of_quadratic_forms():
    rng = np.random.default_rng(1)
    outer, inner = np.repeat(np.arange(5), 6), np.repeat(np.arange(15), 2)
    factors = [("a", outer, 5), ("b", inner, 15)]
    fixed = [("Intercept", np.ones((30, 1)))]
    y = 3 * rng.normal(size=5)[outer] + 2 * rng.normal(size=15)[inner]
    y += rng.normal(size=30)
    table = anova_table(y, fixed, factors)
    *_, q, z = dense_sequence(y, fixed, factors)
    v = sum(s * zj @ zj.T for s, zj in zip(table.estimates, [*z, np.eye(30)], strict=True))
    forms = [
        sum(w * qk / df for w, qk, df in zip(row, q, table.df, strict=True))
        for row in table.solution
    ]
    expected = [[2 * np.trace(f @ v @ g @ v) for g in forms] for f in forms]
    assert_allclose(table.covariance(), expected, rtol=1e-10, atol=1e-12)


def test_f_tests_are_of_equal_expectation():
    rng = np.random.default_rng(5)
    y, fixed, factors = nested_design(rng, 5, 4, 3)
    table = anova_table(y, fixed, factors)
    for source in range(len(table.sources) - 1):
        test = f_test(table, source)
        expected = table.coefficients[source].copy()
        if source >= table.n_fixed:
            expected[source - table.n_fixed] = 0
        at = slice(table.n_fixed, None)
        assert_allclose(test.weights @ table.coefficients[at], expected, atol=1e-10)
        parts = test.weights * table.mean_sq[at]
        if parts.sum() > 0:
            assert_allclose(test.statistic, table.mean_sq[source] / parts.sum())
            df = parts.sum() ** 2 / np.sum(parts**2 / table.df[at])
            assert_allclose(test.df_denom, df)
    inner = table.sources.index("b")
    assert f_test(table, inner).exact  # the last factor against the residual
    assert not f_test(table, table.sources.index("a")).exact


def test_level_and_scale_of_y():
    rng = np.random.default_rng(6)
    y, fixed, factors = nested_design(rng, 6, 4, 3)
    table = anova_table(y, fixed, factors)
    other = anova_table(1e3 * y + 1e6, fixed, factors)
    assert_allclose(other.estimates, 1e6 * table.estimates, rtol=1e-7)
    assert_allclose(anova_table(1e-6 * y, fixed, factors).estimates * 1e12, table.estimates)


def test_covariate_far_from_zero():
    rng = np.random.default_rng(7)
    y, fixed, factors = nested_design(rng, 6, 4, 3, term=False)
    x = np.round(fixed[1][1] * 64)
    near = anova_table(y, [fixed[0], ("x", x)], factors)
    far = anova_table(y, [fixed[0], ("x", x + 2.0**32)], factors)
    assert far.df.tolist() == near.df.tolist()
    assert_allclose(far.sum_sq, near.sum_sq, rtol=1e-9)
    assert_allclose(far.coefficients, near.coefficients, rtol=1e-9)


def test_proportional_frequencies_are_orthogonal():
    first = np.repeat([0, 0, 0, 1, 1, 1], [1, 2, 3, 2, 4, 6])
    second = np.repeat([0, 1, 2, 0, 1, 2], [1, 2, 3, 2, 4, 6])
    factors = [("a", first, 2), ("b", second, 3)]
    fixed = [("Intercept", np.ones((18, 1)))]
    y = np.random.default_rng(11).normal(size=18)
    table = anova_table(y, fixed, factors)
    compare(table, dense_sequence(y, fixed, factors))
    assert not table.balanced
    other = anova_table(y, fixed, factors[::-1])
    assert_allclose(other.estimates[[1, 0, 2]], table.estimates, rtol=1e-10)
