"""How tables of estimated means and contrasts are printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.inference.means.back_transform import ResponseTransform
from mixedext.inference.means.multiplicity import Family
from mixedext.tables.number_text import df_texts, p_texts

__all__ = [
    "adjustment_note",
    "groups_text",
    "label",
    "limits_note",
    "row_names",
    "scale_notes",
    "table_texts",
]

_STEPWISE = ("holm", "hochberg", "hommel", "fdr", "fdr_by")


def adjustment_note(families: Sequence[Family], used: str) -> str:
    """What is said of adjusted p-values.

    Parameters
    ----------
    families : sequence of Family
        The families that were adjusted.
    used : str
        The adjustment.
    """
    counts = sorted({family.n_tests for family in families})
    text = f"{used} for {' or '.join(map(str, counts))} estimates"
    if used == "tukey":
        text = f"tukey for a family of {families[0].size} means"
    elif used == "scheffe":
        text = f"scheffe with rank {families[0].rank}"
    return f"P values adjusted: {text}"


def limits_note(used: str) -> str:
    """What is said of adjusted limits: stepwise adjustments have none of their own."""
    return f"Confidence limits adjusted: {'bonferroni' if used in _STEPWISE else used}"


def scale_notes(
    kind: str, transform: ResponseTransform | None, sigma: float | None, tests: bool
) -> Iterator[str]:
    """What is said of the scale of estimates.

    Parameters
    ----------
    kind : {"mean", "response", "difference", "ratio", "trend"}
        What the estimates are.
    transform : ResponseTransform or None
        That of the response.
    sigma : float or None
        Standard deviation of the adjustment for bias.
    tests : bool
        Whether there are tests.
    """
    if transform is None or kind == "trend":
        return
    if kind in ("ratio", "response"):
        if kind == "ratio" and transform.ratio:
            yield f"Estimates are {transform.ratio} ratios"
        yield f"Intervals are transformed back from the {transform.name} scale"
        if tests:
            yield f"Tests are performed on the {transform.name} scale"
        if kind == "response" and sigma is not None:
            yield f"Adjusted for bias with sigma = {sigma:.5g}"
    else:
        yield f"Results are on the {transform.name} scale, not that of the response"


def table_texts(table: pd.DataFrame, estimable: np.ndarray) -> pd.DataFrame:
    """The table as text: three digits of the smallest standard error.

    Parameters
    ----------
    table : DataFrame
        Labels, and columns of the vocabulary.
    estimable : ndarray
        Which rows are estimable, (m,) bool.
    """
    errors = table["std_err"].to_numpy()
    errors = errors[np.isfinite(errors) & (errors > 0)]
    decimals = 3
    if len(errors):
        decimals = int(np.clip(2 - np.floor(np.log10(errors.min())), 0, 10))
    forms = dict.fromkeys(
        ["estimate", "std_err", "lower", "upper", "raw_mean"], f"{{:.{decimals}f}}"
    )
    forms["statistic"] = "{:.3f}"
    text = pd.DataFrame(table).copy()
    for column, pattern in forms.items():
        if column in table:
            text[column] = [
                pattern.format(v) if not np.isnan(v) else "" for v in table[column]
            ]
    text["df"] = df_texts(table["df"])
    if "pvalue" in table:
        text["pvalue"] = p_texts(table["pvalue"])
    text.loc[~estimable, "estimate"] = "nonEst"
    return text


def groups_text(
    text: pd.DataFrame,
    by: Sequence[str],
    groups: Sequence[tuple[Mapping[str, Any], np.ndarray]],
    notes: Sequence[str],
) -> str:
    """A table of texts, one part below the other for each group, and notes.

    Parameters
    ----------
    text : DataFrame
        The table as text.
    by : sequence of str
        Columns that tell the groups.
    groups : sequence of tuple
        Values of these, and numbers of the rows.
    notes : sequence of str
        What stands below.
    """
    parts = []
    for where, rows in groups:
        head = ", ".join(f"{name} = {value}" for name, value in where.items())
        body = text.iloc[rows].drop(columns=list(by)).to_string(index=False)
        parts.append(f"{head}:\n{body}" if head else body)
    return "\n\n".join(parts) + "\n\n" + "\n".join(notes)


def label(values: Mapping[str, Any]) -> str:
    """Values that tell a group or a contrast, in one text."""
    return " ".join(map(str, values.values()))


def row_names(labels: pd.DataFrame) -> list[str]:
    """One text a row of labels; what reads as a number goes with its variable's name."""
    texts = [] if len(labels.columns) else [["overall"] * len(labels)]
    for name in labels.columns:
        column = labels[name]
        numeric = all(_reads_as_number(value) for value in column)
        front = str(name) if numeric else ""
        texts.append(
            [front + (f"{v:g}" if isinstance(v, float) else str(v)) for v in column]
        )
    return [" ".join(row) for row in zip(*texts, strict=True)]


def _reads_as_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool | np.bool_)
