"""Columns of a formula that are no numbers: what they are, and what to make of them.

Text becomes categories, as it should; dates and numbers kept as objects do, too, which is
seldom meant.  Durations, periods and complex numbers are refused before an engine does.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import (
    CategoryWarning,
    FormulaError,
    PowerWarning,
    user_stacklevel,
)
from mixedext.specification.data.labels import factorize
from mixedext.specification.formula.expressions import outside_calls
from mixedext.specification.formula.text_columns import fault_of_labels, fault_of_numbers

__all__ = [
    "bare_names",
    "check_kinds",
    "check_response",
    "described",
    "too_many_of",
    "warn_of_categories",
    "warn_of_labels",
    "warn_of_powers",
]

_TOKEN = re.compile(
    r"(?<![\w.])Q\(\s*[\"']([^\"']+)[\"']\s*\)|`([^`]+)`|\"[^\"]*\"|'[^']*'"
    r"|([^\W\d]\w*)((?:\.\w+)*)(\s*[\[(])?|[\[({]|[\])}]"
)
# Rows of text that are looked at for odd labels: to code them all once more would cost.
MOST_LOOKED = 10_000
# A name or backticks to a whole power, which crosses a term with itself.
_POWER = re.compile(r"([^\W\d][\w.]*|`[^`]+`)\s*\*\*\s*(\d+)")


def bare_names(text: str) -> set[str]:
    """Names of a piece of formula that stand in no call, subscript or attribute.

    Examples
    --------
    >>> sorted(bare_names("a + (b + `c d`):e + f(g) + h.i + Q('j') + C(k)"))
    ['a', 'b', 'c d', 'e', 'j']
    """
    names, inside = set(), []
    for match in _TOKEN.finditer(text):
        quoted, ticked, name, attributes, opening = match.groups()
        plain = quoted or ticked or name
        if plain is None:
            if match[0] in "([{":  # after a closing one it is a call
                before = text[: match.start()].rstrip()[-1:]
                inside.append(match[0] != "(" or before in (")", "]"))
            elif match[0] in ")]}" and inside:
                inside.pop()
        elif opening:
            inside.append(True)
        elif not attributes and not any(inside):
            names.add(plain)
    return names


def check_kinds(
    columns: Mapping[Any, pd.Series],
    texts: Iterable[str],
    engine: str,
    whole: bool = True,
) -> None:
    """Refuse or warn of columns that stand by themselves and are no numbers or categories.

    Parameters
    ----------
    columns : Mapping
        Columns that formulas name.
    texts : iterable of str
        The pieces of formula that they may stand in as columns.
    engine : {"patsy", "formulaic"}
        Formula engine; formulaic makes no categories of dates.
    whole : bool, optional
        Whether these are all rows; of a part of them categories are told by all.

    Raises
    ------
    FormulaError
        If the engine takes no such type; says what to make of it.

    Warns
    -----
    CategoryWarning
        If it becomes categories, and is of dates or of numbers kept as objects or text, or
        has one category, such that mean missing values, or two that differ in blanks or
        capitals alone.
    """
    odd = {n: c for n, c in columns.items() if _kind(c.dtype) not in "iufb"}
    if not whole:
        odd = {n: c for n, c in odd.items() if not _is_categorical(c)}
    if not odd:
        return
    for name, column in odd.items():
        _refuse_lists(name, column)
    bare = set().union(*map(bare_names, texts))
    recoded = set(re.findall(r"\bC\(\s*`?([^`,()]+?)`?\s*[,)]", " ".join(texts)))
    for name, column in odd.items():
        if name in bare | recoded and (cure := _REFUSED.get(_kind(column.dtype))):
            raise FormulaError(
                f"column {name!r} holds {described(column)}: {cure.format(name=name)}"
            )
        if name in bare and _kind(column.dtype) == "M" and engine != "patsy":
            raise FormulaError(
                f"column {name!r} holds {described(column)}: {_cure(name, column)}, C(...) "
                "makes categories"
            )
        if name in bare and isinstance(column.dtype, pd.IntervalDtype):
            raise FormulaError(
                f"column {name!r} holds {described(column)}, of which formula engines "
                f"make no categories: data[{name!r}].astype('category') does"
            )
        if name in bare:
            warn_of_categories(name, column)


def _refuse_lists(name, column):
    first = None if _is_categorical(column) or not len(column) else column.iloc[0]
    if isinstance(first, list | set | dict | np.ndarray):
        raise FormulaError(
            f"column {name!r} holds a {type(first).__name__} in a row, {first!r}: a row "
            f"needs one value; data.explode({name!r}) makes a row of each"
        )


_REFUSED = {
    "z": "engines know no time zones; data[{name!r}].dt.tz_localize(None) is without",
    "m": "make a number or labels of it, such as data[{name!r}].dt.total_seconds() or "
    "data[{name!r}].astype(str)",
    "p": "make a number or labels of it, such as data[{name!r}].dt.year or "
    "data[{name!r}].astype(str)",
    "c": "write a real number, such as np.real({name}) and np.imag({name})",
}


def _kind(dtype):
    """One letter: NumPy's, p for periods and z for dates with a time zone."""
    if isinstance(dtype, pd.PeriodDtype | pd.DatetimeTZDtype):
        return "p" if isinstance(dtype, pd.PeriodDtype) else "z"
    return getattr(dtype, "kind", "O")


def _is_categorical(column):
    return isinstance(column.dtype, pd.CategoricalDtype)


