"""What a Fit holds, and the check of its digits against the rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import dense

import mixedext as mx
from mixedext.engine.fit import evaluate_design, fit_design, followed
from mixedext.engine.information import refinement
from mixedext.engine.rows.design import prepare_design
from mixedext.fitted import ModelRows
from mixedext.specification.terms.random_terms import RandomTerm

pytestmark = pytest.mark.formula_engine


@pytest.fixture
def example():
    rng = np.random.default_rng(0)
    n = 90
    g = rng.integers(0, 9, n)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = x.sum(axis=1) + rng.normal(size=9)[g] + rng.normal(size=n)
    return y, x, [RandomTerm(g, x, group="g")], rng.uniform(0.5, 2.0, n)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reml", [False, True])
def test_fit_against_dense_algebra(example, reml, weighted):
    y, x, terms, weights = example
    weights = weights if weighted else None
    fit = fit_design(prepare_design(y, x, terms, weights), reml)
    v = dense.covariance(terms, fit.lams, weights)
    inverse = np.linalg.inv(v)
    information = x.T @ inverse @ x
    beta = np.linalg.solve(information, x.T @ inverse @ y)
    residual = y - x @ beta
    dof = 88 if reml else 90
    scale = residual @ inverse @ residual / dof
    assert fit.scale == pytest.approx(scale, rel=1e-10)
    np.testing.assert_allclose(fit.coefficients, beta, rtol=1e-9)
    np.testing.assert_allclose(
        fit.covariance, scale * np.linalg.inv(information), rtol=1e-9
    )
    z = dense.dense_z(terms[0])
    sigma = fit.lams[0] @ fit.lams[0].T
    modes = (z.T @ inverse @ residual).reshape(9, 2) @ sigma
    np.testing.assert_allclose(fit.effects[0], modes, rtol=1e-8, atol=1e-10)
    assert fit.log_likelihood == pytest.approx(
        -0.5 * dense.deviance(y, x, terms, fit.lams, reml, weights), rel=1e-11
    )


def test_precision_of(example):
    y, x, terms, weights = example
    fit = fit_design(prepare_design(y, x, terms, weights), True)
    mean = x @ fit.coefficients + (x * fit.effects[0][terms[0].codes]).sum(axis=1)
    assert refinement.precision_of(fit, y - mean, weights) < 1e-11
    assert refinement.precision_of(fit, 1.01 * (y - mean), weights) > 1e-3


@pytest.mark.parametrize("weighted", [False, True])
def test_refinement_changes_nothing_where_nothing_is_lost(example, weighted):
    y, x, terms, weights = example
    terms = [*terms, RandomTerm(np.arange(90) % 7, x[:, :1], group="h")]
    weights = weights if weighted else None
    fit = fit_design(prepare_design(y, x, terms, weights), True)
    assert not refinement.needs_refinement(fit)
    refined = refinement.refine_fit(fit, y, x, terms, weights)
    assert refined.deviance == pytest.approx(fit.deviance, rel=1e-12)
    assert refined.scale == pytest.approx(fit.scale, rel=1e-10)
    np.testing.assert_allclose(refined.covariance, fit.covariance, rtol=1e-9)
    np.testing.assert_allclose(refined.coefficients, fit.coefficients, rtol=1e-9)


def test_effects_whose_squares_overflow_refine_nothing(example, monkeypatch):
    """As of refits that have run off to variances without end."""
    y, x, terms, weights = example
    terms = [*terms, RandomTerm(np.arange(90) % 7, x[:, :1], group="h")]
    fit = fit_design(prepare_design(y, x, terms, weights), True)
    by_term = type(fit.objective).by_term
    monkeypatch.setattr(
        type(fit.objective), "by_term", lambda *args: 1e200 * by_term(*args)
    )
    assert refinement.refine_fit(fit, y, x, terms, weights) is fit


def test_a_fit_asks_for_no_row(monkeypatch):
    """Where no digits can be lost nothing of the length of the data is computed."""
    model = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data)

    def refuse(*args):
        raise AssertionError("rows were asked for")

    with monkeypatch.context() as patch:
        patch.setattr(ModelRows, "mean", refuse)
        result = model.fit()
        assert not {"effects", "covariance", "penalty"} & set(vars(result.fitted.fit))
        with pytest.raises(AssertionError):
            _ = result.resid
    result.remove_data()
    assert "Scaled residuals" in str(result.summary())


def test_a_search_that_went_on_keeps_what_the_first_one_found(example):
    """The minima, where they were found, and the log of both; the second's verdict."""
    second = fit_design(prepare_design(*example[:3]), True).optimum
    log = replace(
        second.convergence,
        minima=(5.0, 7.0),
        found_from="here",
        others_may_exist=not second.convergence.others_may_exist,
        is_unbounded=True,
        status="failed",
    )
    both = followed(replace(second, deviance=5.0, convergence=log), second)
    verdict, one = both.convergence, second.convergence
    assert verdict.minima == (second.deviance, 7.0)
    assert verdict.found_from == "here"
    assert verdict.others_may_exist is log.others_may_exist
    assert verdict.is_unbounded
    assert verdict.status == one.status
    assert verdict.n_evaluations == 2 * one.n_evaluations
    assert verdict.n_derivatives == 2 * one.n_derivatives
    assert len(both.records) == 2 * len(second.records)
    assert both.deviance == second.deviance


