"""Degrees of freedom where none were asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.base._penalties import L2
from statsmodels.tools.sm_exceptions import ConvergenceWarning

import mixedext as mx
from mixedext.engine.information import expected
from mixedext.inference.fixed_effects import default_method

pytestmark = pytest.mark.formula_engine

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep():
    return mx.datasets.sleepstudy.load().data


@pytest.fixture(scope="module")
def model(sleep):
    return mx.mixedlm(FORMULA, sleep)


def wide(k, n=4000, groups=100):
    """k correlated random coefficients: k (k + 1) / 2 variance parameters."""
    rng = np.random.default_rng(k)
    x = rng.normal(size=(n, k))
    data = pd.DataFrame(x, columns=[f"x{i}" for i in range(k)])
    data["g"] = rng.integers(0, groups, n)
    data["y"] = (x * rng.normal(size=(groups, k))[data["g"]]).sum(1) + rng.normal(size=n)
    columns = " + ".join(data.columns[:k])
    return mx.mixedlm(f"y ~ {columns} + (0 + {columns} | g)", data)


def test_models_in_bars_and_by_terms(model, sleep):
    x = np.column_stack([np.ones(len(sleep)), sleep["Days"]])
    terms = [mx.RandomTerm(sleep["Subject"], x, group="Subject")]
    for result in (
        model.fit(),
        mx.MixedLM(sleep["Reaction"], x, terms=terms).fit(),
        model.fit(reml=False),
        mx.mixedlm("Reaction ~ Days", sleep, groups="Subject").fit(df_method="satt"),
    ):
        assert (result.df_method, result.use_t) == ("satterthwaite", True)
    result = model.fit()
    satt = result.fixed_effects_inference("satterthwaite")
    np.testing.assert_allclose(satt.df, 17, rtol=1e-9)
    # lmerTest's table: 6.824597, 1.545790, t 36.838 and 6.771
    np.testing.assert_allclose(result.bse_fe, [6.824557, 1.545789], rtol=1e-5)
    np.testing.assert_allclose(result.tvalues.iloc[:2], [36.8384, 6.7715], rtol=1e-4)
    np.testing.assert_array_equal(result.pvalues.iloc[:2], satt.pvalue)
    np.testing.assert_allclose(result.conf_int().iloc[:2], satt.conf_int())
    assert result.t_test("Days = 0").df_denom == pytest.approx(17)
    assert result.f_test("Days = 0").df_denom == pytest.approx(17)
    assert result.wald_test("Days = 0", scalar=True).df_denom == pytest.approx(17)
    assert result.wald_test_terms().table["df_denom"].to_numpy() == pytest.approx(17)
    for table in (result.anova(), result.drop1()):
        assert table["df_denom"].to_numpy() == pytest.approx(17)
        assert "satterthwaite" in str(table)
    assert "satterthwaite" in result.summary().tables[0].to_string()


def test_z_where_it_is_asked_for(model):
    own, z = model.fit(), model.fit(df_method="z")
    assert (z.df_method, z.use_t) == ("z", False)
    assert np.isinf(z.fixed_effects_inference().df).all()
    np.testing.assert_array_equal(own.conf_int(df_method="z"), z.conf_int())
    np.testing.assert_allclose(
        own.t_test(np.eye(2), df_method="z").pvalue, z.pvalues.iloc[:2], rtol=1e-10
    )
    assert np.isinf(own.anova(df_method="z")["df_denom"]).all()
    assert np.isinf(own.drop1(df_method="z")["df_denom"]).all()
    assert "df_denom" not in own.wald_test_terms(df_method="z").table
    assert own.wald_test("Days = 0", df_method="z", scalar=True).distribution == "chi2"
    assert str(own.summary(df_method="z")) == str(z.summary())
    with pytest.raises(ValueError, match="use_t=True asks for t, df_method='z'"):
        model.fit(df_method="z", use_t=True)


def test_use_t_is_statsmodels(model):
    assert model.fit(use_t=True).fixed_effects_inference().df.tolist() == [178.0] * 2
    assert model.fit(use_t=False).df_method == "z"
    assert model.fit(use_t=True, df_method="kr").df_method == "kenward-roger"


def test_models_by_groups_are_statsmodels(sleep):
    for reml in (True, False):
        result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject").fit(reml=reml)
        assert (result.df_method, result.use_t) == ("z", False)
        assert result.f_test("Days = 0").df_denom == 178
    both = mx.mixedlm("Reaction ~ Days + (1 | Days)", sleep, groups="Subject")
    with pytest.warns(UserWarning, match="singular"):
        assert both.fit().df_method == "satterthwaite"


def test_models_without_random_terms_are_exact():
    pulp = mx.datasets.pulp.load().data
    result = mx.mixedlm("bright ~ operator", pulp).fit()
    assert result.df_method == "residual"
    ols = smf.ols("bright ~ operator", pulp).fit()
    np.testing.assert_allclose(result.pvalues, ols.pvalues, rtol=1e-9)
    np.testing.assert_allclose(result.conf_int(), ols.conf_int(), rtol=1e-9)
    for row in (result.anova().iloc[0], result.drop1().iloc[0]):
        assert row[["df_num", "df_denom"]].tolist() == [3, 16]
        assert row["statistic"] == pytest.approx(4.204, abs=5e-4)
        assert row["pvalue"] == pytest.approx(0.0226, abs=5e-5)
    test = result.joint_tests().iloc[0]
    assert test["pvalue"] == pytest.approx(0.0226, abs=5e-5)
    assert (result.emmeans("operator").df == 16).all()


def test_a_fit_that_failed(model):
    start = model.fit(start_params=[1.0, 0.0, 0.1], do_cg=False)
    with pytest.warns(ConvergenceWarning):
        early = model.fit(start_params=[9.0, 0.0, 9.0], maxiter=1)
    for result in (start, early):
        assert not result.converged
        assert result.df_method == "z"
        for shown in (result.summary(), result.anova(), result.drop1()):
            assert "the fit has not converged" in str(shown)
    with pytest.warns(mx.InformationWarning, match="not positive definite"):
        asked = early.anova(df_method="satterthwaite")  # an argument is an order
    assert np.isfinite(asked["df_denom"]).all()
    assert "not converged, and" not in str(asked)


def test_held_and_penalized_parameters(model, sleep):
    penalized = model.fit(fe_pen=L2(np.ones(2)))
    intercepts = mx.mixedlm("Reaction ~ Days + (1 | Subject)", sleep)
    free = mx.MixedLMParams.from_components(np.ones(2), np.zeros((1, 1)))
    held = intercepts.fit(start_params=[0.7], free=free)
    l1 = intercepts.fit_regularized(alpha=[0.0, 0.1])
    for result in (penalized, held, l1):
        assert result.df_method == "z"
        assert "parameters were held or penalized" in str(result.summary())
        assert result.fit_log is not None
    with pytest.raises(ValueError, match="use df_method='residual' or 'z'"):
        held.t_test("Days = 0", df_method="satterthwaite")
    assert held.t_test("Days = 0", df_method="residual").df_denom == 178


@pytest.mark.parametrize("kind", ["oim", "CR0", "CR1", "CR2"])
def test_other_covariances_bring_their_own(model, kind):
    result = model.fit()
    other = result.get_robustcov_results(kind)
    assert (other.df_method is None) == other.use_t == (kind == "CR2")
    back = other.get_robustcov_results("nonrobust")
    assert back.df_method == "satterthwaite"
    np.testing.assert_array_equal(back.pvalues, result.pvalues)
    np.testing.assert_array_equal(other.pvalues, model.fit(cov_type=kind).pvalues)
    by_t = result.get_robustcov_results(kind, use_t=True)
    assert by_t.use_t
    assert np.isfinite(by_t.fixed_effects_inference().df).all()


def test_boundary_fits_hold_what_is_there():
    data = mx.datasets.dyestuff2.load().data
    with pytest.warns(UserWarning, match="singular"):
        result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    assert result.df_method == "satterthwaite"
    assert result.t_test([[1]]).df_denom == pytest.approx(29)


def test_nothing_is_computed_before_it_is_asked_for(sleep, monkeypatch):
    made = []
    known = expected.information_along
    monkeypatch.setattr(
        expected, "information_along", lambda *given: made.append(1) or known(*given)
    )
    result = mx.mixedlm(FORMULA, sleep).fit()
    assert result.df_method == "satterthwaite"
    for name in ("fe_params", "bse_fe", "llf", "random_effects"):
        assert getattr(result, name) is not None
    assert "Days" in repr(result)
    assert not made
    assert np.isfinite(result.pvalues).all()
    assert made == [1]
    for shown in (result.anova(), result.summary(), result.conf_int()):
        assert len(str(shown))
    assert made == [1]


def test_out_of_all_proportion_to_the_fit():
    result = wide(14).fit()
    assert result.df_method == "z"
    note = "times the work of the fit; ask for them by df_method='satterthwaite'"
    for shown in (result.summary(), result.anova(), result.emmeans("1")):
        assert note in str(shown)
    assert wide(4).fit().df_method == "satterthwaite"


def test_an_argument_is_an_order_at_any_cost(monkeypatch, model):
    monkeypatch.setattr(default_method, "MOST_TEST_WORK", 0.0)
    assert model.fit().df_method == "z"
    assert model.fit(df_method="satterthwaite").df_method == "satterthwaite"
    with mx.option_context(df_method="satterthwaite"):
        assert model.fit().df_method == "satterthwaite"
    asked = model.fit().t_test("Days = 0", df_method="satterthwaite")
    assert asked.df_denom == pytest.approx(17)


def test_step_follows_the_fit():
    oats = mx.datasets.oats.load().data
    model = mx.mixedlm("yield ~ nitro + Variety + (1 | Block/Variety)", oats)
    own = model.fit().step(verbose=False)
    assert "satterthwaite" in str(own.fixed)
    assert own.model.df_method == "satterthwaite"
    want = model.fit(df_method="z").step(df_method="satterthwaite", verbose=False)
    pd.testing.assert_frame_equal(own.fixed, want.fixed)
    z = model.fit(df_method="z").step(verbose=False)
    assert np.isinf(z.fixed["df_denom"]).all()
    assert z.model.df_method == "z"


def test_statistics_of_a_bootstrap_see_the_tests_of_the_fit(model):
    def degrees(result):
        return float(result.fixed_effects_inference().df[1])

    for df_method in ("residual", "z", None):
        result = model.fit(df_method=df_method)
        boot = result.bootstrap_parametric(2, degrees, rng=1)
        values = boot.replicates["statistic"]
        own = degrees(result)
        if df_method is None:
            assert (values < 170).all()
        else:
            assert (values == own).all()


@pytest.mark.parametrize("formula", ["y ~ x", "y ~ x + (1 | half)"])
def test_beside_a_residual_covariance_satterthwaites(formula):
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=60), "x": rng.normal(size=60)})
    data["subject"], data["visit"] = np.divmod(np.arange(60), 4)
    data["half"] = data["subject"] // 3
    data["y"] += 2 * rng.normal(size=5)[data["half"]]
    stated = {"residual": "ar1(visit | subject)"}
    model = mx.mixedlm(formula, data, **stated)
    result = model.fit()
    assert result.df_method == "satterthwaite"
    assert model.fit(df_method="z").df_method == "z"
    grouped = mx.MixedLM.from_formula("y ~ x", data, groups="half", **stated).fit()
    assert grouped.df_method == "satterthwaite"
