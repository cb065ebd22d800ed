"""Sentences are true for the fit at hand: their numbers, and what must not be left out."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from helpers.residual_fits import fev_fit, fit_of
from statsmodels.regression.mixed_linear_model import MixedLMParams

import mixedext as mx

pytestmark = [pytest.mark.formula_engine, pytest.mark.filterwarnings("ignore")]


def rows(seed=0, n=80):
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"x": rng.standard_normal(n), "g": rng.integers(0, 8, n)})
    data["h"], data["w"] = rng.integers(0, 4, n), rng.uniform(0.5, 2, n)
    data["twice"] = 2 * data["x"]
    data["f"] = rng.choice(list("abc"), n)
    effects = 2 * rng.standard_normal((8, 2))
    data["y"] = 3 + effects[data["g"], 0] + (1 + effects[data["g"], 1]) * data["x"]
    data["y"] += rng.standard_normal(n)
    return data


@pytest.fixture(scope="module")
def data():
    return rows()


def told(result, **more):
    report = result.report(**more)
    return " ".join(report.methods), " ".join(report.results), " ".join(report.references)


@pytest.mark.parametrize("df_method", [None, "z", "residual", "kenward-roger"])
@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_coefficients_are_those_of_tidy(data, df_method, alpha):
    result = mx.mixedlm("y ~ x + (x | g)", data).fit()
    _, text, _ = told(result, df_method=df_method, alpha=alpha)
    table = result.tidy(df_method=df_method, alpha=alpha)
    found = re.findall(
        r"(?:intercept|coefficient of \w+) was ([-\d.]+) \(standard error ([-\d.]+), "
        r"(\d+)% interval ([-\d.]+) to ([-\d.]+), (\S+) = ([-\d.]+), p [<=] ([.\d]+)\)",
        text,
    )
    assert len(found) == 2
    for own, (_, row) in zip(found, table.iloc[:2].iterrows(), strict=True):
        shown = [float(own[i]) for i in (0, 1, 3, 4, 6)]
        expected = row[["estimate", "std_err", "lower", "upper", "statistic"]]
        np.testing.assert_allclose(shown, expected.astype(float), atol=6e-3)
        assert own[2] == f"{100 * (1 - alpha):g}"
        assert (own[5] == "z") == (df_method == "z")
        if df_method != "z":
            assert abs(float(own[5][2:-1]) - row["df"]) <= 5e-3
    sds = re.findall(r"(?:standard deviation|correlation)[^.]*? was ([-\d.]+) \(", text)
    np.testing.assert_allclose([float(v) for v in sds], table["estimate"][2:], atol=6e-3)


def test_design(data):
    methods, text, _ = told(mx.mixedlm("y ~ x + (x | g) + (1 | h)", data).fit())
    assert "80 observations of y: y ~ x + (x | g) + (1 | h)." in methods
    counts = data["g"].value_counts()
    expected = f"(8 levels, {counts.min()} to {counts.max()} rows each)"
    assert f"Random intercepts and coefficients of x varied by g {expected}" in methods
    assert "unstructured" in methods
    assert "Random intercepts varied by h (4 levels" in methods
    assert "(REML)" in methods
    assert mx.__version__ in methods or "(source)" in methods
    result = mx.mixedlm("y ~ x + (x || g)", data).fit(reml=False)
    methods, text, _ = told(result)
    assert "no correlations" in methods
    assert "REML" not in methods
    share = 100 * result.r2_nakagawa.marginal
    assert f"Fixed effects explain {share:.1f}%" in text
    assert f"correlation is {result.icc():.3f}" in text


@pytest.mark.parametrize(
    ("df_method", "words", "reference"),
    [
        ("satterthwaite", "Satterthwaite's", "Kuznetsova"),
        ("kenward-roger", "Kenward and Roger's", "Kenward"),
        ("residual", "residual degrees", None),
        ("z", "normal law", None),
    ],
)
def test_tests(data, df_method, words, reference):
    result = mx.mixedlm("y ~ x + (1 | g)", data).fit(df_method=df_method)
    for more in ({}, {"df_method": df_method}):
        methods, _, references = told(result, **more)
        assert words in methods
        for name in ("Kuznetsova", "Kenward"):
            assert (name in references) == (name == reference)


def test_terms_of_several_coefficients_have_a_test(data):
    result = mx.mixedlm("y ~ x + f + (1 | g)", data).fit()
    _, text, _ = told(result)
    row = result.anova().loc["f"]
    assert (
        f"Test of f (type III): F(2, {row['df_denom']:.2f}) = {row['statistic']:.2f}"
        in text
    )
    assert "Test of x" not in text
    _, text, _ = told(result, df_method="z")
    size = 2 * result.anova(df_method="z").loc["f", "statistic"]
    assert f"Test of f (type III): chi-squared(2) = {size:.2f}" in text


def test_one_variance_for_all_columns(data):
    z = np.eye(3)[data["f"].map({"a": 0, "b": 1, "c": 2})]
    term = mx.RandomTerm(data["g"], z, group="g", names=list("abc"), structure="identity")
    result = mx.MixedLM(data["y"], np.ones((80, 1)), terms=[term]).fit()
    methods, text, _ = told(result)
    assert "with one variance for all and no correlations" in methods
    assert text.count("standard deviation") == 2
    assert r"\sigma_{\mathrm{g}}^{2}\boldsymbol{I}_{3}" in result.equation()
    assert len(result.tidy("random")) == 2


def test_weights_offset_and_dropped_columns(data):
    result = mx.mixedlm("y ~ x + twice + (1 | g)", data, weights="w", offset="h").fit()
    methods, text, _ = told(result)
    assert "inversely proportional to the given weights" in methods
    assert "offset" in methods
    assert "Left out, as they depend on earlier columns: twice." in methods
    assert "twice" not in text
    plain, _, _ = told(mx.mixedlm("y ~ x + (1 | g)", data).fit())
    assert "weights" not in plain
    assert "offset" not in plain
    inside, _, _ = told(mx.mixedlm("y ~ x + offset(h) + (1 | g)", data).fit())
    assert "offset" in inside


def test_singular():
    data = mx.datasets.dyestuff2.load().data
    _, text, _ = told(mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit())
    assert text.startswith("The fit is singular")
    assert "The variance of Batch was estimated as zero." in text
    assert "was 0.00 (no interval)" in text


def test_perfect_correlation():
    rng = np.random.default_rng(6)
    data = pd.DataFrame({"g": np.repeat(np.arange(8), 6), "x": rng.uniform(0, 1, 48)})
    effect = rng.standard_normal(8)[data["g"]]
    data["y"] = effect * (1 + 2 * data["x"]) + rng.standard_normal(48)
    result = mx.mixedlm("y ~ x + (x | g)", data).fit()
    assert result.is_singular
    _, text, _ = told(result)
    assert "by g were estimated as perfectly dependent" in text
    assert "as zero" not in text


def test_failed(data):
    model = mx.mixedlm("y ~ x + (x | g)", data)
    result = model.fit(maxiter=1)
    assert not result.converged
    _, text, _ = told(result)
    assert text.startswith("The search for the estimates failed")
    assert "must not be reported" in text
    sound = told(model.fit())[1]
    assert "failed" not in sound
    assert "singular" not in sound


def test_held_parameters(data):
    model = mx.mixedlm("y ~ x", data, groups="g", re_formula="~x")
    free = MixedLMParams.from_components(fe_params=np.ones(2), cov_re=np.eye(2))
    methods, _, _ = told(model.fit(free=free))
    assert "held or penalized" in methods
    assert "estimated by" not in methods


def test_robust_covariances(data):
    result = mx.mixedlm("y ~ x + (1 | g)", data).fit(
        cov_type="CR2", cov_kwds={"groups": data["g"]}
    )
    methods, text, references = told(result)
    assert "robust to correlation within clusters (CR2)" in methods
    assert "Pustejovsky" in references
    assert f"standard error {result.bse_fe['x']:.2f}" in text


def test_no_random_and_no_fixed_effects(data):
    methods, text, references = told(mx.mixedlm("y ~ x", data).fit())
    assert methods.startswith("We fitted a linear model to")
    assert "Random" not in methods
    assert "Nakagawa" not in references
    assert "intraclass" not in text
    methods, text, _ = told(mx.mixedlm("y ~ 0 + (1 | g)", data).fit())
    assert "There were no fixed effects." in methods
    assert "coefficient of" not in text


def test_shares_of_an_intercept_and_of_several_factors(data):
    result = mx.mixedlm("y ~ 1 + (1 | g) + (1 | h)", data).fit()
    _, text, _ = told(result)
    assert "explain" not in text
    shared = result.icc()
    whole = f"of rows that share the levels of all factors is {shared:.3f}."
    assert f"The intraclass correlation {whole}" in text
    _, text, _ = told(mx.mixedlm("y ~ x + (1 | g) + (1 | h)", data).fit())
    assert "Fixed effects explain" in text
    assert "of rows that share the levels of all factors is" in text


def test_without_rows(data):
    result = mx.mixedlm("y ~ x + f + (1 | g)", data).fit()
    result.remove_data()
    methods, text, references = told(result)
    assert "(8 levels)" in methods
    assert "explain" not in text
    assert "Nakagawa" not in references


def test_groups_memberships_and_arrays():
    data = mx.datasets.pastes.load().data
    vc = {"cask": "0 + C(cask)"}
    model = mx.mixedlm("strength ~ 1", data, groups="batch", re_formula="1", vc_formula=vc)
    methods, text, _ = told(model.fit())
    assert "varied by batch (10 levels" in methods
    assert "intercepts by cask" in text
    rng = np.random.default_rng(5)
    term = mx.SparseTerm((rng.random((40, 4)) < 0.5) * 1.0, group="school")
    y = rng.standard_normal(40)
    methods, _, _ = told(mx.MixedLM(y, np.ones((40, 1)), terms=[term]).fit())
    assert "school (4 levels, with one variance) entered by a matrix" in methods


def test_many_coefficients_are_counted(data):
    many = data.assign(f=np.arange(80) % 15)
    _, text, _ = told(mx.mixedlm("y ~ C(f) + (1 | g)", many).fit())
    assert "There are 15 coefficients" in text


def test_wrong_arguments(data):
    result = mx.mixedlm("y ~ x + (1 | g)", data).fit()
    with pytest.raises(ValueError, match="alpha"):
        result.report(alpha=2)
    with pytest.raises(ValueError, match="df_method"):
        result.report(df_method="best")


def test_reports_are_kept(data):
    report = mx.mixedlm("y ~ x + (1 | g)", data).fit().report()
    assert pickle.loads(pickle.dumps(report)) == report
    assert str(report).startswith("Materials and methods\n----")


# ---- a residual covariance ----


def test_correlated_errors_are_told():
    methods, text, _ = told(fit_of("Orthodont: lme_int_ar1_varident"))
    assert "correlated within Subject (27 groups, 4 rows each)" in methods
    assert "first-order autoregression (ar1(age | Subject))" in methods
    assert "standard deviation was sigma times ident(Sex)" in methods
    assert "with one variance" not in methods
    assert "The residual standard deviation of Male was 1.714" in text
    assert "The parameter AR1 rho of the residual covariance was 0.077" in text
    methods, text, _ = told(fev_fit("csh(AVISIT | USUBJID, by=ARMCD)"))
    assert "a standard deviation for each visit" in methods
    assert "each level of ARMCD having its own parameters" in methods
    assert "1 to 4 rows each" in methods
    assert "CS rho (TRT) of the residual covariance was 0.273" in text


def test_many_parameters_of_a_residual_covariance_are_counted():
    _, text, _ = told(fev_fit("us(AVISIT | USUBJID, by=ARMCD)"))
    assert "The residual covariance has 20 parameters (see the table)." in text


def test_residual_correlations_have_their_visits():
    _, text, _ = told(fev_fit("us(AVISIT | USUBJID)"))
    assert "The residual correlation of VIS1 and VIS2 was 0.4385" in text
