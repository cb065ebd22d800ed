"""Parameters of replicates, and limits from them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.inference.bootstrap.intervals import covariance_parameters, limits
from mixedext.specification.terms.parameter_names import covariance_names


def test_limits_of_a_known_sample():
    values = np.random.default_rng(0).permutation(np.arange(1.0, 1000.0))  # 1 .. 999
    low, high = limits(values, 480.0, 0.95, "percentile")
    assert (low, high) == pytest.approx((25.0, 975.0), abs=1e-9)  # (n + 1) p
    assert limits(values, 480.0, 0.95, "basic") == pytest.approx((960 - 975, 960 - 25))
    margin = 1.959963984540054 * values.std(ddof=1)
    assert limits(values, 480.0, 0.95, "normal") == pytest.approx(
        (460 - margin, 460 + margin)
    )
    assert np.isnan(limits(values[:1], 0.0, 0.95, "percentile")).all()


def test_the_shortest_interval_is_the_shortest():
    values = np.random.default_rng(1).exponential(size=2001)
    low, high = limits(values, 1.0, 0.9, "shortest")
    assert low < 0.02  # the density falls
    assert np.mean((values >= low) & (values <= high)) >= 0.9
    ordered = np.sort(values)
    count = int(np.ceil(0.9 * 2001))
    widths = [ordered[i + count - 1] - ordered[i] for i in range(2001 - count + 1)]
    assert high - low == min(widths)


def test_the_shortest_interval_counts_without_rounding():
    values = np.arange(100.0)  # 0.55 * 100 is 55.00000000000001
    low, high = limits(values, 50.0, 0.55, "shortest")
    assert high - low == 54.0


def _terms(structure, k, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(5), 4)
    z = rng.normal(size=(20, k))
    names = [f"x{i}" for i in range(k)]
    return mx.RandomTerm(codes, z, "g", names, structure)


def _parameters(terms, theta, scale):
    values = covariance_parameters(terms, theta, scale)
    return pd.DataFrame(values, columns=covariance_names(terms))


@pytest.mark.parametrize("structure", ["unstructured", "diagonal", "identity"])
def test_parameters_are_those_of_each_covariance(structure):
    term, other = _terms(structure, 3), _terms("unstructured", 2)
    rng = np.random.default_rng(2)
    width = term.structure.n_theta
    theta = rng.normal(size=(7, width + other.structure.n_theta))
    scale = rng.uniform(0.5, 2.0, 7)
    got = _parameters([term, other], theta, scale)
    for r in range(7):
        lam = term.structure.lam(theta[r, :width])
        covariance = scale[r] * lam @ lam.T
        sd = np.sqrt(np.diag(covariance))
        if structure == "identity":
            assert got["sd g"][r] == pytest.approx(sd[0])
        else:
            assert got["sd x1|g"][r] == pytest.approx(sd[1])
        if structure == "unstructured":
            want = covariance[2, 1] / (sd[1] * sd[2])
            assert got["cor x1.x2|g"][r] == pytest.approx(want)
            # the second term, of the same names
            lam = other.structure.lam(theta[r, width:])
            covariance = scale[r] * lam @ lam.T
            sd = np.sqrt(np.diag(covariance))
            assert got["sd x0|g.2"][r] == pytest.approx(sd[0])
            assert got["sd x1|g.2"][r] == pytest.approx(sd[1])
            want = covariance[1, 0] / (sd[0] * sd[1])
            assert got["cor x0.x1|g.2"][r] == pytest.approx(want)
    np.testing.assert_allclose(got["sigma"], np.sqrt(scale))


def test_correlations_with_no_variance_are_missing():
    term = _terms("unstructured", 2)
    got = _parameters([term], np.array([[0.0, 0.0, 1.0]]), np.ones(1))
    assert np.isnan(got["cor x0.x1|g"][0])
    assert got["sd x1|g"][0] == 1.0
