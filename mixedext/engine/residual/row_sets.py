"""Sets of rows of a fit, beside which others are looked at some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["RowSets"]

# Numbers that an array of joint rows holds at most; rows to predict beside few others.
MOST_NUMBERS, SOME_ROWS = 2**22, 16
# Old rows from which on a quarter as many new ones are enough: memory is what is short.
MANY_ROWS = 2000


@dataclass(frozen=True, eq=False)
class RowSets:
    """Sets of rows: of groups, or of clusters.

    Attributes
    ----------
    number : ndarray
        Set of every row, (n,).
    order : ndarray
        Rows by set.
    start : ndarray
        First of the rows of each set, and their end.
    """

    number: np.ndarray
    order: np.ndarray
    start: np.ndarray

    @classmethod
    def of(cls, number: np.ndarray, count: int) -> RowSets:
        size = np.bincount(number, minlength=count)
        order = np.argsort(number, kind="stable")
        return cls(number, order, np.concatenate([[0], np.cumsum(size)]))

    @property
    def size(self) -> np.ndarray:
        """Rows of each set."""
        return np.diff(self.start)

    def joined(self, several: list[np.ndarray]) -> RowSets:
        """With further sets, the unions of some."""
        rows = [
            np.concatenate([self.order[self.start[k] : self.start[k + 1]] for k in own])
            for own in several
        ]
        ends = self.start[-1] + np.cumsum([len(r) for r in rows])
        return RowSets(
            self.number,
            np.concatenate([self.order, *rows]),
            np.concatenate([self.start, ends]),
        )

    def blocks(
        self, key: np.ndarray, copies: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Sets of old rows (G, s), and the new ones beside them (G, t).

        Parameters
        ----------
        key : ndarray
            Set of each new row, (n,); negative for none.
        copies : int
            Numbers that are held for each old and new row.
        """
        if not len(key):
            return
        first = np.append(self.start[:-1], 0)  # the last for no set
        size = np.append(self.size, 0)
        order = np.argsort(key, kind="stable")
        own = key[order]
        begins = np.append(True, own[1:] != own[:-1])
        rank = np.arange(len(own)) - np.flatnonzero(begins)[np.cumsum(begins) - 1]
        # as many new rows at once as there are old ones: V of these is factored each time
        most = np.where(size > MANY_ROWS, size // 4, size)
        piece = rank // np.maximum(most, SOME_ROWS)[own]
        begins |= np.append(True, piece[1:] != piece[:-1])
        start = np.flatnonzero(begins)
        new_size = np.diff(np.append(start, len(own)))
        old_size, old_first = size[own[start]], first[own[start]]
        pairs, pair = np.unique(
            np.column_stack([old_size, new_size]), axis=0, return_inverse=True
        )
        for number, (s, t) in enumerate(pairs):
            chosen = np.flatnonzero(pair.ravel() == number)
            step = max(1, MOST_NUMBERS // int((s + t) * (s + t + copies * t)))
            for k in range(0, len(chosen), step):
                some = chosen[k : k + step]
                yield (
                    self.order[old_first[some][:, None] + np.arange(s)],
                    order[start[some][:, None] + np.arange(t)],
                )
