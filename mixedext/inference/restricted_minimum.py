"""The ML deviance minimized over all parameters but one: Newton steps in a trust region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from mixedext.inference.profile_coordinates import Coordinates, State

__all__ = ["LIMIT_DECREMENT", "RestrictedMinimum", "restricted_minimum"]

# What one more Newton step may still take off the deviance at a point of a path, and at a
# limit: the step is taken without being computed, with an error of the power 3/2 of it.
PATH_DECREMENT, LIMIT_DECREMENT = 1e-7, 1e-9
MOST_STEPS = 60


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


def _descend(coordinates: Coordinates, z, tolerance) -> tuple[State, np.ndarray, float]:
    """Newton steps over all coordinates but the held one.

    Returns
    -------
    state : State
        Last point computed.
    step : ndarray
        Newton step from it that has not been taken, shorter than the tolerance.
    decrement : float
        What it takes off the deviance.
    """
    state, radius = coordinates.at(z), 2.0
    if not np.isfinite(state.value):
        raise np.linalg.LinAlgError("the deviance cannot be computed at the start")
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
