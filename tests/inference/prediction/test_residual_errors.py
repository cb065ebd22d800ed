"""Predictions beside a residual covariance: SAS, rows left out, own rows, degrees."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from helpers.joint_residual import STRUCTURES, dense_case
from helpers.paths import RESULTS

import mixedext as mx
from mixedext.engine.residual.fit import residual_fit_at
from mixedext.engine.residual.natural import free_parameters, natural_parameters
from mixedext.fitted import Fitted
from mixedext.inference.prediction.mixed_prediction import get_prediction
from mixedext.inference.prediction.predictions import predict
from mixedext.inference.prediction.residual_errors import replicated_deviations
from mixedext.models.mixedlm.residual_fitting import residual_rows
from mixedext.specification.covariance.residual_recipe import own_places

pytestmark = pytest.mark.formula_engine

SAS = json.loads((RESULTS / "prediction" / "residual_sas.json").read_text())["fits"]


@pytest.fixture(scope="module")
def fev():
    return mx.datasets.fev.load().data


def fev_fit(data, residual, formula="FEV1 ~ ARMCD", **options):
    return mx.mixedlm(formula, data, residual=residual, missing="drop", **options).fit()


@pytest.mark.parametrize("residual", SAS)
def test_values_of_sas(fev, residual):
    """SAS stops early: us and toep 1e-4 and 4e-5 from the optimum, the others 3e-6."""
    want = SAS[residual]
    rtol = {"us": 2e-4, "to": 1e-4}.get(residual[:2], 5e-6)
    result = fev_fit(fev, residual)
    means = pd.DataFrame({"ARMCD": ["TRT", "PBO"]})
    found = result.get_prediction(means)
    np.testing.assert_allclose(found.predicted_mean, want["PM"], rtol=rtol)
    np.testing.assert_allclose(found.se_mean, want["PMSD"], rtol=rtol)
    new = fev[fev["FEV1"].isna()].drop(columns="FEV1")
    found = result.get_prediction(new, conditional="all", new_levels="zero")
    np.testing.assert_allclose(found.predicted_mean, want["P"], rtol=rtol)
    np.testing.assert_allclose(found.se_mean, want["PSD"], rtol=rtol)
    np.testing.assert_array_equal(found.se_obs, found.se_mean)
    np.testing.assert_array_equal(
        found.kind == "new group", new["USUBJID"].isin(["PT54", "PT142", "PT199"])
    )
    if "PSD_kr" not in want:
        return
    kr = result.get_prediction(means, df_method="kenward-roger")
    np.testing.assert_allclose(kr.se_mean, want["PMSD_kr"], rtol=rtol)
    # its method for predictions is not documented: the adjustment agrees to some percent
    kr = result.get_prediction(
        new, conditional="all", new_levels="zero", df_method="kenward-roger"
    )
    np.testing.assert_allclose(kr.se_mean, want["PSD_kr"], rtol=2e-4)
    assert np.abs(np.array(want["PSD_kr"]) / want["PSD"] - 1).max() > 3e-3


LEFT_OUT = "cs", "csh", "ar1h", "arma", "toep", "us", "adh", "car1", "sp_gau", "power"


@pytest.mark.parametrize("beside", ["none", "same", "outer", "crossed", "crossed slopes"])
@pytest.mark.parametrize("structure", LEFT_OUT)
def test_one_row_left_out(structure, beside):
    """The rest predict a row by y - Py / P_ii, with variance 1 / P_ii."""
    rng = np.random.default_rng([len(structure), len(beside), 3])
    case = dense_case(rng, structure, beside, bool(rng.integers(2)))
    data, fit = case.data, case.fitted.fit
    v = case.joint(data.iloc[:0], case.covariances, case.psi, True)
    x = case.columns(data)
    inverse = np.linalg.inv(v)
    p = inverse - inverse @ x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
    y = data["y"].to_numpy()
    eta = natural_parameters(fit.residual.bound, case.psi)
    sizes = data.groupby("g")["g"].transform("size").to_numpy()
    for row in rng.permutation(np.flatnonzero(sizes > 2))[:2]:
        rest = data.drop(index=row)
        model = case.fitted.model
        again = mx.mixedlm(model.formula, rest, **stated(structure))
        rows = residual_rows(again)
        psi = free_parameters(again.residual, eta)
        smaller = residual_fit_at(rows, fit.reml, fit.theta, psi)
        fitted = Fitted(smaller, again)
        found = get_prediction(
            fitted, data.iloc[[row]], conditional="all", new_levels="zero", df_method="z"
        )
        mean = y[row] - (p @ y)[row] / p[row, row]
        np.testing.assert_allclose(found.predicted_mean, mean, rtol=1e-9, atol=1e-9)
        variance = found.var_pred_obs / fitted.scale
        np.testing.assert_allclose(variance, 1 / p[row, row], rtol=1e-9)


def stated(structure):
    residual, variance = STRUCTURES[structure]
    return {"residual": residual, "variance": variance}


@pytest.mark.filterwarnings("ignore:the observed information")
@pytest.mark.parametrize("structure", ["ar1", "us", "cs", "car1", "sp_lin"])
@pytest.mark.parametrize("beside", ["none", "same", "crossed", "crossed slopes"])
def test_rows_of_the_fit_are_themselves(structure, beside):
    rng = np.random.default_rng(5)
    case = dense_case(rng, structure, beside)
    y = case.data["y"].to_numpy()
    for exog in (None, case.data):
        np.testing.assert_allclose(
            predict(case.fitted, exog, conditional="all"), y, atol=1e-12
        )
        found = get_prediction(
            case.fitted, exog, conditional="all", df_method="satterthwaite"
        )
        np.testing.assert_array_equal(found.se_obs, 0.0)
        assert np.isposinf(found.df).all()
        np.testing.assert_allclose(found.conf_int(obs=True)[:, 0], y, atol=1e-12)
    # but what is asked for other columns at a place is another thing
    other = case.data.assign(x=case.data["x"] + 1.0)
    if beside == "none":
        mean = predict(case.fitted, other, conditional="all")
        np.testing.assert_allclose(mean - y, case.fitted.fit.coefficients[1], rtol=1e-9)


def test_nugget_smooths():
    case = dense_case(np.random.default_rng(1), "sp_exp nugget", "none")
    found = get_prediction(case.fitted, None, conditional="all", df_method="z")
    y = case.data["y"].to_numpy()
    assert np.abs(found.predicted_mean - y).max() > 0.1
    nugget = natural_parameters(case.fitted.fit.residual.bound, case.psi)[1]
    gap = found.var_pred_obs - found.var_pred_mean
    np.testing.assert_allclose(gap, nugget * case.fitted.scale)
    same = predict(case.fitted, case.data, conditional="all")
    np.testing.assert_allclose(found.predicted_mean, same, rtol=1e-12)


def test_observations_have_their_own_deviation(fev):
    """The variance of a visit and of a stratum is that of its rows."""
    result = fev_fit(fev, "us(AVISIT | USUBJID, by=ARMCD)", "FEV1 ~ AVISIT * ARMCD")
    new = fev.drop_duplicates(["AVISIT", "ARMCD"]).drop(columns=["FEV1", "USUBJID"])
    found = result.get_prediction(new)
    residual = result.fitted.fit.residual
    own = residual.deviations() ** 2 * result.scale
    kept = fev[fev["FEV1"].notna()]
    want = [
        own[((kept["AVISIT"] == row.AVISIT) & (kept["ARMCD"] == row.ARMCD)).to_numpy()][0]
        for row in new.itertuples()
    ]
    np.testing.assert_allclose(found.var_pred_obs - found.var_pred_mean, want, rtol=1e-12)
    weighted = result.get_prediction(new, weights=4.0)
    np.testing.assert_allclose(
        weighted.var_pred_obs - weighted.var_pred_mean, np.array(want) / 4, rtol=1e-12
    )
    # those of a variance of one visit in one arm, and the mean's of as many rows
    assert (found.df_obs > 40).all()
    assert (found.df_obs < 110).all()


def test_population_degrees_are_those_of_the_tests(fev):
    result = fev_fit(fev, "ar1h(AVISIT | USUBJID)", "FEV1 ~ AVISIT")
    new = fev.head(4).drop(columns="FEV1")
    for method in ("satterthwaite", "kenward-roger", "kenward-roger-2009"):
        found = result.get_prediction(new, conditional=False, df_method=method)
        rows = np.zeros((4, 4))
        rows[:, 0] = 1
        rows[[1, 2, 3], [1, 2, 3]] = 1
        test = result.t_test(rows, df_method=method)
        np.testing.assert_allclose(found.se_mean, test.sd, rtol=1e-10)
        np.testing.assert_allclose(found.df, test.df_denom, rtol=1e-10)


def test_rows_alone_are_the_population(fev):
    """Of a new group all that is known is the mean; its error has the residual's."""
    result = fev_fit(fev, "ar1(AVISIT | USUBJID)", "FEV1 ~ AVISIT")
    new = fev.head(4).drop(columns="FEV1").assign(USUBJID="new")
    for method in ("satterthwaite", "kenward-roger", "kenward-roger-2009"):
        found = result.get_prediction(
            new, conditional="all", new_levels="zero", df_method=method
        )
        other = result.get_prediction(new, conditional=False, df_method=method)
        np.testing.assert_allclose(found.predicted_mean, other.predicted_mean, rtol=1e-12)
        np.testing.assert_allclose(found.se_mean, other.se_obs, rtol=1e-10)
        np.testing.assert_allclose(found.df, other.df_obs, rtol=1e-10)


