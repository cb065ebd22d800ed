"""Predictions of generalized models against R's numbers, dense algebra and properties."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.herds import cbpp
from scipy import special

import mixedext as mx

pytestmark = pytest.mark.formula_engine

FORMULA = "incidence / size ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def fit():
    return mx.glmm(FORMULA, cbpp(), family="binomial", weights="size").fit()


@pytest.fixture(scope="module")
def crossed():
    rng = np.random.default_rng(4)
    n = 160
    data = pd.DataFrame(
        {
            "g": rng.integers(10, size=n),
            "h": rng.integers(8, size=n),
            "x": rng.normal(size=n),
            "t": rng.uniform(0.5, 3, n),
        }
    )
    slope = rng.normal(0, 0.3, 10)[data["g"]]
    eta = 0.4 + (0.5 + slope) * data["x"] + rng.normal(0, 0.6, 10)[data["g"]]
    eta += rng.normal(0, 0.4, 8)[data["h"]] + np.log(data["t"])
    data["y"] = rng.poisson(np.exp(eta))
    formula = "y ~ x + (x | g) + (1 | h)"
    model = mx.glmm(formula, data, family="poisson", exposure="t")
    return model.fit(), data


def test_means_of_lme4(fit):
    # predict(glmer(...), type = "response"), with and without re.form = NA
    found = np.asarray(fit.predict())[[0, 1, 55]]
    np.testing.assert_allclose(
        found, [0.308207645826802, 0.141748258365395, 0.0290481466155666], rtol=1e-5
    )
    found = np.asarray(fit.predict(conditional=False))[[0, 1, 55]]
    np.testing.assert_allclose(
        found, [0.198049149765699, 0.0838719602620003, 0.0483907486187509], rtol=1e-5
    )


def test_new_rows_are_those_of_the_fit(crossed):
    fit, data = crossed
    own, new = fit.get_prediction(), fit.get_prediction(data)
    np.testing.assert_allclose(new.predicted_mean, own.predicted_mean, rtol=1e-12)
    np.testing.assert_allclose(new.se_mean, own.se_mean, rtol=1e-9)
    np.testing.assert_allclose(own.predicted_mean, fit.fittedvalues, rtol=1e-12)


def test_conditional_errors_by_dense_algebra(crossed):
    """z'Lam M^-1 Lam'z + d'Vd with d by differences of the modes."""
    fit, data = crossed
    engine = fit.fitted.generalized.engine
    new = data.iloc[[3, 40, 77]].assign(h=[0, 5, 2], x=[0.0, 1.5, -2.0])
    found = fit.get_prediction(new, which="linear")
    terms = fit.model.random_terms
    z = [np.zeros((160, 20)), np.zeros((160, 8))]
    for i in range(160):
        z[0][i, 2 * data["g"][i] : 2 * data["g"][i] + 2] = 1.0, data["x"][i]
        z[1][i, data["h"][i]] = 1.0
    z = np.hstack(z)
    sigma = np.zeros((28, 28))
    for level in range(10):
        at = slice(2 * level, 2 * level + 2)
        sigma[at, at] = fit.fitted.random.covariances[0]
    sigma[20:, 20:] = np.eye(8) * fit.fitted.random.covariances[1]
    weight = np.asarray(fit.fittedvalues)
    given = np.linalg.inv(np.linalg.inv(sigma) + z.T @ (weight[:, None] * z))
    zn = np.zeros((3, 28))
    for i, row in enumerate(new.itertuples()):
        zn[i, 2 * row.g : 2 * row.g + 2] = 1.0, row.x
        zn[i, 20 + row.h] = 1.0
    first = np.einsum("ij,jk,ik->i", zn, given, zn)
    psi, objective = engine.evaluation.psi, engine.objective
    slopes = np.zeros((3, len(psi)))
    h = 1e-5

    def predictor(at):
        from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance

        laplace = LaplaceDeviance(
            engine.design.with_offset(engine.design.offset), engine.rows
        )
        effects = laplace.evaluate(at).effects
        units = engine.design.units
        b = [
            units.own_effects(i, engine.design.of_term(i, effects)).ravel()
            for i in range(len(terms))
        ]
        _, beta, _ = objective.split(at)
        x = np.column_stack([np.ones(3), new["x"]])
        return x @ units.basis.coefficients(beta) + zn @ np.concatenate(b)

    for j in range(len(psi)):
        step = np.zeros(len(psi))
        step[j] = h
        slopes[:, j] = (predictor(psi + step) - predictor(psi - step)) / (2 * h)
    second = np.einsum("ij,jk,ik->i", slopes, engine.inner_covariance, slopes)
    np.testing.assert_allclose(found.var_linear, first + second, rtol=1e-5)


