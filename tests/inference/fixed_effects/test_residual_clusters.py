"""Robust covariances beside a residual covariance: SAS, mmrm, dense algebra, deletion."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.dense_residual import DenseResidual, SasCovariance
from helpers.fev import fev_model, values

import mixedext as mx
from mixedext.engine.residual.fit import residual_fit_at
from mixedext.engine.residual.rows import residual_curves
from mixedext.exceptions import ClusterWarning
from mixedext.inference.fixed_effects.robust import cluster_covariance
from mixedext.models.mixedlm.residual_fitting import residual_rows

pytestmark = pytest.mark.formula_engine


@pytest.mark.parametrize("weights", [None, "WEIGHT"])
@pytest.mark.parametrize("structure", ["ar1", "ar1h", "cs", "csh", "adh", "toep", "us"])
def test_empirical_as_sas(structure, weights):
    model = fev_model(structure, "FEV1 ~ ARMCD", weights=weights)
    of = values()["sas"][structure]["empirical_weighted" if weights else "empirical"]
    result = model.fit(cov_type="CR0")
    np.testing.assert_allclose(np.array(result.cov_params())[:2, :2], of["covb"], rtol=4e-4)
    assert result.bse_fe.iloc[1] == pytest.approx(of["se"], rel=1e-4)


KINDS = {
    "CR0": "empirical",
    "CR2": "empirical_bias_reduced",
    "CR3": "empirical_jackknife",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("structure", ["us", "ar1", "toeph", "us_weighted", "ar1_weighted"])
def test_mmrm(structure, kind):
    weights = "WEIGHT" if structure.endswith("weighted") else None
    model = fev_model(structure.split("_")[0], weights=weights)
    result = model.fit(cov_type=kind, cov_kwds={"df": "bell-mccaffrey"}, use_t=True)
    of = values()["mmrm"][structure][KINDS[kind]]
    # mmrm stops where -2 log L is up to 1e-4 above its minimum
    np.testing.assert_allclose(result.bse_fe, of["se"], rtol=2e-4)
    test = result.t_test(np.eye(11))
    np.testing.assert_allclose(test.df_denom, of["df"], rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_mmrm_at_its_covariance(kind):
    # to the digits of a sandwich, not of an optimum
    of = values()["mmrm"]["us"]
    sigma = np.array(of["Sigma"]["all"])
    model = fev_model("us")
    curve = residual_curves(model.residual)[0]
    natural = (sigma / sigma[0, 0])[np.tril_indices(4)][1:]
    psi = curve.correlation.free(natural)
    fit = residual_fit_at(residual_rows(model), True, np.zeros(0), psi)
    own = curve.correlation.matrix(psi, np.arange(4)[None])[0]
    np.testing.assert_allclose(own, sigma / sigma[0, 0], rtol=1e-12)
    codes = pd.factorize(model.data.frame["USUBJID"])[0]
    residual = model.endog - model.exog @ fit.coefficients
    found = cluster_covariance(fit, kind, codes, model.exog, residual, [], moments=True)
    want = of[KINDS[kind]]
    se = np.sqrt(found.covariance.diagonal())
    np.testing.assert_allclose(se, want["se"], rtol=1e-11)
    np.testing.assert_allclose(found.moments.df(np.eye(11)), want["df"], rtol=1e-9)


# ---- dense algebra ----


def trial(seed, random, n_groups=12, m=4):
    """A fit with AR(1) residuals, perhaps beside random effects; the same densely."""
    rng = np.random.default_rng(seed)
    subject, visit = np.divmod(np.arange(n_groups * m), m)
    lag = np.abs(np.arange(m)[:, None] - np.arange(m))
    error = rng.standard_normal((n_groups, m)) @ np.linalg.cholesky(0.5**lag).T
    frame = pd.DataFrame(
        {
            "subject": subject,
            "visit": visit,
            "site": subject // 3,
            "a": rng.standard_normal(n_groups)[subject],
            "b": rng.standard_normal(len(visit)),
            "w": rng.uniform(0.5, 2, len(visit)),
        }
    )
    frame["y"] = error.ravel() + 1.2 * rng.standard_normal(n_groups)[subject] + frame["a"]
    frame = frame.sample(frac=0.9, random_state=seed)  # in no order
    formula = "y ~ a + b" + random
    model = mx.mixedlm(formula, frame, residual="ar1(visit | subject)", weights="w")
    result = model.fit()
    fit = result.fitted.fit
    subject, visit = frame["subject"].to_numpy(), frame["visit"].to_numpy()
    covariance = SasCovariance("ar1", visit, subject, frame["w"].to_numpy())
    phi = np.array([fit.scale, np.tanh(fit.residual.psi[0])])
    v = covariance(phi)
    if random:
        z = np.column_stack([np.ones(len(frame)), visit])[:, : fit.lams[0].shape[0]]
        v = v + (subject[:, None] == subject) * (z @ fit.covariances[0] @ z.T)
    dense = DenseResidual(frame["y"].to_numpy(), model.exog, lambda _: v, phi)
    assert dense.deviance == pytest.approx(fit.deviance, rel=1e-11)
    return result, frame, dense


RANDOM = ["", " + (1 | subject)", " + (visit | subject)"]


def robust(result, kind, **options):
    found = result.get_robustcov_results(kind, **options)
    return found.fitted.settings.cluster.covariance


@pytest.mark.parametrize("kind", ["CR0", "CR2", "CR3"])
@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("groups", [None, "subject", "site"])
def test_dense_algebra(random, groups, kind):
    result, frame, dense = trial(1, random)
    options = {} if groups is None else {"groups": groups}
    # the lower factor has rows by residual group, and within it by visit
    at = np.lexsort((frame["visit"], frame["subject"]))
    v = dense.v[np.ix_(at, at)]
    own = DenseResidual(dense.y[at], dense.x[at], lambda _: v, dense.phi)
    want = own.sandwich(frame[groups or "subject"].to_numpy()[at], kind)
    np.testing.assert_allclose(robust(result, kind, **options), want, rtol=1e-8)


@pytest.mark.parametrize("random", RANDOM)
def test_jackknife(random):
    # CR3 is the change of the estimates where a group is left out, V known
    result, frame, dense = trial(2, random)
    jack = np.zeros((3, 3))
    for group in frame["subject"].unique():
        keep = (frame["subject"] != group).to_numpy()
        inverse = np.linalg.inv(dense.v[np.ix_(keep, keep)])
        x = dense.x[keep]
        beta = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ dense.y[keep])
        jack += np.outer(beta - dense.beta, beta - dense.beta)
    np.testing.assert_allclose(robust(result, "CR3"), jack, rtol=1e-8)


def scores(dense, codes):
    """sum over clusters of the outer products of (V^-1 X)_g'r_g, between Phi."""
    products = (dense.inverse @ dense.x) * (dense.y - dense.x @ dense.beta)[:, None]
    sums = pd.DataFrame(products).groupby(np.asarray(codes)).sum().to_numpy()
    return dense.fixed @ sums.T @ sums @ dense.fixed


