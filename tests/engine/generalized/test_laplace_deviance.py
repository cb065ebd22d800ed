"""Laplace's deviance: against dense matrices, its gradient against differences."""

import numpy as np
import pytest
from helpers.generalized_dense import DenseLaplace, sixth_order_gradient
from helpers.generalized_rows import (
    FAMILIES,
    MODELS,
    dense_of,
    draw_rows,
    linear_predictor,
    make_design,
)
from scipy import special, stats

from mixedext.engine.generalized.design import prepare_rows
from mixedext.engine.generalized.fit import make_deviance
from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance
from mixedext.engine.generalized.one_factor import OneFactorDeviance, is_one_factor
from mixedext.specification.families.likelihood import LikelihoodRows
from mixedext.specification.families.registry import family_of
from mixedext.specification.families.response import RowResponse
from mixedext.specification.terms.random_terms import RandomTerm

THETA = {
    "one": [0.3],
    "crossed": [0.3, 0.2],
    "slopes": [0.3, 0.1, 0.15, 0.2, -0.05, 0.1],
    "three": [0.3, 0.2, 0.25],
    "same factor": [0.3, 0.2],
    "spread": [0.3, 0.2],
}


def _case(name, model, offset=False, **more):
    design, terms = make_design(model, offset=offset)
    rng = np.random.default_rng(3)
    rows = draw_rows(name, linear_predictor(name, design.nobs, rng), rng, **more)
    middle = linear_predictor(name, 1, rng, 0.0)[0]
    beta = design.units.basis.r @ np.array([middle, 0.1])
    kappa = np.full(rows.family.n_dispersion, 1.0)
    psi = np.concatenate([np.multiply(THETA[model], _size(name)), beta, kappa])
    return design, terms, rows, psi


def _size(name):
    # where eta has limits, effects are to keep within them
    return 0.5 if any(s in name for s in ("identity", "inverse", "sqrt")) else 1.0


def _objectives(design, rows, laplace="observed"):
    out = [LaplaceDeviance(design, rows, laplace)]
    if is_one_factor(design):
        out.append(OneFactorDeviance(design, rows, laplace))
    return out


def _check(deviance, psi, value, gradient):
    found = deviance.evaluate(psi)
    assert found.reason == ""
    assert found.value == pytest.approx(value, rel=1e-11)
    size = np.abs(gradient).max()
    np.testing.assert_allclose(found.gradient, gradient, rtol=0, atol=1e-8 * size)
    return found


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("laplace", ["observed", "expected"])
def test_every_family_and_link(name, laplace):
    design, terms, rows, psi = _case(name, "crossed")
    dense = dense_of(design, terms, rows)
    weights = None
    if laplace == "expected":

        def weights(eta, kappa):
            return rows.expected_weight(eta, kappa)

    def value(at):
        return dense.value(at, weights)

    gradient = sixth_order_gradient(value, psi)
    for deviance in _objectives(design, rows, laplace):
        found = _check(deviance, psi, value(psi), gradient)
        np.testing.assert_allclose(
            np.sort(found.modes), np.sort(dense.modes), rtol=0, atol=1e-9
        )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "name", ["binomial(probit)", "poisson(log)", "gamma(log)", "negative binomial(log)"]
)
@pytest.mark.parametrize("offset", [False, True], ids=["", "offset"])
def test_every_layout(model, name, offset):
    design, terms, rows, psi = _case(name, model, offset, counts=offset)
    dense = dense_of(design, terms, rows)
    gradient = sixth_order_gradient(dense.value, psi)
    for deviance in _objectives(design, rows):
        _check(deviance, psi, dense.value(psi), gradient)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("model", ["slopes", "one"])
def test_variances_of_zero(name, model):
    design, terms, rows, psi = _case(name, model)
    psi[: len(THETA[model])] = 0.0
    dense = dense_of(design, terms, rows)
    gradient = sixth_order_gradient(dense.value, psi)
    alone = -2 * rows.log_density(design.x @ psi[len(THETA[model]) :][:2], psi[-1:]).sum()
    for deviance in _objectives(design, rows):
        found = _check(deviance, psi, alone, gradient)
        # theta and -theta are one model
        assert (found.gradient[: deviance.n_theta] == 0).all()
        assert (found.modes == 0).all()


