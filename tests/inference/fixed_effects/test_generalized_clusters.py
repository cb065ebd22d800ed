"""Cluster-robust covariances of generalized models."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from helpers.paths import RESULTS

import mixedext as mx

pytestmark = pytest.mark.formula_engine

FOUND = json.loads(Path(RESULTS, "cluster", "generalized.json").read_text())


@pytest.fixture(scope="module")
def cbpp():
    return mx.datasets.cbpp.load().data


@pytest.fixture(scope="module")
def herds(cbpp):
    return _shares(cbpp, "binomial").fit()


def _shares(data, family):
    formula = "incidence / size ~ period + (1 | herd)"
    return mx.glmm(formula, data, family=family, weights="size")


@pytest.fixture(scope="module")
def schools():
    """Counts in classes of schools, and districts of two schools each."""
    rng = np.random.default_rng(3)
    n = 360
    data = pd.DataFrame({"school": np.arange(n) // 18, "x": rng.normal(size=n)})
    data["class_"] = data["school"] * 3 + np.arange(n) % 3
    data["district"], data["pupil"] = data["school"] // 2, np.arange(n) % 9
    data["other"] = (data["school"] + 3) % 7
    eta = (
        0.5
        + 0.3 * data["x"]
        + rng.normal(0, 0.4, 9)[data["pupil"]]
        + rng.normal(0, 0.5, 20)[data["school"]]
    )
    data["y"] = rng.poisson(np.exp(eta + rng.normal(0, 0.3, 60)[data["class_"]]))
    return data


def _reference(case):
    """glmmTMB's estimates and errors; of a variance from those of the log of its root."""
    own = FOUND[case]
    names = np.array(own["parameters"])
    out = {}
    for kind in ("nonrobust", "CR0"):
        se = np.array(own[kind])
        size = np.exp(np.array(own["estimate"]))
        factor = np.where(names == "theta", 2.0 * size**2, 1.0)
        factor = np.where(names == "betad", 1.0 / size, factor)  # alpha = 1 / size
        out[kind] = factor * se
    return names, out


def _check(result, case, order=None):
    names, expected = _reference(case)
    at = np.arange(len(names)) if order is None else np.array(order)
    assert result.llf == pytest.approx(FOUND[case]["llf"], abs=1e-8)
    robust = result.get_robustcov_results("CR0")
    assert np.asarray(result.bse) == pytest.approx(expected["nonrobust"][at], rel=2e-6)
    assert np.asarray(robust.bse) == pytest.approx(expected["CR0"][at], rel=2e-6)


@pytest.mark.parametrize("case", ["logit", "probit"])
def test_one_factor_against_glmmtmb(cbpp, case):
    _check(_shares(cbpp, f"binomial({case})").fit(), case)


def test_nested_factors_and_a_dispersion_against_glmmtmb():
    ticks = mx.datasets.grouseticks.load().data
    formula = "TICKS ~ YEAR + cHEIGHT + (1 | LOCATION)"
    _check(mx.glmm(formula + " + (1 | BROOD)", ticks, family="poisson").fit(), "nested")
    result = mx.glmm(formula, ticks, family="negative binomial").fit()
    _check(result, "negative_binomial", [0, 1, 2, 3, 5, 4])


@pytest.mark.parametrize("n_agq", [1, 7])
def test_sandwich_of_log_likelihoods_of_clusters(schools, n_agq):
    """By differences of the log-likelihoods of models of the rows of single clusters."""
    formula = "y ~ x + (1 | school)"
    model = mx.glmm(formula, schools, family="poisson")
    result = model.fit(n_agq=n_agq, cov_type="CR0", cov_kwds={"groups": "district"})
    params = np.asarray(result.params)
    parts = [
        mx.glmm(formula, schools[schools["district"] == g], family="poisson")
        for g in range(10)
    ]

    def slopes(one):
        def value(p):
            return one.loglike(p, n_agq=n_agq)

        step, eye = 1e-3, np.eye(3)
        return [
            (8 * (value(params + step * e) - value(params - step * e))
             - (value(params + 2 * step * e) - value(params - 2 * step * e))) / (12 * step)
            for e in eye
        ]  # fmt: skip

    scores = np.array([slopes(one) for one in parts])
    bread = np.asarray(result.get_robustcov_results("nonrobust").cov_params())
    expected = bread @ scores.T @ scores @ bread
    assert np.asarray(result.cov_params()) == pytest.approx(expected, rel=2e-7)


