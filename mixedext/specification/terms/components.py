"""Variance components of statsmodels: columns within groups, one variance for all of them.

A component has any number of columns in every group, and a row any number of non-zeros.
Columns that share rows hang together; what hangs together is a *level*, and levels are
independent of each other.  With few columns a level the component is an ordinary random
term, Z padded with columns of zeros, which leave the likelihood as it is; else it is a
term with a general sparse Z.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse import csgraph

from mixedext.specification.covariance.identity import IdentityMultiple
from mixedext.specification.data.labels import CODE, ProductLevels, level_index, used_levels
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["ColumnLabels", "Component", "ComponentColumns"]

# Levels of more columns than this, or that padding would make so many times larger, are
# left to the term of a general sparse Z.
MOST_COLUMNS, MOST_WASTE = 8, 4


class ColumnLabels:
    """Labels of columns in runs of prefix + level + suffix, written when looked at.

    Parameters
    ----------
    runs : sequence of tuple
        (prefix, levels, suffix); the label is the prefix alone if levels is None.
    """

    def __init__(self, runs: Iterable[tuple[str, Any, str]]):
        self._runs = tuple(runs)
        self._index: np.ndarray | None = None

    @classmethod
    def of(cls, labels: Iterable[Any]) -> ColumnLabels:
        """From labels as they are."""
        return cls([(str(label), None, "") for label in labels])

    def __len__(self) -> int:
        return sum(1 if v is None else len(v) for _, v, _ in self._runs)

    @property
    def index(self) -> np.ndarray:
        """All labels, an array of objects."""
        if self._index is None:
            written = []
            for prefix, levels, suffix in self._runs:
                if levels is None:
                    written.append(prefix)
                else:
                    written += [f"{prefix}{level}{suffix}" for level in levels]
            self._index = np.array(written, dtype=object)
        return self._index

    def take(self, numbers: np.ndarray) -> list[str]:
        """The labels of these numbers."""
        if self._index is not None or len(numbers) * 10 > len(self):
            return self.index[numbers].tolist()
        starts = np.cumsum([0] + [1 if v is None else len(v) for _, v, _ in self._runs])
        out = []
        for number in np.asarray(numbers).tolist():
            run = int(np.searchsorted(starts, number, side="right")) - 1
            prefix, levels, suffix = self._runs[run]
            level = "" if levels is None else levels[number - starts[run]]
            out.append(f"{prefix}{level}{suffix}")
        return out

    @property
    def levels(self) -> pd.Index:
        """Levels alone, without what stands around them, where there is one run."""
        if len(self._runs) == 1 and self._runs[0][1] is not None:
            return pd.Index(self._runs[0][1])
        return pd.Index(self.index, dtype=object)


@dataclass(frozen=True, eq=False)
class Component:
    """The columns of a variance component and where the engine has their effects.

    Attributes
    ----------
    name : str
        Name of the component.
    n_groups : int
        Number of groups.
    column_group : ndarray
        Group of every column, (q,), ascending.
    column_label : ndarray
        Number of every column's label, (q,).
    labels : ColumnLabels
        The labels.
    complete : bool
        Whether every group has a column of every label; those not among the q columns
        are zero.
    place : ndarray
        (q,) number of every column's effect among the effects of the term, row by row;
        -1 where the column is zero, so that there is no effect.
    n_effects : int
        Number of effects of the term, L k, those that pad levels of fewer columns included.
    """

    name: str
    n_groups: int
    column_group: np.ndarray
    column_label: np.ndarray
    labels: ColumnLabels
    complete: bool
    place: np.ndarray
    n_effects: int

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of columns of every group, zero columns included."""
        if self.complete:
            return np.full(self.n_groups, len(self.labels))
        return np.bincount(self.column_group, minlength=self.n_groups)

    @cached_property
    def slots(self) -> np.ndarray:
        """(q,) place of every column among those of its group."""
        if self.complete:
            return self.column_label
        starts = np.cumsum(self.sizes) - self.sizes
        return np.arange(len(self.column_group)) - starts[self.column_group]

    def label_numbers(self, group: int) -> np.ndarray:
        """Numbers of the labels of a group's columns."""
        if self.complete:
            return np.arange(len(self.labels))
        start = int(np.searchsorted(self.column_group, group))
        return self.column_label[start : start + self.sizes[group]]

    def values(self, effects: np.ndarray) -> np.ndarray:
        """(q,) effects of the columns from those of the term, (L, k)."""
        out = np.zeros(len(self.place))
        has = self.place >= 0
        out[has] = np.ravel(effects)[self.place[has]]
        return out

    def draw(self, rng: Any, shape: tuple[int, int]) -> np.ndarray:
        """Standard normal effects of the term, (L, k), drawn group by group."""
        starts = np.cumsum(self.sizes) - self.sizes
        drawn = rng.normal(size=int(self.sizes.sum()))
        out, has = np.zeros(shape), self.place >= 0
        number = starts[self.column_group] + self.slots
        out.flat[self.place[has]] = drawn[number[has]]
        return out

    def matrix(self, term: RandomTerm | SparseTerm) -> sparse.csr_array:
        """The q columns, from the term that was made of them."""
        flat, pointers, values = _flat_entries(term)
        column = np.full(int(self.place.max(initial=-1)) + 2, -1, np.int64)
        has = self.place >= 0
        column[self.place[has]] = np.flatnonzero(has)
        # a level that stands in for none has places beyond those of any column
        column = column[np.minimum(flat, len(column) - 1)]
        kept = (column >= 0) & (values != 0)
        before = np.concatenate([[0], np.cumsum(kept)])
        shape = len(pointers) - 1, len(self.place)
        entries = values[kept], column[kept], before[pointers]
        return sparse.csr_array(entries, shape=shape)

    def columns(
        self, term: RandomTerm | SparseTerm, group_codes: np.ndarray, levels: pd.Index
    ) -> ComponentColumns:
        """The columns with their rows, as before the term was made."""
        return ComponentColumns(
            self.name,
            self.matrix(term),
            np.asarray(group_codes),
            levels,
            self.column_group,
            self.column_label,
            self.labels,
            self.complete,
        )


