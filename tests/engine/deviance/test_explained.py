"""Responses of which several grouping factors leave nothing, and hardly anything."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.engine.deviance import explained

FORMULAS = [
    "y ~ x + (1 | g) + (1 | h)",
    "y ~ 1 + (1 | g) + (1 | h)",
    "y ~ x + (x | g) + (1 | h)",
    "y ~ x + (x || g) + (1 | h)",
]


def crossed(seed, noise):
    """y constant within levels of g, or a sum of effects of g and h, but for noise."""
    rng = np.random.default_rng(seed)
    n, p, q = int(rng.choice([40, 120, 300])), *(int(k) for k in rng.integers(3, 7, 2))
    data = pd.DataFrame({"g": rng.integers(0, p, n), "h": rng.integers(0, q, n)})
    data["x"] = rng.normal(size=n)
    y = 10.0 ** rng.integers(-3, 4) * rng.normal(size=p)[data.g] + rng.integers(0, 2) * 100
    if seed % 2:
        y = y + rng.normal(size=q)[data.h]
    data["y"] = y + noise * np.std(y) * rng.normal(size=n)
    return data


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("by_search", [False, True])
def test_what_is_explained_exactly_is_refused(formula, by_search, monkeypatch):
    if by_search:
        monkeypatch.setattr(explained, "MOST_NUMBERS", 0)
    for seed in range(6):
        model = mx.mixedlm(formula, crossed(seed, 0.0))
        for reml in (True, False):
            with pytest.raises(mx.DesignError, match="explain the response"):
                model.fit(reml=reml)


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_little_noise_is_fitted(formula):
    for seed in range(6):
        data = crossed(seed, 1e-7)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = mx.mixedlm(formula, data).fit()
        size = 1e-7 * np.std(data.y)
        assert 0.5 * size < result.sigma < 2 * size


def test_random_effects_that_take_all_of_the_rows_variance():
    """Weights tell it from the residual, which is not there: said with the reason."""
    rng = np.random.default_rng(0)
    n = 200
    data = pd.DataFrame({"row": np.arange(n), "w": rng.uniform(0.2, 5, n)})
    data["x"], data["e"] = rng.normal(size=(2, n))
    model = mx.mixedlm("e ~ x + (1 | row)", data, weights="w")
    with pytest.raises(mx.DesignError, match="residual variance is estimated as zero"):
        model.fit()
    data["y"] = data["e"] + 2 * rng.normal(size=n) / np.sqrt(data["w"])
    result = mx.mixedlm("y ~ x + (1 | row)", data, weights="w").fit()
    assert result.convergence.status == "interior"
    v = result.scale * np.diag(1 / data["w"]) + result.fitted.fit.covariances[0][
        0, 0
    ] * np.eye(n)
    x = np.column_stack([np.ones(n), data["x"]])
    inverse = np.linalg.inv(v)
    rest = data["y"] - x @ result.fe_params
    information = x.T @ inverse @ x
    deviance = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1]
    deviance += rest @ inverse @ rest + (n - 2) * np.log(2 * np.pi)
    assert result.deviance == pytest.approx(deviance, rel=1e-10)