def test_2009_is_the_same_in_any_parameters(fev):
    """By correlation at distance one, and by range."""
    new = fev[fev["FEV1"].isna()].head(20).drop(columns="FEV1")
    errors = {}
    for residual in ("car1(VISITN | USUBJID)", "sp_exp(VISITN | USUBJID)"):
        result = fev_fit(fev, residual)
        for method in ("kenward-roger", "kenward-roger-2009"):
            found = result.get_prediction(
                new, conditional="all", new_levels="zero", df_method=method,
                information="expected",
            )  # fmt: skip
            errors.setdefault(method, []).append(found.se_mean)
    a, b = errors["kenward-roger-2009"]
    np.testing.assert_allclose(a, b, rtol=1e-9)
    a, b = errors["kenward-roger"]
    assert np.abs(a / b - 1).max() > 1e-6


def test_independent_residuals_say_nothing(fev):
    """With variance functions alone conditional='all' is conditional=True."""
    result = mx.mixedlm(
        "FEV1 ~ AVISIT + (1 | USUBJID)", fev, variance="ident(AVISIT)", missing="drop"
    ).fit()
    new = fev.dropna().head(9).drop(columns="FEV1")
    one = result.get_prediction(new, conditional="all")
    other = result.get_prediction(new, conditional=True)
    np.testing.assert_array_equal(one.predicted_mean, other.predicted_mean)
    np.testing.assert_array_equal(one.se_obs, other.se_obs)


