"""Paths of restricted minima from an estimate, and where they cross a level.

Each minimum is sought from where those before it point to.
"""

from __future__ import annotations

from dataclasses import replace

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
    "reconsider",
    "signed_root",
    "solve_limit",
    "walk",
    "zeta_slope",
]

# Deviance below that of the fit by more than this is a better fit, not rounding.
LOWER = 1e-6
# Deviances of two minima closer than this are of the same.
SAME = 1e-6
# Standard deviations (of effects on columns with rms 1, relative to sigma) and eigenvalues
# of correlation matrices, by their size, below which the deviance may have several minima.
SMALL_SD, SMALL_EIGENVALUE = 0.05, 0.05
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
    start: list[RestrictedMinimum],
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
    start : list of RestrictedMinimum
        The points so far: the fit, or more.
    best : float
        Deviance of the fit.
    sign : int
        Upwards (1) or downwards (-1).
    zeta_max, step : float
        Where to end, and the distance of points, in zeta.
    """
    bound = coordinates.limits[1 if sign > 0 else 0]
    nodes, last = [], start[-1]
    before = start[-2] if len(start) > 1 else None
    if last.coordinate == bound:
        return [], _bound_reason(coordinates, sign, at_estimate=before is None)
    if before is None:
        length = _first_step(coordinates, last, step)
    else:
        length = _next_step(last, before, best, zeta_max, step)
    for _ in range(MOST_POINTS):
        target = last.coordinate + sign * length
        if sign * (target - bound) >= -0.25 * length and np.isfinite(bound):
            target = bound
        for _ in range(8):
            moved = target - last.coordinate
            guess = _predict(coordinates, last, before, moved)
            node = restricted_minimum(coordinates, guess, otherwise=last.state.z)
            check_lower(coordinates, node, best)
            jump = signed_root(node.deviance, best, 1)
            jump -= signed_root(last.deviance, best, 1)
            if abs(jump) <= 2.5 * step:
                break
            target = last.coordinate + moved * max(step / abs(jump), 0.1)
        node = replace(node, branch=last.branch)
        nodes.append(node)
        if signed_root(node.deviance, best, 1) >= zeta_max:
            return nodes, "level"
        if node.coordinate == bound:
            return nodes, _bound_reason(coordinates, sign)
        last, before = node, last
        length = _next_step(last, before, best, zeta_max, step)
    reason = (
        f"the likelihood is flat: after {MOST_POINTS} points the signed root is "
        f"{signed_root(last.deviance, best, sign):.3g}"
    )
    return nodes, reason


def _next_step(last, before, best, zeta_max, step):
    """Length in the held coordinate: equal steps of zeta to a bit beyond the end."""
    moved = abs(last.coordinate - before.coordinate)
    zeta = signed_root(last.deviance, best, 1)
    rate = abs(last.slope) / (2 * zeta) if zeta > SMALL_ZETA else 0.0
    left = max(1.03 * (zeta_max - zeta), 0.1 * step)
    wanted = left / np.ceil(left / step)
    return min(wanted / rate, 2.5 * moved) if rate > 0 else 2 * moved


def _bound_reason(coordinates, sign, at_estimate=False):
    if coordinates.target.kind == "correlation":
        return f"the profile reaches the bound {'1' if sign > 0 else '-1'}"
    if at_estimate:
        return "the estimate is at the bound 0"
    return "the profile reaches the bound 0"


# ---- other local minima ----


def reconsider(
    coordinates: Coordinates,
    middle: RestrictedMinimum,
    nodes: list[RestrictedMinimum],
    end: str,
    best: float,
    sign: int,
    zeta_max: float,
    step: float,
) -> tuple[list[RestrictedMinimum], str]:
    """The path with lower minima in its place, where others are found.

    Near singular covariances the deviance may have several minima.  There the last point
    and two before it are sought from other starts; a lower minimum is followed both ways
    as long as it is lower.
    """
    if not nodes or not _nearly_singular(coordinates, middle, nodes[-1]):
        return nodes, end
    branch = 0
    last = len(nodes) - 1
    for number in sorted({last, 2 * last // 3, last // 3}, reverse=True):
        lower = _other_minimum(coordinates, nodes[number])
        if lower is None:
            continue
        check_lower(coordinates, lower, best)
        branch += 1
        nodes[number] = replace(lower, branch=branch)
        for way in (range(number - 1, -1, -1), range(number + 1, len(nodes))):
            from_ = nodes[number]
            for i in way:
                z = from_.state.z.copy()
                z[coordinates.held] = nodes[i].coordinate
                other = restricted_minimum(coordinates, z, otherwise=nodes[i].state.z)
                check_lower(coordinates, other, best)
                if other.deviance > nodes[i].deviance - SAME:
                    break
                nodes[i] = from_ = replace(other, branch=branch)
    if branch and end == "level" and signed_root(nodes[-1].deviance, best, 1) < zeta_max:
        more, end = walk(coordinates, [middle, *nodes], best, sign, zeta_max, step)
        nodes = [*nodes, *more]
    return nodes, end


def _nearly_singular(coordinates, *nodes):
    """Whether some covariance is close to singular at one of the points."""
    for node in nodes:
        at = coordinates.estimates(node.state)
        for s, covariance, transform in zip(
            coordinates.model.structures,
            at.covariances,
            coordinates.model.design.transforms,
            strict=True,
        ):
            # on columns of Z with rms 1, relative to sigma
            size = np.sqrt(np.einsum("ab,ab->b", transform, transform)[: s.k] / at.scale)
            sd = np.sqrt(covariance.diagonal())
            count = sum(t.k for t in coordinates.model.structures)
            if count > 1 and (sd * size < SMALL_SD).any():
                return True
            if s.correlated and s.k > 1:
                correlation = covariance / np.multiply.outer(sd, sd)
                if np.linalg.eigvalsh(correlation)[0] < SMALL_EIGENVALUE * s.k:
                    return True
    return False


def _other_starts(model, at):
    """Covariances of all terms to start from: other signs and sizes of correlations."""
    unit = [
        at.scale * np.diag(1 / np.einsum("ab,ab->b", t, t)[: len(c)])
        for c, t in zip(at.covariances, model.design.transforms, strict=True)
    ]
    starts = []
    for i, (own, s) in enumerate(zip(at.covariances, model.structures, strict=True)):
        others = []
        if s.correlated and s.k > 1:
            diagonal = np.diag(own.diagonal())
            others = [diagonal, diagonal + unit[i]]
            for a in range(s.k):
                sign = np.ones(s.k)
                sign[a] = -1.0
                others.append(0.9 * own * np.outer(sign, sign) + 0.1 * diagonal)
        if sum(t.k for t in model.structures) > 1:
            others += [0.05 * own, own + unit[i]]
        for other in others:
            starts.append([*at.covariances[:i], other, *at.covariances[i + 1 :]])
    return starts


def _other_minimum(coordinates, node):
    """A lower minimum at the same held coordinate, from other starts, or None."""
    at = coordinates.estimates(node.state)
    found = None
    for covariances in _other_starts(coordinates.model, at):
        z = coordinates.start(Estimates(covariances, at.scale, at.coefficients))
        z[coordinates.held] = node.coordinate
        try:
            other = restricted_minimum(coordinates, z)
        except np.linalg.LinAlgError:
            continue
        lowest = node.deviance - SAME if found is None else found.deviance
        if other.deviance < lowest:
            found = other
    return found


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
        node = restricted_minimum(
            coordinates, guess, LIMIT_DECREMENT, otherwise=near.state.z
        )
        if low.branch != high.branch:
            for side in (low, high):
                z = side.state.z.copy()
                z[coordinates.held] = at
                other = restricted_minimum(coordinates, z, LIMIT_DECREMENT, node.state.z)
                if other.deviance < node.deviance:
                    node = replace(other, branch=side.branch)
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
