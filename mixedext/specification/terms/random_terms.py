"""Random terms: the grouping factor's codes and the columns that vary by level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import DesignError
from mixedext.specification.covariance.registry import STRUCTURES, label, name_of, structure
from mixedext.specification.covariance.term_structure import TermStructure
from mixedext.specification.covariance.unstructured import Unstructured
from mixedext.specification.data.columns import as_floats
from mixedext.specification.data.extremes import are_finite, column_extremes
from mixedext.specification.data.labels import (
    CODE,
    Levels,
    ProductLevels,
    factorize,
    interact,
    level_index,
    used_levels,
)
from mixedext.specification.data.tables import as_pandas
from mixedext.specification.terms.related_terms import related_term
from mixedext.specification.terms.sparse_terms import SparseTerm

__all__ = [
    "RandomTerm",
    "SparseTerm",
    "check_columns",
    "check_group_names",
    "check_levels",
    "check_terms",
    "crowding",
    "factorize",
    "interact",
]


class RandomTerm:
    """One random-effects term: a grouping factor and the columns that vary by level.

    The arrays given are kept, not copied, where their types allow; do not change them.

    Parameters
    ----------
    codes : array_like
        Labels of the grouping factor, one a row, of any type (shape (n,)).
    z : array_like, optional
        Columns of the term (shape (n, k) or (n,)); a random intercept if None.
    group : str, optional
        Name of the grouping factor.
    names : list[str], optional
        Names of the k columns.
    structure : str or object, optional
        Covariance of the k effects of one level: "unstructured", any; "diagonal", one
        variance a column without correlations; "identity", one common variance.  With
        correlations over the columns in their order: "cs" and "homcs", one correlation;
        "ar1" and "hetar1", one that falls geometrically with the lag; "toep" and "homtoep",
        one for each lag; "adh" and "ad", one for each pair of neighbours; those of each
        pair with a variance for each column, and with one variance.  Or an object such as
        ``mx.AR1()``.
    levels : Index, optional
        Given only where ``codes`` are already the integers 0..L-1 into ``levels``.
    covariance, precision : DataFrame, array_like or sparse array, optional
        Known relationship A of the levels, or its inverse, (q, q): effects of one column
        have the covariance v A.  Rows of a DataFrame are matched by name, and levels
        without records are allowed; rows of other matrices are the levels in their order.
        The term is then a ``SparseTerm`` of Z times a root of A.

    Attributes
    ----------
    codes : ndarray
        Number of each row's level, -1 where it is missing; int32, shape (n,).

    Raises
    ------
    ValueError
        If the shapes of ``codes``, ``z`` and ``names`` do not agree, or ``z`` is not
        numeric.

    Examples
    --------
    >>> import numpy as np
    >>> import mixedext as mx
    >>> plate = np.repeat(["a", "b", "c"], 4)
    >>> term = mx.RandomTerm(plate, group="plate")
    >>> term.n_levels, term.k, term.names
    (3, 1, ['Intercept'])
    """

    codes: np.ndarray
    group: str
    names: list[str]
    structure: TermStructure
    _given: tuple[np.ndarray | None, ...]
    _levels: Levels

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        related = ("covariance", "precision")
        if not any(kwargs.get(name) is not None for name in related):
            return object.__new__(cls)
        form = kwargs.pop("structure", args[4] if len(args) > 4 else "unstructured")
        if form != "unstructured":
            raise NotImplementedError(
                f"structure={form!r} beside a known relationship of the levels is not "
                "there: a term of one column has one variance"
            )
        return related_term(*args[:4], **kwargs)

    def __init__(
        self,
        codes: Any,
        z: Any = None,
        group: str = "Group",
        names: Sequence[str] | None = None,
        structure: str | TermStructure = "unstructured",
        levels: Any = None,
        *,
        covariance: Any = None,
        precision: Any = None,
    ):
        codes, z = as_pandas(codes), as_pandas(z)
        if np.ndim(codes) != 1:
            raise ValueError(
                f"codes of the random term {group!r} must have one dimension, "
                f"not {np.ndim(codes)}: a label for each row, such as data['g']"
            )
        if levels is None:
            codes, levels = factorize(codes)
        else:
            levels = levels if isinstance(levels, ProductLevels) else pd.Index(levels)
            codes = _checked_codes(codes, levels, group)
        n = len(codes)
        if z is None:
            columns, table, own_names = (None,), None, ["Intercept"]
        else:
            columns, table, own_names = _read_columns(z, n, group)
        self._put(codes, columns, group, None, levels)
        self.__dict__["_table"] = table
        if names or own_names:
            names = [str(name) for name in names or own_names]
        else:
            names = _default_names(self.columns)
        self.__dict__["names"] = names
        self._check(structure)

    def _put(self, codes, columns, group, names, levels):
        # one by one, past __setattr__: a term does not change
        self.__dict__.update(
            codes=codes, _given=columns, group=group, names=names, _levels=levels
        )

    @classmethod
    def of_columns(
        cls,
        codes: np.ndarray,
        columns: Sequence[np.ndarray | None],
        group: str,
        names: Iterable[str],
        structure: str | TermStructure,
        levels: Levels,
        owners: tuple = (),
        extremes: Sequence[tuple[np.ndarray, np.ndarray] | None] = (),
    ) -> RandomTerm:
        """A term of columns that are known to be sound.

        Parameters
        ----------
        codes : ndarray
            int32 codes into ``levels``.
        columns : sequence of ndarray or None
            Columns, (n,) each, of any real type; None for ones.
        group, names, structure, levels
            As for the class.
        owners : tuple, optional
            Objects that own the columns' memory.  As long as a Series is held pandas
            copies before it writes.
        extremes : sequence, optional
            Least and greatest value of each column, (1,) arrays; None if not known.
        """
        term = object.__new__(cls)
        term._put(codes, tuple(columns), group, list(names), levels)
        term.__dict__.update(_owners=owners, _known=extremes)
        term._check(structure)
        return term

    def _check(self, form):
        if len(self.names) != self.k:
            raise ValueError(
                f"names of the random term {self.group!r} has {len(self.names)} entries "
                f"for {self.k} columns"
            )
        if not isinstance(form, (str, TermStructure)):
            form = name_of(form) or form
        if isinstance(form, str):
            built = STRUCTURES.get(form)
            if self.k == 1 and built is not None and not built.linear:
                raise DesignError(_one_column(form, self.names[0], self.group))
            form = structure(form, self.k)
        elif not isinstance(form, TermStructure) or form.k != self.k:
            raise ValueError(
                f"structure of the random term {self.group!r} must be a name or a "
                f"Structure of random terms, of {self.k} columns, not {form!r}"
            )
        if form.ordered and "Intercept" in self.names:
            raise DesignError(
                f"{form.label('visit', self.group)} is over visits in their order, and the "
                f"columns here are {', '.join(self.names)}: leave out the intercept, as in "
                f"{form.label('0 + visit', self.group)}"
            )
        self.__dict__["structure"] = form

    def __setattr__(self, name: str, value: Any) -> None:
        raise FrozenInstanceError(f"cannot assign to {name!r} of a RandomTerm")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete {name!r} of a RandomTerm")

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        for made in ("_z", "_owners", "_table", "_known", "_extremes", "_any_missing"):
            state.pop(made, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def k(self) -> int:
        """Number of columns."""
        return len(self._given)

    @property
    def n_rows(self) -> int:
        """Rows of the data."""
        return len(self.codes)

    @property
    def levels(self) -> pd.Index:
        """Levels of the grouping factor."""
        return level_index(self._levels)

    @property
    def n_levels(self) -> int:
        """Number of levels of the grouping factor."""
        return len(self._levels)

    @property
    def columns(self) -> tuple[np.ndarray | None, ...]:
        """The k columns, (n,) each, of any real type; None for a column of ones."""
        low, high = self.extremes
        return tuple(
            None if a == b == 1.0 else column
            for column, a, b in zip(self._given, low, high, strict=True)
        )

    @property
    def z(self) -> np.ndarray:
        """The columns as one float64 array, (n, k)."""
        made = self.__dict__.get("_z")
        if made is None:
            table = self.__dict__.get("_table")
            if table is not None and table.dtype == np.float64:
                made = np.ascontiguousarray(table)
            else:
                made = np.empty((len(self.codes), self.k))
                for j, column in enumerate(self._given):
                    made[:, j] = 1.0 if column is None else column
            self.__dict__["_z"] = made
        return made

    @property
    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest value of each column; one not finite if some value is not."""
        made = self.__dict__.get("_extremes")
        if made is None:
            made = self.__dict__["_extremes"] = self._find_extremes()
        return made

    def _find_extremes(self):
        if len(self.codes) == 0:
            return np.zeros(self.k), np.zeros(self.k)
        table = self.__dict__.get("_table")
        if table is not None:
            return column_extremes(table)
        low, high = np.ones(self.k), np.ones(self.k)
        known = self.__dict__.get("_known") or [None] * self.k
        for j, column in enumerate(self._given):
            if column is not None:
                found = known[j] or column_extremes(column)
                low[j : j + 1], high[j : j + 1] = found
        return low, high

    @property
    def label(self) -> str:
        """The term in lme4's notation, for messages."""
        columns = " + ".join("1" if n == "Intercept" else n for n in self.names)
        if "Intercept" not in self.names:
            columns = f"0 + {columns}"
        return self.structure.label(columns, self.group)

    def __repr__(self) -> str:
        return f"RandomTerm{self.label}: {self.n_levels} levels, {len(self.codes)} rows"

    def any_missing(self) -> bool:
        """Whether some row lacks a level, or has a value that is missing or infinite."""
        made = self.__dict__.get("_any_missing")
        if made is None:
            made = len(self.codes) > 0 and not (
                self.codes.min() >= 0 and are_finite(self.extremes)
            )
            self.__dict__["_any_missing"] = made
        return made

    def missing(self) -> np.ndarray:
        """Rows without a level or with a column that is missing, (n,) bool."""
        rows = self.codes < 0
        for column, low, high in zip(self._given, *self.extremes, strict=True):
            if column is not None and not np.isfinite([low, high]).all():
                rows |= np.isnan(column)
        return rows

    def take(self, rows: Any) -> RandomTerm:
        """The term on some of the rows; levels that no longer occur are dropped."""
        codes, levels = used_levels(self.codes[rows], self._levels)
        columns = [None if c is None else c[rows] for c in self._given]
        return RandomTerm.of_columns(
            codes, columns, self.group, self.names, self.structure, levels
        )

    def contribution(self, effects: np.ndarray) -> np.ndarray:
        """Z b of every row.

        Parameters
        ----------
        effects : array_like
            Random effects b, shape (L, k), or (L, k, m) for m vectors.

        Returns
        -------
        ndarray
            (n,), or (n, m).
        """
        effects = np.asarray(effects, float)
        shares = (
            self._share(effects[:, j], column) for j, column in enumerate(self.columns)
        )
        total = next(shares)
        for share in shares:
            total += share
        return total

    def _share(self, effects, column):
        """A column times its own effects, (L,) or (L, m)."""
        own = effects[self.codes]
        if column is not None:
            own *= column if own.ndim == 1 else column[:, None]
        return own

    def with_columns(self, z: np.ndarray | None, names: Sequence[str]) -> RandomTerm:
        """The term with other columns, and a structure of the same kind.

        A column alone has one variance, so that any covariance matrix is of its structure.
        """
        k = len(names)
        form = Unstructured.of(1) if k == 1 else self.structure.resized(k)
        z = None if names == ["Intercept"] else z
        return RandomTerm(self.codes, z, self.group, names, form, self.levels)

    def without_rows(self, levels: Any = None) -> RandomTerm:
        """The term's names, levels and structure alone; or with other levels."""
        columns = [None if c is None else c[:0].copy() for c in self._given]
        return RandomTerm.of_columns(
            self.codes[:0].copy(),
            columns,
            self.group,
            self.names,
            self.structure,
            self._levels if levels is None else levels,
        )


