"""Likelihood maximized over the parameters that are free, by Newton steps.

The steps are those of a trust region.  As score and Hessian are exact, the search ends
where the gradient is rounding error.

References
----------
A.R. Conn, N.I.M. Gould and P.L. Toint (2000), Trust-Region Methods, chapter 7. SIAM.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixedext.engine.constrained.objective import Objective, State
from mixedext.engine.search.optimize import Convergence

__all__ = ["Maximum", "climb", "maximize", "polish", "verdict"]

# Newton steps, of all climbs together.
MAX_ITERATIONS = 200
# What one more Newton step may still add to the log-likelihood at convergence.
DECREMENT = 1e-9
# Share of the largest curvature below which a negative one is rounding error.
NEGATIVE_CURVATURE = 1e-8
# The search ends where a step promises less, or where the trust region is smaller.
SMALLEST_GAIN, SMALLEST_RADIUS = 1e-11, 1e-9
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
    history : list of float
        Value after each step.
    state : State
        Derivatives there.
    """

    fixed: np.ndarray
    packed: np.ndarray
    value: float
    convergence: Convergence
    history: list[float]
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
    history = [state.value]
    for _ in range(ESCAPES + 1):
        if len(x) and limit > 0:
            x, limit = climb(objective, x, limit, history)
        if len(x) and limit > 0:
            x = polish(objective, x)
        state = objective.at(x)
        values, vectors = np.linalg.eigh(_scaled(state)[1]) if len(x) else ([-1.0], None)
        if not len(x) or limit == 0 or values[-1] <= _curvature_limit(values):
            break
        off = _off_saddle(objective, state, vectors[:, -1])
        if off is None:
            break
        x = off
    return Maximum(
        state.fixed,
        state.packed,
        state.value,
        verdict(objective, state),
        history,
        state,
    )


def _curvature_limit(values, rounding=NEGATIVE_CURVATURE):
    return rounding * max(1.0, float(np.abs(values).max()))


def _scaled(state):
    """Gradient and Hessian in parameters with unit curvature, and their units."""
    curvature = np.abs(np.diag(state.hessian))
    unit = 1 / np.sqrt(np.where(curvature > 0, curvature, 1.0))
    return state.gradient * unit, state.hessian * np.outer(unit, unit), unit


def climb(objective, x, limit, history):
    """Newton steps within a trust region, in parameters with unit curvature."""
    state, radius = objective.at(x), 1.0
    gradient, hessian, unit = _scaled(state)
    while limit > 0 and radius > SMALLEST_RADIUS:
        step = _trusted_step(gradient, hessian, radius)
        expected = gradient @ step + 0.5 * step @ hessian @ step
        if not expected > SMALLEST_GAIN:
            break
        other = objective.at(state.x + unit * step)
        gain = other.value - state.value
        if gain < 0.25 * expected:
            radius = 0.25 * float(np.linalg.norm(step))
        elif gain > 0.75 * expected:
            radius = max(radius, 2 * float(np.linalg.norm(step)))
        if gain > 0:
            state, limit = other, limit - 1
            history.append(state.value)
            gradient, hessian, unit = _scaled(state)
    return state.x, limit


def _trusted_step(gradient, hessian, radius):
    """Maximizer of g's + s'Hs / 2 with |s| at most the radius (Conn et al., 7.3)."""
    value, vector = np.linalg.eigh(-hessian)
    along = vector.T @ gradient

    def step(shift):
        return along / np.maximum(value + shift, 1e-300)

    if value[0] > 0 and np.linalg.norm(step(0.0)) <= radius:
        return vector @ step(0.0)
    low = max(0.0, -value[0])
    high = low + np.linalg.norm(gradient) / radius
    for _ in range(100):
        shift = 0.5 * (low + high)
        if np.linalg.norm(step(shift)) > radius:
            low = shift
        else:
            high = shift
        if high - low <= 1e-10 * high:
            break
    best = step(high)
    short = radius**2 - best @ best
    if value[0] < -NEGATIVE_CURVATURE and short > 0.01 * radius**2:
        # hard case: the gradient has no part along the curvature that is upward, as where
        # a variance is zero; without it all other steps are held back (ibid. 7.3.1.3)
        best[0] += np.copysign(np.sqrt(short), best[0])
    return vector @ best


def polish(objective, x):
    """Newton steps while the gradient falls."""
    state = objective.at(x)
    gradient, hessian, unit = _scaled(state)
    for _ in range(10):
        value = np.linalg.eigvalsh(hessian)
        if value[-1] >= -1e-12:  # a boundary or a saddle
            break
        step = unit * np.linalg.solve(hessian, -gradient)
        other = objective.at(x + step)
        if other.point is None:
            break
        if not np.linalg.norm(other.gradient * unit) < np.linalg.norm(gradient):
            break
        x, state = x + step, other
        gradient, hessian, unit = _scaled(state)
    return x


def _off_saddle(objective, state, direction):
    _, _, unit = _scaled(state)
    for size in (1.0, 0.3, 0.1, 0.01):
        for sign in (1.0, -1.0):
            x = state.x + sign * size * unit * direction
            if objective.at(x).value > state.value + 1e-10:
                return x
    return None


def verdict(objective, state, rounding=NEGATIVE_CURVATURE) -> Convergence:
    """Whether a state is a maximum; ``rounding``: share of the largest curvature."""
    if not len(state.x):
        words = "no parameter is free"
        return Convergence("interior", 0.0, 0.0, 1.0, 1, 0, "held", words)
    gradient, hessian, _ = _scaled(state)
    value, vector = np.linalg.eigh(-hessian)
    along = vector.T @ gradient
    firm = value > 1e-10 * max(value[-1], 1.0)
    decrement = float((along[firm] ** 2 / value[firm]).sum() / 2)
    rest = float(np.abs(along[~firm]).max(initial=0.0))
    largest = 2 * float(np.abs(state.gradient).max())
    noise = 30 * objective.likelihood.objective.noise
    good = decrement <= DECREMENT + noise and rest <= 1e-6 + np.sqrt(noise)
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
