"""Estimability and joint tests against dense algebra."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixedext as mx
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.rows.estimability import column_relations
from mixedext.exceptions import NotEstimableError
from mixedext.inference.fixed_effects.df_methods import fixed_tests
from mixedext.inference.means.linear_combinations import joint_test

pytestmark = pytest.mark.formula_engine


def kept_of(exog):
    """The basis: of columns that do not depend on those before them."""
    kept = []
    for j in range(exog.shape[1]):
        if np.linalg.matrix_rank(exog[:, [*kept, j]]) == len(kept) + 1:
            kept.append(j)
    y = np.random.default_rng(0).normal(size=len(exog))
    basis = prepare_design(y, exog, []).basis
    np.testing.assert_array_equal(basis.kept, kept)
    return basis


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(2, 4))
def test_estimable_means_in_the_row_space(seed, a, b):
    rng = np.random.default_rng(seed)
    cells = [(i, j) for i in range(a) for j in range(b) if rng.random() < 0.7] or [(0, 0)]
    cells = [cells[k] for k in rng.integers(0, len(cells), 30)]
    one = [
        [1.0, *(i == np.arange(a)), *(j == np.arange(b)), *(i * b + j == np.arange(a * b))]
        for i, j in cells
    ]
    exog = np.column_stack([np.array(one), 1e3 * rng.standard_normal(30)])
    relations = column_relations(kept_of(exog), len(exog))
    rows = np.vstack(
        [
            rng.standard_normal((6, 30)) @ exog,
            rng.standard_normal((4, exog.shape[1])),
            np.eye(exog.shape[1]),
        ]
    )
    scale = np.linalg.norm(exog, axis=0)
    scale[scale == 0] = 1.0
    base = np.linalg.svd(exog / scale)
    rank = np.linalg.matrix_rank(exog / scale)
    null = base[2][rank:]
    excess = np.abs((rows / scale) @ null.T).max(axis=1, initial=0.0)
    size = np.abs(rows / scale).max(axis=1)
    assert (relations.estimable(rows) == (excess < 1e-9 * size)).all()
    part = relations.estimable_part(rows)
    assert relations.estimable(part).all()
    found = np.linalg.matrix_rank(part / scale, tol=1e-9)
    lost = np.linalg.matrix_rank((rows / scale) @ null.T, tol=1e-9) if len(null) else 0
    assert len(part) == len(rows) - lost
    assert found == np.linalg.matrix_rank(rows / scale, tol=1e-9) - lost


def test_joint_test_of_what_can_be_estimated():
    data = mx.datasets.oats.load().data
    some = data[(data["nitroF"] != "n0.6") | (data["Variety"] != "Victory")]
    with pytest.warns(mx.RankDeficientWarning):
        model = mx.mixedlm("yield ~ nitroF * Variety + (1 | Block/Variety)", some)
    result = model.fit()
    relations, fit = result.reference_grid.relations, result.fitted.fit
    tests = fixed_tests(fit)
    rows = result.emmeans(["nitroF", "Variety"]).linfct.to_numpy()
    contrast = np.diff(np.eye(12), axis=0)
    test, lost = joint_test(contrast @ rows, 0.0, tests, relations)
    assert (test.df_num, lost) == (10, 1)
    # by the raw coefficients: all but the intercept
    own = np.eye(len(relations.kept))[1:] @ np.eye(len(relations.kept))
    assert test.statistic == pytest.approx(tests.f_test(own).statistic, rel=1e-10)
    with pytest.raises(NotEstimableError, match="none"):
        joint_test(rows[-1:], 0.0, tests, relations)
    with pytest.raises(NotEstimableError, match="against zero"):
        joint_test(contrast @ rows, 1.0, tests, relations)


def test_full_rank_has_no_relations():
    data = pd.DataFrame({"y": [1.0, 2, 4, 3], "x": [1.0, 2, 3, 4]})
    relations = mx.mixedlm("y ~ x", data).fit().reference_grid.relations
    assert len(relations.dropped) == 0
    assert relations.estimable(np.ones((3, 2))).all()
    assert not relations.estimable(np.array([[np.nan, 1.0]])).any()
