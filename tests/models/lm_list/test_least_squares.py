"""Regressions by group against statsmodels' OLS and the usual formulas."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mixedext.models.lm_list.least_squares import homogeneity, least_squares_by_group


def simulated(rng, sizes, p, intercept=0):
    """Columns, response and shuffled codes of groups of given sizes."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    rng.shuffle(codes)
    columns = rng.normal(size=(len(codes), p)) * 2.0 ** rng.integers(-10, 11, p)
    if intercept is not None:
        columns[:, intercept] = 1
    y = rng.normal(size=len(codes)) * rng.uniform(0.1, 3, len(sizes))[codes] + codes
    return columns, y, codes


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(5, 12), min_size=1, max_size=6),
    st.integers(1, 4),
    st.sampled_from([None, 0, -1]),
)
def test_equals_ols_of_every_group(seed, sizes, p, intercept):
    columns, y, codes = simulated(np.random.default_rng(seed), sizes, p, intercept)
    fits = least_squares_by_group(columns, y, codes, len(sizes))
    for level in range(len(sizes)):
        rows = codes == level
        # powers of two change no digit here, but statsmodels' singular values do
        size = np.exp2(np.round(np.log2(np.abs(columns[rows]).max(axis=0))))
        ols = sm.OLS(y[rows], columns[rows] / size).fit()
        length, condition = np.linalg.norm(y[rows]), np.linalg.cond(columns[rows] / size)
        unscaled = np.diag(ols.normalized_cov_params)
        assert_allclose(fits.unscaled[level] * size**2, unscaled, rtol=1e-13 * condition)
        error = np.abs(fits.coefficients[level] * size - ols.params)
        assert (error <= 1e-14 * condition * length * np.sqrt(unscaled)).all()
        ssr, atol = fits.residual_squares[level], 1e-14 * condition * length**2
        assert_allclose(ssr, ols.ssr, rtol=1e-12, atol=atol)
        if ols.df_resid:
            assert_allclose(fits.sigma[level], np.sqrt(ssr / ols.df_resid), rtol=1e-14)
        assert fits.df_resid[level] == ols.df_resid
        assert_allclose(fits.residuals[rows], ols.resid, atol=1e-11 * np.abs(y).max())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(4, 9), min_size=1, max_size=5),
    st.integers(1, 3),
    st.sampled_from([None, 0, -1]),
)
def test_weights_are_those_of_weighted_least_squares(seed, sizes, p, intercept):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(sizes)), sizes)
    rng.shuffle(codes)
    columns = rng.normal(size=(len(codes), p)) + 3
    if intercept is not None:
        columns[:, intercept] = 1
    y, weights = rng.normal(size=len(codes)), rng.uniform(0.1, 10, len(codes))
    fits = least_squares_by_group(columns, y, codes, len(sizes), weights)
    for level in range(len(sizes)):
        rows = codes == level
        wls = sm.WLS(y[rows], columns[rows], weights[rows]).fit()
        tolerance = 1e-13 * np.linalg.cond(wls.model.wexog) ** 2
        size = np.abs(wls.params).max()
        assert_allclose(fits.coefficients[level], wls.params, atol=tolerance * size)
        unscaled = np.diag(wls.normalized_cov_params)
        assert_allclose(fits.unscaled[level], unscaled, rtol=tolerance)
        squares = wls.ssr if wls.df_resid else 0.0
        assert_allclose(fits.residual_squares[level], squares, rtol=1e-10, atol=1e-20)
        assert_allclose(fits.residuals[rows], wls.resid, atol=tolerance * size)


@pytest.mark.parametrize("intercept", [0, None])
def test_whole_weights_repeat_rows(intercept):
    columns, y, codes = simulated(np.random.default_rng(4), [5, 7], 2, intercept)
    counts = np.random.default_rng(5).integers(1, 4, len(y))
    weighted = least_squares_by_group(columns, y, codes, 2, counts.astype(float))
    parts = (np.repeat(a, counts, axis=0) for a in (columns, y, codes))
    repeated = least_squares_by_group(*parts, 2)
    assert_allclose(weighted.coefficients, repeated.coefficients, rtol=1e-11)
    assert_allclose(weighted.unscaled, repeated.unscaled, rtol=1e-11)
    assert_allclose(weighted.residual_squares, repeated.residual_squares, rtol=1e-11)


def test_equal_weights_change_what_is_not_estimable_nowhere():
    columns, y, codes = simulated(np.random.default_rng(6), [5, 1, 4, 3], 2)
    columns[codes == 2, 1] = 1e6  # a constant
    plain = least_squares_by_group(columns, y, codes, 4)
    weighted = least_squares_by_group(columns, y, codes, 4, np.full(len(y), 0.3))
    assert np.isnan(plain.coefficients).any()
    assert_allclose(weighted.coefficients, plain.coefficients, rtol=1e-12)
    assert (weighted.ranks == plain.ranks).all()


def test_column_far_from_zero_loses_no_digits():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(20), 8)
    x = rng.integers(0, 50, 160).astype(float)
    y = rng.normal(size=160)
    near = least_squares_by_group(np.c_[np.ones(160), x, x**2], y, codes, 20)
    far = least_squares_by_group(np.c_[np.ones(160), x + 2.0**40, x**2], y, codes, 20)
    assert_allclose(far.coefficients[:, 1:], near.coefficients[:, 1:], rtol=1e-11)
    assert_allclose(far.unscaled[:, 1:], near.unscaled[:, 1:], rtol=1e-11)
    assert_allclose(far.residuals, near.residuals, atol=1e-12)


