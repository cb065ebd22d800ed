"""Estimated means of generalized models: link, response, averaged over random effects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.herds import cbpp

import mixedext as mx
from mixedext.exceptions import NotEstimableError

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def fit():
    text = "incidence / size ~ period + (1 | herd)"
    return mx.glmm(text, cbpp(), family="binomial", weights="size").fit()


def test_means_at_zero_effects(fit):
    means = fit.emmeans("period")
    eta = fit.get_prediction(cbpp().iloc[:4], conditional=False, which="linear")
    np.testing.assert_allclose(means.estimate, eta.linear_predictor)
    np.testing.assert_allclose(means.se, eta.se_linear)
    table = fit.emmeans("period", type="response").table
    mean = fit.get_prediction(cbpp().iloc[:4], conditional=False).summary_frame()
    np.testing.assert_allclose(table["estimate"], mean["mean"])
    np.testing.assert_allclose(table["std_err"], mean["mean_se"])
    np.testing.assert_allclose(table["lower"], mean["mean_ci_lower"])
    assert "Means at random effects of zero" in table.notes


def test_odds_ratios(fit):
    pairs = fit.emmeans("period", type="response").pairs()
    b = float(fit.fe_params.iloc[1])
    assert pairs.table["estimate"].iloc[0] == pytest.approx(np.exp(-b))
    assert pairs.table["contrast"].iloc[0] == "period1 / period2"
    assert "odds_ratio" in repr(pairs)
    assert "Estimates are odds ratios" in pairs.table.notes
    link = fit.emmeans("period").pairs()
    np.testing.assert_allclose(link.table["pvalue"], pairs.table["pvalue"])


def test_rate_ratios_and_other_links():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(range(12), 6), "t": np.tile(list("abc"), 24)})
    data["y"] = rng.poisson(np.exp(1 + rng.normal(0, 0.4, 12)[data["g"]]))
    counts = mx.glmm("y ~ t + (1 | g)", data, family="poisson").fit()
    pairs = counts.emmeans("t", type="response").pairs()
    assert "rate_ratio" in repr(pairs)
    b = float(counts.fe_params.iloc[1])
    assert pairs.table["estimate"].iloc[0] == pytest.approx(np.exp(-b))
    # a log link: the average is a multiple, so that ratios are the same
    average = counts.emmeans("t", type="response", marginal=True).pairs()
    np.testing.assert_allclose(average.table["estimate"], pairs.table["estimate"])
    data["z"] = (data["y"] > 2).astype(int)
    probit = mx.glmm("z ~ t + (1 | g)", data, family="binomial(probit)").fit()
    table = probit.emmeans("t", type="response").pairs().table
    b = float(probit.fe_params.iloc[1])
    assert table["estimate"].iloc[0] == pytest.approx(-b)


def test_population_averages(fit):
    means = fit.emmeans("period", type="response", marginal=True, counts=True)
    frame = fit.get_prediction(cbpp().iloc[:4], marginal=True).summary_frame()
    table = means.table
    np.testing.assert_allclose(table["estimate"], frame["mean"], rtol=1e-10)
    np.testing.assert_allclose(table["std_err"], frame["mean_se"], rtol=1e-8)
    np.testing.assert_allclose(table["upper"], frame["mean_ci_upper"], rtol=1e-8)
    data = cbpp()
    raw = (data["incidence"] / data["size"]).groupby(data["period"], observed=True).mean()
    np.testing.assert_allclose(table["raw_mean"], raw)
    joint = means.pairs().test(joint=True)
    assert joint["df_num"].iloc[0] == 3
    with pytest.raises(ValueError, match="normal law"):
        fit.emmeans("period", marginal=True, df_method="residual")
    with pytest.raises(ValueError, match="bias_adjust"):
        fit.emmeans("period", marginal=True, bias_adjust=True)


def test_slopes_and_averages_over_a_factor():
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": np.repeat(range(20), 8), "f": np.tile(list("ab"), 80)})
    data["x"] = rng.normal(size=160)
    slope = 0.5 + rng.normal(0, 1.5, 20)[data["g"]]
    eta = rng.normal(0, 0.8, 20)[data["g"]] + slope * data["x"] + (data["f"] == "b")
    data["y"] = (rng.random(160) < 1 / (1 + np.exp(-eta))).astype(int)
    fit = mx.glmm("y ~ f + x + (x || g)", data, family="binomial").fit()
    found = fit.emmeans("f", at={"x": [-1, 1]}, type="response", marginal=True).table
    new = pd.DataFrame({"f": list("aabb"), "x": [-1, 1, -1, 1], "g": 0})
    mean = np.asarray(fit.predict(new, marginal=True)).reshape(2, 2).mean(axis=1)
    np.testing.assert_allclose(found["estimate"], mean, rtol=1e-10)


def test_refusals():
    data = mx.datasets.oats.load().data
    linear = mx.mixedlm("yield ~ nitroF + (1 | Block)", data).fit()
    with pytest.raises(ValueError, match="generalized"):
        linear.emmeans("nitroF", marginal=True)
    frame = pd.DataFrame({"g": np.repeat(range(8), 6), "a": np.tile(list("ab"), 24)})
    frame["b"] = np.where(frame["a"] == "a", "p", "q")
    frame["y"] = np.random.default_rng(1).poisson(3 + frame["g"] % 3)
    with pytest.warns(mx.RankDeficientWarning):
        model = mx.glmm("y ~ a + b + (1 | g)", frame, family="poisson")
    fit = model.fit()
    with pytest.raises(NotEstimableError):
        fit.emmeans("a", marginal=True)
