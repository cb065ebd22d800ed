"""The random terms that statsmodels' ``groups`` states: the groups' own and components."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from statsmodels.regression.mixed_linear_model import VCSpec

from mixedext.exceptions import (
    DesignError,
    UnidentifiedVarianceWarning,
    user_stacklevel,
)
from mixedext.specification.data.labels import factorize, recode
from mixedext.specification.terms.components import Component, ComponentColumns
from mixedext.specification.terms.random_terms import (
    RandomTerm,
    SparseTerm,
    check_columns,
    check_levels,
)

__all__ = ["ComponentSpec", "Grouped", "check_grouped", "grouped_of", "sorted_factor"]


def sorted_factor(labels: Any) -> tuple[np.ndarray, pd.Index]:
    """Codes and levels of labels, sorted whatever their type, as statsmodels has them."""
    codes, levels = factorize(labels)
    if not isinstance(levels, pd.CategoricalIndex) and levels.is_monotonic_increasing:
        return codes, levels
    if isinstance(levels, pd.CategoricalIndex):
        levels = pd.Index(np.asarray(levels))
    try:
        order = levels.argsort()
    except TypeError:  # labels of several types have no order
        return codes, levels
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return recode(codes, rank), levels[order]


@dataclass(frozen=True, eq=False)
class Grouped:
    """What ``groups`` and its terms say, rows settled.

    Attributes
    ----------
    labels : ndarray
        Labels of the rows, as given.
    codes : ndarray
        Group of every row.
    levels : Index
        The groups, sorted.
    main : RandomTerm or None
        The groups' own random effects.
    components : tuple of Component
        The variance components.
    terms : tuple
        Their random terms.
    use_sparse : bool
        Whether matrices by group are shown as sparse ones.
    name : str
        Name of the grouping factor.
    """

    labels: np.ndarray
    codes: np.ndarray
    levels: pd.Index
    main: RandomTerm | None
    components: tuple[Component, ...] = ()
    terms: tuple[RandomTerm | SparseTerm, ...] = ()
    use_sparse: bool = False
    name: str = "Group"

    @property
    def all_terms(self) -> list[RandomTerm | SparseTerm]:
        """The groups' own term first."""
        return [*([] if self.main is None else [self.main]), *self.terms]

    def columns(self) -> list[ComponentColumns]:
        """The components' columns with their rows."""
        return [
            component.columns(term, self.codes, self.levels)
            for component, term in zip(self.components, self.terms, strict=True)
        ]


def grouped_of(
    labels: np.ndarray,
    factor: tuple[np.ndarray, pd.Index],
    main: RandomTerm | None,
    columns: Iterable[ComponentColumns],
    use_sparse: bool = False,
    name: str = "Group",
) -> Grouped:
    """Groups with their terms, from the columns of the components."""
    settled = [c.settle() for c in columns]
    codes, levels = factor
    if main is not None:  # one array for all: so the engine sees that they share a factor
        codes = main.codes
    terms = tuple(
        RandomTerm.of_columns(codes, t.columns, t.group, t.names, t.structure, t._levels)
        if isinstance(t, RandomTerm) and np.array_equal(t.codes, codes)
        else t
        for t, _ in settled
    )
    components = tuple(c for _, c in settled)
    return Grouped(labels, codes, levels, main, components, terms, use_sparse, name)


def check_grouped(grouped: Grouped, nobs: int) -> None:
    """Warn of variances of one draw; refuse what has no sense.

    Raises
    ------
    DesignError
        If there is one group and random effects of its own, a column is zero, or there are
        more variances and covariances than observations.
    """
    if grouped.main is not None:
        # one level a row is fitted as in statsmodels, with a warning
        check_levels(grouped.main, nobs, weighted=True)
    for term in grouped.all_terms:
        if term.any_missing():
            raise DesignError(f"{term.label} has a column with infinite values")
        if not isinstance(term, RandomTerm):
            continue
        check_columns(term)
    for component in grouped.components:
        count = int((component.place >= 0).sum())
        if count < 2:
            _warn_unidentified(
                f"the variance component {component.name!r} has {count} random effect for "
                f"{nobs} observations."
            )


def _warn_unidentified(message):
    warnings.warn(
        f"{message} As in statsmodels the model is fitted all the same; its variance and "
        "the residual's may not be determined.",
        UnidentifiedVarianceWarning,
        stacklevel=user_stacklevel(),
    )


class ComponentSpec(VCSpec):
    """Variance components of a model as statsmodels' VCSpec, matrices made on demand.

    Parameters
    ----------
    grouped : Grouped or None
        The groups and their components; None once the rows are gone.
    components : sequence of Component
        The components.
    """

    def __init__(self, grouped: Grouped | None, components: Iterable[Component]):
        self.grouped, self.components = grouped, tuple(components)

    @property
    def names(self) -> list[str]:
        """Names of the components."""
        return [c.name for c in self.components]

    @cached_property
    def colnames(self) -> list[list[list[str]]]:
        """Labels of the columns by component and group."""
        return [
            [c.labels.index[c.label_numbers(g)].tolist() for g in range(c.n_groups)]
            for c in self.components
        ]

    @cached_property
    def mats(self) -> list[list]:
        """Matrices by component and group."""
        if self.grouped is None and self.components:
            raise ValueError("the data of this model were removed; make the model again")
        return [
            _mats(component, term, self.grouped)
            for component, term in zip(
                self.components,
                () if self.grouped is None else self.grouped.terms,
                strict=True,
            )
        ]


def _mats(component, term, grouped):
    """Matrix of every group, rows in the data's order."""
    order = np.argsort(grouped.codes, kind="stable")
    matrix = component.matrix(term)[order]
    rows = np.cumsum(np.bincount(grouped.codes, minlength=component.n_groups))
    slots, sizes = component.slots, component.sizes
    out, start = [], 0
    for group, stop in enumerate(rows.tolist()):
        a, b = matrix.indptr[[start, stop]]
        entries = (
            matrix.data[a:b],
            slots[matrix.indices[a:b]],
            matrix.indptr[start : stop + 1] - a,
        )
        own = sparse.csr_array(entries, shape=(stop - start, int(sizes[group])))
        own.sort_indices()
        out.append(own if grouped.use_sparse else own.toarray())
        start = stop
    return out