def _one_column(form, name, group):
    return (
        f"{label(form, name, group)} has one column, {name!r}: a structure is over the "
        "columns of a term in their order, as those of a factor, (0 + visit | g) with "
        "visit a categorical or text; numbers become one by C(visit)"
    )


def _checked_codes(codes, levels, group):
    codes = np.asarray(codes)
    if len(codes) and not (
        codes.dtype.kind in "iu" and codes.min() >= -1 and codes.max() < len(levels)
    ):
        raise ValueError(
            f"codes of the random term {group!r} must be integers from 0 to "
            f"{len(levels) - 1}, numbers of the levels given"
        )
    return np.ascontiguousarray(codes, CODE)


def _read_columns(z, n, group):
    """Columns, the array that they are views of if there is one, and names or None."""
    names = list(z.columns) if isinstance(z, pd.DataFrame) else None
    try:
        table = np.asarray(z)
        plain = table.dtype.isnative and table.dtype.kind in "iu"
        if not plain and table.dtype not in (np.float64, np.float32):
            table = as_floats(table)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"z of the random term {group!r} is not numeric: {error}"
        ) from None
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or table.shape[0] != n or table.shape[1] == 0:
        raise ValueError(
            f"z of the random term {group!r} has shape {table.shape}; "
            f"expected ({n}, k) with k > 0, one row for each of the codes"
        )
    return tuple(table[:, j] for j in range(table.shape[1])), table, names


