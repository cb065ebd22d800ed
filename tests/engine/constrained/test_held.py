"""What a fit answers of which parameters were held or penalized."""

from __future__ import annotations

import numpy as np
from helpers.masks import mask
from helpers.upstream_pair import upstream_pair


def test_a_fit_of_all_parameters_holds_none():
    own, _ = upstream_pair(24, component=False, n=200, n_groups=30)
    assert own.fit().fitted.fit.held is None


def test_a_held_fit_answers_for_what_was_free():
    own, _ = upstream_pair(24, component=False, n=200, n_groups=30)
    fit = own.fit(free=mask([1, 0, 1], np.eye(2)), reml=False).fitted.fit
    assert fit.held is not None
    assert not fit.held.least_squares
    covariance = fit.covariance
    assert not covariance[1].any()
    np.testing.assert_allclose(
        fit.scale * fit.root @ fit.root.T, covariance, atol=1e-14 * np.abs(covariance).max()
    )
    for lam, own_covariance in zip(fit.lams, fit.covariances, strict=True):
        np.testing.assert_allclose(own_covariance, fit.scale * lam @ lam.T, rtol=1e-14)


def test_conditional_modes_given_the_coefficients():
    own, _ = upstream_pair(24, component=False, n=200, n_groups=30)
    result = own.fit(free=mask([1, 0, 1], np.eye(2)), reml=False)
    fit = result.fitted.fit
    z, residual = own.exog_re, own.endog - own.exog @ fit.coefficients
    (lam,), (effects,) = fit.lams, fit.effects
    for code in range(5):
        rows = own.random_terms[0].codes == code
        v = z[rows] @ lam @ lam.T @ z[rows].T + np.eye(rows.sum())
        want = lam @ lam.T @ z[rows].T @ np.linalg.solve(v, residual[rows])
        np.testing.assert_allclose(effects[code], want, rtol=1e-8, atol=1e-12)


def test_an_l1_penalty_keeps_the_covariances():
    own, _ = upstream_pair(24, component=False, n=200, n_groups=30)
    whole = own.fit().fitted.fit
    fit = own.fit_regularized(alpha=20.0).fitted.fit
    for penalized, plain in zip(fit.covariances, whole.covariances, strict=True):
        np.testing.assert_array_equal(penalized, plain)
    assert fit.scale > whole.scale
