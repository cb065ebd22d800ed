"""Nesting of covariances against dense n x n matrices."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

import mixedext as mx
from mixedext.inference.submodels.covariance_nesting import (
    covariance_is_nested,
    differ_in_structure,
)

RNG = np.random.default_rng(5)
N = 60
A, B = RNG.integers(0, 6, N), RNG.integers(0, 4, N)
X, F = RNG.standard_normal(N), RNG.integers(0, 3, N)
ONES = np.ones(N)


def term(codes, z=None, structure="unstructured", group="g"):
    return mx.RandomTerm(codes, z, group=group, structure=structure)


INTERCEPT = term(A)
SLOPE = term(A, np.column_stack([ONES, X]))
MODELS = {
    "none": [],
    "intercept": [INTERCEPT],
    "relabelled": [term(np.array(list("fedcba"))[A])],
    "slope": [SLOPE],
    "centred": [term(A, np.column_stack([ONES, X - 3]))],
    "uncorrelated": [term(A, np.column_stack([ONES, X]), "diagonal")],
    "uncorrelated centred": [term(A, np.column_stack([ONES, X - 3]), "diagonal")],
    "two": [INTERCEPT, term(X > 0, group="b"), term(B, group="c")],
    "crossed": [INTERCEPT, term(B, group="c")],
    "cells": [term(10 * A + F, group="cell"), INTERCEPT],
    "factor": [term(A, np.eye(3)[F])],
    "factor of one variance": [term(A, np.eye(3)[F], "identity")],
}


def dense_basis(terms):
    for t in terms:
        z = np.zeros((N, t.n_levels * t.k))
        for row, code in enumerate(t.codes):
            z[row, code * t.k : (code + 1) * t.k] = t.z[row]
        for e in t.structure.covariance_basis:
            yield (z @ np.kron(np.eye(t.n_levels), e) @ z.T).ravel()


@pytest.mark.parametrize("large", MODELS)
@pytest.mark.parametrize("small", MODELS)
def test_against_dense_matrices(small, large):
    span = np.array([*dense_basis(MODELS[large]), np.eye(N).ravel()]).T
    own = [*dense_basis(MODELS[small])]
    rank = np.linalg.matrix_rank(span)
    want = all(np.linalg.matrix_rank(np.c_[span, column]) == rank for column in own)
    assert covariance_is_nested(MODELS[small], MODELS[large]) == want
    assert (
        covariance_is_nested(MODELS[small], MODELS[large], RNG.uniform(0.5, 2, N)) == want
    )


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 2, N)])
def test_a_term_given_by_its_matrix(weights):
    # indicators are a random intercept
    whole = SimpleNamespace(
        matrix=sparse.csr_array(np.eye(6)[A]),
        n_levels=6,
        structure=INTERCEPT.structure,
    )
    assert covariance_is_nested([whole], MODELS["slope"], weights)
    assert covariance_is_nested(MODELS["intercept"], [whole], weights)
    assert not covariance_is_nested(MODELS["slope"], [whole], weights)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unit", [1e-150, 1e100, 1e150])
def test_units_do_not_matter(unit):
    """Fourth powers of the columns would be beyond the range of numbers."""
    both = np.column_stack([ONES, X * unit])
    for structure in ("unstructured", "diagonal"):
        large = [term(A, both, structure)]
        assert covariance_is_nested([INTERCEPT], large)
        assert covariance_is_nested([term(A, X[:, None])], large)
        assert not covariance_is_nested([SLOPE], large) or structure == "unstructured"
        assert not covariance_is_nested([term(A, np.column_stack([ONES, F]))], large)
    # of one variance both have one unit: the smaller column is nothing beside the other
    one = [term(A, both, "identity")]
    assert covariance_is_nested(one, [INTERCEPT]) == (unit < 1)


def test_what_they_say():
    def nested(small, large):
        return covariance_is_nested(MODELS[small], MODELS[large])

    assert nested("intercept", "relabelled")
    assert nested("slope", "centred")
    assert not nested("uncorrelated", "uncorrelated centred")
    # compound symmetry within the levels is a case of a free covariance of the factor
    assert nested("cells", "factor")
    assert not nested("crossed", "slope")


def test_columns_that_never_meet(capfd):
    """A covariance of two dummies of one factor says nothing: it is in every span."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, 40)
    dummies = (codes[:, None] == np.arange(4)).astype(float)
    large = mx.RandomTerm(codes, dummies, "h")
    assert covariance_is_nested([mx.RandomTerm(codes, None, "h")], [large])
    assert covariance_is_nested([large], [large])
    other = mx.RandomTerm(rng.integers(0, 5, 40), None, "g")
    assert not covariance_is_nested([other], [large])
    assert not any(capfd.readouterr())  # LAPACK has nothing to say


def visits(structure, codes=A):
    return term(codes, np.eye(3)[F], structure)


@pytest.mark.parametrize(
    ("small", "large", "nested"),
    [
        ("homcs", "cs", True),
        ("homcs", "homtoep", True),
        ("homcs", "toep", True),
        ("ar1", "adh", True),
        ("identity", "adh", True),
        ("diagonal", "hetar1", True),
        ("toep", "unstructured", True),
        ("ar1", "unstructured", True),
        ("ar1", "ar1", True),
        ("ar1", "homcs", False),
        ("cs", "homcs", False),
        ("unstructured", "toep", False),
        ("diagonal", "ar1", False),
    ],
)
def test_structures_of_the_same_columns(small, large, nested):
    relabelled = np.array(list("fedcba"))[A]
    for codes in (A, relabelled):
        pair = [visits(small)], [visits(large, codes)]
        assert covariance_is_nested(*pair) == nested
        assert differ_in_structure(*pair) == nested
    assert covariance_is_nested([], [visits(large)])
    other = [visits(large), term(B, group="b")]
    assert covariance_is_nested([visits(small)], other) == nested
    assert not differ_in_structure([visits(small)], other)


def test_linear_models_are_not_judged_by_structure():
    assert not differ_in_structure([INTERCEPT], [SLOPE])
    assert not differ_in_structure([INTERCEPT], [visits("ar1")])
