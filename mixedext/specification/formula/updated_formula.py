"""A formula from another one and R's dots: ``. ~ . - x + (1 | g)``.

Only text is handled here.  Terms are taken out of the fixed part by R's algebra of terms:
``x * z`` less ``x`` is ``z + x:z``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from mixedext.arguments import did_you_mean
from mixedext.exceptions import FormulaError
from mixedext.limits import MOST_FACTORS
from mixedext.specification.covariance import registry
from mixedext.specification.formula.bars import (
    Bar,
    additive_terms,
    parenthesized,
    plain_name,
    read_term,
    split_formula,
    walk,
)
from mixedext.specification.formula.expressions import python_powers

__all__ = ["expanded_terms", "updated_formula", "without_dots"]


def updated_formula(old: str, new: str) -> str:
    """The formula that ``new`` makes of ``old``; its dots stand for sides of ``old``.

    Parameters
    ----------
    old : str
        A formula.
    new : str
        Another one, in which ``.`` stands for the response of ``old`` on the left, and on
        the right for all its terms, random ones and offsets included.  A term with a minus
        is left out, a random one too.

    Returns
    -------
    str

    Raises
    ------
    FormulaError
        If ``new`` cannot be read, or leaves out a term that is not there; a ValueError.

    Examples
    --------
    >>> updated_formula("y ~ x * z + (1 | g)", ". ~ . - x:z")
    'y ~ x + z + (1 | g)'
    >>> updated_formula("y ~ x + (x | g)", "log(.) ~ . - (x | g) + (1 | g)")
    'log(y) ~ x + (1 | g)'
    """
    if not isinstance(new, str) or "~" not in new:
        raise FormulaError(
            f"formula={new!r} must be a formula, as in '. ~ . - x'; a dot stands for what "
            "the fit has on that side"
        )
    text = f". {new.strip()}" if new.lstrip().startswith("~") else new
    tildes = [i for i, c, depth in walk(text) if c == "~" and depth == 0]
    if len(tildes) != 1:
        raise FormulaError(f"formula {new!r} needs exactly one '~'")
    left, right = text[: tildes[0]].strip(), text[tildes[0] + 1 :].strip()
    if not left or not right:
        side = "right" if left else "left"
        raise FormulaError(f"formula {new!r} has nothing {side} of '~'")
    split = split_formula(old)
    response = without_dots(left, split.response)
    right = python_powers(right)
    fixed: list[tuple[str, str]] = []
    bars: list[Bar] = []
    offsets: list[str] = []
    for sign, term in additive_terms(right, new):
        if term == ".":
            if sign == "-":
                raise FormulaError(f"formula {new!r}: all terms are left out")
            fixed += additive_terms(split.fixed, old)
            bars += [b for b in split.bars if b not in bars]
            offsets += [o for o in split.offsets if o not in offsets]
            continue
        kind, found = read_term(term, new)
        if kind == "bars":
            _change(bars, sign, [_dotless(b, new) for b in found], _bar_key, _bar_text, new)
        elif kind == "offset":
            _change(offsets, sign, found, _plain, "offset({})".format, new)
        else:
            fixed.append((sign, without_dots(term, f"({split.fixed})")))
    parts = [_fixed_text(fixed, new)]
    parts += [_bar_text(bar) for bar in bars] + [f"offset({o})" for o in offsets]
    made = f"{response} ~ {' + '.join(parts)}"
    split_formula(made)  # says what is wrong with it
    return made


def _change(terms, sign, found, key, text, new):
    """Add terms, or take them out; ones that are there already are not added."""
    known = [key(t) for t in terms]
    if sign == "+":
        terms += [t for t in found if key(t) not in known]
        return
    for term in found:
        if key(term) not in known:
            listed = [text(t) for t in terms]
            raise FormulaError(
                f"formula {new!r}: {text(term)} is not in the fit's formula, which has "
                f"{', '.join(listed) or 'none'}{did_you_mean(text(term), listed)}"
            )
        terms[:] = [t for t in terms if key(t) != key(term)]


def _dotless(bar: Bar, new: str) -> Bar:
    if any(_has_dot(piece) for piece in (bar.columns, *bar.factors)):
        raise FormulaError(f"formula {new!r}: a dot stands for no part of a random term")
    return bar


def _bar_key(bar: Bar):
    """What makes two random terms the same."""
    intercept, terms = expanded_terms(bar.columns)
    columns = (intercept, frozenset(frozenset(map(_plain, t)) for t in terms))
    return columns, frozenset(plain_name(f) for f in bar.factors), bar.structure


def _bar_text(bar: Bar) -> str:
    return registry.written(bar.structure, bar.columns, ":".join(bar.factors))


def _plain(text: str) -> str:
    return re.sub(r"\s", "", text)


def _dots(text: str) -> list[int]:
    """Places of dots that stand by themselves: not in names, numbers or quotes."""
    found = []
    for i, c, _ in walk(text):
        before, after = text[:i].rstrip()[-1:], text[i + 1 : i + 2]
        joined = i > 0 and not text[i - 1].isspace() and bool(re.match(r"[\w.)\]]", before))
        if c == "." and not joined and not re.match(r"[\w.(]", after or " "):
            found.append(i)
    return found


def _has_dot(text: str) -> bool:
    return bool(_dots(text))


def without_dots(text: str, own: str) -> str:
    """A side of a formula, its dots replaced by the fit's own side."""
    for at in reversed(_dots(text)):
        text = text[:at] + own + text[at + 1 :]
    return text


