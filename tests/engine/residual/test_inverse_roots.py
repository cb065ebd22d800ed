"""Roots of chains by recursion against those of their matrices."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.residual_designs import random_design
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.engine.residual.fit import residual_fit_at
from mixedext.engine.residual.inverse_roots import (
    ChainInverse,
    DenseInverse,
    chain_inverse,
)
from mixedext.engine.residual.roots import inverse_roots, matrices, roots
from mixedext.engine.residual.starts import starting_psi
from mixedext.engine.residual.whitening import colored
from mixedext.models.mixedlm.residual_fitting import residual_rows


def both(model, seed):
    """Bound covariance, psi, and for each batch the chain and the dense inverse."""
    rows = residual_rows(model)
    psi = starting_psi(rows)[0] + 0.2 * np.random.default_rng(seed).standard_normal(
        rows.n_psi
    )
    dense = [DenseInverse(root) for root in roots(rows.bound, psi)]
    return rows.bound, psi, list(zip(rows.bound.batches, dense, strict=True))


@pytest.mark.parametrize("kind", ["ar1", "ar1h", "car1", "exp"])
@pytest.mark.parametrize("by", [False, True])
def test_recursion_is_the_matrix(kind, by):
    bound, psi, batches = both(random_design(kind, 3, by=by), 3)
    rng = np.random.default_rng(0)
    found = 0
    for batch, dense in batches:
        chain = chain_inverse(bound, psi, batch)
        if chain is None:  # places in the order of the data
            assert kind == "exp"
            continue
        found += 1
        columns = rng.standard_normal((*batch.rows.shape, 3))
        for name in ("times", "root_times", "transposed_times"):
            one, other = (getattr(own, name)(batch, columns) for own in (chain, dense))
            assert_allclose(one, other, rtol=1e-11, atol=1e-11)
        assert_allclose(chain.log_determinants(), dense.log_determinants(), atol=1e-12)
        for own in (chain, dense):
            value, row, column = own.entries(batch)
            whole = np.zeros((len(value), batch.size, batch.size))
            whole[:, row, column] = value
            assert_allclose(whole, dense.matrix[batch.pattern], rtol=1e-11, atol=1e-11)
    assert found


@pytest.mark.parametrize("kind", ["us", "cs", "toep", "gau+nugget", "arma"])
def test_what_is_no_chain(kind):
    bound, psi, batches = both(random_design(kind, 3), 3)
    for batch, dense in batches:
        assert chain_inverse(bound, psi, batch) is None
        inverse = inverse_roots(bound, psi)[0]
        assert isinstance(inverse, DenseInverse)
        product = dense.matrix @ dense.root
        assert_allclose(
            product, np.broadcast_to(np.eye(batch.size), product.shape), atol=1e-9
        )


def test_colored_noise_has_the_covariance():
    model = random_design("car1", 5)
    bound, psi, batches = both(model, 5)
    rows = residual_rows(model)

    class Law:
        def __init__(self):
            self.bound, self.psi = bound, psi

    root = colored(Law(), np.eye(len(rows.y)))
    covariance = root @ root.T
    for (batch, _), own in zip(batches, matrices(bound, psi), strict=True):
        for group, pattern in zip(batch.rows, batch.pattern, strict=True):
            assert_allclose(covariance[np.ix_(group, group)], own[pattern], atol=1e-12)


def test_rows_at_nearly_one_time_keep_their_digits():
    """1 - r of gaps of 1e-9: a matrix of such correlations has no Cholesky factor."""
    time = np.array([0.0, 1e-9, 1.0, 1.0 + 1e-9, 3.0])
    y, x = np.arange(5.0), np.ones((5, 1))
    model = mx.MixedLM(y, x, residual=mx.CAR1(time, group=np.zeros(5)))
    rows = residual_rows(model)
    psi = rows.curves[0].correlation.free([0.5])
    (inverse,) = inverse_roots(rows.bound, psi)
    assert isinstance(inverse, ChainInverse)
    gap = np.diff(time)
    wanted = 1 / np.sqrt(-np.expm1(2 * gap * np.log(0.5)))
    assert_allclose(inverse.diagonal[0, 1:], wanted, rtol=1e-6)


@pytest.mark.parametrize("random", ["none", "same", "slopes", "crossed"])
@pytest.mark.parametrize("kind", ["car1", "exp"])
def test_distances_made_when_asked_for(kind, random, monkeypatch):
    def fitted():
        rows = residual_rows(random_design(kind, 11, random, weighted=True))
        theta = np.concatenate([t.structure.start() for t in rows.terms] or [np.zeros(0)])
        return residual_fit_at(rows, True, theta, np.array([0.4]))

    one = fitted()
    monkeypatch.setattr(
        "mixedext.specification.covariance.residual_patterns.MANY_DISTANCES", 0
    )
    other = fitted()
    monkeypatch.setattr("mixedext.engine.residual.rows.MOST_COLUMNS", -1)
    third = fitted()
    for own in (other, third):
        assert_allclose(own.deviance, one.deviance, rtol=1e-12)
        assert_allclose(own.covariance, one.covariance, rtol=1e-10)
        gradients = [f.residual.stand().derivatives()[0] for f in (own, one)]
        assert_allclose(*gradients, rtol=1e-8, atol=1e-8)
