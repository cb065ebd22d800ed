"""Names of methods, and tests that all of them share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.paths import RESULTS

import mixedext as mx
from mixedext.inference.fixed_effects.df_methods import (
    ALIASES,
    DF_METHODS,
    FixedTests,
    df_method_name,
    fixed_tests,
)


@pytest.fixture(scope="module")
def fit():
    data = mx.datasets.sleepstudy.load().data
    return mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit().fitted.fit


@pytest.mark.parametrize("name", list(DF_METHODS))
def test_every_method_is_there(fit, name):
    tests = fixed_tests(fit, name)
    assert isinstance(tests, FixedTests)
    assert df_method_name(name) == name
    assert tests.df(np.eye(2)).shape == (2,)
    assert tests.covariance.shape == (2, 2)
    assert tests.f_test([[0, 1]]).df_denom == tests.df([[0, 1]])[0]


def test_every_alias_stands_for_a_method():
    assert set(ALIASES.values()) <= set(DF_METHODS)
    assert df_method_name("KR") == df_method_name("Kenward_Roger") == "kenward-roger"
    assert df_method_name("satt") == df_method_name("Satterthwaite") == "satterthwaite"
    assert df_method_name("between within") == df_method_name("bw") == "between-within"


def test_rows_that_share_a_large_variance():
    """A difference of 1e-8 in their size, which the product of the rows loses."""
    data = mx.datasets.sleepstudy.load().data
    day = data["Days"].to_numpy()
    x = np.column_stack([np.ones(180), day, 1e-9 * (np.arange(180) % 3)])
    model = mx.MixedLM(data["Reaction"], x, terms=[mx.RandomTerm(data["Subject"])])
    fit = model.fit().fitted.fit
    rows = np.array([[0.0, 1.0, 1.0], [0.0, -1.0, 1.0]])
    want = fixed_tests(fit).f_test([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = fixed_tests(fit).f_test(rows)
    assert found.df_num == 2
    assert found.statistic == pytest.approx(want.statistic, rel=1e-6)


def test_unknown_methods_are_named():
    with pytest.raises(ValueError, match=r"df_method='exact' is not known.*kenward-roger"):
        df_method_name("exact")


def test_dependent_rows_as_lmertest():
    """lmerTest 3.1.3, contestMD(m, L): F and df_denom of L of deficient rank.

    Satterthwaite's joint df depend on the rows: pbkrtest, which takes another basis of
    them, has others than lmerTest.
    """
    path = RESULTS / "comparison" / "split_plot.csv"
    data = pd.read_csv(path, dtype={"sub": str, "whole": str, "block": str})
    model = mx.mixedlm("y ~ sub * whole + (1 | block / whole)", data)
    result, eye = model.fit(), np.eye(12)
    for rows, statistic, df_denom in (
        ([*eye[1:3], eye[1] - eye[2], 5 * eye[3]], 3.5909219023, 22.0465745467),
        (
            [100 * eye[1], eye[1] + eye[4], eye[4], eye[6] - eye[7]],
            1.1472107806,
            20.7553745148,
        ),
    ):
        tests = fixed_tests(result.fitted.fit, "satterthwaite")
        found = tests.f_test(np.array(rows))
        assert found.df_num == 3
        np.testing.assert_allclose(found.statistic, statistic, rtol=1e-7)
        np.testing.assert_allclose(found.df_denom, df_denom, rtol=1e-6)
        # a right-hand side that the estimates fulfil
        values = np.array(rows) @ result.fitted.fit.coefficients
        assert abs(tests.f_test(np.array(rows), values).statistic) < 1e-12
        # Kenward-Roger's test is the same for every basis
        tests = fixed_tests(result.fitted.fit, "kenward-roger")
        one, other = tests.f_test(np.array(rows)), tests.f_test(np.array(rows)[[0, 1, 3]])
        if rows[0][1] == 1:
            np.testing.assert_allclose(one.df_denom, other.df_denom, rtol=1e-10)
            np.testing.assert_allclose(one.statistic, other.statistic, rtol=1e-10)


def test_dependent_rows_of_very_different_units(fit):
    rows = np.array([[1.0, 0.0], [0.0, 1e9], [1e-9, 0.0]])
    for name in ("satterthwaite", "kenward-roger", None):
        tests = fixed_tests(fit, name)
        found, plain = tests.f_test(rows), tests.f_test(np.eye(2))
        assert found.df_num == 2
        np.testing.assert_allclose(found.statistic, plain.statistic, rtol=1e-9)


@pytest.mark.formula_engine
def test_a_coefficient_held_at_zero_is_not_tested():
    """The test of a factor is that of its other coefficient, for every type of rows."""
    data = mx.datasets.oats.load().data
    model = mx.mixedlm("yield ~ nitro + Variety + (1 | Block)", data)
    held = model.exog_names.index("Variety[T.Marvellous]")
    free = mx.MixedLMParams.from_components(
        fe_params=np.arange(4) != held, cov_re=np.eye(1)
    )
    result = model.fit(free=free)
    assert result.fe_params.iloc[held] == 0
    want = (result.fe_params / result.bse_fe)["Variety[T.Victory]"] ** 2
    for kind in ("I", "II", "III"):
        row = result.anova(type=kind).loc["Variety"]
        assert row["df_num"] == 1
        np.testing.assert_allclose(row["statistic"], want, rtol=1e-9)
    rows = np.eye(4)[[held, held + 1]]
    rows[0] += 1e-16
    found = fixed_tests(result.fitted.fit).f_test(rows)
    assert found.df_num == 1
    np.testing.assert_allclose(found.statistic, want, rtol=1e-9)


def test_p_values_by_the_normal_law(fit):
    """Of q combinations by chi-squared with q degrees of freedom."""
    found = fixed_tests(fit).f_test(np.eye(2))
    want = fit.coefficients @ np.linalg.solve(fit.covariance, fit.coefficients)
    np.testing.assert_allclose(2 * found.statistic, want, rtol=1e-10)
    near = fixed_tests(fit).f_test(np.eye(2), fit.coefficients - [10.0, 1.0])
    np.testing.assert_allclose(near.pvalue, np.exp(-near.statistic), rtol=1e-10)
