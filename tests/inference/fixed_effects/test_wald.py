"""t, F and chi-squared tests under every covariance and df method, and their tables."""

from __future__ import annotations

import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats import contrast
from statsmodels.tools.sm_exceptions import ValueWarning

import mixedext as mx
from mixedext.inference.fixed_effects import (
    anova_tables,
    pairwise_tests,
    wald,
)
from mixedext.inference.fixed_effects import df_methods as fixed_tests
from mixedext.inference.fixed_effects.covariance_choice import chosen_tests
from mixedext.inference.fixed_effects.df_methods import f_test_of

pytestmark = pytest.mark.formula_engine

KINDS = ["nonrobust", "oim", "CR0", "CR1", "CR2", "CR3"]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    n, groups = 180, 15
    data = pd.DataFrame(
        {
            "g": np.arange(n) % groups,
            "x": rng.standard_normal(n),
            "f": np.array(list("abc"))[rng.integers(3, size=n)],
        }
    )
    data["y"] = data["x"] + rng.standard_normal(groups)[data["g"]]
    data["y"] += rng.standard_normal(n) + 0.4 * (data["f"] == "b")
    return data


@pytest.fixture(scope="module")
def result(data):
    return mx.mixedlm("y ~ C(f) + x + (1 | g)", data).fit()


class Known(fixed_tests.FixedTests):
    """A method with degrees of freedom, covariance and scaling that can be told."""

    def __init__(self, fit):
        super().__init__(fit, 4 * np.eye(len(fit.covariance)))

    def df(self, rows):
        return 3.0 + np.arange(len(rows))

    def f_test(self, rows, values=0.0):
        plain = super().f_test(rows, values)
        return f_test_of(0.5 * plain.statistic, plain.df_num, 7.5, 0.5)


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setitem(fixed_tests.DF_METHODS, "known", ("known_tests", "Known"))
    module = SimpleNamespace(Known=Known)
    monkeypatch.setitem(sys.modules, "mixedext.inference.fixed_effects.known_tests", module)
    monkeypatch.setitem(fixed_tests.ALIASES, "alias", "known")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use_t", [False, True])
def test_t_tests_say_what_the_table_says(result, kind, use_t):
    robust = result.get_robustcov_results(kind, use_t=use_t)
    for index, name in enumerate(robust.model.exog_names):
        test = robust.t_test({name: 0})
        np.testing.assert_allclose(test.effect, robust.fe_params[name])
        np.testing.assert_allclose(test.sd, robust.bse[name], rtol=1e-12)
        np.testing.assert_allclose(test.statistic, robust.tvalues[name], rtol=1e-12)
        np.testing.assert_allclose(test.pvalue, robust.pvalues[name], rtol=1e-9)
        limits = robust.conf_int(0.1).iloc[index]
        np.testing.assert_allclose(test.conf_int(0.1)[0], limits, rtol=1e-10)
        joint = robust.wald_test({name: 0}, scalar=True)
        np.testing.assert_allclose(joint.pvalue, test.pvalue, rtol=1e-9)
        assert joint.distribution == ("F" if use_t else "chi2")
    together = robust.t_test(np.eye(4))
    np.testing.assert_allclose(together.pvalue, robust.pvalues.iloc[:4], rtol=1e-9)
    frame = together.summary_frame()
    assert len(frame) == 4
    inference = robust.fixed_effects_inference()
    np.testing.assert_array_equal(inference.pvalue, robust.pvalues.iloc[:4])
    np.testing.assert_array_equal(inference.estimate, robust.fe_params)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "r_matrix",
    [
        "x = 1, C(f)[T.b] = 0",
        {"x": 1, "C(f)[T.b]": 0},
        (pd.DataFrame(np.eye(2), columns=["x", "C(f)[T.b]"]), [1, 0]),
        (np.array([[0, 0, 0, 1], [0, 1, 0, 0]]), [1, 0]),
        (np.array([[0, 0, 0, 1, 0], [0, 1, 0, 0, 0]]), [1, 0]),
    ],
    ids=repr,
)
def test_joint_tests_take_every_form(result, kind, r_matrix):
    robust = result.get_robustcov_results(kind)
    at = [3, 1]
    difference = robust.fe_params.to_numpy()[at] - [1, 0]
    covariance = robust.cov_params().to_numpy()[np.ix_(at, at)]
    wald = difference @ np.linalg.solve(covariance, difference)
    test = robust.wald_test(r_matrix, use_f=False, scalar=True)
    assert test.statistic == pytest.approx(wald, rel=1e-9)
    assert test.pvalue == pytest.approx(stats.chi2.sf(wald, 2), rel=1e-9)
    f = robust.f_test(r_matrix)
    if kind in ("CR2", "CR3"):
        assert f.statistic == pytest.approx(f.scaling * wald / 2)
        assert f.df_denom < 14
        assert f.scaling < 1
    elif kind == "nonrobust":
        assert f.statistic == pytest.approx(wald / 2)
        own = result.f_test(r_matrix, df_method="satterthwaite")
        assert 160 < f.df_denom == own.df_denom < 175
        z = result.f_test(r_matrix, df_method="z")
        assert z.df_denom == np.inf
        assert z.pvalue == pytest.approx(test.pvalue, rel=1e-9)
    else:
        assert f.statistic == pytest.approx(wald / 2)
        assert f.df_denom == (14 if kind in ("CR0", "CR1") else 176)
        assert f.scaling == 1
    assert f.pvalue == pytest.approx(stats.f.sf(f.statistic, 2, f.df_denom))
    assert robust.t_test(r_matrix).pvalue.shape == (2,)


