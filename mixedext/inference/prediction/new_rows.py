"""Rows that are to be predicted: fixed columns, offset, and levels of the random terms.

Everything that predicts new data asks for its rows here, and the policies live here: which
random effects a prediction is given (``conditional``), and what is done with levels that
the fit had not (``new_levels``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.exceptions import FormulaError
from mixedext.fitted import Fitted, Model
from mixedext.inference.prediction.fixed_rows import fixed_rows, without_inestimable
from mixedext.inference.prediction.residual_places import ALL, places_beside_rows
from mixedext.inference.random_effects.modes import component_of
from mixedext.specification.covariance.residual_recipe import NewPlaces
from mixedext.specification.data.known_levels import MISSING, UNKNOWN
from mixedext.specification.data.labels import factorize
from mixedext.specification.formula.component_rows import ComponentRows
from mixedext.specification.formula.term_recipe import (
    Formulas,
    TermRows,
    fault_of,
    named_columns,
    named_rows,
    new_component_rows,
    new_labels,
    new_term_rows,
    term_columns,
)
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = [
    "NEW_LEVELS",
    "NewRows",
    "conditional_terms",
    "effect_columns",
    "keep_term_faults",
    "level_labels",
    "new_component",
    "new_rows",
    "precision_of",
]

NEW_LEVELS = ("raise", "zero", "missing")
# Levels that an error names.
MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class NewRows:
    """Rows that are to be predicted.

    Attributes
    ----------
    index : Index or None
        Labels of the rows; None of an array.
    exog : ndarray
        All columns of the fixed effects, (n, k); NaN in rows that lack a value.
    offset : ndarray or None
        Known part of the mean, (n,).
    terms : tuple of TermRows or None
        Rows of every random term; None for one that the prediction is not given.
    frame : DataFrame or None
        The new data.
    own : bool
        Whether these are the rows of the fit.
    places : NewPlaces or None
        Where the rows stand under the residual covariance; None if the prediction is not
        given residuals.
    """

    index: pd.Index | None
    exog: np.ndarray
    offset: np.ndarray | None
    terms: tuple[TermRows | None, ...]
    frame: pd.DataFrame | None = None
    own: bool = False
    places: NewPlaces | None = None

    def __len__(self) -> int:
        return len(self.exog)

    @property
    def given(self) -> bool:
        """Whether the prediction is given any random effects, or residuals."""
        return self.places is not None or any(t is not None for t in self.terms)

    @property
    def missing(self) -> np.ndarray:
        """Rows that lack a value or a level, (n,) bool."""
        out = np.isnan(self.exog).any(axis=1)
        if self.offset is not None:
            out |= np.isnan(self.offset)
        if self.places is not None:
            out |= self.places.missing
        for term in self.terms:
            if term is not None:
                out |= term.codes == MISSING
                if isinstance(term.z, np.ndarray):
                    out |= np.isnan(term.z).any(axis=1)
        return out

    @property
    def unknown(self) -> np.ndarray:
        """Rows of a level that the fit had not, (n,) bool."""
        out = np.zeros(len(self), bool)
        if self.places is not None:
            out |= self.places.group == UNKNOWN
        for term in self.terms:
            if term is not None:
                out |= term.codes == UNKNOWN
        return out

    def mean(self, fitted: Fitted) -> np.ndarray:
        """Mean of the rows, the effects of levels that the fit had not at zero, (n,).

        NaN, with a NotEstimableWarning, where the data of the fit do not determine it.
        """
        mean = self.exog @ np.nan_to_num(fitted.fixed.estimate)
        if not self.own:
            mean = without_inestimable(fitted.model, self.exog, mean)
        if self.offset is not None:
            mean = mean + self.offset
        for term, effect in zip(self.terms, fitted.fit.effects, strict=True):
            if term is not None:
                mean += term.mean(effect)
        if not self.own:
            mean[self.missing] = np.nan
        return mean

    def labelled(self, values: np.ndarray) -> Any:
        """Values as a Series, if the rows have labels."""
        return values if self.index is None else pd.Series(values, index=self.index)


def conditional_terms(
    fitted: Fitted, conditional: bool | str | Sequence[str] | None
) -> tuple[bool, ...]:
    """Which random terms a prediction is given.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    conditional : bool, str, list of str or None
        All, none, or those of some grouping factors; None for all of a model stated in
        bars or by ``terms``, and none of one stated by ``groups``; "all" for all of them
        and residuals.

    Raises
    ------
    ValueError
        If a name is not that of a grouping factor.
    """
    terms = fitted.random.terms
    if conditional is None:
        conditional = not fitted.model.stated_by_groups
    if _is_all(conditional):
        return (True,) * len(terms)
    if isinstance(conditional, bool | np.bool_):
        return (bool(conditional),) * len(terms)
    names = [conditional] if isinstance(conditional, str) else conditional
    if not isinstance(names, Sequence) or not all(isinstance(n, str) for n in names):
        raise ValueError(
            f"conditional={conditional!r}; use True, False, a grouping factor or a list "
            "of them, 'all', or None"
        )
    known = fitted.random.groups
    unknown = [n for n in names if n not in known]
    if unknown:
        raise ValueError(
            f"conditional={conditional!r}: {unknown[0]!r} is not a grouping factor of the "
            f"model; there are: {', '.join(known) or 'none'}"
            f"{did_you_mean(unknown[0], known)}"
        )
    return tuple(t.group in names for t in terms)


def _is_all(conditional):
    return isinstance(conditional, str) and conditional == ALL


def new_rows(
    fitted: Fitted,
    exog: Any = None,
    transform: bool = True,
    offset: Any = None,
    conditional: bool | str | Sequence[str] | None = None,
    new_levels: str = "raise",
) -> NewRows:
    """Rows to predict.

    Parameters
    ----------
    fitted : Fitted
        The fit.
    exog : DataFrame or array_like, optional
        New data; the rows of the fit if None.
    transform : bool, optional
        False if ``exog`` holds the columns of the fixed effects.
    offset : array_like, optional
        Added to the mean.
    conditional : bool, str or list of str, optional
        As for ``conditional_terms``.
    new_levels : {"raise", "zero", "missing"}, optional
        What is done with levels that the fit had not: they are an error; their effects
        are zero, and a row without a level has a new one; or they are missing.

    Raises
    ------
    ValueError
        If levels are new, and ``new_levels="raise"``; names them.
    FormulaError
        If the data lack a column; names it, and ``conditional=False`` where a population
        mean does not need it.
    """
    if new_levels not in NEW_LEVELS:
        raise ValueError(f"new_levels={new_levels!r}; use one of {', '.join(NEW_LEVELS)}")
    wanted = conditional_terms(fitted, conditional)
    fixed = fixed_rows(fitted.model, exog, transform, offset)
    terms: list[TermRows | None] = []
    for number, want in enumerate(wanted):
        if not want:
            terms.append(None)
        elif fixed.own:
            terms.append(_own_rows(fitted.need_rows().terms[number]))
        else:
            own = _term_rows(fitted, number, fixed.frame)
            terms.append(_settled(fitted, number, own, fixed.frame, new_levels))
    places = None
    if _is_all(conditional):
        places = places_beside_rows(fitted, fixed, new_levels)
    return NewRows(
        fixed.index, fixed.exog, fixed.offset, tuple(terms), fixed.frame, fixed.own, places
    )


def precision_of(fitted: Fitted, rows: NewRows, weights: Any) -> np.ndarray:
    """Weights of the observations, (n,)."""
    if weights is None:
        own = fitted.need_rows().weights if rows.own else None
        if rows.places is not None and not rows.own and fitted.is_weighted:
            raise ValueError(
                "the fit has weights, and what residuals of other rows say of a new one "
                "depends on its own: give it to get_prediction by weights=, or use "
                "conditional=True"
            )
        return np.ones(len(rows)) if own is None else own
    weights = np.asarray(weights, float)
    if weights.ndim > 1 or (weights.ndim and len(weights) not in (1, len(rows))):
        raise ValueError(f"weights has shape {weights.shape} for {len(rows)} rows")
    weights = np.broadcast_to(weights, len(rows))
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError("weights must be positive and finite: precisions of observations")
    return weights


def _own_rows(term):
    if isinstance(term, RandomTerm):
        return TermRows(term.codes, term.z)
    matrix = term.matrix
    return TermRows(np.zeros(matrix.shape[0], np.int8), matrix, np.zeros(matrix.shape[0]))


def effect_columns(fitted: Fitted, rows: NewRows, number: int) -> np.ndarray:
    """Columns of a random term of rows whatever their levels, (n, k).

    Of a variance component, one column whose square is the sum of squares of all.

    Raises
    ------
    FormulaError
        If the data lack a column; names it.
    ValueError
        If the rows came as an array that does not hold them.
    """
    model, term = fitted.model, fitted.random.terms[number]
    if rows.own:
        own = fitted.need_rows().terms[number]
        if isinstance(own, RandomTerm) and number not in model.components:
            return own.z
        z = own.z if isinstance(own, RandomTerm) else own.matrix
        square = (z**2).sum(axis=1) if isinstance(z, np.ndarray) else z.power(2).sum(axis=1)
        return np.sqrt(square)[:, None]
    recipe = None if model.recipes is None else model.recipes[number]
    if recipe is None:
        return named_columns(term, rows.frame, len(rows))
    return term_columns(recipe, term, rows.frame, len(rows), _formulas(model))


def level_labels(
    fitted: Fitted, number: int, frame: pd.DataFrame
) -> tuple[np.ndarray, pd.Index]:
    """Codes (n,), negative where there is none, and labels of the levels of rows."""
    model, term = fitted.model, fitted.random.terms[number]
    if model.recipes is None:
        return factorize(frame[term.group])
    return new_labels(model.recipes[number], frame, _formulas(model))


def _term_rows(fitted, number, frame):
    """Rows of one term, before any policy."""
    model, term = fitted.model, fitted.random.terms[number]
    how = "; conditional=False predicts the population mean, without random effects"
    if frame is None:
        raise ValueError(
            "exog is an array, which does not tell the levels of the random effects: pass "
            f"a DataFrame with the column {term.group!r} too{how}"
        )
    try:
        if model.recipes is None:
            return named_rows(term, frame)
        component = component_of(fitted, [number])
        recipe = model.recipes[number]
        return new_term_rows(
            recipe, term, frame, _formulas(model), component, model.group_levels
        )
    except FormulaError as error:
        raise FormulaError(f"{error}{how}") from error


def new_component(fitted: Fitted, number: int, frame: pd.DataFrame) -> ComponentRows:
    """Columns of a variance component on new rows, by group and label."""
    model, component = fitted.model, component_of(fitted, [number])
    assert component is not None
    assert model.recipes is not None
    return new_component_rows(
        model.recipes[number], component, model.group_levels, frame, _formulas(model)
    )


def _formulas(model):
    return Formulas(
        model.namespace,
        model.aliases,
        model.emptied,
        getattr(model.data, "frame", None),
        partial(_term_fault, model),
    )


def _term_fault(model, recipe, part):
    """Why a part of a term has none for new data; looked at once, while there are rows."""
    known = vars(model).setdefault("term_faults", {})
    key = part, recipe.component or recipe.columns, recipe.factors
    if key not in known:
        found = fault_of(recipe, part, _formulas(model))
        if found is None:
            return None
        known[key] = found
    return known[key]


def keep_term_faults(model: Model) -> None:
    """Look at the random terms before the data are removed."""
    for recipe in model.recipes or ():
        parts = ("columns", "levels") if recipe.component is None else ("component",)
        for part in parts:
            _term_fault(model, recipe, part)


def _settled(fitted, number, rows, frame, new_levels):
    """Rows of a term by the policy for new levels."""
    unknown = rows.codes == UNKNOWN
    if new_levels == "zero":
        return replace(rows, codes=np.where(rows.codes == MISSING, UNKNOWN, rows.codes))
    if not unknown.any():
        return rows
    if new_levels == "missing":
        return replace(rows, codes=np.where(unknown, MISSING, rows.codes))
    term = fitted.random.terms[number]
    at = np.flatnonzero(unknown)
    raise ValueError(
        f"exog has levels of {term.group!r} that the fit had not: "
        f"{_named(term, frame, at)}{_other_type(term, frame, at)}. new_levels='zero' "
        "predicts them with random effects of zero, new_levels='missing' gives NaN, "
        "conditional=False the population mean"
    )


def _other_type(term, frame, at):
    """What to do where levels of the fit are numbers and those of new data text."""
    if term.group not in frame.columns:
        return ""
    known = {str(v): v for v in term.levels}
    own = frame[term.group].iloc[at[0]]
    if str(own) not in known:
        return ""
    there = known[str(own)]
    return (
        f" (the fit had {there!r}, of type {type(there).__name__}; this is {own!r}, of "
        f"type {type(own).__name__}: give the column the type it had)"
    )


def _named(term, frame, at):
    """The first few of the new levels."""
    columns = [c for c in term.group.split(":") if c in frame.columns]
    if not columns:
        columns = [c for c in (term.group,) if c in frame.index.names]
        if not columns:
            return f"in row {at[0]}" + (" and others" if len(at) > 1 else "")
        labels = frame.index.get_level_values(columns[0])[at].unique()
        names = [str(v) for v in labels]
    else:
        unique = frame[columns].iloc[at].drop_duplicates()
        names = [":".join(map(str, row)) for row in unique.itertuples(index=False)]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
