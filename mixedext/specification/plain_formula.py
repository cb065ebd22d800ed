"""Plain formulas, sums of columns, evaluated without the formula engine.

``1 + x + f`` says the same under every engine up to the order of the columns and their
names; both are known for patsy and for formulaic (in statsmodels' "legacy" order, which
is patsy's): the intercept, then the categorical columns, then the numeric ones.  What is
not plain, or not certain to come out the same, is left to the engine: the functions here
then return None.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from mixedext.specification.labels import factorize
from mixedext.specification.statsmodels_compat import COPY_ON_WRITE

__all__ = [
    "DeferredSpec",
    "PlainColumn",
    "column_types",
    "fill",
    "plain_columns",
    "plain_response",
    "prototype",
]

_ATOM = re.compile(r"\s*([+-]?)\s*(`[^`]+`|[^\W\d][\w.]*|\d+)\s*", re.ASCII)
# Kinds of categories of which both engines write the names in the same way.
_CATEGORIES = {"string", "integer", "boolean"}


class PlainColumn(NamedTuple):
    """One column of a plain formula.

    Attributes
    ----------
    source : str or None
        Column of the data; None for the intercept.
    suffix : str
        What follows the source's name in the column's name, such as ``[T.b]``.
    values : ndarray or None
        A numeric column, or the codes of a categorical one; None for ones.
    level : int or None
        The code whose indicator the column is.
    """

    source: str | None
    suffix: str
    values: np.ndarray | None
    level: int | None


class DeferredSpec:
    """The formula engine's specification of a formula, made when it is first needed.

    Parameters
    ----------
    make : callable
        Makes it from the ``arguments``; all of them can be pickled.
    """

    def __init__(self, make, *arguments):
        self._make, self._arguments, self._spec = make, arguments, None

    def resolve(self):
        if self._spec is None:
            self._spec = self._make(*self._arguments)
        return self._spec

    def __getstate__(self):  # patsy's specification cannot be pickled
        return {**self.__dict__, "_spec": None}


@lru_cache(maxsize=512)
def _parse(text: str) -> tuple[bool, tuple[str, ...]] | None:
    """Whether there is an intercept, and the names, of a sum of names; else None."""
    at, intercepts, names = 0, [], []
    while at < len(text):
        match = _ATOM.match(text, at)
        if match is None or (at > 0 and not match.group(1)):
            return None
        sign, atom = match.groups()
        at = match.end()
        if atom.isdigit():
            if atom not in ("0", "1") or (sign == "-" and atom == "0"):
                return None
            intercepts.append(atom == "1" and sign != "-")
        elif sign == "-":
            return None
        else:
            names.append(atom.strip("`"))
    if len(intercepts) > 1:
        return None
    return (intercepts or [True])[0], tuple(dict.fromkeys(names))


def _numeric(column):
    """A column's values if they are numbers that every engine takes as such."""
    dtype = column.dtype
    if not isinstance(dtype, np.dtype) or not dtype.isnative:
        return None
    if dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize in (4, 8)):
        return column.to_numpy()
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
        A sum of names of columns, perhaps in backticks, and ``1``, ``0`` or ``-1``.
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
    intercept, names = parsed
    columns = [PlainColumn(None, "Intercept", None, None)] if intercept else []
    numeric, full = [], not intercept
    for name in names:
        column = data.get(name)
        if column is None or name == "Intercept":
            return None
        values = _numeric(column)
        if column.dtype == bool:
            truth = column.to_numpy().view(np.uint8)
            if engine == "patsy":
                columns += _indicators(name, truth, (False, True), full)
                full = False
            else:
                numeric.append(PlainColumn(name, "", truth, None))
        elif values is not None:
            numeric.append(PlainColumn(name, "", values, None))
        else:
            found = _categorical(name, column, factors)
            if found is None:
                return None
            columns += _indicators(name, *found, full)
            full = False
    return columns + numeric


def _indicators(name, codes, levels, full):
    """Indicators of all levels, or (treatment coding) of all but the first."""
    mark = "" if full else "T."
    return [
        PlainColumn(name, f"[{mark}{level}]", codes, number)
        for number, level in enumerate(levels)
        if full or number
    ]


def plain_response(text: str, data: dict, engine: str) -> pd.Series | None:
    """The response if it is a numeric column, of the type that the engine gives it."""
    match = _ATOM.fullmatch(text)
    if match is None or match.group(1):
        return None
    column = data.get(match.group(2).strip("`"))
    if column is None or _numeric(column) is None:
        return None
    if engine == "patsy" and column.dtype != np.float64:
        return column.astype(float)
    return column if COPY_ON_WRITE else column.copy()


def fill(column: PlainColumn, out: np.ndarray) -> None:
    """Write a column's values."""
    if column.values is None:
        out.fill(1.0)
    elif column.level is None:
        np.copyto(out, column.values)
    else:
        np.equal(column.values, column.level, out=out, casting="unsafe")


def column_types(data: dict, names, factors: dict) -> dict:
    """Type and levels (None if numeric) of columns: all that a specification knows."""
    types = {}
    for name in names:
        dtype = data[name].dtype
        if isinstance(dtype, pd.CategoricalDtype):
            types[name] = dtype, dtype.categories
        else:
            types[name] = dtype, factors[name][1] if name in factors else None
    return types


def prototype(types: dict) -> pd.DataFrame:
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