def test_variance_parameters(result):
    with pytest.raises(ValueError, match="should have 4 columns"):
        result.t_test(np.eye(5))
    whole = result.f_test(np.eye(5)[3:])
    assert whole.df_num == 2
    z = result.t_test("g Var = 0")
    assert z.statistic == pytest.approx(result.tvalues["g Var"])
    with pytest.raises(ValueError, match="not for variance parameters"):
        result.t_test("g Var = 0", df_method="residual")
    with pytest.raises(ValueError, match="a covariance of your own"):
        result.f_test("x = 0", cov_p=np.eye(5), df_method="residual")
    with pytest.raises(ValueError, match="not for variance parameters"):
        result.f_test("g Var = 0", df_method="residual")
    with pytest.raises(ValueError, match="a covariance of your own"):
        result.f_test("x = 0", invcov=np.eye(1), df_method="residual")


def test_given_covariances(result):
    cov_p = 9 * result.cov_params().to_numpy()
    test = result.t_test("x = 0", cov_p=cov_p)
    np.testing.assert_allclose(test.sd, 3 * result.bse["x"])
    joint = result.wald_test("x = 0", cov_p=cov_p, scalar=True)
    assert joint.statistic == pytest.approx(result.tvalues["x"] ** 2 / 9)
    inverse = result.wald_test("x = 0", invcov=np.eye(1), scalar=True)
    assert inverse.statistic == pytest.approx(result.fe_params["x"] ** 2)


def test_dependent_and_contradicting_rows(result):
    with pytest.warns(ValueWarning, match="has rank 1"):
        twice = result.f_test(["x = 1", "2 * x = 2"])
    assert twice.pvalue == pytest.approx(result.f_test("x = 1").pvalue)
    with pytest.raises(ValueError, match="contradict"):
        result.f_test(["x = 1", "2 * x = 3"])


