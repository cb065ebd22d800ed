"""Cross-products under new weights against those of the first time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.engine.rows.basis import Bases, FixedBasis, Shifts
from mixedext.engine.rows.blocks import build_blocks
from mixedext.engine.rows.products import Products, group_by_factor
from mixedext.engine.rows.reweighted import ReweightedBlocks
from mixedext.engine.rows.rows import Rows


def some_terms(kind, rng, n):
    z = np.column_stack([np.ones(n), rng.standard_normal(n)])
    a = mx.RandomTerm(np.resize(np.arange(12), n), z, group="a")
    b = mx.RandomTerm(rng.integers(0, 7, n), group="b")
    c = mx.RandomTerm(rng.integers(0, 5, n), z, group="c")
    nested = mx.RandomTerm(np.resize(np.arange(12), n) // 3, group="d")
    many = mx.RandomTerm(np.resize(np.arange(200), n), group="e")
    return {
        "one": [a],
        "shared": [a, mx.RandomTerm(a.codes, z[:, 1:] ** 2, group="a")],
        "nested": [a, nested],
        "crossed": [a, b, c],
        "sparse": [many, mx.RandomTerm(np.resize(np.arange(150), n), group="f"), nested],
    }[kind]


@pytest.mark.parametrize("kind", ["one", "shared", "nested", "crossed", "sparse"])
def test_blocks_are_those_of_the_weights(kind):
    rng = np.random.default_rng(len(kind))
    n, rank = 700, 2
    terms = some_terms(kind, rng, n)
    columns = rng.standard_normal((n, rank + 1))
    bases = Bases(
        Shifts(np.zeros(rank + 1), 0.0, tuple(np.zeros(t.k) for t in terms)),
        FixedBasis(np.eye(rank), np.arange(rank), np.zeros((rank, 0))),
        np.eye(rank + 1),
        1.0,
        tuple(np.eye(t.k) for t in terms),
        tuple(np.eye(t.k) for t in terms),
    )
    layouts = group_by_factor(terms)

    def rows(weights):
        return Rows(columns[:, -1], columns[:, :-1], terms, weights)

    found = ReweightedBlocks(rows(np.ones(n)), bases, layouts)
    for _ in range(2):
        weights = rng.uniform(0.1, 3.0, n)
        found.weigh(weights)
        wanted = build_blocks(Products.of(rows(weights), bases, layouts))
        for name in ("lead_gram", "lead_cross", "link_value", "tail_gram", "tail_cross"):
            own, other = getattr(found.blocks, name), getattr(wanted, name)
            assert_allclose(own, other, rtol=1e-14, err_msg=name)
        assert_allclose(found.blocks.fixed_gram, wanted.fixed_gram, rtol=1e-14)
        assert (found.blocks.link_index == wanted.link_index).all()
