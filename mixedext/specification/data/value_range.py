"""Values whose squares leave the range of double precision are refused, before all else.

A fit squares what it is given, and divides y by the columns: coefficients are of the size
of y over that of their column, their variances of the square of that.  Beyond the range
squares become zero or infinite, and columns look constant, dependent, or explained.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mixedext.exceptions import DesignError
from mixedext.limits import VALUE_RANGE
from mixedext.specification.data.extremes import column_extremes

__all__ = ["check_not_too_large", "check_value_range", "largest_of", "largest_sizes"]

_SMALLEST, _LARGEST = VALUE_RANGE


def largest_sizes(values: np.ndarray) -> np.ndarray:
    """Largest absolute value of each column of (n, k) or (n,) finite numbers, (k,)."""
    if values.size == 0:
        return np.zeros(1 if values.ndim == 1 else values.shape[1])
    return largest_of(column_extremes(values))


def largest_of(extremes: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Largest absolute values of columns with these least and greatest values."""
    low, high = (np.asarray(e, float) for e in extremes)
    return np.maximum(-low, high)


def check_value_range(
    response: np.ndarray,
    columns: Iterable[tuple[str, float]],
    weights: np.ndarray | None = None,
    offset: np.ndarray | None = None,
) -> None:
    """Refuse values, or ratios of values, of which double precision has no squares.

    Parameters
    ----------
    response : ndarray
        y, (n,).
    columns : iterable of (str, float)
        Of X and Z what to call each, and its largest absolute value.  A column of zeros
        is left to others.
    weights, offset : ndarray, optional
        (n,).

    Raises
    ------
    DesignError
        Names the argument, its size, and says by what to divide.
    """
    size = largest_sizes(response)[0]
    _check("the response (endog)", size)
    if offset is not None:
        shift = largest_sizes(offset)[0]
        if shift > _LARGEST:
            _check("offset", shift)
        size = largest_sizes(np.asarray(response, float) - offset)[0]
    root = 1.0
    if weights is not None:
        weight = largest_sizes(weights)[0]
        _check("weights", weight)
        root = np.sqrt(weight) if weight > 0 else 1.0
        _check("the response (endog) times the root of weights", size * root)
    for what, own in columns:
        _check(what, own)
        if not 0 < own < np.inf:
            continue
        _check(f"{what} times the root of weights", own * root)
        _check(f"a coefficient, of the response (endog) over {what}", size / own)


def check_not_too_large(what: str, values: np.ndarray | float) -> None:
    """Refuse values, (n,) or (n, k) and perhaps missing ones, that are too large.

    Raises
    ------
    DesignError
        If one is.
    """
    size = np.max(np.abs(values), initial=0.0, where=np.isfinite(values))
    if size > _LARGEST:
        _check(what, size)


def _check(what, size):
    # infinite and missing values have messages of their own
    if size == 0 or _SMALLEST <= size <= _LARGEST or not np.isfinite(size):
        return
    power = int(np.floor(np.log10(size)))
    raise DesignError(
        f"{what}: a size of 1e{power:+d}. Squares of what is not between {_SMALLEST:.0e} "
        f"and {_LARGEST:.0e} are no numbers of double precision: use another unit, "
        f"1e{power:+d} times this one."
    )
