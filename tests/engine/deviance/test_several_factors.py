"""The compiled deviance of several grouping factors: the factor's, dense n x n, fits."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers import dense
from hypothesis import given, settings
from hypothesis import strategies as st
from mixedext.kernels.deviance.several_factors import SeveralFactors
from mixedext.kernels.search.python_function import PythonFunction

from mixedext.engine.deviance import several_factors
from mixedext.engine.deviance.profiled import FactorDeviance
from mixedext.engine.deviance.several_factors import is_compiled, several_factors_function
from mixedext.engine.fit import evaluate_design, fit_design
from mixedext.engine.rows.design import prepare_design
from mixedext.specification.terms.random_terms import RandomTerm
from mixedext.specification.terms.sparse_terms import SparseTerm

STRUCTURES = ("unstructured", "diagonal", "identity")
# Share of links above which they are a panel: always, never.
STORAGES = {"panel": 0.0, "links": 2.0}


def rows_of(seed, n, kinds, n_fixed, nested=False, spread=False):
    """Rows of a design; kinds: (levels, columns, structure) of each term."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, n_fixed))])
    terms, outer = [], np.zeros(n, np.intp)
    for i, (n_levels, k, which) in enumerate(kinds):
        codes = rng.integers(0, n_levels, n)
        if nested:
            outer = outer * n_levels + codes
            codes = np.unique(outer, return_inverse=True)[1]
        codes = np.unique(codes, return_inverse=True)[1]
        z = rng.normal(size=(n, k))
        z[:, 0] = 1.0
        terms.append(RandomTerm(codes, z, structure=STRUCTURES[which], group=f"g{i}"))
    if spread:
        members = (rng.random((n, 7)) < 0.3) * rng.uniform(0.5, 1.0, (n, 7))
        terms.append(SparseTerm(members, group="members"))
    y = 3.0 + rng.normal(size=n) * rng.uniform(0.5, 20)
    y += rng.normal(size=n)[terms[0].codes]
    return y, x, terms, rng.uniform(0.2, 3.0, n)


def functions(design, reml):
    plain = FactorDeviance(design.blocks, design.structures, reml)
    ours = several_factors_function(
        design.blocks, design.structures, reml, float(plain.dof)
    )
    return plain, ours


def compare(design, theta, reml):
    """Values and derivatives equal those of the factor to rounding."""
    plain, ours = functions(design, reml)
    want, got = plain.value(theta, True), ours.evaluate(theta, True)
    lost = plain.noise
    assert got == pytest.approx(want, rel=1e-12, abs=1e-11 + lost)
    assert ours.noise == pytest.approx(plain.noise, rel=1e-6)
    size = np.abs(plain.fixed).max()
    np.testing.assert_allclose(ours.fixed, np.tril(plain.fixed), atol=(1e-12 + lost) * size)
    want, (gradient, hessian) = plain.derivatives(theta), ours.differentiate(theta)
    # both invert Sigma while its root's condition is below 1e4
    tight = 1e-10 + lost
    for one, other in ((want.gradient, gradient), (want.hessian, hessian)):
        np.testing.assert_allclose(other, one, atol=tight * (1 + np.abs(one).max()))


@pytest.mark.parametrize("storage", STORAGES)
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kinds=st.lists(
        st.tuples(st.integers(2, 9), st.integers(1, 3), st.integers(0, 2)),
        min_size=2,
        max_size=3,
    ),
    n_fixed=st.integers(0, 3),
    reml=st.booleans(),
    nested=st.booleans(),
    spread=st.booleans(),
    boundary=st.booleans(),
)
def test_against_the_factor(storage, seed, kinds, n_fixed, reml, nested, spread, boundary):
    y, x, terms, weights = rows_of(seed, 120, kinds, n_fixed, nested, spread)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(several_factors, "PANEL_SHARE", STORAGES[storage])
        design = prepare_design(y, x, terms, weights)
        rng = np.random.default_rng(seed)
        theta = rng.normal(size=sum(s.n_theta for s in design.structures))
        if boundary:
            theta[rng.integers(len(theta))] = 0.0
            theta[rng.integers(len(theta))] *= 1e-6
        compare(design, theta, reml)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_against_dense_matrices(nested, reml):
    kinds = [(6, 2, 0), (4, 1, 0), (3, 2, 1)]
    y, x, terms, weights = rows_of(5, 200, kinds, 2, nested)
    design = prepare_design(y, x, terms, weights)
    _, ours = functions(design, reml)
    theta = np.array([0.8, -0.3, 0.5, 0.4, 1.2, 0.1])
    outer = design.outer_theta(theta)
    lams = design.own_lams(outer)
    want = dense.deviance(y, x, terms, lams, reml, weights)
    shift = design.deviance_shift(reml, ours.dof)
    assert ours.evaluate(theta) + shift == pytest.approx(want, rel=1e-12)
    gradient, _ = ours.differentiate(theta)
    want = np.empty(len(theta))
    for i, step in enumerate(1e-4 * np.eye(len(theta))):
        up, down = (ours.evaluate(theta + sign * step) for sign in (1, -1))
        want[i] = (up - down) / 2e-4
    np.testing.assert_allclose(gradient, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-5])