def _default_names(columns):
    names = []
    for j, column in enumerate(columns):
        first = column is None and "Intercept" not in names
        names.append("Intercept" if first else f"z{j + 1}")
    return names


def check_group_names(terms: Sequence[RandomTerm | SparseTerm]) -> None:
    """Refuse one name for two grouping factors: results go by that name."""
    first: dict[str, RandomTerm | SparseTerm] = {}
    for term in terms:
        other = first.setdefault(term.group, term)
        if other is not term and not _same_rows(other, term):
            kind = type(term).__name__
            raise ValueError(
                f"terms: two grouping factors are both named {term.group!r}; give "
                f"{kind}(..., group=...) different names"
            )


def _same_rows(one, other):
    if isinstance(one, SparseTerm) or isinstance(other, SparseTerm):
        return False
    return one.codes is other.codes or np.array_equal(one.codes, other.codes)


# Columns of a term that a message names all.
_LISTED_COLUMNS = 6


def _short(term):
    """The label of a term, without the middle one of many columns."""
    if term.k <= _LISTED_COLUMNS:
        return term.label
    names = term.names
    shown = f"{names[0]} + {names[1]} + ... + {names[-1]}".replace("Intercept", "1")
    return term.structure.label(shown, term.group)


def check_levels(term: RandomTerm, nobs: int, weighted: bool = False) -> None:
    """Refuse too few or too many levels; see ``check_terms``."""
    shared = term.structure.shares_one_variance and term.k > 1
    if term.n_levels < 2 and not shared:
        raise DesignError(
            f"the grouping factor {term.group!r} of {term.label} has "
            f"{term.n_levels} level; a variance between levels needs at least 2. "
            "Leave the term out."
        )
    if term.structure.n_gamma > nobs:
        raise DesignError(
            f"the random term of {term.names[0]!r} ... {term.names[-1]!r} by "
            f"{term.group!r} has {term.structure.n_gamma} variances and covariances, those "
            f"of {term.k} columns, for {nobs} observations. Use fewer columns, or || for "
            "columns without correlations; a column of text or dates stands for as many "
            "columns as it has values.",
            too_many_in=term.label,
        )
    low, high = term.extremes
    if term.n_levels >= nobs and not weighted and term.k == 1 and low == high:
        raise DesignError(crowding(term, nobs))


