"""The page of nine pictures."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers.pictures import drawn
from helpers.plot_models import DESIGNS, fit_of
from statsmodels.base._penalties import L2

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


def _said(ax):
    return " ".join(" ".join(text.get_text().split()) for text in ax.texts)


def test_no_grouping_factor():
    data = mx.datasets.sleepstudy.load().data
    figure = drawn(check_model(mx.mixedlm("Reaction ~ Days", data).fit()), 10_000)
    told = [_said(figure.axes[i]) for i in (3, 4, 6)]
    assert told == ["the model has no grouping factor"] * 3


def test_a_component_of_groups():
    data = mx.datasets.pastes.load().data
    casks = {"cask": "0 + C(cask)"}
    model = mx.mixedlm(
        "strength ~ 1", data, groups="batch", re_formula="1", vc_formula=casks
    )
    figure = drawn(check_model(model.fit()), 10_000)
    assert all(figure.axes[i].lines for i in range(8))


def test_influence_of_a_penalized_fit_is_not_known():
    data = mx.datasets.sleepstudy.load().data
    model = mx.mixedlm("Reaction ~ Days + (1 | Subject)", data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = model.fit(fe_pen=L2())
    figure = drawn(check_model(result), 10_000)
    assert "get_influence" in _said(figure.axes[5])
    assert figure.axes[0].lines


def test_own_axes():
    axes = panels(None, 9)
    assert check_model(fit_of("six"), ax=axes) is axes[0].figure
    with pytest.raises(ValueError, match="8 axes for 9 panels"):
        check_model(fit_of("six"), ax=axes[:8])


def test_matplotlib_is_absent(without_matplotlib):
    with pytest.raises(ImportError, match=r"pip install mixedext\[plot\]"):
        check_model(fit_of("six"))
