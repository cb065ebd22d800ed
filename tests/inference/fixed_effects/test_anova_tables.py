"""Anova tables: R's values, theory, and what must not change them."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from helpers.far_covariate import far_covariate, relative_difference
from helpers.fev import fev_model, values
from helpers.paths import RESULTS
from helpers.reference import case_names, load_case, relative_error

import mixedext as mx
from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.inference.fixed_effects.anova_tables import term_hypotheses
from mixedext.inference.prediction.fixed_rows import new_columns
from mixedext.inference.submodels.fixed_terms import fixed_terms

FOLDER = RESULTS / "comparison"
FACTORS = ["a", "b", "c", "g", "sub", "whole", "block"]
REFERENCE = [
    name
    for name in case_names()
    if "type1_satterthwaite" in (load_case(name).values.get("anova") or {})
    and not name.startswith("insteval")
]
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.formula_engine]


def r_data(name):
    data = pd.read_csv(FOLDER / f"{name}.csv")
    return data.astype({c: str for c in data.columns if c in FACTORS})


def r_tables():
    table = pd.read_csv(FOLDER / "anova.csv")
    return [
        pytest.param(*key, part, id=f"{key[0]}-{key[1]}-{key[2]}-{key[3]}")
        for key, part in table.groupby(["data", "formula", "type", "df_method"], sort=False)
    ]


def fitted(formula, data, **arguments):
    return mx.mixedlm(formula, data).fit(**arguments)


def by_factors(index):
    return [frozenset(name.split(":")) for name in index]


@pytest.mark.parametrize(("data", "formula", "kind", "method", "part"), r_tables())
def test_tables_of_lmertest(data, formula, kind, method, part):
    table = fitted(formula, r_data(data)).anova(kind, df_method=method)
    table.index = by_factors(table.index)
    assert list(table.index) == by_factors(part["term"])
    np.testing.assert_array_equal(table["df_num"], part["num_df"])
    assert relative_error(table["statistic"], part["F"]) < 1e-6
    assert relative_error(table["sum_sq"], part["sum_sq"]) < 1e-6
    # joint df of Satterthwaite's depend on the rows; here R drops another column of a:b
    other_rows = formula.startswith("y ~ a:b ")
    rtol = 1e-4 if other_rows else 1e-5
    np.testing.assert_allclose(table["df_denom"], part["den_df"], rtol=rtol)
    np.testing.assert_allclose(table["pvalue"], part["p"], rtol=1e-4, atol=1e-12)


def car_tables():
    table = pd.read_csv(FOLDER / "car.csv", skipinitialspace=True)
    return [
        pytest.param(*key, part, id=f"{key[0]}-{key[1]}")
        for key, part in table.groupby(["data", "formula"], sort=False)
    ]


@pytest.mark.parametrize(("data", "formula", "part"), car_tables())
def test_type_two_of_car(data, formula, part):
    table = fitted(formula, r_data(data)).anova("II", df_method=None, like="car")
    assert by_factors(table.index) == by_factors(part["term"])
    np.testing.assert_array_equal(table["df_num"], part["df"])
    # R's estimates are those of its optimizer
    np.testing.assert_allclose(
        table["statistic"] * table["df_num"], part["chisq"], rtol=1e-6
    )


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("kind", [1, 2, 3])
def test_reference_cases(name, kind):
    case = load_case(name)
    want = case.values["anova"][f"type{kind}_satterthwaite"]
    model = mx.mixedlm(case.formula, case.data, missing="drop", **case.options)
    table = model.fit(reml=case.values["REML"]).anova(kind)
    assert len(table) == len(want["terms"])
    assert table["df_num"].tolist() == want["NumDF"]
    assert relative_error(table["statistic"], want["F"]) < 1e-8
    assert relative_error(table["sum_sq"], want["SumSq"]) < 1e-8


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize(
    ("column", "method"),
    [("type3_satterthwaite", "satterthwaite"), ("type3_kenward_roger", "kenward-roger")],
)
def test_reference_denominators(name, column, method):
    case = load_case(name)
    want = case.values["anova"].get(column, {"error": ""})
    if "error" in want:
        pytest.skip("R gives none")
    model = mx.mixedlm(case.formula, case.data, missing="drop", **case.options)
    table = model.fit(reml=case.values["REML"]).anova("III", df_method=method)
    assert relative_error(table["statistic"], want["F"]) < 1e-6
    np.testing.assert_allclose(table["df_denom"], want["DenDF"], rtol=1e-5)
    np.testing.assert_allclose(table["sum_sq"], want["SumSq"], rtol=1e-6)
    np.testing.assert_allclose(table["pvalue"], want["p"], rtol=1e-4, atol=1e-13)


def coded(formula, coding):
    fixed, bars = formula.split(" + (", 1)
    response, right = fixed.split("~")
    right = re.sub(r"\b([abc])\b", rf"C(\1, {coding})", right)
    return f"{response}~{right} + ({bars}"


@pytest.mark.parametrize("kind", ["I", "II", "III"])
@pytest.mark.parametrize("coding", ["Sum", "Poly", "Treatment('2')"])
@pytest.mark.parametrize("formula", ["y ~ a*b*c + (1 | g)", "y ~ a*x + b*c*x + (1 | g)"])
@pytest.mark.parametrize("data", ["crossed", "missing_cell"])
def test_coding_does_not_matter(kind, coding, formula, data):
    spec = getattr(mx.mixedlm(formula, r_data(data)).data, SPEC_ATTRIBUTE)
    engine = type(spec).__module__
    if "Treatment" in coding and engine.startswith("formulaic"):
        coding = "contr.helmert"
    frame = r_data(data)
    plain, other = fitted(formula, frame), fitted(coded(formula, coding), frame)
    for method in ("satterthwaite", "kenward-roger"):
        one, two = plain.anova(kind, method), other.anova(kind, method)
        np.testing.assert_array_equal(one["df_num"], two["df_num"])
        np.testing.assert_allclose(one["statistic"], two["statistic"], rtol=1e-8)
        # Satterthwaite's joint df depend on the rows: of type III they are contrasts of
        # cells, of the others combinations of the coded columns
        if kind == "III" or method == "kenward-roger":
            np.testing.assert_allclose(one["df_denom"], two["df_denom"], rtol=1e-6)


def test_type_three_is_the_wald_test_under_sum_coding():
    data = r_data("crossed")
    plain = fitted("y ~ a*b*c + (1 | g)", data).anova("III")
    summed = fitted(coded("y ~ a*b*c + (1 | g)", "Sum"), data)
    for row, term in zip(plain.itertuples(), fixed_terms(summed.model)[1:], strict=True):
        test = summed.f_test(np.eye(summed.k_fe)[list(term.columns)])
        np.testing.assert_allclose(row.statistic, test.fvalue, rtol=1e-10)


def test_rows_and_units_do_not_matter():
    data = r_data("crossed")
    formula = "y ~ a*b*x + c + (1 | g)"
    scaled = data.assign(y=1e6 * data["y"], x=1e-5 * data["x"])
    shuffled = data.sample(frac=1.0, random_state=1)
    for kind in (1, 2, 3):
        table = fitted(formula, data).anova(kind)
        for other in (scaled, shuffled):
            again = fitted(formula, other).anova(kind)
            np.testing.assert_allclose(table["statistic"], again["statistic"], rtol=1e-8)


def test_far_covariate():
    # What does not depend on where the zero of x lies keeps its digits; the test of a
    # beside a:x holds at x = 0 or is a combination of coefficients of a size of 1e6.
    data = r_data("crossed")
    far = data.assign(x=data["x"] + 1e6)
    for kind in (1, 2, 3):
        near = fitted("y ~ a*x + b + (1 | g)", data).anova(kind)
        moved = fitted("y ~ a*x + b + (1 | g)", far).anova(kind)
        for name in ("b", "a:x"):
            np.testing.assert_allclose(
                near.loc[name, "statistic"], moved.loc[name, "statistic"], rtol=1e-8
            )


def test_balanced_split_plot_is_the_classical_analysis():
    # Sums of squares of a balanced design do not depend on the type; F is the ratio of mean
    # squares: whole plots against whole-plot error, sub-plots against the residual.
    rng = np.random.default_rng(3)
    grid = pd.MultiIndex.from_product(
        [list("abcd"), list("xyz"), [f"r{i}" for i in range(5)]],
        names=["whole", "sub", "rep"],
    )
    data = grid.to_frame(index=False)
    plot = data["whole"] + data["rep"]
    effect = dict(zip(plot.unique(), 2 * rng.standard_normal(20), strict=True))
    data["y"] = plot.map(effect) + rng.standard_normal(60) + (data["sub"] == "x")
    data["plot"] = plot
    result = fitted("y ~ whole * sub + (1 | plot)", data)
    cells = data.groupby(["whole", "sub"])["y"].mean().unstack()
    grand = data["y"].mean()
    wholes, subs = cells.mean(axis=1), cells.mean(axis=0)
    plots = data.groupby(["whole", "rep"])["y"].mean().unstack()
    ms_whole = 15 * ((wholes - grand) ** 2).sum() / 3
    ms_plot = 3 * ((plots.sub(wholes, axis=0)) ** 2).to_numpy().sum() / 16
    mean = cells.sub(wholes, axis=0).sub(subs, axis=1) + grand
    ms_both = 5 * (mean**2).to_numpy().sum() / 6
    ms_sub = 20 * ((subs - grand) ** 2).sum() / 2
    predicted = [
        plots.loc[w, r] + cells.loc[w, s] - wholes[w]
        for w, s, r in zip(data["whole"], data["sub"], data["rep"], strict=True)
    ]
    ms_error = ((data["y"] - predicted) ** 2).sum() / 32
    want = [ms_whole / ms_plot, ms_sub / ms_error, ms_both / ms_error]
    for kind in (1, 2, 3):
        np.testing.assert_allclose(result.anova(kind)["statistic"], want, rtol=1e-8)
        for method in ("containment", "satterthwaite", "kenward-roger"):
            table = result.anova(kind, df_method=method)
            np.testing.assert_allclose(table["statistic"], want, rtol=1e-10)
            np.testing.assert_allclose(table["df_denom"], [16, 32, 32], rtol=1e-10)


def test_no_intercept():
    data = r_data("crossed")
    for formula in ("y ~ 0 + a + (1 | g)", "y ~ 0 + a*b + (1 | g)"):
        result = fitted(formula, data)
        for kind in (1, 2, 3):
            assert result.anova(kind)["df_num"].iloc[0] == 3
    # all marginal means of a are zero: the rows of type III say so
    result = fitted("y ~ 0 + a*b + (1 | g)", data)
    rows = {t.name: h for t, h in term_hypotheses(result, 3)}["a"]
    grid = pd.MultiIndex.from_product([list("123"), list("12")], names=["a", "b"])
    cells = new_columns(result.model, grid.to_frame(index=False)).exog
    means = cells.reshape(3, 2, -1).mean(axis=1)
    assert np.linalg.matrix_rank(np.vstack([rows, means])) == 3


def test_terms_in_formula_order():
    data = r_data("crossed").rename(columns={"x": "my x"})
    model = mx.mixedlm("y ~ a:b + `my x` * b + a + np.exp(z) + (1 | g)", data)
    names = [t.name for t in fixed_terms(model)]
    assert by_factors(names) == by_factors(
        ["Intercept", "my x", "b", "a", "np.exp(z)", "a:b", "my x:b"]
    )
    columns = sorted(c for t in fixed_terms(model) for c in t.columns)
    assert columns == list(range(model.k_fe))


def test_arrays_have_a_term_for_each_column():
    data = mx.datasets.sleepstudy.load().data
    exog = pd.DataFrame({"const": 1.0, "Days": data["Days"], "Square": data["Days"] ** 2})
    term = mx.RandomTerm(data["Subject"], group="Subject")
    table = mx.MixedLM(data["Reaction"], exog, terms=[term]).fit().anova()
    formula = "Reaction ~ Days + I(Days**2) + (1 | Subject)"
    other = fitted(formula, data).anova()
    assert list(table.index) == ["Days", "Square"]
    np.testing.assert_allclose(table["statistic"], other["statistic"], rtol=1e-10)


def test_weights_do_not_enter_the_hypotheses():
    data = r_data("crossed")
    weights = np.linspace(0.5, 2, len(data))
    plain = fitted("y ~ a*x + b + (1 | g)", data)
    model = mx.mixedlm("y ~ a*x + b + (1 | g)", data, weights=weights)
    weighted = model.fit()
    for kind in (1, 2, 3):
        for (_, one), (_, two) in zip(
            term_hypotheses(plain, kind), term_hypotheses(weighted, kind), strict=True
        ):
            both = np.vstack([one, two])
            assert np.linalg.matrix_rank(both, tol=1e-8) == len(one)


def test_very_uneven_weights():
    # the basis of the weighted rows is far from orthonormal on the rows themselves
    data = r_data("crossed")
    weights = 10.0 ** np.linspace(-5, 5, len(data))[np.argsort(np.sin(np.arange(70)))]
    model = mx.mixedlm("y ~ a*b + x + (1 | g)", data, weights=weights)
    weighted = model.fit()
    plain = fitted("y ~ a*b + x + (1 | g)", data)
    for kind in (1, 2, 3):
        for (_, one), (_, two) in zip(
            term_hypotheses(plain, kind), term_hypotheses(weighted, kind), strict=True
        ):
            np.testing.assert_allclose(one, two, atol=1e-8)


def test_a_term_that_cannot_be_estimated():
    data = r_data("crossed").assign(copy=lambda d: 2 * d["x"])
    with pytest.warns(mx.RankDeficientWarning):
        model = mx.mixedlm("y ~ x + copy + a*b + (1 | g)", data)
    table = model.fit().anova("I")
    assert table.loc["copy", "df_num"] == 0
    assert np.isnan(table.loc["copy", "statistic"])
    assert table.drop(index="copy").notna().to_numpy().all()


def test_without_rows():
    data = r_data("crossed")
    result = fitted("y ~ a*b + x + (1 | g)", data)
    tables = {kind: result.anova(kind) for kind in (1, 2)}
    result.remove_data()
    for kind, table in tables.items():
        pd.testing.assert_frame_equal(table, result.anova(kind))
    with pytest.raises(ValueError, match="removed"):
        result.anova(3)


def test_what_is_not_known():
    result = fitted("y ~ a + (1 | g)", r_data("crossed"))
    with pytest.raises(ValueError, match="type=4 is not known"):
        result.anova(4)
    for arguments in ({"like": "SPSS"}, {"type": 3, "like": "car"}):
        with pytest.raises(ValueError, match="is not known for type III"):
            result.anova(**arguments)
    with pytest.raises(ValueError, match="df_method='nonsense'"):
        result.anova(df_method="nonsense")


def test_df_method_of_the_fit():
    result = fitted("y ~ a + (1 | g)", r_data("crossed"), df_method="residual")
    assert result.anova().loc["a", "df_denom"] == 67
    plain = fitted("y ~ a + (1 | g)", r_data("crossed"))
    own = plain.anova()
    pd.testing.assert_frame_equal(own, plain.anova(df_method="satterthwaite"))
    assert own.loc["a", "df_denom"] < 67
    assert np.isinf(plain.anova(df_method="z").loc["a", "df_denom"])
    assert plain.anova(df_method="residual").loc["a", "df_denom"] == 67
    text = repr(result.anova())
    assert text.startswith("Type III")
    assert "residual" in text
    assert "<table" in result.anova()._repr_html_()


def test_tables_go_by_the_covariance_type():
    """Anova and means take clusters' covariance and degrees of freedom."""
    data = mx.datasets.oats.load().data
    model = mx.mixedlm("yield ~ Variety + nitroF + (1 | Block / Variety)", data)
    robust = model.fit(cov_type="CR2")
    test = robust.f_test("Variety[T.Victory] = 0, Variety[T.Marvellous] = 0")
    row = robust.anova().loc["Variety"]
    assert row["statistic"] == pytest.approx(test.fvalue, rel=1e-9)
    assert row["df_denom"] == pytest.approx(test.df_denom, rel=1e-9)
    assert "CR2" in str(robust.anova())
    means = robust.emmeans("Variety").contrast("revpairwise", adjust="none").table
    single = robust.t_test("Variety[T.Marvellous] = 0")
    assert means["std_err"].iloc[0] == pytest.approx(single.sd.item(), rel=1e-9)
    assert means["df"].iloc[0] == pytest.approx(float(np.ravel(single.df_denom)[0]))
    with pytest.raises(ValueError, match="cov_type"):
        robust.anova(df_method="kenward-roger")


