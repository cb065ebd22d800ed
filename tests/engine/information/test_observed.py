"""The observed information of the variances."""

from __future__ import annotations

import warnings

import numpy as np

import mixedext as mx
from mixedext.engine.information.observed import variance_covariance


def test_a_residual_variance_whose_square_is_no_number_has_an_infinite_error():
    y = 1e110 * np.random.default_rng(0).normal(size=30)
    fit = mx.MixedLM(y, np.ones((30, 1)), terms=[]).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = variance_covariance(fit.fitted.fit)
    assert np.isposinf(found.absolute).all()
