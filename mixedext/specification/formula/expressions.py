"""Python's expressions inside formulas: powers, whole numbers, values of whole columns.

A formula is read by its own rules down to the calls in it; from there on it is Python.
The functions here find these calls, and write what is in them for the formula engine:
``^`` as ``**``, whole numbers as floats where they are computed with, and the mean of a
column as a name whose value the model keeps.  ``as_written`` goes back.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from mixedext.exceptions import FormulaError
from mixedext.limits import MOST_NESTED
from mixedext.specification.formula.transforms import TRANSFORMS

__all__ = [
    "NumberUse",
    "as_written",
    "calls",
    "check_nesting",
    "float_name",
    "number_use",
    "python_powers",
    "remembering",
]

_QUOTED = r"`[^`]*`|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_NAME_BEFORE = re.compile(r"[^\W\d][\w.]*\s*$")
_CLOSES = {"(": ")", "[": "]", "{": "}"}
# Functions that compute with numbers: whole ones may be given as floats.
# fmt: off
_OF_ENGINES = frozenset((
    "I", "center", "scale", "standardize", "poly", "bs", "cr", "cc", "cs", "te", "lag",
))
_OF_PYTHON = frozenset(("abs", "float", "max", "min", "round", "sum"))
_OF_NUMPY = frozenset((
    "abs", "absolute", "arccos", "arcsin", "arctan", "arctan2", "average", "cbrt", "ceil",
    "clip", "cos", "cosh", "cumprod", "cumsum", "diff", "divide", "exp", "exp2", "expm1",
    "floor", "fmax", "fmin", "hypot", "isclose", "isfinite", "isin", "isnan", "log",
    "log10", "log1p", "log2", "max", "maximum", "mean", "median", "min", "minimum",
    "multiply", "negative", "percentile", "power", "prod", "ptp", "quantile", "round",
    "sign", "sin", "sinh", "sqrt", "square", "std", "subtract", "sum", "tan", "tanh", "var",
    "where",
))
_METHODS = frozenset((
    "abs", "add", "between", "clip", "count", "cumprod", "cumsum", "diff", "div", "eq",
    "fillna", "ge", "gt", "isin", "kurt", "le", "lt", "max", "mean", "median", "min", "mul",
    "ne", "pow", "prod", "quantile", "rank", "round", "sem", "shift", "skew", "std", "sub",
    "sum", "var",
))
# Those of a column that give one number, which belongs to the rows of the fit.
_REDUCTIONS = frozenset((
    "amax", "amin", "average", "count", "kurt", "max", "mean", "median", "min", "nanmax",
    "nanmean", "nanmedian", "nanmin", "nanstd", "nanvar", "nunique", "percentile", "prod",
    "ptp", "quantile", "sem", "size", "skew", "std", "sum", "var",
))
_REDUCTIONS_OF_PYTHON = frozenset(("len", "max", "min", "sum"))
# fmt: on
_ARITHMETIC_NODES = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.IfExp,
    ast.Call,
    ast.keyword,
    ast.Name,
    ast.Constant,
    ast.Tuple,
    ast.List,
    ast.Load,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
)  # fmt: skip
_BITS = ast.BitAnd | ast.BitOr | ast.BitXor | ast.LShift | ast.RShift
_FLOAT = "__as_float__"
_REMEMBERED = "remembered_"


def python_powers(text: str) -> str:
    """A piece of formula with R's power ``^`` as Python's; quoted pieces stay.

    Examples
    --------
    >>> python_powers("(a + b)^2 + I(x^3) + `a^b`")
    '(a + b)**2 + I(x**3) + `a^b`'
    """
    return re.sub(rf"({_QUOTED})|\^", lambda m: m.group(1) or "**", text)


def check_nesting(text: str) -> None:
    """Refuse brackets within brackets beyond what a reader of formulas can follow.

    Raises
    ------
    FormulaError
        If more than ``MOST_NESTED`` are open at once.
    """
    depth = 0
    for match in re.finditer(rf"(?:{_QUOTED})|([(\[{{])|([)\]}}])", text):
        depth += bool(match.group(1)) - bool(match.group(2))
        if depth > MOST_NESTED:
            raise FormulaError(
                f"formula {text[:40] + '...'!r} has more than {MOST_NESTED} brackets one "
                "inside the other; compute such a column before the model is made"
            )


def as_written(text: str) -> str:
    """What a name or text of the formula engine was before it was written for it."""
    text = re.sub(
        rf"\b{_REMEMBERED}([0-9a-f]+)\b",
        lambda m: bytes.fromhex(m.group(1)).decode(),
        text,
    )
    return text.replace(_FLOAT, "")


def float_name(name: str) -> str:
    """The name that a column of whole numbers has where it is computed with."""
    return name + _FLOAT


def calls(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each piece that is Python's: calls, with what follows, and braces.

    Parentheses that group terms are the formula's own.
    """
    at = 0
    pattern = re.compile(rf"(?:{_QUOTED})|[(\[{{]")
    while (match := pattern.search(text, at)) is not None:
        opening, at = match.group(0), match.end()
        if opening not in _CLOSES:
            continue
        start = match.start()
        before = _NAME_BEFORE.search(text[max(start - 200, 0) : start])
        if opening != "{" and before is None:
            continue
        end = _close(text, start)
        while True:  # what is called of, or taken from, the value
            tail = re.match(r"\s*(?:\.\s*[^\W\d]\w*|(?=[(\[]))", text[end:])
            if opening == "{" or tail is None:
                break
            end += tail.end()
            if end < len(text) and text[end] in "([":
                end = _close(text, end)
        yield start if before is None else start - len(before.group(0)), end
        at = end


