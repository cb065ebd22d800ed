"""A sparse matrix with names of its rows and columns, printed with lines between blocks."""

from __future__ import annotations

import html
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mixedext.exceptions import DenseMatrixWarning, user_stacklevel
from mixedext.limits import MOST_DENSE_ROWS
from mixedext.tables.number_text import LARGEST_DIGITS

__all__ = ["LabelledMatrix", "label_texts", "warn_if_dense"]

# Rows and columns that are printed at most; of larger matrices the first corner is.
PRINTED_ROWS, PRINTED_COLUMNS = 40, 16
# Characters of a line that is printed.
PRINTED_WIDTH = 160


def warn_if_dense(n: int, what: str) -> None:
    """Warn of an n x n array where n is large.

    Warns
    -----
    DenseMatrixWarning
        If there are more rows than ``limits.MOST_DENSE_ROWS``.
    """
    if n > MOST_DENSE_ROWS:
        warnings.warn(
            f"{what} is made as a dense matrix of {n} x {n} numbers, "
            f"{8e-9 * n * n:.2g} GB; fit fewer rows to look at it",
            DenseMatrixWarning,
            stacklevel=user_stacklevel(),
        )


@dataclass(frozen=True, eq=False, repr=False)
class LabelledMatrix:
    """A matrix of a model with the names of its rows and columns.

    Attributes
    ----------
    name : str
        What the matrix is.
    values : csr_array
        Its elements, sparse.
    index, columns : Index
        Names of the rows and of the columns.
    row_lines, column_lines : tuple of int
        Numbers of the rows and columns that begin a block, without the first.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data.iloc[:10]
    >>> mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).Z()
    Z: 10 x 2, 10 elements that are not 0
       Batch[A] Batch[B]
    0         1        .
    1         1        .
    2         1        .
    3         1        .
    4         1        .
    --------------------
    5         .        1
    6         .        1
    7         .        1
    8         .        1
    9         .        1
    """

    name: str
    values: sparse.csr_array
    index: pd.Index
    columns: pd.Index
    row_lines: tuple[int, ...] = ()
    column_lines: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        rows, columns = self.values.shape
        return int(rows), int(columns)

    def toarray(self) -> np.ndarray:
        """All elements, zeros too."""
        if min(self.shape) > MOST_DENSE_ROWS:
            warn_if_dense(max(self.shape), self.name)
        return self.values.toarray()

    def to_frame(self) -> pd.DataFrame:
        """All elements with their names."""
        return pd.DataFrame(self.toarray(), index=self.index, columns=self.columns)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.toarray(), dtype)

    # ---- printing ----

    def _corner(self) -> tuple[list[str], list[str], list[list[str]]]:
        """Names and elements that are printed."""
        rows = min(self.shape[0], PRINTED_ROWS)
        columns = min(self.shape[1], PRINTED_COLUMNS)
        block = self.values[:rows, :columns].toarray()
        texts = _texts(block)
        return label_texts(self.index[:rows]), label_texts(self.columns[:columns]), texts

    def _heading(self, shown: tuple[int, int]) -> str:
        rows, columns = self.shape
        line = f"{self.name}: {rows} x {columns}, {self.values.nnz} elements that are not 0"
        if shown != self.shape:
            line += f"; the first {shown[0]} x {shown[1]}"
        return line

    def __repr__(self) -> str:
        rows, columns, texts = self._corner()
        side = max([len(r) for r in rows], default=0)
        heads = [("", c) for c in columns]
        ends = self._ends(heads, texts, side)
        if len(ends) and ends[-1] > PRINTED_WIDTH:
            heads = [_two_lines(c) for c in columns]
            ends = self._ends(heads, texts, side)
        fit = max(int((ends <= PRINTED_WIDTH).sum()), 1)
        heads, texts = heads[:fit], [line[:fit] for line in texts]
        widths = _widths(heads, texts)

        def line(head: str, cells: Sequence[str]) -> str:
            out = head.ljust(side) + " "
            for j, (cell, width) in enumerate(zip(cells, widths, strict=True)):
                out += (" |" if j in self.column_lines else "") + " " + cell.rjust(width)
            return out.rstrip()

        rule = "-" * len(line("", ["-" * w for w in widths]))
        lines = [self._heading((len(rows), len(heads)))]
        lines += [line("", part) for part in zip(*heads, strict=True) if any(part)]
        for i, (head, cells) in enumerate(zip(rows, texts, strict=True)):
            if i in self.row_lines:
                lines.append(rule)
            lines.append(line(head, cells))
        return "\n".join(lines)

    def _ends(self, heads, texts, side):
        """Where each column ends in a line."""
        lines = [2 * (j in self.column_lines) for j in range(len(heads))]
        return side + 1 + np.cumsum(np.array(_widths(heads, texts)) + 1 + lines)

    def _repr_html_(self) -> str:
        rows, columns, texts = self._corner()

        def cell(tag: str, text: str, i: int, j: int) -> str:
            lines = "border-left:1px solid;" if j in self.column_lines else ""
            lines += "border-top:1px solid;" if i in self.row_lines else ""
            style = f' style="{lines}"' if lines else ""
            return f"<{tag}{style}>{html.escape(text)}</{tag}>"

        shown = len(rows), len(columns)
        out = [f"<p>{html.escape(self._heading(shown))}</p><table><tr><th></th>"]
        out += [cell("th", c, -1, j) for j, c in enumerate(columns)]
        for i, (head, line) in enumerate(zip(rows, texts, strict=True)):
            out.append("</tr><tr>" + cell("th", head, i, -1))
            out += [cell("td", text, i, j) for j, text in enumerate(line)]
        return "".join([*out, "</tr></table>"])


def _texts(block: np.ndarray) -> list[list[str]]:
    """Elements as text, zeros as a point."""
    sizes = np.abs(block[block != 0])
    if not len(sizes) or (sizes == np.round(sizes)).all():
        form = "{:.0f}" if sizes.max(initial=0) < 1e9 else "{:.3e}"
    else:
        largest = int(np.floor(np.log10(sizes.max())))
        decimals = max(LARGEST_DIGITS - 2 - largest, 0)
        form = f"{{:.{decimals}f}}" if decimals <= 8 and largest < 9 else "{:.3e}"
    return [["." if v == 0 else form.format(v) for v in row] for row in block]


def label_texts(labels: pd.Index) -> list[str]:
    """Names in one string each: group[level], and the effect where it is no intercept."""
    if labels.nlevels == 1 or labels.names != ["group", "level", "effect"]:
        return [_plain(label) for label in labels]
    return [
        f"{g}[{lev}]" + ("" if effect == "Intercept" else f" {effect}")
        for g, lev, effect in labels
    ]


def _widths(heads: Sequence[tuple[str, str]], texts: Sequence[Sequence[str]]) -> list[int]:
    """Widths of columns."""
    return [
        max(*map(len, head), *(len(line[j]) for line in texts))
        for j, head in enumerate(heads)
    ]


def _two_lines(label: str) -> tuple[str, str]:
    """group[level] above the effect."""
    head, bracket, effect = label.partition("] ")
    return (f"{head}]", effect) if bracket else ("", label)


def _plain(label: Any) -> str:
    return ", ".join(map(str, label)) if isinstance(label, tuple) else str(label)
