"""Random terms of a formula: the columns of a bar, its levels, their known relationship."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.compat import COPY_ON_WRITE, keeps_legacy_order
from mixedext.exceptions import DesignError, FormulaError
from mixedext.specification.covariance.registry import BARS
from mixedext.specification.data.labels import level_index
from mixedext.specification.formula.bars import Bar, names_in
from mixedext.specification.formula.formula_engine import spec_of_types
from mixedext.specification.formula.plain_formula import (
    DeferredSpec,
    column_types,
    plain_columns,
)
from mixedext.specification.formula.term_recipe import right_side
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm
from mixedext.specification.terms.related_terms import related_term

__all__ = ["bar_term", "columns_of_text", "deferred_spec", "group_term", "relationships"]

# The label of a category in the name of its column, and numbers in a label.
_LABEL, _NUMBER = re.compile(r"\[(?:T\.)?([^\[\]]*)\]$"), re.compile(r"\d+(?:\.\d+)?")


def _columns(engine, text):
    """Columns of a random term's left-hand side: (columns, names, owners, extremes).

    A column of ones is None; columns that the data or the fixed part hold are theirs.
    """
    if text.strip() == "1":
        return (None,), ["Intercept"], (), ()
    extremes: Sequence[tuple[np.ndarray, np.ndarray] | None]
    found = columns_of_text(engine, text)
    if found is None:
        matrix = engine.matrices(f"~ {text}")
        engine.specs[text] = engine.manager.spec
        names = engine.plain_names(matrix.columns)
        owners, extremes = (), ()
        table = np.asarray(matrix, float)
        columns = [table[:, j] for j in range(table.shape[1])]
    else:
        plain, names = found
        engine.specs[text] = deferred_spec(engine, f"~ {text}")
        columns = [_term_column(engine, column) for column in plain]
        held = [column.data_column for column in plain]
        owners = tuple(engine.series[part.source] for part in held if part is not None)
        extremes = [
            None if part is None else engine.series.extremes(part.source) for part in held
        ]
    if not names:
        raise FormulaError(
            f"the random term ({text} | ...) has no columns; a random intercept is "
            "(1 | ...)"
        )
    return columns, names, owners, extremes


def _term_column(engine, column):
    """A column of a random term; what the fixed part has too is not made again."""
    if not column.parts:
        return None
    part = column.data_column
    if part is not None:
        return part.values if COPY_ON_WRITE else part.values.copy()
    if column.key not in engine.made:
        out = engine.made[column.key] = np.empty(len(column.parts[0].values))
        column.write(out)
    return engine.made[column.key]


def relationships(covariances, bars):
    """Known relationships by grouping factor."""
    if covariances is None:
        return {}
    if not isinstance(covariances, Mapping):
        raise ValueError(
            f"covariances must map grouping factors to matrices, not "
            f"{type(covariances).__name__}: {{'animal': A}}"
        )
    groups = [bar.group for bar in bars]
    for name in covariances:
        if name not in groups:
            raise ValueError(
                f"covariances: {name!r} is no grouping factor of a bar; there are: "
                f"{', '.join(map(repr, groups)) or 'none'}{did_you_mean(name, groups)}"
            )
    return dict(covariances)


def bar_term(engine, bar: Bar, covariance: Any = None) -> RandomTerm | SparseTerm:
    columns, names, *known = _columns(engine, bar.columns)
    codes, levels = engine.grouping_factors(bar.factors)
    if covariance is not None:
        z = (
            None
            if columns == (None,)
            else np.column_stack([np.ones(len(codes)) if c is None else c for c in columns])
        )
        own = None if z is None else names
        return related_term(codes, z, bar.group, own, level_index(levels), covariance)
    term = RandomTerm.of_columns(
        codes,
        columns,
        bar.group,
        names,
        bar.structure,
        levels,
        *known,
    )
    if term.structure.ordered:
        _check_order(engine, bar, names)
    return term


def _check_order(engine, bar, names):
    """Refuse visits of text whose numbers stand in another order than the text."""
    found = [_LABEL.search(name) for name in names]
    labels = [match[1] for match in found if match]
    numbers = [_NUMBER.findall(label) for label in labels]
    if len(labels) < len(names) or any(len(own) != 1 for own in numbers):
        return
    values = [float(own[0]) for own in numbers]
    stated = any(
        isinstance(engine.series[name].dtype, pd.CategoricalDtype)
        for name in names_in(bar.columns)
        if name in engine.series
    )
    if stated or values == sorted(values):
        return
    by_number = [label for _, label in sorted(zip(values, labels, strict=True))]
    raise DesignError(
        f"{bar.label}: the order of the visits is that of their text, "
        f"{', '.join(labels)}, and by their numbers it is {', '.join(by_number)}; make the "
        "column an ordered categorical"
    )


def group_term(engine, factor, group_name, re_formula):
    """The groups' own random effects."""
    text = "1" if re_formula is None else right_side(re_formula)
    columns, names, *known = _columns(engine, text)
    codes, levels = factor
    return RandomTerm.of_columns(
        codes, columns, group_name, names, BARS["|"], levels, *known
    )


def columns_of_text(engine, text):
    """Columns of a plain piece of formula and their names; None if it is not plain."""
    if not keeps_legacy_order(engine.manager) or {"C", "I"} & engine.namespace.keys():
        return None
    columns = plain_columns(text, engine.series, engine.manager.engine, engine.factors)
    if columns is None:
        return None
    return columns, engine.plain_names([c.name(engine.aliases) for c in columns])


def deferred_spec(engine, formula):
    """The specification of a plain formula, of which types and levels are enough."""
    used = [n for n in engine.series if n in names_in(formula)]
    types = column_types(engine.series, used, engine.factors)
    known = engine.aliases, engine.manager.engine
    return DeferredSpec(spec_of_types, formula, types, *known)
