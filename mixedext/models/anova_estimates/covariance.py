"""Covariance of the sums of squares of an analysis of variance, exact for normal data.

Sums of squares y'Qy with QX = 0 have covariance 2 tr(Q_i V Q_j V) under normality (Searle
1971), V = sum_a sigma_a^2 Z_a Z_a' + sigma^2 I.  As Q_i Q_j is Q_i or zero, only

    tr(Q_i V_a Q_j V_b),   V_a = Z_a Z_a',

is left to compute.  Every Q is a sum and difference of projections

    P_F = Z_F D_F^-1 Z_F' + B_F B_F',   D_F = Z_F'Z_F,

with the few columns B_F that the fixed part has within the levels of F, so that the traces
are sums over the cells that two factors share and products of matrices with as many columns
as the fixed part has.

References
----------
S.R. Searle (1971), Linear Models, sections 2.5 and 10.3. Wiley.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from mixedext.models.anova_estimates.sources import GroupingFactor

__all__ = ["Projections"]


class Projections:
    """Projections on the columns of factors and of the fixed part, for their traces.

    Parameters
    ----------
    factors : sequence of GroupingFactor
        The grouping factors.
    bases : sequence of ndarray
        For every factor the fixed part within its levels, (n, r) orthonormal.
    exog : ndarray
        Orthonormal basis of the fixed part, (n, p).
    """

    def __init__(
        self,
        factors: Sequence[GroupingFactor],
        bases: Sequence[np.ndarray],
        exog: np.ndarray,
    ):
        self.factors = factors
        self._parts: list[tuple[GroupingFactor | None, np.ndarray]] = [
            *zip(factors, bases, strict=True),
            (None, exog),
        ]
        self._sums = {
            (k, a): factor.sums(basis)
            for k, (_, basis) in enumerate(self._parts)
            for a, factor in enumerate(factors)
        }
        self._cells = {
            (a, b): _cells(first, second)
            for a, first in enumerate(factors)
            for b, second in enumerate(factors)
        }

    def pair_traces(self, weights: np.ndarray) -> np.ndarray:
        """tr(Q_i V_a Q_j V_b) for Q_i = sum_k weights[i, k] P_k, (S, S, C, C).

        Parameters
        ----------
        weights : ndarray
            Of the projections of the factors and, last, of the fixed part, (S, C + 1).
        """
        count, n_parts = len(self.factors), len(self._parts)
        traces = np.empty((n_parts, n_parts, count, count))
        for k in range(n_parts):
            for m in range(k + 1):
                for a in range(count):
                    for b in range(a + 1):
                        value = self._trace(k, m, a, b)
                        # cyclic, and the same for the transposed product
                        traces[k, m, a, b] = traces[k, m, b, a] = value
                        traces[m, k, a, b] = traces[m, k, b, a] = value
        return np.einsum("ik,jl,klab->ijab", weights, weights, traces)

    def _trace(self, k, m, a, b):
        """tr(P_k V_a P_l V_b)."""
        first, second = self._parts[k][0], self._parts[m][0]
        left = self._sums[k, a].T @ self._sums[m, a]
        right = self._sums[k, b].T @ self._sums[m, b]
        trace = np.sum(left * right)
        if first is not None:
            trace += self._basis_trace(m, k, a, b)
        if second is not None:
            trace += self._basis_trace(k, m, a, b)
        if first is not None and second is not None:
            trace += self._cell_trace(k, m, a, b)
        return trace

    def _basis_trace(self, k, m, a, b):
        """tr(B_k B_k' V_a Z_l D_l^-1 Z_l' V_b)."""
        left = self._cells[m, a] @ self._sums[k, a]
        right = self._cells[m, b] @ self._sums[k, b]
        return np.sum(left * right / self.factors[m].sizes[:, None])

    def _cell_trace(self, k, m, a, b):
        """tr(Z_k D_k^-1 Z_k' V_a Z_l D_l^-1 Z_l' V_b).

        The product of four is cut in two where a factor has the fewest levels: in nested
        designs a half then has no more entries than a factor has levels.
        """
        cells, factors = self._cells, self.factors
        fewest = min((k, m, a, b), key=lambda i: factors[i].n_levels)
        if fewest in (k, m):
            left = cells[k, a] @ cells[a, m]
            right = cells[k, b] @ cells[b, m]
            right = _scaled(right, 1 / factors[k].sizes, 1 / factors[m].sizes)
        else:
            left = _scaled(cells[a, k], columns=1 / factors[k].sizes) @ cells[k, b]
            right = _scaled(cells[a, m], columns=1 / factors[m].sizes) @ cells[m, b]
        return left.multiply(right).sum()


def _cells(first: GroupingFactor, second: GroupingFactor) -> sparse.csr_array:
    """Z_1'Z_2: the rows of every cell."""
    shape = (first.n_levels, second.n_levels)
    ones = np.ones(len(first.codes))
    return sparse.csr_array((ones, (first.codes, second.codes)), shape=shape)


def _scaled(matrix: Any, rows: Any = None, columns: Any = None) -> Any:
    if rows is not None:
        matrix = sparse.diags_array(rows) @ matrix
    return matrix if columns is None else matrix @ sparse.diags_array(columns)
