"""The compiled loops of the families: sums, far predictors, rows without weight."""

import numpy as np
import pytest
from mixedext.kernels.generalized.families import RowFamily, all_terms, newton_terms
from scipy.special import log_ndtr

PAIRS = [
    ("binomial", "logit"),
    ("binomial", "probit"),
    ("binomial", "cloglog"),
    ("poisson", "log"),
    ("negative binomial", "log"),
    ("gamma", "log"),
    ("inverse gaussian", "log"),
]
# More rows than a block of the sums has.
N = 1300


def _rows(name):
    rng = np.random.default_rng(3)
    y = rng.binomial(1, 0.4, N) if name == "binomial" else rng.poisson(2, N) + 1
    return rng.normal(0, 1, N), y.astype(float), rng.uniform(0.5, 2, N)


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_sums_over_blocks_are_those_over_rows(name, link):
    family = RowFamily(name, link, None)
    assert family.is_compiled
    eta, y, w = _rows(name)
    slope, weight = np.empty(N), np.empty(N)
    loss = newton_terms(family, eta, y, None, w, None, 0.2, slope=slope, curvature=weight)
    found = all_terms(family, eta, y, None, w, None, 0.2)
    assert loss == pytest.approx(found[0].sum(), rel=1e-13)
    np.testing.assert_array_equal(slope, found[1])
    np.testing.assert_array_equal(weight, found[2])


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_rows_that_count_twice_are_two_rows(name, link):
    family = RowFamily(name, link, None)
    eta, y, w = _rows(name)
    once = all_terms(family, eta, y, None, w, None, 0.2)
    twice = all_terms(family, eta, y, None, w, np.full(N, 2.0), 0.2)
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-15)


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_rows_that_do_not_count_add_nothing(name, link):
    family = RowFamily(name, link, None)
    eta, y, w = _rows(name)
    found = all_terms(family, eta, y, None, w, np.zeros(N), 0.2)
    assert not found.any()


def test_the_probit_keeps_its_digits_in_the_tails():
    eta = np.array([-300.0, -37.0, -5.0, -1.0, 0.0, 1.0, 5.0, 8.0])
    family = RowFamily("binomial", "probit", None)
    found = all_terms(family, eta, np.ones(8), None, None, None, 0.0)
    np.testing.assert_allclose(found[0], -log_ndtr(eta), rtol=1e-13)
