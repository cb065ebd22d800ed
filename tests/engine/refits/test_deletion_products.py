"""Cross-products less those of some rows are those of the rows left."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import dense
from helpers.designs import random_design

import mixedext as mx
from mixedext.engine.fit import evaluate_design, fit_design
from mixedext.engine.refits.deletion_products import ProductsLeft, engine_rows
from mixedext.engine.rows.design import prepare_design


@pytest.mark.parametrize("weighted", [True, False])
def test_rows_in_the_engines_units(weighted):
    rows = random_design(1, 40, [(2, 0)], False, False, weighted, True)
    design = rows.prepare()
    fixed, root = engine_rows(design, rows.y, rows.x, rows.weights)
    np.testing.assert_allclose(fixed.T @ fixed, design.blocks.fixed_gram, atol=1e-10)
    np.testing.assert_allclose(root**2, 1.0 if rows.weights is None else rows.weights)


@pytest.mark.parametrize("storage", ["dense", "sparse"])
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("kinds", [[(1, 0), (2, 0)], [(2, 1), (1, 0), (3, 2)]])
def test_deviance_of_the_rows_left(kinds, nested, weighted, reml, storage):
    """At any theta: a set of random rows, a level that becomes empty, all of a pair."""
    rows = random_design(4, 70, kinds, nested, False, weighted, False)
    theta = rows.theta + 0.1
    fit = evaluate_design(rows.prepare(storage), reml, theta)
    left = ProductsLeft(fit, (rows.y, rows.x, rows.terms, rows.weights))
    first, second = rows.terms[0].codes, rows.terms[1].codes
    for gone in (first == 1, second == 0, (first == 0) & (second == second[0])):
        found = evaluate_design(left.without(np.flatnonzero(gone)), reml, theta)
        kept = ~gone
        weights = None if rows.weights is None else rows.weights[kept]
        terms = [t.take(kept) for t in rows.terms]
        lams = fit.design.own_lams(theta)
        want = dense.deviance(rows.y[kept], rows.x[kept], terms, lams, reml, weights)
        assert np.isclose(found.deviance, want, rtol=1e-11, atol=1e-10)
        again = prepare_design(rows.y[kept], rows.x[kept], terms, weights)
        other = evaluate_design(again, reml, theta)
        np.testing.assert_allclose(found.coefficients, other.coefficients, rtol=1e-8)
        np.testing.assert_allclose(
            found.covariance, other.covariance, rtol=1e-7, atol=1e-12
        )
        assert np.isclose(found.scale, other.scale, rtol=1e-9)


def test_empty_levels_are_exactly_zero():
    """Z of 1e8 times a level leaves no rounding error behind."""
    rng = np.random.default_rng(0)
    codes, other = np.repeat(np.arange(6), 5), np.tile(np.arange(5), 6)
    z = np.where(codes == 2, 1e8, 1.0) * rng.uniform(1, 2, 30)
    y = rng.normal(size=30)
    terms = [mx.RandomTerm(codes, z[:, None]), mx.RandomTerm(other, group="h")]
    fit = fit_design(prepare_design(y, np.ones((30, 1)), terms), True)
    left = ProductsLeft(fit, (y, np.ones((30, 1)), terms, None))
    design = left.without(np.flatnonzero(codes == 2))
    assert (design.blocks.lead_gram[2] == 0).all()
    assert (design.blocks.lead_cross[2] == 0).all()
    first, last = design.blocks.link_pointers[2:4]
    assert (design.blocks.link_value[first:last] == 0).all()


def test_none_where_digits_are_lost():
    rng = np.random.default_rng(0)
    codes, other = np.repeat(np.arange(6), 5), np.tile(np.arange(5), 6)
    y = rng.normal(size=30)
    terms = [mx.RandomTerm(codes), mx.RandomTerm(other, group="h")]
    x = np.column_stack([np.ones(30), codes == 1])
    fit = fit_design(prepare_design(y, x, terms), True)
    left = ProductsLeft(fit, (y, x, terms, None))
    assert left.without(np.flatnonzero(codes == 1)) is None
    assert left.without(np.arange(29)) is None
    assert left.without(np.flatnonzero(codes == 2)) is not None
