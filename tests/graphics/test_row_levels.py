"""Levels of the rows by factors, columns and values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.plot_models import fit_of

import mixedext as mx
from mixedext.graphics.row_levels import default_factor, row_index, row_levels

pytestmark = pytest.mark.formula_engine


def test_a_factor_a_column_and_values_are_the_same():
    fitted = fit_of("slopes").fitted
    data = mx.datasets.sleepstudy.load().data
    factor = row_levels(fitted, "Subject")
    assert factor.values is None
    np.testing.assert_array_equal(factor.levels[factor.codes], data["Subject"])
    column = row_levels(fitted, "Days")
    np.testing.assert_array_equal(column.values, data["Days"])
    given = row_levels(fitted, data["Days"])
    assert given.name == "Days"
    np.testing.assert_array_equal(given.codes, column.codes)


def test_combinations():
    found = row_levels(fit_of("crossed").fitted, ["plate", "sample"])
    assert found.name == "plate:sample"
    assert len(found.levels) == 144
    assert found.levels[found.codes[0]] == "a:A"


def test_rows_without_a_level():
    fitted = fit_of("six").fitted
    values = pd.Series(["u", None, "v"] * 10)
    found = row_levels(fitted, values)
    np.testing.assert_array_equal(found.codes[:3], [0, -1, 1])


def test_groups_of_statsmodels():
    data = mx.datasets.sleepstudy.load().data
    model = mx.mixedlm("Reaction ~ Days", data, groups="Subject")
    found = row_levels(model.fit().fitted, "Subject")
    np.testing.assert_array_equal(found.levels[found.codes], data["Subject"])


@pytest.mark.parametrize("by", ["Subjekt", np.arange(3), np.zeros((180, 2))])
def test_what_is_neither(by):
    with pytest.raises(ValueError, match=r"Subject|value for each of the 180 rows"):
        row_levels(fit_of("slopes").fitted, by)


def test_the_innermost_factor():
    assert default_factor(fit_of("crossed").fitted) == "plate"


def test_labels_of_rows_that_were_used():
    assert len(row_index(fit_of("labels").fitted)) == 157
    assert 3 not in row_index(fit_of("labels").fitted)
