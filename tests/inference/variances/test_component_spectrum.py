"""Eigenvalues of Z'P0Z and Z'Z from the blocks, beside dense n x n algebra."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import mixedext as mx
from mixedext.inference.variances import component_spectrum as module
from mixedext.inference.variances.component_spectrum import component_spectrum, pooled


def dense(z, x, weights=None):
    """Eigenvalues of Z'P0Z and of Z'Z that are not zero, descending."""
    root = np.ones(len(z)) if weights is None else np.sqrt(weights)
    z, x = root[:, None] * z, root[:, None] * x
    left, size, _ = np.linalg.svd(x, full_matrices=False)
    q = left[:, size > 1e-9 * size.max(initial=0)] if x.shape[1] else left
    rest = z - q @ (q.T @ z)
    mu, xi = (np.linalg.svd(m, compute_uv=False) ** 2 for m in (rest, z))
    return mu[mu > 1e-10 * xi[0]], xi[xi > 1e-10 * xi[0]]


def check(model, z, weights=None):
    for reml in (True, False):
        found = component_spectrum(model._design, reml)
        mu, xi = dense(z, model.exog, weights)
        scale = mu[0] if reml else max(mu[0], xi[0])
        got = np.repeat(found.values, found.counts)
        np.testing.assert_allclose(got, mu / scale, atol=1e-12)
        got = np.repeat(found.whole, found.whole_counts)
        np.testing.assert_allclose(got, xi / scale, atol=1e-12)
        assert found.width == 0.0
        assert found.rest == len(z) - found.rank - len(mu)


def indicators(codes):
    return (np.asarray(codes)[:, None] == np.unique(codes)).astype(float)


def columns(rng, n):
    return np.column_stack([np.ones(n), rng.normal(size=n), rng.normal(3, 2, n)])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(1, 6), min_size=3, max_size=9),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_intercepts_of_any_design(sizes, p, weighted, seed):
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    n = len(codes)
    if n < len(sizes) + p + 2:
        return
    weights = rng.uniform(0.2, 4, n) if weighted else None
    model = mx.MixedLM(
        rng.normal(size=n),
        columns(rng, n)[:, :p] if p else None,
        terms=[mx.RandomTerm(codes, group="g")],
        weights=weights,
    )
    check(model, indicators(codes), weights)


def test_slopes_have_different_eigenvalues():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 12, 60)
    x = columns(rng, 60)
    model = mx.MixedLM(
        rng.normal(size=60), x, terms=[mx.RandomTerm(codes, x[:, 1], group="g")]
    )
    check(model, x[:, 1:2] * indicators(codes))


def test_columns_of_x_that_are_constant_in_levels():
    """What X takes away of Z is not counted."""
    rng = np.random.default_rng(2)
    codes = np.repeat(np.arange(8), [3, 3, 3, 3, 4, 4, 2, 5])
    group = (codes % 2).astype(float)
    x = np.column_stack([np.ones(27), group, rng.normal(size=8)[codes]])
    model = mx.MixedLM(rng.normal(size=27), x, terms=[mx.RandomTerm(codes, group="g")])
    check(model, indicators(codes))
    assert component_spectrum(model._design, True).counts.sum() == 5


@pytest.mark.filterwarnings("ignore::mixedext.exceptions.RankDeficientWarning")
def test_dependent_columns_of_x():
    rng = np.random.default_rng(3)
    x = columns(rng, 50)
    x = np.column_stack([x, x[:, 1] - x[:, 2], 2 * x[:, 0]])
    codes = rng.integers(0, 7, 50)
    model = mx.MixedLM(rng.normal(size=50), x, terms=[mx.RandomTerm(codes, group="g")])
    check(model, indicators(codes))


def test_several_columns_with_one_variance():
    rng = np.random.default_rng(4)
    codes, z = rng.integers(0, 5, 60), rng.normal(size=(60, 3))
    term = mx.RandomTerm(codes, z, group="g", structure="identity")
    model = mx.MixedLM(rng.normal(size=60), columns(rng, 60), terms=[term])
    whole = np.einsum("nk,nl->nkl", z, indicators(codes)).reshape(60, -1)
    check(model, whole)


@pytest.mark.parametrize("q", [9, pytest.param(1100, marks=pytest.mark.slow)])
def test_any_matrix(q):
    """Also with more columns than rows, and than are rotated."""
    rng = np.random.default_rng(5)
    n = 60 if q < 60 else 1300
    z = sparse.random(n, q, 0.05 if q > 60 else 0.4, random_state=6).toarray()
    model = mx.MixedLM(
        rng.normal(size=n), columns(rng, n), terms=[mx.SparseTerm(z, group="g")]
    )
    check(model, z)


def test_balanced_levels_have_one_eigenvalue():
    data = mx.datasets.dyestuff.load().data
    found = component_spectrum(mx.mixedlm("Yield ~ 1 + (1 | Batch)", data)._design, True)
    assert found.values.tolist() == [1.0]
    assert found.counts.tolist() == [5]


def test_fixed_effects_of_the_levels_leave_nothing():
    data = mx.datasets.dyestuff.load().data
    model = mx.mixedlm("Yield ~ Batch + (1 | Batch)", data)
    with pytest.raises(mx.DesignError, match="fixed effects explain all"):
        component_spectrum(model._design, True)


def test_an_unbounded_likelihood_is_refused():
    """Two columns of X and four levels fit six rows; REML has a law all the same."""
    x = np.column_stack([np.ones(6), [1.0, 0, 2, 1, 0, 3], [0, 1.0, 1, 0, 3, 5]])
    term = mx.RandomTerm(np.array([0, 0, 1, 1, 2, 3]), group="g")
    model = mx.MixedLM(np.array([1.0, 2, 4, 3, 7, 5]), x, terms=[term])
    with pytest.raises(mx.DesignError, match="likelihood is unbounded"):
        component_spectrum(model._design, False)
    assert component_spectrum(model._design, True).rest == 0


def test_a_matrix_with_too_many_columns_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MOST_COLUMNS", 1000)
    rng = np.random.default_rng(7)
    z = sparse.random(1300, 1100, 0.01, random_state=8)
    model = mx.MixedLM(rng.normal(size=1300), np.ones((1300, 1)), terms=[mx.SparseTerm(z)])
    with pytest.raises(mx.DesignError, match="1100 columns"):
        component_spectrum(model._design, True)


def test_pooling_keeps_count_and_mean():
    values = np.sort(np.random.default_rng(9).uniform(0.1, 1, 50))[::-1]
    counts = np.arange(1, 51)
    few, times = pooled(values, counts, 0.25)
    assert times.sum() == counts.sum()
    assert few @ times == pytest.approx(values @ counts, rel=1e-14)
    assert len(few) <= 11
    assert (np.diff(few) < 0).all()


def test_many_different_eigenvalues_are_pooled(monkeypatch):
    """The pooled spectrum has nearly the same sums as that of all eigenvalues."""
    rng = np.random.default_rng(10)
    codes = rng.integers(0, 300, 1500)
    frame = pd.DataFrame({"y": rng.normal(size=1500), "x": rng.normal(size=1500)})
    model = mx.mixedlm("y ~ x + (0 + x | g)", frame.assign(g=codes))
    exact = component_spectrum(model._design, True)
    assert exact.width == 0.0
    assert len(exact.values) > 290
    monkeypatch.setattr(module, "MOST_ROWS", 120)
    monkeypatch.setattr(module, "MOST_DISTINCT", 90)
    monkeypatch.setattr(module, "POOLED", 60)
    coarse = component_spectrum(model._design, True)
    assert 0 < coarse.width < 0.1
    assert len(coarse.values) <= 60
    assert coarse.counts.sum() == exact.counts.sum()
    for ratio in (0.01, 0.1, 1.0):
        whole = [
            float((s.counts * np.log1p(ratio * s.values)).sum()) for s in (exact, coarse)
        ]
        assert whole[1] == pytest.approx(whole[0], rel=0.01)
