"""Random terms: the grouping factor's codes and the columns that vary by level."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mixedext.exceptions import DesignError
from mixedext.specification.structures import Structure, structure

__all__ = [
    "RandomTerm",
    "check_group_names",
    "check_levels",
    "check_terms",
    "factorize",
    "interact",
]


def factorize(labels) -> tuple[np.ndarray, pd.Index]:
    """Codes 0..L-1 and the levels that occur, sorted or in a categorical's order.

    Missing labels get the code -1.
    """
    if isinstance(labels, pd.Categorical):
        labels = pd.Series(labels)
    if isinstance(labels, pd.Index | pd.Series) and isinstance(
        labels.dtype, pd.CategoricalDtype
    ):
        values = labels.array
        present = values.codes[values.codes >= 0]
        used = np.bincount(present, minlength=len(values.categories)) > 0
        recode = np.append(np.cumsum(used) - 1, -1)
        return recode[values.codes].astype(np.int32), values.categories[used]
    array = labels if isinstance(labels, pd.Series | pd.Index) else np.asarray(labels)
    codes, levels = pd.factorize(array)
    try:
        order = levels.argsort()
    except TypeError:  # labels of several types have no order: sort by their text
        order = np.argsort([str(v) for v in levels], kind="stable")
    rank = np.empty(len(order) + 1, np.int32)
    rank[order], rank[-1] = np.arange(len(order)), -1
    return rank[codes], _index(levels[order])


def _index(levels):
    """Index of labels that may be tuples."""
    if levels.dtype == object and any(isinstance(v, tuple) for v in levels):
        return pd.Index(list(levels), dtype=object, tupleize_cols=False)
    return pd.Index(levels)


def interact(first, second) -> tuple[np.ndarray, pd.Index]:
    """Interaction of two (codes, levels): the combinations present, ``"a1:b1"``.

    The codes of the product are 64-bit, so that many levels times many cannot overflow.
    """
    (a, a_levels), (b, b_levels) = first, second
    missing = (a < 0) | (b < 0)
    product = a.astype(np.int64) * max(len(b_levels), 1) + b
    product[missing] = -1
    present, codes = np.unique(product, return_inverse=True)
    codes = codes.astype(np.int32)
    if missing.any():
        present, codes = present[1:], codes - 1
    left = a_levels[present // max(len(b_levels), 1)].astype(str)
    right = b_levels[present % max(len(b_levels), 1)].astype(str)
    labels = [f"{x}:{y}" for x, y in zip(left, right, strict=True)]
    if len(set(labels)) < len(labels):  # labels that hold colons themselves
        labels = list(zip(left, right, strict=True))
    return codes, pd.Index(labels, dtype=object, tupleize_cols=False)


@dataclass(frozen=True, eq=False, repr=False)
class RandomTerm:
    """One random-effects term: a grouping factor and the columns that vary by level.

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
    structure : {"unstructured", "diagonal", "identity"}, optional
        Covariance of the k effects of one level: any; one variance a column without
        correlations; or one common variance.
    levels : Index, optional
        Given only where ``codes`` are already the integers 0..L-1 into ``levels``.

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
    z: np.ndarray | None = None
    group: str = "Group"
    names: list[str] | None = None
    structure: str | Structure = "unstructured"
    levels: pd.Index | None = None

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        if np.ndim(self.codes) != 1:
            raise ValueError(
                f"codes of the random term {self.group!r} must have one dimension, "
                f"not {np.ndim(self.codes)}"
            )
        if self.levels is not None:
            codes = np.asarray(self.codes)
            put("levels", pd.Index(self.levels))
            if len(codes) and not (
                codes.dtype.kind in "iu"
                and codes.min() >= -1
                and codes.max() < len(self.levels)
            ):
                raise ValueError(
                    f"codes of the random term {self.group!r} must be integers from 0 to "
                    f"{len(self.levels) - 1}, numbers of the levels given"
                )
            put("codes", codes.astype(np.int32, copy=False))
        else:
            codes, levels = factorize(self.codes)
            put("codes", codes)
            put("levels", levels)
        n = len(self.codes)
        if self.z is None:
            put("names", list(self.names or ["Intercept"]))
            put("z", np.ones((n, 1)))
        else:
            names = list(self.z.columns) if isinstance(self.z, pd.DataFrame) else None
            try:
                z = np.asarray(self.z, dtype=float)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"z of the random term {self.group!r} is not numeric: {error}"
                ) from None
            z = z[:, None] if z.ndim == 1 else z
            if z.ndim != 2 or z.shape[0] != n or z.shape[1] == 0:
                raise ValueError(
                    f"z of the random term {self.group!r} has shape {z.shape}; "
                    f"expected ({n}, k) with k > 0, one row for each of the codes"
                )
            put("z", np.ascontiguousarray(z))
            put("names", [str(n) for n in self.names or names or _default_names(z)])
        if len(self.names) != self.k:
            raise ValueError(
                f"names of the random term {self.group!r} has {len(self.names)} entries "
                f"for {self.k} columns"
            )
        if isinstance(self.structure, str):
            put("structure", structure(self.structure, self.k))
        elif not isinstance(self.structure, Structure) or self.structure.k != self.k:
            raise ValueError(
                f"structure of the random term {self.group!r} must be a name or a "
                f"Structure of {self.k} columns, not {self.structure!r}"
            )

    @property
    def columns(self):
        """Columns of z; None for a column of ones."""
        return tuple(
            None if len(c) and c[0] == 1.0 and (c == 1.0).all() else c for c in self.z.T
        )

    @property
    def k(self) -> int:
        """Number of columns."""
        return self.z.shape[1]

    @property
    def n_levels(self) -> int:
        """Number of levels of the grouping factor."""
        return len(self.levels)

    @property
    def label(self) -> str:
        """The term in lme4's notation, for messages."""
        bar = "||" if self.structure.name == "diagonal" and self.k > 1 else "|"
        columns = " + ".join("1" if n == "Intercept" else n for n in self.names)
        if "Intercept" not in self.names:
            columns = f"0 + {columns}"
        return f"({columns} {bar} {self.group})"

    def __repr__(self):
        return f"RandomTerm{self.label}: {self.n_levels} levels, {len(self.codes)} rows"

    def missing(self) -> np.ndarray:
        """Rows without a level or with a column that is missing, (n,) bool."""
        return (self.codes < 0) | np.isnan(self.z).any(axis=1)

    def take(self, rows) -> RandomTerm:
        """The term on some of the rows; levels that no longer occur are dropped."""
        codes = self.codes[rows]
        used = np.bincount(codes[codes >= 0], minlength=self.n_levels) > 0
        recode = np.append(np.cumsum(used) - 1, -1).astype(np.int32)
        return replace(self, codes=recode[codes], levels=self.levels[used], z=self.z[rows])

    def without_rows(self) -> RandomTerm:
        """The term's names, levels and structure alone."""
        return replace(self, codes=self.codes[:0].copy(), z=self.z[:0].copy())


