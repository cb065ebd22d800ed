"""Deviance and derivatives against dense n x n algebra on random designs."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import dense
from hypothesis import given, settings
from hypothesis import strategies as st

from mixedext.engine.factor.factor import Factor
from mixedext.engine.rows.design import prepare_design
from mixedext.exceptions import DevianceError
from mixedext.specification.terms.random_terms import RandomTerm

STRUCTURES = ("unstructured", "diagonal", "identity")


def random_design(seed, n, kinds, nested, weighted):
    """y, X, terms, weights and theta of a random design.

    kinds: for each term (columns, structure number, zero share of theta).
    """
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, rng.integers(0, 3)))])
    terms, theta = [], []
    codes = None
    for k, which in kinds:
        if nested and codes is not None:
            codes = codes // 2
        else:
            codes = np.append(np.arange(2), rng.integers(0, rng.integers(2, 9), n - 2))
        z = rng.normal(size=(n, k))
        z[:, 0] = 1.0
        term = RandomTerm(codes, z, structure=STRUCTURES[which], group=f"g{len(terms)}")
        terms.append(term)
        theta.append(rng.normal(size=term.structure.n_theta))
    theta = np.concatenate(theta)
    if rng.integers(3) == 0:  # the boundary
        theta[rng.integers(len(theta))] = 0.0
    y = 3.0 + rng.normal(size=n) * rng.uniform(0.5, 20)
    weights = rng.uniform(0.1, 4.0, n) if weighted else None
    return y, x, terms, weights, theta


design_arguments = {
    "seed": st.integers(0, 2**32 - 1),
    "n": st.integers(12, 60),
    "kinds": st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=3
    ),
    "nested": st.booleans(),
    "weighted": st.booleans(),
    "storage": st.sampled_from(["dense", "sparse", "supernodal"]),
    "reml": st.booleans(),
}


@settings(max_examples=150, deadline=None)
@given(**design_arguments)
def test_deviance_and_gradient(seed, n, kinds, nested, weighted, storage, reml):
    y, x, terms, weights, theta = random_design(seed, n, kinds, nested, weighted)
    design = prepare_design(y, x, terms, weights, storage)
    objective = design.objective(reml)
    inner = design.inner_theta(theta)
    shift = design.deviance_shift(reml, objective.dof)
    structures = [t.structure for t in terms]
    lams = [
        s.lam(theta[at]) for s, at in zip(structures, objective.theta_slices, strict=True)
    ]

    want = dense.deviance(y, x, terms, lams, reml, weights)
    assert objective.value(inner) + shift == pytest.approx(want, rel=1e-9, abs=1e-8)

    scores = objective.derivatives(inner).scores
    slope = dense.gradient(y, x, terms, structures, theta, reml, weights)
    # d dev / d theta in the data's units
    got = design.gradient(scores, theta)
    scale = np.abs(slope).max() + n
    np.testing.assert_allclose(got, slope, atol=2e-8 * scale)


@settings(max_examples=40, deadline=None)
@given(**{k: v for k, v in design_arguments.items() if k != "storage"})
def test_storages_agree(seed, n, kinds, nested, weighted, reml):
    y, x, terms, weights, theta = random_design(seed, n, kinds, nested, weighted)
    got = []
    for how in ("dense", "sparse", "supernodal"):
        design = prepare_design(y, x, terms, weights, how)
        objective = design.objective(reml)
        value = objective.value(design.inner_theta(theta))
        derivatives = objective.derivatives(design.inner_theta(theta))
        got.append((value, derivatives.gradient, derivatives.hessian))
    for one, *others in zip(*got, strict=True):
        size = np.abs(one).max() + 1
        for other in others:
            np.testing.assert_allclose(one, other, atol=1e-10 * size)


@pytest.mark.parametrize("reml", [True, False])
def test_average_information_is_y_P_V_P_V_P_y(reml):
    y, x, terms, _, theta = random_design(3, 40, [(2, 0), (1, 0)], False, False)
    theta = np.array([0.8, -0.3, 0.5, 0.9])
    design = prepare_design(y, x, terms)
    objective = design.objective(reml)
    inner = design.inner_theta(theta)
    objective.value(inner)
    got = objective.derivatives(inner).information

    lams = [
        t.structure.lam(theta[at])
        for t, at in zip(terms, objective.theta_slices, strict=True)
    ]
    inverse = np.linalg.inv(dense.covariance(terms, lams))
    cross = inverse @ x
    projector = inverse - cross @ np.linalg.solve(x.T @ cross, cross.T)
    py = projector @ y
    scale = objective.dof / (y @ py)
    columns = []
    for i, term in enumerate(terms):
        z = dense.dense_z(term)
        inverse = np.linalg.inv(design.transforms[i])
        for basis in term.structure.covariance_basis:
            # Sigma in the data's units is T^-1 Sigma T^-T in the engine's
            own = inverse @ basis @ inverse.T
            v = z @ np.kron(np.eye(term.n_levels), own) @ z.T
            columns.append(v @ py)
    q = np.column_stack(columns)
    a = q.T @ py
    want = scale * q.T @ projector @ q - scale**2 / objective.dof * np.outer(a, a)
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_hessian_at_zero_is_the_score():
    """At lam = 0 the information vanishes and the bend 2 S is the exact curvature."""
    y, x, terms, _, _ = random_design(11, 50, [(1, 0), (1, 0)], False, False)
    objective = prepare_design(y, x, terms).objective(True)
    zero = np.zeros(2)
    objective.value(zero)
    derivatives = objective.derivatives(zero)
    np.testing.assert_allclose(derivatives.gradient, 0.0, atol=1e-12)
    h = 1e-3
    for j in range(2):
        step = h * np.eye(2)[j]
        second = (
            objective.value(step) - 2 * objective.value(zero) + objective.value(-step)
        ) / h**2
        assert derivatives.hessian[j, j] == pytest.approx(second, rel=1e-3)


def test_no_random_terms_is_the_linear_model():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(30), rng.normal(size=(30, 2))])
    y = x @ [1.0, 2.0, 3.0] + rng.normal(size=30)
    design = prepare_design(y, x, [])
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    for reml, dof in ((True, 27), (False, 30)):
        objective = design.objective(reml)
        want = dof * (1 + np.log(2 * np.pi * residual @ residual / dof))
        if reml:
            want += np.linalg.slogdet(x.T @ x)[1]
        got = objective.value(np.zeros(0)) + design.deviance_shift(reml, dof)
        assert got == pytest.approx(want, rel=1e-12)


def test_a_factor_that_rounding_rejects_has_a_reason(monkeypatch):
    rng = np.random.default_rng(0)
    g, x = np.arange(20) % 4, np.ones((20, 1))
    design = prepare_design(rng.normal(size=20), x, [RandomTerm(g, x, group="g")])
    objective = design.objective(True)
    monkeypatch.setattr(Factor, "update", lambda self, lams: False)
    with pytest.raises(DevianceError, match="Leave out a term"):
        objective.factor_at(np.ones(1))
