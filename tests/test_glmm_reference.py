"""Generalized models against stored results of R programs."""

import numpy as np
import pytest
from helpers.glmm_reference import case, fit_of, own_columns, own_order, sections

pytestmark = pytest.mark.formula_engine

EXACT, TMB = sections("exact"), sections("tmb")
ADAPTIVE = sections("adaptive")


def _stored(name, section):
    return case(name).values["fits"][section]


def _n_agq(section):
    return int("".join(c for c in section if c.isdigit()))


def _covariance(result):
    """Of (theta, coefficients, log dispersion)."""
    return result.fitted.generalized.engine.theta_covariance


def _close(got, want, tolerance):
    got, want = np.asarray(got, float), np.asarray(want, float)
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * max(1, abs(want).max()))


def _fields(got, stored, tolerance):
    """Some values, the sum and the sum of squares."""
    got = np.asarray(got, float)
    assert len(got) == stored["n"]
    _close(got[: len(stored["values"])], stored["values"], tolerance)
    _close(np.sum(got), stored["sum"], tolerance)
    _close(np.sum(got**2), stored["sumsq"], tolerance)


# ---- R's functions with fully converged modes: expected information ----


@pytest.mark.parametrize(("name", "section"), EXACT)
def test_deviance_at_given_parameters(name, section):
    stored, model = _stored(name, section), case(name).model(section)
    order = own_order(model, stored["par_names"])
    shift = -2 * stored["logLik_all_constants"] - stored["criterion"]
    for at in stored["criterion_at"]:
        psi = np.asarray(at["par"])[order]
        found = model.objective(psi, n_agq=_n_agq(section), laplace="expected")[0]
        assert found == pytest.approx(at["criterion"] + shift, rel=1e-10)


@pytest.mark.parametrize(("name", "section"), EXACT)
def test_optimum(name, section):
    stored = _stored(name, section)
    model, result = fit_of(name, section)
    polished = "max_abs_grad" in stored
    assert result.llf >= stored["logLik_all_constants"] - 5e-9
    assert result.llf == pytest.approx(
        stored["logLik_all_constants"], abs=5e-9 if polished else 1e-5
    )
    par = np.asarray(stored["par"])[own_order(model, stored["par_names"])]
    theta = np.asarray(result.theta)
    tolerance = 1e-6 if polished else 1e-3
    _close(np.abs(theta), np.abs(par[: len(theta)]), tolerance)
    _close(result.fe_params, par[len(theta) :], tolerance)
    assert result.converged
    singular = (np.abs(par[: len(theta)]) < 1e-6).any()
    assert result.convergence.status == ("boundary" if singular else "interior")


@pytest.mark.parametrize(
    ("name", "section"), [s for s in EXACT if "vcov_theta_beta" in _stored(*s)]
)
def test_standard_errors(name, section):
    stored = _stored(name, section)
    model, result = fit_of(name, section)
    order = own_order(model, stored["par_names"])
    covariance = np.full((len(order),) * 2, np.nan)
    free = np.asarray(stored["vcov_theta_beta"]["free"]) - 1
    covariance[np.ix_(free, free)] = stored["vcov_theta_beta"]["vcov"]
    want = np.sqrt(np.diag(covariance))[order]
    got = np.sqrt(np.diag(_covariance(result)))
    known = np.isfinite(want)
    np.testing.assert_allclose(got[known], want[known], rtol=1e-5)
    n_theta = len(result.theta)
    np.testing.assert_allclose(result.bse_fe, want[n_theta:], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "section"), [s for s in EXACT if "vcov_theta_beta" in _stored(*s)]
)
def test_modes_and_fitted_means(name, section):
    stored = _stored(name, section)
    _, result = fit_of(name, section)
    _fields(result.fittedvalues, stored["fitted"], 1e-6)
    engine = result.fitted.generalized.engine
    _fields(engine.eta, stored["eta"], 1e-6)
    modes = engine.at_modes.modes
    assert modes @ modes == pytest.approx(stored["u"]["sumsq"], rel=1e-6)
    if len(engine.modes) == 1 and engine.modes[0].shape[1] == 1:
        size = engine.lams[0][0, 0]
        u = np.ravel(engine.modes[0]) / (size if size else 1.0)
        own = stored["u"]["values"]
        _close(u[: len(own)], own, 1e-7)


# ---- glmmTMB: observed information, dispersions ----


def _tmb_log_dispersion(result, sigma):
    family = result.family.name
    if family == "gamma":
        return sigma**2
    return 1 / sigma if family == "negative binomial" else sigma


