"""Coverage of prediction intervals.

    python benchmarks/prediction_coverage.py [replicates] [design ...]

Random effects and errors are drawn, the model is fitted by REML, and intervals of the mean
of a known group, of its next observation and of an observation of a new group are compared
with what was drawn, by the normal law and by Kenward and Roger's method.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd

import mixedext as mx

METHODS = "z", "kenward-roger"


def one_way(n_groups: int, n_rows: int, variance: float):
    data = pd.DataFrame({"g": np.repeat(np.arange(n_groups), n_rows), "y": 0.0})
    return data, "y ~ 1 + (1 | g)", {"g": (np.array([[variance]]), ["one"])}


def two_slopes(rng):
    sizes = rng.integers(3, 13, 15)
    g = np.repeat(np.arange(15), sizes)
    data = pd.DataFrame({"g": g, "y": 0.0})
    data["x"], data["z"] = rng.normal(size=(2, len(g)))
    covariance = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, 0.1], [0.0, 0.1, 0.4]])
    return data, "y ~ x + z + (x + z | g)", {"g": (covariance, ["one", "x", "z"])}


def crossed():
    data = pd.DataFrame([(i, j) for i in range(12) for j in range(8)], columns=["g", "h"])
    data["y"] = 0.0
    one = np.array([[1.0]])
    return (
        data,
        "y ~ 1 + (1 | g) + (1 | h)",
        {"g": (one, ["one"]), "h": (0.5 * one, ["one"])},
    )


DESIGNS = {
    "6 x 4, 1": one_way(6, 4, 1.0),
    "two slopes, 15 groups of 3 to 12": two_slopes(np.random.default_rng(0)),
    "crossed, 12 x 8": crossed(),
    "6 x 4, .2": one_way(6, 4, 0.2),
    "18 x 10, 1": one_way(18, 10, 1.0),
    "30 x 5, .5": one_way(30, 5, 0.5),
}


def coverage(data, formula, terms, n, rng):
    """Share of intervals that hold the truth, by method: mean, observation, new group."""
    data = data.assign(one=1.0, y=rng.normal(size=len(data)))
    model = mx.mixedlm(formula, data)
    new = data.iloc[[1]]
    hits = {m: np.zeros(3) for m in METHODS}
    zeros = 0
    for _ in range(n):
        y, own, other = rng.normal(size=len(data)), 0.0, 0.0
        for group, (covariance, columns) in terms.items():
            count = data[group].nunique()
            b = rng.multivariate_normal(np.zeros(len(covariance)), covariance, count + 1)
            y += (b[data[group]] * data[columns].to_numpy()).sum(axis=1)
            z = new[columns].to_numpy()[0]
            own += b[new[group].iloc[0]] @ z
            other += b[-1] @ z
        e, f = rng.normal(size=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = model.refit(y)
            zeros += result.is_singular
            for method in METHODS:
                known = result.get_prediction(new, df_method=method)
                fresh = result.get_prediction(new, conditional=False, df_method=method)
                limits = [
                    known.conf_int(),
                    known.conf_int(obs=True),
                    fresh.conf_int(obs=True),
                ]
                truth = [own, own + e, other + f]
                inside = [
                    low <= value <= high
                    for ((low, high),), value in zip(limits, truth, strict=True)
                ]
                hits[method] += inside
    return {m: h / n for m, h in hits.items()}, zeros / n


if __name__ == "__main__":
    replicates = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    for name in sys.argv[2:] or DESIGNS:
        found, zeros = coverage(*DESIGNS[name], replicates, np.random.default_rng(20))
        print(f"{name}: singular {zeros:.1%}", flush=True)
        for method, shares in found.items():
            print(f"   {method:15s}", *(f"{s:.3f}" for s in shares), flush=True)
