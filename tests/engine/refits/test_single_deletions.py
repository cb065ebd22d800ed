"""Sets of rows that are deleted one by one."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.designs import random_design

import mixedext as mx
from mixedext.engine.fit import fit_design
from mixedext.engine.refits.row_sets import RowSets
from mixedext.engine.refits.single_deletions import SingleFits
from mixedext.engine.rows.design import prepare_design


@pytest.mark.parametrize("kinds", [[(1, 0)], [(2, 0)], [(1, 0), (2, 1)]])
def test_products_and_rows_agree(kinds):
    rows = random_design(9, 60, kinds, False, False, True, False)
    data = rows.y, rows.x, rows.terms, rows.weights
    single = SingleFits(rows.fit(True), data, False)
    sets = RowSets.of_codes(rows.terms[0].codes)
    by_products, by_rows = single.fit_sets(sets), single.blank(sets)
    for g in range(len(sets)):
        single.fit_set(by_rows, g, sets[g])
    assert single.products is not None
    for name in ("log_likelihood", "scale", "coefficients", "covariance"):
        one, other = getattr(by_products, name), getattr(by_rows, name)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(by_products.deviance, by_rows.deviance, rtol=1e-9)


def test_rotated_columns_are_summed_from_the_rows():
    """Many columns with one variance: the engine has made them orthogonal."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(80, 40))
    y = z @ rng.normal(size=40) * 0.3 + rng.normal(size=80)
    terms = [mx.RandomTerm(np.zeros(80, int), z, structure="identity")]
    data = y, np.ones((80, 1)), terms, None
    fit = fit_design(prepare_design(*data), True)
    sets = RowSets.of_lists([[0], [4, 70]])
    found = SingleFits(fit, data, False).fit_sets(sets)
    for g in range(2):
        kept = np.ones(80, bool)
        kept[sets[g]] = False
        left = y[kept], np.ones((kept.sum(), 1)), [terms[0].take(kept)]
        want = fit_design(prepare_design(*left), True)
        assert np.isclose(found.log_likelihood[g], want.log_likelihood, rtol=1e-10)
        assert np.isclose(found.coefficients[g, 0], want.coefficients[0], rtol=1e-5)


def test_what_the_random_effects_explain_has_a_reason():
    """Without one row y is the same within every level."""
    codes = np.repeat(np.arange(6), 3)
    y = np.array([1.0, 4.0, 2.0, 8.0, 5.0, 7.0])[codes]
    y[0] += 1.0
    data = y, np.ones((18, 1)), [mx.RandomTerm(codes)], None
    fit = fit_design(prepare_design(*data), True)
    sets = RowSets.of_lists([[0], [5]])
    out = SingleFits(fit, data, False).blank(sets)
    for g in range(2):
        SingleFits(fit, data, False).fit_set(out, g, sets[g])
    assert "explain the rows left exactly" in out.reason[0]
    assert np.isnan(out.scale[0])
    assert out.reason[1] == ""
    assert out.converged[1]


def test_y_that_is_constant_in_what_is_left():
    codes = np.repeat(np.arange(4), 3)
    y = np.ones(12)
    y[codes == 0] = [1.0, 2.0, 5.0]
    data = y, np.ones((12, 1)), [mx.RandomTerm(codes)], None
    fit = fit_design(prepare_design(*data), True)
    found = SingleFits(fit, data, False).fit_sets(RowSets.of_codes(codes))
    assert "no variance is left to estimate" in found.reason[0]
    assert np.isnan(found.log_likelihood[0])
