"""The deviance by parameters in the units of the data."""

import numpy as np
import pytest
from helpers.generalized_dense import sixth_order_gradient
from helpers.generalized_rows import draw_rows, linear_predictor, make_design

from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance
from mixedext.engine.generalized.outer import (
    OuterDeviance,
    inner_psi,
    outer_psi,
    theta_jacobian,
)

THETA = {"one": [0.4], "slopes": [0.3, 0.1, 0.15, 0.2, -0.05, 0.1], "spread": [0.3, 0.2]}


def _case(model, name="gamma(log)"):
    design, terms = make_design(model)
    rng = np.random.default_rng(3)
    rows = draw_rows(name, linear_predictor(name, design.nobs, rng), rng)
    psi = np.array([*THETA[model], 1.1, 0.2, *[0.5] * rows.family.n_dispersion])
    return LaplaceDeviance(design, rows), terms, psi


@pytest.mark.parametrize("model", THETA)
def test_there_and_back(model):
    deviance, _, psi = _case(model)
    back = outer_psi(deviance, inner_psi(deviance, psi))
    np.testing.assert_allclose(back, psi, rtol=1e-12, atol=1e-14)


def test_coefficients_are_those_of_the_columns():
    deviance, terms, psi = _case("slopes")
    found = OuterDeviance(deviance).evaluate(psi)
    x = np.asarray(terms[0].z)  # the fixed columns are the same
    effects = deviance.design.z @ found.inner.effects
    np.testing.assert_allclose(found.inner.eta - effects, x @ psi[6:8], rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", THETA)
def test_gradient_and_hessian(model):
    deviance, _, psi = _case(model)
    outer = OuterDeviance(deviance)
    found = outer.evaluate(psi)
    expected = sixth_order_gradient(lambda at: outer.evaluate(at).value, psi)
    size = np.abs(expected).max()
    np.testing.assert_allclose(found.gradient, expected, rtol=0, atol=1e-8 * size)
    assert found.hessian.shape == (len(psi), len(psi))
    np.testing.assert_allclose(found.hessian, found.hessian.T, rtol=1e-10)


@pytest.mark.parametrize("model", THETA)
def test_predicted_modes(model):
    deviance, _, psi = _case(model)
    outer = OuterDeviance(deviance)
    found, direction = outer.evaluate(psi), np.linspace(-1, 1, len(psi))
    errors = []
    for size in (0.01, 0.005):
        there = outer.evaluate(psi + size * direction)
        errors.append(np.abs(there.modes - found.predicted(size * direction)).max())
    assert 3.2 < errors[0] / errors[1] < 4.8


@pytest.mark.parametrize("model", THETA)
def test_jacobian_is_that_of_the_map(model):
    deviance, _, psi = _case(model)
    theta, units = psi[: deviance.n_theta], deviance.design.units
    found = theta_jacobian(units, theta)
    for j in range(len(theta)):
        function = sixth_order_gradient(
            lambda at, j=j: float(units.inner_theta(at)[j]), theta, 1e-3
        )
        np.testing.assert_allclose(found[j], function, rtol=0, atol=1e-9)
