"""Variance functions as stated, on the rows of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import DesignError
from mixedext.specification.covariance import variance_functions as functions
from mixedext.specification.covariance.residual_structure import name_of
from mixedext.specification.covariance.variance_functions import VarianceFunction
from mixedext.specification.covariance.variance_objects import (
    StatedVariance,
    VarConstPower,
    VarExp,
    VarFixed,
    VarIdent,
    VarPower,
)
from mixedext.specification.data.columns import as_floats
from mixedext.specification.data.labels import factorize, interact, level_index

__all__ = ["FunctionOnRows", "function_on_rows", "numbers_of", "strata_function"]


@dataclass(frozen=True, eq=False)
class FunctionOnRows:
    """A factor of the standard deviation, with what it asks for of the rows.

    Attributes
    ----------
    function : VarianceFunction
        The function of its parameters.
    strata : ndarray or None
        Stratum of each row, (n,) intp; None for one stratum.
    labels : list of str
        Labels of the strata; empty for one.
    covariate : ndarray or None
        The covariate of each row, (n,); None without one, and where it is the fitted
        values.
    of_fitted : bool
        Whether the covariate is the fitted values.
    text : str
        The function in the text form.
    start : dict
        Values to start from by name of the parameter.
    fixed : bool
        Whether these are held.
    """

    function: VarianceFunction
    strata: np.ndarray | None
    labels: list
    covariate: np.ndarray | None
    of_fitted: bool
    text: str
    start: Mapping[str, float]
    fixed: bool = False


def strata_function(codes: np.ndarray, labels: list, name: str) -> FunctionOnRows:
    """A variance for each stratum.

    Parameters
    ----------
    codes : ndarray
        Stratum of each row, (n,).
    labels : list
        Labels of the strata.
    name : str
        Name of the factor.

    Raises
    ------
    DesignError
        If a stratum has one row.
    """
    counts = np.bincount(codes, minlength=len(labels))
    few = np.flatnonzero(counts < 2)
    if len(few):
        raise DesignError(
            f"the variance by {name!r}: {labels[few[0]]!r} has {counts[few[0]]} row, which "
            "tells no variance; merge it with another level, or leave the row out"
        )
    labels = [str(label) for label in labels]
    made = functions.VarIdent(len(labels))
    return FunctionOnRows(made, codes, labels, None, False, f"ident({name})", {})


def function_on_rows(
    stated: StatedVariance, columns: Mapping[str, Any]
) -> FunctionOnRows | None:
    """A function as stated, on the rows; None if it is one for all of them.

    Parameters
    ----------
    stated : StatedVariance
        The function.
    columns : Mapping
        Its columns by role, ``StatedVariance.columns``; without one that is the fitted
        values.

    Raises
    ------
    DesignError
        If a column does not go with the function.
    """
    codes, labels = _strata(columns, len(stated.factors))
    name = ":".join(name_of(f, "stratum") for f in stated.factors)
    if isinstance(stated, VarIdent):
        if len(labels) < 2:
            _check_one(stated, labels)
            return None
        own = strata_function(codes, labels, name)
        return FunctionOnRows(
            own.function, own.strata, own.labels, None, False, str(stated),
            _ratios(stated, own.labels), stated.fixed,
        )  # fmt: skip
    covariate, of_fitted = None, "covariate" not in columns
    if not of_fitted:
        called = name_of(stated.covariate, "covariate")
        covariate = numbers_of(columns["covariate"], called, str(stated))
        _check_covariate(stated, covariate, called)
    n = max(len(labels), 1)
    if isinstance(stated, VarFixed):
        made: VarianceFunction = functions.VarFixed()
    else:
        kinds: dict[type, Any] = {
            VarPower: functions.VarPower,
            VarExp: functions.VarExp,
            VarConstPower: functions.VarConstPower,
        }
        made = kinds[type(stated)](n)
    texts = [str(label) for label in labels] if n > 1 else []
    start = _by_parameter(stated, made.names(texts), n)
    return FunctionOnRows(
        made, codes if n > 1 else None, texts, covariate, of_fitted, str(stated), start,
        stated.fixed,
    )  # fmt: skip


def numbers_of(values: Any, name: str, where: str) -> np.ndarray:
    """A column of finite numbers, (n,).

    Raises
    ------
    DesignError
        If it holds no numbers.
    ValueError
        If some are infinite.
    """
    dtype = getattr(values, "dtype", None)
    kind = getattr(dtype, "kind", "O")
    if kind in "mM":
        raise DesignError(
            f"{where}: {name!r} holds {'dates' if kind == 'M' else 'durations'}; make "
            "numbers of them, as days, (x - x.min()).dt.days"
        )
    try:
        if isinstance(dtype, pd.CategoricalDtype):
            raise ValueError("it is categorical")
        numbers = as_floats(values)
    except (TypeError, ValueError) as error:
        raise DesignError(f"{where}: {name!r} must hold numbers: {error}") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"infinite values in {name}; leave these rows out by subset=")
    return np.ascontiguousarray(numbers)


def _strata(columns, n_factors):
    if not n_factors:
        return None, []
    out = factorize(columns["stratum 1"])
    for i in range(1, n_factors):
        out = interact(out, factorize(columns[f"stratum {i + 1}"]))
    return np.asarray(out[0], np.intp), list(level_index(out[1]))


def _check_one(stated, labels):
    """That nothing is asked of a factor of one level that it cannot tell."""
    if stated.fixed:
        raise DesignError(
            f"{stated} has one level, {labels[0]!r}, and no ratio that could be held"
        )


def _check_covariate(stated, covariate, name):
    smallest = covariate.min()
    if isinstance(stated, VarPower | VarFixed) and not smallest > 0:
        cure = "constpower or exp take any values"
        if isinstance(stated, VarFixed):
            cure = "a variance must be positive"
        raise DesignError(
            f"variance {stated}: {name!r} must be positive, and its smallest value is "
            f"{smallest:g}; {cure}"
        )
    if not isinstance(stated, VarFixed) and smallest == covariate.max():
        raise DesignError(
            f"variance {stated}: {name!r} is {smallest:g} in all rows, which tells no "
            "parameter; leave it out"
        )


def _ratios(stated, labels):
    """Ratios to start from by name of the parameter."""
    given = {str(level): float(v) for level, v in (stated.ratios or {}).items()}
    unknown = [level for level in given if level not in labels]
    if unknown:
        raise ValueError(
            f"{stated}: ratios has the level {unknown[0]!r}, and there are "
            f"{', '.join(labels)}"
        )
    if given.pop(labels[0], 1.0) != 1.0:
        raise ValueError(
            f"{stated}: ratios are to {labels[0]!r}, whose own is 1; divide them by it"
        )
    names = functions.VarIdent(len(labels)).names(labels)
    return {n: given[lev] for n, lev in zip(names, labels[1:], strict=True) if lev in given}


def _by_parameter(stated, names, n):
    """Values to start from, the same in each stratum, by name of the parameter."""
    given = {p: stated.start_values().get(p) for p in stated.parameters}
    every = [value for value in given.values() for _ in range(n)]
    return {k: float(v) for k, v in zip(names, every, strict=True) if v is not None}
