"""Random effects group by group, as statsmodels shows them: modes and covariances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from mixedext.fitted import Fitted, HasFitted, Model, once_a_fit
from mixedext.inference.random_effects.group_effects import (
    conditional_covariances,
    group_grams,
)
from mixedext.inference.random_effects.mode_errors import ranef_cov
from mixedext.inference.random_effects.modes import ranef, terms_of
from mixedext.specification.terms.components import Component

__all__ = ["keep_grams", "random_effects", "random_effects_cov"]

# Bytes of covariances that are made at most, and that are kept without the data.
MOST_MEMORY, KEPT_MEMORY = 2**28, 2**26


def random_effects(results: HasFitted) -> dict[Any, Any]:
    """Conditional modes.

    Returns
    -------
    dict
        For a model stated by ``groups`` a Series a group, as statsmodels: the group's
        own effects, then those of the variance components, ``name[column]``.  For one
        with terms in bars a Series a level if there is one grouping factor, and with
        several a DataFrame a factor (as ``ranef``).

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.pastes.load().data
    >>> casks = {"cask": "0 + C(cask)"}
    >>> model = mx.mixedlm(
    ...     "strength ~ 1", data, groups="batch", re_formula="1", vc_formula=casks
    ... )
    >>> list(model.fit().random_effects["A"].index)
    ['batch', 'cask[C(cask)[a]]', 'cask[C(cask)[b]]', 'cask[C(cask)[c]]']
    """
    fitted = results.fitted
    if fitted.model.stated_by_groups:
        return _effects_by_group(fitted)
    groups = fitted.random.groups
    if len(groups) != 1:
        return {group: ranef(fitted, group) for group in groups}
    frame = ranef(fitted).set_axis(_effect_labels(fitted), axis=1)
    return dict(frame.iterrows())


def random_effects_cov(results: HasFitted) -> dict[Any, pd.DataFrame]:
    """Conditional covariances of the random effects, keyed as ``random_effects``.

    Given theta, beta and sigma; for a model stated by ``groups`` with the covariances
    between a group's own effects and those of its variance components.

    Raises
    ------
    MemoryError
        If a group has so many effects that their covariances would not fit.
    """
    fitted = results.fitted
    if fitted.model.stated_by_groups:
        return _covariances_by_group(fitted)
    groups = fitted.random.groups
    if len(groups) != 1:
        return {group: ranef_cov(fitted, group) for group in groups}
    _, numbers = terms_of(fitted, None)
    labels = _effect_labels(fitted)
    levels = fitted.random.terms[0].levels
    blocks = fitted.fit.joint_effect_covariance(numbers)
    return {
        level: pd.DataFrame(block, index=labels, columns=labels)
        for level, block in zip(levels, blocks, strict=True)
    }


@once_a_fit
def _slots(fitted: Fitted) -> _Slots:
    """Places of a group's effects: the group's own first, then by component."""
    return _Slots.of(fitted.model)


def _effects_by_group(fitted: Fitted) -> dict[Any, pd.Series]:
    slots, model, effects = _slots(fitted), fitted.model, fitted.fit.effects
    flat = np.zeros(int(slots.sizes.sum()))
    if model.main_term is not None:
        flat[slots.first[:, None] + np.arange(slots.k)] = effects[model.main_term]
    terms = zip(model.components, slots.components, slots.offsets, strict=True)
    for number, component, offset in terms:
        at = offset[component.column_group] + component.slots
        flat[at] = component.values(effects[number])
    ends = (slots.first + slots.sizes).tolist()
    rows = zip(model.group_labels, slots.indexes(), ends, strict=True)
    return {
        group: pd.Series(flat[end - len(index) : end], index=index)
        for group, index, end in rows
    }


def _covariances_by_group(fitted: Fitted) -> dict[Any, pd.DataFrame]:
    slots, model, fit = _slots(fitted), fitted.model, fitted.fit
    main = model.main_term
    blocks: Sequence[np.ndarray] | np.ndarray
    if main is not None and not slots.components:
        blocks = fit.joint_effect_covariance([main])
    else:
        lam = np.zeros((0, 0)) if main is None else fit.lams[main]
        deviations = np.zeros(int(slots.sizes.sum()))
        terms = zip(model.components, slots.components, slots.offsets, strict=True)
        for number, own, offset in terms:
            at = np.repeat(offset - np.cumsum(own.sizes) + own.sizes, own.sizes)
            deviations[at + np.arange(len(at))] = abs(fit.lams[number][0, 0])
        blocks = conditional_covariances(
            _grams(fitted), slots.sizes, lam, deviations, fit.scale
        )
    rows = zip(model.group_labels, slots.indexes(), blocks, strict=True)
    return {
        group: pd.DataFrame(block, index=index, columns=index)
        for group, index, block in rows
    }


@once_a_fit
def _grams(fitted: Fitted) -> np.ndarray:
    """Z'WZ of every group."""
    slots, model = _slots(fitted), fitted.model
    needed = 8 * float((slots.sizes.astype(float) ** 2).sum())
    if needed > MOST_MEMORY:
        raise MemoryError(
            f"the conditional covariances of up to {slots.sizes.max()} random effects "
            f"a group would take {needed / 2**30:.1f} GiB; ranef_cov(name) gives the "
            "variances of one variance component"
        )
    rows = fitted.need_rows()
    return group_grams(slots.matrix(model.grouped), slots.sizes, rows.weights)