def _explicit(name, y, m):
    """l, l', l'' written out."""

    def logit(eta, kappa):
        mean = special.expit(eta)
        loss = -stats.binom.logpmf(y, m, mean)
        return loss, m * mean - y, m * mean * (1 - mean)

    def probit(eta, kappa):
        mean, density = stats.norm.cdf(eta), stats.norm.pdf(eta)
        up, down = density / mean, density / (1 - mean)
        weight = y * up * (up + eta) + (m - y) * down * (down - eta)
        return -stats.binom.logpmf(y, m, mean), (m - y) * down - y * up, weight

    def poisson(eta, kappa):
        mean = np.exp(eta)
        return -stats.poisson.logpmf(y, mean), mean - y, mean

    def gamma(eta, kappa):
        mean, phi = np.exp(eta), np.exp(kappa[0])
        loss = -stats.gamma.logpdf(y, 1 / phi, scale=mean * phi)
        return loss, (1 - y / mean) / phi, y / mean / phi

    def negative(eta, kappa):
        mean, size = np.exp(eta), np.exp(kappa[0])
        loss = -stats.nbinom.logpmf(y, size, size / (size + mean))
        share = mean / (size + mean)
        weight = (y + size) * share * (1 - share)
        return loss, (y + size) * share - y, weight

    functions = (logit, probit, poisson, gamma, negative)
    return dict(zip(EXPLICIT, functions, strict=True))[name]


EXPLICIT = ["binomial", "binomial(probit)", "poisson", "gamma", "negative binomial"]


@pytest.mark.parametrize("name", EXPLICIT)
def test_likelihoods_written_out(name):
    design, terms = make_design("slopes")
    rng = np.random.default_rng(1)
    n = design.nobs
    m = rng.integers(1, 5, n) if "binomial" in name[:8] else np.ones(n, int)
    y = {"b": rng.binomial(m, 0.4), "g": rng.gamma(2, 1, n)}.get(name[0], rng.poisson(2, n))
    family = family_of(name)
    trials = m.astype(float) if family.has_trials else None
    rows = LikelihoodRows(family, RowResponse(y.astype(float), trials))
    own = dense_of(design, terms, rows)
    dense = DenseLaplace(design.x, own.terms, _explicit(name, y, m))
    kappa = [0.4] * family.n_dispersion
    psi = np.array([0.5, 0.2, 0.3, 0.4, -0.1, 0.2, 1.0, -2.0, *kappa])
    gradient = sixth_order_gradient(dense.value, psi)
    _check(LaplaceDeviance(design, rows), psi, dense.value(psi), gradient)


@pytest.mark.parametrize("name", ["binomial(cloglog)", "inverse gaussian(log)", "nb1(log)"])
@pytest.mark.parametrize("model", ["one", "slopes", "three", "spread"])
def test_predicted_modes_are_of_second_order(name, model):
    design, _, rows, psi = _case(name, model)
    direction = np.random.default_rng(5).standard_normal(len(psi))
    for deviance in _objectives(design, rows):
        found = deviance.evaluate(psi)
        errors = []
        for size in (0.02, 0.01, 0.005):
            there = deviance.evaluate(psi + size * direction)
            errors.append(np.abs(there.modes - found.predicted(size * direction)).max())
        ratios = np.divide(errors[:-1], errors[1:])
        np.testing.assert_allclose(ratios, 4.0, atol=0.8)


@pytest.mark.parametrize("name", ["binomial(logit)", "poisson(log)", "gamma(log)"])
def test_modes_do_not_depend_on_their_start(name):
    design, _, rows, psi = _case(name, "slopes")
    deviance = LaplaceDeviance(design, rows)
    found = deviance.evaluate(psi)
    far = deviance.evaluate(psi, 5 * np.random.default_rng(0).normal(size=len(found.modes)))
    again = deviance.evaluate(psi, found.modes)
    assert far.value == pytest.approx(found.value, rel=1e-12)
    assert again.value == pytest.approx(found.value, rel=1e-13)
    assert again.iterations == 1
    np.testing.assert_allclose(far.modes, found.modes, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("name", "sign"), [("poisson(log)", 1), ("gamma(log)", -1)])
