"""A residual structure bound to the rows of a model: groups, patterns, parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import DesignError
from mixedext.specification.covariance import residual_checks as checks
from mixedext.specification.covariance.antedependence import (
    Antedependence as AntedependenceCorrelation,
)
from mixedext.specification.covariance.autoregressive import AutoRegressive
from mixedext.specification.covariance.compound_symmetry import CompoundSymmetry
from mixedext.specification.covariance.correlation import Correlation
from mixedext.specification.covariance.residual_columns import (
    StatedResidual,
    stated_residual,
)
from mixedext.specification.covariance.residual_objects import (
    AR1,
    CS,
    Antedependence,
    Independent,
    Toeplitz,
    Unstructured,
)
from mixedext.specification.covariance.residual_patterns import (
    Batch,
    batches_of,
    group_order,
)
from mixedext.specification.covariance.residual_structure import (
    ResidualStructure,
    name_of,
)
from mixedext.specification.covariance.residual_visits import visits_of
from mixedext.specification.covariance.toeplitz import Toeplitz as ToeplitzCorrelation
from mixedext.specification.covariance.unstructured_visits import UnstructuredVisits
from mixedext.specification.covariance.variance_objects import StatedVariance
from mixedext.specification.data.labels import Levels, factorize, interact, level_index

__all__ = ["Batch", "BoundResidual", "bind_residual", "bind_stated"]


@dataclass(frozen=True, eq=False)
class BoundResidual:
    """A residual structure on the rows of a model.

    The covariance of the rows a, b of a group is s2 exp(g_a) exp(g_b) C_ab: C of
    ``correlation``, with parameters of its own for each level of ``by``; g is the sum of
    the log standard deviations of ``functions``, whose parameters all groups share.  What
    ``het`` and ``by`` say of variances is the first of the functions, a ``VarIdent`` by
    visit, by level, or by level and visit.

    Attributes
    ----------
    spec : ResidualStructure
        The structure as stated; its text is that of a user.
    variance : tuple of StatedVariance
        Functions as stated.
    correlation : Correlation or None
        None for independent residuals.
    functions : tuple of VarianceFunction
        All of the factors of the standard deviation.
    strata_labels : tuple of list
        For each function the labels of its strata; empty without strata.
    function_texts : tuple of str
        For each function what it is in the text form.
    n_levels : int
        Levels of ``by``, 1 without it.
    level_labels : list
        Their labels; empty without ``by``.
    batches : tuple of Batch
        All groups, by their size.
    group_name : str
        Name of the residual groups.
    group_levels : Index or ProductLevels
        Their labels; see ``group_labels``.
    group_codes : ndarray
        Residual group of each row, (n,).
    visit_name : str or None
        Name of the visits; None for distances, or where rows are exchangeable.
    visit_labels : list or None
        Labels of the places 0, ..., m - 1 of visits.
    visit_codes : ndarray or None
        Place of the visit of each row, (n,).
    n_obs : int
        Rows.
    start : dict or None
        Values to start from, natural, by name of ``names``; None if none is given.
    held : tuple of str
        Names of the parameters that are held at these.
    of_fitted : tuple of bool
        Whether the covariate of a function is the fitted values.
    row_strata, row_covariates : tuple of ndarray or None
        For each function strata and covariate of the rows, (n,).
    fallbacks : tuple of BoundResidual
        The further structures of a list, those that the data allow.
    passed_over : tuple of tuple
        Structures of a list that the data do not allow, and why: (text, reason).
    """

    spec: ResidualStructure
    variance: tuple[StatedVariance, ...]
    correlation: Correlation | None
    functions: tuple[Any, ...]
    strata_labels: tuple[list, ...]
    function_texts: tuple[str, ...]
    n_levels: int
    level_labels: list
    batches: tuple[Batch, ...] = field(repr=False)
    group_name: str
    group_levels: Levels = field(repr=False)
    group_codes: np.ndarray = field(repr=False)
    visit_name: str | None
    visit_labels: list | None
    visit_codes: np.ndarray | None = field(repr=False)
    n_obs: int
    start: Mapping[str, float] | None = None
    held: tuple[str, ...] = ()
    of_fitted: tuple[bool, ...] = ()
    row_strata: tuple[np.ndarray | None, ...] = field(default=(), repr=False)
    row_covariates: tuple[np.ndarray | None, ...] = field(default=(), repr=False)
    fallbacks: tuple[BoundResidual, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()

    @cached_property
    def group_labels(self) -> list:
        """Labels of the residual groups, by code."""
        return list(level_index(self.group_levels))

    @property
    def n_groups(self) -> int:
        """Number of residual groups."""
        return len(self.group_levels)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all natural parameters: correlations by level, then the functions."""
        own = () if self.correlation is None else self.correlation.names
        out = list(own)
        if self.level_labels:
            out = [f"{label}: {name}" for label in self.level_labels for name in own]
        for function, labels in zip(self.functions, self.strata_labels, strict=True):
            out += function.names(labels)
        return tuple(out)

    def __str__(self) -> str:
        text = str(self.spec)
        if self.variance:
            text += f", variance {' * '.join(map(str, self.variance))}"
        return text


