"""How generalized models are stated: responses, weights, random terms, what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from helpers.herds import cbpp

import mixedext as mx

pytestmark = pytest.mark.formula_engine

FIXED = "period + (1 | herd)"
# glmmTMB(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial)
CBPP = 184.052563729514


@pytest.fixture(scope="module")
def herds():
    data = cbpp()
    data["prop"] = data["incidence"] / data["size"]
    return data.assign(healthy=data["size"] - data["incidence"])


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(3)
    n, group = 120, np.repeat(np.arange(12), 10)
    x, t = rng.normal(size=n), rng.uniform(0.5, 2.0, n)
    mean = t * np.exp(0.5 + 0.3 * x + rng.normal(0, 0.7, 12)[group])
    data = pd.DataFrame({"g": group, "x": x, "t": t, "n": rng.poisson(mean)})
    data["pos"] = rng.gamma(2.0, mean / 2.0)
    data["yes"] = rng.uniform(size=n) < 1 / (1 + np.exp(-x - data["g"] / 6 + 1))
    data["answer"] = np.where(data["yes"], "yes", "no")
    return data.assign(row=range(n), three=pd.Categorical(list("abc") * 40))


@pytest.mark.parametrize(
    ("left", "weights"),
    [
        ("incidence / size", "size"),
        ("prop", "size"),
        ("cbind(incidence, healthy)", None),
        ("cbind(incidence, size - incidence)", None),
        ("incidence + healthy", None),
    ],
)
def test_every_form_of_a_response_is_one_model(herds, left, weights):
    formula = f"{left} ~ {FIXED}"
    for family in ("binomial", sm.families.Binomial(), "binomial(logit)"):
        result = mx.glmm(formula, herds, family=family, weights=weights).fit()
        assert result.deviance == pytest.approx(CBPP, abs=1e-9)
    assert result.model.endog_names == left
    np.testing.assert_allclose(result.model.endog, herds["prop"])


def test_arrays_are_the_same_model_as_a_formula(herds):
    own = mx.glmm(f"incidence / size ~ {FIXED}", herds, "binomial", weights="size")
    x = pd.DataFrame(own.exog, columns=own.exog_names)
    term = mx.RandomTerm(herds["herd"], group="herd")
    one = mx.MixedGLM(
        herds["prop"], x, terms=[term], family="binomial", weights=herds["size"]
    )
    two = mx.MixedGLM(
        herds[["incidence", "healthy"]], x, groups=herds["herd"], family="binomial"
    )
    for model in (one, two):
        result = model.fit()
        assert result.deviance == pytest.approx(CBPP, abs=1e-9)
        np.testing.assert_allclose(result.fe_params, own.fit().fe_params, atol=1e-7)
    assert one.endog_names == "prop"


def test_answers_by_words_and_truth_values(counts):
    found = [
        mx.glmm(f"{left} ~ x + (1 | g)", counts, "binomial").fit().llf
        for left in ("answer", "yes", "(answer == 'yes') * 1")
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-9)
    assert found[0] == pytest.approx(found[2], abs=1e-9)


def test_success_and_failure_exchanged_turn_signs(herds):
    one = mx.glmm(f"cbind(incidence, healthy) ~ {FIXED}", herds, "binomial").fit()
    two = mx.glmm(f"cbind(healthy, incidence) ~ {FIXED}", herds, "binomial").fit()
    np.testing.assert_allclose(one.fe_params, -two.fe_params, atol=1e-6)
    np.testing.assert_allclose(one.theta, two.theta, atol=1e-6)


def test_offset_and_exposure_are_three_ways_to_say_it(counts):
    shown = counts.assign(shift=np.log(counts["t"]))
    found = [
        mx.glmm("n ~ x + (1 | g)", shown, "poisson", exposure="t").fit(),
        mx.glmm("n ~ x + (1 | g)", shown, "poisson", exposure=shown["t"]).fit(),
        mx.glmm("n ~ x + (1 | g)", shown, "poisson", offset="shift").fit(),
        mx.glmm("n ~ x + offset(np.log(t)) + (1 | g)", shown, "poisson").fit(),
    ]
    for result in found[1:]:
        assert result.deviance == pytest.approx(found[0].deviance, abs=1e-9)
    new = shown.iloc[:5]
    for result in (found[0], *found[2:]):
        np.testing.assert_allclose(
            result.predict(new), found[0].fittedvalues[:5], rtol=1e-6
        )
    with pytest.warns(mx.OffsetWarning, match="exposure"):
        alone = found[1].predict(new)
    np.testing.assert_allclose(alone * new["t"], found[0].fittedvalues[:5], rtol=1e-6)
    np.testing.assert_allclose(found[1].predict(new, exposure=new["t"]), alone * new["t"])


def test_weights_of_two_are_every_row_twice(counts):
    formula = "n ~ x + (1 | g)"
    twice = mx.glmm(formula, pd.concat([counts, counts]), "poisson").fit()
    weighted = mx.glmm(formula, counts, "poisson", var_weights=np.full(120, 2)).fit()
    counted = mx.glmm(formula, counts, "poisson", freq_weights=np.full(120, 2)).fit()
    for result in (weighted, counted):
        assert result.deviance == pytest.approx(twice.deviance, abs=1e-8)
        np.testing.assert_allclose(result.bse, twice.bse, rtol=1e-5)
    assert counted.nobs == 240
    assert weighted.nobs == 120


def test_rows_without_trials_say_nothing(herds):
    none = herds.iloc[:2].assign(size=0, incidence=0)
    formula = f"incidence / size ~ {FIXED}"
    both = pd.concat([herds, none], ignore_index=True)
    result = mx.glmm(formula, both, "binomial", weights="size").fit()
    assert result.deviance == pytest.approx(CBPP, abs=1e-9)
    assert result.nobs == 56


def test_missing_values_and_subsets(counts):
    lacking = counts.assign(
        n=counts["n"].where(counts["row"] > 9), t=counts["t"].where(counts["row"] < 110)
    )
    with pytest.raises(mx.MissingDataError, match=r"response 'n' \(10\)"):
        mx.glmm("n ~ x + (1 | g)", lacking, "poisson")
    whole = counts.iloc[10:110]
    dropped = mx.glmm("n ~ x + (1 | g)", lacking, "poisson", exposure="t", missing="drop")
    taken = mx.glmm("n ~ x + (1 | g)", whole, "poisson", exposure="t")
    chosen = counts["row"].between(10, 109)
    subset = mx.glmm("n ~ x + (1 | g)", counts, "poisson", exposure="t", subset=chosen)
    for model in (dropped, subset):
        assert model.nobs == 100
        assert model.fit().deviance == pytest.approx(taken.fit().deviance, abs=1e-9)
    assert list(dropped.fit().fittedvalues.index) == list(whole.index)


def test_random_terms_by_every_notation(counts):
    bars = mx.glmm("n ~ x + (1 | g)", counts, "poisson").fit()
    others = [
        mx.glmm("n ~ x", counts, "poisson", groups="g"),
        mx.glmm("n ~ x", counts, "poisson", groups="g", re_formula="1"),
        mx.glmm("n ~ x", counts, "poisson", vc_formulas={"g": "0 + C(g)"}),
        mx.glmm("n ~ x", counts, "poisson", terms=[mx.RandomTerm(counts["g"], group="g")]),
    ]
    for model in others:
        assert model.fit().deviance == pytest.approx(bars.deviance, abs=1e-8)


def test_words_of_python_are_columns(counts):
    named = counts.rename(columns={"n": "yield", "pos": "lambda"})
    one = mx.glmm("yield ~ x + (1 | g)", named, "poisson").fit()
    assert one.deviance == pytest.approx(
        mx.glmm("n ~ x + (1 | g)", counts, "poisson").fit().deviance
    )
    assert mx.glmm("lambda / t ~ x + (1 | g)", named, "gamma").endog_names == "lambda / t"


def test_dependent_columns_get_no_coefficient(counts):
    with pytest.warns(mx.RankDeficientWarning, match="I"):
        model = mx.glmm("n ~ x + I(2 * x) + (1 | g)", counts, "poisson")
    result = model.fit()
    plain = mx.glmm("n ~ x + (1 | g)", counts, "poisson").fit()
    assert result.deviance == pytest.approx(plain.deviance, abs=1e-9)
    assert np.isnan(result.params.iloc[2])
    assert np.isnan(result.bse.iloc[2])
    assert result.n_params == plain.n_params
    assert "dropped" in str(result.summary())


WRONG = [
    ({"formula": "prop ~ x + (1 | g)"}, ValueError, "give weights="),
    ({"formula": "pos ~ x + (1 | g)"}, ValueError, r"must lie in \[0, 1\]; row 0"),
    ({"family": sm.families.Binomial}, TypeError, r"Binomial\(\)"),
    ({"family": None}, ValueError, "family= is needed"),
    ({"family": "binomal"}, ValueError, "Did you mean 'binomial'"),
    ({"family": "poisson(probit)"}, ValueError, "does not have the link"),
    ({"family": "ordinal"}, ValueError, "OrderedModel"),
    ({"exposure": "t"}, ValueError, "log link"),
    ({"formula": "n ~ x + (1 | g)", "family": "poisson", "exposure": "x"}, ValueError,
     "exposure must be positive"),
    ({"formula": "n ~ x + (1 | g)", "family": "poisson", "weights": "x"}, ValueError,
     "weights must not be negative"),
    ({"freq_weights": "t"}, ValueError, "whole numbers"),
    ({"weights": "t", "var_weights": "t"}, ValueError, "two names of one thing"),
    ({"formula": "three ~ x + (1 | g)"}, ValueError, "ordinal and multinomial"),
    ({"formula": "yes ~ x + (1 | row)"}, mx.DesignError, "variance of .* cannot be told"),
    ({"formula": "yes ~ x"}, ValueError, "statsmodels' GLM"),
    ({"reml": True}, ValueError, "no restricted likelihood"),
    ({"freq_weights": "none"}, ValueError, "no row counts"),
    ({"ziformula": "~ 1"}, ValueError, "not available yet"),
    ({"dispformula": "~ 1"}, ValueError, "not available yet"),
    ({"weightss": "t"}, ValueError, "Did you mean 'weights'"),
    ({"formula": "yes ~ xx + (1 | g)"}, mx.FormulaError, "'yes ~ xx'"),
    ({"formula": "yess ~ x + (1 | g)"}, mx.FormulaError, "no column 'yess'"),
    ({"formula": "x ~ 1 + (1 | g)", "family": "gamma"}, ValueError, "must be positive"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "kind", "said"), WRONG, ids=lambda v: str(v)[:40])
def test_what_is_refused(counts, given, kind, said):
    data = counts.assign(prop=0.3, none=0)
    stated = {"formula": "yes ~ x + (1 | g)", "family": "binomial", **given}
    formula = stated.pop("formula")
    with pytest.raises(kind, match=said) as caught:
        mx.glmm(formula, data, **stated)
    assert "response_row" not in str(caught.value)


def test_a_dispersion_beside_a_term_of_rows_is_named(counts):
    with pytest.warns(mx.UnidentifiedVarianceWarning, match="phi"):
        mx.glmm("pos ~ x + (1 | g) + (1 | row)", counts, "gamma")


def test_terms_that_part_the_rows_alike_are_named(counts):
    data = counts.assign(same=counts["g"].astype(str) + "'")
    with pytest.warns(mx.UnidentifiedVarianceWarning, match="cannot be told apart"):
        mx.glmm("n ~ x + (1 | g) + (1 | same)", data, "poisson")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mx.glmm("n ~ x + (1 | g) + (1 | row)", data, "poisson")


def test_objective_is_on_the_scale_of_the_deviance(herds):
    model = mx.glmm(f"incidence / size ~ {FIXED}", herds, "binomial", weights="size")
    result = model.fit()
    psi = np.concatenate([result.theta, result.fe_params])
    value, gradient = model.objective(psi)
    assert value == pytest.approx(result.deviance, abs=1e-10)
    assert np.abs(gradient).max() < 1e-4
    assert model.loglike(result.params) == pytest.approx(result.llf, abs=1e-8)
    for j in range(len(psi)):
        step = np.zeros(len(psi))
        step[j] = 1e-4
        away = psi + 0.3
        sides = [model.objective(away + s * step)[0] for s in (1, -1)]
        slope = (sides[0] - sides[1]) / 2e-4
        assert slope == pytest.approx(model.objective(away)[1][j], rel=1e-5)
    with pytest.raises(ValueError, match="psi must hold"):
        model.objective(psi[1:])
