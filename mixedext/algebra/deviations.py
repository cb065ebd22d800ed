"""Standard deviations of numbers whose squares may be none."""

from __future__ import annotations

import numpy as np

__all__ = ["standard_deviations"]


def standard_deviations(values: np.ndarray, ddof: int = 0) -> np.ndarray:
    """Standard deviations along the first axis, in units of powers of two.

    Parameters
    ----------
    values : ndarray
        (n, ...).
    ddof : int, optional
        What n is reduced by.

    Examples
    --------
    >>> standard_deviations(np.array([[1e200, 1.0], [3e200, 3.0]]))
    array([1.e+200, 1.e+000])
    """
    size = np.abs(values).max(axis=0, initial=0.0)
    size = np.where((size > 0) & np.isfinite(size), size, 1.0)
    size = np.ldexp(1.0, np.frexp(size)[1] - 1)  # no digit changes
    return (values / size).std(axis=0, ddof=ddof) * size
