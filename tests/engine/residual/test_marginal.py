"""The marginal deviance against n x n matrices."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.dense_relative import DenseRelative, slope
from helpers.residual_designs import STRUCTURES, random_design
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.engine.residual.chain_part import ChainPart
from mixedext.engine.residual.cluster_part import ClusterPart
from mixedext.engine.residual.starts import starting_psi
from mixedext.engine.residual.visit_part import VisitPart
from mixedext.models.mixedlm.residual_fitting import residual_rows

# Structures that hold an intercept of the same groups.
SAME_AS_INTERCEPT = ["us", "cs", "toep"]
RANDOM = ["none", "same", "nested", "slopes", "finer", "crossed", "crossed slopes"]
VARIANCES = {
    "ident": lambda v, arm, z: mx.VarIdent(arm),
    "power": lambda v, arm, z: mx.VarPower(z),
    "power by": lambda v, arm, z: mx.VarPower(z, strata=arm),
    "exp": lambda v, arm, z: mx.VarExp(z),
    "constpower": lambda v, arm, z: mx.VarConstPower(z),
    "fixed": lambda v, arm, z: mx.VarFixed(z),
    "product": lambda v, arm, z: mx.VarIdent(arm) * mx.VarPower(z),
}


def some_point(model, seed):
    """(theta, psi) away from the optimum, and the rows."""
    rows = residual_rows(model)
    rng = np.random.default_rng(seed)
    psi = starting_psi(rows)[0] + 0.1 * rng.standard_normal(rows.n_psi)
    n_theta = sum(t.structure.n_theta for t in rows.terms)
    theta = np.concatenate([t.structure.start() for t in rows.terms] or [np.zeros(0)])
    return rows, np.concatenate([0.7 * theta + 0.1 * rng.random(n_theta), psi])


def check(model, seed, reml):
    rows, x = some_point(model, seed)
    dense, deviance = DenseRelative(rows, reml), rows.deviance(reml)
    value = deviance.evaluate(x).value + deviance.shift
    assert_allclose(value, dense.deviance(x), rtol=1e-11)
    gradient, hessian = deviance.derivatives()
    wanted = dense.gradient(x)
    assert_allclose(
        gradient, wanted, rtol=1e-8, atol=1e-8 * np.abs(wanted).max(initial=1.0)
    )
    assert_allclose(hessian, hessian.T, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("kind", STRUCTURES)
def test_deviance_and_gradient(kind, random, reml):
    if kind in SAME_AS_INTERCEPT and random in ("same", "nested", "crossed"):
        random = "finer"
    seed = len(kind) + len(random)
    check(random_design(kind, seed, random, weighted=seed % 2 == 0), seed, reml)


@pytest.mark.parametrize("random", ["none", "same"])
@pytest.mark.parametrize("kind", ["us", "ar1", "ar1h", "toeph", "cs", "car1"])
def test_levels_of_by(kind, random):
    if kind in SAME_AS_INTERCEPT and random == "same":
        random = "slopes"
    check(random_design(kind, 3, random, by=True, weighted=True), 3, True)


@pytest.mark.parametrize("random", ["none", "same", "crossed"])
@pytest.mark.parametrize("kind", [None, "ar1", "car1", "cs"])
@pytest.mark.parametrize("variance", VARIANCES)
def test_variance_functions(variance, kind, random):
    if kind in (None, "cs") and random != "none":
        random = "nested" if kind is None else "finer"
    check(random_design(kind, 5, random, variance=VARIANCES[variance]), 5, True)


@pytest.mark.parametrize("kind", ["us", "csh", "ar1", "toep", "adh"])
def test_patterns_and_clusters_say_the_same(kind):
    model = random_design(kind, 8, weighted=True)
    rows, x = some_point(model, 8)
    assert all(isinstance(part, VisitPart) for part in rows.parts)
    other = residual_rows(model)
    vars(other)["has_patterns"] = False
    own = ChainPart if kind == "ar1" else ClusterPart
    assert all(isinstance(part, own) for part in other.parts)
    one, two = rows.deviance(True), other.deviance(True)
    assert_allclose(one.evaluate(x).value, two.evaluate(x).value, rtol=1e-13)
    for a, b in zip(one.derivatives(), two.derivatives(), strict=True):
        assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["us", "ar1h"])
def test_sums_of_many_groups_say_the_same_as_their_rows(kind, monkeypatch):
    model = random_design(kind, 9, weighted=True)
    _, x = some_point(model, 9)
    monkeypatch.setattr("mixedext.engine.residual.rows.CHEAP_SUMS", np.inf)
    summed = residual_rows(model)
    assert not summed.parts[0].patterns
    monkeypatch.setattr("mixedext.engine.residual.rows.CHEAP_SUMS", 0.0)
    kept = residual_rows(model)
    assert not kept.parts[0].summed
    one, two = summed.deviance(True), kept.deviance(True)
    assert_allclose(one.evaluate(x).value, two.evaluate(x).value, rtol=1e-13)
    for a, b in zip(one.derivatives(), two.derivatives(), strict=True):
        assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:The residual covariance is at a limit")
@pytest.mark.parametrize("kind", ["us", "ar1", "car1"])
def test_hessian_of_the_ordinary_deviance_is_exact_near_the_minimum(kind):
    model = random_design(kind, 11)
    rows = residual_rows(model)
    fit = model.fit(reml=False).fitted.fit
    deviance, x = rows.deviance(False), fit.residual.psi
    deviance.evaluate(x)
    _, hessian = deviance.derivatives()
    numeric = np.empty_like(hessian)
    for r in range(len(x)):
        step = np.zeros(len(x))
        step[r] = 1e-5
        deviance.evaluate(x + step)
        up = deviance.derivatives()[0]
        deviance.evaluate(x - step)
        numeric[r] = (up - deviance.derivatives()[0]) / 2e-5
    assert_allclose(hessian, numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())


@pytest.mark.parametrize("random", ["same", "slopes", "crossed slopes"])
@pytest.mark.parametrize("kind", ["ar1", "csh", "car1"])
def test_second_derivatives_are_whole_where_x_has_few_columns(kind, random, monkeypatch):
    """Not only where X is wide: along flat valleys what X takes is most of them."""
    if kind == "csh":
        random = "slopes"
    monkeypatch.setattr("mixedext.engine.residual.marginal.NARROW", 0)
    monkeypatch.setattr(
        "mixedext.engine.residual.marginal.definite_curvature",
        lambda exact, *rest: (exact + exact.T) / 2,
    )
    rows, x = some_point(random_design(kind, 4, random), 4)
    deviance = rows.deviance(True)

    def gradient(x):
        deviance.evaluate(x)
        return deviance.derivatives()[0]

    numeric = np.array([slope(gradient, x, r) for r in range(len(x))])
    deviance.evaluate(x)
    hessian = deviance.derivatives()[1]
    assert_allclose(hessian, numeric, rtol=1e-6, atol=1e-6 * np.abs(numeric).max())
