"""Ordering, supernodes and panels against dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixedext.kernels.factor.layout import Supernodes
from scipy import linalg

from mixedext.engine.factor import tail_pattern
from mixedext.engine.factor.tail_pattern import choose_pattern
from mixedext.engine.rows.design import prepare_design
from mixedext.kernels import reference
from mixedext.kernels.factor import ordering, sparse, supernodal
from mixedext.specification.terms.random_terms import RandomTerm

TIGHT = {"rtol": 1e-11, "atol": 1e-11}


def random_links(rng, n_lead, n_levels, reach):
    """Levels of the lead, each meeting a few neighbouring levels of the tail."""
    centre = rng.integers(0, n_levels, n_lead)
    rows = [
        np.unique(np.clip(c + rng.integers(-reach, reach + 1, 4), 0, n_levels - 1))
        for c in centre
    ]
    pointers = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.intp)
    return pointers, np.concatenate(rows).astype(np.intp)


def adjacency(pointers, indices, n):
    met = np.zeros((len(pointers) - 1, n))
    met[np.repeat(np.arange(len(pointers) - 1), np.diff(pointers)), indices] = 1
    graph = met.T @ met > 0
    np.fill_diagonal(graph, False)
    return graph


def filled(graph):
    """Pattern of the Cholesky factor, by eliminating node after node."""
    graph = graph.copy()
    for j in range(len(graph)):
        later = np.flatnonzero(graph[j + 1 :, j]) + j + 1
        graph[np.ix_(later, later)] = True
    np.fill_diagonal(graph, True)
    return np.tril(graph)


def stored(pattern):
    m = len(pattern.pointers) - 1
    column = np.repeat(np.arange(m), np.diff(pattern.pointers))
    out = np.zeros((m, m), bool)
    out[pattern.rows, column] = True
    return out, column


class Panels:
    """A symmetric positive definite matrix on a pattern of supernodes, and its kernels."""

    def __init__(self, pattern, rng):
        self.pattern = pattern
        self.m = len(pattern.pointers) - 1
        self.stored, self.column = stored(pattern)
        a = np.where(self.stored, rng.normal(size=(self.m, self.m)), 0.0)
        self.a = np.tril(a, -1) + np.tril(a, -1).T
        self.a += np.diag(np.abs(self.a).sum(axis=1) + 1.0)
        self.values = self.a[pattern.rows, self.column]
        self.nodes = Supernodes(pattern.pointers, pattern.rows, pattern.supernodes)
        self.panels = np.zeros(self.nodes.size)
        self.work = np.empty(self.nodes.tallest * self.nodes.widest)
        self.by_column = np.empty((2, self.m), np.intp)
        supernodal.fill_panels(self.nodes, self.values, self.panels)

    def factor(self):
        by_node = np.empty((3, self.nodes.n_nodes), np.intp)
        return supernodal.factor_supernodes(
            self.nodes, self.panels, by_node, self.by_column, self.work
        )

    def read(self, panels):
        out = np.empty(len(self.values))
        supernodal.read_panels(self.nodes, panels, out)
        return out


def make_pattern(seed, n_levels, reach, widths=(1,), storage="supernodal"):
    rng = np.random.default_rng(seed)
    links = random_links(rng, 3 * n_levels, n_levels, reach)
    width = rng.choice(widths, n_levels).astype(np.intp)
    return links, width, *choose_pattern(*links, width, storage)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_levels=st.integers(1, 150),
    reach=st.integers(0, 60),
    widths=st.sampled_from([(1,), (2,), (1, 3)]),
)
def test_panels_equal_dense_algebra(seed, n_levels, reach, widths):
    _, _, _, pattern = make_pattern(seed, n_levels, reach, widths)
    rng = np.random.default_rng(seed)
    p = Panels(pattern, rng)
    np.testing.assert_array_equal(p.read(p.panels), p.values)
    log_det, info = p.factor()
    assert info == 0
    assert log_det == pytest.approx(np.linalg.slogdet(p.a)[1], rel=1e-12, abs=1e-12)
    root = np.linalg.cholesky(p.a)
    np.testing.assert_allclose(p.read(p.panels), root[pattern.rows, p.column], **TIGHT)

    b = rng.normal(size=(p.m, 3))
    for transpose, matrix in ((False, root), (True, root.T)):
        x = b.copy()
        work = np.empty(max(1, p.nodes.most_below * 3))
        supernodal.solve_supernodes(p.nodes, p.panels, work, x, transpose)
        np.testing.assert_allclose(matrix @ x, b, **TIGHT)

    inverse = np.empty_like(p.panels)
    gathered = np.empty(max(1, p.nodes.most_below**2))
    supernodal.invert_supernodes(p.nodes, p.panels, p.by_column, gathered, p.work, inverse)
    want = reference.selected_inverse(root, p.stored)
    np.testing.assert_allclose(p.read(inverse), want[pattern.rows, p.column], **TIGHT)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_levels=st.integers(2, 200),
    reach=st.integers(0, 60),
    bits=st.booleans(),
)
def test_the_pattern_holds_the_factor_and_little_more(seed, n_levels, reach, bits):
    with pytest.MonkeyPatch.context() as patch:
        if not bits:
            patch.setattr(tail_pattern, "MOST_BITS", 0)
            patch.setattr(tail_pattern, "MOST_LEVELS", 0)
        links, _width, order, simple = make_pattern(seed, n_levels, reach, storage="sparse")
        _, _, wide_order, wide = make_pattern(seed, n_levels, reach)
    graph = adjacency(*links, n_levels)
    order = np.arange(n_levels) if order is None else order
    np.testing.assert_array_equal(np.sort(order), np.arange(n_levels))
    np.testing.assert_array_equal(stored(simple)[0], filled(graph[np.ix_(order, order)]))
    n_graph = n_levels + np.count_nonzero(graph) // 2
    assert simple.n_fill == len(simple.rows) - n_graph

    exact = filled(graph[np.ix_(wide_order, wide_order)])
    kept, _ = stored(wide)
    assert not (exact & ~kept).any()
    zeros = np.count_nonzero(kept) - np.count_nonzero(exact)
    assert zeros <= max(10 * n_levels, 0.6 * np.count_nonzero(kept))
    for first, last in zip(wide.supernodes[:-1], wide.supernodes[1:], strict=True):
        block = kept[first:last, first:last]
        assert block[np.tril_indices_from(block)].all()
        below = kept[last:, first:last]
        assert (below == below[:, :1]).all()


def test_minimum_degree_leaves_the_hub_for_last():
    """A star whose centre comes first fills in wholly in that order, and not in this."""
    n = 130
    spokes = np.column_stack([np.zeros(n - 1, np.intp), np.arange(1, n)])
    pointers = np.arange(0, 2 * n - 1, 2).astype(np.intp)
    order, pattern = choose_pattern(
        pointers, spokes.ravel().astype(np.intp), np.ones(n, np.intp), "sparse"
    )
    assert pattern.n_fill == 0
    assert 0 in order[-2:]


def test_minimum_degree_gives_up_where_the_factor_would_cost_too_much():
    rng = np.random.default_rng(0)
    pointers, indices = random_links(rng, 300, 80, 40)
    words = 2
    bits = np.empty((80, words), np.uint64)
    row = np.empty(words, np.uint64)
    total = ordering.meeting_graph(pointers, indices, row, bits)
    assert total == np.count_nonzero(adjacency(pointers, indices, 80))
    scratch = np.empty(80, np.intp), np.empty(words, np.uint64), np.empty(80, np.intp)
    assert ordering.minimum_degree(bits.copy(), 0.7, np.inf, *scratch)
    assert not ordering.minimum_degree(bits.copy(), 0.7, 100.0, *scratch)


def test_a_matrix_that_is_not_positive_names_its_minor():
    _, _, _, pattern = make_pattern(3, 60, 5)
    p = Panels(pattern, np.random.default_rng(1))
    at = np.flatnonzero(pattern.rows == p.column)[37]
    p.values[at] = -1.0
    supernodal.fill_panels(p.nodes, p.values, p.panels)
    log_det, bad = p.factor()
    assert np.isnan(log_det)
    assert bad == 38


def test_postorder_puts_children_before_parents_and_keeps_the_fill():
    rng = np.random.default_rng(5)
    graph = adjacency(*random_links(rng, 200, 90, 6), 90)
    lower = [np.flatnonzero(row[:i]) for i, row in enumerate(graph)]
    pointers = np.concatenate([[0], np.cumsum([len(r) for r in lower])]).astype(np.intp)
    parent, mark, count = (np.empty(90, np.intp) for _ in range(3))
    indices = np.concatenate(lower).astype(np.intp)
    assert sparse.count_fill(pointers, indices, parent, mark, count, False)
    order = np.empty(90, np.intp)
    ordering.postorder(parent, *(np.empty(90, np.intp) for _ in range(3)), order)
    rank = np.argsort(order)
    tree = parent >= 0
    assert (rank[tree] < rank[parent[tree]]).all()
    assert np.count_nonzero(filled(graph)) == np.count_nonzero(
        filled(graph[np.ix_(order, order)])
    )


def test_choice_of_storage():
    """Dense where all levels meet, columns without fill-in, panels between the two."""
    rng = np.random.default_rng(0)
    ones = np.ones(600, np.intp)
    everything = random_links(rng, 60000, 600, 600)
    assert choose_pattern(*everything, ones)[1] is None
    band = random_links(rng, 3000, 600, 2)
    assert choose_pattern(*band, ones)[1].supernodes is None
    blocks = random_links(rng, 6000, 600, 60)
    assert choose_pattern(*blocks, ones)[1].supernodes is not None
    # a large star of cliques is sparse in any order
    cliques = linalg.block_diag(*[np.ones((30, 30))] * 20)
    rows = [np.flatnonzero(r) for r in cliques]
    pointers = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.intp)
    order, pattern = choose_pattern(pointers, np.concatenate(rows).astype(np.intp), ones)
    assert order is None
    assert pattern.n_fill == 0


@pytest.mark.slow
def test_the_graph_of_many_levels_is_sampled_before_it_is_built(monkeypatch):
    rng = np.random.default_rng(1)
    monkeypatch.setattr(tail_pattern, "MOST_BITS", 100)
    ones = np.ones(500, np.intp)
    for n_lead, reach in ((40_000, 500), (4000, 8)):
        links = random_links(rng, n_lead, 500, reach)
        expected = tail_pattern._expected_neighbours(*links, 500)
        # a level counts as its own neighbour here
        exact = np.count_nonzero(adjacency(*links, 500)) + 500
        assert expected == pytest.approx(exact, rel=0.1)
    assert choose_pattern(*random_links(rng, 40_000, 500, 500), ones)[1] is None

    # too many levels for rows of bits, and too many pairs for a list of them
    assert choose_pattern(*links, ones)[1] is not None
    with monkeypatch.context() as patch:
        patch.setattr(tail_pattern, "MOST_LEVELS", 400)
        assert choose_pattern(*links, ones)[1] is None
        patch.setattr(tail_pattern, "SPARSE_GRAPH", 1.0)
        assert choose_pattern(*links, ones)[1] is not None

    told = []
    _, pattern = choose_pattern(*links, ones, check=told.append)
    assert told[0] == pytest.approx(exact / 2, rel=0.1)
    assert told[1] <= len(pattern.rows) <= 1.6 * told[1]

    def refuse(n_stored):
        raise MemoryError(n_stored)

    for most in (100, 8192):
        monkeypatch.setattr(tail_pattern, "MOST_BITS", most)
        with pytest.raises(MemoryError):
            choose_pattern(*links, ones, check=refuse)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("singular", [False, True])
def test_all_storages_give_the_same_fit_at_any_theta(width, singular):
    """Tails of many supernodes; value, derivatives and conditional covariances."""
    rng = np.random.default_rng(width)
    n = 3000
    lead = rng.integers(0, 900, n)
    near = (lead // 3 + rng.integers(-6, 7, n)).clip(0, 299)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    terms = [
        RandomTerm(lead, x[:, :width], group="lead"),
        RandomTerm(near, x[:, :width], group="near"),
        RandomTerm(near // 12, group="region"),
    ]
    y = rng.normal(size=300)[near] + rng.normal(size=n)
    got = {}
    for storage in ("dense", "sparse", "supernodal"):
        design = prepare_design(y, x, terms, storage=storage)
        objective = design.objective(True)
        theta = np.linspace(0.4, 1.1, objective.n_theta)
        if singular:
            theta[[0, -1]] = 0.0
            theta[objective.theta_slices[1].stop - 1] = 0.0
        value = objective.value(theta)
        blocks = [
            objective.by_term(i, *part)
            for part in (objective.factor.response.effect,)
            for i in range(3)
        ]
        blocks += [
            objective.factor.conditional_covariance(objective.place[i][0]) for i in range(3)
        ]
        d = objective.derivatives(theta)
        got[storage] = [np.array(value), d.gradient, d.hessian, d.information, *blocks]
        if storage == "supernodal":
            assert len(design.blocks.pattern.supernodes) > 10
    for storage in ("sparse", "supernodal"):
        for one, other in zip(got["dense"], got[storage], strict=True):
            size = np.abs(one).max() + 1
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-10 * size)
