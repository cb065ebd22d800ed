"""The left side of a generalized model's formula: it is arithmetic.

``incidence / size`` is a quotient, where a formula's right side would read nesting;
``cbind(a, b)`` and ``a + b`` are two columns, successes and failures.  Names that Python
has for itself, such as ``yield``, are columns all the same.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.exceptions import FormulaError

__all__ = ["left_side_values", "split_sides"]


def split_sides(formula: str) -> tuple[str, str]:
    """Left and right side of a formula.

    Raises
    ------
    FormulaError
        If there is no ``~``, or nothing at its left.
    """
    left, tilde, right = formula.partition("~")
    if not tilde or not left.strip():
        raise FormulaError(
            f"formula {formula!r} has no response: write 'response ~ x + (1 | group)'"
        )
    return left.strip(), right.strip()


def left_side_values(
    text: str, frame: pd.DataFrame, namespace: Mapping[str, Any]
) -> pd.Series | np.ndarray:
    """The response: a column, or (n, 2) successes and failures.

    Parameters
    ----------
    text : str
        Left side of a formula.
    frame : DataFrame
        The data.
    namespace : dict
        Names that are no columns.

    Raises
    ------
    FormulaError
        If it cannot be read or evaluated; says why.
    """
    plain = text.strip()
    quoted = re.fullmatch(r"Q\(\s*(['\"])(.*)\1\s*\)|`([^`]*)`", plain)
    if quoted:
        plain = quoted[2] or quoted[3]
    if plain in frame.columns:
        return frame[plain]
    code, names = _python_names(text, frame)
    try:
        tree = ast.parse(code, mode="eval").body
    except SyntaxError:
        raise FormulaError(
            f"the response {text!r} cannot be read as an expression of columns"
        ) from None
    known = dict(_FUNCTIONS) | dict(namespace)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    known |= {name: frame[column] for name, column in names.items() if name in used}
    called = {getattr(n.func, "id", "") for n in ast.walk(tree) if isinstance(n, ast.Call)}
    if isinstance(tree, ast.List | ast.Tuple) or (
        isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr)
    ):
        raise FormulaError(
            f"the response {text!r}: write cbind(successes, failures) for two columns, "
            "successes / trials with weights='trials' for their share"
            + (", as trials(...) is not known" if "trials" in called else "")
        )
    parts = None
    if isinstance(tree, ast.Call) and getattr(tree.func, "id", "") == "cbind":
        if len(tree.args) != 2 or tree.keywords:
            raise FormulaError(f"{text!r}: cbind takes two columns, successes and failures")
        parts = tree.args
    elif isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add):
        parts = [tree.left, tree.right]
    if parts is None:
        value = _evaluate(tree, known, text, frame)
        if isinstance(value, pd.Series):
            return value
        return pd.Series(np.broadcast_to(value, (len(frame),)), index=frame.index)
    columns = [np.asarray(_evaluate(part, known, text, frame), float) for part in parts]
    return np.column_stack([np.broadcast_to(c, (len(frame),)) for c in columns])


_FUNCTIONS = {"np": np, "log": np.log, "exp": np.exp, "sqrt": np.sqrt, "I": lambda x: x}


def _evaluate(tree, known, text, frame):
    code = compile(ast.Expression(tree), "<response>", "eval")
    try:
        return eval(code, {"__builtins__": {"abs": abs, "round": round}}, known)
    except NameError as error:
        name = getattr(error, "name", None) or str(error)
        hint = did_you_mean(str(name), [str(c) for c in frame.columns])
        raise FormulaError(
            f"the response {text!r}: there is no column {name!r} in the data{hint}"
        ) from None
    except Exception as error:
        raise FormulaError(f"the response {text!r} cannot be evaluated: {error}") from error


def _python_names(text, frame):
    """The text with names of columns that Python allows, and what they stand for."""
    names: dict[str, Any] = {str(c): c for c in frame.columns if str(c).isidentifier()}
    code = text
    for number, column in enumerate(frame.columns):
        name = str(column)
        alias = f"_column_{number}"
        for form in (f"`{name}`", f'Q("{name}")', f"Q('{name}')"):
            if form in code:
                code = code.replace(form, alias)
                names[alias] = column
        if keyword.iskeyword(name) and re.search(rf"\b{name}\b", code):
            code = re.sub(rf"\b{name}\b", alias, code)
            names[alias] = column
    return code, {n: c for n, c in names.items() if not keyword.iskeyword(n)}