def crowding(term: RandomTerm | SparseTerm, nobs: int) -> str | None:
    """Why a term may have too many random effects, in words; None if it has not.

    As many random effects as observations, or levels, leave nothing for the residual if
    all levels have the same Z; whether they do otherwise, the information tells.
    """
    if isinstance(term, SparseTerm):
        if term.n_levels < nobs:
            return None
        return (
            f"{term.label} has {term.n_levels} random effects for {nobs} observations: its "
            "variance cannot be told from the residual. Leave the term out."
        )
    if term.n_levels >= nobs:
        return (
            f"the grouping factor {term.group!r} of {term.label} has "
            f"{term.n_levels} levels for {nobs} observations: with one observation "
            "a level its random effects cannot be told from the residual. Leave "
            "the term out, or group by a coarser factor."
        )
    if term.structure.has_correlations and term.n_levels * term.k >= nobs:
        cure = "Use fewer columns"
        if not term.structure.linear:
            cure = (
                "State it as the covariance of the residuals, by residual=, or use a "
                "structure that does not hold a variance of each row, such as ar1"
            )
        return (
            f"{_short(term)} has {term.n_levels * term.k} random effects "
            f"({term.k} columns x {term.n_levels} levels of {term.group!r}) for "
            f"{nobs} observations: its covariance cannot be told from the "
            f"residual. {cure}."
        )
    return None


