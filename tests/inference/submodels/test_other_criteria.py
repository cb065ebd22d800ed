"""Refits by the other criterion, and results of linear models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from helpers.comparison import (
    sleepstudy,
)

import mixedext as mx
from mixedext.inference.submodels.other_criteria import as_mixed, own_fitted

pytestmark = [
    pytest.mark.filterwarnings("ignore::mixedext.api.BoundaryWarning"),
    pytest.mark.filterwarnings("ignore:The random effects covariance"),
    pytest.mark.formula_engine,
]


def test_refitting_leaves_the_results_alone():
    data = sleepstudy()
    slope = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    before = slope.llf, slope.model.reml
    mx.anova(slope, mx.mixedlm("Reaction ~ 1 + (Days | Subject)", data).fit())
    assert (slope.llf, slope.model.reml) == before


def test_whose_results_they_are():
    data = sleepstudy()
    mixed = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data).fit()
    linear = smf.ols("Reaction ~ Days", data).fit()
    assert own_fitted(mixed, "large") is mixed.fitted
    with pytest.raises(TypeError, match="large must be the results of a mixed model"):
        own_fitted(linear, "large")
    with pytest.raises(TypeError, match="large must be the results of a mixed model"):
        mx.bootstrap_test(linear, mixed, 5)
    as_linear = as_mixed(linear, mixed.model.fit(reml=False))
    np.testing.assert_allclose(as_linear.fit.log_likelihood, linear.llf, rtol=1e-12)
    with pytest.raises(TypeError, match="not of GLS"):
        as_mixed(smf.gls("Reaction ~ Days", data).fit(), mixed)
    with pytest.raises(TypeError, match="not DataFrame"):
        as_mixed(pd.DataFrame(), mixed)
