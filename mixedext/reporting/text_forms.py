"""Tables of texts in Markdown, HTML and LaTeX; the summary with Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from statsmodels.iolib.summary2 import Summary

from mixedext.reporting.mathematics import latex_text

__all__ = ["MixedSummary", "html_table", "latex_table", "markdown_table", "markdown_text"]


class MixedSummary(Summary):
    """Statsmodels' ``Summary``, which has Markdown besides text, HTML and LaTeX."""

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