@pytest.mark.parametrize("df_method", [None, "satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("kind", ["I", "II", "III"])
def test_a_covariate_far_from_zero_changes_no_table(kind, df_method):
    near, far = (
        mx.mixedlm("y ~ a * b + z + w + (1 | g)", far_covariate(shift)).fit()
        for shift in (0, 1e6)
    )
    columns = ["sum_sq", "df_denom", "statistic"]
    got, want = (r.anova(kind, df_method)[columns] for r in (far, near))
    if df_method is None:
        got, want = got.drop(columns="df_denom"), want.drop(columns="df_denom")
    # a covariate at 1e6 has lost six digits of its own
    assert relative_difference(got, want) < 1e-8


@pytest.mark.parametrize("cov_type", ["oim", "CR0", "CR1", "CR2", "CR3"])
def test_a_covariate_far_from_zero_changes_no_robust_table(cov_type):
    near, far = (
        mx.mixedlm("y ~ a + b * z + (1 | g)", far_covariate(shift)).fit(cov_type=cov_type)
        for shift in (0, 1e6)
    )
    got, want = (r.anova("I")[["sum_sq", "statistic"]] for r in (far, near))
    assert relative_difference(got, want) < 1e-8


@pytest.mark.parametrize("df_method", ["satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("kind", ["I", "III"])
def test_interactions_with_a_covariate_far_from_zero(kind, df_method):
    shift = 1e6
    near, far = (
        mx.mixedlm("y ~ a * z + (z | g)", far_covariate(s)).fit() for s in (0, shift)
    )
    tables = [r.anova(kind, df_method)[["df_denom", "statistic"]] for r in (far, near)]
    same = ["z", "a:z"] if kind == "III" else ["a", "z", "a:z"]
    assert relative_difference(tables[0].loc[same], tables[1].loc[same]) < 1e-8
    if kind == "III":  # means at zero, a million standard deviations off
        names = near.model.exog_names
        rows = np.zeros((2, len(names)))
        for row, level in zip(rows, "qr", strict=True):
            row[names.index(f"a[T.{level}]")] = 1.0
            row[names.index(f"a[T.{level}]:z")] = -shift
        test = near.f_test(rows, df_method=df_method)
        assert tables[0].loc["a", "statistic"] == pytest.approx(test.statistic, rel=1e-8)
        assert tables[0].loc["a", "df_denom"] == pytest.approx(test.df_denom, rel=1e-8)


# Oats with field = Victory ? "west" : "east"; lmerTest 3.1-3, anova(m): NumDF, DenDF, F
DEPENDENT = {
    "yield ~ Variety + nitro + I(2 * nitro) + field + (1 | Block)": {
        "Variety": (2, 63.0, 3.80516191401),
        "nitro": (1, 63.0, 83.22971738975),
        "I(2 * nitro)": (0, np.nan, np.nan),
        "field": (0, np.nan, np.nan),
    },
    "yield ~ field + Variety * nitro + I(3 * nitro) + (1 | Block/Variety)": {
        "field": (1, 21.5746615596, 0.980596251674),
        "Variety": (1, 21.5746615590, 0.961684521038),
        "nitro": (1, 51.0, 115.771263510263),
        "Variety:nitro": (2, 51.0, 0.498814833131),
        "I(3 * nitro)": (0, np.nan, np.nan),
    },
}


@pytest.mark.parametrize("formula", DEPENDENT)
def test_terms_that_depend_on_earlier_ones(formula):
    data = mx.datasets.oats.load().data
    data["field"] = np.where(data["Variety"] == "Victory", "west", "east")
    table = fitted(formula, data).anova(3, df_method="satterthwaite")
    for term, expected in DEPENDENT[formula].items():
        row = table.loc[term, ["df_num", "df_denom", "statistic"]].astype(float)
        np.testing.assert_allclose(row, expected, rtol=1e-5, err_msg=term)


# ---- beside a residual covariance ----


@pytest.mark.parametrize("kind", ["II", "III"])
@pytest.mark.parametrize("number", [1, 2])
def test_types_of_sas_beside_a_residual_covariance(kind, number):
    """PROC MIXED, AR(1), DDFM=SATTERTHWAITE; SAS stopped at its own criterion."""
    formula = {
        1: "FEV1 ~ ARMCD * FEV1_BL",
        2: "FEV1 ~ ARMCD + SEX + SEX:ARMCD + FEV1_BL:ARMCD",
    }[number]
    table = fev_model("ar1", formula).fit().anova(type=kind)
    for row in values()["anova"][f"test{len(kind)}_{number}"]:
        factors = set(row["Effect"].split("*"))
        (own,) = (t for t in table.index if set(t.split(":")) == factors)
        found = table.loc[own]
        assert found["df_num"] == row["NumDF"]
        assert found["statistic"] == pytest.approx(row["FValue"], rel=2e-5)
        assert found["df_denom"] == pytest.approx(row["DenDF"], rel=1e-5)
        assert found["pvalue"] == pytest.approx(row["ProbF"], rel=2e-4)


def test_type_one_knows_nothing_of_the_residual_covariance():
    # its hypotheses are those of X alone
    result = fev_model("ar1", "FEV1 ~ RACE + ARMCD + FEV1_BL").fit()
    upper = np.linalg.qr(result.model.exog, mode="r")
    table = result.anova(type="I")
    for term, at in {"RACE": [1, 2], "ARMCD": [3], "FEV1_BL": [4]}.items():
        test = result.f_test(upper[at])
        assert table.loc[term, "statistic"] == pytest.approx(float(test.fvalue), rel=1e-9)
        if len(at) == 1:  # joint ones depend on the form of the rows
            assert table.loc[term, "df_denom"] == pytest.approx(float(test.df_denom))


def _empty_cells(seed, reverse):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"g": np.arange(30) % 6})
    for name, levels in {"a": "pqr", "b": "stuv", "c": "xyz"}.items():
        chosen = rng.choice(list(levels), 30)
        frame[name] = pd.Categorical(chosen, sorted(levels, reverse=reverse))
    return frame.assign(y=rng.normal(size=30) + frame["g"] % 3)


@pytest.mark.parametrize("kind", [2, 3])
@pytest.mark.parametrize("seed", [1, 4, 5])
def test_terms_that_share_columns_are_noted(seed, kind):
    """Those whose tests depend on which level comes first, and nothing with two factors."""
    tables = [
        mx.mixedlm("y ~ a * b * c + (1 | g)", _empty_cells(seed, reverse))
        .fit()
        .anova(kind, "z")
        for reverse in (False, True)
    ]
    one, other = (table["statistic"].to_numpy(float) for table in tables)
    changed = tables[0].index[~np.isclose(one, other, rtol=1e-5, equal_nan=True)]
    assert list(changed) == ["a", "a:b", "a:c"]
    for table in tables:
        (note,) = [n for n in table.notes if "tested without columns" in n]
        assert set(changed) <= set(note.split(": tested")[0].split(", "))
    two = mx.mixedlm("y ~ a * b + (1 | g)", _empty_cells(seed, False)).fit()
    assert not any("tested without" in note for note in two.anova(kind).notes)
