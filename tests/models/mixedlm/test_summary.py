"""Printed tables: statsmodels' layout first, then what only this package has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from helpers.residual_fits import fev_fit, fit_of, series
from statsmodels.tools.sm_exceptions import SingularMatrixWarning

import mixedext as mx

pytestmark = pytest.mark.formula_engine


@pytest.fixture(scope="module")
def sleep():
    return mx.datasets.sleepstudy.load().data


@pytest.fixture(scope="module")
def slopes(sleep):
    return mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep).fit()


def header(summary) -> dict:
    """The first table as a mapping."""
    table = summary.tables[0]
    pairs = zip([*table[0], *table[2]], [*table[1], *table[3]], strict=True)
    return {str(k).strip(): str(v).strip() for k, v in pairs if str(k).strip()}


def test_layout_is_that_of_statsmodels(sleep):
    """Entries, their order, the names of rows and columns, and numbers where right."""
    arguments = {"groups": "Subject", "re_formula": "~Days"}
    upstream = sm.MixedLM.from_formula("Reaction ~ Days", sleep, **arguments).fit()
    own = mx.mixedlm("Reaction ~ Days", sleep, **arguments).fit()
    theirs, ours = upstream.summary(), own.summary()
    assert ours.title == theirs.title == "Mixed Linear Model Regression Results"
    heads, own_heads = header(theirs), header(ours)
    for name, want in heads.items():
        got = own_heads[name]
        if name in ("Scale:", "Log-Likelihood:"):
            assert float(got) == pytest.approx(float(want), rel=1e-4)
        else:
            assert got.split()[0] == want, name
    shared = [name for name in own_heads if name in heads]
    assert shared == list(heads)
    table, own_table = theirs.tables[1], ours.tables[1]
    assert list(own_table.index) == list(table.index)
    assert list(own_table.columns) == list(table.columns)
    fixed = table.loc[["Intercept", "Days"]].astype(float)
    own_fixed = own_table.loc[["Intercept", "Days"]].astype(float)
    np.testing.assert_allclose(own_fixed, fixed, rtol=2e-3, atol=1e-3)
    variances = own_table["Coef."][2:].astype(float)
    np.testing.assert_allclose(variances, table["Coef."][2:].astype(float), rtol=1e-3)
    assert (own_table.iloc[2:, 2:] == "").all(axis=None)


def test_standard_errors_of_variances(slopes):
    """On the data's scale, as ``bse_re`` holds them."""
    shown = slopes.summary().tables[1]["Std.Err."][2:].astype(float)
    np.testing.assert_allclose(shown, slopes.bse_re, atol=5e-4)


def test_text(slopes):
    text = str(slopes.summary())
    for piece in (
        "REML criterion:",
        "1743.6283",
        "-871.8141",
        "Method:",
        "Df method:",
        "satterthwaite",
        "Converged:",
        "Yes (interior)",
        "Singular fit:",
        "AIC:",
        "1755.6283",
        "Subject x Days Cov",
        "612.090",
        "0.066",
        "Residual",
        "654.94",
        "25.592",
        "Scaled residuals:",
        "-3.9536",
        "Levels of the grouping factors: Subject: 18.",
        "180",
    ):
        assert piece in text, piece
    assert "Cov. type:" not in text


def test_header_of_several_factors():
    data = mx.datasets.penicillin.load().data
    summary = mx.mixedlm("diameter ~ 1 + (1 | plate) + (1 | sample)", data).fit().summary()
    heads = header(summary)
    assert heads["No. Groups:"] == "24"
    assert heads["Max. group size:"] == "6"
    assert summary.extra_txt == ["Levels of the grouping factors: plate: 24, sample: 6."]
    assert list(summary.tables[2]["Groups"]) == ["plate", "sample", "Residual"]


