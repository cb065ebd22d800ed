"""The terms of a model's fixed part: names, columns and the factors that make them up."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import patsy

from mixedext.compat import SPEC_ATTRIBUTE
from mixedext.fitted import Model, need_rows
from mixedext.specification.data.labels import factorize, interact
from mixedext.specification.formula.bars import names_in, plain_name
from mixedext.specification.formula.expressions import as_written
from mixedext.specification.formula.formula_engine import FormulaEngine, UsedColumns

__all__ = [
    "FixedTerm",
    "TermCells",
    "fixed_formula_text",
    "fixed_terms",
    "term_cells",
    "terms_of_columns",
]


@dataclass(frozen=True)
class FixedTerm:
    """One term of the fixed part.

    Attributes
    ----------
    name : str
        Factors joined by colons, or "Intercept".
    columns : tuple of int
        Its columns of ``exog``.
    factors : tuple of str
        Expressions of its factors as the formula engine knows them.
    categorical : frozenset of str
        Those of the factors that are categorical; the others are numeric.
    text : str
        The term as a formula has it: names that are not Python's in backticks.
    variables : frozenset of str
        Names in the expressions of its factors, as the data have them.
    """

    name: str
    columns: tuple[int, ...]
    factors: tuple[str, ...]
    categorical: frozenset[str]
    text: str
    variables: frozenset[str] = frozenset()

    @property
    def numeric(self) -> frozenset[str]:
        """The factors that are numeric."""
        return frozenset(self.factors) - self.categorical

    @property
    def is_intercept(self) -> bool:
        """Whether it has no factors."""
        return not self.factors

    def contains(self, other: FixedTerm) -> bool:
        """Whether the other term is contained in this one, as SAS defines it.

        Both have the same numeric factors, and this one has all categorical factors of
        the other and more.
        """
        return self.numeric == other.numeric and other.categorical < self.categorical

    def includes(self, other: FixedTerm) -> bool:
        """Whether this term has all factors of the other, numeric or not, and more."""
        return frozenset(other.factors) < frozenset(self.factors)


def fixed_terms(model: Model) -> list[FixedTerm]:
    """Terms of a model's fixed part in formula order: lower degrees first, then as written.

    Columns of a model from arrays are numeric terms of their own.

    Parameters
    ----------
    model : MixedLM
        The model.

    Returns
    -------
    list of FixedTerm
        The intercept, if there is one, comes first.
    """
    found = terms_of_columns(model)
    if getattr(model.data, SPEC_ATTRIBUTE, None) is None:
        return sorted(found, key=lambda t: not t.is_intercept)
    written = _written_order(model)
    unknown = len(written)
    keys = [written.get(_key(t.factors), unknown) for t in found]
    order = sorted(range(len(found)), key=lambda i: (len(found[i].factors), keys[i], i))
    return [found[i] for i in order]


def terms_of_columns(model: Model) -> list[FixedTerm]:
    """The terms in the order of their columns.

    Parameters
    ----------
    model : MixedLM
        The model.
    """
    spec = getattr(model.data, SPEC_ATTRIBUTE, None)
    if spec is None:
        return _column_terms(model)
    originals = {alias: name for name, alias in model.aliases.items()}
    found = []
    for names, kinds_of, columns in _spec_terms(spec):
        factors = tuple(as_written(f) for f in names)
        categorical = [as_written(f) for f in kinds_of]
        name = ":".join(_spelled(f, originals, "") for f in factors) or "Intercept"
        text = ":".join(_spelled(f, originals) for f in factors) or "1"
        kinds = frozenset(categorical)
        used = frozenset(originals.get(n, n) for f in factors for n in names_in(f))
        found.append(FixedTerm(name, tuple(columns), factors, kinds, text, used))
    return found


def _column_terms(model):
    constant = model.data.const_idx if model.data.k_constant else None
    terms = []
    for j, name in enumerate(model.exog_names):
        factors = () if j == constant else (name,)
        text = name if name.isidentifier() else f"`{name}`"
        terms.append(FixedTerm(name, (j,), factors, frozenset(), text, frozenset(factors)))
    return terms


def _spec_terms(spec):
    """(factors, categorical factors, columns) of each term of an engine's specification."""
    for term, columns in spec.term_slices.items():
        places = range(columns.start, columns.stop)
        if hasattr(spec, "factor_infos"):  # patsy
            names = [f.name() for f in term.factors]
            kinds = {f.name(): i.type for f, i in spec.factor_infos.items()}
            yield (
                tuple(names),
                [n for n in names if kinds[n] == "categorical"],
                places,
            )
        else:  # formulaic: the intercept is the factor "1"
            names = [f.expr for f in term.factors if f.expr != "1"]
            state = spec.encoder_state
            kind = {n: state[n][0].value for n in names}
            yield tuple(names), [n for n in names if kind[n] == "categorical"], places


def _spelled(factor, originals, mark="`"):
    """A factor in the user's spelling, names that are not Python's in backticks."""

    def own(match):
        name = match.group(0)
        return f"{mark}{originals[name]}{mark}" if name in originals else name

    return re.sub(r"[^\W\d]\w*", own, factor)


