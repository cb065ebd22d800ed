"""Predictions by the bootstrap: long runs in R, the analytic ones, what is reported."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pandas as pd
import pytest
from helpers.paths import RESULTS

import mixedext as mx
from mixedext.exceptions import BootstrapWarning
from mixedext.inference.prediction import bootstrap_prediction as module

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings(
        "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
    ),
]

LONG = json.loads((RESULTS / "prediction" / "pulp_bootstrap.json").read_text())


@pytest.fixture(scope="module")
def pulp():
    return mx.mixedlm("bright ~ 1 + (1 | operator)", mx.datasets.pulp.load().data).fit()


@pytest.fixture(scope="module")
def slopes():
    data = mx.datasets.sleepstudy.load().data
    return mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True])
def test_limits_of_a_long_run(pulp, known):
    n = 100_000
    operator = "a" if known else "nobody"
    found = pulp.get_prediction(
        {"operator": [operator]}, new_levels="zero", method="bootstrap", n=n, rng=3
    )
    want = LONG["operator_a" if known else "new_operator"]
    limits = found.conf_int(obs=True)[0]
    np.testing.assert_allclose(limits, [want["lower"], want["upper"]], atol=0.02)
    published = LONG["published"]["operator_a" if known else "new_operator"]
    np.testing.assert_allclose(limits, published, atol=0.13)
    assert found.n_failed == 0
    assert 0.05 < found.singular_share < 0.2
    assert f"{n} replicates, 0 failed" in repr(found)


def test_near_the_analytic_errors(slopes):
    """Given the modes the error has no part of theirs: the mean of all groups is right."""
    data = mx.datasets.sleepstudy.load().data
    new = data.iloc[[0, 9]]
    found = slopes.get_prediction(new, conditional=False, method="bootstrap", n=4000, rng=1)
    want = slopes.get_prediction(new, conditional=False, df_method="z")
    np.testing.assert_allclose(found.se_mean, want.se_mean, rtol=0.05)
    np.testing.assert_allclose(found.se_obs, want.se_obs, rtol=0.06)
    assert np.isinf(found.df).all()
    assert (found.kind == "population").all()
    np.testing.assert_array_equal(found.predicted_mean, want.predicted_mean)
    frame = found.summary_frame()
    assert list(frame.index) == list(new.index)
    again = pickle.loads(pickle.dumps(found))
    pd.testing.assert_frame_equal(again.summary_frame(), frame)


def test_known_and_new_rows_together(slopes):
    new = pd.DataFrame(
        {"Days": [0.0, 9.0, 9.0, np.nan], "Subject": ["308", "309", "nobody", "308"]}
    )
    options = {"new_levels": "zero", "method": "bootstrap", "n": 400, "rng": 2}
    found = slopes.get_prediction(new, **options)
    assert found.kind.tolist()[:3] == ["known group", "known group", "new group"]
    assert np.isnan(found.conf_int()).any(axis=1).tolist() == [False] * 3 + [True]
    width = np.diff(found.conf_int(), axis=1)[:3, 0]
    assert width[2] > 2 * width[1]
    obs = found.conf_int(obs=True)[:3]
    assert (np.diff(obs, axis=1)[:, 0] > width).all()
    alone = slopes.get_prediction(new.iloc[:3], **options)
    np.testing.assert_array_equal(alone.conf_int(), found.conf_int()[:3])
    heavy = slopes.get_prediction(new.iloc[:3], weights=1e6, **options)
    np.testing.assert_allclose(heavy.conf_int(obs=True), found.conf_int()[:3], atol=0.5)
    jobs = slopes.get_prediction(new, n_jobs=2, **options)
    np.testing.assert_array_equal(jobs.mean_draws, found.mean_draws)


@pytest.mark.parametrize(
    "formula",
    ["y ~ x + (x | g)", "y ~ x + (x | g) + (1 | h)", "y ~ x + (1 | h) + (1 | g:h)"],
)
def test_modes_are_those_of_refits(formula):
    rng = np.random.default_rng(0)
    n = 60
    data = pd.DataFrame({"g": rng.integers(0, 6, n), "h": rng.integers(0, 4, n)})
    data["x"], data["o"] = rng.normal(size=(2, n))
    y = rng.normal(size=6)[data["g"]] + 2 * rng.normal(size=4)[data["h"]] + data["x"]
    data["y"] = y + rng.normal(size=n) + data["o"]
    result = mx.mixedlm(f"{formula} + offset(o)", data).fit()
    new = data.iloc[[3, 40]]
    found = result.get_prediction(new, method="bootstrap", n=6, rng=5)
    # the same seeds, and refits by hand
    seed = module.spawn_seeds(5, 3)[1]
    ((count, own),) = module.blocks_of(6, module.block_size(result.model), seed)
    draws = module.simulated_rows(
        result.fitted, count, np.random.default_rng(own), conditional=True
    )
    for replicate, draw in zip(found.mean_draws, draws.T, strict=True):
        want = result.model.refit(draw + data["o"].to_numpy())
        np.testing.assert_allclose(replicate, want.predict(new), rtol=1e-6, atol=1e-7)


def test_a_variance_component():
    data = mx.datasets.pastes.load().data
    model = mx.mixedlm(
        "strength ~ 1",
        data,
        groups="batch",
        re_formula="1",
        vc_formula={"cask": "0 + C(cask)"},
    )
    result = model.fit()
    found = result.get_prediction(
        data.head(2), conditional=True, method="bootstrap", n=300, rng=1
    )
    bars = mx.mixedlm("strength ~ 1 + (1 | batch) + (1 | batch:cask)", data).fit()
    want = bars.get_prediction(data.head(2), method="bootstrap", n=300, rng=1)
    np.testing.assert_allclose(found.mean_draws, want.mean_draws, rtol=1e-4)


def test_failures_and_few_replicates(slopes, monkeypatch):
    options = {"conditional": False, "method": "bootstrap", "rng": 1}
    few = slopes.get_prediction({"Days": [1.0]}, n=39, **options)
    with pytest.warns(BootstrapWarning, match="39 replicates do not tell limits.*n=40"):
        few.conf_int(alpha=0.05)
    assert few.conf_int(alpha=0.1).shape == (1, 2)
    bare = slopes.get_prediction(np.ones((1, 2)), transform=False, n=50, **options)
    assert bare.obs_draws is None
    assert bare.conf_int().shape == (1, 2)
    with pytest.raises(ValueError, match="observations of new groups are not known"):
        bare.conf_int(obs=True)
    real = module.simulated_refits

    def failing(*args, **kwargs):
        refits = real(*args, **kwargs)
        refits.converged[:3] = False
        return refits

    monkeypatch.setattr(module, "simulated_refits", failing)
    with pytest.warns(BootstrapWarning, match="3 of 50 replicates failed"):
        found = slopes.get_prediction({"Days": [1.0]}, n=50, **options)
    assert found.n_failed == 3
    assert len(found.mean_draws) == 47
    with pytest.raises(ValueError, match="replicates failed: no limits"):
        slopes.get_prediction({"Days": [1.0]}, n=4, **options)


def test_what_is_refused(slopes):
    new = {"Days": [1.0], "Subject": ["308"]}
    with pytest.raises(ValueError, match="no degrees of freedom"):
        slopes.get_prediction(new, method="bootstrap", df_method="satterthwaite")
    with pytest.raises(ValueError, match="n="):
        slopes.get_prediction(new, method="bootstrap", n=0)
    with pytest.raises(MemoryError, match="rows at a time"):
        slopes.get_prediction(method="bootstrap", n=10**7)
    held = mx.MixedLMParams.from_components(np.ones(2), np.eye(2))
    free = slopes.model.fit(free=held)
    with pytest.raises(ValueError, match="penalties or held"):
        free.get_prediction(new, method="bootstrap")
