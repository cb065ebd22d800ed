"""What a simulation of power tells."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mixedext as mx


@pytest.fixture
def power():
    pvalues = np.column_stack([np.linspace(0, 1, 200), np.full(200, 0.01)])
    pvalues[-3:, 0] = np.nan
    singular = np.zeros((200, 2), bool)
    singular[:50, 1] = True
    sizes = pd.DataFrame({"g": [5, 10], "nobs": [50, 100]})
    return mx.Power("the test of x", 0.2, sizes, pvalues, singular, ("a note",))


def test_shares(power):
    assert power.n_failed.tolist() == [3, 0]
    hits = int((np.linspace(0, 1, 200) < 0.2).sum())
    assert power.n_significant.tolist() == [hits, 200]
    np.testing.assert_allclose(power.estimate, [hits / 200, 1])
    assert (len(power), power.n) == (2, 200)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_limits_are_those_of_clopper_and_pearson(power, alpha):
    limits = power.conf_int(alpha)
    for hits, own in zip(power.n_significant, limits.to_numpy(), strict=True):
        want = stats.binomtest(int(hits), 200).proportion_ci(1 - alpha, "exact")
        np.testing.assert_allclose(own, [want.low, want.high], rtol=1e-10)
    same = power.conf_int(level=1 - alpha)
    pd.testing.assert_frame_equal(pd.DataFrame(limits), pd.DataFrame(same))


def test_no_hit():
    none = mx.Power("x", 0.05, pd.DataFrame({"nobs": [5]}), np.ones((20, 1)),
                    np.zeros((20, 1), bool))  # fmt: skip
    lower, upper = none.conf_int().to_numpy()[0]
    assert lower == 0
    np.testing.assert_allclose(upper, 1 - 0.025 ** (1 / 20))


def test_table(power):
    table = power.table
    assert list(table.columns) == [
        "g", "nobs", "estimate", "lower", "upper", "n", "n_failed", "singular"
    ]  # fmt: skip
    assert table.notes == ("a note",)
    assert table["singular"].tolist() == [0.0, 0.25]
    assert "Power of the test of x" in repr(power)
    assert repr(pickle.loads(pickle.dumps(power))) == repr(power)
