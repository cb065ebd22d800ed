"""Log-likelihood, score and Hessian against n x n algebra, singular covariances too."""

import warnings

import numpy as np
import pytest
from helpers.dense_likelihood import DenseLikelihood
from hypothesis import given, settings
from hypothesis import strategies as st

import mixedext as mx
from mixedext.engine.deviance.given_covariances import IndefiniteError, Likelihood
from mixedext.engine.rows.design import prepare_design

N = 60
KINDS = ["one", "shared", "crossed", "nested", "three"]


def make_terms(kind, rng):
    g, h = rng.integers(0, 8, N), rng.integers(0, 6, N)
    slopes = np.c_[np.ones(N), 3 * rng.normal(size=N) + 1]
    wide = mx.RandomTerm(g, slopes, group="g")
    crossed = mx.RandomTerm(h, group="h")
    common = mx.RandomTerm(g, rng.normal(size=(N, 2)), structure="identity", group="g")
    nested = mx.RandomTerm(g * 10 + h, group="g:h")
    diagonal = mx.RandomTerm(g, slopes, structure="diagonal", group="g")
    third = mx.RandomTerm(rng.integers(0, 5, N), slopes, group="k")
    return {
        "one": [wide],
        "shared": [wide, common],
        "crossed": [wide, crossed],
        "nested": [nested, wide],
        "three": [crossed, diagonal, third],
    }[kind]


def covariances_of(terms, rng, state):
    out = []
    for term in terms:
        s = term.structure
        root = rng.normal(size=(s.k, s.k))
        if state == "singular":
            root[:, 1:] = 0
        full = root @ root.T
        if state == "zero":
            full = 0 * full
        out.append(np.einsum("r,rab->ab", s.gamma(full), s.covariance_basis))
    return out


def gamma_of(terms, covariances):
    return np.concatenate(
        [t.structure.gamma(c) for t, c in zip(terms, covariances, strict=True)]
    )


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("state", ["regular", "singular", "zero"])
@pytest.mark.parametrize("kind", KINDS)
def test_against_dense(kind, state, reml):
    rng = np.random.default_rng([KINDS.index(kind), len(state), reml])
    x = np.c_[np.ones(N), rng.normal(size=N) + 3]
    y = x @ [5.0, -1.0] + rng.normal(size=N)
    weights = rng.uniform(0.5, 2, N)
    terms = make_terms(kind, rng)
    covariances = covariances_of(terms, rng, state)
    dense = DenseLikelihood(y, x, terms, reml, weights)
    point = Likelihood(prepare_design(y, x, terms, weights), reml).at(covariances)
    gamma = gamma_of(terms, covariances)
    best = dense.best(gamma)
    np.testing.assert_allclose(point.coefficients(), best, rtol=1e-10)
    np.testing.assert_allclose(point.log_likelihood(), dense.value(best, gamma), rtol=1e-12)
    for b in (best, best + rng.normal(size=2)):
        np.testing.assert_allclose(
            point.log_likelihood(b), dense.value(b, gamma), rtol=1e-12
        )
        np.testing.assert_allclose(point.scale(b), dense.scale(b, gamma), rtol=1e-10)
        score = dense.score(b, gamma)
        np.testing.assert_allclose(
            np.concatenate(point.score(b)), score, rtol=1e-9, atol=1e-10 * N
        )
        hessian = dense.hessian(b, gamma)
        size = np.sqrt(np.abs(np.diag(hessian)))
        error = np.abs(point.hessian(b) - hessian) / np.outer(size, size)
        assert error.max() < 1e-9