def _key(factors):
    return frozenset("".join(f.split()) for f in factors)


def _written_order(model):
    """Place of each term, by its factors, among the terms as the formula has them."""
    engine = FormulaEngine(pd.DataFrame(), {}, (), {})
    engine.aliases = model.aliases
    text = engine.with_aliases(model.fixed_formula.split("~", 1)[1])
    try:
        terms = patsy.ModelDesc.from_formula(text).rhs_termlist
    except patsy.PatsyError:  # a spelling that only the other engine knows
        return {}
    keys = [_key([f.name() for f in term.factors]) for term in terms]
    return {key: place for place, key in enumerate(dict.fromkeys(keys))}


class TermCells(NamedTuple):
    """What a term is on the rows, apart from its coding.

    Attributes
    ----------
    codes : ndarray
        Number of every row's cell of the categorical factors, (n,).
    columns : ndarray
        Products of the numeric factors' columns, (n, m), at root mean square 1.
    interior : ndarray
        Cells in which no factor is at its first level, bool.
    """

    codes: np.ndarray
    columns: np.ndarray
    interior: np.ndarray


def term_cells(model: Model, terms: Iterable[FixedTerm]) -> dict[FixedTerm, TermCells]:
    """Cells and numeric columns of terms, on the model's rows.

    Parameters
    ----------
    model : MixedLM
        A model from a formula whose data are there.
    terms : iterable of FixedTerm
        Terms of it.

    Returns
    -------
    dict
        The cells of each term.

    Raises
    ------
    ValueError
        If the data were removed or never in memory.
    """
    terms = list(terms)
    frame = getattr(model.data, "frame", None)
    if frame is None:
        need_rows(model)
        one = np.zeros(model.nobs, np.intp), np.ones(1, bool)
        return {t: TermCells(one[0], _columns_of(model, t), one[1]) for t in terms}
    reader = _FactorReader(model, frame)
    return {t: reader.cells(t) for t in terms}


def _columns_of(model, term):
    column = model.exog[:, list(term.columns)]
    return column / np.sqrt(np.mean(column**2, axis=0))


class _FactorReader:
    """Values of the factors of terms, each evaluated once."""

    def __init__(self, model: Model, frame: pd.DataFrame):
        used = names_in(model.fixed_formula)
        columns = UsedColumns(frame, [c for c in frame.columns if str(c) in used])
        columns.settle(None)
        self.engine = FormulaEngine(columns, model.namespace, frame.columns, model.aliases)
        self.columns, self.nobs = columns, len(frame)
        self.made: dict[str, Any] = {}

    def cells(self, term: FixedTerm) -> TermCells:
        """Cells and numeric columns of a term."""
        codes, levels = np.zeros(self.nobs, np.int32), np.zeros(1)
        inside = np.ones(self.nobs, bool)
        factors = [self.factor(f, True) for f in term.factors if f in term.categorical]
        if factors:
            codes, levels = reduce(interact, factors)
            inside = np.all([own > 0 for own, _ in factors], axis=0)
        interior = np.zeros(len(levels), bool)
        interior[codes[inside]] = True
        product = np.ones((self.nobs, 1))
        for name in term.factors:
            if name in term.numeric:
                values = self.factor(name, False)
                product = product[:, :, None] * values[:, None, :]
                product = product.reshape(self.nobs, -1)
        size = np.sqrt(np.mean(product**2))
        product /= size if size > 0 else 1.0
        return TermCells(np.asarray(codes, np.intp), product, interior)

    def factor(self, name: str, categorical: bool) -> Any:
        """Codes and levels of a categorical factor, or values of a numeric one."""
        if name not in self.made:
            self.made[name] = self._read(name, categorical)
        return self.made[name]

    def _read(self, name, categorical):
        plain = plain_name(name)
        if categorical and plain in self.columns:
            return factorize(self.columns[plain])
        values = np.asarray(self.engine.matrices(f"~ 0 + {name}"), float)
        if not categorical:
            return values
        # whatever the contrasts, rows of one level are the same
        levels, codes = np.unique(values, axis=0, return_inverse=True)
        codes = np.asarray(codes.reshape(-1), np.int32)
        return self._in_order(name, codes, len(levels)), np.arange(len(levels))

    def _in_order(self, name, codes, count):
        """Codes numbered as the levels of the columns that the expression is made of."""
        lowest = []
        for column in sorted(names_in(name)):
            if column in self.columns:
                own = factorize(self.columns[column])[0]
                lowest.append(np.full(count, len(own)))
                np.minimum.at(lowest[-1], codes, own)
        if not lowest:
            return codes
        rank = np.empty(count, np.int32)
        rank[np.lexsort(lowest[::-1])] = np.arange(count)
        return rank[codes]


def fixed_formula_text(terms: Iterable[FixedTerm]) -> str:
    """Right-hand side of a formula with these terms and no others."""
    terms = list(terms)
    names = [t.text for t in terms if not t.is_intercept]
    head = "1" if any(t.is_intercept for t in terms) else "0"
    if not names:
        return head
    return " + ".join(names if head == "1" else ["0", *names])
