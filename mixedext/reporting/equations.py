"""The model as an equation, with letters or with its estimates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mixedext.fitted import Fitted, HasFitted, RandomBlock
from mixedext.reporting.mathematics import (
    Matrix,
    Name,
    Node,
    Number,
    Row,
    Scripts,
    Space,
    Symbol,
    latex,
    page_of,
)
from mixedext.specification.covariance.bound_residual import BoundResidual
from mixedext.specification.terms.sparse_terms import SparseTerm
from mixedext.tables.number_text import enough_decimals, number_format

__all__ = ["Equation", "equation"]

# Effects of a level up to which their covariance matrix is written out.
MOST_EFFECTS = 6
# Terms of the mean that stand in a line.
IN_A_LINE = 4

_PLUS, _IS, _LAW, _COMMA = Symbol("+"), Symbol("="), Symbol("∼"), Symbol(",")
_NORMAL = Symbol("𝒩")
_I, _J = Symbol("i"), Symbol("j")


class Equation(str):
    """LaTeX of an equation; shown as one in notebooks.

    Attributes
    ----------
    lines : tuple
        The lines, each a tuple of parts between which it may be broken.
    """

    lines: tuple[tuple[Node, ...], ...]

    def __new__(cls, lines: tuple[tuple[Node, ...], ...]) -> Equation:
        """The equation of some lines."""
        out = super().__new__(cls, _aligned(lines))
        out.lines = lines
        return out

    def __getnewargs__(self) -> tuple[Any]:  # type: ignore[override]
        return (self.lines,)

    def as_html(self) -> str:
        """The equation in MathML, which browsers show without a network."""
        return page_of(self.lines)

    def _repr_latex_(self) -> str:
        return f"$$\n{self}\n$$"


def equation(results: HasFitted, coefficients: bool = False) -> Equation:
    """The model in LaTeX: mean, random effects and errors, with their laws.

    Parameters
    ----------
    coefficients : bool, optional
        Whether the estimates stand in the place of letters.

    Returns
    -------
    Equation
        A str in LaTeX (``aligned``, for mathematical mode); ``as_html()`` is MathML.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> result = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> print(result.equation())
    \\begin{aligned}
    \\mathrm{Yield}_{i} &= \\beta_{0} + b_{0,\\mathrm{Batch}[i]} + \\varepsilon_{i} \\\\
    b_{0,j} &\\sim \\mathcal{N}(0, \\sigma_{\\mathrm{Batch}}^{2}), \\quad \
