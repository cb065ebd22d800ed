"""Kenward and Roger's covariance and F test, as results offer them."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.tools.sm_exceptions import ValueWarning

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def model():
    data = mx.datasets.sleepstudy.load().data
    data = data[(np.arange(180) * 7) % 11 > 2]
    return mx.mixedlm("Reaction ~ Days + (Days | Subject)", data)


def test_f_test_with_values(model):
    result = model.fit()
    plain = result.kenward_roger("Days = 10")
    for hypothesis in (([[0, 1]], [10]), {"Days": 10}, ([[0, 1], [0, 2]], [10, 20])):
        found = result.kenward_roger(hypothesis)
        assert (found.df_num, found.scaling, found.method) == (1, 1.0, "kenward-roger")
        np.testing.assert_allclose(found.statistic, plain.statistic, rtol=1e-10)
        np.testing.assert_allclose(found.df_denom, plain.df_denom, rtol=1e-10)
        np.testing.assert_allclose(found.pvalue, plain.pvalue, rtol=1e-10)
    variance = result.cov_params_kr.loc["Days", "Days"]
    want = (result.fe_params["Days"] - 10) ** 2 / variance
    np.testing.assert_allclose(plain.statistic, want, rtol=1e-10)
    both = result.kenward_roger(np.eye(2))
    assert both.df_num == 2
    assert both.scaling < 1


def test_adjusted_covariance(model):
    result = model.fit()
    adjusted = result.cov_params_kr
    errors = result.fixed_effects_inference("kenward-roger").se
    np.testing.assert_allclose(np.sqrt(np.diag(adjusted)), errors, rtol=1e-12)
    assert (errors > result.bse_fe).all()
    assert list(adjusted.index) == list(adjusted.columns) == ["Intercept", "Days"]


def test_columns_that_were_dropped():
    data = mx.datasets.sleepstudy.load().data
    with pytest.warns(mx.RankDeficientWarning):
        model = mx.mixedlm("Reaction ~ Days + I(2 * Days) + (Days | Subject)", data)
    result = model.fit()
    assert result.cov_params_kr.isna().to_numpy().sum() == 5
    assert round(result.kenward_roger([[0, 1, 0]]).df_denom, 6) == 17
    with pytest.raises(ValueError, match="not estimable"):
        result.kenward_roger([[0, 0, 1]])


def test_maximum_likelihood(model):
    want = model.fit().kenward_roger("Days = 0")
    result = model.fit(reml=False)
    with pytest.raises(ValueError, match="refit=True"):
        result.kenward_roger("Days = 0")
    with pytest.raises(ValueError, match="refit=True"):
        result.compare_kr_test([[0, 1]])
    with pytest.raises(ValueError, match="REML"):
        _ = result.cov_params_kr
    with pytest.raises(ValueError, match=r"df_method='kr' needs reml=True"):
        model.fit(reml=False, df_method="kr")
    for found in (
        result.kenward_roger("Days = 0", refit=True),
        result.compare_kr_test([[0, 1]], refit=True),
    ):
        np.testing.assert_allclose(found.statistic, want.statistic, rtol=1e-8)
        np.testing.assert_allclose(found.df_denom, want.df_denom, rtol=1e-7)
    assert not result.reml


def test_what_is_no_hypothesis(model):
    result = model.fit()
    with pytest.raises(ValueError, match="should have 2 columns"):
        result.kenward_roger([[0, 1, 1]])
    with pytest.raises(ValueError, match=r"shape \(1, 2, 2\)"):
        result.kenward_roger(np.eye(2)[None])
    with pytest.warns(ValueWarning, match="no hypothesis: all its entries are zero"):
        found = result.kenward_roger([[0, 0]])
    assert found.df_num == 0
    assert np.isnan(found.statistic)
    assert np.isnan(found.pvalue)
