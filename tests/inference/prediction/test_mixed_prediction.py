"""Predictions with errors: R's values, dense algebra, invariances, and what is refused."""

from __future__ import annotations

import json
import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from helpers.paths import RESULTS
from hypothesis import given, settings
from hypothesis import strategies as st

import mixedext as mx

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings(
        "ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning"
    ),
    pytest.mark.filterwarnings("ignore::mixedext.api.RankDeficientWarning"),
]

CASES = json.loads((RESULTS / "prediction" / "predictions.json").read_text())


def case_data(case):
    data = pd.read_csv(RESULTS / "data" / case["data"])
    return data.astype(dict.fromkeys(case["factors"], "category"))


def case_fit(case):
    formula = case["formula"].replace("^", "**")
    fixed, bars = formula.split(" + (", 1)
    for factor in case["contrasts"] or ():
        fixed = re.sub(rf"\b{factor}\b", f"C({factor}, Sum)", fixed)
    options = {k: case[k] for k in ("weights", "offset") if case[k]}
    data = case_data(case)
    model = mx.mixedlm(f"{fixed} + ({bars}", data, **options)
    return data, model.fit(reml=case["REML"])


def close(got, want, rtol):
    known = np.array([v is not None for v in want])
    np.testing.assert_allclose(
        np.asarray(got)[known], np.array(want, float)[known], rtol=rtol
    )


@pytest.mark.parametrize("name", CASES)
def test_values_of_r(name):
    case = CASES[name]
    want = case["prediction"]
    data, result = case_fit(case)
    new = data.iloc[np.array(want["rows"]) - 1]
    weights = want["weights"]
    for at, kind in ((True, "conditional"), (False, "marginal")):
        for method in ("satterthwaite", "kenward-roger"):
            if method == "kenward-roger" and not case["REML"]:
                with pytest.raises(ValueError, match="REML"):
                    result.get_prediction(new, conditional=at, df_method=method)
                continue
            found = result.get_prediction(
                new, weights=weights, conditional=at, df_method=method
            )
            short = "kr" if method == "kenward-roger" else "satterthwaite"
            close(found.predicted_mean, want[f"mean_{kind}"], 1e-7)
            if short == "kr":
                close(found.se_mean, want[f"{kind}_se_kr"], 1e-6)
            else:
                close(found.se_mean, want[f"{kind}_se"], 1e-7)
                close(found.se_obs, want[f"{kind}_se_obs"], 1e-7)
            close(found.df, want[f"{kind}_df_{short}"], 1e-5)
            if at:
                close(found.df_obs, want[f"{kind}_df_{short}_obs"], 1e-5)
    groups = {n for t in result.fitted.random.groups for n in t.split(":")}
    if not groups & set(result.model.fixed_formula.split("~")[1].split()):
        nobody = new.assign(**dict.fromkeys(groups, "nobody"))
        found = result.get_prediction(nobody, new_levels="zero", df_method="z")
        close(found.se_mean, want["new_group_mean_se"], 1e-7)
        assert (found.kind == "new group").all()


# ---- dense algebra ----


def random_data(seed, n=48):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": rng.integers(0, 6, n), "x": rng.normal(size=n)})
    data["h"] = data["g"] * 3 + rng.integers(0, 3, n) if seed % 2 else rng.integers(0, 5, n)
    data["one"] = np.arange(n)
    data["w"] = rng.uniform(0.3, 3.0, n)
    data["z"] = 2 * data["x"] - 1
    spread = rng.uniform(0.3, 2.0, 3) * (rng.random(3) > 0.2)
    y = 1 + data["x"] + spread[0] * rng.normal(size=6)[data["g"]]
    y += spread[1] * rng.normal(size=6)[data["g"]] * data["x"]
    y += spread[2] * rng.normal(size=20)[data["h"]] + rng.normal(size=n)
    return data.assign(y=y)


FORMULAS = [
    "y ~ x + (1 | g)",
    "y ~ x + (x | g)",
    "y ~ x + z + (x || g)",
    "y ~ x + (1 | g) + (1 | h)",
    "y ~ x + (x | g) + (1 | h)",
    "y ~ 1 + (0 + x | h) + (1 | g)",
]


