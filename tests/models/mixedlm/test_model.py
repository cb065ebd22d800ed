"""Models from arrays, fit arguments, and what a model shows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.tools.sm_exceptions import ConvergenceWarning

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def sleep():
    return mx.datasets.sleepstudy.load().data


@pytest.fixture(scope="module")
def arrays(sleep):
    x = np.column_stack([np.ones(180), sleep["Days"]])
    return sleep["Reaction"].to_numpy(), x, sleep["Subject"].to_numpy()


def test_terms_from_arrays(arrays, sleep):
    y, x, g = arrays
    want = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep).fit()
    from_terms = mx.MixedLM(y, x, terms=[mx.RandomTerm(g, x, group="Subject")]).fit()
    from_groups = mx.MixedLM(y, x, g, exog_re=x).fit()
    for got in (from_terms, from_groups):
        assert got.deviance == pytest.approx(want.deviance, rel=1e-12)
        np.testing.assert_allclose(got.fe_params, want.fe_params, rtol=1e-9)
    assert list(from_terms.model.exog_names) == ["const", "x1"]
    one_term = mx.MixedLM(y, x, terms=mx.RandomTerm(g, x))
    assert one_term.objective([1.0, 0.0, 0.2])[0] == pytest.approx(
        from_groups.model.objective([1.0, 0.0, 0.2])[0], rel=1e-14
    )


def test_crossed_terms_from_arrays():
    data = mx.datasets.penicillin.load().data
    terms = [mx.RandomTerm(data[g], group=g) for g in ("plate", "sample")]
    model = mx.MixedLM(data["diameter"], np.ones(144), terms=terms)
    assert model.fit().deviance == pytest.approx(330.860588997, rel=1e-9)


def test_labels_of_frames(sleep):
    exog = pd.DataFrame({"one": 1.0, "days": sleep["Days"]})
    result = mx.MixedLM(sleep["Reaction"], exog, sleep["Subject"]).fit()
    assert list(result.fe_params.index) == ["one", "days"]
    assert result.model.endog_names == "Reaction"
    assert list(result.params.index) == ["one", "days", "Group Var"]


def test_no_fixed_effects_from_arrays(arrays):
    y, _, g = arrays
    for exog in (None, np.zeros((180, 0))):
        result = mx.MixedLM(y - y.mean(), exog, g).fit(reml=False)
        assert len(result.fe_params) == 0
        assert result.converged


def test_missing_rows_of_arrays(arrays):
    y, x, g = arrays
    y, x, g = y.copy(), x.copy(), g.astype(object)
    y[3], x[10, 1], g[20] = np.nan, np.nan, None
    with pytest.raises(
        mx.MissingDataError, match=r"endog \(1\), exog \(1\), the random term"
    ):
        mx.MixedLM(y, x, g)
    result = mx.MixedLM(y, x, g, missing="drop").fit()
    keep = np.setdiff1d(np.arange(180), [3, 10, 20])
    want = mx.MixedLM(y[keep], x[keep], g[keep]).fit()
    assert result.nobs == 177
    assert result.deviance == pytest.approx(want.deviance, rel=1e-12)
    series = mx.MixedLM(pd.Series(y), pd.DataFrame(x), pd.Series(g), missing="drop").fit()
    assert list(series.resid.index) == list(keep)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"exog": np.ones((5, 1))}, ValueError, "exog has 5 rows, endog has 180"),
        ({"groups": np.ones(5)}, ValueError, "groups has 5 rows"),
        ({"weights": np.ones(5)}, ValueError, r"weights has shape \(5,\)"),
        ({"offset": np.ones((180, 2))}, ValueError, "offset has shape"),
        ({"exog": np.full((180, 1), "a")}, ValueError, "exog is not numeric"),
        ({"endog": np.ones((180, 2))}, ValueError, "endog has shape"),
        ({"groups": None, "exog_re": np.ones(180)}, ValueError, "exog_re needs groups"),
        ({"terms": ["g"]}, ValueError, "terms must hold RandomTerm objects"),
        ({"terms": [mx.RandomTerm([1, 2])]}, ValueError, "has 2 rows, endog has 180"),
        ({"missing": "no"}, ValueError, "missing='no'"),
        ({"groups": np.ones((180, 1))}, ValueError, r"groups has shape \(180, 1\)"),
        ({"groups": "g"}, ValueError, r"groups has shape \(\)"),
        ({"exog": 3.0}, ValueError, r"exog has shape \(\)"),
        ({"exog": np.ones((180, 1, 1))}, ValueError, r"exog has shape \(180, 1, 1\)"),
        ({"nonsense": 1}, ValueError, "argument nonsense not permitted"),
        ({"endog": np.full(180, 1j)}, ValueError, "endog is not numeric: it is complex"),
        ({"weights": 2.0}, ValueError, r"weights has shape \(\)"),
        ({"exog": np.full((180, 1), np.inf)}, ValueError, "exog has infinite values"),
    ],
)
def test_bad_arrays(change, error, match, arrays):
    y, x, g = arrays
    arguments = {"endog": y, "exog": x, "groups": g} | change
    with pytest.raises(error, match=match):
        mx.MixedLM(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"method": "newton"}, ValueError, "method newton not available"),
        ({"start_params": [1.0]}, ValueError, "start_params must hold 3 finite numbers"),
        ({"start_params": [1.0, np.nan, 1.0]}, ValueError, "finite"),
        ({"free": object()}, ValueError, "free must be MixedLMParams"),
        ({"df_method": "kenwood"}, ValueError, "df_method='kenwood' is not known"),
        ({"reml": "ML"}, ValueError, "reml='ML'; use True"),
        ({"maxiter": 5.5}, ValueError, "maxiter=5.5 must be a whole number"),
        ({"maxiter": -1}, ValueError, "maxiter=-1 must be"),
        ({"method": 5}, ValueError, "method=5 must be a name"),
        ({"start_params": [1e200, 0, 1e200]}, ValueError, "not finite at the start"),
    ],
)
def test_bad_fit_arguments(arguments, error, match, sleep):
    model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep)
    with pytest.raises(error, match=match):
        model.fit(**arguments)


def test_fit_arguments_of_statsmodels_are_taken(sleep):
    model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
    want = model.fit().deviance
    for method in ("bfgs", "lbfgs", "cg", ["bfgs", "powell"]):
        assert model.fit(method=method, gtol=1e-7).deviance == want
    with pytest.warns(FutureWarning, match="Argument cov_type not used"):
        model.fit(cov_type="hc1")


def test_one_model_fits_both_ways(sleep):
    model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep)
    reml, ml = model.fit(), model.fit(reml=False)
    assert (reml.method, ml.method) == ("REML", "ML")
    # the first results stay what they were
    assert reml.deviance == pytest.approx(1743.62827195, rel=1e-10)
    assert ml.deviance == pytest.approx(1751.93934446, rel=1e-10)
    np.testing.assert_allclose(reml.ranef_cov().iloc[0, 0], 145.7051, rtol=1e-5)


def test_objective(sleep):
    model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep)
    result = model.fit()
    deviance, gradient = model.objective(result.theta)
    assert deviance == pytest.approx(result.deviance, rel=1e-13)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-3)
    theta, h = np.array([0.8, 0.1, 0.3]), 1e-5
    slope = [
        (model.objective(theta + h * e)[0] - model.objective(theta - h * e)[0]) / (2 * h)
        for e in np.eye(3)
    ]
    np.testing.assert_allclose(model.objective(theta)[1], slope, rtol=1e-6)
    linear = mx.mixedlm("Reaction ~ Days", sleep)
    assert linear.objective([])[0] == pytest.approx(linear.fit().deviance)


def test_describe_blocks(sleep):
    text = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep).describe_blocks()
    assert "lead" in text
    assert "Subject" in text
    assert "memory of a fit beyond the data: about" in text
    assert "0 fixed" not in text


def test_view_of_groups(sleep):
    model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep)
    assert model.n_groups == 18
    assert model.group_labels[0] == "308"
    np.testing.assert_array_equal(model.row_indices["309"], np.arange(10, 20))


def test_linear_model_has_one_group(sleep):
    model = mx.mixedlm("Reaction ~ Days", sleep)
    assert model.n_groups == 1
    assert model.fit().n_levels.empty


def test_maxiter_is_heeded(sleep):
    model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep)
    with pytest.warns(ConvergenceWarning):
        result = model.fit(maxiter=2, start_params=[1.0, 0.0, 1.0])
    assert len(result.fit_log) == 3


def test_two_factors_of_one_name(arrays):
    y, x, g = arrays
    other = np.random.default_rng(0).permutation(g)
    with pytest.raises(ValueError, match="two grouping factors are both named 'Group'"):
        mx.MixedLM(y, x, terms=[mx.RandomTerm(g), mx.RandomTerm(other)])


def test_objective_where_rounding_fails(sleep):
    model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep)
    deviance, gradient = model.objective([1e9, 1e9, 1e9])
    assert np.isfinite(deviance) or np.isnan(gradient).all()
    with pytest.raises(ValueError, match="theta must hold 3 finite numbers"):
        model.objective([1.0])
    with pytest.raises(ValueError, match="reml='ML'"):
        model.objective([1.0, 0.0, 1.0], reml="ML")


def test_variance_components_alone_are_components():
    data = mx.datasets.pastes.load().data
    with pytest.warns(mx.NoGroupInterceptWarning, match='re_formula="1" adds it'):
        model = mx.mixedlm(
            "strength ~ 1", data, groups="batch", vc_formula={"c": "0 + C(cask)"}
        )
    result = model.fit()
    assert result.cov_re.shape == (0, 0)
    assert result.vcomp.shape == (1,)
    assert result.model.k_vc == 1
    assert result.model.n_groups == 10


def test_singular_where_it_was_not_optimized(sleep):
    model = mx.mixedlm("Reaction ~ Days + (1 | Subject)", sleep)
    result = model.fit(do_cg=False, start_params=[0.0])
    assert result.is_singular
    assert "saddle" in result.convergence.message


def test_warnings_point_at_the_users_line(arrays):
    y, x, g = arrays
    with pytest.warns(mx.RankDeficientWarning) as caught:
        mx.MixedLM(y, np.column_stack([x, x[:, 1]]), g)
    assert caught[0].filename == __file__


def test_weights_in_other_units(arrays):
    y, x, g = arrays
    want = mx.MixedLM(y, x, g).fit()
    for s in (1e-6, 1e-12, 1e6):
        got = mx.MixedLM(y * s, x, g, weights=np.full(180, s**-2.0)).fit()
        assert got.scale == pytest.approx(want.scale, rel=1e-8)
