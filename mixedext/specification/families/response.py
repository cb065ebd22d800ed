"""Responses of generalized models: successes out of trials, counts, measurements.

What users write (0 and 1, two categories, proportions with their trials, two columns) is
read here once; everything behind has successes y, trials m, prior weights and counts.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from mixedext.exceptions import ResponseWarning, user_stacklevel
from mixedext.specification.data.labels import factorize
from mixedext.specification.families.family import Family
from mixedext.specification.formula.text_columns import fault_of_labels, fault_of_numbers

__all__ = ["RowResponse", "read_response"]

# Distance from a whole number that is rounding.
WHOLE = 1e-6


@dataclass(frozen=True, eq=False)
class RowResponse:
    """The response of every row, and what the likelihood needs beside it.

    Attributes
    ----------
    y : ndarray
        Successes, counts or measurements, (n,).
    trials : ndarray or None
        Trials of each row; None where the response is not one of successes.
    weights : ndarray or None
        Prior weights: they multiply -log f, or divide phi.
    counts : ndarray or None
        How often each row counts.
    levels : tuple or None
        The two categories of which the second is success, if the response had some.
    proportions : bool
        Whether the response was given as proportions.
    """

    y: np.ndarray
    trials: np.ndarray | None = None
    weights: np.ndarray | None = None
    counts: np.ndarray | None = None
    levels: tuple | None = None
    proportions: bool = False

    @property
    def nobs(self) -> float:
        """Rows that count: those with trials, times their counts."""
        count = np.ones(len(self.y)) if self.counts is None else self.counts
        if self.trials is not None:
            count = np.where(self.trials > 0, count, 0.0)
        total = float(count.sum())
        return int(total) if total == int(total) else total

    @property
    def observed(self) -> np.ndarray:
        """The response on the scale of its mean: of successes the share."""
        if self.trials is None:
            return self.y
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.trials > 0, self.y / self.trials, np.nan)

    def take(self, rows: np.ndarray) -> RowResponse:
        """Some of the rows, or all in another order."""

        def some(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows].copy()

        return replace(
            self,
            y=self.y[rows].copy(),
            trials=some(self.trials),
            weights=some(self.weights),
            counts=some(self.counts),
        )

    def with_y(self, y: np.ndarray) -> RowResponse:
        """Another response of the same rows: successes where these are counted."""
        return replace(self, y=np.ascontiguousarray(y, float))


def read_response(
    family: Family,
    endog: Any,
    weights: Any = None,
    freq_weights: Any = None,
    name: str = "the response",
) -> RowResponse:
    """Read a response; values that are missing stay NaN.

    Parameters
    ----------
    family : Family
        The family.
    endog : array_like
        (n,), or (n, 2) successes and failures.
    weights : array_like, optional
        Trials of proportions; else prior weights.
    freq_weights : array_like, optional
        Whole numbers: how often each row counts.
    name : str
        What messages call the response.

    Raises
    ------
    ValueError
        If values are outside the range of the family; names the first row.

    Warns
    -----
    ResponseWarning
        If proportions times trials are not whole numbers.
    """
    weights = _numbers(weights, "weights")
    counts = _numbers(freq_weights, "freq_weights")
    if counts is not None:
        _check_counts(counts)
    if weights is not None and (weights[np.isfinite(weights)] < 0).any():
        row = int(np.flatnonzero(weights < 0)[0])
        raise ValueError(f"weights must not be negative; row {row} has {weights[row]:g}")
    y, levels = _values(family, endog, name)
    for what, values in (("weights", weights), ("freq_weights", counts)):
        if values is not None and len(values) != len(y):
            raise ValueError(f"{what} has {len(values)} values for {len(y)} rows")
    if family.has_trials:
        found = _successes(family, y, weights, name, levels)
    else:
        if y.ndim == 2:
            raise ValueError(
                f"{name} has two columns, which are successes and failures of a binomial "
                f"family; the family is {family.name}"
            )
        if weights is not None and (weights == 0).any():
            row = int(np.flatnonzero(weights == 0)[0])
            raise ValueError(
                f"weights must be positive; row {row} has 0: leave it out (a weight of 0 "
                "means no trials, in a binomial family alone)"
            )
        found = RowResponse(y, None, weights)
    _check_range(family, found, name)
    if counts is not None:
        found = replace(found, counts=counts)
    return found


def _numbers(values, what):
    if values is None:
        return None
    try:
        out = np.asarray(values, float)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be numbers, one for each row") from None
    if out.ndim != 1:
        raise ValueError(f"{what} has shape {out.shape}; expected one value a row")
    if np.isinf(out).any():
        raise ValueError(f"{what} has infinite values")
    return np.ascontiguousarray(out)


def _check_counts(counts):
    known = counts[~np.isnan(counts)]
    if (known < 0).any() or (np.abs(known - np.round(known)) > WHOLE).any():
        raise ValueError(
            "freq_weights must be whole numbers, 0 or more: they say how often a row "
            "counts; for precision or trials use weights="
        )


def _values(family, endog, name):
    """The response as numbers (n,) or (n, 2), and its categories if it had some."""
    if isinstance(endog, pd.DataFrame) and endog.shape[1] == 1:
        endog = endog.iloc[:, 0]
    if isinstance(endog, pd.DataFrame):
        endog = endog.to_numpy(float)
    series = endog if isinstance(endog, pd.Series) else None
    if series is None:
        array = np.asarray(endog)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim == 2:
            if array.shape[1] != 2:
                raise ValueError(
                    f"{name} has {array.shape[1]} columns; give one, or two: successes "
                    "and failures"
                )
            return np.ascontiguousarray(array, float), None
        if array.ndim != 1:
            raise ValueError(f"{name} has shape {array.shape}; expected (n,) or (n, 2)")
        series = pd.Series(array)
    if series.dtype == bool or str(series.dtype) == "boolean":
        return series.astype(float).to_numpy(), (False, True)
    categorical = isinstance(series.dtype, pd.CategoricalDtype)
    if series.dtype.kind == "c":
        raise TypeError(f"{name} is complex; give real numbers")
    if not categorical and pd.api.types.is_numeric_dtype(series.dtype):
        return np.ascontiguousarray(series.to_numpy(float, na_value=np.nan)), None
    if not categorical:
        try:
            return series.to_numpy(float, na_value=np.nan), None
        except (TypeError, ValueError):
            pass
    codes, found = factorize(series)
    levels, categories = tuple(found), series.cat.categories if categorical else found
    column = "y" if series.name is None else series.name
    if not family.has_trials:
        cure = fault_of_numbers(column, levels)
        raise ValueError(
            f"{name} has categories {_some(levels)}; the family {family.name} takes numbers"
            + (f": {cure}" if cure else "")
        )
    if len(levels) == 1 and len(categories) == 2:
        codes, levels = series.cat.codes.to_numpy(), tuple(categories)
    if len(levels) != 2:
        more = (
            "ordinal and multinomial responses are not available: make it one of two "
            "values, or use statsmodels' OrderedModel or MNLogit without random effects"
            if len(levels) > 2
            else "a binomial response has two"
        )
        if fault := fault_of_labels(column, levels):  # the others may be two
            more = f"it {fault}"
        raise ValueError(f"{name} has {len(levels)} categories {_some(levels)}; {more}")
    return np.where(codes < 0, np.nan, codes.astype(float)), levels


def _some(levels):
    shown = ", ".join(repr(level) for level in levels[:4])
    return f"({shown}{', ...' if len(levels) > 4 else ''})"


def _successes(family, y, weights, name, levels):
    if y.ndim == 2:
        bad = np.flatnonzero((y < 0).any(axis=1))
        if len(bad):
            raise ValueError(
                f"{name}: numbers of successes and failures must not be negative; row "
                f"{bad[0]} has {y[bad[0], 0]:g} and {y[bad[0], 1]:g}"
            )
        prior = None if weights is None else weights
        found = RowResponse(y[:, 0].copy(), y.sum(axis=1), prior)
        _warn_if_not_whole(found, name)
        return found
    present = ~np.isnan(y)
    outside = np.flatnonzero(present & ((y < 0) | (y > 1)))
    if len(outside):
        row, two = outside[0], np.unique(y[present])
        if len(two) == 2:
            raise ValueError(
                f"{name} of the family {family.name} must lie in [0, 1]; its values are "
                f"{two[0]:g} and {two[1]:g}: write 'I(y == {two[1]:g}) ~ ...', which makes "
                "0 and 1 of them"
            )
        raise ValueError(
            f"{name} of the family {family.name} must lie in [0, 1]; row {row} has "
            f"{y[row]:g}. For numbers of successes give successes and failures: "
            "cbind(successes, failures), or successes / trials with weights='trials'"
        )
    if weights is None:
        between = np.flatnonzero(present & (y > 0) & (y < 1))
        if len(between):
            row = between[0]
            raise ValueError(
                f"{name} is a proportion (row {row} has {y[row]:g}): give weights=, the "
                "numbers of trials, or two columns: cbind(successes, failures)"
            )
        return RowResponse(y, np.where(np.isnan(y), np.nan, 1.0), None, None, levels)
    found = RowResponse(y * weights, weights, None, None, levels, proportions=True)
    _warn_if_not_whole(found, name)
    whole = np.round(found.y)
    near = np.abs(found.y - whole) < WHOLE * np.maximum(1.0, found.y)
    return replace(found, y=np.where(near, whole, found.y))


def _warn_if_not_whole(response, name):
    for what, values in (("successes", response.y), ("trials", response.trials)):
        known = np.nan_to_num(values)
        off = np.abs(known - np.round(known)) > WHOLE * np.maximum(1.0, known)
        if off.any():
            row = int(np.flatnonzero(off)[0])
            warnings.warn(
                f"numbers of {what} of {name} are not whole (row {row} has "
                f"{known[row]:.6g}): the model is fitted as if they could be",
                ResponseWarning,
                stacklevel=user_stacklevel(),
            )
            return


def _check_range(family, response, name):
    y = response.y
    if np.isinf(y).any():
        row = int(np.flatnonzero(np.isinf(y))[0])
        raise ValueError(f"{name} is infinite in row {row}")
    known = ~np.isnan(y)
    limits = {
        "poisson": (y < 0, "must not be negative"),
        "negative binomial": (y < 0, "must not be negative"),
        "nb1": (y < 0, "must not be negative"),
        "gamma": (y <= 0, "must be positive"),
        "inverse gaussian": (y <= 0, "must be positive"),
        "beta": (
            (y <= 0) | (y >= 1),
            "must lie strictly between 0 and 1 (move such values inside, or use a "
            "binomial family if they are shares of trials)",
        ),
    }
    if family.name in limits:
        outside, what = limits[family.name]
        bad = np.flatnonzero(outside & known)
        if len(bad):
            raise ValueError(
                f"{name} of the family {family.name} {what}; row {bad[0]} has {y[bad[0]]:g}"
            )
    if family.is_count:
        off = known & (np.abs(y - np.round(y)) > WHOLE * np.maximum(1.0, y))
        if off.any():
            row = int(np.flatnonzero(off)[0])
            warnings.warn(
                f"{name} of the family {family.name} is not a whole number in row {row} "
                f"({y[row]:.6g}): the model is fitted as if it could be",
                ResponseWarning,
                stacklevel=user_stacklevel(),
            )
