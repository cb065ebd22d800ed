"""Data frames that print a heading and notes."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, ClassVar

import pandas as pd

from mixedext.tables.number_text import df_texts, p_texts, size_texts, statistic_texts

__all__ = ["NotedTable"]


# Columns that are not printed as pandas does.
_TEXTS = dict.fromkeys(["df", "df_num", "df_denom"], df_texts)
_TEXTS["pvalue"] = p_texts
_CRITERIA = ["statistic", "llf", "deviance", "aic", "aicc", "bic", "delta"]
_TEXTS |= dict.fromkeys(_CRITERIA, statistic_texts)
_TEXTS |= dict.fromkeys(["sum_sq", "mean_sq"], size_texts)


class NotedTable(pd.DataFrame):
    """A DataFrame with a heading above it and notes below it when it is printed.

    Attributes
    ----------
    heading : str
        What the table shows.
    notes : tuple of str
        What the reader must know: refits, what the p-values rest on.
    """

    _metadata: ClassVar[list[str]] = ["heading", "notes"]
    heading: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, frame: pd.DataFrame, heading: str, notes: Sequence[str] = ()) -> NotedTable:
        """A frame with heading and notes."""
        table = cls(frame)
        table.heading, table.notes = heading, tuple(notes)
        return table

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame  # a part of the table is no longer what the heading says

    def __repr__(self) -> str:
        lines = [self.heading, self._printed().to_string(na_rep=""), *self.notes]
        return "\n".join(line for line in lines if line)

    __str__ = __repr__

    def _printed(self) -> pd.DataFrame:
        frame = pd.DataFrame(self)
        texts = {c: _TEXTS[c](frame[c]) for c in frame if c in _TEXTS}
        return frame.assign(**texts)

    def _repr_html_(self) -> str:
        parts = [self._printed().to_html(na_rep="")]
        if self.heading:
            parts.insert(0, f"<p>{html.escape(self.heading)}</p>")
        parts += [f"<p>{html.escape(note)}</p>" for note in self.notes]
        return "\n".join(parts)
