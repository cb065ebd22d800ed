"""Parametric bootstraps of generalized models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.herds import cbpp

import mixedext as mx
from mixedext.engine.generalized.refits import Refitter
from mixedext.inference.bootstrap.response_draws import draws_of

pytestmark = [pytest.mark.formula_engine, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def fit():
    text = "incidence / size ~ period + (1 | herd)"
    return mx.glmm(text, cbpp(), family="binomial", weights="size").fit()


@pytest.fixture(scope="module")
def crossed():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": rng.integers(10, size=150), "h": rng.integers(6, size=150)})
    mean = np.exp(1 + rng.normal(0, 0.6, 10)[data["g"]] + rng.normal(0, 0.4, 6)[data["h"]])
    data["y"] = rng.negative_binomial(3, 3 / (3 + mean))
    family = "negative binomial"
    return mx.glmm("y ~ 1 + (1 | g) + (1 | h)", data, family=family).fit()


@pytest.mark.parametrize("name", ["fit", "crossed"])
def test_refits_are_fits(name, request):
    result = request.getfixturevalue(name)
    draws = draws_of(result.fitted)
    refitter = Refitter(result.fitted.generalized.engine)
    for y in draws.draw(6, np.random.default_rng(2)):
        refit = refitter.refit(y)
        whole = result.model.refit(draws.response.with_y(y).observed)
        assert refit.deviance == pytest.approx(whole.deviance, abs=1e-7)
        np.testing.assert_allclose(refit.coefficients, whole.fe_params, atol=1e-4)
        assert refit.is_singular == whole.is_singular
    # the fit itself stays what it was
    assert result.fitted.generalized.engine.objective is not refitter.deviance(y)


def test_replicates(fit):
    found = fit.bootstrap_parametric(200, rng=1)
    names = [*fit.fe_params.index, "sd Intercept|herd"]
    assert found.replicates.columns.tolist() == names
    assert found.n_failed == 0
    assert found.deviations == ("sd Intercept|herd",)
    error = found.table["std_err"].iloc[:4] / np.asarray(fit.bse_fe)
    assert ((error > 0.7) & (error < 1.4)).all()
    again = fit.bootstrap_parametric(200, rng=1)
    pd.testing.assert_frame_equal(found.replicates, again.replicates)
    table = fit.conf_int(method="bootstrap", n=60, rng=2)
    assert table.index.tolist() == names
    assert (table[0] < table[1]).all()


def test_statistics(fit, crossed):
    one = fit.bootstrap_parametric(8, lambda r: {"first": r.fe_params.iloc[0]}, rng=3)
    np.testing.assert_array_equal(one.replicates["first"], one.replicates["Intercept"])
    two = crossed.bootstrap_parametric(
        8, lambda f: f["sd Intercept|g"] ** 2, rng=3, vectorized=True
    )
    assert two.estimate["statistic"] == pytest.approx(
        crossed.fitted.random.covariances[0][0, 0]
    )
    assert "alpha" in two.replicates
    given = crossed.bootstrap_parametric(8, rng=3, conditional=True)
    assert "as fitted" in given.kind


def test_coefficients_found_with_the_modes_are_not_drawn_again(fit):
    with pytest.raises(ValueError, match=r"n_agq=0.*maximize no likelihood"):
        fit.model.fit(n_agq=0).bootstrap_parametric(5, rng=1)


def test_jobs_give_the_same_numbers(fit):
    pytest.importorskip("joblib")
    one = fit.bootstrap_parametric(120, rng=4)
    two = fit.bootstrap_parametric(120, rng=4, n_jobs=2)
    pd.testing.assert_frame_equal(one.replicates, two.replicates)
