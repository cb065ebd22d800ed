"""What rows tell of the parameters of a residual structure, as far as their places say."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from mixedext.exceptions import (
    StructureWarning,
    UnidentifiedCovarianceError,
    user_stacklevel,
)
from mixedext.limits import SD_COLUMN_LEFT
from mixedext.specification.covariance import variance_functions as functions
from mixedext.specification.covariance.antedependence import Antedependence
from mixedext.specification.covariance.correlation import Correlation
from mixedext.specification.covariance.residual_functions import FunctionOnRows
from mixedext.specification.covariance.residual_objects import Independent
from mixedext.specification.covariance.residual_patterns import Batch, first_of, patterns
from mixedext.specification.covariance.residual_structure import ResidualStructure
from mixedext.specification.covariance.residual_visits import Visits
from mixedext.specification.covariance.toeplitz import Toeplitz
from mixedext.specification.covariance.unstructured_visits import UnstructuredVisits

__all__ = ["check_places", "check_variances"]


def check_places(
    spec: ResidualStructure,
    correlation: Correlation,
    batches: Sequence[Batch],
    visits: Visits | None,
    level_labels: Sequence[Any],
) -> None:
    """That the visits that meet in groups tell all parameters, in each level of ``by``.

    Parameters
    ----------
    spec : ResidualStructure
        The structure as stated.
    correlation : Correlation
        The structure.
    batches : sequence of Batch
        All groups.
    visits : Visits or None
        The visits.
    level_labels : sequence
        Labels of the levels; [None] without ``by``.

    Raises
    ------
    UnidentifiedCovarianceError
        Names what the data hold no information on.

    Warns
    -----
    StructureWarning
        If an unstructured covariance has fewer groups than visits.
    """
    for level, label in enumerate(level_labels):
        parts = [(b.place[b.level == level], b.count[b.level == level]) for b in batches]
        parts = [(place, count) for place, count in parts if len(place)]
        where = str(spec) if label is None else f"{spec}, {label!r}"
        if all(place.shape[1] < 2 for place, _ in parts):
            raise UnidentifiedCovarianceError(
                f"{where}: no two rows share a group, so that there is no correlation to "
                "estimate"
            )
        names = _visit_names(visits, correlation)
        if isinstance(correlation, UnstructuredVisits):
            _check_unstructured(where, parts, names)
        elif isinstance(correlation, Antedependence):
            _check_neighbours(where, parts, names)
        elif isinstance(correlation, Toeplitz):
            _check_lags(where, parts, correlation)


def _visit_names(visits, correlation):
    if visits is not None:
        return [repr(label) for label in visits.labels]
    return [str(k + 1) for k in range(getattr(correlation, "m", 0))]


def _check_unstructured(where, parts, names):
    """That each two visits meet in some group, and that there are enough groups."""
    m = len(names)
    seen, products, n_groups = np.zeros((m, m), np.int64), 0, 0
    for place, count in parts:
        present = np.zeros((len(place), m))
        np.put_along_axis(present, place, 1.0, axis=1)
        seen += np.rint(present.T @ (present * count[:, None])).astype(np.int64)
        s = place.shape[1]
        products += int(count.sum()) * s * (s + 1) // 2
        n_groups += int(count.sum())
    absent = np.flatnonzero(np.diag(seen) == 0)
    if len(absent):
        raise UnidentifiedCovarianceError(
            f"{where}: no row has the visit {names[absent[0]]}, whose variance is a "
            "parameter"
        )
    never = np.argwhere(np.triu(seen == 0))
    if len(never):
        i, j = never[0]
        others = f" ({len(never) - 1} other pairs likewise)" if len(never) > 1 else ""
        raise UnidentifiedCovarianceError(
            f"{where}: the visits {names[i]} and {names[j]} are never seen together in a "
            f"group{others}; the data hold no information on their covariance. toep, ar1 "
            "or ad do not need it"
        )
    size = m * (m + 1) // 2
    if size > products:
        raise UnidentifiedCovarianceError(
            f"{where}: {size} variances and covariances of {m} visits are more than the "
            f"{products} squares and products of residuals in {n_groups} groups; toep, ar1 "
            "or cs have fewer"
        )
    most = max(place.shape[1] for place, _ in parts)
    if most > n_groups:
        raise UnidentifiedCovarianceError(
            f"{where}: {n_groups} groups are fewer than the {most} visits that one of them "
            "has, so that the likelihood has no maximum; toep, ar1 or cs have one"
        )
    if n_groups < m:
        warnings.warn(
            f"{where}: {size} variances and covariances of {m} visits are estimated from "
            f"{n_groups} groups, fewer than visits",
            StructureWarning,
            stacklevel=user_stacklevel(),
        )


def _check_neighbours(where, parts, names):
    """That pairs of visits that follow each other in groups tell each step between."""
    m = len(names)
    pairs = np.concatenate(
        [
            np.stack([place[:, :-1], place[:, 1:]], axis=2).reshape(-1, 2)
            for place, _ in parts
        ]
    )
    pairs = np.unique(pairs, axis=0)
    step = np.arange(m - 1)
    spans = ((pairs[:, :1] <= step) & (step < pairs[:, 1:])).astype(float)
    if np.linalg.matrix_rank(spans) == m - 1:
        return
    # steps whose correlation some combination of the pairs tells alone
    told = np.abs(np.linalg.pinv(spans) @ spans - np.eye(m - 1)).max(axis=1) < 0.5 / m
    k = int(np.argmin(told))
    raise UnidentifiedCovarianceError(
        f"{where}: the visits {names[k]} and {names[k + 1]} follow each other in no group, "
        "nor do others tell their correlation; toep or ar1 do not need it"
    )


def _check_lags(where, parts, correlation):
    """That each lag that has a correlation is seen."""
    seen = np.zeros(correlation.m, bool)
    for place, _ in parts:
        for j in range(1, place.shape[1]):
            seen[place[:, j:] - place[:, :-j]] = True
    never = 1 + np.flatnonzero(~seen[1 : correlation.n_psi + 1])
    if len(never):
        listed = ", ".join(map(str, never[:5])) + ", ..." * (len(never) > 5)
        raise UnidentifiedCovarianceError(
            f"{where}: no two rows of a group are {listed} visits apart, so that the data "
            "hold no information on that correlation. ar1 does not need it; visits whose "
            "order alone counts are an ordered categorical"
        )


def check_variances(
    spec: ResidualStructure,
    on_rows: Sequence[FunctionOnRows],
    visits: Visits | None,
) -> None:
    """That no function of the variance is a combination of the others.

    The logarithm of the standard deviation is linear in the parameters of ``ident``,
    ``power`` and ``exp``: their columns must be independent.

    Parameters
    ----------
    spec : ResidualStructure
        The structure as stated; ``us`` has a variance for each visit itself.
    on_rows : sequence of FunctionOnRows
        The functions.
    visits : Visits or None
        The visits.

    Raises
    ------
    UnidentifiedCovarianceError
        Names the function.
    """
    known = [f for f in on_rows if not f.of_fitted]
    free = visits is not None and spec.call == "us"  # a variance for each visit
    if len(known) + free < 2:
        return
    values = [v for f in known for v in (f.strata, f.covariate) if v is not None]
    if visits is not None and free:
        values.append(visits.codes)
    rows = first_of(patterns(len(values[0]), [v[:, None] for v in values]))
    start = np.ones((len(rows), 1))
    if visits is not None and free:
        start = _indicators(visits.codes[rows], len(visits.labels))
    basis = np.linalg.qr(start)[0]
    for function in known:
        columns = _columns(function, rows)
        if columns is None:
            continue
        size = np.linalg.norm(columns, axis=0)
        left = columns - basis @ (basis.T @ columns)
        left -= basis @ (basis.T @ left)
        left /= np.where(size > 0, size, 1.0)
        q, r = np.linalg.qr(left)
        if len(r) < columns.shape[1] or (np.abs(np.diag(r)) < SD_COLUMN_LEFT).any():
            raise UnidentifiedCovarianceError(
                f"{spec}: {_text(spec, on_rows, function)} says nothing of the variance "
                f"that {_others(spec, on_rows, function, free)} does not say already; "
                "leave one out"
            )
        basis = np.concatenate([basis, q], axis=1)


def _others(spec, on_rows, function, free):
    texts = [spec.call] * free
    texts += [_text(spec, on_rows, f) for f in on_rows if f is not function]
    return " and ".join(texts)


def _text(spec, on_rows, function):
    """A function as it was stated: the first may be what ``het`` and ``by`` say."""
    stated = spec.is_het or spec.by is not None
    if stated and function is on_rows[0] and not isinstance(spec, Independent):
        return f"{spec.text_call} (the variances of {function.text})"
    return function.text


def _columns(function, rows):
    """Columns by which the log standard deviation is linear in parameters; or None."""
    n = max(len(function.labels), 1)
    made = function.function
    if isinstance(made, functions.VarIdent):
        return _indicators(function.strata[rows], n)[:, 1:]
    if isinstance(made, functions.VarPower):
        x = np.log(function.covariate[rows])
    elif isinstance(made, functions.VarExp):
        x = function.covariate[rows]
    else:
        return None
    return x[:, None] if n == 1 else _indicators(function.strata[rows], n) * x[:, None]


def _indicators(codes, n):
    out = np.zeros((len(codes), n))
    out[np.arange(len(codes)), codes] = 1.0
    return out
