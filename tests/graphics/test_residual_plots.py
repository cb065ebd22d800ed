"""Pictures of residuals hold the residuals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.pictures import drawn
from helpers.plot_models import DESIGNS, fit_of

from mixedext.graphics.figures import one_axes
from mixedext.graphics.residual_plots import (
    ROOT_OF_NORMAL,
    plot_residuals,
    plot_scale_location,
    residuals_data,
    scale_location_data,
)
from mixedext.graphics.row_clouds import lowess_curve
from mixedext.inference.diagnostics.leverage import leverages

pytestmark = pytest.mark.formula_engine


@pytest.mark.parametrize("name", [*DESIGNS, "weighted"])
def test_against_fitted(name):
    result = fit_of(name)
    frame = residuals_data(result)
    np.testing.assert_allclose(frame["fitted"], result.fittedvalues, rtol=1e-12)
    np.testing.assert_allclose(frame["residual"], result.resid_pearson, rtol=1e-10)
    (ax,) = drawn(plot_residuals(result)).axes
    np.testing.assert_allclose(ax.lines[1].get_xydata(), frame, rtol=1e-12)
    curve = lowess_curve(frame["fitted"], frame["residual"])
    if len(curve):
        np.testing.assert_allclose(ax.lines[2].get_xydata(), curve, rtol=1e-12)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("fitted value", "Pearson residual")


def test_marginal_ones_stand_at_the_population():
    result = fit_of("slopes")
    frame = residuals_data(result, kind="marginal", scale="raw")
    np.testing.assert_allclose(frame["fitted"], result.predict(conditional=False))
    np.testing.assert_allclose(frame.sum(axis=1), result.model.endog, rtol=1e-12)


def test_against_a_covariate():
    frame = residuals_data(fit_of("slopes"), by="Days")
    assert list(frame) == ["Days", "residual"]
    (ax,) = drawn(plot_residuals(fit_of("slopes"), by="Days")).axes
    assert ax.get_xlabel() == "Days"


@pytest.mark.parametrize(
    ("name", "by"), [(n, "g") for n in DESIGNS[2:]] + [("slopes", "Subject")]
)
def test_boxes(name, by):
    result = fit_of(name)
    frame = residuals_data(result, by=by)
    rows = result.fitted.need_rows()
    labels = rows.terms[0].levels[rows.terms[0].codes]
    values = pd.Series(result.resid_pearson.to_numpy()).groupby(labels, sort=False)
    own = values.quantile([0.25, 0.5, 0.75]).unstack().loc[frame.index]
    np.testing.assert_allclose(frame[["q1", "median", "q3"]], own, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(frame["n"], values.size().loc[frame.index])
    (ax,) = drawn(plot_residuals(result, by=by)).axes
    shown = np.array([line.get_ydata()[0] for line in ax.lines if line.get_lw() == 1.6])
    assert len(shown) == min(len(frame), 60)
    if len(frame) > 60:
        least = np.sort(frame["median"].abs())[-60]
        assert (np.abs(shown) >= least).all()
        assert f"60 levels of {len(frame):,}" in ax.get_title().replace("\n", " ")
    else:
        np.testing.assert_allclose(shown, frame["median"], rtol=1e-12)


def test_whiskers_are_matplotlibs():
    from matplotlib.cbook import boxplot_stats

    result = fit_of("slopes")
    frame = residuals_data(result, by="Subject")
    rows = result.fitted.need_rows()
    values = result.resid_pearson.to_numpy()
    for number, (_, row) in enumerate(frame.iterrows()):
        own = boxplot_stats(values[rows.terms[0].codes == number])[0]
        found = row[["lower", "q1", "median", "q3", "upper"]]
        theirs = [own[k] for k in ("whislo", "q1", "med", "q3", "whishi")]
        np.testing.assert_allclose(found, theirs, rtol=1e-12)


@pytest.mark.parametrize("name", DESIGNS)
def test_scale_location(name):
    result = fit_of(name)
    frame = scale_location_data(result)
    h = leverages(result.fitted).whole
    own = np.sqrt(np.abs(result.resid_pearson) / np.sqrt(1 - h))
    np.testing.assert_allclose(frame["root"], own, rtol=1e-8)
    (ax,) = drawn(plot_scale_location(result)).axes
    np.testing.assert_allclose(ax.lines[1].get_xydata(), frame, rtol=1e-12)
    assert ax.lines[0].get_ydata()[0] == ROOT_OF_NORMAL


def test_the_mean_of_the_root():
    rng = np.random.default_rng(1)
    draws = np.sqrt(np.abs(rng.normal(size=400_000)))
    np.testing.assert_allclose(ROOT_OF_NORMAL, draws.mean(), atol=4 * draws.std() / 632)


@pytest.mark.parametrize("plot", [plot_residuals, plot_scale_location])
def test_own_axes(plot):
    ax = one_axes()
    assert plot(fit_of("six"), ax=ax) is ax.figure


@pytest.mark.parametrize("plot", [plot_residuals, plot_scale_location])
def test_matplotlib_is_absent(plot, without_matplotlib):
    with pytest.raises(ImportError, match=r"pip install mixedext\[plot\]"):
        plot(fit_of("six"))
