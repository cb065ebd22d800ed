"""statsmodels' likelihood methods, beside statsmodels' own, and where its are wrong."""

import warnings

import numpy as np
import pytest
from helpers.upstream_pair import random_params, upstream_pair
from scipy.optimize import approx_fprime
from statsmodels.base import _penalties as penalties
from statsmodels.regression.mixed_linear_model import MixedLMParams
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx
from mixedext.exceptions import RankDeficientWarning


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("use_sqrt", [True, False])
@pytest.mark.parametrize(
    ("k_re", "component"), [(1, False), (1, True), (2, True), (3, True)]
)
def test_as_statsmodels(k_re, component, use_sqrt, reml):
    own, theirs = upstream_pair([k_re, component], k_re, component, use_sqrt)
    own.reml = theirs.reml = reml
    rng = np.random.default_rng(7)
    for _ in range(3):
        params = random_params(rng, k_re, component)
        for profile in (True, False):
            value = own.loglike(params.copy(), profile)
            assert isinstance(value, float)
            assert value == pytest.approx(theirs.loglike(params.copy(), profile), rel=1e-12)
            np.testing.assert_allclose(
                own.score(params.copy(), profile),
                theirs.score(params.copy(), profile),
                rtol=1e-9,
                atol=1e-9,
            )
        for calc_fe in (True, False):
            for name in ("score_full", "score_sqrt"):
                ours = getattr(own, name)(params.copy(), calc_fe)
                for a, b in zip(
                    ours, getattr(theirs, name)(params.copy(), calc_fe), strict=True
                ):
                    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
        arguments = params.cov_re, params.vcomp
        best, singular = own.get_fe_params(*arguments)
        np.testing.assert_allclose(best, theirs.get_fe_params(*arguments)[0], rtol=1e-10)
        assert singular is False
        assert own.get_scale(params.fe_params, *arguments) == pytest.approx(
            theirs.get_scale(params.fe_params, *arguments), rel=1e-10
        )
        # statsmodels' Hessian is one at the GLS estimate only
        params.fe_params = best
        hessian, singular = own.hessian(params)
        np.testing.assert_allclose(hessian, theirs.hessian(params)[0], rtol=1e-8, atol=1e-8)
        assert singular is False
        np.testing.assert_array_equal(own.information(params), -hessian)
        # packed vectors
        vector = params.get_packed(use_sqrt=use_sqrt, has_fe=True)
        np.testing.assert_allclose(own.hessian(vector)[0], hessian, rtol=1e-8, atol=1e-8)
        assert own.loglike(vector[3:]) == pytest.approx(own.loglike(params), rel=1e-12)
        np.testing.assert_allclose(
            own.score(vector[3:]), own.score(params), rtol=1e-8, atol=1e-8
        )


def test_hessian_away_from_the_estimate_is_the_derivative_of_the_score():
    own, theirs = upstream_pair(3, use_sqrt=False)
    params = random_params(np.random.default_rng(1))
    at = params.get_packed(use_sqrt=False, has_fe=True)

    def score(vector):
        return np.concatenate(own.score_full(vector, True))

    hessian = own.hessian(at)[0]
    numeric = np.array(
        [
            (8 * (score(at + h) - score(at - h)) - score(at + 2 * h) + score(at - 2 * h))
            / (12 * 1e-3)
            for h in 1e-3 * np.eye(len(at))
        ]
    )
    np.testing.assert_allclose(hessian, numeric, rtol=1e-6, atol=1e-6)
    assert np.abs(theirs.hessian(params)[0] - numeric).max() > 0.1


@pytest.mark.parametrize(
    "formula",
    [
        "Reaction ~ Days + (Days | Subject)",
        "Reaction ~ Days + (Days || Subject)",
        "Reaction ~ Days + (1 | Subject) + (1 | Days)",
        "Reaction ~ 1 + (Days | Subject) + (1 | Days)",
    ],
)
def test_at_the_estimate(formula):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mx.mixedlm(formula, mx.datasets.sleepstudy.load().data).fit()
    model, at = result.model, result.params_object
    assert model.loglike(at) == pytest.approx(result.llf, rel=1e-13)
    assert model.loglike(at, profile_fe=False) == pytest.approx(result.llf, rel=1e-13)
    if not result.is_singular:
        hessian, _ = model.hessian(at)
        size = np.sqrt(np.abs(np.diag(hessian)))
        score = np.concatenate(model.score_full(at, True))
        assert np.abs(score / size).max() < 1e-4
    fixed, _ = model.get_fe_params(at.cov_re, at.vcomp)
    np.testing.assert_allclose(fixed, result.fe_params, rtol=1e-10)
    assert model.get_scale(fixed, at.cov_re, at.vcomp) == pytest.approx(
        result.scale, rel=1e-10
    )


