"""What rows cannot be for a residual structure: each error says where and what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import DesignError, UnidentifiedCovarianceError
from mixedext.limits import (
    DENSE_EVALUATIONS,
    DENSE_MATRICES,
    DENSE_PRODUCTS,
    LONGEST_FIT,
    PRODUCTS_A_SECOND,
)
from mixedext.specification.covariance.residual_objects import CAR1, CS, Spatial
from mixedext.specification.covariance.residual_structure import (
    ResidualStructure,
    name_of,
)

__all__ = [
    "check_by",
    "check_pairs",
    "check_places",
    "check_same_place",
    "check_size",
    "check_twice",
]

_Label = Callable[[int], Any]


def check_places(spec: ResidualStructure) -> None:
    """That visits, times or coordinates are stated, as many as the structure takes."""
    count = len(spec.places)
    if isinstance(spec, CS):
        if spec.is_het and not _names_visits(spec):
            raise DesignError(
                f"{spec}: het=True is a variance for each visit; give the visits"
            )
        return
    kind = type(spec).__name__
    if not count:
        what = {"CAR1": "time", "Spatial": "coordinates"}.get(kind, "visit")
        order = "; visit=1 takes the order of the rows" if spec.over_visits else ""
        raise DesignError(f"{kind} needs {what}= for residuals{order}")
    if spec.is_het and not _names_visits(spec):
        raise DesignError(f"{spec}: het=True is a variance for each visit; give the visits")
    if isinstance(spec, Spatial) and spec.kind == "lin" and count > 1:
        raise DesignError(
            f"{spec}: the linear function of distance is no correlation in the plane; "
            "sp_spher is one that vanishes at a distance, too"
        )


def _names_visits(spec):
    return "visit 1" in spec.columns()


def check_pairs(spec: ResidualStructure, sizes: np.ndarray, group_name: str) -> None:
    """That some rows share a group."""
    if sizes.max(initial=0) < 2:
        raise UnidentifiedCovarianceError(
            f"{spec}: no two rows share a group of {group_name!r}, so that there is no "
            "correlation to estimate; is it the right factor?"
        )


def two_rows(values: Any, first: int, second: int) -> str:
    """Two rows by their labels, or by their numbers where there are none, or the same."""
    labels, note = [first, second], ""
    if isinstance(values, pd.Series):
        found = [values.index[first], values.index[second]]
        if found[0] == found[1]:
            note = " (numbers, from 0)"
        else:
            labels = found
    texts = [repr(v.item() if isinstance(v, np.generic) else v) for v in labels]
    return f"rows {' and '.join(texts)}{note}"


def check_twice(
    spec: ResidualStructure,
    order: np.ndarray,
    codes: np.ndarray,
    visits: np.ndarray,
    labels: Sequence[Any],
    names: tuple[str, str],
    label: _Label,
    source: Any,
) -> None:
    """That no group has a visit twice.

    Parameters
    ----------
    spec : ResidualStructure
        The structure.
    order : ndarray
        Rows sorted by group and visit, (n,).
    codes, visits : ndarray
        Groups and visits of the rows, (n,).
    labels : sequence
        Labels of the visits.
    names : tuple of str
        Names of the groups and of the visits.
    label : callable
        From a code to the label of a group.
    source : Series or array
        Where rows have their labels.

    Raises
    ------
    DesignError
        Names the group, the visit and its first two rows.
    """
    at = _first_repeated(order, codes, [visits])
    if at is None:
        return
    first, second = sorted(order[at : at + 2])
    visit = labels[visits[first]]
    where = _of_group(spec, names[0], label, codes[first])
    raise DesignError(
        f"{spec}: {where} the visit {visit!r} of {names[1]!r} twice, in "
        f"{two_rows(source, first, second)}. Keep or aggregate one row of each visit, or "
        "name groups that have each visit once; without visits there are cs(1 | g) and, "
        "by times, sp_exp(time | g, nugget=True)"
    )


def check_same_place(
    spec: ResidualStructure,
    order: np.ndarray,
    codes: np.ndarray,
    coordinates: Sequence[np.ndarray],
    group_name: str,
    label: _Label,
    source: Any,
) -> None:
    """That no two rows of a group are at one time or place; without a nugget.

    Parameters
    ----------
    order : ndarray
        Rows sorted by group and coordinates, (n,).
    spec, codes, label, source
        As for ``check_twice``.
    coordinates : sequence of ndarray
        Times or places, (n,) each.
    group_name : str
        Name of the groups.

    Raises
    ------
    DesignError
        Names the group and both rows.
    """
    at = _first_repeated(order, codes, coordinates)
    if at is None:
        return
    first, second = sorted(order[at : at + 2])
    role = "time" if isinstance(spec, CAR1) else "coordinate"
    names = [name_of(p, role) for p in spec.places]
    place = ", ".join(
        f"{name}={v[first]:g}" for name, v in zip(names, coordinates, strict=True)
    )
    where = _of_group(spec, group_name, label, codes[first])
    cure = "add nugget=True"
    if isinstance(spec, CAR1):
        written = str(spec).removeprefix("car1(").split(",")[0].rstrip(")")
        cure = f"sp_exp({written}, nugget=True) is this structure with a nugget"
    raise DesignError(
        f"{spec}: {where} {place} twice, in "
        f"{two_rows(source, first, second)}, which would have to be equal; {cure}, or "
        "aggregate them"
    )


def _first_repeated(order, codes, values):
    """Where the first of two equal neighbours in an order stands; None without such."""
    same = np.ones(len(order) - 1, bool)
    for column in (*values, codes):
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
        if not same.any():
            return None
    return int(same.argmax())


def _of_group(spec, name, label, code):
    if spec.group is None:
        return "no group is given, so that all rows are one, which has"
    return f"{name} {label(code)!r} has"


def check_by(
    spec: ResidualStructure,
    level: np.ndarray,
    level_labels: Sequence[Any],
    codes: np.ndarray,
    n_groups: int,
    group_name: str,
    label: _Label,
) -> None:
    """That ``by`` is constant within groups.

    Raises
    ------
    DesignError
        Names a group and two of its levels.
    """
    first = np.empty(n_groups, np.intp)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    differs = level != level[first[codes]]
    if not differs.any():
        return
    row = int(differs.argmax())
    one, other = level_labels[level[first[codes[row]]]], level_labels[level[row]]
    by = name_of(spec.by, "by")
    raise DesignError(
        f"{spec}: {group_name} {label(codes[row])!r} has two levels of {by!r}, {one!r} "
        f"and {other!r}; a group has the parameters of one. If its labels stand for other "
        f"groups in each level, write | {by}/{group_name}, by={by}"
    )


def check_size(
    spec: ResidualStructure,
    blocks: Sequence[tuple[int, int]],
    available: Callable[[], float] | None,
) -> None:
    """That matrices of the size of the groups have room, and factors of them time.

    Parameters
    ----------
    spec : ResidualStructure
        The structure.
    blocks : sequence of tuple
        Number of patterns, and rows of each.
    available : callable or None
        Bytes that may be taken.

    Raises
    ------
    MemoryError
        With the rows of the largest group, bytes and seconds.
    """
    need = 8.0 * DENSE_MATRICES * sum(c * float(s) ** 2 for c, s in blocks)
    products = DENSE_PRODUCTS * sum(c * float(s) ** 3 for c, s in blocks)
    seconds = DENSE_EVALUATIONS * products / PRODUCTS_A_SECOND
    if need < _NEGLIGIBLE and seconds <= LONGEST_FIT:
        return
    room = np.inf if available is None else available()
    if need <= room and seconds <= LONGEST_FIT:
        return
    largest = max(s for _, s in blocks)
    patterns = sum(c for c, _ in blocks)
    raise MemoryError(
        f"{spec}: the largest group has {largest:,} rows; the matrices of "
        f"{patterns:,} different groups need about {need / 1e9:,.3g} GB"
        + ("" if np.isinf(room) else f" of {room / 1e9:,.3g} GB available")
        + f", and a fit about {seconds:,.0f} seconds. Name smaller groups, such as blocks "
        "of a field or years of a series, or fit fewer rows"
    )


# Bytes for which the system is not asked whether they are there.
_NEGLIGIBLE = 50e6
