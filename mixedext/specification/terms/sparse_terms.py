"""Random terms whose rows belong to several levels at once: any matrix Z, one variance."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mixedext.limits import LIKE_RESIDUAL
from mixedext.specification.covariance.identity import IdentityMultiple
from mixedext.specification.covariance.term_structure import TermStructure
from mixedext.specification.data.columns import as_floats
from mixedext.specification.data.tables import as_pandas

__all__ = ["SparseTerm"]


class SparseTerm:
    """One variance component Z b, b ~ N(0, v I), for any matrix Z.

    Rows may have any number of non-zeros: several memberships (pupils who changed
    schools), a root of a kinship matrix, a basis of splines, contrasts of competitors.
    Each column is a level with one random effect.

    Parameters
    ----------
    matrix : sparse array or matrix, array_like or DataFrame
        Z, shape (n, q); kept as a sparse array of float64.
    group : str, optional
        Name of the term.
    levels : array_like, optional
        Names of the q columns; those of a DataFrame, or 0..q-1, if None.

    Attributes
    ----------
    matrix : csr_array
        Z, (n, q).  Do not change it.
    names : list of str
        Name of the effect of a level, ``["Intercept"]``.

    Raises
    ------
    ValueError
        If ``matrix`` is not a numeric matrix with columns, or ``levels`` has another
        length or holds a name twice.

    References
    ----------
    Browne, Goldstein and Rasbash (2001), Multiple membership multiple classification
    (MMMC) models, Statistical Modelling 1(2), 103-124.

    Examples
    --------
    A term of plain indicators is a random intercept:

    >>> import numpy as np
    >>> import pandas as pd
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> batch = mx.SparseTerm(pd.get_dummies(data["Batch"]), group="Batch")
    >>> model = mx.MixedLM(data["Yield"], np.ones((30, 1)), terms=[batch])
    >>> round(float(model.fit().llf), 4)
    -159.8271
    """

    group: str
    names: list[str]
    structure: TermStructure
    matrix: sparse.csr_array
    _levels: pd.Index | None

    def __init__(self, matrix: Any, group: str = "Group", levels: Any = None):
        matrix, levels = as_pandas(matrix), as_pandas(levels)
        if levels is None and isinstance(matrix, pd.DataFrame):
            levels = matrix.columns
        matrix = _as_rows(matrix, group)
        if levels is not None:
            levels = levels if isinstance(levels, pd.Index) else pd.Index(levels)
            if len(levels) != matrix.shape[1]:
                raise ValueError(
                    f"levels of the random term {group!r} has {len(levels)} entries for "
                    f"{matrix.shape[1]} columns of the matrix"
                )
            if not levels.is_unique:
                twice = levels[levels.duplicated()][0]
                raise ValueError(
                    f"levels of the random term {group!r} holds {twice!r} twice; give "
                    "each column of the matrix a name of its own"
                )
        self._put(matrix, group, levels)

    def _put(self, matrix, group, levels):
        # one by one, past __setattr__: a term does not change
        self.__dict__.update(
            matrix=matrix,
            group=group,
            names=["Intercept"],
            structure=IdentityMultiple.of(1),
            _levels=levels,
        )

    def _with(self, matrix):
        term = object.__new__(type(self))
        term._put(matrix, self.group, self._levels)
        return term

    def __setattr__(self, name: str, value: Any) -> None:
        raise FrozenInstanceError(f"cannot assign to {name!r} of a SparseTerm")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete {name!r} of a SparseTerm")

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state.pop("row_lengths", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def k(self) -> int:
        """Random effects of one level: 1."""
        return 1

    @property
    def n_rows(self) -> int:
        """Rows of the data."""
        return self.matrix.shape[0]

    @property
    def n_levels(self) -> int:
        """Columns of the matrix."""
        return self.matrix.shape[1]

    @property
    def levels(self) -> pd.Index:
        """Names of the columns of the matrix."""
        return pd.RangeIndex(self.n_levels) if self._levels is None else self._levels

    @property
    def label(self) -> str:
        """The term in words, for messages."""
        return f"SparseTerm({self.group!r})"

    def __repr__(self) -> str:
        return (
            f"SparseTerm {self.group}: {self.n_levels} levels, {self.n_rows} rows, "
            f"{self.matrix.nnz} values"
        )

    @cached_property
    def row_lengths(self) -> np.ndarray:
        """Length of every row of the matrix, (n,)."""
        square = self.matrix.copy()
        square.data **= 2
        return np.sqrt(np.asarray(square.sum(axis=1), float).ravel())

    def any_missing(self) -> bool:
        """Whether some value is missing or infinite."""
        return not bool(np.isfinite(self.matrix.data).all())

    def missing(self) -> np.ndarray:
        """Rows with a missing value, (n,) bool."""
        rows = np.zeros(self.n_rows, bool)
        bad = np.flatnonzero(np.isnan(self.matrix.data))
        rows[np.searchsorted(self.matrix.indptr, bad, side="right") - 1] = True
        return rows

    def take(self, rows: Any) -> SparseTerm:
        """The term on some of the rows; all levels stay."""
        return self._with(_sorted(self.matrix[np.asarray(rows)]))

    def without_rows(self) -> SparseTerm:
        """The term's name and levels alone."""
        return self._with(sparse.csr_array((0, self.n_levels)))

    def contribution(self, effects: np.ndarray) -> np.ndarray:
        """Z b of every row.

        Parameters
        ----------
        effects : array_like
            b, shape (q, 1), or (q, 1, m) for m vectors; (L, k) of k columns a level.

        Returns
        -------
        ndarray
            (n,), or (n, m).
        """
        own = np.asarray(effects, float)
        return self.matrix @ own.reshape(-1, *own.shape[2:])

    @property
    def is_like_residual(self) -> bool:
        """Whether Z Z' is a multiple of I, so that Z b is one more residual."""
        n, length = self.n_rows, self.row_lengths
        if self.n_levels < n or np.ptp(length) > LIKE_RESIDUAL * length.max(initial=0.0):
            return False
        v = np.random.default_rng(0).standard_normal(n)
        image = self.matrix @ (self.matrix.T @ v)
        rest = image - length.max() ** 2 * v
        return bool(np.linalg.norm(rest) <= LIKE_RESIDUAL * np.linalg.norm(image))


def _as_rows(matrix, group):
    """The matrix as a csr_array of float64 with sorted indices."""
    what = f"matrix of the random term {group!r}"
    try:
        if sparse.issparse(matrix):
            if matrix.dtype.kind == "c":
                raise TypeError("it is complex")
            if matrix.ndim == 2:
                matrix = sparse.csr_array(matrix, dtype=np.float64)
        else:
            if isinstance(matrix, pd.DataFrame) and matrix.shape[1]:
                kinds = {getattr(t, "kind", "") for t in matrix.dtypes}
                if all(isinstance(t, pd.SparseDtype) for t in matrix.dtypes):
                    matrix = matrix.sparse.to_coo()
                elif kinds - set("iufb"):
                    matrix = matrix.astype(float)
            if not sparse.issparse(matrix):
                matrix = as_floats(matrix)
            if matrix.ndim == 2:
                matrix = sparse.csr_array(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is not numeric: {error}") from None
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise ValueError(
            f"{what} has shape {matrix.shape}; expected (n, q) with q > 0, one row for "
            "each observation"
        )
    return _sorted(matrix)


def _sorted(matrix):
    matrix = sparse.csr_array(matrix)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix
