"""Likelihood-ratio tests of generalized models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from helpers.herds import cbpp
from scipy import stats

import mixedext as mx
from mixedext.exceptions import NestingWarning

pytestmark = pytest.mark.formula_engine


def glmm(formula="period", random="(1 | herd)", **given):
    text = f"incidence / size ~ {formula} + {random}"
    model = mx.glmm(text, cbpp(), family="binomial", weights="size")
    return model.fit(**given)


@pytest.fixture(scope="module")
def large():
    return glmm()


def test_fixed_terms(large):
    small = glmm("1")
    table = mx.anova(small, large)
    # glmer: anova(m0, m1) of lme4's cbpp
    assert table["statistic"].iloc[1] == pytest.approx(25.61, abs=0.005)
    assert table["df"].iloc[1] == 3
    test = large.compare_lr_test(small)
    assert test.statistic == pytest.approx(2 * (large.llf - small.llf))
    assert test.pvalue == pytest.approx(stats.chi2.sf(test.statistic, 3))
    row = large.drop1().loc["period"]
    assert row["statistic"] == pytest.approx(test.statistic, rel=1e-8)
    assert row["aic"] == pytest.approx(small.aic)


@pytest.mark.parametrize("response", ["incidence + healthy", "prop"])
def test_the_model_without_random_effects_is_glm(large, response):
    data = cbpp().assign(healthy=lambda d: d["size"] - d["incidence"])
    data["prop"] = data["incidence"] / data["size"]
    weights = {"var_weights": data["size"]} if response == "prop" else {}
    family = sm.families.Binomial()
    plain = smf.glm(f"{response} ~ period", data, family=family, **weights).fit()
    test = large.compare_lr_test(plain)
    whole = smf.glm("incidence + healthy ~ period", data, family=family).fit()
    assert test.statistic == pytest.approx(2 * (large.llf - whole.llf), rel=1e-9)
    # one variance on the boundary
    assert test.pvalue == pytest.approx(stats.chi2.sf(test.statistic, 1) / 2)
    table = large.ranova()
    assert table["statistic"].iloc[1] == pytest.approx(test.statistic, rel=1e-8)
    assert table["pvalue"].iloc[1] == pytest.approx(test.pvalue, rel=1e-6)
    assert mx.anova(plain, large)["pvalue"].iloc[1] == pytest.approx(test.pvalue)


@pytest.mark.parametrize(("family", "own"), [("gamma", "Gamma"), ("poisson", "Poisson")])
def test_glm_of_other_families(family, own):
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.repeat(range(12), 8), "x": rng.normal(size=96)})
    mean = np.exp(1 + 0.3 * data["x"] + rng.normal(0, 0.5, 12)[data["g"]])
    gamma = family == "gamma"
    data["y"] = rng.gamma(2, mean / 2) if gamma else rng.poisson(mean)
    fit = mx.glmm("y ~ x + (1 | g)", data, family=f"{family}(log)").fit()
    link = sm.families.links.Log()
    plain = smf.glm("y ~ x", data, family=getattr(sm.families, own)(link)).fit()
    ranova = fit.ranova()["statistic"].iloc[1]
    assert fit.compare_lr_test(plain).statistic == pytest.approx(ranova, rel=1e-5)
    assert ranova > 0


def test_slopes_are_tested_by_the_mixture():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(range(25), 8), "x": np.tile(range(8), 25) / 4 - 1})
    eta = (
        0.5
        + rng.normal(0, 0.6, 25)[data["g"]]
        + rng.normal(0, 0.4, 25)[data["g"]] * data["x"]
    )
    data["y"] = rng.poisson(np.exp(eta))
    fit = mx.glmm("y ~ x + (x | g)", data, family="poisson").fit()
    small = mx.glmm("y ~ x + (1 | g)", data, family="poisson").fit()
    table = fit.ranova()
    statistic = 2 * (fit.llf - small.llf)
    row = table.loc["x in (1 + x | g)"]
    assert row["statistic"] == pytest.approx(statistic, rel=1e-6)
    wanted = (stats.chi2.sf(statistic, 1) + stats.chi2.sf(statistic, 2)) / 2
    assert row["pvalue"] == pytest.approx(wanted, rel=1e-5)
    assert mx.anova(small, fit)["pvalue"].iloc[1] == pytest.approx(wanted, rel=1e-5)


def test_what_cannot_be_compared(large):
    with pytest.raises(ValueError, match="different integrals"):
        mx.anova(glmm("1", n_agq=7), large)
    with pytest.raises(ValueError, match="call compare_lr_test of the larger"):
        glmm("1").compare_lr_test(large)
    other = cbpp().iloc[:50]
    short = mx.glmm(
        "incidence / size ~ 1 + (1 | herd)", other, family="binomial", weights="size"
    ).fit()
    with pytest.raises(ValueError, match="not on the same data"):
        mx.anova(short, large)
    with pytest.raises(TypeError, match="GLM"):
        mx.anova(smf.ols("incidence ~ period", cbpp()).fit(), large)
    with pytest.raises(ValueError, match="names"):
        mx.anova(glmm("1"), large, names=["a"])


def test_models_that_are_not_nested(large):
    probit = mx.glmm(
        "incidence / size ~ 1 + (1 | herd)",
        cbpp(),
        family="binomial(probit)",
        weights="size",
    ).fit()
    with pytest.warns(NestingWarning, match="families or links"):
        mx.anova(probit, large)


def test_bootstrap_test(large):
    small = glmm("1")
    test = mx.bootstrap_test(large, small, n=60, rng=1)
    assert test.statistic == pytest.approx(25.61, abs=0.005)
    assert test.pvalue == pytest.approx(1 / 61)
    data = cbpp().assign(healthy=lambda d: d["size"] - d["incidence"])
    plain = smf.glm("incidence + healthy ~ period", data, family=sm.families.Binomial())
    test = large.bootstrap_test(plain.fit(), n=60, rng=2)
    assert test.n_failed == 0
    # half the statistics are zero, on the boundary
    assert 0.3 < np.mean(test.draws < 1e-6) < 0.75
    assert (test.draws >= 0).all()
