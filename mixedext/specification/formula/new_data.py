"""Columns of a formula for new data, by what it has learned from the data of the fit."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.exceptions import FormulaError, user_stacklevel
from mixedext.specification.data.columns import index_levels, with_columns
from mixedext.specification.data.tables import data_frame
from mixedext.specification.formula.bars import names_in
from mixedext.specification.formula.column_kinds import described
from mixedext.specification.formula.formula_engine import (
    FormulaEngine,
    is_of_name,
    reason_of,
    used_columns,
)
from mixedext.specification.formula.offset_terms import OffsetTerm
from mixedext.specification.formula.plain_formula import DeferredSpec

__all__ = ["NewColumns", "new_fixed_columns", "series_as_frame"]


def _new_matrix(engine, model_spec, text):
    """Columns of the fixed part for new data; levels that the fit had not are refused."""
    try:
        return _columns_of_values(engine, model_spec, text)
    except FormulaError as error:
        lacking = engine.unknown_names(text)
        if not lacking or not is_of_name(error, lacking):
            raise
        raise FormulaError(
            "the new data do not fit the formula: they have no column "
            f"{', '.join(lacking)}; their columns are: {', '.join(engine.columns)}"
            f"{did_you_mean(lacking[0], engine.columns) or '.'} "
            "(transform=False takes the columns of the model itself.)"
        ) from error


def _columns_of_values(engine, model_spec, text):
    _, data = engine._for_numbers(engine.with_aliases(text))
    # Engines want the categories of the fit in its order, which are nothing to values; and
    # formulaic takes rows of other categories for rows of the first.
    changed = {
        name: data[name].astype(object)
        for name in data.columns
        if isinstance(data[name].dtype, pd.CategoricalDtype)
    }
    if engine.manager.engine != "patsy":
        # formulaic would take numbers for values, though the fit had categories, and would
        # keep what it meets here, such as text for numbers, in the fit's own specification
        met = model_spec.encoder_state.items()
        state = {name: (kind, dict(own)) for name, (kind, own) in met}
        model_spec = model_spec.update(encoder_state=state)
        for name in data.columns:
            if str(name) in state and state[str(name)][0].value == "categorical":
                changed[name] = data[name].astype(object)
        return _engine_columns(engine, model_spec, with_columns(data, changed))
    plain = with_columns(data, changed)
    try:
        return _engine_columns(engine, model_spec, data)
    except FormulaError:
        if not changed:
            raise
        return _engine_columns(engine, model_spec, plain)


def _engine_columns(engine, model_spec, data):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            exog = engine.manager.get_matrices(
                model_spec,
                data,
                eval_env=engine.namespace,
                na_action=engine.na_action,
                prediction=True,
            )
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # such as SystemExit
            reason = reason_of(error)
            meant = _text_columns(reason, data, model_spec)
            reason = meant or reason + _level_meant(reason)
            raise FormulaError(f"the new data do not fit the formula: {reason}") from error
    for message in caught:
        if message.category.__name__ == "DataMismatchWarning":  # formulaic's
            raise FormulaError(f"the new data do not fit the formula: {message.message}")
    for message in caught:
        warnings.warn(message.message, stacklevel=user_stacklevel())
    return exog


def _categories_of_fit(model_spec):
    """Names of the columns that were categories in the fit."""
    infos = getattr(model_spec, "factor_infos", {})  # patsy's
    factors = [f.name() for f, info in infos.items() if info.type == "categorical"]
    states = getattr(model_spec, "encoder_state", {})  # formulaic's
    factors += [f for f, (kind, _) in states.items() if kind.value == "categorical"]
    return set().union(*map(names_in, factors))


def _text_columns(reason, data, model_spec):
    """Columns of new data that are no numbers, where the fit had some."""
    signs = "has no attribute 'dtype'", "numer", "inconsistent with specification"
    if not any(sign in reason for sign in signs):
        return ""
    kinds = {n: c for n, c in data.items() if getattr(c.dtype, "kind", "O") not in "iufb"}
    known = _categories_of_fit(model_spec)
    kinds = {n: c for n, c in kinds.items() if str(n) not in known} or kinds
    said = [f"{name} holds {described(column)}" for name, column in kinds.items()]
    text = "a column that was numeric in the fit is not"
    return f"{text}: {'; '.join(said)}" if said else ""


def _level_meant(reason):
    """The level that one that the fit had not is like, after patsy's message."""
    found = re.search(r"value '(.+?)' does not match .*\(expected: \[(.*)\]\)", reason)
    return did_you_mean(found[1], re.findall(r"'([^']*)'", found[2])) if found else ""


