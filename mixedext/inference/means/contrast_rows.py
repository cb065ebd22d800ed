"""Contrasts within groups of estimates, and products of contrasts of several factors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixedext.arguments import did_you_mean
from mixedext.inference.means.context import groups_of
from mixedext.inference.means.contrasts import Contrast, contrast_coefficients
from mixedext.inference.means.linear_combinations import combined
from mixedext.inference.means.means_text import row_names

__all__ = ["ContrastRows", "contrast_rows", "interaction_rows"]

# Labels with such characters are put in parentheses within the name of a contrast.
_OPERATORS = re.compile(r"[-+*/)]")


@dataclass(frozen=True, eq=False)
class ContrastRows:
    """Contrasts among estimates, within each combination of some labels.

    Attributes
    ----------
    labels : DataFrame
        Names of the contrasts, and the values of the labels that they are made within.
    count : int
        Number k of the estimates.
    blocks : list of tuple
        Of each combination the numbers of its estimates, and their coefficients, one row
        a contrast.
    sizes : list of int or None
        Number of estimates that each family compares; None where they are not compared
        as one set.
    adjust : str
        Adjustment for multiplicity that goes with the family.
    all_pairs, custom, sum_to_zero : bool
        As of ``Contrast``.
    """

    labels: pd.DataFrame
    count: int
    blocks: list[tuple[np.ndarray, np.ndarray]]
    sizes: list[int] | None
    adjust: str
    all_pairs: bool
    custom: bool
    sum_to_zero: bool

    @property
    def coefficients(self) -> np.ndarray:
        """One row a contrast, one column an estimate, (m, k)."""
        parts = [np.zeros((len(own), self.count)) for _, own in self.blocks]
        for part, (at, own) in zip(parts, self.blocks, strict=True):
            part[:, at] = own
        return np.vstack(parts)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The contrasts of the estimates' rows, (k, ...) to (m, ...)."""
        return np.concatenate([combined(own, rows[at]) for at, own in self.blocks])


def contrast_rows(
    labels: pd.DataFrame,
    by: Sequence[str],
    method: Any,
    ref: Any = None,
    reverse: bool = False,
) -> ContrastRows:
    """Contrasts of one family among all estimates of each combination of ``by``.

    Parameters
    ----------
    labels : DataFrame
        Of the estimates, one row each.
    by : sequence of str
        Columns of it.
    method, ref, reverse
        As for ``contrast_coefficients``.
    """
    column = "contrast" if "contrast" not in by else "contrast of contrasts"
    inner = [n for n in labels.columns if n not in by]
    records, blocks, sizes = [], [], []
    contrast = Contrast([], np.zeros((0, 0)))
    for where, at in groups_of(labels, by):
        names = row_names(labels[inner].iloc[at])
        contrast = contrast_coefficients(method, _named(names, method), ref, reverse)
        blocks.append((at, contrast.coefficients))
        records += [{column: name} | where for name in contrast.names]
        sizes.append(len(at))
    return ContrastRows(
        _label_frame(records, [column], by, labels),
        len(labels),
        blocks,
        sizes,
        contrast.adjust,
        contrast.all_pairs,
        contrast.custom,
        contrast.sum_to_zero,
    )