def keep_grams(results: HasFitted) -> None:
    """What covariances need of the rows, if it is small, before these go."""
    fitted = results.fitted
    if fitted.model.stated_by_groups and fitted.model.components:
        sizes = _slots(fitted).sizes.astype(float)
        if 8 * (sizes**2).sum() <= KEPT_MEMORY:
            _ = _grams(fitted)


def _effect_labels(fitted: Fitted) -> list[str]:
    return [
        t.group if name == "Intercept" else name
        for t in fitted.random.terms
        for name in t.names
    ]


@dataclass(frozen=True, eq=False)
class _Slots:
    """Where a group's effects stand among those of all groups.

    Attributes
    ----------
    k : int
        Number of the groups' own effects.
    re_names : list of str
        Their names.
    components : tuple of Component
        The variance components.
    sizes, first : ndarray
        Number of effects of every group, and the first of them.
    offsets : list of ndarray
        For each component the first of its effects in every group.
    """

    k: int
    re_names: list[str]
    components: tuple[Component, ...]
    sizes: np.ndarray
    first: np.ndarray
    offsets: list[np.ndarray]

    @classmethod
    def of(cls, model: Model) -> _Slots:
        names = list(model.layout.re_names)
        sizes = np.full(len(model.group_levels), len(names))
        inside = []
        for component in model.component_columns:
            inside.append(sizes.copy())
            sizes = sizes + component.sizes
        first = np.cumsum(sizes) - sizes
        offsets = [first + before for before in inside]
        return cls(len(names), names, model.component_columns, sizes, first, offsets)

    def indexes(self) -> list[pd.Index]:
        """Labels of the effects of every group; one object if all have the same."""
        count = len(self.sizes)
        alike = all(_alike(component, count) for component in self.components)
        flat = np.empty(int(self.sizes[0] if alike else self.sizes.sum()), dtype=object)
        first = self.first[:1] if alike else self.first
        flat[first[:, None] + np.arange(self.k)] = np.array(self.re_names, dtype=object)
        for component, offset in zip(self.components, self.offsets, strict=True):
            labels = [f"{component.name}[{v}]" for v in component.labels.index]
            written = np.array(labels, dtype=object)
            if component.complete:
                flat[offset[: len(first), None] + np.arange(len(written))] = written
            else:
                own = component.column_group < len(first)
                at = offset[component.column_group[own]] + component.slots[own]
                flat[at] = written[component.column_label[own]]
        index = pd.Index(flat)
        if alike:
            return [index] * count
        ends = (self.first + self.sizes).tolist()
        return [index[i:j] for i, j in zip(self.first.tolist(), ends, strict=True)]

    def matrix(self, grouped: Any) -> sparse.csr_array:
        """Z, the columns of one group after those of another."""
        rows, columns, values = [], [], []
        n = len(grouped.codes)
        if self.k:
            rows.append(np.repeat(np.arange(n), self.k))
            columns.append((self.first[grouped.codes][:, None] + np.arange(self.k)).ravel())
            values.append(grouped.main.z.ravel())
        for component, term, offset in zip(
            self.components, grouped.terms, self.offsets, strict=True
        ):
            own = sparse.coo_array(component.matrix(term))
            at = offset[component.column_group] + component.slots
            rows.append(own.coords[0])
            columns.append(at[own.coords[1]])
            values.append(own.data)
        entries = np.concatenate(rows), np.concatenate(columns)
        shape = n, int(self.sizes.sum())
        return sparse.csr_array(
            sparse.coo_array((np.concatenate(values), entries), shape=shape)
        )


def _alike(component: Component, n_groups: int) -> bool:
    """Whether all groups have columns of the same labels."""
    if component.complete:
        return True
    labels = component.column_label
    if not (component.sizes == component.sizes[0]).all():
        return False
    table = labels.reshape(n_groups, -1)
    return bool((table == table[0]).all())
