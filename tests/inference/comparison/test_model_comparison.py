"""A model beside a smaller one: pbkrtest's values, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.comparison import (
    model_of,
    parts_of,
    sleepstudy,
)
from helpers.reference import load_case, relative_error

import mixedext as mx
from mixedext.inference.fixed_effects.df_methods import fixed_tests
from mixedext.inference.submodels.nesting import restriction

pytestmark = [
    pytest.mark.filterwarnings("ignore::mixedext.api.BoundaryWarning"),
    pytest.mark.filterwarnings("ignore:The random effects covariance"),
    pytest.mark.formula_engine,
]


@pytest.mark.parametrize(("name", "part"), parts_of("model_comparisons"))
def test_model_comparisons_of_pbkrtest(name, part):
    case = load_case(name)
    want = case.values["model_comparisons"][part]
    large = model_of(case, want["large"]).fit()
    small = model_of(case, want["small"])
    rows, values = restriction(large, small)
    test = fixed_tests(large.fitted.fit, None).f_test(rows, values)
    sat, kr = want["SATmodcomp"], want["KRmodcomp"]
    assert test.df_num == kr["ndf"]
    if "stat" in sat:
        assert relative_error([test.statistic], [sat["stat"]]) < 1e-7
    ratio, lrt = large.compare_lr_test(small.fit()), want["LRT_ML"]
    assert relative_error([ratio.statistic], [lrt["chisq"]]) < 1e-8
    assert relative_error([ratio.pvalue], [lrt["p"]]) < 1e-8
    assert ratio.df_diff == lrt["df"]
    if "stat" in sat:
        ours = large.compare_satterthwaite_test(small)
        assert relative_error([ours.statistic], [sat["stat"]]) < 1e-7
        assert relative_error([ours.df_denom], [sat["ddf"]]) < 1e-5
        # pbkrtest's p is one minus a probability
        np.testing.assert_allclose(ours.pvalue, sat["p"], rtol=1e-5, atol=1e-15)
    for ours in (large.compare_kr_test(small), large.compare_kr_test(small.fit())):
        assert relative_error([ours.statistic], [kr["stat"]]) < 1e-7
        assert relative_error([ours.df_denom], [kr["ddf"]]) < 1e-6
        assert relative_error([ours.scaling], [kr["F_scaling"]]) < 1e-6
        assert relative_error([ours.pvalue], [kr["p"]]) < 1e-6


def test_kr_needs_reml():
    data = sleepstudy()
    large = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit(reml=False)
    with pytest.raises(ValueError, match="REML"):
        large.compare_kr_test(mx.mixedlm("Reaction ~ 1 + (Days | Subject)", data))


def test_test_of_models_prints():
    test = mx.ModelTest(
        statistic=5.1186,
        df_num=1,
        df_denom=25.0,
        pvalue=0.03261,
        scaling=1.0,
        method="kenward-roger",
    )
    assert repr(test) == (
        "<F test (kenward-roger): F = 5.1186, df = 1 and 25, p = 0.03261>"
    )