def test_group_sizes_of_unequal_groups(sleep):
    data = sleep.iloc[3:-1]
    for statement in (
        {"formula": "Reaction ~ Days + (1 | Subject)"},
        {"formula": "Reaction ~ Days", "groups": "Subject"},
        {
            "formula": "Reaction ~ Days",
            "groups": "Subject",
            "re_formula": "1",
            "vc_formula": {"d": "0 + Days"},
        },
    ):
        result = mx.mixedlm(data=data, **statement).fit()
        assert list(result.group_sizes) == [7] + [10] * 16 + [9]
        heads = header(result.summary())
        sizes = [heads[f"{kind} group size:"] for kind in ("Min.", "Max.", "Mean")]
        assert sizes == ["7", "10", "9.8"]


def test_one_scalar_term_has_no_table_of_its_own(sleep):
    result = mx.mixedlm("Reaction ~ Days + (1 | Subject)", sleep).fit()
    assert [len(t) for t in result.summary().tables][1:] == [3, 1]


def test_ml_and_other_forms(sleep):
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleep).fit(reml=False)
    summary = result.summary()
    assert "Deviance:" in str(summary)
    assert "1751.9393" in str(summary)
    assert summary.as_html().count("<table") >= 4
    assert "tabular" in summary.as_latex()
    assert result._repr_html_() == summary.as_html()


def test_names(slopes):
    summary = slopes.summary(
        yname="ms",
        xname_fe=["a", "b"],
        xname_re=["u", "uv", "v"],
        title="A title",
        alpha=0.1,
    )
    assert summary.title == "A title"
    assert header(summary)["Dependent Variable:"] == "ms"
    assert list(summary.tables[1].index) == ["a", "b", "u", "uv", "v"]
    assert list(summary.tables[1].columns[-2:]) == ["[0.05", "0.95]"]
    with pytest.raises(ValueError, match="xname_fe should be a list of length 2"):
        slopes.summary(xname_fe=["a"])
    with pytest.raises(ValueError, match="xname_re should be a list of length 3"):
        slopes.summary(xname_re=["a"])


def test_degrees_of_freedom_have_a_column(sleep):
    result = mx.mixedlm("Reaction ~ Days + (1 | Subject)", sleep).fit(df_method="residual")
    summary = result.summary()
    table = summary.tables[1]
    assert list(table.columns[2:5]) == ["df", "t", "P>|t|"]
    assert list(table["df"]) == ["178", "178", ""]
    assert header(summary)["Df method:"] == "residual"
    limits = table.loc["Days", ["[0.025", "0.975]"]].astype(float)
    np.testing.assert_allclose(limits, result.conf_int().loc["Days"], atol=1e-3)


@pytest.mark.parametrize("df_method", ["kr", "satterthwaite", "containment", "residual"])
def test_df_method_of_one_summary(df_method, sleep):
    """As of a fit with that method; the results themselves stay as they are."""
    unbalanced = sleep[(sleep["Days"] < 5) | (sleep["Subject"].astype(int) % 3 > 0)]
    model = mx.mixedlm("Reaction ~ Days + (1 | Subject)", unbalanced)
    result = model.fit()
    before = str(result.summary())
    found = str(result.summary(df_method=df_method))
    assert found == str(model.fit(df_method=df_method).summary())
    assert str(result.summary()) == before
    assert (before == found) == (df_method == "satterthwaite")


def test_df_method_of_a_summary_that_cannot_be(sleep):
    model = mx.mixedlm("Reaction ~ Days + (1 | Subject)", sleep)
    with pytest.raises(ValueError, match="needs a REML fit"):
        model.fit(reml=False).summary(df_method="kr")
    with pytest.raises(ValueError, match="belongs to the model's own covariance"):
        model.fit(cov_type="CR2").summary(df_method="kr")


@pytest.mark.parametrize(("factor", "text"), [(1e-9, "2.5141e-07"), (1e9, "2.5141e+11")])
def test_tiny_and_huge_values(factor, text, sleep):
    data = sleep.assign(y=factor * sleep["Reaction"])
    assert text in str(mx.mixedlm("y ~ Days + (Days | Subject)", data).fit().summary())


