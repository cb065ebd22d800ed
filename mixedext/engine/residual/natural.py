"""Parameters of a residual covariance as users know them, and the free ones.

In the order of psi: ratios of standard deviations and powers of the variance functions,
then correlations, ranges or relative covariances of every level of ``by``.
"""

from __future__ import annotations

import numpy as np

from mixedext.engine.residual.rows import residual_curves
from mixedext.specification.covariance.residual_binding import BoundResidual

__all__ = ["free_parameters", "natural_parameters"]


def natural_parameters(bound: BoundResidual, psi: np.ndarray) -> np.ndarray:
    """Natural parameters of free ones, (n_psi,)."""
    out = np.array(psi, float)
    for at, function in _pieces(bound):
        out[at] = function.natural(out[at])
    return out


def free_parameters(bound: BoundResidual, eta: np.ndarray) -> np.ndarray:
    """Free parameters of natural ones, (n_psi,)."""
    out = np.array(eta, float)
    for at, function in _pieces(bound):
        out[at] = function.free(out[at])
    return out


def _pieces(bound):
    """Where each variance function and correlation has its parameters, and itself."""
    for number, curve in enumerate(residual_curves(bound)):
        if number == 0:
            for function, at in zip(curve.functions, curve.slices, strict=True):
                if function.n_psi:
                    yield curve.at[at], function
        if curve.n_own:
            yield curve.at[curve.n_sd :], curve.correlation
