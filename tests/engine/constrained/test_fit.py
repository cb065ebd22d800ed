"""Masks and penalties: the right maximum, the right curvature, statsmodels' conventions."""

import warnings

import numpy as np
import pytest
from helpers.dense_likelihood import DenseLikelihood
from helpers.masks import mask
from helpers.upstream_pair import upstream_pair
from scipy import optimize
from statsmodels.base import _penalties as penalties
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx
from mixedext.engine.constrained.fit import _inverse

ALL = [1, 1, 1]


@pytest.mark.parametrize("use_sqrt", [True, False])
@pytest.mark.parametrize("reml", [True, False])
def test_diagonal_mask_is_no_correlation(reml, use_sqrt):
    own, theirs = upstream_pair(21, component=False, use_sqrt=use_sqrt, n=400, n_groups=40)
    free = mask(ALL, np.eye(2))
    result = own.fit(free=free, reml=reml)
    terms = [mx.RandomTerm(own.groups, own.exog_re, structure="diagonal")]
    expected = mx.MixedLM(own.endog, own.exog, terms=terms).fit(reml=reml)
    assert result.llf == pytest.approx(expected.llf, rel=1e-12)
    np.testing.assert_allclose(result.fe_params, expected.fe_params, rtol=1e-7)
    np.testing.assert_allclose(np.diag(result.cov_re), expected.vcomp, rtol=1e-6)
    assert result.cov_re[0, 1] == 0
    np.testing.assert_allclose(result.bse_fe, expected.bse_fe, rtol=1e-6)
    np.testing.assert_allclose(result.bse[[3, 5]], expected.bse[3:], rtol=1e-5)
    np.testing.assert_allclose(result.bse_re[[0, 2]], expected.bse_re, rtol=1e-5)
    assert result.bse[4] == 0
    assert result.bse_scale == pytest.approx(expected.bse_scale, rel=1e-5)
    assert result.freepat is free
    assert result.n_params == expected.n_params == 3 + 2 + 1
    if not reml:
        assert result.aic == pytest.approx(expected.aic, rel=1e-10)
        assert result.bic == pytest.approx(expected.bic, rel=1e-10)
    own_effects = np.array(list(result.random_effects.values()))
    np.testing.assert_allclose(
        own_effects, np.array(list(expected.random_effects.values())), rtol=1e-5, atol=1e-7
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        upstream = theirs.fit(free=free, reml=reml)
    assert result.llf >= upstream.llf - 1e-9
    np.testing.assert_allclose(result.params, upstream.params, atol=3e-3)
    np.testing.assert_allclose(result.bse, upstream.bse, rtol=2e-2, atol=1e-8)
    assert "Group" in str(result.summary())


def test_diagonal_mask_with_a_variance_of_zero():
    own, _ = upstream_pair(22, component=False)
    y = own.exog[:, 1] + np.random.default_rng(0).normal(size=own.nobs)
    model = mx.MixedLM(y, own.exog, own.groups, own.exog_re)
    with pytest.warns(SingularMatrixWarning, match="effects"):
        result = model.fit(free=mask(ALL, np.eye(2)))
    terms = [mx.RandomTerm(own.groups, own.exog_re, structure="diagonal")]
    with pytest.warns(SingularMatrixWarning, match="effects"):
        expected = mx.MixedLM(y, own.exog, terms=terms).fit()
    assert result.llf == pytest.approx(expected.llf, rel=1e-11)
    np.testing.assert_allclose(result.bse_fe, expected.bse_fe, rtol=1e-5)


@pytest.mark.parametrize("use_sqrt", [True, False])
def test_held_variance_is_a_maximum_over_the_rest(use_sqrt):
    own, theirs = upstream_pair(23, component=False, use_sqrt=use_sqrt)
    free = mask(ALL, [[0, 1], [1, 1]])
    start = mask(np.zeros(3), [[0.5, 0.2], [0.2, 1.0]])
    result = own.fit(free=free, start_params=start)
    assert result.converged
    np.testing.assert_allclose(result.cov_re[0, 0] / result.scale, 0.5, rtol=1e-12)
    # by another optimizer, from n x n matrices
    dense = DenseLikelihood(
        own.endog, own.exog, [mx.RandomTerm(own.groups, own.exog_re)], True
    )

    def value(rest):
        root = np.array([[np.sqrt(0.5), 0], rest])
        gamma = (root @ root.T)[np.tril_indices(2)]
        return -dense.value(dense.best(gamma), gamma)

    best = optimize.minimize(value, [0.2, 1.0], method="BFGS", options={"gtol": 1e-7})
    assert result.llf == pytest.approx(-best.fun, rel=1e-10)
    np.testing.assert_allclose(result._results.cov_params()[3], 0.0)
    # curvature in what is free, at the estimates
    hessian = own.hessian(result.params_object)[0][4:, 4:]
    cross = own.hessian(result.params_object)[0][:3, 4:]
    fixed = own.hessian(result.params_object)[0][:3, :3]
    expected = np.linalg.inv(-(hessian - cross.T @ np.linalg.solve(fixed, cross)))
    np.testing.assert_allclose(result.cov_params()[4:, 4:], expected, rtol=1e-8)
    score = own.score(result.params_object)
    assert np.abs(score).max() < 1e-8  # the mask makes the held one zero
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        upstream = theirs.fit(free=free, start_params=start)
    assert result.llf >= upstream.llf - 1e-9
    np.testing.assert_allclose(result.params, upstream.params, atol=2e-3)


def test_held_component():
    own, _ = upstream_pair(24)
    free = mask(ALL, np.ones((2, 2)), [0])
    start = mask(np.zeros(3), np.eye(2), [0.3])
    result = own.fit(free=free, start_params=start)
    assert result.vcomp[0] / result.scale == pytest.approx(0.3, rel=1e-12)
    assert result.llf < own.fit().llf
    whole = own.fit(free=mask(ALL, np.ones((2, 2)), [1]))
    assert whole.llf == pytest.approx(own.fit().llf, rel=1e-12)
    assert whole.freepat is not None
    assert own.fit().freepat is None


@pytest.mark.parametrize("reml", [True, False])
def test_held_coefficient(reml):
    own, _ = upstream_pair(25, component=False)
    start = mask([0.0, 1.5, 0.0], np.eye(2))
    result = own.fit(free=mask([1, 0, 1], np.ones((2, 2))), start_params=start, reml=reml)
    assert result.fe_params[1] == 1.5
    assert result.bse_fe[1] == 0.0
    assert result.n_params == 2 + 3 + 1
    assert own.loglike(result.params_object, profile_fe=False) == pytest.approx(
        result.llf, rel=1e-12
    )
    if not reml:  # then it is the model with an offset
        offset = 1.5 * own.exog[:, 1]
        smaller = mx.MixedLM(
            own.endog, own.exog[:, [0, 2]], own.groups, own.exog_re, offset=offset
        ).fit(reml=False)
        assert result.llf == pytest.approx(smaller.llf, rel=1e-11)
        np.testing.assert_allclose(result.fe_params[[0, 2]], smaller.fe_params, rtol=1e-6)
        np.testing.assert_allclose(result.bse_fe[[0, 2]], smaller.bse_fe, rtol=1e-6)
        effects = np.array(list(result.random_effects.values()))
        np.testing.assert_allclose(
            effects, np.array(list(smaller.random_effects.values())), atol=1e-6
        )
        np.testing.assert_allclose(result.fittedvalues, smaller.fittedvalues, atol=1e-6)


def test_crossed_terms():
    data = mx.datasets.penicillin.load().data
    model = mx.mixedlm("diameter ~ 1 + (1 | plate) + (1 | sample)", data)
    start = mask([0.0], np.zeros((0, 0)), [1.0, 4.0])
    result = model.fit(free=mask([1], np.zeros((0, 0)), [1, 0]), start_params=start)
    assert result.vcomp[1] == pytest.approx(4.0 * result.scale, rel=1e-12)

    def deviance(theta):
        return model.objective([theta, 2.0])[0]

    best = optimize.minimize_scalar(deviance, bounds=(0.5, 3), options={"xatol": 1e-9})
    assert result.deviance == pytest.approx(best.fun, rel=1e-12)


def test_all_held_and_nothing_optimized():
    own, _ = upstream_pair(26, component=False)
    start = mask(np.ones(3), [[0.5, 0.1], [0.1, 0.7]])
    for result in (
        own.fit(free=mask([0, 0, 0], np.zeros((2, 2))), start_params=start),
        own.fit(free=mask([0, 0, 0], np.eye(2)), start_params=start, do_cg=False),
    ):
        np.testing.assert_allclose(result.params, [1, 1, 1, 0.5, 0.1, 0.7], rtol=1e-12)
        assert result.llf == pytest.approx(own.loglike(start, profile_fe=False), rel=1e-12)


def test_l2_penalty_acts_on_the_estimates():
    own, theirs = upstream_pair(27, component=False)
    penalty = penalties.L2()
    penalty.alpha = 3.0
    result = own.fit(fe_pen=penalty)
    assert result.converged
    # statsmodels' own (penalized) likelihood says where the maximum is
    theirs.fe_pen, theirs.cov_pen = penalty, None
    at = result.params_object
    assert theirs.loglike(at.copy(), profile_fe=False) == pytest.approx(result.llf)
    assert np.abs(theirs.score(at.copy(), profile_fe=False)).max() < 1e-6
    plain = own.fit()
    assert (np.abs(result.fe_params) < np.abs(plain.fe_params)).all()
    # standard errors from the penalized curvature
    own.fe_pen = None
    curvature = own.hessian(at)[0][:3, :3] - 2 * 3.0 * np.eye(3)
    np.testing.assert_allclose(
        result.bse_fe, np.sqrt(np.diag(np.linalg.inv(-curvature))), rtol=1e-8
    )
    penalty.alpha = 0.0
    np.testing.assert_allclose(own.fit(fe_pen=penalty).params, plain.params, atol=1e-5)


def test_other_penalties():
    own, theirs = upstream_pair(28, component=False)
    for arguments in (
        {"fe_pen": penalties.PseudoHuber(0.3)},
        {"cov_pen": penalties.PSD(2.0)},
        {"fe_pen": penalties.L2(), "cov_pen": penalties.PSD(0.5)},
        {"fe_pen": penalties.L2(), "free": mask(ALL, np.eye(2))},
    ):
        result = own.fit(**arguments)
        assert result.converged
        theirs.fe_pen, theirs.cov_pen = own.fe_pen, own.cov_pen
        theirs._freepat = own._freepat
        score = theirs.score(result.params_object.copy(), profile_fe=False)
        assert np.abs(score).max() < 1e-6
        assert result.cov_pen is own.cov_pen


def test_covariance_penalty_where_the_fit_is_singular():
    own, _ = upstream_pair(22, component=False)
    y = own.exog[:, 1] + np.random.default_rng(0).normal(size=own.nobs)
    model = mx.MixedLM(y, own.exog, own.groups, own.exog_re)
    result = model.fit(cov_pen=penalties.PSD(1.0))
    assert result.converged
    assert np.linalg.eigvalsh(result.cov_re)[0] > 0
    assert np.abs(model.score(result.params_object)).max() < 1e-6


@pytest.mark.parametrize(
    "method", ["satterthwaite", "kenward-roger", "containment", "between-within"]
)
def test_small_sample_methods_are_refused(method):
    own, _ = upstream_pair(24, component=False)
    fits = {
        "mask": {"free": mask(ALL, np.eye(2))},
        "penalty": {"fe_pen": penalties.L2(np.ones(3))},
    }
    for settings in fits.values():
        with pytest.raises(ValueError, match="penalized, or held"):
            own.fit(**settings, df_method=method)
        result = own.fit(**settings)
        with pytest.raises(ValueError, match="penalized, or held"):
            result.t_test(np.eye(3), df_method=method)
        test = result.t_test(np.eye(3), df_method="residual")
        assert test.df_denom == 117
    with pytest.raises(ValueError, match="penalized, or held"):
        own.fit_regularized(alpha=1.0, df_method=method)


def test_clusters_where_coefficients_are_free():
    own, _ = upstream_pair(24, component=False, n=200, n_groups=30)
    terms = [mx.RandomTerm(own.groups, own.exog_re, group="g", structure="diagonal")]
    alike = mx.MixedLM(own.endog, own.exog, terms=terms)
    for kind in ("CR0", "CR1", "CR2", "CR3"):
        result = own.fit(free=mask(ALL, np.eye(2)), cov_type=kind)
        np.testing.assert_allclose(
            result.bse_fe, alike.fit(cov_type=kind).bse_fe, rtol=1e-6
        )
    held = {"free": mask([1, 0, 1], np.ones((2, 2)))}
    for settings in (held, {"fe_pen": penalties.L2(np.ones(3))}):
        with pytest.raises(ValueError, match="penalized or held"):
            own.fit(**settings, cov_type="cluster")


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("free_re", [[[1, 1], [1, 1]], [[0, 1], [1, 1]], [[0, 0], [0, 0]]])
def test_a_variance_of_zero_in_either_parametrization(free_re, reml):
    # the component is nothing but noise: its variance is zero at the maximum
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(25), 8)
    x, noise = rng.normal(size=(2, 200))
    x = np.c_[np.ones(200), x]
    y = (x * (1 + rng.normal(size=(25, 2)))[groups]).sum(axis=1) + rng.normal(size=200)
    start = mask([1, 1], [[1.0, 0.1], [0.1, 0.6]], [0.5])
    fits = []
    for use_sqrt in (True, False):
        terms = [mx.RandomTerm(groups, noise[:, None], "noise")]
        model = mx.MixedLM(y, x, groups, exog_re=x, terms=terms, use_sqrt=use_sqrt)
        free = mask([1, 0], free_re, [1])
        with pytest.warns(SingularMatrixWarning):
            fits.append(model.fit(free=free, start_params=start, reml=reml))
    assert all(fit.converged for fit in fits)
    assert fits[0].vcomp == pytest.approx(0, abs=1e-10)
    assert fits[1].llf == pytest.approx(fits[0].llf, rel=1e-12)
    np.testing.assert_allclose(fits[1].params, fits[0].params, rtol=1e-6, atol=1e-9)


def test_a_flat_likelihood_leaves_no_standard_errors():
    assert np.isnan(_inverse(np.ones((2, 2)))).all()
    np.testing.assert_allclose(_inverse(np.diag([2.0, 4.0])), np.diag([0.5, 0.25]))
