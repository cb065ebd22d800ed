"""Random effects by group as statsmodels has them; by factor for terms in bars."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from helpers.residual_fits import series as simulated_series
from statsmodels.regression import mixed_linear_model as upstream
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx
from mixedext.inference.random_effects import by_group as module

pytestmark = pytest.mark.formula_engine

SINGULAR = "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"


@pytest.fixture
def data():
    """Three categories within groups, two more components, all with effects."""
    rng = np.random.default_rng(11)
    g = rng.permutation(np.repeat(np.arange(15), 16))
    n = len(g)
    data = pd.DataFrame({"g": g, "v": rng.integers(0, 3, n), "w": rng.integers(0, 2, n)})
    data["x"], data["z"] = rng.normal(size=(2, n))
    data["cat"] = pd.Categorical(data["v"].map({0: "p", 1: "q", 2: "r"}), list("pnqr"))
    y = data["x"] + rng.normal(size=15)[g] + rng.normal(size=15)[g] * data["z"]
    y += rng.normal(size=(15, 3))[g, data["v"]] + rng.normal(size=(15, 2))[g, data["w"]]
    data["y"] = y + 0.7 * rng.normal(size=n)
    return data


def results_of_statsmodels(model, result):
    """statsmodels' results at the estimates of ours."""
    params = np.concatenate([result.params])
    theirs = upstream.MixedLMResults(model, params, np.eye(len(params)))
    theirs.fe_params = np.asarray(result.fe_params)
    theirs.cov_re, theirs.vcomp = np.asarray(result.cov_re), np.asarray(result.vcomp)
    theirs.scale, theirs.k_re, theirs.k_fe = result.scale, result.k_re, result.k_fe
    return theirs


CASES = {
    "intercept": {},
    "slopes": {"re_formula": "~ z"},
    "categories": {"re_formula": "1", "vc_formula": {"v": "0 + C(v)"}},
    "two": {"re_formula": "~ z", "vc_formula": {"b": "0 + C(v)", "a": "~0+C(w)"}},
    "columns": {"re_formula": "1", "vc_formula": {"s": "0 + z", "t": "0 + x + w"}},
    "components alone": {"vc_formula": {"i": "1", "v": "0 + C(v)"}},
    "levels of all": {"re_formula": "1", "vc_formula": {"c": "0 + cat"}},
    "coded by group": {"re_formula": "0 + z", "vc_formula": {"c": "C(v)"}},
}


def fitted(data, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)
        warnings.simplefilter("ignore", mx.NoGroupInterceptWarning)
        return mx.mixedlm("y ~ x", data, groups="g", **options).fit()


