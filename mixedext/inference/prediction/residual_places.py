"""Where rows to predict stand under a residual covariance, and the policies for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mixedext.fitted import Fitted, has_rows, once_a_fit
from mixedext.inference.prediction.fixed_rows import FixedRows
from mixedext.specification.covariance.residual_recipe import (
    NewPlaces,
    ResidualRecipe,
    own_places,
    residual_recipe,
)
from mixedext.specification.data.known_levels import MISSING, UNKNOWN
from mixedext.specification.data.labels import factorize, interact

__all__ = [
    "ALL",
    "keep_recipe",
    "places_beside_rows",
    "places_of_new_groups",
    "places_of_observations",
]

#: Value of ``conditional`` by which a prediction is given residuals too.
ALL = "all"
# Groups that an error names.
MOST_NAMED = 5


@once_a_fit
def _recipe(fitted: Fitted) -> ResidualRecipe:
    residual = fitted.fit.residual
    assert residual is not None
    return residual_recipe(residual.bound, fitted.model.residual_spec)


def keep_recipe(fitted: Fitted) -> None:
    """Keep what places new rows, before the rows of the fit are removed."""
    if fitted.fit.residual is not None and has_rows(fitted.model):
        _recipe(fitted)


def places_beside_rows(
    fitted: Fitted, fixed: FixedRows, new_levels: str
) -> NewPlaces | None:
    """Places of rows that are given the residuals of the rows of the fit.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    fixed : FixedRows
        The rows.
    new_levels : {"raise", "zero", "missing"}
        What is done with residual groups that the fit had not.

    Returns
    -------
    NewPlaces or None
        None if residuals are independent.

    Raises
    ------
    ValueError
        If the rows of the fit are gone, or rows are of other groups and
        ``new_levels="raise"``.
    """
    residual = fitted.fit.residual
    if residual is None or residual.bound.correlation is None:
        return None
    if not has_rows(fitted.model):
        raise ValueError(
            "conditional='all' needs the rows of the fit, with which those to predict are "
            "correlated, and they were removed: make the model again, or use "
            "conditional=True, without their residuals"
        )
    if fixed.own:
        return own_places(residual.bound, fitted.model.residual_spec)
    recipe = _recipe(fitted)
    places = recipe.places(fixed.frame, len(fixed.exog))
    unknown = places.group == UNKNOWN
    if new_levels == "zero":
        return replace(places, group=np.where(unknown, UNKNOWN, _known(places)))
    if new_levels == "raise" and unknown.any():
        raise ValueError(
            f"exog has levels of {residual.bound.group_name!r} that the fit had not: "
            f"{_named(recipe, fixed.frame, unknown)}. new_levels='zero' predicts them "
            "without residuals, new_levels='missing' gives NaN, conditional=False the "
            "population mean"
        )
    lost = places.group < 0
    return replace(places, missing=places.missing | lost)


def _known(places):
    """Groups, rows without a label as of a new one."""
    return np.where(places.group == MISSING, UNKNOWN, places.group)


def _named(recipe: ResidualRecipe, frame: Any, unknown: np.ndarray) -> str:
    """The first few of the groups that the fit had not."""
    columns = recipe.group_columns(frame)
    texts = []
    for column in columns:
        codes, levels = factorize(column)
        texts.append(np.asarray(levels, object)[codes[unknown]])
    names = list(dict.fromkeys(":".join(map(str, row)) for row in zip(*texts, strict=True)))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def places_of_observations(fitted: Fitted, rows: Any) -> NewPlaces:
    """Places of rows as far as standard deviations of their residuals ask for them.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    rows : NewRows
        The rows.

    Raises
    ------
    FormulaError
        If the data lack a column; names it.
    ValueError
        If the fit does not know a visit or a stratum; names it.
    """
    residual = fitted.fit.residual
    assert residual is not None
    if rows.own:
        return own_places(residual.bound, fitted.model.residual_spec)
    return _recipe(fitted).places(rows.frame, len(rows), with_groups=False)


def places_of_new_groups(fitted: Fitted, frame: Any, n: int) -> NewPlaces:
    """Places of rows of residual groups that the fit had not, which have numbers.

    Groups of the fit keep theirs; each row is a group where residuals are independent.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    frame : DataFrame
        The rows.
    n : int
        Their number.
    """
    recipe = _recipe(fitted)
    places = recipe.places(frame, n)
    if not recipe.correlates:
        return replace(places, group=np.arange(n))
    columns = recipe.group_columns(frame)
    if not columns:  # the only group that there is
        return places
    found = factorize(columns[0])
    for column in columns[1:]:
        found = interact(found, factorize(column))
    fresh = places.group == UNKNOWN
    number = len(recipe.group_levels) + found[0]
    group = np.where(fresh, number, places.group)
    return replace(places, group=group, missing=places.missing | (group == MISSING))