def test_df_methods_are_those_of_the_registry(result, data, known):
    test = result.t_test(np.eye(4), df_method="alias")
    np.testing.assert_array_equal(test.df_denom, [3, 4, 5, 6])
    np.testing.assert_allclose(test.sd, 2 * result.bse_fe)
    t = result.tvalues.iloc[:4] / 2
    np.testing.assert_allclose(test.pvalue, 2 * stats.t.sf(np.abs(t), [3, 4, 5, 6]))
    f = result.f_test("x = 0", df_method="known")
    assert (f.df_denom, f.scaling) == (7.5, 0.5)
    assert f.statistic == pytest.approx(0.5 * result.tvalues["x"] ** 2 / 4)
    wald = result.wald_test("x = 0", df_method="known", scalar=True)
    assert wald.pvalue == f.pvalue
    limits = result.conf_int(df_method="known").to_numpy()
    half = stats.t.ppf(0.975, [3, 4, 5, 6]) * 2 * result.bse_fe
    np.testing.assert_allclose(np.diff(limits[:4])[:, 0], 2 * half)
    np.testing.assert_array_equal(limits[4:], result.conf_int().to_numpy()[4:])
    table = result.wald_test_terms(df_method="known").table
    assert table["df_denom"].tolist() == [7.5] * 3
    # the fit's own choice: everything goes by it, bse stays
    own = mx.mixedlm("y ~ C(f) + x + (1 | g)", data).fit(df_method="alias")
    assert (own.df_method, own.use_t) == ("known", True)
    np.testing.assert_array_equal(own.bse_fe, result.bse_fe)
    np.testing.assert_allclose(own.pvalues.iloc[:4], test.pvalue)
    np.testing.assert_allclose(own.conf_int(), limits)
    np.testing.assert_allclose(own.t_test(np.eye(4)).pvalue, test.pvalue)
    assert own.wald_test_terms().table["df_denom"].tolist() == [7.5] * 3
    assert own.t_test("x = 0", df_method="residual").df_denom == 176
    z = result.t_test("x = 0", df_method="z").pvalue
    assert own.t_test("x = 0", use_t=False).pvalue == pytest.approx(z)
    assert own.t_test("x = 0", df_method="z").pvalue == pytest.approx(z)


def test_methods_that_do_not_go_together(result, data, known):
    robust = result.get_robustcov_results("CR1")
    for call in (
        lambda: robust.t_test("x = 0", df_method="known"),
        lambda: robust.f_test("x = 0", df_method="known"),
        lambda: robust.wald_test_terms(df_method="known"),
        lambda: robust.conf_int(df_method="known"),
        lambda: mx.mixedlm("y ~ x + (1 | g)", data).fit(df_method="known", cov_type="CR2"),
    ):
        with pytest.raises(ValueError, match="belongs to the model's own covariance"):
            call()
    assert robust.t_test("x = 0", df_method="residual").df_denom == 176
    with pytest.raises(ValueError, match="df_method='none' is not known"):
        result.t_test("x = 0", df_method="none")
    with pytest.raises(ValueError, match="use_t=False asks for the normal law"):
        mx.mixedlm("y ~ x + (1 | g)", data).fit(df_method="residual", use_t=False)


def test_fit_with_use_t_has_residual_degrees_of_freedom(data):
    fit = mx.mixedlm("y ~ x + (1 | g)", data).fit(use_t=True)
    assert fit.t_test("x = 0").df_denom == 178
    other = mx.mixedlm("y ~ x + (1 | g)", data).fit(df_method="residual")
    np.testing.assert_array_equal(fit.pvalues, other.pvalues)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_of_terms(result, kind):
    robust = result.get_robustcov_results(kind)
    terms = robust.wald_test_terms(
        combine_terms=["f", "x"], extra_constraints=[("both", {"x": 1, "Intercept": 0})]
    )
    # formulaic's name of the intercept is 1
    names = ["C(f)", "x", "f", "x", "both"]
    assert terms.table.index[0] in ("Intercept", "1")
    assert terms.table.index[1:].tolist() == names
    assert terms.table["df_constraint"].tolist() == [1, 2, 1, 2, 1, 2]
    columns = ["statistic", "pvalue", "df_constraint"]
    f = kind in ("nonrobust", "CR2", "CR3")
    assert terms.table.columns.tolist() == columns + (["df_denom"] if f else [])
    assert terms.distribution == ("F" if f else "chi2")
    want = robust.wald_test("C(f)[T.b] = 0, C(f)[T.c] = 0", scalar=True)
    assert terms.table.loc["C(f)", "pvalue"] == pytest.approx(want.pvalue)
    assert terms.summary_frame().shape[0] == 6
    few = robust.wald_test_terms(skip_single=True).table
    assert few.index.tolist() == ["C(f)"]
    with pytest.raises(ValueError, match="no term has 'q'"):
        robust.wald_test_terms(combine_terms=["q"])


