"""The covariance matrix of the variance parameters, in both of their units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["VarianceCovariance"]


@dataclass(frozen=True, eq=False)
class VarianceCovariance:
    """Asymptotic covariance of the variance parameters; NaN where held.

    Attributes
    ----------
    relative : ndarray
        Of gamma / sigma^2, (n_gamma, n_gamma), data's units; with a residual covariance of
        (gamma / sigma^2, psi).
    absolute : ndarray
        Of (gamma, sigma^2), (n_gamma + 1, n_gamma + 1), or (gamma, psi, sigma^2).
    """

    relative: np.ndarray
    absolute: np.ndarray
