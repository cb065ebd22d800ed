"""Columns of a variance component from a formula that is meant within each group.

statsmodels evaluates such a formula once for each group.  Here it is evaluated once on
all rows wherever that says the same: sums of numeric columns, of elementwise functions,
and of categories coded in full (``0 + C(v)``, ``0 + v``, ``0 + C(v):x``).  How the engine
names and arranges them is learnt from a few groups, which it also must agree with.
Everything else goes to the engine group by group.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy import sparse

from mixedext.exceptions import FormulaError
from mixedext.specification.data.labels import Levels, factorize, interact
from mixedext.specification.formula.formula_engine import FormulaEngine
from mixedext.specification.terms.components import ColumnLabels, ComponentColumns

__all__ = ["formula_columns"]

# Functions of NumPy that work element by element.
# fmt: off
_ELEMENTWISE = frozenset((
    "abs", "absolute", "arcsin", "arctan", "ceil", "cbrt", "cos", "exp", "exp2",
    "expm1", "floor", "log", "log10", "log1p", "log2", "maximum", "minimum", "power",
    "sign", "sin", "sqrt", "square", "tan", "tanh", "where",
))
# fmt: on
# Rows and categories that the engine is asked about at most: it makes dense tables.
_FEW = 40
# What a plain name or C(name) looks like.
_NAME = re.compile(r"(`[^`]+`|[^\W\d]\w*)")
_CATEGORY = re.compile(r"C\(\s*([^\W\d]\w*)\s*\)")
_SAFE_NODES = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Call,
    ast.Attribute,
    ast.Name,
    ast.Constant,
    ast.Load,
    ast.operator,
    ast.unaryop,
)


class _Term(NamedTuple):
    """A product: its category, or None, and the numeric factors."""

    category: str | None
    factors: tuple[str, ...]


class _Category(NamedTuple):
    """A categorical column: codes of the rows, levels, and whether all are always coded."""

    name: str
    codes: np.ndarray
    levels: Levels | list[bool]
    fixed: bool

    @property
    def factor(self) -> tuple[np.ndarray, Levels | list[bool]]:
        return self.codes, self.levels

    def coded(self, own: np.ndarray) -> np.ndarray:
        """Numbers of the levels that are coded where all are, or of some of very many."""
        count = len(self.levels)
        if count <= _FEW:
            return np.arange(count)
        return np.union1d(own, [0, 1, count - 1])


class _Piece(NamedTuple):
    """What one term contributes: values of the rows, and the category they go by."""

    values: np.ndarray | None
    category: _Category | None

    @property
    def width(self) -> int:
        return 1 if self.category is None else len(self.category.levels)


# Pieces in the engine's order, labels of the columns, whether every level is coded.
_Learnt: TypeAlias = tuple[list[_Piece], ColumnLabels, bool]


def formula_columns(
    engine: FormulaEngine,
    name: str,
    text: str,
    codes: np.ndarray,
    levels: pd.Index,
    check: Callable[[FormulaEngine], Any] | None = None,
) -> ComponentColumns:
    """Columns of a variance component.

    Parameters
    ----------
    engine : FormulaEngine
        The engine on the data.
    name : str
        Name of the component.
    text : str
        Right-hand side of the formula.
    codes : ndarray
        Group of every row.
    levels : Index
        The groups.
    check : callable, optional
        Called, with the engine, before the formula is evaluated group by group: a row may
        have other columns then in other data.
    """
    if not text.strip():
        raise FormulaError(f"the formula of the variance component {name!r} is empty")
    found = _at_once(engine, name, text, codes, levels)
    if found is not None:
        return found
    if check is not None:
        check(engine)
    return _by_group(engine, name, text, codes, levels)


# ---- one evaluation on all rows ----


def _at_once(engine, name, text, codes, levels):
    """The columns by one evaluation; None where each group may have its own."""
    parsed = _parse(text)
    if parsed is None:
        return None
    intercept, products = parsed
    terms = [_read(engine, product) for product in products]
    buckets = [frozenset(t.factors) for t in terms if t is not None]
    buckets += [frozenset()] if intercept else []
    # Two terms with the same numeric factors: the coding of one depends on the other.
    if None in terms or len(set(buckets)) < len(buckets):
        return None
    if intercept:
        terms.insert(0, _Term(None, ()))
    if not terms:
        return None
    made: dict[str, np.ndarray | None] = {}
    pieces = [_piece(engine, term, made) for term in terms]
    if None in pieces:
        return None
    learnt = _indicators(engine, terms[0], pieces[0]) if len(pieces) == 1 else None
    if learnt is not None:
        return _assemble(name, *learnt, codes, levels)
    learnt = _learn(engine, text, pieces, codes, 0)
    if learnt is None:
        return None
    others = _probes(pieces, codes, levels)
    if not all(_agrees(engine, text, learnt, codes, group) for group in others):
        return None
    return _assemble(name, *learnt, codes, levels)


def _indicators(engine, term, piece) -> _Learnt | None:
    """The one category of ``0 + C(v)``, whose columns are known without the engine."""
    category = piece.category
    if category is None or category.fixed or piece.values is not None:
        return None
    plain = engine.series[category.name].dtype.kind in "iuO"  # text has kind O too
    if not plain or category.name in engine.aliases or "`" in term.category:
        return None
    written = f"C({category.name})" if term.category[:2] == "C(" else category.name
    return [piece], ColumnLabels([(f"{written}[", category.levels, "]")]), False


def _parse(text):
    """Whether there is an intercept, and the products of a sum; None if it is no sum."""
    if re.search(r"[\"'\[\]{}]", text):
        return None
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text + "+"):
        depth += (c == "(") - (c == ")")
        if depth == 0 and c in "+-":
            parts.append((text[start - 1] if start else "+", text[start:i].strip()))
            start = i + 1
    intercept: list[bool] = []
    products: list[tuple[str, ...]] = []
    for sign, part in parts:
        if part in ("0", "1"):
            if (sign, part) == ("-", "0"):
                return None
            intercept.append(part == "1" and sign == "+")
        elif part == "" and sign == "+" and not products and not intercept:
            continue  # a sign in front
        elif sign == "-" or part == "":
            return None
        else:
            products.append(tuple(atom.strip() for atom in _split(part, ":")))
    if depth or len(intercept) > 1 or len(set(map(frozenset, products))) < len(products):
        return None
    return (intercept or [True])[0], products


def _split(text, mark):
    """Pieces of a text between marks that stand in no parentheses."""
    pieces, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0 and c == mark:
            pieces.append(text[start:i])
            start = i + 1
    return [*pieces, text[start:]]


def _read(engine, product):
    """A product as a term; None if it has several categories or something unknown."""
    category, factors = None, []
    for atom in product:
        kind = _kind(engine, atom)
        if kind is None or (kind == "category" and category is not None):
            return None
        if kind == "category":
            category = atom
        else:
            factors.append(atom)
    if len(set(product)) < len(product):
        return None
    return _Term(category, tuple(factors))


def _kind(engine, atom):
    """Whether an atom is numeric or a category; None if it is neither for certain."""
    inner = _CATEGORY.fullmatch(atom)
    if inner is not None:
        known = inner.group(1) in engine.series and "C" not in engine.namespace
        return "category" if known and "C" not in engine.series else None
    if _NAME.fullmatch(atom):
        column = engine.series.get(atom.strip("`"))
        if column is None:
            return None
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
            return "numeric"
        if column.dtype == bool and engine.manager.engine != "patsy":
            return "numeric"
        return "category"
    return "numeric" if _is_elementwise(engine, atom) else None


def _is_elementwise(engine, atom):
    """Whether an expression computes each row's value from that row's numbers alone."""
    try:
        tree = ast.parse(atom, mode="eval")
    except SyntaxError:
        return False
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    if not isinstance(tree.body, ast.Call):
        return False  # at the top, operators are the formula's
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            base = node.value.id if isinstance(node.value, ast.Name) else None
            own = engine.namespace.get(base) is np and base not in engine.series
            if id(node) not in functions or not own or node.attr not in _ELEMENTWISE:
                return False
        elif isinstance(node, ast.Name):
            if id(node) in functions:
                if node.id != "I" or "I" in engine.namespace or "I" in engine.series:
                    return False
            elif engine.namespace.get(node.id) is not np or node.id in engine.series:
                column = engine.series.get(node.id)
                dtype = None if column is None else column.dtype
                if not isinstance(dtype, np.dtype) or dtype.kind not in "iuf":
                    return False
        elif isinstance(node, ast.Constant):
            if not isinstance(node.value, int | float):
                return False
        elif not isinstance(node, _SAFE_NODES):
            return False
    return True


def _piece(engine, term, made):
    category = None
    if term.category is not None:
        category = _category(engine, term.category)
        if category is None:
            return None
    values = None
    for atom in term.factors:
        if atom not in made:
            made[atom] = _numbers(engine, atom)
        if made[atom] is None:
            return None
        values = made[atom] if values is None else values * made[atom]
    return _Piece(values, category)


def _numbers(engine, atom):
    """Values of a numeric atom, (n,) float64."""
    column = engine.series.get(atom.strip("`"))
    if column is not None:
        return column.to_numpy().astype(float, copy=False)
    matrix = np.asarray(engine.matrices(f"~ 0 + {atom}"), float)
    return matrix[:, 0] if matrix.shape[1] == 1 else None


def _category(engine, atom):
    inner = _CATEGORY.fullmatch(atom)
    name = atom.strip("`") if inner is None else inner.group(1)
    column = engine.series[name]
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _Category(name, column.array.codes, column.dtype.categories, True)
    if column.dtype == bool:
        return _Category(name, column.to_numpy().astype(np.int32), [False, True], True)
    if name not in engine.factors:
        try:
            engine.factors[name] = factorize(column)
        except TypeError:  # cannot be hashed
            return None
    codes, levels = engine.factors[name]
    return _Category(name, codes, levels, False)


def _probes(pieces, codes, levels):
    """Groups, besides the first, whose columns are compared with the engine's."""
    scores = np.zeros(len(levels), np.int64)
    for piece in pieces:
        if piece.category is not None:
            _, found = interact((codes, levels), piece.category.factor)
            scores += np.bincount(found.combinations[0], minlength=len(levels))
    poorest, richest = int(np.argmin(scores)), int(np.argmax(scores))
    return dict.fromkeys(g for g in (poorest, richest, len(levels) - 1) if g != 0)


