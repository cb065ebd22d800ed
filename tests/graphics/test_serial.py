"""Autocorrelations and semivariances against sums over pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from helpers.pictures import drawn
from helpers.plot_models import DESIGNS, fit_of
from helpers.residual_fits import fev_fit, series
from helpers.residual_fits import fit_of as residual_fit
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


# ---- within residual groups ----


@pytest.fixture(scope="module")
def serial():
    data = series()
    return data, mx.mixedlm("y ~ x", data, residual="ar1(visit | subject)").fit()


@pytest.mark.parametrize("resid", ["normalized", "pearson"])
def test_lags_are_differences_of_visits(serial, resid):
    data, result = serial
    values = result.residuals(scale=resid)
    wide = data.assign(r=values).pivot(index="subject", columns="visit", values="r")
    frame = result.acf(lags=5, resid=resid)
    for lag in range(1, 6):
        first, second = wide.iloc[:, lag:].to_numpy(), wide.iloc[:, :-lag].to_numpy()
        products = (first * second)[~np.isnan(first * second)]
        expected = products.mean() / np.mean(values**2)
        assert frame.loc[lag, "acf"] == pytest.approx(expected, rel=1e-10)
        assert frame.loc[lag, "n_pairs"] == len(products)
        half = stats.norm.ppf(0.975) / np.sqrt(len(products))
        assert frame.loc[lag, "upper"] == pytest.approx(half)
        rho = result.params["AR1 rho"]
        model = rho**lag if resid == "pearson" else 0.0
        assert frame.loc[lag, "model"] == pytest.approx(model, rel=1e-10)


def test_orders_by_time_count_rows(serial):
    data, result = serial
    by_time, by_visit = result.acf(time="visit", lags=1), result.acf(lags=1)
    sizes = data.groupby("subject").size()
    assert by_time.loc[1, "n_pairs"] == (sizes - 1).sum() > by_visit.loc[1, "n_pairs"]


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("resid", ["pearson", "raw", "normalized"])
def test_variogram_of_visits(serial, resid, robust):
    data, result = serial
    frame = data.assign(r=result.residuals(scale=resid))
    pairs = [
        (abs(a.visit - b.visit), a.r - b.r)
        for _, part in frame.groupby("subject")
        for a, b in combinations(part.itertuples(), 2)
    ]
    own = pd.DataFrame(pairs, columns=["distance", "d"])
    found = result.variogram(resid=resid, robust=robust).set_index("distance")
    rho, s2 = result.params["AR1 rho"], result.scale
    for distance, d in own.groupby("distance")["d"]:
        n = len(d)
        expected = 0.5 * np.mean(d**2)
        if robust:
            expected = np.mean(np.sqrt(np.abs(d))) ** 4 / (2 * (0.457 + 0.494 / n))
        row = found.loc[distance]
        assert row["semivariance"] == pytest.approx(expected, rel=1e-10)
        assert row["n_pairs"] == n
        model = {"normalized": 1.0, "pearson": 1 - rho**distance}
        model["raw"] = s2 * model["pearson"]
        assert row["model"] == pytest.approx(model[resid], rel=1e-9)


def test_variogram_of_times_has_the_curve_of_the_model():
    result = residual_fit("Orthodont: gls_exp")
    frame = result.variogram()
    reach = result.params["sp_exp range"]
    assert frame["distance"].tolist() == [2, 4, 6]
    np.testing.assert_allclose(
        frame["model"], 1 - np.exp(-frame["distance"] / reach), rtol=1e-10
    )
    (ax,) = drawn(result.plot_variogram()).axes
    x, y = ax.lines[-1].get_data()
    np.testing.assert_allclose(y, 1 - np.exp(-x / reach), rtol=1e-10)
    assert len(x) == 200
    same = result.variogram("age", resid="pearson")
    np.testing.assert_allclose(same["semivariance"], frame["semivariance"], rtol=1e-12)


def test_variances_and_weights_enter_what_the_model_says():
    data = series()
    result = mx.mixedlm(
        "y ~ x",
        data,
        residual="ar1(visit | subject)",
        variance="ident(arm)",
        weights="weight",
    ).fit()
    r = result.R().values.toarray()
    visit, subject = data["visit"].to_numpy(), data["subject"].to_numpy()
    a, b = np.triu_indices(len(data), 1)
    same = subject[a] == subject[b]
    a, b = a[same], b[same]
    said = (r[a, a] + r[b, b]) / 2 - r[a, b]
    expected = pd.Series(said).groupby(np.abs(visit[a] - visit[b])).mean()
    found = result.variogram(resid="raw")
    np.testing.assert_allclose(found["model"], expected, rtol=1e-10)


def test_places_in_the_plane():
    rng = np.random.default_rng(4)
    row, column = (a.ravel() for a in np.meshgrid(np.arange(7.0), np.arange(8.0)))
    place = np.column_stack([row, column])
    apart = np.sqrt(((place[:, None] - place) ** 2).sum(axis=-1))
    y = np.linalg.cholesky(np.exp(-apart / 2)) @ rng.normal(size=56)
    data = pd.DataFrame({"row": row, "column": column, "y": y})
    result = mx.mixedlm("y ~ 1", data, residual="sp_exp(row, column)").fit()
    frame = result.variogram(bins=6)
    assert frame["n_pairs"].sum() == 56 * 55 / 2
    same = result.variogram(["row", "column"], resid="pearson", group=np.zeros(56), bins=6)
    for column in ("distance", "semivariance"):
        np.testing.assert_allclose(same[column], frame[column], rtol=1e-10)
    with pytest.raises(ValueError, match="stand in a plane and have no order"):
        result.acf()
    assert len(result.acf(time="row", lags=3)) == 4
    drawn(result.plot_variogram())


def test_pictures_of_residual_groups(serial):
    _, result = serial
    frame = result.acf(resid="pearson")
    (ax,) = drawn(result.plot_acf(resid="pearson")).axes
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), frame["model"][1:])
    assert ax.get_xlabel() == "lag (visit within subject)"
    (ax,) = drawn(result.plot_variogram(robust=True)).axes
    assert ax.get_ylabel().replace("\n", " ") == "robust semivariance of Pearson residuals"
    np.testing.assert_allclose(
        ax.lines[-1].get_ydata(), result.variogram(robust=True)["model"]
    )
    with pytest.raises(ValueError, match="robust=1"):
        result.variogram(robust=1)


def test_variances_alone_leave_the_levels_as_they_were():
    result = residual_fit("Orthodont: lme_slope_varident_age")
    assert "model" not in result.acf()
    assert "model" not in result.variogram()
    assert result.acf(lags=1).loc[1, "n_pairs"] == 81


def test_visits_in_order_of_their_labels():
    frame = fev_fit("us(AVISIT | USUBJID)").acf(resid="pearson")
    assert frame.index.tolist() == [0, 1, 2, 3]
    assert frame["n_pairs"].tolist() == [537, 275, 179, 89]
