"""Checks of arguments that many functions share."""

from __future__ import annotations

import numpy as np
import pytest

import mixedext as mx
from mixedext.arguments import check_count, check_probability, confidence

pytestmark = pytest.mark.formula_engine


@pytest.mark.parametrize("value", [0.05, np.float32(0.5), np.array(0.9), 1e-300])
def test_probabilities(value):
    check_probability(value, "alpha")


@pytest.mark.parametrize(
    "value", [0, 1, True, -0.1, 95, np.nan, None, "0.05", np.array([0.1, 0.2])]
)
def test_what_is_no_probability(value):
    with pytest.raises(ValueError, match=r"level=.* must lie between 0 and 1"):
        check_probability(value, "level")


@pytest.mark.parametrize("value", [1, np.int64(3), 10**20])
def test_counts(value):
    check_count(value, "n")


@pytest.mark.parametrize("value", [0, -1, 1.0, True, None, "3", np.nan])
def test_what_is_no_count(value):
    with pytest.raises(ValueError, match=r"nsim=.* must be a whole number, 1 or more"):
        check_count(value, "nsim")


def test_intervals_and_tests_check_what_they_are_given():
    data = mx.datasets.dyestuff.load().data
    formula = "Yield ~ 1 + (1 | Batch)"
    result = mx.mixedlm(formula, data).fit()
    anova = mx.anova_estimates(formula, data)
    fits = mx.lm_list("Yield ~ 1 | Batch", data)
    for call in (result.conf_int, result.conf_int_vcomp, anova.conf_int, fits.conf_int):
        with pytest.raises(ValueError, match="alpha='5%' must lie between 0 and 1"):
            call(alpha="5%")
    with pytest.raises(ValueError, match="level=95 must lie between 0 and 1"):
        result.bootstrap_parametric(10, rng=1).conf_int(level=95)
    with pytest.raises(ValueError, match="nsim=True must be a whole number"):
        result.exact_rlrt(nsim=True)


def test_alpha_is_one_minus_the_level():
    assert confidence(level=0.9) == 0.9
    assert confidence(0.1) == 0.9
    assert confidence(np.float32(0.5)) == 0.5


def test_intervals_of_profiles_and_bootstraps_take_either():
    data = mx.datasets.dyestuff.load().data
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit(reml=False)
    profile, bootstrap = result.profile(), result.bootstrap_parametric(200, rng=1)
    for each in (profile, bootstrap):
        np.testing.assert_array_equal(each.conf_int(alpha=0.1), each.conf_int(level=0.9))
        with pytest.raises(ValueError, match="alpha=2 must lie between"):
            each.conf_int(alpha=2)
        with pytest.raises(ValueError, match="level='shortest' must lie between"):
            each.conf_int(level="shortest")
