"""Inference beside curved covariances, against n x n algebra in natural parameters."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.dense_structured import DenseStructured

import mixedext as mx
from mixedext.engine.fit import evaluate_design
from mixedext.engine.information.curvature import natural_bends
from mixedext.engine.information.joint_errors import bend_on_fixed, joint_errors
from mixedext.inference.fixed_effects.kenward_roger import KenwardRoger
from mixedext.inference.fixed_effects.satterthwaite import Satterthwaite
from mixedext.inference.variances.observed_covariance import covariance_of_variances
from mixedext.specification.covariance.curved import CURVED

every = pytest.mark.parametrize("kind", CURVED, ids=lambda kind: kind.name)
LINEAR_IN_SAS = {"homcs", "homtoep"}


def fitted(dense, reml=True):
    term = mx.RandomTerm(dense.codes, dense.z, group="g", structure=dense.structure)
    model = mx.MixedLM(dense.y, dense.x, terms=[term], weights=dense.weights)
    return model.fit(reml=reml)


@every
@pytest.mark.parametrize("weights", [False, True])
def test_kenward_roger_and_satterthwaite(kind, weights):
    dense = DenseStructured(kind.of(3), np.random.default_rng(7), weights=weights)
    result = fitted(dense)
    assert result.convergence.status == "interior"
    fit = result.fitted.fit
    covariance, df, w = dense.inference(fit.covariances[0], fit.scale)
    tests = KenwardRoger(fit)
    assert tests.information == "observed"  # as SAS
    np.testing.assert_allclose(tests.covariance, covariance, rtol=2e-6)
    assert tests.df([[0, 1, 0]])[0] == pytest.approx(df, rel=2e-6)
    assert Satterthwaite(fit).df([[0, 1, 0]])[0] == pytest.approx(df, rel=2e-6)
    own = covariance_of_variances(result.fitted).absolute
    if kind.name not in LINEAR_IN_SAS:  # whose parameters are covariances there
        size = np.sqrt(np.outer(np.diag(w), np.diag(w)))
        np.testing.assert_allclose(own / size, w / size, atol=2e-5)


@every
def test_errors_by_maximum_likelihood_are_those_of_differences(kind):
    dense = DenseStructured(kind.of(3), np.random.default_rng(8))
    result = fitted(dense, reml=False)
    fit, s = result.fitted.fit, dense.structure
    eta = np.append(s.gamma(fit.covariances[0]), fit.scale)

    def deviance(own):
        return dense.deviance(s.covariance(own[:-1]), own[-1], False)

    assert -2 * result.llf == pytest.approx(deviance(eta), rel=1e-12)
    step, count = 2e-3 * np.maximum(np.abs(eta), 0.2), len(eta)
    moves = np.diag(step)
    hessian = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            signs = [(a, b) for a in (1, -1) for b in (1, -1)]
            total = sum(
                a * b * deviance(eta + a * moves[i] + b * moves[j]) for a, b in signs
            )
            hessian[i, j] = total / (4 * step[i] * step[j])
    expected = np.sqrt(np.diag(np.linalg.inv(hessian / 2)))
    own = np.append(result.bse_re, result.bse_scale)
    np.testing.assert_allclose(own, expected, rtol=1e-3)


@every
def test_what_is_at_a_limit_is_held(kind):
    rng = np.random.default_rng(9)
    dense = DenseStructured(kind.of(3), rng)
    effects = 1.5 * rng.normal(size=dense.n_levels)
    dense.y = (
        dense.x @ [1.0, 0.5, 0.3] + effects[dense.codes] + rng.normal(size=len(dense.y))
    )
    term = mx.RandomTerm(dense.codes, dense.z, group="g", structure=dense.structure)
    model = mx.MixedLM(dense.y, dense.x, terms=[term])
    s = dense.structure
    theta = np.concatenate(
        [np.zeros(s.n_sd) if s.het else [1.0], np.full(s.correlation.n_psi, 40.0)]
    )

    fit = evaluate_design(model._design, True, theta)
    tests = Satterthwaite(fit)
    assert any("at its limit" in name for name in tests.held)
    assert np.isfinite(tests.df([[0, 1, 0]])).all()
    assert np.isfinite(KenwardRoger(fit).covariance).all()


def test_linear_terms_have_no_bend():
    data = mx.datasets.sleepstudy.load().data
    fit = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit().fitted.fit
    bends = natural_bends(fit, np.eye(4))
    assert bends == [None]
    np.testing.assert_array_equal(bend_on_fixed(fit, bends), np.zeros((2, 2)))


@pytest.mark.parametrize("name", ["hetar1", "cs"])
def test_errors_of_predictions_agree_with_those_of_fixed_effects(name):
    kind = {own.name: own for own in CURVED}[name]
    dense = DenseStructured(kind.of(3), np.random.default_rng(10))
    result = fitted(dense)
    fit = result.fitted.fit
    tests = KenwardRoger(fit)
    x = np.array([[1.0, 0.3, -1.0], [1.0, 2.0, 0.5]])
    found = joint_errors(fit).errors(
        x, None, True, tests.variance_covariance, "coefficients"
    )
    variance = fit.scale * (found.variance + 2 * found.rise)
    np.testing.assert_allclose(variance, np.diag(x @ tests.covariance @ x.T), rtol=1e-9)