@pytest.mark.parametrize("unit", [1e-5, 1e-3, 1e-1, 1.0, 1e3, 1e6])
def test_no_standard_error_is_printed_as_zero(unit, sleep):
    """Days in any unit; statsmodels prints 0.000."""
    data = sleep.assign(x=sleep["Days"] / unit, y=sleep["Reaction"] / 7)
    table = mx.mixedlm("y ~ x + (x | Subject)", data).fit().summary().tables[1]
    reference = mx.mixedlm("y ~ Days + (Days | Subject)", data).fit()
    error = float(table.loc["x", "Std.Err."])
    assert error == pytest.approx(unit * reference.bse_fe["Days"], rel=5e-3)
    assert (table["Std.Err."].astype(float) > 0).all()


def test_boundary_is_blank_and_explained():
    data = mx.datasets.dyestuff2.load().data
    with pytest.warns(SingularMatrixWarning):
        result = mx.mixedlm("Yield ~ 1", data, groups="Batch").fit()
    summary = result.summary()
    assert list(summary.tables[1].loc["Batch Var"]) == ["0.0000", "", "", "", "", ""]
    assert any("Blank standard errors" in line for line in summary.extra_txt)
    assert header(summary)["Singular fit:"] == "Yes"
    assert "nan" not in str(summary).lower()


def test_dropped_columns(sleep):
    with pytest.warns(mx.RankDeficientWarning):
        model = mx.mixedlm("Reaction ~ Days + I(2 * Days) + (1 | Subject)", sleep)
    table = model.fit().summary().tables[1]
    assert list(table.loc["I(2 * Days)"]) == ["dropped", "", "", "", "", "", ""]
    assert float(table.loc["Days", "Coef."]) == pytest.approx(10.467, abs=1e-3)


def test_no_random_effects_and_no_fixed_effects(sleep):
    summary = mx.mixedlm("Reaction ~ Days", sleep).fit().summary()
    assert list(summary.tables[1].index) == ["Intercept", "Days"]
    assert "No. Groups:" not in header(summary)
    summary = mx.mixedlm("Reaction ~ 0 + (1 | Subject)", sleep).fit().summary()
    assert list(summary.tables[1].index) == ["Subject Var"]


def test_many_parameters_stay_readable():
    rng = np.random.default_rng(4)
    n = 3000
    columns = {f"x{i}": rng.normal(size=n) for i in range(4)}
    data = pd.DataFrame(columns | {"f": rng.integers(0, 30, n), "g": np.arange(n) % 200})
    z = np.column_stack([np.ones(n), *(data[f"x{i}"] for i in range(4))])
    effects = rng.normal(size=(200, 5))
    data["y"] = (z * effects[data["g"]]).sum(axis=1) + rng.normal(size=n)
    formula = "y ~ x0 + x1 + x2 + x3 + C(f) + (x0 + x1 + x2 + x3 | g)"
    result = mx.mixedlm(formula, data).fit()
    summary = result.summary()
    assert len(summary.tables[1]) == 5 + 29 + 15
    assert max(map(len, str(summary).splitlines())) <= 92
    assert summary.tables[2].shape == (6, 8)


def test_summary_after_remove_data(sleep):
    result = mx.mixedlm("Reaction ~ Days", sleep[:171], groups="Subject").fit()
    before, by_kr = str(result.summary()), str(result.summary(df_method="kr"))
    robust = str(result.get_robustcov_results("oim").summary())
    result.remove_data()
    assert str(result.summary()) == before
    assert str(result.summary(df_method="kr")) == by_kr
    assert str(result.get_robustcov_results("oim").summary()) == robust
    assert header(result.summary())["Min. group size:"] == "1"
    fresh = mx.mixedlm("Reaction ~ Days", sleep[:171], groups="Subject").fit()
    fresh.remove_data()  # before anything was asked for
    assert str(fresh.summary()) == before


