"""How the places of new rows under a residual structure are made of new data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import FormulaError
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.covariance.residual_columns import StatedResidual
from mixedext.specification.covariance.residual_objects import Independent, Toeplitz
from mixedext.specification.covariance.residual_structure import (
    ResidualStructure,
    is_row_order,
    name_of,
)
from mixedext.specification.covariance.variance_objects import (
    StatedVariance,
    VarFixed,
    VarIdent,
    VarPower,
)
from mixedext.specification.data.columns import as_floats, column_of
from mixedext.specification.data.known_levels import MISSING, UNKNOWN, known_codes
from mixedext.specification.data.labels import Levels, factorize, interact

__all__ = ["NewPlaces", "ResidualRecipe", "own_places", "residual_recipe"]

# Labels that an error names.
MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class NewPlaces:
    """Where rows stand under a residual structure.

    Attributes
    ----------
    group : ndarray
        Residual group, (n,): ``UNKNOWN`` for one that the fit had not, ``MISSING`` without
        a label; ``UNKNOWN`` too where groups were not asked for.
    level : ndarray
        Level of ``by``, (n,); 0 without it.
    visits : ndarray or None
        Places of the visits, (n,); None for distances, or where they were not needed.
    coordinates : tuple of ndarray
        Times or coordinates, (n,) each.
    strata, covariates : tuple of ndarray or None
        For each variance function, (n,).
    missing : ndarray
        Rows that lack a value that is needed, (n,) bool.
    """

    group: np.ndarray
    level: np.ndarray
    visits: np.ndarray | None
    coordinates: tuple[np.ndarray, ...]
    strata: tuple[np.ndarray | None, ...]
    covariates: tuple[np.ndarray | None, ...]
    missing: np.ndarray

    def __len__(self) -> int:
        return len(self.group)

    def take(self, rows: Any) -> NewPlaces:
        """Some of the rows."""

        def some(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return NewPlaces(
            self.group[rows],
            self.level[rows],
            some(self.visits),
            tuple(v[rows] for v in self.coordinates),
            tuple(map(some, self.strata)),
            tuple(map(some, self.covariates)),
            self.missing[rows],
        )


@dataclass(frozen=True, eq=False)
class _Function:
    """A variance function: what says the stratum and the covariate of a row."""

    text: str
    stated: StatedVariance | None  # None of that which ``het`` and ``by`` say
    levels: Levels | None = None
    cells: np.ndarray | None = None  # of level and visit, ascending
    by_visit: bool = False
    by_level: bool = False
    of_fitted: bool = False


@dataclass(frozen=True, eq=False)
class ResidualRecipe:
    """What a fit keeps of its rows, so as to place new ones.

    Attributes
    ----------
    spec : ResidualStructure
        The structure as stated.
    is_covariance : bool
        Whether the visit says the variance.
    group_levels : Index or ProductLevels
        Labels of the residual groups.
    level_of_group : ndarray
        Level of ``by`` of each group; empty without ``by``.
    level_labels : Index
        Labels of the levels of ``by``.
    visit_labels : list or None
        Labels of the places of visits.
    """

    spec: ResidualStructure
    is_covariance: bool
    group_levels: Levels
    level_of_group: np.ndarray
    level_labels: pd.Index
    visit_labels: list | None
    _with_rows: np.ndarray  # places of visits that rows of the fit have, ascending
    _functions: tuple[_Function, ...]

    @property
    def correlates(self) -> bool:
        """Whether rows of a group are correlated."""
        return not isinstance(self.spec, Independent)

    def places(
        self, frame: pd.DataFrame | None, n: int, with_groups: bool = True
    ) -> NewPlaces:
        """Places of new rows.

        Parameters
        ----------
        frame : DataFrame or None
            The new data, if they came as a frame.
        n : int
            Number of rows.
        with_groups : bool, optional
            Whether all is asked for, or what standard deviations need alone.

        Raises
        ------
        FormulaError
            If the data lack a column; names it.
        ValueError
            If the fit does not know a visit or a stratum; names it.
        """
        with_groups = with_groups and self.correlates
        group = np.full(n, UNKNOWN)
        missing = np.zeros(n, bool)
        if with_groups:
            group = self._groups(frame, n)
        of_sd = any(f.by_level for f in self._functions)
        level = np.zeros(n, np.intp)
        if len(self.level_labels) and (with_groups or of_sd or self.is_covariance):
            level, lost = self._levels(frame, group)
            missing |= lost
        visits, coordinates = None, []
        of_sd = self.is_covariance or any(f.by_visit for f in self._functions)
        if self.spec.over_visits and (with_groups or of_sd):
            needed = np.ones(n, bool) if of_sd else group >= 0
            visits, lost = self._visits(frame, n, needed)
            missing |= lost
        elif with_groups:
            for i in range(len(self.spec.places)):
                values = self._numbers(frame, f"coordinate {i + 1}", self.spec)
                missing |= np.isnan(values)
                coordinates.append(np.nan_to_num(values))
        strata: list[np.ndarray | None] = []
        covariates: list[np.ndarray | None] = []
        for function in self._functions:
            own, lost = self._strata(function, frame, level, visits, missing)
            missing |= lost
            strata.append(own)
            covariate = self._covariate(function, frame)
            if covariate is not None:
                missing |= np.isnan(covariate)
                covariate = np.where(np.isnan(covariate), 1.0, covariate)
            covariates.append(covariate)
        return NewPlaces(
            group, level, visits, tuple(coordinates), tuple(strata), tuple(covariates),
            missing,
        )  # fmt: skip

    # ---- columns ----

    def group_columns(self, frame: pd.DataFrame | None) -> list[pd.Series]:
        """The columns of new data that tell the residual groups."""
        roles = [f"group {i + 1}" for i in range(len(self.spec.factors))]
        return [self._column(frame, role, self.spec) for role in roles]

    def _column(self, frame, role, part):
        """The values of a column that the structure or a function names."""
        name = name_of(part.columns()[role], role.rsplit(" ", 1)[0])
        what = (
            f"variance={part}" if isinstance(part, StatedVariance) else f"residual={part}"
        )
        if frame is None:
            raise FormulaError(
                f"exog is an array, which does not tell {name!r}: {what} names it; pass a "
                "DataFrame with that column too"
            )
        if name not in frame.columns and name not in frame.index.names:
            raise FormulaError(f"the new data have no column {name!r}, which {what} names")
        return column_of(frame, name)

    def _factors(self, frame, roles, part):
        return [factorize(self._column(frame, role, part)) for role in roles]

    def _numbers(self, frame, role, part):
        values = self._column(frame, role, part)
        name = name_of(part.columns()[role], role)
        try:
            out = as_floats(values)
        except (TypeError, ValueError) as error:
            raise FormulaError(f"{part}: {name!r} must hold numbers: {error}") from None
        if np.isinf(out).any():
            raise ValueError(f"infinite values in {name!r} of the new data")
        return out

    # ---- roles ----

    def _groups(self, frame, n):
        columns = self.group_columns(frame)
        if not columns:
            return np.zeros(n, np.intp)
        return known_codes(self.group_levels, [factorize(column) for column in columns])

    def _levels(self, frame, group):
        """Level of ``by`` of every row, and which rows have none."""
        known = group >= 0
        of_group = self.level_of_group[np.maximum(group, 0)]
        if known.all():  # what the column says of these is known
            name = name_of(self.spec.by, "by")
            if frame is None or name not in frame.columns:
                return of_group, np.zeros(len(group), bool)
        factors = self._factors(frame, ["by"], self.spec)
        codes = known_codes(self.level_labels, factors)
        own, labels = factors[0]
        self._refuse_unknown(codes == UNKNOWN, own, labels, "by", self.spec)
        other = known & (codes >= 0) & (codes != of_group)
        if other.any():
            row = int(np.flatnonzero(other)[0])
            raise ValueError(
                f"{self.spec}: row {row} of the new data has another level of "
                f"{name_of(self.spec.by, 'by')!r} than its group had in the fit"
            )
        missing = (codes == MISSING) & ~known
        return np.where(known, of_group, np.maximum(codes, 0)).astype(np.intp), missing

    def _visits(self, frame, n, needed):
        """Place of the visit of every row, and which rows have none."""
        spec = self.spec
        if self.visit_labels is None:
            if spec.places and is_row_order(spec.places[0]) and not self._exchangeable:
                raise ValueError(
                    f"{spec} places rows by their order, which new rows have none in; name "
                    f"a column of visits: {spec.call}(visit | g)"
                )
            return None, np.zeros(n, bool)
        codes, levels = factorize(self._column(frame, "visit 1", spec))
        place, known = self._place(levels, codes)
        missing = codes < 0
        if self._exchangeable:  # another visit is as good as a known one
            beyond = len(self._labels) + np.arange(len(levels))
            place = np.where(known, place, beyond)
            known = np.ones(len(levels), bool)
        table = np.append(place, 0)
        lost = np.append(known, True)
        unknown = ~lost[codes] & needed & ~missing
        self._refuse_unknown(unknown, codes, levels, "visit 1", spec)
        return table[codes].astype(np.intp), missing & needed

    @property
    def _labels(self) -> list:
        return self.visit_labels or []

    @property
    def _exchangeable(self):
        """Whether the correlation is the same whatever the visits are."""
        by_visit = any(f.by_visit for f in self._functions)
        return self.spec.call == "cs" and not by_visit

    def _place(self, levels, codes):
        """Places of labels of visits, and which are known."""
        labels = self._labels
        found = known_codes(
            pd.Index(labels, dtype=object), [(np.arange(len(levels)), levels)]
        )
        known = found >= 0
        whole = all(isinstance(v, int | np.integer) for v in labels)
        if known.all() or not (self.spec.by_lag and whole):
            return found, known
        numbers = pd.to_numeric(pd.Series(levels), errors="coerce").to_numpy(float)
        first = labels[0]
        step = labels[1] - first if len(labels) > 1 else 1
        place = (numbers - first) / step
        on_grid = np.isfinite(place) & (place == np.rint(place))
        if isinstance(self.spec, Toeplitz) and self.spec.bands is None:
            last = len(labels) - 1  # a lag that the fit had not has no correlation
            on_grid &= (place >= 0) & (place <= last)
        found = np.where(known, found, np.where(on_grid, place, 0))
        return found.astype(np.intp), known | on_grid

    def _strata(self, function, frame, level, visits, missing):
        """Stratum of every row, and which have none."""
        n = len(level)
        none = np.zeros(n, bool)
        if function.stated is None:
            if not function.by_visit:
                return level, none
            cells, cell = self._with_rows, visits
            if function.by_level:
                cells = function.cells
                cell = level * len(self._labels) + visits
            place = np.minimum(np.searchsorted(cells, cell), len(cells) - 1)
            unknown = (cells[place] != cell) & ~missing
            if unknown.any():
                row = int(np.flatnonzero(unknown)[0])
                at = f" of {self.level_labels[level[row]]!r}" if function.by_level else ""
                raise ValueError(
                    f"{self.spec}: row {row} of the new data is at a visit{at} of which "
                    "the fit had no row: it does not know its variance"
                )
            return place, none
        if function.levels is None:
            return None, none
        roles = [f"stratum {i + 1}" for i in range(len(function.stated.factors))]
        factors = self._factors(frame, roles, function.stated)
        codes = known_codes(function.levels, factors)
        unknown = codes == UNKNOWN
        if unknown.any():
            found: tuple[np.ndarray, Levels] = factors[0]
            for other in factors[1:]:
                found = interact(found, other)
            self._refuse_unknown(unknown, found[0], found[1], "stratum 1", function.stated)
        return np.maximum(codes, 0).astype(np.intp), codes == MISSING

    def _covariate(self, function, frame):
        stated = function.stated
        if function.of_fitted:
            raise FormulaError(
                f"variance={stated} takes the fitted values of the rows of the fit: the "
                "standard deviation of a new row is not known"
            )
        if stated is None or "covariate" not in stated.columns():
            return None
        values = self._numbers(frame, "covariate", stated)
        if isinstance(stated, VarPower | VarFixed) and (values <= 0).any():
            raise ValueError(
                f"variance={stated}: the covariate must be positive, and the new data have "
                f"{np.nanmin(values):g}"
            )
        return values

    def _refuse_unknown(self, unknown, codes, levels, role, part):
        if not unknown.any():
            return
        labels = [str(v) for v in np.asarray(levels, object)[np.unique(codes[unknown])]]
        shown = ", ".join(map(repr, labels[:MOST_NAMED]))
        more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
        columns = part.columns()
        kind, _, _ = role.partition(" ")
        roles = [r for r in columns if r.startswith(kind)]
        name = ":".join(name_of(columns[r], kind) for r in roles)
        what = {"visit": "visit", "by": "level", "stratum": "stratum"}[kind]
        raise ValueError(
            f"exog has {name!r} = {shown}{more}, a {what} that the fit had not: {part} "
            "does not know its variance or its correlations"
        )


def residual_recipe(bound: BoundResidual, stated: StatedResidual) -> ResidualRecipe:
    """What is kept of the rows of a fit.

    Parameters
    ----------
    bound : BoundResidual
        The structure that was fitted, on its rows.
    stated : StatedResidual
        The columns that were stated.
    """
    number = _number(bound, stated)
    level_of_group, labels = np.zeros(0, np.intp), pd.Index([])
    if bound.level_labels:
        _, labels = factorize(stated.of(number)["by"])
        level_of_group = np.zeros(len(bound.group_levels), np.intp)
        for batch in bound.batches:
            level_of_group[batch.group] = batch.level[batch.pattern]
    return ResidualRecipe(
        bound.spec,
        bound.correlation is not None and bound.correlation.is_covariance,
        bound.group_levels,
        level_of_group,
        labels,
        bound.visit_labels,
        np.unique(bound.visit_codes if bound.visit_codes is not None else []),
        tuple(_functions(bound, stated)),
    )


def _number(bound, stated):
    """Which of the structures stated it is."""
    for number, spec in enumerate(stated.structures):
        if spec is bound.spec:
            return number
    return 0  # independence, which was stated last


def _functions(bound, stated):
    het = bound.spec.is_het and len(bound.visit_labels or ()) > 1
    several = bound.n_levels > 1
    if het or several:
        cells = None
        if het and several:
            level = own_level(bound)
            visits = bound.visit_codes
            cells = np.unique(level * len(bound.visit_labels) + visits)
        yield _Function(str(bound.spec), None, None, cells, het, several)
    for k, part in enumerate(stated.variance):
        columns = stated.of(-1 - k)
        levels: Levels | None = None
        if part.factors:
            found: Any = factorize(columns["stratum 1"])
            for i in range(1, len(part.factors)):
                found = interact(found, factorize(columns[f"stratum {i + 1}"]))
            levels = found[1]
            if len(levels) < 2:
                if isinstance(part, VarIdent):
                    continue  # one variance: no function
                levels = None
        of_fitted = part.covariate is not None and "covariate" not in columns
        yield _Function(str(part), part, levels, of_fitted=of_fitted)


def own_level(bound: BoundResidual) -> np.ndarray:
    """Level of ``by`` of the rows of a fit, (n,)."""
    out = np.zeros(bound.n_obs, np.intp)
    for batch in bound.batches:
        out[batch.rows] = batch.level[batch.pattern][:, None]
    return out


def own_places(bound: BoundResidual, stated: StatedResidual) -> NewPlaces:
    """Places of the rows of a fit, in groups and visits of which each is its own."""
    n = bound.n_obs
    visits = None
    coordinates: tuple[np.ndarray, ...] = ()
    if bound.spec.over_visits and not isinstance(bound.spec, Independent):
        visits = bound.visit_codes
        if visits is None:  # the order of the rows
            visits = np.empty(n, np.intp)
            for batch in bound.batches:
                visits[batch.rows] = np.arange(batch.size)
    elif not bound.spec.over_visits:
        columns = stated.of(_number(bound, stated))
        coordinates = tuple(
            as_floats(columns[f"coordinate {i + 1}"]) for i in range(len(bound.spec.places))
        )
    return NewPlaces(
        np.asarray(bound.group_codes, np.intp),
        own_level(bound),
        visits,
        coordinates,
        bound.row_strata,
        bound.row_covariates,
        np.zeros(n, bool),
    )
