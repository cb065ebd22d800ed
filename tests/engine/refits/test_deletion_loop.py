"""The compiled loop over sets of rows, and when it hands on."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from helpers import dense
from helpers.designs import random_design

import mixedext as mx
from mixedext.engine.fit import fit_design
from mixedext.engine.refits import deletion_loop
from mixedext.engine.refits.deletion_loop import MOST_SETS, DeletionLoop
from mixedext.engine.refits.row_sets import RowSets
from mixedext.engine.refits.single_deletions import SingleFits
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.search import rivals


class _Counted(SingleFits):
    """Counts the sets that the loop leaves undone."""

    count = 0

    def fit_set(self, out, number, rows):
        self.count += 1
        super().fit_set(out, number, rows)


def loop_of(*data, reml=True):
    fit = fit_design(prepare_design(*data), reml)
    single = _Counted(fit, data, False)
    return DeletionLoop(fit, data, single), single


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("kind", [(1, 0), (2, 0), (3, 1)])
def test_deviance_at_any_theta(kind, reml, weighted):
    """Of the compiled function: dense algebra on the rows left."""
    rows = random_design(3, 50, [kind], False, False, weighted, False)
    loop, _ = loop_of(rows.y, rows.x, rows.terms, rows.weights, reml=reml)
    rng = np.random.default_rng(0)
    codes = rows.terms[0].codes
    sets = RowSets.of_lists(
        [[4], np.flatnonzero(codes == 1), rng.choice(50, 15, False), []]
    )
    design, n_theta = loop.design, len(loop.fit.optimum.theta)
    for g in range(len(sets)):
        kept = np.ones(50, bool)
        kept[sets[g]] = False
        dof = np.full(1, kept.sum() - design.basis.rank * reml, float)
        own = sets.part(g, g + 1)
        # of one set: the function of the others is that of the same sums
        function = loop._function(own, dof)
        function.take(0)
        weights = None if rows.weights is None else rows.weights[kept]
        terms = [term.take(kept) for term in rows.terms]
        for theta in rng.normal(size=(3, n_theta)):
            lams = design.own_lams(design.outer_theta(theta))
            data = rows.y[kept], rows.x[kept], terms
            want = dense.deviance(*data, lams, reml, weights)
            shift = 2.0 * dof[0] * np.log(design.y_scale) - loop._log_weights(own)[0]
            shift += 2.0 * design.basis.log_det if reml else 0.0
            assert np.isclose(function.evaluate(theta) + shift, want, rtol=1e-11)


def test_only_lost_sets_are_summed_anew():
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(8), 6)
    x = np.column_stack([np.ones(48), codes == 3])
    y = rng.normal(size=8)[codes] + rng.normal(size=48)
    loop, single = loop_of(y, x, [mx.RandomTerm(codes)], None)
    found = loop.fit_sets(RowSets.of_codes(codes))
    assert single.count == 1
    assert np.flatnonzero(~found.converged).tolist() == [3]


def test_no_fixed_effects():
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(8), 6)
    y = rng.normal(size=8)[codes] + rng.normal(size=48)
    loop, single = loop_of(y, np.zeros((48, 0)), [mx.RandomTerm(codes)], None)
    found = loop.fit_sets(RowSets.of_codes(codes))
    kept = codes != 2
    left = y[kept], np.zeros((42, 0)), [mx.RandomTerm(codes[kept])]
    want = fit_design(prepare_design(*left), True)
    assert np.isclose(found.log_likelihood[2], want.log_likelihood, rtol=1e-12)
    assert found.covariance.shape == (8, 0, 0)
    assert single.count == 0


def test_blocks_hold_a_bounded_number_of_values():
    rows = random_design(3, 50, [(2, 0)], False, False, False, False)
    loop, _ = loop_of(rows.y, rows.x, rows.terms, None)
    one = loop.size(RowSets.of_lists([[0]] * 3))
    assert one == MOST_SETS
    assert loop.size(RowSets.of_lists([np.arange(40)] * 3)) <= one


@pytest.mark.parametrize("seed", [1, 47, 68, 93])
def test_the_lowest_minimum_is_taken(seed, monkeypatch):
    """Where theta of all rows leads to a higher one."""
    rows = random_design(seed, 40, [(3, 0)], False, False, False, False)
    data = rows.y, rows.x, rows.terms, rows.weights
    sets = RowSets.of_codes(rows.terms[0].codes)
    lowest = loop_of(*data)[0].fit_sets(sets).log_likelihood
    n_theta = rows.theta.size
    nowhere = partial(rivals._others, n_theta)
    monkeypatch.setattr(deletion_loop, "other_starts", lambda design: nowhere())
    alone = loop_of(*data)[0].fit_sets(sets).log_likelihood
    assert (lowest > alone + 0.1).any()
    assert (lowest > alone - 1e-7).all()
    for g in np.flatnonzero(lowest > alone + 0.1):
        kept = rows.terms[0].codes != g
        left = rows.y[kept], rows.x[kept], [rows.terms[0].take(kept)]
        want = fit_design(prepare_design(*left), True)
        assert np.isclose(lowest[g], want.log_likelihood, rtol=1e-9)
