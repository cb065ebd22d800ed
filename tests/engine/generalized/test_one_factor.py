"""The deviance level by level: against that of any number of factors; differences."""

import numpy as np
import pytest

from mixedext import set_num_threads
from mixedext.engine.generalized.design import prepare_rows
from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance
from mixedext.engine.generalized.one_factor import OneFactorDeviance, is_one_factor
from mixedext.engine.generalized.outer import inner_psi
from mixedext.engine.generalized.search import search_minimum
from mixedext.specification.families.likelihood import LikelihoodRows
from mixedext.specification.families.registry import family_of
from mixedext.specification.families.response import RowResponse
from mixedext.specification.terms.random_terms import RandomTerm

FAMILIES = [
    "binomial",
    "binomial(probit)",
    "binomial(cloglog)",
    "binomial(cauchy)",
    "poisson",
    "poisson(sqrt)",
    "gamma",
    "gamma(inverse)",
    "inverse gaussian",
    "negative binomial",
    "nb1",
    "beta",
    "gaussian(log)",
]


def likelihood(name, n, rng):
    """Rows of a family, none of them a surprise to eta of about .3."""
    family = family_of(name)
    if name.startswith("binomial"):
        trials = rng.integers(1, 5, n)
        return LikelihoodRows(
            family, RowResponse(rng.binomial(trials, 0.5) * 1.0, trials * 1.0)
        )
    if name.startswith(("poisson", "negative", "nb")):
        return LikelihoodRows(family, RowResponse(rng.poisson(1.5, n) * 1.0))
    if name == "beta":
        return LikelihoodRows(family, RowResponse(rng.uniform(0.05, 0.95, n)))
    weights = rng.uniform(0.5, 2.0, n)
    return LikelihoodRows(family, RowResponse(rng.gamma(5.0, 0.2, n), None, weights))


def design_of(rng, columns=1, n=80, levels=9, offset=False, structure=None):
    """Rows of one grouping factor, not in its order."""
    group = rng.integers(0, levels, n)
    x = np.column_stack([np.ones(n), rng.uniform(-1.0, 1.0, n)])
    terms = [RandomTerm(group, x if columns == 2 else None, "g")]
    if columns == 3:
        terms = [RandomTerm(group, x, "g"), RandomTerm(group, rng.uniform(1, 2, n), "g")]
    known = 0.1 * rng.standard_normal(n) if offset else None
    return prepare_rows(x, terms, known)


def start(deviance, rng):
    """A point at which every family has a likelihood."""
    design = deviance.design
    theta = {1: [0.15], 3: [0.1, 0.05, 0.08], 4: [0.15, 0.05, 0.1, 0.08]}
    beta = design.units.basis.r @ np.array([1.4, 0.05])
    return np.concatenate([theta[deviance.n_theta], beta, [0.3] * deviance.n_kappa])


def differences(function, at, step=2e-3):
    """Of the sixth order."""
    out = np.empty(len(at))
    for j in range(len(at)):
        move = np.zeros(len(at))
        move[j] = step
        sides = [function(at + i * move) - function(at - i * move) for i in (1, 2, 3)]
        out[j] = (45 * sides[0] - 9 * sides[1] + sides[2]) / (60 * step)
    return out


