"""One regression a group, of which tests/models/lm_list tells more."""

from __future__ import annotations

import numpy as np

from mixedext.engine.rows.group_regressions import least_squares_by_group


def test_groups_have_their_own_coefficients():
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat(np.arange(5), 8))
    x = np.column_stack([np.ones(40), rng.normal(size=40)])
    y, w = rng.normal(size=40), rng.uniform(0.5, 2, 40)
    found = least_squares_by_group(x, y, codes, 5, w)
    for level in range(5):
        own, root = codes == level, np.sqrt(w[codes == level])
        b = np.linalg.lstsq(x[own] * root[:, None], y[own] * root, rcond=None)[0]
        np.testing.assert_allclose(found.coefficients[level], b, rtol=1e-10)
    assert found.sizes.tolist() == [8] * 5


def test_a_constant_column_determines_no_slope():
    x = np.column_stack([np.ones(6), [1.0, 1, 1, 1, 2, 3]])
    found = least_squares_by_group(x, np.arange(6.0), np.array([0, 0, 0, 1, 1, 1]), 2)
    assert np.isnan(found.coefficients[0]).all()
    assert np.isfinite(found.coefficients[1]).all()