def _default_names(z):
    names = []
    for j in range(z.shape[1]):
        constant = len(z) > 0 and np.all(z[:, j] == 1.0)
        names.append("Intercept" if constant and "Intercept" not in names else f"z{j + 1}")
    return names


def check_group_names(terms: list[RandomTerm]) -> None:
    """Refuse one name for two grouping factors: results go by that name."""
    first: dict[str, RandomTerm] = {}
    for term in terms:
        other = first.setdefault(term.group, term)
        if other.codes is not term.codes and not np.array_equal(other.codes, term.codes):
            raise ValueError(
                f"terms: two grouping factors are both named {term.group!r}; give "
                "RandomTerm(..., group=...) different names"
            )


def check_levels(term: RandomTerm, nobs: int) -> None:
    """Refuse too few or too many levels; see ``check_terms``."""
    if term.n_levels < 2:
        raise DesignError(
            f"the grouping factor {term.group!r} of {term.label} has "
            f"{term.n_levels} level; a variance between levels needs at least 2. "
            "Leave the term out."
        )
    if term.n_levels >= nobs:
        raise DesignError(
            f"the grouping factor {term.group!r} of {term.label} has "
            f"{term.n_levels} levels for {nobs} observations: with one observation "
            "a level its random effects cannot be told from the residual. Leave "
            "the term out, or group by a coarser factor."
        )
    if term.structure.correlated and term.n_levels * term.k >= nobs:
        raise DesignError(
            f"{term.label} has {term.n_levels * term.k} random effects "
            f"({term.k} columns x {term.n_levels} levels of {term.group!r}) for "
            f"{nobs} observations: its covariance cannot be told from the "
            "residual. Use fewer columns."
        )


def check_terms(terms: list[RandomTerm], nobs: int) -> None:
    """Refuse designs from which a term's variance cannot be told from the residual.

    Raises
    ------
    DesignError
        For a factor with one level, with as many levels as observations, or with at
        least as many random effects as observations; for columns that are all zero.
    """
    for term in terms:
        check_levels(term, nobs)
        zero = ~np.any(term.z, axis=0)
        if zero.any():
            name = term.names[int(np.argmax(zero))]
            raise DesignError(
                f"column {name!r} of {term.label} is zero in every row; leave it out"
            )
        if not np.isfinite(term.z).all():
            raise DesignError(f"{term.label} has a column with infinite values")
