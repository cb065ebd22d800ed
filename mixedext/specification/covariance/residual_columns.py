"""Columns that a residual structure names, or values by rows that its objects hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import FormulaError
from mixedext.specification.covariance.residual_structure import (
    ResidualStructure,
    name_of,
)
from mixedext.specification.covariance.residual_text import (
    factors_of,
    read_structures,
    read_variance,
)
from mixedext.specification.covariance.variance_objects import FITTED, StatedVariance
from mixedext.specification.data.tables import as_pandas

__all__ = ["StatedResidual", "stated_residual"]

Labelled = pd.Series | pd.Index | pd.api.extensions.ExtensionArray


@dataclass(frozen=True, eq=False)
class StatedResidual:
    """What ``residual=`` and ``variance=`` say, with the columns that they need.

    Attributes
    ----------
    structures : tuple of ResidualStructure
        The structure, and those to fall back on.
    variance : tuple of StatedVariance
        Functions whose product the standard deviation is.
    columns : dict
        Values by rows; the key is the number of the structure, of -1 - k of the k-th
        function, and the role of the column.
    """

    structures: tuple[ResidualStructure, ...]
    variance: tuple[StatedVariance, ...]
    columns: Mapping[tuple[int, str], Any]

    def take(self, rows: np.ndarray) -> StatedResidual:
        """On some rows, (n,) bool."""
        taken: dict[int, Any] = {}
        for values in self.columns.values():
            if id(values) not in taken:
                taken[id(values)] = values[rows]
        columns = {key: taken[id(values)] for key, values in self.columns.items()}
        return replace(self, columns=columns)

    def named(self) -> Iterator[tuple[str, Any]]:
        """Names and values of the columns, each once."""
        seen: set[int] = set()
        for (number, role), values in self.columns.items():
            if id(values) not in seen:
                seen.add(id(values))
                given = self._parts()[number].columns()[role]
                yield name_of(given, role.rstrip(" 1")), values

    def of(self, number: int) -> dict[str, Any]:
        """Columns of one structure or function by role."""
        return {role: v for (n, role), v in self.columns.items() if n == number}

    def holds_values(self) -> bool:
        """Whether some object holds values by rows."""
        return any(
            not isinstance(value, str)
            for part in self._parts().values()
            for value in part.columns().values()
        )

    def _parts(self) -> dict[int, Any]:
        return _numbered(self.structures, self.variance)

    def __str__(self) -> str:
        text = ", else ".join(map(str, self.structures))
        if self.variance:
            text += f", variance {' * '.join(map(str, self.variance))}"
        return text


def _numbered(structures, variance):
    """Structures by 0, 1, ..., functions by -1, -2, ..."""
    parts: dict[int, Any] = dict(enumerate(structures))
    return parts | {-1 - k: part for k, part in enumerate(variance)}


def stated_residual(
    residual: Any,
    variance: Any,
    lookup: Callable[[Any, str, str], Any] | None,
    known: Iterable[Any] = (),
) -> StatedResidual | None:
    """Read ``residual=`` and ``variance=``, and fetch the columns that they name.

    Parameters
    ----------
    residual : str, ResidualStructure, list of them, StatedResidual or None
        As users give it.
    variance : str, StatedVariance, list or product of them, or None
        As users give it.
    lookup : callable or None
        From a column's name or values, the name of the argument and what the column
        stands in, to the values; None where there are no names.
    known : iterable, optional
        Names of the columns.

    Returns
    -------
    StatedResidual or None
        None if nothing is stated.

    Raises
    ------
    FormulaError
        If a text cannot be read, or names a column that is not there.
    ValueError
        If an argument has the wrong type or shape.
    """
    if residual is None and variance is None:
        return None
    if isinstance(residual, StatedResidual):
        return residual
    structures = read_structures(residual, variance is not None)
    functions = read_variance(variance)
    if not structures:
        return None
    columns: dict[tuple[int, str], Any] = {}
    found: dict[Any, Any] = {}
    names = {str(name) for name in known}
    structures = tuple(_with_factors(s, "group", "residual", names) for s in structures)
    functions = tuple(_with_factors(f, "strata", "variance", names) for f in functions)
    for number, part in _numbered(structures, functions).items():
        what = "residual" if number >= 0 else "variance"
        for role, value in part.columns().items():
            if role == "covariate" and is_fitted(value, names):
                continue
            key = value if isinstance(value, str) else id(value)
            if key not in found:
                found[key] = _values(value, what, str(part), lookup)
            columns[number, role] = found[key]
    return StatedResidual(structures, functions, columns)


def is_fitted(value: Any, names: Iterable[str]) -> bool:
    """Whether a covariate stands for the fitted values: no column is called so."""
    return isinstance(value, str) and value == FITTED and FITTED not in names


def _with_factors(part, argument, what, names):
    """The object with the factors of a group that is written ``a:b`` or ``a/b``."""
    text = getattr(part, argument)
    if not isinstance(text, str) or text in names or not set(":/*+`(") & set(text):
        return part
    return replace(part, **{argument: factors_of(text, f"{what}={part}")})


def _values(value, what, where, lookup):
    """Values of one column by rows."""
    if lookup is not None:
        return lookup(value, what, where)
    if isinstance(value, str):
        raise FormulaError(
            f"{what}= names the column {value!r}, and arrays have no names: give its "
            f"values, as in mx.AR1(visit, group=subject), or make the model by mixedlm"
        )
    value = as_pandas(value)
    if isinstance(value, Labelled):
        return value
    values = np.asarray(value)
    if values.ndim != 1:
        raise ValueError(
            f"{what} holds values of shape {values.shape}; expected one for each row"
        )
    return values
