"""What is refused, what is named before the fit, and what is fitted."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedext as mx

pytestmark = pytest.mark.formula_engine

UNIDENTIFIED = mx.UnidentifiedVarianceWarning
SHORT_SERIES = Path(__file__).parents[2] / "results" / "data" / "short_series.csv"


@pytest.fixture
def data():
    rng = np.random.default_rng(9)
    out = pd.DataFrame({"g": np.arange(96) // 2, "h": np.arange(96) % 6})
    out["x"], out["z"] = rng.normal(size=(2, 96))
    out["y"] = rng.normal(size=6)[out["h"]] + rng.normal(size=96)
    out["h2"] = out["h"].map(str) + "k"
    out["x2"] = 2 * out["x"]
    out["f"] = rng.choice(list("abc"), 96)
    out["b"] = out["h"] % 2  # constant within the levels of h
    out["k"] = np.arange(96) % 2  # the same in all levels of g
    return out


@pytest.mark.parametrize("by_groups", [False, True])
def test_series_of_one_to_three_visits(by_groups):
    """900 effects for 653 rows.

    nlme: lme(y ~ t*lsi, random = ~ 1 + t + lsi | id); lmer(check.nobs.vs.nRE = "ignore"):
    -2 REML log-likelihood 2068.313.
    """
    data = pd.read_csv(SHORT_SERIES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if by_groups:
            model = mx.mixedlm("y ~ t*lsi", data, groups="id", re_formula="1 + t + lsi")
        else:
            model = mx.mixedlm("y ~ t*lsi + (1 + t + lsi | id)", data)
        result = model.fit()
    assert result.deviance == pytest.approx(2068.313, abs=1e-3)
    variances = result.var_corr["variance"].to_numpy()
    np.testing.assert_allclose(variances[:3], [1.21361, 0.22362, 0.44752], atol=1e-5)
    assert result.sigma == pytest.approx(0.50339, abs=1e-5)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ("(1 | h) + (x || h)", ["(1 | h)", "'Intercept' in (1 + x || h)"]),
        ("(1 | h) + (x | h)", ["(1 | h)", "'Intercept' in (1 + x | h)"]),
        ("(1 | h) + (1 | h2)", ["(1 | h)", "(1 | h2)"]),
        ("(1 | h:f) + (1 | f:h)", ["(1 | h:f)", "(1 | f:h)"]),
        ("(0 + x | h) + (0 + x2 | h)", ["(0 + x | h)", "(0 + x2 | h)"]),
        ("(0 + f | h) + (1 | h)", ["'f[a]', 'f[b]', 'f[c]'", "(1 | h)"]),
        ("(b | h)", ["'Intercept', 'b' in (1 + b | h)", "in every level"]),
    ],
)
def test_what_repeats_is_named_before_the_fit(data, terms, words):
    with pytest.warns(UNIDENTIFIED, match="cannot be told apart") as caught:
        mx.mixedlm(f"y ~ x + {terms}", data)
    assert len(caught) == 1
    message = str(caught[0].message)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "terms",
    [
        "(x || h)",
        "(1 | g) + (1 | h)",
        "(1 | h/f)",
        "(1 + x | h) + (0 + z | h)",
        "(0 + f || h) + (1 | h)",
        "(1 + z | g)",
    ],
)
def test_what_is_told_apart_is_not_named(data, terms):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mx.mixedlm(f"y ~ x + {terms}", data)


def test_the_intercept_stated_twice():
    """Of two variances the sum is determined: flat, and the slope alone has an error."""
    data = mx.datasets.sleepstudy.load().data
    with pytest.warns(UNIDENTIFIED, match="Intercept"):
        model = mx.mixedlm("Reaction ~ Days + (1 | Subject) + (Days || Subject)", data)
    with pytest.warns(mx.FlatLikelihoodWarning):
        result = model.fit()
    once = mx.mixedlm("Reaction ~ Days + (Days || Subject)", data).fit()
    assert result.convergence.status == "flat"
    variances = result.var_corr["variance"]
    assert variances[0] + variances[1] == pytest.approx(627.6, abs=0.1)
    errors = np.asarray(result.bse_re)
    assert np.isnan(errors[:2]).all()
    assert errors[2] == pytest.approx(np.asarray(once.bse_re)[1], rel=1e-4)
    text = " ".join(str(result.summary()).split())
    assert "the variance parameter is not determined by the data." in text


def test_interactions_that_come_twice_are_one(data):
    def terms(formula):
        return [t.group for t in mx.mixedlm(f"y ~ x + {formula}", data).random_terms]

    assert terms("(1 | h*f*h*f)") == ["h", "f", "h:f"]
    assert terms("(1 | h/f/h)") == ["h", "f:h"]


def test_what_nothing_tells_from_the_residual_is_refused(data):
    for columns, reason in (("1 + k", "96 random effects"), ("0 + C(k)", "96 random eff")):
        with pytest.raises(mx.DesignError, match=reason):
            mx.mixedlm(f"y ~ x + ({columns} | g)", data)
        with pytest.raises(mx.DesignError, match=reason):
            mx.MixedLM.from_chunks(f"y ~ x + ({columns} | g)", [data[:50], data[50:]])
    weighted = data.assign(w=np.random.default_rng(1).uniform(0.5, 2.0, 96))
    mx.mixedlm("y ~ x + (1 + k | g)", weighted, weights="w")
    with pytest.raises(mx.DesignError, match="96 random effects"):
        mx.mixedlm("y ~ x + (1 + k | g)", data.assign(w=2.0), weights="w")


@pytest.mark.parametrize("bars", ["(t || g / h)", "(x + z | h) + (t || g)"])
def test_more_variances_than_rows_are_refused(data, bars):
    """Numbers that are kept as text are categories, here 27 of 30 rows."""
    text = [f"{x:.3f}" for x in data["x"][:27]]
    few = data[:30].assign(t=text + text[:3], g=np.arange(30) % 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(mx.DesignError, match=r"more than there are rows \(30\)"):
            mx.mixedlm(f"y ~ x + {bars}", few)
