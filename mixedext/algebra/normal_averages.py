"""Averages of functions of a normal variable by the trapezoid rule.

For E f(eta + tau Z), Z ~ N(0, 1), of a function that is smooth on the real line the rule
with equal steps converges geometrically: its error is about exp(-2 pi a / (tau step)) for f
analytic within a distance a of the line, and exp(-2 pi^2 / step^2) for the normal density.

References
----------
Trefethen and Weideman (2014), The exponentially convergent trapezoidal rule, SIAM Review
56, 385-458.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

__all__ = ["average", "normal_nodes"]

# End of the nodes in standard units, and the longest step.
END, LONGEST = 8.5, 0.5
# Values that are held at once.
AT_ONCE = 2_000_000
# Nodes at most on each side: standard deviations beyond are as if they were smaller.
MOST = 20_000


def normal_nodes(
    tau: float, step: float = 0.6, growth: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of an average over N(0, 1), both (m,).

    Parameters
    ----------
    tau : float
        Standard deviation that the function is averaged over.
    step : float
        Step on the scale of the function's argument.
    growth : float
        Of a function that grows as exp(growth times the argument).
    """
    length = min(LONGEST, step / tau) if tau > 0 else LONGEST
    end = END + growth * tau
    count = min(int(np.ceil(end / length)), MOST)
    z = np.arange(-count, count + 1) * (end / count)
    weight = np.exp(-0.5 * z**2)
    return z, weight / weight.sum()


def _classes(tau: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """Rows of like standard deviations, with their largest."""
    if tau.size == 0:
        return
    low, high = float(tau.min()), float(tau.max())
    if high <= 1.2 * low or high <= 1.2:
        yield np.arange(tau.size), high
        return
    number = np.ceil(np.log2(np.maximum(tau, 1.0)))
    for own in np.unique(number):
        at = np.flatnonzero(number == own)
        yield at, float(tau[at].max())


def average(
    function: Callable[[np.ndarray], np.ndarray | tuple[np.ndarray, ...]],
    eta: np.ndarray,
    variance: np.ndarray,
    step: float = 0.6,
    growth: float = 0.0,
) -> list[np.ndarray]:
    """E f(eta + tau Z) for each of some functions f and each row.

    Parameters
    ----------
    function : callable
        Of arrays of any shape; gives an array, or a tuple of arrays, of that shape.
    eta, variance : ndarray
        Mean and variance of the argument, (n,).
    step : float
        Step on the scale of the argument: 0.6 where the function is analytic within pi of
        the real line.
    growth : float
        Of functions that grow as exp(growth times the argument).

    Returns
    -------
    list of ndarray
        One array, (n,), a function; NaN where eta or the variance is.
    """
    eta = np.atleast_1d(np.asarray(eta, float))
    variance = np.broadcast_to(np.asarray(variance, float), eta.shape)
    good = np.flatnonzero(np.isfinite(eta) & (variance >= 0) & np.isfinite(variance))
    tau = np.sqrt(variance[good])
    out: list[np.ndarray] = []
    for rows, widest in _classes(tau):
        z, weight = normal_nodes(widest, step, growth)
        at_once = max(1, AT_ONCE // len(z))
        for first in range(0, len(rows), at_once):
            own = rows[first : first + at_once]
            there = eta[good[own], None] + tau[own, None] * z
            values = function(there)
            values = values if isinstance(values, tuple) else (values,)
            if not out:
                out = [np.full(eta.shape, np.nan) for _ in values]
            for total, value in zip(out, values, strict=True):
                total[good[own]] = value @ weight
    if not out:
        values = function(np.zeros((0, 1)))
        count = len(values) if isinstance(values, tuple) else 1
        out = [np.full(eta.shape, np.nan) for _ in range(count)]
    return out
