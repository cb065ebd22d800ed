"""The deviance level by level: against that of any number of factors; differences."""

import numpy as np
import pytest

from mixedext.engine.generalized.design import prepare_rows
from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance
from mixedext.engine.generalized.one_factor import OneFactorDeviance
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
