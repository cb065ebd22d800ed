"""Linear hypotheses in every form that tests take, as rows and values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.compat import FormulaManager
from mixedext.specification.data.tables import as_pandas, is_foreign

__all__ = ["linear_constraints"]


def linear_constraints(
    r_matrix: Any, names: Sequence[str], k_fe: int, variances: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Rows R and values q of the hypothesis R params = q.

    Parameters
    ----------
    r_matrix : object
        A matrix with a column for each fixed effect, or for each parameter; a Series or
        DataFrame with their names as labels; a pair (matrix, values); a string such as
        "x = 0, z = 1", or a list of them; a mapping of names (or expressions) to values.
    names : list of str
        Names of all parameters, fixed effects first.
    k_fe : int
        Number of fixed effects.
    variances : bool, optional
        Whether a matrix may have entries for variance parameters.

    Returns
    -------
    rows : ndarray
        (m, n_params)
    values : ndarray
        (m,)

    Raises
    ------
    ValueError
        If a name is not known, or widths or lengths do not agree.
    """
    names = list(names)
    if isinstance(r_matrix, Mapping):
        return _from_mapping(r_matrix, names)
    if isinstance(r_matrix, str) or _is_list_of_strings(r_matrix):
        return _from_text(r_matrix, names)
    values: Any = 0.0
    if isinstance(r_matrix, tuple):
        if len(r_matrix) != 2:
            raise ValueError(
                f"r_matrix as a tuple is (matrix, values); it has {len(r_matrix)} entries"
            )
        r_matrix, values = r_matrix
    rows = _labelled(r_matrix, names)
    if rows is None:
        rows = np.atleast_2d(np.asarray(r_matrix, float))
        if rows.ndim > 2:
            raise ValueError(
                f"r_matrix has shape {rows.shape}; it is a matrix with a row for each "
                "combination, or one row"
            )
        if rows.shape[1] == k_fe:
            rows = np.hstack([rows, np.zeros((len(rows), len(names) - k_fe))])
        if rows.shape[1] != len(names) or not (variances or not rows[:, k_fe:].any()):
            also = f" or {len(names)} (all parameters)" if variances else ""
            raise ValueError(
                f"r_matrix should have {k_fe} columns (the fixed effects){also}"
                + (
                    f", not {rows.shape[1]}"
                    if rows.shape[1] != len(names)
                    else "; those of the variance parameters must be zero"
                )
            )
    if not np.isfinite(rows).all():
        raise ValueError("r_matrix holds values that are missing or infinite")
    values = np.ravel(np.asarray(values, float))
    if len(values) not in (1, len(rows)):
        raise ValueError(f"r_matrix has {len(values)} values for {len(rows)} rows")
    return rows, np.broadcast_to(values, len(rows))


def _is_list_of_strings(value):
    return (
        isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
    )


def _from_text(text, names):
    aliases, spaceless = _without_spaces(names)
    plain = [
        _renamed(part, aliases) for part in ([text] if isinstance(text, str) else text)
    ]
    plain = plain[0] if isinstance(text, str) else plain
    try:
        parsed = FormulaManager().get_linear_constraints(plain, spaceless)
    except Exception as error:  # the formula engines raise classes of their own
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(
            f"r_matrix={text!r} cannot be read ({reason}); the parameters are: "
            f"{', '.join(names)}. A dictionary takes any name: {{name: value}}"
            f"{_meant(text, names)}"
        ) from error
    matrix = np.asarray(parsed.constraint_matrix, float)
    return matrix, np.ravel(np.asarray(parsed.constraint_values, float))


def _meant(text, names):
    """The parameter that the first unknown word is like, or how equations are written."""
    whole = text if isinstance(text, str) else " ".join(text)
    words = re.findall(r"[^\W\d][\w.:\[\]]*", whole)
    unknown = [word for word in words if word not in names]
    if re.search(r"==|[<>]", whole):
        return ". Hypotheses are equations, with one '='; tests are two-sided"
    return next(filter(None, (did_you_mean(word, names) for word in unknown)), "")


def _without_spaces(names):
    """Other names for those with spaces ("Group Var"), which not every engine can read."""
    aliases = {name: f"parameter_{j}_" for j, name in enumerate(names) if " " in name}
    return aliases, [aliases.get(name, name) for name in names]


def _renamed(text, aliases):
    for name in sorted(aliases, key=len, reverse=True):
        whole = rf"(?<![\w.]){re.escape(name)}(?![\w.\[])"
        text = re.sub(whole, aliases[name], text)
    return text


def _from_mapping(hypotheses, names):
    if not hypotheses:
        raise ValueError("r_matrix is an empty dictionary")
    rows, values = [], []
    for name, value in hypotheses.items():
        if name in names:
            row = np.zeros(len(names))
            row[names.index(name)] = 1.0
            row, shift = row[None], 0.0
        else:
            row, shift = _from_text(f"{name} = 0", names)
        rows.append(row)
        values.append(np.ravel(value + shift))
    return np.vstack(rows), np.concatenate(values).astype(float)


def _labelled(r_matrix, names):
    """Rows of a Series or DataFrame by their labels; None if the labels are no names."""
    if is_foreign(r_matrix) and hasattr(r_matrix, "columns"):
        r_matrix = as_pandas(r_matrix)
    if isinstance(r_matrix, pd.Series):
        r_matrix = r_matrix.to_frame().T
    if not isinstance(r_matrix, pd.DataFrame):
        return None
    labels = list(r_matrix.columns)
    if not all(isinstance(label, str) for label in labels):
        return None
    unknown = [label for label in labels if label not in names]
    if unknown:
        raise ValueError(
            f"r_matrix has a column {unknown[0]!r}, which is no parameter; they are: "
            f"{', '.join(names)}{did_you_mean(unknown[0], names)}"
        )
    rows = np.zeros((len(r_matrix), len(names)))
    rows[:, [names.index(label) for label in labels]] = r_matrix.to_numpy(float)
    return rows