@pytest.mark.parametrize(("name", "section"), TMB)
def test_glmmtmb(name, section):
    stored = _stored(name, section)
    model, result = fit_of(name, section)
    columns = own_columns(model, stored["fixef"]["names"])
    assert -2 * result.llf <= -2 * stored["logLik"] + 1e-8
    assert result.llf == pytest.approx(stored["logLik"], abs=1e-6)
    singular = result.is_singular
    tolerance = 1e-4 if singular else 1e-6
    want = np.array(stored["fixef"]["estimate"])[columns]
    _close(result.fe_params, want, tolerance)
    if result.family.n_dispersion:
        want = _tmb_log_dispersion(result, stored["sigma"])
        assert result.dispersion == pytest.approx(want, rel=tolerance)
    matrices = result.fitted.generalized.covariances
    for term, found in zip(result.model.random_terms, matrices, strict=True):
        _close(found, stored["varcorr"][term.group]["cov"], tolerance)
    _fields(result.fittedvalues, stored["fitted"], 10 * tolerance)


@pytest.mark.parametrize(("name", "section"), TMB)
def test_glmmtmb_standard_errors(name, section):
    stored = _stored(name, section)
    model, result = fit_of(name, section)
    if result.is_singular:
        pytest.skip("glmmTMB's parameters have no information at a singular covariance")
    columns = own_columns(model, stored["fixef"]["names"])
    want = np.array(stored["fixef"]["se"])[columns]
    np.testing.assert_allclose(result.bse_fe, want, rtol=1e-5)
    names = stored["parameters"]["names"]
    errors = np.sqrt(np.diag(np.array(stored["parameters"]["vcov"], float)))
    own = np.sqrt(np.diag(_covariance(result)))
    if result.family.n_dispersion:
        assert own[-1] == pytest.approx(errors[names.index("betad")], rel=1e-5)
    if all(t.k == 1 for t in result.model.random_terms):
        theta = np.asarray(result.theta)
        logs = own[: len(theta)] / np.abs(theta)
        order = [list(stored["varcorr"]).index(t.group) for t in result.model.random_terms]
        want = errors[[i for i, n in enumerate(names) if n == "theta"]][order]
        np.testing.assert_allclose(logs, want, rtol=1e-5)


@pytest.mark.parametrize(("name", "section"), TMB)
def test_glmmtmb_modes(name, section):
    stored = _stored(name, section)
    _, result = fit_of(name, section)
    tolerance = 1e-4 if result.is_singular else 1e-6
    for group, of_group in stored["ranef"].items():
        found = result.ranef(group).loc[of_group["levels"]].to_numpy()
        _close(found[:, : len(of_group["columns"])], of_group["values"], tolerance)


# ---- quadrature by GLMMadaptive, and own code of the inverse Gaussian ----


@pytest.mark.parametrize(("name", "section"), ADAPTIVE)
def test_quadrature_at_glmmadaptive_parameters(name, section):
    stored, model = _stored(name, section), case(name).model(section)
    lam = np.linalg.cholesky(np.atleast_2d(np.array(stored["D"], float)))
    theta = lam.T[np.triu_indices(len(lam))]
    kappa = np.array(stored["phis"], float)
    if model.family.name == "gamma":
        kappa = -kappa
    fixed = stored["fixef"]
    beta = np.array(fixed["estimate"])[own_columns(model, fixed["names"])]
    psi = np.concatenate([theta, beta, kappa])
    found = model.objective(psi, n_agq=stored["nAGQ"])[0]
    assert -0.5 * found == pytest.approx(stored["logLik"], rel=1e-8)
    best = -2 * fit_of(name, section)[1].llf
    assert best <= found + 1e-8
    assert best == pytest.approx(found, abs=1e-2)


@pytest.mark.parametrize(("kind", "n_agq"), [("laplace_observed", 1), ("exact_AGQ75", 75)])
def test_inverse_gaussian(kind, n_agq):
    stored, model = _stored("sim_ig", "own")[kind], case("sim_ig").model("own")
    result = model.fit(n_agq=n_agq)
    intercept, slope, log_lambda, sd = stored["estimate"]
    assert result.llf == pytest.approx(stored["logLik"], abs=1e-8)
    _close(result.fe_params, [intercept, slope], 1e-6)
    assert result.dispersion == pytest.approx(np.exp(-log_lambda), rel=1e-6)
    assert result.theta[0] == pytest.approx(sd, rel=1e-6)
    own = np.sqrt(np.diag(_covariance(result)))
    np.testing.assert_allclose(own[[1, 2, 3, 0]], stored["se"], rtol=1e-5)
    psi = [sd, intercept, slope, -log_lambda]
    found, gradient = model.objective(psi, n_agq=n_agq)
    assert -0.5 * found == pytest.approx(stored["logLik"], rel=1e-11)
    np.testing.assert_allclose(gradient, 0, atol=1e-4)
