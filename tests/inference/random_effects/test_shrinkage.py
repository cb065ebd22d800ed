"""Coefficients of levels by their own rows beside those of the model."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.graphics_cases import case_fit, fit_of

from mixedext.inference.random_effects.shrinkage import shrinkage_ellipse, shrunk_levels

pytestmark = pytest.mark.formula_engine


def test_balanced_levels_are_drawn_to_the_mean_by_one_factor():
    """One-way layout: mode = n s_a^2 / (n s_a^2 + s^2) (mean - grand mean)."""
    result = fit_of("Yield ~ 1 + (1 | Batch)", "dyestuff")
    found = shrunk_levels(result.fitted)
    between, within = result.var_corr["variance"]
    factor = 5 * between / (5 * between + within)
    inner = (found.blup - found.population) / (found.ols - found.population)
    np.testing.assert_allclose(inner, factor, rtol=1e-8)
    assert found.names == ["Intercept"]
    assert len(found.levels) == 6


def test_two_terms_of_one_factor():
    result = fit_of("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", "sleepstudy")
    found = shrunk_levels(result.fitted, "Subject")
    one = shrunk_levels(fit_of("Reaction ~ Days + (Days | Subject)", "sleepstudy").fitted)
    assert found.names == ["Intercept", "Days"]
    np.testing.assert_allclose(found.ols, one.ols, rtol=1e-9)
    curve = shrinkage_ellipse(result.fitted, "Subject", found.names, 0.5)
    sd = np.sqrt(result.var_corr["variance"].to_numpy()[:2] * 2 * np.log(2))
    np.testing.assert_allclose(np.ptp(curve, axis=0), 2 * sd, rtol=1e-3)


def test_an_ellipse_of_no_variance_is_a_point():
    result = case_fit("zero")
    curve = shrinkage_ellipse(result.fitted, "g", ["Intercept"] * 2, 0.95)
    assert np.ptp(curve, axis=0).max() < 1e-8
