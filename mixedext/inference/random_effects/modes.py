"""Random effects of a fitted model: conditional modes and covariances, with labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.fitted import Fitted, HasFitted
from mixedext.specification.terms.components import Component
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm
from mixedext.specification.terms.related_terms import RelatedTerm

__all__ = [
    "coef",
    "component_frame",
    "component_of",
    "distinct_names",
    "effect_names",
    "n_levels",
    "own_scale",
    "ranef",
    "terms_of",
]


def terms_of(fitted: Fitted, group: str | None) -> tuple[str, list[int]]:
    """A grouping factor, the only one if None, and the numbers of its terms."""
    terms, groups = fitted.random.terms, fitted.random.groups
    if not groups:
        raise ValueError("the model has no random effects")
    if group is None:
        if len(groups) > 1:
            raise ValueError(f"name one of the grouping factors: {', '.join(groups)}")
        group = groups[0]
    numbers = [i for i, t in enumerate(terms) if t.group == group]
    # a component may have the name of a factor, which comes first
    own = fitted.model.components
    numbers = [i for i in numbers if i not in own] or numbers[:1]
    if not numbers:
        raise ValueError(
            f"group={group!r} is not a grouping factor of the model; there are: "
            f"{', '.join(groups)}{did_you_mean(group, groups)}"
        )
    return group, numbers


def effect_names(fitted: Fitted, numbers: list[int]) -> list[str]:
    """Names of the effects of terms."""
    return [name for i in numbers for name in fitted.random.terms[i].names]


def own_scale(term: RandomTerm | SparseTerm, effects: np.ndarray) -> np.ndarray:
    """Effects of the levels from those of the columns: others where levels are related."""
    return term.own_scale(effects) if isinstance(term, RelatedTerm) else effects


def distinct_names(names: Iterable[Any]) -> list[str]:
    """Names told apart where two terms have an effect of one name: ``x``, ``x.1``."""
    stated = [str(name) for name in names]
    return [
        f"{name}.{stated[:i].count(name)}" if name in stated[:i] else name
        for i, name in enumerate(stated)
    ]


def n_levels(results: HasFitted) -> pd.Series:
    """Number of levels of each grouping factor."""
    terms = results.fitted.random.terms
    return pd.Series({t.group: t.n_levels for t in terms}, dtype=int)


def ranef(results: HasFitted, group: str | None = None) -> pd.DataFrame:
    """Conditional modes (BLUPs) of a grouping factor.

    Parameters
    ----------
    group : str, optional
        Name of the factor, or of a variance component of ``groups``; may be left out
        if there is one.

    Returns
    -------
    DataFrame
        One row a level, one column a random effect; of a variance component one row
        a column, by group and label.

    Raises
    ------
    ValueError
        If there is no such factor, or several and none is named.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.pastes.load().data
    >>> casks = {"cask": "0 + C(cask)"}
    >>> model = mx.mixedlm(
    ...     "strength ~ 1", data, groups="batch", re_formula="1", vc_formula=casks
    ... )
    >>> result = model.fit()
    >>> result.ranef("batch").shape, result.ranef("cask").shape
    ((10, 1), (30, 1))
    """
    fitted = results.fitted
    group, numbers = terms_of(fitted, group)
    effects, component = fitted.fit.effects, component_of(fitted, numbers)
    if component is not None:
        values = component.values(effects[numbers[0]])
        return component_frame(fitted, component, values, 0.0)
    values = np.hstack([own_scale(fitted.random.terms[i], effects[i]) for i in numbers])
    index = pd.Index(fitted.random.terms[numbers[0]].levels, name=group)
    return pd.DataFrame(values, index=index, columns=effect_names(fitted, numbers))


def coef(results: HasFitted, group: str | None = None) -> pd.DataFrame:
    """Fixed effects plus random effects of every level, as lme4's ``coef``.

    Parameters
    ----------
    group : str, optional
        Name of the factor; may be left out if there is one.

    Returns
    -------
    DataFrame
        One row a level; one column a fixed effect, and one a random effect that no
        fixed effect goes with.
    """
    fitted = results.fitted
    modes = ranef(fitted, group)
    modes = modes.T.groupby(level=0, sort=False).sum().T
    out = pd.DataFrame(
        np.tile(fitted.fixed.estimate, (len(modes), 1)),
        index=modes.index,
        columns=list(fitted.fixed.names),
    )
    for name in modes.columns:
        out[name] = out[name] + modes[name] if name in out else modes[name]
    return out


def component_of(fitted: Fitted, numbers: list[int]) -> Component | None:
    """The variance component of ``groups`` that a term belongs to, or None."""
    model = fitted.model
    if numbers[0] not in model.components:
        return None
    return model.component_columns[numbers[0] - model.components[0]]


def component_frame(
    fitted: Fitted, component: Component, values: np.ndarray, other: float
) -> pd.DataFrame:
    """A column of values by group and label; ``other`` for columns that are zero."""
    groups, numbers = component.column_group, component.column_label
    if component.complete:
        width = len(component.labels)
        flat = np.full(component.n_groups * width, other)
        flat[groups * width + numbers] = values
        groups = np.repeat(np.arange(component.n_groups), width)
        numbers, values = np.tile(np.arange(width), component.n_groups), flat
    labels, levels = component.labels.index, fitted.model.group_levels
    name = fitted.model.group_name
    index: pd.Index
    if len(levels) == 1:
        index = pd.Index(labels[numbers], name=component.name)
    elif len(labels) == 1 and np.array_equal(groups, np.arange(len(levels))):
        index = pd.Index(levels, name=name)
    else:
        arrays = [levels.take(groups), labels[numbers]]
        index = pd.MultiIndex.from_arrays(arrays, names=[name, component.name])
    return pd.DataFrame({component.name: values}, index=index)
