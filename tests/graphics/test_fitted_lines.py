"""Data and fit by level: the lines are predictions, the points the data."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from helpers.graphics_cases import CASES, case_fit, fit_of, levels_of, segments_of
from helpers.pictures import drawn

import mixedext as mx
from mixedext.graphics.fitted_lines import fitted_lines_data, plot_fitted

pytestmark = pytest.mark.formula_engine
SLEEP = "Reaction ~ Days + (Days | Subject)"


def sleep():
    return fit_of(SLEEP, "sleepstudy")


def test_lines_are_predictions():
    result = sleep()
    rows, lines = fitted_lines_data(result, "Days", n_panels=20)
    new = pd.DataFrame({"Days": lines["x"], "Subject": lines["level"]})
    expected = result.predict(new, conditional=True)
    np.testing.assert_allclose(lines["conditional"], expected, rtol=1e-12)
    expected = result.predict(new, conditional=False)
    np.testing.assert_allclose(lines["population"], expected, rtol=1e-12)
    assert len(rows) == 180
    own = rows[rows["level"] == "308"]
    data = mx.datasets.sleepstudy.load().data
    data = data[data["Subject"].astype(str) == "308"]
    np.testing.assert_array_equal(own["observed"], data["Reaction"])
    np.testing.assert_array_equal(own["x"], data["Days"])


def test_few_of_many_levels_are_the_extreme_and_the_middle():
    result = sleep()
    _, lines = fitted_lines_data(result, "Days", n_panels=6)
    order = result.ranef()["Intercept"].sort_values().index
    found = list(dict.fromkeys(lines["level"]))
    assert found == [*order[:2], *order[8:10], *order[-2:]]
    for count in range(1, 19):
        _, lines = fitted_lines_data(result, "Days", n_panels=count)
        assert lines["level"].nunique() == count
    _, lines = fitted_lines_data(result, "Days", levels=["337", "308"])
    assert list(dict.fromkeys(lines["level"])) == ["337", "308"]


def test_nested_factors_and_held_covariates():
    """The line of a plot has its block's effect; other numbers are at their mean."""
    data = mx.datasets.oats.load().data
    data["other"] = np.arange(len(data)) % 7.0
    result = mx.mixedlm("yield ~ nitro + other + Variety + (1 | Block/Variety)", data).fit()
    rows, lines = fitted_lines_data(result, "nitro", "Variety:Block", ["Victory:III"])
    own = data[(data["Block"] == "III") & (data["Variety"] == "Victory")]
    new = pd.DataFrame(
        {
            "nitro": lines["x"],
            "other": own["other"].mean(),
            "Variety": "Victory",
            "Block": "III",
        }
    )
    expected = result.predict(new, conditional=True)
    np.testing.assert_allclose(lines["conditional"], expected, rtol=1e-12)
    np.testing.assert_array_equal(np.sort(rows["observed"]), np.sort(own["yield"]))


def test_lattice_draws_its_frames():
    result = sleep()
    rows, lines = fitted_lines_data(result, "Days", n_panels=4)
    figure = drawn(result.plot_fitted("Days", n_panels=4))
    levels = list(dict.fromkeys(lines["level"]))
    assert [ax.get_title() for ax in figure.axes] == levels
    for ax, level in zip(figure.axes, levels, strict=True):
        points, population, own = ax.lines
        here = lines[lines["level"] == level]
        data = rows[rows["level"] == level]
        np.testing.assert_allclose(points.get_ydata(), data["observed"], rtol=1e-12)
        np.testing.assert_allclose(population.get_ydata(), here["population"], rtol=1e-12)
        np.testing.assert_allclose(own.get_xydata(), here[["x", "conditional"]], rtol=1e-12)
    assert "4 of 18 levels of Subject" in figure.get_suptitle()
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert names == ["data", "population", "level"]


