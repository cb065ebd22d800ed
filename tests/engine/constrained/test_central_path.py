"""Maxima on the wall of cov_re's elements, by other parametrizations of the same set."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

import mixedext as mx
from mixedext.engine.constrained.central_path import LogDeterminant

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def data(seed, k=2, n_groups=15, size=6):
    """One random effect a group, on all columns: the covariance is of rank one."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), size)
    z = rng.standard_normal((n_groups * size, k))
    z[:, 0] = 1.0
    u = 0.3 * rng.standard_normal(n_groups)
    y = rng.standard_normal(len(z)) + u[groups] * (z @ np.append(1.0, np.full(k - 1, 0.5)))
    return y, z, groups


def held_fit(model, cov_re, mask):
    k = len(cov_re)
    start = mx.MixedLMParams.from_components(fe_params=np.zeros(k), cov_re=cov_re)
    free = mx.MixedLMParams.from_components(fe_params=np.ones(k), cov_re=mask)
    return model.fit(start_params=start, free=free)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("value", [0.02, 0.3])
def test_a_held_variance_is_a_held_element_of_the_factor(seed, k, value):
    y, z, groups = data(seed, k)
    cov_re, mask = np.eye(k), np.ones((k, k))
    cov_re[0, 0], mask[0, 0] = value, 0
    by_elements, by_factor = (
        held_fit(mx.MixedLM(y, z, groups, z, use_sqrt=use_sqrt), cov_re, mask)
        for use_sqrt in (False, True)
    )
    assert by_elements.converged, by_elements.convergence
    assert by_elements.llf == pytest.approx(by_factor.llf, abs=2e-8)
    got, want = (np.asarray(r.cov_re_unscaled) for r in (by_elements, by_factor))
    assert got[0, 0] == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(got, want, atol=1e-4 * want.max())


@pytest.mark.parametrize("seed", [0, 1, 2, 5])
def test_a_held_covariance(seed):
    y, z, groups = data(seed)
    model = mx.MixedLM(y, z, groups, z, use_sqrt=False)
    held = 0.02
    result = held_fit(model, np.array([[1, held], [held, 1]]), 1 - np.eye(2)[::-1])
    assert result.converged, result.convergence

    def deviance(x):  # the first variance by its root, the rest of the second too
        first = np.exp(x[0])
        cov_re = np.array([[first, held], [held, held**2 / first + x[1] ** 2]])
        params = mx.MixedLMParams.from_components(fe_params=np.zeros(2), cov_re=cov_re)
        return -model.loglike(params, profile_fe=True)

    starts = [(-3, 0.1), (-1, 0.5), (-5, 0.05)]
    options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}
    best = min(
        optimize.minimize(deviance, x, method="Nelder-Mead", options=options).fun
        for x in starts
    )
    assert result.llf == pytest.approx(-best, abs=1e-7)
    cov_re = np.asarray(result.cov_re_unscaled)
    assert cov_re[0, 1] == pytest.approx(held, rel=1e-14)
    corr = held / np.sqrt(cov_re[0, 0] * cov_re[1, 1])
    if corr > 1 - 1e-6:
        assert result.convergence.status == "boundary"
        assert "singular" in result.convergence.message
    else:
        assert result.convergence.status == "interior"


def test_an_inner_maximum_is_found_without_the_path():
    y, z, groups = data(0, n_groups=40)
    u = np.random.default_rng(1).standard_normal((40, 2))
    y = y + (z * u[groups]).sum(axis=1)
    model = mx.MixedLM(y, z, groups, z, use_sqrt=False)
    cov_re = np.array([[1, 0.02], [0.02, 1]])
    verdict = held_fit(model, cov_re, 1 - np.eye(2)[::-1]).convergence
    assert verdict.status == "interior"


def test_derivatives_of_the_log_determinant():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((3, 5))
    matrix = np.zeros((4, 4))
    used = np.array([0, 1, 3])
    matrix[np.ix_(used, used)] = root @ root.T
    rows, columns = np.tril_indices(4)
    packed = np.append(matrix[rows, columns], 7.0)
    barrier = LogDeterminant(rows, columns, used, 0.25)
    inner = matrix[np.ix_(used, used)]
    assert barrier.value(packed) == pytest.approx(0.25 * np.linalg.slogdet(inner)[1])
    assert barrier.value(np.append(-packed[:-1], 7.0)) == -np.inf
    here = np.isin(rows, used) & np.isin(columns, used)
    slope, curvature = barrier.slope(packed), barrier.curvature(packed)
    assert not slope[~here].any()
    for j in np.flatnonzero(here):
        step = np.zeros(len(packed))
        step[j] = 1e-6
        up, down = packed + step, packed - step
        change = (barrier.value(up) - barrier.value(down)) / 2e-6
        assert slope[j] == pytest.approx(change, rel=1e-7, abs=1e-9)
        change = (barrier.slope(up) - barrier.slope(down)) / 2e-6
        np.testing.assert_allclose(curvature[j], change, rtol=1e-6, atol=1e-8)