def test_variance_of_zero_has_the_errors_of_a_linear_model():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 10), "x": rng.normal(size=120)})
    data["y"] = np.tile([0, 1, 2, 0, 3, 1, 1, 0, 2, 1], 12)  # less than Poisson
    with pytest.warns(sm.tools.sm_exceptions.SingularMatrixWarning):
        result = mx.glmm("y ~ x + (1 | g)", data, family="poisson").fit(cov_type="cluster")
    given = sm.GLM.from_formula("y ~ x", data, family=sm.families.Poisson())
    expected = given.fit(cov_type="cluster", cov_kwds={"groups": data["g"]}, tol=1e-14)
    assert np.asarray(result.bse_fe) == pytest.approx(expected.bse.to_numpy(), rel=1e-8)
    # with degrees of freedom of its clusters
    robust = result.get_robustcov_results("cluster", use_t=True)
    assert robust.df_resid_inference == 11
    test = robust.t_test("x = 0")
    assert test.df_denom == 11
    assert robust.pvalues["x"] == pytest.approx(float(test.pvalue))
    frame = robust.get_prediction(data.head(3), conditional=False)
    assert frame.df == 11


def test_the_correction_and_its_keywords(herds):
    plain, robust = (herds.get_robustcov_results(kind) for kind in ("CR0", "cluster"))
    ratio = (robust.bse / plain.bse) ** 2
    assert np.asarray(ratio) == pytest.approx(15 / 14 * 55 / 52, rel=1e-12)
    off = herds.get_robustcov_results("cluster", use_correction=False)
    assert np.asarray(off.bse) == pytest.approx(np.asarray(plain.bse), rel=1e-14)
    twice = herds.get_robustcov_results("CR0", scaling_factor=4.0)
    assert np.asarray(twice.bse) == pytest.approx(2 * np.asarray(plain.bse), rel=1e-12)
    assert robust.cov_kwds["n_groups"] == 15
    free = herds.get_robustcov_results("cluster", use_t=True, df_correction=False)
    assert free.t_test("Intercept = 0").df_denom == 52


def test_all_that_rests_on_the_covariance_follows(cbpp, herds):
    robust = herds.get_robustcov_results("cluster")
    ratio = float(robust.bse["herd Var"] / herds.bse["herd Var"])
    both = [r.cov_vcomp.to_numpy()[0, 0] for r in (robust, herds)]
    assert np.sqrt(both[0] / both[1]) == pytest.approx(ratio, rel=1e-10)
    new = cbpp.head(4)
    own = robust.get_prediction(new, conditional=False, which="linear").se_mean
    x = np.eye(4)
    x[:, 0] = 1.0
    covariance = np.asarray(robust.cov_params())[:4, :4]
    expected = np.sqrt(np.einsum("ij,jk,ik->i", x, covariance, x))
    assert own == pytest.approx(expected, rel=1e-10)
    means = robust.emmeans("period").table["std_err"]
    assert means.to_numpy() == pytest.approx(expected, rel=1e-10)
    test = robust.wald_test_terms().table.loc["period"]
    lead = covariance[1:, 1:]
    beta = np.asarray(robust.fe_params)[1:]
    statistic = float(beta @ np.linalg.solve(lead, beta))
    assert float(test["statistic"]) == pytest.approx(statistic, rel=1e-8)
    averages = [r.emmeans("period", marginal=True).table for r in (robust, herds)]
    assert (averages[0]["std_err"] / averages[1]["std_err"] - 1).abs().min() > 0.05
    text = str(robust.summary())
    assert "Standard errors are robust to dependence within 15 clusters." in text
    assert "cluster" in text


