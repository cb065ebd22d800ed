"""Profiles of one variance against another optimizer, and statsmodels' grid."""

import warnings

import numpy as np
import pytest
from helpers.dense_likelihood import DenseLikelihood
from helpers.upstream_pair import upstream_pair
from scipy import optimize
from statsmodels.regression.mixed_linear_model import MixedLMParams

import mixedext as mx


@pytest.mark.parametrize("use_sqrt", [True, False])
@pytest.mark.parametrize("row", [0, 1])
def test_against_another_optimizer(row, use_sqrt):
    own, theirs = upstream_pair(41, component=False, use_sqrt=use_sqrt)
    result = own.fit(reml=False)
    distance = 0.4 * result.cov_re[row, row]
    profile = result.profile_re(
        row, "re", num_low=2, dist_low=distance, num_high=2, dist_high=distance
    )
    assert profile.shape == (5, 2)
    np.testing.assert_allclose(profile[2], [result.cov_re[row, row], result.llf], rtol=1e-9)
    assert (profile[[0, 1, 3, 4], 1] < result.llf).all()
    dense = DenseLikelihood(
        own.endog, own.exog, [mx.RandomTerm(own.groups, own.exog_re)], False
    )
    middle = result.cov_re[row, row] / result.scale
    step = distance / result.scale / 2
    for held, (variance, llf) in zip(
        middle + step * np.arange(-2, 3), profile, strict=True
    ):

        def gamma_of(rest, held=held):
            root = np.array([[np.sqrt(held), 0], rest])
            covariance = root @ root.T
            return (covariance if row == 0 else covariance[::-1, ::-1])[np.tril_indices(2)]

        def value(rest):
            gamma = gamma_of(rest)
            return -dense.value(dense.best(gamma), gamma)

        best = optimize.minimize(value, [0.1, 1.0], options={"gtol": 1e-7})
        assert llf == pytest.approx(-best.fun, rel=1e-9)
        gamma = gamma_of(best.x)
        scale = dense.scale(dense.best(gamma), gamma)
        assert variance == pytest.approx(held * scale, rel=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        upstream = theirs.fit(reml=False).profile_re(
            row, "re", num_low=2, dist_low=distance, num_high=2, dist_high=distance
        )
    np.testing.assert_allclose(profile, upstream, rtol=5e-3)
    assert (profile[:, 1] > upstream[:, 1] - 1e-3).all()


def test_components():
    own, _ = upstream_pair(42)
    result = own.fit()
    profile = result.profile_re("a", "vc", num_low=1, dist_low=0.2, num_high=1)
    for row, shift in zip(profile, (-0.2, 0.0, 1.0), strict=True):
        held = (result.vcomp[0] + shift) / result.scale
        free = MixedLMParams.from_components(
            np.ones(3), cov_re=np.ones((2, 2)), vcomp=np.zeros(1)
        )
        start = MixedLMParams.from_components(
            np.zeros(3), cov_re=np.eye(2), vcomp=np.array([held])
        )
        refit = own.fit(free=free, start_params=start)
        np.testing.assert_allclose(row, [refit.vcomp[0], refit.llf], rtol=1e-7)
    data = mx.datasets.penicillin.load().data
    crossed = mx.mixedlm("diameter ~ 1 + (1 | plate) + (1 | sample)", data).fit()
    profile = crossed.profile_re("sample", "vc", num_low=1, dist_low=0.5, num_high=2)
    assert profile.shape == (4, 2)
    assert profile[:, 1].argmax() == 1
    assert profile[1, 1] == pytest.approx(crossed.llf, rel=1e-12)


def test_of_a_fit_with_a_mask():
    own, _ = upstream_pair(43, component=False)
    free = MixedLMParams.from_components(np.ones(3), cov_re=np.eye(2))
    result = own.fit(free=free)
    before = free.cov_re.copy()
    profile = result.profile_re(1, "re", num_low=1, dist_low=0.2, num_high=1)
    np.testing.assert_array_equal(free.cov_re, before)
    np.testing.assert_allclose(profile[1], [result.cov_re[1, 1], result.llf], rtol=1e-8)
    whole = own.fit().profile_re(1, "re", num_low=1, dist_low=0.2, num_high=1)
    assert (profile[:, 1] <= whole[:, 1].max()).all()


def test_bad_arguments():
    own, _ = upstream_pair(44)
    result = own.fit()
    with pytest.raises(ValueError, match="vtype"):
        result.profile_re(0, "variance")
    with pytest.raises(ValueError, match="dist_low is too large"):
        result.profile_re(0, "re", dist_low=100.0)
    with pytest.raises(ValueError, match="re_ix=5: cov_re has 2 rows"):
        result.profile_re(5, "re")
    with pytest.raises(ValueError, match="re_ix='b' is not a variance component"):
        result.profile_re("b", "vc")
    with pytest.raises(ValueError, match="profile_re has no argument 'color'; there are"):
        result.profile_re(0, "re", 1, 0.1, 1, 0.1, color=1)


def test_upwards_alone_from_anywhere():
    own, _ = upstream_pair(41, component=False)
    result = own.fit()
    both = result.profile_re(0, "re", num_low=1, dist_low=0.1, num_high=2, dist_high=0.4)
    # dist_low would reach below zero, but nothing is asked for there
    upwards = result.profile_re(0, "re", num_low=0, dist_low=1e3, num_high=2, dist_high=0.4)
    np.testing.assert_allclose(upwards, both[1:], rtol=1e-8)
