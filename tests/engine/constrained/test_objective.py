"""Derivatives of the objective beside differences of its values."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.upstream_pair import upstream_pair
from statsmodels.base import _penalties as penalties

from mixedext.engine.constrained.central_path import LogDeterminant
from mixedext.engine.constrained.objective import Objective, Penalties, _solved
from mixedext.engine.deviance.given_covariances import Likelihood


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("use_sqrt", [True, False])
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("penalized", [False, True])
def test_gradient_and_hessian(reml, use_sqrt, held, penalized):
    model, _ = upstream_pair(21, component=True, use_sqrt=use_sqrt)
    model.reml = reml
    rows, columns = model.layout.triangle(model._design.terms)
    free_fixed = np.ones(model.k_fe, bool)
    free_packed = np.ones(model.layout.n_packed, bool)
    if held:
        free_fixed[1] = False
        free_packed[np.flatnonzero(rows != columns)] = False
    functions = Penalties()
    if penalized:
        functions = Penalties(penalties.PseudoHuber(0.3), penalties.PSD(0.5))
    objective = Objective(
        Likelihood(model._design, reml),
        model.layout,
        use_sqrt,
        model.k_fe,
        free_fixed,
        free_packed,
        functions,
    )
    assert objective.profiled == (not held and not penalized)
    if penalized:
        used = np.arange(rows.max() + 1)
        objective.use_barrier(LogDeterminant(rows, columns, used, 0.1))
    packed = model.layout.pack_parts(
        model._design.terms, np.array([[1.1, 0.2], [0.2, 0.7]]), np.full(model.k_vc, 0.6)
    )
    x = objective.start(np.array([1.0, 2.1, 3.0]), packed)
    state = objective.at(x)
    np.testing.assert_allclose(state.packed, packed, rtol=1e-12)
    gradient, hessian = np.array(state.gradient), np.array(state.hessian)
    step = 1e-5
    for j in range(len(x)):
        move = step * (np.arange(len(x)) == j)
        above, below = objective.at(x + move), objective.at(x - move)
        slope = (above.value - below.value) / (2 * step)
        np.testing.assert_allclose(gradient[j], slope, rtol=1e-5, atol=1e-5)
        bend = (above.gradient - below.gradient) / (2 * step)
        np.testing.assert_allclose(hessian[j], bend, rtol=1e-5, atol=1e-4)


def test_a_direction_without_information_is_solved_by_least_squares():
    fixed, cross = np.diag([2.0, 0.0]), np.array([[4.0], [0.0]])
    np.testing.assert_allclose(_solved(fixed, cross), [[2.0], [0.0]])