@pytest.mark.parametrize("laplace", ["observed", "expected"])
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_general_version(name, columns, laplace):
    rng = np.random.default_rng(columns)
    design = design_of(rng, columns, offset=columns == 2)
    rows = likelihood(name, design.nobs, rng)
    general = LaplaceDeviance(design, rows, laplace)
    own = OneFactorDeviance(design, rows, laplace)
    psi = start(own, rng)
    for at in (psi, np.concatenate([0 * psi[: own.n_theta], psi[own.n_theta :]])):
        expected, found = general.evaluate(at), own.evaluate(at)
        assert np.isfinite(expected.value)
        assert found.value == pytest.approx(expected.value, rel=1e-12)
        np.testing.assert_allclose(found.modes, expected.modes, rtol=0, atol=1e-9)
        size = np.abs(expected.gradient).max()
        np.testing.assert_allclose(
            found.gradient, expected.gradient, rtol=0, atol=1e-10 * size
        )
        size = np.abs(expected.hessian).max()
        np.testing.assert_allclose(
            found.hessian, expected.hessian, rtol=0, atol=1e-10 * size
        )
        step = 0.01 * rng.standard_normal(len(psi))
        np.testing.assert_allclose(
            found.predicted(step), expected.predicted(step), rtol=0, atol=1e-10
        )
        np.testing.assert_allclose(found.eta, expected.eta, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_agq", [1, 4, 7])
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("columns", [1, 2])
def test_gradient_is_exact(name, columns, n_agq):
    rng = np.random.default_rng(1)
    design = design_of(rng, columns)
    rows = likelihood(name, design.nobs, rng)
    deviance = OneFactorDeviance(design, rows, n_agq=n_agq)
    psi = start(deviance, rng)
    for at in (psi, np.concatenate([0 * psi[: deviance.n_theta], psi[deviance.n_theta :]])):
        found = deviance.evaluate(at)
        expected = differences(lambda x: deviance.evaluate(x).value, at)
        size = np.abs(expected).max()
        np.testing.assert_allclose(found.gradient, expected, rtol=0, atol=1e-7 * size)


@pytest.fixture
def many_rows():
    """Rows enough for several pieces of the loop over levels."""
    rng = np.random.default_rng(5)
    n, levels = 60_000, 3_000
    design = design_of(rng, n=n, levels=levels)
    return design, likelihood("binomial", n, rng)


@pytest.mark.parametrize("n_agq", [1, 5])
def test_threads_change_no_digit(many_rows, n_agq):
    deviance = OneFactorDeviance(*many_rows, n_agq=n_agq)
    psi = start(deviance, None)
    found = []
    for threads in (1, 3):
        set_num_threads(threads)
        try:
            found.append(deviance.evaluate(psi))
        finally:
            set_num_threads(None)
    one, several = found
    assert one.value == several.value
    np.testing.assert_array_equal(one.modes, several.modes)
    np.testing.assert_array_equal(one.gradient, several.gradient)
    np.testing.assert_array_equal(one.hessian, several.hessian)


@pytest.mark.parametrize("n_agq", [1, 6])
@pytest.mark.parametrize("columns", [1, 2])
def test_order_of_rows_and_levels(columns, n_agq):
    rng = np.random.default_rng(2)
    n = 70
    group, x = rng.integers(0, 8, n), np.column_stack([np.ones(n), rng.uniform(-1, 1, n)])
    known, y = 0.1 * rng.standard_normal(n), rng.poisson(1.5, n) * 1.0
    values = []
    for order, names in ((np.arange(n), np.arange(8)), (rng.permutation(n), [*"hbgdacef"])):
        terms = [RandomTerm(np.array(names)[group[order]], x[order][:, :columns], "g")]
        design = prepare_rows(x[order], terms, known[order])
        rows = LikelihoodRows(family_of("poisson"), RowResponse(y[order]))
        deviance = OneFactorDeviance(design, rows, n_agq=n_agq)
        theta = [0.4] if columns == 1 else [0.4, 0.1, 0.3]
        psi = np.concatenate([theta, [0.4, 0.1]])
        inner = inner_psi(deviance, psi)
        values.append(deviance.evaluate(inner).value)
    assert values[0] == pytest.approx(values[1], rel=1e-13)


@pytest.mark.parametrize("n_agq", [2, 5, 8])
def test_normal_response_needs_no_nodes(n_agq):
    """h is a parabola: Laplace's approximation and any quadrature are exact."""
    rng = np.random.default_rng(4)
    design = design_of(rng, 2)
    rows = LikelihoodRows(family_of("gaussian"), RowResponse(rng.standard_normal(80)))
    deviance = OneFactorDeviance(design, rows, n_agq=n_agq)
    psi = start(deviance, rng)
    expected = OneFactorDeviance(design, rows).evaluate(psi)
    found = deviance.evaluate(psi)
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    np.testing.assert_allclose(found.gradient, expected.gradient, rtol=0, atol=1e-9)


def test_search_ends_where_that_of_the_general_version_does():
    rng = np.random.default_rng(7)
    design = design_of(rng, 2, n=200, levels=20)
    rows = likelihood("binomial", 200, rng)
    own = OneFactorDeviance(design, rows)
    psi = start(own, rng)
    expected = search_minimum(LaplaceDeviance(design, rows), psi)
    found = search_minimum(own, psi)
    assert found.evaluation.value == pytest.approx(expected.evaluation.value, abs=1e-9)


def test_what_cannot_be_integrated():
    rng = np.random.default_rng(8)
    n = 60
    x = rng.standard_normal((n, 4))
    group, other = rng.integers(0, 6, n), rng.integers(0, 5, n)
    rows = likelihood("poisson", n, rng)
    wide = prepare_rows(x, [RandomTerm(group, x, "g")])
    with pytest.raises(ValueError, match="at most 3 random effects"):
        OneFactorDeviance(wide, rows, n_agq=5)
    crossed = prepare_rows(x, [RandomTerm(group, None, "g"), RandomTerm(other, None, "h")])
    assert not is_one_factor(crossed)
    with pytest.raises(ValueError, match="one grouping factor"):
        OneFactorDeviance(crossed, rows)
