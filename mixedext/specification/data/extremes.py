"""Least and greatest values: one pass finds missing, infinite and constant columns."""

from __future__ import annotations

from math import isfinite

import numpy as np

from mixedext.kernels.rows import scans as kernel

__all__ = ["all_finite", "are_finite", "column_extremes"]

# Rows of a contiguous column looked at at once: they stay in the cache for both extremes.
_CHUNK = 1 << 15
_COMPILED = {
    np.dtype(np.float64): kernel.column_extremes["double"],
    np.dtype(np.float32): kernel.column_extremes["float"],
}
# Below this many rows NumPy's two calls a column take longer than the values.
_FEW_ROWS = 2000


def column_extremes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest value of each column of (n, k) or (n,) real numbers, n > 0.

    One of the two is not finite exactly where the column has a value that is not.
    """
    x = values[:, None] if values.ndim == 1 else values
    k = x.shape[1]
    low, high = np.empty(k), np.empty(k)
    compiled = _COMPILED.get(x.dtype)
    if compiled is not None and (x.strides[0] != x.itemsize or len(x) < _FEW_ROWS):
        compiled(x, low, high)
        return low, high
    for j in range(k):
        low[j], high[j] = _extremes(x[:, j])
    return low, high


def _extremes(column):
    if column.dtype.kind in "iub" or len(column) <= _CHUNK:
        return column.min(), column.max()
    starts = range(0, len(column), _CHUNK)
    parts = [column[i : i + _CHUNK] for i in starts]
    return (
        np.min([p.min() for p in parts]),
        np.max([p.max() for p in parts]),
    )


def all_finite(values: np.ndarray) -> bool:
    """Whether real numbers, (n,) or (n, k), have neither missing nor infinite values."""
    if values.dtype.kind in "iub" or values.size == 0:
        return True
    return are_finite(column_extremes(values))


def are_finite(extremes: tuple[np.ndarray, np.ndarray]) -> bool:
    """Whether columns with these extremes have finite values only."""
    return all(map(isfinite, (*extremes[0].tolist(), *extremes[1].tolist())))
