"""The reference grid: combinations of predictors at which means are estimated.

Factors stand at all their levels, covariates at their mean, numbers that have but two
values at both (as in R's emmeans).  The grid is small and needs the rows of the data only
while it is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.engine.rows.estimability import ColumnRelations, column_relations
from mixedext.exceptions import FormulaError
from mixedext.fitted import Fitted, HasFitted
from mixedext.inference.prediction.fixed_rows import refuse_whole_columns
from mixedext.inference.submodels.fixed_terms import terms_of_columns
from mixedext.specification.data.tables import as_pandas
from mixedext.specification.formula.bars import names_in
from mixedext.specification.formula.new_data import new_fixed_columns

__all__ = ["Grid", "Predictor", "ReferenceGrid"]

# Numbers in the matrix of the grid's rows.
LARGEST_GRID = 20_000_000
_SUMMARIES: dict[str, Callable[[np.ndarray], list[float]]] = {
    "mean": lambda x: [float(np.mean(x))],
    "median": lambda x: [float(np.median(x))],
    "min": lambda x: [float(np.min(x))],
    "max": lambda x: [float(np.max(x))],
    "range": lambda x: [float(np.min(x)), float(np.max(x))],
}


@dataclass(frozen=True, eq=False)
class Predictor:
    """A variable of the fixed part.

    Attributes
    ----------
    name : str
        Its column.
    levels : Series or None
        Levels in the rows used, of the column's own type; None for a covariate.
    numeric : bool
        Whether the values are numbers.
    summaries : dict
        Mean, median, min, max and range of a number.
    """

    name: str
    levels: pd.Series | None
    numeric: bool
    summaries: dict[str, list[float]] = field(default_factory=dict)

    @property
    def is_factor(self) -> bool:
        """Whether it stands at all its levels."""
        return self.levels is not None


@dataclass(frozen=True, eq=False)
class Grid:
    """Some combinations of levels and the columns of the model there.

    Attributes
    ----------
    levels : dict
        Name of a predictor to its values, a Series, the first varying fastest.
    codes : DataFrame
        Which value each row has, one column a predictor.
    exog : ndarray
        Columns of the fixed part, one row a combination.
    shift : ndarray
        Offset of each.
    """

    levels: dict[str, pd.Series]
    codes: pd.DataFrame
    exog: np.ndarray
    shift: np.ndarray

    def values(self, names: Sequence[str], rows: Any = slice(None)) -> pd.DataFrame:
        """Values of predictors in some rows."""
        return pd.DataFrame(
            {n: self.levels[n].take(self.codes[n].to_numpy()[rows]).array for n in names}
        )

    def places(self, names: Sequence[str]) -> np.ndarray:
        """Number of each row's combination of predictors, the first varying fastest."""
        place, stride = np.zeros(len(self.codes), int), 1
        for name in names:
            place += stride * self.codes[name].to_numpy()
            stride *= len(self.levels[name])
        return place


