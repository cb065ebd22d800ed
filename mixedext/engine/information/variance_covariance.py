"""The covariance matrix of the variance parameters, in units that keep its numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["VarianceCovariance"]


@dataclass(frozen=True, eq=False)
class VarianceCovariance:
    """Asymptotic covariance of the variance parameters; NaN where held.

    Variances of variances are fourth powers of the units: they leave the range of double
    precision where the estimates and their standard errors stay within it.

    Attributes
    ----------
    relative : ndarray
        Of gamma / sigma^2, (n_gamma, n_gamma), data's units; with a residual covariance of
        (gamma / sigma^2, psi).
    scaled : ndarray
        Of (gamma, sigma^2) / size, (n_gamma + 1, n_gamma + 1), or of (gamma, psi, sigma^2)
        / size.
    size : ndarray
        Of each of these: a unit of the order of the response's variance, for gamma over the
        squares of the columns of Z, or 1 for correlations and psi.
    """

    relative: np.ndarray
    scaled: np.ndarray
    size: np.ndarray

    @property
    def absolute(self) -> np.ndarray:
        """Of (gamma, sigma^2), or (gamma, psi, sigma^2): infinite or 0 out of range."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return self.scaled * self.size * self.size[:, None]

    @property
    def errors(self) -> np.ndarray:
        """Standard errors in the data's units."""
        return np.sqrt(np.diag(self.scaled)) * self.size
