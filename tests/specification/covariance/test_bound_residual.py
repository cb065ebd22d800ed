"""What stays of a bound structure without its rows."""

from __future__ import annotations

import pandas as pd
import pytest

import mixedext as mx
from mixedext.specification.covariance.bound_residual import refuse_residual
from mixedext.specification.covariance.residual_binding import bind_residual


def test_without_rows():
    frame = pd.DataFrame({"g": [0, 0, 1, 1], "v": [0, 1, 0, 1]})
    bound = bind_residual(["ar1h(v | g)", "none"], "exp(x)", frame.assign(x=[1, 2, 3, 5]))
    left = bound.without_rows()
    assert (str(left), left.names, left.group_labels) == (str(bound), bound.names, [0, 1])
    assert (left.batches, left.n_obs, left.fallbacks) == ((), 0, ())
    assert len(left.group_codes) == len(left.visit_codes) == 0
    assert left.row_strata == left.row_covariates == (None, None)
    assert bound.n_obs == 4


def test_what_takes_independent_residuals_is_refused():
    data = mx.datasets.sleepstudy.load().data
    plain = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data)
    refuse_residual(plain, "it", "use that")
    stated = mx.mixedlm("Reaction ~ 1", data, residual="ar1(Days | Subject)")
    text = (
        r"^it takes residuals for independent with one variance, and this model has "
        r"residual='ar1\(Days \| Subject\)': use that$"
    )
    with pytest.raises(NotImplementedError, match=text):
        refuse_residual(stated, "it", "use that")


@pytest.mark.filterwarnings("ignore:The random effects covariance")
def test_what_rests_on_independent_residuals_is_refused():
    data = mx.datasets.sleepstudy.load().data
    formula = "Reaction ~ Days + (1 | Subject)"
    fit = mx.mixedlm(formula, data, residual="ar1(Days | Subject)").fit()
    for ask in (
        lambda: fit.exact_rlrt(),
        lambda: mx.exact_lrt(fit),
        lambda: fit.ranova(test="exact"),
    ):
        text = r"takes residuals for independent.*residual='ar1\(Days \| Subject\)'"
        with pytest.raises(NotImplementedError, match=text):
            ask()
    with pytest.raises(NotImplementedError, match=r"get_influence .*residual='ar1"):
        fit.get_influence()