def test_variances_at_and_near_zero(size, storage, monkeypatch):
    monkeypatch.setattr(several_factors, "PANEL_SHARE", STORAGES[storage])
    y, x, terms, weights = rows_of(1, 300, [(12, 2, 0), (9, 2, 0), (5, 1, 0)], 1)
    design = prepare_design(y, x, terms, weights)
    theta = np.array([0.5, 0.2, 0.3, 0.6, -0.4, 0.5, 0.8])
    for i in range(len(theta)):
        near = theta.copy()
        near[i] *= size
        compare(design, near, True)
    compare(design, size * theta, True)
    compare(design, 1e4 * theta, True)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_fits_are_those_of_the_search_in_python(seed, reml, monkeypatch):
    kinds = [(15, 1 + seed % 2, 0), (6, 1 + seed // 3, seed % 3)]
    y, x, terms, weights = rows_of(seed, 250, kinds, 1, nested=seed == 4)
    design = prepare_design(y, x, terms, weights)
    ours = fit_design(design, reml)
    assert isinstance(ours.objective.function, SeveralFactors)
    monkeypatch.setattr(several_factors, "MOST_NUMBERS", 0)
    plain = fit_design(design, reml)
    assert isinstance(plain.objective.function, PythonFunction)
    assert ours.deviance == pytest.approx(plain.deviance, rel=1e-12)
    assert ours.is_singular == plain.is_singular
    assert ours.convergence.status == plain.convergence.status
    np.testing.assert_allclose(ours.theta, plain.theta, atol=1e-7)
    np.testing.assert_allclose(ours.coefficients, plain.coefficients, rtol=1e-8)
    np.testing.assert_allclose(ours.covariance, plain.covariance, rtol=1e-6)
    for one, other in zip(ours.effects, plain.effects, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6 * np.abs(other).max())
    one, other = (fit.joint_effect_covariance([1]) for fit in (ours, plain))
    np.testing.assert_allclose(one, other, atol=1e-6 * np.abs(other).max())
    assert ours.convergence.n_evaluations == plain.convergence.n_evaluations


def test_the_objective_stands_at_the_optimum():
    """Asked for the first time, with or without a detour through a file."""
    y, x, terms, weights = rows_of(3, 250, [(15, 2, 0), (6, 1, 0)], 1)
    fit = fit_design(prepare_design(y, x, terms, weights), True)
    there = evaluate_design(fit.design, True, fit.theta).objective
    again = pickle.loads(pickle.dumps(fit.objective))
    for objective in (fit.objective, again):
        np.testing.assert_allclose(objective.fixed, there.fixed, rtol=1e-9, atol=1e-9)
        assert objective.deviance() == pytest.approx(fit.optimum.deviance, rel=1e-13)
        assert objective.noise == pytest.approx(there.noise, rel=1e-6)
        for one, other in zip(objective.effects(), there.effects(), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-7)


def test_rounding_that_leaves_nothing_is_infinite():
    y, x, terms, weights = rows_of(3, 250, [(15, 2, 0), (6, 1, 0)], 1)
    design = prepare_design(y, x, terms, weights)
    _, ours = functions(design, True)
    assert ours.evaluate(np.full(4, np.nan)) == np.inf
    assert ours.evaluate(np.array([1e9, 1e9, 1e-9, 1e9])) in (
        np.inf,
        pytest.approx(functions(design, True)[0].value([1e9, 1e9, 1e-9, 1e9]), rel=1e-3),
    )


def test_large_models_stay_with_the_storages_of_the_tail(monkeypatch):
    y, x, terms, weights = rows_of(3, 250, [(15, 2, 0), (6, 1, 0)], 1)
    blocks = prepare_design(y, x, terms, weights).blocks
    assert is_compiled(blocks)
    assert not is_compiled(prepare_design(y, x, terms, weights, "sparse").blocks)
    assert not is_compiled(prepare_design(y, x, terms[:1], weights).blocks)
    monkeypatch.setattr(several_factors, "MOST_COLUMNS", 1)
    assert not is_compiled(blocks)
