"""Sets of rows, and the record of fits without them."""

from __future__ import annotations

import numpy as np
import pytest

import mixedext as mx
from mixedext.engine.refits.row_sets import DeletedFits, RowSets


def as_lists(sets):
    return [sets[g].tolist() for g in range(len(sets))]


def test_sets_of_codes():
    codes = np.array([2, 0, -1, 2, 0, 3])
    assert as_lists(RowSets.of_codes(codes)) == [[1, 4], [], [0, 3], [5]]
    assert as_lists(RowSets.of_codes(codes, 2)) == [[1, 4], []]
    assert as_lists(RowSets.of_codes(np.full(3, -1))) == []
    assert as_lists(RowSets.of_codes(np.zeros(0, int), 1)) == [[]]


def test_sets_of_lists_overlap_and_count_a_row_once():
    sets = RowSets.of_lists([[3, 1, 3], [], np.array([1, 2])])
    assert as_lists(sets) == [[1, 3], [], [1, 2]]
    assert as_lists(RowSets.of_lists([])) == []


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (1, 3), (1, 1), (2, 3)])
def test_part(start, stop):
    lists = [[0, 4], [], [1, 2, 3]]
    assert as_lists(RowSets.of_lists(lists).part(start, stop)) == lists[start:stop]


def test_blank_put_and_clear():
    sets = RowSets.of_lists([[0], [1, 2]])
    out = DeletedFits.blank(sets, 1, 1, False)
    assert len(out) == 2
    assert out.n_deleted.tolist() == [1, 2]
    assert np.isnan(out.deviance).all()
    assert not out.converged.any()
    data = mx.datasets.dyestuff.load().data
    fit = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit().fitted.fit
    out.put(1, fit)
    assert out.deviance[1] == pytest.approx(fit.deviance)
    assert out.converged[1]
    assert out.scale[1] == fit.scale
    assert out.theta[1] == fit.theta
    assert 0 < out.n_evaluations[1] <= fit.convergence.n_evaluations
    out.clear(1, "why")
    assert out.reason.tolist() == ["", "why"]
    assert np.isnan(out.covariance[1]).all()


def test_joined_keeps_the_order():
    sets = RowSets.of_lists([[0], [1, 2], [3]])
    parts = [DeletedFits.blank(sets.part(*at), 2, 1, True) for at in [(0, 2), (2, 3)]]
    parts[1].scale[0] = 5.0
    out = DeletedFits.joined(parts)
    assert out.n_deleted.tolist() == [1, 2, 1]
    assert out.one_step
    assert out.scale[2] == 5.0
    assert out.coefficients.shape == (3, 2)
