"""Formulas as small trees, which are written in LaTeX and in MathML."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "Matrix",
    "Name",
    "Node",
    "Number",
    "Row",
    "Scripts",
    "Space",
    "Symbol",
    "latex",
    "mathml",
    "page_of",
]

# Letters that LaTeX has a command for.
_COMMANDS = {
    "β": r"\beta", "σ": r"\sigma", "ρ": r"\rho", "ε": r"\varepsilon", "Σ": r"\Sigma",
    "Λ": r"\Lambda",
    "∼": r"\sim", "…": r"\ldots", "⊤": r"\top", "−": "-", "𝒩": r"\mathcal{N}",
    "⋮": r"\vdots",
}  # fmt: skip
# Spaces by their names, and widths, em.
_SPACES = {
    "quad": (r"\quad ", 1.0), "space": (r"\ ", 0.3), "thin": (r"\,", 0.17),
    "none": (" ", 0.2),
}  # fmt: skip
_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%",
    "&": r"\&", "#": r"\#", "$": r"\$", "^": r"\^{}", "~": r"\~{}",
}  # fmt: skip
_BRACKETS = "border:solid;border-width:0 1px;border-radius:.7em;padding:0 .3em"
_OPERATORS = set("=+−∼·,()")


@dataclass(frozen=True)
class Symbol:
    """A letter or an operator; bold for vectors and matrices."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Name:
    """A word: the name of a column or of a factor."""

    text: str


@dataclass(frozen=True)
class Number:
    """A number, as text."""

    text: str


@dataclass(frozen=True)
class Space:
    """Room between parts: "quad", "space", "thin", or in LaTeX "none"."""

    kind: str


@dataclass(frozen=True)
class Row:
    """Parts side by side."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Scripts:
    """A part with what stands below and above it to the right."""

    base: Node
    below: Node | None = None
    above: Node | None = None


@dataclass(frozen=True)
class Matrix:
    """A matrix in round brackets."""

    rows: tuple[tuple[Node, ...], ...]


Node = Symbol | Name | Number | Space | Row | Scripts | Matrix


# ---- LaTeX ----


def latex(node: Node) -> str:
    """A part in LaTeX, for mathematical mode."""
    match node:
        case Symbol(text, bold):
            plain = _COMMANDS.get(text, text)
            if not bold:
                return plain
            return rf"\boldsymbol{{{plain}}}"
        case Name(text):
            return rf"\mathrm{{{latex_text(text)}}}".replace(" ", r"\ ")
        case Number(text):
            return re.sub(r"e([+-])0*(\d+)", _power, text)
        case Space(kind):
            return _SPACES[kind][0]
        case Row(parts):
            return _joined([latex(p) for p in parts])
        case Scripts(base, below, above):
            out = latex(base)
            out += f"_{{{latex(below)}}}" if below is not None else ""
            return out + (f"^{{{latex(above)}}}" if above is not None else "")
        case Matrix(rows):
            lines = [" & ".join(latex(c) for c in row) for row in rows]
            return r"\begin{pmatrix} " + r" \\ ".join(lines) + r" \end{pmatrix}"


def _power(found: re.Match[str]) -> str:
    sign = "-" if found[1] == "-" else ""
    return rf" \times 10^{{{sign}{found[2]}}}"


def _joined(parts: Sequence[str]) -> str:
    """Parts with a space where a command would swallow the next letter."""
    out = ""
    for part in parts:
        spaced = part in ("=", "+", "-", r"\sim")
        if spaced:
            out = f"{out.rstrip()} {part} "
        elif re.search(r"\\[A-Za-z]+$", out) and re.match(r"[A-Za-z]", part):
            out += f" {part}"
        else:
            out += part
    return out


def latex_text(text: str) -> str:
    """Text with the characters that LaTeX reads otherwise escaped."""
    return "".join(_ESCAPES.get(c, c) for c in text)


# ---- MathML ----


def mathml(node: Node) -> str:
    """A part in MathML Core."""
    match node:
        case Symbol(text, bold):
            tag = "mo" if text in _OPERATORS else "mi"
            # a sum is broken before its signs, which are not those of a number
            style = ' form="infix"' if text in "+−" else ""
            style += ' style="font-weight:bold"' if bold else ""
            return f"<{tag}{style}>{html.escape(text)}</{tag}>"
        case Name(text):
            return f"<mtext>{html.escape(text)}</mtext>"
        case Number(text):
            return f"<mn>{html.escape(text.replace('-', '−'))}</mn>"
        case Space(kind):
            return f'<mspace width="{_SPACES[kind][1]}em"/>'
        case Row(parts):
            return f"<mrow>{''.join(mathml(p) for p in parts)}</mrow>"
        case Scripts(base, None, None):
            return mathml(base)
        case Scripts(base, below, None) if below is not None:
            return f"<msub>{mathml(base)}{mathml(below)}</msub>"
        case Scripts(base, None, above) if above is not None:
            return f"<msup>{mathml(base)}{mathml(above)}</msup>"
        case Scripts(base, below, above) if below is not None and above is not None:
            inner = mathml(base) + mathml(below) + mathml(above)
            return f"<msubsup>{inner}</msubsup>"
        case Matrix(rows):
            lines = [
                "<mtr>" + "".join(f"<mtd>{mathml(c)}</mtd>" for c in row) + "</mtr>"
                for row in rows
            ]
            # brackets grow only with fonts for mathematics, which phones may lack
            return f'<mtable style="{_BRACKETS}">{"".join(lines)}</mtable>'
    raise TypeError(f"{node!r} is no part of a formula")


def page_of(lines: Sequence[Sequence[Node]]) -> str:
    """Lines of formulas as HTML, each a block that may be broken between its parts."""
    out = []
    for line in lines:
        parts = "".join(
            f'<math style="display:inline math">{mathml(part)}</math> ' for part in line
        )
        out.append(f'<div class="equation">{parts}</div>')
    return "\n".join(out)
