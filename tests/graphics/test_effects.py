"""The population's curve: predictions at typical rows, with their band."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.graphics_cases import CASES, case_fit, fit_of
from helpers.pictures import drawn

import mixedext as mx
from mixedext.graphics.effects import effect_data, plot_effect

pytestmark = pytest.mark.formula_engine
OATS = "yield ~ nitro * Variety + (1 | Block/Variety)"


def oats():
    return fit_of(OATS, "oats")


def test_the_band_is_that_of_predictions():
    frame = effect_data(oats(), "nitro", "Variety", alpha=0.1, df_method="satterthwaite")
    new = frame[["nitro", "Variety"]]
    found = oats().get_prediction(new, conditional=False, df_method="satterthwaite")
    np.testing.assert_allclose(frame["mean"], found.predicted_mean, rtol=1e-12)
    np.testing.assert_allclose(frame["se"], found.se_mean, rtol=1e-12)
    limits = np.asarray(found.conf_int(alpha=0.1))
    np.testing.assert_allclose(frame[["lower", "upper"]], limits, rtol=1e-12)
    assert frame["Variety"].nunique() == 3
    data = mx.datasets.oats.load().data
    assert frame["nitro"].min() == data["nitro"].min()
    assert frame["nitro"].max() == data["nitro"].max()


def test_other_variables_are_at_their_mean_or_first_level():
    data = mx.datasets.oats.load().data
    data["other"] = np.arange(len(data)) % 7.0
    result = mx.mixedlm("yield ~ nitro + other + Variety + (1 | Block)", data).fit()
    frame = effect_data(result, "nitro")
    held = frame.attrs["held"]
    assert held == {"other": pytest.approx(data["other"].mean()), "Variety": "Golden Rain"}
    new = pd.DataFrame({"nitro": frame["nitro"]}).assign(**held)
    expected = result.predict(new, conditional=False)
    np.testing.assert_allclose(frame["mean"], expected, rtol=1e-12)
    (ax,) = drawn(plot_effect(result, "nitro")).axes
    title = ax.get_title().replace("\n", " ")
    assert "other = 2.9" in title
    assert "Variety = Golden Rain" in title


def test_curves_are_drawn():
    frame = effect_data(oats(), "nitro", "Variety")
    (ax,) = drawn(oats().plot_effect("nitro", "Variety")).axes
    names = [t.get_text() for t in ax.get_legend().get_texts()]
    for line, name in zip(ax.lines, names, strict=False):
        part = frame[frame["Variety"] == name]
        np.testing.assert_allclose(line.get_xydata(), part[["nitro", "mean"]], rtol=1e-12)
    rug = ax.lines[-1]
    np.testing.assert_allclose(rug.get_xdata(), [0, 0.2, 0.4, 0.6])


def test_factors_are_points():
    result = fit_of("yield ~ C(nitro) * Variety + (1 | Block)", "oats")
    frame = effect_data(result, "nitro", "Variety")
    means = result.emmeans(["nitro", "Variety"]).table
    both = frame.merge(means, on=["nitro", "Variety"])
    assert len(both) == 12
    np.testing.assert_allclose(both["mean"], both["estimate"], rtol=1e-10)
    np.testing.assert_allclose(both["lower_x"], both["lower_y"], rtol=1e-8)
    (ax,) = drawn(result.plot_effect("nitro", "Variety")).axes
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.0", "0.2", "0.4", "0.6"]
    drawn(result.plot_effect("Variety", "nitro"))
    drawn(oats().plot_effect("Variety", "nitro"))


def test_transforms_keep_what_the_data_said():
    """A centred or splined variable is centred as in the fit."""
    result = fit_of("Reaction ~ center(Days) + (1 | Subject)", "sleepstudy")
    plain = fit_of("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    np.testing.assert_allclose(
        effect_data(result, "Days")["mean"], effect_data(plain, "Days")["mean"], rtol=1e-8
    )


@pytest.mark.parametrize("case", CASES)
def test_pictures_of_all_kinds_of_levels(case):
    drawn(case_fit(case).plot_effect("x"))


def test_axes_of_the_user():
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    assert plot_effect(oats(), "nitro", "Variety", ax=figure.subplots()) is figure


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.plot_effect("nitr"), "'nitr' is not a variable.*nitro"),
        (lambda r: r.plot_effect("nitro", "Block"), "'Block' is not a variable"),
        (lambda r: r.plot_effect("nitro", "nitro"), "by='nitro' is x"),
        (lambda r: r.plot_effect("nitro", alpha=2), "alpha=2"),
    ],
)
def test_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask(oats())


def test_without_matplotlib(without_matplotlib):
    with pytest.raises(ImportError, match="plots need matplotlib"):
        oats().plot_effect("nitro")
