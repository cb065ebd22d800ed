"""Flat minima, singular or not: what is left open, and what is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx
from mixedext.engine.fit import evaluate_design
from mixedext.engine.search.flatness import is_flat

FLAT, SINGULAR = mx.FlatLikelihoodWarning, SingularMatrixWarning


@pytest.fixture
def data():
    """A factor h with fixed effects of its own; slopes by g are singular."""
    rng = np.random.default_rng(0)
    n = 30
    g, h, x = rng.integers(0, 2, n), rng.integers(0, 4, n), rng.normal(size=n)
    y = rng.normal(size=2)[g] * 3 + rng.normal(size=n)
    return pd.DataFrame({"g": g, "h": h, "x": x, "y": y})


# Satterthwaite's degrees of freedom in the summary: along a flat direction rounding decides
# whether the observed information is positive definite.
@pytest.mark.filterwarnings("ignore::mixedext.InformationWarning")
def test_singular_and_flat_are_both_said(data):
    """lme4 with the optimizer's start: the same criterion, theta of h 1.11 of 1."""
    model = mx.mixedlm("y ~ C(h) + x + (x | g) + (1 | h)", data)
    with pytest.warns() as caught:
        result = model.fit()
    assert {w.category for w in caught} == {FLAT, SINGULAR}
    verdict = result.convergence
    assert (verdict.status, verdict.is_singular, verdict.is_flat) == (
        "boundary",
        True,
        True,
    )
    assert "zero or some correlation" in verdict.message
    assert "flat" in verdict.message
    assert result.deviance == pytest.approx(88.2595543564, abs=1e-8)
    assert result.theta[-1] == pytest.approx(1.0, abs=1e-3)
    text = str(result.summary())
    assert "Singular fit: some" in text
    assert "Flat minimum: the data" in text
    # lme4's theta of h, and its standard errors there
    at = evaluate_design(model._design, True, np.array([*result.theta[:3], 1.112]))
    se = np.sqrt(np.diag(at.covariance))
    np.testing.assert_allclose(se[:4], [1.654, 1.745, 1.752, 1.761], atol=1e-3)


@pytest.mark.filterwarnings("ignore::mixedext.FlatLikelihoodWarning")
@pytest.mark.parametrize("formula", ["(1 | h)", "(1 | g) + (1 | h)", "(x || h)", "(x | h)"])
def test_a_variance_that_fixed_effects_take_in_stays_at_one(data, formula):
    """It is not driven to zero or to infinity by rounding, and others have their errors."""
    rng = np.random.default_rng(1)
    data["y"] += rng.normal(size=4)[data.h] * data.x
    result = mx.mixedlm(f"y ~ C(h) + x + {formula}", data).fit()
    assert (result.convergence.status, result.convergence.is_flat) == ("flat", True)
    frame = result.var_corr.set_index(["group", "name"])
    relative = frame.loc[("h", "Intercept"), "variance"] / result.scale
    assert 0.5 < relative < 2
    assert np.max(result.bse_fe) < 10
    errors = np.asarray(result.bse_re)
    if formula == "(x | h)":
        assert np.isnan(errors[:2]).all()
        assert errors[2] > 0
    elif len(errors) == 2:
        determined = 0 if "g" in formula else 1
        assert errors[determined] > 0
        assert np.isnan(errors[1 - determined])


def test_what_may_stand_in_several_places_is_not_flat():
    """Sigma of rank one with a variance of zero: lam is not unique, Sigma is."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(12), 6)
    x = rng.normal(size=72)
    e = rng.normal(size=72)
    e -= np.bincount(g, e)[g] / 6  # no variance between groups
    data = pd.DataFrame({"g": g, "x": x, "y": x * rng.normal(size=12)[g] + e})
    model = mx.mixedlm("y ~ x + (x | g)", data)
    objective = model._design.objective(True)
    with pytest.warns(SINGULAR):
        result = model.fit()
    assert not result.convergence.is_flat
    lam = result.fitted.fit.design.lams(result.fitted.fit.optimum.theta)[0]
    turned = (
        np.array([0.0, np.hypot(*lam[1]), 0.0]),
        np.array([0.0, 0.0, np.hypot(*lam[1])]),
    )
    assert objective.value(turned[0]) == pytest.approx(
        objective.value(turned[1]), rel=1e-12
    )
    if abs(lam[0, 0]) < 1e-12:
        assert not any(is_flat(objective, theta) for theta in turned)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_two_variances_of_which_the_sum_counts(share):
    """On the boundary, too: there the variance that is zero may take all of the sum."""
    data = mx.datasets.sleepstudy.load().data
    one = mx.RandomTerm(data["Subject"], group="Subject")
    both = mx.RandomTerm(
        data["Subject"],
        np.column_stack([np.ones(180), data["Days"]]),
        group="Subject",
        structure="diagonal",
    )
    x = np.column_stack([np.ones(180), data["Days"]])
    model = mx.MixedLM(data["Reaction"], x, terms=[one, both])
    alone = mx.mixedlm("Reaction ~ Days + (Days || Subject)", data).fit()
    result = model.fit()
    assert result.convergence.status == "flat"
    assert result.deviance == pytest.approx(alone.deviance, abs=1e-7)
    own = [np.nan, np.nan, np.asarray(alone.bse_re)[1]]
    np.testing.assert_allclose(result.bse_re, own, rtol=1e-4)
    sigma = alone.theta[0]
    theta = [sigma * np.sqrt(1 - share), sigma * np.sqrt(share), alone.theta[1]]
    objective = model._design.objective(True)
    assert is_flat(objective, model._design.inner_theta(theta))


def test_one_degree_of_freedom_for_two_variances():
    """Constant: any ratio of the variances is a minimum; the search stays where it is."""
    x = [-1.242, 1.553, 1.09, -0.86, -0.587]
    data = pd.DataFrame({"g": list("10021"), "t": list("abcba"), "x": x})
    data["y"] = [1.486, 3.319, 1.974, 1.431, 0.724]
    with pytest.warns(FLAT):
        result = mx.mixedlm("y ~ t + x + (1 | g)", data).fit()
    assert result.convergence.status == "flat"
    assert result.theta[0] < 10
    assert result.deviance == pytest.approx(result.model.objective([0.0])[0], abs=1e-9)
