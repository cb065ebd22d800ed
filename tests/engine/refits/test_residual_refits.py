"""Refits with a residual covariance: side by side and alone, they are whole fits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.fev import fev_model

import mixedext as mx
from mixedext.engine.refits import residual_refits
from mixedext.engine.refits.residual_refits import ResidualResponses
from mixedext.engine.refits.visit_batches import VisitBatch
from mixedext.exceptions import DesignError
from mixedext.models.mixedlm.residual_fitting import residual_rows

pytestmark = pytest.mark.formula_engine


def by_arm():
    data = fev_model("us").data.frame
    residual = mx.AR1("AVISIT", group="USUBJID", by="ARMCD", het=True)
    return mx.mixedlm("FEV1 ~ RACE + ARMCD * AVISIT", data, residual=residual)


MODELS = {
    "us": lambda: fev_model("us"),
    "ar1": lambda: fev_model("ar1"),
    "toeph": lambda: fev_model("toeph"),
    "ar1h, weights": lambda: fev_model("ar1h", weights="WEIGHT"),
    "csh": lambda: fev_model("csh"),
    "by": by_arm,
    "random": lambda: fev_model("ar1", "FEV1 ~ ARMCD + AVISIT + (1 | USUBJID)"),
    "times": lambda: mx.mixedlm(
        "FEV1 ~ ARMCD", fev_model("us").data.frame, residual="car1(VISITN | USUBJID)"
    ),
}


ALONE = {"random", "times"}


def responses(result, count):
    return result.simulate(count, rng=7).to_numpy()


@pytest.mark.filterwarnings("ignore:The random effects covariance")
@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_refits_are_fits(name, reml):
    model = MODELS[name]()
    result = model.fit(reml=reml)
    y, fit = responses(result, 4), result.fitted.fit
    shared = ResidualResponses(fit.residual.rows, (fit.residual.theta, fit.residual.psi))
    assert VisitBatch.serves(shared.rows) == (name not in ALONE)
    found = shared.fit(y, reml)
    for r, column in enumerate(y.T):
        whole = model.refit(column, reml=reml)
        assert found.converged[r]
        assert found.log_likelihood[r] == pytest.approx(whole.llf, abs=1e-8)
        size = 1e-4 * np.asarray(whole.bse_fe)
        assert (np.abs(found.coefficients[r] - whole.fe_params) < size).all()
        assert found.scale[r] == pytest.approx(whole.scale, rel=1e-4)
        n = len(whole.fitted.fit.theta)
        np.testing.assert_allclose(found.theta[r, :n], whole.theta, rtol=1e-3, atol=1e-3)
        own = np.roll(
            found.theta[r, n:], -sum(f.n_psi for f in fit.residual.bound.functions)
        )
        want = np.asarray(whole.params)[-len(own) :]
        np.testing.assert_allclose(own, want, rtol=1e-3, atol=1e-4)


def test_without_a_start_as_fits():
    model = fev_model("ar1")
    y = responses(model.fit(), 3)
    found = ResidualResponses(residual_rows(model)).fit(y, True)
    want = [model.refit(column).llf for column in y.T]
    np.testing.assert_allclose(found.log_likelihood, want, atol=1e-9)


def test_searches_that_break_off_are_made_alone(monkeypatch):
    model = fev_model("toeph")
    result = model.fit()
    y, fit = responses(result, 3), result.fitted.fit
    shared = ResidualResponses(fit.residual.rows, (fit.residual.theta, fit.residual.psi))
    want = shared.fit(y, True)
    monkeypatch.setattr("mixedext.engine.refits.visit_batches.MOST_STEPS", 1)
    assert (
        not VisitBatch(shared.rows, residual_refits._numbered(shared.rows), True)
        .search(shared.products(y)[0], fit.residual.psi, shared.held)
        .done.any()
    )
    found = shared.fit(y, True)
    assert found.converged.all()
    np.testing.assert_allclose(found.log_likelihood, want.log_likelihood, atol=1e-8)


def test_a_far_start_ends_where_fits_do():
    model = fev_model("ar1")
    y = responses(model.fit(), 3)
    rows = residual_rows(model)
    found = ResidualResponses(rows, (np.zeros(0), np.array([-1.5]))).fit(y, True)
    want = [model.refit(column).llf for column in y.T]
    np.testing.assert_allclose(found.log_likelihood, want, atol=1e-8)


def test_what_is_held_stays():
    data = fev_model("us").data.frame
    residual = mx.AR1("AVISIT", group="USUBJID", rho=0.3, fixed=True)
    model = mx.mixedlm("FEV1 ~ ARMCD", data, residual=residual)
    refits = model.fit().simulate_refits(3, rng=1)
    np.testing.assert_allclose(refits.residual, 0.3, rtol=1e-12)


def test_a_response_that_x_explains():
    model = fev_model("ar1")
    y = responses(model.fit(), 3).copy()
    y[:, 1] = model.exog @ np.arange(11)
    with pytest.raises(DesignError, match="response number 1 is constant"):
        ResidualResponses(residual_rows(model)).fit(y, True)
    with pytest.warns(mx.exceptions.ResponseWarning, match="explained exactly"):
        many = model.fit_many(y)
    assert many.converged.tolist() == [True, False, True]
    assert np.isnan(many.residual[1]).all()
    assert many.residual_names == ("AR1 rho",)


def test_offsets_and_lists():
    data = fev_model("us").data.frame
    data["known"] = np.linspace(0, 5, len(data))
    model = mx.mixedlm(
        "FEV1 ~ ARMCD", data, residual="ar1(AVISIT | USUBJID)", offset="known"
    )
    y = data["FEV1"] + data["known"]
    many = model.fit_many(pd.DataFrame({"a": y, "b": data["FEV1"]}))
    want = [model.refit(y).llf, model.refit(data["FEV1"]).llf]
    np.testing.assert_allclose(many.llf, want, atol=1e-9)
    several = ["us(AVISIT | USUBJID)", "ar1(AVISIT | USUBJID)"]
    listed = mx.mixedlm("FEV1 ~ ARMCD", data, residual=several)
    with pytest.raises(NotImplementedError, match="residual= lists several structures"):
        listed.fit_many(data[["FEV1"]])
    assert len(listed.fit().simulate_refits(2, rng=1)) == 2
