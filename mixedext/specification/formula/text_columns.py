"""What is wrong with a column of text: numbers written otherwise, words for missing values,
labels that differ in blanks or capitals alone.

Read for messages; the columns are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from mixedext.limits import MOSTLY_NUMBERS

__all__ = ["fault_of_labels", "fault_of_numbers", "means_missing"]

_MISSING = {"", "na", "n/a", "#n/a", "nan", "<na>", ".", "null"}
_DECIMAL = re.compile(r"[-+]?\d*\.\d+")
_COMMA = re.compile(r"[-+]?\d*,\d+")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
_PERCENT = re.compile(r"[-+]?\d+([.,]\d*)?\s*%")


def means_missing(label: Any) -> bool:
    """Whether a text is what files write where a value is missing.

    Examples
    --------
    >>> [means_missing(label) for label in ("NA", " ", "n/a", "none", "control")]
    [True, True, True, False, False]
    """
    return isinstance(label, str) and label.strip().lower() in _MISSING


def fault_of_numbers(name: Any, values: Iterable[Any]) -> str:
    """What keeps the values of a column from being numbers, and what makes them so.

    Parameters
    ----------
    name : object
        Of the column.
    values : iterable
        Its distinct values, without missing ones.

    Returns
    -------
    str
        Empty if numbers were hardly meant: whole numbers as text are a usual way to write
        labels.

    Examples
    --------
    >>> print(fault_of_numbers("x", ["1,5", "2,25", "3"]).split(":")[0])
    '1,5' has a decimal comma
    >>> fault_of_numbers("x", ["1", "2", "control"])
    ''
    """
    values = list(values)
    texts = [value.strip() for value in values if isinstance(value, str)]
    present = [text for text in texts if not means_missing(text)]
    number = len(texts) < len(values)  # among the texts
    if not texts:
        return ""
    written = _written_otherwise(name, present)
    if written and not number:
        return written
    parsed = pd.to_numeric(pd.Series(present, dtype=object), errors="coerce")
    right = np.isfinite(parsed.to_numpy(float))
    decimal = any(_DECIMAL.fullmatch(text) for text in present)
    words = len(present) < len(texts) and bool(right.all()) and bool(number or present)
    slips = not right.all() and (number or (decimal and right.mean() > MOSTLY_NUMBERS))
    if not words and not slips:
        return ""
    wrong = [t for t, is_right in zip(present, right, strict=True) if not is_right]
    wrong += [text for text in texts if means_missing(text)]
    return (
        f"{wrong[0]!r} is no number; mend such values, or have them made missing by "
        f"pd.to_numeric(data[{name!r}], errors='coerce')"
    )


def _written_otherwise(name, texts):
    """Of text that would be numbers with other signs: which, and how to be rid of them."""
    column = f"data[{name!r}].str"
    if texts and all(_PERCENT.fullmatch(text) for text in texts):
        return f"{texts[0]!r} has a percent sign: {column}.rstrip('% ').astype(float)"
    commas = [text for text in texts if "," in text]
    rest = [text for text in texts if "," not in text]
    if not commas or not all(re.fullmatch(r"[-+]?\d+\.?\d*", text) for text in rest):
        return ""
    if all(_THOUSANDS.fullmatch(text) for text in commas):
        return (
            f"{commas[0]!r} has a comma for thousands: pd.read_csv(..., thousands=','), or "
            f"{column}.replace(',', '').astype(float)"
        )
    if all(_COMMA.fullmatch(text) for text in commas):
        return (
            f"{commas[0]!r} has a decimal comma: pd.read_csv(..., decimal=','), or "
            f"{column}.replace(',', '.').astype(float)"
        )
    return ""


def fault_of_labels(name: Any, labels: Iterable[Any]) -> str:
    """Labels that are hardly meant: words for missing values, or twice the same.

    Parameters
    ----------
    name : object
        Of the column.
    labels : iterable
        Its distinct values.

    Returns
    -------
    str
        What they are, and what to write; empty if they look right.

    Examples
    --------
    >>> print(fault_of_labels("sex", ["f", "m", "f "]).split(";")[0])
    has the labels 'f' and 'f ', which differ in blanks alone
    >>> fault_of_labels("sex", ["f", "m"])
    ''
    """
    texts = [label for label in labels if isinstance(label, str)]
    stripped = {text.strip() for text in texts}
    folded = {text.casefold() for text in stripped}
    if not folded.isdisjoint(_MISSING):
        missing = next(filter(means_missing, texts))
        return (
            f"has the label {missing!r}, which most often means that a value is missing; "
            f"data[{name!r}].replace({missing!r}, np.nan) says so"
        )
    column = f"data[{name!r}].str"
    if len(stripped) < len(texts) and (twice := _alike(texts, str.strip)):
        return f"{twice} blanks alone; {column}.strip() makes them one"
    # of a and A alone nothing else tells one from the other
    if 1 < len(folded) < len(stripped) and (twice := _alike(texts, str.casefold)):
        return f"{twice} capitals alone; {column}.lower() makes them one"
    return ""


def _alike(texts, key):
    """Two texts of one key, as the beginning of a sentence; empty if there are none."""
    seen: dict[str, str] = {}
    for text in texts:
        first = seen.setdefault(key(text), text)
        if first != text:
            return f"has the labels {first!r} and {text!r}, which differ in"
    return ""
