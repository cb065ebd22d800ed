"""Likelihood maximized over the parameters that are free, by Newton steps.

As score and Hessian are exact, the search ends where the gradient is rounding error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixedext.engine.constrained.objective import Objective, State
from mixedext.engine.search.trust_region import Quadratic, TrustRegion
from mixedext.engine.search.verdict import Convergence
from mixedext.limits import (
    FLAT_CURVATURE,
    HELD_DECREMENT,
    HELD_SLOPE,
    HIGHER_LIKELIHOOD,
    NEGATIVE_CURVATURE,
    NO_CURVATURE,
    NOISE_ACCEPTED,
    SMALLEST_GAIN,
)

__all__ = ["Maximum", "climb", "maximize", "polish", "verdict"]

# Newton steps, of all climbs together.
MAX_ITERATIONS = 200
# Steps off a saddle.
ESCAPES = 4


@dataclass(frozen=True, eq=False)
class Maximum:
    """Where the maximization ended.

    Attributes
    ----------
    fixed : ndarray
        Coefficients of the columns kept.
    packed : ndarray
        Packed elements.
    value : float
        (Penalized) log-likelihood.
    convergence : Convergence
        Verdict.
    state : State
        Derivatives there.
    """

    fixed: np.ndarray
    packed: np.ndarray
    value: float
    convergence: Convergence
    state: State


def maximize(objective: Objective, fixed, packed, max_iterations=None) -> Maximum:
    """Maximize from a start, which also has the values of what is held.

    Parameters
    ----------
    objective : Objective
        What to maximize.
    fixed : array_like
        Coefficients of the columns kept.
    packed : array_like
        Packed variance parameters.
    max_iterations : int, optional
        Newton steps.

    Raises
    ------
    ValueError
        If the start is no model, or its likelihood is not finite.
    """
    x = objective.start(fixed, packed)
    state = objective.at(x)
    if state.point is None or not np.isfinite(state.value):
        raise ValueError(
            "the (penalized) log-likelihood is not finite at the start (start_params)"
        )
    limit = MAX_ITERATIONS if max_iterations is None else int(max_iterations)
    for _ in range(ESCAPES + 1):
        if not len(x) or limit == 0:
            break
        x, steps = climb(objective, x, limit)
        limit -= steps
        if limit > 0:
            x = polish(objective, x)
        state = objective.at(x)
        off = _off_saddle(objective, state) if limit > 0 else None
        if off is None:
            break
        x = off
    state = objective.at(x)
    return Maximum(state.fixed, state.packed, state.value, verdict(objective, state), state)


def _curvature_limit(values, rounding=NEGATIVE_CURVATURE):
    return rounding * max(1.0, float(np.abs(values).max()))


def _near(state) -> Quadratic:
    """Minus the log-likelihood near a state, to second order."""
    return Quadratic(-state.gradient, -state.hessian)


class Climb(TrustRegion):
    """Newton steps to a maximum of an objective, in all parameters that are free.

    Parameters
    ----------
    objective : Objective
        What to maximize; it says which parameters are held.
    limit : int
        Steps.
    """

    def __init__(self, objective: Objective, limit: int):
        self.objective, self.most_steps = objective, limit

    def evaluate(self, x):
        return self.objective.at(x)

    def value(self, state):
        return -state.value

    def derivatives(self, state):
        return -state.gradient, -state.hessian

    def check_convergence(self):
        self.done = not 0.5 * self.decrement > SMALLEST_GAIN


def climb(objective: Objective, x, limit: int) -> tuple[np.ndarray, int]:
    """Where at most ``limit`` steps from x lead, and how many there were."""
    search = Climb(objective, limit)
    return search.solve(x).x, search.n_steps


def polish(objective, x):
    """Newton steps while the gradient falls."""
    state = objective.at(x)
    near = _near(state)
    for _ in range(10):
        if near.spectrum[0][0] <= NO_CURVATURE:  # a boundary or a saddle
            break
        step = near.unit * np.linalg.solve(near.hessian, -near.gradient)
        other = objective.at(x + step)
        if other.point is None:
            break
        if not np.linalg.norm(other.gradient * near.unit) < np.linalg.norm(near.gradient):
            break
        x, state = x + step, other
        near = _near(state)
    return x


def _off_saddle(objective, state):
    """A higher point along the highest curvature; None if it is not a saddle."""
    near = _near(state)
    value, vector = near.spectrum
    if value[0] >= -_curvature_limit(value):
        return None
    for size in (1.0, 0.3, 0.1, 0.01):
        for sign in (1.0, -1.0):
            x = state.x + sign * size * near.unit * vector[:, 0]
            if objective.at(x).value > state.value + HIGHER_LIKELIHOOD:
                return x
    return None


def verdict(objective, state, rounding=NEGATIVE_CURVATURE) -> Convergence:
    """Whether a state is a maximum; ``rounding``: share of the largest curvature."""
    if not len(state.x):
        words = "no parameter is free"
        return Convergence("interior", 0.0, 0.0, 1.0, 1, 0, "held", words)
    near = _near(state)
    value, vector = near.spectrum
    along = vector.T @ near.gradient
    firm = value > FLAT_CURVATURE * max(value[-1], 1.0)
    decrement = float((along[firm] ** 2 / value[firm]).sum() / 2)
    rest = float(np.abs(along[~firm]).max(initial=0.0))
    largest = 2 * float(np.abs(state.gradient).max())
    noise = NOISE_ACCEPTED * objective.likelihood.objective.noise
    good = decrement <= HELD_DECREMENT + noise and rest <= HELD_SLOPE + np.sqrt(noise)
    good = good and value[0] >= -_curvature_limit(value, rounding)
    if good:
        status, words = "interior", "the gradient of the free parameters is zero"
    else:
        status = "failed"
        words = f"the gradient of the free parameters is not zero, {largest:.1e}"
    count = objective.evaluations
    return Convergence(
        status,
        largest,
        2 * decrement,
        float(value[0] / max(value[-1], 1e-300)),
        count,
        count,
        "trust-region Newton",
        words,
    )
