"""Models on other data, nesting, restrictions that make a model the smaller one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import statsmodels.formula.api as smf
from helpers.comparison import (
    crossed,
    sleepstudy,
)

import mixedext as mx
from mixedext.inference.submodels.nesting import restriction

pytestmark = [
    pytest.mark.filterwarnings("ignore::mixedext.api.BoundaryWarning"),
    pytest.mark.filterwarnings("ignore:The random effects covariance"),
    pytest.mark.formula_engine,
]


def test_offset_of_the_smaller_model():
    # R: anova(lmer(y ~ offset(0.5 * x) + (1 | g)), lmer(y ~ x + (1 | g)))
    data = crossed()
    small = mx.mixedlm("y ~ offset(0.5 * x) + (1 | g)", data).fit()
    large = mx.mixedlm("y ~ x + (1 | g)", data).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error", mx.NestingWarning)
        table = mx.anova(small, large)
    np.testing.assert_allclose(
        table["llf"], [-117.015908557023, -116.498247378250], rtol=1e-10
    )
    rows, values = restriction(large, small)
    np.testing.assert_allclose(values / rows[0, 1], 0.5, rtol=1e-10)
    with pytest.raises(mx.DesignError, match="offsets differ"):
        restriction(small, large.model.from_formula("y ~ offset(z) + (1 | g)", data))


def test_other_data():
    data = sleepstudy()
    formula = "Reaction ~ Days + (1 | Subject)"
    full = mx.mixedlm(formula, data).fit()
    fewer = mx.mixedlm("Reaction ~ 1 + (1 | Subject)", data[:170]).fit()
    with pytest.raises(ValueError, match="170 and 180 rows"):
        mx.anova(full, fewer)
    logs = mx.mixedlm("np.log(Reaction) ~ 1 + (1 | Subject)", data).fit()
    for compare in (mx.anova, lambda a, b: a.compare_lr_test(b)):
        with pytest.raises(ValueError, match="responses differ in 180 of 180 rows"):
            compare(full, logs)
    weights = np.linspace(1, 2, len(data))
    weighted = mx.mixedlm("Reaction ~ 1 + (1 | Subject)", data, weights=weights).fit()
    with pytest.raises(ValueError, match="weights differ"):
        mx.anova(full, weighted)
    with pytest.raises(TypeError, match="not DataFrame"):
        mx.anova(full, data)
    linear = smf.ols("Reaction ~ Days", data).fit()
    with pytest.raises(TypeError, match="none of the models"):
        mx.anova(linear, linear)
    with pytest.raises(ValueError, match="call compare_lr_test of the larger"):
        mx.mixedlm("Reaction ~ 1 + (1 | Subject)", data).fit().compare_lr_test(full)


def test_small_weights_that_differ():
    data = sleepstudy()
    weights = 1e-9 * np.linspace(1, 2, len(data))
    fits = [
        mx.mixedlm(f"Reaction ~ {x} + (1 | Subject)", data, weights=w).fit(reml=False)
        for x, w in (("Days", weights), ("1", weights[::-1]), ("1", weights))
    ]
    with pytest.raises(ValueError, match="weights differ"):
        mx.anova(*fits[:2])
    assert fits[0].compare_lr_test(fits[2]).df_diff == 1


def test_not_nested():
    data = crossed()
    one = mx.mixedlm("y ~ x + (1 | g)", data).fit()
    two = mx.mixedlm("y ~ a + (1 | g)", data).fit()
    with pytest.warns(mx.NestingWarning, match="fixed effects are no special case"):
        mx.anova(one, two)
    with pytest.raises(mx.DesignError, match="not nested"):
        restriction(two, one.model)
    with pytest.raises(mx.DesignError, match="nothing to test"):
        restriction(two, two)
    three = mx.mixedlm("y ~ a + b + (0 + x | g)", data).fit()
    with pytest.warns(mx.NestingWarning, match="random effects are no special case"):
        mx.anova(two, three)


def test_matrix_of_restrictions():
    result = mx.mixedlm("y ~ a*x + (1 | g)", crossed()).fit()
    matrix = np.eye(6)[4:]
    small = mx.mixedlm("y ~ a + x + (1 | g)", crossed())
    rows, _ = restriction(result, small)
    ours, _ = restriction(result, matrix)
    assert np.linalg.matrix_rank(np.vstack([rows, ours])) == 2
    with pytest.raises(ValueError, match="a column for each of the 6 fixed effects"):
        result.compare_kr_test(np.eye(5))
    with pytest.warns(mx.RankDeficientWarning):
        model = mx.mixedlm("y ~ x + I(2 * x) + (1 | g)", crossed())
    with pytest.raises(mx.DesignError, match="not estimable"):
        model.fit().compare_satterthwaite_test([[0, 0, 1]])
