"""Sums over chains of rows against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixedext.kernels.covariance import chains


def correlations(gaps, rate):
    """1 - r, r and derivatives by log(1 / rate)."""
    u = rate * gaps
    r = np.exp(-u)
    return np.array([1 - r, r, u * r, (u * u - u) * r])


def some_chains(rng, count):
    """Columns, numbers of gaps, ends of clusters, gaps, and times by group."""
    sizes = [4, 1, 7, 2, 3]
    times = [np.cumsum(rng.uniform(0.2, 2.0, s)) for s in sizes]
    gaps = np.concatenate([np.diff(t) for t in times])
    number, start = [], 0
    for s in sizes:
        number += [-1, *range(start, start + s - 1)]
        start += s - 1
    columns = rng.standard_normal((sum(sizes), count))
    return columns, np.array(number, np.intp), np.array([5, 12, 17], np.intp), gaps, times


def dense(times, rate, order):
    """V, or its derivatives by log(1 / rate), of all groups."""
    out = np.zeros((sum(map(len, times)),) * 2)
    start = 0
    for t in times:
        u = rate * np.abs(t[:, None] - t)
        own = {0: np.exp(-u), 1: u * np.exp(-u), 2: (u * u - u) * np.exp(-u)}[order]
        out[start : start + len(t), start : start + len(t)] = own
        start += len(t)
    return out


@pytest.mark.parametrize("rate", [0.01, 0.7, 5.0])
@pytest.mark.parametrize("count", [1, 3])
def test_products(count, rate):
    columns, number, ends, gaps, times = some_chains(np.random.default_rng(1), count)
    out, v = np.empty((3, count, count)), dense(times, rate, 0)
    table = correlations(gaps, rate)
    log_det = chains.chain_products(columns, number, ends, table, np.empty(count), out)
    assert_allclose(log_det, np.linalg.slogdet(v)[1], rtol=1e-10)
    inverse = np.linalg.inv(v)
    for own, a, b in zip(out, [0, 5, 12], ends, strict=True):
        c = columns[a:b]
        assert_allclose(own, c.T @ inverse[a:b, a:b] @ c, rtol=1e-9)


@pytest.mark.parametrize("rate", [0.05, 0.7, 5.0])
@pytest.mark.parametrize("count", [1, 3])
def test_moments(count, rate):
    columns, number, ends, gaps, times = some_chains(np.random.default_rng(2), count)
    out, scalars = np.empty((3, 3, count, count)), np.empty(3)
    table = correlations(gaps, rate)
    work = np.empty((4, count))
    chains.chain_moments(columns, number, ends, table, work, out, scalars)
    v, first, second = (dense(times, rate, order) for order in range(3))
    inverse = np.linalg.inv(v)
    image = inverse @ first
    trace = np.trace(image @ image)
    wanted = [np.trace(image), np.trace(inverse @ second) - trace, trace]
    assert_allclose(scalars, wanted, rtol=1e-8, atol=1e-10)
    slope = -image @ inverse
    moved = image @ image @ inverse
    turn = 2 * moved - inverse @ second @ inverse
    for own, matrix in zip(out, (slope, turn, moved), strict=True):
        for found, a, b in zip(own, [0, 5, 12], ends, strict=True):
            c = columns[a:b]
            expected = c.T @ matrix[a:b, a:b] @ c
            assert_allclose(found, expected, atol=1e-8 * np.abs(expected).max())


def test_rows_that_are_the_same():
    columns, number = np.ones((2, 1)), np.array([-1, 0], np.intp)
    table, out = np.array([[0.0], [1.0], [0.0], [0.0]]), np.empty((1, 1, 1))
    ends = np.array([2], np.intp)
    assert chains.chain_products(columns, number, ends, table, np.empty(1), out) == np.inf


def test_the_log_determinant_of_many_strong_correlations():
    n = 5000
    number = np.zeros(n, np.intp)
    number[0] = -1
    table = np.array([[1e-8], [1 - 1e-8], [0.0], [0.0]])
    out, ends = np.empty((1, 1, 1)), np.array([n], np.intp)
    found = chains.chain_products(np.ones((n, 1)), number, ends, table, np.empty(1), out)
    assert_allclose(found, (n - 1) * (np.log(1e-8) + np.log(2 - 1e-8)), rtol=1e-13)
