"""Sources of an analysis of variance: a projection, its rank and its traces for each.

Fixed terms come one after the other, then every factor after those that it is nested in:
its projection is that onto the columns of the factor and of the fixed part, less the
projections of the coarser sources (Tjur 1984).  For factors that are crossed these
projections exist only in designs that are balanced enough, and the sums of squares are then
the same in any order; other designs are refused.  Nothing is larger than the columns of the
fixed part.

References
----------
T. Tjur (1984), Analysis of variance models in orthogonal designs. International Statistical
Review 52, 33-81.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from mixedext.exceptions import DesignError
from mixedext.inference.submodels.level_nesting import is_nested
from mixedext.limits import DEPENDENT_COLUMN, NO_TRACE

__all__ = [
    "FactorSource",
    "FixedSource",
    "GroupingFactor",
    "ResidualSource",
    "Sources",
    "sources_of",
]

#: A fixed term: its name and its columns, (n, m); a factor: name, codes and levels.
FixedColumns: TypeAlias = tuple[str, Any]
FactorCodes: TypeAlias = tuple[str, np.ndarray, int]


class GroupingFactor:
    """A grouping factor, centred on and summed over.

    Parameters
    ----------
    name : str
        Name in the table.
    codes : ndarray
        Number of every row's level, (n,).
    n_levels : int
        Number of levels; each has a row.
    """

    def __init__(self, name: str, codes: np.ndarray, n_levels: int):
        self.name, self.codes, self.n_levels = name, codes, n_levels
        self.sizes = np.bincount(codes, minlength=n_levels).astype(float)

    def sums(self, columns: np.ndarray) -> np.ndarray:
        """Z'columns, (L, m) or (L,)."""
        if columns.ndim == 1:
            return np.bincount(self.codes, columns, self.n_levels)
        parts = [np.bincount(self.codes, c, self.n_levels) for c in columns.T]
        return np.array(parts).T.reshape(self.n_levels, len(parts))

    def means(self, columns: np.ndarray) -> np.ndarray:
        """The projection of columns onto those of Z, row by row."""
        sums = self.sums(columns)
        sizes = self.sizes if sums.ndim == 1 else self.sizes[:, None]
        return (sums / sizes)[self.codes]

    def spread(self, vector: np.ndarray) -> np.ndarray:
        """ZZ' vector."""
        return self.sums(vector)[self.codes]

    def is_nested_in(self, other: GroupingFactor) -> bool:
        """Whether every level lies within one level of the other factor."""
        return is_nested(self.codes, other.codes)

    def shared_squares(self, other: GroupingFactor) -> float:
        """tr(Z_j' M Z_j) for the projection M on this factor's columns, Z_j the other's."""
        pair = self.codes.astype(np.int64) * other.n_levels + other.codes
        cells, counts = np.unique(pair, return_counts=True)
        return float(np.sum(counts**2 / self.sizes[cells // other.n_levels]))


def _orthonormal(columns: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Orthonormal basis of columns, dependent ones left out.

    ``length`` is what their lengths were before other columns were swept out of them.
    """
    kept: list[np.ndarray] = []
    for j in range(columns.shape[1]):
        column = columns[:, j].copy()
        for _ in range(2):
            for q in kept:
                column -= (q @ column) * q
        size = np.linalg.norm(column)
        if size > DEPENDENT_COLUMN * length[j]:
            kept.append(column / size)
    return np.array(kept).T.reshape(len(columns), len(kept))


class FixedSource:
    """Projection of one fixed term, those before it swept out."""

    def __init__(self, name: str, basis: np.ndarray):
        self.name, self.basis, self.factor = name, basis, None
        self.df: int = basis.shape[1]

    def project(self, vector: np.ndarray) -> np.ndarray:
        """Q vector."""
        return self.basis @ (self.basis.T @ vector)

    def trace(self, other: GroupingFactor) -> float:
        """tr(Q ZZ')."""
        return float(np.sum(other.sums(self.basis) ** 2))


class FactorSource:
    """Projection of a factor less those of the fixed part and the factors it is in."""

    def __init__(
        self,
        factor: GroupingFactor,
        exog: np.ndarray,
        fixed: Sequence[FixedSource],
        coarser: Sequence[FactorSource],
    ):
        self.name, self.factor = factor.name, factor
        self.coarser = coarser
        self._before: list[FixedSource | FactorSource] = [*fixed, *coarser]
        within = exog - factor.means(exog)
        within -= factor.means(within)
        self.basis = _orthonormal(within, np.ones(within.shape[1]))
        parts = sum(s.df for s in self._before)
        self.df: int = factor.n_levels + self.basis.shape[1] - parts

    def project(self, vector: np.ndarray) -> np.ndarray:
        """Q vector."""
        whole = self.factor.means(vector) + self.basis @ (self.basis.T @ vector)
        return whole - sum(s.project(vector) for s in self._before)

    def trace(self, other: GroupingFactor) -> float:
        """tr(Q ZZ')."""
        whole = self.factor.shared_squares(other) + np.sum(other.sums(self.basis) ** 2)
        return float(whole - sum(s.trace(other) for s in self._before))


class ResidualSource:
    """What all other projections leave."""

    name, factor = "residual", None

    def __init__(self, others: Sequence[FixedSource | FactorSource], nobs: int):
        self.others = others
        self.df: int = nobs - sum(s.df for s in others)

    def project(self, vector: np.ndarray) -> np.ndarray:
        """Q vector."""
        return vector - sum(s.project(vector) for s in self.others)

    def trace(self, other: GroupingFactor) -> float:
        """tr(Q ZZ'): the residual has nothing of a factor."""
        return 0.0


#: Any of the three.
Source: TypeAlias = FixedSource | FactorSource | ResidualSource


@dataclass(frozen=True, eq=False)
class Sources:
    """All sources of a design, in the order in which they are fitted.

    Attributes
    ----------
    fixed : list of FixedSource
        The fixed terms, the intercept among them.
    factors : list of FactorSource
        The factors, those that others are nested in before these.
    residual : ResidualSource
        What they leave.
    exog : ndarray
        Orthonormal basis of the fixed part, (n, p).
    """

    fixed: list[FixedSource]
    factors: list[FactorSource]
    residual: ResidualSource
    exog: np.ndarray

    @property
    def shown(self) -> list[Source]:
        """All but the intercept, which gets no row."""
        fixed = [source for source in self.fixed if source.name != "Intercept"]
        return [*fixed, *self.factors, self.residual]


def sources_of(
    nobs: int, fixed: Sequence[FixedColumns], factors: Sequence[FactorCodes]
) -> Sources:
    """The sources of a design.

    Parameters
    ----------
    nobs : int
        Rows.
    fixed, factors : list of tuple
        As for ``anova_table``.

    Raises
    ------
    DesignError
        As ``anova_table``.
    """
    fixed_sources = _fixed_sources(fixed, nobs)
    exog = np.column_stack([np.empty((nobs, 0)), *(s.basis for s in fixed_sources)])
    sources: list[FactorSource] = []
    for factor in _coarse_first([GroupingFactor(*f) for f in factors]):
        coarser = [s for s in sources if factor.is_nested_in(s.factor)]
        source = FactorSource(factor, exog, fixed_sources, coarser)
        if source.df <= 0:
            before = [s.name for s in fixed_sources] + [s.name for s in coarser]
            raise DesignError(
                f"the factor {factor.name!r} has no degrees of freedom left after "
                f"{_list(before)}; leave it out"
            )
        sources.append(source)
    _check_orthogonal(sources)
    residual = ResidualSource([*fixed_sources, *sources], nobs)
    if residual.df <= 0:
        raise DesignError(
            "no degrees of freedom are left for the residual: "
            f"{_list([s.name for s in sources])} and the fixed effects take all "
            f"{nobs}; leave out the factor with one row a level"
        )
    return Sources(fixed_sources, sources, residual, exog)


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"


def _coarse_first(factors: Sequence[GroupingFactor]) -> list[GroupingFactor]:
    """Factors in the order given, but those that others are nested in before these."""
    ordered, rest = [], list(factors)
    while rest:
        for factor in rest:
            outer = [f for f in rest if f is not factor and factor.is_nested_in(f)]
            same = [f for f in outer if f.is_nested_in(factor)]
            if same:
                raise DesignError(
                    f"{factor.name!r} and {same[0].name!r} group the rows alike: their "
                    "variances cannot be told apart; leave one out"
                )
            if not outer:
                ordered.append(factor)
                rest.remove(factor)
                break
    return ordered


def _fixed_sources(fixed: Sequence[FixedColumns], nobs: int) -> list[FixedSource]:
    basis, sources = np.empty((nobs, 0)), list[FixedSource]()
    for name, columns in fixed:
        centred = columns = np.asarray(columns, float)
        if sources and sources[0].name == "Intercept":
            centred = columns - columns.mean(axis=0)
        # relative to the length about the mean; of a constant column that is rounding
        length = np.maximum(
            np.linalg.norm(centred, axis=0),
            DEPENDENT_COLUMN * np.linalg.norm(columns, axis=0),
        )
        left = centred
        for _ in range(2):
            left = left - basis @ (basis.T @ left)
        source = FixedSource(name, _orthonormal(left, length))
        if source.df:  # a term in the span of those before it explains nothing
            sources.append(source)
            basis = np.column_stack([basis, source.basis])
    return sources


def _check_orthogonal(sources: Sequence[FactorSource]) -> None:
    """Refuse crossed factors whose sums of squares depend on the order of fitting."""
    for i, later in enumerate(sources):
        for earlier in sources[:i]:
            if earlier in later.coarser:
                continue
            overlap = earlier.trace(later.factor)
            if overlap > NO_TRACE * len(later.factor.codes):
                raise DesignError(
                    f"{earlier.name!r} and {later.name!r} are crossed, and the design is "
                    "not balanced: their sums of squares depend on which is fitted first, "
                    "so that there is no one analysis of variance; use mixedlm, whose "
                    "REML estimates need no order"
                )
