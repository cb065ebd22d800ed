"""Rows of generalized models in the engine's units."""

import numpy as np
import pytest

from mixedext.engine.generalized.design import prepare_rows
from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance
from mixedext.specification.families.likelihood import LikelihoodRows
from mixedext.specification.families.registry import family_of
from mixedext.specification.families.response import RowResponse
from mixedext.specification.terms.random_terms import RandomTerm


def _rows(n=120, seed=0):
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(5, 1, n), rng.normal(size=n)])
    codes = [rng.permutation(np.arange(n) % m) for m in (15, 7, 4)]
    return rng, x, codes


def test_the_basis_spans_x_and_drops_what_depends():
    _, x, (g, _, _) = _rows()
    x = np.column_stack([x, x[:, 1] - 2 * x[:, 2], 1e6 + x[:, 1]])
    design = prepare_rows(x, [RandomTerm(g, None, "g")])
    basis = design.units.basis
    assert list(basis.kept) == [0, 1, 2]
    np.testing.assert_allclose(design.x.T @ design.x, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(design.x @ basis.r, x[:, :3], rtol=1e-12, atol=1e-11)


def test_lam_and_its_transpose():
    rng, x, (g, _, k) = _rows()
    terms = [RandomTerm(g, x[:, :2], "g"), RandomTerm(k, x[:, [0, 2]], "k")]
    design = prepare_rows(x, terms)
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
