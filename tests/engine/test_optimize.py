"""Newton, its fallback, the verdict and the log."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.tools.sm_exceptions import ConvergenceWarning

import mixedext as mx
from mixedext.engine import optimize
from mixedext.engine.design import prepare_design
from mixedext.engine.fit import fit_design
from mixedext.engine.optimize import minimize_deviance
from mixedext.specification.terms import RandomTerm

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
        assert model.fit(reml=False).convergence.n_evaluations <= 8, formula


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
    with pytest.warns(mx.FlatLikelihoodWarning, match="simplify the random effects"):
        result = mx.mixedlm("Yield ~ 1 + (1 | Batch) + (1 | Batch)", data).fit()
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
    lam = result.engine_fit.lams[0]
    assert (np.diag(lam) >= 0).all()
    assert lam[0, 1] == 0.0


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
