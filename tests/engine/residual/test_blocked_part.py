"""Independent rows by the engine's factor against dense matrices of clusters."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import mixedext as mx
from mixedext.engine.information.expected import variance_information
from mixedext.engine.residual.blocked_part import BlockedPart
from mixedext.engine.residual.parts import Moments, PartProducts
from mixedext.models.mixedlm.residual_fitting import residual_rows
from tests.engine.residual.test_marginal import VARIANCES, some_point
from tests.helpers.residual_designs import random_design

RANDOM = ["same", "nested", "slopes", "finer", "crossed", "crossed slopes"]
MANY = "mixedext.engine.residual.rows.MANY_ROWS"


def both_ways(model, seed, reml, monkeypatch, zero=False):
    rows, x = some_point(model, seed)
    if zero:
        x[0] = 0.0
    dense = rows.deviance(reml)
    assert not any(isinstance(part, BlockedPart) for part in dense.parts)
    monkeypatch.setattr(MANY, 0)
    other = residual_rows(model).deviance(reml)
    assert all(isinstance(part, BlockedPart) for part in other.parts)
    return dense, other, x


def check(dense, other, x):
    assert_allclose(other.evaluate(x).value, dense.evaluate(x).value, rtol=1e-12)
    wanted = dense.derivatives()[0]
    assert_allclose(other.derivatives()[0], wanted, atol=1e-11 * np.abs(wanted).max())
    directions = [s.covariance_basis for s in dense.structures]
    n, psi = sum(map(len, directions)) + dense.n_psi, dense.psi(x)
    rng = np.random.default_rng(0)
    n_natural = 1 + dense.n_psi
    weight, natural = rng.standard_normal((n, n)), rng.standard_normal((n_natural,) * 2)
    weight, natural = weight @ weight.T, natural @ natural.T
    found = []
    for deviance in (other, dense):
        products = PartProducts.zeros(n, deviance.rank + 1)
        moments, second, curved = Moments.zeros(n, deviance.rank), 0.0, [0.0, 0.0, 0.0]
        for part in deviance.parts:
            known = directions, psi, deviance.solved
            part.add_products(*known, products)
            part.add_moments(*known, moments)
            second = second + part.weighted_second(*known, weight)
            more = part.curved(*known, 1.0, natural)
            curved = [a + b for a, b in zip(curved, more, strict=True)]
        own = vars(moments)
        own = [own[k] for k in ("gradient", "bend", "residual", "quadratic", "on_fixed")]
        found.append([*vars(products).values(), *own, second, *curved])
    for one, two in zip(*found, strict=True):
        assert_allclose(one, two, atol=2e-10 * np.abs(two).max(initial=1e-3))


@pytest.mark.parametrize("reml", [True, False], ids=["reml", "ml"])
@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("variance", VARIANCES)
def test_products(variance, random, reml, monkeypatch):
    seed = len(variance) + len(random)
    model = random_design(
        None, seed, random, weighted=seed % 2 == 0, variance=VARIANCES[variance]
    )
    check(*both_ways(model, seed, reml, monkeypatch))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(sorted(VARIANCES)),
    st.sampled_from(RANDOM),
    st.booleans(),
    st.booleans(),
)
def test_any_design(seed, variance, random, reml, weighted):
    model = random_design(
        None, seed, random, weighted=weighted, variance=VARIANCES[variance]
    )
    with pytest.MonkeyPatch.context() as patch:
        check(*both_ways(model, seed, reml, patch))


@pytest.mark.parametrize("random", RANDOM)
def test_a_variance_of_zero(random, monkeypatch):
    model = random_design(None, 5, random, variance=VARIANCES["power"])
    check(*both_ways(model, 5, True, monkeypatch, zero=True))


def test_parameters_that_overflow_are_an_infinite_deviance(monkeypatch):
    model = random_design(None, 5, "crossed", variance=VARIANCES["exp"])
    _, deviance, x = both_ways(model, 5, True, monkeypatch)
    x[-1] = 1e4
    assert deviance.evaluate(x).value == np.inf
    x[-1] = -1e4
    assert deviance.evaluate(x).value == np.inf


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
@pytest.mark.parametrize("random", ["nested", "slopes", "crossed"])
def test_fits_and_tests_are_the_same(random, monkeypatch):
    variance = VARIANCES["product"]
    one = random_design(None, 12, random, weighted=True, variance=variance).fit()
    monkeypatch.setattr(MANY, 0)
    other = random_design(None, 12, random, weighted=True, variance=variance).fit()
    assert other.converged
    assert_allclose(other.llf, one.llf, rtol=1e-11)
    first, second = (variance_information(r.fitted.fit) for r in (one, other))
    assert_allclose(
        second.observed, first.observed, atol=1e-4 * np.abs(first.observed).max()
    )
    for method in ("satterthwaite", "kenward-roger"):
        a, b = (r.t_test(np.eye(4), df_method=method) for r in (one, other))
        assert_allclose(b.sd, a.sd, rtol=1e-5)
        assert_allclose(b.df_denom, a.df_denom, rtol=1e-3)


def test_three_crossed_factors_of_many_levels():
    """A dense matrix of all levels would be that of 1,050, of all rows of 12,000."""
    rng = np.random.default_rng(1)
    n = 12_000
    data = pd.DataFrame(
        {
            "a": rng.integers(0, 600, n),
            "b": rng.integers(0, 400, n),
            "c": rng.integers(0, 50, n),
            "x": rng.uniform(1, 3, n),
        }
    )
    effects = [
        rng.standard_normal(k)[data[c]] for c, k in zip("abc", (600, 400, 50), strict=True)
    ]
    noise = data["x"] ** 0.7 * rng.standard_normal(n)
    data["y"] = data["x"] + sum(effects) + noise
    result = mx.mixedlm(
        "y ~ x + (1 | a) + (1 | b) + (1 | c)", data, variance="power(x)"
    ).fit()
    assert result.converged
    assert isinstance(result.fitted.fit.residual.stand().parts[0], BlockedPart)
    assert_allclose(result.fitted.fit.residual.psi, 0.7, atol=0.05)
    gradient = result.fitted.fit.residual.stand().derivatives()[0]
    assert np.abs(gradient).max() < 1e-3


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
@pytest.mark.parametrize("random", ["slopes", "crossed"])
def test_copies_stand_by_themselves(random, monkeypatch):
    monkeypatch.setattr(MANY, 0)
    result = random_design(None, 12, random, variance=VARIANCES["power"]).fit()
    copied = pickle.loads(pickle.dumps(result))
    one, other = (r.t_test(np.eye(4), df_method="kenward-roger") for r in (result, copied))
    assert_allclose(other.sd, one.sd, rtol=1e-12)
    assert_allclose(other.df_denom, one.df_denom, rtol=1e-9)
