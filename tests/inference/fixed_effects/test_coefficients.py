"""Coefficients with their errors, degrees of freedom and tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import mixedext as mx
from mixedext.inference.fixed_effects import coefficients

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def result():
    data = mx.datasets.sleepstudy.load().data
    return mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()


def test_level_is_one_less_alpha(result):
    np.testing.assert_allclose(result.conf_int(level=0.9), result.conf_int(0.1), rtol=1e-12)
    inference = result.fixed_effects_inference("residual")
    ninety = inference.conf_int(level=0.9)
    np.testing.assert_allclose(ninety, inference.conf_int(0.1), rtol=1e-12)
    for call in (result.conf_int, inference.conf_int):
        with pytest.raises(ValueError, match="level=90"):
            call(level=90)


def test_a_record_of_the_fit_serves_in_the_place_of_results(result):
    record = result.fitted
    np.testing.assert_array_equal(coefficients.tvalues(record), result.tvalues)
    np.testing.assert_array_equal(coefficients.pvalues(record), result.pvalues)
    assert coefficients.df_held(record) == result.df_held() == ()


@pytest.mark.parametrize("df_method", [None, "z", "residual", "satterthwaite", "kr"])
def test_columns_belong_together(result, df_method):
    found = result.fixed_effects_inference(df_method)
    np.testing.assert_array_equal(found.estimate, result.fe_params)
    np.testing.assert_allclose(found.statistic, found.estimate / found.se, rtol=1e-12)
    want = 2 * stats.t.sf(np.abs(found.statistic), found.df)
    np.testing.assert_allclose(found.pvalue, want, rtol=1e-12)
    assert np.isinf(found.df).all() == (df_method == "z")


def test_variances_are_tested_by_the_normal_law(result):
    z = result.params.iloc[2:] / result.bse.iloc[2:]
    np.testing.assert_allclose(result.tvalues.iloc[2:], z, rtol=1e-12)
    np.testing.assert_allclose(result.pvalues.iloc[2:], 2 * stats.norm.sf(np.abs(z)))
    test = result.t_test("Days Var = 0")
    assert test.distribution == "norm"
    np.testing.assert_allclose(test.pvalue, result.pvalues["Days Var"], rtol=1e-12)
    joint = result.wald_test("Days Var = 0", scalar=True)
    assert joint.distribution == "chi2"
