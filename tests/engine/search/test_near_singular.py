"""How much worse the best singular fit is."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx
from mixedext.engine.search.near_singular import loss_if_singular


def noise():
    # statsmodels' test_singular: three groups of pure noise
    values = np.random.RandomState(3423).randn(100, 2)
    data = pd.DataFrame(values, columns=["y", "x"])
    data["g"] = np.arange(100) % 3
    return mx.mixedlm("y ~ x + (1 | g)", data)


def test_optimum_that_is_hardly_one():
    model = noise()
    with pytest.warns(SingularMatrixWarning, match="random effects .* nearly singular"):
        result = model.fit()
    assert not result.is_singular
    fit = result._results.fitted.fit
    loss = 0.5 * (model.objective([0.0])[0] - result.deviance)
    assert 0 < loss < 2e-4
    assert loss_if_singular(fit) == pytest.approx(loss, rel=1e-6)
    # the objective stands where it stood
    assert fit.objective.residual_square == pytest.approx(
        result.scale / fit.design.y_scale**2 * 98, rel=1e-12
    )


def test_clear_variance_is_not_asked(recwarn):
    data = mx.datasets.dyestuff.load().data
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    assert loss_if_singular(result._results.fitted.fit) == np.inf
    assert not recwarn.list
