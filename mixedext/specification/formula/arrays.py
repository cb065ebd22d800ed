"""From arrays to y, X and random terms: alignment, missing rows, weights, offset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixedext.specification.covariance.residual_columns import (
    StatedResidual,
    stated_residual,
)
from mixedext.specification.data.alignment import warn_if_reordered
from mixedext.specification.data.columns import ColumnTable, as_floats, as_frame
from mixedext.specification.data.extremes import are_finite, column_extremes
from mixedext.specification.data.labels import used_levels
from mixedext.specification.data.missing import (
    check_missing,
    complete_rows,
    missing_values,
)
from mixedext.specification.data.tables import as_pandas
from mixedext.specification.data.value_range import (
    check_value_range,
    largest_of,
    largest_sizes,
)
from mixedext.specification.data.weights import check_weights
from mixedext.specification.terms.components import ComponentColumns
from mixedext.specification.terms.exog_vc import spec_columns, spec_of_dicts
from mixedext.specification.terms.grouped import Grouped, grouped_of, sorted_factor
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm

__all__ = ["ArrayFrame", "array_frame", "column_sizes"]


@dataclass(frozen=True, eq=False)
class ArrayFrame:
    """Model arrays with their rows settled.

    Attributes
    ----------
    endog : ndarray or Series
        Response.
    exog : ndarray or DataFrame or None
        Fixed-effects columns; None if there are none.
    terms : list of RandomTerm or SparseTerm
        Random terms: those of ``groups``, then those given.
    offset, weights : ndarray or None
        One value a row.
    grouped : Grouped or None
        The terms of ``groups``, ``exog_re`` and ``exog_vc``.
    nobs : int
        How many rows were kept.
    exog_extremes : tuple of ndarray or None
        Least and greatest value of each column of ``exog``, if known.
    residual : StatedResidual or None
        What ``residual`` and ``variance`` say, on these rows.
    """

    endog: Any
    exog: Any
    terms: list[RandomTerm | SparseTerm]
    offset: np.ndarray | None
    weights: np.ndarray | None
    grouped: Grouped | None
    nobs: int
    exog_extremes: tuple[np.ndarray, np.ndarray] | None
    residual: StatedResidual | None = None


def array_frame(
    endog: Any,
    exog: Any,
    groups: Any = None,
    exog_re: Any = None,
    exog_vc: Any = None,
    terms: Any = None,
    weights: Any = None,
    offset: Any = None,
    missing: str = "none",
    residual: Any = None,
    variance: Any = None,
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
    index = _row_labels(endog, exog)
    endog, exog = as_pandas(endog, index), as_pandas(exog, index)
    groups, exog_re = as_pandas(groups, index), as_pandas(exog_re, index)
    weights, offset = as_pandas(weights, index), as_pandas(offset, index)
    absent: dict[str, np.ndarray] = {}
    if isinstance(endog, str) and "~" in endog:
        raise ValueError(
            f"endog={endog!r} is a formula; write mixedlm(formula, data), or "
            "MixedLM.from_formula"
        )
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
    states = _read_groups(groups, exog_re, exog_vc, n)
    built = [] if states is None else states.checked
    n_own = len(built)
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
    stated = stated_residual(residual, variance, None)
    for name, values in () if stated is None else stated.named():
        _check_length(values, n, name)
        warn_if_reordered(values, index, name)
        mask = missing_values(values)
        if mask is not None:
            absent[name] = absent[name] | mask if name in absent else mask
    rows = complete_rows(absent, missing)
    if rows is not None:
        endog, exog, extremes = _take(endog, rows), _take(exog, rows), None
        built = built[:n_own] + [t.take(rows) for t in built[n_own:]]
        vectors = {what: v[rows] for what, v in vectors.items()}
        stated = None if stated is None else stated.take(rows)
    grouped = None if states is None else states.settle(rows)
    weight = vectors.get("weights")
    own_terms = ([] if grouped is None else grouped.all_terms) + built[n_own:]
    check_value_range(
        _real(endog),
        column_sizes(exog, extremes, own_terms),
        weight,
        vectors.get("offset"),
    )
    if weight is not None:
        check_weights(weight)
    return ArrayFrame(
        endog,
        exog,
        own_terms,
        vectors.get("offset"),
        weight,
        grouped,
        n if rows is None else int(rows.sum()),
        extremes,
        stated,
    )


def _row_labels(endog, exog):
    """Labels for the rows of other libraries' tables: those of a pandas y or X."""
    own = [v.index for v in (endog, exog) if isinstance(v, pd.Series | pd.DataFrame)]
    return own[0] if own else None


def _real(values):
    """An argument that ``_numeric`` has taken, as an array."""
    array = np.asarray(values)
    return array if array.dtype.kind in "iufb" else array.astype(float)


