"""Every kernel against its NumPy twin, on designs with dense and sparse tails."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.blocks import plain_blocks
from mixedext.kernels.factor.layout import TailLevels
from scipy import linalg

from mixedext.engine.factor import tail
from mixedext.engine.factor.factor import Factor
from mixedext.kernels import reference
from mixedext.kernels.factor import dense, lead, sparse
from mixedext.kernels.rows import crossproducts
from mixedext.specification.terms.random_terms import RandomTerm

TIGHT = {"rtol": 1e-11, "atol": 1e-11}


class Design:
    """Three crossed factors of widths 2, 1 and 3 on 120 rows."""

    def __init__(self, seed, storage, nested=False, panels=False):
        rng = np.random.default_rng(seed)
        n = 120
        self.fixed = rng.normal(size=(n, 3))
        a = rng.integers(0, 15, n)
        x = rng.normal(size=(n, 4))
        self.terms = [
            RandomTerm(a, x[:, :2], group="a"),
            RandomTerm(a // 2 if nested else rng.integers(0, 6, n), x[:, 2], group="b"),
            RandomTerm(a // 5 if nested else rng.integers(0, 4, n), x[:, 1:], group="c"),
        ]
        self.blocks = plain_blocks(self.terms, self.fixed, storage)
        self.lams = [
            np.tril(rng.normal(size=(f.width, f.width))) for f in self.blocks.factors
        ]
        if storage == "dense":  # whatever the share of links
            monkeypatch = pytest.MonkeyPatch()
            monkeypatch.setattr(tail, "PANEL_SHARE", 0.0 if panels else 2.0)
            monkeypatch.setattr(tail, "PANEL_SIZE", 100)
        self.factor = Factor(self.blocks)
        if storage == "dense":
            monkeypatch.undo()
            assert type(self.factor.tail).__name__ == (
                "PanelTail" if panels else "DenseTail"
            )
        assert self.factor.update(self.lams)

        order = [f.terms[0] for f in self.blocks.factors]
        self.lead = self.terms[order[0]]
        m = self.blocks.tail_size
        self.tail_matrix = np.zeros((n, m))
        self.tail_lam = np.zeros((m, m))
        for f, number in enumerate(order[1:]):
            term, at = self.terms[number], self.blocks.tail_columns(f)
            for j in range(term.k):
                self.tail_matrix[np.arange(n), at[term.codes, j]] = term.z[:, j]
            for level in at:
                self.tail_lam[np.ix_(level, level)] = self.lams[f + 1]
        self.links = reference.link_products(
            self.lead.codes, self.lead.z, self.tail_matrix, self.lead.n_levels
        )
        self.reduced, self.cross = reference.reduce_tail(
            self.tail_matrix.T @ self.tail_matrix,
            self.tail_matrix.T @ self.fixed,
            self.links,
            self.factor.half,
            self.factor.solved,
        )
        scaled = self.tail_lam.T @ self.reduced @ self.tail_lam + np.eye(m)
        self.inverse = np.linalg.inv(scaled)
        self.covariance = self.tail_lam @ self.inverse @ self.tail_lam.T

    def dense_links(self):
        b = self.blocks
        out = np.zeros_like(self.links)
        for level in range(len(b.link_pointers) - 1):
            at = slice(b.link_pointers[level], b.link_pointers[level + 1])
            out[b.link_index[at], level] = b.link_value[at]
        return out


@pytest.fixture(
    params=[
        (0, "dense", False),
        (2, "dense", True),
        (1, "sparse", False),
        (3, "sparse", True),
        (4, "supernodal", False),
        (5, "supernodal", True),
        (6, "dense", False, True),
        (7, "dense", True, True),
    ],
    ids=[
        f"{how}-{storage}"
        for storage in ("dense", "sparse")
        for how in ("crossed", "nested")
    ]
    + ["crossed-supernodal", "nested-supernodal", "crossed-panels", "nested-panels"],
)
def design(request):
    return Design(*request.param)


def test_sort_rows_is_stable():
    codes = np.array([2, 0, 2, 1, 0, 2], np.int32)
    order, pointers = np.empty(6, np.int32), np.zeros(5, np.intp)
    crossproducts.sort_rows(codes, order, pointers)
    np.testing.assert_array_equal(order, np.argsort(codes, kind="stable"))
    np.testing.assert_array_equal(pointers, [0, 2, 3, 6, 6])


@pytest.mark.parametrize("n", [0, 1, 200])
def test_pairs_are_numbered_in_order(n):
    rng = np.random.default_rng(n)
    first, other = rng.integers(0, 30, (2, n)).astype(np.int32)
    before, order = np.empty(n, np.int32), np.empty(n, np.int32)
    pointers = np.empty(31, np.intp)
    crossproducts.sort_rows(other, before, pointers)
    crossproducts.sort_again(first, before, order, pointers)
    np.testing.assert_array_equal(order, np.lexsort((np.arange(n), other, first)))
    pair_pointers, index = np.empty(31, np.intp), np.empty(n, np.int32)
    row_pair = np.empty(n, np.int32)
    crossproducts.number_pairs(order, pointers, other, pair_pointers, index, row_pair)
    pairs, inverse = np.unique(first * 30 + other, return_inverse=True)
    np.testing.assert_array_equal(row_pair, inverse)
    np.testing.assert_array_equal(index[: len(pairs)], pairs % 30)
    want = np.searchsorted(pairs // 30, np.arange(31))
    np.testing.assert_array_equal(pair_pointers, want)


def test_level_and_link_products(design):
    b = design.blocks
    gram, cross = reference.level_products(
        design.lead.codes, design.lead.z, design.fixed, design.lead.n_levels
    )
    np.testing.assert_allclose(b.lead_gram, gram, **TIGHT)
    np.testing.assert_allclose(b.lead_cross, cross, **TIGHT)
    np.testing.assert_allclose(design.dense_links(), design.links, **TIGHT)
    np.testing.assert_allclose(b.tail_cross, design.tail_matrix.T @ design.fixed, **TIGHT)
    for level in range(len(b.link_pointers) - 1):
        row = b.link_index[b.link_pointers[level] : b.link_pointers[level + 1]]
        assert (np.diff(row) > 0).all()


def test_tail_gram(design):
    want = design.tail_matrix.T @ design.tail_matrix
    got = design.blocks.tail_gram
    if design.blocks.pattern is not None:
        got = _dense_from(design, got)
    np.testing.assert_allclose(got, want, **TIGHT)


def _dense_from(design, values):
    pattern = design.blocks.pattern
    m = design.blocks.tail_size
    lower = np.zeros((m, m))
    column = np.repeat(np.arange(m), np.diff(pattern.pointers))
    lower[pattern.rows, column] = values
    return lower + np.tril(lower, -1).T


def test_factor_levels_and_reduce_fixed(design):
    half, log_det = reference.factor_levels(design.blocks.lead_gram, design.lams[0])
    np.testing.assert_allclose(design.factor.half, half, **TIGHT)
    k = len(design.lams[0])
    got, good = lead.factor_levels(
        design.blocks.lead_gram, design.lams[0], np.empty(half.shape), np.empty((2 * k, k))
    )
    assert good
    assert got == pytest.approx(log_det, rel=1e-12)
    np.testing.assert_allclose(
        design.factor.solved,
        reference.reduce_fixed(half, design.blocks.lead_cross),
        **TIGHT,
    )


def test_factor_levels_reports_a_matrix_that_is_not_positive():
    gram = np.array([[[1.0, 0.0], [0.0, -5.0]]])
    _, good = lead.factor_levels(gram, np.eye(2), np.empty((1, 2, 2)), np.empty((4, 2)))
    assert not good


def test_reduced_tail_and_its_factor(design):
    tail = design.factor.tail
    np.testing.assert_allclose(tail.cross, design.cross, **TIGHT)
    reduced = tail.reduced
    if design.blocks.pattern is not None:
        reduced = _dense_from(design, reduced)
    else:
        reduced = np.tril(reduced) + np.tril(reduced, -1).T
    np.testing.assert_allclose(reduced, design.reduced, **TIGHT)
    sign, log_det = np.linalg.slogdet(np.linalg.inv(design.inverse))
    lead_log_det = reference.factor_levels(design.blocks.lead_gram, design.lams[0])[1]
    assert sign == 1
    assert design.factor.log_det == pytest.approx(log_det + lead_log_det, rel=1e-11)


def test_solves(design):
    rng = np.random.default_rng(5)
    b = rng.normal(size=(design.blocks.tail_size, 4))
    got = b.copy()
    design.factor.tail.solve(got)
    design.factor.tail.solve(got, transpose=True)
    roots = [v * s for v, s in design.factor.roots]
    # the tail works with another root of the same covariance
    root = np.zeros_like(design.tail_lam)
    for f, r in enumerate(roots):
        for level in design.blocks.tail_columns(f):
            root[np.ix_(level, level)] = r
    want = np.linalg.solve(root.T @ design.reduced @ root + np.eye(len(b)), b)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def test_curvature(design):
    curvature = design.factor.curvature
    want = reference.lead_curvature(
        design.blocks.lead_gram, design.factor.half, design.links, design.covariance
    )
    np.testing.assert_allclose(curvature[0], want, rtol=1e-8, atol=1e-8)
    for f in range(2):
        total = reference.tail_curvature(
            design.reduced, design.tail_lam, design.inverse, design.blocks.tail_columns(f)
        )
        np.testing.assert_allclose(
            curvature[f + 1] @ design.lams[f + 1], total, rtol=1e-7, atol=1e-8
        )


def test_response(design):
    tail_effect = design.covariance @ design.cross
    response, effect = reference.lead_response(
        design.blocks.lead_gram,
        design.factor.half,
        design.links,
        design.blocks.lead_cross,
        tail_effect,
    )
    got = design.factor.response
    np.testing.assert_allclose(got.response[0], response, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(got.effect[0], effect, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(got.effect[1], tail_effect, rtol=1e-8, atol=1e-9)
    want = design.cross - design.reduced @ tail_effect
    np.testing.assert_allclose(got.response[1], want, rtol=1e-8, atol=1e-9)


def test_project(design):
    rng = np.random.default_rng(7)
    lead_weight = rng.normal(size=(*design.blocks.lead_gram.shape[:2], 3))
    tail_weight = rng.normal(size=(design.blocks.tail_size, 3))
    image, solved, share, reduced = reference.lead_project(
        design.blocks.lead_gram,
        design.factor.half,
        design.links,
        lead_weight,
        tail_weight,
    )
    gram = design.tail_matrix.T @ design.tail_matrix
    tail_image = share + gram @ tail_weight
    rest = reduced + gram @ tail_weight
    want = (
        np.einsum("lar,las->rs", lead_weight, image)
        + tail_weight.T @ tail_image
        - np.einsum("lar,las->rs", solved, solved)
        - rest.T @ design.covariance @ rest
    )
    got = design.factor.project(lead_weight, tail_weight)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-8)


def test_conditional_covariance(design):
    want = reference.lead_conditional_variance(
        design.factor.half, design.links, design.covariance
    )
    np.testing.assert_allclose(
        design.factor.conditional_covariance(0), want, rtol=1e-8, atol=1e-9
    )
    for f in range(2):
        at = design.blocks.tail_columns(f)
        want = design.covariance[at[:, :, None], at[:, None, :]]
        got = design.factor.conditional_covariance(f + 1)
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-9)


def _random_spd(rng, n):
    a = rng.normal(size=(n, n))
    return a @ a.T + n * np.eye(n)


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 130])
def test_dense_cholesky_and_inverse(n):
    rng = np.random.default_rng(n)
    a = _random_spd(rng, n)
    factor = a.copy()
    log_det, info = dense.factor_cholesky(factor)
    assert info == 0
    assert log_det == pytest.approx(np.linalg.slogdet(a)[1], rel=1e-12)
    np.testing.assert_allclose(np.tril(factor), np.linalg.cholesky(a), **TIGHT)
    b = rng.normal(size=(n, 2))
    for transpose, root in ((False, np.tril(factor)), (True, np.tril(factor).T)):
        x = b.copy()
        dense.solve_cholesky(factor, x, transpose)
        np.testing.assert_allclose(root @ x, b, rtol=1e-9, atol=1e-9)
    upper = np.full((n, n), np.nan)
    dense.transpose_lower(factor, upper)
    dense.invert_upper(upper)
    np.testing.assert_allclose(
        upper[np.triu_indices(n)], np.linalg.inv(a)[np.triu_indices(n)], **TIGHT
    )
    assert np.isnan(upper[np.tril_indices(n, -1)]).all()
    out = np.empty((n, 2))
    stored = np.where(np.tri(n, k=-1), a, np.nan)
    stored[np.diag_indices(n)] = -1.0
    dense.multiply_lower(stored, np.diag(a).copy(), b, out)
    np.testing.assert_allclose(out, a @ b, **TIGHT)


def test_dense_cholesky_names_the_bad_minor():
    a = np.diag([1.0, 2.0, -1.0])
    log_det, info = dense.factor_cholesky(a)
    assert np.isnan(log_det)
    assert info == 3


@pytest.mark.parametrize("transpose", [False, True])
def test_multiply_by_lam(transpose):
    rng = np.random.default_rng(0)
    level_start = np.array([0, 2, 3, 5], np.intp)
    level_factor = np.array([0, 1, 0], np.intp)
    lam = np.zeros((2, 2, 2))
    lam[0], lam[1, 0, 0] = rng.normal(size=(2, 2)), 1.7
    full = linalg.block_diag(lam[0], lam[1, :1, :1], lam[0])
    a = rng.normal(size=(5, 5))
    left = a.copy()
    levels = TailLevels(level_start, level_factor)
    dense.multiply_left(left, levels, lam, transpose, np.empty((2, 5)))
    np.testing.assert_allclose(left, (full.T if transpose else full) @ a, **TIGHT)


@pytest.mark.parametrize("width", [1, 2])
def test_scale_levels_reads_the_lower_triangle_alone(width):
    rng = np.random.default_rng(width)
    level_start = np.arange(0, 41, width)
    level_factor = np.arange(len(level_start) - 1) % 2
    m = int(level_start[-1])
    lam = rng.normal(size=(2, width, width))
    full = linalg.block_diag(*lam[level_factor])
    a = _random_spd(rng, m)
    out = np.empty((m, m))
    dense.scale_levels(
        np.where(np.tri(m), a, np.nan),
        TailLevels(level_start, level_factor),
        lam,
        np.empty(m),
        np.empty((width, m)),
        out,
    )
    lower = np.tril_indices(m)
    np.testing.assert_allclose(out[lower], (full.T @ a @ full + np.eye(m))[lower], **TIGHT)


def test_sparse_cholesky_names_the_bad_minor():
    pointers, rows = np.array([0, 2, 3], np.intp), np.array([0, 1, 1], np.intp)
    values = np.array([1.0, 2.0, 1.0])
    scratch = [np.empty(2, np.intp) for _ in range(3)]
    log_det, bad = sparse.factor_cholesky(pointers, rows, values, *scratch, np.zeros(2))
    assert np.isnan(log_det)
    assert bad == 2


@pytest.mark.parametrize("nested", [False, True])
def test_selected_inverse(nested):
    design = Design(4, "sparse", nested)
    pattern = design.blocks.pattern
    tail = design.factor.tail
    m = design.blocks.tail_size
    column = np.repeat(np.arange(m), np.diff(pattern.pointers))
    factor, stored = np.zeros((m, m)), np.zeros((m, m), bool)
    factor[pattern.rows, column] = tail.factor
    stored[pattern.rows, column] = True
    inverse = np.empty_like(tail.factor)
    scratch = np.empty(m), np.empty(m), np.empty(m, np.intp)
    sparse.invert_selected(*tail.columns, tail.factor, *scratch, inverse)
    want = reference.selected_inverse(factor, stored)
    np.testing.assert_allclose(inverse, want[pattern.rows, column], rtol=1e-9, atol=1e-11)