def test_summary_of_chunks(sleep):
    chunks = [sleep[:70], sleep[70:]]
    result = mx.MixedLM.from_chunks("Reaction ~ Days + (1 | Subject)", chunks).fit()
    heads = header(result.summary())
    assert heads["No. Groups:"] == "18"
    assert heads["Mean group size:"] == "10.0"
    assert "Min. group size:" not in heads


def test_weights_are_noted(sleep):
    result = mx.mixedlm("Reaction ~ Days + (1 | Subject)", sleep, weights=np.ones(180))
    assert any(line.startswith("Weighted:") for line in result.fit().summary().extra_txt)


def test_columns_that_share_a_variance_are_one_row():
    rng = np.random.default_rng(3)
    codes, z = np.arange(90) % 6, rng.normal(size=(90, 12))
    y = (z * rng.normal(size=(6, 12))[codes]).sum(axis=1) + rng.normal(size=90)
    terms = [mx.RandomTerm(codes, z, group="g", structure="identity")]
    terms.append(mx.RandomTerm(np.arange(90) // 9, group="h"))
    result = mx.MixedLM(y, np.ones((90, 1)), terms=terms).fit()
    assert result.summary().tables[2]["Name"].tolist() == ["z1 ... z12", "Intercept", ""]
    result.remove_data()
    assert "z1 ... z12" in str(result.summary())


def test_df_method_of_the_summary():
    data = mx.datasets.oats.load().data
    result = mx.mixedlm("yield ~ nitroF + Variety + (1 | Block / Variety)", data).fit()
    table = result.summary(df_method="kr").tables[1]
    assert list(table.columns[:4]) == ["Coef.", "Std.Err.", "df", "t"]
    own = result.fixed_effects_inference("kenward-roger")
    np.testing.assert_allclose(table["df"].iloc[:6].astype(float), own.df, atol=5e-3)
    np.testing.assert_allclose(table["Std.Err."].iloc[:6].astype(float), own.se, atol=5e-4)
    assert "kenward-roger" in str(result.summary(df_method="kr"))
    assert "satterthwaite" in str(result.summary())
    assert "none (z)" in str(result.summary(df_method="z"))
    with pytest.raises(ValueError, match="df_method='foo' is not known"):
        result.summary(df_method="foo")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_satterthwaite_holds_is_said():
    data = mx.datasets.cake.load().data
    model = mx.mixedlm("angle ~ temp + (1 | recipe:replicate) + (1 | recipe)", data)
    result, held = model.fit(), "variance of Intercept by recipe at 0"
    assert result.df_held("z") == result.df_held("kr") == ()
    assert result.df_held() == result.df_held("satterthwaite") == (held,)
    for shown in (
        result.summary(df_method="satterthwaite"),
        result.anova(df_method="satterthwaite"),
        result.drop1(df_method="satterthwaite"),
        result.emmeans("temp", df_method="satterthwaite"),
    ):
        assert held in str(shown)
    assert "Held" not in str(result.summary(df_method="z"))


@pytest.mark.filterwarnings("ignore:The random effects covariance")
@pytest.mark.parametrize("bar", ["(1 | Subject)", "(1 | Subject) + (1 | half)"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("cov_type", ["nonrobust", "CR0"])
def test_criteria_stand_side_by_side(sleep, bar, chunked, cov_type):
    data = sleep.assign(half=sleep["Days"] % 5)
    formula = f"Reaction ~ Days + {bar}"
    if chunked:
        if cov_type != "nonrobust":
            return
        model = mx.MixedLM.from_chunks(formula, [data[:90], data[90:]])
    else:
        model = mx.mixedlm(formula, data)
    options = {} if cov_type == "nonrobust" else {"cov_kwds": {"groups": data["Subject"]}}
    text = str(model.fit(cov_type=cov_type, **options).summary())
    (line,) = [line for line in text.splitlines() if "AIC:" in line]
    assert "BIC:" in line
    assert ("Cov. type:" in text) == (cov_type != "nonrobust")


def test_each_row_has_the_decimals_that_its_standard_error_asks_for(sleep):
    data = sleep.assign(far=1e5 * (sleep["Days"] + 1) ** 2)
    table = mx.mixedlm("Reaction ~ Days + far + (1 | Subject)", data).fit().summary()
    texts = table.tables[1]["Std.Err."]
    digits = {name: len(texts[name].split(".")[1]) for name in ("Intercept", "Days")}
    assert digits == {"Intercept": 3, "Days": 3}
    assert float(texts["far"]) > 0
    assert len(texts["far"].lstrip("0.")) >= 4


# ---- a residual covariance ----


def test_residual_covariance_has_a_table_and_entries_of_the_header():
    result = fev_fit("ar1h(AVISIT | USUBJID)")
    summary = result.summary(df_method="satterthwaite")
    entries = header(summary)
    assert entries["Residual cov.:"] == "ar1h(AVISIT | USUBJID)"
    assert entries["Information:"] == "observed"
    assert entries["No. Groups:"] == "197"
    assert entries["Max. group size:"] == "4"
    for which in ("expected", "observed"):
        other = result.summary(df_method="kenward-roger", information=which)
        assert header(other)["Information:"] == which
    parameters, own = summary.tables[1], summary.tables[2]
    assert list(parameters.index) == list(result.fe_params.index)
    assert own.index.tolist() == result.residual.params.index.tolist()
    assert own.columns.tolist() == ["SAS", "Estimate", "Std.Err.", "[0.025", "0.975]"]
    shown = own[own.columns[1:]].astype(float).to_numpy()
    table = result.residual.conf_int()[["estimate", "std_err", "lower", "upper"]]
    np.testing.assert_allclose(shown, table.to_numpy(), rtol=2e-3)
    assert "Scale is the residual variance of the first stratum." in str(summary)
    assert "Residual covariance: ar1h(AVISIT | USUBJID)." in str(summary)


def test_names_that_are_sas_own_stand_once():
    own = fev_fit("us(AVISIT | USUBJID)").summary().tables[2]
    assert own.columns[0] == "Estimate"
    assert own.index[0] == "UN(1,1)"


def test_random_effects_and_residual_covariance_have_a_table_each():
    result = fit_of("Orthodont: lme_slope_varident_age")
    summary = result.summary(alpha=0.1)
    assert summary.tables[1].index.tolist()[-1] == "I(age - 11) Var"
    assert summary.tables[1].loc["I(age - 11) Var", "Coef."] == "0.07635"
    assert summary.tables[2].columns[0] == "Groups"
    assert summary.tables[3].columns[-1] == "0.95]"
    assert header(summary)["Residual cov.:"] == "independent; ident(age)"


def test_held_and_limiting_parameters_are_said():
    held = mx.AR1("visit", group="subject", rho=0.4, fixed=True)
    result = mx.mixedlm("y ~ x", series(), residual=held, weights="weight").fit()
    text = str(result.summary())
    assert "Held, without standard errors: rho." in text
    assert "Weighted: residual variances are divided by the weight." in text
    assert result.summary().tables[2].loc["rho", "Std.Err."] == ""


def test_prints_briefly():
    text = repr(fev_fit("ar1h(AVISIT | USUBJID)"))
    assert "Residual covariance: ar1h(AVISIT | USUBJID)" in text
    assert "537 rows; USUBJID: 197 residual groups" in text
    assert any(line.split()[0] == "rho" for line in text.splitlines() if line.split())
    many = repr(fev_fit("us(AVISIT | USUBJID, by=ARMCD)"))
    assert "  20 parameters" in many