def _flat_entries(term):
    """Places among the term's effects, row pointers and values of the entries of Z."""
    if isinstance(term, RandomTerm):
        n, k = len(term.codes), term.k
        flat = (term.codes[:, None].astype(np.int64) * k + np.arange(k)).ravel()
        return flat, np.arange(n + 1) * k, term.z.ravel()
    matrix = sparse.csr_array(term.matrix)
    return matrix.indices, matrix.indptr, matrix.data


@dataclass(frozen=True, eq=False)
class ComponentColumns:
    """Columns of a variance component with their rows.

    Attributes
    ----------
    name : str
        Name of the component.
    matrix : csr_array
        (n, q); each column is zero outside one group.
    group_codes : ndarray
        Group of every row, (n,), -1 where it is missing.
    levels : Index
        Labels of the groups.
    column_group, column_label, labels, complete
        As of a Component.
    """

    name: str
    matrix: sparse.csr_array
    group_codes: np.ndarray
    levels: pd.Index
    column_group: np.ndarray
    column_label: np.ndarray
    labels: ColumnLabels
    complete: bool = False

    @property
    def label(self) -> str:
        """For messages."""
        return f"(variance component {self.name!r})"

    def any_missing(self) -> bool:
        """Whether some row has a value that is missing or infinite."""
        return not bool(np.isfinite(self.matrix.data).all())

    def missing(self) -> np.ndarray:
        """Rows with a missing value, (n,) bool."""
        absent = np.concatenate([[0], np.cumsum(np.isnan(self.matrix.data))])
        pointers = self.matrix.indptr
        return absent[pointers[1:]] > absent[pointers[:-1]]

    def take(self, rows: Any) -> ComponentColumns:
        """The columns on some of the rows; those of groups that vanish are dropped."""
        codes, _ = used_levels(self.group_codes[rows], self.levels)
        present = np.zeros(len(self.levels), bool)
        present[self.group_codes[rows]] = True
        number = np.cumsum(present) - 1
        kept = present[self.column_group]
        return replace(
            self,
            matrix=sparse.csr_array(self.matrix[rows][:, kept]),
            group_codes=codes,
            levels=self.levels[present],
            column_group=number[self.column_group[kept]],
            column_label=self.column_label[kept],
        )

    def settle(self) -> tuple[RandomTerm | SparseTerm, Component]:
        """The random term, and the component that tells of its columns.

        Returns
        -------
        term : RandomTerm or SparseTerm
        component : Component
        """
        matrix = self.matrix
        if not matrix.data.all():
            matrix = matrix.copy()
            matrix.eliminate_zeros()
        per_row = np.diff(matrix.indptr)
        used = np.zeros(matrix.shape[1], bool)
        used[matrix.indices] = True
        scalar = not (per_row > 1).any()
        if scalar:
            level = np.where(used, np.cumsum(used) - 1, -1)
            position = np.zeros(len(used), np.int64)
        else:
            level, position = _connected(matrix, used)
        k = int(position.max(initial=0)) + 1
        n, n_levels = matrix.shape[0], int(level.max(initial=-1)) + 1
        wasteful = k > MOST_COLUMNS or n_levels * k > MOST_WASTE * used.sum()
        wasteful |= n * k > MOST_WASTE * max(matrix.nnz, n)
        if k > 1 and wasteful:
            return self._sparse_term(matrix, used)
        return self._padded_term(matrix, per_row, level, position, k, n_levels)

    def _sparse_term(self, matrix, used):
        if not used.all():
            matrix = sparse.csr_array(matrix[:, used])
        levels = level_index(self._level_labels(np.flatnonzero(used)))
        # labels that stand twice in a group are no names of levels
        term = SparseTerm(matrix, self.name, levels if levels.is_unique else None)
        place = np.where(used, np.cumsum(used) - 1, -1)
        return term, self._component(place, matrix.shape[1])

    def _padded_term(self, matrix, per_row, level, position, k, n_levels):
        n = matrix.shape[0]
        first = _first_column(level, n_levels)
        groups = self.column_group[first]
        # Rows without a non-zero stand at a level of their own group, with z = 0.
        empty = np.flatnonzero(per_row == 0)
        own = np.full(len(self.levels), -1, np.int64)
        own[groups[::-1]] = np.arange(n_levels)[::-1]
        lacking = np.zeros(len(self.levels), bool)
        lacking[self.group_codes[empty]] = True
        lacking &= own < 0
        if lacking.any():  # a level for each group that has none, in the groups' order
            added = np.flatnonzero(lacking)
            every = np.concatenate([groups, added])
            rank = np.empty(len(every), np.int64)
            rank[np.argsort(every, kind="stable")] = np.arange(len(every))
            level = np.where(level >= 0, rank[level], -1)
            own = np.where(own >= 0, rank[own], own)
            own[added] = rank[n_levels:]
            first = np.concatenate([first, np.full(len(added), -1)])[np.argsort(rank)]
            groups, n_levels = every[np.argsort(rank)], len(every)
        codes = np.empty(n, CODE)
        some = per_row > 0
        starts = matrix.indptr[:-1]
        codes[some] = level[matrix.indices[starts[some]]]
        codes[empty] = own[self.group_codes[empty]]
        columns: list[np.ndarray | None]
        if k > 1:
            z = np.zeros((n, k), order="F")
            rows = np.repeat(np.arange(n), per_row)
            z[rows, position[matrix.indices]] = matrix.data
            columns = [z[:, j] for j in range(k)]
        elif len(empty) == 0:
            columns = [None if (matrix.data == 1.0).all() else matrix.data]
        else:
            only = np.zeros(n)
            only[some] = matrix.data
            columns = [only]
        alone = n_levels == len(self.levels) and np.array_equal(groups, np.arange(n_levels))
        term = RandomTerm.of_columns(
            codes,
            columns,
            self.name,
            self._names(columns, level, position, k),
            IdentityMultiple.of(k),
            self.levels if alone else self._level_labels(first, groups),
        )
        place = np.where(level >= 0, level * k + position, -1)
        return term, self._component(place, n_levels * k)

    def _names(self, columns, level, position, k):
        """Names of the term's columns: their label where all levels have the same."""
        if k == 1 and columns[0] is None:
            return ["Intercept"]
        names = []
        for j in range(k):
            numbers = self.column_label[(level >= 0) & (position == j)]
            if len(numbers) and (numbers == numbers[0]).all():
                names += self.labels.take(numbers[:1])
            else:
                names.append(self.name if k == 1 else f"{self.name}.{j + 1}")
        return names

    def _component(self, place, n_effects):
        return Component(
            self.name,
            len(self.levels),
            self.column_group,
            self.column_label,
            self.labels,
            self.complete,
            place,
            n_effects,
        )

    def _level_labels(self, first, groups=None):
        """Labels of levels by their group and first column, -1 for none."""
        labels = self.labels.levels
        width = len(labels) + 1
        number = np.where(first >= 0, self.column_label[first], width - 1)
        groups = self.column_group[first] if groups is None else groups
        if (first < 0).any():
            labels = labels.astype(object).insert(width - 1, "none")
        else:
            width -= 1
        if len(self.levels) == 1:
            return level_index(labels)[number]
        return ProductLevels(self.levels, labels, groups.astype(np.int64) * width + number)


def _connected(matrix, used):
    """Level of every column (-1 if it is zero) and its place among those of its level."""
    n, q = matrix.shape
    # the graph of rows and columns: columns that share a row hang together
    pointers = np.concatenate([matrix.indptr, np.full(q, matrix.indptr[-1])])
    entries = np.ones(matrix.nnz, np.int8), matrix.indices + n, pointers
    graph = sparse.csr_array(entries, shape=(n + q, n + q))
    _, part = csgraph.connected_components(graph, directed=False)
    columns = np.flatnonzero(used)
    _, first, inverse = np.unique(part[n:][columns], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))  # by the first column
    level = np.full(q, -1, np.int64)
    level[columns] = rank[inverse]
    order = columns[np.argsort(level[columns], kind="stable")]
    counts = np.bincount(level[columns], minlength=len(first))
    position = np.zeros(q, np.int64)
    starts = np.cumsum(counts) - counts
    position[order] = np.arange(len(order)) - starts[level[order]]
    return level, position


def _first_column(level, n_levels):
    first = np.empty(n_levels, np.int64)
    columns = np.flatnonzero(level >= 0)[::-1]
    first[level[columns]] = columns
    return first
