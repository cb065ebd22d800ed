"""The inverse of the whole Hessian, against statsmodels' and against differences."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

import mixedext as mx
from mixedext.engine.fit import evaluate_design
from mixedext.engine.information.observed import variance_covariance
from mixedext.engine.rows.design import prepare_design
from mixedext.inference.variances.observed_covariance import (
    coefficient_slopes,
    observed_covariance,
)
from mixedext.specification.terms.random_terms import RandomTerm

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def sleep():
    data = mx.datasets.sleepstudy.load().data
    return data.drop(data.index[::7]).reset_index(drop=True)


@pytest.mark.parametrize("reml", [True, False])
def test_is_the_inverse_of_statsmodels_hessian(sleep, reml):
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep).fit(reml=reml)
    fit, layout = result._results.fitted.fit, result.model.layout
    got = observed_covariance(fit, variance_covariance(fit).relative)
    at = np.append([0, 1], 2 + layout.packed_gamma)
    upstream = sm.MixedLM.from_formula(
        "Reaction ~ Days", sleep, groups="Subject", re_formula="~Days"
    )
    upstream.reml = reml
    hessian, singular = upstream.hessian(result.params_object)
    assert not singular
    np.testing.assert_allclose(got[np.ix_(at, at)], np.linalg.inv(-hessian), rtol=2e-7)
    assert got[0, 0] > fit.covariance[0, 0]


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("crossed", [False, True])
def test_slopes_are_differences_of_least_squares(crossed, weights):
    rng = np.random.default_rng(2)
    n = 70
    one, other = rng.integers(7, size=n), rng.integers(5, size=n)
    x = np.column_stack([np.ones(n), rng.standard_normal((n, 2)) * [10, 0.1]])
    y = 100 * (x @ [1, 0.2, -3] + rng.standard_normal(n))
    terms = [RandomTerm(one, np.column_stack([np.ones(n), x[:, 1]]), group="a")]
    terms += [RandomTerm(other, group="b")] if crossed else []
    w = rng.uniform(0.5, 3, n) if weights else None
    design = prepare_design(y, x, terms, w)
    theta = np.array([0.8, 0.02, 0.09, 0.5])[: 4 if crossed else 3]
    got = coefficient_slopes(evaluate_design(design, True, theta))
    structures = design.structures
    start = np.cumsum([0] + [s.n_theta for s in structures])
    sigmas = [
        s.lam(theta[a:b]) @ s.lam(theta[a:b]).T
        for s, a, b in zip(structures, start[:-1], start[1:], strict=True)
    ]
    column = 0
    for i, s in enumerate(structures):
        for basis in s.covariance_basis:
            step = 1e-4 * np.abs(sigmas[i])[basis != 0].max()
            beta = []
            for h in (step, -step, 2 * step, -2 * step):
                moved = [m + h * basis if j == i else m for j, m in enumerate(sigmas)]
                at = np.concatenate(
                    [
                        t.theta(np.linalg.cholesky(m))
                        for t, m in zip(structures, moved, strict=True)
                    ]
                )
                beta.append(evaluate_design(design, True, at).coefficients)
            near = (beta[0] - beta[1]) / (2 * step)
            far = (beta[2] - beta[3]) / (4 * step)
            want = (4 * near - far) / 3
            np.testing.assert_allclose(
                got[:, column], want, rtol=1e-6, atol=1e-7 * np.abs(want).max()
            )
            column += 1
    assert column == got.shape[1]


def test_held_parameters_leave_the_fixed_effects_their_numbers():
    data = mx.datasets.dyestuff2.load().data
    with pytest.warns(sm.tools.sm_exceptions.SingularMatrixWarning):
        result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit(cov_type="oim")
    assert np.isnan(result.bse.iloc[1])
    np.testing.assert_allclose(
        result.bse.iloc[0], data["Yield"].std() / np.sqrt(30), rtol=1e-10
    )


def test_no_random_effects():
    rng = np.random.default_rng(0)
    y, x = rng.standard_normal(20), np.column_stack([np.ones(20), np.arange(20.0)])
    fit = evaluate_design(prepare_design(y, x, []), True)
    assert coefficient_slopes(fit).shape == (2, 0)
    got = observed_covariance(fit, np.zeros((0, 0)))
    np.testing.assert_allclose(got, sm.OLS(y, x).fit().cov_params(), rtol=1e-10)
