"""Bootstrap, history and retvals of statsmodels' results."""

import numpy as np
import pytest
from helpers.upstream_pair import upstream_pair

import mixedext as mx


@pytest.mark.parametrize("component", [True, False])
def test_bootstrap(component):
    own, _ = upstream_pair(51, component=component, n=300, n_groups=30)
    result = own.fit()
    mean, std, estimates = result.bootstrap(nrep=400, rng=1)
    assert estimates.shape == (400, len(result.params))
    np.testing.assert_array_equal(result._results.bootstrap_results, estimates)
    np.testing.assert_array_equal(mean, estimates.mean(axis=0))
    np.testing.assert_array_equal(std, estimates.std(axis=0))
    # 400 replications tell a standard deviation to 3.5 percent
    np.testing.assert_allclose(std[:3], result.bse_fe, rtol=0.16)
    assert np.abs((mean - result.params)[:3] / (result.bse_fe / 20)).max() < 4
    again = result.bootstrap(nrep=400, rng=1)[2]
    np.testing.assert_array_equal(again, estimates)
    other = own.fit()
    other.bootstrap(nrep=2, store=False, rng=1)
    assert not hasattr(other._results, "bootstrap_results")


def test_history_and_retvals():
    data = mx.datasets.sleepstudy.load().data
    model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data)
    result = model.fit()
    assert result.hist is None
    result = model.fit(full_output=True, method="bfgs", gtol=1e-7)
    (entry,) = result.hist
    assert entry["converged"] is True
    assert entry["warnflag"] == 0
    assert entry["fopt"] == pytest.approx(-result.llf)
    assert entry["fcalls"] == len(entry["allvecs"]) == len(result.fit_log)
    assert result.mle_retvals.keys() == entry.keys()
    assert result.mle_settings["method"] == "bfgs"
    assert result.mle_settings["gtol"] == 1e-7
    assert result.mle_settings["optimizer"] == result.convergence.method
