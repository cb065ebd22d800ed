"""From arrays to y, X and random terms: alignment, missing rows, weights, offset."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mixedext.exceptions import WeightsWarning, user_stacklevel
from mixedext.specification.alignment import warn_if_reordered
from mixedext.specification.extremes import are_finite, column_extremes
from mixedext.specification.missing import check_missing, complete_rows
from mixedext.specification.tables import as_frame
from mixedext.specification.terms import RandomTerm

__all__ = ["ArrayFrame", "array_frame", "check_weights"]

# Weights that span more than this many powers of ten get a warning.
WEIGHT_DECADES = 12


@dataclass(frozen=True, eq=False)
class ArrayFrame:
    """Model arrays with their rows settled.

    Attributes
    ----------
    endog : ndarray or Series
        Response.
    exog : ndarray or DataFrame or None
        Fixed-effects columns; None if there are none.
    terms : list of RandomTerm
        Random terms.
    offset, weights : ndarray or None
        One value a row.
    groups, exog_re : ndarray or None
        As given, rows kept.
    nobs : int
        How many rows were kept.
    exog_extremes : tuple of ndarray or None
        Least and greatest value of each column of ``exog``, if known.
    """

    endog: object
    exog: object
    terms: list[RandomTerm]
    offset: np.ndarray | None
    weights: np.ndarray | None
    groups: np.ndarray | None
    exog_re: np.ndarray | None
    nobs: int
    exog_extremes: tuple[np.ndarray, np.ndarray] | None


def array_frame(
    endog,
    exog,
    groups=None,
    exog_re=None,
    terms=None,
    weights=None,
    offset=None,
    missing="none",
) -> ArrayFrame:
    """Settle rows and types of the arrays of a model.

    Raises
    ------
    ValueError
        If lengths differ or a value is not numeric or infinite; names the argument.
    MissingDataError
        If values are missing and ``missing`` is not "drop".
    """
    check_missing(missing)
    absent = {}
    y, _ = _numeric(endog, "endog", absent)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(f"endog has shape {y.shape}; expected one dimension")
    n = len(y)
    if n == 0:
        raise ValueError("endog is empty")
    extremes = None
    if exog is not None:
        x, extremes = _numeric(exog, "exog", absent)
        if x.ndim == 1:
            x = x[:, None]
            exog = exog.to_frame() if isinstance(exog, pd.Series) else x
        if x.ndim != 2:
            raise ValueError(f"exog has shape {x.shape}; expected (n, k)")
        _check_length(x, n, "exog")
        if x.shape[1] == 0:
            exog = None
    index = endog.index if isinstance(endog, pd.Series | pd.DataFrame) else None
    beside = {"groups": groups, "exog_re": exog_re, "weights": weights, "offset": offset}
    for what, value in beside.items():
        warn_if_reordered(value, index, what)
    built, label_groups = [], None
    if groups is not None:
        label_groups = np.asarray(groups)
        if label_groups.ndim != 1:
            raise ValueError(
                f"groups has shape {label_groups.shape}; expected one label for each row"
            )
        _check_length(label_groups, n, "groups")
        z, names = None, None
        if exog_re is not None:
            z, _ = _numeric(exog_re, "exog_re", {})
            z = z[:, None] if z.ndim == 1 else z
            _check_length(z, n, "exog_re")
            names = _names(exog_re, z)
        source = groups if isinstance(groups, pd.Series | pd.Index) else label_groups
        built.append(RandomTerm(source, z, group="Group", names=names))
    elif exog_re is not None:
        raise ValueError("exog_re needs groups, the labels of its grouping factor")
    built.extend(_check_terms_argument(terms, n))
    for term in built:
        if term.any_missing():
            absent[f"the random term {term.label}"] = term.missing()
    vectors = {}
    for what, value in (("weights", weights), ("offset", offset)):
        if value is not None:
            vector, _ = _numeric(value, what, absent)
            if vector.shape != (n,):
                raise ValueError(
                    f"{what} has shape {vector.shape}; expected ({n},), one value a row"
                )
            vectors[what] = np.asarray(vector, float)
    rows = complete_rows(absent, missing)
    if rows is not None:
        endog, exog, extremes = _take(endog, rows), _take(exog, rows), None
        built = [t.take(rows) for t in built]
        vectors = {what: v[rows] for what, v in vectors.items()}
        label_groups = None if label_groups is None else label_groups[rows]
        exog_re = _take(exog_re, rows)
    weight = vectors.get("weights")
    if weight is not None:
        check_weights(weight)
    return ArrayFrame(
        endog,
        exog,
        built,
        vectors.get("offset"),
        weight,
        label_groups,
        None if exog_re is None else np.asarray(exog_re, float),
        n if rows is None else int(rows.sum()),
        extremes,
    )


def check_weights(weights: np.ndarray) -> None:
    """Refuse weights that are not positive; warn where they span very many decades."""
    if not (weights > 0).all():
        bad = int((~(weights > 0)).sum())
        raise ValueError(
            f"weights must be positive; {bad} of {len(weights)} are zero or negative. "
            "Leave these rows out instead."
        )
    span = np.log10(weights.max()) - np.log10(weights.min())
    if span > WEIGHT_DECADES:
        warnings.warn(
            f"weights span {span:.0f} powers of ten; rows of small weight have next to "
            "no influence and digits may be lost",
            WeightsWarning,
            stacklevel=user_stacklevel(),
        )


def _numeric(values, what, absent):
    """Array of real numbers, and the extremes of its columns if all are finite.

    Where values are missing ``absent[what]`` becomes the mask of their rows.
    """
    try:
        # pandas' to_numpy costs a tenth of what numpy.asarray does of its objects
        known = isinstance(values, pd.DataFrame | pd.Series)
        array = values.to_numpy() if known else np.asarray(values)
        if array.dtype.kind == "c":
            raise TypeError("it is complex")
        if array.dtype.kind not in "iufb":
            array = array.astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is not numeric: {error}") from None
    if array.ndim not in (1, 2) or array.size == 0:
        return array, None
    extremes = column_extremes(array)
    if are_finite(extremes):
        return array, extremes
    if np.isinf(array).any():
        raise ValueError(f"{what} has infinite values")
    mask = np.isnan(array)
    absent[what] = mask if array.ndim == 1 else mask.any(axis=1)
    return array, None


def _check_length(array, n, what):
    if len(array) != n:
        raise ValueError(f"{what} has {len(array)} rows, endog has {n}")


def _names(exog_re, z):
    if isinstance(exog_re, pd.DataFrame):
        return [str(c) for c in exog_re.columns]
    if isinstance(exog_re, pd.Series) and exog_re.name is not None:
        return [str(exog_re.name)]
    return [f"x_re{k + 1}" for k in range(z.shape[1])]


def _check_terms_argument(terms, n):
    terms = [terms] if isinstance(terms, RandomTerm) else list(terms or [])
    for term in terms:
        if not isinstance(term, RandomTerm):
            raise ValueError(
                f"terms must hold RandomTerm objects, not {type(term).__name__}"
            )
        _check_length(term.codes, n, f"the random term {term.label}")
    return terms


def _take(values, rows):
    if values is None:
        return None
    values = as_frame(values)
    if isinstance(values, pd.Series | pd.DataFrame):
        return values.loc[rows] if values.index.is_unique else values[rows]
    return np.asarray(values)[rows]