def bind_residual(
    residual: Any, variance: Any = None, columns: Any = None, n_obs: int | None = None
) -> BoundResidual | None:
    """Bind a residual structure to rows.

    Parameters
    ----------
    residual : str, ResidualStructure or list of them
        As users give it.
    variance : str, StatedVariance, or list or product of them, optional
        As users give it.
    columns : DataFrame or Mapping, optional
        Where names of columns are looked up; values by rows in objects need none.
    n_obs : int, optional
        Number of rows; that of the columns if None.

    Returns
    -------
    BoundResidual or None
        None where the rows are independent with one variance.

    Raises
    ------
    DesignError
        If the rows do not go with the structure, or tell nothing of its parameters.
    FormulaError
        If a text cannot be read, or names a column that is not there.

    Examples
    --------
    >>> import pandas as pd
    >>> data = pd.DataFrame({"g": [1, 1, 2, 2, 2], "v": [0, 2, 0, 1, 2]})
    >>> bound = bind_residual("ar1(v | g)", columns=data)
    >>> [batch.place.tolist() for batch in bound.batches]
    [[[0, 2]], [[0, 1, 2]]]
    """
    lookup = None if columns is None else lambda value, _: _look_up(value, columns)
    known = () if columns is None else list(columns)
    stated = stated_residual(residual, variance, lookup, known)
    if stated is None:
        return None
    if n_obs is None:
        n_obs = len(next(iter(stated.columns.values())))
    return bind_stated(stated, n_obs)


def _look_up(value, columns):
    if isinstance(value, str):
        return columns[value]
    return value if isinstance(value, pd.Series) else np.asarray(value)


def bind_stated(stated: StatedResidual, n_obs: int) -> BoundResidual | None:
    """Bind what is stated, its columns settled, to ``n_obs`` rows.

    Raises
    ------
    DesignError
        If the rows do not go with any of the structures.
    """
    return _Binder(stated, n_obs, 0).bound()


