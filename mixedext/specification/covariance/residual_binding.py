"""From a residual structure as stated to groups, patterns and parameters of rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import UnidentifiedCovarianceError
from mixedext.specification.covariance import residual_checks as checks
from mixedext.specification.covariance import residual_information as information
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.residual_columns import (
    StatedResidual,
    stated_residual,
)
from mixedext.specification.covariance.residual_correlations import (
    correlation_of,
    start_of,
)
from mixedext.specification.covariance.residual_functions import (
    FunctionOnRows,
    function_on_rows,
    numbers_of,
    strata_function,
)
from mixedext.specification.covariance.residual_objects import (
    CAR1,
    CS,
    Independent,
    Spatial,
)
from mixedext.specification.covariance.residual_patterns import (
    Batch,
    RowsOfGroups,
    batches_of,
    group_order,
)
from mixedext.specification.covariance.residual_structure import name_of
from mixedext.specification.covariance.residual_visits import Visits, visits_of
from mixedext.specification.data.labels import Levels, factorize, interact, level_index

__all__ = ["Batch", "BoundResidual", "bind_residual", "bind_stated"]

_Available = Callable[[], float] | None


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
    lookup = None if columns is None else lambda value, *_: _look_up(value, columns)
    known = () if columns is None else list(columns)
    stated = stated_residual(residual, variance, lookup, known)
    if stated is None:
        return None
    if n_obs is None:
        n_obs = len(next(iter(stated.columns.values()), ()))
    return bind_stated(stated, n_obs)


def _look_up(value, columns):
    if isinstance(value, str):
        return columns[value]
    return value if isinstance(value, pd.Series) else np.asarray(value)


def bind_stated(
    stated: StatedResidual, n_obs: int, available: _Available = None
) -> BoundResidual | None:
    """Bind what is stated, its columns settled, to ``n_obs`` rows.

    Of several structures the first that the data allow is bound; the others that they
    allow are its ``fallbacks``.

    Parameters
    ----------
    stated : StatedResidual
        Structures and functions.
    n_obs : int
        Rows.
    available : callable, optional
        Bytes of memory that may be taken.

    Raises
    ------
    DesignError
        If the rows do not go with a structure, or tell too little of all of them.
    MemoryError
        If a group is too large; with figures.
    """
    functions = [
        function_on_rows(part, stated.of(-1 - k)) for k, part in enumerate(stated.variance)
    ]
    own = [f for f in functions if f is not None]
    bound: list[BoundResidual] = []
    passed: list[tuple[str, UnidentifiedCovarianceError]] = []
    last = len(stated.structures) - 1
    for number, spec in enumerate(stated.structures):
        try:
            one = _Binder(stated, n_obs, number, own).bound(available)
        except UnidentifiedCovarianceError as error:
            passed.append((str(spec), error))
            continue
        if one is None and number == last and not bound:
            return None
        if one is None:  # independence with one variance: as a structure of its own
            one = _independent(stated, n_obs)
        bound.append(one)
    if not bound:
        raise passed[0][1]
    reasons = tuple((text, str(error)) for text, error in passed)
    return replace(bound[0], fallbacks=tuple(bound[1:]), passed_over=reasons)


def _independent(stated, n_obs):
    rows = RowsOfGroups.single(n_obs, (), (), True)
    return _made(Independent(), stated, None, [], [], rows, batches_of(rows))


def _made(spec, stated, correlation, level_labels, functions, rows, batches, **known):
    """The bound structure."""
    given: dict[str, Any] = {
        "group_name": "row",
        "group_levels": pd.RangeIndex(len(rows.codes)),
        "visit_name": None,
        "visit_labels": None,
    }
    bound = BoundResidual(
        spec=spec,
        variance=stated.variance,
        correlation=correlation,
        functions=tuple(f.function for f in functions),
        strata_labels=tuple(f.labels for f in functions),
        function_texts=tuple(f.text for f in functions),
        n_levels=max(len(level_labels), 1),
        level_labels=level_labels,
        batches=batches,
        group_codes=rows.codes,
        visit_codes=rows.visits,
        n_obs=len(rows.codes),
        of_fitted=tuple(f.of_fitted for f in functions),
        row_strata=tuple(f.strata for f in functions),
        row_covariates=tuple(f.covariate for f in functions),
        **(given | known),
    )
    start, held = start_of(spec, correlation, bound.visit_labels, level_labels, functions)
    return replace(bound, start=start or None, held=held)


class _Binder:
    """One structure on its way to a ``BoundResidual``."""

    def __init__(self, stated, n_obs, number, functions):
        self.spec, self.n_obs = stated.structures[number], n_obs
        self.columns, self.stated = stated.of(number), stated
        self.functions: list[FunctionOnRows] = list(functions)

    def bound(self, available: _Available) -> BoundResidual | None:
        spec = self.spec
        pooled = not any(f.of_fitted for f in self.functions)
        if isinstance(spec, Independent):
            if not self.functions:
                return None
            information.check_variances(spec, self.functions, None)
            strata, covariates = self._of_functions()
            rows = RowsOfGroups.single(self.n_obs, strata, covariates, pooled)
            return _made(
                spec, self.stated, None, [], self.functions, rows, batches_of(rows)
            )
        checks.check_places(spec)
        codes, levels = self._groups()
        sizes = np.bincount(codes, minlength=len(levels))
        checks.check_pairs(spec, sizes, self.group_name)
        visits, coordinates = self._visits(), self._coordinates()
        level, level_labels = self._by(codes, levels)
        self._add_own_function(visits, level, level_labels)
        order = self._order(codes, levels, visits, coordinates)
        places = None
        if visits is not None:
            places = visits.positions[visits.codes]
        manhattan = isinstance(spec, Spatial) and spec.metric == "manhattan"
        strata, covariates = self._of_functions()
        rows = RowsOfGroups(
            order,
            codes,
            sizes,
            level,
            None if isinstance(spec, CS) and not spec.is_het else places,
            coordinates,
            manhattan,
            strata,
            covariates,
            pooled,
        )
        batches = batches_of(rows, lambda c: checks.check_size(spec, c, available))
        correlation = correlation_of(spec, visits, sizes, batches)
        labels = level_labels or [None]
        information.check_places(spec, correlation, batches, visits, labels)
        information.check_variances(spec, self.functions, visits)
        return _made(
            spec,
            self.stated,
            correlation,
            level_labels,
            self.functions,
            replace(rows, visits=places),
            batches,
            group_name=self.group_name,
            group_levels=levels,
            visit_name=self.visit_name or None,
            visit_labels=None if visits is None else visits.at_positions,
        )

    def _of_functions(self):
        """Strata and covariates of the functions."""
        strata = [f.strata for f in self.functions]
        return strata, [f.covariate for f in self.functions]

    def _groups(self) -> tuple[np.ndarray, Levels]:
        factors = self.spec.factors
        self.group_name = ":".join(name_of(f, "group") for f in factors) or "group"
        if not factors:
            return np.zeros(self.n_obs, np.int32), pd.Index(["all rows"])
        columns = [self.columns[f"group {i + 1}"] for i in range(len(factors))]
        out: tuple[np.ndarray, Levels] = factorize(columns[0])
        for column in columns[1:]:
            out = interact(out, factorize(column))
        return out

    def _visits(self) -> Visits | None:
        spec, self.visit_name = self.spec, ""
        if not spec.over_visits:
            return None
        if "visit 1" not in self.columns:
            return None
        self.visit_name = name_of(spec.places[0], "visit")
        ordered = spec.ordered or spec.is_het
        return visits_of(self.columns["visit 1"], self.visit_name, ordered, spec.by_lag)

    def _coordinates(self) -> list[np.ndarray]:
        spec = self.spec
        if spec.over_visits:
            return []
        role = "time" if isinstance(spec, CAR1) else "coordinate"
        return [
            numbers_of(self.columns[f"coordinate {i + 1}"], name_of(p, role), str(spec))
            for i, p in enumerate(spec.places)
        ]

    def _by(self, codes, levels):
        if self.spec.by is None:
            return None, []
        level, labels = factorize(self.columns["by"])
        level, labels = level.astype(np.intp), list(labels)
        label = _labeller(levels)
        checks.check_by(
            self.spec, level, labels, codes, len(levels), self.group_name, label
        )
        return level, labels

    def _add_own_function(self, visits, level, level_labels):
        """The variances that ``het`` and ``by`` say, as the first of the functions."""
        spec, several = self.spec, len(level_labels) > 1
        het = spec.is_het and len(visits.labels) > 1
        by = name_of(spec.by, "by")
        if het and several:
            m = len(visits.labels)
            cells, codes = np.unique(level * m + visits.codes, return_inverse=True)
            labels = [f"{level_labels[c // m]}:{visits.labels[c % m]}" for c in cells]
            own = strata_function(codes, labels, f"{by}:{self.visit_name}")
        elif het:
            own = strata_function(visits.codes, visits.labels, self.visit_name)
        elif several:
            own = strata_function(level, level_labels, by)
        else:
            return
        self.functions.insert(0, own)

    def _order(self, codes, levels, visits, coordinates):
        """Rows by group, and within by visit or time; no place twice in a group."""
        spec, label = self.spec, _labeller(levels)
        names = self.group_name, self.visit_name or "time"
        if visits is not None:
            order = group_order(codes, len(levels), visits.codes, len(visits.labels))
            source = self.columns["visit 1"]
            checks.check_twice(
                spec, order, codes, visits.codes, visits.labels, names, label, source
            )
            return order
        if not coordinates:
            return group_order(codes, len(levels), None, 1)
        by_place = np.lexsort((*coordinates[::-1], codes))
        nugget = isinstance(spec, Spatial) and spec.has_nugget
        if not nugget:
            source = self.columns["coordinate 1"]
            checks.check_same_place(
                spec, by_place, codes, coordinates, self.group_name, label, source
            )
        if isinstance(spec, CAR1):
            return by_place
        return group_order(codes, len(levels), None, 1)


def _labeller(levels: Levels) -> Callable[[int], Any]:
    """From a code to the label of the group."""

    def label(code):
        found = level_index(levels[[code]])[0]
        return found.item() if isinstance(found, np.generic) else found

    return label
