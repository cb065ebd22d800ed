"""Equations hold the estimates, are well formed, and read names as they are."""

from __future__ import annotations

import pickle
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from helpers.residual_fits import fit_of, series

import mixedext as mx
from mixedext.reporting.mathematics import Name, Number, latex

pytestmark = [pytest.mark.formula_engine, pytest.mark.filterwarnings("ignore")]

FORMULAS = [
    "yield ~ nitro + (1 | Block)",
    "yield ~ nitro + (nitro | Block)",
    "yield ~ nitro + (nitro || Block)",
    "yield ~ nitro * Variety + (1 | Block/Variety)",
    "yield ~ 0 + Variety + (1 | Block)",
    "yield ~ 0 + (1 | Block)",
    "yield ~ nitro",
    "yield ~ nitro + twice + (1 | Block)",
    "np.log(yield_) ~ nitro + (1 | Block)",
    "yield ~ nitro + (1 | Block) + offset(twice)",
]


@pytest.fixture(scope="module")
def data():
    data = mx.datasets.oats.load().data.reset_index(drop=True)
    return data.assign(twice=2 * data["nitro"], w=1.0 + data["nitro"], yield_=data["yield"])


@pytest.fixture(scope="module", params=FORMULAS)
def result(request, data):
    return mx.mixedlm(request.param, data).fit()


def numbers(text):
    return [float(v) for v in re.findall(r"-?\d+\.\d+", text)]


def test_numbers_are_the_estimates(result):
    shown = numbers(result.equation(coefficients=True).replace("- ", "-"))
    beta = result.fe_params.dropna().to_numpy()
    variances = [np.asarray(c).ravel() for c in result.fitted.fit.covariances]
    expected = np.concatenate([beta, *variances, [result.scale]])
    expected = expected[expected != 0]
    np.testing.assert_allclose([v for v in shown if v], expected, atol=6e-4, rtol=1e-6)


def test_brackets_are_balanced_and_mathml_is_sound(result):
    for coefficients in (False, True):
        text = result.equation(coefficients)
        assert text.count("{") == text.count("}")
        assert text.count(r"\begin") == text.count(r"\end")
        page = ElementTree.fromstring(f"<div>{text.as_html()}</div>")
        assert len(page) == len(text.lines)
        assert not numbers(result.equation())


def test_a_term_a_coefficient(result):
    text = result.equation()
    kept = result.fe_params.dropna()
    assert text.count(r"\beta_") == len(kept)
    for name in kept.index.drop("Intercept", errors="ignore"):
        assert latex(Name(name)) in text
    for name in result.model.dropped_columns:
        assert latex(Name(name)) + "_{i}" not in text.split("offset")[0]
    effects = sum(t.k for t in result.fitted.random.terms)
    assert len(re.findall(r"b_\{\d,\\mathrm\{[^}]*\}\[i\]\}", text)) == effects


def test_weights_and_offset(data):
    text = mx.mixedlm("yield ~ nitro + (1 | Block)", data, weights="w").fit().equation()
    assert r"\sigma^{2}/w_{i}" in text
    text = mx.mixedlm("yield ~ nitro + (1 | Block)", data, offset="twice").fit().equation()
    assert r"\mathrm{twice}_{i} + \beta_{0}" in text


def test_correlations_are_letters_and_zeros(data):
    whole = mx.mixedlm("yield ~ nitro + (nitro | Block)", data).fit().equation()
    assert whole.count(r"\rho") == 2
    apart = mx.mixedlm("yield ~ nitro + (nitro || Block)", data).fit().equation()
    assert r"\rho" not in apart
    assert r"\sigma_{\mathrm{Block},1}^{2}" in apart


def test_names_are_escaped():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"a_b": rng.standard_normal(30), "g#1": np.arange(30) % 5})
    data["100%"] = rng.standard_normal(30)
    result = mx.mixedlm("Q('100%') ~ a_b + (1 | Q('g#1'))", data).fit()
    text = result.equation()
    assert r"a\_b" in text
    assert r"100\%" in text
    assert r"g\#1" in text


def test_memberships():
    rng = np.random.default_rng(2)
    term = mx.SparseTerm((rng.random((40, 4)) < 0.5) * 1.0, group="school")
    y = rng.standard_normal(40)
    text = mx.MixedLM(y, np.ones((40, 1)), terms=[term]).fit().equation()
    assert r"\boldsymbol{z}_{i}^{\top}\boldsymbol{b}_{\mathrm{school}}" in text
    assert r"\boldsymbol{I}_{4}" in text


def test_long_means_are_broken(data):
    text = (
        mx.mixedlm("yield ~ nitro * Variety + (1 | Block/Variety)", data).fit().equation()
    )
    assert r"&\quad +" in text


def test_powers_of_ten():
    assert latex(Number("-1.5e-07")) == r"-1.5 \times 10^{-7}"
    assert latex(Number("2.5e+10")) == r"2.5 \times 10^{10}"


def test_equations_are_kept(data):
    text = mx.mixedlm("yield ~ nitro + (1 | Block)", data).fit().equation()
    again = pickle.loads(pickle.dumps(text))
    assert again == text
    assert again.lines == text.lines
    assert text._repr_latex_().startswith("$$")


def test_correlated_errors_have_the_law_of_their_group():
    result = fit_of("Orthodont: lme_int_ar1_varident")
    text = result.equation()
    assert r"\boldsymbol{\varepsilon}_{j} &\sim" in text
    assert r"\sigma^{2}\,\boldsymbol{\Lambda}_{j}" in text
    assert r"j = 1, \ldots, 27\ (\mathrm{Subject})" in text
    assert r"ar1(age\ |\ Subject),\ variance\ ident(Sex)" in text
    assert "2.937" in result.equation(coefficients=True)
    ElementTree.fromstring(f"<div>{text.as_html()}</div>")
    weighted = mx.mixedlm(
        "y ~ x", series(), residual="ar1(visit | subject)", weights="weight"
    ).fit()
    assert r"\boldsymbol{W}_{j}^{-1/2}" in weighted.equation()
