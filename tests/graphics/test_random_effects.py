"""Pictures of random effects: their numbers, what is drawn of them, few levels and many."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pandas as pd
import pytest
from helpers.graphics_cases import (
    CASES,
    case_fit,
    fit_of,
    levels_of,
    offsets_of,
    segments_of,
)
from helpers.pictures import drawn
from scipy import stats

import mixedext as mx
from mixedext.graphics.random_effects import (
    plot_qq_random,
    plot_random_effects,
    plot_shrinkage,
    qq_random_data,
    random_effects_data,
    shrinkage_data,
)

pytestmark = pytest.mark.formula_engine
SLEEP = "Reaction ~ Days + (Days | Subject)"


def sleep():
    return fit_of(SLEEP, "sleepstudy")


# ---- numbers ----


def test_modes_and_their_limits():
    result = sleep()
    frame = random_effects_data(result, sort="Days", alpha=0.1)
    own = frame[frame["effect"] == "Days"].set_index("level")
    assert own["mode"].is_monotonic_increasing
    modes, errors = result.ranef()["Days"], result.ranef_cov()
    sd = np.sqrt(errors.xs("Days", level="effect")["Days"])
    np.testing.assert_allclose(own.loc[modes.index, "mode"], modes, rtol=1e-12)
    np.testing.assert_allclose(own.loc[modes.index, "se"], sd, rtol=1e-12)
    half = stats.norm.ppf(0.95) * own["se"]
    np.testing.assert_allclose(own["upper"] - own["mode"], half, rtol=1e-12)
    first = frame[frame["effect"] == "Intercept"]
    assert first["level"].tolist() == own.index.tolist()  # rows are those of all panels
    whole = random_effects_data(result, sort=False, given_beta=False)
    assert whole["level"].iloc[:18].tolist() == result.ranef().index.tolist()
    sd = np.sqrt(result.ranef_cov(given_beta=False).xs("Days", level="effect")["Days"])
    np.testing.assert_allclose(whole["se"].iloc[18:], sd, rtol=1e-12)


def test_least_squares_of_levels():
    result = sleep()
    frame = shrinkage_data(result)
    data = mx.datasets.sleepstudy.load().data
    lists = mx.lm_list("Reaction ~ Days | Subject", data).coefficients.copy()
    for name in ("Intercept", "Days"):
        own = frame[frame["effect"] == name].set_index("level")
        lists.index = lists.index.astype(str)
        np.testing.assert_allclose(own["ols"], lists.loc[own.index, name], rtol=1e-10)
        np.testing.assert_allclose(own["blup"], result.coef()[name], rtol=1e-12)
        assert (own["population"] == result.fe_params[name]).all()


def test_least_squares_beside_other_terms():
    """What is left after other coefficients and random terms, with weights."""
    rng = np.random.default_rng(3)
    n = 240
    data = pd.DataFrame(
        {"g": rng.integers(0, 8, n), "h": rng.integers(0, 5, n), "x": rng.normal(size=n)}
    )
    data["z"], data["w"] = rng.normal(size=n), rng.uniform(0.5, 2, n)
    effects = rng.normal(size=(8, 2))
    data["y"] = 1 + data["z"] + effects[data["g"], 0] + effects[data["g"], 1] * data["x"]
    data["y"] += rng.normal(size=5)[data["h"]] + rng.normal(size=n)
    result = mx.mixedlm("y ~ x + z + (x | g) + (1 | h)", data, weights=data["w"]).fit()
    frame = shrinkage_data(result, "g")
    left = data["y"] - data["z"] * result.fe_params["z"]
    left = left - result.ranef("h")["Intercept"].loc[data["h"]].to_numpy()
    for level in range(8):
        own = data["g"] == level
        x = np.column_stack([np.ones(own.sum()), data["x"][own]])
        root = np.sqrt(data["w"][own].to_numpy())
        b = np.linalg.lstsq(x * root[:, None], left[own] * root, rcond=None)[0]
        found = frame[frame["level"] == str(level)]["ols"]
        np.testing.assert_allclose(found, b, rtol=1e-8)


def test_levels_that_do_not_determine_their_coefficients():
    result = case_fit("one row a level")
    frame = shrinkage_data(result, "g")
    assert np.isfinite(frame["ols"]).all()
    data = levels_of(60)
    few = data.groupby("g").nth(2)  # x is not 0 there
    both = pd.concat([data[data["g"] != "g0"], few[few["g"] == "g0"]])
    frame = shrinkage_data(mx.mixedlm("y ~ x + (x | g)", both).fit())
    assert frame["ols"].isna().sum() == 2
    assert np.isfinite(frame["blup"]).all()


def test_standardized_modes():
    result = fit_of("bright ~ 1 + (1 | operator)", "pulp")
    frame = qq_random_data(result)
    prior = result.cov_re.iloc[0, 0] if len(result.cov_re) else None
    prior = result.var_corr["variance"].iloc[0] if prior is None else prior
    error = result.ranef_cov(given_beta=False).to_numpy().ravel()
    scores = result.ranef().to_numpy().ravel() / np.sqrt(prior - error)
    np.testing.assert_allclose(frame["standardized"], np.sort(scores), rtol=1e-10)
    order = (np.arange(4) + 0.5) / 4
    np.testing.assert_allclose(frame["theoretical"], stats.norm.ppf(order), rtol=1e-12)


def test_marginal_variance_is_that_of_the_modes():
    """Over new samples, modes vary as they are standardized by."""
    result = fit_of("Yield ~ 1 + (1 | Batch)", "dyestuff")
    term, n = result.model.random_terms[0], result.nobs
    z = np.eye(term.n_levels)[term.codes]
    variance = result.var_corr["variance"].to_numpy()
    v = variance[0] * z @ z.T + variance[1] * np.eye(n)
    inverse = np.linalg.inv(v)
    one = np.ones((n, 1))
    p = inverse - inverse @ one @ np.linalg.inv(one.T @ inverse @ one) @ one.T @ inverse
    modes = variance[0] * z.T @ p
    marginal = np.diag(modes @ v @ modes.T)
    scores = result.ranef().to_numpy().ravel() / np.sqrt(marginal)
    found = qq_random_data(result)["standardized"]
    np.testing.assert_allclose(found, np.sort(scores), rtol=1e-8)


def test_zero_variance_has_no_scores():
    result = case_fit("zero")
    frame = qq_random_data(result)
    assert frame["standardized"].isna().all()
    figure = drawn(plot_qq_random(result))
    assert "estimated as zero" in figure.axes[0].texts[0].get_text()


# ---- what is drawn ----


def test_caterpillar_draws_its_frame():
    result = sleep()
    frame = random_effects_data(result)
    figure = drawn(result.plot_random_effects())
    assert [ax.get_xlabel() for ax in figure.axes] == ["Intercept", "Days"]
    for ax, (_, part) in zip(figure.axes, frame.groupby("effect", sort=False), strict=True):
        segments = segments_of(ax.collections[0])
        np.testing.assert_allclose(segments[:, :, 0], part[["lower", "upper"]], rtol=1e-12)
        np.testing.assert_allclose(ax.lines[-1].get_xdata(), part["mode"], rtol=1e-12)
        np.testing.assert_allclose(ax.lines[-1].get_ydata(), part["place"], rtol=1e-12)
        assert ax.lines[0].get_xdata()[0] == 0  # the reference
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == frame["level"].iloc[:18].tolist()


def test_shrinkage_draws_its_frame():
    result = sleep()
    frame = shrinkage_data(result)
    wide = frame.pivot(index="level", columns="effect", values=["ols", "blup"])
    figure = drawn(plot_shrinkage(result))
    (ax,) = figure.axes
    ols, blup = ax.lines[0], ax.lines[1]
    np.testing.assert_allclose(ols.get_xdata(), wide["ols"]["Intercept"], rtol=1e-12)
    np.testing.assert_allclose(blup.get_ydata(), wide["blup"]["Days"], rtol=1e-12)
    start = offsets_of(ax)
    shift = wide["blup"] - wide["ols"]
    np.testing.assert_allclose(start.X, wide["ols"]["Intercept"], rtol=1e-12)
    np.testing.assert_allclose(start.U, shift["Intercept"], rtol=1e-10)
    names = [t.get_text() for t in ax.get_legend().get_texts()]
    assert names == ["least squares", "mixed model", "population"]
    # the outer ellipse is where the quadratic form has its quantile
    outer = np.column_stack(ax.lines[4].get_data()) - result.fe_params.to_numpy()
    form = np.einsum("ij,jk,ik->i", outer, np.linalg.inv(cov_of(result)), outer)
    np.testing.assert_allclose(form, stats.chi2.ppf(0.95, 2), rtol=1e-8)


def cov_of(result):
    return result.fitted.random.covariances[0]


def test_dumbbells_of_one_effect():
    result = sleep()
    figure = drawn(plot_shrinkage(result, effects="Days"))
    (ax,) = figure.axes
    frame = shrinkage_data(result, effects="Days").sort_values("blup")
    segments = segments_of(ax.collections[0])
    np.testing.assert_allclose(segments[:, :, 0], frame[["ols", "blup"]], rtol=1e-12)


def test_quantiles_draw_their_frame():
    result = sleep()
    frame = qq_random_data(result, effect="Days")
    figure = drawn(result.plot_qq_random(effect="Days"))
    (ax,) = figure.axes
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), frame["standardized"], rtol=1e-12)
    np.testing.assert_allclose(ax.lines[-1].get_xdata(), frame["theoretical"], rtol=1e-12)


# ---- few and many ----

PLOTS = [plot_random_effects, plot_shrinkage, plot_qq_random]


@pytest.mark.parametrize("plot", PLOTS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("case", CASES)
def test_pictures_of_all_kinds_of_levels(plot, case):
    result = case_fit(case)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn(plot(result, "g"))
    start = time.process_time()
    drawn(plot(result, "g"))
    assert time.process_time() - start <= 3


def test_ends_of_many_levels_are_named():
    result = case_fit("five thousand")
    ax = plot_random_effects(result).axes[0]
    modes = result.ranef().iloc[:, 0]
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == [modes.idxmin(), modes.idxmax()]
    title = plot_shrinkage(result).axes[0].get_title()
    assert "arrows of 2000 of 5000 levels" in title.replace("\n", " ")


def test_axes_of_the_user():
    from matplotlib.figure import Figure

    result, figure = sleep(), Figure(layout="constrained")
    grid = figure.subplots(1, 2)
    assert plot_random_effects(result, ax=grid) is figure
    assert plot_qq_random(result, ax=grid) is figure
    assert plot_shrinkage(result, ax=grid[0]) is figure
    with pytest.raises(ValueError, match="ax has 1 axes for 2 effects"):
        plot_random_effects(result, ax=grid[0])


# ---- questionable input ----


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.plot_random_effects("Subjects"), "group='Subjects'.*Subject"),
        (lambda r: r.plot_random_effects(effect="Day"), "effect='Day' is not.*Days"),
        (lambda r: r.plot_random_effects(alpha=5), "alpha=5 must lie"),
        (lambda r: r.plot_qq_random(alpha=0), "alpha=0 must lie"),
        (lambda r: r.plot_shrinkage(effects=["Days", "Days", "Days"]), None),
    ],
)
def test_refused(ask, message):
    if message is None:
        assert ask(sleep()) is not None
        return
    with pytest.raises(ValueError, match=message):
        ask(sleep())


def test_components_have_no_regressions():
    data = mx.datasets.pastes.load().data
    casks = {"cask": "0 + C(cask)"}
    model = mx.mixedlm(
        "strength ~ 1", data, groups="batch", re_formula="1", vc_formula=casks
    )
    result = model.fit()
    drawn(result.plot_random_effects("cask"))
    drawn(result.plot_random_effects("batch"))
    with pytest.raises(ValueError, match="variance component"):
        result.plot_shrinkage("cask")


def test_two_terms_of_one_factor():
    result = fit_of("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", "sleepstudy")
    for plot in PLOTS:
        drawn(plot(result))
    assert set(random_effects_data(result)["effect"]) == {"Intercept", "Days"}


def test_rows_that_were_removed():
    result = mx.mixedlm(SLEEP, mx.datasets.sleepstudy.load().data).fit()
    before = random_effects_data(result)
    result.remove_data()
    pd.testing.assert_frame_equal(random_effects_data(result), before)
    drawn(result.plot_qq_random())
    with pytest.raises(ValueError, match="data of this model were removed"):
        result.plot_shrinkage()


@pytest.mark.parametrize("plot", PLOTS, ids=lambda p: p.__name__)
def test_without_matplotlib(plot, without_matplotlib):
    with pytest.raises(ImportError, match="plots need matplotlib"):
        plot(sleep())
