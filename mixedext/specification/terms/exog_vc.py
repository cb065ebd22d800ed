"""Variance components given as matrices by group: statsmodels' VCSpec and its old dicts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse
from statsmodels.regression.mixed_linear_model import VCSpec

from mixedext.exceptions import user_stacklevel
from mixedext.specification.data.columns import as_floats
from mixedext.specification.terms.components import ColumnLabels, ComponentColumns
from mixedext.specification.terms.grouped import ComponentSpec

__all__ = ["spec_columns", "spec_of_dicts"]


def spec_of_dicts(exog_vc: Mapping, levels: pd.Index) -> VCSpec:
    """A VCSpec from the old form: component to group to matrix.

    Raises
    ------
    ValueError
        If the groups of a component are not those of ``levels``.
    """
    warnings.warn(
        "Using deprecated variance components format: give a VCSpec instead of dicts",
        FutureWarning,
        stacklevel=user_stacklevel(),
    )
    names = sorted(exog_vc)
    mats, colnames = [], []
    for name in names:
        by_group = exog_vc[name]
        if not isinstance(by_group, Mapping):
            raise ValueError(
                f"exog_vc[{name!r}] must map the groups to matrices, not be a "
                f"{type(by_group).__name__}"
            )
        unknown = [g for g in by_group if g not in levels]
        lacking = [g for g in levels if g not in by_group]
        if unknown or lacking:
            what = "lacks" if lacking else "has, but groups has not,"
            raise ValueError(
                f"exog_vc[{name!r}] {what} the group {(lacking or unknown)[0]!r}"
            )
        mats.append([by_group[g] for g in levels])
        colnames.append([getattr(by_group[g], "columns", None) for g in levels])
    return VCSpec(names, colnames, mats)


def spec_columns(
    spec: VCSpec, codes: np.ndarray, levels: pd.Index
) -> list[ComponentColumns]:
    """Columns of the components of a VCSpec.

    Parameters
    ----------
    spec : VCSpec
        Matrices by component and group; the groups in sorted order.
    codes : ndarray
        Group of every row, (n,), -1 where it is missing.
    levels : Index
        The groups, sorted.

    Raises
    ------
    ValueError
        If a matrix has not the rows of its group; names component and group.
    """
    made = spec.grouped if isinstance(spec, ComponentSpec) else None
    if made is not None and np.array_equal(made.codes, codes):
        return [replace(c, levels=levels) for c in made.columns()]
    names, mats = list(spec.names), list(spec.mats)
    colnames = spec.colnames if spec.colnames is not None else [None] * len(names)
    if len(mats) != len(names) or len(colnames) != len(names):
        raise ValueError(
            f"exog_vc has {len(names)} names, {len(mats)} lists of mats and "
            f"{len(colnames)} lists of colnames; there must be one for each component"
        )
    order = np.argsort(codes, kind="stable")
    order = order[np.searchsorted(codes[order], 0) :]
    counts = np.bincount(codes[order], minlength=len(levels))
    return [
        _component(str(name), own, labels, order, counts, codes, levels)
        for name, own, labels in zip(names, mats, colnames, strict=True)
    ]


def _component(name, mats, colnames, order, counts, codes, levels):
    mats = list(mats)
    if len(mats) != len(levels):
        raise ValueError(
            f"exog_vc: the component {name!r} has {len(mats)} matrices for "
            f"{len(levels)} groups"
        )
    mats = [_matrix(m, name, g) for m, g in zip(mats, levels, strict=True)]
    for matrix, count, group in zip(mats, counts.tolist(), levels, strict=True):
        if matrix.shape[0] != count:
            raise ValueError(
                f"exog_vc: the matrix of component {name!r} and group {group!r} has "
                f"{matrix.shape[0]} rows; the group has {count}"
            )
    widths = np.array([m.shape[1] for m in mats], np.int64)
    before = np.cumsum(widths) - widths
    rows, columns, values = _entries(mats, counts, widths)
    group = np.repeat(np.arange(len(mats)), widths)
    numbers, labels = _labels(mats, colnames, widths, name, levels)
    shape = len(codes), int(widths.sum())
    at = order[rows], columns + before[codes[order[rows]]]
    matrix = sparse.csr_array(sparse.coo_array((values, at), shape=shape))
    matrix.sort_indices()
    return ComponentColumns(
        name, matrix, np.asarray(codes), levels, group, numbers, ColumnLabels.of(labels)
    )


def _matrix(matrix, name, group):
    """A matrix by group as a sparse or dense array of numbers in two dimensions."""
    if sparse.issparse(matrix):
        return matrix.astype(float)
    try:
        array = as_floats(matrix)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"exog_vc: the matrix of component {name!r} and group {group!r} is not "
            f"numeric: {error}"
        ) from None
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2:
        raise ValueError(
            f"exog_vc: the matrix of component {name!r} and group {group!r} has shape "
            f"{array.shape}; expected two dimensions"
        )
    return array


def _entries(mats, counts, widths):
    """Rows (of all groups one after the other), columns (of the group) and values."""
    if not any(sparse.issparse(m) for m in mats):
        values = np.concatenate([m.ravel() for m in mats]) if mats else np.zeros(0)
        per_row = np.repeat(widths, counts)
        rows = np.repeat(np.arange(len(per_row)), per_row)
        starts = np.cumsum(per_row) - per_row
        return rows, np.arange(len(values)) - starts[rows], values
    parts, start = [], 0
    for matrix, count in zip(mats, counts.tolist(), strict=True):
        found = sparse.coo_array(matrix)
        parts.append((found.coords[0] + start, found.coords[1], found.data))
        start += count
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _labels(mats, colnames, widths, name, levels):
    """Numbers of the columns' labels, and the distinct labels."""
    flat: list[str] = []
    for i, width in enumerate(widths.tolist()):
        own = None if colnames is None else colnames[i]
        own = range(width) if own is None else own
        if len(own) != width:
            raise ValueError(
                f"exog_vc: component {name!r} has {len(own)} colnames for the {width} "
                f"columns of the group {levels[i]!r}"
            )
        flat.extend(map(str, own))
    numbers, labels = pd.factorize(np.array(flat, dtype=object))
    return numbers, labels
