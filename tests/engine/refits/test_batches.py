"""Fits of several grouping factors to many responses at a time against fits one by one."""

from __future__ import annotations

import _thread
import threading

import numpy as np
import pandas as pd
import pytest
from mixedext.kernels.deviance.refits import refit_responses

import mixedext as mx
from mixedext.engine.deviance import several_factors
from mixedext.engine.fit import fit_design
from mixedext.engine.refits.batches import (
    SeveralFactorsBatch,
    fit_responses,
    in_batches,
)
from mixedext.inference.bootstrap.simulated_refits import responses_of

pytestmark = pytest.mark.filterwarnings(
    "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning",
    "ignore::mixedext.exceptions.BoundaryWarning",
)


def slopes(n=300):
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "s": rng.integers(0, 20, n),
            "i": rng.integers(0, 7, n),
            "x": rng.normal(3.0, 2.0, n),
            "w": rng.uniform(0.5, 2.0, n),
            "y": rng.normal(size=n),
        }
    )


MODELS = {
    "penicillin": ("diameter ~ 1 + (1 | plate) + (1 | sample)", "plate", {}),
    "pastes": ("strength ~ 1 + (1 | batch / cask)", "batch", {}),
    "cake": (
        "angle ~ recipe * temperature + (1 | recipe:replicate) + (1 | replicate)",
        "replicate",
        {},
    ),
    "slopes": ("y ~ x + (x | s) + (x | i)", "s", {"weights": "w"}),
    "uncorrelated": ("y ~ x + (x || s) + (x | i)", "i", {"weights": "w"}),
}


def model_and_responses(name, count=60):
    """The variance between groups goes from zero up: some fits are singular."""
    formula, group, options = MODELS[name]
    data = mx.datasets.load(name).data if name in mx.datasets.__all__ else slopes()
    model = mx.mixedlm(formula, data, **options)
    rng = np.random.default_rng(4)
    codes = pd.factorize(data[group])[0]
    effect = rng.normal(size=(codes.max() + 1, count)) * np.linspace(0.0, 2.0, count)
    return model, 20.0 + 3.0 * (effect[codes] + rng.normal(size=(len(data), count)))


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_batches_are_fits_one_by_one(name, reml, monkeypatch):
    model, y = model_and_responses(name)
    assert in_batches(model._design)
    got = model.fit_many(y, reml=reml)
    monkeypatch.setattr(several_factors, "MOST_NUMBERS", 0)
    assert not in_batches(model._design)
    want = model.fit_many(y, reml=reml)
    assert 0 < want.is_singular.sum() < len(want)
    np.testing.assert_allclose(got.llf, want.llf, rtol=1e-11)
    np.testing.assert_array_equal(got.converged, want.converged)
    np.testing.assert_array_equal(got.is_singular, want.is_singular)
    np.testing.assert_allclose(got.scale, want.scale, rtol=1e-8)
    np.testing.assert_allclose(got.theta, want.theta, atol=1e-6)
    np.testing.assert_allclose(got.fe_params, want.fe_params, rtol=1e-7, atol=1e-8)
    apart = np.flatnonzero(abs(got.n_evaluations - want.n_evaluations) > 2)
    # in other units only rounding is another: where that decides which way a search turns,
    # the search one by one must be seen to turn both ways
    assert len(apart) <= 1
    for r in apart:
        if want.n_evaluations[r] > got.n_evaluations[r]:
            continue  # one by one the search goes on to higher minima, to tell of them
        ways = model.fit_many(y[:, [r]] * np.arange(3, 43, 2), reml=reml).n_evaluations
        assert abs(ways - got.n_evaluations[r]).min() <= 2


def test_blocks_change_nothing(monkeypatch):
    model, y = model_and_responses("slopes")
    whole = model.fit_many(y)
    monkeypatch.setattr("mixedext.engine.refits.batches.BLOCK_SIZE", 3000)
    parts = model.fit_many(y, n_jobs=3)
    np.testing.assert_allclose(parts.llf, whole.llf, rtol=1e-13)
    np.testing.assert_allclose(parts.theta, whole.theta, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + (x | s) + (1 | i)",
        "y ~ x + (1 | s / i)",
        "y ~ x + (x || s)",
        "y ~ C(i) + (1 | s)",
    ],
    ids=["crossed", "nested", "one factor", "spectral"],
)
def test_threads_share_no_state(formula, monkeypatch):
    """Blocks that are worked on at the same time end in the same bits as one by one."""
    model = mx.mixedlm(formula, slopes())
    y = np.random.default_rng(1).normal(size=(300, 200))
    monkeypatch.setattr("mixedext.engine.refits.batches.BLOCK_SIZE", 2000)
    want = model.fit_many(y)
    for n_jobs in (2, 4):
        got = model.fit_many(y, n_jobs=n_jobs)
        for column in ("fe_params", "theta", "scale", "llf", "n_evaluations"):
            np.testing.assert_array_equal(getattr(got, column), getattr(want, column))