def _close(text, start):
    """Place after the bracket that closes the one at ``start``."""
    depth = 0
    for match in re.finditer(rf"(?:{_QUOTED})|([(\[{{])|([)\]}}])", text[start:]):
        depth += bool(match.group(1)) - bool(match.group(2))
        if depth == 0 and match.group(2):
            return start + match.end()
    return len(text)


@lru_cache(maxsize=512)
def _tree(call):
    """The Python of a call, None if it is none."""
    if call.startswith("{"):
        call = f"({call[1:-1]})"
    try:
        return ast.parse(call.strip().replace("\n", " "), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _names(node):
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


class NumberUse(NamedTuple):
    """How columns of whole numbers are used in a text.

    Attributes
    ----------
    text : str
        The text, in which those of ``both`` have their ``float_name`` where they are
        computed with.
    floats : frozenset of str
        Columns that are computed with, or stand by themselves, everywhere.
    both : frozenset of str
        Columns that are also taken as they are, as by ``C(year)``.
    """

    text: str
    floats: frozenset[str]
    both: frozenset[str]


def number_use(
    text: str, columns: Collection[str], namespace: Mapping[str, Any]
) -> NumberUse:
    """Which columns of whole numbers a formula computes with.

    In ``C(...)``, and in functions that are not known to compute, they are left as they
    are: they may be labels there.

    Parameters
    ----------
    text : str
        Formula in which columns have names that are Python's.
    columns : collection of str
        The columns that are asked about.
    namespace : dict
        Names that the formula uses besides the columns.
    """
    computed: set[str] = set()
    labels: set[str] = set()
    pieces: list[tuple[str, bool]] = []
    at = 0
    for start, end in calls(text):
        pieces.append((text[at:start], True))
        tree = _tree(text[start:end])
        arithmetic = tree is not None and _is_arithmetic(tree, namespace)
        pieces.append((text[start:end], arithmetic))
        at = end
    pieces.append((text[at:], True))
    for piece, arithmetic in pieces:
        found = set(re.findall(r"[^\W\d]\w*", re.sub(_QUOTED, " ", piece)))
        (computed if arithmetic else labels).update(found & set(columns))
    both = frozenset(computed & labels)
    if both:
        either = "|".join(map(re.escape, sorted(both)))
        # neither an attribute nor a keyword of that name
        names = re.compile(rf"({_QUOTED})|(?<![\w.])({either})\b(?!\s*=(?!=))")
        pieces = [
            (names.sub(lambda m: m.group(1) or float_name(m.group(2)), piece), True)
            if arithmetic
            else (piece, False)
            for piece, arithmetic in pieces
        ]
    return NumberUse(
        "".join(piece for piece, _ in pieces), frozenset(computed - labels), both
    )


def _is_arithmetic(tree, namespace):
    """Whether an expression is known to compute with numbers, so that floats will do."""
    allowed: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if not _computes(node.func, namespace):
                return False
            allowed.add(id(node.func))
        elif isinstance(node, ast.Attribute):
            constant = _is_numpy(node.value, namespace) and isinstance(
                getattr(np, node.attr, None), float
            )
            if id(node) not in allowed and not constant:
                return False
        elif isinstance(node, ast.BinOp) and isinstance(node.op, _BITS):
            if not (_is_truth(node.left) and _is_truth(node.right)):
                return False
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
            if not _is_truth(node.operand):
                return False
        elif not isinstance(node, _ARITHMETIC_NODES):
            return False
    return True


def _is_truth(node):
    """Whether an operand is true or false, as bits want it."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, _BITS) and _is_truth(node.left) and _is_truth(node.right)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Invert | ast.Not) and _is_truth(node.operand)
    return isinstance(node, ast.Compare | ast.BoolOp)


def _is_numpy(node, namespace):
    return isinstance(node, ast.Name) and namespace.get(node.id) is np


def _computes(func, namespace):
    if isinstance(func, ast.Name):
        known = namespace.get(func.id)
        if known is not None:
            return known is TRANSFORMS.get(func.id)
        return func.id in _OF_ENGINES | _OF_PYTHON | set(TRANSFORMS)
    if isinstance(func, ast.Attribute):
        if _is_numpy(func.value, namespace):
            return func.attr in _OF_NUMPY
        return func.attr in _METHODS
    return False


def remembering(
    text: str,
    columns: Collection[str],
    namespace: Mapping[str, Any],
    value_of: Callable[[str], Any],
) -> tuple[str, dict[str, Any]]:
    """A text in which values of whole columns, such as ``x.mean()``, have names.

    Parameters
    ----------
    text : str
        Formula in which columns have names that are Python's.
    columns : collection of str
        Columns of the data.
    namespace : dict
        Names that the formula uses besides; values that it has already are kept.
    value_of : callable
        Evaluates an expression on the data.

    Returns
    -------
    text : str
    values : dict
        Value by name of what ``namespace`` has not.
    """
    written: list[str] = []
    values: dict[str, Any] = {}
    at = 0
    for start, end in calls(text):
        written.append(text[at:start])
        call, at = text[start:end], end
        tree = _tree(call)
        nodes = [] if tree is None else _reductions(tree, columns, namespace)
        lead = len(call) - len(call.lstrip())
        for node in sorted(nodes, key=lambda n: -n.col_offset):
            data = call[lead:].replace("\n", " ").encode()
            source = data[node.col_offset : node.end_col_offset].decode()
            name = _REMEMBERED + source.encode().hex()
            if name not in namespace and name not in values:
                try:
                    value = value_of(source)
                except Exception:  # noqa: BLE001  the engine will meet it, and say it
                    continue
                if np.ndim(value) or isinstance(value, str):
                    continue
                values[name] = value
            data = data[: node.col_offset] + name.encode() + data[node.end_col_offset :]
            call = call[:lead] + data.decode()
        written.append(call)
    written.append(text[at:])
    return "".join(written), values


def _reductions(tree, columns, namespace):
    """Outermost nodes inside a call that make one value of columns."""
    found, queue = [], list(ast.iter_child_nodes(tree))
    while queue:
        node = queue.pop()
        if _is_reduction(node, columns, namespace):
            found.append(node)
        else:
            queue += ast.iter_child_nodes(node)
    return found


def _is_reduction(node, columns, namespace):
    if not isinstance(node, ast.Call):
        return False
    func, names = node.func, _names(node)
    if not names & set(columns):
        return False
    if names - set(columns) - set(namespace) - set(dir(builtins)):
        return False
    if isinstance(func, ast.Name):
        return func.id in _REDUCTIONS_OF_PYTHON and func.id not in {*columns, *namespace}
    return isinstance(func, ast.Attribute) and func.attr in _REDUCTIONS