@pytest.mark.parametrize("method", ["hs", "bonferroni", ["hs", "fdr_bh"]])
def test_pairwise_tests_as_statsmodels(data, method):
    """A model whose random effects have no variance gives statsmodels' OLS."""
    model = mx.MixedLM.from_formula("y ~ C(f) + x + (1 | g)", data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = model.fit(start_params=[0.0], do_cg=False, df_method="residual")
    ols = smf.ols("y ~ C(f) + x", data).fit()
    got = fit.t_test_pairwise("C(f)", method=method)
    want = ols.t_test_pairwise("C(f)", method=method)
    assert got.result_frame.columns.tolist() == want.result_frame.columns.tolist()
    assert got.result_frame.index.tolist() == ["b-a", "c-a", "c-b"]
    numbers = got.result_frame.select_dtypes(float)
    np.testing.assert_allclose(numbers, want.result_frame[numbers.columns], rtol=1e-7)
    labelled = fit.t_test_pairwise("C(f)", factor_labels=["A", "B", "C"], alpha=0.1)
    assert labelled.result_frame.index.tolist() == ["B-A", "C-A", "C-B"]
    terms = ols.wald_test_terms(scalar=True).table
    np.testing.assert_allclose(
        fit.wald_test_terms().table.to_numpy(float), terms.to_numpy(float), rtol=1e-7
    )


@pytest.mark.parametrize("kind", KINDS)
def test_pairwise_tests_under_every_covariance(result, kind):
    robust = result.get_robustcov_results(kind)
    frame = robust.t_test_pairwise("C(f)").result_frame
    direct = robust.t_test("C(f)[T.c] - C(f)[T.b] = 0")
    assert frame.iloc[2, 3] == pytest.approx(float(direct.pvalue))


def test_formulas_of_plain_columns(data):
    """A specification that is made only when asked for."""
    fit = mx.mixedlm("y ~ x + f + (1 | g)", data).fit()
    assert set(fit.wald_test_terms().table.index[1:]) == {"f", "x"}
    assert len(fit.t_test_pairwise("f").result_frame) == 3
    again = mx.mixedlm("y ~ x + f + (1 | g)", data).fit()
    again.remove_data()
    pd.testing.assert_frame_equal(
        again.wald_test_terms().table, fit.wald_test_terms().table
    )


@pytest.mark.parametrize("kind", KINDS)
def test_dropped_columns(data, kind):
    twice = data.assign(x2=2 * data["x"], h=(data["f"] == "c").astype(float))
    with pytest.warns(mx.exceptions.RankDeficientWarning):
        model = mx.mixedlm("y ~ C(f) + x + x2 + h + (1 | g)", twice)
    fit = model.fit(cov_type=kind)
    plain = mx.mixedlm("y ~ C(f) + x + (1 | g)", data).fit(cov_type=kind)
    table = fit.wald_test_terms().table
    assert table["df_constraint"].tolist() == [1, 2, 1, 0, 0]
    assert table["statistic"].isna().tolist() == [False, False, False, True, True]
    want = plain.wald_test_terms().table
    np.testing.assert_allclose(table["pvalue"].iloc[:3], want["pvalue"], rtol=1e-5)
    pairs = fit.t_test_pairwise("C(f)").result_frame
    want = plain.t_test_pairwise("C(f)").result_frame
    np.testing.assert_allclose(pairs.iloc[:, 3], want.iloc[:, 3], rtol=1e-5)
    with pytest.raises(ValueError, match="not estimable: x2"):
        fit.t_test("x2 = 0")
    assert np.isnan(fit.pvalues[["x2", "h"]]).all()
    assert np.isnan(fit.conf_int().loc["x2"]).all()


def test_array_models_have_a_term_a_column(data):
    x = np.column_stack([np.ones(len(data)), data["x"]])
    fit = mx.MixedLM(data["y"].to_numpy(), x, groups=data["g"].to_numpy()).fit()
    assert fit.wald_test_terms().table.index.tolist() == fit.model.exog_names


def test_intervals(result):
    with pytest.raises(ValueError, match="alpha=0"):
        result.conf_int(0)
    with pytest.raises(ValueError, match="method='profil'"):
        result.conf_int(method="profil")
    with pytest.raises(ValueError, match="method='wald' has no use for 'n'"):
        result.conf_int(n=100)
    some = result._results.conf_int(cols=[1, 3])
    np.testing.assert_array_equal(some, result.conf_int().to_numpy()[[1, 3]])


def test_kenward_roger_by_name(data):
    """The same numbers as by df_method, with the adjusted covariance in a frame."""
    result = mx.mixedlm("y ~ x + f + (1 | g)", data.iloc[:80]).fit()
    test = result.kenward_roger("f[T.b] = 0, f[T.c] = 0.1")
    same = result.f_test("f[T.b] = 0, f[T.c] = 0.1", df_method="kr")
    assert (test.statistic, test.df_denom) == (same.statistic, same.df_denom)
    assert (test.scaling, test.pvalue) == (same.scaling, pytest.approx(same.pvalue))
    adjusted = result.cov_params_kr
    assert list(adjusted.index) == list(adjusted.columns) == list(result.fe_params.index)
    errors = result.fixed_effects_inference("kr").se
    np.testing.assert_allclose(np.sqrt(np.diag(adjusted)), errors, rtol=1e-14)
    assert (errors > result.bse_fe).all()
    with pytest.raises(ValueError, match="those of the variance parameters must be zero"):
        result.kenward_roger(np.eye(len(result.params))[-1:])
    with pytest.raises(ValueError, match="needs a REML fit"):
        print(result.model.fit(reml=False).cov_params_kr)


@pytest.fixture(scope="module")
def unused():
    """A factor with a category without rows."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(20), 6), "x": rng.standard_normal(120)})
    frame["y"] = rng.standard_normal(120)
    frame["f"] = pd.Categorical(rng.choice(list("abc"), 120), categories=list("abcd"))
    frame["c"] = (frame["f"] == "c") * 1.0
    return frame


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("df_method", [None, "satterthwaite"])
@pytest.mark.parametrize("coding", ["f", "C(f, Sum)", "C(f, Poly)"])
def test_pairs_of_a_factor_with_an_unused_category(unused, coding, df_method):
    whole, used = (
        mx.mixedlm(f"y ~ {term} + x + (1 | g)", data).fit(df_method=df_method)
        for term, data in (
            (coding, unused),
            ("f", unused.assign(f=unused["f"].cat.remove_unused_categories())),
        )
    )
    methods = ["hs", "holm", "fdr_bh"]
    got = whole.t_test_pairwise("".join(coding.split()), methods).result_frame
    want = used.t_test_pairwise("f", methods).result_frame
    assert list(got.index) == ["b-a", "c-a", "c-b"]
    pd.testing.assert_frame_equal(got.astype(float), want.astype(float), rtol=1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_can_be_estimated_is_tested_whatever_columns_were_dropped(unused):
    result = mx.mixedlm("y ~ C(f, Sum) + c + x + (1 | g)", unused).fit()
    names = list(result.model.exog_names)
    assert np.isnan(result.fe_params["c"])
    row = np.zeros((1, len(names)))
    row[0, names.index("c")] = 1
    with pytest.raises(ValueError, match="not estimable: c depend"):
        result.t_test(row)
    # mean of c less that of a: the effects of a and b, less those of c, are in both
    row[0, names.index("C(f, Sum)[S.a]")] = -2
    row[0, names.index("C(f, Sum)[S.b]")] = -1
    plain = mx.mixedlm("y ~ f + x + (1 | g)", unused).fit()
    want = plain.t_test("f[T.c] = 0")
    assert result.t_test(row).effect == pytest.approx(want.effect)
    assert result.t_test(row).sd == pytest.approx(want.sd)
    assert result.f_test(row).statistic == pytest.approx(want.statistic.item() ** 2)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pairs_of_what_has_none(unused):
    result = mx.mixedlm("y ~ f * x + (1 | g)", unused).fit()
    with pytest.raises(ValueError, match="is no term; terms are"):
        result.t_test_pairwise("g")
    with pytest.raises(ValueError, match="is no categorical factor"):
        result.t_test_pairwise("x")
    with pytest.raises(ValueError, match="is an interaction"):
        result.t_test_pairwise("f:x")
    arrays = mx.MixedLM(unused["y"], unused[["x"]], unused["g"]).fit()
    with pytest.raises(ValueError, match="needs a model from a formula"):
        arrays.t_test_pairwise("x")


def test_a_record_of_the_fit_serves_in_the_place_of_results(result):
    record = result.fitted
    np.testing.assert_array_equal(wald.conf_int(record), result.conf_int())
    one, other = wald.f_test(record, "x = 0"), result.f_test("x = 0")
    assert (one.statistic, one.pvalue) == (other.statistic, other.pvalue)
    pd.testing.assert_frame_equal(
        wald.wald_test_terms(record).table, result.wald_test_terms().table
    )
    pd.testing.assert_frame_equal(
        pairwise_tests.t_test_pairwise(record, "C(f)").result_frame,
        result.t_test_pairwise("C(f)").result_frame,
    )
    pd.testing.assert_frame_equal(anova_tables.anova(record), result.anova())


def test_terms_whose_names_are_not_python(data):
    spaced = data.rename(columns={"f": "the f"})
    found = mx.mixedlm("y ~ `the f` + x + (1 | g)", spaced).fit()
    assert found.wald_test_terms().table.index.tolist() == ["Intercept", "the f", "x"]
    want = mx.mixedlm("y ~ f + x + (1 | g)", data).fit().t_test_pairwise("f").result_frame
    got = found.t_test_pairwise("the f").result_frame
    np.testing.assert_allclose(got["pvalue-hs"], want["pvalue-hs"], rtol=1e-10)


@pytest.mark.parametrize("written", ["`group dummy`", "C(`group dummy`)"])
def test_terms_of_names_that_are_not_pythons_go_by_their_own(unused, written):
    data = unused.assign(**{"group dummy": unused["f"].astype(str)})
    result = mx.mixedlm(f"y ~ {written} + x + {written}:x + (1 | g)", data).fit()
    plain = mx.mixedlm("y ~ f * x + (1 | g)", unused).fit()
    name = written.replace("`", "")
    table = result.wald_test_terms(scalar=True).table
    assert table.index.tolist() == ["Intercept", name, "x", f"{name}:x"]
    assert result.anova().index.tolist() == [name, "x", f"{name}:x"]
    want = plain.t_test_pairwise("f").result_frame
    for spelling in (name, written):
        got = result.t_test_pairwise(spelling).result_frame
        pd.testing.assert_frame_equal(got.astype(float), want.astype(float), rtol=1e-9)
    with pytest.raises(ValueError, match="'group_dummy_' is no term; terms are: 'Inter"):
        result.t_test_pairwise("group_dummy_")


@pytest.mark.parametrize("df_method", ["satterthwaite", "kenward-roger", "z", "residual"])
def test_rows_of_zeros_are_no_hypothesis(df_method):
    """lmerTest gives an empty table: no numerator df, no statistic."""
    data = mx.datasets.sleepstudy.load().data
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    for rows in ([[0, 0]], np.zeros((2, 2)), np.zeros((1, 5))):
        for test in (result.wald_test, result.f_test):
            with pytest.warns(
                ValueWarning, match="no hypothesis: all its entries are zero"
            ):
                found = test(rows, df_method=df_method)
            count = found.df_denom if found.distribution == "chi2" else found.df_num
            assert count == 0
            assert np.isnan(found.statistic).all()
            assert np.isnan(found.pvalue).all()
            assert "nan" in str(found)
        with pytest.warns(ValueWarning, match="rows of zeros, which are no hypotheses"):
            found = result.t_test(rows, df_method=df_method)
        assert np.isnan(found.pvalue).all()
    with pytest.raises(ValueError, match="row of zeros that is to have another value"):
        result.wald_test(([[0, 0]], [1.0]), df_method=df_method)


def test_rows_of_zeros_beside_a_covariance_that_is_given():
    data = mx.datasets.sleepstudy.load().data
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    covariance = np.asarray(result.cov_params())
    for given in ({"cov_p": covariance}, {"invcov": np.eye(1)}):
        with pytest.warns(ValueWarning, match="no hypothesis"):
            found = result.f_test(np.zeros((1, len(covariance))), **given)
        assert found.df_num == 0
        assert np.isnan(found.fvalue)
        assert np.isnan(found.pvalue)


def test_a_factor_of_one_level_has_no_pairs():
    y = np.random.default_rng(0).normal(size=12)
    data = pd.DataFrame({"y": y, "f": ["a"] * 12, "g": list("aabbccddeeff")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns that depend on others
        result = mx.mixedlm("y ~ 1 + f + C(f) + (1 | g)", data).fit()
    with pytest.raises(ValueError, match="fewer than two levels with coefficients"):
        result.t_test_pairwise("C(f)")


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
def test_pairs_of_a_factor_that_is_spelled_twice():
    """The columns that depend on earlier ones have no coefficients to compare."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=30), "f": rng.choice(list("abc"), 30)})
    data["g"] = np.arange(30) % 6
    once = mx.mixedlm("y ~ f + (1 | g)", data).fit().t_test_pairwise("f").result_frame
    with pytest.warns(mx.RankDeficientWarning):
        twice = mx.mixedlm("y ~ C(f) + f + (1 | g)", data).fit()
    found = twice.t_test_pairwise("C(f)").result_frame
    np.testing.assert_allclose(found["coef"], once["coef"], rtol=1e-8)
    assert twice.t_test_pairwise("f").result_frame["coef"].isna().all()


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.SingularMatrixWarning")
def test_pairs_of_a_term_that_another_stands_for_have_a_reason(monkeypatch):
    data = mx.datasets.oats.load().data
    result = mx.mixedlm('Q("yield") ~ Variety + (1 | Block)', data).fit()

    def unknown(*_):
        raise ValueError("'Variety' is not in list")

    monkeypatch.setattr(contrast, "t_test_pairwise", unknown)
    with pytest.raises(ValueError, match="'Variety' has no columns of its own"):
        result.t_test_pairwise("Variety")


def test_degrees_of_freedom_without_end_are_told(monkeypatch):
    """statsmodels' result of a normal law has none; the summary asks for them."""
    data = mx.datasets.dyestuff.load().data
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    assert result.t_test("Intercept = 0", df_method="z").df_denom == np.inf
    tests = type(chosen_tests(result.fitted))
    monkeypatch.setattr(tests, "df", lambda self, rows: np.full(len(rows), np.inf))
    table = result.summary().tables[1]
    assert "inf" in table.loc["Intercept", "df"]
