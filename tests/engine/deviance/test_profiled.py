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


CURVED = ("cs", "homcs", "ar1", "hetar1", "toep", "homtoep", "adh", "ad")


def curved_design(seed, names, crossed, weighted):
    """y, X, terms, weights and theta of a design with structured terms."""
    rng = np.random.default_rng(seed)
    n = 60
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    terms, theta = [], []
    codes = rng.integers(0, 7, n)
    for name in names:
        if crossed:
            codes = rng.integers(0, 5 + len(terms), n)
        z = np.eye(3)[rng.integers(0, 3, n)]
        term = RandomTerm(
            codes, z, structure=name, group=f"g{len(terms) if crossed else 0}"
        )
        terms.append(term)
        s = term.structure
        own = rng.normal(size=s.n_theta) / 2
        if s.linear:
            own = np.abs(own)  # the diagonal of lam is not negative
        elif not s.het:
            own[0] = 0.8
        theta.append(own)
    y = rng.normal(size=n) * 3
    weights = rng.uniform(0.2, 3.0, n) if weighted else None
    return y, x, terms, weights, np.concatenate(theta)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("crossed", [True, False])
@pytest.mark.parametrize("name", CURVED)
def test_curved_covariances_against_dense_algebra(name, crossed, reml):
    """Value and gradient in theta, alone and beside a linear term, in any storage."""
    for seed, (names, weighted) in enumerate(
        [((name,), False), ((name, "unstructured"), True), (("ar1", name), False)]
    ):
        y, x, terms, weights, theta = curved_design(seed, names, crossed, weighted)
        design = prepare_design(y, x, terms, weights)
        objective = design.objective(reml)
        inner = design.inner_theta(theta)
        np.testing.assert_allclose(design.outer_theta(inner), theta, atol=1e-12)
        shift = design.deviance_shift(reml, objective.dof)
        covariances = [lam @ lam.T for lam in design.lams(theta)]
        expected = dense_deviance(y, x, terms, weights, covariances, reml)
        value = objective.value(inner)
        assert value + shift == pytest.approx(expected, rel=1e-11)
        found = objective.derivatives(inner)
        step = 1e-5
        for r, move in enumerate(np.eye(len(inner)) * step):
            slope = (
                (objective.value(inner + move) - objective.value(inner - move)) / 2 / step
            )
            assert found.gradient[r] == pytest.approx(slope, rel=1e-6, abs=1e-6)
        objective.value(inner)
        outer = design.gradient(found.scores, theta)
        for r, move in enumerate(np.eye(len(theta)) * step):
            ends = [
                objective.value(design.inner_theta(theta + sign * move)) for sign in (1, -1)
            ]
            assert outer[r] == pytest.approx(
                (ends[0] - ends[1]) / 2 / step, rel=1e-6, abs=1e-6
            )


def dense_deviance(y, x, terms, weights, covariances, reml):
    n, p = x.shape
    v = np.eye(n) if weights is None else np.diag(1 / weights)
    for term, covariance in zip(terms, covariances, strict=True):
        same = term.codes[:, None] == term.codes
        v = v + same * (term.z @ covariance @ term.z.T)
    inverse = np.linalg.inv(v)
    gram = x.T @ inverse @ x
    rest = y - x @ np.linalg.solve(gram, x.T @ inverse @ y)
    dof = n - p if reml else n
    out = np.linalg.slogdet(v)[1]
    if reml:
        out += np.linalg.slogdet(gram)[1]
    return out + dof * (1 + np.log(2 * np.pi * (rest @ inverse @ rest) / dof))


def test_the_model_hessian_is_definite_along_curves():
    """Where the bend takes it down, by the share of it that goes up alone."""
    for name in CURVED:
        for seed in range(5):
            y, x, terms, weights, theta = curved_design(seed, (name,), True, False)
            design = prepare_design(y, x, terms, weights)
            objective = design.objective(True)
            inner = design.inner_theta(theta)
            objective.value(inner)
            found = objective.derivatives(inner)
            always = terms[0].structure.always_bends
            keep = ~always
            least = np.linalg.eigvalsh(found.hessian[np.ix_(keep, keep)])[0]
            assert least > -1e-8 * np.abs(found.hessian).max()
