"""Plain formulas, sums of columns and of products of two, without the formula engine.

``1 + x + I(x**2) + f + x:f`` says the same under every engine up to the order of the
columns and their names; both are known for patsy and for formulaic (in statsmodels'
"legacy" order, which is patsy's): the intercept, then the categorical terms, then the
numeric ones, by the numeric columns in them.  What is not plain, or not certain to come
out the same, is left to the engine: the functions here then return None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mixedext.compat import COPY_ON_WRITE
from mixedext.specification.data.labels import factorize

__all__ = [
    "DeferredSpec",
    "PlainColumn",
    "SpecOfRows",
    "column_types",
    "plain_columns",
    "plain_response",
    "prototype",
]

_NAME = r"`[^`]+`|[^\W\d][\w.]*"
_CALL = r"C\(\s*[^\W\d]\w*\s*\)|I\(\s*[^\W\d]\w*\s*\*\*\s*[2-9]\s*\)"
_ATOM = re.compile(rf"\s*([-+:*]?)\s*({_CALL}|{_NAME}|\d+)\s*", re.ASCII)
# Kinds of categories of which both engines write the names in the same way.
_CATEGORIES = {"string", "integer", "boolean"}


class Part(NamedTuple):
    """A factor of a product that makes up a column.

    Attributes
    ----------
    source : str
        Column of the data.
    suffix : str
        What follows the source's name in the column's name, such as ``[T.b]``.
    values : ndarray
        The column's numbers, or the codes of a categorical one.
    level : int or None
        The code whose indicator is meant.
    is_power : bool
        Whether the values are a power of a column; ``source`` is then how it is written.
    """

    source: str
    suffix: str
    values: np.ndarray
    level: int | None
    is_power: bool = False

    def write(self, out: np.ndarray) -> None:
        """Write its numbers, or the indicator of its level."""
        if self.level is None:
            np.copyto(out, self.values)
        else:
            np.equal(self.values, self.level, out=out, casting="unsafe")


class PlainColumn(NamedTuple):
    """One column of a plain formula, the product of its parts; the intercept has none."""

    parts: tuple[Part, ...] = ()

    @property
    def key(self) -> tuple:
        """What tells the column from others of the same data."""
        return tuple((p.source, p.suffix) for p in self.parts)

    @property
    def data_column(self) -> Part | None:
        """The part of a column that the data hold as it is."""
        if len(self.parts) != 1 or self.is_computed or self.parts[0].level is not None:
            return None
        return self.parts[0]

    @property
    def is_computed(self) -> bool:
        """Whether its values may be others than the data's and 0 and 1."""
        return len(self.parts) > 1 or any(p.is_power for p in self.parts)

    def name(self, aliases: dict) -> str:
        """The column's name if the data's columns go by aliases."""
        names = [aliases.get(p.source, p.source) + p.suffix for p in self.parts]
        return ":".join(names) or "Intercept"

    def write(self, out: np.ndarray) -> None:
        """Write the column's values."""
        if not self.parts:
            out.fill(1.0)
            return
        self.parts[0].write(out)
        for part in self.parts[1:]:
            if part.level is None:
                # infinite values are refused later
                with np.errstate(invalid="ignore", over="ignore"):
                    out *= part.values
            else:
                out[part.values != part.level] = 0.0


class DeferredSpec:
    """The formula engine's specification of a formula, made when it is first needed.

    Parameters
    ----------
    make : callable
        Makes it from the ``arguments``; all of them can be pickled.
    """

    def __init__(self, make: Callable, *arguments: Any):
        self._make, self._arguments = make, arguments
        self._spec: Any = None

    def resolve(self) -> Any:
        """The specification."""
        if self._spec is None:
            self._spec = self._make(*self._arguments)
        return self._spec

    def __getstate__(self) -> dict[str, Any]:  # patsy's specification cannot be pickled
        return {**self.__dict__, "_spec": None}


class SpecOfRows(DeferredSpec):
    """A specification made from the rows; these are pickled with the model, not with it."""

    def resolve(self) -> Any:
        """The specification."""
        spec = super().resolve()
        self._arguments = ()  # the rows are not needed any more
        return spec