class ReferenceGrid:
    """What estimated means need to know of a model and its rows.

    Parameters
    ----------
    results : HasFitted
        A fit of a model made from a formula, its rows in memory.

    Attributes
    ----------
    response : str
        Left-hand side of the formula.
    predictors : dict
        The variables of the fixed part by name, in the formula's order.
    terms : list of frozenset
        Predictors in each term of the formula.
    nesting : dict
        Factor to the tuple of factors that it is nested in.
    cells : DataFrame
        Levels (as numbers) of the factors in each combination that occurs.
    counts : ndarray
        Observations in each.
    offset : float
        Mean of the offset, which is added to all means.
    relations : ColumnRelations
        Of columns that were dropped to the others.

    Raises
    ------
    ValueError
        If the model has no formula, or its rows are not in memory.
    """

    def __init__(self, results: HasFitted):
        fitted = results.fitted
        model = fitted.model
        frame = _rows_of(fitted)
        response, right = model.fixed_formula.split("~", 1)
        self.response = response.strip()
        used = names_in(right)
        columns = [c for c in frame.columns if isinstance(c, str) and c in used]
        columns.sort(key=lambda c: _first_place(c, right))
        categorical = _in_parentheses_of_c(right)
        codes: dict[str, np.ndarray] = {}
        self.predictors: dict[str, Predictor] = {}
        for name in columns:
            predictor, own = _predictor(frame[name], name in categorical)
            self.predictors[name] = predictor
            if own is not None:
                codes[name] = own
        variables = [t.variables & set(columns) for t in terms_of_columns(model)]
        self.terms = [names for names in variables if names]
        self.cells, self.counts = _observed_cells(codes, len(frame))
        self.nesting = self._find_nesting()
        self.offset = 0.0 if model.offset is None else float(np.mean(model.offset))
        self._k_columns = max(len(fitted.fixed.names), 1)
        self._model = model
        self.relations: ColumnRelations = column_relations(
            fitted.fit.design.basis, fitted.nobs
        )

    def _columns(self, frame):
        model = self._model
        spec = getattr(model.data, SPEC_ATTRIBUTE)
        refuse_whole_columns(model)
        return new_fixed_columns(
            spec, frame, model.fixed_formula, model.namespace, model.aliases
        ).exog

    # ---- nesting ----

    def _find_nesting(self):
        """Factors whose levels occur with one level of another, by the data.

        As emmeans finds them, unless the formula has both the interaction of the two and
        a term with the inner one without the outer: that says that they are crossed, and
        cells are empty.  Of factors that tell the same neither is nested.
        """
        inside = {}
        for name in self.factors:
            around = [
                other
                for other in self.factors
                if other != name
                and not self._crossed(name, other)
                and self._parents(name, other) is not None
                and (self._only_within(name, other) or self._parents(other, name) is None)
            ]
            if around:
                inside[name] = tuple(around)
        return inside

    def _crossed(self, name, other):
        """Whether terms have a factor both with another and without it."""
        with_other = {other in t for t in self.terms if name in t}
        return len(with_other) != 1

    def _only_within(self, name, other):
        """Whether no term has a factor without another, which has a term of its own."""
        return all(other in t for t in self.terms if name in t) and any(
            other in t for t in self.terms if name not in t
        )

    def _parents(self, name, other):
        """The one level of ``other`` that each level of ``name`` occurs with, or None."""
        pairs = self.cells[[name, other]].drop_duplicates()
        if pairs[name].duplicated().any() or pairs[other].nunique() < 2:
            return None
        return pairs.set_index(name)[other]

    @cached_property
    def parents(self) -> dict[tuple[str, str], pd.Series]:
        """(factor, factor it is nested in) to the latter's level by the former's."""
        return {
            (name, other): self._parents(name, other)
            for name, around in self.nesting.items()
            for other in around
        }

    @property
    def factors(self) -> list[str]:
        """Names of the predictors that stand at all their levels."""
        return [name for name, p in self.predictors.items() if p.is_factor]

    def with_parents(self, names: Iterable[str]) -> list[str]:
        """Names, and the factors that these are nested in."""
        names = list(names)
        for name in list(names):
            names += [p for p in self.nesting.get(name, ()) if p not in names]
        return names

    # ---- levels ----

    def check_names(self, names: Iterable[str], what: str) -> None:
        """Refuse names that are no predictors of the fixed part."""
        unknown = [n for n in names if n not in self.predictors]
        if unknown:
            known = ", ".join(self.predictors) or "none"
            meant = _names_meant(unknown[0], self.predictors)
            raise ValueError(
                f"{what}: {unknown[0]!r} is not a variable of the fixed effects; there "
                f"are: {known}{meant or did_you_mean(unknown[0], self.predictors)}"
            )

    def levels_at(
        self,
        at: Mapping[str, Any] | None,
        rows: pd.DataFrame | None = None,
        spread: float = 0.0,
    ) -> dict[str, pd.Series]:
        """Values of the predictors: all levels, means, and what ``at`` says.

        Parameters
        ----------
        at : dict or None
            Values, a function of the column, or "mean", "median", "min", "max", "range".
        rows : DataFrame, optional
            The rows of the data, for functions.
        spread : float, optional
            If positive, covariates stand at their mean less and plus this, or as much of
            it as stays within their range; at the ends of that where these are equal.

        Returns
        -------
        dict
            Series by name.
        """
        if not isinstance(at, Mapping | None):
            raise ValueError(f"at={at!r} must map variables to values: at={{'x': [0, 1]}}")
        at = {} if at is None else dict(at)
        self.check_names(at, "at")
        levels = {}
        for name, predictor in self.predictors.items():
            if name in at:
                levels[name] = _values_at(predictor, as_pandas(at[name]), rows)
            elif predictor.levels is not None:
                levels[name] = predictor.levels
            elif spread:
                (mean,), (low, high) = (predictor.summaries[s] for s in ("mean", "range"))
                half = min(spread, mean - low, high - mean)
                ends = max(mean - half, low), min(mean + half, high)
                if ends[0] == ends[1]:  # rounding of a mean that is far beyond the spread
                    ends = low, high
                levels[name] = pd.Series(list(ends))
            else:
                levels[name] = pd.Series(predictor.summaries["mean"])
        return levels

    def grid(self, levels: dict[str, pd.Series]) -> Grid:
        """All combinations of levels that nesting allows.

        Parameters
        ----------
        levels : dict
            From ``levels_at``.
        """
        size = int(np.prod([float(len(v)) for v in levels.values()]))
        if size * self._k_columns > LARGEST_GRID:
            raise ValueError(
                f"the reference grid has {size} combinations of {', '.join(levels)}; "
                "restrict levels by at="
            )
        codes = self._codes(levels)
        keep = np.ones(len(codes), bool)
        for (name, other), parent in self.parents.items():
            own = self._positions(name, levels[name])
            around = self._positions(other, levels[other])
            if own is None or around is None:
                continue
            wanted = parent.reindex(own).to_numpy()
            keep &= wanted[codes[name]] == around[codes[other]]
        codes = codes[keep].reset_index(drop=True)
        exog = self.evaluate(levels, codes)
        return Grid(levels, codes, exog, np.full(len(codes), self.offset))

    def _codes(self, levels):
        if not levels:
            return pd.DataFrame(index=range(1))
        shape = [len(v) for v in levels.values()]
        index = np.indices(shape[::-1]).reshape(len(shape), -1)[::-1]
        return pd.DataFrame(dict(zip(levels, index, strict=True)))

    def evaluate(self, levels: Mapping[str, pd.Series], codes: pd.DataFrame) -> np.ndarray:
        """The model's fixed columns at combinations of levels."""
        frame = pd.DataFrame(
            {n: v.take(codes[n].to_numpy()).array for n, v in levels.items()},
            index=codes.index,
        )
        exog = self._columns(frame)
        if len(exog) != len(codes):  # the engine gives one row for a constant
            exog = np.broadcast_to(exog[:1], (len(codes), exog.shape[1]))
        return exog

    def _positions(self, name, values):
        """Numbers of a factor's levels that values are; None if it is no factor now."""
        own = self.predictors[name].levels
        if own is None:
            return None
        found = pd.Index(own).get_indexer(pd.Index(values))
        return None if (found < 0).any() else found

    def frequencies(self, grid: Grid, names: Iterable[str]) -> np.ndarray:
        """Observations in each row of a grid, told apart by some factors only."""
        found = {n: self._positions(n, grid.levels[n]) for n in names}
        positions = {n: own for n, own in found.items() if own is not None}
        # rows of the data at levels that at= left out do not count
        inside = np.ones(len(self.cells), bool)
        for name in self.factors:
            own = self._positions(name, grid.levels[name])
            if own is not None:
                inside &= np.isin(self.cells[name], own)
        if not positions:
            return np.full(len(grid.codes), self.counts[inside].sum())
        keys = [self.cells[n].to_numpy()[inside] for n in positions]
        total = pd.Series(self.counts[inside]).groupby(keys).sum()
        wanted = [own[grid.codes[n]] for n, own in positions.items()]
        if len(positions) == 1:
            return total.reindex(wanted[0], fill_value=0.0).to_numpy()
        index = pd.MultiIndex.from_arrays(wanted)
        return total.reindex(index, fill_value=0.0).to_numpy()

    def interact(self, first: Iterable[str], second: Iterable[str]) -> bool:
        """Whether some term of the formula has variables of both sets."""
        one, other = set(first), set(second)
        return any(one & t and other & t for t in self.terms)

    def subsets(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """Sets of predictors that some term of the formula holds, the small ones first.

        A term with a nested factor holds the factors too that it is nested in.
        """
        found = {
            tuple(n for n, used in zip(names, picks, strict=True) if used)
            for term in map(self.with_parents, self.terms)
            for picks in product(*[(False, True) if n in term else (False,) for n in names])
        }
        place = {n: i for i, n in enumerate(names)}
        return sorted(
            (s for s in found if s), key=lambda s: (len(s), [place[n] for n in s])
        )


def _rows_of(fitted: Fitted) -> pd.DataFrame:
    rows = fitted.rows
    if getattr(fitted.model, "fixed_formula", None) is None:
        raise ValueError(
            "estimated means need to know which variables the columns are made of; the "
            "model was made from arrays: use a formula (mixedlm)"
        )
    if rows is None or rows.frame is None or len(rows.exog) == 0:
        raise ValueError(
            "estimated means need the rows of the data for levels, means and "
            "frequencies, and these are not in memory (chunks, or remove_data before a "
            "first use)"
        )
    return rows.frame


def _first_place(name, text):
    """Where a name first occurs."""
    match = re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text)
    return len(text) if match is None else match.start()


