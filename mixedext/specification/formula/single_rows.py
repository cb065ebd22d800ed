"""Whether a formula gives some rows alone what it gave them among all rows of the fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import FormulaError
from mixedext.limits import SAME_COLUMN
from mixedext.specification.formula.expressions import calls, is_row_by_row
from mixedext.specification.formula.new_data import new_fixed_columns
from mixedext.specification.formula.offset_terms import OffsetTerm

__all__ = [
    "computes_beyond_rows",
    "cure_of_whole_column",
    "differs_alone",
    "expressions_in",
    "whole_column_fault",
]

# Rows that are evaluated alone, twice: what is largest, or first, is so in one of the two.
_FEW = 3
_CATEGORY = re.compile(r"C\(\s*[^\W\d]\w*\s*\)")


def expressions_in(
    fixed_formula: str,
    namespace: Mapping[str, Any],
    offsets: Sequence[str] = (),
) -> list[str]:
    """Calls of a formula, and offsets, not known to compute each row from it alone."""
    text = fixed_formula.split("~", 1)[1]
    found = [text[start:end].strip() for start, end in calls(text)]
    return [
        call
        for call in found + [f"I({text})" for text in offsets]
        if computes_beyond_rows(call, namespace)
    ]


def computes_beyond_rows(call: str, namespace: Mapping[str, Any]) -> bool:
    """Whether an expression is not known to compute each row from it alone."""
    return not (_CATEGORY.fullmatch(call) or is_row_by_row(call, namespace))


def _few_rows(n: int) -> Iterator[np.ndarray]:
    """Numbers of rows to be evaluated alone, of n."""
    # from the end, so that sums of the rows so far differ
    places = np.unique(np.linspace(0, n - 1, 2 * _FEW).astype(int))[::-1]
    for rows in (places[::2], places[1::2]):
        if len(rows):
            yield rows


def differs_alone(evaluate: Callable[[pd.DataFrame], Any], data: pd.DataFrame) -> bool:
    """Whether some rows alone have other values than among all rows of the fit.

    Parameters
    ----------
    evaluate : callable
        Numbers (n, ...) or labels (n,) of the rows of a frame.
    data : DataFrame
        Rows of the fit.
    """
    whole = np.asarray(evaluate(data))
    for rows in _few_rows(len(data)):
        try:
            alone = np.asarray(evaluate(data.iloc[rows]))
        except FormulaError:
            return True
        among = whole[rows]
        if whole.dtype.kind != "f":
            same = alone == among
        else:
            size = np.nanmax(np.abs(whole), axis=0, initial=0.0)
            same = np.abs(alone - among) <= SAME_COLUMN * size
            same |= np.isnan(alone) & np.isnan(among)
        if not np.all(same):
            return True
    return False


def whole_column_fault(
    model_spec: Any,
    data: pd.DataFrame,
    exog: np.ndarray,
    names: Sequence[str],
    fixed_formula: str,
    namespace: Mapping[str, Any],
    aliases: Mapping[str, str],
    offset_terms: Sequence[OffsetTerm] = (),
) -> str:
    """Why new rows cannot be given to a formula, "" if they can.

    Values of a whole column that are numbers, as of ``x.mean()``, are remembered, and so
    is what ``center``, ``scale``, ``poly`` and splines have learnt.  Other functions of
    all rows (``x.rank()``, ``scipy.stats.zscore(x)``) have other values in other rows.

    Parameters
    ----------
    model_spec, fixed_formula, namespace, aliases, offset_terms
        As for ``new_fixed_columns``.
    data : DataFrame
        Rows of the fit.
    exog : ndarray
        Fixed-effects columns of these, (n, k).
    names : sequence of str
        Their names.
    """
    arguments = fixed_formula, namespace, aliases, offset_terms
    exog = np.asarray(exog, float)
    own = None
    if offset_terms:
        own = new_fixed_columns(model_spec, data, *arguments).offset
    size = np.abs(exog).max(axis=0, initial=0.0)
    for rows in _few_rows(len(data)):
        try:
            found, offset, _ = new_fixed_columns(model_spec, data.iloc[rows], *arguments)
        except FormulaError as error:
            offsets = [term.text for term in offset_terms]
            terms = expressions_in(fixed_formula, namespace, offsets)
            return cure_of_whole_column(", ".join(dict.fromkeys(terms)), f" ({error})")
        wrong = ~(np.abs(found - exog[rows]) <= SAME_COLUMN * size).all(axis=0)
        if wrong.any():
            return cure_of_whole_column(names[int(np.argmax(wrong))])
        if own is None or offset is None:
            continue
        if not np.allclose(own[rows], offset, SAME_COLUMN, 0.0):
            return cure_of_whole_column(" + ".join(map(str, offset_terms)))
    return ""


def cure_of_whole_column(
    term: str, why: str = "", kept: str = "center(x), scale(x) or x.mean()"
) -> str:
    """What is wrong with an expression whose rows depend on other rows, and the cure."""
    return (
        f"{term!r} gives some rows alone other values than among all rows of the fit"
        f"{why}, so that it has none for new data: write what the fit remembers, as "
        f"{kept}, or compute the column before the model is made"
    )
