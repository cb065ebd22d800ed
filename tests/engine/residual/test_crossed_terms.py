"""Random terms of several columns whose levels residual groups cross, by n x n matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.dense_relative import DenseRelative, slope
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import linalg

import mixedext as mx
from mixedext.engine.fit import evaluate_design
from mixedext.engine.residual.fit import residual_fit_at, whitened_rows
from mixedext.engine.residual.starts import starting_psi
from mixedext.engine.rows.design import prepare_design
from mixedext.models.mixedlm.residual_fitting import residual_rows

KINDS = {
    "ar1": lambda v, g: mx.AR1(v, group=g),
    "us": lambda v, g: mx.Unstructured(v, group=g),
    "csh": lambda v, g: mx.CS(v, group=g, het=True),
    "car1": lambda v, g: mx.CAR1(v + 0.1 * (g % 3), group=g),
    "exp": lambda v, g: mx.Spatial("exp", [v * 1.3], group=g, nugget=True),
}
FORMS = "unstructured", "diagonal", "cs", "ar1"
#: Terms beside the first crossed one.
BESIDE = "none", "nested", "finer slopes", "another", "same factor", "scalar"


def crossed_design(seed, kind, form, beside, weighted=False, levels=5, subjects=12):
    """Rows of subjects at some of four visits, at sites that change between visits."""
    rng = np.random.default_rng(seed)
    subject, visit = np.divmod(np.arange(subjects * 4), 4)
    keep = rng.random(len(subject)) > 0.15
    keep[:4] = True
    order = rng.permutation(np.flatnonzero(keep))
    subject, visit = subject[order], visit[order]
    n = len(order)
    site, item = rng.integers(0, levels, n), rng.integers(0, 4, n)
    z = np.column_stack([np.ones(n), rng.standard_normal(n) + 3, rng.standard_normal(n)])
    z = np.eye(3)[visit % 3] if form == "ar1" else z[:, : 2 + seed % 2]
    term = mx.RandomTerm(site, z, group="site", structure=form)
    others = {
        "none": [],
        "nested": [mx.RandomTerm(subject // 3, group="cluster")],
        "finer slopes": [mx.RandomTerm(subject, z[:, :2], group="subject")],
        "another": [mx.RandomTerm(item, z[:, 1:], group="item")],
        "same factor": [mx.RandomTerm(site, z[:, 1:2] ** 2, group="site")],
        "scalar": [mx.RandomTerm(item, group="item")],
    }[beside]
    x = np.column_stack([np.ones(n), visit, rng.standard_normal(n)])
    y = x @ [1.0, 0.3, -0.5] + rng.standard_normal(n)
    y += np.einsum("nk,nk->n", z, rng.standard_normal((levels, z.shape[1]))[site])
    return mx.MixedLM(
        y,
        x,
        terms=[term, *others],
        weights=rng.uniform(0.5, 2.0, n) if weighted else None,
        residual=KINDS[kind](visit, subject),
    )


def some_parameters(rows, seed):
    """(theta, psi) away from all limits."""
    rng = np.random.default_rng(seed)
    psi = starting_psi(rows)[0] + 0.1 * rng.standard_normal(rows.n_psi)
    theta = np.concatenate([t.structure.start() for t in rows.terms])
    return 0.7 * theta + 0.1 * rng.random(len(theta)), psi


class Henderson:
    """Modes and their errors from n x n matrices, sigma^2 = 1."""

    def __init__(self, rows, reml, theta, psi):
        self.at = np.concatenate([theta, psi])
        self.dense, self.rows = DenseRelative(rows, reml), rows
        _, self.inverse, self.p, _ = self.dense.pieces(self.at)

    def parts(self):
        """Z (n, L k) and the covariance of its effects, term by term."""
        start = 0
        for term in self.rows.terms:
            s, z = term.structure, np.asarray(term.z, float)
            sigma = s.matrix(self.at[start : start + s.n_theta])
            start += s.n_theta
            whole = np.zeros((len(z), term.n_levels, term.k))
            whole[np.arange(len(z)), term.codes] = z
            yield whole.reshape(len(z), -1), np.kron(np.eye(term.n_levels), sigma)

    def modes(self):
        return [g @ z.T @ self.p @ self.rows.y for z, g in self.parts()]

    def joint_given(self):
        """Covariance of the effects of both terms of one factor given beta, by level."""
        (z, g), (other, h) = self.parts()
        both, whole = np.hstack([z, other]), linalg.block_diag(g, h)
        joint = whole - whole @ both.T @ self.inverse @ both @ whole
        first, second = (t.k for t in self.rows.terms)
        count = self.rows.terms[0].n_levels
        at = np.hstack(
            [
                np.arange(count * first).reshape(count, first),
                count * first + np.arange(count * second).reshape(count, second),
            ]
        )
        return joint[at[:, :, None], at[:, None, :]]

    def given(self):
        """Covariance of effects given beta."""
        return [g - g @ z.T @ self.inverse @ z @ g for z, g in self.parts()]


def check(model, seed, reml, storage=None):
    rows = residual_rows(model)
    theta, psi = some_parameters(rows, seed)
    fit = residual_fit_at(rows, reml, theta, psi)
    if storage is not None:
        design = prepare_design(*whitened_rows(rows, psi), storage=storage)
        given = tuple(t.without_rows() for t in rows.terms)
        fit = evaluate_design(replace(design, terms=given), reml, theta)
    want = Henderson(rows, reml, theta, psi)
    dense = want.dense
    x, y = np.asarray(rows.x, float), rows.y
    if storage is None:
        assert_allclose(fit.deviance, dense.deviance(want.at), rtol=1e-10)
        gradient = fit.residual.stand().derivatives()[0]
        truth = dense.gradient(want.at)
        assert_allclose(gradient, truth, rtol=1e-7, atol=1e-7 * np.abs(truth).max())
    d = len(y) - x.shape[1] * reml
    assert_allclose(fit.scale, y @ want.p @ y / d, rtol=1e-9)
    gram = x.T @ want.inverse @ x
    assert_allclose(fit.coefficients, np.linalg.solve(gram, x.T @ want.inverse @ y))
    assert_allclose(fit.covariance, fit.scale * np.linalg.inv(gram), rtol=1e-8, atol=1e-12)
    for own, mode in zip(fit.effects, want.modes(), strict=True):
        assert_allclose(own.ravel(), mode, rtol=1e-7, atol=1e-9 * np.abs(mode).max())
    for i, (term, whole) in enumerate(zip(rows.terms, want.given(), strict=True)):
        found = fit.joint_effect_covariance([i])
        at = np.arange(term.n_levels * term.k).reshape(-1, term.k)
        truth = fit.scale * whole[at[:, :, None], at[:, None, :]]
        assert_allclose(found, truth, rtol=1e-7, atol=1e-9 * np.abs(truth).max())
    if [t.group for t in rows.terms] == ["site", "site"]:
        found = fit.joint_effect_covariance([0, 1])
        truth = fit.scale * want.joint_given()
        assert_allclose(found, truth, rtol=1e-7, atol=1e-9 * np.abs(truth).max())
    # the deviance of the whitened rows as a function of theta, by the blocked factor
    inner = fit.objective.derivatives(fit.optimum.theta).gradient
    steps = np.array([slope(fit.design.inner_theta, theta, r) for r in range(len(theta))])
    truth = dense.gradient(want.at)[: len(theta)]
    assert_allclose(steps @ inner, truth, rtol=1e-7, atol=1e-7 * np.abs(truth).max())


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
def test_structures(form, beside, reml):
    seed = len(form) + len(beside)
    check(crossed_design(seed, "ar1", form, beside, seed % 3 == 0), seed, reml)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(list(KINDS)),
    st.sampled_from(FORMS),
    st.sampled_from(BESIDE),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, None, "sparse", "dense"]),
)
def test_any_design(seed, kind, form, beside, weighted, reml, storage):
    if kind in ("us", "csh") and beside == "finer slopes":
        kind = "ar1"  # an intercept by subject is within those
    model = crossed_design(seed, kind, form, beside, weighted)
    check(model, seed, reml, storage)


@pytest.mark.parametrize("beside", ["none", "finer slopes", "another", "same factor"])
def test_many_levels(beside):
    """Above the number of columns up to which a tail is dense."""
    model = crossed_design(3, "ar1", "unstructured", beside, levels=220, subjects=150)
    rows = residual_rows(model)
    theta, psi = some_parameters(rows, 3)
    fit = residual_fit_at(rows, True, theta, psi)
    assert fit.design.blocks.tail_size > 400
    check(model, 3, True)
    check(model, 3, True, "sparse")


def test_a_fit_and_what_is_asked_of_it():
    """Slopes by site of subjects that change sites: modes, errors, refits, tests."""
    model = crossed_design(2, "ar1", "unstructured", "none", levels=6, subjects=40)
    result = model.fit()
    fit, rows = result.fitted.fit, residual_rows(model)
    want = Henderson(rows, True, fit.theta, fit.residual.psi)
    assert result.converged
    gradient = want.dense.gradient(want.at)
    assert_allclose(gradient, 0.0, atol=1e-4)
    assert_allclose(result.llf, -want.dense.deviance(want.at) / 2, rtol=1e-10)
    (mode,), (given,) = want.modes(), want.given()
    assert_allclose(result.ranef("site").to_numpy().ravel(), mode, rtol=1e-7)
    found = result.ranef_cov("site").to_numpy().reshape(6, 2, 2)
    at = np.arange(12).reshape(6, 2)
    assert_allclose(found, result.scale * given[at[:, :, None], at[:, None, :]], rtol=1e-7)
    eta = rows.x @ np.asarray(result.fe_params) + next(iter(want.parts()))[0] @ mode
    assert_allclose(result.fittedvalues, eta, rtol=1e-8)
    again = result.model.refit(model.endog)
    assert_allclose(again.llf, result.llf, rtol=1e-10)
    assert np.isfinite(result.simulate_refits(3, rng=1).to_frame()["llf"]).all()
    for method in ("satterthwaite", "kenward-roger", "containment"):
        assert np.isfinite(result.t_test(np.eye(3), df_method=method).pvalue).all()
