"""Whether a formula gives some rows alone what it gave them among all rows of the fit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import FormulaError
from mixedext.limits import SAME_COLUMN
from mixedext.specification.formula.expressions import calls
from mixedext.specification.formula.new_data import new_fixed_columns

__all__ = ["expressions_in", "whole_column_fault"]

# Rows that are evaluated alone, twice: what is largest, or first, is so in one of the two.
_FEW = 3
_CATEGORY = re.compile(r"C\(\s*[^\W\d]\w*\s*\)")


def expressions_in(fixed_formula: str, offset_formulas: Sequence[str] = ()) -> list[str]:
    """Calls of a formula, and the offsets, that are more than ``C(name)``."""
    text = fixed_formula.split("~", 1)[1]
    found = [text[start:end].strip() for start, end in calls(text)]
    return [t for t in found if not _CATEGORY.fullmatch(t)] + list(offset_formulas)


def whole_column_fault(
    model_spec: Any,
    data: pd.DataFrame,
    exog: np.ndarray,
    names: Sequence[str],
    fixed_formula: str,
    namespace: Mapping[str, Any],
    aliases: Mapping[str, str],
    offset_formulas: Sequence[str] = (),
) -> str:
    """Why new rows cannot be given to a formula, "" if they can.

    Values of a whole column that are numbers, as of ``x.mean()``, are remembered, and so
    is what ``center``, ``scale``, ``poly`` and splines have learnt.  Other functions of
    all rows (``x.rank()``, ``scipy.stats.zscore(x)``) have other values in other rows.

    Parameters
    ----------
    model_spec, fixed_formula, namespace, aliases, offset_formulas
        As for ``new_fixed_columns``.
    data : DataFrame
        Rows of the fit.
    exog : ndarray
        Fixed-effects columns of these, (n, k).
    names : sequence of str
        Their names.
    """
    arguments = fixed_formula, namespace, aliases, offset_formulas
    n = len(data)
    exog = np.asarray(exog, float)
    own = None
    if offset_formulas:
        own = new_fixed_columns(model_spec, data, *arguments).offset
    size = np.abs(exog).max(axis=0, initial=0.0)
    # from the end, so that sums of the rows so far differ
    places = np.unique(np.linspace(0, n - 1, 2 * _FEW).astype(int))[::-1]
    for rows in (places[::2], places[1::2]):
        if not len(rows):
            continue
        try:
            found, offset, _ = new_fixed_columns(model_spec, data.iloc[rows], *arguments)
        except FormulaError as error:
            terms = expressions_in(fixed_formula, offset_formulas)
            return _fault(", ".join(dict.fromkeys(terms)), f" ({error})")
        wrong = ~(np.abs(found - exog[rows]) <= SAME_COLUMN * size).all(axis=0)
        if wrong.any():
            return _fault(names[int(np.argmax(wrong))])
        if own is None or offset is None:
            continue
        if not np.allclose(own[rows], offset, SAME_COLUMN, 0.0):
            return _fault(f"offset({' + '.join(offset_formulas)})")
    return ""


def _fault(term, why=""):
    return (
        f"{term!r} gives some rows alone other values than among all rows of the fit"
        f"{why}, so that it has none for new data: write what the fit remembers, as "
        "center(x), scale(x) or x.mean(), or compute the column before the model is made"
    )
