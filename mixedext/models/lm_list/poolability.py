"""Whether one regression serves for all groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from mixedext.models.lm_list.least_squares import GroupRegressions, least_squares_by_group
from mixedext.tables.statistical_tests import TestResult

__all__ = ["PoolabilityTest", "poolability"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PoolabilityTest(TestResult):
    """F test of one regression for all groups against one for each.

    Attributes
    ----------
    statistic : float
        F; NaN without degrees of freedom.
    pvalue : float
        Its p-value.
    df_num, df_denom : int
        Coefficients that one regression saves, and pooled residual degrees of freedom.
    """

    def __repr__(self) -> str:
        dfs = f"{self.df_num}, {self.df_denom}"
        return (
            "All coefficients the same in all groups:\n"
            f"F({dfs}) = {self.statistic:.5g}, p = {self.pvalue:.3g}"
        )


def poolability(
    columns: Any, y: np.ndarray, fits: GroupRegressions, weights: np.ndarray | None = None
) -> PoolabilityTest:
    """F test that all coefficients are the same in all groups (Chow's test).

    Parameters
    ----------
    columns, y, weights : ndarray
        What the groups' regressions were made from.
    fits : GroupRegressions
        The regressions.

    Returns
    -------
    PoolabilityTest
    """
    everyone = np.zeros(len(y), np.int64)
    one = least_squares_by_group(columns, y, everyone, 1, weights)
    df_num, scale = int(fits.ranks.sum() - one.ranks[0]), fits.pooled_sigma
    gain = one.residual_squares[0] - fits.residual_squares.sum()
    statistic = gain / df_num / scale**2 if df_num > 0 and scale > 0 else np.nan
    pvalue = stats.f.sf(statistic, df_num, fits.pooled_df)
    return PoolabilityTest(
        statistic=float(statistic),
        pvalue=float(pvalue),
        df_num=df_num,
        df_denom=fits.pooled_df,
        method="F",
    )
