"""Random terms beside residual structures: those of one covariance are told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.exceptions import DesignError


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(range(20), 4), "v": np.tile(range(4), 20)})
    frame["h"], frame["x"] = frame["g"] // 4, rng.random(80)
    frame["site"] = frame["g"].map(lambda g: f"s{g}")
    frame["y"] = rng.normal(size=80) + frame["g"] % 3
    return frame


REFUSED = [
    ("(1 | g)", "cs(1 | g)", "(1 | g) and cs(1 | g) are the same covariance; drop one"),
    ("(1 | site)", "cs(v | g)", "(1 | site) and cs(v | g) are the same covariance"),
    ("(x || g)", "cs(1 | g)", "are the same covariance; drop one"),
    ("(1 | g)", "cs(1 | g, by=h)", "are the same covariance; drop one"),
    ("(1 | g)", "toep(v | g)", "overlap: toep has any covariance that the intercept adds"),
    ("(1 | g)", "us(v | g)", "overlap: us has any covariance that 'Intercept' adds"),
    ("(v | g)", "us(v | g)", "overlap: us has any covariance that 'Intercept', 'v' adds"),
    ("(0 + v | g)", "us(v | g)", "us has any covariance that 'v' adds; drop one of them"),
]


@pytest.mark.parametrize(("bar", "residual", "text"), REFUSED)
def test_the_same_twice(bar, residual, text, data):
    with pytest.raises(DesignError) as caught:
        mx.mixedlm(f"y ~ x + {bar}", data, residual=residual)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("bar", "residual", "variance"),
    [
        ("(1 | g)", "ar1(v | g)", None),
        ("(1 | g)", "toep(v | g, bands=2)", None),
        ("(0 + v | g)", "toep(v | g)", None),
        ("(1 | h)", "cs(1 | g)", None),
        ("(0 + x | g)", "us(v | g)", None),
        ("(1 | g)", "csh(v | g)", None),
        ("(1 | g)", "cs(1 | g)", "exp(x)"),
        ("(1 | h)", "us(v | g)", None),
    ],
)
def test_different_covariances(bar, residual, variance, data):
    model = mx.mixedlm(f"y ~ x + {bar}", data, residual=residual, variance=variance)
    assert model.residual is not None


def test_terms_of_arrays(data):
    term = mx.RandomTerm(data["g"], group="g")
    structure = mx.CS(1, data["g"].to_numpy())
    with pytest.raises(DesignError, match="are the same covariance"):
        mx.MixedLM(data["y"], np.ones((80, 1)), terms=[term], residual=structure)
