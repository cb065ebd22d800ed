"""Arrows about means that overlap where the means do not differ.

The half-lengths w of two arrows towards each other should add up to the least significant
difference of their means.  Of k means there are k (k - 1) / 2 such sums and 2 k lengths;
least squares gives them, as in R's emmeans.
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import optimize, stats

from mixedext.exceptions import AdjustmentWarning, user_stacklevel

__all__ = ["comparison_arrows"]


# Weight of a length's own half of the differences beside a difference of full weight.
_LEAN = 0.3


class Means(Protocol):
    """What arrows are made of: estimates, their covariance, and families."""

    level: float

    @property
    def table(self) -> Any: ...

    @property
    def estimate(self) -> np.ndarray: ...

    @property
    def df(self) -> np.ndarray: ...

    @property
    def vcov(self) -> pd.DataFrame: ...

    def _groups(self) -> Any: ...

    def _row_names(self) -> list[str]: ...

    def _kind(self) -> str: ...


def comparison_arrows(means: Means) -> np.ndarray:
    """Ends of the arrows of all means.

    Parameters
    ----------
    means : MarginalMeans
        The means; those of each family are compared by Tukey's method.

    Returns
    -------
    ndarray
        (m, 2) left and right ends; NaN where a mean has no other on that side.

    Raises
    ------
    ValueError
        If the means are transformed back, where lengths do not add up.

    Warns
    -----
    AdjustmentWarning
        If arrows of some pair do not say what the test says.
    """
    if means._kind() == "response":
        raise ValueError(
            "comparisons=True compares on the scale of the model: use type='link'"
        )
    estimate, covariance = means.estimate, means.vcov.to_numpy()
    ends = np.full((len(estimate), 2), np.nan)
    wrong = []
    for _, rows in means._groups():
        known = rows[np.isfinite(estimate[rows])]
        if len(known) < 2:
            continue
        order = known[np.argsort(estimate[known], kind="stable")]
        wrong += _family(estimate, covariance, means.df, order, 1 - means.level, ends)
    if wrong:
        names = means._row_names()
        i, j = wrong[0]
        warnings.warn(
            f"arrows cannot show all comparisons: those of {names[i]} and {names[j]} "
            f"({len(wrong)} such pairs) do not say what the test says; see "
            "contrast('pairwise')",
            AdjustmentWarning,
            stacklevel=user_stacklevel(),
        )
    return ends


def _family(estimate, covariance, df, order, alpha, ends):
    """Arrows of one family, into ``ends``; pairs of which they say what is not so."""
    count = len(order)
    low, high = np.triu_indices(count, 1)  # of two means the lower comes first
    i, j = order[low], order[high]
    variance = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
    error = np.sqrt(np.maximum(variance, 0.0))
    freedom = np.minimum(df[i], df[j])
    quantile = np.array([_tukey(alpha, count, f) for f in freedom.tolist()])
    least = quantile * error
    gap = estimate[j] - estimate[i]
    # right arrow of the lower and left arrow of the higher; near decisions count most
    design = np.zeros((len(low), 2 * count))
    design[np.arange(len(low)), low] = 1.0
    design[np.arange(len(low)), count + high] = 1.0
    scale = np.where(least > 0, least, 1.0)
    weight = 1.0 / (0.05 + np.abs(gap - least) / scale)
    # what the sums leave open: each length half of what its mean is compared by
    sums = design.sum(axis=0)
    half = design.T @ least / (2 * np.maximum(sums, 1.0))
    rows = np.vstack([design * weight[:, None], _LEAN * np.eye(2 * count)])
    length, _ = optimize.nnls(rows, np.concatenate([least * weight, _LEAN * half]))
    right, left = length[:count], length[count:]
    ends[order[:-1], 1] = estimate[order[:-1]] + right[:-1]
    ends[order[1:], 0] = estimate[order[1:]] - left[1:]
    overlap = right[low] + left[high] > gap
    return list(
        zip(i[overlap != (gap <= least)], j[overlap != (gap <= least)], strict=True)
    )


def _tukey(alpha, count, df):
    df = df if np.isfinite(df) else np.inf
    return float(stats.studentized_range.ppf(1 - alpha, count, df) / np.sqrt(2))
