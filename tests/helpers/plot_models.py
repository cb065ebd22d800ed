"""Fits that pictures are drawn of: few groups and many, singular, labels of all kinds."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd

import mixedext as mx

LONG = "a level whose name has forty characters"


@cache
def fit_of(name: str):
    """A fit, by the name of its design."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _DESIGNS[name]()


DESIGNS = ("slopes", "crossed", "six", "sixty", "many", "singular", "labels", "thin")


def _layout(groups, rows, seed, sd=1.0):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), rows)
    x = rng.normal(size=len(g))
    y = 10 + x + sd * rng.normal(size=groups)[g] + rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "x": x, "g": g})


def _intercepts(groups, rows, seed, sd=1.0):
    return mx.mixedlm("y ~ x + (1 | g)", _layout(groups, rows, seed, sd)).fit()


def _singular():
    """Group means all alike, so that their variance is zero."""
    data = _layout(6, 10, 3, 0.0)
    data["y"] -= data.groupby("g")["y"].transform("mean")
    return mx.mixedlm("y ~ x + (1 | g)", data).fit()


def _labels():
    """Long names, mathematics in names, and rows without a level."""
    data = _layout(40, 4, 4)
    names = [f"{LONG} {i} $a_{i}$" for i in range(40)]
    data["g"] = pd.Series([names[i] for i in data["g"]], dtype=object)
    data.loc[[3, 17, 90], "g"] = None
    return mx.mixedlm("y ~ x + (1 | g)", data, missing="drop").fit()


def _thin():
    """Half of the levels have a row alone."""
    data = _layout(40, 2, 5)
    lost = (data["g"] % 2 == 0) & data.duplicated("g")
    return mx.mixedlm("y ~ x + (1 | g)", data[~lost]).fit()


def _slopes():
    data = mx.datasets.sleepstudy.load().data
    return mx.mixedlm("Reaction ~ Days + (Days | Subject)", data).fit()


def _crossed():
    data = mx.datasets.penicillin.load().data
    return mx.mixedlm("diameter ~ 1 + (1 | plate) + (1 | sample)", data).fit()


def _weighted():
    data = _layout(12, 6, 6)
    weights = np.random.default_rng(7).uniform(0.5, 2, len(data))
    return mx.mixedlm("y ~ x + (x | g)", data, weights=weights).fit(reml=False)


_DESIGNS = {
    "slopes": _slopes,
    "crossed": _crossed,
    "six": lambda: _intercepts(6, 5, 1),
    "sixty": lambda: _intercepts(60, 5, 2),
    "many": lambda: _intercepts(5000, 3, 8),
    "singular": _singular,
    "labels": _labels,
    "thin": _thin,
    "weighted": _weighted,
}