def test_several_correlated_terms():
    rng = np.random.default_rng(5)
    n = 200
    terms = [
        mx.RandomTerm(rng.integers(0, k, n), np.c_[np.ones(n), rng.normal(size=n)], name)
        for k, name in ((12, "a"), (9, "b"))
    ]
    model = mx.MixedLM(rng.normal(size=n), np.ones((n, 1)), terms=terms)
    root = rng.normal(size=6) + 1
    slope = approx_fprime(root, model.loglike, 1e-7)
    np.testing.assert_allclose(model.score(root), slope, rtol=1e-4, atol=1e-4)
    packed = model.layout.square(model._design.terms, root)
    cov_re, _ = model.layout.unpack_parts(model._design.terms, packed)
    params = MixedLMParams.from_components(np.zeros(1), cov_re=cov_re)
    assert model.loglike(params) == pytest.approx(model.loglike(root), rel=1e-12)
    assert model.hessian(params)[0].shape == (7, 7)


def test_singular_covariances():
    own, _ = upstream_pair(4, component=False)
    zero = MixedLMParams.from_components(np.zeros(3), cov_re=np.zeros((2, 2)))
    # least squares, which statsmodels has as zeros
    best, singular = own.get_fe_params(zero.cov_re, zero.vcomp)
    assert singular
    expected = np.linalg.lstsq(own.exog, own.endog, rcond=None)[0]
    np.testing.assert_allclose(best, expected, rtol=1e-10)
    assert np.isfinite(own.loglike(zero))
    with pytest.warns(SingularMatrixWarning, match="effects covariance is singular"):
        score = own.score(zero)
    np.testing.assert_array_equal(score, 0.0)  # in the roots
    hessian, singular = own.hessian(zero)
    assert singular
    assert np.isfinite(hessian).all()
    with pytest.warns(SingularMatrixWarning, match="random effects covariance matrix"):
        scale = own.get_scale(best, zero.cov_re, zero.vcomp)
    residual = own.endog - own.exog @ best
    assert scale == pytest.approx(residual @ residual / (120 - 3), rel=1e-12)


def test_indefinite_covariances():
    own, _ = upstream_pair(4, component=False)
    bad = MixedLMParams.from_components(np.zeros(3), cov_re=np.array([[1.0, 2], [2, 1]]))
    assert own.loglike(bad) == -np.inf
    for call in (own.score, own.hessian, lambda p: own.score_full(p, True)):
        with pytest.raises(ValueError, match="not positive semidefinite"):
            call(bad)


def test_dropped_columns_are_held_at_zero():
    own, _ = upstream_pair(6, component=False)
    with pytest.warns(RankDeficientWarning):
        model = mx.MixedLM(
            own.endog,
            np.c_[own.exog[:, 0], own.exog[:, 0], own.exog[:, 1:]],
            own.groups,
            own.exog_re,
        )
    params = random_params(np.random.default_rng(2), component=False)
    wide = MixedLMParams.from_components(
        np.insert(params.fe_params, 1, np.nan), cov_re=params.cov_re
    )
    for profile in (True, False):
        assert model.loglike(wide, profile) == pytest.approx(
            own.loglike(params, profile), rel=1e-12
        )
    score, expected = model.score(wide, False), own.score(params, False)
    np.testing.assert_allclose(np.delete(score, 1), expected, rtol=1e-8, atol=1e-8)
    assert score[1] == 0.0
    hessian = model.hessian(wide)[0]
    np.testing.assert_allclose(
        np.delete(np.delete(hessian, 1, 0), 1, 1), own.hessian(params)[0], rtol=1e-8
    )
    wide.fe_params[1] = 1.0
    with pytest.raises(ValueError, match="columns that depend on others must be 0"):
        model.loglike(wide, profile_fe=False)