def test_two_ways(schools):
    model = mx.glmm("y ~ x + (1 | school)", schools, family="poisson")
    result = model.fit()
    kwds = {"use_correction": False}
    ways = ["district", "other"]
    one, two = (result.get_robustcov_results("CR0", groups=w) for w in ways)
    third = schools["district"] * 10 + schools["other"]
    both = result.get_robustcov_results("CR0", groups=third.to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = result.get_robustcov_results("cluster", groups=ways, **kwds)
    expected = one.cov_params() + two.cov_params() - both.cov_params()
    assert np.asarray(found.cov_params()) == pytest.approx(np.asarray(expected), rel=1e-9)
    assert found.cov_kwds["n_groups"] == (10, 7)
    # clusters of two ways that are one
    same = schools["district"].to_numpy()
    alike = result.get_robustcov_results("CR0", groups=np.column_stack([same, same]))
    assert np.asarray(alike.bse) == pytest.approx(np.asarray(one.bse), rel=1e-10)


def test_rows_that_count_several_times(schools):
    data = schools.assign(n=1 + schools["pupil"] % 3)
    model = mx.glmm("y ~ x + (1 | school)", data, family="poisson", freq_weights="n")
    long = data.loc[data.index.repeat(data["n"])].reset_index(drop=True)
    other = mx.glmm("y ~ x + (1 | school)", long, family="poisson").fit(cov_type="cluster")
    found = model.fit(cov_type="cluster")
    assert np.asarray(found.bse) == pytest.approx(np.asarray(other.bse), rel=1e-7)


def test_crossed_factors_are_refused_and_told_what_to_do(schools):
    crossed = mx.glmm("y ~ x + (1 | school) + (1 | pupil)", schools, family="poisson")
    with pytest.raises(ValueError, match=r"contains all others \(school, pupil\).*bootst"):
        crossed.fit(cov_type="cluster")
    result = crossed.fit()
    with pytest.raises(ValueError, match="levels of the grouping factor 'pupil' have rows"):
        result.get_robustcov_results("cluster", groups="school")
    # crossed within districts, which hold both
    data = schools.assign(pupil=schools["district"] * 100 + schools["pupil"])
    own = mx.glmm("y ~ x + (1 | school) + (1 | pupil)", data, family="poisson")
    found = own.fit(cov_type="cluster", cov_kwds={"groups": "district"})
    assert np.isfinite(found.bse).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cov_type": "CR2"}, "CR2 and CR3 .* linear models; write cov_type='cluster'"),
        ({"cov_type": "robust"}, "not known .*: rows of one group are dependent, write"),
        ({"cov_type": "clustr"}, "not known .* Did you mean 'cluster'"),
        ({"cov_type": 3}, "cov_type=3 is not known"),
        ({"cov_type": "cluster", "cov_kwds": {"group": "herd"}}, "'group' is not used by"),
        ({"cov_type": "cluster", "cov_kwds": {"groups": "herdd"}}, "Did you mean 'herd'"),
        ({"cov_type": "cluster", "cov_kwds": {"groups": "period"}}, "'herd' have rows in"),
        ({"cov_type": "cluster", "cov_kwds": {"df": "bell-mccaffrey"}}, "'clusters'"),
        ({"cov_type": "cluster", "cov_kwds": {"groups": np.zeros(56)}}, "one level; two"),
        ({"cov_type": "cluster", "cov_kwds": 5}, "cov_kwds=5 must map names to values"),
        ({"cov_kwds": {"groups": "herd"}}, "takes no cov_kwds; .*cov_type='cluster'"),
        ({"cov_type": "cluster", "n_agq": 0}, "with n_agq=0 the coefficients do not"),
    ],
)
def test_bad_arguments(cbpp, arguments, message):
    with pytest.raises(ValueError, match=message):
        _shares(cbpp, "binomial").fit(**arguments)


def test_a_coefficient_of_one_cluster_alone_has_no_error(schools):
    data = schools.assign(alone=(schools["school"] == 3) * schools["x"])
    model = mx.glmm("y ~ x + alone + (1 | school)", data, family="poisson")
    with pytest.warns(mx.ClusterWarning, match="alone.* one cluster alone tells"):
        result = model.fit(cov_type="cluster")
    assert result.bse[["alone"]].isna().all()
    assert result.bse[["Intercept", "x"]].notna().all()


def test_as_many_rows_as_coefficients():
    data = pd.DataFrame({"y": [1, 2, 0, 3], "g": [0, 0, 1, 1], "f": list("abcd")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mx.glmm("y ~ f + (1 | g)", data, family="poisson").fit()
        assert result.get_robustcov_results("CR0").cov_type == "CR0"
    with pytest.raises(ValueError, match="4 rows and 4 coefficients; use cov_type='CR0'"):
        result.get_robustcov_results("CR1")


def test_pickles_and_removed_rows(cbpp, herds):
    robust = herds.get_robustcov_results("cluster")
    copy = pickle.loads(pickle.dumps(robust))
    again = pickle.loads(pickle.dumps(herds)).get_robustcov_results("cluster")
    for one in (copy, again):
        assert np.asarray(one.bse) == pytest.approx(np.asarray(robust.bse), rel=1e-9)
        assert one.cov_vcomp.to_numpy() == pytest.approx(robust.cov_vcomp.to_numpy())
    plain = copy.get_robustcov_results("nonrobust")
    assert np.asarray(plain.bse) == pytest.approx(np.asarray(herds.bse), rel=1e-12)
    bare = _shares(cbpp, "binomial").fit(cov_type="cluster")
    bare.remove_data()
    table = bare.emmeans("period", marginal=True).table
    expected = robust.emmeans("period", marginal=True).table
    assert table["std_err"].to_numpy() == pytest.approx(expected["std_err"].to_numpy())
    with pytest.raises(ValueError, match="needs the rows of the data: take it before"):
        bare.get_robustcov_results("CR0")
