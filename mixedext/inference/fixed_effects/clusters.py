"""Clusters of a robust covariance: labels, names or none at all, to codes of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.fitted import Fitted
from mixedext.inference.submodels.level_nesting import is_nested, term_is_nested
from mixedext.specification.data.codes import named_column
from mixedext.specification.data.labels import factorize
from mixedext.specification.data.tables import as_pandas
from mixedext.specification.terms.random_terms import SparseTerm

__all__ = ["cluster_codes"]


def cluster_codes(fitted: Fitted, groups: Any = None) -> list[np.ndarray]:
    """Codes of the clusters of each row, one array a way.

    Parameters
    ----------
    fitted : Fitted
        A fit with its rows in memory.
    groups : object, optional
        Labels (array, Series, list), the name of a column or index level of the data or
        of a grouping factor; two of these in a list, a DataFrame or an array with two
        columns for two-way clusters.  The grouping factor that all others are nested in
        if None; residual groups of which rows are correlated are one.

    Returns
    -------
    list of ndarray
        One or two arrays of 0 to G - 1, (n,).

    Raises
    ------
    ValueError
        If a name is not known, labels are missing or of another length than the rows, or
        ``groups`` is None and no factor contains all others.
    """
    rows = fitted.need_rows()
    if groups is None:
        return [_top_factor(rows, _residual_groups(fitted))]
    return [_codes(fitted, rows, part) for part in _ways(rows, groups)]


def _residual_groups(fitted):
    """Codes of residual groups whose rows are correlated; None without them."""
    residual = fitted.fit.residual
    if residual is None or residual.bound.correlation is None:
        return None
    return residual.bound.group_codes


def _top_factor(rows, residual):
    terms = list({t.group: t for t in rows.terms}.values())
    factors = [t.codes for t in terms if not isinstance(t, SparseTerm)]
    if residual is not None:
        factors.append(residual)
    for codes in factors:
        nested = all(term_is_nested(inner, codes) for inner in terms)
        if nested and (residual is None or is_nested(residual, codes)):
            return factorize(codes)[0]
    what = "no grouping factor contains all others" if factors else "there is none"
    raise ValueError(
        f"groups must be given for a cluster-robust covariance ({what}): "
        "cov_kwds={'groups': labels or a name}"
    )


def _ways(rows, groups):
    groups = as_pandas(groups, rows.labels)
    if isinstance(groups, list | tuple):
        groups = [as_pandas(part, rows.labels) for part in groups]
    if isinstance(groups, pd.DataFrame):
        parts = [groups[name] for name in groups.columns]
    elif isinstance(groups, list | tuple) and _is_list_of_ways(rows, groups):
        parts = list(groups)
    elif isinstance(groups, np.ndarray) and groups.ndim == 2:
        parts = list(groups.T)
    else:
        return [groups]
    if len(parts) not in (1, 2):
        raise ValueError(
            f"groups has {len(parts)} columns; one- and two-way clusters are supported"
        )
    return parts


def _is_list_of_ways(rows, groups):
    if any(np.ndim(part) == 1 for part in groups):
        return True
    return len(groups) < len(rows.endog) and all(isinstance(part, str) for part in groups)


def _codes(fitted, rows, labels):
    labels = (
        _named(fitted, rows, labels) if np.ndim(labels) == 0 else _aligned(rows, labels)
    )
    codes, _ = factorize(labels)
    if len(codes) and codes.min() < 0:
        raise ValueError("groups of the robust covariance have missing labels")
    return codes


def _named(fitted, rows, name):
    column = named_column(rows.frame, name)
    if column is not None:
        return column
    for term in rows.terms:
        if term.group == name:
            if isinstance(term, SparseTerm):
                raise ValueError(
                    f"groups={name!r} is a SparseTerm, whose rows may belong to several "
                    "levels; give labels, one a row"
                )
            return term.codes
    residual = fitted.fit.residual
    if residual is not None and residual.bound.group_name == name:
        return residual.bound.group_codes
    raise ValueError(
        f"groups={name!r} is neither a column or an index level of the data nor a "
        f"grouping factor of the model{did_you_mean(name, _columns_and_factors(rows))}"
    )


def _columns_and_factors(rows):
    columns = [] if rows.frame is None else rows.frame.columns
    return [*columns, *(term.group for term in rows.terms)]


def _aligned(rows, labels):
    n, own = len(rows.endog), rows.labels
    if isinstance(labels, pd.Series) and own is not None:
        same = len(labels) == n and labels.index.equals(pd.Index(own))
        if not same and labels.index.is_unique and pd.Index(own).isin(labels.index).all():
            return labels.loc[own]
    labels = np.squeeze(np.asarray(labels)) if np.ndim(labels) > 1 else labels
    if len(labels) != n:
        raise ValueError(
            f"groups of the robust covariance has length {len(labels)}, but the model has "
            f"{n} rows (rows with missing values are left out); give a Series with the "
            "index of the data, or the name of a column"
        )
    return labels
