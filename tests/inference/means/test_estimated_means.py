"""Estimated means, contrasts, trends and joint tests against emmeans."""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.far_covariate import far_covariate, relative_difference
from helpers.paths import RESULTS
from helpers.reference import case_names, load_case, relative_error
from helpers.versions import needs_statsmodels_15
from scipy.stats import studentized_range

import mixedext as mx
from mixedext.exceptions import AdjustmentWarning, NotEstimableError, RankDeficientWarning
from mixedext.inference.means import estimated_means
from mixedext.tables.noted_table import NotedTable

pytestmark = pytest.mark.formula_engine

# Written by results/make_means.R; each case repeats its R call.
MEANS = json.loads((RESULTS / "means.json").read_text())
FORMULAS = {
    "offset": "y ~ a + offset(off) + offset(np.log(x + 10)) + (1 | g)",
    "log": "np.log(y) ~ a * b + b * x + (1 | g)",
    "log_plus": "np.log(y + 1) ~ a * b + (1 | g)",
    "log10": "np.log10(y) ~ a * b + (1 | g)",
    "sqrt": "np.sqrt(y) ~ a * b + (1 | g)",
    "steps": "y ~ C(k) * a + (1 | g)",
}
OPTIONS = {"weighted": {"weights": "w"}, "offset_argument": {"offset": "off"}}
PAIRS = ("tukey", "sidak", "bonferroni", "holm", "hochberg", "hommel", "fdr", "scheffe")
PAIRS = (*PAIRS, "dunnettx", "none")
AT = {"x": [4, 6], "a": ["a3", "a1"]}
HALF = [1 / 3] * 3 + [-1 / 3] * 3
# emmeans' step of difference quotients: a thousandth of the range of x.
STEP = 1e-3 * (8.71 - 1.21)
# The calls of make_means.R in Python.
CALLS = {
    "equal": lambda e: e("a"),
    "proportional": lambda e: e("a", weights="proportional"),
    "outer": lambda e: e("a", weights="outer"),
    "cells": lambda e: e("a", weights="cells"),
    "flat": lambda e: e("a", weights="flat"),
    "numbers": lambda e: e("a", weights=[1, 2, 3, 4]),
    "overall": lambda e: e("~ 1"),
    "prior_weights": lambda e: e("a", weights="proportional"),
    "prior_weights_cells": lambda e: e("b", weights="cells"),
    "by_z": lambda e: e("a", by="z", weights="proportional"),
    "two": lambda e: e("~ a * b"),
    "at": lambda e: e("~ x * a", at=AT),
    "at_range": lambda e: e("x", at={"x": "range"}),
    "at_z": lambda e: e("a", at={"z": 0.3}, weights="proportional"),
    "pairs_by": lambda e: e("~ a | b").contrast("pairwise"),
    "pairs_all": lambda e: e("~ a | b").contrast("pairwise", by=None),
    "pairs_x": lambda e: e("x", at={"x": [4, 6.5]}).pairs(),
    "offset": lambda e: e("a"),
    "offset_argument": lambda e: e("a"),
    "response": lambda e: e("a", type="response"),
    "link": lambda e: e("a"),
    "bias": lambda e: e("a", type="response", bias_adjust=True),
    "bias_sigma": lambda e: e("a", type="response", bias_adjust=True, sigma=0.5),
    "ratios": lambda e: e("a", type="response").pairs(),
    "ratios_eff": lambda e: e("a").contrast("eff", type="response"),
    "plus_means": lambda e: e("a", type="response"),
    "plus_ratios": lambda e: e("a", type="response").pairs(),
    "log10_means": lambda e: e("a", type="response"),
    "log10_ratios": lambda e: e("a", type="response").pairs(),
    "sqrt_means": lambda e: e("a", type="response"),
    "sqrt_pairs": lambda e: e("a", type="response").pairs(),
    "trends": lambda e: e.trends("b", "x"),
    "trends_pairs": lambda e: e.trends("b", "x").pairs(),
    "trends_curve": lambda e: e.trends("~ a | x", "x", at={"x": [3, 5]}, delta=STEP),
    "curve": lambda e: e("a"),
    "steps": lambda e: e("k").contrast("consec", adjust="none"),
    "empty_cells": lambda e: e("~ a * b"),
    "empty_a": lambda e: e("a"),
    "empty_weights": lambda e: e("a", weights="cells"),
    "empty_pairs": lambda e: e("~ a * b").pairs(),
    "empty_sidak": lambda e: e("~ a * b").pairs(adjust="sidak"),
    "empty_holm": lambda e: e("~ a * b").pairs(adjust="holm"),
    "empty_scheffe": lambda e: e("~ a * b").pairs(adjust="scheffe"),
    "nested_b": lambda e: e("b"),
    "nested_prop": lambda e: e("b", weights="proportional"),
    "nested_s": lambda e: e("s"),
    "nested_pairs": lambda e: e("s").pairs(),
    "six_pairwise_BY": lambda e: e("s").contrast("pairwise", adjust="BY"),
    "six_ctrl_BY": lambda e: e("s").contrast("trt.vs.ctrl", adjust="BY"),
    "six_poly": lambda e: e("s").contrast("poly"),
    "six_consec": lambda e: e("s").contrast("consec", adjust="none"),
    "six_mean_chg": lambda e: e("s").contrast("mean_chg", adjust="none"),
    "six_eff": lambda e: e("s").contrast("eff"),
    "six_deleff": lambda e: e("s").contrast("del.eff"),
    "six_identity": lambda e: e("s").contrast("identity"),
    "six_ctrl_ref": lambda e: e("s").contrast("trt.vs.ctrl", ref="b1a3"),
    "six_ctrl_refs": lambda e: e("s").contrast("trt.vs.ctrl", ref=[0, 1]),
    "six_rev": lambda e: e("s").contrast("revpairwise"),
    "six_custom": lambda e: e("s").contrast({"first": [1, -1, 0, 0, 0, 0], "mean": HALF}),
    "joint_factorial": lambda e: e.joint_tests(),
    "joint_by": lambda e: e.joint_tests(by="b"),
    "joint_log": lambda e: e.joint_tests(),
    "joint_empty": lambda e: e.joint_tests(),
    "joint_nested": lambda e: e.joint_tests(),
    "joint_steps": lambda e: e.joint_tests(),
    "joint_poly": lambda e: e.joint_tests(),
    "joint": lambda e: e("~ a | b").contrast("consec").test(joint=True),
    "null": lambda e: e("s").test(null=4),
    "six_means_sidak": lambda e: (
        e("s").conf_int(adjust="sidak"),
        e("s").test(adjust="sidak"),
    ),
}
for _adjust in PAIRS:
    CALLS[f"six_pairwise_{_adjust}"] = lambda e, adjust=_adjust: e("s").contrast(
        "pairwise", adjust=adjust
    )
    CALLS[f"six_ctrl_{_adjust}"] = lambda e, adjust=_adjust: e("s").contrast(
        "trt.vs.ctrl", adjust=adjust
    )


