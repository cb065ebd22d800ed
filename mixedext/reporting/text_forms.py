"""Tables of texts in Markdown, HTML and LaTeX; the summary with Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from statsmodels.iolib.summary2 import Summary

from mixedext.reporting.mathematics import latex_text

__all__ = ["MixedSummary", "html_table", "latex_table", "markdown_table", "markdown_text"]


class MixedSummary(Summary):
    """Statsmodels' ``Summary``, which has Markdown besides text, HTML and LaTeX."""

    def as_text(self) -> str:
        """The tables and notes as text: what statsmodels makes of them, without its time.

        Returns
        -------
        str
            Title, tables one below the other, notes wrapped to their width.
        """
        tables = [
            _TextTable.of(table, settings, self.settings[0]["float_format"])
            for table, settings in zip(self.tables, self.settings, strict=True)
        ]
        if not tables or not all(t.rows for t in tables):
            return super().as_text()
        widest = max(t.width for t in tables)
        lines = [line for table in tables for line in table.lines(widest)]
        lines[0] = "=" * widest
        title = self.title or ""
        if title and len(title) < widest:
            title = " " * int(widest / 2 - len(title) / 2) + title
        notes = "\n".join("\n".join(wrap(text, widest)) for text in self.extra_txt)
        return "\n".join([title, *lines, "=" * widest, notes])

    def __str__(self) -> str:
        return self.as_text()

    def as_markdown(self) -> str:
        """The tables as tables of Markdown (GitHub's, Quarto's, pandoc's pipe tables).

        Returns
        -------
        str
            Title, tables, and the notes as a list.
        """
        parts = [f"**{markdown_text(self.title)}**"] if self.title else []
        for table, settings in zip(self.tables, self.settings, strict=True):
            head = list(table.columns) if settings["header"] else [""] * table.shape[1]
            align = settings["align"]
            align = align * table.shape[1] if len(align) == 1 else align
            rows = table.astype(str).to_numpy().tolist()
            if settings["index"]:
                head, align = ["", *head], "l" + align
                rows = [[str(i), *row] for i, row in zip(table.index, rows, strict=True)]
            parts.append(markdown_table(head, rows, align))
        if self.extra_txt:
            parts.append("\n".join(f"* {markdown_text(line)}" for line in self.extra_txt))
        return "\n\n".join(parts) + "\n"

    _repr_markdown_ = as_markdown


@dataclass
class _TextTable:
    """A table of texts.

    Attributes
    ----------
    head : list of str or None
        Names of the columns, an empty one for labels.
    rows : list of list of str
        Labels and cells.
    align : str
        l, r or c for each column.
    n_gaps : int
        By which statsmodels stretches the table: one fewer than cells in a row.
    """

    head: list[str] | None
    rows: list[list[str]]
    align: str
    n_gaps: int

    @classmethod
    def of(cls, table: Any, settings: Any, form: str) -> _TextTable:
        """Of a data frame and statsmodels' settings; ``form`` is that of numbers."""
        cells = [[_cell(v, form) for v in row] for row in table.to_numpy(object).tolist()]
        own, count = settings["align"], table.shape[1]
        align = "".join(own[j % len(own)] for j in range(count))
        head = [str(name) for name in table.columns] if settings["header"] else None
        if settings["index"]:
            labels = [str(label) for label in table.index]
            cells = [[a, *row] for a, row in zip(labels, cells, strict=True)]
            align = "l" + align
            head = None if head is None else ["", *head]
        return cls(head, cells, align, max(count - 1, 1))

    def widths(self) -> list[int]:
        """Of the columns."""
        rows = self.rows if self.head is None else [self.head, *self.rows]
        return [max(map(len, column)) for column in zip(*rows, strict=True)]

    @property
    def width(self) -> int:
        """With a blank between columns."""
        widths = self.widths()
        return sum(widths) + len(widths) - 1

    def lines(self, widest: int) -> list[str]:
        """A rule, the head with a rule, and the rows, stretched to a width."""
        between, rest = divmod(widest - self.width, self.n_gaps)
        more = " " * rest
        rows = [[row[0] + more, *row[1:]] for row in self.rows]
        stretched = _TextTable(self.head, rows, self.align, self.n_gaps)
        widths, blank = stretched.widths(), " " * (between + 1)
        out = []
        for row in rows:
            pairs = zip(row, widths, self.align, strict=True)
            out.append(blank.join(_padded(*pair) for pair in pairs))
        rule = "-" * len(out[-1])
        if self.head is None:
            return [rule, *out]
        heads = zip(self.head, widths, strict=True)
        line = blank.join(_padded(text, width, "c") for text, width in heads)
        return [rule, line, "-" * len(line), *out]


def _padded(text: str, width: int, align: str) -> str:
    if align == "l":
        return text.ljust(width)
    return text.rjust(width) if align == "r" else text.center(width)


def _cell(value: Any, form: str) -> str:
    try:
        return (form % value).strip()
    except (ValueError, TypeError):
        return str(value).strip()


def markdown_text(text: Any) -> str:
    """Text whose characters Markdown does not read as marks."""
    plain = re.sub(r"([\\|*_`\[\]<>#~])", r"\\\1", str(text))
    return plain.replace("\n", " ")


def markdown_table(
    head: Sequence[Any],
    rows: Sequence[Sequence[Any]],
    align: str,
    sections: Sequence[int] = (),
) -> str:
    """A pipe table; ``align`` has a letter a column, l or r; rows of sections are bold."""
    lines = [[markdown_text(c) for c in line] for line in (head, *rows)]
    for number in sections:
        lines[number + 1][0] = f"**{lines[number + 1][0]}**"
    widths = [max(3, *(len(line[j]) for line in lines)) for j in range(len(head))]

    def joined(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(w) if side == "r" else cell.ljust(w)
            for cell, w, side in zip(cells, widths, align, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * (w - 1) + ":" if side == "r" else ":" + "-" * (w - 1)
        for w, side in zip(widths, align, strict=True)
    ]
    return "\n".join([joined(lines[0]), joined(rule), *map(joined, lines[1:])])


def html_table(
    head: Sequence[Any], rows: Sequence[Sequence[Any]], sections: Sequence[int] = ()
) -> str:
    """A table of HTML; rows whose number is in ``sections`` are headings of others."""
    cells = "".join(f"<th>{html.escape(str(c))}</th>" for c in head)
    top = f"<thead><tr>{cells}</tr></thead>" if head else ""
    out = [f"<table>{top}<tbody>"]
    for number, row in enumerate(rows):
        first, *rest = (html.escape(str(c)) for c in row)
        if number in sections:
            out.append(f'<tr><th class="section" colspan="{len(row)}">{first}</th></tr>')
            continue
        line = "".join(f"<td>{c}</td>" for c in rest)
        out.append(f"<tr><th>{first}</th>{line}</tr>")
    return "\n".join([*out, "</tbody></table>"])


def latex_table(
    head: Sequence[Any], rows: Sequence[Sequence[Any]], sections: Sequence[int] = ()
) -> str:
    """A ``tabular`` with booktabs' rules."""
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule"]
    lines += [" & ".join(latex_text(str(c)) for c in head) + r" \\", r"\midrule"]
    for number, row in enumerate(rows):
        texts = [latex_text(str(c)) for c in row]
        if number in sections:
            if number:
                lines.append(r"\midrule")
            lines.append(rf"\multicolumn{{{len(head)}}}{{l}}{{\textit{{{texts[0]}}}}} \\")
        else:
            lines.append(" & ".join(texts) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])
