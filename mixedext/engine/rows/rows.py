"""One partition of the rows: y, X, the columns of Z and their levels, chunk by chunk.

Columns stay where they are, in whatever numeric type; chunks that fit in the cache are
shifted, weighted and laid out for the kernels, one row of the array a column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm
from mixedext.specification.terms.spread_terms import SpreadTerm

__all__ = ["Rows"]

CHUNK = 4096


def _columns_of(term):
    """Columns of a term; of rows of several levels all that is asked for is their size."""
    if isinstance(term, SpreadTerm):
        return term.columns_by_square()
    return (term.row_lengths,) if isinstance(term, SparseTerm) else term.columns


class Rows:
    """Rows of a model, given by columns.

    Parameters
    ----------
    y : ndarray
        Response less offset, (n,), finite.
    x : ndarray
        Fixed-effects columns, (n, p), finite.
    terms : sequence of RandomTerm or SparseTerm
        Random terms with their rows.
    weights : ndarray, optional
        Precision weights, positive: rows enter times their square roots.
    """

    def __init__(
        self,
        y: np.ndarray,
        x: np.ndarray,
        terms: Sequence[RandomTerm | SparseTerm],
        weights: np.ndarray | None = None,
    ):
        self.y, self.x, self.terms, self.weights = y, x, tuple(terms), weights
        self.columns = [_columns_of(t) for t in self.terms]
        self.nobs, self.n_columns = len(y), x.shape[1]
        self.n_chunks = -(-self.nobs // CHUNK)
        # columns laid out, if there is one chunk: the passes ask again
        self._only: dict[str | int, np.ndarray] = {}

    @property
    def log_weights(self) -> float:
        """Sum of the logarithms of the weights."""
        return 0.0 if self.weights is None else float(np.log(self.weights).sum())

    def chunks(
        self, step: int = 1, first: int = 0, last: int | None = None
    ) -> Iterator[slice]:
        """Slices of the rows: every ``step``-th from ``first`` to before ``last``."""
        for number in range(first, self.n_chunks if last is None else last, step):
            yield slice(number * CHUNK, min((number + 1) * CHUNK, self.nobs))

    def fixed(
        self,
        at: slice,
        shift: np.ndarray | None = None,
        kept: np.ndarray | None = None,
        weighted: bool = True,
    ) -> np.ndarray:
        """Weighted columns of [X y] less ``shift`` (p + 1,) for a chunk, (p + 1, m).

        Only the columns ``kept`` of X, if given; ``shift`` is then that of these.
        """
        out = self._only.get("fixed") if kept is None else None
        if out is None:
            x = self.x[at] if kept is None else self.x[at][:, kept]
            out = np.empty((x.shape[1] + 1, len(x)))
            out[:-1] = x.T
            out[-1] = self.y[at]
            if kept is None and self.n_chunks == 1:
                self._only["fixed"] = out
        return self._finished(out, at, shift, weighted)

    def random(
        self, number: int, at: slice, shift: np.ndarray | None = None, weighted: bool = True
    ) -> np.ndarray:
        """Weighted columns of term ``number`` less ``shift`` (k,), (k, m)."""
        out = self._only.get(number)
        if out is None:
            columns = self.columns[number]
            out = np.empty((len(columns), at.stop - at.start))
            for j, column in enumerate(columns):
                out[j] = 1.0 if column is None else column[at]
            if self.n_chunks == 1:
                self._only[number] = out
        return self._finished(out, at, shift, weighted)

    def codes(self, number: int) -> np.ndarray:
        """Level of every row for term ``number``, a RandomTerm; (n,)."""
        term = self.terms[number]
        if not isinstance(term, RandomTerm):
            raise TypeError(f"rows have several levels of {term.label}")
        return term.codes

    def _finished(self, out, at, shift, weighted):
        place = None if self.n_chunks == 1 else out
        if shift is not None and any(shift.tolist()):
            out = np.subtract(out, shift[:, None], out=place)
        if weighted and self.weights is not None:
            out = np.multiply(out, np.sqrt(self.weights[at]), out=place)
        return out