def test_without_random_terms():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(N, 2)), rng.normal(size=N)
    point = Likelihood(prepare_design(y, x, []), True).at([])
    dense = DenseLikelihood(y, x, [], True)
    b = rng.normal(size=2)
    inverse = np.eye(N)
    dense.covariance = lambda gamma: inverse
    np.testing.assert_allclose(point.log_likelihood(b), dense.value(b, []), rtol=1e-12)
    np.testing.assert_allclose(point.score(b)[0], dense.score(b, np.zeros(0)), rtol=1e-10)
    np.testing.assert_allclose(
        point.hessian(b), dense.hessian(b, np.zeros(0)), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("kind", ["one", "crossed", "three"])
def test_equals_the_fit_at_its_estimate(kind):
    rng = np.random.default_rng(11)
    x = np.c_[np.ones(N), rng.normal(size=N)]
    terms = make_terms(kind, rng)
    effect = rng.normal(size=20)
    y = x.sum(axis=1) + effect[terms[0].codes] + rng.normal(size=N)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some variances are zero
        result = mx.MixedLM(y, x, terms=terms).fit()._results
    fit = result.fitted.fit
    point = Likelihood(fit.design, True).at([m @ m.T for m in fit.lams])
    assert point.log_likelihood() == pytest.approx(result.llf, rel=1e-14)
    np.testing.assert_allclose(point.coefficients(), fit.coefficients, rtol=1e-12)
    assert point.scale() == pytest.approx(fit.scale, rel=1e-12)
    np.testing.assert_allclose(
        fit.scale * np.linalg.inv(point.normal_matrix()), fit.covariance, rtol=1e-10
    )
    for own, theirs in zip(point.effects(), fit.effects, strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-9, atol=1e-11)


def test_indefinite_names_the_term():
    rng = np.random.default_rng(2)
    terms = make_terms("crossed", rng)
    likelihood = Likelihood(
        prepare_design(rng.normal(size=N), np.ones((N, 1)), terms), True
    )
    with pytest.raises(IndefiniteError, match=r"effects of g .* not positive semidefinite"):
        likelihood.at([np.array([[1.0, 2.0], [2.0, 1.0]]), np.eye(1)])
    with pytest.raises(IndefiniteError, match="effects of h"):
        likelihood.at([np.eye(2), -np.eye(1)])


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    y_power=st.integers(-6, 6),
    z_power=st.integers(-6, 6),
    kind=st.sampled_from(KINDS),
)
def test_units_and_order_do_not_show(seed, y_power, z_power, kind):
    rng = np.random.default_rng(seed)
    x = np.c_[np.ones(N), rng.normal(size=N)]
    y = x.sum(axis=1) + rng.normal(size=N)
    terms = make_terms(kind, rng)
    covariances = covariances_of(terms, rng, "regular")
    b = rng.normal(size=2)
    likelihood = Likelihood(prepare_design(y, x, terms), True)
    point = likelihood.at(covariances)
    by, bz = 10.0**y_power, 10.0**z_power
    order = rng.permutation(N)
    moved = [
        mx.RandomTerm(
            -t.codes[order], bz * t.z[order], structure=t.structure.name, group=t.group
        )
        for t in terms
    ]
    other = Likelihood(prepare_design(by * y[order], x[order], moved), True).at(
        [c / bz**2 for c in covariances]
    )
    dof = N - 2
    assert other.log_likelihood(by * b) == pytest.approx(
        point.log_likelihood(b) - dof * np.log(by), rel=1e-10, abs=1e-9
    )
    (fixed, gamma), (other_fixed, other_gamma) = point.score(b), other.score(by * b)
    np.testing.assert_allclose(by * other_fixed, fixed, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(other_gamma / bz**2, gamma, rtol=1e-7, atol=1e-8)
    unit = np.concatenate([[by, by], np.full(len(gamma), 1 / bz**2)])
    hessian = point.hessian(b)
    size = np.sqrt(np.abs(np.diag(hessian)))
    change = other.hessian(by * b) * np.outer(unit, unit) - hessian
    assert np.abs(change / np.outer(size, size)).max() < 1e-6


@pytest.mark.formula_engine
def test_second_derivatives_beyond_the_range_of_numbers():
    """Of the variance of a slope in units of 2^-340 it is infinite; others are not."""
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(2, 20))
    data = {"y": y + x, "x": x, "g": np.arange(20) % 5}
    hessians = []
    for unit in (1.0, 2.0**340):
        model = mx.mixedlm("y ~ x + (x || g)", {**data, "x": x * unit})
        start = mx.MixedLMParams.from_components(
            fe_params=[0.1, 0.9 / unit], vcomp=[0.5, 0.3 / unit**2]
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            hessians.append(model.hessian(start)[0])
    one, other = hessians
    exponent = np.array([0, 340, 0, 680])
    with np.errstate(over="ignore"):
        expected = np.ldexp(one, exponent + exponent[:, None])
    assert np.isinf(expected[3, 3])
    np.testing.assert_allclose(other, expected, rtol=1e-9)


@pytest.mark.formula_engine
def test_without_parameters_there_are_no_derivatives():
    model = mx.mixedlm("y ~ 0", {"y": [1.0, 2.0, 4.0]})
    parameters = model.fit().params_object
    assert model.hessian(parameters)[0].shape == (0, 0)
    assert model.score(parameters).shape == (0,)
