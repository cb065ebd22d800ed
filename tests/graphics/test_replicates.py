"""Replicates of a bootstrap: densities, spikes on bounds, ridges, pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.graphics_cases import fit_of
from helpers.pictures import drawn

from mixedext.graphics.replicates import (
    plot_replicates,
    replicate_density,
    replicate_spikes,
)

RNG = np.random.default_rng(1)
SAMPLES = {
    "mean": RNG.normal(5, 2, 400),
    "sd": np.maximum(RNG.normal(1, 1, 400), 0.0),
    "cor": np.clip(RNG.normal(0.8, 0.5, 400), -1, 1),
}
TABLE = pd.DataFrame(
    {"estimate": [5.0, 1.0, 0.8], "lower": [1.0, 0.0, -0.2], "upper": [9.0, 3.0, 1.0]},
    index=list(SAMPLES),
)


def test_spikes_are_the_shares_on_bounds():
    assert replicate_spikes(SAMPLES["mean"]) == []
    (spike,) = replicate_spikes(SAMPLES["sd"])
    assert spike == (0.0, np.mean(SAMPLES["sd"] == 0))
    assert [s.value for s in replicate_spikes(SAMPLES["cor"])] == [1.0]
    assert replicate_spikes(np.zeros(10)) == [(0.0, 1.0)]
    assert replicate_spikes(np.array([1.0])) == []


def test_area_is_the_share_on_no_bound():
    frame = replicate_density(SAMPLES)
    for name, values in SAMPLES.items():
        part = frame[frame["parameter"] == name]
        area = np.trapezoid(part["density"], part["value"])
        free = 1 - sum(s.share for s in replicate_spikes(values))
        assert area == pytest.approx(free, abs=0.01)
    assert len(replicate_density({"a": np.zeros(9)})) == 0


def test_densities_are_drawn():
    frame = replicate_density(SAMPLES)
    figure = drawn(plot_replicates(SAMPLES, TABLE, "400 replicates"))
    assert figure.get_suptitle() == "400 replicates"
    for ax, name in zip(figure.axes, SAMPLES, strict=False):
        part = frame[frame["parameter"] == name]
        np.testing.assert_allclose(ax.lines[0].get_xydata(), part[["value", "density"]])
        interval = ax.lines[2].get_xdata()
        np.testing.assert_allclose(interval, TABLE.loc[name, ["lower", "upper"]])
    (bar,) = figure.axes[1].patches
    assert bar.get_height() * bar.get_width() == pytest.approx(np.mean(SAMPLES["sd"] == 0))


@pytest.mark.parametrize("kind", ["density", "ridge", "pairs"])
@pytest.mark.parametrize("length", [1, 40])
def test_names_of_all_lengths(kind, length):
    names = {name: f"{name} {'w' * length}" for name in SAMPLES}
    samples = {names[n]: v for n, v in SAMPLES.items()}
    complete = pd.DataFrame(samples)
    note = "400 replicates (parametric), 0 failed, 12.3% singular"
    table = TABLE.rename(index=names)
    drawn(plot_replicates(samples, table, note, kind, complete=complete))


@pytest.mark.parametrize("kind", ["density", "ridge"])
def test_parameters_that_do_not_vary(kind):
    samples = {"sd": np.zeros(20), "none": np.array([])}
    table = pd.DataFrame(
        {"estimate": [0.0, 1.0], "lower": [0.0, np.nan], "upper": [0, np.nan]}
    )
    drawn(plot_replicates(samples, table.set_axis(list(samples)), "20 replicates", kind))


def test_pairs_need_few_parameters():
    many = {f"p{i}": SAMPLES["mean"] for i in range(8)}
    table = pd.DataFrame({"estimate": 5.0, "lower": 1.0, "upper": 9.0}, index=list(many))
    with pytest.raises(ValueError, match="8 parameters are too many"):
        plot_replicates(many, table, "", "pairs", complete=pd.DataFrame(many))


@pytest.mark.formula_engine
def test_bootstrap():
    bootstrap = fit_of("Yield ~ 1 + (1 | Batch)", "dyestuff").bootstrap_parametric(
        200, rng=1
    )
    frame = bootstrap.density_data("sigma")
    figure = drawn(bootstrap.plot())
    own = frame[["value", "density"]]
    np.testing.assert_allclose(figure.axes[2].lines[0].get_xydata(), own)
    share = 100 * bootstrap.singular.mean()
    assert f"{share:.3g}% singular" in figure.get_suptitle()
    for kind in ("ridge", "pairs"):
        drawn(bootstrap.plot(kind))
    with pytest.raises(ValueError, match="kind='violin'"):
        bootstrap.plot("violin")
    with pytest.raises(ValueError, match=r"'sigm' is none of the bootstrap's.*sigma"):
        bootstrap.plot(parameters="sigm")


def test_without_matplotlib(without_matplotlib):
    with pytest.raises(ImportError, match="plots need matplotlib"):
        plot_replicates(SAMPLES, TABLE, "")
