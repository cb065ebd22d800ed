"""Paths of restricted minima from an estimate, and where they cross a level.

Each minimum is sought from where those before it point to.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from mixedext.inference.profile_coordinates import Coordinates, Estimates, Target
from mixedext.inference.restricted_minimum import (
    LIMIT_DECREMENT,
    RestrictedMinimum,
    restricted_minimum,
)

__all__ = [
    "LowerDevianceError",
    "cap",
    "capped",
    "check_lower",
    "signed_root",
    "solve_limit",
    "walk",
    "zeta_slope",
]

# Deviance below that of the fit by more than this is a better fit, not rounding.
LOWER = 1e-6
# Points on one side of the estimate.
MOST_POINTS = 60
# Length in zeta at which a search for a limit ends, and its steps.
LIMIT_TOLERANCE, LIMIT_STEPS = 1e-9, 40
# Below this distance from the estimate, in zeta, the signed root has no digits.
SMALL_ZETA = 1e-4


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


def check_lower(coordinates: Coordinates, node: RestrictedMinimum, best: float):
    """Raise LowerDevianceError if the deviance lies below the best one so far."""
    if node.deviance < best - LOWER * max(1.0, 1e-6 * abs(best)):
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


def walk(
    coordinates: Coordinates,
    middle: RestrictedMinimum,
    best: float,
    sign: int,
    zeta_max: float,
    step: float,
) -> tuple[list[RestrictedMinimum], str]:
    """Points on one side of the estimate, and why they end.

    Parameters
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
    """
    low, high = coordinates.limits
    bound = high if sign > 0 else low
    nodes, reason = [], ""
    last, before = middle, None
    if middle.coordinate == bound:
        return [], _bound_reason(coordinates, sign, at_estimate=True)
    length = _first_step(coordinates, middle, step)
    for _ in range(MOST_POINTS):
        target = last.coordinate + sign * length
        if sign * (target - bound) >= -0.25 * length and np.isfinite(bound):
            target = bound
        node = None
        for _ in range(8):
            moved = target - last.coordinate
            guess = _predict(coordinates, last, before, moved)
            node = restricted_minimum(coordinates, guess)
            check_lower(coordinates, node, best)
            jump = signed_root(node.deviance, best, 1)
            jump -= signed_root(last.deviance, best, 1)
            if abs(jump) <= 2.5 * step:
                break
            target = last.coordinate + moved * max(step / abs(jump), 0.1)
        nodes.append(node)
        zeta = signed_root(node.deviance, best, 1)
        if zeta >= zeta_max:
            return nodes, "level"
        if node.coordinate == bound:
            return nodes, _bound_reason(coordinates, sign)
        moved = abs(node.coordinate - last.coordinate)
        rate = abs(node.slope) / (2 * zeta) if zeta > SMALL_ZETA else 0.0
        # equal steps to a bit beyond the end
        left = 1.03 * (zeta_max - zeta)
        wanted = max(left / np.ceil(left / step), 0.1 * step)
        length = wanted / rate if rate > 0 else 2 * moved
        length = min(length, 2.5 * moved)
        last, before = node, last
    reason = (
        f"the likelihood is flat: after {MOST_POINTS} points the signed root is "
        f"{sign * np.sqrt(max(last.deviance - best, 0.0)):.3g}"
    )
    return nodes, reason


def _bound_reason(coordinates, sign, at_estimate=False):
    if coordinates.target.kind == "correlation":
        return f"the profile reaches the bound {'1' if sign > 0 else '-1'}"
    if at_estimate:
        return "the estimate is at the bound 0"
    return "the profile reaches the bound 0"


def cap(coordinates: Coordinates, fitted: Estimates, best: float):
    """For a correlation the best model in which one of its effects is zero.

    Such a model has every value of the correlation: the profile cannot lie above it.
    Returns its deviance, coordinates and the effect, or None for other parameters.
    """
    target, found = coordinates.target, None
    if target.kind != "correlation":
        return None
    for row in target.rows:
        without = Coordinates(coordinates.model, Target("sd", target.term, (row,)))
        z = without.start(fitted)
        z[without.held] = 0.0
        node = restricted_minimum(without, z, LIMIT_DECREMENT)
        check_lower(without, node, best)
        if found is None or node.deviance < found[0]:
            z = coordinates.start(without.estimates(node.state))
            found = node.deviance, z, row
    return found


def capped(coordinates, middle, nodes, end, cap, best, sign):
    """The path with what lies above the cap replaced by it."""
    deviance, z, row = cap
    above = [i for i, n in enumerate(nodes) if n.deviance > deviance]
    if not above:
        return nodes, end
    inner = nodes[above[0] - 1] if above[0] else middle
    outer, wanted = nodes[above[0]], np.sqrt(max(deviance - best, 0.0))
    if inner.deviance < deviance:
        crossing = solve_limit(coordinates, inner, outer, best, wanted)
    else:
        crossing = inner.coordinate
    bound = coordinates.limits[1 if sign > 0 else 0]
    flat = []
    for place in (crossing, bound):
        at = z.copy()
        at[coordinates.held] = place
        state = coordinates.at(at)
        flat.append(RestrictedMinimum(place, deviance, 0.0, 0.0, np.zeros(len(at)), state))
    kept = nodes[: above[0]]
    if (kept and crossing == kept[-1].coordinate) or crossing == middle.coordinate:
        flat = flat[1:]
    end = (
        f"the profile is flat from {coordinates.parameter(crossing):.4g} on, where the "
        f"standard deviation of {{effects[{row}]}} is zero"
    )
    return kept + flat, end


def _predict(coordinates, last, before, moved):
    """Coordinates further along: the tangent, bent as between the last two points."""
    z = last.state.z + moved * last.tangent
    if before is not None:
        apart = last.coordinate - before.coordinate
        ratio = moved / apart
        if 0 < ratio < 3:
            # parabola with both tangents, checked against the secant (cubic Hermite)
            secant = (last.state.z - before.state.z) / apart
            second = (4 * last.tangent + 2 * before.tangent - 6 * secant) / apart
            third = 6 * (last.tangent + before.tangent - 2 * secant) / apart**2
            z = z + second * moved**2 / 2
            if ratio <= 1.5:
                z = z + third * moved**3 / 6
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
    at = inner.coordinate + (outer.coordinate - inner.coordinate) * (
        (wanted - heights[0]) / (heights[1] - heights[0])
    )
    at = _inverse_cubic(inner, outer, heights, wanted, at)
    for _ in range(LIMIT_STEPS):
        near = low if abs(at - low.coordinate) < abs(at - high.coordinate) else high
        guess = _between(coordinates, low, high, at)
        node = restricted_minimum(coordinates, guess, LIMIT_DECREMENT)
        check_lower(coordinates, node, best)
        height = signed_root(node.deviance, best, 1)
        if height < wanted:
            low = node
        else:
            high = node
        width = abs(high.coordinate - low.coordinate)
        slope = node.slope / (2 * max(height, SMALL_ZETA))
        if abs(height - wanted) < LIMIT_TOLERANCE and slope:
            return float(at + (wanted - height) / slope)
        if width <= 1e-13 * max(abs(at), abs(near.coordinate)):
            return float(at)
        trial = at + (wanted - height) / slope if slope else np.nan
        a, b = sorted((low.coordinate, high.coordinate))
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
