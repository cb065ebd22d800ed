"""Arrows overlap where means do not differ by Tukey's method."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.graphics_cases import fit_of

from mixedext.exceptions import AdjustmentWarning
from mixedext.inference.means.comparison_arrows import comparison_arrows

pytestmark = pytest.mark.formula_engine


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.49])
@pytest.mark.parametrize("specs", ["nitroF", "Variety"])
def test_they_say_what_the_tests_say(specs, alpha):
    result = fit_of("yield ~ nitroF * Variety + (1 | Block/Variety)", "oats")
    means = result.emmeans(specs, alpha=alpha, df_method="satterthwaite")
    ends, estimate = comparison_arrows(means), means.estimate
    order = np.argsort(estimate)
    assert np.isnan(ends[order[0], 0])
    assert np.isnan(ends[order[-1], 1])
    pairs = means.contrast("pairwise").table["pvalue"].to_numpy()
    i, j = np.triu_indices(len(estimate), 1)
    low, high = np.where(estimate[i] < estimate[j], (i, j), (j, i))
    apart = ends[low, 1] < ends[high, 0]
    np.testing.assert_array_equal(apart, pairs < alpha)


def test_where_no_arrows_can_say_it():
    """Means of one variety differ more precisely than those of two: a split plot."""
    result = fit_of("yield ~ nitroF * Variety + (1 | Block/Variety)", "oats")
    means = result.emmeans(["nitroF", "Variety"], df_method="satterthwaite")
    with pytest.warns(AdjustmentWarning, match="cannot show all comparisons"):
        comparison_arrows(means)


def test_families_of_by_are_apart():
    result = fit_of("yield ~ nitroF * Variety + (1 | Block/Variety)", "oats")
    means = result.emmeans("nitroF", by="Variety")
    ends, table = comparison_arrows(means), means.table
    for rows in table.groupby("Variety").groups.values():
        own = table.loc[rows, "estimate"].to_numpy()
        assert np.isnan(ends[rows[np.argmin(own)], 0])
        assert np.isnan(ends[rows[np.argmax(own)], 1])


def test_not_on_the_scale_of_the_response():
    result = fit_of("np.log(Reaction) ~ C(Days) + (1 | Subject)", "sleepstudy")
    means = result.emmeans("Days", type="response")
    with pytest.raises(ValueError, match="use type='link'"):
        means.plot(comparisons=True)
