"""Records of where levels, links and panels lie."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from mixedext.kernels.factor.layout import Links, Supernodes, TailLevels

from mixedext.engine.factor.tail_pattern import choose_pattern
from mixedext.kernels.deviance import expected
from mixedext.kernels.factor import dense, lead, supernodal

M = 12


@pytest.fixture
def met():
    """Pointers and columns of the links of 30 levels, some of them without any."""
    rng = np.random.default_rng(3)
    rows = [np.flatnonzero(row) for row in rng.random((30, M)) < 0.3]
    rows[4] = rows[29] = rows[0][:0]
    pointers = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
    return pointers.astype(np.intp), np.concatenate(rows).astype(np.intp)


def through(kept, what):
    return {
        "itself": lambda: what,
        "pickled": lambda: pickle.loads(pickle.dumps(what)),
        "copied": lambda: copy.deepcopy(what),
    }[kept]()


@pytest.mark.parametrize("kept", ["itself", "pickled", "copied"])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_links_by_column_are_those_by_level(met, kept, k):
    pointers, index = met
    links = through(kept, Links(pointers, index, M))
    level = np.repeat(np.arange(30), np.diff(pointers))
    left, right = np.random.default_rng(k).normal(size=(2, len(index), k))
    whole = np.zeros((2, M, 30, k))
    whole[0, index, level], whole[1, index, level] = left, right
    want = np.tril(np.einsum("mla,nla->mn", *whole))
    got = np.zeros((M, M))
    expected.square_dense(links, left, right, got)
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)
    pieces = np.zeros((M, M))
    for first, last in ((0, 5), (5, M)):
        lead.reduce_tail_dense(links, left, first, last, pieces)
    square = np.tril(np.einsum("mla,nla->mn", whole[0], whole[0]))
    np.testing.assert_allclose(pieces, -square, rtol=1e-13, atol=1e-13)


def test_work_counts_the_pairs_of_links(met):
    pointers, index = met
    level = np.repeat(np.arange(30), np.diff(pointers))
    place = np.arange(len(index)) - pointers[level] + 1
    work = Links(pointers, index, M).work
    np.testing.assert_array_equal(work, np.bincount(index, place, M))
    assert work.sum() == sum(n * (n + 1) / 2 for n in np.diff(pointers))


@pytest.mark.parametrize("kept", ["itself", "pickled", "copied"])
def test_levels_have_their_columns_and_factors(kept):
    start, factor = np.array([0, 2, 3, 5], np.intp), np.array([0, 1, 0], np.intp)
    levels = through(kept, TailLevels(start, factor))
    assert (levels.n_levels, levels.n_columns) == (3, 5)
    lam = np.array([[[2.0, 0.0], [1.0, 3.0]], [[5.0, 0.0], [0.0, 0.0]]])
    out = np.eye(5)
    dense.multiply_left(out, levels, lam, False, np.empty((2, 5)))
    np.testing.assert_array_equal(out.diagonal(), [2, 3, 5, 2, 3])
    assert (out[1, 0], out[4, 3]) == (1, 1)


@pytest.mark.parametrize("kept", ["itself", "pickled", "copied"])
def test_panels_hold_the_diagonal(met, kept):
    pattern = choose_pattern(*met, np.ones(M, np.intp), "supernodal")[1]
    rows = pattern.pointers, pattern.rows
    nodes = through(kept, Supernodes(*rows, pattern.supernodes))
    width = np.diff(pattern.supernodes)
    height = np.diff(pattern.pointers)[pattern.supernodes[:-1]]
    assert nodes.size == (width * height).sum()
    assert (nodes.tallest, nodes.widest) == (height.max(), width.max())
    assert nodes.most_below == (height - width).max()
    values = np.arange(1.0, len(pattern.rows) + 1.0)
    panels, back, pivots = np.zeros(nodes.size), np.empty_like(values), np.empty(M)
    supernodal.fill_panels(nodes, values, panels)
    supernodal.read_panels(nodes, panels, back)
    supernodal.read_pivots(nodes, panels, pivots)
    np.testing.assert_array_equal(back, values)
    np.testing.assert_array_equal(pivots, values[pattern.pointers[:-1]])


def test_arrays_of_another_type_are_refused(met):
    pointers, index = met
    with pytest.raises(ValueError, match="mismatch"):
        Links(pointers, index.astype(float), M)
