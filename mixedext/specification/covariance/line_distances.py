"""Distances between the rows of long groups on a line, made when they are asked for.

A series of s rows has s^2 distances, and an autoregression in time needs the s - 1 gaps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

__all__ = ["LineDistances"]


class LineDistances(NDArrayOperatorsMixin):
    """|t_a - t_b| of c groups of s rows, an array (c, s, s) to whoever computes with it.

    Parameters
    ----------
    times : ndarray
        (c, s).
    """

    ndim = 3
    dtype = np.dtype(float)

    def __init__(self, times: np.ndarray):
        self.times = np.asarray(times, float)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, s, s)."""
        count, size = self.times.shape
        return count, size, size

    def __len__(self) -> int:
        return len(self.times)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        out = self.times[:, :, None] - self.times[:, None, :]
        np.abs(out, out=out)
        return out if dtype is None else out.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        given = [np.asarray(x) if isinstance(x, LineDistances) else x for x in inputs]
        return getattr(ufunc, method)(*given, **options)

    def __getitem__(self, key: Any) -> Any:
        """Distances of some of the groups, or of some pairs: place[groups, a, b]."""
        if isinstance(key, tuple):
            group, first, second = key
            return np.abs(self.times[group, first] - self.times[group, second])
        return LineDistances(self.times[key])

    def total(self) -> np.ndarray:
        """Sum of the distances of each group, (c,)."""
        size = self.times.shape[1]
        # the k-th smallest is the larger of k pairs and the smaller of size - 1 - k
        weight = 2.0 * (2 * np.arange(size) - (size - 1))
        return np.sort(self.times, axis=1) @ weight

    def gaps(self) -> np.ndarray:
        """Differences of neighbours on the line, (c, s - 1)."""
        return np.diff(np.sort(self.times, axis=1), axis=1)