def _fixed_text(fixed: list[tuple[str, str]], formula: str) -> str:
    """The fixed part; terms are multiplied out only where one is left out."""
    plain = all(sign == "+" and term not in ("0", "1") for sign, term in fixed[1:])
    if plain and fixed and fixed[0][0] == "+":
        terms = [term for _, term in fixed]
        if terms[0] == "1" and len(terms) > 1:
            terms = terms[1:]
        return " + ".join(dict.fromkeys(terms))
    intercept, terms = _expanded(fixed, formula)
    texts = [":".join(term) for term in terms]
    if not texts:
        return "1" if intercept else "0"
    return " + ".join(texts if intercept else ["0", *texts])


def expanded_terms(
    text: str, formula: str | None = None
) -> tuple[bool, list[tuple[str, ...]]]:
    """Whether a sum has an intercept, and its terms multiplied out, lower degrees first.

    Parameters
    ----------
    text : str
        Right-hand side without random terms.
    formula : str, optional
        Where it stands, for messages.

    Examples
    --------
    >>> expanded_terms("x * log(z) - x")
    (True, [('log(z)',), ('x', 'log(z)')])
    >>> expanded_terms("0 + a/b")
    (False, [('a',), ('a', 'b')])
    """
    formula = text if formula is None else formula
    return _expanded(additive_terms(python_powers(text), formula), formula)


def _expanded(signed: Iterable[tuple[str, str]], formula: str):
    intercept, terms = _sum(signed, formula)
    return intercept, sorted(terms, key=len)


def _sum(signed, formula):
    intercept: bool = True
    terms: list[tuple[str, ...]] = []
    for sign, text in signed:
        if text in ("0", "1"):
            intercept = (text == "1") == (sign == "+")
            continue
        found = _product(text, formula)
        if sign == "+":
            terms = _unique([*terms, *found])
            continue
        gone = {_key(t) for t in found}
        if not gone & {_key(t) for t in terms}:
            listed = [":".join(t) for t in terms]
            raise FormulaError(
                f"formula {formula!r}: {text} is left out, but there is no such term; "
                f"there are: {', '.join(listed) or 'none'}{did_you_mean(text, listed)}"
            )
        terms = [t for t in terms if _key(t) not in gone]
    return intercept, terms


def _key(term):
    return frozenset(map(_plain, term))


def _unique(terms):
    unique: dict[frozenset[str], tuple[str, ...]] = {}
    for term in terms:
        unique.setdefault(_key(term), term)
    if len(unique) > MOST_FACTORS:
        raise FormulaError(f"a formula stands for more than {MOST_FACTORS} terms")
    return list(unique.values())


def _cross(left, right):
    """All interactions of the terms of two lists."""
    return _unique(
        [tuple({_plain(f): f for f in (*a, *b)}.values()) for a in left for b in right]
    )


def _product(text, formula):
    """Terms of factors joined by ``*`` and ``/``, from the left."""
    pieces = _split(text, lambda c: c in "*/")
    result = _interaction(pieces[0][1], formula)
    for mark, piece in pieces[1:]:
        right = _interaction(piece, formula)
        if mark == "*":
            result = _unique([*result, *right, *_cross(result, right)])
        else:
            whole = [tuple(dict.fromkeys(f for term in result for f in term))]
            result = _unique([*result, *_cross(whole, right)])
    return result


def _interaction(text, formula):
    pieces = [piece for _, piece in _split(text, lambda c: c == ":")]
    result = _power(pieces[0], formula)
    for piece in pieces[1:]:
        result = _cross(result, _power(piece, formula))
    return result


def _power(text, formula):
    match = re.fullmatch(r"(.*?)\*\*\s*(\d+)", text, flags=re.DOTALL)
    if match is None:
        return _atom(text, formula)
    base = _atom(match[1].strip(), formula)
    result = base
    for _ in range(int(match[2]) - 1):
        larger = _unique([*result, *_cross(result, base)])
        if len(larger) == len(result):
            break
        result = larger
    return result


def _atom(text, formula):
    text = text.strip()
    if not text:
        raise FormulaError(f"formula {formula!r}: a factor is missing in a product")
    inside = parenthesized(text)
    if inside is None:
        return [(text,)]
    return _sum(additive_terms(inside, formula), formula)[1]


def _split(text: str, is_mark: Callable[[str], bool]) -> list[tuple[str, str]]:
    """Pieces of a text with the mark before each; ``**``, or in brackets, is none."""
    pieces, start, mark = [], 0, ""
    for i, c, depth in walk(text):
        power = "**" in (text[i : i + 2], text[i - 1 : i + 1])
        if depth == 0 and is_mark(c) and not power:
            pieces.append((mark, text[start:i]))
            start, mark = i + 1, c
    return [*pieces, (mark, text[start:])]
