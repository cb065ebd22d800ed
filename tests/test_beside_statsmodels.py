"""Where statsmodels' MixedLM is wrong or fails: the right value beside its own.

What statsmodels does is asserted for the version it was seen in only.
"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels
import statsmodels.api as sm
from helpers.scripts import run_script
from helpers.statsmodels_suite import source_path

import mixedext as mx

SEEN = statsmodels.__version__.startswith("0.15.0")


@pytest.fixture(scope="module")
def sleep():
    return mx.datasets.sleepstudy.load().data


def upstream_fit(formula, data, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sm.MixedLM.from_formula(formula, data, **arguments).fit()


def shown_error(result, name) -> float:
    """Standard error in a summary."""
    return float(result.summary().tables[1].loc[name, "Std.Err."])


# ---- standard errors of variances ----


def balanced_error(scale, variance, n_groups, size, df_within) -> float:
    """Of the between variance of a balanced layout, from its two mean squares.

    They are independent multiples of chi-squared variables: Searle, Casella and
    McCulloch (1992), Variance Components, section 3.5.
    """
    between = scale + size * variance
    squares = between**2 / (n_groups - 1) + scale**2 / df_within
    return float(np.sqrt(2 / size**2 * squares))


@pytest.mark.formula_engine
def test_standard_error_of_a_variance_dyestuff():
    data = mx.datasets.dyestuff.load().data
    result = mx.mixedlm("Yield ~ 1", data, groups="Batch").fit()
    want = balanced_error(2451.25, (11271.5 - 2451.25) / 5, 6, 5, 24)
    assert want == pytest.approx(1432.75, abs=0.005)
    assert float(result.bse_re.iloc[0]) == pytest.approx(want, rel=1e-6)
    assert shown_error(result, "Batch Var") == pytest.approx(want, abs=5e-4)
    if SEEN:
        upstream = upstream_fit("Yield ~ 1", data, groups="Batch")
        assert shown_error(upstream, "Batch Var") == pytest.approx(31.658, abs=1e-3)


@pytest.mark.formula_engine
def test_standard_error_of_a_variance_sleepstudy(sleep):
    """Days are the same for all: the layout is balanced, with 161 df within."""
    result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject").fit()
    variance = float(result.cov_re.iloc[0, 0])
    want = balanced_error(result.scale, variance, 18, 10, 161)
    assert want == pytest.approx(505.77, abs=0.005)
    assert shown_error(result, "Subject Var") == pytest.approx(want, rel=1e-6)
    if SEEN:
        upstream = upstream_fit("Reaction ~ Days", sleep, groups="Subject")
        assert shown_error(upstream, "Subject Var") == pytest.approx(17.156, abs=1e-3)


def test_standard_error_of_a_variance_follows_the_units(sleep):
    """In seconds the variance and its error are a millionth; statsmodels' is not."""
    seconds = sleep.assign(Reaction=sleep["Reaction"] / 1000)
    one, other = (
        mx.mixedlm("Reaction ~ Days", data, groups="Subject").fit()
        for data in (sleep, seconds)
    )
    np.testing.assert_allclose(other.bse_re * 1e6, one.bse_re, rtol=1e-8)


# ---- variances of zero ----


@pytest.mark.formula_engine
def test_variance_of_zero_dyestuff2():
    """Balanced, mean square between below that within: ordinary least squares."""
    data = mx.datasets.dyestuff2.load().data
    with pytest.warns(sm.tools.sm_exceptions.SingularMatrixWarning):
        result = mx.mixedlm("Yield ~ 1", data, groups="Batch").fit()
    plain = sm.OLS.from_formula("Yield ~ 1", data).fit()
    assert float(result.cov_re.iloc[0, 0]) == 0.0
    assert result.fe_params["Intercept"] == pytest.approx(data["Yield"].mean(), rel=1e-12)
    assert result.scale == pytest.approx(plain.scale, rel=1e-12)
    assert result.bse_fe["Intercept"] == pytest.approx(plain.bse["Intercept"], rel=1e-12)
    effects = [float(v.iloc[0]) for v in result.random_effects.values()]
    assert effects == [0.0] * 6