class Asked:
    """Calls of the results with a df method filled in."""

    def __init__(self, results, df_method):
        self.results, self.method = results, df_method

    def __call__(self, specs, **kwargs):
        return self.results.emmeans(specs, df_method=self.method, **kwargs)

    def trends(self, specs, var, **kwargs):
        return self.results.emtrends(specs, var, df_method=self.method, **kwargs)

    def joint_tests(self, **kwargs):
        return self.results.joint_tests(df_method=self.method, **kwargs).reset_index()


def data_of(model):
    data = pd.read_csv(RESULTS / "data" / "unbalanced_factorial.csv")
    if model == "empty":
        data = data[~((data["a"] == "a3") & (data["b"] == "b2"))]
    return data


@cache
def results_of(model):
    formula = FORMULAS.get(model, MEANS["formulas"][model]["formula"])
    with pytest.warns(RankDeficientWarning) if model in ("empty", "nested") else nothing():
        made = mx.mixedlm(formula, data_of(model), **OPTIONS.get(model, {}))
    return made.fit()


class nothing:
    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return False


# emmeans' columns and ours.
NAMES = {
    "emmean": "estimate",
    "response": "estimate",
    "estimate": "estimate",
    "ratio": "estimate",
    "x.trend": "estimate",
    "SE": "std_err",
    "df": "df",
    "asymp.LCL": "lower",
    "asymp.UCL": "upper",
    "lower.CL": "lower",
    "upper.CL": "upper",
    "z.ratio": "statistic",
    "t.ratio": "statistic",
    "p.value": "pvalue",
    "df1": "df_num",
    "df2": "df_denom",
    "F.ratio": "statistic",
}
# What R computes to fewer digits: ptukey to about 1e-8, its inverse to about 1e-4, the
# joint tests' F is rounded to 3 decimals and its df to 2.
ASKED_FOR = [
    pytest.param(case, id=f"{case['name']}-{case['df_method']}") for case in MEANS["cases"]
]


@pytest.mark.parametrize("case", ASKED_FOR)
@pytest.mark.filterwarnings("ignore::mixedext.exceptions.AdjustmentWarning")
def test_as_emmeans(case):
    method = case["df_method"]
    asked = Asked(results_of(case["model"]), method)
    found = CALLS[case["name"]](asked)
    compare(found, case["table"], case["name"])


def compare(found, table, name):
    tables = found if isinstance(found, tuple) else (found,)
    frames = [
        t if isinstance(t, pd.DataFrame) else pd.concat([t.table, t.test()], axis=1)
        for t in tables
    ]
    ours = pd.concat(frames, axis=1)
    ours = ours.loc[:, ~ours.columns.duplicated()]
    if list(ours.columns[:2]) == ["b", "term"]:  # emmeans sorts by term
        ours = ours.sort_values(["term", "b"])
    checked = 0
    joint = "df1" in table
    for column, values in table.items():
        values = values if isinstance(values, list) else [values]
        if column in NAMES:
            own = ours[NAMES[column]].to_numpy(float)
            want = np.array([np.nan if v is None else v for v in values], float)
            if column in ("df", "df2"):
                want = np.where(np.isnan(want) & ~np.isnan(own), np.inf, want)
            checked += 1
        elif column in ours or column == "model term":
            own = ours["term" if column == "model term" else column]
            assert list(map(plain, own)) == list(map(plain, values)), column
            continue
        else:
            continue
        np.testing.assert_array_equal(np.isnan(own), np.isnan(want), column)
        good = np.isfinite(want)
        if not good.any():
            assert (own[~np.isnan(own)] == want[~np.isnan(want)]).all()
            continue
        own, want = own[good], want[good]
        rtol, atol = 2e-7, 1e-12
        if joint:
            # emmeans rounds F, and takes the least df of the rows
            limits = {"F.ratio": (0, 6e-4), "p.value": (6e-3, 0), "df2": (1e-2, 0)}
            rtol, atol = limits.get(column, (0, 0))
        elif column in (
            "estimate",
            "z.ratio",
            "t.ratio",
            "lower.CL",
            "upper.CL",
            "asymp.LCL",
            "asymp.UCL",
        ):
            atol = 2e-7 * np.abs(want).max()
        if "CL" in column and name_has_quantile_of_range(name):
            atol = 1e-4 * np.abs(want).max()
        if column == "p.value" and not joint:
            rtol, atol = 5e-6, 1e-8
            if name == "empty_pairs" and "t.ratio" in table:
                # emmeans rounds df where some contrast cannot be estimated
                size = np.sqrt(2) * np.abs(ours["statistic"].to_numpy()[good])
                own = studentized_range.sf(size, 6, ours["df"].to_numpy()[good].round())
        np.testing.assert_allclose(own, want, rtol, atol, err_msg=column)
    assert checked >= 3


