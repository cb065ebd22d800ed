"""Responses simulated from a formula and given parameters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx

pytestmark = pytest.mark.formula_engine
COV = {"g": np.array([[2.0, 0.6], [0.6, 1.0]]), "h": 0.5}
FORMULA = "y ~ x + f + (x | g) + (1 | h)"
FIXED = {"Intercept": 10.0, "x": 0.5, "f[T.b]": -2.0}


@pytest.fixture(scope="module")
def design():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(5), 6), "h": np.tile(np.arange(3), 10)})
    frame["x"], frame["f"] = rng.normal(size=30), np.tile(list("abb"), 10)
    frame["w"], frame["o"] = rng.uniform(0.5, 2, 30), rng.normal(size=30)
    frame.index = [f"row {i}" for i in range(30)]
    return frame


def simulate(design, formula=FORMULA, **given):
    given = {"fe_params": FIXED, "cov_re": COV, "sigma": 0.7} | given
    return mx.simulate(formula, design, **given)


def test_mean_and_covariance_of_the_rows(design):
    """Of 20,000 responses against X beta and V, row by row, made dense."""
    y = simulate(design, n=20_000, rng=1, weights="w", offset="o").to_numpy()
    x = np.column_stack([np.ones(30), design["x"], design["f"] == "b"])
    z = np.column_stack([np.ones(30), design["x"]])
    same = [np.equal.outer(design[g].to_numpy(), design[g].to_numpy()) for g in ("g", "h")]
    v = same[0] * (z @ COV["g"] @ z.T) + 0.5 * same[1] + np.diag(0.49 / design["w"])
    mean = x @ list(FIXED.values()) + design["o"]
    error = np.sqrt(np.diag(v) / 20_000)
    assert (np.abs(y.mean(axis=1) - mean) < 4.5 * error).all()
    moments = np.cov(y)
    error = np.sqrt((v**2 + np.outer(np.diag(v), np.diag(v))) / 20_000)
    assert (np.abs(moments - v) < 4.8 * error).all()


def test_as_results_simulate(design):
    """The same numbers as from a fit with these parameters."""
    data = design.assign(y=simulate(design, rng=3))
    fit = mx.mixedlm(FORMULA, data).fit()
    ours = simulate(
        design, n=4, rng=7, fe_params=fit.fe_params, cov_re=None, theta=fit.theta,
        sigma=fit.sigma,
    )  # fmt: skip
    pd.testing.assert_frame_equal(ours, fit.simulate(4, rng=7))


def test_shape_labels_and_seed(design):
    one = simulate(design, rng=5)
    assert isinstance(one, pd.Series)
    assert one.name == "y"
    assert one.index.equals(design.index)
    frame = simulate(design, rng=5, n=1)
    assert frame.shape == (30, 1)
    np.testing.assert_array_equal(frame[0], one)
    assert not np.array_equal(one, simulate(design, rng=6))
    many = mx.mixedlm(FORMULA, design.assign(y=one)).fit_many(simulate(design, n=5, rng=1))
    assert len(many) == 5


def test_response_in_any_form(design):
    base = simulate(design, rng=5)
    bare = simulate(design, "~ x + f + (x | g) + (1 | h)", rng=5)
    logs = simulate(design, "np.log(y) ~ x + f + (x | g) + (1 | h)", rng=5)
    full = simulate(design.assign(y=np.nan), rng=5)
    for other in (bare, logs, full):
        np.testing.assert_array_equal(base, other)
    assert logs.name == "np.log(y)"


def test_without_random_effects(design):
    y = mx.simulate("y ~ x", design, fe_params=[1, 2], sigma=1e-9, rng=1)
    np.testing.assert_allclose(y, 1 + 2 * design["x"], atol=1e-7)


def test_missing_values_of_covariates(design):
    some = design.assign(x=np.where(np.arange(30) == 3, np.nan, design["x"]))
    with pytest.raises(mx.MissingDataError, match="x"):
        simulate(some, rng=1)
    y = simulate(some, rng=1, missing="drop")
    assert len(y) == 29
    assert "row 3" not in y.index


def test_names_of_the_caller(design):
    def twice(x):
        return 2 * x

    y = mx.simulate("y ~ twice(x)", design, fe_params=[0, 1], sigma=1e-9, rng=1)
    np.testing.assert_allclose(y, 2 * design["x"], atol=1e-7)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fe_params": {"Intercept": 1, "x": 2}}, r"nothing of 'f\[T.b\]'"),
        ({"cov_re": {"g": np.eye(2)}}, r"nothing of \(1 \| h\)"),
        ({"sigma": -1}, "above zero"),
        ({"n": 0}, "n=0 must be"),
        ({"rng": "a"}, "rng='a' must be"),
        ({"weights": -np.ones(30)}, "weights must be positive"),
    ],
)
def test_mistakes(design, given, message):
    with pytest.raises(ValueError, match=message):
        simulate(design, **given)
    with pytest.raises(mx.FormulaError):
        simulate(design, "y ~ nowhere + (1 | g)")
