"""Coefficients with their intervals, of one model and of several."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.graphics_cases import fit_of, levels_of, segments_of
from helpers.pictures import drawn

import mixedext as mx
from mixedext.graphics.coefficients import forest_data, plot_forest

pytestmark = pytest.mark.formula_engine


def models():
    formulas = ("yield ~ nitro + Variety + (1 | Block)", "yield ~ nitro + (1 | Block)")
    return [fit_of(f, "oats") for f in formulas]


def test_limits_are_those_of_the_results():
    one, other = models()
    frame = forest_data(one, [other], names=["a", "b"], alpha=0.1, df_method="residual")
    for result, name in ((one, "a"), (other, "b")):
        own = frame[frame["model"] == name].set_index("term")
        limits = result.conf_int(0.1, df_method="residual").loc[own.index]
        np.testing.assert_allclose(own[["lower", "upper"]], limits, rtol=1e-12)
        np.testing.assert_allclose(own["estimate"], result.fe_params[own.index], rtol=1e-12)
    assert "Intercept" not in set(frame["term"])
    assert "Intercept" in set(forest_data(one, intercept=True)["term"])
    assert forest_data(one, terms="nitro")["term"].tolist() == ["nitro"]
    only = fit_of("Yield ~ 1 + (1 | Batch)", "dyestuff")
    assert forest_data(only)["term"].tolist() == ["Intercept"]


def test_forest_draws_its_frame():
    one, other = models()
    frame = forest_data(one, [one, other])
    (ax,) = drawn(one.plot_forest(results=[one, other])).axes
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["model 1", "model 2"]
    for number, (_, part) in enumerate(frame.groupby("model", sort=False)):
        segments = segments_of(ax.collections[number])
        np.testing.assert_allclose(segments[:, :, 0], part[["lower", "upper"]], rtol=1e-12)
        np.testing.assert_allclose(ax.lines[number + 1].get_xdata(), part["estimate"])
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == ["Variety[T.Marvellous]", "Variety[T.Victory]", "nitro"]


def test_many_coefficients_with_long_names():
    data = levels_of(60)
    data["a factor of some length"] = np.arange(len(data)) % 44
    formula = "y ~ x + C(Q('a factor of some length')) + (1 | g)"
    result = mx.mixedlm(formula, data).fit()
    (ax,) = drawn(plot_forest(result)).axes
    assert len(ax.get_yticks()) == 44
    assert ax.get_window_extent().width > 2 * ax.figure.dpi


def test_dropped_coefficients_are_not_drawn():
    data = levels_of(60).assign(twice=lambda d: 2 * d["x"])
    with pytest.warns(mx.exceptions.RankDeficientWarning):
        result = mx.mixedlm("y ~ x + twice + (1 | g)", data).fit()
    assert forest_data(result)["term"].tolist() == ["x"]


def test_refused():
    one, other = models()
    with pytest.raises(ValueError, match="2 models need as many different names"):
        plot_forest(one, [other], names=["a"])
    with pytest.raises(ValueError, match="'nitr' is no coefficient; there are: Intercept"):
        plot_forest(one, terms=["nitr"])


def test_axes_of_the_user():
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    assert plot_forest(models()[0], ax=figure.subplots()) is figure


def test_without_matplotlib(without_matplotlib):
    with pytest.raises(ImportError, match="plots need matplotlib"):
        models()[0].plot_forest()
