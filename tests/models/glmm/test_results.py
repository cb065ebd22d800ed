"""Results of generalized models: against R, and their names against each other."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from helpers.herds import cbpp

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def model():
    formula = "incidence / size ~ period + (1 | herd)"
    return mx.glmm(formula, cbpp(), family="binomial", weights="size")


@pytest.fixture(scope="module")
def result(model):
    return model.fit()


def test_estimates_and_errors(result):
    # glmmTMB(..., binomial), polished by Newton steps; summary()
    estimates = [-1.39853214237341, -0.992332734873591, -1.12867208416873, -1.58031388517]
    errors = [0.232471992262035, 0.306642497892217, 0.326637850524152, 0.427436586600097]
    np.testing.assert_allclose(result.fe_params, estimates, atol=1e-6)
    np.testing.assert_allclose(result.bse_fe, errors, rtol=1e-6)
    assert result.cov_re.iloc[0, 0] == pytest.approx(0.412499768155947, abs=1e-6)
    assert list(result.params.index) == [*result.model.exog_names, "herd Var"]
    assert result.params["herd Var"] == result.cov_re.iloc[0, 0]
    # AIC, BIC of glmer: 194.0525637, 204.1793222
    assert result.aic == pytest.approx(194.0525637, abs=1e-6)
    assert result.bic == pytest.approx(204.1793222, abs=1e-6)
    # theta's error by Richardson's Hessian of the same deviance
    variance = result.cov_params().loc["herd Var", "herd Var"] / (2 * result.theta[0]) ** 2
    assert variance == pytest.approx(0.031884446188383, rel=1e-6)


def test_rows_are_those_of_glmer(result):
    # fitted(), residuals(type = ) of glmer: the first rows and the sum of squares
    known = {
        "fittedvalues": ([0.3082076458, 0.1417482584, 0.1259575202], 1.134799819),
        "resid_deviance": ([-1.438031888, 0.9887431316, 2.356997919], 73.47173820),
        "resid_pearson": ([-1.339861645, 1.075125847, 2.879615750], 63.07828581),
        "resid_working": ([-0.7755081286, 0.8898206239, 2.892910277], 85.35816619),
    }
    for name, (first, square) in known.items():
        values = getattr(result, name)
        np.testing.assert_allclose(values[:3], first, rtol=1e-5)
        assert (values**2).sum() == pytest.approx(square, rel=1e-5)
    assert result.pearson_chi2 == pytest.approx(63.07828581, rel=1e-6)
    np.testing.assert_allclose(
        result.resid_response, result.model.endog - result.mu, atol=1e-12
    )


def test_modes_and_their_errors(result):
    # ranef(glmmTMB), condVar of glmer
    modes = [0.590020033270554, -0.298897212599039, 0.406255573557442]
    given = [0.121288546055, 0.133632797114557, 0.088398280535011]
    np.testing.assert_allclose(result.ranef()["Intercept"][:3], modes, atol=1e-6)
    np.testing.assert_allclose(result.ranef_cov()["Intercept"][:3], given, rtol=1e-5)
    whole = result.ranef_cov(given_parameters=False)
    assert (whole > result.ranef_cov()).all(axis=None)
    assert result.random_effects[1].iloc[0] == result.ranef().iloc[0, 0]
    assert result.random_effects_cov[1].iloc[0, 0] == result.ranef_cov().iloc[0, 0]
    coef = result.coef()
    assert coef.iloc[0, 0] == result.ranef().iloc[0, 0] + result.fe_params["Intercept"]
    assert ((result.reliability() > 0) & (result.reliability() < 1)).all(axis=None)


def test_several_terms_of_one_factor_have_joint_errors():
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(20), 12)
    x = rng.normal(size=240)
    b = rng.normal(0, [0.6, 0.4], (20, 2))
    y = rng.poisson(np.exp(0.5 + b[group, 0] + (0.2 + b[group, 1]) * x))
    data = pd.DataFrame({"g": group, "x": x, "y": y})
    apart = mx.glmm("y ~ x + (1 | g) + (0 + x | g)", data, "poisson").fit()
    one = mx.glmm("y ~ x + (x || g)", data, "poisson").fit()
    assert apart.llf == pytest.approx(one.llf, abs=1e-8)
    np.testing.assert_allclose(apart.ranef_cov(), one.ranef_cov(), atol=1e-6)
    whole = apart.ranef_cov(given_parameters=False)
    np.testing.assert_allclose(
        whole, one.ranef_cov(given_parameters=False), rtol=1e-4, atol=1e-6
    )


def test_tests_are_by_the_normal_law(result):
    test = result.t_test("period[T.2] = 0")
    assert test.distribution == "norm"
    assert float(np.squeeze(test.statistic)) == pytest.approx(result.tvalues["period[T.2]"])
    terms = result.wald_test_terms().table
    assert terms.loc["period", "df_constraint"] == 3
    limits = result.conf_int()
    margin = 1.959963984540054 * result.bse
    np.testing.assert_allclose(limits[1] - limits[0], 2 * margin)
    with pytest.raises(ValueError, match="linear mixed models"):
        result.t_test("period[T.2] = 0", df_method="satterthwaite")
    assert result.model.fit(use_t=True).t_test("period[T.2] = 0").df_denom == 52


def test_predictions(result):
    new = pd.DataFrame({"period": [1, 2], "herd": [1, 1]})
    np.testing.assert_allclose(result.predict(new), result.fittedvalues[:2])
    population = result.predict(new, conditional=False, which="linear")
    np.testing.assert_allclose(population[0], result.fe_params["Intercept"])
    strange = new.assign(herd=[1, 99])
    with pytest.raises(ValueError, match="99"):
        result.predict(strange)
    zero = result.predict(strange, new_levels="zero", which="linear")
    assert zero[1] == pytest.approx(population[1])
    assert np.isnan(result.predict(strange, new_levels="missing")[1])
    with pytest.raises(ValueError, match="which"):
        result.predict(new, which="median")


def test_dispersion_stands_last_and_has_an_error():
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(25), 8)
    mean = np.exp(1 + rng.normal(0, 0.5, 25)[group])
    data = pd.DataFrame({"g": group, "n": rng.poisson(mean * rng.gamma(2, 0.5, 200))})
    result = mx.glmm("n ~ 1 + (1 | g)", data, "negative binomial").fit()
    assert list(result.params.index) == ["Intercept", "g Var", "alpha"]
    assert result.params["alpha"] == result.dispersion
    assert result.bse["alpha"] == result.dispersion_se > 0
    assert result.scale == 1.0
    again = result.model.fit(start_params=result.params)
    assert again.llf == pytest.approx(result.llf, abs=1e-9)
    step, llf = 1e-3, result.model.loglike
    here = result.params.to_numpy()
    info = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            e, f = np.eye(3)[i] * step, np.eye(3)[j] * step
            info[i, j] = -(
                llf(here + e + f)
                - llf(here + e - f)
                - llf(here - e + f)
                + llf(here - e - f)
            ) / (4 * step**2)
    np.testing.assert_allclose(
        np.linalg.inv(info), result.cov_params(), rtol=1e-3, atol=1e-6
    )


def test_simulated_responses_are_such_responses(result):
    drawn = result.simulate(200, rng=1)
    assert drawn.shape == (56, 200)
    successes = drawn.mul(result.model.n_trials, axis=0)
    np.testing.assert_allclose(successes, np.round(successes), atol=1e-9)
    given = result.simulate(2000, rng=2, conditional=True)
    error = np.sqrt(result.fittedvalues * (1 - result.fittedvalues) / result.model.n_trials)
    assert (np.abs(given.mean(axis=1) - result.fittedvalues) < 5 * error / 2000**0.5).all()
    assert drawn.equals(result.simulate(200, rng=1))


def test_pickled_results_are_whole(result):
    again = pickle.loads(pickle.dumps(result))
    assert str(again.summary()) == str(result.summary())
    np.testing.assert_array_equal(again.bse, result.bse)
    np.testing.assert_array_equal(again.fittedvalues, result.fittedvalues)
    np.testing.assert_array_equal(
        again.ranef_cov(given_parameters=False), result.ranef_cov(given_parameters=False)
    )
    drawn = result.simulate(1, rng=3)[0]
    assert again.model.refit(drawn).llf == result.model.refit(drawn).llf


def test_without_data(model, tmp_path):
    whole, less = (
        model.fit(),
        mx.glmm(model.formula, cbpp(), family="binomial", weights="size").fit(),
    )
    less.save(tmp_path / "fit.pkl", remove_data=True)
    for kept in (less, mx.load(tmp_path / "fit.pkl")):
        assert str(kept.summary()) == str(whole.summary())
        np.testing.assert_allclose(kept.ranef_cov(), whole.ranef_cov())
        new = pd.DataFrame({"period": [1, 2], "herd": [1, 1]})
        np.testing.assert_allclose(kept.predict(new), whole.predict(new))
        assert kept.pearson_chi2 == pytest.approx(whole.pearson_chi2)
        for name in ("resid_pearson", "fittedvalues"):
            with pytest.raises(ValueError, match="data of this model were removed"):
                getattr(kept, name)
        with pytest.raises(ValueError, match="data of this model were removed"):
            kept.model.fit()


def test_names_of_other_programs(result):
    with pytest.raises(AttributeError, match="fe_params"):
        _ = result.fixef
    with pytest.raises(AttributeError, match=r"write \.fit\(\)\.llf"):
        _ = result.model.llf


def test_summary_and_text(result):
    text = str(result.summary())
    for part in ("binomial", "logit", "Laplace", "observed", "184.0526", "interior"):
        assert part in text
    assert "25 nodes" in str(result.model.fit(n_agq=25).summary())
    assert "n_agq=1" in str(result.model.fit(n_agq=0).summary())
    assert "<table" in result._repr_html_()
    short = str(result)
    assert "binomial with logit link (Laplace)" in short
    assert "56 rows; herd: 15 levels" in short
    named = result.summary(yname="y", xname_fe=list("abcd"), xname_re=["v"]).tables
    assert list(named[1].index) == [*"abcd", "v"]
    with pytest.raises(ValueError, match="length 4"):
        result.summary(xname_fe=["a"])


def test_wide_effects_are_told_to_need_nodes():
    rng = np.random.default_rng(8)
    group = np.repeat(np.arange(60), 4)
    y = rng.uniform(size=240) < 1 / (1 + np.exp(-rng.normal(0, 4, 60)[group]))
    model = mx.MixedGLM(y * 1, np.ones((240, 1)), groups=group, family="binomial")
    assert "n_agq='auto'" in str(model.fit().summary())
    assert "n_agq='auto'" not in str(model.fit(n_agq=31).summary())
