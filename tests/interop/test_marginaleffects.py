"""marginaleffects on results: against closed forms and estimated means."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import mixedext as mx
from mixedext.inference.fixed_effects.df_methods import KENWARD_ROGER
from mixedext.interop import marginaleffects as bridge

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of marginaleffects
]


@pytest.fixture
def package():
    found = pytest.importorskip("marginaleffects")
    polars = pytest.importorskip("polars")
    if int(polars.__version__.split(".")[0]) > 1:
        pytest.skip("marginaleffects 0.6 does not work with polars 2")
    return found


@pytest.fixture(scope="module")
def data():
    data = mx.datasets.sleepstudy.load().data.reset_index(drop=True)
    data["f"] = np.where(data["Days"] > 4, "late", "early")
    data["k"] = (data["Days"] % 3).astype(int)
    data["o"] = np.linspace(0, 10, 180)
    return data


def numbers(found, *names):
    return [found[name].to_numpy() for name in names]


def test_slope_of_a_line(package, data):
    fit = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    found = package.avg_slopes(bridge.wrap(fit), variables="Days", eps_vcov=1.0)
    estimate, error = numbers(found, "estimate", "std_error")
    np.testing.assert_allclose(estimate, fit.fe_params["Days"], rtol=1e-7)
    np.testing.assert_allclose(error, fit.bse_fe["Days"], rtol=1e-7)
    # by its own steps rounding leaves fewer digits
    found = package.avg_slopes(bridge.wrap(fit), variables="Days")
    np.testing.assert_allclose(found["std_error"][0], fit.bse_fe["Days"], rtol=0.05)


def test_predictions_are_population_means(package, data):
    fit = mx.mixedlm("Reaction ~ Days * f + C(k) + (Days | Subject)", data).fit()
    found = package.predictions(bridge.wrap(fit))
    exog = fit.model.exog
    estimate, error = numbers(found, "estimate", "std_error")
    np.testing.assert_allclose(estimate, exog @ fit.fe_params, rtol=1e-10)
    cov = fit.cov_params().iloc[: exog.shape[1], : exog.shape[1]].to_numpy()
    want = np.sqrt(np.einsum("ni,ij,nj->n", exog, cov, exog))
    np.testing.assert_allclose(error, want, rtol=1e-5)


def test_comparisons_are_contrasts_of_means(package, data):
    fit = mx.mixedlm("Reaction ~ Days + f + C(k) + (1 | Subject)", data).fit()
    found = package.avg_comparisons(
        bridge.wrap(fit), variables={"k": "pairwise"}, eps_vcov=1.0
    )
    pairs = fit.emmeans("k").pairs(reverse=True)
    estimate, error = numbers(found, "estimate", "std_error")
    np.testing.assert_allclose(np.sort(estimate), np.sort(pairs.estimate), rtol=1e-7)
    np.testing.assert_allclose(np.sort(error), np.sort(pairs.se), rtol=1e-5)
    by = package.predictions(bridge.wrap(fit), by="f")
    rows = [fit.model.exog[data["f"] == level].mean(axis=0) for level in by["f"]]
    np.testing.assert_allclose(by["estimate"].to_numpy(), rows @ fit.fe_params, rtol=1e-9)


def test_hypotheses(package, data):
    fit = mx.mixedlm("Reaction ~ Days + f + (1 | Subject)", data).fit()
    found = package.hypotheses(bridge.wrap(fit), "b1 = b2")
    names = list(fit.fe_params.index)
    order = [names.index(n) for n in bridge.wrap(fit).get_coefnames()]
    assert order == [0, 1, 2]
    want = fit.t_test(np.array([[0.0, 1.0, -1.0]]), df_method="residual")
    estimate, error, p = numbers(found, "estimate", "std_error", "p_value")
    np.testing.assert_allclose(estimate, np.ravel(want.effect)[0], rtol=1e-8)
    np.testing.assert_allclose(error, np.ravel(want.sd)[0], rtol=1e-6)
    np.testing.assert_allclose(p, want.pvalue, rtol=1e-4)


def test_grids_and_new_values(package, data):
    fit = mx.mixedlm("Reaction ~ np.log(Days + 1) * f + (1 | Subject)", data).fit()
    model = bridge.wrap(fit)
    grid = package.datagrid(model=model, Days=[1, 2], f=["early", "late"])
    found = package.predictions(model, newdata=grid)
    days, level = found["Days"].to_numpy().astype(float), found["f"].to_list()
    want = fit.predict({"Days": days, "f": level}, conditional=False)
    np.testing.assert_allclose(found["estimate"].to_numpy(), want, rtol=1e-10)
    slopes = package.slopes(model, variables="Days", newdata=grid)
    late = [v == "late" for v in slopes["f"].to_list()]
    b = fit.fe_params
    curve = b["np.log(Days + 1)"] + np.array(late) * b["np.log(Days + 1):f[T.late]"]
    at = slopes["Days"].to_numpy().astype(float)
    np.testing.assert_allclose(slopes["estimate"].to_numpy(), curve / (at + 1), rtol=1e-3)


def test_offset_and_categories(package, data):
    own = data.assign(f=data["f"].astype("category"), late=data["Days"] > 6)
    fit = mx.mixedlm("Reaction ~ Days + f + late + (1 | Subject)", own, offset="o").fit()
    found = package.predictions(bridge.wrap(fit))
    want = fit.model.exog @ fit.fe_params + own["o"]
    np.testing.assert_allclose(found["estimate"].to_numpy(), want, rtol=1e-10)


def test_kenward_roger_and_robust(package, data):
    fit = mx.mixedlm("Reaction ~ Days + f + (1 | Subject)", data).fit()
    given = {"variables": "Days", "eps_vcov": 1.0}
    found = package.avg_slopes(bridge.wrap(fit, "kenward-roger"), **given)
    want = fit.cov_params_kr.loc["Days", "Days"] ** 0.5
    np.testing.assert_allclose(found["std_error"].to_numpy(), want, rtol=1e-5)
    robust = fit.get_robustcov_results("CR2", groups="Subject")
    found = package.avg_slopes(bridge.wrap(robust), **given)
    np.testing.assert_allclose(
        found["std_error"].to_numpy(), robust.bse_fe["Days"], rtol=1e-5
    )


def test_rank_deficient_fit(package, data):
    own = data.assign(twice=2 * data["Days"])
    with pytest.warns(mx.RankDeficientWarning):
        model = mx.mixedlm("Reaction ~ Days + twice + (1 | Subject)", own)
    fit = model.fit()
    found = package.predictions(bridge.wrap(fit))
    plain = mx.mixedlm("Reaction ~ Days + (1 | Subject)", own).fit()
    want = plain.model.exog @ plain.fe_params
    np.testing.assert_allclose(found["estimate"].to_numpy(), want, rtol=1e-8)


def test_what_cannot_be_wrapped(package, data):
    term = mx.RandomTerm(data["Subject"], group="Subject")
    arrays = mx.MixedLM(data["Reaction"], np.ones((180, 1)), terms=[term]).fit()
    with pytest.raises(ValueError, match="made from arrays"):
        bridge.wrap(arrays)
    with pytest.raises(ValueError, match="vcov='sandwich' is not known"):
        bridge.wrap(arrays, "sandwich")
    with pytest.raises(TypeError, match="results"):
        bridge.wrap(data)


def test_without_the_package(data, monkeypatch):
    fit = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
    monkeypatch.setitem(sys.modules, "marginaleffects", None)
    monkeypatch.setitem(sys.modules, "marginaleffects.classes.model", None)
    bridge._adapter.cache_clear()
    with pytest.raises(ImportError, match=r"mixedext\[effects\]"):
        bridge.wrap(fit)


def test_covariances_beside_a_residual_covariance():
    # what is handed over, which needs no marginaleffects
    own = mx.datasets.sleepstudy.load().data
    fit = mx.mixedlm("Reaction ~ Days", own, residual="ar1(Days | Subject)").fit()
    model = bridge._covariance(fit, "model")
    np.testing.assert_allclose(model, fit.fitted.fit.covariance)
    found = [bridge._covariance(fit, name) for name in KENWARD_ROGER]
    for name, covariance in zip(KENWARD_ROGER, found, strict=True):
        want = fit.t_test(np.eye(2), df_method=name).sd
        np.testing.assert_allclose(np.sqrt(covariance.diagonal()), np.ravel(want))
    robust = fit.get_robustcov_results("CR2")
    np.testing.assert_allclose(
        np.sqrt(bridge._covariance(robust, "model").diagonal()), robust.bse_fe
    )
