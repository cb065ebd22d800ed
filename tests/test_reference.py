"""Every linear case against R: likelihood, estimates, random effects, residuals."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from helpers.reference import case_names, load_case, relative_error
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx
from mixedext.specification.terms.parameter_names import theta_names

pytestmark = pytest.mark.formula_engine


@pytest.mark.parametrize("name", case_names())
def test_case(name):
    case = load_case(name)
    values, want = case.values, case.values["fit"]
    model = mx.mixedlm(case.formula, case.data, **case.options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = model.fit(reml=values["REML"])
    assert all(issubclass(w.category, SingularMatrixWarning) for w in caught)
    assert bool(caught) == result.is_singular

    # never above R's best optimum, and close to it
    assert result.deviance <= want["criterion"] + 1e-6
    assert result.deviance == pytest.approx(want["criterion"], rel=1e-8)
    assert result.llf == pytest.approx(want["logLik"], rel=1e-8)
    assert result.aic == pytest.approx(want["AIC"], rel=1e-8)
    assert result.bic == pytest.approx(want["BIC"], rel=1e-8)
    assert result.nobs == want["nobs"]
    assert result.df_resid == want["nobs"] - values["p"]
    assert result.sigma == pytest.approx(want["sigma"], rel=1e-6)
    assert result.n_levels.to_dict() == values["ngroups"]
    assert result.converged
    assert result.is_singular == bool(values["optimum"]["at_bound"])

    _check_fixed_effects(case, result)
    _check_theta(case, result)
    _check_criterion_elsewhere(case, model)
    _check_variances(case, result)
    for term in values["ranef"]:
        _check_random_effects(case, result, term)
    _check_rows(values, result)


def _check_fixed_effects(case, result):
    want = case.values["fixef"]
    names = [case.column_name(n) for n in want["names"]]
    assert sorted(names) == sorted(result.model.exog_names)
    estimate, error = result.fe_params[names], result.bse_fe[names]
    np.testing.assert_allclose(estimate, want["estimate"], rtol=1e-6)
    np.testing.assert_allclose(error, want["se"], rtol=1e-6)
    covariance = result.cov_params()
    covariance = pd.DataFrame(covariance).loc[names, names]
    assert relative_error(covariance, want["vcov"]) < 2e-6
    limits = result.conf_int(df_method="z").loc[names]  # as lme4's Wald intervals
    assert relative_error(limits[0], case.values["wald_ci"]["lower"]) < 2e-6
    assert relative_error(limits[1], case.values["wald_ci"]["upper"]) < 2e-6


def _theta_by_name(case):
    """R's theta with Python's names."""
    named = {}
    names = iter(case.values["fit"]["theta_names"])
    theta = iter(case.values["fit"]["theta"])
    for term in case.values["random_terms"]:
        columns = term["columns"]
        own = [case.effect_name(c, columns) for c in columns]
        for b in range(len(own)):
            for a in range(b, len(own)):
                next(names)
                key = own[a] if a == b else f"{own[a]}.{own[b]}"
                named[f"{term['group']}.{key}"] = next(theta)
    return named


def _check_theta(case, result):
    want = _theta_by_name(case)
    got = dict(zip(result.theta_names, result.theta, strict=True))
    assert got.keys() == want.keys()
    size = max(want.values(), default=0.0)
    for key, value in want.items():
        assert got[key] == pytest.approx(value, rel=1e-6, abs=2e-6 * size), key


def _check_criterion_elsewhere(case, model):
    """The criterion at R's four points, apart from any optimizer."""
    names = list(_theta_by_name(case))
    own = theta_names(model.terms)
    for point in case.values["criterion_at"].values():
        theta = np.array(point["theta"], float)[[names.index(n) for n in own]]
        deviance, _ = model.objective(theta, reml=case.values["REML"])
        assert deviance == pytest.approx(point["criterion"], rel=1e-10)


def _check_variances(case, result):
    want = pd.DataFrame(case.values["varcorr"])
    frame = result.var_corr
    residual = want[want["grp"] == "Residual"]
    assert result.scale == pytest.approx(residual["vcov"].item(), rel=2e-6)
    variances = want[want["var2"].isna() & (want["grp"] != "Residual")]
    got = frame[frame["group"] != "Residual"]
    wanted = {}
    groups = [t["group"] for t in case.values["random_terms"] for _ in t["columns"]]
    for group, row in zip(groups, variances.itertuples(), strict=True):
        columns = next(
            t["columns"]
            for t in case.values["random_terms"]
            if t["group"] == group and row.var1 in t["columns"]
        )
        wanted[group, case.effect_name(row.var1, columns)] = row.vcov
    size = max(wanted.values())
    for row in got.itertuples():
        want_value = wanted[row.group, row.name]
        assert row.variance == pytest.approx(want_value, rel=5e-6, abs=1e-9 * size)
        assert row.sd == pytest.approx(np.sqrt(want_value), rel=5e-6, abs=1e-6 * size**0.5)


def _check_random_effects(case, result, term):
    names = [case.effect_name(c, term["columns"]) for c in term["columns"]]
    modes = result.ranef(term["group"])[names]
    modes.index = modes.index.astype(str)
    covariances = result.ranef_cov(term["group"])
    levels = list(map(str, term["levels"]))
    want = np.array(term["values"])
    assert relative_error(modes.loc[levels], want) < 1e-5
    np.testing.assert_allclose(
        (modes**2).sum(), term["sumsq"], rtol=2e-5, atol=1e-12 * np.abs(want).max(initial=1)
    )
    blocks = covariances.to_numpy().reshape(
        result.n_levels[term["group"]], -1, covariances.shape[1]
    )
    pick = [list(covariances.columns).index(n) for n in names]
    blocks = blocks[:, pick][:, :, pick]
    order = [list(modes.index).index(level) for level in levels]
    assert relative_error(blocks[order], term["condVar"]) < 1e-5
    assert relative_error(blocks.sum(axis=0), term["condVar_sum"]) < 1e-5


def _check_rows(values, result):
    fitted = result.model.predict(result.params)
    pairs = {
        "fitted": result.fittedvalues,
        "resid": result.resid,
        "resid_pearson": result.wresid,
        "fitted_fixed_only": pd.Series(fitted),
    }
    for field, got in pairs.items():
        want = np.array(values[field]["values"])
        size = np.abs(np.array(values["fitted"]["values"])).max()
        np.testing.assert_allclose(got.to_numpy()[: len(want)], want, atol=2e-6 * size)
        assert (got**2).sum() == pytest.approx(values[field]["sumsq"], rel=1e-5)
    np.testing.assert_allclose(
        np.quantile(result.resid_pearson, [0, 0.25, 0.5, 0.75, 1]),
        values["scaled_resid_quantiles"]["value"],
        atol=1e-5,
    )