def interaction_rows(
    labels: pd.DataFrame,
    by: Sequence[str],
    methods: Any,
    ref: Any = None,
    reverse: bool = False,
) -> ContrastRows:
    """Products of contrasts of every factor, within each combination of ``by``.

    Parameters
    ----------
    labels : DataFrame
        Of the estimates, one row each.
    by : sequence of str
        Columns of it, which are no factors of the products.
    methods : str or sequence or dict
        Families of contrasts in the order of the factors, used again from the first where
        there are too few; or by name of the factor.
    ref, reverse
        As for ``contrast_coefficients``; ``ref`` is of those against a control.

    Raises
    ------
    ValueError
        If there are more families than factors, a name is of no factor, or not all
        combinations of the factors' levels are there.
    """
    factors = [n for n in labels.columns if n not in by]
    if not factors:
        raise ValueError("interaction=: there is no factor whose levels could be compared")
    chosen = _methods_of(methods, factors)
    against = [m for m in chosen.values() if str(m).startswith("trt.vs.ctrl")]
    if ref is not None and not against:
        raise ValueError('ref= belongs to the method "trt.vs.ctrl", which no factor has')
    columns = _column_names(chosen, by)
    records, blocks, zero, custom = [], [], True, False
    for where, at in groups_of(labels, by):
        own = labels.iloc[at]
        parts = []
        for name, method in chosen.items():
            codes, levels = pd.factorize(own[name])
            names = row_names(pd.DataFrame({name: levels}))
            control = ref if method in against else None
            made = contrast_coefficients(method, _named(names, method), control, reverse)
            parts.append((codes, made))
        _check_crossed([codes for codes, _ in parts], factors, len(at))
        # the first factor's contrasts vary fastest
        shape = [len(made.names) for _, made in parts]
        picks = np.indices(shape[::-1]).reshape(len(shape), -1)[::-1]
        products, named = np.ones((1, len(at))), []
        for (codes, made), pick in zip(parts, picks, strict=True):
            products = products * made.coefficients[pick][:, codes]
            named.append([made.names[i] for i in pick])
        blocks.append((at, products))
        records += [
            dict(zip(columns, names, strict=True)) | where
            for names in zip(*named, strict=True)
        ]
        zero = zero and any(made.sum_to_zero for _, made in parts)
        custom = custom or any(made.custom for _, made in parts)
    return ContrastRows(
        _label_frame(records, columns, by, labels),
        len(labels),
        blocks,
        None,
        "none",
        False,
        custom,
        zero,
    )


def _named(names, method):
    if isinstance(method, str) and method == "identity":
        return names
    return [f"({n})" if _OPERATORS.search(n) else n for n in names]


def _label_frame(records, columns, by, labels):
    frame = pd.DataFrame(records, columns=[*columns, *by])
    return frame.astype({n: labels[n].dtype for n in by})


def _methods_of(methods, factors):
    """The family of contrasts of each factor, in the order of the columns of the table."""
    if isinstance(methods, Mapping):
        unknown = [n for n in methods if n not in factors]
        if unknown:
            raise ValueError(
                f"interaction= names {unknown[0]!r}; factors are: {', '.join(factors)}"
                f"{did_you_mean(unknown[0], factors)}"
            )
        lacking = [n for n in factors if n not in methods]
        if lacking:
            raise ValueError(
                f"interaction= says no contrasts of {lacking[0]!r}; give them, or name it "
                "in by="
            )
        return dict(methods)
    methods = [methods] if isinstance(methods, str) else methods
    if not isinstance(methods, list | tuple) or not methods:
        raise ValueError(
            f"interaction={methods!r} must be True, the name of a family of contrasts, a "
            "list of them, or a dict of factors and families"
        )
    if len(methods) > len(factors):
        raise ValueError(
            f"interaction= has {len(methods)} families of contrasts for "
            f"{len(factors)} factors: {', '.join(factors)}"
        )
    return {name: methods[i % len(methods)] for i, name in enumerate(factors)}


def _column_names(chosen, by):
    """``factor_family``, as emmeans calls them."""
    names = []
    for factor, method in chosen.items():
        name = f"{factor}_{method if isinstance(method, str) else 'custom'}"
        while name in by or name in names:
            name += "_"
        names.append(name)
    return names


def _check_crossed(codes, factors, count):
    """Refuse estimates that are not one for each combination of the factors' levels."""
    cells = np.unique(np.column_stack(codes), axis=0)
    full = int(np.prod([own.max() + 1 for own in codes]))
    if len(cells) != full or count != full:
        raise ValueError(
            "interaction= needs an estimate for every combination of "
            f"{', '.join(factors)}: there are {count} of {full} (a factor is nested in "
            "another; name the outer one in by=)"
        )
