"""tr(B_r N B_s N) at any covariances, beside n x n matrices."""

import numpy as np
import pytest
from helpers.dense import dense_z

import mixedext as mx
from mixedext.engine.deviance.given_covariances import Likelihood
from mixedext.engine.deviance.profiled import FactorDeviance
from mixedext.engine.information.expected import covariance_traces
from mixedext.engine.rows.design import prepare_design

N = 80


def factored_at(terms, covariances, rng):
    design = prepare_design(rng.normal(size=N), np.ones((N, 1)), terms)
    likelihood = Likelihood(design, True)
    point = likelihood.at(covariances)
    factored = FactorDeviance(design.blocks, design.structures, True)
    factored.value(point.theta)
    return factored, likelihood.change


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


def check(terms, covariances, rng):
    factored, change = factored_at(terms, covariances, rng)
    found = change.T @ covariance_traces(factored) @ change
    expected = dense_traces(terms, covariances)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [1e-2, 1.0, 30.0])
def test_crossed_slopes(size):
    rng = np.random.default_rng(3)
    wide = np.c_[np.ones(N), rng.normal(size=N)]
    terms = [
        mx.RandomTerm(rng.integers(0, 9, N), wide, group="a"),
        mx.RandomTerm(rng.integers(0, 5, N), wide, group="b", structure="diagonal"),
    ]
    correlated = np.array([[2.0, 0.5], [0.5, 1.0]])
    check(terms, [size * correlated, size * np.diag([1.0, 3.0])], rng)


def test_at_zero():
    rng = np.random.default_rng(4)
    terms = [mx.RandomTerm(rng.integers(0, k, N), group=str(k)) for k in (9, 5)]
    check(terms, [np.zeros((1, 1))] * 2, rng)


def test_singular_covariances():
    rng = np.random.default_rng(6)
    wide = np.c_[np.ones(N), rng.normal(size=N)]
    terms = [mx.RandomTerm(rng.integers(0, k, N), wide, group=str(k)) for k in (9, 5)]
    check(terms, [np.array([[4.0, 2.0], [2.0, 1.0]]), np.diag([1.0, 0.0])], rng)


def test_terms_on_one_factor():
    rng = np.random.default_rng(5)
    terms = [mx.RandomTerm(rng.integers(0, 9, N), rng.normal(size=(N, 2)), group="a")]
    terms.append(mx.RandomTerm(terms[0].codes, group="a", structure="identity"))
    check(terms, [np.array([[2.0, 0.5], [0.5, 1.0]]), np.eye(1)], rng)