@lru_cache(maxsize=512)
def _parse(text: str) -> tuple[bool, tuple[tuple[str, ...], ...]] | None:
    """Whether there is an intercept, and the terms, of a sum; None if it is not plain."""
    at, crossed = 0, False
    intercepts: list[bool] = []
    terms: list[tuple[str, ...]] = []
    while at < len(text):
        match = _ATOM.match(text, at)
        if match is None or (at > 0 and not match.group(1)):
            return None
        sign, atom = match.groups()
        start, at = at, match.end()
        if sign in (":", "*") and sign:
            # only a product of two names, and only where one has come before it
            if start == 0 or atom.isdigit() or crossed or not terms:
                return None
            first = terms.pop()
            name = _plain(atom)
            if first[0] == name:
                return None
            terms += [first, (name,)] if sign == "*" else []
            terms.append((*first, name))
            crossed = True
            continue
        crossed = atom.isdigit()
        if atom.isdigit():
            if atom not in ("0", "1") or (sign == "-" and atom == "0"):
                return None
            intercepts.append(atom == "1" and sign != "-")
        elif sign == "-":
            return None
        else:
            terms.append((_plain(atom),))
    distinct = tuple(dict.fromkeys(terms))
    if len(intercepts) > 1 or len({frozenset(t) for t in distinct}) < len(distinct):
        return None
    return (intercepts or [True])[0], distinct


def _plain(atom):
    """A name without backticks; calls with the spaces that the engines give them."""
    if not atom.endswith(")"):
        return atom.strip("`")
    return "".join(atom.split()).replace("**", " ** ")


def _numeric(column):
    """A column's values if they are numbers that every engine takes as such."""
    dtype = column.dtype
    if not isinstance(dtype, np.dtype) or not dtype.isnative:
        return None
    if dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize in (4, 8)):
        return column.values
    return None


