"""Autocorrelations and semivariances against sums over pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from helpers.pictures import drawn
from helpers.plot_models import DESIGNS, fit_of
from scipy import stats

import mixedext as mx
from mixedext.graphics.figures import one_axes
from mixedext.graphics.serial import (
    acf_data,
    plot_acf,
    plot_variogram,
    variogram_data,
)

pytestmark = pytest.mark.formula_engine


def _series(result):
    """Residuals by subject, in order of the days."""
    data = mx.datasets.sleepstudy.load().data
    frame = data.assign(r=np.asarray(result.residuals(scale="cholesky")))
    return [part.sort_values("Days") for _, part in frame.groupby("Subject")]


def test_acf_is_a_sum_over_pairs():
    result = fit_of("slopes")
    frame = acf_data(result, lags=9)
    parts = [part["r"].to_numpy() for part in _series(result)]
    square = np.mean(np.concatenate(parts) ** 2)
    for lag in range(10):
        products = [a[lag:] * a[: len(a) - lag] for a in parts]
        own = np.concatenate(products)
        np.testing.assert_allclose(frame["acf"][lag], own.mean() / square, rtol=1e-10)
        assert frame["n_pairs"][lag] == len(own)
        half = stats.norm.ppf(0.975) / np.sqrt(len(own))
        np.testing.assert_allclose(frame.loc[lag, ["lower", "upper"]], [-half, half])


def test_rows_are_put_in_order_of_time():
    """Neither the order of the rows nor that of the levels matters."""
    data = mx.datasets.sleepstudy.load().data
    mixed = data.sample(frac=1, random_state=1)
    result = mx.mixedlm("Reaction ~ Days + (Days | Subject)", mixed).fit()
    own = acf_data(fit_of("slopes"))
    found = acf_data(result, time="Days")
    pd.testing.assert_frame_equal(found, own, rtol=1e-6)
    assert not np.allclose(acf_data(result)["acf"], own["acf"])


def test_variogram_is_a_mean_over_pairs():
    result = fit_of("slopes")
    frame = variogram_data(result, "Days").set_index("distance")
    pairs = [
        (abs(a.Days - b.Days), 0.5 * (a.r - b.r) ** 2)
        for part in _series(result)
        for a, b in combinations(part.itertuples(), 2)
    ]
    own = pd.DataFrame(pairs, columns=["distance", "own"]).groupby("distance")["own"]
    np.testing.assert_allclose(frame["semivariance"], own.mean(), rtol=1e-10)
    np.testing.assert_array_equal(frame["n_pairs"], own.size())


def test_many_distances_are_binned():
    frame = variogram_data(fit_of("sixty"), "x", bins=8)
    assert len(frame) == 8
    assert frame["n_pairs"].sum() == 60 * 10
    assert frame["distance"].is_monotonic_increasing
    assert frame["n_pairs"].min() > 70


def test_many_pairs_are_sampled(monkeypatch):
    monkeypatch.setattr("mixedext.graphics.serial.MOST_PAIRS", 20_000)
    frame = variogram_data(fit_of("slopes"), group=np.zeros(180, int), bins=10)
    whole = 180 * 179 / 2
    assert frame["n_pairs"].sum() == whole  # all of them are fewer
    monkeypatch.setattr("mixedext.graphics.serial.MOST_PAIRS", 5000)
    some = variogram_data(fit_of("slopes"), group=np.zeros(180, int), bins=10)
    assert some["n_pairs"].sum() == 5000
    np.testing.assert_allclose(some["semivariance"].mean(), 0.9, atol=0.2)
    (ax,) = drawn(plot_variogram(fit_of("slopes"), group=np.zeros(180, int))).axes
    assert "of a random 5,000" in ax.get_title().replace("\n", " ")


@pytest.mark.parametrize("name", DESIGNS)
def test_pictures_hold_the_data(name):
    result = fit_of(name)
    frame = acf_data(result)
    (ax,) = drawn(plot_acf(result)).axes
    np.testing.assert_allclose(ax.lines[1].get_ydata(), frame["acf"][1:], rtol=1e-12)
    frame = variogram_data(result)
    (ax,) = drawn(plot_variogram(result)).axes
    np.testing.assert_allclose(
        ax.collections[0].get_offsets(), frame[["distance", "semivariance"]], rtol=1e-12
    )


def test_a_row_a_level():
    result = fit_of("crossed")
    alone = np.arange(144)
    with pytest.raises(ValueError, match="no level of group has two rows"):
        plot_acf(result, group=alone)
    with pytest.raises(ValueError, match="no level of group has two rows"):
        plot_variogram(result, group=alone)


def test_mistakes():
    result = fit_of("six")
    for lags in (0, 1.5, True):
        with pytest.raises(ValueError, match="lags"):
            plot_acf(result, lags=lags)
    with pytest.raises(ValueError, match="bins"):
        plot_variogram(result, bins=0)
    with pytest.raises(ValueError, match="resid"):
        plot_acf(result, resid="deviance")
    with pytest.raises(ValueError, match="time='t'"):
        plot_acf(result, time="t")


@pytest.mark.parametrize("plot", [plot_acf, plot_variogram])
def test_own_axes(plot):
    ax = one_axes()
    assert plot(fit_of("six"), ax=ax) is ax.figure


@pytest.mark.parametrize("plot", [plot_acf, plot_variogram])
def test_matplotlib_is_absent(plot, without_matplotlib):
    with pytest.raises(ImportError, match=r"pip install mixedext\[plot\]"):
        plot(fit_of("six"))