def test_fixed_effects_at_a_variance_of_zero(sleep):
    """statsmodels gives zeros for the fixed effects where the covariance is singular."""
    arguments = {"groups": "Subject", "re_formula": "~Days"}
    singular = np.array([[4.0, 2.0], [2.0, 1.0]])
    model = mx.mixedlm("Reaction ~ Days", sleep, **arguments)
    got, _ = model.get_fe_params(singular, np.zeros(0))
    exog, y = model.exog, model.endog
    z = exog * 1.0
    total = np.zeros((2, 3))
    for rows in model.row_indices.values():
        v = np.eye(len(rows)) + z[rows] @ singular @ z[rows].T
        total += exog[rows].T @ np.linalg.solve(v, np.column_stack([exog, y])[rows])
    want = np.linalg.solve(total[:, :2], total[:, 2])
    np.testing.assert_allclose(got, want, rtol=1e-9)
    zero, _ = model.get_fe_params(np.zeros((2, 2)), np.zeros(0))
    plain = sm.OLS(y, exog).fit()
    np.testing.assert_allclose(zero, plain.params, rtol=1e-10)


# ---- optimum ----


@pytest.mark.formula_engine
@pytest.mark.skipif(source_path() is None, reason="statsmodels came without its tests")
def test_optimum_of_dietox_slopes():
    """-2217.047 is lme4's value, quoted in statsmodels' own tests."""
    data = pd.read_csv(source_path().parent / "results" / "dietox.csv")
    arguments = {"groups": "Pig", "re_formula": "~Time"}
    result = mx.mixedlm("Weight ~ Time", data, **arguments).fit()
    assert result.converged
    assert result.llf == pytest.approx(-2217.0475, abs=5e-4)
    np.testing.assert_allclose(result.cov_re, [[19.493, 0.294], [0.294, 0.416]], atol=5e-4)
    if SEEN:
        upstream = upstream_fit("Weight ~ Time", data, **arguments)
        assert not upstream.converged
        assert upstream.llf < -2220


# ---- arguments that fail or are passed over ----


@pytest.mark.formula_engine
def test_evaluation_without_a_search(sleep):
    """``do_cg=False``: results at the start; UnboundLocalError in statsmodels."""
    data = sleep.iloc[5:]  # of balanced data the start is the optimum
    model = mx.mixedlm("Reaction ~ Days", data, groups="Subject")
    optimum = model.fit()
    there = model.fit(start_params=optimum.params_object, do_cg=False)
    assert there.llf == pytest.approx(optimum.llf, rel=1e-10)
    np.testing.assert_allclose(there.params, optimum.params, rtol=1e-6)
    assert model.fit(do_cg=False).llf < optimum.llf
    if SEEN:
        upstream = sm.MixedLM.from_formula("Reaction ~ Days", data, groups="Subject")
        with pytest.raises(UnboundLocalError):
            upstream.fit(do_cg=False)


@pytest.mark.formula_engine
def test_log_likelihood_before_a_fit(sleep):
    model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
    optimum = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject").fit()
    point = optimum.params_object
    assert model.loglike(point, profile_fe=False) == pytest.approx(optimum.llf, rel=1e-10)
    assert model.loglike(point) == pytest.approx(optimum.llf, rel=1e-10)
    if SEEN:
        upstream = sm.MixedLM.from_formula("Reaction ~ Days", sleep, groups="Subject")
        with pytest.raises(AttributeError, match="cov_pen"):
            upstream.loglike(point)


@pytest.mark.formula_engine
def test_subset(sleep):
    arguments = {"groups": "Subject", "subset": sleep["Days"] > 2}
    model = mx.mixedlm("Reaction ~ Days", sleep, **arguments)
    want = mx.mixedlm("Reaction ~ Days", sleep[sleep["Days"] > 2], groups="Subject").fit()
    assert model.nobs == 126
    assert model.fit().llf == pytest.approx(want.llf, rel=1e-12)
    if SEEN:
        upstream = sm.MixedLM.from_formula("Reaction ~ Days", sleep, **arguments)
        assert len(upstream.endog) == 180


