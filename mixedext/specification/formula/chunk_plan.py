"""Formulas on data that come in chunks: levels first, then one model frame a chunk.

A chunk shows only some levels of a factor.  A first pass collects the values of all
categorical columns and the levels of all grouping factors; every chunk is then evaluated
with these, so that its columns are those that the whole data would give.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.exceptions import FormulaError
from mixedext.limits import SAME_COLUMN
from mixedext.specification.data.columns import as_frame, with_columns
from mixedext.specification.data.labels import factorize, level_index, used_levels
from mixedext.specification.data.missing import check_missing
from mixedext.specification.formula.bars import SplitFormula, names_in, split_formula
from mixedext.specification.formula.column_kinds import (
    bare_names,
    warn_of_categories,
    warn_of_labels,
)
from mixedext.specification.formula.formula_engine import FormulaEngine
from mixedext.specification.formula.model_frame import ModelFrame, model_frame
from mixedext.specification.formula.namespace import portable_namespace, restored_namespace

__all__ = ["ChunkPlan", "Vocabulary"]

# Functions whose value in one row depends on the other rows.
WHOLE_COLUMN = {"poly", "center", "scale", "standardize", "bs", "cr", "cc", "cs", "te"}
# Rows of the first chunk that are kept to know names and types.
HEAD = 20


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What must be known of all chunks before one of them can be evaluated.

    Attributes
    ----------
    nobs : int
        Complete rows.
    values : dict
        For each categorical column its values, or the categories of its type.
    emptied : dict
        For each column of categories those that have not occurred.
    levels : dict
        For each grouping factor (names of its columns) a frame of the combinations that
        occur.
    head : DataFrame
        Some first rows.
    """

    nobs: int
    values: dict[str, pd.Index]
    emptied: dict[str, pd.Index]
    levels: dict[tuple[str, ...], pd.DataFrame]
    head: pd.DataFrame

    def __add__(self, other: Vocabulary) -> Vocabulary:
        if self.nobs == 0 or other.nobs == 0:
            return self if other.nobs == 0 else other
        values = {n: _union(v, other.values[n]) for n, v in self.values.items()}
        emptied = {}
        for n in self.emptied | other.emptied:
            all_gone = self.gone(n).append(other.gone(n))
            seen = [v.values[n].difference(v.gone(n), sort=False) for v in (self, other)]
            emptied[n] = all_gone.unique().difference(seen[0].append(seen[1]), sort=False)
        levels = {
            names: pd.concat([frame, other.levels[names]]).drop_duplicates()
            for names, frame in self.levels.items()
        }
        nobs = self.nobs + other.nobs
        return replace(self, nobs=nobs, values=values, emptied=emptied, levels=levels)

    def gone(self, name: str) -> pd.Index:
        """Categories of a column that have not occurred."""
        return self.emptied.get(name, self.values[name][:0])


def _union(one, other):
    if one.equals(other):
        return one
    union = one.append(other).unique()
    try:
        return union.sort_values()
    except TypeError:  # values of several types have no order
        return union


