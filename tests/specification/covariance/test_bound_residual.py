"""What stays of a bound structure without its rows."""

from __future__ import annotations

import pandas as pd

from mixedext.specification.covariance.residual_binding import bind_residual


def test_without_rows():
    frame = pd.DataFrame({"g": [0, 0, 1, 1], "v": [0, 1, 0, 1]})
    bound = bind_residual(["ar1h(v | g)", "none"], "exp(x)", frame.assign(x=[1, 2, 3, 5]))
    left = bound.without_rows()
    assert (str(left), left.names, left.group_labels) == (str(bound), bound.names, [0, 1])
    assert (left.batches, left.n_obs, left.fallbacks) == ((), 0, ())
    assert len(left.group_codes) == len(left.visit_codes) == 0
    assert left.row_strata == left.row_covariates == (None, None)
    assert bound.n_obs == 4
