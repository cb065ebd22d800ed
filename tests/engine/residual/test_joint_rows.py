"""Predictions beside correlated rows against dense algebra at random parameters."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.joint_residual import BESIDE, STRUCTURES, dense_case, differences, new_data

from mixedext.engine.information.expected import variance_information
from mixedext.engine.residual import joint_rows as joint_module
from mixedext.engine.residual.joint_rows import Targets
from mixedext.inference.prediction.mixed_prediction import get_prediction
from mixedext.inference.prediction.new_rows import new_rows
from mixedext.inference.prediction.predictions import predict
from mixedext.inference.prediction.residual_errors import joint_rows, target_terms

pytestmark = [pytest.mark.formula_engine, pytest.mark.filterwarnings("ignore::UserWarning")]


def seed(*names):
    return np.random.default_rng([sum(map(ord, name)) for name in names])


def at(case, values):
    """Covariances and psi of gamma and psi in turn."""
    info = variance_information(case.fitted.fit)
    covariances, start = [], 0
    for sigma, e in zip(case.covariances, info.directions, strict=True):
        step = values[start : start + len(e)]
        covariances.append(sigma + np.einsum("r,rab->ab", step, e))
        start += len(e)
    return covariances, case.psi + values[start:]


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_dense(structure, beside):
    rng = seed(structure, beside)
    weighted = bool(rng.integers(2))
    case = dense_case(rng, structure, beside, bool(rng.integers(2)), weighted)
    new = new_data(rng, case.data)
    weights = rng.uniform(0.5, 2.0, len(new)) if weighted else None
    correlates = case.fitted.fit.residual.bound.correlation is not None
    for conditional in ("all", True):
        with_residual = conditional == "all" and correlates
        joint = case.joint(new, case.covariances, case.psi, with_residual, weights)
        mean, m, w = case.predicted(new, joint)
        found = get_prediction(
            case.fitted, new, weights=weights, conditional=conditional, new_levels="zero",
            df_method="z",
        )  # fmt: skip
        scale = case.fitted.scale
        np.testing.assert_allclose(found.predicted_mean, mean, rtol=1e-9, atol=1e-9)
        own = case.joint(new, case.covariances, case.psi, True, weights)
        nugget = own.diagonal()[len(case.data) :] - joint.diagonal()[len(case.data) :]
        if with_residual:  # m is of the observation
            np.testing.assert_allclose(found.var_pred_obs / scale, m, rtol=1e-9)
        else:
            np.testing.assert_allclose(found.var_pred_mean / scale, m, rtol=1e-9)
            np.testing.assert_allclose(found.var_pred_obs / scale, m + nugget, rtol=1e-9)
        if with_residual or beside != "none":
            check_slopes(case, new, conditional, with_residual, weights, w)


def check_slopes(case, new, conditional, with_residual, weights, w):
    """Derivatives of m, and sum W_rs S_rs."""
    fitted, n = case.fitted, len(case.data)
    rows = new_rows(fitted, new, conditional=conditional, new_levels="zero")
    precision = np.ones(len(new)) if weights is None else weights
    x = case.columns(new)
    lost = np.zeros(len(new), bool)
    targets = Targets(x, target_terms(fitted, rows, lost), rows.places, precision)
    info = variance_information(fitted.fit)
    size = info.n_gamma
    root = np.random.default_rng(1).standard_normal((size + 1, size + 1))
    weight = root @ root.T
    found = joint_rows(fitted).errors(targets, True, weight)

    def of(values):
        covariances, psi = at(case, values)
        joint = case.joint(new, covariances, psi, with_residual, weights)
        return case.predicted(new, joint)

    np.testing.assert_allclose(found.slope[:, -1], found.variance)
    if not size:
        return
    zero = np.zeros(size)
    # these correlations have corners
    kind = getattr(fitted.fit.residual.bound.spec, "kind", None)
    step = 1e-6 if kind in ("lin", "spher") else 1e-4
    both = differences(lambda v: np.vstack(of(v)[1:]), zero, step)
    slope, turn = both[:, 0], both[:, 1:]  # (size, N) and (size, n, N)
    np.testing.assert_allclose(found.slope[:, :-1].T, slope, rtol=2e-7, atol=2e-7)
    v = case.joint(new, case.covariances, case.psi, with_residual, weights)[:n, :n]
    rise = np.einsum("rit,ij,sjt,rs->t", turn, v, turn, weight[:-1, :-1], optimize=True)
    np.testing.assert_allclose(found.rise, rise, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "structure", ["ar1", "ar1h", "arma", "us", "sp_exp nugget", "sp_pow", "car1, power"]
)
def test_second_derivatives(structure):
    """sum W_rs d'V_rs d in natural parameters eta, from those in free ones phi.

    R_eta,ab summed over W is R_phi,rs less R_eta,k eta_k,rs.
    """
    case = dense_case(seed(structure), structure, "none")
    new = new_data(seed(structure, "new"), case.data)
    fitted, n = case.fitted, len(case.data)
    rows = new_rows(fitted, new, conditional="all", new_levels="zero")
    targets = Targets(case.columns(new), [], rows.places, np.ones(len(new)))
    info = variance_information(fitted.fit)
    size = info.n_gamma
    root = seed("weight").standard_normal((size + 1, size + 1))
    weight = root @ root.T
    joint = joint_rows(fitted)
    plain = joint.errors(targets, True, weight)
    found = (plain.rise - joint.errors(targets, True, weight, "all").rise) * 4
    (curve,) = info.curves

    def covariance(phi):
        return phi[-1] * case.joint(new, [], phi[:-1], True)

    def natural(phi):
        eta = np.array(curve.natural(phi[:-1], phi[-1]))
        if structure == "arma":  # SAS has the correlation at the first lag
            eta[-1] = curve.correlation.by_lag(phi[curve.n_sd : -1], 2)[1]
        return eta

    phi = np.append(case.psi, 1.0)
    first, jacobian = differences(covariance, phi), differences(natural, phi)
    second = differences(lambda p: differences(covariance, p), phi, 1e-3)
    turned = differences(lambda p: differences(natural, p), phi, 1e-3)
    by_natural = np.tensordot(np.linalg.inv(jacobian), first, 1)
    bent = np.tensordot(weight, second, 2)
    bent -= np.tensordot(np.tensordot(weight, turned, 2), by_natural, 1)
    _, _, w = case.predicted(new, covariance(phi))
    d = np.vstack([-w, np.eye(len(new))])
    want = np.einsum("it,ij,jt->t", d, bent, d)
    atol = 1e-9 + 1e-5 * np.abs(want).max()
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=atol)
    # of the coefficients alone: those of h'h, h in the coordinates of X~
    x, v = case.columns(case.data), covariance(phi)[:n, :n]
    h = case.columns(new) - np.linalg.solve(v, covariance(phi)[:n, n:]).T @ x
    solved = np.linalg.solve(v, x)
    h = h @ np.linalg.inv(x.T @ solved)
    want = np.einsum("tp,pq,tq->t", h, solved.T @ bent[:n, :n] @ solved, h)
    found = (plain.rise - joint.errors(targets, True, weight, "coefficients").rise) * 4
    atol = 1e-9 + 1e-5 * np.abs(want).max()
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=atol)


def test_rows_that_do_not_fit_into_memory(monkeypatch):
    monkeypatch.setattr(joint_module, "available_memory", lambda: 1e3)
    monkeypatch.setattr(joint_module, "MANY_ROWS", 3)
    case = dense_case(seed("memory"), "ar1", "outer")
    new = new_data(seed("new"), case.data)
    options = {"new_levels": "zero", "df_method": "z"}
    with pytest.raises(MemoryError, match=r"ar1\(visit \| g\) take .* GiB are needed and"):
        get_prediction(case.fitted, new, conditional="all", **options)
    assert len(predict(case.fitted, new, conditional="all", new_levels="zero")) == len(new)
    assert len(get_prediction(case.fitted, new, conditional=False, df_method="z")) == 12
