"""The tables against the results that they are made of, and dense deletions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.residual_fits import fev_fit, fit_of

import mixedext as mx

pytestmark = [pytest.mark.formula_engine, pytest.mark.filterwarnings("ignore")]

FORMULAS = {
    "slopes": "y ~ x + (x | g)",
    "uncorrelated": "y ~ x + (x || g)",
    "crossed": "y ~ x + (1 | g) + (1 | h)",
    "nested": "y ~ x + (1 | g / h)",
    "deficient": "y ~ x + twice + (1 | g)",
    "no fixed effects": "y ~ 0 + (1 | g)",
    "no random effects": "y ~ x",
    "singular": "y ~ x + (1 | none)",
}


def rows(seed=0, n=60):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"x": rng.standard_normal(n)})
    data["g"] = np.sort(rng.integers(0, 6, n)).astype(str)
    data["h"], data["none"] = rng.integers(0, 5, n), np.arange(n) % 4
    data["twice"], data["w"] = 2 * data["x"], rng.uniform(0.5, 2, n)
    effects = rng.standard_normal((6, 2))[data["g"].astype(int)]
    data["y"] = 3 + effects[:, 0] + (1 + effects[:, 1]) * data["x"]
    data["y"] += rng.standard_normal(n)
    data["y"] -= data.groupby("none")["y"].transform("mean") * (seed == 0) * 0.9
    return data.set_index(pd.Index([f"r{i}" for i in range(n)]))


@pytest.fixture(scope="module", params=["REML", "ML", "weights"])
def kind(request):
    return request.param


@pytest.fixture(scope="module", params=FORMULAS)
def result(request, kind):
    more = {"weights": "w"} if kind == "weights" else {}
    return mx.mixedlm(FORMULAS[request.param], rows(), **more).fit(reml=kind != "ML")


# ---- tidy ----


def test_fixed_rows_are_the_coefficients(result):
    table = result.tidy("fixed", alpha=0.1)
    own = result.fixed_effects_inference()
    assert table["term"].tolist() == list(result.fe_params.index)
    np.testing.assert_array_equal(table["estimate"], result.fe_params)
    np.testing.assert_allclose(table["std_err"], result.bse_fe, rtol=1e-14)
    np.testing.assert_array_equal(table["pvalue"], own.pvalue)
    np.testing.assert_array_equal(table[["lower", "upper"]], own.conf_int(0.1))
    assert set(table["effect"]) <= {"fixed"}
    dropped = result.model.dropped_columns
    assert [any(name in note for note in table.notes) for name in dropped] == [True] * len(
        dropped
    )


def test_random_rows_are_var_corr(result):
    table, variances = result.tidy(effects=["random"]), result.var_corr
    sds = table[~table["term"].str.startswith("cor ")]
    np.testing.assert_allclose(sds["estimate"], variances["sd"], rtol=1e-14)
    assert sds["group"].tolist() == variances["group"].tolist()
    assert sds["term"].iloc[-1] == "sigma"
    names = "sd " + variances["name"].iloc[:-1]
    assert sds["term"].iloc[:-1].tolist() == names.tolist()
    correlations = table[table["term"].str.startswith("cor ")]
    np.testing.assert_allclose(correlations["estimate"], variances["corr"].dropna())
    limits = result.conf_int_vcomp()
    np.testing.assert_array_equal(table["lower"], limits["lower"])
    assert len(table.notes) >= len(limits.notes)


def test_tidy_has_all_and_no_limits_if_not_asked():
    result = mx.mixedlm("y ~ x + (x | g)", rows()).fit()
    table = result.tidy()
    assert table["effect"].tolist() == ["fixed"] * 2 + ["random"] * 4
    short = result.tidy(conf_int=False)
    assert list(table.columns) == [
        "term", "estimate", "std_err", "statistic", "df", "pvalue", "lower", "upper",
        "group", "effect",
    ]  # fmt: skip
    pd.testing.assert_frame_equal(
        pd.DataFrame(short), pd.DataFrame(table.drop(columns=["lower", "upper"]))
    )


@pytest.mark.parametrize("df_method", ["z", "residual", "satterthwaite", "kenward-roger"])
def test_df_method(df_method):
    result = mx.mixedlm("y ~ x + (1 | g)", rows()).fit()
    table = result.tidy("fixed", df_method=df_method)
    own = result.fixed_effects_inference(df_method)
    np.testing.assert_array_equal(table["df"], own.df)
    np.testing.assert_array_equal(table["std_err"], own.se)
    assert df_method.split("-")[0].replace("z", "none") in table.notes[0]


def test_names_of_broom():
    table = mx.mixedlm("y ~ x + (x | g)", rows()).fit().tidy(names="broom")
    assert list(table.columns) == [
        "effect", "group", "term", "estimate", "std.error", "statistic", "df", "p.value",
        "conf.low", "conf.high",
    ]  # fmt: skip
    assert table["term"].tolist() == [
        "(Intercept)", "x", "sd__(Intercept)", "cor__(Intercept).x", "sd__x",
        "sd__Observation",
    ]  # fmt: skip
    assert table["effect"].tolist() == ["fixed"] * 2 + ["ran_pars"] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"effects": "both"}, "effects"),
        ({"effects": []}, "effects is empty"),
        ({"names": "R"}, "names"),
        ({"alpha": 5}, "alpha"),
        ({"df_method": "none"}, "df_method"),
    ],
)
def test_wrong_arguments(arguments, message):
    result = mx.mixedlm("y ~ x + (1 | g)", rows()).fit()
    with pytest.raises(ValueError, match=message):
        result.tidy(**arguments)


def test_singular_fits_have_a_reason():
    table = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff2.load().data).fit()
    table = table.tidy()
    assert np.isnan(table["lower"][1])
    assert any("boundary" in note for note in table.notes)


def test_components_of_groups():
    data = mx.datasets.pastes.load().data
    vc = {"cask": "0 + C(cask)"}
    model = mx.mixedlm("strength ~ 1", data, groups="batch", re_formula="1", vc_formula=vc)
    result = model.fit()
    assert result.tidy("random")["group"].tolist() == ["batch", "cask", "Residual"]
    glance = result.glance()
    assert np.isnan(glance["aic"][0])
    assert any("AIC" in note for note in glance.notes)


# ---- glance ----


def test_glance(result):
    row = result.glance().iloc[0]
    for name in ("nobs", "sigma", "llf", "aic", "bic", "deviance", "df_resid", "converged"):
        assert row[name] == getattr(result, name), name
    assert row["reml"] == result.reml
    assert row["singular"] == result.is_singular
    assert row["verdict"] == result.convergence.status
    assert (row["r2_marginal"], row["r2_conditional"]) == result.r2_nakagawa
    assert row["n_groups"] == (result.n_levels.iloc[0] if len(result.n_levels) else 0)


def test_glance_without_rows():
    result = mx.mixedlm("y ~ x + (1 | g)", rows()).fit()
    result.remove_data()
    glance = result.glance()
    assert np.isnan(glance["r2_marginal"][0])
    assert "not in memory" in glance.notes[0]
    assert len(result.tidy()) == 4
    with pytest.raises(ValueError, match="removed"):
        result.augment()


# ---- augment ----


def test_augment_has_the_rows_of_the_fit(result):
    table, model = result.augment(), result.model
    assert table.index.equals(rows().index)
    np.testing.assert_array_equal(table["response"], model.endog)
    np.testing.assert_array_equal(table["fitted"], result.fittedvalues)
    np.testing.assert_array_equal(table["resid"], result.resid)
    np.testing.assert_allclose(table["resid_pearson"], result.resid_pearson, rtol=1e-13)
    fixed = result.predict(conditional=False)
    np.testing.assert_allclose(table["fixed"], fixed, rtol=1e-13)
    np.testing.assert_allclose(table["hat"], table["hat_fixed"] + table["hat_random"])


def test_cooks_distance_is_that_of_deletion(result):
    """Of the coefficients by generalized least squares without the row, V held."""
    v, model = result.V().toarray(), result.model
    x = model.exog[:, result.fitted.fixed.kept]
    if not x.shape[1]:
        assert result.augment()["cooks_d"].isna().all()
        return
    n, p = x.shape
    beta = result.fe_params.dropna().to_numpy()
    precision = x.T @ np.linalg.solve(v, x)
    expected = np.empty(n)
    for i in range(n):
        at = np.arange(n) != i
        solved = np.linalg.solve(v[np.ix_(at, at)], np.column_stack([x, model.endog])[at])
        d = np.linalg.solve(x[at].T @ solved[:, :p], x[at].T @ solved[:, p]) - beta
        expected[i] = d @ precision @ d / p
    np.testing.assert_allclose(result.augment()["cooks_d"], expected, rtol=1e-7, atol=1e-13)


def test_cooks_distance_of_a_row_that_alone_determines_a_coefficient():
    data = rows().assign(one=lambda d: np.arange(len(d)) == 3)
    found = mx.mixedlm("y ~ x + one + (1 | g)", data).fit().augment()["cooks_d"]
    assert found.index[found.isna()].tolist() == ["r3"]


def test_new_data():
    data = rows()
    result = mx.mixedlm("y ~ x + (x | g)", data).fit()
    new = data[["y", "x", "g"]].iloc[[5, 40, 2]]
    table = result.augment(new)
    own = result.augment().loc[new.index]
    assert list(table.columns) == ["y", "x", "g", "fitted", "fixed", "response", "resid"]
    for name in ("fitted", "fixed", "response", "resid"):
        np.testing.assert_allclose(table[name], own[name], rtol=1e-12)
    assert list(result.augment(new.drop(columns="y")).columns) == [
        "x", "g", "fitted", "fixed",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="rename"):
        result.augment(new.assign(fitted=1))
    with pytest.raises(ValueError, match="conditional=False"):
        result.augment(new[["x"]])


# ---- a residual covariance ----


def test_residual_covariance_has_rows_of_its_own():
    result = fit_of("Orthodont: lme_int_ar1_varident")
    table = result.tidy(effects="random")
    terms = ["sd Intercept", "sd(Male)", "sd(Female)", "rho"]
    assert table["term"].tolist() == terms
    assert table["group"].tolist() == ["Subject", "Residual", "Residual", "Residual"]
    own = result.conf_int_vcomp()
    for column in ("estimate", "std_err", "lower", "upper"):
        np.testing.assert_array_equal(table[column].astype(float), own[column])
    assert result.tidy(names="broom")["term"].tolist()[-1] == "rho"


def test_row_of_a_fit_with_a_residual_covariance():
    result = fev_fit("us(AVISIT | USUBJID)")
    row = result.glance().iloc[0]
    assert row["n_groups"] == 197
    assert row["aic"] == pytest.approx(-2 * result.llf + 2 * 21)
    assert row["r2_marginal"] == row["r2_conditional"]
    # the mean of the variances of the rows
    visits = result.model.residual.visit_codes
    variances = np.diag(result.residual.cov)[visits]
    fixed = np.var(result.model.exog @ result.fe_params.to_numpy(), ddof=1)
    assert row["r2_marginal"] == pytest.approx(fixed / (fixed + variances.mean()))


def test_augmented_rows_have_no_leverages_beside_a_residual_covariance():
    result = fit_of("Orthodont: lme_int_ar1_varident")
    table = result.augment()
    np.testing.assert_array_equal(table["resid_pearson"], result.resid_pearson)
    assert table[["hat", "hat_fixed", "hat_random", "cooks_d"]].isna().all(axis=None)
    assert "No leverages" in table.notes[0]
