"""One least-squares regression a group, with own and pooled residual variances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixedext.engine.rows.group_regressions import (
    GroupRegressions,
    least_squares_by_group,
)

__all__ = [
    "GroupRegressions",
    "Homogeneity",
    "homogeneity",
    "least_squares_by_group",
]


@dataclass(frozen=True, eq=False)
class Homogeneity:
    """Tests of whether a coefficient is the same in all groups.

    Attributes
    ----------
    statistic : ndarray
        F for every coefficient, (p,).
    df_num : ndarray
        Groups that determine the coefficient, less 1.
    df_denom : int
        Pooled residual degrees of freedom.
    """

    statistic: np.ndarray
    df_num: np.ndarray
    df_denom: int


def homogeneity(fits: GroupRegressions) -> Homogeneity:
    """F tests that each coefficient is the same in all groups, the others being free.

    The estimates b_l of the groups are independent with variances sigma^2 v_l, so that
    sum_l (b_l - b)^2 / v_l, with the weighted mean b, is sigma^2 times a chi-square.

    Parameters
    ----------
    fits : GroupRegressions
        The regressions.

    Returns
    -------
    Homogeneity
    """
    weight = np.where(np.isnan(fits.unscaled), 0.0, 1.0 / fits.unscaled)
    value = np.nan_to_num(fits.coefficients)
    count = np.count_nonzero(weight, axis=0)
    total = np.where(count > 0, weight.sum(axis=0), np.nan)
    spread = value - (weight * value).sum(axis=0) / total
    squares = (weight * spread**2).sum(axis=0)
    df_num = count - 1
    mean_square = squares / np.where(df_num > 0, df_num, np.nan)
    scale = fits.pooled_sigma
    statistic = mean_square / scale**2 if scale > 0 else np.full(len(count), np.nan)
    return Homogeneity(statistic, df_num, fits.pooled_df)
