"""The deviance of generalized models by independent clusters."""

import numpy as np
import pytest
from helpers.generalized_dense import sixth_order_gradient
from helpers.generalized_rows import dense_of, draw_rows, linear_predictor
from scipy import sparse

from mixedext.engine.generalized.design import prepare_rows
from mixedext.engine.generalized.fit import fit_generalized, make_deviance
from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance
from mixedext.engine.generalized.one_factor import OneFactorDeviance
from mixedext.engine.generalized.sandwich import cluster_scores, with_sandwich
from mixedext.specification.families.likelihood import LikelihoodRows
from mixedext.specification.families.response import RowResponse
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

N = 60
CODES = np.random.default_rng(4).permutation(np.arange(N) % 4)
INNER = CODES + 4 * (np.arange(N) % 3)


def _terms(model):
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, N)
    slope, half = np.column_stack([np.ones(N), x]), np.where(CODES < 2, x, 0.0)
    columns = 2 * CODES[:, None] + np.arange(2)
    values = rng.uniform(0.2, 0.8, (N, 2)).ravel()
    shares = sparse.csr_array((values, columns.ravel(), 2 * np.arange(N + 1)), shape=(N, 8))
    return x, {
        "one": [RandomTerm(CODES, None, "g")],
        "slope": [RandomTerm(CODES, slope, "g")],
        "some rows without": [RandomTerm(CODES, half, "g")],
        "nested": [RandomTerm(INNER, None, "h"), RandomTerm(CODES, None, "g")],
        "nested slopes": [RandomTerm(CODES, slope, "g"), RandomTerm(INNER, slope, "h")],
        "spread": [RandomTerm(INNER, None, "h"), SparseTerm(shares, "s")],
    }[model]


def _design(model):
    x, terms = _terms(model)
    columns = np.column_stack([np.ones(N), x])
    offset = np.linspace(-0.1, 0.1, N)
    return prepare_rows(columns, terms, offset), terms


def _psi(deviance, size=0.4):
    structures = deviance.parameters.structures
    theta = np.concatenate([s.scaled(s.start(None), size) for s in structures])
    rng = np.random.default_rng(6)
    theta = theta + 0.05 * size * rng.uniform(-1, 1, len(theta))
    middle = 1.2 if deviance.rows.family.link.name == "log" else 0.2
    beta = deviance.design.x.T @ np.full(N, middle)
    return np.concatenate([theta, beta, np.full(deviance.n_kappa, 0.7)])


def _of_cluster(dense, rows, at):
    """The dense deviance of the rows of one cluster."""
    response = rows.response
    parts = [a if a is None else a[at] for a in (response.trials, response.weights)]
    own = LikelihoodRows(rows.family, RowResponse(response.y[at], *parts))

    def likelihood(eta, kappa):
        found = own.derivatives(eta, kappa)
        return -own.log_density(eta, kappa), found.slope, found.weight

    terms = [(codes[at], z[at]) for codes, z in dense.terms]
    return type(dense)(dense.x[at], terms, likelihood, dense.offset[at])


@pytest.mark.parametrize(
    "model", ["one", "slope", "some rows without", "nested", "nested slopes", "spread"]
)
@pytest.mark.parametrize("name", ["binomial(probit)", "negative binomial(log)"])
def test_gradients_of_clusters_against_dense_ones(model, name):
    rng = np.random.default_rng(7)
    design, terms = _design(model)
    rows = draw_rows(name, linear_predictor(name, N, rng), rng)
    dense = dense_of(design, terms, rows)
    deviances = [LaplaceDeviance(design, rows)]
    made = make_deviance(design, rows)
    if isinstance(made, OneFactorDeviance):
        deviances.append(made)
    assert len(deviances) == (2 if len(terms) == 1 else 1)
    psi = _psi(deviances[0])
    expected = [
        sixth_order_gradient(_of_cluster(dense, rows, g == CODES).value, psi)
        for g in range(4)
    ]
    for deviance in deviances:
        found = deviance.evaluate(psi)
        assert found.by_cluster(CODES, 4) == pytest.approx(np.array(expected), abs=2e-9)


