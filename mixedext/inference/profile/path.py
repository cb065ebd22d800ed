"""Paths of restricted minima from an estimate, and where they cross a level.

Each minimum is sought from where those before it point to.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from mixedext.inference.profile.coordinates import Coordinates, Estimates
from mixedext.inference.profile.restricted_minimum import (
    RestrictedMinimum,
    lower_minimum,
    restricted_minimum,
)
from mixedext.limits import (
    LIMIT_DECREMENT,
    LIMIT_STEPS,
    LIMIT_WIDTH,
    LIMIT_ZETA,
    LOWER_DEVIANCE,
    LOWER_SHARE,
    SMALL_ZETA,
    UNRESOLVED,
)

__all__ = [
    "LowerDevianceError",
    "Path",
    "check_lower",
    "signed_root",
    "solve_limit",
    "zeta_slope",
]

# Steps of zeta from one point to the next that are no surprise: longer ones may lead to
# another local minimum.
ODD_JUMP = 1.5
# Points on one side of the estimate.
MOST_POINTS = 60


class LowerDevianceError(Exception):
    """A lower deviance than that of the fit turned up; has the estimates there."""

    def __init__(self, estimates: Estimates, deviance: float):
        super().__init__(f"deviance {deviance} below that of the fit")
        self.estimates, self.deviance = estimates, deviance

    def __reduce__(self):
        return type(self), (self.estimates, self.deviance)


def signed_root(deviance: float, best: float, sign: int) -> float:
    """sign * sqrt(deviance - best), zero where rounding makes the difference negative."""
    return float(sign * np.sqrt(max(deviance - best, 0.0)))


def check_lower(coordinates: Coordinates, node: RestrictedMinimum, best: float) -> None:
    """Raise LowerDevianceError if the deviance lies below the best one so far."""
    if node.deviance < best - LOWER_DEVIANCE * max(1.0, LOWER_SHARE * abs(best)):
        raise LowerDevianceError(coordinates.estimates(node.state), node.deviance)


def zeta_slope(coordinates: Coordinates, node: RestrictedMinimum, zeta: float) -> float:
    """d zeta / d value at a point; NaN at a bound."""
    rate = coordinates.rate(node.coordinate)
    if not np.isfinite(rate) or node.coordinate in coordinates.limits:
        return np.nan
    if abs(zeta) > SMALL_ZETA:
        return node.slope / (2 * zeta) * rate
    return np.sqrt(max(node.bend, 0.0) / 2) * rate


def _first_step(coordinates, node, step):
    """Length in the held coordinate that should move zeta by one step."""
    curvature = np.sqrt(max(node.bend, 0.0) / 2)
    z, tau = node.state.z, coordinates.tau
    kind = coordinates.target.kind
    if kind == "correlation":
        most = 0.2
    elif kind == "sigma":
        most = 0.5
    elif kind == "sd":
        # the engine's columns have rms 1, and times T they are those of the data
        transform = coordinates.model.design.transforms[coordinates.target.term]
        size = np.linalg.norm(
            transform[:, min(coordinates.target.rows[0], len(transform) - 1)]
        )
        typical = np.exp(z[tau] / 2) / size
        most = max(0.5 * abs(node.coordinate), 0.2 * typical)
    else:
        most = np.inf
    if curvature > 0:
        return min(step / curvature, most)
    return most


@dataclass(eq=False)
class Path:
    """Restricted minima on one side of an estimate.

    Attributes
    ----------
    coordinates : Coordinates
        Coordinates, of which one is held.
    middle : RestrictedMinimum
        The fit.
    best : float
        Its deviance.
    sign : int
        Upwards (1) or downwards (-1).
    zeta_max, step : float
        Where to end, and the distance of points, in zeta.
    others : tuple of Estimates
        Estimates at higher minima than the fit.
    nodes : list of RestrictedMinimum
        The points from the inside out, without the middle.
    end : str
        Why it ends: "level" or a sentence.
    """

    coordinates: Coordinates
    middle: RestrictedMinimum
    best: float
    sign: int
    zeta_max: float
    step: float
    others: tuple[Estimates, ...] = ()
    nodes: list[RestrictedMinimum] = field(default_factory=list)
    end: str = ""

    @property
    def bound(self) -> float:
        """Where the held coordinate ends on this side."""
        return self.coordinates.limits[1 if self.sign > 0 else 0]

    def height(self, node: RestrictedMinimum) -> float:
        """|zeta| at a point."""
        return signed_root(node.deviance, self.best, 1)

    def walk(self) -> None:
        """Points from the last one on to the end."""
        so_far = [self.middle, *self.nodes]
        last, before = so_far[-1], so_far[-2] if len(so_far) > 1 else None
        if last.coordinate == self.bound:
            self.end = self._bound_reason(at_estimate=before is None)
            return
        for _ in range(MOST_POINTS):
            if before is None:
                length = _first_step(self.coordinates, last, self.step)
            else:
                length = self._next_step(last, before)
            if not length > UNRESOLVED * abs(last.coordinate):
                self.end = "the likelihood changes within the rounding of the estimate"
                return
            node = self._next(last, before, length)
            self.nodes.append(node)
            if self.height(node) >= self.zeta_max:
                self.end = "level"
                return
            if node.coordinate == self.bound:
                self.end = self._bound_reason()
                return
            last, before = node, last
        self.end = (
            f"the likelihood is flat: after {MOST_POINTS} points the signed root is "
            f"{self.sign * self.height(last):.3g}"
        )

    def _next(self, last, before, length):
        """The next point, nearer than asked for where zeta would move too far."""
        target = last.coordinate + self.sign * length
        if np.isfinite(self.bound) and self.sign * (target - self.bound) >= -0.25 * length:
            target = self.bound
        for _ in range(8):
            moved = target - last.coordinate
            guess = _predict(self.coordinates, last, before, moved)
            node = restricted_minimum(self.coordinates, guess, otherwise=last.state.z)
            check_lower(self.coordinates, node, self.best)
            jump = abs(self.height(node) - self.height(last))
            if jump > ODD_JUMP * self.step:
                node = self._from_last(node, last)
                jump = abs(self.height(node) - self.height(last))
            if jump <= 2.5 * self.step:
                break
            target = last.coordinate + moved * max(self.step / jump, 0.1)
        return replace(node, branch=last.branch)

    def _from_last(self, node, last):
        """The lower one of a point and the minimum found from the last point as it is."""
        z = last.state.z.copy()
        z[self.coordinates.held] = node.coordinate
        other = restricted_minimum(self.coordinates, z, otherwise=node.state.z)
        check_lower(self.coordinates, other, self.best)
        return other if other.deviance < node.deviance else node

    def _next_step(self, last, before):
        """Length in the held coordinate: equal steps of zeta to a bit beyond the end."""
        moved = abs(last.coordinate - before.coordinate)
        zeta = self.height(last)
        rate = abs(last.slope) / (2 * zeta) if zeta > SMALL_ZETA else 0.0
        left = max(1.03 * (self.zeta_max - zeta), 0.1 * self.step)
        wanted = left / np.ceil(left / self.step)
        return min(wanted / rate, 2.5 * moved) if rate > 0 else 2 * moved

    def _bound_reason(self, at_estimate=False):
        if self.coordinates.target.kind == "correlation":
            return f"the profile reaches the bound {'1' if self.sign > 0 else '-1'}"
        if at_estimate:
            return "the estimate is at the bound 0"
        return "the profile reaches the bound 0"


def _predict(coordinates, last, before, moved):
    """Coordinates further along: the tangent, bent as between the last two points."""
    z = last.state.z + moved * last.tangent
    if before is not None:
        apart = last.coordinate - before.coordinate
        ratio = moved / apart
        if 0 < ratio < 3:
            # parabola with both tangents, checked against the secant (cubic Hermite)
            secant = (last.state.z - before.state.z) / apart
            second = (4 * last.tangent + 2 * before.tangent - 6 * secant) * ratio
            third = 6 * (last.tangent + before.tangent - 2 * secant) * ratio**2
            z = z + second * moved / 2
            if ratio <= 1.5:
                z = z + third * moved / 6
    else:
        z = z.copy()
    z[coordinates.held] = last.coordinate + moved
    z[coordinates.bounded] = np.maximum(z[coordinates.bounded], 0.0)
    return z


# ---- limits ----


def solve_limit(
    coordinates: Coordinates,
    inner: RestrictedMinimum,
    outer: RestrictedMinimum,
    best: float,
    wanted: float,
) -> float:
    """Coordinate between two points where |zeta| has the value wanted."""
    heights = [np.sqrt(max(n.deviance - best, 0.0)) for n in (inner, outer)]
    low, high = inner, outer
    if heights[0] == heights[1]:
        return inner.coordinate
    at = inner.coordinate + (outer.coordinate - inner.coordinate) * (
        (wanted - heights[0]) / (heights[1] - heights[0])
    )
    at = _inverse_cubic(inner, outer, heights, wanted, at)
    # no curve leads from one local minimum to another
    apart = low.branch != high.branch
    for number in range(LIMIT_STEPS):
        near = low if abs(at - low.coordinate) < abs(at - high.coordinate) else high
        if apart:
            guess = near.state.z.copy()
            guess[coordinates.held] = at
        else:
            guess = _between(coordinates, low, high, at)
        node = restricted_minimum(
            coordinates, guess, LIMIT_DECREMENT, otherwise=near.state.z
        )
        if apart or number == 0:
            for side in (low, high):
                z = side.state.z.copy()
                z[coordinates.held] = at
                lower = lower_minimum(coordinates, z, node, LIMIT_DECREMENT)
                if lower is not None:
                    node, apart = replace(lower, branch=side.branch), True
        check_lower(coordinates, node, best)
        height = signed_root(node.deviance, best, 1)
        if height < wanted:
            low = node
        else:
            high = node
        width = abs(high.coordinate - low.coordinate)
        slope = node.slope / (2 * max(height, SMALL_ZETA))
        trial = at + (wanted - height) / slope if slope else np.nan
        a, b = sorted((low.coordinate, high.coordinate))
        if abs(height - wanted) < LIMIT_ZETA:
            # where the profile is flat the last step may lead anywhere
            return float(trial if a <= trial <= b else at)
        if width <= LIMIT_WIDTH * max(abs(at), abs(near.coordinate)):
            return float(at)
        at = trial if a < trial < b else 0.5 * (a + b)
    return float(at)


def _between(coordinates, low, high, at):
    """Coordinates between two points: cubic Hermite through points and tangents."""
    width = high.coordinate - low.coordinate
    t = (at - low.coordinate) / width
    z = (
        (1 + 2 * t) * (1 - t) ** 2 * low.state.z
        + t**2 * (3 - 2 * t) * high.state.z
        + t * (1 - t) ** 2 * width * low.tangent
        - t**2 * (1 - t) * width * high.tangent
    )
    z[coordinates.held] = at
    z[coordinates.bounded] = np.maximum(z[coordinates.bounded], 0.0)
    return z


def _inverse_cubic(inner, outer, heights, wanted, otherwise):
    """First guess of a limit from the values and slopes of zeta at two points."""
    if heights[0] < SMALL_ZETA:
        return otherwise
    slopes = [n.slope / (2 * h) for n, h in zip((inner, outer), heights, strict=True)]
    if not (slopes[0] * slopes[1] > 0):
        return otherwise
    inverse = CubicHermiteSpline(
        heights, [inner.coordinate, outer.coordinate], [1 / s for s in slopes]
    )
    at = float(inverse(wanted))
    low, high = sorted((inner.coordinate, outer.coordinate))
    return at if low < at < high else otherwise
