"""Draws of the response: statsmodels' numbers in statsmodels' order."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from helpers.upstream_pair import random_params, upstream_pair
from helpers.versions import needs_statsmodels_15
from statsmodels.stats.mediation import Mediation
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@needs_statsmodels_15
@pytest.mark.parametrize("seed", [3, np.random.RandomState])
def test_as_statsmodels(seed):
    own, theirs = upstream_pair(2)
    params = random_params(np.random.default_rng(1)).get_packed(False, True)
    rng = [seed, seed] if seed == 3 else [seed(5), seed(5)]
    expected = theirs.get_distribution(params, 1.3, None).rvs(0, rng=rng[0])
    found = own.get_distribution(params, 1.3, None).rvs(0, rng=rng[1])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    exog = 2 * own.exog
    np.testing.assert_allclose(
        own.get_distribution(params, 1.3, exog).rvs(own.nobs, rng=1),
        theirs.get_distribution(params, 1.3, exog).rvs(own.nobs, rng=1),
        rtol=1e-12,
    )


def test_moments_of_a_model_by_bars():
    rng = np.random.default_rng(4)
    n = 12
    data = {"y": rng.normal(size=n), "a": np.arange(n) % 4, "b": np.arange(n) % 3}
    data |= {"x": rng.normal(size=n)}
    weights = rng.uniform(0.5, 2, n)

    frame = pd.DataFrame(data)
    model = mx.mixedlm("y ~ x + (1 | a) + (1 | b)", frame, weights=weights)
    scale, variances = 2.0, np.array([0.5, 1.5])
    distribution = model.get_distribution([1.0, 2.0, *variances], scale, None)
    source = np.random.default_rng(0)
    draws = np.array([distribution.rvs(n, rng=source) for _ in range(10_000)])
    mean = model.exog @ [1.0, 2.0]
    expected = np.diag(1 / weights)
    for name, variance in zip("ab", variances, strict=True):
        expected += variance * np.equal.outer(data[name], data[name])
    expected *= scale
    error = np.sqrt(np.diag(expected) / len(draws))
    assert np.abs((draws.mean(axis=0) - mean) / error).max() < 4.5
    size = np.sqrt(np.diag(expected))
    assert np.abs((np.cov(draws.T) - expected) / np.outer(size, size)).max() < 0.06


@needs_statsmodels_15
# Mediation makes models of which one column is constant
@pytest.mark.filterwarnings("ignore::mixedext.exceptions.RankDeficientWarning")
@pytest.mark.parametrize("formula", ["m ~ x", "m ~ x + (1 | g)"])
def test_mediation(formula):

    rng = np.random.default_rng(3)
    n = 160
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": np.arange(n) % 40})
    effects = 2 * rng.normal(size=40)
    frame["m"] = 0.5 * frame["x"] + effects[frame["g"]] + rng.normal(size=n)
    frame["y"] = 0.3 * frame["x"] + 0.7 * frame["m"] + rng.normal(size=n)
    outcome = sm.OLS.from_formula("y ~ x + m", frame)

    def summary(model):
        return Mediation(outcome, model, "x", "m").fit(n_rep=12, rng=1).summary()

    groups = "g" if formula == "m ~ x" else None
    found = summary(mx.MixedLM.from_formula(formula, frame, groups=groups))
    expected = summary(sm.MixedLM.from_formula("m ~ x", frame, groups="g"))
    assert found.shape == expected.shape
    # the draws of the parameters differ: their covariances do, by the optimizer
    np.testing.assert_allclose(found["Estimate"], expected["Estimate"], atol=0.02)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([1.0, 2.0], 1.0, None), "params must hold 3 fixed effects and 3 variance"),
        ((np.ones(6), -1.0, None), "scale=-1.0 must be a variance"),
        ((np.ones(6), 1.0, np.ones((3, 3))), "exog must have the shape"),
    ],
)
def test_bad_arguments(arguments, match):
    own, _ = upstream_pair(2, component=False)
    with pytest.raises(ValueError, match=match):
        own.get_distribution(*arguments)


def test_indefinite_covariances_as_mediation_draws_them():
    own, _ = upstream_pair(2, component=False)
    with pytest.warns(SingularMatrixWarning, match="not positive semidefinite"):
        drawn = own.get_distribution([0, 0, 0, 1.0, 2.0, 1.0], 1.0, None)
    # eigenvalues 3 and -1
    np.testing.assert_allclose(drawn.cov_re, np.full((2, 2), 1.5))


@needs_statsmodels_15
def test_draws_of_components_of_several_columns():
    """Groups with different numbers of columns, two of them on a row."""
    rng = np.random.default_rng(2)
    sizes = rng.integers(3, 8, 12)
    g = np.repeat(np.arange(12), sizes)
    frame = pd.DataFrame({"g": g, "z": rng.normal(size=len(g))})
    frame["v"] = [f"v{i}" for i in rng.integers(0, 4, len(g))]
    frame["y"] = rng.normal(size=len(g))
    arguments = {"groups": "g", "re_formula": "1", "vc_formula": {"m": "0 + z + C(v)"}}
    own = mx.MixedLM.from_formula("y ~ z", frame, **arguments)
    upstream = sm.MixedLM.from_formula("y ~ z", frame, **arguments)
    params = np.array([1.0, 0.5, 0.7, 0.3])
    draws = [m.get_distribution(params, 2.0, None).rvs(0, rng=3) for m in (own, upstream)]
    np.testing.assert_allclose(*draws, rtol=1e-12, atol=1e-12)