def _predicted(pieces, rows, complete):
    """Columns of each piece on some rows, and the numbers of their levels."""
    out: list[tuple[np.ndarray, np.ndarray | list[int]]] = []
    for piece in pieces:
        values = np.ones(len(rows)) if piece.values is None else piece.values[rows]
        if piece.category is None:
            out.append((values[:, None], [0]))
            continue
        own = piece.category.codes[rows]
        every = complete and piece.category.fixed
        numbers = piece.category.coded(own) if every else np.unique(own)
        out.append(((own[:, None] == numbers) * values[:, None], numbers))
    return out


def _engine_columns(engine, text, pieces, codes, group):
    # some rows are enough: what holds in a group holds in a part of it
    rows = np.flatnonzero(codes == group)
    rows = rows[:: max(len(rows) // _FEW, 1)][:_FEW]
    shown = []
    for category in (p.category for p in pieces if p.category is not None):
        if category.fixed and len(category.levels) > _FEW:
            kept = category.coded(category.codes[rows])
            shown.append((category.name, category.levels[kept]))
    matrix = engine.own_matrix(text, rows, shown)
    return rows, np.asarray(matrix, float), engine.plain_names(matrix.columns)


def _learn(engine, text, pieces, codes, group) -> _Learnt | None:
    """Pieces in the engine's order, their labels, and whether every level is coded.

    None if the engine has other columns.
    """
    rows, table, names = _engine_columns(engine, text, pieces, codes, group)
    fixed = [p.category is not None and p.category.fixed for p in pieces]
    choices = [True, False] if any(fixed) else [False]
    for complete in choices:
        blocks = _predicted(pieces, rows, complete)
        order = _arrange(blocks, table)
        if order is None:
            continue
        runs, start = [], 0
        for i in order:
            width = blocks[i][0].shape[1]
            runs.append(_run(pieces[i], blocks[i][1], names[start : start + width]))
            start += width
        if None in runs:
            continue
        # a category coded in full beside one that is not: sizes differ by group
        varying = [p for p in pieces if p.category is not None and not p.category.fixed]
        if complete and varying:
            return None
        return [pieces[i] for i in order], ColumnLabels(runs), complete
    return None


def _arrange(blocks, table):
    """Order of the blocks in which they make up the table; None if they do not."""
    if sum(block.shape[1] for block, _ in blocks) != table.shape[1]:
        return None
    left, order, start = list(range(len(blocks))), [], 0
    while left:
        for i in left:
            block = blocks[i][0]
            if _same(block, table[:, start : start + block.shape[1]]):
                left.remove(i)
                order.append(i)
                start += block.shape[1]
                break
        else:
            return None
    return order


def _same(block, other):
    return block.shape == other.shape and np.array_equal(block, other, equal_nan=True)


def _run(piece, numbers, names):
    """How a piece's labels are written: prefix, levels, suffix; None if by another rule."""
    if piece.category is None:
        return names[0], None, ""
    levels = piece.category.levels
    text = f"[{levels[numbers[0]]}]"
    at = names[0].find(text)
    if at < 0:
        text = f"[T.{levels[numbers[0]]}]"
        at = names[0].find(text)
    if at < 0:
        return None
    opening = text.index(str(levels[numbers[0]]))
    prefix, suffix = names[0][: at + opening], names[0][at + len(text) - 1 :]
    shown = np.asarray(levels, dtype=object)[numbers].tolist()
    expected = [f"{prefix}{level}{suffix}" for level in shown]
    return (prefix, levels, suffix) if expected == list(names) else None


def _agrees(engine, text, learnt, codes, group):
    pieces, labels, complete = learnt
    rows, table, names = _engine_columns(engine, text, pieces, codes, group)
    blocks = _predicted(pieces, rows, complete)
    if not _same(np.hstack([block for block, _ in blocks]), table):
        return False
    starts = np.cumsum([0] + [p.width for p in pieces])
    numbers = np.concatenate([a + b[1] for a, b in zip(starts, blocks, strict=False)])
    return labels.take(numbers.astype(int)) == list(names)


def _assemble(name, pieces, labels, complete, codes, levels):
    n, total = len(codes), len(labels)
    values = np.empty((n, len(pieces)))
    starts = np.cumsum([0] + [p.width for p in pieces])
    for j, piece in enumerate(pieces):
        values[:, j] = 1.0 if piece.values is None else piece.values
    if len(pieces) == 1 and pieces[0].category is not None:
        # the combinations that occur, without a table of rows by pieces
        own = np.asarray(pieces[0].category.codes), pieces[0].category.levels
        index, found = interact((codes, levels), own)
        group, level = found.combinations
        present = group * total + level
    elif all(piece.category is None for piece in pieces):
        width = len(pieces)
        index = codes[:, None].astype(np.int64) * width + np.arange(width)
        present = np.arange(len(levels) * width)
    else:
        keys = np.empty((n, len(pieces)), np.int64)
        for j, piece in enumerate(pieces):
            number = 0 if piece.category is None else piece.category.codes
            keys[:, j] = codes.astype(np.int64) * total + starts[j] + number
        present, index = np.unique(keys, return_inverse=True)
    pointers = np.arange(n + 1) * len(pieces)
    entries = values.ravel(), np.ravel(index), pointers
    return ComponentColumns(
        name,
        sparse.csr_array(entries, shape=(n, len(present))),
        codes,
        levels,
        present // total,
        present % total,
        labels,
        complete,
    )


# ---- group by group ----


def _by_group(engine, name, text, codes, levels):
    """As statsmodels does it: the formula's own evaluation on the rows of each group."""
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(levels)))
    rows, columns, values, groups, flat = [], [], [], [], []
    total = 0
    for group, own in enumerate(np.split(order, ends[:-1])):
        matrix = engine.own_matrix(text, own)
        flat += engine.plain_names(matrix.columns)
        table = np.asarray(matrix, float)
        i, j = np.nonzero(table)
        rows.append(own[i])
        columns.append(j + total)
        values.append(table[i, j])
        groups.append(np.full(table.shape[1], group))
        total += table.shape[1]
    if total == 0:
        raise FormulaError(f"the variance component {name!r} ({text}) has no columns")
    numbers, labels = pd.factorize(np.array(flat, dtype=object))
    at = np.concatenate(rows), np.concatenate(columns)
    matrix = sparse.coo_array((np.concatenate(values), at), shape=(len(codes), total))
    matrix = sparse.csr_array(matrix)
    matrix.sort_indices()
    return ComponentColumns(
        name,
        matrix,
        codes,
        levels,
        np.concatenate(groups),
        numbers,
        ColumnLabels.of(labels),
    )