@dataclass(frozen=True, eq=False)
class ChunkPlan:
    """A formula and all that its evaluation on one chunk needs.

    Attributes
    ----------
    formula : str
        Fixed effects, random terms in bars, offsets.
    groups, re_formula, weights, offset : str or None
        As in ``MixedLM.from_formula``; names of columns.
    missing : {"none", "raise", "drop"}
        What is done with rows with missing values.
    namespace : dict
        Names that the formula uses besides the columns.  Processes get those that can be
        pickled.
    vocabulary : Vocabulary or None
        From the first pass.
    """

    formula: str
    groups: str | None = None
    re_formula: str | None = None
    weights: str | None = None
    offset: str | None = None
    missing: str = "none"
    namespace: Mapping | None = None
    vocabulary: Vocabulary | None = None

    def __post_init__(self) -> None:
        check_missing(self.missing)
        for what in ("groups", "re_formula", "weights", "offset"):
            value = getattr(self, what)
            if not isinstance(value, str | None):
                raise ValueError(
                    f"{what} must name a column of every chunk, not {type(value).__name__}"
                )
        for text in self._texts:
            called = set(re.findall(r"([^\W\d]\w*)\s*\(", text)) & WHOLE_COLUMN
            if called:
                raise FormulaError(
                    f"{sorted(called)[0]}(...) in {text!r} depends on the whole column, "
                    "and a chunk shows only a part of it; compute the column first"
                )

    def __getstate__(self) -> dict[str, Any]:
        state = vars(self) | {"namespace": portable_namespace(self.namespace or {})}
        state.pop("_head_values", None)
        return state

    @property
    def split(self) -> SplitFormula:
        """The formula in parts."""
        return split_formula(self.formula)

    @property
    def _texts(self):
        split = self.split
        return [
            split.response,
            split.fixed,
            *split.offsets,
            self.re_formula or "",
            *(b.columns for b in split.bars),
        ]

    @property
    def factors(self) -> list[tuple[str, ...]]:
        """Atoms of the grouping factor of every random term, in the model's order."""
        own = [(f"`{self.groups}`",)] if self.groups is not None else []
        return own + [b.factors for b in self.split.bars]

    def used(self, columns: Iterable) -> list:
        """The columns that the plan reads."""
        names = {self.groups, self.weights, self.offset}
        for text in [*self._texts, *(a for atoms in self.factors for a in atoms)]:
            names |= names_in(text)
        return [c for c in columns if str(c) in names]

    def complete(self, chunk: pd.DataFrame) -> pd.DataFrame:
        """The columns used of a chunk, without incomplete rows if these are dropped."""
        if not isinstance(chunk, pd.DataFrame):
            raise ValueError(f"chunks must hold data frames, not {type(chunk).__name__}")
        narrow = chunk[self.used(chunk.columns)]
        names = (i for i in chunk.index.names if i is not None)
        index = [i for i in self.used(names) if i not in chunk.columns]
        # as in the other constructors, levels of the index group as columns do
        narrow = with_columns(narrow, {i: chunk.index.get_level_values(i) for i in index})
        return narrow.dropna() if self.missing == "drop" else narrow

    def collect(self, chunk: pd.DataFrame) -> Vocabulary:
        """The vocabulary of one chunk."""
        frame = self.complete(chunk)
        if not frame.columns.is_unique:
            repeated = sorted(set(map(str, frame.columns[frame.columns.duplicated()])))
            raise FormulaError(
                f"the chunks have several columns named {', '.join(repeated)}, which the "
                "formula uses"
            )
        written = set().union(*(names_in(text) for text in self._texts))
        wrapped = set(re.findall(r"\bC\(\s*`?([^`,()]+?)`?\s*[,)]", " ".join(self._texts)))
        bare = set().union(
            *(names_in(re.sub(r"\bC\([^()]*\)", " ", t)) for t in self._texts)
        )
        values, emptied = {}, {}
        for name in frame.columns:
            if str(name) not in written or str(name) == self.split.response:
                continue
            dtype = frame[name].dtype
            if isinstance(dtype, pd.CategoricalDtype):
                values[name] = dtype.categories
                used = used_levels(frame[name].array.codes, dtype.categories)[1]
                emptied[name] = dtype.categories.difference(used, sort=False)
            elif not pd.api.types.is_numeric_dtype(dtype) or str(name) in wrapped:
                if pd.api.types.is_numeric_dtype(dtype) and str(name) in bare:
                    raise FormulaError(
                        f"column {name!r} stands in C(...) and is also used as numbers, of "
                        "which chunks can be given one; make a second column of it first"
                    )
                unique = pd.Index(frame[name].dropna().unique())
                values[name] = _union(unique, unique[:0])
        levels = {}
        for atoms in self.factors:
            names = [c for c in frame.columns if any(str(c) in names_in(a) for a in atoms)]
            if not names:
                raise FormulaError(
                    f"the grouping factor {':'.join(atoms)!r} is not a column of the "
                    f"chunks; columns are: {', '.join(map(str, chunk.columns))}"
                    f"{did_you_mean(':'.join(atoms), chunk.columns)}"
                )
            if len(names) == 1:
                unique = frame[names[0]].drop_duplicates().to_frame()
            else:
                unique = frame[names].drop_duplicates()
            levels[atoms] = unique
        return Vocabulary(len(frame), values, emptied, levels, frame.head(HEAD))

    def with_vocabulary(self, vocabulary: Vocabulary) -> ChunkPlan:
        """The plan that can evaluate chunks."""
        bare = set().union(*map(bare_names, self._texts[1:]))
        for name, values in vocabulary.values.items():
            if name in bare:
                warn_of_categories(name, values)
        for table in vocabulary.levels.values():
            for name, labels in table.items():
                warn_of_labels(name, factorize(labels)[1])
        return replace(self, vocabulary=vocabulary)

    @property
    def _known(self) -> Vocabulary:
        if self.vocabulary is None:
            raise ValueError("a plan needs the vocabulary of all chunks to evaluate one")
        return self.vocabulary

    def levels(self) -> list[pd.Index]:
        """All levels of the grouping factor of every random term, in order."""
        namespace = restored_namespace(self.namespace or {})
        found = []
        for atoms in self.factors:
            engine = FormulaEngine(self._known.levels[atoms], namespace)
            found.append(level_index(engine.grouping_factors(atoms)[1]))
        return found

    def evaluate(self, chunk: pd.DataFrame) -> ModelFrame | None:
        """Model frame of one chunk; None if it has no complete rows."""
        frame = self.complete(chunk)
        if len(frame) == 0:
            return None
        if not self.has_expressions:
            return self._model_frame(frame)
        head = self._known.head
        half = len(head) // 2
        parts = [head[:half], frame, head[half:]]
        both = self._model_frame(pd.concat(parts))
        ends = np.cumsum([len(part) for part in parts])
        start, stop = (int(np.count_nonzero(both.rows[:end])) for end in ends[:2])
        own = np.r_[:start, stop : np.count_nonzero(both.rows)]
        if not _same_values(self._head_values, self._values(both, own)):
            raise FormulaError(
                f"{self.formula!r} has an expression whose value or coding in a row "
                "depends on other rows, and a chunk shows only a part of these; compute "
                "the column first"
            )
        if start == stop:
            return None
        rest = slice(start, stop)
        return replace(
            both,
            endog=both.endog.iloc[rest],
            exog=as_frame(both.exog).iloc[rest],
            terms=[t.take(rest) for t in both.terms],
            offset=None if both.offset is None else both.offset[rest],
            weights=None if both.weights is None else both.weights[rest],
            grouped=None,  # it would be that of all the rows
            data=both.data.iloc[rest],
            rows=both.rows[ends[0] : ends[1]],
        )

    @property
    def has_expressions(self) -> bool:
        """Whether the formula has more than names and ``C(name)``.

        The value of an expression in a row may depend on other rows (``x - x.mean()``),
        and so may its coding, for a chunk shows only some of the categories of
        ``np.where(...)``.  Such chunks are evaluated between some first rows of the data,
        which must come out the same every time.
        """
        plain = re.compile(r"`[^`]*`|\bC\(\s*[\w.]+\s*\)")
        groups = (atom for atoms in self.factors for atom in atoms)
        return any(
            re.search(r"[(\[{]", plain.sub("", text)) for text in self._texts
        ) or any(re.search(r"\W", plain.sub("", atom).strip()) for atom in groups)

    @cached_property
    def _head_values(self):
        return self._values(self._model_frame(self._known.head), slice(None))

    def _values(self, frame, rows):
        """Columns of a model frame in some rows, and their names."""
        labels = [t.levels.take(t.codes[rows]).to_numpy(object) for t in frame.terms]
        exog = as_frame(frame.exog)
        names = [exog.columns.tolist(), *(list(t.names) for t in frame.terms)]
        columns = [t.z[rows] for t in frame.terms]
        y = self.response_and_offset(frame)[rows]
        return names, [y, exog.to_numpy(float)[rows], *columns], labels

    def _model_frame(self, frame) -> ModelFrame:
        changed = {}
        for name, values in self._known.values.items():
            column = frame[name]
            ordered = getattr(column.dtype, "ordered", False)
            values = values.difference(self._known.gone(name), sort=False)
            if isinstance(column.dtype, pd.CategoricalDtype):
                known = column.array.set_categories(values, ordered=bool(ordered))
            else:
                known = pd.Categorical(column, categories=values)
            if (known.codes[~column.isna().to_numpy()] < 0).any():
                raise ValueError(
                    f"column {name!r} has values in this pass over the chunks that it had "
                    "not in an earlier one; chunks must be the same in every pass"
                )
            changed[name] = known
        return model_frame(
            self.formula,
            with_columns(frame, changed),
            restored_namespace(self.namespace or {}),
            groups=self.groups,
            re_formula=self.re_formula,
            weights=self.weights,
            offset=self.offset,
            missing=self.missing,
            all_categories=True,
        )

    @property
    def emptied(self) -> dict[str, pd.Index]:
        """For each column of categories those that occur in no chunk."""
        return {n: gone for n, gone in self._known.emptied.items() if len(gone)}

    def response_and_offset(self, frame: ModelFrame) -> np.ndarray:
        """Response less offset of a model frame."""
        y = frame.endog.to_numpy(float)
        return y if frame.offset is None else y - frame.offset


def _same_values(one, other) -> bool:
    """Whether names, columns and labels of the same rows agree."""
    shapes = [[v.shape for v in values] for _, values, _ in (one, other)]
    return (
        one[0] == other[0]
        and shapes[0] == shapes[1]
        and all(
            np.allclose(a, b, rtol=SAME_COLUMN, atol=0.0)
            for a, b in zip(one[1], other[1], strict=True)
        )
        and all((a == b).all() for a, b in zip(one[2], other[2], strict=True))
    )