@pytest.mark.parametrize("model", ["one", "slope", "some rows without"])
@pytest.mark.parametrize("name", ["binomial(logit)", "nb1(log)"])
@pytest.mark.parametrize("n_agq", [1, 5])
def test_gradients_of_clusters_are_those_of_their_rows_alone(model, name, n_agq):
    rng = np.random.default_rng(8)
    design, terms = _design(model)
    rows = draw_rows(name, linear_predictor(name, N, rng), rng)
    deviance = OneFactorDeviance(design, rows, "observed", n_agq)
    psi = _psi(deviance)
    found = deviance.evaluate(psi).by_cluster(CODES, 4)
    assert found.sum(axis=0) == pytest.approx(deviance.evaluate(psi).gradient, abs=1e-12)
    units, at = design.units, deviance.n_theta
    _, beta, kappa = deviance.split(psi)
    for g in range(4):
        own = g == CODES
        response = rows.response
        trials = None if response.trials is None else response.trials[own]
        part = LikelihoodRows(rows.family, RowResponse(response.y[own], trials))
        x, z = _terms(model)[0][own], terms[0].z
        columns = np.column_stack([np.ones(own.sum()), x])
        if model == "some rows without" and g > 1:  # no effects: a sum over rows
            eta = columns @ units.basis.coefficients(beta) + np.linspace(-0.1, 0.1, N)[own]
            slopes = part.derivatives(eta, kappa).slope
            expected = 2.0 * design.x[own].T @ slopes
            assert found[g, at : at + 2] == pytest.approx(expected, abs=1e-11)
            assert np.abs(found[g, :at]).max() < 1e-12
            continue
        term = RandomTerm(np.zeros(own.sum(), int), None if z is None else z[own], "g")
        alone = prepare_rows(columns, [term], np.linspace(-0.1, 0.1, N)[own])
        other = OneFactorDeviance(alone, part, "observed", n_agq)

        def value(psi, other=other, alone=alone):
            theta, beta, kappa = deviance.split(psi)
            inner = alone.units.inner_theta(units.outer_theta(theta))
            outer = units.basis.coefficients(beta)
            return other.evaluate(
                np.concatenate([inner, alone.units.basis.r @ outer, kappa])
            ).value

        assert found[g] == pytest.approx(sixth_order_gradient(value, psi), abs=2e-9)


def test_gradients_of_clusters_where_variances_are_zero():
    rng = np.random.default_rng(9)
    design, _ = _design("nested")
    rows = draw_rows("binomial(logit)", linear_predictor("binomial(logit)", N, rng), rng)
    deviance = LaplaceDeviance(design, rows)
    psi = _psi(deviance)
    psi[:2] = 0.0
    found = deviance.evaluate(psi)
    parts = found.by_cluster(CODES, 4)
    assert not parts[:, :2].any()
    assert parts.sum(axis=0) == pytest.approx(found.gradient, abs=1e-12)
    by_x = 2.0 * found.terms.slope[:, None] * design.x
    expected = [by_x[g == CODES].sum(axis=0) for g in range(4)]
    assert parts[:, 2:] == pytest.approx(np.array(expected), abs=1e-12)


def test_the_sandwich():
    rng = np.random.default_rng(10)
    design, _ = _design("one")
    effects = np.array([-1.0, 0.5, 1.0, -0.3])
    rows = draw_rows("poisson(log)", 1.0 + effects[CODES], rng)
    fit = fit_generalized(design, rows)
    scores = cluster_scores(fit, CODES)
    assert np.abs(scores.sum(axis=0)).max() < 1e-4  # at the maximum
    robust, definite = with_sandwich(fit, [(CODES, 2.0)])
    bread = np.linalg.inv(fit.inner_information)
    expected = 2.0 * bread @ scores.T @ scores @ bread
    assert definite
    assert robust.inner_covariance == pytest.approx(expected, rel=1e-9)
    # the covariances of all else follow
    ratio = np.diag(robust.covariance) / np.diag(fit.covariance)
    assert not np.allclose(ratio, 1.0, rtol=0.01)