def z_of(result, frame, known):
    """Rows of Z, columns of all levels of every term; new levels are further columns."""
    parts, covariances = [], []
    for term, own in zip(
        result.fitted.random.terms, result.fitted.random.covariances, strict=True
    ):
        levels = pd.Index(term.levels).append(pd.Index([f"new {term.group}"]))
        code = levels.get_indexer(frame[term.group]) if known else np.zeros(len(frame), int)
        columns = [
            np.ones(len(frame)) if c == "Intercept" else frame[c] for c in term.names
        ]
        z = np.zeros((len(frame), len(levels) * term.k))
        for a, column in enumerate(columns):
            z[np.arange(len(frame)), code * term.k + a] = column
        parts.append(z)
        covariances.append(np.kron(np.eye(len(levels)), own))
    size = sum(len(c) for c in covariances)
    g, start = np.zeros((size, size)), 0
    for c in covariances:
        g[start : start + len(c), start : start + len(c)] = c
        start += len(c)
    return np.hstack(parts), g


def kriging(result, data, new, weights):
    """Best linear unbiased predictions of x'b + z'u and their variances, n x n."""
    kept = result.fitted.fixed.kept
    names = [result.model.exog_names[j] for j in kept]

    def x_of(frame):
        return np.column_stack(
            [np.ones(len(frame)) if c == "Intercept" else frame[c] for c in names]
        )

    x, z = x_of(data), z_of(result, data, True)[0]
    new_z, g = z_of(result, new, True)
    w = np.ones(len(data)) if weights is None else weights
    v = z @ g @ z.T + result.scale * np.diag(1 / w)
    vi = np.linalg.inv(v)
    phi = np.linalg.inv(x.T @ vi @ x)
    beta = phi @ x.T @ vi @ data["y"]
    c = z @ g @ new_z.T
    mean = x_of(new) @ beta + c.T @ vi @ (data["y"] - x @ beta)
    rest = x_of(new).T - x.T @ vi @ c
    variance = np.diag(new_z @ g @ new_z.T - c.T @ vi @ c + rest.T @ phi @ rest)
    return mean, variance


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(FORMULAS),
    st.booleans(),
    st.booleans(),
)
def test_kriging(seed, formula, weighted, reml):
    data = random_data(seed)
    weights = data["w"].to_numpy() if weighted else None
    result = mx.mixedlm(formula, data, weights=weights).fit(reml=reml)
    if result.scale < 1e-8 * data["y"].var():
        return  # the random effects explain all
    new = data.iloc[[0, 7, 20]].astype({"g": object, "h": object})
    new.loc[7, "g"] = "new g"
    new.loc[20, "h"] = "new h"
    mean, variance = kriging(result, data, new, weights)
    found = result.get_prediction(new, new_levels="zero", df_method="z")
    np.testing.assert_allclose(found.predicted_mean, mean, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found.var_pred_mean, variance, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(found.var_pred_obs - variance, result.scale, rtol=1e-6)
    kinds = {"g": ["known group", "new group", "known group"]}
    if "h" not in formula:
        assert found.kind.tolist() == kinds["g"]
    own = result.get_prediction(df_method="z")
    mean, variance = kriging(result, data, data, weights)
    np.testing.assert_allclose(own.predicted_mean, result.fittedvalues, rtol=1e-10)
    np.testing.assert_allclose(own.var_pred_mean, variance, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("formula", FORMULAS)
def test_fixed_part_is_that_of_the_tests(formula):
    data = random_data(8)
    result = mx.mixedlm(formula, data).fit()
    new = data.iloc[:6]
    rows = np.asarray(result.model.exog)[:6]
    for method in ("z", "satterthwaite", "kenward-roger"):
        found = result.get_prediction(new, conditional=False, df_method=method)
        tests = [result.t_test(row, df_method=method) for row in rows]
        want = [float(np.ravel(t.sd)[0]) for t in tests]
        np.testing.assert_allclose(found.se_mean, want, rtol=1e-10)
        if method != "z":
            want = [float(np.ravel(t.df_denom)[0]) for t in tests]
            np.testing.assert_allclose(found.df, want, rtol=1e-10)


@pytest.mark.parametrize("formula", FORMULAS[:5])
def test_nothing_depends_on_names_units_and_order(formula):
    data = random_data(6)
    new = data.iloc[[3, 30]]
    want = mx.mixedlm(formula, data).fit().get_prediction(new, df_method="kenward-roger")
    want = want.summary_frame().drop(columns="kind")
    keep = {"rtol": 1e-9}
    other = data.sample(frac=1.0, random_state=1)
    found = mx.mixedlm(formula, other).fit().get_prediction(new, df_method="kenward-roger")
    np.testing.assert_allclose(found.summary_frame().drop(columns="kind"), want, **keep)
    named = {"g": data["g"].map(lambda v: f"{9 - v} é"), "h": data["h"] * -7}
    other = data.assign(**named)
    found = mx.mixedlm(formula, other).fit()
    found = found.get_prediction(other.iloc[[3, 30]], df_method="kenward-roger")
    np.testing.assert_allclose(found.summary_frame().drop(columns="kind"), want, **keep)
    other = data.assign(x=data["x"] * 1e3, z=data["z"] * 1e3, y=data["y"] * 1e4)
    found = mx.mixedlm(formula, other).fit()
    found = found.get_prediction(other.iloc[[3, 30]], df_method="kenward-roger")
    frame = found.summary_frame().drop(columns="kind")
    df = ["df", "df_obs"]
    np.testing.assert_allclose(frame[df], want[df], **keep)
    rest = frame.columns.difference(df)
    np.testing.assert_allclose(frame[rest] / 1e4, want[rest], **keep)


def test_order_of_terms():
    data = random_data(6)
    new = data.iloc[[3, 30]]
    frames = [
        mx.mixedlm(formula, data)
        .fit()
        .get_prediction(new, df_method="kenward-roger")
        .summary_frame()
        .drop(columns="kind")
        for formula in ("y ~ x + (x | g) + (1 | h)", "y ~ (1 | h) + (x | g) + x")
    ]
    np.testing.assert_allclose(*frames, rtol=1e-9)


# ---- the object, and what is refused ----


@pytest.fixture(scope="module")
def sleepstudy():
    return mx.datasets.sleepstudy.load().data


@pytest.fixture(scope="module")
def slopes(sleepstudy):
    return mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleepstudy).fit()


def test_the_object(slopes, sleepstudy):
    new = sleepstudy.iloc[[4, 50]].set_axis(["p", "q"])
    found = slopes.get_prediction(new)
    frame = found.summary_frame(alpha=0.1)
    assert list(frame.index) == ["p", "q"]
    assert list(frame.columns[:6]) == [
        "mean", "mean_se", "mean_ci_lower", "mean_ci_upper", "obs_ci_lower", "obs_ci_upper",
    ]  # fmt: skip
    np.testing.assert_allclose(
        found.conf_int(level=0.9), frame[["mean_ci_lower", "mean_ci_upper"]]
    )
    again = pickle.loads(pickle.dumps(found))
    pd.testing.assert_frame_equal(again.summary_frame(), found.summary_frame())
    assert "2 known group" in repr(found)
    assert found.t_test(found.predicted_mean)[1].tolist() == [1, 1]
    larger, smaller = (found.t_test(250, side)[1] for side in ("larger", "smaller"))
    np.testing.assert_allclose(larger + smaller, 1)
    named = slopes.get_prediction(new, row_labels=["a", "b"])
    assert list(named.summary_frame().index) == ["a", "b"]
    with pytest.raises(ValueError, match="3 labels for 2 rows"):
        slopes.get_prediction(new, row_labels=["a", "b", "c"])
    heavy = slopes.get_prediction(new, weights=[4.0, 1.0])
    np.testing.assert_allclose(heavy.se_mean, found.se_mean)
    more = found.var_pred_obs - heavy.var_pred_obs
    np.testing.assert_allclose(more, [0.75 * slopes.scale, 0.0], atol=1e-9)
    for bad in ([1.0, 0.0], [1.0, -1.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="weights must be positive"):
            slopes.get_prediction(new, weights=bad)
    with pytest.raises(ValueError, match="weights has shape"):
        slopes.get_prediction(new, weights=[1.0, 1.0, 1.0])


def test_other_covariances(sleepstudy):
    model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleepstudy)
    robust = model.fit(cov_type="CR2")
    found = robust.get_prediction(sleepstudy.head(3), conditional=False)
    rows = np.column_stack([np.ones(3), sleepstudy["Days"][:3]])
    test = robust.t_test(rows)
    np.testing.assert_allclose(found.se_mean, np.ravel(test.sd), rtol=1e-10)
    np.testing.assert_allclose(found.df, np.ravel(test.df_denom), rtol=1e-10)
    own = model.fit().get_prediction(sleepstudy.head(3), conditional=False)
    gap = own.var_pred_obs - own.var_pred_mean
    np.testing.assert_allclose(found.var_pred_obs - found.var_pred_mean, gap, rtol=1e-9)
    with pytest.raises(ValueError, match="conditional=False"):
        robust.get_prediction(sleepstudy.head(3))
    containment = model.fit(df_method="containment")
    with pytest.raises(ValueError, match="df_method='containment' is one of fixed"):
        containment.get_prediction(sleepstudy.head(3))
    with pytest.raises(ValueError, match="method"):
        robust.get_prediction(method="exact")


def test_without_rows(sleepstudy):
    formula = "Reaction ~ center(Days) + (center(Days) | Subject)"
    model = mx.mixedlm(formula, sleepstudy)
    result, gone = model.fit(), mx.mixedlm(formula, sleepstudy).fit()
    saved = pickle.loads(pickle.dumps(result))
    gone.remove_data()
    both = pickle.loads(pickle.dumps(gone))
    new = sleepstudy.iloc[[3, 70]]
    want = result.get_prediction(new).summary_frame()
    np.testing.assert_allclose(want["mean"], result.fittedvalues.iloc[[3, 70]], rtol=1e-10)
    for other in (saved, gone, both):
        pd.testing.assert_frame_equal(other.get_prediction(new).summary_frame(), want)
    chunks = [sleepstudy[:70], sleepstudy[70:]]
    plain = "Reaction ~ Days + (Days | Subject)"
    chunked = mx.MixedLM.from_chunks(plain, chunks).fit()
    np.testing.assert_allclose(
        chunked.get_prediction(new).summary_frame()["mean_se"], want["mean_se"], rtol=1e-6
    )
    with pytest.raises(ValueError, match="chunks"):
        chunked.get_prediction()


def test_rows_without_numbers(slopes):
    new = pd.DataFrame({"Days": [1.0, np.nan, 2.0], "Subject": ["308", "308", None]})
    found = slopes.get_prediction(new)
    assert np.isnan(found.se_mean).tolist() == [False, True, True]
    assert np.isnan(found.conf_int(obs=True)).any(axis=1).tolist() == [False, True, True]
    zero = slopes.get_prediction(new, new_levels="zero")
    assert zero.kind.tolist() == ["known group", "known group", "new group"]
    assert np.isnan(zero.se_mean).tolist() == [False, True, False]
    assert len(slopes.get_prediction(new.iloc[:0])) == 0


def test_a_variance_of_zero_is_held():
    """Nothing is known of its error: groups are predicted as the population."""
    data = mx.datasets.dyestuff2.load().data
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    assert result.is_singular
    for method in ("satterthwaite", "kenward-roger"):
        known = result.get_prediction(data.head(1), df_method=method)
        np.testing.assert_allclose(known.var_pred_mean, result.scale / 30, rtol=1e-9)
        np.testing.assert_allclose(known.df, 29, rtol=1e-6)
        population = result.get_prediction(
            data.head(1), conditional=False, df_method=method
        )
        np.testing.assert_allclose(known.df_obs, population.df_obs)
        test = result.t_test([1.0], df_method=method)
        np.testing.assert_allclose(population.se_mean, np.ravel(test.sd), rtol=1e-10)


def test_observations_of_new_groups_with_a_component_of_several_columns():
    """Columns 1, h = b and h = c, each with an effect of the component's variance."""
    rng = np.random.default_rng(3)
    n = 200
    data = pd.DataFrame({"x": rng.normal(size=n), "g": np.arange(n) % 20})
    data["h"] = pd.Categorical(rng.choice(list("abc"), n), list("abc"))
    z = np.column_stack([np.ones(n), data.h == "b", data.h == "c"])
    b = 1.5 * rng.normal(size=(20, 3))
    data["y"] = (z * b[data.g]).sum(axis=1) + rng.normal(size=n)
    model = mx.mixedlm("y ~ x", data, groups="g", re_formula="1", vc_formula={"v": "h"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the intercept may have no variance of its own
        result = model.fit()
    found = result.get_prediction(data.head(9).assign(g=99))
    added = np.asarray(found.se_obs) ** 2 - np.asarray(found.se_mean) ** 2
    component = float(result.vcomp[0])
    own = float(result.cov_re.iloc[0, 0]) + component * (z[:9] ** 2).sum(axis=1)
    assert component > 0.5
    np.testing.assert_allclose(added, result.scale + own, rtol=1e-8)


def test_rows_without_fixed_effects_have_errors_of_the_random_ones():
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.arange(40) % 8})
    data["y"] = rng.normal(size=8)[data.g] + 0.5 * rng.normal(size=40)
    result = mx.mixedlm("y ~ 0 + (1 | g)", data).fit()
    found = np.asarray(result.get_prediction(data.head(8)).se_mean) ** 2
    theta = float(np.asarray(result.theta)[0])
    want = result.scale * theta**2 / (1 + 5 * theta**2)
    np.testing.assert_allclose(found, want, rtol=1e-8)