def test_raw_powers_of_years():
    year = np.tile(np.arange(1968.0, 1991.0), 3)
    codes = np.repeat([0, 1, 2], 23)
    rng = np.random.default_rng(1)
    y = rng.normal(size=69)
    raw = least_squares_by_group(np.c_[np.ones(69), year, year**2], y, codes, 3)
    t = year - 1979
    centred = least_squares_by_group(np.c_[np.ones(69), t, t**2], y, codes, 3)
    assert_allclose(raw.coefficients[:, 2], centred.coefficients[:, 2], rtol=1e-9)
    assert_allclose(raw.residual_squares, centred.residual_squares, rtol=1e-12)


def test_order_of_rows_and_columns_does_not_matter():
    rng = np.random.default_rng(2)
    columns, y, codes = simulated(rng, [6, 9, 7], 3)
    first = least_squares_by_group(columns, y, codes, 3)
    order = rng.permutation(len(y))
    places = [2, 0, 1]
    other = least_squares_by_group(columns[order][:, places], y[order], codes[order], 3)
    assert_allclose(other.coefficients, first.coefficients[:, places], rtol=1e-11)
    assert_allclose(other.unscaled, first.unscaled[:, places], rtol=1e-11)
    assert_allclose(other.residuals, first.residuals[order], atol=1e-13)


def test_groups_that_do_not_determine_all_coefficients():
    # one value of x; one row; an absent category; x2 = 2 x1
    codes = np.repeat([0, 1, 2, 3], [3, 1, 4, 5])
    x = np.array([0.1, 0.1, 0.1, 2.0, 1, 2, 3, 4, 1, 2, 3, 4, 6])
    d = np.array([0, 1, 0, 1, 0, 0, 0, 0, 2, 4, 6, 8, 12.0])
    y = np.array([1.0, 5, 2, 7, 1, 2, 2, 4, 0, 2, 3, 4, 7])
    fits = least_squares_by_group(np.c_[np.ones(13), x, d], y, codes, 4)
    missing = np.isnan(fits.coefficients)
    assert missing.tolist() == [
        [True, True, False],
        [True, True, True],
        [False, False, True],
        [False, True, True],
    ]
    assert np.array_equal(np.isnan(fits.unscaled), missing)
    assert fits.ranks.tolist() == [2, 1, 2, 2]
    assert fits.df_resid.tolist() == [1, 0, 2, 3]
    assert_allclose(fits.coefficients[0, 2], 3.5)  # 5 less the mean of 1 and 2
    assert_allclose(fits.residuals[:4], [-0.5, 0, 0.5, 0], atol=1e-14)
    assert np.isnan(fits.sigma[1])
    line = sm.OLS(y[8:], sm.add_constant(x[8:])).fit()
    assert_allclose(fits.coefficients[3, 0], line.params[0], rtol=1e-12)
    assert_allclose(fits.residual_squares[3], line.ssr, rtol=1e-12)
    assert fits.pooled_df == 6


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_estimable_coefficients_are_those_in_the_row_space(seed, p):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(4), 5)
    columns = np.c_[np.ones(20), rng.integers(0, 2, (20, p - 1))].astype(float)
    fits = least_squares_by_group(columns, rng.normal(size=20), codes, 4)
    for level in range(4):
        x = columns[codes == level]
        rank = np.linalg.matrix_rank(x)
        assert fits.ranks[level] == rank
        for j in range(p):
            estimable = np.linalg.matrix_rank(np.vstack([x, np.eye(p)[j]])) == rank
            assert np.isnan(fits.coefficients[level, j]) != estimable


@pytest.mark.parametrize("sizes", [[6, 7, 8], [5, 5, 5, 5]])
def test_homogeneity_is_the_test_of_the_interaction(sizes):
    columns, y, codes = simulated(np.random.default_rng(3), sizes, 3)
    fits = least_squares_by_group(columns, y, codes, len(sizes))
    test = homogeneity(fits)
    one_hot = np.eye(len(sizes))[codes]

    def by_group(j):
        return one_hot * columns[:, [j]]

    whole = sm.OLS(y, np.hstack([by_group(j) for j in range(3)])).fit()
    for j in range(3):
        parts = [columns[:, [k]] if k == j else by_group(k) for k in range(3)]
        small = sm.OLS(y, np.hstack(parts)).fit()
        statistic = (small.ssr - whole.ssr) / (len(sizes) - 1) / whole.mse_resid
        assert_allclose(test.statistic[j], statistic, rtol=1e-8)
        assert test.df_num[j] == len(sizes) - 1
    assert test.df_denom == whole.df_resid


def test_a_hundred_thousand_groups_in_half_a_second():
    rng = np.random.default_rng(4)
    codes = np.repeat(np.arange(100_000), 10)
    columns = np.c_[np.ones(10**6), rng.normal(size=10**6)]
    y = rng.normal(size=10**6)
    times = []
    for _ in range(3):
        start = perf_counter()
        fits = least_squares_by_group(columns, y, codes, 100_000)
        times.append(perf_counter() - start)
    assert min(times) < 0.5
    assert fits.pooled_df == 800_000
