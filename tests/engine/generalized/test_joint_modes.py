"""Coefficients found with the modes (n_agq=0)."""

import numpy as np
import pytest
from helpers.generalized_dense import sixth_order_gradient
from helpers.generalized_rows import draw_rows, linear_predictor, make_design

from mixedext.engine.generalized.fit import fit_generalized
from mixedext.engine.generalized.joint_modes import JointModesDeviance
from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance

NAMES = [
    "binomial(logit)",
    "binomial(probit)",
    "poisson(log)",
    "gamma(log)",
    "beta(logit)",
    "negative binomial(log)",
]


def _rows(name, model="crossed", seed=4, spread=0.8):
    design, _ = make_design(model, n=120)
    rng = np.random.default_rng(seed)
    effects = spread * rng.standard_normal(design.z.shape[1])
    eta = linear_predictor(name, design.nobs, rng) + design.z @ effects
    return design, draw_rows(name, eta, rng)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", ["one", "crossed", "slopes"])
def test_the_penalized_likelihood_is_at_its_minimum_in_both(name, model):
    design, rows = _rows(name, model)
    laplace = LaplaceDeviance(design, rows)
    theta = {"one": [0.7], "crossed": [0.7, 0.4], "slopes": [0.5, 0.1, 0.3] * 2}[model]
    kappa = [0.5] * laplace.n_kappa
    joint = JointModesDeviance(laplace, np.zeros(laplace.rank))
    found = joint.evaluate(np.array([*theta, *kappa]))
    slope = rows.newton(found.inner.eta, np.array(kappa))[1]
    np.testing.assert_allclose(design.x.T @ slope, 0, atol=1e-6)
    scaled = design.times_lam(found.inner.lams, design.zt @ slope, transpose=True)
    np.testing.assert_allclose(scaled + found.inner.modes, 0, atol=1e-6)
    whole = np.concatenate([theta, found.beta, kappa])
    assert found.value == pytest.approx(laplace.evaluate(whole).value, rel=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_exact(name):
    design, rows = _rows(name)
    laplace = LaplaceDeviance(design, rows)
    joint = JointModesDeviance(laplace, np.zeros(laplace.rank))
    psi = np.array([0.7, 0.4, *[0.5] * laplace.n_kappa])
    found = joint.evaluate(psi)
    expected = sixth_order_gradient(lambda at: joint.evaluate(at).value, psi)
    size = np.abs(expected).max()
    np.testing.assert_allclose(found.gradient, expected, rtol=0, atol=1e-7 * size)


def test_what_is_predicted_is_of_second_order():
    design, rows = _rows("binomial(probit)")
    joint = JointModesDeviance(LaplaceDeviance(design, rows), np.zeros(2))
    psi, direction = np.array([0.7, 0.4]), np.array([1.0, -0.5])
    found, errors = joint.evaluate(psi), []
    for size in (0.02, 0.01):
        modes, beta = joint.evaluate(psi + size * direction).modes
        guess = found.predicted(size * direction)
        errors.append(max(np.abs(modes - guess[0]).max(), np.abs(beta - guess[1]).max()))
    assert 3.2 < errors[0] / errors[1] < 4.8


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", ["one", "crossed"])
def test_fit_is_close_to_and_not_above_laplace(name, model):
    design, rows = _rows(name, model, spread=0.5)
    quick = fit_generalized(design, rows, n_agq=0)
    full = fit_generalized(design, rows)
    assert quick.approximate
    assert not full.approximate
    assert full.deviance <= quick.deviance + 1e-8
    assert quick.deviance - full.deviance < 0.2
    assert quick.convergence.status in ("interior", "boundary")


def test_with_no_variance_it_is_the_generalized_linear_model():
    design, rows = _rows("binomial(logit)")
    laplace = LaplaceDeviance(design, rows)
    joint = JointModesDeviance(laplace, np.zeros(laplace.rank))
    found = joint.evaluate(np.zeros(2))
    slope = rows.newton(design.x @ found.beta, ())[1]
    np.testing.assert_allclose(design.x.T @ slope, 0, atol=1e-6)
    np.testing.assert_array_equal(found.gradient, 0)


def test_coefficients_with_no_minimum_have_no_value():
    design, rows = _rows("binomial(logit)")
    rows.response.y[:] = rows.response.trials
    joint = JointModesDeviance(LaplaceDeviance(design, rows), np.zeros(2))
    found = joint.evaluate(np.array([0.5, 0.5]))
    assert found.value == np.inf or np.abs(found.beta).max() > 10
    assert np.isfinite(found.value) or found.reason
