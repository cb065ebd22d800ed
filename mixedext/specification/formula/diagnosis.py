"""What is wrong with a formula that cannot be evaluated: the end of its message.

Called where an engine has refused a formula, to say what was probably meant.  Nothing is
computed from what is found here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mixedext.arguments import did_you_mean
from mixedext.other_names import R_FUNCTIONS, R_WORDS
from mixedext.specification.data.columns import known_columns
from mixedext.specification.formula.transforms import RESERVED

__all__ = ["cure_of_factor", "cure_of_formula", "index_names"]

_QUOTED = re.compile(r"(?<![\w(,=])\s*([\"'])([^\"']+)\1")
_DOLLAR = re.compile(r"([^\W\d][\w.]*)\$([^\W\d][\w.]*)")
_REFERENCE = re.compile(
    r"C\(\s*([\w.`]+)\s*,\s*(?:ref|reference|base)\s*=\s*([^()]+?)\s*\)"
)
_TREATMENT = re.compile(
    r"C\(\s*`?([\w.]+)`?\s*,\s*Treatment\(\s*(?:reference\s*=\s*)?[\"']?(.+?)[\"']?\s*\)"
)
_SIDE_BY_SIDE = re.compile(r"([\w.)\]]+)\s+([^\W\d][\w.]*)")
# What NumPy and pandas say of text that is given to a function of numbers.
_OF_TEXT = (
    "could not convert string to float",
    "for the input types",
    "of type str",
    "'str'",
)
_OPERATOR = re.compile(r"%[^%\s]*%")


def index_names(data: Any) -> list[Any]:
    """Names of the levels of the index of a frame, or of the frame that columns are of."""
    frame = getattr(data, "source", data)
    return [name for name in frame.index.names if name is not None]


def cure_of_formula(
    formula: str,
    reason: str,
    unknown: Sequence[str],
    columns: Sequence[str],
    data: Mapping[str, Any] | Any,
) -> str:
    """What was probably meant by a formula that cannot be evaluated; may be empty.

    Parameters
    ----------
    formula : str
        The formula, or its side.
    reason : str
        What the engine says.
    unknown : sequence of str
        Names in it that nothing is known by.
    columns : sequence of str
        Names of the columns of the data.
    data : Mapping or DataFrame
        The columns that it names.
    """
    levels = [str(name) for name in index_names(data)]
    found = (
        _dollar(formula)
        or _raw_powers(formula)
        or _stata(formula, unknown)
        or _r_word(unknown)
        or _backticks(formula, unknown, columns)
        or _r_function(formula, unknown, reason)
        or _r_operator(formula)
        or _quotes(formula, columns)
        or _contrasts(formula)
        or _reference(formula)
        or _level(formula, reason, data)
        or _constant(formula, columns)
        or _text_for_numbers(reason)
    )
    if not found and columns and list(columns) == [str(j) for j in range(len(columns))]:
        found = "; the data's columns have no names: pd.DataFrame(array, columns=[...])"
    if not found and "neither a column" in reason:
        if rest := [name for name in levels if name not in columns]:
            found = f"; {known_columns([], rest).removeprefix('none; ')}"
        known = [*columns, *levels, *sorted(RESERVED)]
        meant = (_module(formula, n) or did_you_mean(n, known) for n in unknown)
        found += next(filter(None, meant), "")
    if not found and "syntax" in reason and (two := _SIDE_BY_SIDE.search(formula)):
        found = f"; an operator (+, : or *) is missing between {two[1]} and {two[2]}"
    return found


def cure_of_factor(name: str, columns: Iterable[Any], data: Any) -> str:
    """What was probably meant by a grouping factor that is none; may be empty.

    Parameters
    ----------
    name : str
        The factor as written.
    columns : iterable
        Names of the columns of the data.
    data : Mapping or DataFrame
        The columns that the formula names.
    """
    columns, bare = list(map(str, columns)), name.strip()
    if bare[:1] in "\"'" and bare[:1] == bare[-1:]:
        return f"; names stand without quotes: (1 | {bare[1:-1]})"
    if bare.isdigit():
        return "; the grouping factor stands right of the bar, columns left of it: (1 | g)"
    levels = [str(level) for level in index_names(data) if str(level) not in columns]
    listed = f"; {known_columns([], levels).removeprefix('none; ')}" if levels else ""
    call = re.fullmatch(r"(?:as\.)?(?:factor|character)\(\s*([\w.]+)\s*\)", bare)
    return (
        _dollar(bare)
        or _backticks(bare, [bare], columns)
        or (f"; labels of any type do: (1 | {call[1]})" if call else "")
        or _r_function(bare, ["as"], "")
        or _several(bare)
        or listed + did_you_mean(bare, [*columns, *levels])
    )


def _module(text, name):
    used = re.search(rf"(?<![\w.]){re.escape(name)}\.(\w+)\s*\(", text)
    if used is None:
        return ""
    return f"; import {name} where the model is made, or write np.{used[1]}(...)"


def _dollar(text):
    found = _DOLLAR.search(text)
    return f"; columns go by their names alone: {found[2]}, not {found[0]}" if found else ""


def _backticks(text, unknown, columns):
    """Columns whose names are not Python's, and stand in the text as they are."""
    bare = "".join(re.sub(r"`[^`]*`|\"[^\"]*\"|'[^']*'", " ", text).split())
    for column in sorted(columns, key=len, reverse=True):
        squeezed = "".join(column.split())
        if column.isidentifier() or not re.search(r"[^\W\d]", column):
            continue
        if not re.search(rf"(?<!\w){re.escape(squeezed)}(?!\w)", bare):
            continue
        if any(name in column for name in unknown):
            return f"; write `{column}` in backticks, its name is not one of Python's"
    return ""


