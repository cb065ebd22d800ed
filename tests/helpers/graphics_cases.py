"""Fits that plots are tried on: few levels and many, odd names, degenerate ones."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd

import mixedext as mx

CASES = [
    "six",
    "sixty",
    "five thousand",
    "one row a level",
    "zero",
    "NaN labels",
    "long names",
]


def levels_of(count, rows=5, sd=(1.0, 0.5), seed=0):
    """A random line of every level, (count * rows) rows."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(count), rows)
    x = np.tile(np.linspace(0.0, 1.0, rows), count) if rows > 1 else rng.uniform(size=count)
    b = rng.normal(size=(count, 2)) * sd
    y = 1 + 2 * x + b[g, 0] + b[g, 1] * x + 0.5 * rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "x": x, "g": np.array([f"g{i}" for i in range(count)])[g]})


@cache
def case_fit(case):
    """Results of a model with effects of ``g``, and of ``h`` where levels have one row."""
    formula = "y ~ x + (x | g)"
    if case == "one row a level":
        data, formula = _one_row(), "y ~ x + (1 | g) + (1 | h)"
        data["g"] = data["g"].astype(str)
    elif case == "zero":
        data, formula = _without_groups(), "y ~ x + (1 | g)"
    elif case == "NaN labels":
        data = levels_of(20).astype({"g": object})
        data.loc[::7, "g"] = np.nan
    elif case == "long names":
        data = levels_of(30)
        data["g"] = "a long $name_ of a level, forty char " + data["g"]
    else:
        data = levels_of({"six": 6, "sixty": 60, "five thousand": 5000}[case])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mx.mixedlm(formula, data, missing="drop").fit()


def _one_row():
    """Most levels of one row each; the others tell their variance from the rows'."""
    rng = np.random.default_rng(5)
    g = np.r_[np.arange(40), np.arange(20)]  # half of them have a second row
    h = np.arange(60) % 10
    x = rng.uniform(size=60)
    y = x + rng.normal(size=40)[g] + rng.normal(size=10)[h] + 0.3 * rng.normal(size=60)
    return pd.DataFrame({"y": y, "x": x, "g": g, "h": [f"h{i}" for i in h]})


def _without_groups():
    data = levels_of(12)
    # rows of a level add up to the same: less than no variance between levels
    rest = data["y"] - data.groupby("g")["y"].transform("mean")
    return data.assign(y=rest + 2 * data["x"])


@cache
def fit_of(formula, name):
    """Results of a model of a dataset."""
    return mx.mixedlm(formula, getattr(mx.datasets, name).load().data).fit()


def segments_of(collection):
    """Ends of line segments, (m, 2, 2)."""
    return np.array(collection.get_segments())


def offsets_of(ax):
    """The arrows of axes."""
    from matplotlib.quiver import Quiver

    return next(c for c in ax.collections if isinstance(c, Quiver))
