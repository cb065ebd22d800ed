"""Leaving out terms, one by one and step by step: R's values, all kinds of models."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from helpers.comparison import FOLDER, case_fit, cases_with, crossed, sleepstudy
from helpers.reference import load_case, relative_error

import mixedext as mx
from mixedext.inference.comparison import drop_terms
from mixedext.inference.submodels.covariance_nesting import covariance_is_nested
from mixedext.inference.submodels.smaller_models import random_deletions

pytestmark = [
    pytest.mark.filterwarnings("ignore:The random effects covariance"),
    pytest.mark.formula_engine,
]


@pytest.mark.parametrize("name", cases_with("drop1"))
def test_drop1(name):
    values, result = load_case(name).values, case_fit(name)
    table, want = result.drop1(df_method=None), values["drop1"]
    assert table["df_num"].tolist() == want["NumDF"]
    assert relative_error(table["statistic"], want["F"]) < 1e-8
    ratio, want = result.drop1(test="lrt"), values["drop1_lrt_ml"]
    assert list(ratio.index) == ["<none>", *table.index]
    assert relative_error(ratio["statistic"][1:], want["LRT"]) < 1e-8
    assert relative_error(ratio["pvalue"][1:], want["p"]) < 1e-7
    assert relative_error(ratio["aic"][1:], want["AIC"]) < 1e-10
    assert ratio["df"][1:].tolist() == want["npar"]
    table = result.drop1(df_method="satterthwaite")
    np.testing.assert_allclose(table["df_denom"], values["drop1"]["DenDF"], rtol=1e-5)


def test_drop1_of_recoded_and_dependent_terms():
    # without a, b takes the columns of the intercept: two columns of a are left to test
    data = crossed()
    result = mx.mixedlm("y ~ 0 + a + b + x + (1 | g)", data).fit(reml=False)
    table, ratio = result.drop1(), result.drop1(test="lrt")
    assert table["df_num"].tolist() == ratio["df"][1:].tolist() == [2, 1, 1]
    with pytest.warns(mx.RankDeficientWarning):
        model = mx.mixedlm("y ~ x + I(2 * x) + z + (1 | g)", data)
    table = model.fit().drop1()
    assert table["df_num"].tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="test='t' is not known"):
        result.drop1(test="t")


def key(label):
    return re.sub(r"I\((.*?)\)", r"\1", label.replace("^", "**").replace(" ", ""))


@pytest.mark.parametrize("name", cases_with("ranova"))
def test_ranova(name):
    want, table = load_case(name).values["ranova"], case_fit(name).ranova()
    table.index = [key(label) for label in table.index]
    rows = [key(label) for label in want["rows"]]
    table = pd.DataFrame(table).loc[rows]
    assert table["n_params"].tolist() == want["npar"]
    np.testing.assert_allclose(table["llf"], want["logLik"], rtol=1e-9)
    np.testing.assert_allclose(table["statistic"][1:], want["LRT"], rtol=1e-7, atol=1e-7)
    assert table["df"][1:].tolist() == want["Df"]
    sound = table["statistic"][1:].to_numpy() > 1e-6
    p = table["pvalue"][1:].to_numpy()[sound]
    np.testing.assert_allclose(p, np.array(want["p"])[sound], rtol=1e-6)


def test_ranova_of_arrays():
    data = sleepstudy()
    exog = np.column_stack([np.ones(len(data)), data["Days"]])
    term = mx.RandomTerm(
        data["Subject"], exog, group="Subject", names=["Intercept", "Days"]
    )
    table = mx.MixedLM(data["Reaction"], exog, terms=[term]).fit().ranova()
    np.testing.assert_allclose(table["statistic"].iloc[1], 42.8368134364302, rtol=1e-9)


def steps():
    table = pd.read_csv(FOLDER / "step.csv", skipinitialspace=True)
    return [pytest.param(f, p, id=f) for f, p in table.groupby("formula", sort=False)]


@pytest.mark.parametrize(("formula", "want"), steps())
def test_step(formula, want, capsys):
    found = mx.mixedlm(formula, crossed()).fit().step(df_method="satterthwaite")
    for part, table in (("random", found.random), ("fixed", found.fixed)):
        rows = want[want["part"] == part].set_index("term")
        rows = rows.drop(index="<none>", errors="ignore")
        table = pd.DataFrame(table).drop(index="<none>", errors="ignore")
        assert set(table.index) == set(rows.index)
        rows = rows.loc[table.index]
        np.testing.assert_array_equal(table["eliminated"] > 0, rows["eliminated"] > 0)
        np.testing.assert_allclose(
            table["statistic"], rows["statistic"], rtol=1e-6, atol=1e-7
        )
        if part == "fixed":
            np.testing.assert_allclose(table["pvalue"], rows["p"], rtol=1e-5)
    eliminated = int((want["eliminated"] > 0).sum())
    assert len(capsys.readouterr().out.splitlines()) == eliminated
    # the final model is what its formula says
    again = mx.mixedlm(found.formula, crossed()).fit()
    np.testing.assert_allclose(again.llf, found.model.llf, rtol=1e-10)
    np.testing.assert_allclose(again.predict(crossed()), found.model.predict(crossed()))
    assert "Model found:" in repr(found)


def test_step_of_all_random_terms():
    data = mx.datasets.dyestuff2.load().data
    data["x"] = np.arange(len(data)) % 5
    result = mx.mixedlm("Yield ~ x + (1 | Batch)", data).fit()
    found = result.step(df_method="residual", verbose=False)
    assert found.random["eliminated"].tolist() == [0, 1]
    assert found.formula == "Yield ~ 1"
    linear = smf.ols("Yield ~ x", data).fit()
    np.testing.assert_allclose(
        found.fixed.loc["x", "pvalue"], linear.pvalues["x"], rtol=1e-10
    )
    np.testing.assert_allclose(found.model.scale, data["Yield"].var(ddof=1), rtol=1e-10)


@pytest.mark.parametrize("cov_type", ["CR0", "CR1", "CR2"])
def test_step_keeps_a_robust_covariance_and_its_clusters(cov_type):
    # dyestuff2's batches have no variance: the factor of the clusters is left out
    data = mx.datasets.dyestuff2.load().data
    rng = np.random.default_rng(3)
    data["x"], data["w"] = rng.normal(size=(2, len(data)))
    kwds = {"scaling_factor": 1.5}
    result = mx.mixedlm("Yield ~ x + w + (1 | Batch)", data).fit(
        cov_type=cov_type, cov_kwds=kwds
    )
    found = result.step(alpha_fixed=0.0, verbose=False)
    assert found.formula == "Yield ~ 1"
    first = found.fixed.index[0]
    clusters = {"groups": data["Batch"], **kwds}
    for formula, name in (
        ("Yield ~ x + w", first),
        (f"Yield ~ {'x' if first == 'w' else 'w'}", found.fixed.index[1]),
    ):
        linear = mx.mixedlm(formula, data).fit(cov_type=cov_type, cov_kwds=clusters)
        want = linear.drop1().loc[name]
        np.testing.assert_allclose(found.fixed.loc[name, "pvalue"], want["pvalue"])
    alone = mx.mixedlm("Yield ~ 1", data).fit(cov_type=cov_type, cov_kwds=clusters)
    np.testing.assert_allclose(found.model.bse_fe, alone.bse_fe)
    again = result.update(". ~ . - x")
    want = mx.mixedlm("Yield ~ w + (1 | Batch)", data)
    want = want.fit(cov_type=cov_type, cov_kwds=kwds)
    np.testing.assert_allclose(again.bse_fe, want.bse_fe)


def test_step_arguments():
    result = mx.mixedlm("y ~ a + x + z + (1 | g)", crossed()).fit()
    kept = result.step(df_method="residual", keep=["z"], verbose=False)
    assert "z" in kept.formula
    still = result.step(
        df_method="residual", reduce_fixed=False, reduce_random=False, verbose=False
    )
    assert (still.fixed["eliminated"] == 0).all()
    with pytest.raises(ValueError, match="keep: nothing is no term"):
        result.step(df_method="residual", keep=["nothing"])
    with pytest.raises(ValueError, match=r"alpha_fixed=2 must lie"):
        result.step(df_method="residual", alpha_fixed=2)


def test_smaller_models_keep_weights_and_offset():
    data = crossed()
    weights = np.linspace(0.5, 2, len(data))
    data["w"] = weights
    formula = "y ~ a + x + offset(z) + (1 | g)"
    result = mx.mixedlm(formula, data, weights="w").fit()
    table = result.drop1(test="lrt")
    small = mx.mixedlm("y ~ a + offset(z) + (1 | g)", data, weights="w")
    np.testing.assert_allclose(table.loc["x", "aic"], small.fit(reml=False).aic, rtol=1e-12)
    alone = mx.mixedlm("y ~ a + x + offset(z)", data, weights="w").fit()
    np.testing.assert_allclose(result.ranova()["llf"].iloc[1], alone.llf, rtol=1e-12)


def test_smaller_models_of_odd_names():
    data = crossed().rename(columns={"x": "my x", "y": "yield"})
    result = mx.mixedlm("`yield` ~ a * `my x` + np.exp(z) + (1 | g)", data).fit()
    table = result.drop1(test="lrt")
    assert list(table.index[1:]) == ["np.exp(z)", "a:my x"]
    plain = mx.mixedlm("y ~ a * x + np.exp(z) + (1 | g)", crossed()).fit()
    np.testing.assert_allclose(
        table["statistic"], plain.drop1(test="lrt")["statistic"], rtol=1e-9
    )


def test_models_with_groups():
    # the same model in statsmodels' words, by arrays and by bars
    data = sleepstudy()
    bars = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    groups = mx.MixedLM.from_formula(
        "Reaction ~ Days", data, groups="Subject", re_formula="~Days"
    )
    exog = pd.DataFrame({"const": 1.0, "Days": data["Days"]})
    arrays = mx.MixedLM(data["Reaction"], exog, data["Subject"], exog.to_numpy())
    for model in (groups, arrays):
        result = model.fit()
        for ours, want in (
            (result.ranova(), bars.ranova()),
            (result.drop1(test="lrt"), bars.drop1(test="lrt")),
            (result.drop1(), bars.drop1(df_method="z")),
            (result.drop1(df_method="satterthwaite"), bars.drop1()),
        ):
            np.testing.assert_allclose(ours.to_numpy(), want.to_numpy(), rtol=1e-7)
        found = result.step(df_method="residual", verbose=False)
        assert (found.random["eliminated"] == 0).all()
    found = groups.fit().step(df_method="residual", verbose=False)
    assert found.formula == "Reaction ~ Days + (1 + Days | Subject)"


@pytest.mark.parametrize(
    ("bar", "df", "note"),
    [
        ("(0 + f || g)", [3], "f in (0 + f || g): the whole term is left out"),
        ("(0 + f | g)", [5], "f in (0 + f | g): (1 | g) is left"),
        ("(0 + x | g)", [1], "x in (0 + x | g): the whole term is left out"),
        ("(f || g)", [1, 2], None),
        ("(0 + x + f || g)", [3, 1], None),
        ("(x | g)", [2], None),
        ("(0 + f | g) + (1 | h)", [5, 1], "f in (0 + f | g): (1 | g) is left"),
    ],
)
def test_random_parts_are_nested_and_say_what_is_left(bar, df, note):
    rng = np.random.default_rng(0)
    n = 120
    data = pd.DataFrame({"g": rng.integers(0, 10, n), "h": rng.integers(0, 6, n)})
    data["f"], data["x"] = rng.choice(["a", "b", "c"], n), rng.normal(size=n)
    data["y"] = 2 * rng.normal(size=10)[data["g"]] + rng.normal(size=n)
    result = mx.mixedlm(f"y ~ x + {bar}", data).fit()
    table = result.ranova()
    assert table["df"][1:].tolist() == df
    assert list(table.notes[1:]) == ([] if note is None else [note])
    terms = result.model.random_terms
    for deletion in random_deletions(result.model):
        assert covariance_is_nested(deletion.terms, terms)
    mixture = result.ranova(test="mixture")
    assert note is None or note in mixture.notes


def test_components():
    data = sleepstudy()
    model = mx.MixedLM.from_formula(
        "Reaction ~ Days",
        data,
        groups="Subject",
        re_formula="1",
        vc_formula={"slope": "0 + Days"},
    )
    table = model.fit().ranova()
    want = load_case("sleepstudy_uncorr").values["ranova"]["LRT"]
    np.testing.assert_allclose(table["statistic"][1:], want, rtol=1e-7)


def test_chunks_need_rows():
    data = sleepstudy()
    formula = "Reaction ~ Days + (Days | Subject)"
    chunked = mx.MixedLM.from_chunks(formula, [data[:100], data[100:]]).fit()
    whole = mx.mixedlm(formula, data).fit()
    np.testing.assert_allclose(chunked.drop1(), whole.drop1(), rtol=1e-7)
    for call in (chunked.ranova, lambda: chunked.drop1("lrt"), chunked.icc):
        with pytest.raises(ValueError, match="in chunks"):
            call()


def test_nsim_is_n():
    result = mx.mixedlm("Reaction ~ Days + (1 | Subject)", sleepstudy()).fit()
    one, other = (
        result.ranova(test="exact", rng=1, **{name: 50}) for name in ("n", "nsim")
    )
    pd.testing.assert_frame_equal(one, other)


def test_a_record_of_the_fit_serves_in_the_place_of_results():
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", sleepstudy()).fit()
    for ask in (drop_terms.drop1, drop_terms.ranova):
        pd.testing.assert_frame_equal(ask(result.fitted), ask(result))
