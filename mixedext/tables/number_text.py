"""How numbers are printed: estimates, degrees of freedom and p-values."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "df_texts",
    "enough_decimals",
    "number_format",
    "number_texts",
    "p_texts",
    "size_texts",
    "statistic_texts",
]

# As many decimals as statsmodels prints, and more where a standard error is small.
DECIMALS, ERROR_DIGITS = 3, 4
# Digits that are shown of the largest number of a column of sizes; of the least at least.
LARGEST_DIGITS, LEAST_DIGITS = 6, 3

# Degrees of freedom this close to a whole number are printed as one.
WHOLE = 1e-6
SMALLEST_P = 1e-4


def df_texts(values: Any) -> list[str]:
    """Degrees of freedom: whole numbers if all are, else two decimals; NaN is blank.

    Parameters
    ----------
    values : array_like
        Of one column.

    Examples
    --------
    >>> df_texts([4.0, 17.25, float("inf")])
    ['4.00', '17.25', 'inf']
    """
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    whole = (np.abs(finite - np.round(finite)) < WHOLE).all()
    form = "{:.0f}" if whole else "{:.2f}"
    return ["" if np.isnan(v) else form.format(v) for v in values]


def p_texts(values: Any) -> list[str]:
    """p-values with four decimals; NaN is blank.

    Parameters
    ----------
    values : array_like
        Of one column.

    Examples
    --------
    >>> p_texts([0.25, 2e-9])
    ['0.2500', '<.0001']
    """
    return [
        "" if np.isnan(p) else "<.0001" if p < SMALLEST_P else f"{p:.4f}"
        for p in np.asarray(values, float)
    ]


def enough_decimals(*values: Any) -> int:
    """Decimals that show some digits of the least number.

    Parameters
    ----------
    *values : array_like
        Of the first of these that has a number other than zero: standard errors, and then
        the estimates.
    """
    for given in values:
        sizes = np.abs(np.asarray(given, float))
        sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
        if len(sizes):
            first = int(np.floor(np.log10(sizes.min())))
            return max(DECIMALS, ERROR_DIGITS - 1 - first)
    return DECIMALS


def number_format(decimals: int, shown: Any) -> str:
    """Format with so many decimals, or with exponents for very small or large numbers."""
    shown = np.abs(np.asarray(shown, float))
    largest = shown[np.isfinite(shown)].max(initial=0.0)
    return "{:.4e}" if decimals > 8 or largest >= 1e9 else f"{{:.{decimals}f}}"


def number_texts(values: Any, form: str | None = None) -> list[str]:
    """Numbers as text, by a format (three decimals if None); not finite ones are blank."""
    form = form or "{:.3f}"
    return [form.format(v) if np.isfinite(v) else "" for v in values]


def statistic_texts(values: Any) -> list[str]:
    """Statistics, log-likelihoods and criteria with three decimals; NaN is blank.

    Parameters
    ----------
    values : array_like
        Of one column.

    Examples
    --------
    >>> statistic_texts([45.853006, float("nan"), -1755.6282])
    ['45.853', '', '-1755.628']
    """
    return number_texts(values, number_format(DECIMALS, values))


def size_texts(values: Any) -> list[str]:
    """Sums of squares, variances and the like with the digits that tell them; NaN is blank.

    Parameters
    ----------
    values : array_like
        Of one column.

    Examples
    --------
    >>> size_texts([30031.014784, 12.5])
    ['30031.0', '12.5']
    >>> size_texts([612.0899, 0.0731])
    ['612.0899', '0.0731']
    """
    sizes = np.abs(np.asarray(values, float))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not len(sizes):
        return number_texts(values)
    largest, least = (int(np.floor(np.log10(f(sizes)))) for f in (np.max, np.min))
    decimals = max(LARGEST_DIGITS - 1 - largest, LEAST_DIGITS - 1 - least, 0)
    return number_texts(values, number_format(decimals, values))