def _check_matrix(term):
    """Refuse a matrix that gives no variance between levels, or that of the residual."""
    if not np.isfinite(term.matrix.data).all():
        raise DesignError(f"{term.label} has infinite values in its matrix")
    if not term.matrix.data.any():
        raise DesignError(f"the matrix of {term.label} is zero; leave the term out")
    if term.n_levels < 2:
        raise DesignError(
            f"the matrix of {term.label} has {term.n_levels} column; a variance between "
            "levels needs at least 2. Leave the term out, or put the column into exog."
        )
    if term.is_like_residual:
        raise DesignError(
            f"the matrix Z of {term.label} has rows that are orthogonal and of one "
            "length: its random effects cannot be told from the residual. Leave the "
            "term out."
        )


def check_terms(
    terms: Sequence[RandomTerm | SparseTerm], nobs: int, weighted: bool = False
) -> None:
    """Refuse designs from which a term's variance surely cannot be told.

    Parameters
    ----------
    terms : sequence of RandomTerm or SparseTerm
        The terms.
    nobs : int
        Rows.
    weighted : bool, optional
        Whether the rows have weights.

    Raises
    ------
    DesignError
        For a factor with one level (unless many columns share one variance), or, without
        weights, with as many levels as observations and an intercept; for more variances
        and covariances than observations; for columns that are all zero; for a matrix Z
        that is zero or has one column, or with Z Z' a multiple of I.
    """
    for term in terms:
        if isinstance(term, SparseTerm):
            _check_matrix(term)
            continue
        check_levels(term, nobs, weighted)
        check_columns(term)
        if not are_finite(term.extremes):
            raise DesignError(f"{term.label} has a column with infinite values")


def check_columns(term: RandomTerm) -> None:
    """Refuse a term with a column of zeros.

    Raises
    ------
    DesignError
        If there is one.
    """
    for name, low, high in zip(term.names, *term.extremes, strict=True):
        if low == high == 0:
            raise DesignError(
                f"column {name!r} of {term.label} is zero in every row; leave it out "
                "(a category without rows: by .cat.remove_unused_categories())"
            )
