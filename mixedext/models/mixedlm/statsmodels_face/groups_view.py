"""The groups of statsmodels' MixedLM: labels, rows, arrays by group, made on demand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.fitted import has_rows
from mixedext.specification.terms.grouped import ComponentSpec, sorted_factor

__all__ = [
    "MADE_OF_ROWS",
    "endog_li",
    "exog_li",
    "exog_re",
    "exog_re2_li",
    "exog_re_li",
    "exog_vc",
    "forget_groups",
    "group_codes",
    "group_labels",
    "group_list",
    "group_sizes",
    "init_kwds",
    "n_groups",
    "row_indices",
    "stated_by_groups",
]

# What is made of the groups' rows when it is asked for.
MADE_OF_ROWS = ["_group_codes", "row_indices", "endog_li", "exog_li"]
MADE_OF_ROWS += ["exog_re_li", "exog_re2_li", "exog_vc"]


def stated_by_groups(model: Any) -> bool:
    """Whether ``groups`` says all random terms, as in statsmodels."""
    count = len(model.components) + (model.main_term is not None)
    return 0 < count == len(model._design.terms)


def group_codes(model: Any) -> tuple[np.ndarray, Any]:
    """Codes and levels of ``groups``, or else of the first grouping factor."""
    if model.grouped is not None:
        return model.grouped.codes, model.grouped.levels
    if model.groups is not None:
        return sorted_factor(model.groups)
    for term in model.random_terms or ():
        if hasattr(term, "codes"):  # not a term of a general Z
            return term.codes, term.levels
    return np.zeros(model.nobs, np.intp), [0]


def group_labels(model: Any) -> list[Any]:
    """Levels of ``groups``, or else of the first grouping factor; one without any."""
    levels = model.group_levels
    return list(model._group_codes[1] if levels is None else levels)


def row_indices(model: Any) -> dict[Any, np.ndarray]:
    """Rows of each group."""
    codes, levels = model._group_codes
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=len(levels))
    rows = np.split(order, np.cumsum(counts)[:-1])
    return dict(zip(levels, rows, strict=True))


def n_groups(model: Any) -> int:
    """Number of levels of the first grouping factor."""
    return len(model.group_labels)


def group_sizes(model: Any) -> np.ndarray | None:
    """Rows of each group; None without a factor, or where no rows are in memory."""
    if not has_rows(model) or not (model.random_terms or model.groups is not None):
        return None
    codes, levels = model._group_codes
    return np.bincount(codes, minlength=len(levels))


def group_list(model: Any, array: Any) -> list[np.ndarray] | None:
    """An array split by group.

    Parameters
    ----------
    array : array_like or None
        One value, or one row, for each observation.

    Returns
    -------
    list of ndarray or None
        One array a group, in the order of ``group_labels``; None for None.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.sleepstudy.load().data
    >>> model = mx.mixedlm("Reaction ~ Days", data, groups="Subject")
    >>> [days.max() for days in model.group_list(data["Days"])[:2]]
    [np.float64(9.0), np.float64(9.0)]
    """
    if array is None:
        return None
    array = np.asarray(array)
    if array.shape[:1] != (model.nobs,):
        raise ValueError(
            f"array must have a value for each of the {model.nobs} rows of the model; "
            f"its shape is {array.shape}"
        )
    return [array[rows] for rows in model.row_indices.values()]


def endog_li(model: Any) -> list[np.ndarray]:
    """The response by group."""
    return model.group_list(model.endog)


def exog_li(model: Any) -> list[np.ndarray]:
    """The fixed-effects columns by group."""
    return model.group_list(model.exog)


def exog_re_li(model: Any) -> list[np.ndarray] | None:
    """Columns of the groups' own random effects by group; None if there are none."""
    return model.group_list(model.exog_re)


def exog_re2_li(model: Any) -> list[np.ndarray] | None:
    """Cross-products of ``exog_re`` by group; None if there are none."""
    arrays = model.exog_re_li
    return None if arrays is None else [x.T @ x for x in arrays]


def exog_re(model: Any) -> np.ndarray | None:
    """Columns of the groups' own random effects, (n, k_re); None if there are none."""
    grouped = model.grouped
    return None if grouped is None or grouped.main is None else grouped.main.z


def exog_vc(model: Any) -> ComponentSpec:
    """The variance components as statsmodels' VCSpec; its matrices made on demand."""
    return ComponentSpec(model.grouped, model.component_columns)


def forget_groups(model: Any) -> None:
    """Drop what has been made of the rows of the groups."""
    for made in MADE_OF_ROWS:
        model.__dict__.pop(made, None)


def init_kwds(model: Any) -> dict[str, Any]:
    """Arguments that make the model again from ``endog`` and ``exog``."""
    own = len(model.components) + (model.main_term is not None)
    kwds = {
        "use_sqrt": model.use_sqrt,
        "groups": model.groups,
        "exog_re": _named_exog_re(model),
        "exog_vc": model.exog_vc if model.components else None,
        "terms": list((model.random_terms or [])[own:]),
        "weights": model.weights,
        "offset": model.offset,
    }
    if model.residual_spec is not None:
        kwds["residual"] = model.residual_spec
    if hasattr(model, "formula"):
        kwds["formula"] = model.formula
    return kwds


def _named_exog_re(model):
    """``exog_re`` with its names; None where it is the default."""
    main = None if model.grouped is None else model.grouped.main
    if main is None:
        return None
    if main.names == ["Intercept"] and not model.components and main.columns == (None,):
        return None
    return pd.DataFrame(main.z, columns=model.layout.re_names[: main.k])
