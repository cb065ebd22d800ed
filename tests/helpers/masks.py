"""Masks of parameters that are free, as statsmodels takes them."""

from __future__ import annotations

import numpy as np
from statsmodels.regression.mixed_linear_model import MixedLMParams

__all__ = ["mask"]


def mask(fixed, cov_re, vcomp=()):
    """1 where a parameter is free, 0 where it is held; also values to start from."""
    return MixedLMParams.from_components(
        np.array(fixed, float), cov_re=np.array(cov_re, float), vcomp=np.array(vcomp, float)
    )