def warn_of_categories(name: Any, values: Any) -> None:
    """Warn if a column that becomes categories holds what is hardly meant to be some."""
    series = pd.Series(values)
    categorical = _is_categorical(series)
    text = not categorical and _kind(series.dtype) == "O"
    looked = series.iloc[:MOST_LOOKED] if text else series
    labels = factorize(looked)[1].tolist() if text or categorical else []
    wrong = fault_of_numbers(name, labels) if text else ""
    if wrong or (text and _are_numbers(series)) or _kind(series.dtype) == "M":
        said = f"holds {described(series)}, which become categories; "
        said += wrong or _cure(name, series)
    elif len(labels) == 1 and len(looked) == len(series):
        said = f"has one value among the rows used, {labels[0]!r}: leave it out"
    else:
        said = fault_of_labels(name, labels)
    if said:
        warnings.warn(
            f"column {name!r} {said}, C(...) says that categories are meant",
            CategoryWarning,
            stacklevel=user_stacklevel(),
        )


def warn_of_labels(name: Any, levels: pd.Index) -> None:
    """Warn if levels of groups mean missing values, or differ in blanks or capitals."""
    if _kind(levels.dtype) == "O" and (said := fault_of_labels(name, levels.tolist())):
        warnings.warn(
            f"the grouping factor {name!r} {said}",
            CategoryWarning,
            stacklevel=user_stacklevel(),
        )


def warn_of_powers(texts: Iterable[str]) -> None:
    """Warn of a name to a power by itself, whose square is the name."""
    for text in texts:
        if power := _POWER.search(outside_calls(text)):
            name, exponent = power.groups()
            warnings.warn(
                f"{name}**{exponent} in the formula is {name} crossed with itself, which "
                f"is {name}; write I({name}**{exponent}) for the power of its numbers",
                PowerWarning,
                stacklevel=user_stacklevel(),
            )


def _are_numbers(series):
    """Whether all values of a column of objects are numbers, or text of decimals."""
    kind = pd.api.types.infer_dtype(series, skipna=True)
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        return True
    if kind != "string":
        return False
    # whole numbers as text are a usual way to write labels
    values = series.dropna()
    if not _DECIMAL.fullmatch(str(values.iloc[0]) if len(values) else ""):
        return False
    parsed = pd.to_numeric(values.drop_duplicates(), errors="coerce")
    return bool(parsed.notna().all() and (parsed % 1 != 0).any())


_DECIMAL = re.compile(r"\s*[-+]?\d*\.\d+\s*")
_WORDS = {
    "M": "dates",
    "c": "complex numbers",
    "m": "durations",
    "p": "periods",
    "z": "dates with a time zone",
}


def described(column: pd.Series) -> str:
    """What a column that is no number holds, with how many values.

    Examples
    --------
    >>> described(pd.Series(["a", "b", "a"]))
    "text (2 values such as 'a')"
    """
    present = column.dropna()
    shown = str(present.iloc[0]) if len(present) else "nothing"
    try:
        values = f"{present.nunique()} values such as {shown!r}"
    except TypeError:  # cannot be hashed
        values = f"values such as {shown!r}"
    kind = _kind(column.dtype)
    if isinstance(column.dtype, pd.CategoricalDtype):
        return f"categorical ({len(column.dtype.categories)} categories)"
    if kind == "b":
        return "true or false"
    if kind in _WORDS:
        return f"{_WORDS[kind]} ({values})"
    inferred = pd.api.types.infer_dtype(column, skipna=True)
    if inferred in ("integer", "floating", "mixed-integer-float", "decimal"):
        return f"numbers kept as objects ({values})"
    if inferred in ("date", "datetime"):
        return f"dates kept as objects ({values})"
    return f"{'text' if inferred == 'string' else inferred + ' objects'} ({values})"


def _cure(name, column):
    """What makes a number of a column that is none."""
    kind = _kind(column.dtype)
    if kind == "M":
        return f"(data[{name!r}] - data[{name!r}].min()).dt.days makes days of them"
    if kind in _REFUSED:
        return _REFUSED[kind].format(name=name)
    values = pd.Series(column.dropna().unique())
    parsed = pd.to_numeric(values, errors="coerce")
    if len(values) == 2 and parsed.isna().all():
        return (
            "a response of two categories asks for a logistic model: glmm(formula, data, "
            "family='binomial')"
        )
    if wrong := fault_of_numbers(name, values):
        return wrong
    if parsed.isna().any():
        wrong = str(values[parsed.isna()].iloc[0])
        return (
            f"{wrong!r} is no number; mend such values, or have them made missing by "
            f"pd.to_numeric(data[{name!r}], errors='coerce')"
        )
    return f"if numbers were meant, pd.to_numeric(data[{name!r}]) makes them"


def too_many_of(columns: pd.DataFrame, texts: Iterable[str]) -> str:
    """What of the columns that stand by themselves is no number, and has many categories.

    The end of a message on too many columns; empty if all are numbers.
    """
    bare = set().union(*map(bare_names, texts))
    odd = {n: c for n, c in columns.items() if n in bare and _kind(c.dtype) not in "iufb"}
    if not odd:
        return ""
    name, column = max(odd.items(), key=lambda item: item[1].astype(str).nunique())
    return f"; column {name!r} holds {described(column)}, read as categories: " + (
        "a factor with fewer categories is needed"
        if isinstance(column.dtype, pd.CategoricalDtype)
        else _cure(name, column)
    )


def check_response(columns: Mapping[Any, pd.Series], text: str) -> None:
    """Refuse a response that is a column, and no numbers.

    Raises
    ------
    ValueError
        Says what the column is, and what makes a number of it.
    """
    column = columns.get(text.strip().strip("`"))
    if column is None or _kind(column.dtype) in "iuf":
        return
    cure = _cure(text.strip(), column)
    if _kind(column.dtype) == "b":
        cure = "column.astype(float) makes 0 and 1 of them, for a linear model of shares"
    raise ValueError(
        f"the response {text.strip()!r} is {described(column)}; it must be one numeric "
        f"column: {cure}"
    )