def _in_parentheses_of_c(text: str) -> set[str]:
    """Names in the first argument of C(...)."""
    found: set[str] = set()
    for match in re.finditer(r"(?<![\w.])C\(", text):
        depth, at = 1, match.end()
        while at < len(text) and depth:
            if text[at] == "," and depth == 1:
                break
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
        found |= names_in(text[match.end() : at])
    return found


def _predictor(column, categorical):
    """A predictor and, of a factor, the number of each row's level."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes = np.asarray(column.array.codes)
        used = np.unique(codes)
        levels = pd.Series(pd.Categorical.from_codes(used, dtype=dtype))
        return Predictor(column.name, levels, False), np.searchsorted(used, codes)
    kind = getattr(dtype, "kind", "O")
    numeric = kind in "iuf"
    if kind not in "iufbOUT" and not isinstance(dtype, pd.StringDtype):
        raise ValueError(
            f"{column.name} is of type {dtype}; estimated means know numbers, text, "
            "truth values and categories"
        )
    if not numeric or categorical:
        levels, codes = _sorted_levels(column)
        return Predictor(column.name, levels, numeric), codes
    values = column.to_numpy(float)
    summaries = {name: summary(values) for name, summary in _SUMMARIES.items()}
    low, high = summaries["range"]
    if ((values == low) | (values == high)).all():
        levels, codes = _sorted_levels(column)
        return Predictor(column.name, levels, True, summaries), codes
    return Predictor(column.name, None, True, summaries), None


def _sorted_levels(column):
    codes = pd.factorize(column, sort=True)[0]
    first = np.unique(codes, return_index=True)[1]
    return column.iloc[first].reset_index(drop=True), codes


def _observed_cells(codes, n_rows):
    """Combinations of levels that occur, and the observations in each."""
    if not codes:
        return pd.DataFrame(index=range(1)), np.array([float(n_rows)])
    frame = pd.DataFrame(codes)
    cells = frame.value_counts(sort=False).sort_index()
    return cells.index.to_frame(index=False), cells.to_numpy(float)


def _values_at(predictor: Predictor, given: Any, rows: Any) -> pd.Series:
    """Values of a predictor that ``at`` names."""
    name = predictor.name
    if isinstance(given, str) and predictor.numeric and given in _SUMMARIES:
        if not predictor.summaries:
            raise ValueError(f"at: {name} is a factor; name its levels")
        return pd.Series(predictor.summaries[given])
    if callable(given):
        if not predictor.numeric:
            raise ValueError(f"at: {name} is a factor; name its levels")
        if rows is None:
            raise ValueError(
                f"at: a function of {name} needs the rows of the data, which were "
                "removed; give numbers, or 'mean', 'median', 'min', 'max', 'range'"
            )
        given = given(rows[name].to_numpy(float))
    if isinstance(given, str) or not isinstance(given, Iterable):
        given = [given]
    given = list(given)
    if not given:
        raise ValueError(f"at: no value is given for {name}")
    if predictor.levels is not None:
        places = {level: i for i, level in enumerate(predictor.levels)}
        found = np.array([places.get(value, -1) for value in given])
        if (found >= 0).all():
            if len(set(found)) < len(found):
                raise ValueError(f"at: {name} has the same level twice")
            return predictor.levels.take(found).reset_index(drop=True)
        if not predictor.numeric or not predictor.summaries:
            listed = ", ".join(map(str, predictor.levels))
            wrong = given[int(np.argmin(found))]
            raise ValueError(
                f"at: {wrong!r} is not a level of {name}; there are: {listed}"
                f"{did_you_mean(wrong, predictor.levels)}"
            )
    try:
        values = np.asarray(given, float)
    except (TypeError, ValueError):
        raise FormulaError(f"at: {name} is a number, not {given!r}") from None
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"at: the values of {name} must be finite numbers, in one row")
    if len(np.unique(values)) < len(values):
        raise ValueError(f"at: {name} has the same value twice")
    return pd.Series(values)


def _names_meant(text, known):
    """What to write for an expression of variables in place of a name; may be empty."""
    call = re.fullmatch(r"(?:C|factor)\(\s*([\w.]+)[^()]*\)", text.strip())
    if call is not None and call[1] in known:
        return f"; a factor goes by the name of its column, {call[1]!r}"
    parts = [part.strip() for part in re.split(r"[+*:,]", text)]
    if len(parts) > 1 and all(part in known for part in parts):
        return f"; all combinations are {parts}, or {'~ ' + ' * '.join(parts)!r}"
    return ""