class _Binder:
    """One structure on its way to a ``BoundResidual``."""

    def __init__(self, stated, n_obs, number):
        self.spec, self.n_obs = stated.structures[number], n_obs
        self.columns, self.stated = stated.of(number), stated
        self.strata: list[np.ndarray | None] = []
        self.labels: list[list] = []

    def bound(self):
        spec = self.spec
        if isinstance(spec, Independent):
            return None
        self.codes, self.levels = self._groups()
        n_groups = len(self.levels)
        sizes = np.bincount(self.codes, minlength=n_groups)
        checks.check_pairs(spec, sizes, self.group_name)
        visits = self._visits()
        level, level_labels = self._by(n_groups)
        self._own_function(visits, level, level_labels)
        width = 0 if visits is None else len(visits.labels)
        within = None if visits is None else visits.codes
        order = group_order(self.codes, n_groups, within, width)
        if visits is not None:
            names = self.group_name, self.visit_name
            source = self.columns["visit 1"]
            checks.check_twice(
                spec, order, self.codes, visits.codes, visits.labels, names,
                self._group_label, source,
            )  # fmt: skip
        place = None
        if visits is not None and not isinstance(spec, CS):
            place = visits.positions[visits.codes]
        strata = [
            None if len(names) < 2 else z
            for z, names in zip(self.strata, self.labels, strict=True)
        ]
        batches = batches_of(
            order, self.codes, sizes, level, place, (), False, strata, [None] * len(strata)
        )
        m = _extent(visits, sizes)
        return BoundResidual(
            spec=spec,
            variance=(),
            correlation=_correlation(spec, m, int(sizes.max())),
            functions=tuple(_var_ident(len(names)) for names in self.labels),
            strata_labels=tuple(self.labels),
            function_texts=tuple("ident" for _ in self.labels),
            n_levels=max(len(level_labels), 1),
            level_labels=level_labels,
            batches=batches,
            group_name=self.group_name,
            group_levels=self.levels,
            group_codes=self.codes,
            visit_name=None if visits is None else self.visit_name,
            visit_labels=None if visits is None else visits.labels,
            visit_codes=place,
            n_obs=self.n_obs,
            of_fitted=(False,) * len(self.labels),
            row_strata=tuple(self.strata),
            row_covariates=(None,) * len(self.strata),
        )

    def _groups(self):
        factors = self.spec.factors
        self.group_name = ":".join(name_of(f, "group") for f in factors) or "group"
        if not factors:
            return np.zeros(self.n_obs, np.int32), pd.Index([0])
        columns = [self.columns[f"group {i + 1}"] for i in range(len(factors))]
        out = factorize(columns[0])
        for column in columns[1:]:
            out = interact(out, factorize(column))
        return out

    def _group_label(self, code):
        label = self.levels[[code]]
        label = level_index(label)[0]
        return label.item() if isinstance(label, np.generic) else label

    def _visits(self):
        spec = self.spec
        if not spec.places and not isinstance(spec, CS):
            raise DesignError(f"{spec}: no visit is given")
        if "visit 1" not in self.columns:
            return None
        self.visit_name = name_of(spec.places[0], "visit")
        ordered = spec.ordered or spec.is_het
        return visits_of(self.columns["visit 1"], self.visit_name, ordered, spec.by_lag)

    def _by(self, n_groups):
        if self.spec.by is None:
            return None, []
        codes, levels = factorize(self.columns["by"])
        labels, codes = list(levels), codes.astype(np.intp)
        checks.check_by(
            self.spec, codes, labels, self.codes, n_groups, self.group_name,
            self._group_label,
        )  # fmt: skip
        return codes, labels

    def _own_function(self, visits, level, level_labels):
        """The variances that ``het`` and ``by`` say."""
        het = self.spec.is_het and len(visits.labels) > 1
        if not het and len(level_labels) < 2:
            return
        if not het:
            self.strata.append(level)
            self.labels.append(level_labels)
        elif len(level_labels) < 2:
            self.strata.append(visits.codes)
            self.labels.append(visits.labels)
        else:
            m = len(visits.labels)
            cells, present = np.unique(level * m + visits.codes, return_inverse=True)
            self.strata.append(present.astype(np.intp))
            self.labels.append(
                [f"{level_labels[c // m]}:{visits.labels[c % m]}" for c in cells]
            )


def _extent(visits, sizes):
    return int(sizes.max()) if visits is None else int(visits.positions[-1]) + 1


def _correlation(spec, m, largest):
    """The structure that computes."""
    if isinstance(spec, CS):
        return CompoundSymmetry(largest)
    if isinstance(spec, AR1):
        return AutoRegressive()
    if isinstance(spec, Toeplitz):
        return ToeplitzCorrelation(m, spec.bands)
    if isinstance(spec, Unstructured):
        return UnstructuredVisits(m)
    if isinstance(spec, Antedependence):
        return AntedependenceCorrelation(m)
    raise NotImplementedError(f"{spec} is not bound yet")


def _var_ident(n_strata):
    from mixedext.specification.covariance.variance_functions import VarIdent

    return VarIdent(n_strata)
