"""One least-squares regression a group, with own and pooled residual variances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixedext.kernels.rows.group_regression import group_regressions

__all__ = ["GroupRegressions", "least_squares_by_group"]


@dataclass(frozen=True, eq=False)
class GroupRegressions:
    """Regressions of all groups.

    Attributes
    ----------
    coefficients : ndarray
        (L, p); NaN where a group does not determine a coefficient.
    unscaled : ndarray
        Diagonals of (X_l'W_l X_l)^-1 with the weights W, (L, p); NaN likewise.
    residual_squares : ndarray
        Weighted residual sums of squares, (L,).
    ranks, sizes : ndarray
        Rank of X_l and number of rows, (L,) int.
    residuals : ndarray
        (n,) in the order of the rows, not multiplied by weights.
    """

    coefficients: np.ndarray
    unscaled: np.ndarray
    residual_squares: np.ndarray
    ranks: np.ndarray
    sizes: np.ndarray
    residuals: np.ndarray

    @property
    def df_resid(self) -> np.ndarray:
        """Residual degrees of freedom of every group."""
        return self.sizes - self.ranks

    @property
    def sigma(self) -> np.ndarray:
        """Residual standard deviation of every group, NaN without degrees of freedom."""
        return _root_mean(self.residual_squares, self.df_resid)

    @property
    def pooled_df(self) -> int:
        """Residual degrees of freedom of all groups together."""
        return int(self.df_resid.sum())

    @property
    def pooled_sigma(self) -> float:
        """Residual standard deviation common to the groups."""
        return float(_root_mean(self.residual_squares.sum(), self.pooled_df))


def _root_mean(squares, df):
    return np.sqrt(squares / np.where(df > 0, df, np.nan))


def least_squares_by_group(
    columns: Any,
    y: np.ndarray,
    codes: np.ndarray,
    n_groups: int,
    weights: np.ndarray | None = None,
) -> GroupRegressions:
    """Regress y on the columns in every group.

    Parameters
    ----------
    columns : ndarray
        Regressors, (n, p).
    y : ndarray
        Response, (n,).
    codes : ndarray
        Number of every row's group, (n,) int from 0 to ``n_groups`` - 1; every group has
        a row.
    n_groups : int
        Number of groups.
    weights : ndarray, optional
        Precision weights, positive, (n,): variances are sigma^2 / weight.

    Returns
    -------
    GroupRegressions

    Notes
    -----
    A column that depends on those before it in the formula is left out in that group, as
    R's ``lm`` does.  Unlike there, every coefficient that then depends on this choice is
    NaN too: the intercept of a group with one value of x is no intercept.
    """
    columns = np.asarray(columns, float)
    n, p = columns.shape
    sizes = np.bincount(codes, minlength=n_groups).astype(np.int64)
    start = np.concatenate([[0], np.cumsum(sizes)])
    sorted_already = n == 0 or bool(np.all(codes[1:] >= codes[:-1]))
    order = np.arange(n) if sorted_already else np.argsort(codes, kind="stable")
    table = np.ascontiguousarray(columns.T)
    constant = [j for j in range(p) if table[j, 0] != 0 and np.ptp(table[j]) == 0]
    places = np.arange(p)
    if constant:
        places = np.r_[constant[0], np.delete(places, constant[0])]
        if constant[0] != 0:
            table = np.ascontiguousarray(table[places])
    coefficients, unscaled = np.empty((n_groups, p)), np.empty((n_groups, p))
    squares, residuals = np.empty(n_groups), np.empty(n)
    ranks = np.empty(n_groups, np.int64)
    group_regressions(
        table,
        np.ascontiguousarray(y, dtype=float),
        np.empty(0) if weights is None else np.sqrt(weights, dtype=float),
        order.astype(np.int64, copy=False),
        start.astype(np.int64, copy=False),
        bool(constant),
        coefficients=coefficients,
        unscaled=unscaled,
        squares=squares,
        ranks=ranks,
        residuals=residuals,
    )
    if constant and constant[0] != 0:
        back = np.argsort(places)
        coefficients, unscaled = coefficients[:, back], unscaled[:, back]
    return GroupRegressions(coefficients, unscaled, squares, ranks, sizes, residuals)
