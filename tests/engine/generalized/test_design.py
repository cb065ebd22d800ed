"""Rows of generalized models: units, and blocks by weights."""

import numpy as np
import pytest
from scipy import sparse

from mixedext.engine.generalized.design import prepare_rows
from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance
from mixedext.specification.families.likelihood import LikelihoodRows
from mixedext.specification.families.registry import family_of
from mixedext.specification.families.response import RowResponse
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm


def _rows(n=120, seed=0):
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(5, 1, n), rng.normal(size=n)])
    codes = [rng.permutation(np.arange(n) % m) for m in (15, 7, 4)]
    return rng, x, codes


def _cases():
    _rng, x, (g, h, k) = _rows()
    spread = sparse.csr_array(sparse.random(len(x), 9, 0.3, random_state=1))
    return {
        "one": [RandomTerm(g, x[:, :2], "g")],
        "crossed": [RandomTerm(g, None, "g"), RandomTerm(h, None, "h")],
        "slopes": [RandomTerm(g, x[:, :2], "g"), RandomTerm(k, x[:, [0, 2]], "k")],
        "same factor": [RandomTerm(g, None, "g"), RandomTerm(g, x[:, 1], "g")],
        "three": [RandomTerm(c, None, f"c{i}") for i, c in enumerate((g, h, k))],
        "spread": [RandomTerm(g, x[:, :2], "g"), SparseTerm(spread, "s")],
        "spread alone": [SparseTerm(spread, "s")],
    }


@pytest.mark.parametrize("name", _cases())
@pytest.mark.parametrize("storage", [None, "dense", "sparse"])
def test_blocks_are_those_of_weighted_rows(name, storage):
    rng, x, _ = _rows()
    if storage == "sparse" and "spread" in name:
        pytest.skip("the pattern of a small tail does not know a spread factor")
    design = prepare_rows(x, _cases()[name], storage=storage)
    weights = rng.uniform(-0.5, 2, len(x))
    design.weighted.fill(weights)
    blocks = design.weighted.blocks
    z = design.z.toarray()
    gram = z.T @ (weights[:, None] * z)
    levels, width = blocks.lead_gram.shape[:2]
    head = levels * width
    dense = np.zeros_like(gram)
    for level in range(levels):
        at = slice(level * width, (level + 1) * width)
        dense[at, at] = blocks.lead_gram[level]
        for t in range(blocks.link_pointers[level], blocks.link_pointers[level + 1]):
            dense[head + blocks.link_index[t], at] = blocks.link_value[t]
            dense[at, head + blocks.link_index[t]] = blocks.link_value[t]
    dense[head:, head:] = blocks.multiply_on_pattern(
        blocks.tail_gram, np.eye(blocks.tail_size)
    )
    np.testing.assert_allclose(dense, gram, atol=1e-12 * np.abs(gram).max())


def test_two_sets_of_weights_do_not_touch():
    _, x, _ = _rows()
    design = prepare_rows(x, _cases()["crossed"])
    one, other = design.weighted, design.weighted.another()
    one.fill(np.ones(len(x)))
    before = one.blocks.tail_gram.copy()
    other.fill(np.full(len(x), 3.0))
    np.testing.assert_array_equal(one.blocks.tail_gram, before)
    np.testing.assert_allclose(other.blocks.tail_gram, 3 * before)


def test_the_basis_spans_x_and_drops_what_depends():
    _, x, (g, _, _) = _rows()
    x = np.column_stack([x, x[:, 1] - 2 * x[:, 2], 1e6 + x[:, 1]])
    design = prepare_rows(x, [RandomTerm(g, None, "g")])
    basis = design.units.basis
    assert list(basis.kept) == [0, 1, 2]
    np.testing.assert_allclose(design.x.T @ design.x, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(design.x @ basis.r, x[:, :3], rtol=1e-12, atol=1e-11)


def test_lam_and_its_transpose():
    rng, x, _ = _rows()
    design = prepare_rows(x, _cases()["slopes"])
    lams = [np.tril(rng.normal(size=(2, 2))) for _ in range(2)]
    u, v = rng.normal(size=(2, design.z.shape[1]))
    there = design.times_lam(lams, u)
    back = design.times_lam(lams, v, transpose=True)
    assert there @ v == pytest.approx(u @ back, rel=1e-13)
    both = design.times_lam(lams, np.column_stack([u, v]))
    np.testing.assert_allclose(both[:, 0], there, rtol=1e-14)
    lead, tail = design.split(u)
    np.testing.assert_array_equal(design.joined(lead, tail), u)


def test_nested_factors_have_a_pattern_without_fill_in():
    rng = np.random.default_rng(0)
    n = 400
    fine = np.arange(n) // 2
    terms = [RandomTerm(fine // k, None, f"g{k}") for k in (1, 2, 10)]
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    design, dense = prepare_rows(x, terms), prepare_rows(x, terms, storage="dense")
    assert design.blocks.storage == "nested"
    rows = LikelihoodRows(family_of("poisson"), RowResponse(rng.poisson(2, n) * 1.0))
    psi = np.array([0.5, 0.3, 0.2, 8.0, 1.0])
    one, other = (LaplaceDeviance(d, rows).evaluate(psi) for d in (design, dense))
    assert one.value == pytest.approx(other.value, rel=1e-13)
    np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-10, atol=1e-10)
