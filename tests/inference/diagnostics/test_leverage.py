"""Leverages: their sum, their shares, and dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.dense_deletion import dense_fit
from helpers.designs import design_arguments, random_design
from helpers.paths import RESULTS
from helpers.reference import read_case
from hypothesis import assume, given, settings

import mixedext as mx
from mixedext.engine.fit import evaluate_design
from mixedext.fitted import Fitted
from mixedext.inference.diagnostics.leverage import leverages


def model_mean(fitted, design):
    """X b + Z u, row by row."""
    mean = design.x @ np.nan_to_num(fitted.fixed.estimate)
    for term, effects in zip(design.terms, fitted.fit.effects, strict=True):
        mean += (term.z * effects[term.codes]).sum(axis=1)
    return mean


CASES = sorted(path.stem for path in (RESULTS / "influence").glob("*.json"))


@pytest.mark.formula_engine
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_as_in_r(name):
    case = read_case(RESULTS / "influence" / f"{name}.json")
    model = mx.mixedlm(case.formula, case.data, **case.options)
    found = leverages(model.fit(reml=case.values["REML"]).fitted)
    want = case.values["residuals"]
    tolerance = {"rtol": 1e-7, "atol": 1e-12}
    np.testing.assert_allclose(found.whole, want["leverage"], **tolerance)
    np.testing.assert_allclose(found.fixed, want["leverage_fixed"], **tolerance)
    np.testing.assert_allclose(found.random, want["leverage_random"], rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None)
@given(**design_arguments)
def test_dense_algebra(seed, n, kinds, nested, shared, weighted, dependent):
    design = random_design(seed, n, kinds, nested, shared, weighted, dependent)
    try:
        model = mx.MixedLM(design.y, design.x, terms=design.terms, weights=design.weights)
        fit = evaluate_design(model._design, True, design.theta)
    except mx.DesignError:
        assume(False)
    fitted = Fitted(fit, model)
    x = design.x[:, fitted.fixed.kept]
    weights = np.ones(n) if design.weights is None else design.weights
    dense = dense_fit(design.y, x, design.terms, fit.lams, True, design.weights)
    whole, fixed = dense.leverage(weights)
    found = leverages(fitted, scores=True)
    np.testing.assert_allclose(found.whole, whole, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.fixed, fixed, rtol=1e-8, atol=1e-10)
    # rows of F X'V0^-1
    want = dense.inverse @ x @ dense.unscaled
    scores = found.scores @ fit.root.T
    np.testing.assert_allclose(scores * weights[:, None], want, atol=1e-8)
    residual = design.y - model_mean(fitted, design)
    np.testing.assert_allclose(found.residual, residual, atol=1e-10)
    # p + q - tr J_uu
    columns = [x]
    for term, lam in zip(design.terms, fit.lams, strict=True):
        z = np.zeros((n, term.n_levels, term.k))
        z[np.arange(n), term.codes] = term.z @ lam
        columns.append(z.reshape(n, -1))
    b = np.column_stack(columns)
    p, q = x.shape[1], b.shape[1] - x.shape[1]
    prior = np.diag(np.r_[np.zeros(p), np.ones(q)])
    joint = np.linalg.inv(b.T @ (b * weights[:, None]) + prior)
    np.testing.assert_allclose(
        found.whole.sum(), p + q - np.trace(joint[p:, p:]), rtol=1e-9
    )
