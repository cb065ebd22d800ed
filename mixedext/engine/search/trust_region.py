"""Newton steps to a minimum within a trust region, where both derivatives are at hand.

Near a point x the function is taken for

    m(s) = g's + s'H s / 2,

in units in which every coordinate has a curvature of one.  The step is Newton's where H is
positive definite; elsewhere every curvature counts by its size (the saddle-free step), so
that it always goes down.  A step longer than the radius is shortened to it.  Where H has a
negative curvature along which there is no slope, as where a variance is zero, no such step
leaves the saddle: a part along that direction is added.  The radius grows where the
function falls by a fair part of what m foresees, and becomes shorter than a step that
fails.

References
----------
A.R. Conn, N.I.M. Gould and P.L. Toint (2000), Trust-Region Methods, chapter 6. SIAM.
Y.N. Dauphin et al. (2014), Identifying and attacking the saddle point problem in
high-dimensional non-convex optimization, Advances in Neural Information Processing
Systems 27, 2933-2941.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import linalg

from mixedext.limits import (
    LEAST_CURVATURE,
    LITTLE_DECREMENT,
    NO_SLOPE,
    SADDLE_CURVATURE,
    SADDLE_SLOPE,
    SMALLEST_PIVOT,
    SMALLEST_RADIUS,
)

__all__ = ["Quadratic", "TrustRegion"]

# The part of a step that leaves a saddle, and tries.
ESCAPE, ESCAPES = 0.1, 4
# Share of the fall foreseen from which on a fall lets the radius grow.
FAIR = 0.5
# How much longer the radius becomes, how much shorter than a step that failed, and the
# longest.
LONGER, SHORTER, LONGEST = 2.0, 0.25, 100.0


class Quadratic:
    """A function near a point to second order, in units of unit curvature.

    Parameters
    ----------
    gradient, hessian : ndarray
        In the coordinates that may move.
    least : float
        Share of the largest curvature along a coordinate below which another one is no
        unit: it may be rounding error.
    natural : ndarray, optional
        Units in which the curvatures along the coordinates are to be compared.

    Attributes
    ----------
    unit : ndarray
        The coordinates' units.
    gradient, hessian : ndarray
        In these units.
    root : ndarray or None
        Cholesky factor of the Hessian; None unless that is clearly positive definite.
    """

    __slots__ = ("_spectrum", "gradient", "hessian", "root", "unit")

    def __init__(self, gradient, hessian, least: float = 0.0, natural=None):
        size = np.abs(hessian.diagonal())
        if least:
            squares = 1.0 if natural is None else natural**2
            size = np.maximum(size, least * (size * squares).max(initial=0.0) / squares)
        if not size.all():
            size = np.where(size > 0, size, 1.0)
        self.unit = unit = 1 / np.sqrt(size)
        self.gradient = gradient * unit
        self.hessian = hessian * np.multiply.outer(unit, unit)
        self._spectrum: tuple[np.ndarray, np.ndarray] | None = None
        self.root, info = linalg.lapack.dpotrf(self.hessian, lower=1)
        if info or not self.root.diagonal().min(initial=1.0) > SMALLEST_PIVOT:
            self.root = None

    @property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of the Hessian, ascending, and eigenvectors of a fixed sign."""
        if self._spectrum is None:
            value, vector = np.linalg.eigh(self.hessian)
            largest = vector[np.abs(vector).argmax(axis=0), np.arange(len(value))]
            self._spectrum = value, vector * np.where(largest < 0, -1.0, 1.0)
        return self._spectrum

    def step(self) -> tuple[np.ndarray, bool]:
        """The step down, and whether it cannot leave the saddle that it is at."""
        if self.root is not None:
            if not len(self.unit):  # nothing may move
                return self.unit, False
            return -linalg.lapack.dpotrs(self.root, self.gradient, lower=1)[0], False
        value, vector = self.spectrum
        along = vector.T @ self.gradient
        size = np.abs(value)
        floor = LEAST_CURVATURE * max(1.0, size.max())
        move = np.where((size < floor) & (np.abs(along) < NO_SLOPE), 0.0, -along)
        move = vector @ (move / np.maximum(size, floor))
        negative = value[0] < -SADDLE_CURVATURE * max(1.0, value[-1])
        return move, bool(negative and abs(along[0]) < SADDLE_SLOPE)