def test_precision_warning(monkeypatch):
    """Digits that cannot be had back: nothing may be said to be right."""
    rng = np.random.default_rng(0)
    g = rng.integers(0, 20, 300)
    y = rng.normal(size=20)[g] + rng.normal(size=300)
    h = np.arange(300) % 9
    data = pd.DataFrame({"y": y + rng.normal(size=9)[h], "g": g, "h": h})
    model = mx.mixedlm("y ~ 1 + (1 | g) + (1 | h)", data)
    monkeypatch.setattr(refinement, "DEVIANCE_NOISE", 0.0)
    monkeypatch.setattr(ModelRows, "mean", lambda *args: 0.99 * data["y"].to_numpy())
    with pytest.warns(mx.PrecisionWarning, match="differs from that of the rows"):
        model.fit()


def test_uncorrelated_terms_in_either_spelling():
    """lme4 1.1-31, lmer(y ~ x + (1 | g) + (0 + x | g)): REML criterion 135.369904612."""
    rng = np.random.default_rng(1227)
    k, x = np.repeat(range(4), 10), rng.uniform(0, 40, 40).round()
    rng.normal(size=40)
    mean = rng.normal(0, 2, 4)
    slope = rng.normal(0, 0.1, 4) - mean / 20
    y = (mean[k] + slope[k] * x + rng.normal(0, 1, 40)).round(1)
    data = pd.DataFrame({"g": k, "x": x, "y": y})
    for random in ("(1 | g) + (0 + x | g)", "(0 + x | g) + (1 | g)", "(x || g)"):
        result = mx.mixedlm(f"y ~ x + {random}", data).fit()
        assert result.deviance == pytest.approx(135.369904612, abs=1e-8)
        np.testing.assert_allclose(sorted(result.theta), [0.18931764, 2.956586], rtol=1e-5)


# Noise, seed, the restricted deviance at its minimum in theta and its error allowed, and
# the standard errors there, in 60 digits (mpmath).
HARDLY_A_RESIDUAL = [
    (1e-6, 0, -817.82278202, 2e-8, [0.4115925210663, 1.7969771444026654e-07]),
    (1e-8, 0, -1130.97435416, 2e-7, [0.4115925257747, 1.7969771009301818e-09]),
    (1e-8, 1, -1139.64330222, 3e-7, [0.7507601861768, 2.5619807622463650e-09]),
    (1e-10, 0, -1444.12592121, 2e-5, [0.4115925977872, 1.7969758061082630e-11]),
]


@pytest.mark.parametrize(("noise", "seed", "deviance", "error", "se"), HARDLY_A_RESIDUAL)
def test_slopes_beside_a_residual_that_is_hardly_there(noise, seed, deviance, error, se):
    """Least squares leave y nearly in X again, as V0 sees it: another residual is taken."""
    rng = np.random.default_rng(seed)
    g, _ = rng.integers(0, 5, 40), rng.integers(0, 4, 40)
    x = np.column_stack([np.ones(40), rng.normal(size=40)])
    rng.normal(size=40)
    y = 1 + rng.normal(size=5)[g] + noise * rng.normal(size=40)
    design = prepare_design(y, x, [RandomTerm(g, x, group="g")])
    fit = fit_design(design, True)
    assert fit.convergence.status == "boundary"
    assert fit.deviance == pytest.approx(deviance, abs=error)
    assert fit.objective.noise < 10 * error
    np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), se, rtol=1e-5)
    given = evaluate_design(design, True, fit.theta)
    assert given.deviance == pytest.approx(fit.deviance, abs=error)
    for factor in (0.999, 1.0 + 1e-7):  # least squares may leave no digit there
        assert np.isfinite(evaluate_design(design, True, factor * fit.theta).deviance)


def test_no_effects_of_a_standard_deviation_whose_square_is_no_number(example):
    fit = fit_design(prepare_design(*example[:3]), True)
    size = len(fit.optimum.theta)
    tiny = replace(fit, optimum=replace(fit.optimum, theta=np.full(size, 1e-280)))
    effects = [np.full_like(e, 1e-25) for e in fit._inner_effects]
    vars(tiny)["_inner_effects"] = effects
    assert tiny.penalty == 0.0
