"""Data with a covariate that may lie far from zero, and tables that must not notice."""

from __future__ import annotations

import numpy as np
import pandas as pd

# Covariates are multiples of this and shifts whole numbers: adding one does not round.
STEP = 2.0**-10


def far_covariate(shift: float) -> pd.DataFrame:
    """Two factors and two covariates, one at ``shift`` and one at ``-shift``."""
    rng = np.random.default_rng(3)
    n = 240
    z = np.round(rng.standard_normal(n) / STEP) * STEP
    w = np.round((rng.standard_normal(n) + 0.5 * z) / STEP) * STEP
    data = pd.DataFrame({"g": np.repeat(np.arange(24), 10), "z": z, "w": w})
    data["a"] = rng.choice(list("pqr"), n)
    data["b"] = rng.choice(list("uv"), n, p=[0.3, 0.7])
    data["y"] = rng.standard_normal(n) + rng.standard_normal(24)[data["g"]] + 0.3 * z
    data["y"] += 0.5 * z * (data["a"] == "q")
    return data.assign(z=z + shift, w=w - shift)


def relative_difference(got, want) -> float:
    """Largest difference of numbers, relative to each or a thousandth of the largest."""
    got, want = np.asarray(got, float), np.asarray(want, float)
    known = np.isfinite(want)
    assert (np.isfinite(got) == known).all()
    size = np.abs(want[known])
    return float((np.abs(got - want)[known] / np.maximum(size, 1e-3 * size.max())).max())
