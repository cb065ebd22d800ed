"""Random effects of levels that are related: b ~ N(0, v A), A known.

With A = R R' the effects are b = R u, u ~ N(0, v I): Z b = (Z R) u is a sparse term of the
matrix Z R.  The engine fits u; what users see, modes and their errors, is b.  Levels that
have no record take part: their rows of R come last, and what is known of them comes from
their relations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import linalg, sparse

from mixedext.algebra.roots import semidefinite_root
from mixedext.exceptions import DesignError
from mixedext.limits import ASYMMETRY_GIVEN, MOST_RELATED
from mixedext.specification.data.labels import factorize, level_index
from mixedext.specification.data.tables import as_pandas
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = ["RelatedTerm", "related_term"]

# Names in an error.
_SHOWN = 3


class RelatedTerm(SparseTerm):
    """One random effect a level, with a known relationship of the levels.

    Made by ``RandomTerm(codes, covariance=A)`` or ``precision=``.

    Parameters
    ----------
    codes : ndarray
        Number of each row's level, -1 where it is missing, (n,).
    column : ndarray or None
        Column of the term, (n,); None for an intercept.
    root : csr_array
        R, (q, q), A = R R'.
    group, name : str
        Of the grouping factor, and of the column.
    levels : Index
        The q levels.
    """

    codes: np.ndarray
    values: np.ndarray
    root: sparse.csr_array
    diagonal: np.ndarray

    def __init__(
        self,
        codes: np.ndarray,
        column: np.ndarray | None,
        root: sparse.csr_array,
        group: str,
        name: str,
        levels: pd.Index,
    ):
        known = np.maximum(codes, 0)
        value = np.ones(len(codes)) if column is None else np.asarray(column, float)
        value = np.where(codes < 0, np.nan, value)
        matrix = sparse.diags_array(value) @ root[known]
        super().__init__(matrix, group, levels)
        square = root.copy()
        square.data **= 2
        diagonal = np.asarray(square.sum(axis=1), float).ravel()
        self.__dict__.update(codes=codes, values=value, root=root, diagonal=diagonal)
        self.__dict__["names"] = [name]

    def _with(self, matrix):
        term = super()._with(matrix)
        own = {name: self.__dict__[name] for name in ("root", "diagonal", "names")}
        codes, values = self.codes[:0], self.values[:0]  # of no rows, or set by ``take``
        term.__dict__.update(codes=codes, values=values, **own)
        return term

    @property
    def label(self) -> str:
        """The term in lme4's notation, for messages."""
        column = "1" if self.names == ["Intercept"] else f"0 + {self.names[0]}"
        return f"({column} | {self.group})"

    def __repr__(self) -> str:
        return (
            f"RandomTerm{self.label} with a known relationship: {self.n_levels} levels, "
            f"{self.n_rows} rows"
        )

    def take(self, rows: Any) -> RelatedTerm:
        """The term on some of the rows; all levels stay."""
        term: Any = super().take(rows)
        term.__dict__.update(codes=self.codes[rows], values=self.values[rows])
        return term

    @property
    def plain(self) -> sparse.csr_array:
        """Z of the levels themselves, (n, q): Z times the root is ``matrix``."""
        n = self.n_rows
        entries = self.values, self.codes, np.arange(n + 1)
        return sparse.csr_array(entries, shape=(n, self.n_levels))

    def own_scale(self, effects: np.ndarray) -> np.ndarray:
        """Effects b of the levels from those of the columns, (q, ...)."""
        flat = np.asarray(effects, float)
        out = self.root @ flat.reshape(len(flat), -1)
        return out.reshape(flat.shape)

    def rows_of(self, codes: np.ndarray, values: np.ndarray) -> sparse.csr_array:
        """Rows of the matrix for levels (m,), negative for none, and a column's values."""
        known = codes >= 0
        value = np.where(known, values, 0.0)
        return sparse.csr_array(sparse.diags_array(value) @ self.root[np.maximum(codes, 0)])