def test_weights_and_offset():
    own, _ = upstream_pair(8)
    offset = np.linspace(0, 1, own.nobs)
    weights = np.tile([1.0, 4.0], own.nobs // 2)
    arguments = {"exog_re": own.exog_re, "terms": own.random_terms[1:]}
    moved = mx.MixedLM(own.endog + offset, own.exog, own.groups, offset=offset, **arguments)
    params = random_params(np.random.default_rng(3))
    assert moved.loglike(params, False) == pytest.approx(own.loglike(params, False))
    weighted = mx.MixedLM(own.endog, own.exog, own.groups, weights=weights, **arguments)
    result = weighted.fit()
    assert weighted.loglike(result.params_object) == pytest.approx(result.llf, rel=1e-12)


def test_models_from_chunks_need_no_rows():
    data = mx.datasets.sleepstudy.load().data
    formula = "Reaction ~ Days + (Days | Subject)"
    whole = mx.mixedlm(formula, data)
    chunked = mx.MixedLM.from_chunks(formula, [data[:100], data[100:]])
    root = [0.9, 0.02, 0.2]
    assert chunked.loglike(root) == pytest.approx(whole.loglike(root), rel=1e-12)
    np.testing.assert_allclose(chunked.score(root), whole.score(root), rtol=1e-8, atol=1e-8)
    at = np.concatenate([[250.0, 10.0], root])
    np.testing.assert_allclose(
        chunked.hessian(at)[0], whole.hessian(at)[0], rtol=1e-8, atol=1e-8
    )


def test_free_pattern_and_penalties_of_the_last_fit():
    own, theirs = upstream_pair(9, component=False)
    params = random_params(np.random.default_rng(3), component=False)
    free = MixedLMParams.from_components(np.array([1, 0, 1]), cov_re=np.eye(2))
    own._freepat = theirs._freepat = free
    own.reml = theirs.reml = True
    np.testing.assert_allclose(
        own.score(params.copy(), False), theirs.score(params.copy(), False), rtol=1e-9
    )
    own._freepat = theirs._freepat = None
    own.cov_pen = theirs.cov_pen = penalties.PSD(0.7)
    own.fe_pen = theirs.fe_pen = penalties.L2(2.0)
    for profile in (True, False):
        assert own.loglike(params.copy(), profile) == pytest.approx(
            theirs.loglike(params.copy(), profile), rel=1e-12
        )
        np.testing.assert_allclose(
            own.score(params.copy(), profile),
            theirs.score(params.copy(), profile),
            rtol=1e-9,
        )


@pytest.mark.parametrize(
    ("params", "match"),
    [
        (np.ones(2), "vector of 3 variance parameters"),
        (MixedLMParams.from_components(np.ones(3), cov_re=np.eye(3)), "cov_re must have"),
        (MixedLMParams.from_components(np.ones(2), cov_re=np.eye(2)), "fe_params must"),
    ],
)
def test_wrong_shapes(params, match):
    own, _ = upstream_pair(1, component=False)
    with pytest.raises(ValueError, match=match):
        own.loglike(params)


@pytest.mark.parametrize("reml", [True, False])
def test_no_fixed_effects(reml):
    own, _ = upstream_pair(9, component=False)
    model = mx.MixedLM(own.endog, None, own.groups, exog_re=own.exog_re)
    model.reml = reml
    params = MixedLMParams.from_components(
        np.zeros(0), cov_re=np.array([[1.3, 0.2], [0.2, 0.7]])
    )

    def at(packed):
        return MixedLMParams.from_packed(packed, 0, 2, use_sqrt=False, has_fe=False)

    packed = params.get_packed(use_sqrt=False, has_fe=False)
    fixed, *score = model.score_full(params, True)
    slope = approx_fprime(packed, lambda v: model.loglike(at(v), profile_fe=False), 1e-6)
    np.testing.assert_allclose(np.concatenate(score), slope, rtol=1e-4)
    assert fixed.shape == (0,)
    bend = approx_fprime(
        packed, lambda v: np.concatenate(model.score_full(at(v), True)), 1e-6
    )
    np.testing.assert_allclose(model.hessian(params)[0], bend, rtol=1e-4, atol=1e-4)
    fit = model.fit(reml=reml)
    np.testing.assert_allclose(model.score(fit.params_object), 0, atol=1e-3)
    np.testing.assert_allclose(
        model.fit_regularized(reml=reml).cov_re, fit.cov_re, rtol=1e-10
    )


def test_no_random_effects():
    own, _ = upstream_pair(9, component=False)
    model = mx.MixedLM(own.endog, own.exog)
    result = model.fit()
    assert model.loglike(result.params_object) == pytest.approx(result.llf, rel=1e-13)
    hessian, singular = model.hessian(result.params_object)
    np.testing.assert_allclose(np.linalg.inv(-hessian), result.cov_params(), rtol=1e-8)
    assert not singular
    np.testing.assert_allclose(model.score(result.params_object), 0, atol=1e-9)