def plain(label):
    """Numbers and their texts alike."""
    try:
        return float(label)
    except ValueError:
        return label


def name_has_quantile_of_range(name):
    return (
        name.endswith(("tukey", "dunnettx", "ref", "refs", "rev"))
        or "pairs" in name
        or ("ratios" in name)
    )


# ---- the reference cases ----


def reference_cases():
    return [
        pytest.param(case, name, id=f"{case}-{name}")
        for case in case_names()
        for name in load_case(case).values.get("emmeans") or {}
    ]


@cache
def case_results(name):
    case = load_case(name)
    made = mx.mixedlm(case.formula, case.data, **case.options)
    return made.fit(reml=case.values["REML"])


@pytest.mark.parametrize(("case", "name"), reference_cases())
def test_reference_estimates(case, name):
    """Estimates, which need no method for the degrees of freedom."""
    want = load_case(case).values["emmeans"][name]
    means = case_results(case).emmeans(want["specs"])
    assert relative_error(means.estimate, want["table"]["emmean"]) < 1e-9
    for factor in set(want["table"]) & set(means.table):
        if factor not in NAMES:
            own = list(map(plain, means.table[factor]))
            assert own == list(map(plain, want["table"][factor]))
    for kind, values in (want.get("contrasts") or {}).items():
        found = reference_contrast(means, kind)
        assert relative_error(found.estimate, values["estimate"]) < 1e-8
        if kind not in OWN_VECTOR:
            assert found.table["contrast"].tolist() == values["contrast"]


OWN_VECTOR = ("seed", "first_to_last")


def reference_contrast(means, kind):
    if kind in OWN_VECTOR:
        return means.contrast([[1, 0, 0, 0, -1]])
    method, _, adjust = kind.partition("_")
    return means.contrast(method, adjust=adjust or "none")


@pytest.mark.parametrize(("case", "name"), reference_cases())
def test_reference_kenward_roger(case, name):
    """Standard errors, df, limits and p-values."""
    want = load_case(case).values["emmeans"][name]
    means = case_results(case).emmeans(want["specs"], df_method="kenward-roger")
    compare_reference(means, want["table"])
    for kind, values in (want.get("contrasts") or {}).items():
        compare_reference(reference_contrast(means, kind), values, "tukey" in kind)


def compare_reference(found, want, by_range=False):
    ours = pd.concat([found.table, found.test()], axis=1)
    ours = ours.loc[:, ~ours.columns.duplicated()]
    size = np.abs(want.get("emmean", want.get("estimate"))).max()
    size = max(size, np.max(np.abs(want["SE"])))
    for column, own in NAMES.items():
        if column not in want:
            continue
        rtol, atol = 1e-6, 1e-12
        if column in ("emmean", "estimate", "lower.CL", "upper.CL"):
            atol = 1e-7 * size
        elif column == "t.ratio":
            atol = 1e-7 * np.max(np.abs(want[column]))
        if by_range and column in ("lower.CL", "upper.CL"):
            atol = 1e-5 * size  # R's qtukey
        if column == "p.value":
            rtol, atol = (1e-5, 1e-8) if by_range else (2e-6, 1e-12)
        np.testing.assert_allclose(ours[own], want[column], rtol, atol, err_msg=column)


def test_potassium_trial():
    """Published: means 7.92 8.12 7.81 7.58 7.52, SE 0.162, df 5.57; a contrast."""
    data = mx.datasets.potassium.load().data
    result = mx.mixedlm("yield ~ K2O_lbac + (1 | rep)", data).fit()
    means = result.emmeans("K2O_lbac", df_method="kenward-roger")
    assert means.table["estimate"].round(2).tolist() == [7.92, 8.12, 7.81, 7.58, 7.52]
    assert means.table["std_err"].round(3).tolist() == [0.162] * 5
    assert means.table["df"].round(2).tolist() == [5.57] * 5
    row = means.contrast({"36 - 144": [1, 0, 0, 0, -1]}).table.iloc[0]
    assert [round(row[n], k) for n, k in (("estimate", 2), ("std_err", 3), ("df", 6))] == [
        0.4,
        0.171,
        8.0,
    ]
    assert (round(row["statistic"], 3), round(row["pvalue"], 4)) == (2.344, 0.0471)


# ---- what must not matter ----


FACTORIAL = "y ~ a * b + x + z + (1 | g)"
LOGGED = [4.48896902617, 5.28016242275]


def tables_of(formula, data, **kwargs):
    """Numbers of some means, contrasts, slopes and joint tests."""
    result = mx.mixedlm(formula, data, **kwargs).fit()
    means = result.emmeans("a", by="b", weights="proportional")
    joint = result.joint_tests()
    joint.index = [":".join(sorted(term.split(":"))) for term in joint.index]
    return [
        means.table[["estimate", "std_err", "lower", "upper"]].to_numpy(),
        means.contrast("pairwise", by=None).table[["estimate", "std_err"]].to_numpy(),
        result.emtrends("b", "x").table[["estimate", "std_err"]].to_numpy(),
        joint.loc[sorted(joint.index), "statistic"].to_numpy(),
    ]


