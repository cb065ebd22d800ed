"""Moment estimates against their definition, and against REML where they are equal."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import dense

from mixedext.engine.fit import fit_design
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.search import starting_values
from mixedext.engine.search.starting_values import moment_covariances
from mixedext.specification.terms.random_terms import RandomTerm


def crossed(seed, wide):
    rng = np.random.default_rng(seed)
    n = 150
    a, b = rng.integers(0, 15, n), rng.integers(0, 8, n)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    terms = [
        RandomTerm(a, x[:, :2], group="a"),
        RandomTerm(b, x[:, 1:] if wide else None, group="b", structure="diagonal"),
        RandomTerm((a + b) % 5, group="c"),
    ]
    return rng.normal(size=15)[a] + rng.normal(size=n), x, terms


@pytest.mark.parametrize("storage", ["dense", "sparse", "supernodal"])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("k_fixed", [0, 3])
def test_moment_equations(storage, wide, k_fixed):
    y, x, terms = crossed(1, wide)
    x = x[:, :k_fixed]
    design = prepare_design(y, x, terms, storage=storage)
    compare(design, y, x, terms)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("k_fixed", [0, 3])
def test_moment_equations_of_one_factor(pooled, k_fixed):
    """Several terms on one factor; levels that have the same gram, or not."""
    rng = np.random.default_rng(2)
    a = np.repeat(np.arange(75), 2)
    day = np.tile([0.0, 1.0], 75) if pooled else rng.normal(size=150)
    x = np.column_stack([np.ones(150), day, rng.normal(size=150)])
    y = rng.normal(size=75)[a] + rng.normal(size=150)
    terms = [
        RandomTerm(a, x[:, :1], group="a"),
        RandomTerm(a, x[:, :2], group="a", structure="identity"),
    ]
    if not pooled:
        terms.append(RandomTerm(a, x[:, 1:] + [1.0, 0.0], group="a"))
    design = prepare_design(y, x[:, :k_fixed], terms)
    assert (design.level_sums.weight is not None) == pooled
    compare(design, y, x[:, :k_fixed], terms)
    sums = design.level_sums
    got = moment_covariances(design.blocks, design.structures, sums)
    for one, other in zip(
        got, moment_covariances(design.blocks, design.structures), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def compare(design, y, x, terms):
    """The equations by their definition with n x n matrices."""
    got = moment_covariances(design.blocks, design.structures)
    n, k_fixed = x.shape
    projector = np.eye(n) - (x @ np.linalg.pinv(x) if k_fixed else 0.0)
    e = projector @ y
    derivatives = []
    for term, transform in zip(terms, design.transforms, strict=True):
        z, inverse = dense.dense_z(term), np.linalg.inv(transform)
        for basis in term.structure.covariance_basis:
            own = inverse @ basis @ inverse.T
            derivatives.append(z @ np.kron(np.eye(term.n_levels), own) @ z.T)
    derivatives.append(np.eye(n))
    left = [
        [np.trace(projector @ v @ projector @ w) for w in derivatives] for v in derivatives
    ]
    gamma = np.linalg.solve(left, [e @ v @ e for v in derivatives])
    gamma = gamma[:-1] / gamma[-1]
    want = np.concatenate([s.gamma(c) for s, c in zip(design.structures, got, strict=True)])
    np.testing.assert_allclose(want, gamma, rtol=1e-8)


def test_balanced_designs_need_no_iteration():
    rng = np.random.default_rng(0)
    a, b = np.repeat(np.arange(10), 12), np.tile(np.repeat(np.arange(6), 2), 10)
    y = rng.normal(size=10)[a] + rng.normal(size=6)[b] + rng.normal(size=120)
    terms = [RandomTerm(a, group="a"), RandomTerm(b, group="b")]
    fit = fit_design(prepare_design(y, np.ones((120, 1)), terms), True)
    assert fit.convergence.n_evaluations == 1
    assert fit.convergence.decrement < 1e-20


def test_too_many_columns_start_from_the_identity():
    y, _, terms = crossed(2, False)
    rng = np.random.default_rng(3)
    design = prepare_design(y, rng.normal(size=(150, 90)), terms)
    assert moment_covariances(design.blocks, design.structures) is None
    fit = fit_design(design, True)
    np.testing.assert_allclose(fit.optimum.log.theta[0], [1, 0, 1, 1, 1])


def test_a_moment_of_sigma_that_is_hardly_there_leaves_numbers(monkeypatch):
    rng = np.random.default_rng(0)
    g, x = np.arange(20) % 4, np.ones((20, 1))
    design = prepare_design(rng.normal(size=20), x, [RandomTerm(g, x, group="g")])
    tiny = np.array([0.5]), 1e-310
    monkeypatch.setattr(starting_values, "solve_moments", lambda *_: tiny)
    with np.errstate(all="raise"):
        ((found,),) = moment_covariances(design.blocks, design.structures)
    assert np.isfinite(found).all()
    assert found > 0
