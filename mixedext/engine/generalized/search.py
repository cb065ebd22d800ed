"""The search for the maximum of a generalized model's likelihood.

Newton steps within a trust region on a model Hessian, to which a symmetric rank-one secant
correction adds what that leaves out.  The conditional modes at a trial point start where
their first-order change leads, so that a few iterations find them.

References
----------
Conn, Gould and Toint (2000), Trust-Region Methods, chapters 7 and 8.4. SIAM.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np
from scipy import linalg

__all__ = ["FIRST_RADIUS", "SearchEnd", "first_radius", "search_minimum"]

# Fall foreseen at which the step is the last one, but for one more where the fall that is
# then foreseen is not below the second.
LAST_FALL, NO_FALL = 1e-9, 1e-13
MOST_EVALUATIONS = 200
FIRST_RADIUS, SMALLEST_RADIUS, LARGEST_RADIUS = 6.0, 1e-9, 1e3
# Rows up to which the first radius is the same.
FEW_ROWS = 1000
# Shares of the fall foreseen below which a step is refused, the radius falls, or it grows.
REFUSED, POOR, GOOD = 1e-4, 0.25, 0.75
# Cosine of a step and what it has shown of the Hessian, below which that is not taken: the
# rank-one update divides by it, and the model without it is a good one.
SECANT_LEAST = 0.3
LEAST_SCALE = 1e-8
# Distance to a known minimum, in units of unit curvature, from which there is no other.
SAME_BASIN = 0.1
# Square of the smallest pivot of a Hessian with unit diagonal that is clearly definite.
DEFINITE = 1e-6


@dataclass(eq=False)
class SearchEnd:
    """Where a search has ended.

    Attributes
    ----------
    evaluation : Any
        The evaluation at the lowest point.
    decrement : float
        Fall of the deviance foreseen of one more step.
    correction : ndarray
        The secant part of the Hessian, in the free parameters.
    log : list of tuple
        Deviance, iterations for the modes and length of the step, an evaluation.
    failed : bool
        Whether the search has ended short of a minimum.
    reason : str
        Why.
    last_step : ndarray
        The last step taken, (n_psi,).
    """

    evaluation: Any
    decrement: float = np.inf
    correction: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    log: list[tuple[float, int, float]] = field(default_factory=list)
    failed: bool = False
    reason: str = ""
    last_step: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def n_evaluations(self) -> int:
        """Number of evaluations."""
        return len(self.log)

    @property
    def n_iterations(self) -> int:
        """Penalized Newton iterations in all."""
        return sum(entry[1] for entry in self.log)


def first_radius(nobs: int) -> float:
    """Radius of the first step of a fit: of as large a change, whatever the rows."""
    return FIRST_RADIUS * max(1.0, sqrt(nobs / FEW_ROWS))


def search_minimum(
    deviance: Any,
    psi: np.ndarray,
    modes: Any = None,
    free: np.ndarray | None = None,
    last_fall: float = LAST_FALL,
    most: int = MOST_EVALUATIONS,
    last_steps: int = 2,
    radius: float = FIRST_RADIUS,
    known: Any = None,
) -> SearchEnd:
    """Minimize a deviance from a start.

    Parameters
    ----------
    deviance : LaplaceDeviance or another with ``evaluate``
        The deviance.
    psi : ndarray
        Start, (n_psi,).
    modes : object, optional
        Conditional modes to start from, as the deviance's evaluations have them.
    free : ndarray, optional
        Numbers of the parameters that may move; all if None.
    last_fall : float
        Fall foreseen at which the search takes its last steps.
    most : int
        Evaluations at most.
    last_steps : int
        How many these are at most.
    radius : float
        Of the first step, in units of unit curvature.
    known : object, optional
        An evaluation at a minimum; a search that comes near to it ends there.
    """
    at = np.arange(len(psi)) if free is None else free
    square: Any = (slice(None),) * 2 if free is None else np.ix_(free, free)
    here = deviance.evaluate(psi, modes)
    end = SearchEnd(here, log=[(here.value, here.iterations, 0.0)])
    end.last_step = np.zeros(len(psi))
    if not np.isfinite(here.value):
        end.failed, end.reason = True, here.reason
        return end
    correction = np.zeros((len(at), len(at)))
    last = 0
    gradient, hessian = here.gradient[at], here.hessian[square]
    while len(at):
        model = hessian + correction
        if not (np.isfinite(model).all() and np.isfinite(gradient).all()):
            end.failed, end.reason = True, "the derivatives overflow"
            break
        scale = np.sqrt(np.maximum(np.abs(np.diag(hessian)), LEAST_SCALE))
        move, fall, inside = _trust_step(model, gradient, scale, radius)
        end.decrement = float(fall)
        if (inside and fall < NO_FALL) or last >= last_steps:
            break
        if end.n_evaluations >= most:
            end.failed = True
            end.reason = f"no minimum within {most} evaluations"
            break
        last = last + 1 if inside and fall < last_fall else 0
        step = np.zeros(len(psi))
        step[at] = move
        trial = deviance.evaluate(here.psi + step, here.predicted(step))
        length = sqrt((scale * move) @ (scale * move))
        end.log.append((trial.value, trial.iterations, length))
        rounding = 1e-13 * (1.0 + abs(here.value))
        gain = here.value - trial.value
        if not np.isfinite(trial.value):
            radius = 0.25 * min(length, radius)
            last = 0
            if radius < SMALLEST_RADIUS:
                end.failed, end.reason = True, trial.reason or "no finite value nearby"
                break
            continue
        ratio = gain / fall if fall > 0 else -1.0
        new_gradient = trial.gradient[at]
        # a last step is too short for the model to change
        new_hessian = hessian if last else trial.hessian[square]
        rest = new_gradient - gradient - 0.5 * (hessian + new_hessian) @ move
        rest -= correction @ move
        along = rest @ move
        sizes = sqrt((rest / scale) @ (rest / scale)) * length
        if abs(along) > SECANT_LEAST * sizes > 0:
            correction = correction + np.outer(rest, rest) / along
        if last and gain > -10.0 * rounding:
            ratio = 1.0
        if ratio > GOOD:
            radius = min(max(radius, 2.0 * length), LARGEST_RADIUS)
        elif ratio < POOR:
            radius = 0.3 * length
        if ratio > REFUSED:
            here, gradient, hessian = trial, new_gradient, new_hessian
            end.evaluation, end.last_step = here, step
            if known is not None and _is_near(known, here, scale):
                end.evaluation, end.decrement = known, 0.0
                break
        elif abs(gain) <= 10.0 * rounding and fall <= 100.0 * rounding:
            break  # all that could be gained is rounding
        else:
            last = 0
            if radius < SMALLEST_RADIUS:
                end.failed = bool(fall > 1e-6)
                end.reason = "no lower value along the steps"
                break
    end.correction = correction
    return end


def _is_near(known, here, scale):
    """Whether a point is so near to a minimum that it can only lead there."""
    # standard deviations and their opposites are one model
    away = scale * (np.abs(here.psi) - np.abs(known.psi))
    return bool(away @ away < SAME_BASIN**2 and here.value >= known.value)


def _trust_step(hessian, gradient, scale, radius):
    """argmin g's + s'Hs / 2 over |scale s| <= radius; the fall foreseen; whether inside."""
    unit = hessian / (scale[:, None] * scale)
    slope = gradient / scale
    # clearly definite, as most are
    root, down, failed = linalg.lapack.dposv(unit, slope)
    if not failed and root.diagonal().min() ** 2 > DEFINITE and down @ down <= radius**2:
        return -down / scale, 0.5 * (slope @ down), True
    value, vector = np.linalg.eigh(unit)
    along = vector.T @ slope
    if value[0] > 1e-10 * max(value[-1], 1e-300):
        move = -along / value
        if np.linalg.norm(move) <= radius:
            return (vector @ move) / scale, 0.5 * (along @ (along / value)), True
    low = max(0.0, -value[0])
    size = np.linalg.norm(along)
    if size == 0.0 and value[0] >= 0.0:
        return np.zeros(len(scale)), 0.0, True
    # |move(mu)| falls with mu from low on; by bisection on a scale of ratios
    least, most = low + 1e-12 * (1.0 + low), low + size / radius + 1e-300

    def length(mu: float) -> float:
        move = along / (value + mu)
        return sqrt(move @ move)

    if length(least) <= radius:  # the hard case: no slope along what curves down
        move = -along / (value + least)
        if value[0] < 0.0:
            rest = np.sqrt(max(radius**2 - move @ move, 0.0))
            move[0] += np.copysign(rest, -along[0]) if along[0] else rest
    else:
        for _ in range(100):
            middle = 0.5 * (least + most)
            if length(middle) > radius:
                least = middle
            else:
                most = middle
            if most - least < 1e-10 * most:
                break
        move = -along / (value + most)
    fall = -(along @ move + 0.5 * move @ (value * move))
    return (vector @ move) / scale, fall, False
