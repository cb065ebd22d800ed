"""Covariances of estimates of which some are held, by statsmodels' own Hessian."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.masks import mask
from helpers.upstream_pair import upstream_pair
from statsmodels.regression.mixed_linear_model import MixedLMParams

ALL = [1, 1, 1]


HELD = {
    "coefficient": ([1, 0, 1], np.ones((2, 2))),
    "covariance": (ALL, np.eye(2)),
    "all variances": (ALL, np.zeros((2, 2))),
}


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("held", HELD)
def test_observed_information_of_what_is_free(held, reml):
    own, theirs = upstream_pair(24, component=False, n=200, n_groups=30)
    start = MixedLMParams.from_components(
        np.array([1.0, 2.1, 3.0]), cov_re=np.diag([1.1, 0.8])
    )
    free = mask(*HELD[held])
    result = own.fit(free=free, start_params=start, reml=reml, cov_type="oim")
    theirs.reml = reml
    hessian = theirs.hessian(result.params_object)[0]
    fixed, cov_re = HELD[held]
    loose = np.flatnonzero([*fixed, *np.asarray(cov_re)[np.tril_indices(2)]])
    want = np.zeros((6, 6))
    want[np.ix_(loose, loose)] = np.linalg.inv(-hessian[np.ix_(loose, loose)])
    got = np.asarray(result.cov_params())
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-10)
    again = own.fit(free=free, start_params=start, reml=reml).get_robustcov_results("oim")
    np.testing.assert_allclose(again.bse, result.bse, rtol=1e-12)
