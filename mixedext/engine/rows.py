"""One partition of the rows: y, X, the columns of Z and their levels, chunk by chunk.

Columns stay where they are, in whatever numeric type; chunks that fit in the cache are
shifted, weighted and laid out for the kernels, one row of the array a column.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["Rows"]

CHUNK = 4096


class Rows:
    """Rows of a model, given by columns.

    Parameters
    ----------
    y : ndarray
        Response less offset, (n,), finite.
    x : ndarray
        Fixed-effects columns, (n, p), finite.
    terms : sequence of RandomTerm
        Random terms with their rows.
    weights : ndarray, optional
        Precision weights, positive: rows enter times their square roots.
    """

    def __init__(self, y, x, terms, weights=None):
        self.y, self.x, self.terms, self.weights = y, x, tuple(terms), weights
        self.columns = [t.columns for t in self.terms]
        self.nobs, self.n_columns = len(y), x.shape[1]

    @property
    def log_weights(self) -> float:
        """Sum of the logarithms of the weights."""
        return 0.0 if self.weights is None else float(np.log(self.weights).sum())

    def chunks(self, step: int = 1) -> Iterator[slice]:
        """Slices of the rows; only every ``step``-th."""
        for start in range(0, self.nobs, CHUNK * step):
            yield slice(start, min(start + CHUNK, self.nobs))

    @property
    def n_chunks(self) -> int:
        return -(-self.nobs // CHUNK)

    def fixed(self, at: slice, shift=None, kept=None, weighted=True) -> np.ndarray:
        """Weighted columns of [X y] less ``shift`` (p + 1,) for a chunk, (p + 1, m).

        Only the columns ``kept`` of X, if given; ``shift`` is then that of these.
        """
        x = self.x[at] if kept is None else self.x[at][:, kept]
        out = np.empty((x.shape[1] + 1, len(x)))
        out[:-1] = x.T
        out[-1] = self.y[at]
        return self._finished(out, at, shift, weighted)

    def random(self, number: int, at: slice, shift=None, weighted=True) -> np.ndarray:
        """Weighted columns of term ``number`` less ``shift`` (k,), (k, m)."""
        columns = self.columns[number]
        out = np.empty((len(columns), at.stop - at.start))
        for j, column in enumerate(columns):
            out[j] = 1.0 if column is None else column[at]
        return self._finished(out, at, shift, weighted)

    def _finished(self, out, at, shift, weighted):
        if shift is not None and any(shift.tolist()):
            out -= shift[:, None]
        if weighted and self.weights is not None:
            out *= np.sqrt(self.weights[at])
        return out