@pytest.mark.parametrize("own", [None, "1"])
def test_effects_of_many_linked_columns(own, data):
    """Twelve columns a group that share rows: a term of a general Z."""
    data["m"] = np.random.default_rng(8).integers(0, 12, len(data))
    options = {"re_formula": own, "vc_formula": {"a": "0 + C(v)", "m": "C(m)"}}
    result = check_statsmodels(data, options)
    assert not isinstance(result.model.random_terms[-1], mx.RandomTerm)
    variances = np.concatenate(
        [
            np.diag(c)[c.index.str.startswith("m[")]
            for c in result.random_effects_cov.values()
        ]
    )
    np.testing.assert_allclose(result.ranef_cov("m")["m"], variances, rtol=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_effects_of_statsmodels(case, data):
    check_statsmodels(data, CASES[case])


def check_statsmodels(data, options):
    """Our effects are statsmodels' at our estimates."""
    result = fitted(data, options)
    model = upstream.MixedLM.from_formula("y ~ x", data, groups="g", **options)
    want = results_of_statsmodels(model, result)
    assert list(result.random_effects) == list(want.random_effects)
    for group, series in want.random_effects.items():
        got = result.random_effects[group]
        assert list(got.index) == list(series.index)
        np.testing.assert_allclose(got, series, rtol=1e-8, atol=1e-9)
        frame = want.random_effects_cov[group]
        found = result.random_effects_cov[group]
        assert list(found.index) == list(found.columns) == list(frame.index)
        np.testing.assert_allclose(found, frame, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found, found.T, rtol=1e-13)
    return result


def dense_effects(result):
    """Modes and covariances from the n x n covariance of the response."""
    model = result.model
    blocks, prior, places = [], [], []
    codes = pd.factorize(pd.Series(model.groups), sort=True)[0]
    for number, group in enumerate(model.group_labels):
        rows = np.flatnonzero(codes == number)
        parts = [model.exog_re[rows]] if model.k_re else []
        parts += [np.asarray(mats[number]) for mats in model.exog_vc.mats]
        z = np.zeros((len(codes), sum(p.shape[1] for p in parts)))
        z[rows] = np.hstack(parts)
        d = np.zeros((z.shape[1], z.shape[1]))
        d[: model.k_re, : model.k_re] = result.cov_re
        at = model.k_re
        for variance, part in zip(result.vcomp, parts[model.k_re > 0 :], strict=True):
            own = np.arange(at, at + part.shape[1])
            d[own, own] = variance
            at += part.shape[1]
        blocks.append(z)
        prior.append(d)
        places.append(group)
    weights = np.ones(len(codes)) if model.weights is None else model.weights
    v = np.diag(result.scale / weights)
    v += sum(z @ d @ z.T for z, d in zip(blocks, prior, strict=True))
    inverse = np.linalg.inv(v)
    residual = model.endog - model.exog @ np.asarray(result.fe_params)
    return {
        group: (d @ z.T @ inverse @ residual, d - d @ z.T @ inverse @ z @ d)
        for group, z, d in zip(places, blocks, prior, strict=True)
    }


@pytest.mark.parametrize("case", ["two", "levels of all", "components alone"])
@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.filterwarnings("ignore::mixedext.NoGroupInterceptWarning")
def test_effects_against_dense_algebra(case, singular, data):
    """With weights; and in singular fits, where statsmodels' inverses fail."""
    weights = np.linspace(0.5, 2.0, len(data))
    model = mx.mixedlm("y ~ x", data, groups="g", weights=weights, **CASES[case])
    theta = model.fit(do_cg=False).theta * 0 + 0.8
    if singular:
        theta[-1] = 0.0
        if case == "two":
            theta[:3] = [1.0, 0.5, 0.0]  # correlation 1
    result = model.fit(do_cg=False, start_params=theta)
    assert result.is_singular == singular
    for group, (mode, covariance) in dense_effects(result).items():
        np.testing.assert_allclose(
            result.random_effects[group], mode, rtol=1e-8, atol=1e-11
        )
        np.testing.assert_allclose(
            result.random_effects_cov[group], covariance, rtol=1e-8, atol=1e-11
        )


def test_a_category_that_a_group_lacks(data):
    """statsmodels has a column of zeros for it: effect 0, variance of the component."""
    result = fitted(data, CASES["levels of all"])
    for group in (0, 7):
        effects = result.random_effects[group]
        assert list(effects.index) == ["g", *(f"c[cat[{v}]]" for v in "pnqr")]
        assert effects["c[cat[n]]"] == 0.0
        covariance = result.random_effects_cov[group]
        assert covariance.loc["c[cat[n]]", "c[cat[n]]"] == pytest.approx(result.vcomp[0])
        assert (covariance.loc["c[cat[n]]"].drop("c[cat[n]]") == 0).all()


def test_frames_of_a_component(data):
    result = fitted(data, CASES["two"])
    frame, variances = result.ranef("b"), result.ranef_cov("b")
    assert frame.index.names == ["g", "b"]
    assert list(frame.columns) == ["b"]
    for group in result.model.group_labels:
        series = result.random_effects[group]
        covariance = np.diag(result.random_effects_cov[group])
        own = series.index.str.startswith("b[")
        np.testing.assert_array_equal(frame.loc[group, "b"], series[own])
        np.testing.assert_allclose(variances.loc[group, "b"], covariance[own], rtol=1e-10)
        labels = [name[2:-1] for name in series.index[own]]
        assert list(frame.loc[group].index) == labels
    assert result.ranef("g").shape == (15, 2)
    with pytest.raises(ValueError, match="there are: g, a, b"):
        result.ranef("nope")


def test_frames_with_zero_columns_and_with_one_column(data):
    result = fitted(data, CASES["levels of all"])
    frame = result.ranef("c")
    assert frame.shape == (60, 1)
    assert (frame.xs("cat[n]", level="c") == 0).all(axis=None)
    np.testing.assert_allclose(
        result.ranef_cov("c").xs("cat[n]", level="c"), result.vcomp[0], rtol=1e-12
    )
    one = fitted(data, {"re_formula": "1", "vc_formula": {"s": "0 + z"}})
    assert list(one.ranef("s").index) == list(range(15))
    slopes = [one.random_effects[g]["s[z]"] for g in range(15)]
    np.testing.assert_array_equal(one.ranef("s")["s"], slopes)
    assert {"Intercept", "x", "s"} <= set(one.coef("s").columns)


def test_one_group_of_crossed_terms():
    data = mx.datasets.penicillin.load().data
    components = {"plate": "0 + C(plate)", "sample": "0 + C(sample)"}
    result = mx.mixedlm(
        "diameter ~ 1", data, groups=np.ones(len(data)), vc_formula=components
    ).fit()
    want = mx.mixedlm("diameter ~ 1 + (1 | plate) + (1 | sample)", data).fit()
    assert list(result.random_effects) == [1.0]
    effects, covariance = result.random_effects[1.0], result.random_effects_cov[1.0]
    assert effects.index[0] == "plate[C(plate)[a]]"
    modes = np.concatenate([want.ranef(name)["Intercept"] for name in components])
    np.testing.assert_allclose(effects, modes, rtol=1e-6, atol=1e-8)
    variances = np.concatenate([want.ranef_cov(name)["Intercept"] for name in components])
    np.testing.assert_allclose(np.diag(covariance), variances, rtol=1e-6)
    assert list(result.ranef("sample").index) == [f"C(sample)[{s}]" for s in "ABCDEF"]


def test_too_many_covariances(data, monkeypatch):
    result = fitted(data, CASES["two"])
    monkeypatch.setattr(module, "MOST_MEMORY", 1000)
    with pytest.raises(MemoryError, match=r"of up to 7 random effects a group would take"):
        _ = result.random_effects_cov
    assert len(result.random_effects) == 15


def test_effects_with_bars_are_by_factor(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)
        result = mx.mixedlm(
            "y ~ x + (1 | w)",
            data,
            groups="g",
            re_formula="1",
            vc_formula={"v": "0 + C(v)"},
        ).fit()
    assert list(result.random_effects) == ["g", "v", "w"]
    assert result.random_effects["v"].index.names == ["g", "v"]


def test_a_component_named_as_the_groups(data):
    result = fitted(data, {"re_formula": "1", "vc_formula": {"g": "0 + C(v)"}})
    assert result.ranef("g").shape == (15, 1)
    assert list(result.random_effects[3].index[:2]) == ["g", "g[C(v)[0]]"]


def test_rows_and_labels_in_another_order(data):
    """Shuffled rows, groups renamed so that they sort backwards, other units of y."""
    options = CASES["two"]
    result = fitted(data, options)
    other = data.sample(frac=1, random_state=4)
    other = other.assign(g=99 - other["g"], y=1e3 * other["y"])
    moved = fitted(other, options)
    assert moved.llf == pytest.approx(result.llf - 238 * np.log(1e3), rel=1e-10)
    for group, effects in result.random_effects.items():
        np.testing.assert_allclose(
            moved.random_effects[99 - group], 1e3 * effects, rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("bar", ["(t | subject)", "(1 | arm)"])
def test_modes_and_their_errors_beside_a_residual_covariance(bar):
    data = simulated_series().sort_values(["subject", "visit"])
    model = mx.mixedlm(
        f"y ~ x + {bar}", data, residual="ar1(visit | subject)", weights="weight"
    )
    result = model.fit()
    v, g = result.V().values.toarray(), result.G().values.toarray()
    z, x = model.Z().values.toarray(), model.exog
    b = g @ z.T @ np.linalg.solve(v, model.endog - x @ result.fe_params.to_numpy())
    group = bar[:-1].split("| ")[1]
    np.testing.assert_allclose(result.ranef(group).to_numpy().ravel(), b, atol=1e-9)
    inverse = np.linalg.inv(v)
    project = inverse @ x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
    k = 1 + ("t |" in bar)
    for given, middle in ((True, inverse), (False, inverse - project)):
        whole = g - g @ z.T @ middle @ z @ g
        found = result.ranef_cov(group, given_beta=given).to_numpy()
        np.testing.assert_allclose(found[:k], whole[:k, :k], rtol=1e-7, atol=1e-12)
