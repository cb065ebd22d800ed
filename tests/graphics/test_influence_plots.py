"""Pictures of influence hold the measures of ``get_influence``."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.pictures import drawn
from helpers.plot_models import DESIGNS, fit_of

from mixedext.graphics.figures import one_axes
from mixedext.graphics.influence_pictures import draw_index, draw_influence
from mixedext.graphics.influence_plots import (
    index_data,
    influence_data,
    plot_index,
    plot_influence,
)

pytestmark = pytest.mark.formula_engine
BY = {"slopes": "Subject", "crossed": "plate"}


@pytest.mark.parametrize("levels", [False, True])
@pytest.mark.parametrize("name", DESIGNS)
def test_index(name, levels):
    result = fit_of(name)
    by = BY.get(name, "g") if levels else None
    frame = index_data(result, by)
    own = result.get_influence(by=by).summary_frame()["cooks_d"]
    pd.testing.assert_series_equal(frame["cooks"], own, check_names=False)
    (ax,) = drawn(plot_index(result, by)).axes
    shown = ax.lines[1].get_xydata()
    at = shown[:, 0].astype(int)
    np.testing.assert_allclose(shown[:, 1], own.iloc[at], rtol=1e-12)
    assert len(shown) == min(len(own), 2000) or 1000 < len(shown) < 2000
    assert own.max() in shown[:, 1]
    threshold = 4 / len(own)
    assert ax.lines[2].get_ydata()[0] == threshold
    count = int((own > threshold).sum())
    assert f"{count:,} of {len(own):,} beyond" in ax.get_title().replace("\n", " ")
    named = [text.get_text() for text in ax.texts]
    assert len(named) == min(5, count)
    assert ax.get_ylabel() == "Cook's distance"


@pytest.mark.parametrize("levels", [False, True])
@pytest.mark.parametrize("name", DESIGNS)
def test_influence(name, levels):
    result = fit_of(name)
    by = BY.get(name, "g") if levels else None
    frame = influence_data(result, by)
    found = result.get_influence(by=by)
    np.testing.assert_allclose(frame["cooks"], found.cooks_distance.distance)
    if levels:
        np.testing.assert_allclose(frame["cov_ratio"], found.cov_ratio)
        ratio = np.sqrt(found.sigma2_not_obsi / result.scale)
        np.testing.assert_allclose(frame["sigma_ratio"], ratio)
    else:
        np.testing.assert_allclose(frame["leverage"], found.hat_matrix_diag)
        np.testing.assert_allclose(frame["residual"], found.resid_studentized_external)
    (ax,) = drawn(plot_influence(result, by)).axes
    places = np.asarray(ax.collections[0].get_offsets())
    own = {tuple(row) for row in frame.iloc[:, :2].to_numpy()}
    assert {tuple(row) for row in places} <= own
    if len(frame) <= 4000:
        np.testing.assert_array_equal(places, frame.iloc[:, :2])


@pytest.mark.parametrize("y_var", ["dfbetas", "dfb_x", "mdffits", "cov_ratio", "cooks_d"])
def test_other_measures(y_var):
    result = fit_of("sixty")
    frame = index_data(result, "g", y_var)
    table = result.get_influence(by="g").summary_frame()
    if y_var == "dfbetas":
        own = table[["dfb_Intercept", "dfb_x"]].abs().max(axis=1)
    else:
        own = table[y_var]
    np.testing.assert_allclose(frame[y_var], own, rtol=1e-12)
    (ax,) = drawn(plot_index(result, "g", y_var)).axes
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert bool(dashed) == (y_var not in ("mdffits", "cov_ratio"))


def test_threshold_and_names():
    result = fit_of("slopes")
    (ax,) = plot_index(result, "Subject", threshold=0.12).axes
    own = result.get_influence(by="Subject").summary_frame()["cooks_d"]
    beyond = own[own > 0.12]
    assert {text.get_text() for text in ax.texts} == {
        str(level) for level in beyond.nlargest(5).index
    }
    (ax,) = plot_index(result, "Subject", threshold=100.0).axes
    assert not ax.texts


def test_of_the_measures_themselves():
    found = fit_of("six").get_influence()
    one, other = found.plot_index(), plot_index(fit_of("six"))
    for a, b in zip(one.axes[0].lines, other.axes[0].lines, strict=True):
        np.testing.assert_array_equal(a.get_xydata(), b.get_xydata())
    drawn(found.plot_influence())
    drawn(fit_of("six").get_influence(by="g").plot_influence())


def test_mistakes():
    with pytest.raises(ValueError, match="y_var='cook' is not a measure"):
        plot_index(fit_of("six"), y_var="cook")
    with pytest.raises(ValueError, match="by"):
        plot_influence(fit_of("six"), by="h")


@pytest.mark.parametrize("plot", [plot_index, plot_influence])
def test_own_axes(plot):
    ax = one_axes()
    assert plot(fit_of("six"), ax=ax) is ax.figure


@pytest.mark.parametrize("plot", [plot_index, plot_influence])
def test_matplotlib_is_absent(plot, without_matplotlib):
    with pytest.raises(ImportError, match=r"pip install mixedext\[plot\]"):
        plot(fit_of("six"))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("huge", [1e290, 1e306, 1.7e308, np.inf])
def test_measures_too_large_for_an_axis_are_told(huge):
    """A unit that nearly alone tells of a coefficient may have any Cook's distance."""
    cooks = np.array([0.1, 2.0, huge, 0.5])
    drawable = huge < 1e300
    told = "1 without a value to draw"
    (ax,) = drawn(draw_index(pd.DataFrame({"dfb_x": [0.1, 2.0, huge, -huge]}))).axes
    assert len(ax.lines[1].get_xydata()) == (4 if drawable else 2)
    assert ("2 without a value to draw" in ax.get_title()) != drawable
    frame = pd.DataFrame({"leverage": 0.5, "residual": 1.0, "cooks": cooks})
    (ax,) = drawn(draw_influence(frame)).axes
    assert len(ax.collections[0].get_offsets()) == (4 if drawable else 3)
    assert (told in ax.get_title().replace("\n", " ")) != drawable
    assert np.isfinite(ax.collections[0].get_sizes()).all()