def assert_same(found, wanted, tolerance=1e-8):
    for ours, other in zip(found, wanted, strict=True):
        assert relative_error(ours, other) < tolerance


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ C(a, Sum) * b + x + z + (1 | g)",
        "y ~ C(a, Sum) * C(b, Sum) + x + z + (1 | g)",
        "y ~ 0 + a:b + x + z + (1 | g)",
        "y ~ z + x + b * a + (1 | g)",
    ],
)
def test_coding_does_not_matter(formula):
    data = data_of("factorial")
    assert_same(tables_of(formula, data), tables_of(FACTORIAL, data))


def test_row_order_does_not_matter():
    data = data_of("factorial")
    shuffled = data.sample(frac=1, random_state=3)
    assert_same(tables_of(FACTORIAL, shuffled), tables_of(FACTORIAL, data))


def test_scales():
    data = data_of("factorial")
    changed = data.assign(y=1e6 * data["y"], x=1e-3 * data["x"])
    found, wanted = tables_of(FACTORIAL, changed), tables_of(FACTORIAL, data)
    factors = [1e6, 1e6, 1e9]
    assert_same([f / c for f, c in zip(found[:3], factors, strict=True)], wanted[:3])
    # joint tests move covariates by one unit, which changes no F of a linear one
    assert_same(found[3:], wanted[3:])


def test_far_covariate_keeps_its_slope():
    data = data_of("factorial")
    far = data.assign(x=data["x"] + 1e6)
    found = mx.mixedlm(FACTORIAL, far).fit().emtrends("b", "x").table
    wanted = mx.mixedlm(FACTORIAL, data).fit().emtrends("b", "x").table
    for column in ("estimate", "std_err"):
        assert relative_error(found[column], wanted[column]) < 1e-8


@needs_statsmodels_15
@pytest.mark.parametrize("engine", ["patsy", "formulaic"])
def test_formula_engines(engine, monkeypatch):
    import statsmodels.formula

    monkeypatch.setattr(statsmodels.formula.options, "formula_engine", engine)
    data = data_of("factorial")
    data["my b"] = data["b"]
    plain = tables_of(FACTORIAL, data)
    result = mx.mixedlm("np.log(y) ~ a * `my b` + C(k) + np.exp(x / 9) + (1 | g)", data)
    means = result.fit().emmeans("my b", type="response")
    assert means.table["my b"].tolist() == ["b1", "b2"]
    # emmeans(lmer(log(y) ~ a*b + factor(k) + exp(x/9) + (1|g), d), "b", type = "response")
    assert relative_error(means.table["estimate"], LOGGED) < 1e-7
    monkeypatch.undo()
    assert_same(plain, tables_of(FACTORIAL, data))


def test_after_remove_data_and_pickling():
    import pickle

    result = mx.mixedlm(FACTORIAL, data_of("factorial")).fit()
    wanted = result.emmeans("a").table
    copy = pickle.loads(pickle.dumps(result))
    pd.testing.assert_frame_equal(copy.emmeans("a").table, wanted)
    fresh = mx.mixedlm(FACTORIAL, data_of("factorial")).fit()
    fresh.remove_data()
    pd.testing.assert_frame_equal(fresh.emmeans("a").table, wanted)
    pd.testing.assert_frame_equal(
        fresh.emmeans("a", at={"x": "max"}).table,
        result.emmeans("a", at={"x": np.max}).table,
    )
    with pytest.raises(ValueError, match="needs the rows of the data"):
        fresh.emmeans("a", at={"x": np.max})
    copy = pickle.loads(pickle.dumps(fresh))
    pd.testing.assert_frame_equal(copy.emmeans("a").table, wanted)


def test_types_of_factors():
    """Truth values, categories with a level that does not occur, text, numbers in C()."""
    data = data_of("factorial")
    wanted = mx.mixedlm("y ~ a * b + (1 | g)", data).fit().emmeans(["a", "b"]).table
    data["low"] = data["b"] == "b2"
    data["a"] = pd.Categorical(data["a"], ["none", "a3", "a1", "a2"])
    model = mx.mixedlm("y ~ a * low + (1 | g)", data)
    table = model.fit().emmeans(["a", "low"]).table
    assert table["a"].tolist() == ["a3", "a1", "a2"] * 2
    assert table["low"].tolist() == [False] * 3 + [True] * 3
    order = [2, 0, 1, 5, 3, 4]
    assert relative_error(table["estimate"], wanted["estimate"][order]) < 1e-10
    assert relative_error(table["std_err"], wanted["std_err"][order]) < 1e-9


# ---- estimability ----


def test_contrasts_of_empty_cells():
    means = results_of("empty").emmeans("~ a * b")
    assert means.estimable.tolist() == [True] * 5 + [False]
    assert "nonEst" in str(means)
    with pytest.raises(NotEstimableError, match="'last' is not estimable"):
        means.contrast({"last": [1, 0, 0, 0, 0, -1]})
    with pytest.raises(NotEstimableError):
        means.contrast({"a3 in b": [0, 0, 1, 0, 0, -1]}).test(joint=True)
    within = means.contrast({"a in b1": [1, -1, 0, 0, 0, 0]}).table
    assert np.isfinite(within["estimate"]).all()


def test_estimable_rows_are_those_of_the_row_space():
    result = results_of("nested")
    relations = result.reference_grid.relations
    exog = np.asarray(result.model.exog)
    rng = np.random.default_rng(5)
    inside = rng.standard_normal((20, len(exog))) @ exog
    assert relations.estimable(inside).all()
    outside = inside + 1e-3 * rng.standard_normal(inside.shape)
    assert not relations.estimable(outside).any()
    rank = np.linalg.matrix_rank(exog)
    part = relations.estimable_part(np.eye(exog.shape[1]))
    assert np.linalg.matrix_rank(part) == len(part)
    assert relations.estimable(part).all()
    count = exog.shape[1] - rank
    # a row loses one dimension for each relation among the columns
    assert len(part) == rank == exog.shape[1] - count


