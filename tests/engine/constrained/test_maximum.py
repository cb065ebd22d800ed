"""Newton steps from a boundary, and searches that are cut short."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.masks import mask
from helpers.upstream_pair import upstream_pair
from statsmodels.base import _penalties as penalties
from statsmodels.tools.sm_exceptions import ConvergenceWarning, SingularMatrixWarning

import mixedext as mx

ALL = [1, 1, 1]


@pytest.mark.filterwarnings(
    f"ignore::{SingularMatrixWarning.__module__}.SingularMatrixWarning"
)
@pytest.mark.parametrize("seed", [1, 2, 9, 18, 43, 62])
def test_an_l2_penalty_where_the_fit_is_singular(seed):
    """The search starts on the boundary, off which no gradient leads."""
    rng = np.random.default_rng(seed)
    g, x = rng.integers(0, 6, 60), rng.normal(1, 2, 60)
    effect = rng.normal(size=6)[g]
    y = 3 + x + 2 * effect + 0.1 * effect * x + rng.normal(size=60)
    fixed = np.column_stack([np.ones(60), x])
    model = mx.MixedLM(y, fixed, groups=g, exog_re=fixed)
    assert model.fit(reml=False).is_singular
    result = model.fit(reml=False, fe_pen=penalties.L2(np.array([0.0, 20.0])))
    assert result.converged
    assert result.convergence.n_evaluations < 60


def test_unfinished_search_says_so():
    own, _ = upstream_pair(23, component=False)
    free, start = mask(ALL, [[0, 1], [1, 1]]), mask(np.zeros(3), 9 * np.eye(2))
    with pytest.warns(ConvergenceWarning, match="gradient of the free parameters"):
        result = own.fit(free=free, start_params=start, maxiter=1)
    assert not result.converged
