"""Degrees of freedom of predictions."""

from __future__ import annotations

import numpy as np
import pytest

import mixedext as mx
from mixedext.inference.fixed_effects.df_methods import fixed_tests
from mixedext.inference.prediction.row_degrees import free_spread, satterthwaite_df


def fit_of(name, formula):
    return mx.mixedlm(formula, getattr(mx.datasets, name).load().data).fit().fitted.fit


def test_satterthwaite():
    tests = fixed_tests(fit_of("pulp", "bright ~ 1 + (1 | operator)"), "satterthwaite")
    variance, slope = np.array([2.0, 0.0, 1.0]), np.array([[1.0, 2], [0, 0], [0, 0]])
    spread = np.array([[2.0, 1], [1, 3]])
    found = satterthwaite_df(variance, slope, spread, tests, 3)
    assert found.tolist() == [2 * 4 / 18, np.inf, np.inf]
    # without derivatives the method's own
    normal = fixed_tests(tests.fit, "z")
    assert np.isposinf(satterthwaite_df(variance, None, None, normal, 3)).all()


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
def test_what_is_at_zero_is_held():
    fit = fit_of("dyestuff2", "Yield ~ 1 + (1 | Batch)")
    tests = fixed_tests(fit, "kenward-roger")
    assert tests.variance_covariance[0, 0] > 0
    assert free_spread(fit, tests)[0, 0] == 0
    plain = fixed_tests(fit, "satterthwaite")
    assert free_spread(fit, plain) is plain.variance_covariance