j = 1, \\ldots, 6\\ (\\mathrm{Batch}) \\\\
    \\varepsilon_{i} &\\sim \\mathcal{N}(0, \\sigma^{2}), \\quad i = 1, \\ldots, 30
    \\end{aligned}
    """
    fitted = results.fitted
    parts = list(_numbered(fitted))
    lines = [tuple(_mean(fitted, parts, coefficients))]
    lines += [tuple(_law(part, coefficients)) for part in parts]
    return Equation((*lines, tuple(_error_law(fitted, coefficients))))


def _aligned(lines: tuple[tuple[Node, ...], ...]) -> str:
    out = []
    for line in lines:
        head, relation, *rest = (latex(part).strip() for part in line)
        text = f"{head} &{relation} "
        groups: list[str] = []
        terms: list[str] = []
        for part in rest:
            if len(terms) >= IN_A_LINE and part[0] in "+-":
                groups.append(" ".join(terms))
                terms = []
            terms.append(part)
        groups.append(" ".join(terms))
        out.append(text + " \\\\\n&\\quad ".join(groups))
    body = " \\\\\n".join(out)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


class _Part(NamedTuple):
    """A term of the random effects.

    Attributes
    ----------
    block : RandomBlock
        The term.
    first, total : int
        Number of its first effect among those of its factor, and of all of these.
    alone : bool
        Whether there is no other grouping factor.
    """

    block: RandomBlock
    first: int
    total: int
    alone: bool


def _numbered(fitted: Fitted) -> Iterator[_Part]:
    counts = Counter[str]()
    for term in fitted.random.terms:
        counts[term.group] += term.k
    seen = Counter[str]()
    for block in fitted.random.blocks():
        group = block.term.group
        yield _Part(block, seen[group], counts[group], len(counts) == 1)
        seen[group] += block.term.k


# ---- the mean ----


def _mean(fitted: Fitted, parts: list[_Part], numbers: bool) -> Iterator[Node]:
    yield Scripts(Name(str(fitted.model.endog_names)), _I)
    yield _IS
    terms = [*_fixed(fitted, numbers), *_random(parts)]
    terms.append((False, Scripts(Symbol("ε"), _I)))
    for place, (negative, term) in enumerate(terms):
        sign = Symbol("−") if negative else _PLUS
        yield term if place == 0 and not negative else Row((sign, term))


def _fixed(fitted: Fitted, numbers: bool) -> Iterator[tuple[bool, Node]]:
    fixed, model = fitted.fixed, fitted.model
    if getattr(model, "offset", None) is not None or model.offset_name:
        name = model.offset_name
        yield False, Scripts(Name(str(name) if name else "offset"), _I)
    start = 0 if "Intercept" in fixed.names else 1
    texts = _number_texts(fixed.coefficients)
    for place, (column, value, text) in enumerate(
        zip(fixed.kept, fixed.coefficients, texts, strict=True)
    ):
        letter: Node = Scripts(Symbol("β"), Number(str(place + start)))
        if numbers:
            letter = Number(text.removeprefix("-"))
        parts = (letter, *_column(fixed.names[column]))
        yield numbers and value < 0, Row(parts) if len(parts) > 1 else letter


def _column(name: str) -> tuple[Node, ...]:
    if name == "Intercept":
        return ()
    return Space("thin"), Scripts(Name(name), _I)


def _random(found: list[_Part]) -> Iterator[tuple[bool, Node]]:
    for block, first, *_ in found:
        term = block.term
        if isinstance(term, SparseTerm):
            z = Scripts(Symbol("z", bold=True), _I, Symbol("⊤"))
            yield False, Row((z, Scripts(Symbol("b", bold=True), Name(term.group))))
            continue
        for place, name in enumerate(term.names):
            level = Row((Name(term.group), Symbol("["), _I, Symbol("]")))
            below = Row((Number(str(first + place)), _COMMA, level))
            effect = Scripts(Symbol("b"), below)
            parts = (effect, *_column(name))
            yield False, Row(parts) if len(parts) > 1 else effect


# ---- the laws ----


def _law(part: _Part, numbers: bool) -> Iterator[Node]:
    term, first = part.block.term, part.first
    if isinstance(term, SparseTerm):
        yield Scripts(Symbol("b", bold=True), Name(term.group))
        yield _LAW
        unit = Scripts(Symbol("I", bold=True), Number(str(term.n_levels)))
        own = _variance(part, 0, numbers)
        zero = Symbol("0", bold=True)
        yield Row(
            (_NORMAL, Symbol("("), zero, _COMMA, Space("none"), own, unit, Symbol(")"))
        )
        return
    level: Node = _J if part.alone else Scripts(Name(term.group), _J)
    effects: list[Node] = [
        Scripts(Symbol("b"), Row((Number(str(first + a)), _COMMA, level)))
        for a in range(term.k)
    ]
    yield effects[0] if term.k == 1 else Matrix(tuple((e,) for e in _shown(effects)))
    yield _LAW
    zero = Symbol("0") if term.k == 1 else Symbol("0", bold=True)
    inner = (zero, _COMMA, Space("none"), _covariance(part, numbers))
    yield Row((_NORMAL, Symbol("("), *inner, Symbol(")"), _COMMA))
    of = Row((Space("space"), Symbol("("), Name(term.group), Symbol(")")))
    yield _range(_J, term.n_levels, of)


def _shown(effects: list[Node]) -> list[Node]:
    if len(effects) <= MOST_EFFECTS:
        return effects
    return [*effects[:2], Symbol("⋮"), effects[-1]]


def _covariance(part: _Part, numbers: bool) -> Node:
    block, k = part.block, part.block.term.k
    if k == 1:
        return _variance(part, 0, numbers)
    if block.structure.shares_one_variance:
        unit = Scripts(Symbol("I", bold=True), Number(str(k)))
        return Row((_variance(part, 0, numbers), unit))
    if k > MOST_EFFECTS:
        return Scripts(Symbol("Σ", bold=True), Name(block.term.group))
    cells = [[_cell(part, a, b, numbers) for b in range(k)] for a in range(k)]
    return Matrix(tuple(tuple(row) for row in cells))


def _cell(part: _Part, a: int, b: int, numbers: bool) -> Node:
    block = part.block
    low, high = min(a, b), max(a, b)
    if a == b:
        return _variance(part, a, numbers)
    if not block.structure.has_correlations:
        return Number("0")
    if numbers:
        return Number(_texts_of(block)[a * block.term.k + b])
    places = Number(str(low + part.first)), _COMMA, Number(str(high + part.first))
    below = Row((Name(block.term.group), _COMMA, *places))
    sds = [_letter(part, c) for c in (low, high)]
    return Row((Scripts(Symbol("ρ"), below), *(Scripts(Symbol("σ"), s) for s in sds)))


def _letter(part: _Part, a: int) -> Node:
    """What stands below the standard deviation of an effect."""
    name = Name(part.block.term.group)
    form = part.block.structure
    own = part.block.term.k if form.shares_one_variance else 1
    if part.total == own:
        return name
    return Row((name, _COMMA, Number(str(part.first + a))))


def _variance(part: _Part, a: int, numbers: bool) -> Node:
    if numbers:
        return Number(_texts_of(part.block)[a * part.block.term.k + a])
    return Scripts(Symbol("σ"), _letter(part, a), Number("2"))


def _error_law(fitted: Fitted, numbers: bool) -> Iterator[Node]:
    if fitted.fit.residual is not None:
        yield from _group_law(fitted, fitted.fit.residual.bound, numbers)
        return
    yield Scripts(Symbol("ε"), _I)
    yield _LAW
    own: Node = Scripts(Symbol("σ"), None, Number("2"))
    if numbers:
        own = Number(_number_texts(np.array([fitted.scale]))[0])
    if fitted.is_weighted:
        own = Row((own, Symbol("/"), Scripts(Symbol("w"), _I)))
    yield Row(
        (_NORMAL, Symbol("("), Symbol("0"), _COMMA, Space("none"), own, Symbol(")"), _COMMA)
    )
    yield _range(_I, fitted.nobs, None)


def _group_law(fitted: Fitted, bound: BoundResidual, numbers: bool) -> Iterator[Node]:
    """Errors of a residual group together, with the structure in its text form."""
    yield Scripts(Symbol("ε", bold=True), _J)
    yield _LAW
    own: Node = Scripts(Symbol("σ"), None, Number("2"))
    if numbers:
        own = Number(_number_texts(np.array([fitted.scale]))[0])
    matrix: Node = Scripts(Symbol("Λ", bold=True), _J)
    if fitted.is_weighted:
        half = Scripts(Symbol("W", bold=True), _J, Number("-1/2"))
        matrix = Row((half, matrix, half))
    zero = Symbol("0", bold=True)
    inner = (zero, _COMMA, Space("none"), own, Space("thin"), matrix)
    yield Row((_NORMAL, Symbol("("), *inner, Symbol(")"), _COMMA))
    name = "rows" if bound.n_groups == fitted.nobs else bound.group_name
    of = Row((Space("space"), Symbol("("), Name(name), Symbol(")")))
    yield _range(_J, bound.n_groups, of)
    text = (Symbol("("), Name(str(bound)), Symbol(")"))
    yield Row((_COMMA, Space("quad"), Scripts(Symbol("Λ", bold=True), _J), *text))


def _range(letter: Node, count: int, of: Node | None) -> Node:
    comma = (_COMMA, Space("none"))
    parts = (letter, _IS, Number("1"), *comma, Symbol("…"), *comma, Number(str(count)))
    return Row((Space("quad"), *parts, *(() if of is None else (of,))))


def _texts_of(block: RandomBlock) -> list[str]:
    return _number_texts(np.asarray(block.covariance).ravel())


def _number_texts(values: np.ndarray) -> list[str]:
    form = number_format(enough_decimals(values), values)
    return [form.format(v) for v in values]
