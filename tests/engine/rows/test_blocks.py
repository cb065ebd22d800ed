"""Choice of storage, order of elimination, and what is never allocated."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from helpers import dense
from helpers.blocks import plain_blocks

import mixedext as mx
from mixedext.engine.fit import fit_design
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.rows.products import group_by_factor
from mixedext.specification.terms.random_terms import RandomTerm


def nested(n_top=400, per=3, size=3, seed=0):
    rng = np.random.default_rng(seed)
    top = np.repeat(np.arange(n_top), per * per * size)
    middle = np.repeat(np.arange(n_top * per), per * size)
    bottom = np.repeat(np.arange(n_top * per * per), size)
    y = (
        rng.normal(size=n_top)[top]
        + rng.normal(size=n_top * per)[middle]
        + rng.normal(size=n_top * per * per)[bottom]
        + rng.normal(size=len(top))
    )
    return pd.DataFrame({"y": y, "a": top, "b": middle, "c": bottom})


def test_terms_on_one_factor_share_a_block():
    codes = np.repeat(np.arange(5), 4)
    x = np.arange(20.0)
    terms = [RandomTerm(codes, group="g"), RandomTerm(codes, x, group="g")]
    (layout,) = group_by_factor(terms)
    assert layout.terms == (0, 1)
    assert layout.width == 2
    assert layout.slices == (slice(0, 1), slice(1, 2))


def test_the_factor_with_most_effects_leads():
    rng = np.random.default_rng(0)
    terms = [
        RandomTerm(rng.integers(0, 5, 100), group="few"),
        RandomTerm(rng.integers(0, 20, 100), group="many"),
        RandomTerm(rng.integers(0, 12, 100), rng.normal(size=(100, 3)), group="wide"),
    ]
    assert [f.group for f in group_by_factor(terms)] == ["wide", "many", "few"]


def test_nested_tail_is_sparse_without_fill_in():
    data = nested()
    model = mx.mixedlm("y ~ 1 + (1 | a) + (1 | b) + (1 | c)", data)
    blocks = model._design.blocks
    assert blocks.storage == "nested"
    assert blocks.pattern.n_fill == 0
    # the diagonal, and one entry for each b in its a
    assert len(blocks.pattern.rows) == 1200 + 400 + 1200
    assert "no fill-in" in model.describe_blocks()


def test_crossed_tail_is_dense_and_small_ones_too():
    rng = np.random.default_rng(1)
    n = 4000
    g, h = rng.integers(0, 600, n), rng.integers(0, 300, n)
    terms = [RandomTerm(g, group="g"), RandomTerm(h, group="h")]
    blocks = plain_blocks(terms, rng.normal(size=(n, 2)))
    assert blocks.storage == "dense"
    assert "dense tail, 300 x 300" in blocks.describe()


def test_sparse_tail_with_fill_in_takes_a_better_order():
    """A band of levels: each row links two neighbours, so elimination in order is cheap."""
    rng = np.random.default_rng(2)
    m = 700
    shuffle = rng.permutation(m)
    lead = np.repeat(np.arange(m), 4)
    neighbour = shuffle[(lead + np.tile([0, 0, 1, 1], m)) % m]
    y = rng.normal(size=m)[neighbour] + rng.normal(size=len(lead))
    terms = [RandomTerm(lead, group="lead"), RandomTerm(neighbour, group="ring")]
    fits = {}
    for storage in ("dense", "sparse", None):
        design = prepare_design(y, np.ones((len(y), 1)), terms, storage=storage)
        if storage != "dense":
            assert design.blocks.storage == "sparse"
            assert 0 < design.blocks.pattern.n_fill < 6 * m
        fits[storage] = fit_design(design, True)
    for fit in (fits["sparse"], fits[None]):
        assert fit.deviance == pytest.approx(fits["dense"].deviance, rel=1e-12)
        np.testing.assert_allclose(fit.theta, fits["dense"].theta, rtol=1e-7)
        for one, other in zip(fit.effects, fits["dense"].effects, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
        for i in range(2):
            np.testing.assert_allclose(
                fit.joint_effect_covariance([i]),
                fits["dense"].joint_effect_covariance([i]),
                rtol=1e-6,
            )


@pytest.mark.parametrize("k", [1, 2])
def test_sparse_fit_equals_dense_algebra(k):
    data = nested(n_top=6, per=2, size=4, seed=3)
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(len(data)), rng.normal(size=len(data))])
    z = x[:, :k]
    terms = [RandomTerm(data[name], z, group=name) for name in "abc"]
    y = data["y"].to_numpy()
    design = prepare_design(y, x, terms, storage="sparse")
    assert design.blocks.storage == "nested"
    fit = fit_design(design, True)
    want = dense.deviance(y, x, terms, fit.lams, True)
    assert fit.deviance == pytest.approx(want, rel=1e-10)
    v = dense.covariance(terms, fit.lams)
    inverse = np.linalg.inv(v)
    beta = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
    np.testing.assert_allclose(fit.coefficients, beta, rtol=1e-8)
    for term, lam, effect in zip(terms, fit.lams, fit.effects, strict=True):
        mode = dense.dense_z(term).T @ inverse @ (y - x @ beta)
        want = mode.reshape(term.n_levels, term.k) @ (lam @ lam.T)
        np.testing.assert_allclose(effect, want, rtol=1e-6, atol=1e-8)


def test_memory_stays_far_below_n_times_q():
    """20,000 rows x 4,800 effects would be 768 MB dense."""
    data = nested(n_top=400, per=3, size=5)
    tracemalloc.start()
    mx.mixedlm("y ~ 1 + (1 | a) + (1 | b) + (1 | c)", data).fit()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) * 5200 * 8 > 700e6
    assert peak < 40e6
