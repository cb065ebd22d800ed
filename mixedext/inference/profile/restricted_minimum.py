"""The ML deviance minimized over all parameters but one: Newton steps in a trust region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from mixedext.engine.search.trust_region import TrustRegion
from mixedext.inference.profile.coordinates import Coordinates, State
from mixedext.limits import (
    DEVIANCE_ROUNDING,
    LEAST_UNIT,
    PATH_DECREMENT,
    SAME_MINIMUM,
    SMALLEST_PIVOT,
)

__all__ = [
    "RestrictedMinimum",
    "lower_minimum",
    "restricted_minimum",
]

# Other starts are not pursued if the deviance there is above the known minimum by more
# than this (of the lower minima of 24 designs each had a start within 11),
PROMISING = 300.0
# if a Newton step ends nearer to the known minimum than this share of its distance,
ASTRAY = 0.3
# and if what is left of the fall, foreseen with this share of error for a fall of 1, does
# not reach below it by more than rounding.
FORESIGHT = 2.0


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


class Descent(TrustRegion):
    """Newton steps over all coordinates but the held one.

    Coordinates that cannot be negative stay at zero while the deviance rises from there.

    Parameters
    ----------
    coordinates : Coordinates
        Coordinates, of which one is held.
    tolerance : float
        What one more Newton step may still take off the deviance.
    known : RestrictedMinimum, optional
        A minimum to beat: the search is given up as soon as it is clear that it will not.
    """

    first_radius, most_steps = 2.0, 60
    least_unit = LEAST_UNIT

    def __init__(
        self,
        coordinates: Coordinates,
        tolerance: float,
        known: RestrictedMinimum | None = None,
    ):
        self.coordinates, self.tolerance, self.known = coordinates, tolerance, known
        self.loose = np.flatnonzero(coordinates.free)
        bounded = coordinates.bounded
        self.bounded = bounded if bounded.any() else None
        self.natural = coordinates.units

    def solve(self, x) -> tuple[State, np.ndarray, float] | None:
        """Search from coordinates.

        Returns
        -------
        state : State
            Last point computed.
        step : ndarray
            Newton step from it that has not been taken, shorter than the tolerance.
        decrement : float
            What it takes off the deviance.

        None if the search was given up.

        Raises
        ------
        LinAlgError
            If the deviance cannot be computed at the start.
        """
        return super().solve(x)

    def setup(self, x):
        """Start at x, if a search from there is worth it.

        Sets: given_up, last.
        """
        super().setup(x)
        self.given_up = False
        self.last: tuple[np.ndarray, float] | None = None
        state, known = self.state, self.known
        if not np.isfinite(state.value):
            raise np.linalg.LinAlgError("the deviance cannot be computed at the start")
        if known is not None:
            nobs = self.coordinates.model.joint.nobs
            # by another sigma^2, with the same relative covariances
            fall = state.squares - nobs * (1 + np.log(state.squares / nobs))
            self.given_up = state.value - fall > known.deviance + PROMISING
            self.done = self.given_up

    def evaluate(self, x):
        return self.coordinates.at(x)

    def free(self, state):
        if self.bounded is None:
            return self.loose
        held = self.bounded & (state.z <= 0) & (state.gradient > 0)
        return np.flatnonzero(self.coordinates.free & ~held)

    def within(self, step):
        """The step, cut where a bounded coordinate would become negative."""
        if self.bounded is None:
            return step
        below = self.bounded & (self.x + step < 0)
        if not below.any():
            return step
        out = step.copy()
        out[below] = -self.x[below]
        return out

    def rounding(self, state):
        return DEVIANCE_ROUNDING * (abs(state.value) + self.coordinates.model.joint.nobs)

    def check_convergence(self):
        """Whether the next step is so short that it is taken without being computed.

        Sets: done, given_up, last.
        """
        if self.model.root is None:
            self.done = not self.escaping and abs(self.decrement) < self.tolerance
        elif self.step is self.whole:
            known = self.known
            self.given_up = known is not None and self._leads_astray(known)
            self.done = self.given_up or self.decrement < self.tolerance
        if self.done:
            self.last = self.step, 0.5 * self.decrement

    def _leads_astray(self, known):
        """Whether the Newton step goes to the known minimum, or cannot get below it."""
        decrement, root = self.decrement, self.model.root
        most = 0.5 * decrement * (1 + FORESIGHT * np.sqrt(decrement))
        if self.state.value - most > known.deviance - SAME_MINIMUM:
            return True
        there = known.state.z * self.coordinates.signs(known.state.z, self.x)
        away = (there - self.x)[self.at] / self.model.unit
        beside = root.T @ (self.move - away)
        return np.linalg.norm(beside) < ASTRAY * np.linalg.norm(root.T @ away)

    def finalize(self):
        if self.given_up:
            return None
        if self.last is None:
            return self.state, np.zeros(len(self.x)), 0.0
        return self.state, *self.last


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
        found = Descent(coordinates, tolerance).solve(z)
    except np.linalg.LinAlgError:
        if otherwise is None:
            raise
        start = otherwise.copy()
        start[coordinates.held] = z[coordinates.held]
        found = Descent(coordinates, tolerance).solve(start)
    assert found is not None  # only a search that has a minimum to beat is given up
    return _with_path(coordinates, *found)


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
        found = Descent(coordinates, tolerance, known).solve(z)
    except np.linalg.LinAlgError:  # a start that rounding rejects
        return None
    if found is None or found[0].value - found[2] > known.deviance - SAME_MINIMUM:
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
        if not info and root.diagonal().min() > SMALLEST_PIVOT:
            tangent[free] = -unit * linalg.lapack.dpotrs(root, cross * unit, lower=1)[0]
            bend = bend + cross @ tangent[free]
    moved = State(state.z + step, state.value - gain, state.gradient, hessian, state.inner)
    return RestrictedMinimum(
        float(state.z[held]), moved.value, float(slope), float(bend), tangent, moved
    )
