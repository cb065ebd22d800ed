"""Types of covariance, the clusters they are given, and what statsmodels expects."""

from __future__ import annotations

import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from helpers.paths import RESULTS
from helpers.residual_fits import series
from helpers.versions import needs_statsmodels_15
from statsmodels.iolib.summary2 import summary_col

import mixedext as mx
from mixedext.engine.fit import evaluate_design
from mixedext.exceptions import ClusterWarning
from mixedext.fitted import Fitted
from mixedext.inference.fixed_effects.covariance_choice import covariance_name
from mixedext.models.mixedlm.results import MixedLMResults

pytestmark = pytest.mark.formula_engine

KINDS = ["CR0", "CR1", "CR2", "CR3"]
FORMULA = "y ~ x + f + (1 + x | school) + (1 | class_)"


def frame(seed=0, n=240, schools=12):
    rng = np.random.default_rng(seed)
    school = rng.permutation(np.arange(n) % schools)
    data = pd.DataFrame(
        {
            "school": school,
            "class_": [f"{s}-{c}" for s, c in zip(school, np.arange(n) % 3, strict=True)],
            "year": rng.integers(9, size=n),
            "x": rng.standard_normal(n),
            "f": pd.Categorical(np.array(list("abc"))[rng.integers(3, size=n)]),
        }
    )
    effects = rng.standard_normal((schools, 2))
    data["y"] = data["x"] + effects[school, 0] + 0.5 * effects[school, 1] * data["x"]
    data["y"] += rng.standard_normal((schools, 3))[school, np.arange(n) % 3]
    data["y"] += rng.standard_normal(9)[data["year"]]
    data["y"] += (1 + 0.5 * np.abs(data["x"])) * rng.standard_normal(n)
    return data


@pytest.fixture(scope="module")
def data():
    return frame()


