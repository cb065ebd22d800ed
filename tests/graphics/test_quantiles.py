"""Residuals against normal quantiles, with the law of order statistics."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.pictures import drawn
from helpers.plot_models import DESIGNS, fit_of
from scipy import stats

import mixedext as mx
from mixedext.graphics.figures import one_axes
from mixedext.graphics.quantiles import MOST_ORDERS, plot_qq, qq_data

pytestmark = pytest.mark.formula_engine


@pytest.mark.parametrize("name", DESIGNS)
def test_the_picture_holds_the_data(name):
    result = fit_of(name)
    frame = qq_data(result)
    (ax,) = drawn(plot_qq(result)).axes
    points = ax.lines[1].get_xydata()
    np.testing.assert_allclose(points, frame[["quantile", "residual"]], rtol=1e-12)
    assert (ax.get_xlabel(), ax.get_ylabel()) == (
        "normal quantile",
        "studentized residual",
    )


@pytest.mark.parametrize("kind", ["conditional", "marginal"])
@pytest.mark.parametrize("scale", ["raw", "pearson", "studentized", "cholesky"])
def test_numbers(kind, scale):
    result = fit_of("slopes")
    frame = qq_data(result, kind, scale)
    values = np.sort(result.residuals(kind=kind, scale=scale))
    np.testing.assert_allclose(frame["residual"], values, rtol=1e-12)
    n = len(values)
    np.testing.assert_allclose(
        frame["quantile"], stats.norm.ppf((np.arange(n) + 0.5) / n), rtol=1e-12
    )
    unit = np.sqrt(np.mean(values**2)) if scale == "raw" else 1.0
    i = np.arange(1, n + 1)
    for column, q in (("lower", 0.025), ("upper", 0.975)):
        own = unit * stats.norm.ppf(stats.beta.ppf(q, i, n + 1 - i))
        np.testing.assert_allclose(frame[column], own, rtol=1e-10)
    own = result.residuals(kind=kind, scale=scale)
    np.testing.assert_allclose(own.loc[frame.index], frame["residual"], rtol=1e-12)


def test_the_band_holds_its_share():
    """Each order statistic of normal samples is inside with the probability asked for."""
    frame = qq_data(fit_of("slopes"), alpha=0.2)
    rng = np.random.default_rng(1)
    samples = np.sort(rng.normal(size=(4000, len(frame))), axis=1)
    inside = (samples >= frame["lower"].to_numpy()) & (samples <= frame["upper"].to_numpy())
    np.testing.assert_allclose(inside.mean(axis=0), 0.8, atol=5 * np.sqrt(0.16 / 4000))


def test_long_data_are_thinned():
    result = fit_of("many")
    frame = qq_data(result)
    values = np.sort(result.residuals(scale="studentized"))
    assert len(frame) == MOST_ORDERS < len(values)
    found = frame["residual"].to_numpy()
    np.testing.assert_allclose(found[:500], values[:500], rtol=1e-12)
    np.testing.assert_allclose(found[-500:], values[-500:], rtol=1e-12)
    n = len(values)
    at = np.round(stats.norm.cdf(frame["quantile"]) * n - 0.5)
    for column, q in (("lower", 0.025), ("upper", 0.975)):
        own = stats.norm.ppf(stats.beta.ppf(q, at + 1, n - at))
        np.testing.assert_allclose(frame[column], own, atol=1e-4)
    (ax,) = drawn(plot_qq(result)).axes
    assert "10,000 order statistics of 15,000" in ax.get_title().replace("\n", " ")


def test_a_simulated_band_is_of_refits():
    result = fit_of("six")
    frame = qq_data(result, band="simulated", n=40, rng=3)
    simulated = result.simulate(40, rng=3)
    found = np.array(
        [
            np.sort(result.model.refit(simulated[c]).residuals(scale="studentized"))
            for c in simulated
        ]
    )
    own = np.quantile(found, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(frame[["lower", "upper"]].T, own, rtol=1e-8)
    drawn(plot_qq(result, band="simulated", n=40, rng=3))


def test_no_band():
    (ax,) = drawn(plot_qq(fit_of("six"), band=None)).axes
    assert not ax.collections


def test_mistakes():
    result = fit_of("six")
    with pytest.raises(ValueError, match="band"):
        plot_qq(result, band="simultaneous")
    with pytest.raises(ValueError, match="need 40 refits"):
        plot_qq(result, band="simulated", n=10)
    with pytest.raises(ValueError, match="kind"):
        plot_qq(result, kind="middle")


def test_rows_that_were_removed():
    result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", mx.datasets.dyestuff.load().data).fit()
    result.remove_data()
    with pytest.raises(ValueError, match="removed"):
        plot_qq(result)


def test_own_axes():
    ax = one_axes()
    assert plot_qq(fit_of("six"), ax=ax) is ax.figure


def test_matplotlib_is_absent(without_matplotlib):
    with pytest.raises(ImportError, match=r"pip install mixedext\[plot\]"):
        plot_qq(fit_of("six"))


@pytest.mark.parametrize("band", ["pointwise", "simulated", None])
def test_without_residuals_that_are_numbers_there_is_nothing_to_draw(band, monkeypatch):
    result = fit_of(DESIGNS[0])
    nothing = np.full(int(result.nobs), np.nan)
    monkeypatch.setattr("mixedext.graphics.quantiles.residuals", lambda *a, **k: nothing)
    assert len(qq_data(result, band=band)) == 0