def test_all_without_a_residual_covariance():
    data = mx.datasets.sleepstudy.load().data
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    np.testing.assert_array_equal(result.predict(conditional="all"), result.predict())
    by_groups = mx.MixedLM.from_formula("Reaction ~ Days", data, groups="Subject").fit()
    np.testing.assert_array_equal(
        by_groups.predict(conditional="all"), by_groups.predict(conditional=True)
    )


def test_many_new_rows_at_once(fev):
    """In blocks, and one by one."""
    result = fev_fit(fev, "car1(VISITN | USUBJID)")
    days = np.linspace(0.0, 6.0, 97)
    new = pd.DataFrame({"VISITN": days, "USUBJID": "PT2", "ARMCD": "PBO"})
    mixed = pd.concat([new, new.assign(USUBJID="PT7", ARMCD="TRT")]).sample(
        frac=1, random_state=1
    )
    found = result.get_prediction(mixed, conditional="all").summary_frame()
    for k in (0, 50, 150):
        one = result.get_prediction(mixed.iloc[[k]], conditional="all").summary_frame()
        pd.testing.assert_series_equal(one.iloc[0], found.iloc[k], rtol=1e-9)


def test_weights_of_new_rows(fev):
    result = fev_fit(fev, "ar1(AVISIT | USUBJID)", weights="WEIGHT")
    new = fev[fev["FEV1"].isna()].head(3).drop(columns="FEV1")
    for call in (result.predict, result.get_prediction):
        with pytest.raises(ValueError, match=r"weights, .* give it to get_prediction by"):
            call(new, conditional="all")
    two = result.get_prediction(new, conditional="all", weights=[1.0, 4.0, 1.0])
    one = result.get_prediction(new, conditional="all", weights=1.0)
    population = result.predict(new, conditional=False).to_numpy()
    np.testing.assert_allclose(
        (two.predicted_mean - population)[1], (one.predicted_mean - population)[1] / 2
    )
    # a heavy row is one with a small variance of its own
    assert two.se_obs[1] < one.se_obs[1]
    own = result.predict(conditional="all")
    np.testing.assert_allclose(own, fev.loc[fev["FEV1"].notna(), "FEV1"], rtol=1e-12)


def test_offset(fev):
    """What is known of a mean takes no part in what residuals say."""
    data = fev.assign(known=np.linspace(0, 9, len(fev)))
    moved = data.assign(FEV1=data["FEV1"] + data["known"])
    plain = fev_fit(data, "ar1(AVISIT | USUBJID)")
    result = fev_fit(moved, "ar1(AVISIT | USUBJID)", offset="known")
    new = data[data["FEV1"].isna()].head(8).drop(columns="FEV1")
    np.testing.assert_allclose(
        result.predict(new, conditional="all"),
        plain.predict(new, conditional="all") + new["known"],
        rtol=1e-9,
    )


