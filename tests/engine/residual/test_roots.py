"""Cholesky factors of the residual covariance, also of one that rounding makes singular."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.residual_designs import random_design
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.engine.residual.roots import (
    LEAST_EIGENVALUE,
    block_rows,
    log_determinant,
    log_deviations,
    matrices,
    roots,
    whitened,
)
from mixedext.exceptions import DevianceError
from mixedext.models.mixedlm.residual_fitting import residual_rows


def some_bound(kind, **options):
    rows = residual_rows(random_design(kind, 3, **options))
    return rows.bound, np.random.default_rng(5).uniform(-0.4, 0.6, rows.n_psi)


@pytest.mark.parametrize("kind", ["us", "arma", "toeph", "adh", "car1", "gau+nugget"])
@pytest.mark.parametrize("by", [True, False])
def test_everything_is_of_the_whole_covariance(kind, by):
    bound, psi = some_bound(kind, by=by)
    whole = block_rows(bound, matrices(bound, psi)).toarray()
    assert_allclose(whole, whole.T, rtol=1e-13)
    value, log_det = np.linalg.slogdet(whole)
    assert value == 1
    assert_allclose(log_determinant(bound, psi), log_det, rtol=1e-10)
    deviations = np.log(np.diag(whole)) / 2
    assert_allclose(log_deviations(bound, psi), deviations, rtol=1e-10, atol=1e-13)
    lower = block_rows(bound, roots(bound, psi)).toarray()
    assert_allclose(lower @ lower.T, whole, rtol=1e-10, atol=1e-13)
    rng = np.random.default_rng(1)
    y, weights = rng.normal(size=len(whole)), rng.uniform(0.5, 2.0, len(whole))
    own = np.sqrt(weights) * y
    assert_allclose(
        whitened(bound, psi, y, weights), np.linalg.solve(lower, own), rtol=1e-8, atol=1e-10
    )


def test_a_correlation_that_rounding_makes_singular_is_floored():
    place = np.array([0.0, 1e-9, 1.0])
    residual = mx.Spatial("gau", [place], group=np.zeros(3, int))
    model = mx.MixedLM(np.array([1.0, 1.0, 3.0]), np.ones((3, 1)), residual=residual)
    bound = residual_rows(model).bound
    (whole,) = matrices(bound, np.zeros(1))
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(whole)
    ((root,),) = roots(bound, np.zeros(1))
    assert_allclose(root @ root.T, whole[0], atol=2 * LEAST_EIGENVALUE)
    assert np.linalg.eigvalsh(root @ root.T)[0] > 0.1 * LEAST_EIGENVALUE


def test_variances_of_zero_or_beyond_all_numbers_are_told():
    bound, psi = some_bound("csh")
    for size in (-800.0, 800.0):
        with np.errstate(all="ignore"), pytest.raises(DevianceError, match="simpler resid"):
            roots(bound, np.where(np.arange(len(psi)) == 0, size, psi))
