"""Hypothesis matrices against dense algebra of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mixedext.engine.rows.design import prepare_design
from mixedext.exceptions import DesignError
from mixedext.inference.fixed_effects.hypotheses import (
    adjusted_hypothesis,
    likelihood_ratio_test,
    marginal_hypothesis,
    sequential_hypotheses,
)
from mixedext.inference.submodels.row_basis import RowBasis

SEEDS = st.integers(0, 10_000)


def basis_of(x):
    y = np.random.default_rng(0).normal(size=len(x))
    return prepare_design(y, x, []).basis


def same_space(one, other):
    rank = np.linalg.matrix_rank(one, tol=1e-9)
    assert rank == np.linalg.matrix_rank(other, tol=1e-9)
    assert np.linalg.matrix_rank(np.vstack([one, other]), tol=1e-9) == rank


def sum_of_squares(y, x):
    return float(((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2).sum())


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_sequential_sums_of_squares(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((20, 6)), rng.standard_normal(20)
    parts = [[3], [0, 5], [1], [2, 4]]
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    rows = sequential_hypotheses(basis_of(x).r, parts)
    before = []
    for part, own in zip(parts, rows, strict=True):
        effect = own @ beta
        square = effect @ np.linalg.solve(own @ np.linalg.inv(x.T @ x) @ own.T, effect)
        smaller = x[:, before] if before else np.zeros((20, 1))
        want = sum_of_squares(y, smaller) - sum_of_squares(y, x[:, [*before, *part]])
        # a small square is a difference of large sums
        np.testing.assert_allclose(square, want, rtol=1e-9, atol=1e-14 * (y @ y))
        before += part
        np.testing.assert_allclose(own[:, part].diagonal(), 1.0)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_adjusted_for_some(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((20, 6))
    r = basis_of(x).r
    want = sequential_hypotheses(r, [[4, 1], [2, 0], [3, 5]])[1]
    same_space(adjusted_hypothesis(r, [1, 4], [0, 2]), want)
    # adjusted for all others: the coefficients themselves
    same_space(adjusted_hypothesis(r, [0, 1, 4, 5], [2, 3]), np.eye(6)[[2, 3]])


@given(SEEDS, st.floats(-6, 6))
@settings(max_examples=30, deadline=None)
def test_restriction_to_a_smaller_space(seed, power):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((20, 5)) * 10.0**power
    mix = rng.standard_normal((5, 3))
    rows, values = RowBasis(x, basis_of(x)).restriction(x @ mix)
    assert rows.shape == (2, 5)
    np.testing.assert_allclose(rows @ rows.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(rows @ mix, 0, atol=1e-8)
    np.testing.assert_array_equal(values, 0)


def test_restriction_with_an_offset():
    rng = np.random.default_rng(1)
    x, beta = rng.standard_normal((20, 4)), rng.standard_normal(4)
    mix, gamma = rng.standard_normal((4, 2)), rng.standard_normal(2)
    rows, values = RowBasis(x, basis_of(x)).restriction(x @ mix, x @ beta)
    np.testing.assert_allclose(rows @ (beta + mix @ gamma), values, atol=1e-12)


def test_weights_of_the_triangle_do_not_matter():
    rng = np.random.default_rng(2)
    x, weights = rng.standard_normal((20, 4)), rng.uniform(0.5, 2, 20)
    plain = RowBasis(x, basis_of(x))
    other = RowBasis(x, basis_of(x * np.sqrt(weights)[:, None]))
    np.testing.assert_allclose(other.q.T @ other.q, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(np.abs(plain.r), np.abs(other.r), rtol=1e-10)


def test_not_nested():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((20, 4))
    basis = RowBasis(x, basis_of(x))
    foreign = np.column_stack([x[:, 0], rng.standard_normal(20)])
    assert basis.spans(foreign).tolist() == [True, False]
    with pytest.raises(DesignError, match="1 of the 2 columns"):
        basis.restriction(foreign)
    with pytest.raises(DesignError, match="offsets differ"):
        basis.restriction(x[:, :2], rng.standard_normal(20))


def cells_of(codes):
    return np.eye(codes.max() + 1)[codes]


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_marginal_means(seed):
    # two crossed factors, all cells filled: type III says that unweighted means agree
    rng = np.random.default_rng(seed)
    a = np.r_[np.repeat([0, 1, 2], 2), rng.integers(0, 3, 14)]
    b = np.r_[np.tile([0, 1], 3), rng.integers(0, 2, 14)]
    cells = cells_of(2 * a + b)
    x = cells @ rng.standard_normal((6, 6))  # any coding
    basis = RowBasis(x, basis_of(x))
    products = [basis.q.T @ m for m in (np.ones((20, 1)), cells_of(b), cells_of(a), cells)]
    others = np.hstack(products[:2])
    rows = marginal_hypothesis(
        basis.r, others, products[2], products[3], np.array([False, True, True])
    )
    to_cells = np.linalg.lstsq(cells, x, rcond=None)[0]
    means = to_cells.reshape(3, 2, 6).mean(axis=1)
    # differences with the first level
    np.testing.assert_allclose(rows, means[1:] - means[0], atol=1e-7 * np.abs(means).max())


def test_likelihood_ratio():
    test = likelihood_ratio_test(-10.0, -12.0, 2)
    assert test.statistic == 4.0
    np.testing.assert_allclose(test.pvalue, stats.chi2.sf(4.0, 2))
    assert likelihood_ratio_test(-10.0, -9.999999, 1).statistic == 0.0
    assert np.isnan(likelihood_ratio_test(-10.0, -10.0, 0).pvalue)
