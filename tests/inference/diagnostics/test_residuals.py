"""Residuals of both kinds in every scale: R's values, dense algebra, bad input."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from helpers.dense import covariance
from helpers.dense_deletion import dense_fit
from helpers.designs import design_arguments, random_design
from helpers.paths import RESULTS
from helpers.reference import read_case, relative_error
from helpers.residual_fits import MODELS, dense_residual, fit_of, reference, series
from hypothesis import assume, given, settings

import mixedext as mx
from mixedext.engine.fit import evaluate_design
from mixedext.exceptions import NotEstimableWarning
from mixedext.fitted import Fitted
from mixedext.inference.diagnostics import residuals as module
from mixedext.inference.diagnostics.leverage import leverages
from mixedext.inference.diagnostics.residuals import residuals

pytestmark = pytest.mark.formula_engine

CASES = sorted(path.stem for path in (RESULTS / "influence").glob("*.json"))


@pytest.mark.parametrize("name", CASES)
def test_as_in_r(name):
    case = read_case(RESULTS / "influence" / f"{name}.json")
    model = mx.mixedlm(case.formula, case.data, **case.options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = model.fit(reml=case.values["REML"])
    want = case.values["residuals"]
    for kind in ("conditional", "marginal"):
        assert relative_error(result.residuals(kind), want[kind]) < 1e-7
        for scale in ("pearson", "studentized"):
            values = want[f"{kind}_{scale}"]
            assert relative_error(result.residuals(kind, scale), values) < 1e-7
    got = result.residuals("marginal", "cholesky")
    assert relative_error(got, want["marginal_scaled"]) < 1e-7
    if result.model.weights is None:  # else the variances are of another scale
        pearson = result.residuals("marginal") / result.residuals("marginal", "pearson")
        known = np.isfinite(pearson)
        variance = np.array(want["marginal_variance"])
        np.testing.assert_allclose(pearson[known] ** 2, variance[known], rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None)
@given(**design_arguments)
def test_dense_algebra(seed, n, kinds, nested, shared, weighted, dependent):
    design = random_design(seed, n, kinds, nested, shared, weighted, dependent)
    reml = bool(seed % 2)
    try:
        model = mx.MixedLM(design.y, design.x, terms=design.terms, weights=design.weights)
        fit = evaluate_design(model._design, reml, design.theta)
    except mx.DesignError:
        assume(False)
    fitted = Fitted(fit, model)
    x = design.x[:, fitted.fixed.kept]
    weights = np.ones(n) if design.weights is None else design.weights
    dense = dense_fit(design.y, x, design.terms, fit.lams, reml, design.weights)
    e, r, sigma = dense.marginal, dense.conditional(weights), np.sqrt(dense.scale)
    whole, _ = dense.leverage(weights)
    left = dense.v - x @ dense.unscaled @ x.T
    scales = [np.nan] * n
    for i in range(n):
        rest = np.delete(np.arange(n), i)
        if np.linalg.cond(x[rest]) < 1e7:
            scales[i] = dense.without([i]).scale
    deleted = np.sqrt(scales)
    by_r, by_e = np.sqrt((1 - whole) / weights), np.sqrt(np.diag(left))
    want = {
        ("conditional", "raw"): r,
        ("conditional", "pearson"): r * np.sqrt(weights) / sigma,
        ("conditional", "cholesky"): r * np.sqrt(weights) / sigma,
        ("conditional", "studentized"): r / by_r / sigma,
        ("conditional", "deleted"): r / by_r / deleted,
        ("marginal", "raw"): e,
        ("marginal", "pearson"): e / np.sqrt(np.diag(dense.v)) / sigma,
        ("marginal", "studentized"): e / by_e / sigma,
        ("marginal", "deleted"): e / by_e / deleted,
        ("marginal", "cholesky"): np.linalg.solve(np.linalg.cholesky(dense.v), e) / sigma,
    }
    good = (1 - whole > 1e-6) & np.isfinite(deleted) & (by_e > 1e-4)
    for (kind, scale), values in want.items():
        got = residuals(fitted, kind, scale)
        np.testing.assert_allclose(got[good], values[good], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + (x | a)",
        "y ~ x + (1 | a/b)",
        "y ~ x + (1 | a) + (1 | c)",
        "y ~ x + (1 | a/b) + (0 + x | a)",
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_cholesky_whitens_exactly(formula):
    """The map from responses to residuals, column by column, turns V into I."""
    rng = np.random.default_rng(0)
    n = 40
    data = pd.DataFrame({"x": rng.normal(size=n), "a": rng.integers(0, 6, n)})
    data["b"], data["c"] = rng.integers(0, 3, n), rng.integers(0, 5, n)
    data["w"] = rng.uniform(0.3, 3, n)
    data["y"] = rng.normal(size=n) + data["x"] * rng.normal(size=6)[data["a"]]
    result = mx.mixedlm(formula, data, weights="w").fit()
    fitted = result.fitted
    terms, weights = result.model.random_terms, data["w"].to_numpy()
    v = covariance(terms, fitted.fit.lams, weights)
    inverse = np.column_stack(
        [module._whitened(fitted, unit) for unit in np.eye(n) * fitted.sigma]
    )
    np.testing.assert_allclose(inverse @ v @ inverse.T, np.eye(n), atol=1e-12)
    assert np.allclose(inverse, np.tril(inverse))


def test_labels_and_missing_rows():
    data = mx.datasets.sleepstudy.load().data
    data.index = [f"r{i}" for i in range(len(data))]
    data.iloc[3, data.columns.get_loc("Reaction")] = np.nan
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data, missing="drop").fit()
    for kind in ("conditional", "marginal"):
        found = result.residuals(kind, "studentized")
        assert found.name == f"{kind}_studentized"
        assert found.index.equals(data.index.delete(3))
    np.testing.assert_allclose(result.residuals(), result.resid)
    np.testing.assert_allclose(result.residuals(scale="pearson"), result.resid_pearson)
    by_row = result.get_influence()
    studentized = result.residuals(scale="studentized")
    np.testing.assert_allclose(studentized, by_row.resid_studentized_internal)
    deleted = result.residuals(scale="deleted")
    np.testing.assert_allclose(deleted, by_row.resid_studentized_external)


def test_names_that_are_not_known():
    data = mx.datasets.dyestuff.load().data
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    with pytest.raises(ValueError, match=r"kind='margnal'.*Did you mean 'marginal'"):
        result.residuals("margnal")
    with pytest.raises(ValueError, match="scale='student' is not known; use 'raw'"):
        result.residuals(scale="student")


def test_too_many_crossed_effects(monkeypatch):
    data = mx.datasets.penicillin.load().data
    result = mx.mixedlm("diameter ~ 1 + (1 | plate) + (1 | sample)", data).fit()
    assert np.isfinite(result.residuals("marginal", "cholesky")).all()
    monkeypatch.setattr(module, "MOST_SHARED", 29)
    with pytest.raises(ValueError, match=r"tie 30 random effects together.*studentized"):
        result.residuals("marginal", "cholesky")
    # nested effects are tied within the outer levels alone
    pastes = mx.datasets.pastes.load().data
    nested = mx.mixedlm("strength ~ 1 + (1 | batch/cask)", pastes).fit()
    assert np.isfinite(nested.residuals("marginal", "cholesky")).all()


@pytest.mark.filterwarnings("ignore:The random effects covariance")
def test_rows_that_are_fitted_exactly():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(list("abcd"), 5), "y": rng.normal(size=20)})
    data["f"] = np.where(np.arange(20) == 7, "one", "all")
    result = mx.mixedlm("y ~ f + (1 | g)", data).fit()
    for kind, scale in [("conditional", "studentized"), ("marginal", "deleted")]:
        with pytest.warns(NotEstimableWarning, match=r"1 rows \(numbers 7, from 0\)"):
            found = result.residuals(kind, scale)
        assert np.flatnonzero(np.isnan(found)).tolist() == [7]
    assert np.isfinite(result.residuals("marginal", "studentized")).all()


# ---- a residual covariance ----


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", list(MODELS))
def test_residuals_are_nlmes(name, reml):
    ref, result = reference()[name + ("" if reml else "_ml")], fit_of(name, reml)
    rows = np.array(ref["rows"]) - 1
    normalized = np.asarray(result.resid_normalized)
    pairs = {
        "fitted": result.fittedvalues,
        "resid_pearson": result.resid_pearson,
        "resid_normalized": normalized,
    }
    if "corCompSymm" in ref["call"]:  # nlme has another root
        del pairs["resid_normalized"]
    for what, values in pairs.items():
        size = np.abs(ref[what]).max()
        # of a variance that is nearly zero nlme's search stops a little earlier
        close = 5e-5 if "slope_varident_age" in name else 1e-5
        got = np.asarray(values)[rows]
        np.testing.assert_allclose(got, ref[what], rtol=0, atol=close * size, err_msg=what)
    assert normalized @ normalized == pytest.approx(ref["sum_of_squares"], rel=1e-5)
    np.testing.assert_allclose(
        result.fittedvalues + result.resid, result.model.endog, rtol=1e-12
    )


@pytest.mark.parametrize(
    "bar", ["", " + (1 | subject)", " + (t | subject)", " + (1 | arm)"]
)
@pytest.mark.parametrize("residual", ["ar1(visit | subject)", "ar1h(visit | subject)"])
def test_residuals_are_those_of_dense_roots(residual, bar):
    if bar and "ar1h" in residual:
        pytest.skip("not every variance is identified beside random effects")
    data = series()
    model = mx.mixedlm(f"y ~ x{bar}", data, residual=residual, weights="weight")
    result = model.fit()
    r = dense_residual(result)
    v = result.V().values.toarray()
    order = np.lexsort((data["visit"], data["subject"]))
    back = np.argsort(order)

    def whitened(matrix, values):
        root = np.linalg.cholesky(matrix[np.ix_(order, order)])
        return np.linalg.solve(root, values[order])[back]

    e = model.endog - model.exog @ result.fe_params.to_numpy()
    conditional = model.endog - np.asarray(result.fittedvalues)
    # the conditional residuals are R V^-1 (y - X b)
    np.testing.assert_allclose(conditional, r @ np.linalg.solve(v, e), rtol=1e-6, atol=1e-8)
    expected = {
        ("conditional", "pearson"): conditional / np.sqrt(np.diag(r)),
        ("conditional", "normalized"): whitened(r, conditional),
        ("conditional", "cholesky"): whitened(r, conditional),
        ("marginal", "raw"): e,
        ("marginal", "pearson"): e / np.sqrt(np.diag(v)),
    }
    if "arm" not in bar:  # rows of a group stand together only within its levels
        expected["marginal", "normalized"] = whitened(v, e)
    for (kind, scale), values in expected.items():
        found = result.residuals(kind, scale)
        assert found.index.equals(data.index)
        np.testing.assert_allclose(found, values, rtol=1e-7, atol=1e-9, err_msg=scale)
    own = result.residuals("marginal", "cholesky")
    assert own @ own == pytest.approx(e @ np.linalg.solve(v, e), rel=1e-9)
    np.testing.assert_array_equal(
        result.resid_normalized, result.residuals("conditional", "normalized")
    )


def test_independent_errors_are_normalized_as_they_are():
    result = mx.mixedlm("y ~ x + (1 | subject)", series(), weights="weight").fit()
    np.testing.assert_array_equal(result.resid_normalized, result.resid_pearson)
    np.testing.assert_array_equal(
        result.residuals("marginal", "normalized"), result.residuals("marginal", "cholesky")
    )


@pytest.mark.parametrize("scale", ["studentized", "deleted"])
def test_correlated_errors_are_not_studentized(scale):
    result = fit_of("Orthodont: gls_ar1h")
    refused = partial(pytest.raises, NotImplementedError)
    for kind in ("conditional", "marginal"):
        with refused(match=rf"scale='{scale}'.*ar1h.*use scale='normalized'"):
            result.residuals(kind, scale)
    with refused(match="get_influence of single rows takes residuals"):
        result.get_influence()
    with refused(match="leverage of a row takes residuals for independent"):
        leverages(result.fitted)
