"""How degrees of freedom and p-values are printed."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["df_texts", "p_texts"]

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
