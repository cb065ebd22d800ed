"""What fits say besides their results, and what they leave behind."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
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


def small_frame(seed, n, levels, perfect):
    """A frame that a model nearly saturates, or explains."""
    p, q = levels
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "g": rng.integers(0, p, n),
            "h": rng.integers(0, q, n),
            "x": rng.normal(size=n),
            "z": rng.normal(size=n),
            "f": rng.choice(["a", "b"], n),
        }
    )
    frame["y"] = rng.normal(size=p)[frame.g] + rng.normal(size=n)
    if perfect:
        frame["y"] = 1.0 + np.random.default_rng(seed + 99).normal(size=p)[frame.g]
    return frame


SATURATED = [
    *(("y ~ x*z*f + (x | h) + (x | g)", s, 10, (2, 2), False) for s in (1, 6, 11, 28, 31)),
    *(("y ~ x*z*f + (x | h) + (x | g)", s, 10, (2, 2), True) for s in (11, 29, 38, 53)),
    ("y ~ x + (x | h) + (1 | g)", 53, 40, (5, 4), True),
    ("y ~ x + (x | g) + (x | h)", 44, 12, (3, 3), True),
]


@pytest.mark.parametrize(("formula", "seed", "n", "levels", "perfect"), SATURATED)
def test_what_a_model_nearly_explains(formula, seed, n, levels, perfect):
    """A fit with finite estimates and a verdict, or a reason; refits and scores alike."""
    data = small_frame(seed, n, levels, perfect)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of verdicts
        model = mx.mixedlm(formula, data)
        others = np.column_stack([model.endog, data["x"] * data["z"], data["x"] ** 2])
        many = model.fit_many(others)
        assert many.converged.shape == (3,)
        assert np.isfinite(many.llf[many.converged]).all()
        try:
            result = model.fit()
        except mx.DesignError as error:
            assert "the residual variance is zero" in str(error)  # noqa: PT017
            return
        kept = ~result.fe_params.index.isin(model.dropped_columns)
        assert np.isfinite(result.fe_params[kept]).all()
        assert np.isfinite(result.bse_fe[kept]).all()
        assert np.isfinite(result.llf)
        assert "No. Observations" in str(result.summary())
        try:
            assert np.isfinite(model.loglike(result.params_object))
        except mx.DevianceError as error:  # by cross-products, which the fit did without
            assert "digits are lost" in str(error)  # noqa: PT017
        try:
            mx.model_table(result, result)
        except mx.DesignError as error:  # by maximum likelihood no residual may be left
            assert "the residual variance is zero" in str(error)  # noqa: PT017


def test_a_profile_that_cannot_begin():
    data = small_frame(11, 10, (2, 2), False)
    with pytest.warns(ConvergenceWarning):
        # by REML the residual is zero on some processors, which is refused
        result = mx.mixedlm("y ~ x*z*f + (x | h) + (x | g)", data).fit(reml=False)
    with pytest.raises(mx.ConvergenceError, match="the profile cannot be computed"):
        result.profile()


@pytest.mark.parametrize("bars", ["(1 | g)", "(x | g)", "(1 | g) + (1 | h)"])
def test_no_fixed_effects(bars):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of verdicts
        result = mx.mixedlm(f"y ~ 0 + {bars}", small_frame(0, 40, (5, 4), False)).fit()
    for method in ("kenward-roger", "satterthwaite", "containment", "residual"):
        assert len(result.anova(df_method=method)) == 0
        assert "Scale" in str(result.summary(df_method=method))
    assert list(result.profile().conf_int().index)[-1] == "sigma"
