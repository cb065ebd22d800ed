"""Results: attributes, labels, tests, printing, keeping."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from helpers import dense
from helpers.residual_fits import MODELS, fit_of, reference, series
from statsmodels.regression.mixed_linear_model import MixedLM as UpstreamMixedLM
from statsmodels.tools.sm_exceptions import SingularMatrixWarning, ValueWarning

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def sleep():
    return mx.datasets.sleepstudy.load().data


@pytest.fixture(scope="module")
def slopes(sleep):
    return mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep).fit()


@pytest.fixture(scope="module")
def penicillin():
    data = mx.datasets.penicillin.load().data
    return mx.mixedlm("diameter ~ 1 + (1 | plate) + (1 | sample)", data).fit()


def test_classes(slopes):
    assert isinstance(slopes.model, UpstreamMixedLM)
    assert isinstance(slopes._results, sm.regression.mixed_linear_model.MixedLMResults)


def test_estimates_against_statsmodels(sleep, slopes):
    upstream = sm.MixedLM.from_formula(
        "Reaction ~ Days", sleep, groups=sleep["Subject"].astype(str), re_formula="~Days"
    ).fit()
    np.testing.assert_allclose(slopes.fe_params, upstream.fe_params, rtol=1e-6)
    np.testing.assert_allclose(slopes.cov_re, upstream.cov_re, rtol=1e-3)
    np.testing.assert_allclose(slopes.params, upstream.params, rtol=1e-3, atol=1e-4)
    assert slopes.llf == pytest.approx(upstream.llf, rel=1e-7)
    # packed parameters: the same standard errors from the same information
    np.testing.assert_allclose(slopes.bse[2:], upstream.bse[2:], rtol=5e-3)


def test_packed_parameters(slopes):
    assert list(slopes.params.index) == [
        "Intercept",
        "Days",
        "Subject Var",
        "Subject x Days Cov",
        "Days Var",
    ]
    packed = slopes.cov_re.to_numpy()[np.tril_indices(2)] / slopes.scale
    np.testing.assert_allclose(slopes.params.iloc[2:], packed)
    np.testing.assert_allclose(slopes.cov_re_unscaled * slopes.scale, slopes.cov_re)
    np.testing.assert_allclose(slopes.params_object.cov_re, slopes.cov_re_unscaled)


def test_components_of_crossed_factors(penicillin):
    assert list(penicillin.params.index) == ["Intercept", "plate Var", "sample Var"]
    assert penicillin.cov_re.shape == (0, 0)
    np.testing.assert_allclose(penicillin.vcomp, [0.71690829, 3.73090229], rtol=1e-4)


def test_several_correlated_terms(sleep):
    data = sleep.assign(block=np.arange(180) % 7, x=np.tile([0.0, 1.0, 3.0], 60))
    with pytest.warns(SingularMatrixWarning):
        result = mx.mixedlm(
            "Reaction ~ Days + (Days | Subject) + (x | block) + (1 | x)", data
        ).fit()
    assert list(result.cov_re.columns) == ["Subject", "Subject.Days", "block", "block.x"]
    assert result.cov_re.to_numpy()[0, 2] == 0.0
    assert len(result.params) == 2 + 3 + 3 + 1
    assert result.model.layout.component_names == ["x"]


def test_criteria(slopes, sleep):
    assert slopes.n_params == 6
    assert slopes.aic == pytest.approx(slopes.deviance + 12)
    assert slopes.bic == pytest.approx(slopes.deviance + 6 * np.log(180))
    assert slopes.sigma == pytest.approx(np.sqrt(slopes.scale))


def test_criteria_of_models_stated_by_groups(sleep):
    """As statsmodels: NaN after REML, its count of parameters after ML."""
    model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days")
    restricted, full = model.fit(), model.fit(reml=False)
    assert not restricted.has_criteria
    assert np.isnan(restricted.aic)
    assert np.isnan(restricted.bic)
    upstream = sm.MixedLM.from_formula(
        "Reaction ~ Days", sleep, groups="Subject", re_formula="~Days"
    ).fit(reml=False)
    assert full.aic == pytest.approx(upstream.aic, rel=1e-7)
    assert full.bic == pytest.approx(upstream.bic, rel=1e-7)
    bars = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep)
    assert bars.fit(reml=False).aic == pytest.approx(full.aic, rel=1e-12)
    assert bars.fit().has_criteria
    full.remove_data()  # the rule is that of the fit, whatever is left of the model
    restricted.remove_data()
    assert np.isnan(restricted.aic)


def test_criteria_of_chunks_stated_by_groups(sleep):
    chunks = [sleep[:70], sleep[70:]]
    by_groups = mx.MixedLM.from_chunks("Reaction ~ Days", chunks, groups="Subject").fit()
    assert np.isnan(by_groups.aic)
    by_bars = mx.MixedLM.from_chunks("Reaction ~ Days + (1 | Subject)", chunks).fit()
    assert by_bars.aic == pytest.approx(by_groups.deviance + 8, rel=1e-12)


def test_standard_errors_of_variance_components():
    """Dyestuff, balanced one-way: closed forms from the mean squares."""
    data = mx.datasets.dyestuff.load().data
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    assert float(result.bse_re.iloc[0]) == pytest.approx(1432.7513, rel=1e-6)
    # REML: sigma^2 is the mean square within, with 24 degrees of freedom
    assert result.bse_scale == pytest.approx(result.scale * np.sqrt(2 / 24), rel=1e-6)
    scaled = mx.mixedlm("y ~ 1 + (1 | Batch)", data.assign(y=data["Yield"] / 10)).fit()
    np.testing.assert_allclose(scaled.bse_re * 100, result.bse_re, rtol=1e-6)


def test_standard_errors_against_a_numerical_hessian(slopes, sleep):
    """Observed information of (Sigma, sigma^2) by differences of the dense likelihood."""
    y = sleep["Reaction"].to_numpy()
    x = slopes.model.exog
    (term,) = slopes.model.terms
    z = dense.dense_z(term)
    sigma = slopes.cov_re.to_numpy()
    point = np.array([sigma[0, 0], sigma[1, 0], sigma[1, 1], slopes.scale])

    def half_deviance(p):
        covariance = np.array([[p[0], p[1]], [p[1], p[2]]])
        v = p[3] * np.eye(180) + z @ np.kron(np.eye(18), covariance) @ z.T
        inverse = np.linalg.inv(v)
        information = x.T @ inverse @ x
        r = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
        return 0.5 * (
            np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1] + r @ inverse @ r
        )

    h = 2e-3 * np.abs(point)
    steps = np.diag(h)
    hessian = np.array(
        [
            [
                (
                    half_deviance(point + a + b)
                    - half_deviance(point + a - b)
                    - half_deviance(point - a + b)
                    + half_deviance(point - a - b)
                )
                / (4 * a.sum() * b.sum())
                for a in steps
            ]
            for b in steps
        ]
    )
    want = np.sqrt(np.diag(np.linalg.inv(hessian)))
    np.testing.assert_allclose([*slopes.bse_re, slopes.bse_scale], want, rtol=2e-3)


def test_standard_error_of_sigma_squared_without_random_terms(sleep):
    result = mx.mixedlm("Reaction ~ Days", sleep).fit()
    assert result.bse_scale == pytest.approx(result.scale * np.sqrt(2 / 178), rel=1e-12)
    assert len(result.bse_re) == 0


def test_gls_covariance(slopes):
    v = slopes.scale * dense.covariance(slopes.model.terms, slopes.fitted.fit.lams)
    x = slopes.model.exog
    want = np.linalg.inv(x.T @ np.linalg.solve(v, x))
    np.testing.assert_allclose(slopes.cov_params().iloc[:2, :2], want, rtol=1e-8)
    np.testing.assert_allclose(slopes.bse_fe, np.sqrt(np.diag(want)), rtol=1e-8)
    np.testing.assert_allclose(
        slopes.normalized_cov_params * slopes.scale, slopes.cov_params(), rtol=1e-12
    )


def test_t_tests(slopes):
    by_text = slopes.t_test("Days = 10")
    by_array = slopes.t_test((np.array([[0, 1]]), 10))
    padded = slopes.t_test((np.array([[0, 1, 0, 0, 0]]), 10))
    for test in (by_array, padded):
        assert test.pvalue == pytest.approx(by_text.pvalue)
    assert float(np.squeeze(by_text.statistic)) == pytest.approx(
        (slopes.fe_params["Days"] - 10) / slopes.bse_fe["Days"]
    )
    both = slopes.t_test(np.eye(2))
    np.testing.assert_allclose(both.sd, slopes.bse_fe)
    with pytest.raises(ValueError, match="should have 2 columns"):
        slopes.t_test(np.eye(3))


def test_residual_degrees_of_freedom(sleep):
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep).fit(
        df_method="residual"
    )
    assert result.use_t
    test = result.t_test("Days = 0")
    assert test.df_denom == 178
    assert "P>|t|" in str(result.summary())
    from scipy import stats

    q = stats.t(178).ppf(0.975)
    want = result.fe_params["Days"] + q * result.bse_fe["Days"]
    assert result.conf_int().loc["Days", 1] == pytest.approx(want)
    with pytest.raises(ValueError, match=r"df_method='bootstrap' is not known; use one of"):
        result.model.fit(df_method="bootstrap")


def test_wald_tests_work(slopes):
    assert slopes.f_test("Days = 0").statistic == pytest.approx(
        slopes.tvalues["Days"] ** 2, rel=1e-10
    )
    assert slopes.wald_test("Days = 0", scalar=True).pvalue == pytest.approx(
        slopes.pvalues["Days"], rel=1e-8
    )


def test_wald_tests_take_what_t_tests_take(slopes):
    by_text = slopes.f_test("Intercept = 250, Days = 10")
    for matrix in (np.eye(2), np.eye(5)[:2]):
        by_array = slopes.wald_test((matrix, [250, 10]), use_f=True, scalar=True)
        assert by_array.statistic == pytest.approx(by_text.statistic)
    difference = slopes.fe_params - [250, 10]
    covariance = slopes.cov_params().iloc[:2, :2]
    want = difference @ np.linalg.solve(covariance, difference)
    assert by_text.statistic == pytest.approx(want / 2)
    assert slopes.wald_test(np.eye(2), use_f=False, scalar=True).df_denom == 2
    assert slopes.wald_test(np.eye(2), scalar=True).df_denom == pytest.approx(17)
    variances = slopes.wald_test(np.eye(5)[4:], scalar=True)
    assert variances.statistic == pytest.approx(slopes.tvalues["Days Var"] ** 2)
    with pytest.warns(ValueWarning, match="constraints has rank 1"):
        twice = slopes.wald_test(np.array([[0, 1], [0, 2]]), scalar=True)
    assert twice.statistic == pytest.approx(slopes.tvalues["Days"] ** 2)
    table = slopes.wald_test_terms(scalar=True)
    assert table.table.loc["Days", "pvalue"] == pytest.approx(slopes.pvalues["Days"])


def test_wald_tests_do_not_depend_on_units(sleep):
    one = mx.mixedlm("Reaction ~ Days + (1 | Subject)", sleep).fit()
    other = mx.mixedlm(
        "Reaction ~ Days + (1 | Subject)", sleep.assign(Days=sleep["Days"] * 1e9)
    ).fit()
    tests = [r.f_test(np.eye(3)[:2]) for r in (one, other)]
    assert tests[0].statistic == pytest.approx(tests[1].statistic, rel=1e-8)
    assert tests[1].df_num == 2
    with pytest.raises(ValueError, match="3 values for 1 rows"):
        one.t_test(([0, 1], [0, 1, 2]))
    with pytest.raises(ValueError, match="alpha=5"):
        one.conf_int(alpha=5)


def test_random_effects_of_one_factor(slopes):
    effects, covariances = slopes.random_effects, slopes.random_effects_cov
    assert len(effects) == 18
    assert list(effects["308"].index) == ["Subject", "Days"]
    np.testing.assert_allclose(effects["308"], slopes.ranef().loc["308"])
    assert covariances["308"].shape == (2, 2)
    np.testing.assert_allclose(
        covariances["308"], slopes.ranef_cov("Subject").loc["308"], rtol=1e-12
    )


def test_random_effects_against_dense_algebra(penicillin):
    model = penicillin.model
    lams = penicillin.fitted.fit.lams
    v = penicillin.scale * dense.covariance(model.terms, lams)
    inverse = np.linalg.inv(v)
    residual = model.endog - model.exog @ penicillin.fe_params.to_numpy()
    for term, lam, group in zip(model.terms, lams, ("plate", "sample"), strict=True):
        z = dense.dense_z(term)
        g = penicillin.scale * float(lam[0, 0] ** 2)
        np.testing.assert_allclose(
            penicillin.ranef(group)["Intercept"], g * z.T @ inverse @ residual, rtol=1e-7
        )
        # given beta: D - D Z'V^-1 Z D
        want = np.diag(g - g * g * z.T @ inverse @ z)
        np.testing.assert_allclose(
            penicillin.ranef_cov(group)["Intercept"], want, rtol=1e-7
        )


def test_random_effects_of_several_factors(penicillin):
    assert set(penicillin.random_effects) == {"plate", "sample"}
    assert penicillin.random_effects["sample"].shape == (6, 1)
    with pytest.raises(ValueError, match="name one of the grouping factors: plate, sample"):
        penicillin.ranef()
    with pytest.raises(ValueError, match="'cask' is not a grouping factor"):
        penicillin.ranef("cask")


def test_joint_covariance_of_terms_on_one_factor(sleep):
    """(x || g) leaves the conditional modes of one level correlated."""
    result = mx.mixedlm(
        "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", sleep
    ).fit()
    frame = result.ranef_cov("Subject").loc["308"]
    assert frame.shape == (2, 2)
    assert abs(frame.loc["Intercept", "Days"]) > 1
    together = mx.mixedlm("Reaction ~ Days + (Days || Subject)", sleep).fit()
    np.testing.assert_allclose(frame, together.ranef_cov().loc["308"], rtol=1e-6)


def test_coef(slopes):
    coef = slopes.coef("Subject")
    np.testing.assert_allclose(
        coef.to_numpy(), slopes.fe_params.to_numpy() + slopes.ranef().to_numpy()
    )
    lone = mx.mixedlm(
        "Reaction ~ 1 + (Days | Subject)", mx.datasets.sleepstudy.load().data
    ).fit()
    assert list(lone.coef().columns) == ["Intercept", "Days"]
    np.testing.assert_allclose(lone.coef()["Days"], lone.ranef()["Days"])


def test_var_corr_of_three_columns(sleep):
    result = mx.mixedlm(
        "Reaction ~ Days + I(Days**2) + (Days + I(Days**2) | Subject)", sleep
    ).fit()
    frame = result.var_corr
    assert list(frame.columns) == ["group", "name", "variance", "sd", "corr", "corr2"]
    want = result.cov_re.to_numpy()
    sd = np.sqrt(np.diag(want))
    corr = want / np.outer(sd, sd)
    np.testing.assert_allclose(frame["corr"][1:3], corr[1:, 0])
    assert frame["corr2"][2] == pytest.approx(corr[2, 1])
    assert frame.iloc[-1]["group"] == "Residual"


def test_prediction(sleep, slopes):
    new = pd.DataFrame({"Days": [0.0, 4.5]}, index=["p", "q"])
    prediction = slopes.predict(new, conditional=False)
    np.testing.assert_allclose(
        prediction, slopes.fe_params["Intercept"] + new["Days"] * slopes.fe_params["Days"]
    )
    assert list(prediction.index) == ["p", "q"]
    np.testing.assert_allclose(slopes.predict(), slopes.predict(sleep))
    columns = np.array([[1.0, 4.5]])
    np.testing.assert_allclose(
        slopes.predict(columns, transform=False, conditional=False), prediction.iloc[1:]
    )


def test_prediction_uses_no_name_of_the_caller_for_a_column(sleep):
    Days = np.arange(180.0)  # noqa: F841
    result = mx.mixedlm("Reaction ~ Days + (1 | Subject)", sleep).fit()
    with pytest.raises(mx.FormulaError, match="do not fit"):
        result.predict(sleep[["Subject"]])


def test_prediction_with_names_that_are_not_pythons(sleep):
    data = sleep.rename(columns={"Days": "a.b"}).assign(a_b_=100.0)
    result = mx.mixedlm("Reaction ~ a.b + (1 | Subject)", data).fit()
    np.testing.assert_allclose(result.predict(data), result.predict())
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_allclose(again.predict(data), result.predict())


def test_prediction_with_odd_columns_that_are_not_used(sleep):
    odd = pd.concat([sleep, sleep[["Reaction"]]], axis=1).assign(**{"z": 1.0})
    odd = odd.rename(columns={"z": 0})
    result = mx.mixedlm("Reaction ~ Days + (1 | Subject)", sleep).fit()
    np.testing.assert_allclose(result.predict(odd), result.predict())
    odd = pd.concat([sleep, sleep[["Subject"]]], axis=1)
    np.testing.assert_allclose(
        result.predict(odd, conditional=False), result.fe_params @ result.model.exog.T
    )
    with pytest.raises(mx.FormulaError, match="several columns named 'Subject'"):
        result.predict(odd)


def test_prediction_of_missing_rows_is_missing(sleep):
    result = mx.mixedlm("Reaction ~ Days + offset(Days) + (1 | Subject)", sleep).fit()
    new = pd.DataFrame({"Days": [1.0, np.nan, 2.0], "Subject": 308})
    prediction = result.predict(new)
    assert list(prediction.isna()) == [False, True, False]


def test_prediction_adds_offsets(sleep):
    result = mx.mixedlm("Reaction ~ Days + offset(10 * Days) + (1 | Subject)", sleep).fit()
    np.testing.assert_allclose(
        result.predict(sleep, offset=np.ones(180)), result.predict(offset=np.ones(180))
    )


def test_prediction_from_plain_columns(slopes):
    mean = slopes.predict([[1.0, 2.0]], transform=False, conditional=False)
    np.testing.assert_allclose(mean, 272.33967)
    with pytest.raises(ValueError, match="exog has 3 columns; the model has 2"):
        slopes.predict(np.ones((2, 3)), transform=False)


def test_prediction_for_data_that_do_not_fit():
    data = mx.datasets.cake.load().data
    result = mx.mixedlm("angle ~ recipe * temp + (1 | recipe:replicate)", data).fit()
    unknown = data.head(2).assign(recipe=["A", "Z"])
    with pytest.raises(mx.FormulaError, match=r"new data do not fit the formula.*Z"):
        result.predict(unknown)
    with pytest.raises(mx.FormulaError, match=r"new data do not fit the formula.*temp"):
        result.predict(data.drop(columns="temp"))


# ---- keeping ----


@pytest.mark.parametrize(
    "formula",
    [
        "Reaction ~ Days + (Days | Subject)",
        "Reaction ~ np.log(Days + 1) + (1 | Subject)",
        "Reaction ~ poly(Days, 2) + offset(Days) + (1 | Subject)",
    ],
)
def test_pickle(formula, sleep, tmp_path):
    result = mx.mixedlm(formula, sleep).fit()
    path = tmp_path / "result.pickle"
    result.save(path)
    for again in (pickle.loads(pickle.dumps(result)), mx.load(path)):
        assert str(again.summary()) == str(result.summary())
        np.testing.assert_allclose(again.predict(sleep), result.predict(sleep))
        pd.testing.assert_frame_equal(again.ranef(), result.ranef())
        assert again.model.fit().deviance == result.deviance


def test_remove_data(sleep):
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep).fit()
    before = str(result.summary())
    covariances = result.ranef_cov().copy()
    result.remove_data()
    assert result.model.endog is None
    with pytest.raises(ValueError, match="data of this model were removed"):
        result.model.fit()
    assert str(result.summary()) == before
    pd.testing.assert_frame_equal(result.ranef_cov(), covariances)
    assert len(pickle.dumps(result)) < 60_000


@pytest.mark.parametrize("column_names", [True, False])
def test_remove_data_before_anything_was_read(sleep, column_names):
    x = np.column_stack([np.ones(len(sleep)), sleep["Days"]])
    arrays = [sleep["Reaction"], pd.DataFrame(x, columns=["one", "Days"])]
    if not column_names:
        arrays = [np.asarray(a) for a in arrays]
    result = mx.MixedLM(*arrays, groups=sleep["Subject"].to_numpy()).fit()
    want = mx.MixedLM(*arrays, groups=sleep["Subject"].to_numpy()).fit()
    result.remove_data()
    assert str(result.summary()) == str(want.summary())
    assert result.model.endog_names == ("Reaction" if column_names else "y")
    assert list(result.random_effects) == list(want.random_effects)


def test_nothing_of_the_length_of_the_data_stays(sleep):
    model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
    result = model.fit(cov_type="CR2")  # which looks at the residuals
    assert len(result.fittedvalues) == len(result.resid) == 180
    result.remove_data()
    for name in ("fittedvalues", "resid", "wresid"):
        with pytest.raises(ValueError, match="were removed"):
            getattr(result, name)


@pytest.mark.parametrize(
    "statement",
    [
        {"formula": "Reaction ~ Days + (Days | Subject)", "weights": "w", "offset": "o"},
        {"formula": "Reaction ~ Days", "groups": "Subject"},
    ],
)
def test_what_is_kept_does_not_grow_with_the_rows(statement, sleep):
    """Whatever was asked before; labels of rows are data, too."""
    sizes = []
    for times in (1, 50):
        data = pd.concat([sleep] * times, ignore_index=True).assign(w=1.0, o=0.5)
        data.index = [f"row {i}" for i in data.index]
        result = mx.mixedlm(data=data, **statement).fit()
        for name in ("fittedvalues", "resid", "random_effects_cov", "group_sizes"):
            getattr(result, name)
        str(result.summary()), result.emmeans("Days"), result.model.exog_li
        result.remove_data()
        assert result.model.data.row_labels is None
        sizes.append(len(pickle.dumps(result)))
    assert sizes[1] < sizes[0] + 2_000  # 9000 rows, of which a number has 8 bytes


def test_prediction_from_a_series(sleep):
    data = sleep.assign(late=np.where(sleep["Days"] > 5, "yes", "no"))
    result = mx.mixedlm("Reaction ~ Days + late", data, groups="Subject").fit()
    whole = result.predict(data)
    row = result.predict(data.iloc[7])
    assert row.index.tolist() == [7]
    np.testing.assert_allclose(row, whole.iloc[[7]], rtol=1e-14)
    result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject").fit()
    np.testing.assert_allclose(
        result.predict(sleep["Days"]), result.predict(sleep), rtol=1e-14
    )


# ---- a residual covariance ----


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", list(MODELS))
def test_every_estimated_parameter_counts_once(name, reml):
    ref, result = reference()[name + ("" if reml else "_ml")], fit_of(name, reml)
    # nlme counts sigma, and all that it has estimated, once
    assert result.n_params == ref["df"]
    assert result.llf == pytest.approx(ref["logLik"], abs=2e-8)
    assert result.aic == pytest.approx(-2 * ref["logLik"] + 2 * ref["df"])
    n_fixed = len(result.fe_params)
    assert len(result.params) == len(result.bse) == ref["df"] - 1
    assert result.bic == pytest.approx(-2 * ref["logLik"] + ref["df"] * np.log(result.nobs))
    assert n_fixed < ref["df"]


def test_autoregression_of_many_visits_has_two_parameters_of_covariance():
    data = series()
    one = mx.mixedlm("y ~ x", data, residual="ar1(visit | subject)").fit()
    held = mx.AR1("visit", group="subject", rho=0.5, fixed=True)
    none = mx.mixedlm("y ~ x", data, residual=held).fit()
    plain = mx.mixedlm("y ~ x", data).fit()
    assert one.n_params == 2 + 2
    assert none.n_params == plain.n_params == 2 + 1
    by_level = mx.mixedlm("y ~ x", data, residual="ar1(visit | subject, by=arm)").fit()
    assert by_level.n_params == 2 + 4


def test_layout_of_other_models_is_as_it_was(slopes):
    assert slopes.params.index.tolist() == [
        "Intercept",
        "Days",
        "Subject Var",
        "Subject x Days Cov",
        "Days Var",
    ]
    with pytest.raises(ValueError, match="states no residual="):
        _ = slopes.residual


@pytest.mark.parametrize(
    "name", ["Orthodont: gls_ar1h", "Orthodont: lme_int_ar1_varident", "Orthodont: gls_exp"]
)
def test_fits_with_a_residual_covariance_are_kept(name, tmp_path):
    result = fit_of(name)
    path = tmp_path / "result.pickle"
    result.save(path)
    for again in (pickle.loads(pickle.dumps(result)), mx.load(path)):
        assert str(again.summary()) == str(result.summary())
        assert repr(again.residual) == repr(result.residual)
        pd.testing.assert_series_equal(again.params, result.params)
        pd.testing.assert_series_equal(again.resid_normalized, result.resid_normalized)
        pd.testing.assert_frame_equal(again.cov_params(), result.cov_params())
        pd.testing.assert_frame_equal(
            again.residual.group("M03"), result.residual.group("M03")
        )
        assert again.model.fit().llf == result.llf


@pytest.mark.parametrize("kept", [False, True])
def test_rows_of_fits_with_a_residual_covariance_are_removed(kept):
    data = series()
    model = mx.mixedlm("y ~ x + (t | subject)", data, residual="ar1(visit | subject)")
    result = model.fit()
    want = mx.mixedlm("y ~ x + (t | subject)", data, residual="ar1(visit | subject)").fit()
    result.remove_data()
    if kept:
        result = pickle.loads(pickle.dumps(result))
    assert result.model.endog is None
    assert str(result.summary()) == str(want.summary())
    assert repr(result.residual) == repr(want.residual)
    assert str(result) == str(want)
    pd.testing.assert_frame_equal(result.residual.cov, want.residual.cov)
    pd.testing.assert_series_equal(result.bse, want.bse)
    np.testing.assert_allclose(result.conf_int_vcomp(), want.conf_int_vcomp())
    test, other = (
        r.t_test("x = 0", df_method="kenward-roger").df_denom for r in (result, want)
    )
    assert test == pytest.approx(other, rel=1e-10)
    for what in ("resid", "resid_pearson", "resid_normalized"):
        with pytest.raises(ValueError, match="were removed"):
            getattr(result, what)
    for ask in (result.R, result.acf, result.variogram, result.plot_residual_cov):
        with pytest.raises(ValueError, match="were removed"):
            ask()
    with pytest.raises(ValueError, match="were removed"):
        result.residual.group(3)
    with pytest.raises(ValueError, match="were removed"):
        result.marginal_cov(3)
    result.remove_data()
    assert str(result.summary()) == str(want.summary())


def test_removed_rows_of_patterns_leave_sums():
    data = pd.concat([series(seed, groups=400).assign(k=seed) for seed in range(4)])
    data["subject"] += 1000 * data["k"]
    model = mx.mixedlm("y ~ x", data, residual="us(visit | subject, by=arm)", variance=None)
    result = model.fit()
    other = model.fit()
    before, matrices = str(result.summary()), result.residual.cov
    whole = len(pickle.dumps(result))
    result.remove_data()
    assert len(pickle.dumps(result)) < whole / 2
    assert str(result.summary()) == before
    for label, matrix in result.residual.cov.items():
        pd.testing.assert_frame_equal(matrix, matrices[label])
    # another fit of the same model has its own record
    assert other.fitted.fit.residual.bound.n_obs == len(data)
    assert len(other.fitted.fit.residual.bound.group_codes) == len(data)


def test_parameters_are_those_of_the_structure_that_was_taken(monkeypatch):
    from mixedext.exceptions import DesignError, ResidualFallbackWarning
    from mixedext.models.mixedlm import residual_fitting

    fit = residual_fitting._fit

    def first_fails(model, bound, *rest):
        if bound.spec.call == "toep":
            raise DesignError("not this time")
        return fit(model, bound, *rest)

    structures = ["toep(visit | subject)", "ar1(visit | subject)"]
    model = mx.mixedlm("y ~ x", series(), residual=structures)
    whole = model.fit()
    monkeypatch.setattr(residual_fitting, "_fit", first_fails)
    with pytest.warns(ResidualFallbackWarning, match="not this time"):
        result = model.fit()
    assert result.params.index.tolist() == ["Intercept", "x", "AR1 rho"]
    assert result.residual.structure == "ar1(visit | subject)"
    assert whole.params.index.tolist()[2:] == [f"Toeplitz rho {k}" for k in range(1, 6)]
    assert result.summary().tables[2].index.tolist() == ["sigma^2", "rho"]


def test_what_takes_given_parameters_is_of_independent_errors():
    result = fit_of("Orthodont: lme_int_ar1_varident")
    model = result.model
    asked = {
        "loglike": lambda: model.loglike([1.0]),
        "score": lambda: model.score([1.0]),
        "objective": lambda: model.objective([1.0]),
        "get_distribution": lambda: model.get_distribution(result.params[:5], 1.0, None),
        "fit_regularized": lambda: model.fit_regularized(alpha=0.1),
        "profile_re": lambda: result.profile_re(0, "re"),
    }
    for name, ask in asked.items():
        with pytest.raises(NotImplementedError, match=rf"{name}.*takes residuals for ind"):
            ask()
    with pytest.raises(ValueError, match="start_params must hold 1 finite numbers"):
        model.fit(start_params=np.ones(50))