def _r_function(text, unknown, reason):
    # a module of Python may have the name, such as re
    is_module = "'module' object is not callable" in reason
    for name, cure in R_FUNCTIONS.items():
        called = re.search(
            rf"(?<![\w.]){re.escape(name)}\s*\(\s*([^\W\d][\w.]*)?\s*([,)])?", text
        )
        if called is None or not (is_module or name.split(".")[0] in unknown):
            continue
        if called[1] and called[2]:  # the argument is one name
            cure = re.sub(r"\bx\b", called[1], cure)
        return f"; {name}(...) is R's, {cure}"
    return ""


def _raw_powers(text):
    found = re.search(r"\bpoly\(\s*([^(),]+?)\s*,[^()]*\b(?:raw|simple)\s*=", text)
    if found is None:
        return ""
    return f"; poly(x, degree) is orthogonal; raw powers are {found[1]} + I({found[1]}**2)"


def _stata(text, unknown):
    found = re.search(r"(?<![\w.])(i|c)\.([^\W\d]\w*)", text)
    if found is None or found[1] not in unknown:
        return ""
    meant = f"C({found[2]})" if found[1] == "i" else found[2]
    return f"; {found[0]} is Stata's, write {meant}"


def _r_word(unknown):
    found = next((name for name in unknown if name in R_WORDS), None)
    return f"; {found} is R's, write {R_WORDS[found]}" if found else ""


def _r_operator(text):
    found = _OPERATOR.search(text)
    return f"; {found[0]} is R's: write a:b, or (1 | a/b) for groups" if found else ""


def _quotes(text, columns):
    found = _QUOTED.search(re.sub(r"\b\w+\([^()]*\)", " ", text))
    if found is None or found[2] not in columns:
        return ""
    return f"; names stand without quotes: {found[2]}"


def _reference(text):
    found = _REFERENCE.search(text)
    return f"; write C({found[1]}, Treatment({found[2]}))" if found else ""


def _contrasts(text):
    found = re.search(r"\bcontr\.(\w+)", text)
    if found is None:
        return ""
    own = {"treatment": "Treatment", "helmert": "Helmert", "poly": "Poly"}
    return f"; {found[0]} is R's: write C(x, {own.get(found[1], 'Sum')})"


def _level(text, reason, data):
    found = _TREATMENT.search(text)
    unknown = "not found" in reason or "not among" in reason
    if found is None or not unknown or found[1] not in data:
        return ""
    levels = list(map(str, data[found[1]].dropna().unique()))
    return (
        f"; levels of {found[1]} are: {', '.join(levels)}{did_you_mean(found[2], levels)}"
    )


def _constant(text, columns):
    if "Intercept" not in columns or not re.search(r"\bIntercept\b", text):
        return ""
    return (
        "; 'Intercept' is the name of the constant, which the formula has of itself: "
        "rename the column, data.rename(columns={'Intercept': ...})"
    )


def _text_for_numbers(reason):
    if not any(sign in reason for sign in _OF_TEXT):
        return ""
    return (
        "; the function needs a column of numbers, and is given text: "
        "pd.to_numeric(data['x']) makes numbers"
    )


def _several(text):
    names = re.split(r"\s*[,&]\s*", text)
    if len(names) < 2 or not all(re.fullmatch(r"[^\W\d][\w.]*", name) for name in names):
        return ""
    crossed = " + ".join(f"(1 | {name})" for name in names)
    return f"; write {crossed}, or for their combinations (1 | {':'.join(names)})"
