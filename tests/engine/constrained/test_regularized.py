"""L1: statsmodels' shooting at its own estimates, and the conditions of the minimum."""

import warnings

import numpy as np
import pytest
from helpers.upstream_pair import upstream_pair
from statsmodels.base import _penalties as penalties

import mixedext as mx
from mixedext.engine.constrained.regularized import shoot


@pytest.mark.parametrize("alpha", [0, 5.0, [0.0, 60.0, 200.0], 1e6])
def test_as_statsmodels(alpha):
    own, theirs = upstream_pair(31, component=False, n=400, n_groups=40)
    result = own.fit_regularized(alpha=alpha)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # at the same covariances: those of a start that is the estimate
        start = own.fit().params_object
        upstream = theirs.fit_regularized(alpha=alpha, gtol=1e-9, start_params=start)
    np.testing.assert_allclose(result.fe_params, upstream.fe_params, atol=1e-6)
    np.testing.assert_allclose(result.cov_re, upstream.cov_re, rtol=1e-4)
    zero = np.asarray(result.fe_params) == 0
    np.testing.assert_array_equal(np.isnan(result.bse_fe), zero)
    np.testing.assert_array_equal(np.isnan(upstream.bse_fe), zero)
    np.testing.assert_allclose(result.scale, upstream.scale, rtol=1e-5)
    np.testing.assert_allclose(
        result.cov_re_unscaled, own.fit().cov_re_unscaled, rtol=1e-10
    )
    plain = own.fit()
    np.testing.assert_allclose(result.cov_re, plain.cov_re, rtol=1e-10)
    assert "Mixed" in str(result.summary())
    assert result.mle_settings["method"] == "l1"


def test_conditions_of_the_minimum():
    rng = np.random.default_rng(2)
    x, y, weights = (
        rng.normal(size=(50, 4)),
        rng.normal(size=50),
        np.array([0.0, 3.0, 30.0, 60.0]),
    )
    normal, right = x.T @ x, x.T @ y
    start = np.linalg.solve(normal, right)
    found = shoot(normal, right, start, weights, 1e-12, 1e-14, 10_000)
    assert found.converged
    slope = 2 * (normal @ found.coefficients - right)
    zero = found.coefficients == 0
    assert zero.any()
    assert not zero.all()
    np.testing.assert_allclose(
        slope[~zero], -weights[~zero] * np.sign(found.coefficients[~zero]), rtol=1e-9
    )


def test_sweeps_run_out():
    own, _ = upstream_pair(31, component=False)
    result = own.fit_regularized(alpha=50.0, maxit=1, ptol=0.0)
    assert not result.converged
    assert "1 sweeps" in result.convergence.message


def test_penalty_objects_go_to_fit():
    own, _ = upstream_pair(32, component=False)
    result = own.fit_regularized(method=penalties.L2(), alpha=4.0)
    penalty = penalties.L2()
    penalty.alpha = 4.0
    np.testing.assert_allclose(result.params, own.fit(fe_pen=penalty).params, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"method": "l2"}, "Invalid regularization method"),
        ({"method": 3}, "Invalid regularization method"),
        ({"alpha": -1.0}, "alpha=-1.0 must be one number, 0 or more, or 3"),
        ({"alpha": [1.0, 2.0]}, "or 3 of them"),
    ],
)
def test_bad_arguments(arguments, match):
    own, _ = upstream_pair(1, component=False)
    with pytest.raises(ValueError, match=match):
        own.fit_regularized(**arguments)


def test_types_of_covariance():
    own, _ = upstream_pair(31, component=False, n=400, n_groups=40)
    y = own.endog - 3 * own.exog[:, 2]  # nothing of the last column
    own = mx.MixedLM(y, own.exog, own.groups, exog_re=own.exog_re)
    alpha = [0.0, 60.0, 200.0]
    result = own.fit_regularized(alpha=alpha, cov_type="oim")
    assert result.cov_type == "oim"
    assert np.isnan(result.bse[2])
    # (statsmodels takes the Hessian at variances that it reads as their roots)
    hessian = own.hessian(result.params_object)[0]
    inside = [0, 1, 3, 4, 5]
    want = np.linalg.inv(-hessian[np.ix_(inside, inside)])
    got = np.asarray(result.cov_params())[np.ix_(inside, inside)]
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-12)
    with pytest.raises(ValueError, match="penalized or held"):
        own.fit_regularized(alpha=alpha, cov_type="cluster")
    with pytest.warns(FutureWarning, match="Argument cov_type"):
        assert own.fit_regularized(alpha=alpha, cov_type="hc1").cov_type == "nonrobust"


def test_what_became_zero_is_tested_by_nothing():
    own, _ = upstream_pair(31, component=False, n=400, n_groups=40)
    for cov_type in ("nonrobust", "oim"):
        result = own.fit_regularized(alpha=[0.0, 0.0, 1e6], cov_type=cov_type)
        rows = np.eye(3)
        both = result.f_test(rows[:2])
        assert np.isfinite(both.statistic)
        apart = result.cov_params()[:2, :2] if cov_type == "oim" else None
        if apart is not None:
            b = np.asarray(result.fe_params)[:2]
            want = b @ np.linalg.solve(np.asarray(apart), b) / 2
            assert both.statistic == pytest.approx(want)
        assert np.isnan(result.f_test(rows).statistic)
        np.testing.assert_array_equal(
            np.isnan(result.t_test(rows).sd), [False, False, True]
        )
