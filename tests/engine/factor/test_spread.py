"""Terms whose rows belong to several levels, against dense n x n algebra."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from helpers import dense
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import linalg, optimize, sparse

import mixedext as mx
from mixedext.engine.fit import fit_design
from mixedext.engine.refits.batches import fit_responses
from mixedext.engine.refits.refit import Responses
from mixedext.engine.rows.design import prepare_design

COMBINATIONS = [
    "alone",
    "with one",
    "crossed",
    "several",
    "several with one",
    "wide",
    "dense",
]


def memberships(rng, n, q, share=3, weights=True):
    """Each row belongs to ``share`` levels, with weights that add to one."""
    level = rng.random((n, q)).argsort(axis=1)[:, :share]
    value = rng.random((n, share)) if weights else np.ones((n, share))
    value /= value.sum(axis=1, keepdims=True)
    index = (level.ravel(), np.arange(n + 1) * share)
    return sparse.csr_array((value.ravel(), *index), shape=(n, q))


def draw(seed, combination, n=60):
    rng = np.random.default_rng(seed)
    q = 12
    member = mx.SparseTerm(memberships(rng, n, q), group="school")
    spline = mx.SparseTerm(rng.normal(size=(n, 6)) * 7.0, group="spline")
    plain = mx.RandomTerm(rng.integers(0, 9, n), rng.normal(size=(n, 2)), group="g")
    other = mx.RandomTerm(rng.integers(0, 7, n), group="h")
    wide = mx.RandomTerm(
        rng.integers(0, 2, n), rng.normal(size=(n, 20)), group="w", structure="identity"
    )
    terms = {
        "alone": [member],
        "with one": [member, plain],
        "crossed": [other, member, plain],
        "several": [member, spline],
        "several with one": [spline, other, member],
        "wide": [other, wide],
        "dense": [mx.SparseTerm(rng.normal(size=(n, n)), group="kinship")],
    }[combination]
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 1)) * 3 + 5])
    y = x @ [2.0, 1.0] + rng.normal(size=n)
    for term in terms:
        z = dense.dense_z(term)
        y += z @ rng.normal(size=z.shape[1]) * rng.choice([0.5, 1.5])
    return y, x, terms, rng.uniform(0.2, 3.0, n)


def quiet(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("combination", COMBINATIONS)
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), size=st.floats(0.05, 3.0))
def test_deviance_and_gradient_are_those_of_dense_algebra(
    seed, size, combination, weighted, reml
):
    y, x, terms, weights = draw(seed, combination)
    weights = weights if weighted else None
    model = mx.MixedLM(y, x, terms=terms, weights=weights)
    structures = [t.structure for t in terms]
    rng = np.random.default_rng(seed)
    theta = size * rng.uniform(0.3, 1.0, sum(s.n_theta for s in structures))
    deviance, gradient = model.objective(theta, reml=reml)
    lams, start = [], 0
    for s in structures:
        lams.append(s.lam(theta[start : start + s.n_theta]))
        start += s.n_theta
    expected = dense.deviance(y, x, terms, lams, reml, weights)
    np.testing.assert_allclose(deviance, expected, rtol=1e-10)
    slope = dense.gradient(y, x, terms, structures, theta, reml, weights)
    np.testing.assert_allclose(gradient, slope, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("combination", COMBINATIONS)
def test_estimates_modes_and_covariances(combination, weighted, reml):
    y, x, terms, weights = draw(11, combination)
    weights = weights if weighted else None
    model = mx.MixedLM(y, x, terms=terms, weights=weights)
    result = quiet(model.fit, reml=reml)
    fit = result.fitted.fit
    assert fit.convergence.converged
    deviance = dense.deviance(y, x, terms, fit.lams, reml, weights)
    np.testing.assert_allclose(fit.deviance, deviance, rtol=1e-11)
    beta, scale, modes, covariances = dense.effects(y, x, terms, fit.lams, reml, weights)
    np.testing.assert_allclose(fit.coefficients, beta, rtol=1e-9)
    np.testing.assert_allclose(fit.scale, scale, rtol=1e-9)
    for number, term in enumerate(terms):
        np.testing.assert_allclose(fit.effects[number], modes[number], atol=1e-9)
        own = fit.joint_effect_covariance([number])
        assert own.shape == (term.n_levels, term.k, term.k)
        for level in range(term.n_levels):
            at = slice(level * term.k, (level + 1) * term.k)
            np.testing.assert_allclose(own[level], covariances[number][at, at], atol=1e-10)

    def function(theta):
        lams, start = [], 0
        for t in terms:
            lams.append(t.structure.lam(theta[start : start + t.structure.n_theta]))
            start += t.structure.n_theta
        return dense.deviance(y, x, terms, lams, reml, weights)

    best = optimize.minimize(function, fit.theta, method="Nelder-Mead").fun
    assert fit.deviance <= best + 1e-7


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_information_matches_numerical_curvature(combination):
    """Standard errors of the variances, from differences of the dense deviance."""
    for seed in range(4, 50):  # on the boundary there is no such error
        y, x, terms, _ = draw(seed, combination, n=90)
        result = quiet(mx.MixedLM(y, x, terms=terms).fit)
        if not result.is_singular and (result.theta**2).min() > 0.01:
            break
    assert not result.is_singular
    fit = result.fitted.fit
    structures = [t.structure for t in terms]
    gamma = np.concatenate(
        [s.gamma(c) for s, c in zip(structures, fit.covariances, strict=True)]
    )
    point = np.append(gamma, fit.scale)

    def function(values):
        v, start = values[-1] * np.eye(len(y)), 0
        for t, s in zip(terms, structures, strict=True):
            own = values[start : start + s.n_gamma]
            sigma = np.tensordot(own, s.covariance_basis, 1)
            z = dense.dense_z(t)
            v += z @ np.kron(np.eye(t.n_levels), sigma) @ z.T
            start += s.n_gamma
        inverse = np.linalg.inv(v)
        information = x.T @ inverse @ x
        r = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
        return np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1] + r @ inverse @ r

    size = len(point)
    step = 2e-3 * np.maximum(np.abs(point), 0.05)
    hessian = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            e, f = step * np.eye(size)[i], step * np.eye(size)[j]
            hessian[i, j] = (
                function(point + e + f)
                - function(point + e - f)
                - function(point - e + f)
                + function(point - e - f)
            ) / (4 * step[i] * step[j])
    expected = np.sqrt(np.diag(np.linalg.inv(hessian / 2)))
    order = result.model.layout.packed_gamma
    np.testing.assert_allclose(result.bse_re, expected[:-1][order], rtol=2e-3)
    np.testing.assert_allclose(result.bse_scale, expected[-1], rtol=2e-3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("crossed", [False, True])
def test_indicators_are_a_random_intercept(crossed, weighted):
    rng = np.random.default_rng(3)
    n = 5000  # more than one chunk of rows
    g, h = rng.integers(0, 40, n), rng.integers(0, 11, n)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = x @ [1.0, 2.0] + rng.normal(size=40)[g] + 0.3 * rng.normal(size=11)[h]
    y += rng.normal(size=n)
    weights = rng.uniform(0.3, 2.0, n) if weighted else None
    rest = [mx.RandomTerm(h, group="h")] if crossed else []
    z = sparse.csr_array((np.ones(n), (np.arange(n), g)), shape=(n, 40))
    plain = mx.MixedLM(y, x, terms=[mx.RandomTerm(g, group="g"), *rest], weights=weights)
    other = mx.MixedLM(y, x, terms=[mx.SparseTerm(z, group="g"), *rest], weights=weights)
    one, two = plain.fit(), other.fit()
    np.testing.assert_allclose(one.llf, two.llf, rtol=1e-12)
    np.testing.assert_allclose(one.theta, two.theta, rtol=1e-6)
    np.testing.assert_allclose(one.scale, two.scale, rtol=1e-8)
    theta = one.theta
    for reml in (True, False):
        ours, theirs = (m.objective(theta, reml=reml) for m in (other, plain))
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-12)
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9, atol=1e-7)
    pinned = [m.fit(start_params=theta, do_cg=False) for m in (plain, other)]
    for name in ("fe_params", "bse_fe", "bse_re", "fittedvalues"):
        values = [np.asarray(getattr(r, name)) for r in pinned]
        np.testing.assert_allclose(*values, rtol=1e-9, atol=1e-9)
    for name in ("ranef", "ranef_cov"):
        values = [getattr(r, name)("g").to_numpy() for r in pinned]
        np.testing.assert_allclose(*values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("combination", ["alone", "several with one"])
def test_scaling(combination):
    y, x, terms, _ = draw(8, combination)
    one = quiet(mx.MixedLM(y, x, terms=terms).fit)
    scaled = [
        mx.SparseTerm(t.matrix * 1e4, group=t.group) if hasattr(t, "matrix") else t
        for t in terms
    ]
    two = quiet(mx.MixedLM(1e-3 * y, x * [1.0, 1e5], terms=scaled).fit)
    np.testing.assert_allclose(two.scale, 1e-6 * one.scale, rtol=1e-7)
    np.testing.assert_allclose(
        two.fitted.fit.coefficients, one.fitted.fit.coefficients * [1e-3, 1e-8], rtol=1e-8
    )
    factor = [1e-4 if hasattr(t, "matrix") else 1.0 for t in terms]
    np.testing.assert_allclose(two.theta, one.theta * factor, rtol=1e-5)
    order = np.random.default_rng(0).permutation(len(y))
    moved = [t.take(order) for t in terms]
    three = quiet(mx.MixedLM(y[order], x[order], terms=moved[::-1]).fit)
    np.testing.assert_allclose(three.llf, one.llf, rtol=1e-11)


@pytest.mark.parametrize("storage", ["dense", "sparse", "supernodal"])
@pytest.mark.parametrize("with_lead", [False, True])
def test_every_storage_of_the_tail(storage, with_lead):
    """Competitors in pairs, in leagues of their own: Z'Z is sparse."""
    rng = np.random.default_rng(5)
    n, q, leagues = 900, 480, 60
    league = rng.integers(0, leagues, n)
    own, other = rng.random((n, q // leagues)).argsort(axis=1)[:, :2].T
    column = np.stack([own, other], 1) + (league * (q // leagues))[:, None]
    value = np.tile([1.0, -1.0], n)
    z = sparse.csr_array((value, column.ravel(), np.arange(n + 1) * 2), shape=(n, q))
    second = mx.SparseTerm(memberships(rng, n, 20, 1) * 2.0, group="judge")
    terms = [mx.SparseTerm(z, group="player"), second]
    if with_lead:
        terms = [mx.RandomTerm(rng.integers(0, 70, n), group="day"), terms[0]]
    y = z @ rng.normal(size=q) + rng.normal(size=n)
    x = np.ones((n, 1))
    design = prepare_design(y, x, terms, storage=storage)
    assert design.blocks.storage in (storage, "nested")
    fit = fit_design(design, True)
    deviance = dense.deviance(y, x, terms, fit.lams, True)
    np.testing.assert_allclose(fit.deviance, deviance, rtol=1e-11)
    _, _, modes, covariances = dense.effects(y, x, terms, fit.lams, True)
    structures = [t.structure for t in terms]
    objective = design.objective(True)
    theta = design.inner_theta(fit.theta)
    objective.value(theta)
    scores = objective.derivatives(theta).scores
    expected = dense.gradient(y, x, terms, structures, fit.theta, True)
    np.testing.assert_allclose(design.gradient(scores, fit.theta), expected, atol=1e-6)
    for i in range(len(terms)):
        np.testing.assert_allclose(fit.effects[i], modes[i], atol=1e-9)
        diagonal = fit.joint_effect_covariance([i]).ravel()
        np.testing.assert_allclose(diagonal, np.diag(covariances[i]), atol=1e-10)


def test_moments_do_not_depend_on_the_storage():
    y, x, terms, _ = draw(2, "several with one", n=200)
    starts = []
    for storage in ("dense", "sparse"):
        fit = fit_design(prepare_design(y, x, terms, storage=storage), True)
        starts.append(fit.log.theta[0])
    np.testing.assert_allclose(*starts, rtol=1e-9)


@pytest.mark.parametrize("spread", [False, True])
def test_moments_of_indicators_are_those_of_a_random_intercept(spread):
    """The moment equations know of pairs of levels within one factor."""
    from mixedext.engine.search.starting_values import moment_covariances

    rng = np.random.default_rng(6)
    n = 300
    level = rng.integers(0, 10, n)
    z = np.eye(10)[level]
    rotation, _ = np.linalg.qr(rng.normal(size=(10, 10)))
    z = z @ rotation if spread else z  # the same Z Z'
    rest = mx.RandomTerm(rng.integers(0, 30, n), group="h")
    y, x = rng.normal(size=n) + level, np.ones((n, 1))
    found = []
    for term in (mx.RandomTerm(level, group="g"), mx.SparseTerm(z, group="g")):
        design = prepare_design(y, x, [term, rest])
        covariances = moment_covariances(design.blocks, design.structures)
        found.append(
            [
                c[0, 0] / t[0, 0] ** 2
                for c, t in zip(covariances, design.transforms, strict=True)
            ]
        )
    np.testing.assert_allclose(*found, rtol=1e-9)


def test_kinship_root_against_the_spectral_likelihood():
    """GBLUP: y = 1 mu + Z b + e with Z Z' = K, from the eigenvalues of K alone."""
    rng = np.random.default_rng(1)
    n = 300
    markers = rng.integers(0, 3, (n, 400)).astype(float)
    markers -= markers.mean(axis=0)
    kinship = markers @ markers.T / 200 + 0.01 * np.eye(n)
    root = np.linalg.cholesky(kinship)
    y = 3.0 + root @ rng.normal(size=n) + rng.normal(size=n)
    x = np.ones((n, 1))
    result = mx.MixedLM(y, x, terms=[mx.SparseTerm(root, group="animal")]).fit()
    value, vector = np.linalg.eigh(kinship)
    one, yy = vector.T @ x[:, 0], vector.T @ y

    def deviance(ratio):
        w = 1 / (1 + ratio * value)
        mean = (w * one * yy).sum() / (w * one**2).sum()
        square = (w * (yy - one * mean) ** 2).sum()
        return (
            -np.log(w).sum()
            + np.log((w * one**2).sum())
            + (n - 1) * (1 + np.log(2 * np.pi * square / (n - 1)))
        )

    best = optimize.minimize_scalar(
        lambda t: deviance(np.exp(t)),
        bounds=(-5, 5),
        method="bounded",
        options={"xatol": 1e-10},
    )
    np.testing.assert_allclose(result.deviance, best.fun, rtol=1e-12)
    np.testing.assert_allclose(result.theta[0] ** 2, np.exp(best.x), rtol=1e-6)
    ratio = result.theta[0] ** 2
    v = np.eye(n) + ratio * kinship
    residual = y - float(result.fe_params[0])
    blup = ratio * kinship @ np.linalg.solve(v, residual)
    np.testing.assert_allclose(
        root @ result.ranef("animal").to_numpy()[:, 0], blup, atol=1e-9
    )
    np.testing.assert_allclose(result.fittedvalues - result.fe_params[0], blup, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.02])
def test_more_columns_than_rows(share, weighted):
    rng = np.random.default_rng(8)
    n, q = 50, 220
    z = rng.normal(size=(n, q)) * (rng.random((n, q)) < share)
    z[:, :3] = z[:, 3:4]
    y, x = z @ rng.normal(size=q) * 0.2 + rng.normal(size=n), np.ones((n, 1))
    weights = rng.uniform(0.3, 2, n) if weighted else None
    term = mx.SparseTerm(z, group="marker")
    model = mx.MixedLM(y, x, terms=[term], weights=weights)
    result = quiet(model.fit)
    fit = result.fitted.fit
    np.testing.assert_allclose(
        fit.deviance, dense.deviance(y, x, [term], fit.lams, True, weights), rtol=1e-11
    )
    _, _, modes, covariances = dense.effects(y, x, [term], fit.lams, True, weights)
    np.testing.assert_allclose(fit.effects[0], modes[0], atol=1e-9)
    np.testing.assert_allclose(
        fit.joint_effect_covariance([0]).ravel(), np.diag(covariances[0]), atol=1e-9
    )
    theta = np.array([0.3])
    deviance, gradient = model.objective(theta, reml=False)
    lams = [np.full((1, 1), 0.3)]
    expected = dense.deviance(y, x, [term], lams, False, weights)
    np.testing.assert_allclose(deviance, expected, rtol=1e-11)
    slope = dense.gradient(y, x, [term], [term.structure], theta, False, weights)
    np.testing.assert_allclose(gradient, slope, rtol=1e-7, atol=1e-7)
    other = rng.normal(size=n)
    again = quiet(model.refit, other)
    fresh = quiet(mx.MixedLM(other, x, terms=[term], weights=weights).fit)
    np.testing.assert_allclose(again.llf, fresh.llf, rtol=1e-10)
    np.testing.assert_allclose(model.fit_many(other[:, None]).llf[0], fresh.llf, rtol=1e-10)
    sample = result.simulate_refits(20, rng=1)
    assert sample.n_failed == 0


@pytest.mark.parametrize("combination", ["alone", "with one", "wide"])
@pytest.mark.parametrize("weighted", [False, True])
def test_other_responses(combination, weighted):
    y, x, terms, weights = draw(21, combination)
    weights = weights if weighted else None
    rng = np.random.default_rng(0)
    others = np.column_stack([y + rng.normal(size=len(y)), rng.normal(size=len(y)), y])
    model = mx.MixedLM(y, x, terms=terms, weights=weights)
    many = model.fit_many(others)
    for r in range(3):
        fresh = quiet(mx.MixedLM(others[:, r], x, terms=terms, weights=weights).fit)
        again = quiet(model.refit, others[:, r])
        for name in ("llf", "scale"):
            value = getattr(fresh, name)
            np.testing.assert_allclose(getattr(many, name)[r], value, rtol=1e-9)
            np.testing.assert_allclose(getattr(again, name), value, rtol=1e-9)
        np.testing.assert_allclose(again.fittedvalues, fresh.fittedvalues, atol=1e-6)


@pytest.mark.parametrize("combination", ["alone", "with one"])
def test_simulated_refits_find_the_truth(combination):
    y, x, terms, _ = draw(9, combination, n=150)
    result = quiet(mx.MixedLM(y, x, terms=terms).fit)
    sample = result.simulate_refits(400, rng=1)
    assert sample.n_failed == 0
    error = sample.fe_params.std(axis=0) / np.sqrt(len(sample))
    assert (np.abs(sample.fe_params.mean(axis=0) - result.fe_params) < 4 * error).all()
    # REML is nearly unbiased for sigma^2
    error = sample.scale.std() / np.sqrt(len(sample))
    assert abs(sample.scale.mean() - result.scale) < 5 * error + 0.01 * result.scale


@pytest.mark.parametrize("ratio", [1e-6, 1e-4])
def test_a_variance_that_dwarfs_the_residual(ratio):
    """As digits of the cross-products cancel the rows are asked."""
    rng = np.random.default_rng(12)
    n, q = 400, 30
    z = memberships(rng, n, q)
    y = z @ rng.normal(size=q) + ratio * rng.normal(size=n)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    model = mx.MixedLM(y, x, terms=[mx.SparseTerm(z, group="school")])
    every = np.column_stack([x, z.toarray()])  # what it leaves of y
    rest = y - every @ np.linalg.lstsq(every, y, rcond=None)[0]
    rank = np.linalg.matrix_rank(every)
    for result in (quiet(model.fit), quiet(model.refit, y)):
        np.testing.assert_allclose(result.scale, rest @ rest / (n - rank), rtol=1e-6)


@pytest.mark.parametrize("ratio", [1e-5, 1e-4])
def test_a_variance_that_dwarfs_the_residual_beside_another_factor(ratio):
    rng = np.random.default_rng(13)
    n, g = 400, rng.integers(0, 30, 400)
    other = mx.RandomTerm(rng.integers(0, 20, n), group="h")
    y = rng.normal(size=30)[g] + ratio * rng.normal(size=n)
    y += ratio * rng.normal(size=20)[other.codes]
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    mixed, _ = np.linalg.qr(rng.normal(size=(30, 30)))
    results = [
        quiet(mx.MixedLM(y, x, terms=[term, other]).fit)
        for term in (
            mx.RandomTerm(g, group="g"),
            mx.SparseTerm(np.eye(30)[g] @ mixed, group="g"),  # the same Z Z'
        )
    ]
    one, two = results
    # determinants keep an error of about eps times the ratio of the variances
    error = 100 * np.finfo(float).eps / ratio**2
    np.testing.assert_allclose(two.llf, one.llf, atol=error, rtol=1e-12)
    np.testing.assert_allclose(two.scale, one.scale, rtol=1e-6)


def test_what_would_not_fit_into_memory_is_refused(monkeypatch):
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=300), np.ones((300, 1))
    terms = [
        mx.SparseTerm(rng.normal(size=(300, 1500)), group="marker"),
        mx.SparseTerm(rng.normal(size=(300, 1500)), group="other"),
    ]
    monkeypatch.setenv("MIXEDEXT_MEMORY_LIMIT", "30M")
    with pytest.raises(MemoryError, match=r"several levels at once.*marker \(1,500 levels"):
        mx.MixedLM(y, x, terms=terms)


def test_description_names_the_rotation():
    y, x, terms, _ = draw(5, "alone")
    text = mx.MixedLM(y, x, terms=terms).describe_blocks()
    assert text.endswith("school: 12 columns, rotated to eigenvectors of Z'Z")


def wide_term(rng, n, n_levels, k, structure="identity"):
    z = rng.normal(size=(n, k))
    return mx.RandomTerm(rng.integers(0, n_levels, n), z, group="g", structure=structure)


@pytest.mark.parametrize(("n_levels", "k"), [(1, 40), (3, 25), (12, 18)])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_columns_with_one_variance(n_levels, k, weighted):
    rng = np.random.default_rng(k)
    n = 200
    term = wide_term(rng, n, n_levels, k)
    z = dense.dense_z(term)
    y = z @ rng.normal(size=z.shape[1]) * 0.4 + rng.normal(size=n)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    weights = rng.uniform(0.5, 2, n) if weighted else None
    model = mx.MixedLM(y, x, terms=[term], weights=weights)
    result = quiet(model.fit)
    fit = result.fitted.fit
    np.testing.assert_allclose(
        fit.deviance, dense.deviance(y, x, [term], fit.lams, True, weights), rtol=1e-11
    )
    _, _, modes, covariances = dense.effects(y, x, [term], fit.lams, True, weights)
    np.testing.assert_allclose(fit.effects[0], modes[0], atol=1e-9)
    own = fit.joint_effect_covariance([0])
    for level in range(n_levels):
        at = slice(level * k, (level + 1) * k)
        np.testing.assert_allclose(own[level], covariances[0][at, at], atol=1e-10)
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_allclose(again.ranef().to_numpy(), modes[0], atol=1e-9)
    many = model.fit_many(np.column_stack([y, y[::-1]]))
    np.testing.assert_allclose(many.llf[0], result.llf, rtol=1e-10)


@pytest.mark.parametrize("structure", ["diagonal", "unstructured"])
def test_wide_terms_of_other_structures(structure):
    rng = np.random.default_rng(17)
    n, k = 900, 17
    term = wide_term(rng, n, 40, k, structure)
    z = dense.dense_z(term)
    y = z @ rng.normal(size=z.shape[1]) + rng.normal(size=n)
    x = np.ones((n, 1))
    theta = 0.1 * rng.normal(size=term.structure.n_theta)
    deviance, gradient = mx.MixedLM(y, x, terms=[term]).objective(theta)
    lam = term.structure.lam(theta)
    np.testing.assert_allclose(
        deviance, dense.deviance(y, x, [term], [lam], True), rtol=1e-11
    )
    s = [term.structure]
    if structure == "diagonal":
        expected = dense.gradient(y, x, [term], s, theta, True)
        np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-7)


def test_everything_a_result_offers(tmp_path):
    y, x, terms, _ = draw(5, "several with one", n=120)
    frame = pd.DataFrame(x, columns=["const", "x"])
    model = mx.MixedLM(pd.Series(y, name="y"), frame, terms=terms)
    assert "school" in model.describe_blocks()
    result = quiet(model.fit)
    assert list(result.n_levels.items()) == [("spline", 6), ("h", 7), ("school", 12)]
    assert list(result.var_corr["group"]) == ["spline", "h", "school", "Residual"]
    text = str(result.summary())
    assert "school" in text
    assert "spline" in text
    assert result.ranef("school").shape == (12, 1)
    assert result.ranef_cov("school").shape == (12, 1)
    assert set(result.random_effects) == {"spline", "h", "school"}
    assert set(result.random_effects_cov) == {"spline", "h", "school"}
    mean = result.fittedvalues
    np.testing.assert_allclose(mean + result.resid, y)
    population = result.predict(conditional=False)
    np.testing.assert_allclose(population, x @ result.fe_params)
    loaded = pickle.loads(pickle.dumps(result))
    np.testing.assert_allclose(loaded.fittedvalues, mean)
    np.testing.assert_allclose(loaded.ranef_cov("school"), result.ranef_cov("school"))
    before = result.ranef("school")
    result.remove_data()
    pd.testing.assert_frame_equal(result.ranef("school"), before)
    assert str(result.summary()) == text


def test_alone_it_gives_statsmodels_dictionary():
    y, x, terms, _ = draw(5, "alone")
    labelled = mx.SparseTerm(terms[0].matrix, "school", levels=list("abcdefghijkl"))
    result = quiet(mx.MixedLM(y, x, terms=labelled).fit)
    assert list(result.random_effects) == list("abcdefghijkl")
    assert result.random_effects["a"].index.tolist() == ["school"]
    assert result.random_effects_cov["a"].shape == (1, 1)
    assert result.vcomp.shape == (1,)
    assert result.cov_re.shape == (0, 0)
    np.testing.assert_allclose(result.vcomp[0], result.theta[0] ** 2 * result.scale)


def test_rows_with_missing_values_are_left_out():
    y, x, terms, _ = draw(5, "alone")
    matrix = terms[0].matrix.toarray()
    matrix[7, 3] = np.nan
    term = mx.SparseTerm(matrix, group="school")
    with pytest.raises(mx.MissingDataError, match="school"):
        mx.MixedLM(y, x, terms=[term])
    kept = np.arange(len(y)) != 7
    one = quiet(mx.MixedLM(y, x, terms=[term], missing="drop").fit)
    two = quiet(mx.MixedLM(y[kept], x[kept], terms=[terms[0].take(kept)]).fit)
    assert one.nobs == len(y) - 1
    np.testing.assert_allclose(one.llf, two.llf, rtol=1e-13)


def test_responses_by_the_ordinary_path_agree_with_batches():
    y, x, terms, _ = draw(14, "alone")
    design = prepare_design(y, x, terms)
    assert design.rotation is not None
    batch = fit_responses(Responses(design, x, terms, None), y[:, None], True)
    tail = prepare_design(y, x, [*terms, mx.SparseTerm(np.eye(60)[:, :2] * 1e-9, "zero")])
    assert tail.rotation is None
    assert tail.blocks.factors[0].n_levels == 0
    single = fit_design(design, True)
    np.testing.assert_allclose(batch.log_likelihood[0], single.log_likelihood, rtol=1e-11)


@pytest.mark.parametrize("crossed", [False, True])
def test_two_variances_of_many_columns_on_one_factor(crossed):
    rng = np.random.default_rng(19)
    n, codes = 200, rng.integers(0, 3, 200)
    names = [f"a{j}" for j in range(18)]
    terms = [
        mx.RandomTerm(codes, rng.normal(size=(n, 18)), "g", names, structure="identity"),
        mx.RandomTerm(codes, rng.normal(size=(n, 4)) * 3, "g", structure="identity"),
    ]
    if crossed:
        terms.append(mx.RandomTerm(rng.integers(0, 30, n), group="h"))
    z = [dense.dense_z(t) for t in terms]
    y = sum(m @ rng.normal(size=m.shape[1]) for m in z) + rng.normal(size=n)
    x = np.ones((n, 1))
    result = quiet(mx.MixedLM(y, x, terms=terms).fit)
    fit = result.fitted.fit
    np.testing.assert_allclose(
        fit.deviance, dense.deviance(y, x, terms, fit.lams, True), rtol=1e-11
    )
    prior = linalg.block_diag(
        *[
            np.kron(np.eye(t.n_levels), lam @ lam.T)
            for t, lam in zip(terms, fit.lams, strict=True)
        ]
    )
    whole = np.hstack(z)
    v = np.eye(n) + whole @ prior @ whole.T
    covariance = fit.scale * (prior - prior @ whole.T @ np.linalg.solve(v, whole @ prior))
    own = fit.joint_effect_covariance([0, 1])
    assert own.shape == (3, 22, 22)
    for level in range(3):
        at = np.r_[level * 18 : (level + 1) * 18, 54 + level * 4 : 54 + (level + 1) * 4]
        np.testing.assert_allclose(own[level], covariance[np.ix_(at, at)], atol=1e-10)
    assert result.ranef("g").shape == (3, 22)
    assert result.ranef_cov("g").shape == (66, 22)
    if crossed:
        with pytest.raises(ValueError, match="do not share"):
            fit.joint_effect_covariance([0, 2])
