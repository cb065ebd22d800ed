"""Arguments of the fit, its warnings, and refits."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from helpers.herds import cbpp
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx
from mixedext.engine.generalized.fit import GeneralizedFit
from mixedext.models.glmm import fitting

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def model():
    formula = "incidence / size ~ period + (1 | herd)"
    return mx.glmm(formula, cbpp(), family="binomial", weights="size")


def test_nodes_of_quadrature(model):
    # glmer(..., nAGQ = 25) with the constant that its logLik leaves out
    assert model.fit(n_agq=25).llf == pytest.approx(-91.9833690373106, abs=1e-9)
    assert model.fit(n_agq="auto").llf == pytest.approx(-91.98336904, abs=1e-4)
    assert model.fit(n_agq=1).llf > model.fit(n_agq=0).llf


@pytest.mark.parametrize("n_agq", [-1, 1.5, "many", True])
def test_what_is_no_number_of_nodes(model, n_agq):
    with pytest.raises(ValueError, match="n_agq"):
        model.fit(n_agq=n_agq)


def test_quadrature_is_for_one_factor_and_three_columns():
    data = cbpp().assign(row=range(56), x=np.linspace(-1, 1, 56))
    two = mx.glmm("incidence ~ 1 + (1 | herd) + (1 | row)", data, "poisson")
    with pytest.raises(ValueError, match=r"2 grouping factors \(herd, row\)"):
        two.fit(n_agq=5)
    wide = mx.glmm("incidence ~ 1 + (1 + x + I(x**2) + I(x**3) | herd)", data, "poisson")
    with pytest.raises(ValueError, match="4 columns"):
        wide.fit(n_agq=5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reml": True}, "no restricted likelihood"),
        ({"nAGQ": 3}, "n_agq"),
        ({"laplace": "both"}, "laplace"),
        ({"cov_type": "HC0"}, "'nonrobust', 'conditional', 'cluster'"),
        ({"cov_kwds": {"groups": 1}}, "takes no cov_kwds"),
        ({"start_params": [1.0]}, "must hold 5 numbers"),
        ({"start_params": [-1, -1, -1, -1, -0.5]}, "not positive semidefinite"),
    ],
)
def test_what_is_refused(model, given, said):
    with pytest.raises(ValueError, match=said):
        model.fit(**given)


def test_the_start_does_not_matter(model):
    far = model.fit(start_params=[0.0, 0.0, 0.0, 0.0, 2.0])
    assert far.llf == pytest.approx(model.fit().llf, abs=1e-9)
    assert model.fit(reml=False).llf == model.fit().llf


def test_conditional_errors_are_those_without_the_hessian(model):
    # sqrt(diag(vcov(glmer(...), use.hessian = FALSE)))
    known = [0.227890878493587, 0.305385523790377, 0.326049291342098, 0.428794988538244]
    given = model.fit(cov_type="conditional")
    np.testing.assert_allclose(given.bse_fe, known, rtol=1e-6)
    again = model.fit().get_robustcov_results("conditional")
    np.testing.assert_allclose(again.bse_fe, given.bse_fe)
    np.testing.assert_allclose(given.bse.iloc[4:], model.fit().bse.iloc[4:])


def test_separation_is_named():
    data = pd.DataFrame({"g": [1, 2, 3, 4] * 6, "x": [0, 1] * 12})
    data["y"] = [0, 1, 0, 1, 1, 1, 0, 1] * 3
    with pytest.warns(mx.SeparationWarning, match="column x separates 0 from 1"):
        result = mx.glmm("y ~ x + (1 | g)", data, "binomial").fit()
    assert result.convergence.status == "separated"
    assert np.isfinite(result.llf)
    row = result.summary().tables[1].loc["x"].tolist()
    assert row[1:] == [""] * 5


def test_an_information_that_is_not_definite_is_said_when_asked_for(monkeypatch):
    data = pd.DataFrame(
        {"g": np.arange(40) % 8, "n": np.arange(40) % 5 + np.arange(40) % 8}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = mx.glmm("n ~ 1 + (1 | g)", data, "poisson").fit()
    monkeypatch.setattr(GeneralizedFit, "is_definite", False)
    with pytest.warns(mx.InformationWarning, match="no standard errors"):
        assert result.bse.isna().all()


def test_a_variance_of_zero_is_glm_and_a_result():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.arange(60) % 6, "x": rng.normal(size=60)})
    data["n"] = 3
    with pytest.warns(SingularMatrixWarning, match="valid result"):
        result = mx.glmm("n ~ x + (1 | g)", data, "poisson").fit()
    assert result.is_singular
    assert result.convergence.status == "boundary"
    assert result.var_corr["variance"].tolist() == [0.0]


def test_gaussian_identity_is_mixedlm_by_ml():
    data = mx.datasets.sleepstudy.load().data
    formula = "Reaction ~ Days + (Days | Subject)"
    own = mx.glmm(formula, data, family="gaussian").fit()
    linear = mx.mixedlm(formula, data).fit(reml=False)
    assert own.llf == pytest.approx(linear.llf, abs=1e-7)
    np.testing.assert_allclose(own.fe_params, linear.fe_params, rtol=1e-6)
    np.testing.assert_allclose(own.cov_re, linear.cov_re, rtol=1e-4)
    assert own.scale == pytest.approx(linear.scale, rel=1e-5)
    assert own.var_corr["group"].tolist()[-1] == "Residual"
    assert "mixedlm" in str(own.summary())


def test_refits_are_fits_of_new_models(model):
    drawn = model.fit().simulate(2, rng=4)
    data = cbpp()
    for column in drawn:
        fresh = mx.glmm(
            "y ~ period + (1 | herd)",
            data.assign(y=drawn[column]),
            family="binomial",
            weights="size",
        ).fit()
        assert model.refit(drawn[column]).llf == pytest.approx(fresh.llf, abs=1e-8)
    pairs = np.column_stack([data["incidence"], data["size"] - data["incidence"]])
    assert model.refit(pairs).llf == pytest.approx(model.fit().llf, abs=1e-9)
    with pytest.raises(ValueError, match="55 rows"):
        model.refit(drawn[0].iloc[:55])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        model.refit(drawn[0] + 1)


# ---- nodes of a quadrature ----


def _wide(columns):
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.arange(160) // 4, "x": rng.normal(size=160)})
    effect = (6.0 if columns == 1 else 1.5) * rng.normal(size=40)[data["g"]]
    data["z"] = rng.normal(size=160)
    data["y"] = rng.binomial(1, 1 / (1 + np.exp(-effect - data["x"])))
    return data


def test_many_nodes_have_one_answer():
    model = mx.glmm("y ~ x + (1 | g)", _wide(1), family="binomial")
    found = [model.fit(n_agq=n).llf for n in (150, 251, 400, 500)]
    assert found == pytest.approx([found[-1]] * 4, abs=1e-8)
    auto = model.fit(n_agq="auto")
    assert auto.llf == pytest.approx(found[-1], abs=1e-4)
    assert auto.n_agq in (15, 31, 63, 127, 255)


@pytest.mark.parametrize(
    ("formula", "n_agq", "said"),
    [
        ("y ~ x + (1 | g)", 501, "more than 500 nodes change no digit; use at most 500"),
        ("y ~ x + (x + z | g)", 101, "3 columns would have 1,030,301 nodes .* at most 100"),
    ],
)
def test_more_nodes_than_there_can_be(formula, n_agq, said):
    model = mx.glmm(formula, _wide(3), family="binomial")
    with pytest.raises(ValueError, match=said):
        model.fit(n_agq=n_agq)


def test_auto_says_where_it_stops(monkeypatch):
    monkeypatch.setattr(fitting, "MOST_OF_AUTO", 10)
    model = mx.glmm("y ~ x + (1 | g)", _wide(1), family="binomial")
    with pytest.warns(mx.PrecisionWarning, match=r"stopped at 7 nodes a dimension"):
        assert model.fit(n_agq="auto").n_agq == 7


@pytest.mark.parametrize("rows", [2, 10])
def test_levels_that_are_alike_within(rows):
    """Laplace's deviance has a minimum where the likelihood has none."""
    data = pd.DataFrame({"g": np.repeat(np.arange(12), rows)})
    data["y"], data["h"] = data["g"] % 2, np.arange(len(data)) % 3
    said = "the variance of .1 . g. runs off"
    with pytest.warns(mx.SeparationWarning, match=said):
        result = mx.glmm("y ~ 1 + (1 | g)", data, family="binomial").fit()
    assert result.convergence.status == "separated"
    mixed = data["h"] == 0  # levels that have both
    data["y"] = data["y"].where(~mixed, 1 - data["y"])
    other = mx.glmm("y ~ 1 + (1 | g)", data, family="binomial")
    with warnings.catch_warnings():
        warnings.simplefilter("error", mx.SeparationWarning)
        warnings.simplefilter("ignore", SingularMatrixWarning)
        assert other.fit().convergence.status in ("interior", "boundary")
