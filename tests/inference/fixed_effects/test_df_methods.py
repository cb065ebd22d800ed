"""Names of methods, and tests that all of them share."""

from __future__ import annotations

import inspect

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


# ---- Kenward and Roger's information ----


def _takers():
    """Names of public functions with ``df_method``."""
    for kind in (mx.MixedLM, mx.MixedLMResults):
        for name, function in inspect.getmembers(kind, inspect.isfunction):
            if "df_method" in inspect.signature(function).parameters:
                yield kind.__name__, name, inspect.signature(function)


def test_information_goes_wherever_df_method_does():
    takers = list(_takers())
    assert {"fit", "summary", "emmeans", "t_test", "anova"} <= {t[1] for t in takers}
    for kind, name, signature in takers:
        assert "information" in signature.parameters, f"{kind}.{name}"


@pytest.fixture(scope="module")
def uneven():
    """A model with several terms, of unbalanced data."""
    data = mx.datasets.oats.load().data
    data = data[np.arange(len(data)) % 3 < 2].reset_index(drop=True)
    model = mx.mixedlm("yield ~ nitro + Variety + (1 | Block / Variety)", data)
    return model.fit(df_method="kr"), model.fit(df_method="kr", information="observed")


ASKED = {
    "fixed_effects_inference": lambda r, **o: r.fixed_effects_inference(**o).df,
    "t_test": lambda r, **o: r.t_test(np.eye(4), **o).df_denom,
    "wald_test": lambda r, **o: r.wald_test(np.eye(4)[2:], scalar=True, **o).df_denom,
    "f_test": lambda r, **o: r.f_test(np.eye(4)[2:], **o).df_denom,
    "wald_test_terms": lambda r, **o: r.wald_test_terms(**o).table["df_denom"],
    "conf_int": lambda r, **o: r.conf_int(**o).loc["nitro"],
    "summary": lambda r, **o: [float(d) for d in r.summary(**o).tables[1]["df"][:4]],
    "anova": lambda r, **o: r.anova(**o)["df_denom"],
    "drop1": lambda r, **o: r.drop1(**o)["df_denom"],
    "step": lambda r, **o: r.step(
        reduce_random=False, reduce_fixed=False, verbose=False, **o
    ).fixed["df_denom"],
    "emmeans": lambda r, **o: r.emmeans("Variety", **o).table["df"],
    "emtrends": lambda r, **o: r.emtrends("Variety", "nitro", **o).table["df"],
    "joint_tests": lambda r, **o: r.joint_tests(**o)["df_denom"],
    "kenward_roger": lambda r, **o: (
        r.kenward_roger(np.eye(4)[2:], information=o.get("information")).df_denom
    ),
    "compare_kr_test": lambda r, **o: (
        r.compare_kr_test(np.eye(4)[2:], information=o.get("information")).df_denom
    ),
}


@pytest.mark.formula_engine
@pytest.mark.parametrize("name", ASKED)
def test_information_is_heeded_by(uneven, name):
    """By an argument of the function as by that of ``fit``."""
    found, (_, observed) = ASKED[name], uneven
    one, two = (np.asarray(found(r), float) for r in uneven)
    assert (np.abs(two / one - 1) > 1e-4).any()
    for result in uneven:
        for options in ({}, {"df_method": "kr"}):
            got = found(result, information="expected", **options)
            np.testing.assert_allclose(np.asarray(got, float), one, rtol=1e-12)
            got = found(result, information="observed", **options)
            np.testing.assert_allclose(np.asarray(got, float), two, rtol=1e-12)
    # the fit's, where only the method is named again
    np.testing.assert_allclose(np.asarray(found(observed, df_method="kr"), float), two)


@pytest.mark.formula_engine
def test_tables_name_the_information(uneven):
    for result, name in zip(uneven, ("expected", "observed"), strict=True):
        said = f"kenward-roger ({name} information)"
        assert result.df_description() == said
        assert said in str(result.summary())
        assert said in str(result.anova())
        assert said in str(result.drop1())
        assert said in str(result.emmeans("Variety"))
        assert said in str(result.joint_tests())
        assert said in str(result.step(reduce_random=False, verbose=False).fixed)
    row = np.eye(4)[[1]]
    assert "kenward-roger, observed" in str(uneven[1].kenward_roger(row))
    assert "(kenward-roger)" in str(uneven[0].compare_kr_test(row))


@pytest.mark.formula_engine
@pytest.mark.parametrize("method", ["z", "satterthwaite", "residual", "containment", "bw"])
def test_methods_without_a_choice_of_information_refuse_it(uneven, method):
    expected, _ = uneven
    match = rf"information='observed' .*'kenward-roger'.*{df_method_name(method)}"
    with pytest.raises(ValueError, match=match):
        expected.anova(df_method=method, information="observed")
    with pytest.raises(ValueError, match=match):
        expected.model.fit(df_method=method, information="observed")
    plain = expected.model.fit(df_method=method)
    with pytest.raises(ValueError, match=match):
        plain.emmeans("Variety", information="observed")


@pytest.mark.formula_engine
def test_information_and_other_covariances(uneven):
    expected, _ = uneven
    with pytest.raises(ValueError, match="a cluster-robust covariance, which has none"):
        expected.model.fit(cov_type="CR2", information="observed")
    robust = expected.model.fit(use_t=False).get_robustcov_results("CR1", use_t=True)
    with pytest.raises(ValueError, match="information='expected'"):
        robust.anova(information="expected")
    with pytest.raises(ValueError, match="covariance of your own"):
        expected.t_test([[0, 1, 0, 0]], cov_p=np.eye(6), information="expected")
    for method in ("profile", "bootstrap"):
        with pytest.raises(ValueError, match=f"'{method}' has no use for information"):
            expected.conf_int(method=method, information="observed")
        with pytest.raises(ValueError, match=f"'{method}' has no use for df_method"):
            expected.conf_int(method=method, df_method="kr")
    with pytest.raises(ValueError, match="test='lrt' has no use for information"):
        expected.drop1(test="lrt", information="observed")
    with pytest.raises(ValueError, match="use 'expected' or 'observed'"):
        expected.anova(information="Fisher")
    with pytest.raises(ValueError, match="the method here is df_method='z'"):
        expected.t_test([[0, 1, 0, 0]], use_t=False, information="observed")


def test_by_default_the_expected_information(uneven):
    """Also where the fit's method is another."""
    plain = uneven[0].model.fit(df_method="satterthwaite")
    want = uneven[0].fixed_effects_inference().df
    np.testing.assert_allclose(plain.fixed_effects_inference("kr").df, want, rtol=1e-12)
    np.testing.assert_allclose(plain.cov_params_kr, uneven[0].cov_params_kr, rtol=1e-12)
    assert (uneven[1].cov_params_kr != uneven[0].cov_params_kr).any(axis=None)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Kenward-Roger-Linear", "kenward-roger-linear"),  # mmrm
        ("kr-linear", "kenward-roger-linear"),
        ("KR(LINEAR)", "kenward-roger-linear"),  # SAS
        ("kr(firstorder)", "kenward-roger-linear"),
        ("KR2", "kenward-roger-2009"),
        ("kr_2009", "kenward-roger-2009"),
        ("inner-outer", "inner-outer"),
        ("BetWithin", "between-within"),
    ],
)
def test_names_of_other_programs(given, name):
    assert df_method_name(given) == name
    assert name in DF_METHODS
