"""Transformed responses and the way back."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.inference.means.back_transform import response_transform

FORWARD = {
    "log(y)": np.log,
    "np.log(y)": np.log,
    "np.log(y + 2.5)": lambda y: np.log(y + 2.5),
    "log(y - 1)": lambda y: np.log(y - 1),
    "np.log(1 + y)": lambda y: np.log(1 + y),
    "np.log2(y)": np.log2,
    "np.log10( y )": np.log10,
    "log10(I(y + 1e-1))": lambda y: np.log10(y + 0.1),
    "np.log1p(y)": np.log1p,
    "np.sqrt(y)": np.sqrt,
    "np.log(Q('my y'))": np.log,
    "np.log(`my y`)": np.log,
}


@pytest.mark.parametrize("text", FORWARD)
def test_there_and_back(text):
    y = np.array([1.3, 2.0, 7.5])
    transform = response_transform(text)
    eta = FORWARD[text](y)
    np.testing.assert_allclose(transform.inverse(eta), y, rtol=1e-13)
    h = 1e-5
    slope = (transform.inverse(eta + h) - transform.inverse(eta - h)) / (2 * h)
    np.testing.assert_allclose(transform.slope(eta), slope, rtol=1e-8)
    bend = (transform.slope(eta + h) - transform.slope(eta - h)) / (2 * h)
    np.testing.assert_allclose(transform.curvature(eta), bend, rtol=1e-8)
    adjusted = transform.adjusted(0.4)
    expected = y + 0.08 * transform.curvature(eta)
    np.testing.assert_allclose(adjusted.inverse(eta), expected, rtol=1e-13)
    slope = (adjusted.inverse(eta + h) - adjusted.inverse(eta - h)) / (2 * h)
    np.testing.assert_allclose(adjusted.slope(eta), slope, rtol=1e-8)


@pytest.mark.parametrize(
    "text", ["y", "I(y ** 2)", "np.log(y) + 1", "np.log(y / x)", "f(y)"]
)
def test_what_is_no_known_transformation(text):
    assert response_transform(text) is None


@pytest.mark.formula_engine
@pytest.mark.parametrize(
    ("family", "names"),
    [("binomial", ("probability", "logit scale")), ("poisson", ("mean", "log scale"))],
)
def test_axes_of_generalized_means_say_what_is_drawn(family, names):
    plt = pytest.importorskip("matplotlib.pyplot")
    data = pd.DataFrame({"g": np.arange(60) // 6, "f": np.tile(list("ab"), 30)})
    data["y"] = (np.arange(60) % 7 > 3).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mx.glmm("y ~ f + (1 | g)", data, family=family).fit()
    for kind, name in zip(("response", "link"), names, strict=True):
        figure = result.emmeans("f", type=kind).plot()
        assert figure.axes[0].get_xlabel() == name
        plt.close(figure)
