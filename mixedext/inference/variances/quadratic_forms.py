"""Probabilities of linear combinations of chi-squared variables."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["positive_probability"]

# Largest step in log u of the trapezoidal rule: the integrand is analytic in log u and
# dies off at both ends, so that the error falls exponentially in 1 / step.
STEP = 1 / 8
# exp of these is next to nothing: first u, and logarithm of the modulus.
LOWEST, SMALLEST = -38.0, -42.0


def positive_probability(weights: Any, counts: Any) -> float:
    """P(sum of weights times independent chi-squared variables > 0), by Imhof's integral.

    Parameters
    ----------
    weights : array_like
        Weights.
    counts : array_like
        Degrees of freedom of each variable.

    Returns
    -------
    float
        To about 1e-12.

    References
    ----------
    Imhof (1961), Computing the distribution of quadratic forms in normal variables,
    Biometrika 48, 419-426.
    """
    weights, counts = np.asarray(weights, float), np.asarray(counts, float)
    used = (weights != 0) & (counts > 0)
    weights, counts = weights[used], counts[used]
    if not len(weights) or weights.max() <= 0:
        return 0.0
    if weights.min() >= 0:
        return 1.0
    weights = weights / np.sqrt((counts * weights**2).sum())
    # log u at which the modulus of the characteristic function has fallen for sure
    highest = -SMALLEST * 2 / counts.sum() - np.log(np.abs(weights).min()) + 5.0
    # the argument turns as fast as the mean is far from zero, in standard deviations
    step = STEP / max(1.0, abs(float((counts * weights).sum())) / 2)
    total, start = 0.0, LOWEST
    while start < highest:
        log_u = start + step * np.arange(128)
        x = np.exp(log_u)[:, None] * weights
        angle = 0.5 * (counts * np.arctan(x)).sum(axis=1)
        log_modulus = 0.25 * (counts * np.log1p(x * x)).sum(axis=1)
        total += float((np.sin(angle) * np.exp(-log_modulus)).sum())
        if log_modulus[-1] > -SMALLEST:
            break
        start += step * 128
    return float(np.clip(0.5 + total * step / np.pi, 0.0, 1.0))
