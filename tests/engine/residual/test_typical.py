"""Variance functions about typical covariates: the same model in other parameters."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.residual_designs import random_design
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.engine.residual.typical import typical_rows
from mixedext.models.mixedlm.residual_fitting import residual_rows

VARIANCES = {
    "power": lambda visit, arm, v: mx.VarPower(100 * v),
    "exp": lambda visit, arm, v: mx.VarExp(v - 4.0),
    "both": lambda visit, arm, v: [mx.VarIdent(visit), mx.VarPower(v / 50)],
}


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("random", ["nested", "slopes"])
@pytest.mark.parametrize("kind", VARIANCES)
def test_the_deviance_is_that_of_the_rows(kind, random, reml):
    rows = residual_rows(random_design("ar1", 6, random, variance=VARIANCES[kind]))
    typical, rng = typical_rows(rows), np.random.default_rng(1)
    assert typical.rows is not rows
    deviance, own = typical.rows.deviance(reml), rows.deviance(reml)
    theta, psi = rng.uniform(0.2, 1.5, own.n_theta), rng.uniform(-0.3, 0.3, rows.n_psi)
    inner = typical.inner(deviance, theta, psi)
    x = np.concatenate([inner, psi])
    assert np.abs(np.log(inner / theta)).max() > 0.05  # other parameters they are
    assert_allclose(typical.outer(deviance, x), np.concatenate([theta, psi]), rtol=1e-12)
    one = deviance.evaluate(x).value + deviance.shift
    two = own.evaluate(np.concatenate([theta, psi])).value + own.shift
    assert_allclose(one, two, rtol=1e-10)


def test_what_is_left_as_it_is():
    without = residual_rows(random_design("ar1", 6, variance=VARIANCES["power"]))
    assert typical_rows(without).rows is without  # no random effects
    others = residual_rows(
        random_design("ar1", 6, "nested", variance=lambda visit, arm, v: mx.VarIdent(arm))
    )
    typical = typical_rows(others)
    assert typical.rows is others
    theta = np.array([0.3, 0.7])
    assert typical.inner(others.deviance(True), theta, np.zeros(2)) is theta


def test_a_covariate_in_other_units_makes_no_other_fit():
    found = []
    for unit in (1.0, 1e4):
        variance = mx.VarPower(np.random.default_rng(1).uniform(0.5, 3.0, 56) * unit)
        rng = np.random.default_rng(2)
        group, x = np.repeat(np.arange(14), 4), rng.normal(size=56)
        y = rng.normal(size=14)[group] + (variance.covariate / unit) * rng.normal(size=56)
        design = np.column_stack([np.ones(56), x])
        terms = [mx.RandomTerm(group, group="g")]
        found.append(mx.MixedLM(y, design, terms=terms, variance=variance).fit())
    assert_allclose(found[1].llf, found[0].llf, rtol=1e-10)
    assert_allclose(found[1].fe_params, found[0].fe_params, rtol=1e-5)
    power = [result.fitted.fit.residual.psi[-1] for result in found]
    assert_allclose(power[1], power[0], rtol=1e-5)