def series_as_frame(data: pd.Series, fixed_formula: str) -> pd.DataFrame:
    """A Series as new data: a column if the formula knows its name, else one row."""
    name = data.name
    if isinstance(name, str) and name in names_in(fixed_formula.split("~", 1)[1]):
        return data.to_frame()
    return data.to_frame().T.infer_objects()


class NewColumns(NamedTuple):
    """New data as the fixed part has them.

    Attributes
    ----------
    exog : ndarray
        Columns, (m, k); NaN for rows that lack a value, or whose category has no rows.
    offset : ndarray or None
        The formula's own offset.
    emptied : dict
        For each column the categories met that had no rows in the fit.
    """

    exog: np.ndarray
    offset: np.ndarray | None
    emptied: dict[str, list]


def new_fixed_columns(
    model_spec: Any,
    data: Any,
    fixed_formula: str,
    namespace: Mapping[str, Any],
    aliases: Mapping[str, str],
    offset_terms: Sequence[OffsetTerm] = (),
    emptied: Mapping[Any, pd.Index] | None = None,
) -> NewColumns:
    """Fixed-effects columns and formula offset for new data, bases as in the fit.

    Parameters
    ----------
    model_spec : object
        The formula engine's specification of the fixed part.
    data : DataFrame
        New data, or what a frame can be made of.
    fixed_formula, namespace, aliases, offset_terms
        As in ``ModelFrame``.
    emptied : dict, optional
        For each categorical column its categories that no row of the fit has.
    """
    frame = data_frame(data)
    texts = [fixed_formula.split("~", 1)[1], *(term.text for term in offset_terms)]
    used = used_columns(frame, texts)
    absent = _lacks_category(used)
    known = [*frame.columns, *index_levels(frame, used.columns)]
    engine = FormulaEngine(
        used[~absent] if absent.any() else used, namespace, known, aliases
    )
    lost, met = _in_emptied(used, emptied or {})
    try:
        exog = _new_matrix(engine, model_spec, texts[0])
    except FormulaError:
        if not (lost & ~absent).any():
            raise
        # the formula codes a category that the fit has no column for
        absent |= lost
        engine = FormulaEngine(used[~absent], namespace, known, aliases)
        exog = np.zeros((0, 0))
        if not absent.all():
            exog = _new_matrix(engine, model_spec, texts[0])
    else:
        met = {}
    exog, offset = np.asarray(exog, float), None
    if absent.all() and len(absent):
        return NewColumns(np.full((len(absent), exog.shape[1]), np.nan), None, met)
    for term in offset_terms:
        value = _new_offset(engine, term)
        offset = value if offset is None else offset + value
    if not absent.any():
        return NewColumns(exog, offset, met)
    whole = np.full((len(absent), exog.shape[1]), np.nan)
    whole[~absent] = exog
    if offset is not None:
        offset = _spread(offset, ~absent)
    return NewColumns(whole, offset, met)


def _new_offset(engine, term):
    """Values of an offset for new data."""
    spec = term.spec.resolve() if isinstance(term.spec, DeferredSpec) else term.spec
    if spec is None:
        raise FormulaError(
            f"what {term} has learned from the data of the fit could not be saved with the "
            "model; predict before it is saved"
        )
    return np.asarray(_new_matrix(engine, spec, f"I({term.text})"), float)[:, 0]


def _in_emptied(data, emptied):
    """Rows in which a column has a category without rows, (n,) bool, and what these are."""
    lost, met = np.zeros(len(data), bool), {}
    for name, categories in emptied.items():
        if name in data.columns:
            own = data[name].astype(object).isin(categories).to_numpy()
            if own.any():
                met[str(name)] = list(data[name][own].unique())
            lost |= own
    return lost, met


def _spread(values, places):
    out = np.full(len(places), np.nan)
    out[places] = values
    return out


def _lacks_category(data):
    """Rows in which a column that is not numeric has no value, (n,) bool."""
    absent = np.zeros(len(data), bool)
    for name in data.columns:
        if getattr(data[name].dtype, "kind", "O") not in "iufbc":
            absent |= data[name].isna().to_numpy()
    return absent