def test_marginal_means_are_averages(crossed):
    fit, data = crossed
    zero = np.asarray(fit.predict(conditional=False))
    covariance = fit.fitted.random.covariances
    z = np.column_stack([np.ones(160), data["x"]])
    v = np.einsum("na,ab,nb->n", z, covariance[0], z) + covariance[1][0, 0]
    average = np.asarray(fit.predict(marginal=True))
    np.testing.assert_allclose(average, zero * np.exp(v / 2), rtol=1e-12)
    new = data.assign(g=99, h=99)
    np.testing.assert_allclose(fit.predict(new, marginal=True), average, rtol=1e-12)


def test_marginal_errors_by_differences(fit):
    """Delta method: the mean as a function of (b, variance), by differences."""
    engine = fit.fitted.generalized.engine
    found = fit.get_prediction(marginal=True)
    beta, variance = np.asarray(fit.fe_params), float(fit.vcomp[0] if len(fit.vcomp) else 0)
    variance = variance or float(fit.fitted.random.covariances[0][0, 0])
    x = fit.model.exog
    z, w = np.polynomial.hermite_e.hermegauss(60)

    def mean(parameters):
        eta = x @ parameters[1:]
        at = eta[:, None] + np.sqrt(parameters[0]) * z
        return special.expit(at) @ w / w.sum()

    start, h = np.concatenate([[variance], beta]), 1e-5
    slopes = np.column_stack(
        [(mean(start + h * e) - mean(start - h * e)) / (2 * h) for e in np.eye(len(start))]
    )
    error = np.sqrt(np.einsum("ij,jk,ik->i", slopes, engine.covariance, slopes))
    np.testing.assert_allclose(found.predicted_mean, mean(start), rtol=1e-10)
    np.testing.assert_allclose(found.se_mean, error, rtol=1e-6)


@pytest.mark.parametrize("given", [{}, {"conditional": False}, {"marginal": True}], ids=str)
def test_limits_lie_in_the_range(fit, given):
    frame = fit.get_prediction(**given).summary_frame(level=0.9999)
    assert (frame["mean_ci_lower"] > 0).all()
    assert (frame["mean_ci_upper"] < 1).all()
    assert (frame["mean_ci_lower"] < frame["mean"]).all()
    assert (frame["mean"] < frame["mean_ci_upper"]).all()


def test_new_levels(fit):
    new = cbpp().iloc[[0]].assign(herd="none of them")
    with pytest.raises(ValueError, match="levels of 'herd' that the fit had not"):
        fit.get_prediction(new)
    found = fit.get_prediction(new, new_levels="zero", which="linear")
    zero = fit.get_prediction(new, conditional=False, which="linear")
    assert found.kind[0] == "new group"
    variance = fit.fitted.random.covariances[0][0, 0]
    np.testing.assert_allclose(found.var_linear, zero.var_linear + variance)
    assert np.isnan(fit.get_prediction(new, new_levels="missing").predicted_mean[0])


def test_exposure_of_new_data(crossed):
    fit, data = crossed
    one = np.asarray(fit.predict(data))
    np.testing.assert_allclose(fit.predict(data.assign(t=2 * data["t"])), 2 * one)
    np.testing.assert_allclose(fit.predict(data, exposure=3 * data["t"]), 3 * one)
    with pytest.raises(ValueError, match="column 't'"):
        fit.predict(data.drop(columns="t"))
    with pytest.raises(ValueError, match="positive"):
        fit.get_prediction(data, exposure=0.0 * data["t"])


def test_arguments(fit):
    with pytest.raises(ValueError, match="leave one of them out"):
        fit.predict(marginal=True, conditional=True)
    with pytest.raises(ValueError, match="which"):
        fit.get_prediction(which="probability")
    with pytest.raises(ValueError, match="row_labels"):
        fit.get_prediction(row_labels=["a"])
    assert "limits made on the link's scale" in repr(fit.get_prediction())