def _categorical(name, column, factors):
    """Codes and levels of a column that is categorical under every engine."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        if dtype.categories.inferred_type not in _CATEGORIES:
            return None
        return column.array.codes, dtype.categories
    if isinstance(dtype, pd.StringDtype) or (
        isinstance(dtype, np.dtype) and dtype.kind == "O"
    ):
        if name not in factors:
            try:
                factors[name] = factorize(column)
            except TypeError:  # cannot be hashed
                return None
        codes, levels = factors[name]
        if all(type(level) is str for level in levels):
            return codes, levels
    return None


def plain_columns(
    text: str, data: dict, engine: str, factors: dict
) -> list[PlainColumn] | None:
    """Columns of a plain right-hand side, in the engine's order.

    Parameters
    ----------
    text : str
        A sum of names of columns, perhaps in backticks, of their powers ``I(x**2)``, and
        ``1``, ``0`` or ``-1``.
    data : dict
        Series by name, without missing values.
    engine : {"patsy", "formulaic"}
        Formula engine.
    factors : dict
        Codes and levels by name of the text columns; filled as needed.

    Returns
    -------
    list of PlainColumn or None
        None if the formula is not plain.
    """
    parsed = _parse(text)
    if parsed is None:
        return None
    intercept, terms = parsed
    kinds: dict[str, tuple[np.ndarray, Any]] = {}
    for name in dict.fromkeys(name for term in terms for name in term):
        kind = _kind(name, data, engine, factors)
        if kind is None or name == "Intercept":
            return None
        kinds[name] = kind
    # of the columns' kinds the order depends on these alone
    numeric = {name: v.dtype for name, (v, levels) in kinds.items() if levels is None}
    arranged = _arranged(intercept, terms, tuple(numeric.items()), engine)
    if arranged is None:
        return None
    columns = [PlainColumn()] if intercept else []
    for term, full in arranged:
        parts = [_parts(name, *kinds[name], full) for name in term]
        # the first part varies fastest
        columns += [PlainColumn(p[::-1]) for p in product(*reversed(parts))]
    return columns


@lru_cache(maxsize=512)
def _arranged(intercept, terms, numeric, engine):
    """Terms in the engine's order, each with whether all levels of it have a column.

    ``numeric`` pairs the numeric columns with their types; None if engines may differ.
    """
    numeric, arranged, full = dict(numeric), [], not intercept
    for term in _in_order(terms, numeric):
        if not _is_sure(term, terms, numeric, intercept, engine):
            return None
        first = full and len(term) == 1 and term[0] not in numeric
        arranged.append((term, first))
        full = full and not first
    return arranged


def _kind(name, data, engine, factors):
    """Numbers and None, or codes and levels, of a column; None if engines may differ."""
    if name.endswith(")"):
        call, inner = name[0], name[2:-1]
        power = inner.split(" ** ")
        if name in data or call in data or power[0] not in data:
            return None
        if power[1:]:
            return _power(data[power[0]], int(power[1]))
        return _recoded(inner, data, factors)
    column = data.get(name)
    if column is None:
        return None
    if column.dtype == bool:
        truth = column.to_numpy().view(np.uint8)
        return truth, (False, True) if engine == "patsy" else None
    values = _numeric(column)
    if values is not None:
        return values, None
    return _categorical(name, column, factors)


def _power(column, power):
    """A power of a column of numbers, whole ones taken as floats; and None."""
    values = _numeric(column)
    if values is None or values.dtype == np.float32:  # engines compute in it
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # infinite ones are refused later
        return values.astype(float) ** power, None


def _recoded(name, data, factors):
    """Codes and levels of C(name), of integers or of what is categorical anyway."""
    column = data[name]
    if not isinstance(column.dtype, np.dtype) or column.dtype.kind not in "iu":
        return _categorical(name, column, factors)
    if name not in factors:
        factors[name] = factorize(column)
    return factors[name]


def _in_order(terms, numeric):
    """Terms sorted by their numeric columns as first met, none first, then by degree."""
    buckets: dict[frozenset[str], list[tuple[str, ...]]] = {frozenset(): []}
    for term in terms:
        own = frozenset(name for name in term if name in numeric)
        buckets.setdefault(own, []).append(term)
    return [term for bucket in buckets.values() for term in sorted(bucket, key=len)]


def _is_sure(term, terms, numeric, intercept, engine):
    """Whether it is certain how a term is coded: treatment contrasts, same arithmetic."""
    if len(term) == 1:
        return True
    own = [name for name in term if name in numeric]
    if len(own) == 0:
        return intercept and all((name,) in terms for name in term)
    if len(own) == 1:
        return (own[0],) in terms
    # formulaic multiplies in the columns' own types
    return engine == "patsy" or np.float64 in [numeric[name] for name in own]


def _parts(name, values, levels, full):
    """A numeric column; or indicators of all levels, or of all but the first."""
    if levels is None:
        return [Part(name, "", values, None, " ** " in name)]
    mark = "" if full else "T."
    return [
        Part(name, f"[{mark}{level}]", values, number)
        for number, level in enumerate(levels)
        if full or number
    ]


@lru_cache(maxsize=512)
def _single_name(text):
    """The name that a piece of formula consists of, or None."""
    match = re.fullmatch(rf"\s*({_NAME})\s*", text, re.ASCII)
    return None if match is None else match.group(1).strip("`")


def plain_response(text: str, data: dict, engine: str) -> pd.Series | None:
    """The response if it is a numeric column, of the type that the engine gives it."""
    column = data.get(_single_name(text))
    if column is None or _numeric(column) is None:
        return None
    if column.dtype != np.float64 and (engine == "patsy" or column.dtype.kind in "iu"):
        return column.astype(float)
    return column if COPY_ON_WRITE else column.copy()


def column_types(data: dict, names: Iterable[str], factors: dict) -> dict[str, tuple]:
    """Type and levels (None if numeric) of columns: all that a specification knows."""
    types = {}
    for name in names:
        dtype = data[name].dtype
        if isinstance(dtype, pd.CategoricalDtype):
            types[name] = dtype, dtype.categories
        else:
            types[name] = dtype, factors[name][1] if name in factors else None
    return types


def prototype(types: Mapping[str, tuple]) -> pd.DataFrame:
    """A small frame with the types and levels of columns, for the engine to learn from."""
    rows = max([2] + [len(levels) for _, levels in types.values() if levels is not None])
    made = {}
    for name, (dtype, levels) in types.items():
        if levels is None:
            made[name] = pd.Series(np.arange(rows) % 2, dtype=dtype)
        elif isinstance(dtype, pd.CategoricalDtype):
            codes = np.arange(rows) % len(levels)
            made[name] = pd.Series(pd.Categorical.from_codes(codes, dtype=dtype))
        else:
            made[name] = pd.Series(levels[np.arange(rows) % len(levels)], dtype=dtype)
    return pd.DataFrame(made)