@pytest.mark.parametrize("model", ["one", "crossed"])
def test_a_predictor_out_of_range_is_no_value(name, sign, model):
    design, _, rows, psi = _case(name, model)
    psi[len(THETA[model])] = sign * 1e5
    for deviance in _objectives(design, rows):
        found = deviance.evaluate(psi)
        assert found.value == np.inf
        assert found.reason


def test_the_domain_of_a_link_is_kept():
    design, _, rows, psi = _case("poisson(identity)", "crossed")
    deviance = LaplaceDeviance(design, rows)
    psi[deviance.n_theta] *= -1
    found = deviance.evaluate(psi)
    assert found.value == np.inf
    assert "out of range" in found.reason


def test_evaluations_can_be_asked_in_any_order():
    # the factors are shared by all evaluations of a deviance
    design, _, rows, psi = _case("binomial(probit)", "crossed")
    deviance = LaplaceDeviance(design, rows, "expected")
    first, second = deviance.evaluate(psi), deviance.evaluate(psi + 0.1)
    fresh = LaplaceDeviance(design, rows, "expected").evaluate(psi)
    np.testing.assert_array_equal(first.gradient, fresh.gradient)
    assert np.isfinite(second.gradient).all()
    np.testing.assert_array_equal(first.hessian, fresh.hessian)
    np.testing.assert_array_equal(first.variance_eta, fresh.variance_eta)


NOT_CONCAVE = [name for name in FAMILIES if not family_of(name).log_concave]


@pytest.mark.parametrize("name", NOT_CONCAVE)
def test_the_deviance_does_not_depend_on_where_modes_start(name):
    """Modes from so near that the first step is the last are as good as those from zero."""
    rng = np.random.default_rng(4)
    n, codes = 1000, np.arange(1000) % 50
    design = prepare_rows(np.ones((n, 1)), [RandomTerm(codes, None, "g")])
    spread = 0.2 * rng.normal(size=50)[codes]
    middle = linear_predictor(name, 1, rng, 0.0)[0]
    rows = draw_rows(name, middle + spread, rng)
    for deviance in (make_deviance(design, rows), LaplaceDeviance(design, rows)):
        theta, kappa = np.full(1, 0.2), np.full(deviance.n_kappa, 1.0)
        psi = np.concatenate([theta, design.x.T @ np.full(n, middle), kappa])
        found = deviance.evaluate(psi)
        for length in (1e-8, 3e-8, 1e-7, 2e-7):
            other = deviance.evaluate(psi, found.modes + length)
            assert other.value == pytest.approx(found.value, abs=4e-11)


@pytest.mark.parametrize("name", ["binomial(logit)", "binomial(probit)", "gamma(log)"])
@pytest.mark.parametrize("model", ["crossed", "slopes", "spread"])
def test_beside_a_point_the_factor_of_there_leads_to_the_modes(name, model):
    design, _, rows, psi = _case(name, model)
    deviance = LaplaceDeviance(design, rows)
    here = deviance.evaluate(psi)
    step = 3e-4 * np.linspace(-1, 1, len(psi))
    start = here.predicted(step)
    factored = []
    own = deviance.factor_rows
    deviance.factor_rows = lambda weights: factored.append(1) or own(weights)
    found = deviance.evaluate_beside(psi + step, start)
    # at the modes, and for each step of a log-concave family but the first
    assert not rows.family.log_concave or len(factored) == found.iterations
    alone = LaplaceDeviance(design, rows).evaluate(psi + step)
    assert found.value == pytest.approx(alone.value, rel=1e-13)
    np.testing.assert_allclose(found.modes, alone.modes, rtol=0, atol=1e-9)
    size = np.abs(alone.gradient).max()
    np.testing.assert_allclose(found.gradient, alone.gradient, rtol=0, atol=1e-9 * size)
    # another deviance knows no factor
    fresh = LaplaceDeviance(design, rows).evaluate_beside(psi + step, start)
    np.testing.assert_allclose(fresh.modes, alone.modes, rtol=0, atol=1e-10)


@pytest.mark.parametrize("model", ["crossed", "slopes"])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_covariances_that_overflow_are_no_value(model, bad):
    design, _, rows, psi = _case("poisson(log)", model)
    psi[0] = bad
    found = LaplaceDeviance(design, rows).evaluate(psi)
    assert found.value == np.inf
    assert "overflow" in found.reason
