"""statsmodels' summary_col of models in bars."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.formula.api as smf
from statsmodels.iolib import summary2
from statsmodels.iolib.summary2 import summary_col

import mixedext as mx
from mixedext.models.mixedlm.statsmodels_face.summary_columns import TableColumn

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def data():
    """A small scale: variances over sigma^2 are far from variances."""
    sleep = mx.datasets.sleepstudy.load().data
    return sleep.assign(y=sleep["Reaction"] / 1000)


@pytest.mark.parametrize("df_method", [None, "kenward-roger", "z"])
def test_variances_are_those_of_the_data_without_stars(data, df_method):
    some = data.iloc[:-7]
    result = mx.mixedlm("y ~ Days + (Days | Subject)", some).fit(df_method=df_method)
    table = summary_col([result], stars=True, float_format="%.8f").tables[0].iloc[:, 0]
    assert table["Days"] == f"{result.fe_params['Days']:.8f}***"
    names = ["Subject Var", "Subject x Days Cov", "Days Var"]
    shown = [float(table[name]) for name in names]
    cov = result.cov_re.to_numpy()
    np.testing.assert_allclose(shown, cov[[0, 0, 1], [0, 1, 1]], atol=1e-8)
    errors = [float(text.strip("()")) for text in table.iloc[1:10:2]]
    own = result.summary().tables[1]["Std.Err."].astype(float)
    np.testing.assert_allclose(errors[:2], own.iloc[:2], atol=1e-4)
    np.testing.assert_allclose(errors[2:], result.bse_re, atol=1e-8)


def test_models_by_groups_keep_statsmodels_rows(data):
    result = mx.mixedlm("y ~ Days", data, groups="Subject").fit()
    table = summary_col([result], stars=True).tables[0].iloc[:, 0]
    assert table["Subject Var"].rstrip("*") == f"{result.params['Subject Var']:.4f}"


def test_beside_other_models(data):
    ols = smf.ols("y ~ Days", data).fit()
    mixed = mx.mixedlm("y ~ Days + (1 | Subject)", data).fit()
    alone = summary_col([ols], stars=True).tables[0]
    both = summary_col([ols, mixed], stars=True, model_names=["ols", "mixed"]).tables[0]
    assert both["ols"].iloc[:4].tolist() == alone.iloc[:4, 0].tolist()
    assert both["ols"].loc["R-squared"] == alone.loc["R-squared"].iloc[0]


def test_a_column_is_the_results_elsewhere(data):
    result = mx.mixedlm("y ~ Days + (1 | Subject)", data).fit()
    column = TableColumn(result)
    assert column.model is result.model
    assert column.llf == result.llf
    limits = column.conf_int(0.1)
    np.testing.assert_array_equal(limits[:2], result.conf_int(0.1).iloc[:2])
    assert np.isnan(limits[2]).all()
    assert np.isnan([column.pvalues[2], column.tvalues[2]]).all()


def test_statsmodels_function_is_wrapped_once():
    assert summary2._col_params.__wrapped__.__module__ == summary2.__name__