def test_spaghetti_draws_every_line():
    result = sleep()
    _, lines = fitted_lines_data(result, "Days", spaghetti=True)
    (ax,) = drawn(result.plot_fitted("Days", spaghetti=True)).axes
    segments = segments_of(ax.collections[0])
    assert len(segments) == 18
    np.testing.assert_allclose(
        segments.reshape(-1, 2), lines[["x", "conditional"]], rtol=1e-12
    )


@pytest.mark.parametrize("spaghetti", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_pictures_of_all_kinds_of_levels(case, spaghetti):
    result = case_fit(case)
    drawn(plot_fitted(result, "x", "g", spaghetti=spaghetti))
    start = time.process_time()
    drawn(plot_fitted(result, "x", "g", spaghetti=spaghetti))
    assert time.process_time() - start <= 3


def test_factors_along_the_axis():
    result = fit_of("yield ~ C(nitro) * Variety + (1 | Block)", "oats")
    for x, ticks in (("Variety", 3), ("nitro", 4)):
        figure = drawn(result.plot_fitted(x, "Block"))
        assert len(figure.axes[-1].get_xticks()) == ticks
        drawn(result.plot_fitted(x, "Block", spaghetti=True))


def test_labels_beside_the_data():
    """As statsmodels has it: groups as an array, no column of that name."""
    data = mx.datasets.sleepstudy.load().data
    groups = data.pop("Subject").astype(str).to_numpy()
    result = mx.mixedlm("Reaction ~ Days", data, groups=groups, re_formula="~Days").fit()
    _, lines = fitted_lines_data(result, "Days")
    _, named = fitted_lines_data(sleep(), "Days")
    np.testing.assert_allclose(lines["conditional"], named["conditional"], rtol=1e-6)
    drawn(result.plot_fitted("Days"))


def test_offsets_given_as_values():
    data = levels_of(8)
    offset = np.arange(len(data)) / 10.0
    result = mx.mixedlm("y ~ x + (x | g)", data, offset=offset).fit()
    _, lines = fitted_lines_data(result, "x", levels=["g1"])
    own = offset[(data["g"] == "g1").to_numpy()].mean()
    without = lines["population"] - own
    expected = result.fe_params["Intercept"] + result.fe_params["x"] * lines["x"]
    np.testing.assert_allclose(without, expected, rtol=1e-10)


def test_axes_of_the_user():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 8), layout="constrained")
    grid = figure.subplots(2, 2)
    assert plot_fitted(sleep(), "Days", n_panels=4, ax=grid) is figure
    with pytest.raises(ValueError, match="ax has 4 axes for 5 levels"):
        plot_fitted(sleep(), "Days", n_panels=5, ax=grid)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.plot_fitted("Day"), "'Day' is not a column.*Days"),
        (lambda r: r.plot_fitted("Days", "Subjects"), "group='Subjects'"),
        (lambda r: r.plot_fitted("Days", levels=["1"]), "'1' is not a level of Subject"),
        (lambda r: r.plot_fitted("Days", n_panels=0), "n_panels=0 must be at least 1"),
    ],
)
def test_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask(sleep())


def test_arrays_have_no_variables():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(10), 6)
    y = rng.normal(size=10)[codes] + rng.normal(size=60)
    result = mx.MixedLM(y, np.ones((60, 1)), groups=codes).fit()
    with pytest.raises(ValueError, match="made from arrays"):
        result.plot_fitted("x")


def test_without_matplotlib(without_matplotlib):
    with pytest.raises(ImportError, match="plots need matplotlib"):
        sleep().plot_fitted("Days")


def test_complex_columns_of_the_data_are_left_alone():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=24), "x": rng.normal(size=24)})
    data["g"], data["z"] = np.arange(24) % 4, rng.normal(size=24) + 1j
    result = mx.mixedlm("y ~ x + (1 | g)", data).fit()
    drawn(plot_fitted(result, "x"))
    with pytest.raises(ValueError, match="x='z' has complex numbers"):
        plot_fitted(result, "z")
