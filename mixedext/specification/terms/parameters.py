"""One set of parameters of a mixed model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Parameters"]


class Parameters(NamedTuple):
    """One set of parameters: all fixed effects, and packed elements relative to scale."""

    fixed: np.ndarray
    packed: np.ndarray
