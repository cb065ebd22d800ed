"""From objects that state a correlation to those that compute it, and where to start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.exceptions import DesignError
from mixedext.limits import ASYMMETRY
from mixedext.specification.covariance.antedependence import Antedependence
from mixedext.specification.covariance.arma import ARMA
from mixedext.specification.covariance.autoregressive import (
    AutoRegressive,
    ContinuousAR1,
)
from mixedext.specification.covariance.compound_symmetry import CompoundSymmetry
from mixedext.specification.covariance.correlation import Correlation
from mixedext.specification.covariance.line_distances import LineDistances
from mixedext.specification.covariance.residual_functions import FunctionOnRows
from mixedext.specification.covariance.residual_objects import AR1 as StatedAR1
from mixedext.specification.covariance.residual_objects import ARMA as StatedARMA
from mixedext.specification.covariance.residual_objects import CAR1 as StatedCAR1
from mixedext.specification.covariance.residual_objects import CS as StatedCS
from mixedext.specification.covariance.residual_objects import (
    Antedependence as StatedAntedependence,
)
from mixedext.specification.covariance.residual_objects import Spatial as StatedSpatial
from mixedext.specification.covariance.residual_objects import Toeplitz as StatedToeplitz
from mixedext.specification.covariance.residual_patterns import Batch
from mixedext.specification.covariance.residual_structure import ResidualStructure
from mixedext.specification.covariance.residual_visits import Visits
from mixedext.specification.covariance.spatial import Spatial
from mixedext.specification.covariance.toeplitz import Toeplitz
from mixedext.specification.covariance.unstructured_visits import UnstructuredVisits

__all__ = ["correlation_of", "start_of"]


def correlation_of(
    spec: ResidualStructure,
    visits: Visits | None,
    sizes: np.ndarray,
    batches: Sequence[Batch],
) -> Correlation:
    """The structure that computes, for the visits or distances of the rows.

    Parameters
    ----------
    spec : ResidualStructure
        The structure as stated.
    visits : Visits or None
        Visits; None for distances, and where the order of the rows stands for them.
    sizes : ndarray
        Rows of each group.
    batches : sequence of Batch
        All groups.

    Raises
    ------
    DesignError
        If there are too few visits for the orders or bands that are stated.
    """
    m = int(sizes.max()) if visits is None else visits.n_places
    match spec:
        case StatedCS():
            return CompoundSymmetry(int(sizes.max()))
        case StatedAR1():
            return AutoRegressive()
        case StatedARMA():
            if m - 1 < spec.p + spec.q:
                raise DesignError(
                    f"{spec} has {spec.p + spec.q} parameters, and {m} visits have "
                    f"{m - 1} lags"
                )
            return ARMA(spec.p, spec.q)
        case StatedToeplitz():
            if spec.bands is not None and spec.bands > m:
                raise DesignError(
                    f"{spec}: bands={spec.bands} counts the diagonal, and {m} visits have "
                    f"no more than {m}; leave bands= out for all lags"
                )
            return Toeplitz(m, spec.bands)
        case StatedAntedependence():
            return Antedependence(m)
        case StatedCAR1():
            return ContinuousAR1(*_scales(batches))
        case StatedSpatial():
            return Spatial(spec.kind, spec.has_nugget, *_scales(batches))
    return UnstructuredVisits(m)


def _scales(batches):
    """Mean distance of two rows of a group, the shortest above zero, and the longest."""
    total = count = longest = 0.0
    shortest = np.inf
    for batch in batches:
        weight = batch.count.astype(float)
        count += float(weight.sum()) * batch.size * (batch.size - 1)
        if isinstance(batch.place, LineDistances):
            total += float(weight @ batch.place.total())
            gap = batch.place.gaps()
            apart, farthest = gap[gap > 0], gap.sum(axis=1).max()
        else:
            total += float(weight @ batch.place.sum(axis=(1, 2)))
            apart = batch.place[batch.place > 0]
            farthest = apart.max(initial=0.0)
        if len(apart):
            shortest = min(shortest, float(apart.min()))
            longest = max(longest, float(farthest))
    return total / count, shortest, longest


def start_of(
    spec: ResidualStructure,
    correlation: Correlation | None,
    visit_labels: Sequence[Any] | None,
    level_labels: Sequence[Any],
    functions: Sequence[FunctionOnRows],
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Values to start from by name of the parameter, and the names of those held.

    Raises
    ------
    ValueError
        If there are not as many as parameters, or they lie outside their range.
    """
    start: dict[str, float] = {}
    held: list[str] = []
    parts: list[tuple[Any, list[str]]] = []  # what has parameters, and their names
    if correlation is not None:
        own = _by_name(spec, correlation, visit_labels)
        for label in level_labels or [None]:
            prefix = "" if label is None else f"{label}: "
            start |= {f"{prefix}{name}": value for name, value in own.items()}
            parts.append((correlation, [f"{prefix}{name}" for name in correlation.names]))
    parts += [(f.function, list(f.function.names(f.labels))) for f in functions]
    if isinstance(spec.start, Mapping):
        known = [name for _, names in parts for name in names]
        for name, value in spec.start.items():
            if name not in known:
                raise ValueError(
                    f"{spec}: start has {name!r}, which is no parameter; they are "
                    f"{', '.join(known)}{did_you_mean(name, known)}"
                )
            start[name] = float(value)
    held += start if spec.fixed else ()
    for function in functions:
        start |= function.start
        held += function.start if function.fixed else ()
    for part, names in parts:
        _check_range(spec, part, names, start)
    return start, tuple(held)


def _by_name(spec, correlation, visit_labels):
    """Values to start from by the correlation's own names."""
    out: dict[str, float] = {}
    for argument, value in spec.start_values().items():
        if not isinstance(value, tuple):
            out[argument] = float(value)
            continue
        names = [n for n in correlation.names if n.split()[0] == argument]
        if len(value) != len(names):
            raise ValueError(
                f"{spec}: {argument} has {len(value)} values; expected {len(names)}, "
                f"{names[0]} to {names[-1]}"
            )
        out |= dict(zip(names, map(float, value), strict=True))
    if not isinstance(spec.start, Mapping | None):  # of us alone
        out |= _of_matrix(spec, correlation, visit_labels)
    return out


def _of_matrix(spec, correlation, visit_labels):
    """Elements of a covariance matrix relative to its first variance."""
    matrix, m = spec.start, correlation.m
    if isinstance(matrix, pd.DataFrame) and visit_labels is not None:
        absent = [v for v in visit_labels if v not in matrix.index or v not in matrix]
        if absent:
            raise ValueError(f"{spec}: start has no row and column {absent[0]!r}")
        matrix = matrix.loc[visit_labels, visit_labels]
    matrix = np.asarray(matrix, float)
    if matrix.shape != (m, m):
        raise ValueError(f"{spec}: start has shape {matrix.shape}; expected ({m}, {m})")
    sound = np.isfinite(matrix).all() and np.allclose(matrix, matrix.T, rtol=ASYMMETRY)
    if not sound or np.linalg.eigvalsh(matrix)[0] <= 0:
        raise ValueError(f"{spec}: start is no covariance matrix: it must be definite")
    relative = (matrix / matrix[0, 0])[correlation.elements]
    return dict(zip(correlation.names, map(float, relative), strict=True))


def _check_range(spec, part, names, start):
    """That all values of a part, if they are given, are in its range together."""
    if not names or not all(name in start for name in names):
        return
    try:
        part.free([start[name] for name in names])
    except ValueError as error:
        raise ValueError(f"{spec}: {error}") from None
