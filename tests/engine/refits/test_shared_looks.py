"""Deviances of many responses at points that they share, against those one by one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.engine.refits import batches, shared_looks
from mixedext.engine.refits.shared_looks import (
    SharedLook,
    basins,
    lattice,
    sharing_pays,
)
from mixedext.engine.search.rivals import NO_OTHERS, other_starts
from mixedext.inference.bootstrap.simulated_refits import responses_of

FORMULAS = [
    "y ~ x + (x | g)",
    "y ~ x + (x || g)",
    "y ~ x + (1 | g) + (1 | h)",
    "y ~ x + (1 | g/h)",
    "y ~ x + (x | g) + (1 | h)",
    "y ~ 1 + (x | h) + (0 + x | g)",
]
pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings(
        "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
    ),
]


def model_and_responses(formula, count=250, n=48):
    rng = np.random.default_rng(len(formula))
    data = pd.DataFrame({"g": rng.choice(7, n), "h": rng.integers(0, 4, n)})
    data["x"], data["w"] = rng.normal(1.0, 1.0, n), rng.uniform(0.3, 3.0, n)
    effect = rng.normal(size=(7, count)) * np.linspace(0.0, 3.0, count)
    y = effect[data["g"]] + rng.standard_t(2, (n, count))
    return mx.mixedlm(formula, data.assign(y=y[:, 0]), weights="w"), y


def counted(monkeypatch):
    """A list that grows with every ``SharedLook`` of the batches."""
    made = []

    def look(*arguments):
        made.append(SharedLook(*arguments))
        return made[-1]

    monkeypatch.setattr(batches, "SharedLook", look)
    return made


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("formula", FORMULAS)
def test_values_are_those_of_each_response(formula, reml):
    model, y = model_and_responses(formula)
    design = model._design
    points = other_starts(design).points
    assert sharing_pays(design, points, 250)
    assert not sharing_pays(design, points, 10)
    lead, tail, *_ = responses_of(model).products(y)
    by_response = np.ascontiguousarray(lead.transpose(2, 0, 1))
    found = SharedLook(design, points, reml).values(by_response, tail.T)
    for r in (0, 70, 249):
        objective = responses_of(model).design_of(y[:, r]).objective(reml)
        want = [objective.value(theta) for theta in points]
        np.testing.assert_allclose(found[r], want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("formula", FORMULAS)
def test_refits_are_the_same(formula, reml, monkeypatch):
    model, y = model_and_responses(formula)
    made = counted(monkeypatch)
    got = model.fit_many(y, reml=reml)
    assert len(made) == 1
    monkeypatch.setattr(batches, "sharing_pays", lambda *_: False)
    want = model.fit_many(y, reml=reml)
    assert len(made) == 1
    np.testing.assert_allclose(got.llf, want.llf, rtol=1e-12)
    intercepts = len(model._design.blocks.factors) == 2 and "(x" not in formula
    own = lattice(other_starts(model._design).axes) if intercepts else None
    if own is None:  # else other points are seen
        np.testing.assert_array_equal(got.n_evaluations, want.n_evaluations)
    # an end from another start has the digits that its last step leaves
    digits = 1e-9 if own is None else 2e-7
    np.testing.assert_allclose(got.theta, want.theta, rtol=digits, atol=digits)


def test_nothing_is_shared_where_the_moments_are_the_minimum(monkeypatch):
    data = mx.datasets.penicillin.load().data
    model = mx.mixedlm("diameter ~ 1 + (1 | plate) + (1 | sample)", data)
    y = model.fit().simulate(300, rng=0)
    made = counted(monkeypatch)
    model.fit_many(y, reml=True)
    assert not made
    model.fit_many(y, reml=False)
    assert len(made) == 1


def test_where_rounding_leaves_nothing_the_deviance_is_infinite(monkeypatch):
    model, y = model_and_responses(FORMULAS[2])
    look = SharedLook(model._design, other_starts(model._design).points, True)
    monkeypatch.setattr(look, "nobs", -1)
    lead, tail, *_ = responses_of(model).products(y)
    found = look.values(np.ascontiguousarray(lead.transpose(2, 0, 1)), tail.T)
    assert np.isinf(found).all()


def test_parts_change_nothing(monkeypatch):
    model, y = model_and_responses(FORMULAS[2])
    look = SharedLook(model._design, other_starts(model._design).points, True)
    lead, tail, *_ = responses_of(model).products(y)
    lead = np.ascontiguousarray(lead.transpose(2, 0, 1))
    whole = look.values(lead, tail.T)
    monkeypatch.setattr(shared_looks, "PART_SIZE", 5000)
    np.testing.assert_allclose(look.values(lead, tail.T), whole, rtol=1e-12)


def axes_of(formula="y ~ x + (1 | g) + (1 | h)"):
    return other_starts(model_and_responses(formula, 2)[0]._design).axes


def test_a_lattice_has_all_pairs_of_sizes():
    axes = axes_of()
    points, neighbours = lattice(axes)
    first, second = axes.sizes
    assert first[0] == second[0] == 0.0
    np.testing.assert_array_equal(points.reshape(9, 9, 2)[4, 7], [first[4], second[7]])
    beside = np.sort(points[neighbours[4 * 9 + 7]], axis=0)
    np.testing.assert_array_equal(beside[[0, 3], 0], first[[3, 5]])
    np.testing.assert_array_equal(beside[[0, 3], 1], second[[6, 8]])
    assert lattice(axes_of("y ~ x + (x | g)")) is None
    assert lattice(axes_of("y ~ x + (x | g) + (1 | h)")) is None


def of_table(change=None):
    """Basins of a bowl with its lowest point at (3, 5), in units of the lattice."""
    axes = axes_of()
    i, j = np.indices((9, 9))
    table = 0.1 * (i - 3.0) ** 2 + (j - 5.0) ** 2
    if change is not None:
        change(table, i, j)
    return axes.sizes, basins(axes, table.reshape(1, -1))


def test_the_only_basin_of_a_lattice():
    (first, second), found = of_table()
    np.testing.assert_array_equal(found.low, [[first[2], second[4]]])
    np.testing.assert_array_equal(found.high, [[first[4], second[6]]])
    assert found.lowest_known == [0.0]


def test_the_only_basin_at_zero():
    def change(table, i, j):
        table[:] = 0.1 * i + (j - 5.0) ** 2

    (first, second), found = of_table(change)
    np.testing.assert_array_equal(found.low, [[0.0, second[4]]])
    np.testing.assert_array_equal(found.high, [[first[1], second[6]]])


def another(table, i, j):
    table[7, 1] = 0.5


def between_points(table, i, j):
    """A valley that bends: its floor falls again where it runs between points."""
    table[:] = 0.01 * i + 3.0 * (j - 5.0 - 0.6 * (i >= 6) + 0.3 * (i == 7)) ** 2
    table += 0.75 * (i >= 6) - 0.4 * (i == 7)


def without_end(table, i, j):
    table[:] = -i + (j - 5.0) ** 2


def plain(table, i, j):
    table[:] = (j - 5.0) ** 2


def unknown(table, i, j):
    table[:] = np.inf


@pytest.mark.parametrize("change", [another, between_points, without_end, plain, unknown])
def test_no_basin_of_a_lattice_is_the_only_one(change):
    _, found = of_table(change)
    assert np.isinf(found.low).any()


def test_responses_with_one_basin_are_searched_once(monkeypatch):
    """As many evaluations as without any look, of the lattice, three far out, the end."""
    model, y = model_and_responses(FORMULAS[2])
    got = model.fit_many(y, reml=False)
    monkeypatch.setattr(batches, "other_starts", lambda design: NO_OTHERS)
    monkeypatch.setattr(batches, "sharing_pays", lambda *_: False)
    alone = model.fit_many(y, reml=False)
    once = got.n_evaluations == alone.n_evaluations + 81 + 4
    zero = (got.theta == 0).any(axis=1)  # there a lower one may lie in the same cells
    assert once[~zero].mean() > 0.5
    assert zero.any()
    assert not once[zero].any()
