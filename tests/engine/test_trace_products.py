"""tr(B_r N B_s N): the three ways agree, and the whole one with n x n matrices."""

import numpy as np
import pytest
from helpers.dense import dense_z

import mixedext as mx
from mixedext.engine.design import prepare_design
from mixedext.engine.evaluation import Likelihood
from mixedext.engine.objective import FactorDeviance
from mixedext.engine.trace_products import (
    directional_traces,
    trace_products,
    whole_traces,
)

N = 80


def factored_at(terms, covariances, rng):
    design = prepare_design(rng.normal(size=N), np.ones((N, 1)), terms)
    likelihood = Likelihood(design, True)
    point = likelihood.at(covariances)
    factored = FactorDeviance(design.blocks, design.structures, True)
    factored.value(point.theta)
    return factored, point.theta, likelihood.change


def dense_traces(terms, covariances):
    v = np.eye(N)
    for t, c in zip(terms, covariances, strict=True):
        v += dense_z(t) @ np.kron(np.eye(t.n_levels), c) @ dense_z(t).T
    parts = [
        np.linalg.solve(v, dense_z(t) @ np.kron(np.eye(t.n_levels), e) @ dense_z(t).T)
        for t in terms
        for e in t.structure.covariance_basis
    ]
    return np.array([[np.trace(a @ b) for a in parts] for b in parts])


@pytest.mark.parametrize("size", [1e-2, 1.0, 30.0])
def test_all_ways_agree(size):
    rng = np.random.default_rng(3)
    wide = np.c_[np.ones(N), rng.normal(size=N)]
    terms = [
        mx.RandomTerm(rng.integers(0, 9, N), wide, group="a"),
        mx.RandomTerm(rng.integers(0, 5, N), wide, group="b", structure="diagonal"),
    ]
    covariances = [size * np.array([[2.0, 0.5], [0.5, 1.0]]), size * np.diag([1.0, 3.0])]
    factored, theta, change = factored_at(terms, covariances, rng)
    expected = dense_traces(terms, covariances)
    whole = whole_traces(factored, theta)
    np.testing.assert_allclose(change.T @ whole @ change, expected, rtol=1e-10, atol=1e-10)
    directional = directional_traces(factored, theta)
    unit = np.sqrt(np.diag(whole))
    error = np.abs(directional - whole) / np.outer(unit, unit)
    assert error.max() < 1e-8
    np.testing.assert_array_equal(trace_products(factored, theta), whole)


def test_directions_at_zero():
    rng = np.random.default_rng(4)
    terms = [mx.RandomTerm(rng.integers(0, k, N), group=str(k)) for k in (9, 5)]
    factored, theta, _ = factored_at(terms, [np.zeros((1, 1))] * 2, rng)
    whole = whole_traces(factored, theta)
    np.testing.assert_allclose(directional_traces(factored, theta), whole, rtol=1e-9)


def test_by_level_is_whole():
    rng = np.random.default_rng(5)
    terms = [mx.RandomTerm(rng.integers(0, 9, N), rng.normal(size=(N, 2)), group="a")]
    terms.append(mx.RandomTerm(terms[0].codes, group="a", structure="identity"))
    covariances = [np.array([[2.0, 0.5], [0.5, 1.0]]), np.eye(1)]
    factored, theta, change = factored_at(terms, covariances, rng)
    found = trace_products(factored, theta)
    np.testing.assert_allclose(whole_traces(factored, theta), found, rtol=1e-10)
    np.testing.assert_allclose(
        change.T @ found @ change, dense_traces(terms, covariances), rtol=1e-10
    )
