"""What is said of all differences of a set of means: letters, their standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy import stats

from mixedext.arguments import confidence
from mixedext.inference.means.context import Context
from mixedext.inference.means.letters import insert_and_absorb, letter_texts
from mixedext.inference.means.linear_combinations import (
    LinearEstimates,
    independent_count,
)
from mixedext.inference.means.means_text import adjustment_note
from mixedext.inference.means.multiplicity import Family, adjustment_name
from mixedext.tables.noted_table import NotedTable

__all__ = ["cld", "lsd", "sed"]


class Means(Protocol):
    """Estimated means or slopes, as these functions read them."""

    level: float
    _context: Context
    _estimates: LinearEstimates

    @property
    def table(self) -> NotedTable: ...

    def _groups(self) -> Sequence[tuple[dict[str, Any], np.ndarray]]: ...

    def _row_names(self) -> list[str]: ...


def cld(
    means: Means,
    alpha: float = 0.05,
    adjust: str = "tukey",
    *,
    level: float | None = None,
    reverse: bool = False,
) -> NotedTable:
    """Compact letter display: means share a letter if they do not differ significantly.

    Means stand by their size, within each combination of ``by``, whose letters are its
    own.  Letters are those of Piepho (2004): two means have one in common if and only if
    the adjusted p-value of their difference is ``alpha`` or more.

    Parameters
    ----------
    alpha : float, optional
        Level of the tests.
    adjust : str, optional
        Adjustment of the tests for multiplicity, as for ``contrast``.
    level : float, optional
        One minus the level of the tests, in place of ``alpha``.
    reverse : bool, optional
        Whether the largest mean comes first and has the letter a.

    Returns
    -------
    NotedTable
        The table of the means with the column ``letters``; its limits are those of single
        means.  A mean that is not estimable stands last and has no letter.

    Raises
    ------
    ValueError
        If ``alpha`` does not lie between 0 and 1, or the adjustment is not known.

    Notes
    -----
    That two means share a letter does not show that they are equal.

    References
    ----------
    Piepho (2004), An algorithm for a letter-based representation of all-pairwise
    comparisons, Journal of Computational and Graphical Statistics 13, 456-466.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.oats.load().data
    >>> formula = "yield ~ nitroF + Variety + (1 | Block/Variety)"
    >>> means = mx.mixedlm(formula, data).fit().emmeans("nitroF")
    >>> means.cld()["letters"].tolist()
    ['a', 'b', 'c', 'c']
    """
    alpha, adjust = 1 - confidence(alpha, level), adjustment_name(adjust)
    estimate = means._estimates.estimate
    order, letters, families = [], [], []
    for _, rows in means._groups():
        size = -estimate[rows] if reverse else estimate[rows]
        rows = rows[np.argsort(size, kind="stable")]  # NaN comes last
        differs, family = _differences(means, rows, alpha, adjust)
        known = np.isfinite(estimate[rows])
        texts = np.full(len(rows), "", object)
        texts[known] = letter_texts(insert_and_absorb(differs[np.ix_(known, known)]))
        order += list(rows)
        letters += list(texts)
        families += [] if family is None else [family]
    whole = means.table
    table = pd.DataFrame(whole).iloc[order].reset_index(drop=True)
    table["letters"] = letters
    notes = [
        *whole.notes,
        f"Means that share a letter do not differ at the {alpha:g} level",
    ]
    if families and adjust != "none":
        notes.append(adjustment_note(families, adjust))
    if not np.isfinite(estimate).all():
        notes.append("Means that are not estimable have no letters")
    return NotedTable.of(table, "", notes)


def _differences(means, rows, alpha, adjust):
    """Whether two of some means differ, (k, k) bool, and the family of their tests."""
    count, context = len(rows), means._context
    differs = np.zeros((count, count), bool)
    if count < 2:
        return differs, None
    parts = _pairs(means, rows)
    df = np.concatenate([part.df for part in parts])
    rank, covariance = 0, np.zeros((0, 0))
    if adjust in ("scheffe", "mvt"):  # these ask for all pairs at once
        every = np.concatenate([part.rows for part in parts])
        shift = np.concatenate([part.shift for part in parts])
        rank = independent_count(every[np.isfinite(every).all(axis=1)])
        if adjust == "mvt":
            covariance = context.estimates(every, shift).covariance
    family = Family(df, count, rank, covariance)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.concatenate([part.estimate / part.error for part in parts])
    first, second = np.triu_indices(count, 1)
    differs[first, second] = family.pvalues(statistic, adjust) < alpha
    return differs | differs.T, family


def sed(means: Means) -> pd.DataFrame:
    """Standard errors of all differences of two means.

    Returns
    -------
    DataFrame
        (k, k), on the scale of the model; NaN on the diagonal, and where a difference is
        not estimable.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.oats.load().data
    >>> formula = "yield ~ nitroF + Variety + (1 | Block/Variety)"
    >>> means = mx.mixedlm(formula, data).fit().emmeans("nitroF")
    >>> round(float(means.sed().loc["n0", "n0.2"]), 3)
    4.25
    """
    return _of_pairs(means, lambda estimates: estimates.error)


def lsd(means: Means, alpha: float = 0.05, *, level: float | None = None) -> pd.DataFrame:
    """Least significant differences: what two means must differ by at a level.

    The t quantile times the standard error of the difference, each with its own degrees
    of freedom, and without adjustment for multiplicity.

    Parameters
    ----------
    alpha : float, optional
        Level of the tests.
    level : float, optional
        One minus the level, in place of ``alpha``.

    Returns
    -------
    DataFrame
        (k, k), as of ``sed``.

    Raises
    ------
    ValueError
        If ``alpha`` does not lie between 0 and 1.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.oats.load().data
    >>> formula = "yield ~ nitroF + Variety + (1 | Block/Variety)"
    >>> means = mx.mixedlm(formula, data).fit().emmeans("nitroF")
    >>> round(float(means.lsd().loc["n0", "n0.2"]), 3)
    8.532
    """
    tail = (1 - confidence(alpha, level)) / 2
    return _of_pairs(means, lambda own: stats.t.isf(tail, own.df) * own.error)


def _of_pairs(means, function):
    """A symmetric frame of what a function says of the differences of two means."""
    names = means._row_names()
    count = len(names)
    out = np.full((count, count), np.nan)
    if count > 1:
        first, second = np.triu_indices(count, 1)
        own = [function(part) for part in _pairs(means, np.arange(count))]
        out[first, second] = out[second, first] = np.concatenate(own)
    return pd.DataFrame(out, index=names, columns=names)


def _pairs(means: Means, rows: np.ndarray) -> list[LinearEstimates]:
    """Differences of each mean to those after it; of all the covariance would be large."""
    own = means._estimates
    out = []
    for i, at in enumerate(rows[:-1]):
        after = rows[i + 1 :]
        differences = own.rows[at] - own.rows[after]
        out.append(means._context.estimates(differences, own.shift[at] - own.shift[after]))
    return out
