"""Power by simulation against closed forms, and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

import mixedext as mx
from mixedext.engine.refits.simulation import spawn_seeds

pytestmark = [
    pytest.mark.formula_engine,
    pytest.mark.filterwarnings("ignore::mixedext.SimulationWarning"),
]


def layout(groups, rows):
    frame = pd.DataFrame({"g": np.repeat(np.arange(groups), rows)})
    frame["x"] = np.tile(np.arange(rows, dtype=float), groups)
    frame["t"] = np.tile([f"t{i}" for i in range(rows)], groups)
    return frame


def close(found, want, at=0):
    """Within 4 standard errors of the share."""
    error = np.sqrt(want * (1 - want) / found.n)
    assert abs(found.estimate[at] - want) < 4 * error, (found.estimate[at], want)


@pytest.mark.slow
def test_block_design_has_the_power_of_noncentral_f():
    """Treatments in complete blocks: F on (t - 1)(b - 1) degrees of freedom, exactly."""
    effects = np.array([0.0, 0.5, 1.0])
    fixed = {"Intercept": 0.0, "t[T.t1]": 0.5, "t[T.t2]": 1.0}
    found = mx.power(
        "~ t + (1 | g)", "t", layout(8, 3), fe_params=fixed, cov_re=9.0, sigma=1.0,
        n=1200, rng=1, along={"g": [5, 10]},
    )  # fmt: skip
    for at, blocks in enumerate((5, 10)):
        df = 2, 2 * (blocks - 1)
        shift = blocks * ((effects - effects.mean()) ** 2).sum()
        close(found, stats.ncf.sf(stats.f.isf(0.05, *df), *df, shift), at)
    assert found.n_failed.sum() == 0
    assert found.table["nobs"].tolist() == [15, 30]


@pytest.mark.slow
@pytest.mark.parametrize("df_method", ["kenward-roger", "z", "residual"])
def test_power_of_a_slope(df_method):
    """A covariate within groups: t on n - g - 1 df; by z of a normal quantile."""
    data, n_groups, rows, slope = layout(6, 4), 6, 4, 0.35
    found = mx.power(
        "y ~ x + (1 | g)", "x", data, fe_params={"Intercept": 1, "x": slope},
        cov_re={"g": 16.0}, sigma=1.0, n=1200, rng=2, df_method=df_method,
    )  # fmt: skip
    sxx = n_groups * 5.0
    df = n_groups * rows - n_groups - 1
    shift = slope * np.sqrt(sxx)
    critical = {
        "kenward-roger": stats.t.isf(0.025, df),
        "z": stats.norm.isf(0.025),
        "residual": stats.t.isf(0.025, n_groups * rows - 2),
    }[df_method]
    want = stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift)
    close(found, want)
    assert df_method in repr(found)


@pytest.mark.slow
def test_size_under_the_hypothesis():
    data = layout(10, 4)
    given = {"fe_params": {"Intercept": 0, "x": 0}, "cov_re": 9.0, "sigma": 1.0}
    found = mx.power("~ x + (1 | g)", "x", data, **given, n=2000, rng=3)
    close(found, 0.05)


def test_power_of_the_test_of_a_variance():
    """One way, balanced: the restricted likelihood ratio is a function of F."""
    groups, rows, variance = 8, 5, 0.5
    data = layout(groups, rows)
    found = mx.power(
        "y ~ 1 + (1 | g)", "(1 | g)", data, fe_params=[0], cov_re=variance, sigma=1.0,
        n=2000, rng=4,
    )  # fmt: skip
    a, b = groups - 1, groups * (rows - 1)

    def ratio(f):  # -2 log restricted likelihood ratio at mean squares f and 1
        pooled = (a * f + b) / (a + b)
        return (a + b) * np.log(pooled) - a * np.log(f)

    cut = optimize.brentq(lambda f: ratio(f) - stats.chi2.isf(0.1, 1), 1 + 1e-9, 100)
    want = stats.f.sf(cut / (1 + rows * variance), a, b)
    close(found, want)


def test_likelihood_ratio_of_a_fixed_term():
    """Of a large study that is the noncentral chi-squared."""
    data, slope = layout(60, 4), 0.15
    found = mx.power(
        "y ~ x + (1 | g)", "x", data, fe_params=[1, slope], cov_re=4.0, sigma=1.0,
        test="lrt", n=2000, rng=5,
    )  # fmt: skip
    want = stats.ncx2.sf(stats.chi2.isf(0.05, 1), 1, 60 * 5.0 * slope**2)
    assert abs(found.estimate[0] - want) < 4 * np.sqrt(want * (1 - want) / 2000) + 0.01


@pytest.mark.slow
def test_from_results_with_another_effect():
    data = mx.datasets.sleepstudy.load().data
    fit = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    own = mx.power(fit, "Days", n=30, rng=1)
    assert own.estimate[0] == 1.0  # t is 6.8
    none = mx.power(fit, "Days", fe_params={"Days": 0.0}, n=400, rng=1)
    close(none, 0.05)
    found = mx.power(
        fit, "Days", along={"Subject": [6, 18]}, within={"Subject": [5, 10]}, n=20, rng=1
    )
    assert found.table["nobs"].tolist() == [30, 60, 90, 180]
    assert list(found.table.columns[:3]) == ["Subject", "rows by Subject", "nobs"]


@pytest.mark.slow
def test_parts_of_results_and_threads_alike():
    data = mx.datasets.sleepstudy.load().data
    fit = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    for given in (
        {"term": "Days", "fe_params": {"Days": 3.0}},
        {"term": "Days", "fe_params": {"Days": 3.0}, "test": "lrt"},
        {"term": "Days in (Days | Subject)"},
    ):
        one = mx.power(fit, **given, n=60, rng=8)
        pytest.importorskip("joblib")
        two = mx.power(fit, **given, n=60, rng=8, n_jobs=2)
        np.testing.assert_array_equal(one.pvalues, two.pvalues)


def test_pvalues_are_those_of_refits():
    data = mx.datasets.sleepstudy.load().data
    fit = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()
    found = mx.power(fit, "Days", fe_params={"Days": 3.0}, n=5, rng=11)
    (seed,) = spawn_seeds(11, 1)
    (block,) = spawn_seeds(seed, 1)
    mean = np.nan_to_num(fit.model.exog @ [fit.fe_params["Intercept"], 3.0])
    shifted = fit.simulate(5, np.random.default_rng(block)).to_numpy()
    y = shifted - (fit.model.exog @ fit.fe_params.to_numpy())[:, None] + mean[:, None]
    own = [fit.model.refit(column).pvalues["Days"] for column in y.T]
    np.testing.assert_allclose(found.pvalues[:, 0], own, rtol=1e-6)


def test_models_of_groups_and_arrays_as_they_stand():
    data = mx.datasets.sleepstudy.load().data
    fit = mx.mixedlm("Reaction ~ Days", data, groups="Subject").fit()
    assert mx.power(fit, "Days", n=10, rng=1).estimate[0] == 1.0
    with pytest.raises(ValueError, match="write the random effects in bars"):
        mx.power(fit, "Days", along={"Subject": 5}, n=10)
    term = mx.RandomTerm(data["Subject"], group="Subject")
    exog = np.column_stack([np.ones(180), data["Days"]])
    fit = mx.MixedLM(data["Reaction"], exog, terms=[term]).fit()
    assert mx.power(fit, "x1", n=10, rng=1).estimate[0] == 1.0


def test_offset_and_weights_have_no_say_in_the_effect():
    data = layout(6, 4)
    data["o"] = 100.0 * data["x"]
    data["w"] = 4.0
    given = {"fe_params": [1, 0.2], "cov_re": 4.0, "n": 40, "rng": 3}
    plain = mx.power("~ x + (1 | g)", "x", data, sigma=1.0, **given)
    with_offset = mx.power("~ x + (1 | g)", "x", data, sigma=1.0, offset="o", **given)
    np.testing.assert_allclose(plain.pvalues, with_offset.pvalues, rtol=1e-5)
    weighted = mx.power("~ x + (1 | g)", "x", data, sigma=2.0, weights="w", **given)
    np.testing.assert_allclose(plain.pvalues, weighted.pvalues, rtol=1e-5)
    lrt = [
        mx.power("~ x + (1 | g)", "x", data, sigma=1.0, test="lrt", offset=o, **given)
        for o in (None, "o")
    ]
    np.testing.assert_allclose(lrt[0].pvalues, lrt[1].pvalues, rtol=1e-5)


def power(term="x", **given):
    given = {"fe_params": [1, 0.2], "cov_re": 4.0, "sigma": 1.0, "n": 5, "rng": 1} | given
    formula = given.pop("formula", "y ~ x + (1 | g)")
    data = given.pop("data", layout(6, 4))
    return mx.power(formula, term, data, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"term": "z"}, "term='z' is neither a fixed term"),
        ({"term": "(1 | g)", "test": "F"}, "tested by test='lrt' alone"),
        ({"term": "(1 | g)", "df_method": "z"}, "tested by test='lrt' alone"),
        ({"test": "lrt", "df_method": "z"}, "no use for df_method"),
        ({"test": "wald"}, "test='wald' is not known"),
        ({"df_method": "kr3"}, "df_method"),
        ({"alpha": 1.5}, "alpha=1.5 must lie"),
        ({"n": 0}, "n=0 must be"),
        ({"data": None}, "data= is needed"),
        ({"cov_re": None}, "cov_re= or theta= is needed"),
        ({"along": {"x": 5}}, "'x' is no grouping factor; there are: g"),
        ({"along": 5}, "along must be a dict"),
        ({"along": {"g": []}}, r"along\['g'\] holds no number"),
        ({"along": {"g": 0}}, r"along\['g'\]=0 must be"),
        ({"within": {"h": 5}}, "'h' is not a column"),
        (
            {
                "formula": "y ~ poly(x, 2) + (1 | g)",
                "term": "poly(x, 2)",
                "fe_params": [0, 1, 1],
                "within": {"g": 3},
            },
            "learns from all rows",
        ),
        (
            {
                "formula": "y ~ t + (1 | g)",
                "term": "t",
                "fe_params": [0, 1, 1, 1],
                "within": {"g": 3},
            },
            "no 't\\[T.t3\\]'",
        ),
    ],
)
def test_mistakes(given, message):
    with pytest.raises(ValueError, match=message):
        power(**given)


def test_what_does_not_go_with_results():
    data = mx.datasets.dyestuff.load().data
    fit = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    with pytest.raises(ValueError, match="data= goes with a formula"):
        mx.power(fit, "(1 | Batch)", data, n=5)
    with pytest.raises(TypeError, match="must be a formula or the results"):
        mx.power(data, "(1 | Batch)", n=5)
    weighted = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data, weights=np.ones(30)).fit()
    with pytest.raises(ValueError, match="weights of the model were given as values"):
        mx.power(weighted, "(1 | Batch)", along={"Batch": 4}, n=5)


def test_coefficients_of_a_factor():
    fixed = [0, 0, 0, 5.0]
    found = power(formula="y ~ t + (1 | g)", term="t[T.t3]", fe_params=fixed, n=20)
    assert found.estimate[0] == 1.0
    with pytest.raises(ValueError, match="is a coefficient; test='lrt' leaves out"):
        power(formula="y ~ t + (1 | g)", term="t[T.t3]", fe_params=fixed, test="lrt")


def test_singular_refits_are_told():
    with pytest.warns(mx.SimulationWarning, match="singular: the study is too small"):
        found = power(cov_re=1e-6, n=60)
    assert found.singular.mean() > 0.25
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        power(cov_re=16.0, n=30)