def test_what_does_not_settle_goes_the_ordinary_way(monkeypatch):
    model, y = model_and_responses("slopes", 12)
    want = model.fit_many(y)
    monkeypatch.setattr("mixedext.engine.refits.batches.MAX_ITERATIONS", 0)
    got = model.fit_many(y)
    assert got.converged.all()
    np.testing.assert_allclose(got.llf, want.llf, rtol=1e-11)
    np.testing.assert_allclose(got.theta, want.theta, atol=1e-6)


def test_responses_that_lose_digits_are_refined():
    """One variance dwarfs the other: deviance and scale come from the rows, as in fit."""
    data = slopes()
    rng = np.random.default_rng(0)
    y = rng.normal(size=20)[data["s"]] + rng.normal(size=7)[data["i"]]
    y += 1e-4 * rng.normal(size=len(y))
    formula = "y ~ x + (1 | s) + (1 | i)"
    many = mx.mixedlm(formula, data).fit_many(np.column_stack([y, data["y"]]))
    fresh = mx.mixedlm(formula, data.assign(y=y)).fit()
    assert many.scale[0] == pytest.approx(fresh.scale, rel=1e-8)
    assert many.llf[0] == pytest.approx(fresh.llf, rel=1e-10)


@pytest.mark.filterwarnings("ignore::mixedext.exceptions.PrecisionWarning")
@pytest.mark.parametrize("size", [1e4, 1e7])
def test_rows_are_asked_where_the_search_has_ended(size, monkeypatch):
    """Nothing is looked for twice: only one search goes on, by the rows."""
    model, y = model_and_responses("penicillin", 12)
    rng = np.random.default_rng(8)
    y += size * rng.normal(size=24)[model.random_terms[0].codes][:, None]
    starts = []

    def spied(design, reml, start=None, *args, **kwargs):
        starts.append(start)
        return fit_design(design, reml, start, *args, **kwargs)

    monkeypatch.setattr("mixedext.engine.refits.batches.fit_design", spied)
    many = model.fit_many(y)
    assert len(starts) == 12
    assert all(start is not None for start in starts)
    for r in range(3):
        fresh = model.refit(y[:, r])
        assert many.llf[r] == pytest.approx(fresh.llf, rel=1e-10)
        np.testing.assert_allclose(many.theta[r], fresh.theta, rtol=1e-4)


def test_a_batch_is_made_once_for_a_criterion():
    model, y = model_and_responses("pastes", 3)
    responses = responses_of(model)
    first = fit_responses(responses, y, True)
    (own,) = responses.batches.values()
    again = fit_responses(responses, y, True)
    assert list(responses.batches.values()) == [own]
    np.testing.assert_array_equal(first.log_likelihood, again.log_likelihood)
    fit_responses(responses, y, False)
    assert len(responses.batches) == 2


def test_the_compiled_loop_can_be_interrupted(monkeypatch):
    model, y = model_and_responses("slopes", 12)
    ends = []

    def interrupted(function, start, **kwargs):
        if len(start) > 100:  # not the few that tell what is looked at
            ends.append(kwargs["deviance"])
            ends[0][:] = np.nan
            threading.Timer(0.02, _thread.interrupt_main).start()
        refit_responses(function, start, **kwargs)

    monkeypatch.setattr("mixedext.engine.refits.batches.refit_responses", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit_many(np.tile(y, 200))
    done = np.isfinite(ends[0])
    assert done[0]
    assert not done[-1]


def test_models_without_random_terms_are_no_batch():
    data = slopes()
    model = mx.mixedlm("y ~ x + (1 | s)", data)
    assert in_batches(model._design)
    assert not in_batches(mx.mixedlm("y ~ x", data)._design)


@pytest.mark.formula_engine
@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.filterwarnings("ignore::mixedext.exceptions.BootstrapWarning")
def test_nothing_is_read_of_a_factor_that_has_failed(monkeypatch):
    """Crossed factors that nearly explain y: some replicates have no finite deviance."""
    rng = np.random.default_rng(17)
    g, h = rng.integers(0, 4, 40), rng.integers(0, 6, 40)
    data = pd.DataFrame({"g": g, "h": h, "x": rng.normal(size=40)})
    effect = rng.choice([0.3, 1, 3]) * rng.normal(size=8)
    data["y"] = np.log(np.abs(1 + effect[g] + 1e-9 * rng.normal(size=40)) + 1)
    found = []

    def kept(self, *args):
        found.append(run(self, *args))
        return found[-1]

    run = SeveralFactorsBatch._run
    monkeypatch.setattr(SeveralFactorsBatch, "_run", kept)
    result = mx.mixedlm("y ~ I(x**2) + (1 | g*h)", data).fit()
    result.bootstrap_parametric(20, rng=1)
    ends = found[-1]
    lost = ~np.isfinite(ends["deviance"])
    assert 0 < lost.sum() < 20
    np.testing.assert_array_equal(np.isnan(ends["on_basis"]).all(axis=1), lost)