def test_overall_mean_of_balanced_data_is_the_mean():
    data = mx.datasets.oats.load().data
    result = mx.mixedlm("yield ~ nitroF * Variety + (1 | Block/Variety)", data).fit()
    table = result.emmeans("1").table
    assert table["estimate"][0] == pytest.approx(data["yield"].mean(), rel=1e-12)
    means = result.emmeans(["nitroF", "Variety"]).table
    raw = data.groupby(["nitroF", "Variety"], observed=True)["yield"].mean()
    own = means.set_index(["nitroF", "Variety"])["estimate"]
    assert relative_error(own.reindex(raw.index), raw) < 1e-11


def test_cell_weights_give_raw_means_without_random_effects():
    data = data_of("factorial")
    result = mx.MixedLM.from_formula("y ~ a * b", data).fit()
    table = result.emmeans("a", weights="cells").table
    raw = data.groupby("a")["y"].mean()
    assert relative_error(table["estimate"], raw) < 1e-12


# ---- multiplicity and printing ----


def test_tukey_of_what_is_no_set_of_pairs_becomes_sidak():
    means = results_of("six").emmeans("s")
    contrast = means.contrast("trt.vs.ctrl", adjust="tukey")
    with pytest.warns(AdjustmentWarning, match="sidak"):
        table = contrast.table
    other = means.contrast("trt.vs.ctrl", adjust="sidak").table
    pd.testing.assert_frame_equal(table, other)


def test_print():
    means = results_of("log").emmeans("a", by="b", type="response")
    text = str(means.contrast("pairwise"))
    assert "b = b1:" in text
    assert "a1 / a2" in text
    assert "Tests are performed on the log scale" in text
    assert "P values adjusted: tukey for a family of 3 means" in text
    assert "<table" in means._repr_html_()
    assert "Averaged over" in str(results_of("factorial").emmeans("a", weights="prop"))


def test_contrasts_of_contrasts():
    result = results_of("factorial")
    means = result.emmeans("a", by="b")
    twice = means.contrast("pairwise").contrast("pairwise", by="contrast").table
    values = means.table["estimate"].to_numpy()
    expected = (values[0] - values[1]) - (values[3] - values[4])
    assert twice["estimate"][0] == pytest.approx(expected, rel=1e-10)


def test_own_df_method_and_the_normal_law():
    result = mx.mixedlm(FACTORIAL, data_of("factorial")).fit(df_method="residual")
    assert (result.emmeans("a").df == result.df_resid).all()
    plain = mx.mixedlm(FACTORIAL, data_of("factorial")).fit(df_method="z")
    pd.testing.assert_frame_equal(
        result.emmeans("a", df_method="normal").table, plain.emmeans("a").table
    )
    assert np.isinf(plain.emmeans("a").df).all()


def test_the_default_is_satterthwaite():
    result, a = results_of("factorial"), ["a", "z"]
    for made in (
        lambda method: result.emmeans("a", df_method=method).table,
        lambda method: result.emmeans("a", df_method=method).contrast("pairwise").table,
        lambda method: result.emtrends(*a, df_method=method).table,
        lambda method: result.joint_tests(df_method=method),
    ):
        own = made(None)
        pd.testing.assert_frame_equal(own, made("satterthwaite"))
        assert np.isfinite(own["df" if "df" in own else "df_denom"]).all()
    assert "Degrees of freedom: satterthwaite" in str(result.emmeans("a"))


def test_vcov_and_linfct():
    result = results_of("factorial")
    means = result.emmeans("a")
    rows = means.linfct.to_numpy()
    covariance = rows @ result.fitted.fit.covariance @ rows.T
    assert relative_error(means.vcov, covariance) < 1e-12
    assert relative_error(rows @ result.fe_params, means.estimate) < 1e-12
    assert list(means.linfct.columns) == result.model.exog_names


def test_plot():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    figure = results_of("factorial").emmeans("a").plot()
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["a1", "a2", "a3"]
    plt.close(figure)


