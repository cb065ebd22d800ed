"""Coverage of forecasts beside serial correlation: python benchmarks/forecast_coverage.py.

Series are drawn, the model is fitted by REML without their last row (an autoregression) or
without one visit of three groups (an unstructured covariance), and intervals of what was
left out are compared with it.  An argument is the number of data sets of each design.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd

import mixedext as mx

METHODS = (
    "z", "satterthwaite", "kenward-roger-linear", "kenward-roger", "kenward-roger-2009",
)  # fmt: skip
LAG = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
VISITS = np.array(
    [[1.0, 0.5, 0.4, 0.3], [0.5, 1.5, 0.7, 0.5], [0.4, 0.7, 2.0, 0.9], [0.3, 0.5, 0.9, 2.5]]
)
# structure, covariance of a group, groups
DESIGNS = {
    "autoregression, 6 series": ("ar1(visit | g)", 0.6**LAG, 6),
    "autoregression, 12 series": ("ar1(visit | g)", 0.6**LAG, 12),
    "unstructured, 12 groups": ("us(visit | g)", VISITS, 12),
    "unstructured, 25 groups": ("us(visit | g)", VISITS, 25),
}


def held(structure, covariance, groups, n, rng):
    """Which intervals held what was left out, by method."""
    m, root = len(covariance), np.linalg.cholesky(covariance)
    out = {method: [] for method in METHODS}
    for _ in range(n):
        x = rng.standard_normal((groups, m))
        y = 1 + 0.5 * x + rng.standard_normal((groups, m)) @ root.T
        data = pd.DataFrame({"y": y.ravel(), "x": x.ravel()})
        data["g"] = np.repeat(np.arange(groups), m)
        data["visit"] = np.tile(np.arange(m), groups)
        apart = data["visit"] == m - 1
        if structure.startswith("us"):
            apart = (data["visit"] == 2) & (data["g"] < 3)
        result = mx.mixedlm("y ~ x", data[~apart], residual=structure).fit()
        truth, new = data.loc[apart, "y"].to_numpy(), data[apart].drop(columns="y")
        for method in METHODS:
            found = result.get_prediction(new, conditional="all", df_method=method)
            low, high = found.conf_int(obs=True).T
            out[method] += ((low <= truth) & (truth <= high)).tolist()
    return out


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    for name, design in DESIGNS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = held(*design, n, np.random.default_rng(1))
        shares = ", ".join(f"{m} {np.mean(v):.4f}" for m, v in found.items())
        print(f"{name} ({len(found['z'])} intervals): {shares}", flush=True)


if __name__ == "__main__":
    main()