def related_term(
    codes: Any,
    z: Any = None,
    group: str = "Group",
    names: Sequence[str] | None = None,
    levels: Any = None,
    covariance: Any = None,
    precision: Any = None,
) -> RelatedTerm:
    """A random term with a known relationship of its levels.

    Parameters
    ----------
    codes, z, group, names, levels
        As for ``RandomTerm``; one column.
    covariance, precision : DataFrame, array_like or sparse array
        A, or its inverse, (q, q).  The rows of a DataFrame are matched by name, others are
        the levels of ``codes`` in their order.

    Raises
    ------
    ValueError
        If the matrix is not a symmetric one of numbers, or a level of the rows has no row
        in it; names it.
    DesignError
        If it is indefinite, or the inverse is singular.
    NotImplementedError
        For more than one column.
    """
    if covariance is not None and precision is not None:
        raise ValueError(
            f"covariance and precision of the random term {group!r} are two statements of "
            "one matrix; give one of them"
        )
    what = "covariance" if precision is None else "precision"
    codes = as_pandas(codes)
    if levels is None:
        codes, found = factorize(codes)
    else:
        codes, found = np.asarray(codes), levels
    index = level_index(found) if not isinstance(found, pd.Index) else found
    column, name = _one_column(as_pandas(z), names, group, len(codes))
    given = covariance if precision is None else precision
    matrix, labels = _matrix(given, index, f"{what} of the random term {group!r}")
    number = _numbers(labels, index, what, group)
    own = np.where(codes < 0, -1, number[np.maximum(codes, 0)])
    seen = np.zeros(len(labels), bool)
    seen[number] = True
    # those with records first: only their columns of the root are in the rows
    order = np.concatenate([np.flatnonzero(seen), np.flatnonzero(~seen)])
    inner = _root(matrix[np.ix_(order, order)], what, group)
    root = np.zeros_like(inner)
    root[order] = inner
    return RelatedTerm(own, column, sparse.csr_array(root), group, name, labels)


def _one_column(z, names, group, n):
    if z is None:
        return None, "Intercept"
    table = np.asarray(z, float)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or table.shape[0] != n:
        raise ValueError(
            f"z of the random term {group!r} has shape {table.shape}, not {n} rows"
        )
    if table.shape[1] != 1:
        raise NotImplementedError(
            f"the random term of {group!r} has {table.shape[1]} columns and a known "
            "relationship of its levels: that is not there; give each column a term of its "
            "own, without correlations"
        )
    own = list(names) if names else list(getattr(z, "columns", [])) or ["z1"]
    if (table == 1.0).all() and not names:
        return None, "Intercept"
    return table[:, 0], str(own[0])


def _matrix(given, index, what):
    """The matrix, (q, q), and its labels."""
    labels = None
    given = as_pandas(given)
    if isinstance(given, pd.DataFrame):
        labels = given.index
        if not labels.is_unique:
            twice = labels[labels.duplicated()][0]
            raise ValueError(f"{what} has {twice!r} twice among its rows")
        if len(given.columns) != len(labels) or set(given.columns) != set(labels):
            raise ValueError(f"{what} must have the same names of rows and columns")
        given = given[labels]
        if all(isinstance(t, pd.SparseDtype) for t in given.dtypes):
            given = given.sparse.to_dense()
    if sparse.issparse(given):
        _check_size(given.shape[0], what)
        given = given.toarray()
    try:
        matrix = np.array(given, float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is not numeric: {error}") from None
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{what} has shape {matrix.shape}; expected a square")
    _check_size(len(matrix), what)
    if labels is None:
        if len(matrix) != len(index):
            raise ValueError(
                f"{what} has {len(matrix)} rows without names, and the rows of the data "
                f"{len(index)} levels; give a DataFrame with the levels as names of rows "
                "and columns"
            )
        labels = index
    size = np.abs(matrix).max(initial=0.0)
    if not np.isfinite(matrix).all():
        raise ValueError(f"{what} holds values that are missing or infinite")
    if np.abs(matrix - matrix.T).max(initial=0.0) > ASYMMETRY_GIVEN * size:
        raise ValueError(f"{what} is not symmetric")
    return (matrix + matrix.T) / 2, labels


def _check_size(q, what):
    if q > MOST_RELATED:
        raise MemoryError(
            f"{what} has {q} levels: its root would take {8e-9 * q * q:.1f} GB; leave out "
            "levels that have no record and are no ancestor of one that has"
        )


def _numbers(labels, index, what, group):
    """Number among the labels of every level of the rows."""
    number = labels.get_indexer(index)
    lacking = index[number < 0]
    if len(lacking):
        shown = ", ".join(repr(name) for name in lacking[:_SHOWN])
        more = f" and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
        alike = set(map(str, labels)) & set(map(str, lacking))
        kinds = "; its names are of another type, numbers or text" if alike else ""
        raise ValueError(
            f"{what} of the random term {group!r} has no row of {shown}{more}, which the "
            f"data have{kinds}"
        )
    return number


def _root(matrix, what, group):
    if what == "precision":
        try:
            lower = np.linalg.cholesky(matrix[::-1, ::-1])
        except np.linalg.LinAlgError:
            raise DesignError(
                f"precision of the random term {group!r} is not positive definite: it is "
                "the inverse of no covariance"
            ) from None
        # K = U U' with U upper triangular: its inverse transposed is a lower root of K^-1
        upper = np.ascontiguousarray(lower[::-1, ::-1])
        return linalg.solve_triangular(upper, np.eye(len(upper)), lower=False).T
    root = semidefinite_root(matrix)
    if root is None:
        least = np.linalg.eigvalsh(matrix)[0]
        raise DesignError(
            f"covariance of the random term {group!r} is not positive semidefinite: its "
            f"least eigenvalue is {least:.3g}"
        )
    return root
