"""Conditional modes u^ = argmin h(u) by penalized Newton iterations.

With A = Z Lam,  h' = A's + u  and  h'' = A'W A + I = M.  Families that are not log-concave
take steps by expected weights while they are far from the modes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Modes", "find_modes"]

# Decrement of h below which a step is the last; the next would be below rounding.
LAST_DECREMENT = 1e-13
# Decrement of the next step, foreseen from those of the last two, that is not worth it.
NEXT_DECREMENT = 1e-23
# Decrement below which a family that is not log-concave gets its observed weights.
NEARLY = 1e-2
MOST_ITERATIONS = 200
SUFFICIENT = 1e-4
SHORTEST = 1e-10


@dataclass(eq=False)
class Modes:
    """Where a search for the modes has ended.

    Attributes
    ----------
    u : ndarray
        u^, (q,).
    h : float
        h(u^), less its constant.
    eta, weight : ndarray
        Linear predictor and W there, (n,).
    slope : ndarray
        h'(u^), (q,).
    iterations : int
        Newton iterations.
    reason : str
        Why there are no modes; empty where there are.
    """

    u: np.ndarray
    h: float = np.inf
    eta: np.ndarray = field(default_factory=lambda: np.zeros(0))
    weight: np.ndarray = field(default_factory=lambda: np.zeros(0))
    slope: np.ndarray = field(default_factory=lambda: np.zeros(0))
    iterations: int = 0
    reason: str = ""


def find_modes(
    deviance: Any,
    fixed: np.ndarray,
    kappa: np.ndarray,
    start: np.ndarray | None,
    beside: bool = False,
) -> Modes:
    """The modes for covariances that ``deviance.z_rows`` has taken.

    Parameters
    ----------
    deviance : LaplaceDeviance
        Rows, family and the factor of M.
    fixed : ndarray
        Linear predictor without random effects, (n,).
    kappa : ndarray
        Logarithms of dispersions that are estimated.
    start : ndarray or None
        u to start from, (q,); zeros if None.
    beside : bool
        Whether the factor that stands is near enough for the first step.
    """
    zeros = np.zeros(deviance.z_rows.q)
    here = _at(deviance, fixed, kappa, zeros if start is None else start)
    if not np.isfinite(here.h) and start is not None:
        here = _at(deviance, fixed, kappa, zeros)
    if not np.isfinite(here.h):
        here.reason = "the linear predictor of the fixed effects is out of range"
        return here
    concave = deviance.rows.family.log_concave
    decrement, previous = np.inf, 0.0
    for iteration in range(1, MOST_ITERATIONS + 1):
        here.iterations = iteration
        newton = concave or decrement <= NEARLY
        stands = beside and concave and iteration == 1
        if not (stands or _factor_at(deviance, kappa, here, decrement)):
            here.reason = "the conditional modes cannot be found: no finite weights"
            return here
        step = -deviance.factor.solve(here.slope)
        decrement = -(here.slope @ step)
        length = 1.0
        while True:
            there = _at(deviance, fixed, kappa, here.u + length * step)
            if there.h <= here.h - SUFFICIENT * length * decrement + 1e-13 * abs(here.h):
                there.iterations = iteration
                break
            length *= 0.5
            if length < SHORTEST:
                # nothing lower along it: rounding, where little was to be gained
                if decrement > 1e-6 * (1.0 + abs(here.h)):
                    here.reason = "the search for the conditional modes has failed"
                    return here
                there, decrement = here, 0.0
                break
        here = there
        # a step by expected weights leaves an error of first order in the determinant
        if newton and decrement < LAST_DECREMENT:
            return here
        # Newton steps square the error: with one before, how far tells what comes next
        if concave and length == 1.0 and decrement**3 < NEXT_DECREMENT * previous**2:
            return here
        previous = decrement if length == 1.0 else 0.0
    here.reason = "the conditional modes have not converged"
    return here


def _at(deviance, fixed, kappa, u):
    """h at u, and what the next step needs."""
    rows, z_rows = deviance.rows, deviance.z_rows
    eta, slope, weight = np.empty((3, z_rows.n))
    projected = np.empty(z_rows.q)
    loss = z_rows.look(
        rows.kernel,
        *rows.arrays,
        rows.kappa(kappa),
        fixed,
        u,
        eta=eta,
        slope=slope,
        curvature=weight,
        projected=projected,
    )
    projected += u
    return Modes(u, loss + 0.5 * (u @ u), eta, weight, projected)


def _factor_at(deviance, kappa, here, decrement):
    """Factor M for a step; whether that can be done.

    By expected weights where a family that is not log-concave is far from its modes, or
    where its own do not do.
    """
    if deviance.rows.family.log_concave:
        return deviance.factor_rows(here.weight)
    if decrement <= NEARLY and deviance.factor_rows(here.weight):
        return True
    return deviance.factor_rows(deviance.rows.expected_weight(here.eta, kappa))
