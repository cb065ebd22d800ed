"""Reading lme4's notation: random terms ``(columns | factor)`` split off a formula.

Only text is handled here.  What is inside the bars' left-hand side, and all the rest of
the formula, is left to the formula engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from mixedext.exceptions import FormulaError
from mixedext.limits import MOST_FACTORS
from mixedext.specification.covariance import registry
from mixedext.specification.formula.expressions import (
    check_nesting,
    outside_calls,
    python_powers,
)

__all__ = [
    "Bar",
    "SplitFormula",
    "additive_terms",
    "check_is_text",
    "check_re_formula",
    "grouped_formula",
    "names_in",
    "parenthesized",
    "parse_grouping",
    "plain_name",
    "read_term",
    "split_formula",
    "walk",
]

_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "\"'`"
# After one of these a plus or minus belongs to a number, not to the list of terms.
_OPERATORS = "*:/^%|~+-("
# What makes a call of the parenthesis that follows: a name, or a bracket that closes.
_CALLED = re.compile(r"(?:(?<!\w)[^\W\d]\w*|[\])])$")

# What is written for the bar of a random term: (1 / g)
_SLASH = re.compile(r"([01](?:\s*\+\s*[\w.]+)*)\s*[\\/;]\s*(.+)")


@dataclass(frozen=True)
class Bar:
    """One random term as written.

    Attributes
    ----------
    columns : str
        Left-hand side of the bar.
    factors : tuple of str
        Atoms of the grouping factor, e.g. ("cask", "batch") for ``cask:batch``.
    structure : str
        Name in the registry of covariance structures of what the bar stands for.
    """

    columns: str
    factors: tuple[str, ...]
    structure: str = registry.BARS["|"]

    @property
    def group(self) -> str:
        """Name of the grouping factor."""
        return ":".join(plain_name(f) for f in self.factors)

    @property
    def label(self) -> str:
        """The term as written."""
        return registry.label(self.structure, self.columns, self.group)


@dataclass(frozen=True)
class SplitFormula:
    """A formula in parts.

    Attributes
    ----------
    response : str
        Left-hand side.
    fixed : str
        Right-hand side without random terms and offsets; "1" if nothing else is left.
    bars : tuple of Bar
        Random terms, nesting and crossing expanded, in the order written.
    offsets : tuple of str
        Arguments of the ``offset(...)`` terms.
    """

    response: str
    fixed: str
    bars: tuple[Bar, ...]
    offsets: tuple[str, ...]

    @cached_property
    def names(self) -> frozenset[str]:
        """Names that occur in any part."""
        texts = [self.response, self.fixed, *self.offsets]
        for bar in self.bars:
            texts += [bar.columns, *bar.factors]
        return frozenset().union(*(names_in(text) for text in texts))


@lru_cache(maxsize=512)
def plain_name(text: str) -> str:
    """Column name behind backticks, Q("..."), C(...) or factor(...)."""
    text = text.strip()
    match = re.fullmatch(r"""(?:`(.+)`|Q\(\s*(["'])(.+)\2\s*\))""", text)
    if match is not None:
        return match.group(1) or match.group(3)
    match = re.fullmatch(r"(?:C|factor)\(\s*([^(),]+?)\s*\)", text)
    return text if match is None else plain_name(match.group(1))


def walk(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield (position, character, depth); depth counts open brackets.

    Of a quoted piece only the closing quote is yielded.
    """
    depth, quote = 0, None
    for i, c in enumerate(text):
        if quote is not None:
            if c == quote and text[i - 1] != "\\":
                quote = None
                yield i, c, depth
            continue
        if c in _QUOTES:
            quote = c
        elif c in _OPENING:
            depth += 1
            yield i, c, depth
        elif c in _CLOSING:
            if depth == 0:
                raise FormulaError(f"formula {text!r}: {c!r} closes nothing")
            yield i, c, depth
            depth -= 1
        else:
            yield i, c, depth
    if quote is not None:
        raise FormulaError(f"formula {text!r}: the quote {quote} is not closed")
    if depth:
        raise FormulaError(f"formula {text!r}: a bracket is not closed")


def check_is_text(formula: object) -> None:
    """Raise FormulaError unless a formula is a text; it may have been given as data."""
    if isinstance(formula, str):
        return
    kind = type(formula).__name__
    swapped = kind in ("DataFrame", "dict")
    raise FormulaError(
        f"formula must be a string, not {kind}"
        + ("; it comes first, before the data" if swapped else "")
    )


def check_re_formula(text: object) -> None:
    """Raise FormulaError unless a ``re_formula`` is None or a text of columns alone."""
    if text is None:
        return
    if not isinstance(text, str):
        given = repr(text) if isinstance(text, bool | int | list) else type(text).__name__
        raise FormulaError(
            f"re_formula must be a string of columns, as in re_formula='~x', not {given}; "
            "the grouping factor is given by groups='g', maximum likelihood by "
            "fit(reml=False)"
        )
    if "|" in text:
        raise FormulaError(
            f"re_formula={text!r} has a bar: give the columns alone, as in "
            "re_formula='~x' with groups='g', or the term (x | g) in the formula"
        )
    if "~" in text.strip()[1:]:
        raise FormulaError(
            f"re_formula={text!r} has a response: give the columns alone, as in "
            f"re_formula={'~' + text.partition('~')[2].strip()!r}"
        )


def split_formula(formula: str) -> SplitFormula:
    """Split random terms and offsets off a formula.

    Parameters
    ----------
    formula : str
        For example ``"y ~ x + (1 + x | subject) + (1 | item)"``.

    Returns
    -------
    SplitFormula

    Raises
    ------
    FormulaError
        If brackets do not match, the response is missing, a bar stands outside
        parentheses or within a product, or one of its sides is empty.
    """
    check_is_text(formula)
    return _split(formula)


@lru_cache(maxsize=512)
def _split(formula):
    check_nesting(formula)
    tildes = [i for i, c, depth in walk(formula) if c == "~" and depth == 0]
    if len(tildes) != 1:
        lme = "; write random terms as (1 | g)" if "random" in formula else ""
        raise FormulaError(
            f"formula {formula!r} needs exactly one '~', between the response and the "
            f"terms{lme}"
        )
    sides = formula[: tildes[0]], formula[tildes[0] + 1 :]
    response, right = (python_powers(side).strip() for side in sides)
    if not response:
        raise FormulaError(f"formula {formula!r} has no response left of '~'")
    if not right:
        raise FormulaError(f"formula {formula!r} has no terms right of '~'")
    _check_commas(formula, response, right)
    if re.search(r"[-+*/:%]", outside_calls(response)):
        raise FormulaError(
            f"formula {formula!r}: operators left of '~' would be those of terms, not of "
            f"numbers; write I({response})"
        )
    fixed: list[tuple[str, str]] = []
    bars: list[Bar] = []
    offsets: list[str] = []
    _sort_terms(right, formula, fixed, bars, offsets)
    text = " ".join(f"{sign} {term}" for sign, term in fixed).removeprefix("+ ")
    return SplitFormula(response, text or "1", tuple(bars), tuple(offsets))


def _check_commas(formula, response, right):
    if any(c == "," and depth == 0 for _, c, depth in walk(right)):
        raise FormulaError(
            f"formula {formula!r} has a comma among its terms: what is no term stands "
            "after the quotes, mixedlm('y ~ x + (1 | g)', data, weights='w')"
        )
    if any(c == "," and depth == 0 for _, c, depth in walk(response)):
        raise FormulaError(
            f"formula {formula!r} has several responses: a model has one; fit_many fits "
            "one model to many, and of successes and failures glmm takes cbind(a, b)"
        )


def grouped_formula(formula: str) -> str:
    """``y ~ x | g``, a regression in every group, as ``y ~ x + (1 | g)``.

    Raises
    ------
    FormulaError
        If there is not exactly one bar outside parentheses, right of ``~``.

    Examples
    --------
    >>> grouped_formula("log(y) ~ x | g")
    'log(y) ~ x + (1 | g)'
    """
    check_is_text(formula)
    check_nesting(formula)
    marks = [(c, i) for i, c, depth in walk(formula) if c in "~|" and depth == 0]
    if [c for c, _ in marks] != ["~", "|"] or _contains_bar_group(formula):
        raise FormulaError(
            f"formula {formula!r}: write the groups after one bar, without parentheses, as "
            "in 'y ~ x | g'"
        )
    regression, group = formula[: marks[1][1]].strip(), formula[marks[1][1] + 1 :].strip()
    if not group or regression.endswith("~"):
        side = "right" if not group else "left"
        raise FormulaError(f"formula {formula!r} has nothing {side} of the bar")
    return f"{regression} + (1 | {group})"


def _sort_terms(text, formula, fixed, bars, offsets):
    for sign, term in additive_terms(text, formula):
        inside = parenthesized(term)
        offset = re.fullmatch(r"offset\s*\((.*)\)", term, flags=re.DOTALL)
        if inside is not None and _has_bar(inside):
            if sign == "-":
                raise FormulaError(
                    f"formula {formula!r}: a random term cannot be subtracted; leave "
                    f"out {term}"
                )
            bars.extend(_read_bar(inside, formula))
        elif (slash := _SLASH.fullmatch(inside or "")) is not None:
            raise FormulaError(
                f"formula {formula!r}: the bar of a random term is |, as in "
                f"({slash[1]} | {slash[2]})"
            )
        elif term[0] in "[{" and _has_bar(term[1:-1]):
            raise FormulaError(
                f"formula {formula!r}: write random terms in parentheses, as in "
                f"({term[1:-1].strip()})"
            )
        elif inside is not None and sign == "+" and _contains_bar_group(inside):
            _sort_terms(inside, formula, fixed, bars, offsets)
        elif offset is not None and parenthesized(term[6:].strip()) is not None:
            if sign == "-":
                raise FormulaError(f"formula {formula!r}: subtract inside offset(...)")
            offsets.append(offset.group(1).strip())
        elif registry.is_call(term):
            if sign == "-":
                raise FormulaError(
                    f"formula {formula!r}: a random term cannot be subtracted; leave "
                    f"out {term}"
                )
            bars.extend(_read_call(term, formula))
        elif _contains_bar_group(term):
            raise FormulaError(
                f"formula {formula!r}: the random term in {term!r} must stand by itself, "
                "added to the other terms"
            )
        else:
            fixed.append((sign, term))


def additive_terms(text: str, formula: str) -> list[tuple[str, str]]:
    """Terms of a sum with their signs.

    Raises
    ------
    FormulaError
        If a bar stands outside parentheses, or a term is missing.
    """
    terms, start, sign, last = [], 0, "+", "("
    for i, c, depth in walk(text):
        if depth == 0 and c == "|":
            raise FormulaError(
                f"formula {formula!r}: write random terms in parentheses, as in (1 | g)"
            )
        if depth == 0 and c in "+-" and last not in _OPERATORS:
            terms.append((sign, text[start:i].strip()))
            start, sign = i + 1, c
        elif depth == 0 and c in "+-" and not text[start:i].strip():
            start, sign = i + 1, ("-" if (c == "-") != (sign == "-") else "+")
        if not c.isspace():
            last = c
    terms.append((sign, text[start:].strip()))
    if any(not term for _, term in terms):
        raise FormulaError(f"formula {formula!r}: a term is missing beside '+' or '-'")
    return terms


def parenthesized(term: str) -> str | None:
    """Inside of a term that is one pair of parentheses, else None."""
    if not (term.startswith("(") and term.endswith(")")):
        return None
    for i, c, depth in walk(term):
        if c == ")" and depth == 1:
            return term[1:-1].strip() if i == len(term) - 1 else None
    return None


def read_term(term: str, formula: str) -> tuple[str, list[Any]]:
    """One term of a sum: ("bars", Bar ...), ("offset", [argument]) or ("fixed", [term]).

    Raises
    ------
    FormulaError
        If a random term cannot be read.
    """
    fixed: list[tuple[str, str]] = []
    bars: list[Bar] = []
    offsets: list[str] = []
    _sort_terms(term, formula, fixed, bars, offsets)
    if bars and not fixed and not offsets:
        return "bars", bars
    if offsets and not fixed and not bars:
        return "offset", offsets
    if bars or offsets:
        raise FormulaError(
            f"formula {formula!r}: write the terms of {term} without parentheses around "
            "them"
        )
    return "fixed", [term]


def _has_bar(text):
    return any(c == "|" and depth == 0 for _, c, depth in walk(text))


def _contains_bar_group(term):
    """Whether some parentheses that are no function call hold a bar."""
    calls = []
    for i, c, _ in walk(term):
        if c in _OPENING:
            calls.append(c != "(" or bool(_CALLED.search(term[:i])))
        elif c in _CLOSING:
            calls.pop()
        elif c == "|" and calls and not calls[-1]:
            return True
    return False


def _read_bar(inside, formula):
    at = [i for i, c, depth in walk(inside) if c == "|" and depth == 0]
    double = len(at) == 2 and at[1] == at[0] + 1
    if len(at) != 1 and not double:
        raise FormulaError(f"formula {formula!r}: ({inside}) has more than one bar")
    columns, grouping = inside[: at[0]].strip(), inside[at[-1] + 1 :].strip()
    if not columns or not grouping:
        side = "left" if not columns else "right"
        raise FormulaError(f"formula {formula!r}: ({inside}) has nothing {side} of the bar")
    structure = registry.BARS["||" if double else "|"]
    return [
        Bar(columns, factors, structure) for factors in parse_grouping(grouping, formula)
    ]


# hom=TRUE or hom=False after the grouping factor, as lme4 and Python spell it.
_HOM = re.compile(r"\s*hom\s*=\s*(true|false|t|f)\s*", re.IGNORECASE)


def _read_call(term, formula):
    """Random terms with their structure before the parenthesis."""
    call = term[: term.index("(")].strip()
    inside = term[term.index("(") + 1 : -1]
    commas = [i for i, c, depth in walk(inside) if c == "," and depth == 0]
    homogeneous = None
    if commas:
        told = inside[commas[0] + 1 :]
        found = _HOM.fullmatch(told)
        if found is None:
            raise FormulaError(
                f"formula {formula!r}: {told.strip()!r} in {term} is not known; after the "
                "grouping factor there may be hom=True or hom=False"
            )
        homogeneous = found[1].lower().startswith("t")
        inside = inside[: commas[0]]
    try:
        structure = registry.structure_of_call(call, homogeneous)
    except ValueError as error:
        raise FormulaError(f"formula {formula!r}: {error}") from None
    bars = _read_bar(inside.strip(), formula)
    if bars[0].structure == registry.BARS["||"]:
        raise FormulaError(
            f"formula {formula!r}: {term} has || beside a structure; write one bar"
        )
    return [replace(bar, structure=structure) for bar in bars]


def parse_grouping(text: str, formula: str | None = None) -> list[tuple[str, ...]]:
    """Expand a grouping expression into the interactions it stands for.

    ``a/b`` is a and b within a (named ``b:a``, the inner first, as lme4 does), ``a*b`` is
    a, b and ``a:b``; ``a + b`` is both.  An interaction that comes twice, in whatever
    order, is one.

    Examples
    --------
    >>> parse_grouping("a/b/c")
    [('a',), ('b', 'a'), ('c', 'b', 'a')]
    >>> parse_grouping("a*b")
    [('a',), ('b',), ('a', 'b')]
    >>> parse_grouping("a/b/a")
    [('a',), ('b', 'a')]
    """
    where = text if formula is None else formula
    check_nesting(where)
    tokens = _grouping_tokens(text, where)
    result, end = _parse_sum(tokens, 0, where)
    if end != len(tokens):
        raise FormulaError(f"formula {where!r}: cannot read the grouping factor {text!r}")
    # as R has it, g:h and h:g are one term, named as it comes first
    unique: dict[frozenset[str], tuple[str, ...]] = {}
    for factors in result:
        unique.setdefault(frozenset(plain_name(f) for f in factors), factors)
    return list(unique.values())


def _grouping_tokens(text, where):
    """Operators and atoms; a call such as f(a + b) is one atom."""
    tokens, atom, call_depth = [], "", None
    for i, c in _characters(text):
        if call_depth is not None:
            atom += c
            if i == call_depth:
                call_depth = None
        elif c in "+*/:" or (c in "()" and not (c == "(" and atom.strip())):
            if atom.strip():
                tokens.append(atom.strip())
            atom = ""
            tokens.append(c)
        else:
            if c == "(":
                call_depth = _closing(text, i, where)
            atom += c
    if atom.strip():
        tokens.append(atom.strip())
    return tokens


def _characters(text):
    """Characters with their positions; a quoted string comes as one piece."""
    i = 0
    while i < len(text):
        if text[i] in _QUOTES:
            end = text.index(text[i], i + 1)
            yield end, text[i : end + 1]
            i = end + 1
        else:
            yield i, text[i]
            i += 1


def _closing(text, start, where):
    for i, c, depth in walk(text[start:]):
        if c == ")" and depth == 1:
            return start + i
    raise FormulaError(f"formula {where!r}: a bracket is not closed")


def _parse_sum(tokens, i, where):
    result, i = _parse_product(tokens, i, where)
    while i < len(tokens) and tokens[i] == "+":
        right, i = _parse_product(tokens, i + 1, where)
        result = result + right
    return result, i


def _parse_product(tokens, i, where):
    result, i = _parse_interaction(tokens, i, where)
    while i < len(tokens) and tokens[i] in ("*", "/"):
        operator = tokens[i]
        right, i = _parse_interaction(tokens, i + 1, where)
        if operator == "*":
            result = result + right + _cross(result, right)
        else:
            outer = tuple(dict.fromkeys(a for f in reversed(result) for a in f))
            result = result + _cross(right, [outer])
    return result, i


def _parse_interaction(tokens, i, where):
    result, i = _parse_atom(tokens, i, where)
    while i < len(tokens) and tokens[i] == ":":
        right, i = _parse_atom(tokens, i + 1, where)
        result = _cross(result, right)
    return result, i


def _parse_atom(tokens, i, where):
    if i < len(tokens) and tokens[i] == "(":
        result, i = _parse_sum(tokens, i + 1, where)
        if i < len(tokens) and tokens[i] == ")":
            return result, i + 1
    elif i < len(tokens) and tokens[i][0] not in "+*/:)~":  # nor a second formula's ~
        return [(tokens[i],)], i + 1
    raise FormulaError(
        f"formula {where!r}: cannot read the grouping factor; use names joined by "
        "':', '/', '*' or '+'"
    )


def _cross(left, right):
    if len(left) * len(right) > MOST_FACTORS:
        raise FormulaError(
            f"a grouping factor stands for more than {MOST_FACTORS} factors; name those "
            "that are meant, as in (1 | a:b)"
        )
    return [tuple(dict.fromkeys(a + b)) for a in left for b in right]


@lru_cache(maxsize=512)
def names_in(text: str) -> frozenset[str]:
    """Names that occur in a piece of formula: identifiers, dotted, quoted columns."""
    quoted = re.findall(r"`([^`]+)`|Q\(\s*[\"']([^\"']+)[\"']\s*\)", text)
    names = {a or b for a, b in quoted} | set(re.findall(r"\bQ\(\s*(\d+)\s*\)", text))
    bare = re.sub(r"`[^`]*`|\"[^\"]*\"|'[^']*'", " ", text)
    bare = re.sub(r"(?<=[(,])\s*[^\W\d]\w*\s*=(?!=)", " ", bare)  # keywords of a call
    for name in re.findall(r"[^\W\d]\w*(?:\.\w+)*", bare):
        names.add(name)
        names.add(name.split(".")[0])
    return frozenset(names)
