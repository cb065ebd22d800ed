"""The ML deviance minimized over all parameters but one: Newton steps in a trust region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from mixedext.inference.profile.coordinates import Coordinates, State

__all__ = [
    "LIMIT_DECREMENT",
    "RestrictedMinimum",
    "lower_minimum",
    "restricted_minimum",
]

# What one more Newton step may still take off the deviance at a point of a path, and at a
# limit: the step is taken without being computed, with an error of the power 3/2 of it.
PATH_DECREMENT, LIMIT_DECREMENT = 1e-7, 1e-9
MOST_STEPS = 60
# Other starts are not pursued if the deviance there is above the known minimum by more
# than this (of the lower minima of 24 designs each had a start within 11),
PROMISING = 300.0
# if a Newton step ends nearer to the known minimum than this share of its distance,
ASTRAY = 0.3
# and if what is left of the fall, foreseen with this share of error for a fall of 1, does
# not reach below it by more than rounding.
FORESIGHT, SAME = 2.0, 1e-6


@dataclass(frozen=True, eq=False)
class RestrictedMinimum:
    """A minimum of the deviance with one coordinate held.

    Attributes
    ----------
    coordinate : float
        The held coordinate.
    deviance, slope, bend : float
        The least deviance, and its first and second derivative in the held coordinate.
    tangent : ndarray
        Derivative of all coordinates of the minimum in the held one.
    state : State
        The minimum.
    branch : int
        Which of several local minima it belongs to.
    """

    coordinate: float
    deviance: float
    slope: float
    bend: float
    tangent: np.ndarray
    state: State
    branch: int = 0


def _descend(
    coordinates: Coordinates, z, tolerance, known: RestrictedMinimum | None = None
) -> tuple[State, np.ndarray, float] | None:
    """Newton steps over all coordinates but the held one.

    Returns
    -------
    state : State
        Last point computed.
    step : ndarray
        Newton step from it that has not been taken, shorter than the tolerance.
    decrement : float
        What it takes off the deviance.

    None as soon as it is clear that no minimum below a known one will be found.
    """
    state, radius = coordinates.at(z), 2.0
    if not np.isfinite(state.value):
        raise np.linalg.LinAlgError("the deviance cannot be computed at the start")
    if known is not None:
        nobs = coordinates.model.joint.nobs
        # by another sigma^2, with the same relative covariances
        fall = state.squares - nobs * (1 + np.log(state.squares / nobs))
        if state.value - fall > known.deviance + PROMISING:
            return None
    size, bounded = len(z), coordinates.bounded
    escaped = 0
    for _ in range(MOST_STEPS):
        free = coordinates.free & ~(bounded & (state.z <= 0) & (state.gradient > 0))
        at = np.flatnonzero(free)
        step = np.zeros(size)
        if not len(at):
            return state, step, 0.0
        gradient, hessian = state.gradient[at], state.hessian[at][:, at]
        unit = np.abs(hessian.diagonal())
        unit = 1 / np.sqrt(np.maximum(unit, 1e-10 * unit.max()) + np.finfo(float).tiny)
        scaled, slope = hessian * np.multiply.outer(unit, unit), gradient * unit
        root, info = linalg.lapack.dpotrf(scaled, lower=1)
        definite = not info and root.diagonal().min() > 1e-5
        if definite:
            move = -linalg.lapack.dpotrs(root, slope, lower=1)[0]
        else:
            move, escape = _indefinite_step(scaled, slope)
            if escape and escaped < 4:
                escaped += 1
                move = move + 0.1 * escape * _lowest(scaled)
            elif abs(slope @ move) < tolerance:
                step[at] = unit * move
                return state, _within(coordinates, state.z, step), -0.5 * (slope @ move)
        decrement = -(slope @ move)
        step[at] = unit * move
        clipped = _within(coordinates, state.z, step)
        whole = clipped is step
        if definite and whole and known is not None:
            most = 0.5 * decrement * (1 + FORESIGHT * np.sqrt(decrement))
            if state.value - most > known.deviance - SAME:
                return None
            away = (known.state.z * coordinates.signs(known.state.z, state.z) - state.z)[at]
            away /= unit
            if np.linalg.norm(root.T @ (move - away)) < ASTRAY * np.linalg.norm(
                root.T @ away
            ):
                return None
        if definite and whole and decrement < tolerance:
            return state, step, 0.5 * decrement
        length = float(np.linalg.norm(move))
        if length > radius:
            clipped = _within(coordinates, state.z, step * (radius / length))
        other = coordinates.at(state.z + clipped)
        gain = state.value - other.value
        noise = 1e-13 * (abs(state.value) + coordinates.model.joint.nobs)
        if gain > 0 or (gain > -noise and decrement < 1e-6):
            if gain <= noise and decrement < 1e-6:
                return other, np.zeros(size), 0.0
            if length > radius or gain > 0.5 * decrement * 0.5:
                radius = min(2 * radius, 100.0)
            state = other
        else:
            radius = 0.25 * min(length, radius)
            if radius < 1e-7:
                return state, np.zeros(size), 0.0
    return state, np.zeros(size), 0.0


def _indefinite_step(scaled, slope):
    """Step against the absolute curvature, and how negative the lowest one is."""
    value, vector = np.linalg.eigh(scaled)
    along = vector.T @ slope
    floor = 1e-8 * max(1.0, np.abs(value).max())
    flat = np.abs(value) < floor
    move = np.where(flat & (np.abs(along) < 1e-9), 0.0, -along)
    move = vector @ (move / np.maximum(np.abs(value), floor))
    negative = value[0] < -1e-6 * max(1.0, value[-1])
    return move, (1.0 if negative and abs(along[0]) < 1e-4 else 0.0)


def _lowest(scaled):
    """Direction of the lowest curvature."""
    vector = np.linalg.eigh(scaled)[1][:, 0]
    return vector * np.sign(vector[np.argmax(np.abs(vector))])


def _within(coordinates, z, step):
    """The step, cut where a bounded coordinate would become negative."""
    below = coordinates.bounded & (z + step < 0)
    if not below.any():
        return step
    out = step.copy()
    out[below] = -z[below]
    return out


def restricted_minimum(
    coordinates: Coordinates, z, tolerance: float = PATH_DECREMENT, otherwise=None
) -> RestrictedMinimum:
    """The minimum near z with one coordinate held, and the direction of the path there.

    Parameters
    ----------
    coordinates : Coordinates
        Coordinates, of which one is held.
    z : ndarray
        Where to start.
    tolerance : float, optional
        What one more Newton step may take off the deviance; it is then taken off without
        being computed.
    otherwise : ndarray, optional
        Where to start, at the held coordinate of ``z``, if z cannot be computed.
    """
    try:
        state, step, gain = _descend(coordinates, z, tolerance)
    except np.linalg.LinAlgError:
        if otherwise is None:
            raise
        start = otherwise.copy()
        start[coordinates.held] = z[coordinates.held]
        state, step, gain = _descend(coordinates, start, tolerance)
    return _with_path(coordinates, state, step, gain)


def lower_minimum(
    coordinates: Coordinates,
    z,
    known: RestrictedMinimum,
    tolerance: float = PATH_DECREMENT,
) -> RestrictedMinimum | None:
    """A minimum near z that is lower than the known one at the same held coordinate.

    The search is given up where it can no longer lead there: most end in the known one.

    Parameters
    ----------
    coordinates : Coordinates
        Coordinates, of which one is held.
    z : ndarray
        Where to start.
    known : RestrictedMinimum
        The minimum to beat.
    tolerance : float, optional
        As for ``restricted_minimum``.

    Returns
    -------
    RestrictedMinimum or None
    """
    try:
        found = _descend(coordinates, z, tolerance, known)
    except np.linalg.LinAlgError:  # a start that rounding rejects
        return None
    if found is None or found[0].value - found[2] > known.deviance - SAME:
        return None
    return _with_path(coordinates, *found)


def _with_path(coordinates, state, step, gain):
    """A minimum, a small step from a state, with the direction of the path there."""
    held = coordinates.held
    bounded = coordinates.bounded & (state.z <= 0) & (state.gradient > 0)
    free = np.flatnonzero(coordinates.free & ~bounded)
    hessian, size = state.hessian, len(state.z)
    tangent = np.zeros(size)
    tangent[held] = 1.0
    slope = state.gradient[held] + hessian[held] @ step
    bend = hessian[held, held]
    if len(free):
        own, cross = hessian[free][:, free], hessian[free, held]
        unit = 1 / np.sqrt(np.maximum(np.abs(own.diagonal()), 1e-300))
        scaled = own * np.multiply.outer(unit, unit)
        root, info = linalg.lapack.dpotrf(scaled, lower=1)
        if not info and root.diagonal().min() > 1e-5:
            tangent[free] = -unit * linalg.lapack.dpotrs(root, cross * unit, lower=1)[0]
            bend = bend + cross @ tangent[free]
    moved = State(state.z + step, state.value - gain, state.gradient, hessian, state.inner)
    return RestrictedMinimum(
        float(state.z[held]), moved.value, float(slope), float(bend), tangent, moved
    )
