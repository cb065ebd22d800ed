"""Allocation of large arrays."""

from __future__ import annotations

import numpy as np

__all__ = ["zeros"]


def zeros(shape: tuple[int, ...]) -> np.ndarray:
    """An array of zeros that lies in large pages.

    NumPy asks the system for large pages for ``empty`` but not for ``zeros``; sums over
    levels in random order are three times faster in them.
    """
    out = np.empty(shape)
    out.fill(0.0)
    return out
