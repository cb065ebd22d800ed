"""The page of nine pictures."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.pictures import drawn
from helpers.plot_models import DESIGNS, fit_of

import mixedext as mx
from mixedext.graphics.check_page import check_model
from mixedext.graphics.figures import panels
from mixedext.graphics.influence_plots import index_data
from mixedext.graphics.residual_plots import residuals_data

pytestmark = pytest.mark.formula_engine


@pytest.mark.parametrize("name", [*DESIGNS, "weighted"])
def test_nine_pictures(name):
    result = fit_of(name)
    figure = drawn(check_model(result), most_artists=10_000)
    assert len(figure.axes) == 9
    firsts = [ax.get_title().split("\n")[0] for ax in figure.axes]
    assert firsts[0] == "Residuals: no trend"
    assert firsts[8] == "Shares of the variance"
    np.testing.assert_allclose(
        figure.axes[0].lines[1].get_xydata(), residuals_data(result), rtol=1e-12
    )
    group = {"slopes": "Subject", "crossed": "plate"}.get(name, "g")
    assert any(group in title for title in firsts[3:5])
    cooks = index_data(result, group)["cooks"]
    assert cooks.max() in figure.axes[6].lines[1].get_ydata()


def test_a_factor_is_named():
    figure = check_model(fit_of("crossed"), group="sample")
    assert figure.axes[6].get_xlabel() == "sample"
    with pytest.raises(ValueError, match="group='batch'"):
        check_model(fit_of("crossed"), group="batch")


def test_size():
    figure = check_model(fit_of("six"), figsize=(12, 9))
    np.testing.assert_allclose(figure.get_size_inches(), (12, 9))


def test_what_a_fit_lacks_is_told():
    data = mx.datasets.sleepstudy.load().data
    model = mx.mixedlm("Reaction ~ Days + (Days | Subject)", data)
    result = model.fit(cov_type="cluster", cov_kwds={"groups": data["Subject"]})
    figure = drawn(check_model(result), most_artists=10_000)
    assert len(figure.axes) == 9


def test_own_axes():
    axes = panels(None, 9)
    assert check_model(fit_of("six"), ax=axes) is axes[0].figure
    with pytest.raises(ValueError, match="8 axes for 9 panels"):
        check_model(fit_of("six"), ax=axes[:8])


def test_matplotlib_is_absent(without_matplotlib):
    with pytest.raises(ImportError, match=r"pip install mixedext\[plot\]"):
        check_model(fit_of("six"))
