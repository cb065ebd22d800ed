"""What fits say besides their results, and what they leave behind."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.tools.sm_exceptions import ConvergenceWarning, ValueWarning

import mixedext as mx
from mixedext.inference.submodels.other_criteria import quiet_fit

pytestmark = pytest.mark.formula_engine

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture
def data():
    return mx.datasets.sleepstudy.load().data


def test_a_refit_says_that_it_has_not_converged(data):
    """Comparisons refit models: only that a fit is singular is no news there."""
    model = mx.mixedlm(SLEEP, data)
    with pytest.warns(ConvergenceWarning):
        fitted = quiet_fit(model, False, maxiter=0)
    assert not fitted.fit.convergence.converged


def test_warnings_point_at_the_caller(data):
    model = mx.mixedlm("Reaction ~ Days", data, groups="Subject")
    with pytest.warns(FutureWarning, match="cov_type") as caught:
        model.fit(cov_type="hc3")
    assert caught[0].filename == __file__
    with pytest.warns(ValueWarning, match="niter_sa") as caught:
        model.refit(data["Reaction"] + 1.0, niter_sa=1)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["fit", "fit_regularized"])
def test_an_unknown_covariance_is_passed_over_with_its_keywords(name, data):
    """Where statsmodels does so; what is asked besides holds: t or normal laws."""
    fit = getattr(mx.mixedlm("Reaction ~ Days", data, groups="Subject"), name)
    with pytest.warns(FutureWarning, match="cov_type not used"):
        result = fit(cov_type="hc3", cov_kwds={"maxlags": 2}, use_t=True)
    assert result.cov_type == "nonrobust"
    assert result.use_t


def test_no_labels_stay_when_the_data_are_removed(data):
    result = mx.mixedlm(SLEEP, data).fit(
        cov_type="CR1", cov_kwds={"groups": data["Subject"].to_numpy()}
    )
    error = result.bse_fe.to_numpy().copy()
    result.remove_data()
    assert result.cov_kwds["groups"] is None
    assert result.fitted.settings.cov_kwds["groups"] is None
    np.testing.assert_array_equal(result.bse_fe, error)


def test_a_refit_has_the_groups_of_its_own_response(data):
    model = mx.mixedlm("Reaction ~ Days", data, groups="Subject")
    before = model.endog_li[0]
    other = model.refit(data["Reaction"] + 100.0).model
    np.testing.assert_array_equal(other.endog_li[0], before + 100.0)


def test_the_last_fit_is_that_of_fit_alone(data):
    """Refits for comparisons leave no trace on the model."""
    model = mx.mixedlm(SLEEP, data)
    result = model.fit()
    value = model.loglike(result.params_object)
    result.compare_lr_test(mx.mixedlm("Reaction ~ 1 + (Days | Subject)", data).fit())
    assert model.reml
    assert model.loglike(result.params_object) == value