# ---- questionable input ----


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.emmeans("q"), "'q' is not a variable of the fixed effects"),
        (lambda r: r.emmeans("g"), "'g' is not a variable"),
        (lambda r: r.emmeans("a", by="q"), "'q' is not a variable"),
        (lambda r: r.emmeans("a", at={"q": 1}), "at: 'q'"),
        (lambda r: r.emmeans("a", at={"b": "b9"}), "'b9' is not a level of b"),
        (lambda r: r.emmeans("a", at={"b": ["b1", "b1"]}), "same level twice"),
        (lambda r: r.emmeans("a", at={"x": []}), "no value is given for x"),
        (lambda r: r.emmeans("a", at={"x": "much"}), "x is a number"),
        (lambda r: r.emmeans("a", at={"x": np.nan}), "finite"),
        (lambda r: r.emmeans("a", at={"b": np.mean}), "b is a factor"),
        (lambda r: r.emmeans("a", weights="heavy"), "weights='heavy'"),
        (lambda r: r.emmeans("a", weights=[1, 2]), "4 combinations of b, z"),
        (lambda r: r.emmeans("a", weights=[1, -1, 1, 1]), "not negative"),
        (lambda r: r.emmeans("a", level=95), "level=95"),
        (lambda r: r.emmeans("a", type="both"), "type='both'"),
        (lambda r: r.emmeans("a", df_method="exact"), "df_method='exact'"),
        (lambda r: r.emmeans("a", sigma=1.0), "bias_adjust"),
        (lambda r: r.emmeans("pairwise ~ a"), r"\.contrast\('pairwise'\)"),
        (lambda r: r.emmeans([1]), "names of variables"),
        (lambda r: r.emtrends("a", "b"), "'b' is a factor"),
        (lambda r: r.emtrends("a", "q"), "'q' is not a variable"),
        (lambda r: r.emtrends("a", "x", delta=0), "delta=0"),
        (lambda r: r.emmeans("a").contrast("tukeys"), "method='tukeys'"),
        (lambda r: r.emmeans("a").contrast(3), "method=3"),
        (lambda r: r.emmeans("a").contrast([[1, -1]]), "there are 3 estimates"),
        (lambda r: r.emmeans("a").contrast({"w": ["x"] * 3}), "'w' are not numbers"),
        (lambda r: r.emmeans("a").contrast([]), "no contrast"),
        (lambda r: r.emmeans("a").contrast("eff", ref=1), "ref= belongs to"),
        (lambda r: r.emmeans("a").contrast("trt.vs.ctrl", ref="a9"), "ref='a9'"),
        (lambda r: r.emmeans("a").contrast("trt.vs.ctrl", ref=3), "ref=3"),
        (lambda r: r.emmeans("a").contrast("pairwise", adjust="x"), "adjust='x'"),
        (lambda r: r.emmeans("a").contrast("pairwise", by="b"), "by='b'"),
        (lambda r: r.emmeans("~ 1").contrast("pairwise"), "two estimates or more"),
        (lambda r: r.joint_tests(by="q"), "by: 'q'"),
    ],
)
def test_errors_say_what_is_wrong(ask, message):
    with pytest.raises(ValueError, match=message):
        ask(results_of("factorial"))


def test_model_from_arrays_has_no_grid():
    data = data_of("factorial")
    model = mx.MixedLM(data["y"], np.ones((len(data), 1)), groups=data["g"])
    with pytest.raises(ValueError, match="made from arrays"):
        model.fit().emmeans("a")


def test_large_grid_is_refused():
    data = data_of("factorial")
    rng = np.random.default_rng(1)
    for name in "defhij":
        data[name] = rng.integers(0, 40, len(data)).astype(str)
    result = mx.mixedlm("y ~ a + (1 | g)", data).fit()
    grid = result.reference_grid
    levels = {n: pd.Series(np.arange(40)) for n in "defhij"}
    with pytest.raises(ValueError, match="restrict levels by at="):
        grid.grid(levels)


def test_intercept_alone():
    result = mx.mixedlm("y ~ 1 + (1 | g)", data_of("factorial")).fit()
    table = result.emmeans("1").table
    assert table["estimate"][0] == pytest.approx(result.fe_params["Intercept"], rel=1e-14)
    assert table["std_err"][0] == pytest.approx(result.bse_fe["Intercept"], rel=1e-14)
    assert len(result.joint_tests()) == 0


def test_slope_of_a_spline_is_its_derivative():
    data = data_of("factorial")
    result = mx.mixedlm("y ~ bs(x, df=4) * a + (1 | g)", data).fit()
    found = result.emtrends("a", "x", at={"x": 4.0}).table["estimate"]
    near = result.emmeans(["x", "a"], at={"x": [4 - 1e-4, 4 + 1e-4]}).table["estimate"]
    expected = np.diff(near.to_numpy().reshape(3, 2)).ravel() / 2e-4
    assert relative_error(found, expected) < 1e-6


def test_chunks_have_no_rows():
    data = data_of("factorial")
    model = mx.MixedLM.from_chunks("y ~ a + (1 | g)", [data[:40], data[40:]])
    with pytest.raises(ValueError, match="not in memory"):
        model.fit().emmeans("a")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_satterthwaite_means_of_an_unbalanced_split_plot():
    """emmeans 1.8.4-1 with lmer.df = "satterthwaite": df rest on numeric derivatives."""
    path = RESULTS / "comparison" / "split_plot.csv"
    data = pd.read_csv(path, dtype={"sub": str, "whole": str, "block": str})
    result = mx.mixedlm("y ~ sub * whole + (1 | block / whole)", data).fit()
    means = result.emmeans("sub", df_method="satterthwaite")
    table, pairs = means.table, means.contrast("pairwise").table
    close = np.testing.assert_allclose
    close(table["estimate"], [0.1151478982, 0.5328273952, 1.6293194780], rtol=1e-6)
    close(table["std_err"], [0.6374420626, 0.6343093123, 0.6295896914], rtol=1e-6)
    close(table["df"], [5.432105631, 5.330440087, 5.177808852], rtol=1e-6)
    close(table["lower"], [-1.485009739, -1.067778233, 0.027481994], rtol=1e-6)
    close(means.test()["pvalue"], [0.86319809724, 0.43694710536, 0.04736730984], rtol=1e-6)
    close(pairs["df"], [27.20376429, 27.15443857, 27.10276009], rtol=1e-6)
    close(pairs["pvalue"], [0.555757005435, 0.001780583941, 0.022701646416], rtol=1e-6)
    table = result.emmeans("whole", df_method="satterthwaite").table
    close(table["df"], [15.7065462, 15.7065462, 15.7065462, 16.14654932], rtol=1e-6)