def column_sizes(
    exog: Any,
    extremes: tuple[np.ndarray, np.ndarray] | None,
    terms: Sequence[RandomTerm | SparseTerm],
) -> Iterator[tuple[str, float]]:
    """What each column of X and Z is called, and its largest absolute value.

    ``extremes`` are those of ``exog``, if known.
    """
    if exog is not None:
        sizes = largest_sizes(_real(exog)) if extremes is None else largest_of(extremes)
        labelled = isinstance(exog, pd.DataFrame | ColumnTable)
        names = exog.columns if labelled else range(len(sizes))
        yield from ((f"column {n!r} of exog", s) for n, s in zip(names, sizes, strict=True))
    for term in terms:
        if isinstance(term, SparseTerm):
            yield f"the matrix of {term.label}", largest_sizes(term.matrix.data)[0]
            continue
        for name, size in zip(term.names, largest_of(term.extremes), strict=True):
            yield f"column {name!r} of {term.label}", size


@dataclass(frozen=True, eq=False)
class _Groups:
    """What groups, exog_re and exog_vc say, rows not yet settled."""

    labels: np.ndarray
    factor: tuple[np.ndarray, pd.Index]
    main: RandomTerm | None
    columns: list[ComponentColumns]
    made: Grouped | None = None

    @property
    def checked(self) -> list[RandomTerm | SparseTerm | ComponentColumns]:
        """What may have missing values."""
        if self.main is not None:
            return [self.main, *self.columns]
        codes, levels = self.factor
        return [RandomTerm(codes, None, "Group", levels=levels), *self.columns]

    def settle(self, rows: np.ndarray | None) -> Grouped:
        """On the rows kept, all of them if None."""
        if rows is None:
            if self.made is not None:
                return self.made
            return grouped_of(self.labels, self.factor, self.main, self.columns)
        main = None if self.main is None else self.main.take(rows)
        columns = self.columns if self.made is None else self.made.columns()
        columns = [c.take(rows) for c in columns]
        codes, levels = used_levels(self.factor[0][rows], self.factor[1])
        return grouped_of(self.labels[rows], (codes, levels), main, columns)


def _read_groups(groups, exog_re, exog_vc, n):
    if isinstance(groups, Grouped):  # from a formula, settled
        _check_length(groups.codes, n, "groups")
        factor = groups.codes, groups.levels
        return _Groups(groups.labels, factor, groups.main, [], groups)
    has_vc = exog_vc is not None and bool(
        exog_vc if isinstance(exog_vc, Mapping) else exog_vc.names
    )
    if groups is None:
        for what, value in (("exog_re", exog_re), ("exog_vc", exog_vc if has_vc else None)):
            if value is not None:
                raise ValueError(f"{what} needs groups, the labels of its grouping factor")
        return None
    labels = np.asarray(groups)
    if labels.ndim != 1:
        named = ", not the name of a column" if isinstance(groups, str) else ""
        raise ValueError(
            f"groups has shape {labels.shape}; expected one label for each row{named}"
        )
    _check_length(labels, n, "groups")
    source = groups if isinstance(groups, pd.Series | pd.Index) else labels
    factor, main = sorted_factor(source), None
    if exog_re is not None or not has_vc:
        z, names = None, None
        if exog_re is not None:
            z, _ = _numeric(exog_re, "exog_re", {})
            z = z[:, None] if z.ndim == 1 else z
            _check_length(z, n, "exog_re")
            names = _names(exog_re, z)
        main = RandomTerm(factor[0], z, group="Group", names=names, levels=factor[1])
    columns = []
    if isinstance(exog_vc, Mapping) and has_vc:
        exog_vc = spec_of_dicts(exog_vc, factor[1])
    if has_vc:
        columns = spec_columns(exog_vc, *factor)
    return _Groups(labels, factor, main, columns)


def _numeric(values, what, absent):
    """Array of real numbers, and the extremes of its columns if all are finite.

    Where values are missing ``absent[what]`` becomes the mask of their rows.
    """
    try:
        # pandas' to_numpy costs a tenth of what numpy.asarray does of its objects
        known = isinstance(values, pd.DataFrame | pd.Series)
        array = values.to_numpy() if known else np.asarray(values)
        if array.dtype.kind not in "iufb":
            array = as_floats(array)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is not numeric{_text_columns(values)}: {error}") from None
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


def _text_columns(values):
    """Which columns of a frame are no numbers, and what makes numbers of them."""
    if not isinstance(values, pd.DataFrame):
        return ""
    odd = [n for n, t in values.dtypes.items() if not pd.api.types.is_numeric_dtype(t)]
    if not odd:
        return ""
    return f" in {', '.join(map(str, odd))} (a formula codes categories: mixedlm)"


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
    kinds = RandomTerm, SparseTerm
    single = isinstance(terms, kinds) or not np.iterable(terms)
    terms = [] if terms is None else [terms] if single else list(terms)
    for term in terms:
        if not isinstance(term, kinds):
            raise ValueError(
                "terms must hold RandomTerm objects, or SparseTerm, not "
                f"{type(term).__name__}"
            )
        if term.n_rows != n:
            raise ValueError(
                f"the random term {term.label} has {term.n_rows} rows, endog has {n}"
            )
    return terms


def _take(values, rows):
    if values is None:
        return None
    values = as_frame(values)
    if isinstance(values, pd.Series | pd.DataFrame):
        return values.loc[rows] if values.index.is_unique else values[rows]
    return np.asarray(values)[rows]
