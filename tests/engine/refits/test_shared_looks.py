"""Deviances of many responses at points that they share, against those one by one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.engine.refits import batches, shared_looks
from mixedext.engine.refits.shared_looks import SharedLook, sharing_pays
from mixedext.engine.search.rivals import other_starts
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
    np.testing.assert_array_equal(got.n_evaluations, want.n_evaluations)
    np.testing.assert_allclose(got.theta, want.theta, rtol=1e-9, atol=1e-9)


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