@pytest.mark.parametrize("df_method", ["satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("formula", ["y ~ a + z + (1 | g)", "y ~ a * z + w + (1 | g)"])
def test_a_covariate_far_from_zero_changes_no_mean(formula, df_method):
    near, far = (mx.mixedlm(formula, far_covariate(shift)).fit() for shift in (0, 1e6))
    calls = [
        lambda r: r.emmeans("a", df_method=df_method).table,
        lambda r: r.emmeans("a", df_method=df_method).contrast("pairwise").table,
        lambda r: r.joint_tests(df_method=df_method),
    ]
    for call in calls:
        got, want = (call(r).select_dtypes("number") for r in (far, near))
        # a covariate at 1e6 has lost six digits of its own
        assert relative_difference(got, want) < 2e-8


@pytest.mark.parametrize("shift", [0, 1e4, 1e6])
def test_as_many_differences_are_confounded_wherever_a_covariate_lies(shift):
    data = far_covariate(shift).assign(v=lambda d: d["z"] + 2.0)
    with pytest.warns(RankDeficientWarning):
        table = mx.mixedlm("y ~ a + z + v + (1 | g)", data).fit().joint_tests()
    assert table["df_num"].to_dict() == {"a": 2, "(confounded)": 1}


def disconnected():
    """Levels of a and b that share no cell: one difference of means belongs to neither."""
    rng = np.random.default_rng(1)
    a, b = np.array([(0, 1), (1, 1), (2, 0), (3, 2), (2, 2)]).repeat(20, axis=0).T
    data = pd.DataFrame({"a": a.astype(str), "b": b.astype(str), "g": np.arange(100) % 4})
    return data.assign(y=rng.normal(size=100) + data["g"] + a)


@pytest.mark.filterwarnings("ignore::mixedext.api.RankDeficientWarning")
@pytest.mark.parametrize("n_clusters", [2, 3, 4])
def test_confounded_differences_with_few_clusters(n_clusters):
    """The robust covariance is singular: then orthogonal by the columns of X alone."""
    data = disconnected()
    result = mx.mixedlm("y ~ a + b + (1 | g)", data).fit()
    robust = result.get_robustcov_results("CR0", groups=data["g"] % n_clusters)
    table = robust.joint_tests()
    assert table.index.tolist() == ["a", "b", "(confounded)"]
    kept = result.fitted.fixed.kept
    x = result.model.exog[:, kept]
    parts = [np.unique(x[own], axis=0) for own in (data["b"] == "1", data["b"] != "1")]
    tested = np.vstack([np.diff(rows, axis=0) for rows in parts])
    between = parts[0][0] - parts[1][0]
    spread = tested @ np.linalg.inv(x.T @ x)
    row = between - np.linalg.solve(spread @ tested.T, spread @ between) @ tested
    covariance = np.asarray(robust.cov_params())[np.ix_(kept, kept)]
    want = (row @ result.fe_params.to_numpy()[kept]) ** 2 / (row @ covariance @ row)
    np.testing.assert_allclose(table.loc["(confounded)", "statistic"], want, rtol=1e-8)
    assert table.loc["(confounded)", "df_num"] == 1


@pytest.mark.filterwarnings("ignore::mixedext.api.RankDeficientWarning")
def test_confounded_differences_with_a_coefficient_held():
    """Its covariance is zero."""
    model = mx.mixedlm("y ~ a + b + (1 | g)", disconnected())
    fe_params = np.ones(model.k_fe)
    fe_params[model.exog_names.index("a[T.3]")] = 0.0
    free = mx.MixedLMParams.from_components(fe_params=fe_params, cov_re=np.eye(1))
    table = model.fit(free=free).joint_tests()
    assert table["df_num"].to_dict() == {"a": 2, "b": 1, "(confounded)": 1}
    assert (table["statistic"] > 0).all()


def test_level_is_one_less_alpha():
    result = results_of("factorial")
    ninety = result.emmeans("a", level=0.9)
    assert ninety.level == pytest.approx(result.emmeans("a", alpha=0.1).level)
    wide = result.emmeans("a")
    for got in (wide.conf_int(0.1), wide.conf_int(level=0.9), ninety.conf_int()):
        np.testing.assert_allclose(got["lower"], ninety.table["lower"], rtol=1e-12)
    pairs = [wide.pairs(alpha=0.1), wide.pairs(level=0.9), ninety.pairs()]
    for own in pairs:
        np.testing.assert_allclose(own.table["upper"], pairs[0].table["upper"], rtol=1e-12)
    slopes = [result.emtrends("b", "x", **own) for own in ({"alpha": 0.1}, {"level": 0.9})]
    np.testing.assert_allclose(slopes[0].table["lower"], slopes[1].table["lower"])


def test_tables_say_what_they_rest_on():
    result = results_of("factorial")
    means = result.emmeans("a", df_method="satterthwaite")
    pairs = means.pairs()
    tables = [
        means.table,
        pairs.table,
        means.conf_int(),
        pairs.test(),
        result.joint_tests(),
    ]
    tables.append(pairs.test(joint=True))
    for table in tables:
        assert isinstance(table, NotedTable)
        assert any("Degrees of freedom" in note for note in table.notes)
    assert any("P values adjusted" in note for note in pairs.test().notes)
    assert not any("P values" in note for note in pairs.conf_int().notes)
    assert not any("Confidence" in note for note in pairs.test().notes)


def test_a_record_of_the_fit_serves_in_the_place_of_results():
    result = results_of("factorial")
    pd.testing.assert_frame_equal(
        estimated_means.emmeans(result.fitted, "a").table, result.emmeans("a").table
    )
    pd.testing.assert_frame_equal(
        estimated_means.joint_tests(result.fitted), result.joint_tests()
    )


# ---- nesting by the data ----


def shared(name):
    """Small data of which R's emmeans has given the values below."""
    return pd.read_csv(Path(__file__).parents[2] / "results" / "data" / name)


@pytest.mark.filterwarnings("ignore::mixedext.api.RankDeficientWarning")
def test_nesting_stated_additively():
    data = shared("nested_additively.csv")
    result = mx.mixedlm("y ~ geno + strain + (1 | block)", data).fit()
    assert result.reference_grid.nesting == {"strain": ("geno",)}
    table = result.emmeans("geno").table
    assert table["estimate"].round(3).tolist() == [0.344, 1.525]
    assert table["std_err"].round(3).tolist() == [0.245, 0.245]
    # it is the same model with the nesting in the formula
    same = mx.mixedlm("y ~ geno + geno:strain + (1 | block)", data).fit()
    pd.testing.assert_frame_equal(
        result.joint_tests(), same.joint_tests(), rtol=1e-8, check_exact=False
    )
    assert result.joint_tests().index.tolist() == ["geno", "geno:strain"]
    crossed = mx.mixedlm("y ~ geno * strain + (1 | block)", data).fit()
    assert crossed.reference_grid.nesting == {}
    assert not crossed.emmeans("geno").estimable.any()


@pytest.mark.filterwarnings("ignore::mixedext.api.RankDeficientWarning")
@pytest.mark.parametrize("formula", ["nest + bird * x", "nest * x + bird * x"])
def test_nesting_through_an_interaction(formula):
    data = shared("nested_birds.csv").astype({"bird": str})
    result = mx.mixedlm(f"resp ~ {formula}", data).fit()
    assert result.reference_grid.nesting == {"bird": ("nest",)}
    slopes = result.emtrends("nest", "x").table["estimate"]
    assert slopes.round(3).tolist() == [2.575, -0.941, 5.301]
    means = result.emmeans("nest").table["estimate"]
    assert means.round(3).tolist() == [14.294, -4.352, 32.266]
    df = result.joint_tests(df_method="residual")["df_num"].to_dict()
    assert df.pop("nest:bird:x" if "nest:bird:x" in df else "nest:x:bird") == 3
    assert df == {"nest": 2, "x": 1, "nest:x": 2, "nest:bird": 3}


@pytest.mark.filterwarnings("ignore::mixedext.api.RankDeficientWarning")
def test_factors_that_tell_the_same_are_not_nested():
    data = data_of("factorial").assign(c=lambda d: d["a"].str.upper())
    result = mx.mixedlm("y ~ a + c + (1 | g)", data).fit()
    assert result.reference_grid.nesting == {}


# ---- joint tests: values of covariates, terms without a row ----


@pytest.mark.parametrize("function", ["np.log(p)", "bs(p, df=1, degree=1)"])
def test_joint_tests_within_the_range_of_a_covariate(function):
    data = shared("joint_tests.csv")
    model = mx.mixedlm(f"y ~ {function} + arm * visit + sex + base + (1 | id)", data)
    result = model.fit(df_method="satterthwaite")
    table, terms = result.joint_tests(), result.anova()
    # of one column each, and without an interaction, these are the tests of the terms
    for name, term in {"p": function, "sex": "sex", "base": "base"}.items():
        for column in ("statistic", "df_denom"):
            got, want = table.loc[name, column], terms.loc[term, column]
            assert got == pytest.approx(want, rel=1e-6)
    assert list(table.index) == ["p", "arm", "visit", "sex", "base", "arm:visit"]
    assert table["df_num"].tolist() == [1, 1, 3, 1, 1, 3]
    assert not any("no row" in note for note in table.notes)


def test_joint_tests_of_many_columns_of_a_covariate():
    data = shared("joint_tests.csv")
    table = mx.mixedlm("y ~ bs(p, df=4) + arm + (1 | id)", data).fit().joint_tests()
    assert table["df_num"].to_dict() == {"p": 1, "arm": 1}
    assert (table["statistic"] > 0).all()


@pytest.mark.filterwarnings("ignore::mixedext.api.RankDeficientWarning")
def test_no_term_is_missing_in_silence():
    data = shared("joint_tests.csv").assign(q=lambda d: d["base"] - d["base"].mean())
    result = mx.mixedlm("y ~ I(q**2) + arm + (1 | id)", data).fit()
    table = result.joint_tests()
    assert table.index.tolist() == ["arm"]
    assert table.notes[0] == (
        "q has no row: the columns do not differ between the values; give others by at="
    )
    assert result.joint_tests(at={"q": [0, 1]}).index.tolist() == ["q", "arm"]
    aliased = mx.mixedlm("y ~ base + q + arm + (1 | id)", data).fit().joint_tests()
    assert [note.split(":")[0] for note in aliased.notes[:2]] == [
        "base has no row",
        "q has no row",
    ]
    by = mx.mixedlm("y ~ base + q + arm + (1 | id)", data).fit().joint_tests(by="arm")
    assert by.notes[0].startswith("base at arm = P has no row")
    logs = mx.mixedlm("y ~ np.log(p) + arm + (1 | id)", data).fit()
    with pytest.raises(ValueError, match=r"np.log\(p\) is not finite at p = -1.0"):
        logs.joint_tests(at={"p": [-1, 1]})


def test_trends_and_tests_of_covariates_without_steps_of_one():
    """Whole numbers near 2^63 have no neighbours at one; a constant has no range."""
    rng = np.random.default_rng(0)
    x = (2**62 + 2**40 * rng.integers(0, 9, 24)).astype(np.int64)
    data = pd.DataFrame({"y": rng.normal(size=24), "x": x, "c": np.zeros(24)})
    data["f"] = np.arange(24) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mx.mixedlm("y ~ C(f) + x", data).fit()
        assert result.joint_tests().index.tolist() == ["f", "x"]
        flat = mx.mixedlm("y ~ C(f)*c", data).fit()
        with np.errstate(all="raise"):
            assert np.isnan(flat.emtrends("f", "c").table["estimate"]).all()