@pytest.fixture(scope="module")
def result(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mx.mixedlm(FORMULA, data).fit()


def test_names():
    assert covariance_name(None) == covariance_name("GLS") == "nonrobust"
    assert covariance_name("cluster") == covariance_name("cr1") == "CR1"
    assert covariance_name("hc1") is None
    assert covariance_name(3) is None


@pytest.mark.parametrize("kind", ["nonrobust", "oim", "cluster", *KINDS])
def test_attributes_are_statsmodels(result, kind):
    robust = result.get_robustcov_results(kind)
    assert type(robust) is type(result)
    assert robust.cov_type == kind
    by_t = kind in ("nonrobust", "CR2", "CR3")
    assert robust.use_t == robust.cov_kwds["use_t"] == by_t
    assert isinstance(robust.cov_kwds["description"], str)
    np.testing.assert_array_equal(robust.cov_params_default, robust.cov_params())
    np.testing.assert_allclose(robust.bse**2, np.diag(robust.cov_params()), rtol=1e-12)
    np.testing.assert_allclose(robust.bse_fe, robust.bse.iloc[:4], rtol=1e-12)
    np.testing.assert_allclose(
        robust.normalized_cov_params * robust.scale, robust.cov_params(), rtol=1e-12
    )
    np.testing.assert_array_equal(robust.params, result.params)
    np.testing.assert_array_equal(robust.bse_re, result.bse_re)
    if kind not in ("nonrobust", "oim"):
        assert robust.df_resid_inference == 11
        assert robust.cov_kwds["n_groups"] == 12
        assert (robust.bse_fe != result.bse_fe).all()
        back = robust.get_robustcov_results("nonrobust")
        np.testing.assert_array_equal(back.bse, result.bse)
        assert not hasattr(back, "df_resid_inference")
    else:
        assert not hasattr(robust, "df_resid_inference")


@pytest.mark.parametrize("kind", ["oim", "CR1", "CR2"])
def test_fit_takes_what_results_take(data, kind):
    kwds = {} if kind == "oim" else {"groups": "school"}
    model = mx.mixedlm(FORMULA, data)
    one = model.fit(cov_type=kind, cov_kwds=kwds, use_t=True)
    other = model.fit().get_robustcov_results(kind, use_t=True, **kwds)
    np.testing.assert_array_equal(one.cov_params(), other.cov_params())
    np.testing.assert_array_equal(one.pvalues, other.pvalues)
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(one.pvalues, again.pvalues)
    one.remove_data()
    np.testing.assert_array_equal(one.pvalues, other.pvalues)
    test = one.f_test("x = 0, f[T.b] = 0")
    assert test.pvalue == pytest.approx(other.f_test("x = 0, f[T.b] = 0").pvalue)
    if kind != "oim":
        with pytest.raises(ValueError, match="needs the rows"):
            one.get_robustcov_results("CR1")


def test_laws_of_the_tests(result):
    one = result.get_robustcov_results("CR1")
    assert np.isinf(one.fixed_effects_inference().df).all()
    two = result.get_robustcov_results("CR1", use_t=True)
    assert two.fixed_effects_inference().df.tolist() == [11.0] * 4
    assert two.f_test("x = 0").df_denom == one.f_test("x = 0").df_denom == 11
    free = result.get_robustcov_results("CR1", use_t=True, df_correction=False)
    assert free.fixed_effects_inference().df.tolist() == [236.0] * 4
    three = result.get_robustcov_results("CR2")
    df = three.fixed_effects_inference().df
    assert (df < 11.5).all()
    assert (df > 3).all()
    limits = three.conf_int().loc["x"]
    from scipy import stats

    margin = stats.t.ppf(0.975, df[3]) * three.bse["x"]
    np.testing.assert_allclose(np.diff(limits)[0], 2 * margin, rtol=1e-10)
    assert three.t_test("x = 0").df_denom == pytest.approx(df[3])
    assert three.t_test("x = 0").pvalue == pytest.approx(three.pvalues["x"])
    assert three.t_test(np.eye(4)).df_denom.shape == (4,)
    own = result.get_robustcov_results("CR1", use_t=True, df="bell-mccaffrey")
    assert (own.fixed_effects_inference().df < 11.5).all()
    normal = result.get_robustcov_results("CR2", use_t=False)
    assert np.isinf(normal.fixed_effects_inference().df).all()
    # the variance parameters keep z
    np.testing.assert_array_equal(three.pvalues.iloc[4:], result.pvalues.iloc[4:])


def test_options_of_the_covariance(result):
    plain = result.get_robustcov_results("CR0").cov_params().iloc[:4, :4]
    off = result.get_robustcov_results("cluster", use_correction=False)
    np.testing.assert_array_equal(plain, off.cov_params().iloc[:4, :4])
    on = result.get_robustcov_results("cluster").cov_params().iloc[:4, :4]
    np.testing.assert_allclose(on, plain * 12 / 11 * 239 / 236, rtol=1e-12)
    scaled = result.get_robustcov_results("CR0", scaling_factor=2.0)
    np.testing.assert_allclose(scaled.cov_params().iloc[:4, :4], 2 * plain, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::mixedext.exceptions.ClusterWarning")
def test_groups_in_every_form(data, result):
    want = result.get_robustcov_results("CR1", groups="school").bse
    shuffled = data["school"].sample(frac=1, random_state=1)
    for groups in (
        None,
        data["school"],
        shuffled,  # aligned by its index
        data["school"].to_numpy(),
        list(data["school"]),
        data[["school"]],
        data[["school"]].to_numpy(),
        data["school"].map(lambda s: f"s{s}"),
        ["school"],
    ):
        got = result.get_robustcov_results("CR1", groups=groups).bse
        np.testing.assert_allclose(got, want, rtol=1e-14)  # clusters in any order
    want = result.get_robustcov_results("CR0", groups=["school", "year"]).bse
    for groups in (
        ("school", "year"),
        data[["school", "year"]],
        data[["school", "year"]].to_numpy(),
        [data["school"], data["year"]],
        (data["school"].to_numpy(), data["year"].to_numpy()),
    ):
        got = result.get_robustcov_results("CR0", groups=groups)
        np.testing.assert_array_equal(got.bse, want)
        assert got.df_resid_inference == 8
        assert got.cov_kwds["n_groups"] == (12, 9)


def test_groups_of_frames_with_an_entity_index_and_missing_rows(data):
    indexed = data.copy()
    indexed.loc[[3, 50], "x"] = np.nan
    indexed["when"] = np.arange(len(data))
    panel = indexed.set_index(["school", "when"])
    kwds = {"missing": "drop"}
    whole = mx.mixedlm(FORMULA, indexed, **kwds).fit()
    other = mx.mixedlm("y ~ x + (1 | class_)", panel.reset_index("when"), **kwds).fit()
    assert other.get_robustcov_results("CR2", groups="school").df_resid_inference == 11
    want = whole.get_robustcov_results("CR1", groups="school").bse
    got = whole.get_robustcov_results("CR1", groups=data["school"]).bse
    np.testing.assert_array_equal(got, want)
    with pytest.raises(ValueError, match="length 240, but the model has 238 rows"):
        whole.get_robustcov_results("CR1", groups=data["school"].to_numpy())


def test_array_models(data):
    x = np.column_stack([np.ones(len(data)), data["x"]])
    model = mx.MixedLM(data["y"].to_numpy(), x, groups=data["school"].to_numpy())
    robust = model.fit(cov_type="CR2")
    formula = mx.mixedlm("y ~ x + (1 | school)", data).fit(cov_type="CR2")
    np.testing.assert_allclose(robust.bse, formula.bse, rtol=1e-8)
    named = model.fit().get_robustcov_results("CR2", groups="Group")
    np.testing.assert_allclose(robust.bse, named.bse, rtol=1e-12)


@pytest.mark.parametrize(
    ("kwds", "message"),
    [
        ({"groups": "town"}, "'town' is neither a column"),
        ({"groups": [1, 2, 3]}, "length 3, but the model has 240 rows"),
        ({"groups": np.r_[np.nan, np.zeros(239)]}, "missing labels"),
        ({"groups": np.zeros(240)}, "one level"),
        ({"groups": np.zeros((240, 3))}, "3 columns"),
        ({"group": "school"}, "'group' is not used"),
        ({"df": "satterthwaite"}, "df='satterthwaite' is not known"),
    ],
)
def test_errors_say_what_is_wrong(result, kwds, message):
    with pytest.raises(ValueError, match=message):
        result.get_robustcov_results("CR1", **kwds)


def test_what_is_not_defined_is_refused_with_the_reason(data, result):
    with pytest.raises(ValueError, match="cov_type='hc1' is not known"):
        result.get_robustcov_results("hc1")
    with pytest.raises(ValueError, match="levels of the grouping factor 'school'"):
        result.get_robustcov_results("CR2", groups="year")
    with pytest.raises(ValueError, match="two-way"):
        result.get_robustcov_results("CR3", groups=["school", "year"])
    crossed = mx.mixedlm("y ~ x + (1 | school) + (1 | year)", data).fit()
    with pytest.raises(ValueError, match="groups must be given"):
        crossed.get_robustcov_results("CR1")
    assert np.isfinite(crossed.get_robustcov_results("CR1", groups="school").bse_fe).all()
    with pytest.raises(ValueError, match="df_method='satterthwaite'"):
        result.get_robustcov_results("CR1").t_test("x = 0", df_method="satterthwaite")


def test_one_case_of_statsmodels_is_passed_over(data):
    """statsmodels' own test wants it: of models stated by groups, in lower case."""
    model = mx.mixedlm("y ~ x", data, groups="school")
    with pytest.warns(FutureWarning, match="Argument cov_type not used by MixedLM.fit"):
        other = model.fit(cov_type="hc1")
    np.testing.assert_array_equal(other.bse, model.fit().bse)
    with pytest.raises(ValueError, match="cov_type='HC1' is not known"):
        model.fit(cov_type="HC1")
    with pytest.raises(ValueError, match="cov_type='hc1' is not known"):
        mx.mixedlm(FORMULA, data).fit(cov_type="hc1")


@pytest.mark.parametrize(
    ("cov_type", "message"),
    [
        ("HC1", "independent.*cov_type='CR2'"),
        ("HC3", "independent.*cov_type='CR2'"),
        ("robust", "independent.*cov_type='CR2'"),
        ("sandwich", "independent.*cov_type='CR2'"),
        ("HAC", "single series.*cov_type='CR2'"),
        ("hac-panel", "dependent within groups.*cov_type='CR2'"),
        ("Newey-West", "single series.*cov_type='CR2'"),
        ("clustered", "'CR1', which 'cluster' stands for"),
        ("jackknife", "cov_type='CR3'"),
        ("clustr", "Did you mean 'cluster'"),
        ("CR9", "'CR0', 'CR1', 'CR2' or 'CR3'$"),
        (True, "'CR0', 'CR1', 'CR2' or 'CR3'$"),
    ],
)
def test_covariances_of_other_models_are_refused_with_what_to_write(
    cov_type, message, data, result
):
    match = f"cov_type={cov_type!r} is not known; use .*{message}"
    model = mx.mixedlm(FORMULA, data)
    for ask in (model.fit, result.get_robustcov_results):
        with pytest.raises(ValueError, match=match):
            ask(cov_type=cov_type)
    with pytest.raises(ValueError, match=match):
        model.fit_regularized(alpha=0.1, cov_type=cov_type)


def test_keywords_of_clusters_without_clusters(data):
    model = mx.mixedlm(FORMULA, data)
    with pytest.raises(ValueError, match="cov_type is not given; write cov_type='CR2'"):
        model.fit(cov_kwds={"groups": "school"})
    with pytest.raises(ValueError, match="cov_type is 'oim'; write cov_type='CR2'"):
        model.fit(cov_type="oim", cov_kwds={"groups": "school"})
    with pytest.raises(ValueError, match=r"'group' is not used .*Did you mean 'groups'"):
        model.fit(cov_type="CR2", cov_kwds={"group": "school"})


@pytest.mark.parametrize("two_way", [False, True])
def test_least_squares_in_the_limit(data, two_way):
    """Without any random effect the results are those of statsmodels' OLS."""
    x = np.column_stack([np.ones(len(data)), data["x"]])
    model = mx.MixedLM(data["y"].to_numpy(), x, terms=[])
    groups = data[["school", "year"]].to_numpy() if two_way else data["school"].to_numpy()
    ols = smf.ols("y ~ x", data).fit(cov_type="cluster", cov_kwds={"groups": groups})
    got = model.fit(cov_type="cluster", cov_kwds={"groups": groups})
    np.testing.assert_allclose(got.bse, ols.bse, rtol=1e-9)
    np.testing.assert_allclose(got.pvalues, ols.pvalues, rtol=1e-7)
    np.testing.assert_allclose(got.conf_int(), ols.conf_int(), rtol=1e-9)
    assert got.f_test([0, 1]).pvalue == pytest.approx(ols.f_test([0, 1]).pvalue, rel=1e-7)
    got, ols = (
        r.get_robustcov_results("cluster", groups=groups, use_t=True) for r in (got, ols)
    )
    np.testing.assert_allclose(got.pvalues, ols.pvalues, rtol=1e-7)


def test_dropped_columns_stay_missing(data):
    twice = data.assign(x2=2 * data["x"])
    with pytest.warns(mx.exceptions.RankDeficientWarning):
        model = mx.mixedlm("y ~ x + x2 + (1 | school)", twice)
    plain = mx.mixedlm("y ~ x + (1 | school)", data)
    for kind in ("oim", *KINDS):
        got = model.fit(cov_type=kind)
        assert np.isnan(got.bse["x2"])
        want = plain.fit(cov_type=kind)
        np.testing.assert_allclose(got.bse[["x"]], want.bse[["x"]], rtol=1e-6)
        np.testing.assert_allclose(got.pvalues[["x"]], want.pvalues[["x"]], rtol=1e-5)


@needs_statsmodels_15
def test_singular_fits(data):
    flat = data.assign(y=np.random.default_rng(3).standard_normal(len(data)))
    for seed in range(20):
        flat["y"] = np.random.default_rng(seed).standard_normal(len(data))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = mx.mixedlm("y ~ x + (1 | school)", flat).fit()
        if fit.is_singular:
            break
    ols = smf.ols("y ~ x", flat).fit()
    for kind in ("CR1", "CR3"):
        name = {"CR1": "cluster", "CR3": "cluster-crv3"}[kind]
        want = ols.get_robustcov_results(
            name, groups=flat["school"].to_numpy(), use_correction=kind == "CR1"
        )
        got = fit.get_robustcov_results(kind)
        np.testing.assert_allclose(got.bse_fe, want.bse, rtol=1e-8)


def test_negative_eigenvalues_warn():
    data = frame(5, n=36, schools=6).assign(year=np.arange(36) % 2)
    model = mx.mixedlm("y ~ x + f + (1 | school)", data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = model.fit()
    with pytest.warns(ClusterWarning, match="negative eigenvalues"):
        robust = fit.get_robustcov_results("CR1", groups=["school", "year"])
    assert np.isfinite(robust.bse_fe).all()


def test_summary_col_and_tables(result):
    text = str(summary_col([result, result.get_robustcov_results("CR2")]))
    assert f"({result.bse['x']:.4f})" in text
    assert f"({result.get_robustcov_results('CR2').bse['x']:.4f})" in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_that_alone_identifies_a_coefficient_warns(data, kind):
    only = data.assign(third=(data["school"] == 3).astype(float))
    fit = mx.mixedlm("y ~ x + third + (1 | school)", only).fit()
    with pytest.warns(ClusterWarning, match="exists for third, of which one cluster alone"):
        robust = fit.get_robustcov_results(kind)
    assert np.isfinite(robust.bse_fe).tolist() == [True, True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_clusters_of_a_fit_with_parameters_held(data, kind):
    """Tests have the standard errors that are shown, not those of other coordinates."""
    model = mx.mixedlm("y ~ x", data, groups="school", re_formula="~x")
    free = mx.MixedLMParams.from_components(fe_params=np.ones(2), cov_re=np.eye(2))
    result = model.fit(free=free, cov_type=kind)
    np.testing.assert_allclose(result.t_test(np.eye(2)).sd, result.bse_fe, rtol=1e-12)
    inference = result.fixed_effects_inference()
    np.testing.assert_allclose(inference.se, result.bse_fe, rtol=1e-12)
    want = result.t_test([[0, 1]]).statistic ** 2
    found = result.wald_test([[0, 1]], use_f=True, scalar=True)
    np.testing.assert_allclose(found.statistic, want, rtol=1e-9)


CLUSTER = RESULTS / "cluster"


@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR2", "CR3"])
@pytest.mark.parametrize(
    ("name", "random", "reml"),
    [("slopes", "(x | g)", True), ("nested", "(1 | g/i)", False)],
)
def test_clubsandwich(kind, name, random, reml):
    # tests/results/cluster/make_cluster.R
    want = json.loads((CLUSTER / "clubsandwich.json").read_text())[name]
    data = pd.read_csv(CLUSTER / "unbalanced.csv")
    model = mx.mixedlm(f"y ~ x + z + {random}", data)
    theta = want["theta"] if name == "slopes" else want["theta"][::-1]
    np.testing.assert_allclose(model.fit(reml=reml).theta, theta, rtol=1e-6)
    # where R's optimizer ended
    at = MixedLMResults(
        Fitted(evaluate_design(model._design, reml, np.array(theta)), model)
    )
    result = at.get_robustcov_results(kind, groups="g", df="bell-mccaffrey", use_t=True)
    n, p = len(data), 3
    # clubSandwich's CR1 has the factor G / (G - 1) alone
    factor = (n - 1) / (n - p) if kind == "CR1" else 1.0
    own, size = want[kind], np.sqrt(want[kind]["covariance"][::4])
    covariance = np.reshape(own["covariance"], (p, p)) / np.outer(size, size)
    got = np.asarray(result.cov_params())[:p, :p] / factor / np.outer(size, size)
    np.testing.assert_allclose(got, covariance, rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.fixed_effects_inference().df, own["df"], rtol=1e-9)
    test = result.f_test("x = 0, z = 0")
    htz = [test.statistic * factor, test.df_denom]
    np.testing.assert_allclose(htz, own["htz"], rtol=1e-9)


def sparse_model():
    rng = np.random.default_rng(2)
    n = 120
    first, other = rng.integers(20, size=(2, n))
    matrix = np.zeros((n, 20))
    np.add.at(matrix, (np.arange(n), first), 0.5)
    np.add.at(matrix, (np.arange(n), other), 0.5)
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = x @ [1.0, 2.0] + 2 * matrix @ rng.normal(size=20) + rng.normal(size=n)
    area = np.where(first < 10, 0, 1) + 2 * (np.arange(n) % 4)
    y += 2 * rng.normal(size=8)[area]
    terms = [mx.SparseTerm(matrix, "school"), mx.RandomTerm(area, group="area")]
    return mx.MixedLM(y, x, terms=terms), area


def test_terms_of_any_matrix():
    model, area = sparse_model()
    result = model.fit()
    for groups in (area, "area"):
        robust = result.get_robustcov_results("CR1", groups=groups)
        assert np.isfinite(robust.bse_fe).all()
        with pytest.raises(ValueError, match="'school' occur in several clusters"):
            result.get_robustcov_results("CR2", groups=groups)
    with pytest.raises(ValueError, match="no grouping factor contains all others"):
        result.get_robustcov_results("CR1")
    with pytest.raises(ValueError, match="rows may belong to several levels"):
        result.get_robustcov_results("CR1", groups="school")
    with pytest.raises(ValueError, match="counts the levels of grouping factors"):
        result.t_test(np.eye(2), df_method="containment")


def test_clusters_of_a_model_without_fixed_effects(data):
    result = mx.mixedlm("y ~ 0 + (1 | school)", data).fit()
    for groups in ("school", ["school", "f"]):
        assert result.get_robustcov_results("CR1", groups=groups).bse_fe.shape == (0,)


def test_kenward_roger_shows_one_set_of_standard_errors():
    sleep = mx.datasets.sleepstudy.load().data
    some = sleep[(sleep["Days"] < 5) | (sleep["Subject"].astype(int) % 3 > 0)]
    model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", some)
    result, plain = model.fit(df_method="kenward-roger"), model.fit()
    errors = result.cov_params_kr.to_numpy().diagonal() ** 0.5
    assert errors[1] > 1.01 * plain.bse_fe["Days"]
    inference = result.fixed_effects_inference()
    table = result.summary().tables[1]
    for shown in (
        result.bse_fe,
        result.bse.iloc[:2],
        np.sqrt(np.diag(result.cov_params())[:2]),
        result.fe_params / result.tvalues.iloc[:2],
        result.t_test(np.eye(2)).sd,
        inference.se,
        np.sqrt(np.diag(result.normalized_cov_params * result.scale)[:2]),
    ):
        np.testing.assert_allclose(shown, errors, rtol=1e-10)
    np.testing.assert_allclose(table["Std.Err."].iloc[:2].astype(float), errors, atol=1e-3)
    columns = summary_col([result], float_format="%.6f").tables[0].iloc[1:4:2, 0]
    shown = [float(text.strip("()")) for text in columns]
    np.testing.assert_allclose(shown, errors, atol=1e-6)
    # of the variances nothing changes, and another covariance has its own
    np.testing.assert_array_equal(result.bse.iloc[2:], plain.bse.iloc[2:])
    np.testing.assert_array_equal(result.bse_re, plain.bse_re)
    np.testing.assert_array_equal(plain.cov_params_kr, result.cov_params_kr)


# ---- a residual covariance ----


@pytest.mark.parametrize("cov_type", [None, "oim"])
@pytest.mark.parametrize(
    ("bar", "variance", "labels"),
    [("", "ident(visit)", "12345"), (" + (t | subject)", "ident(arm)", "b")],
)
def test_parameters_of_a_residual_covariance_stand_last(bar, variance, labels, cov_type):
    data = series()
    residual = "ar1(visit | subject)"
    model = mx.mixedlm(f"y ~ x{bar}", data, residual=residual, variance=variance)
    result = model.fit(cov_type=cov_type)
    names = ["AR1 rho", *(f"Var({k}) ratio" for k in labels)]
    assert result.params.index[-len(names) :].tolist() == names
    natural = result.residual.params
    variances = natural.filter(like="Var(").to_numpy()
    assert result.params["AR1 rho"] == pytest.approx(natural["rho"], rel=1e-12)
    assert result.scale == pytest.approx(variances[0])
    ratio = np.sqrt(variances[1:] / variances[0])
    np.testing.assert_allclose(result.params[names[1:]], ratio, rtol=1e-12)
    # ratio^2 = v_k / v_0 by the delta method
    covariance = result.residual.cov_params
    for k, name in enumerate(names[1:], 1):
        slope = np.zeros(len(natural))
        slope[k], slope[0] = (
            ratio[k - 1] / 2 / variances[k],
            -ratio[k - 1] / 2 / variances[0],
        )
        error = np.sqrt(slope @ covariance.to_numpy() @ slope)
        assert result.bse[name] == pytest.approx(error, rel=1e-8)
    assert result.bse["AR1 rho"] == pytest.approx(result.residual.bse["rho"], rel=1e-10)
    whole = result.cov_params()
    assert whole.index.tolist() == result.params.index.tolist()
    np.testing.assert_allclose(np.sqrt(np.diag(whole)), result.bse)
    assert np.linalg.eigvalsh(whole.to_numpy())[0] > 0
    limits = result.conf_int()
    assert limits.index.tolist() == result.params.index.tolist()
    for table in (result.tvalues, result.pvalues):
        assert table.index.tolist() == result.params.index.tolist()


@pytest.mark.parametrize("reml", [True, False])
def test_whole_hessian_beside_a_residual_covariance(reml):
    # [A^-1 + J R J', J R] against the inverse of second differences of the dense deviance
    data = series(groups=25)
    model = mx.mixedlm("y ~ x", data, residual="ar1(visit | subject)")
    result = model.fit(reml=reml, cov_type="oim")
    fit, y, x = result.fitted.fit, model.endog, model.exog
    bound, n, p = model.residual, len(data), 2
    same = bound.group_codes[:, None] == bound.group_codes
    lag = np.abs(bound.visit_codes[:, None] - bound.visit_codes)
    dof = n - p if reml else n

    def deviance(point):  # sigma^2 profiled out
        beta, rho = point[:p], point[p]
        v = same * rho**lag
        inverse = np.linalg.inv(v)
        e = y - x @ beta
        value = np.linalg.slogdet(v)[1] + dof * np.log(e @ inverse @ e)
        return value + (np.linalg.slogdet(x.T @ inverse @ x)[1] if reml else 0.0)

    at = np.append(fit.coefficients, result.params["AR1 rho"])
    step = np.diag(np.append(np.asarray(result.bse)[:p], 0.05) * 0.02)
    second = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            ends = [
                deviance(at + a * step[i] + b * step[j]) for a in (1, -1) for b in (1, -1)
            ]
            value = ends[0] - ends[1] - ends[2] + ends[3]
            second[i, j] = value / (4 * step[i, i] * step[j, j])
    expected = 2 * np.linalg.inv(second)
    size = np.sqrt(np.diag(expected))
    off = (result.cov_params().to_numpy() - expected) / np.outer(size, size)
    assert np.abs(off).max() < 2e-4


def test_kenward_rogers_and_robust_covariances_leave_the_others():
    data = series()
    model = mx.mixedlm("y ~ x", data, residual="ar1(visit | subject)")
    plain, adjusted = model.fit(), model.fit(df_method="kenward-roger")
    assert adjusted.bse["x"] != plain.bse["x"]
    assert adjusted.bse["AR1 rho"] == plain.bse["AR1 rho"]
