"""Precision weights: which are allowed, and which are so uneven that it is said."""

from __future__ import annotations

import warnings

import numpy as np

from mixedext.exceptions import WeightsWarning, user_stacklevel
from mixedext.limits import WEIGHT_DECADES

__all__ = ["check_weights"]


def check_weights(weights: np.ndarray) -> None:
    """Refuse weights that are not positive; warn where they span very many decades."""
    if not (weights > 0).all():
        bad = int((~(weights > 0)).sum())
        raise ValueError(
            f"weights must be positive; {bad} of {len(weights)} are zero or negative. "
            "Leave these rows out instead."
        )
    span = np.log10(weights.max()) - np.log10(weights.min())
    if span > WEIGHT_DECADES:
        warnings.warn(
            f"weights span {span:.0f} powers of ten; rows of small weight have next to "
            "no influence and digits may be lost",
            WeightsWarning,
            stacklevel=user_stacklevel(),
        )