@pytest.mark.filterwarnings("ignore:The residual covariance is at a limit")
def test_order_and_labels_do_not_matter(fev):
    rng = np.random.default_rng(8)
    new = fev[fev["FEV1"].isna()].head(25).drop(columns="FEV1")
    other = fev.iloc[rng.permutation(len(fev))]
    names = {k: f"{rng.integers(10**6)}-{k}" for k in fev["USUBJID"].unique()}
    other = other.assign(USUBJID=other["USUBJID"].astype(str).map(names))
    moved = new.assign(USUBJID=new["USUBJID"].astype(str).map(names))
    columns = ["mean", "mean_se", "obs_se", "df", "df_obs"]
    for residual in ("toeph(AVISIT | USUBJID)", "sp_exp(VISITN | USUBJID, nugget=True)"):
        one = fev_fit(fev, residual).get_prediction(
            new, conditional="all", new_levels="zero"
        )
        again = fev_fit(other, residual).get_prediction(
            moved.iloc[::-1], conditional="all", new_levels="zero"
        )
        np.testing.assert_allclose(
            again.summary_frame()[columns].iloc[::-1],
            one.summary_frame()[columns],
            rtol=1e-4,  # of the search
        )


def test_robust_covariances_are_of_the_population(fev):
    result = fev_fit(fev, "ar1(AVISIT | USUBJID)")
    robust = result.get_robustcov_results("CR2")
    new = fev.head(2).drop(columns="FEV1")
    found = robust.get_prediction(new, conditional=False)
    test = robust.t_test([[1, 1], [1, 1]])
    np.testing.assert_allclose(found.se_mean, test.sd, rtol=1e-10)
    np.testing.assert_allclose(found.df, test.df_denom)
    np.testing.assert_array_equal(found.df_obs, found.df)
    gap = found.var_pred_obs - found.var_pred_mean
    np.testing.assert_allclose(gap, result.scale)
    with pytest.raises(ValueError, match="use conditional=False"):
        robust.get_prediction(new, conditional="all")


@pytest.mark.parametrize(
    ("residual", "variance"),
    [("us(AVISIT | USUBJID, by=ARMCD)", None), ("ar1h(AVISIT | USUBJID)", None)],
)
def test_bootstrap_of_the_population(fev, residual, variance):
    """Errors of replicates are those by formula, but for what the variances' add."""
    result = fev_fit(fev, residual, "FEV1 ~ AVISIT * ARMCD", variance=variance)
    new = fev.drop_duplicates(["AVISIT", "ARMCD"]).drop(columns=["FEV1", "USUBJID"])
    found = result.get_prediction(new, method="bootstrap", n=1500, rng=3)
    plain = result.get_prediction(new, df_method="z")
    # the standard error of a standard deviation of 1500 is 1.8 percent
    np.testing.assert_allclose(found.se_mean, plain.se_mean, rtol=0.07)
    np.testing.assert_allclose(found.se_obs, plain.se_obs, rtol=0.07)
    with pytest.raises(NotImplementedError, match="the population, conditional=False"):
        result.get_prediction(fev.head(2), conditional="all", method="bootstrap")


@pytest.mark.parametrize(
    ("residual", "variance"),
    [
        ("us(AVISIT | USUBJID)", None),
        ("us(AVISIT | USUBJID, by=ARMCD)", None),
        ("csh(AVISIT | USUBJID)", None),
        ("ar1h(AVISIT | USUBJID, by=ARMCD)", None),
        ("ar1(AVISIT | USUBJID)", "power(VISITN)"),
        (None, "ident(AVISIT) * exp(FEV1_BL)"),
    ],
)
def test_deviations_of_replicates(fev, residual, variance):
    """Natural parameters of the fit as a replicate's give the rows' own."""
    result = fev_fit(fev, residual, "FEV1 ~ AVISIT", variance=variance)
    estimate = result.fitted.fit.residual
    eta = natural_parameters(estimate.bound, estimate.psi)
    n_sd = sum(f.n_psi for f in estimate.bound.functions)
    places = own_places(estimate.bound, result.model.residual_spec)
    twice = np.tile(np.roll(eta, -n_sd), (2, 1))
    found = replicated_deviations(result.fitted, places, twice)
    np.testing.assert_allclose(found[1], estimate.deviations(), rtol=1e-10)


def test_more_rows_than_a_negative_correlation_allows():
    """Compound symmetry holds -1 / (m - 1) at least; further rows may break it."""
    rng = np.random.default_rng(0)
    y = rng.standard_normal((30, 3))
    y -= 0.95 * y.mean(axis=1, keepdims=True)
    data = pd.DataFrame({"y": y.ravel(), "g": np.repeat(np.arange(30), 3)})
    result = mx.mixedlm("y ~ 1", data, residual="cs(1 | g)").fit()
    with pytest.raises(ValueError, match="a negative correlation of many"):
        result.get_prediction(pd.DataFrame({"g": [0]}), conditional="all")
