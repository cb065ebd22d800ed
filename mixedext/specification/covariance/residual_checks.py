"""What data cannot have for a residual structure: each error says where and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import DesignError
from mixedext.specification.covariance.residual_structure import ResidualStructure

__all__ = ["check_by", "check_pairs", "check_twice", "row_label"]


def row_label(values: Any, row: int) -> Any:
    """The label of a row: that of the index, or its number."""
    label = values.index[row] if isinstance(values, pd.Series) else row
    return label.item() if isinstance(label, np.generic) else label


def check_pairs(spec: ResidualStructure, sizes: np.ndarray, group_name: str) -> None:
    """That some rows share a group."""
    if sizes.max(initial=0) > 1:
        return
    raise DesignError(
        f"{spec}: no two rows share a group of {group_name!r}, so that there is no "
        "correlation to estimate; is it the right factor?"
    )


def check_twice(
    spec: ResidualStructure,
    order: np.ndarray,
    codes: np.ndarray,
    visits: np.ndarray,
    labels: Any,
    names: tuple[str, str],
    group_label: Any,
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
        Names of the group and of the visit.
    group_label : callable
        From a code to the label of the group.
    source : Series or array
        Where rows have their labels.

    Raises
    ------
    DesignError
        Names the group, the visit and its first two rows.
    """
    v = visits[order]
    same = v[1:] == v[:-1]
    if not same.any():
        return
    g = codes[order]
    same &= g[1:] == g[:-1]
    if not same.any():
        return
    at = int(same.argmax())
    first, second = sorted(order[at : at + 2])
    where = _of_group(spec, names[0], group_label, g[at])
    raise DesignError(
        f"{spec}: {where} the visit {labels[v[at]]!r} of {names[1]!r} in rows "
        f"{row_label(source, first)!r} and {row_label(source, second)!r} (and there may be "
        "more); keep one row of each visit or aggregate them, name the groups that have "
        f"each visit once, or take a structure that needs no visits: cs(1 | g), or "
        "sp_exp(time | g, nugget=True)"
    )


def _of_group(spec, name, group_label, code):
    if spec.group is None:
        return "all rows are one group, as no group is given, and it has"
    return f"{name} {group_label(code)!r} has"


def check_by(
    spec: ResidualStructure,
    level: np.ndarray,
    level_labels: list,
    codes: np.ndarray,
    n_groups: int,
    group_name: str,
    group_label: Any,
) -> None:
    """That ``by`` is constant within groups."""
    first = np.empty(n_groups, np.intp)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    differs = level != level[first[codes]]
    if not differs.any():
        return
    row = int(differs.argmax())
    one, other = level_labels[level[first[codes[row]]]], level_labels[level[row]]
    raise DesignError(
        f"{spec}: by has two levels within {group_name} {group_label(codes[row])!r}, "
        f"{one!r} and {other!r}; a group has the parameters of one level. If labels of "
        f"{group_name} repeat in other levels, groups are nested: "
        "us(visit | arm/subject, by=arm)"
    )
