"""Covariances that leave V as it is, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixedext.engine.rows.design import prepare_design
from mixedext.engine.search.identification import find_open
from mixedext.specification.terms.random_terms import RandomTerm


def dense_rank(terms, n, weights):
    """Rank of the matrices that all variances multiply, and their number."""
    root = np.ones(n) if weights is None else np.sqrt(weights)
    matrices = [np.eye(n)]
    for term in terms:
        same = term.codes[:, None] == term.codes
        z = term.z * root[:, None]
        for element in term.structure.covariance_basis:
            matrices.append(same * (z @ element @ z.T))
    flat = np.array([m.ravel() / np.linalg.norm(m) for m in matrices])
    return np.linalg.matrix_rank(flat, tol=1e-6), len(flat)


@given(st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_as_many_as_dense_matrices_say(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 40))
    factors = [rng.integers(0, max(2, n // rng.integers(1, 5)), n) for _ in range(2)]
    factors.append(factors[0] + 100)  # part the rows alike
    factors.append(np.arange(n))
    columns = [np.ones(n), rng.normal(size=n), rng.integers(0, 2, n) + 0.5]
    columns.append(2 * columns[1])
    columns.append(columns[2][factors[0]])  # constant within levels
    terms = []
    for _ in range(int(rng.integers(1, 4))):
        factor = factors[rng.integers(len(factors))]
        if len(np.unique(factor)) < 2:
            factor = np.arange(n) % 2
        own = rng.choice(len(columns), int(rng.integers(1, 3)), replace=False)
        kind = rng.choice(["unstructured", "diagonal"])
        z = np.column_stack([columns[j] for j in own])
        terms.append(RandomTerm(factor, z, group=f"f{factor[0]}", structure=kind))
    weights = rng.uniform(0.5, 2.0, n) if rng.random() < 0.3 else None
    design = prepare_design(rng.normal(size=n), np.ones((n, 1)), terms, weights)
    found = find_open(design)
    rank, count = dense_rank(terms, n, weights)
    assert len(found) == count - rank
    assert sum(direction.residual for direction in found) <= 1
    assert all(direction.terms for direction in found)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_level_a_row(weighted):
    """It is told from the residual by weights alone."""
    n = 12
    weights = np.linspace(0.5, 2, n) if weighted else None
    y = np.random.default_rng(0).normal(size=n)
    design = prepare_design(y, np.ones((n, 1)), [RandomTerm(np.arange(n))], weights)
    found = find_open(design)
    if weighted:
        assert found == []
    else:
        assert [(d.terms, d.residual) for d in found] == [(((0, (0,)),), True)]


def test_the_columns_involved_are_in_the_units_of_the_data():
    rng = np.random.default_rng(1)
    g, x = np.repeat(np.arange(10), 6), 1e3 + rng.normal(size=60)
    one = RandomTerm(g, group="g")
    both = RandomTerm(g, np.column_stack([x, np.ones(60)]), group="g", names=["x", "1"])
    design = prepare_design(rng.normal(size=60), np.ones((60, 1)), [both, one])
    assert [(d.terms, d.residual) for d in find_open(design)] == [
        (((0, (1,)), (1, (0,))), False)
    ]
