"""What statsmodels' MixedLM shows of its groups, made on demand."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from helpers.versions import needs_statsmodels_15
from statsmodels.regression.mixed_linear_model import MixedLM as Upstream
from statsmodels.stats.mediation import Mediation

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture
def data():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": rng.normal(size=80), "x": rng.normal(size=80)})
    data["g"] = rng.permutation(np.repeat(["b", "a", "d", "c"], 20))
    data["v"] = rng.integers(0, 3, 80)
    data["z"] = rng.normal(size=80)
    return data


CASES = [
    {},
    {"re_formula": "~ z"},
    {"re_formula": "0 + z"},
    {"re_formula": "1", "vc_formula": {"b": "0 + C(v)", "a": "0 + z"}},
]


@pytest.mark.parametrize("options", CASES)
def test_views_of_statsmodels(options, data):
    got = mx.mixedlm("y ~ x", data, groups="g", **options)
    want = Upstream.from_formula("y ~ x", data, groups="g", **options)
    assert got.group_labels == want.group_labels
    assert got.n_groups == want.n_groups
    for group in want.group_labels:
        np.testing.assert_array_equal(got.row_indices[group], want.row_indices[group])
    for name in ("endog_li", "exog_li", "exog_re_li", "exog_re2_li"):
        for a, b in zip(getattr(got, name), getattr(want, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)
    np.testing.assert_array_equal(got.exog_re, want.exog_re)
    np.testing.assert_array_equal(got.data.exog_re, want.exog_re)
    assert (got.k_re, got.k_re2, got.k_vc) == (want.k_re, want.k_re2, want.k_vc)
    assert got.data.exog_re_names == want.data.exog_re_names
    assert got.data.param_names == want.data.param_names
    assert got.exog_vc.names == want.exog_vc.names
    assert got.exog_vc.colnames == want.exog_vc.colnames
    assert got.group_list(None) is None
    if got.k_vc:
        assert got.data.vcomp_names == want.data.vcomp_names


def test_without_effects_of_the_groups_there_is_no_exog_re(data):
    with pytest.warns(mx.NoGroupInterceptWarning):
        model = mx.mixedlm("y ~ x", data, groups="g", vc_formula={"v": "0 + C(v)"})
    assert model.exog_re is None
    assert model.exog_re_li is None
    assert model.exog_re2_li is None


def test_arrays_keep_their_columns(data):
    z = data[["z"]]
    model = mx.MixedLM(data["y"], data[["x"]], data["g"], exog_re=z)
    np.testing.assert_array_equal(model.exog_re, z)
    assert model.data.exog_re_names == ["z"]
    default = mx.MixedLM(data["y"], data[["x"]], data["g"])
    np.testing.assert_array_equal(default.exog_re, np.ones((80, 1)))


@pytest.mark.parametrize("options", CASES)
def test_a_model_is_made_again_from_its_arguments(options, data):
    """statsmodels' idiom: klass(endog, exog, **model._get_init_kwds())."""
    weights = np.linspace(1, 2, 80)
    model = mx.mixedlm("y ~ x", data, groups="g", weights=weights, **options)
    kwds = model._get_init_kwds()
    assert set(model._init_keys) <= set(kwds)
    again = type(model)(model.endog, model.exog, **kwds)
    theta = np.linspace(0.3, 0.9, len(model.fit(do_cg=False).theta))
    assert again.objective(theta)[0] == pytest.approx(model.objective(theta)[0], rel=1e-13)
    assert again.k_re == model.k_re
    assert again.exog_vc.names == model.exog_vc.names
    other = type(model)(model.endog[::-1].copy(), model.exog, **kwds)
    assert other.objective(theta)[0] != model.objective(theta)[0]
    kept = type(model)(np.r_[np.nan, model.endog[1:]], model.exog, missing="drop", **kwds)
    assert kept.nobs == 79


def test_bars_are_made_again(data):
    model = mx.mixedlm("y ~ x + (1 | v)", data, groups="g")
    again = mx.MixedLM(model.endog, model.exog, **model._get_init_kwds())
    assert again.objective([0.5, 0.7])[0] == model.objective([0.5, 0.7])[0]
    assert not model.stated_by_groups


@pytest.mark.parametrize("options", CASES)
def test_a_model_is_made_again_from_a_formula_and_arguments(options, data):
    """As statsmodels' mediation does it, with other data of as many rows."""
    model = mx.mixedlm("y ~ x", data, groups="g", **options)
    frame = data.assign(x=2 * data["x"])
    again = type(model).from_formula(data=frame, **model._get_init_kwds())
    np.testing.assert_array_equal(again.exog[:, 1], 2 * model.exog[:, 1])
    theta = np.linspace(0.3, 0.9, len(model.fit(do_cg=False).theta))
    got, want = (m.objective(theta, reml=False)[0] for m in (again, model))
    assert got == pytest.approx(want, rel=1e-12)


@needs_statsmodels_15
def test_mediation(data):
    """statsmodels' mediation makes models again, from formulas and from arrays."""
    rng = np.random.default_rng(5)
    data["m"] = 0.5 * data["x"] + rng.normal(size=80)
    for name in ("m", "y"):
        a, b = 2 * rng.normal(size=(2, 4))[:, pd.factorize(data["g"])[0]]
        data[name] += a + b * data["z"]
    data["y"] = data["y"] + data["m"]
    outcome = mx.mixedlm("y ~ x + m", data, groups="g", re_formula="~ z")
    mediator = mx.mixedlm("m ~ x", data, groups="g", re_formula="~ z")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = Mediation(outcome, mediator, "x", "m").fit(n_rep=20, rng=1).summary()
    assert np.isfinite(table.loc["ACME (average)", "Estimate"])


def test_formulas_beside_given_arrays(data):
    z = data[["z"]].to_numpy()
    got = mx.MixedLM.from_formula("y ~ x", data, groups="g", exog_re=z)
    want = mx.MixedLM.from_formula("y ~ x", data, groups="g", re_formula="0 + z")
    assert got.objective([0.6])[0] == want.objective([0.6])[0]
    term = mx.RandomTerm(data["v"], group="v")
    got = mx.mixedlm("y ~ x", data, groups="g", terms=[term])
    want = mx.mixedlm("y ~ x + (1 | v)", data, groups="g")
    assert got.objective([0.6, 0.3])[0] == want.objective([0.6, 0.3])[0]
    with pytest.raises(ValueError, match="terms= is given, and the formula has"):
        mx.mixedlm("y ~ x + (1 | g)", data, terms=[term])


def test_one_group_has_no_effects_of_its_own(data):
    with pytest.raises(mx.DesignError, match="has 1 level"):
        mx.mixedlm("y ~ x", data, groups=np.ones(80))


def test_pickled_and_without_data(data):
    options = {"re_formula": "1", "vc_formula": {"b": "0 + C(v)"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mx.mixedlm("y ~ x", data, groups="g", **options).fit()
    again = pickle.loads(pickle.dumps(result))
    for a, b in zip(again.model.exog_vc.mats[0], result.model.exog_vc.mats[0], strict=True):
        np.testing.assert_array_equal(a, b)
    covariance = result.random_effects_cov["a"]
    again.remove_data()
    model = again.model
    assert model.group_labels == ["a", "b", "c", "d"]
    assert model.n_groups == 4
    assert model.exog_vc.names == ["b"]
    assert model.exog_re is None
    with pytest.raises(ValueError, match="were removed"):
        _ = model.exog_vc.mats
    pd.testing.assert_frame_equal(again.random_effects_cov["a"], covariance)
    pd.testing.assert_series_equal(again.random_effects["a"], result.random_effects["a"])