class TrustRegion:
    """A search for a minimum; who uses it states the function, its domain and the end.

    The function: ``evaluate``, ``value`` and ``derivatives``.  Its domain: ``free`` and
    ``within``.  The end: ``check_convergence``, and what ``finalize`` returns.

    Attributes
    ----------
    x, state : ndarray, object
        The point, and what ``evaluate`` has returned for it.
    radius : float
        Length of the longest step, in units of unit curvature.
    n_steps, n_escapes : int
        Steps taken, and steps tried off a saddle.
    done : bool
        Whether the search has come to its end.
    at : ndarray of int or None
        Coordinates that may move; None for all.
    moved : bool
        Whether ``update`` has not seen the point yet.
    model : Quadratic
        The function near the point.
    move, length : ndarray, float
        The step, whatever the radius, in the model's units, and how long it is.
    decrement : float
        Twice what it should take off, by the model.
    whole, step : ndarray
        The same step in all coordinates, and what of it lies in the domain.
    escaping : bool
        Whether it has a part that leads off a saddle.
    """

    # Longest first step, and length of steps at which the search ends.
    first_radius, smallest_radius = 1.0, SMALLEST_RADIUS
    most_steps = 200
    # Of ``Quadratic``; the units in all coordinates.
    least_unit = 0.0
    natural: np.ndarray | None = None

    def solve(self, x) -> Any:
        """Search from a start; returns what ``finalize`` does."""
        self.setup(x)
        while not self.done:
            self.update()
            self.inner_solve()
            self.check_convergence()
            if not self.done:
                self.try_step()
        return self.finalize()

    # ---- what is to be stated ----

    def evaluate(self, x) -> Any:
        """The function at x, with its derivatives where it can be computed."""
        raise NotImplementedError

    def value(self, state) -> float:
        """What is to become least; infinite or NaN where it cannot be computed."""
        return state.value

    def derivatives(self, state) -> tuple[np.ndarray, np.ndarray]:
        """Its gradient and Hessian, in all coordinates."""
        return state.gradient, state.hessian

    def free(self, state) -> np.ndarray | None:
        """Numbers of the coordinates that may move; None for all."""
        return None

    def within(self, step) -> np.ndarray:
        """A step, cut where it leaves the domain; itself where it does not."""
        return step

    def rounding(self, state) -> float:
        """Change of the value that may be rounding error."""
        return 0.0

    def check_convergence(self) -> None:
        """Whether the step need not be tried any more.

        Sets: done.
        """
        raise NotImplementedError

    def finalize(self) -> Any:
        """The result."""
        return self.state

    # ---- the steps ----

    def setup(self, x) -> None:
        """Start at x.

        Sets: x, state, moved, radius, n_steps, n_escapes, done.
        """
        self.radius, self.done = self.first_radius, False
        self.n_steps = self.n_escapes = 0
        self.x, self.state, self.moved = x, self.evaluate(x), True

    def update(self) -> None:
        """Look at the function near a point to which a step has led.

        Sets: at, model, moved.
        """
        if not self.moved:
            return
        gradient, hessian = self.derivatives(self.state)
        self.at = at = self.free(self.state)
        natural = self.natural
        if at is not None:
            gradient, hessian = gradient[at], hessian[at][:, at]
            natural = None if natural is None else natural[at]
        self.model = Quadratic(gradient, hessian, self.least_unit, natural)
        self.moved = False

    def inner_solve(self) -> None:
        """Find the step, whatever the radius.

        Sets: move, length, decrement, whole, step, escaping, n_escapes.
        """
        model = self.model
        move, held_up = model.step()
        self.escaping = held_up and self.n_escapes < ESCAPES
        if self.escaping:
            self.n_escapes += 1
            move = move + ESCAPE * model.spectrum[1][:, 0]
        self.move, self.length = move, math.sqrt(move @ move)
        self.decrement = -float(model.gradient @ move)
        self.whole = self.spread(move)
        self.step = self.within(self.whole)

    def spread(self, move) -> np.ndarray:
        """A step in the model's units as one in all coordinates."""
        if self.at is None:
            return self.model.unit * move
        out = np.zeros(len(self.x))
        out[self.at] = self.model.unit * move
        return out

    def try_step(self) -> None:
        """Go as far as the radius allows if the function falls; draw the radius from that.

        Sets: radius, done and, if the step is taken, x, state, moved, n_steps.
        """
        step, long = self.step, self.length > self.radius
        if long:
            step = self.within(self.whole * (self.radius / self.length))
        x = self.x + step
        other = self.evaluate(x)
        gain = self.value(self.state) - self.value(other)
        rounding = self.rounding(self.state) if self.decrement < LITTLE_DECREMENT else 0.0
        if not gain > -rounding:
            self.radius = SHORTER * min(self.length, self.radius)
            self.done = not self.radius >= self.smallest_radius  # NaN ends it, too
            return
        if long or gain > 0.5 * FAIR * self.decrement:
            self.radius = min(LONGER * self.radius, LONGEST)
        self.x, self.state, self.moved = x, other, True
        self.n_steps += 1
        self.done = gain <= rounding or self.n_steps >= self.most_steps
