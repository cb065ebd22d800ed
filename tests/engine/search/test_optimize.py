"""Newton, its fallback, the verdict and the log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from mixedext.kernels.search.newton import Newton
from statsmodels.tools.sm_exceptions import ConvergenceWarning

import mixedext as mx
from mixedext.engine.fit import fit_design
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.search import optimize
from mixedext.engine.search.optimize import minimize_deviance
from mixedext.specification.terms.random_terms import RandomTerm

ignore_singular = pytest.mark.filterwarnings(
    "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
)


def sleepstudy():
    return mx.mixedlm(
        "Reaction ~ Days + (Days | Subject)", mx.datasets.sleepstudy.load().data
    )


def test_log_and_counts():
    result = sleepstudy().fit()
    log = result.fit_log
    assert list(log.columns) == ["method", "deviance", "step", "expected_fall", "theta"]
    assert result.convergence.n_evaluations == len(log)
    assert log["deviance"].iloc[-1] == pytest.approx(result.deviance, rel=1e-14)
    np.testing.assert_allclose(log["theta"].iloc[-1], result.theta)
    assert len(log) == 1  # balanced: the moments are the REML estimate
    ml = sleepstudy().fit(reml=False, start_params=[1.0, 0.0, 1.0])
    log = ml.fit_log
    assert 4 < len(log) <= 9
    assert ml.convergence.n_evaluations == len(log)
    np.testing.assert_allclose(log["theta"].iloc[0], [1.0, 0.0, 1.0], atol=1e-14)
    assert log["deviance"].iloc[-1] <= log["deviance"].min() + 1e-9


def test_few_evaluations_on_the_classic_data():
    models = {
        "Yield ~ 1 + (1 | Batch)": mx.datasets.dyestuff,
        "diameter ~ 1 + (1 | plate) + (1 | sample)": mx.datasets.penicillin,
        "strength ~ 1 + (1 | batch/cask)": mx.datasets.pastes,
        "score ~ Machine + (Machine | Worker)": mx.datasets.machines,
        "yield ~ nitroF * Variety + (1 | Block/Variety)": mx.datasets.oats,
    }
    for formula, data in models.items():
        model = mx.mixedlm(formula, data.load().data)
        assert model.fit().convergence.n_evaluations <= 2, formula
        # one search; where else minima may lie is looked at besides
        verdict = fit_design(model._design, False, max_iterations=200).convergence
        assert verdict.n_derivatives <= 10, formula
        assert verdict.n_evaluations <= verdict.n_derivatives + 2, formula


def test_another_term_may_hold_the_variance():
    """lme4 1.1-31, lmer(y ~ x + (1 | a) + (1 | b), REML = FALSE): deviance 133.393686828.

    From the moments the search ends where both variances are zero, at 138.522.
    """
    x = [-5, -2, -1, 3, 0, -6, 1, -9, 0, -20, 5, -11, 11, -13, -26, 6, 8, -5, 8, 5, 11, 15]
    y = [0.8, -1.9, 2.3, -1.3, -0.6, 4.0, -0.8, -4.1, -4.5, 24.0, 2.0, -1.9, -2.8, 0.1]
    y += [-1.5, -0.1, 0.8, -7.2, 3.5, 5.1, 0.4, -5.4]
    factors = {"a": list("3154456342600544366133"), "b": list("2111111112221112122120")}
    model = mx.mixedlm(
        "y ~ x + (1 | a) + (1 | b)", pd.DataFrame({"x": x, "y": y, **factors})
    )
    alone = fit_design(model._design, False, max_iterations=200)
    assert alone.convergence.status == "boundary"
    assert alone.deviance == pytest.approx(138.52206, abs=1e-4)
    result = model.fit(reml=False)
    assert result.deviance == pytest.approx(133.393686828, abs=1e-8)
    assert result.convergence.status == "interior"


@ignore_singular
@pytest.mark.parametrize("seed", [88, *range(12)])
def test_no_start_ends_lower(seed):
    """With seed 88 lme4 1.1-31 ends at 205.410; the minimum is 203.414."""
    rng = np.random.default_rng(seed)
    a, b, c = (rng.integers(0, k, 40) for k in (5, 6, 3))
    y = 5 * rng.normal(size=30)[6 * a + b] + 0.5 * rng.standard_t(2, 40)
    y = (y + 3 * rng.normal(size=15)[3 * a + c]).round(1)
    data = pd.DataFrame({"a": a, "b": b, "c": c, "y": y})
    model = mx.mixedlm("y ~ 1 + (1 | a:b) + (1 | a:c)", data)
    result = model.fit()
    for start in np.exp(2 * rng.normal(size=(8, 2))):
        assert result.deviance < fit_design(model._design, True, start).deviance + 1e-6
    if seed == 88:
        assert result.deviance == pytest.approx(203.4140851, abs=1e-6)


def test_verdict_interior():
    verdict = sleepstudy().fit().convergence
    assert verdict.status == "interior"
    assert verdict
    assert verdict.gradient < 1e-4
    assert verdict.decrement < 1e-9
    assert verdict.curvature > 0
    assert str(verdict).startswith("interior: ")


def test_verdict_is_judged_at_the_point_not_by_the_optimizer():
    result = sleepstudy().fit(do_cg=False, start_params=[1.0, 0.0, 0.2])
    np.testing.assert_allclose(result.theta, [1.0, 0.0, 0.2], atol=1e-14)
    assert result.convergence.status == "failed"
    assert not result.converged
    assert result.convergence.decrement > 0.1
    assert "Not converged" in str(result.summary())
    at_optimum = sleepstudy().fit(do_cg=False, start_params=sleepstudy().fit().theta)
    assert at_optimum.converged


def test_fallback(monkeypatch):
    """If Newton gives up, the quasi-Newton fallback is followed by Newton again."""
    monkeypatch.setattr(optimize, "MAX_ITERATIONS", 2)
    result = sleepstudy().fit(start_params=[1.0, 0.0, 1.0])
    assert result.converged
    assert result.convergence.method == "L-BFGS-B, Newton"
    assert result.deviance == pytest.approx(1743.62827195, rel=1e-10)


def test_convergence_warning():
    model = sleepstudy()
    with pytest.warns(ConvergenceWarning, match="did not converge: no minimum: the dev"):
        result = model.fit(maxiter=1, start_params=[1.0, 0.0, 1.0])
    assert not result.converged


@ignore_singular
def test_flat_direction():
    """Two terms with the same column on the same factor: only their sum is determined."""
    data = mx.datasets.dyestuff.load().data
    with pytest.warns(mx.UnidentifiedVarianceWarning, match="cannot be told apart"):
        model = mx.mixedlm("Yield ~ 1 + (1 | Batch) + (1 | Batch)", data)
    with pytest.warns(mx.FlatLikelihoodWarning, match="simplify the random effects"):
        result = model.fit()
    assert result.convergence.status == "flat"
    assert result.deviance == pytest.approx(319.654276842, rel=1e-10)
    assert result.vcomp.sum() == pytest.approx(1764.05, rel=1e-5)


@ignore_singular
@pytest.mark.parametrize("seed", range(12))
def test_starts_end_at_the_same_optimum(seed):
    """Three columns, few groups, true covariance of rank seed % 4, bad scales."""
    rng = np.random.default_rng(seed)
    n_groups, size, rank = 8, 8, seed % 4
    g = np.repeat(np.arange(n_groups), size)
    z = np.column_stack([np.ones(len(g)), rng.normal(size=(len(g), 2))])
    b = rng.normal(size=(n_groups, rank)) @ rng.normal(size=(rank, 3))
    y = z.sum(axis=1) + (z * b[g]).sum(axis=1) + rng.normal(size=len(g))
    term = RandomTerm(g, z * [1.0, 1e3, 1e-3])
    design = prepare_design(y, z, [term])
    best = fit_design(design, True)
    assert best.convergence.converged
    for _ in range(6):
        start = design.outer_theta(rng.normal(size=6))
        other = fit_design(design, True, start)
        assert best.deviance <= other.deviance + 1e-5


@ignore_singular
def test_rectified_theta_is_canonical():
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(10), 6)
    data = pd.DataFrame({"y": rng.normal(size=60), "x": rng.normal(size=60), "g": g})
    result = mx.mixedlm("y ~ x + (x | g)", data).fit(start_params=[-1.0, 0.3, -2.0])
    lam = result.fitted.fit.lams[0]
    assert (np.diag(lam) >= 0).all()
    assert lam[0, 1] == 0.0


@ignore_singular
def test_zero_variances_of_uncorrelated_terms_are_exact():
    """The first of two uncorrelated columns without variance, in a fit and in a refit."""
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(12), 6), np.tile(np.arange(-3.0, 3.0), 12)
    y = rng.normal(size=12)[g] * x + rng.normal(size=72)
    y -= (np.bincount(g, y) / 6)[g] * 0.9
    data = pd.DataFrame({"y": y, "x": x + 0.5, "g": g})
    model = mx.mixedlm("y ~ x + (x || g)", data)
    result = model.fit()
    assert result.theta[0] == 0.0
    assert result.theta[1] > 0.1
    again = result.simulate_refits(40, rng=1)
    theta = np.asarray(again.theta)
    small = theta[:, 0] < 1e-4
    assert small.any()
    assert (theta[small, 0] == 0.0).all()
    assert (theta[:, 1] > 0.1).all()


def test_no_parameters():
    design = prepare_design(np.array([1.0, 2.0, 4.0]), np.ones((3, 1)), [])
    optimum = minimize_deviance(design.objective(True), np.zeros(0))
    assert optimum.convergence.converged
    assert optimum.gradient is None
    assert len(optimum.log) == 1


@ignore_singular
@pytest.mark.parametrize("seed", range(5))
def test_slow_convergence_is_not_taken_for_rounding(seed):
    """Where the average information is far from the curvature, Newton goes on."""
    rng = np.random.default_rng(seed)
    n = 400
    g, h = rng.integers(0, 12, n), rng.integers(0, 7, n)
    x = rng.normal(size=(n, 2))
    y = rng.normal(size=12)[g] + rng.normal(size=7)[h] * x[:, 0] + rng.normal(size=n)
    data = pd.DataFrame({"y": y, "a": x[:, 0], "b": x[:, 1], "g": g, "h": h})
    result = mx.mixedlm("y ~ a + b + (a + b || g) + (a + b | h)", data).fit()
    assert result.convergence.decrement < 1e-11


def no_residual_rows():
    """Terms that span all rows: the deviance has an infimum at no residual variance."""
    k = [4, 5, 1, 2, 0, 1, 0, 5, 5, 2, 0, 2, 3, 3, 3, 5, 4, 1, 4, 2, 0, 1, 4, 3]
    s = [0, 4, 8, 9, 13, 17, 18, 1, 5, 6, 10, 14, 15, 19, 2, 3, 7, 11, 12, 16, 20, 0, 4, 8]
    x = [1, 2, 3, 4, 1, 3, 0, 3, 0, 4, 4, 0, 2, 0, 2, 0, 1, 3, 3, 4, 4, 0, 2, 4]
    y = [6.83, 4.43, 5.78, 6.24, 5.58, 6.61, 5.55, 5.6, 3.32, 5.41, 8.82, 8.32]
    y += [5.82, 6.09, 6.33, 6.08, 7.12, 4.97, 7.41, 5.88, 6.44, 4.69, 6.69, 6.19]
    g, m = np.arange(24) % 7, np.arange(24) % 2
    return pd.DataFrame({"y": y, "x": x, "g": g, "k": k, "m": m, "s": s})


@ignore_singular
def test_no_residual_is_no_rival():
    """Fits, refits and batches stay at the minimum that leaves a residual."""
    data = no_residual_rows()
    formula = "y ~ x + (1 | g) + (1 | k) + (1 | m) + (1 | s)"
    own = mx.mixedlm(formula, data).fit()
    model = mx.mixedlm(formula, data.assign(y=np.arange(24) % 5))
    assert own.llf == pytest.approx(-37.808873, abs=1e-5)
    assert own.scale > 1
    assert model.refit(data["y"]).llf == pytest.approx(own.llf, abs=1e-9)
    assert model.fit_many(data[["y"]]).llf[0] == pytest.approx(own.llf, abs=1e-9)


@ignore_singular
def test_rival_with_much_variance_in_all_terms():
    data = pd.DataFrame(
        {
            "g": [2, 0, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 2, 0],
            "s": [6, 2, 3, 1, 4, 3, 4, 2, 0, 3, 2, 4, 3, 4, 4, 0, 0, 0, 5, 0],
            "k": [3, 3, 3, 2, 3, 3, 2, 2, 3, 3, 3, 3, 2, 0, 1, 2, 0, 3, 1, 3],
            "x": [0, 2, 2, 0, 3, 0, 2, 0, 2, 4, 3, 2, 0, 4, 1, 2, 2, 2, 1, 1],
            "y": [4, 3, 1, 2, 5, -1, 0, 1, 4, 5, 5, 1, 1, 0, -3, 3, 5, 5, 4, 3],
        }
    )
    model = mx.mixedlm("y ~ 1 + (1 | g) + (1 | s) + (x | k)", data)
    result = model.fit()
    lowest = min(
        model.fit(start_params=size * np.array([1.0, 0.2, 1.0, -0.4, 0.2])).deviance
        for size in (0.3, 1.0, 3.0)
    )
    assert result.deviance < lowest + 1e-7
    assert result.deviance == pytest.approx(76.18995, abs=1e-4)
    many = model.fit_many(data[["y"]])
    assert many.llf[0] == pytest.approx(result.llf, abs=1e-9)


@pytest.mark.parametrize(("left", "kind"), [(None, "moments"), (1.0, "grid")])
def test_an_end_that_has_not_settled_gives_way_to_one_as_low(left, kind):
    """And one that has settled does not."""
    objective = sleepstudy()._design.objective(True)
    search = Newton(objective.function)
    end = optimize._newton(objective, search, [1.0, 0.0, 1.0], 50)
    first = end if left is None else replace(end, decrement=left)
    seen = optimize._Minima(objective, search, 50, first, 1e-6)
    seen.search_from([0.5, 0.1, 0.4], "grid")
    assert seen.found_from == kind
    assert seen.best.settled(objective)
    assert seen.best.deviance == pytest.approx(end.deviance, abs=1e-9)