@pytest.mark.parametrize("random", RANDOM)
def test_clusters_across_residual_groups(random):
    result, frame, dense = trial(8, random)
    n, visits = len(frame), frame["visit"].nunique()
    want = scores(dense, frame["visit"])
    np.testing.assert_allclose(robust(result, "CR0", groups="visit"), want, rtol=1e-7)
    factor = visits / (visits - 1) * (n - 1) / (n - 3)
    got = robust(result, "cluster", groups="visit")
    np.testing.assert_allclose(got, factor * want, rtol=1e-7)
    for kind in ("CR2", "CR3"):
        with pytest.raises(ValueError, match=r"'ar1\(visit \| subject\)' correlates"):
            result.get_robustcov_results(kind, groups="visit")
    with pytest.raises(ValueError, match="CR0 with degrees of freedom needs rows"):
        result.get_robustcov_results("CR0", groups="visit", df="bell-mccaffrey")


def test_two_ways():
    result, frame, dense = trial(10, "")
    parts = [scores(dense, frame[name]) for name in ("subject", "visit")]
    want = sum(parts) - scores(dense, np.arange(len(frame)))
    assert np.linalg.eigvalsh(want)[0] > 0
    got = robust(result, "CR0", groups=["subject", "visit"])
    np.testing.assert_allclose(got, want, rtol=1e-7)


def test_no_factor_contains_the_residual_groups():
    _, frame, _ = trial(5, "")
    frame["other"] = np.arange(len(frame)) % 5
    model = mx.mixedlm("y ~ a + b + (1 | other)", frame, residual="ar1(visit | subject)")
    with pytest.raises(ValueError, match="no grouping factor contains all others"):
        model.fit(cov_type="CR0")


def test_arrays():
    result, frame, _ = trial(6, "")
    residual = mx.AR1(frame["visit"].to_numpy(), group=frame["subject"].to_numpy())
    arrays = mx.MixedLM(
        frame["y"].to_numpy(), result.model.exog, residual=residual, weights=frame["w"]
    ).fit()
    want = robust(result, "CR2")
    np.testing.assert_allclose(robust(arrays, "CR2"), want, rtol=1e-5)
    name = arrays.model.residual.group_name
    np.testing.assert_allclose(robust(arrays, "CR2", groups=name), want, rtol=1e-5)


def test_a_coefficient_that_one_group_tells():
    _, frame, _ = trial(7, "")
    frame["c"] = (frame["subject"] == 3).astype(float)
    model = mx.mixedlm("y ~ a + c", frame, residual="ar1(visit | subject)", weights="w")
    with pytest.warns(ClusterWarning, match="exists for c, of which one cluster alone"):
        found = model.fit(cov_type="CR0")
    assert np.isnan(found.bse_fe["c"])
    assert np.isfinite(found.bse_fe["a"])
