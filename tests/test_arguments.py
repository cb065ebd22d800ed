"""Checks of arguments that many functions share."""

from __future__ import annotations

import numpy as np
import pytest

import mixedext as mx
from mixedext.arguments import (
    check_choice,
    check_count,
    check_probability,
    confidence,
    did_you_mean,
)

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


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("days", "Days"),
        ("Dayss", "Days"),
        ("kenward", "kenward-roger"),
        ("Kenward_Roger", "kenward-roger"),
        ("fe params", "fe_params"),
        ("reaktion", "Reaction"),
        ("polly", "poly"),
        ("Polly", "Poly"),
    ],
)
def test_misspelled_names(given, meant):
    known = ["Reaction", "Days", "kenward-roger", "fe_params", "Poly", "poly", None, 7]
    assert did_you_mean(given, known) == f". Did you mean {meant!r}?"


@pytest.mark.parametrize("given", ["age", "", "x", 3, None, ["Days"], "r", "_-."])
def test_names_like_none(given):
    assert did_you_mean(given, ["Reaction", "Days", 3]) == ""


def test_choices():
    check_choice(None, "test", ("F", None))
    check_choice("F", "test", ("F", None))
    with pytest.raises(ValueError, match=r"^test='f' is not known; use 'F' or None\. Did"):
        check_choice("f", "test", ("F", None))
    with pytest.raises(ValueError, match=r"^n=array\(.*; use 'a', 'b' or numbers$"):
        check_choice(np.ones(2), "n", ("a", "b"), "numbers")
    with pytest.raises(ValueError, match=r"use 'only'$"):
        check_choice(0, "n", ("only",))


def test_levels_that_look_like_their_complement():
    with pytest.warns(mx.ConfidenceLevelWarning, match=r"alpha=0.95 .* level=0.95 asks"):
        assert confidence(0.95) == pytest.approx(0.05)
    with pytest.warns(mx.ConfidenceLevelWarning, match=r"level=0.05 .* alpha=0.05 asks"):
        assert confidence(level=0.05) == 0.05
    assert confidence(0.5) == confidence(level=0.5) == 0.5