@pytest.mark.formula_engine
def test_bootstrap(sleep):
    """Simulated from the fit; statsmodels draws rows, and fails for mixed models."""
    result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject").fit()
    mean, std, estimates = result.bootstrap(nrep=1000, rng=3)
    assert estimates.shape == (1000, 3)
    errors = std / np.sqrt(1000)
    assert (np.abs(mean - result.params)[:2] < 4 * errors[:2]).all()
    np.testing.assert_allclose(std[:2], result.bse_fe, rtol=4 / np.sqrt(2000))
    if SEEN:
        upstream = upstream_fit("Reaction ~ Days", sleep, groups="Subject")
        with pytest.raises(AttributeError):
            upstream.bootstrap(nrep=2)


@pytest.mark.formula_engine
def test_random_effects_of_a_singular_fit():
    data = mx.datasets.dyestuff2.load().data
    with pytest.warns(sm.tools.sm_exceptions.SingularMatrixWarning):
        result = mx.mixedlm("Yield ~ 1", data, groups="Batch").fit()
    for covariance in result.random_effects_cov.values():
        assert float(np.squeeze(covariance)) == 0.0
    if SEEN:
        upstream = upstream_fit("Yield ~ 1", data, groups="Batch")._results
        upstream.cov_re = np.zeros((1, 1))  # the maximum, where its search does not end
        with pytest.raises(ValueError, match="singular"):
            _ = upstream.random_effects


# ---- crossed factors by components ----


@pytest.mark.formula_engine
def test_components_of_one_group_are_crossed_factors():
    data = mx.datasets.penicillin.load().data
    components = {"plate": "0 + C(plate)", "sample": "0 + C(sample)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no group intercept
        model = mx.mixedlm(
            "diameter ~ 1", data, groups=np.ones(len(data)), vc_formula=components
        )
    got = model.fit()
    want = mx.mixedlm("diameter ~ 1 + (1 | plate) + (1 | sample)", data).fit()
    assert got.llf == pytest.approx(want.llf, rel=1e-12)
    np.testing.assert_allclose(got.vcomp, want.vcomp, rtol=1e-8)
    levels = [term.n_levels for term in model.terms]
    assert sorted(levels) == [6, 24]


@pytest.mark.formula_engine
def test_components_without_a_group_intercept_are_pointed_out():
    """statsmodels' meaning is kept, and said."""
    data = mx.datasets.pastes.load().data
    components = {"cask": "0 + C(cask)"}
    with pytest.warns(mx.NoGroupInterceptWarning):
        got = mx.mixedlm("strength ~ 1", data, groups="batch", vc_formula=components).fit()
    want = mx.mixedlm("strength ~ 1 + (1 | batch:cask)", data).fit()
    assert got.llf == pytest.approx(want.llf, rel=1e-12)
    both = mx.mixedlm(
        "strength ~ 1", data, groups="batch", re_formula="1", vc_formula=components
    ).fit()
    nested = mx.mixedlm("strength ~ 1 + (1 | batch/cask)", data).fit()
    assert both.llf == pytest.approx(nested.llf, rel=1e-12)


# ---- keeping ----

SCRIPT = """
import json
import pickle
import traceback

import statsmodels.api

import mixedext as mx

data = mx.datasets.sleepstudy.load().data
told = {}
for package in (mx, statsmodels.api):
    try:
        model = package.MixedLM.from_formula("Reaction ~ Days", data, groups="Subject")
        result = model.fit()
        again = pickle.loads(pickle.dumps(result))
        told[package.__name__] = again.predict(data).sum() - result.predict(data).sum()
    except Exception:
        told[package.__name__] = traceback.format_exc()
print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.formula_engine
def test_pickling_at_the_top_level_of_a_script(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    output = run_script(tmp_path, "script.py")
    assert output.returncode == 0, output.stderr
    told = json.loads(output.stdout)
    assert told["mixedext"] == 0.0
    if SEEN:
        assert "Error" in str(told["statsmodels.api"])
