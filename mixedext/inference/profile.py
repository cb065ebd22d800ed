"""Profile likelihood of one parameter: path, signed root, spline and limits.

At each value of the parameter the ML deviance is minimized over all others by Newton steps
with exact derivatives, from where the path so far points to.  The signed root

    zeta(v) = sign(v - v^) sqrt(dev(v) - dev^)

has the derivative dev'(v) / (2 zeta), which the restricted minimum gives with it, so that
few points determine a smooth curve.  Limits are found by Newton steps on zeta, each a
restricted minimum: no interpolation is left in them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import linalg, stats
from scipy.interpolate import CubicHermiteSpline

from mixedext.inference.profile_coordinates import (
    Coordinates,
    Estimates,
    ProfileModel,
    State,
    Target,
)

__all__ = ["Curve", "Limit", "LowerDevianceError", "profile_curve", "signed_root"]

# Deviance below that of the fit by more than this is a better fit, not rounding.
LOWER = 1e-6
# What one more Newton step may still take off the deviance at a point of the path, of
# which the half of it is taken off without being computed, and at a limit.
PATH_DECREMENT, LIMIT_DECREMENT = 1e-7, 1e-9
# Points on one side of the estimate.
MOST_POINTS = 60
MOST_STEPS = 60
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


@dataclass(frozen=True, eq=False)
class Limit:
    """One end of an interval.

    Attributes
    ----------
    value : float
        NaN where there is none.
    reason : str
        Why it is not a point where zeta has the value asked for; empty if it is.
    """

    value: float
    reason: str = ""


@dataclass(frozen=True, eq=False)
class _Node:
    """A restricted minimum: where, deviance, derivative of it along the path."""

    coordinate: float
    deviance: float
    slope: float
    tangent: np.ndarray
    bend: float
    state: State


@dataclass(frozen=True, eq=False)
class Curve:
    """The profile of one parameter.

    Attributes
    ----------
    target : Target
        The parameter.
    estimate : float
        Its value in the fit.
    value, deviance, zeta, slope : ndarray
        Points by ascending value; slope is d zeta / d value, NaN where it has none.
    points : list of Estimates
        All parameters at each point.
    ends : tuple of str
        Why the path ends below and above: "level" or a sentence.
    best : float
        Deviance of the fit.
    evaluations : int
        Of the deviance.
    """

    target: Target
    estimate: float
    value: np.ndarray
    deviance: np.ndarray
    zeta: np.ndarray
    slope: np.ndarray
    points: list[Estimates] = field(repr=False)
    ends: tuple[str, str]
    best: float
    evaluations: int
    nodes: list[_Node] = field(repr=False)

    def spline(self):
        """Cubic spline zeta(value) through points and slopes, monotone where they are.

        Slopes are cut to what keeps each piece monotone (Fritsch and Carlson 1980).
        """
        x, y = self.value, self.zeta
        if len(x) < 2:
            raise ValueError("the profile has a single point: no spline")
        chord = np.diff(y) / np.diff(x)
        slope = self.slope.copy()
        for i in np.flatnonzero(~np.isfinite(slope)):
            slope[i] = _end_slope(x, y, i)
        for i, c in enumerate(chord):
            low, high = slope[i : i + 2]
            if c == 0 or low * c < 0 or high * c < 0:
                slope[i : i + 2] = np.where(slope[i : i + 2] * c > 0, slope[i : i + 2], 0.0)
            length = np.hypot(slope[i], slope[i + 1]) / abs(c) if c else 0.0
            if length > 3:
                slope[i : i + 2] *= 3 / length
        return CubicHermiteSpline(x, y, slope)

    def limits(self, model: ProfileModel, level: float) -> tuple[Limit, Limit]:
        """Ends of the interval at a confidence level, to the accuracy of the arithmetic."""
        zeta = float(np.sqrt(stats.chi2.ppf(level, 1)))
        coordinates = Coordinates(model, self.target)
        return tuple(self._limit(coordinates, zeta, side) for side in (0, 1))

    def _limit(self, coordinates, wanted, side):
        sign = 1 if side else -1
        outward = self.nodes if side else self.nodes[::-1]
        height = np.array([sign * z for z in (self.zeta if side else self.zeta[::-1])])
        middle = self._middle(outward)
        beyond = [i for i in range(middle, len(outward)) if height[i] >= wanted]
        if not beyond:
            return self._end(outward[-1], coordinates, side)
        # the outermost point from which on zeta stays beyond
        inside = [i for i in range(middle, len(outward)) if height[i] < wanted]
        first = max(inside, default=middle) + 1
        if first >= len(outward):
            return self._end(outward[-1], coordinates, side)
        reason = ""
        if first > beyond[0]:
            reason = (
                "the profile crosses the level more than once; this is the outermost "
                "crossing"
            )
        value = _solve_limit(
            coordinates, outward[first - 1], outward[first], self.best, wanted
        )
        return Limit(coordinates.parameter(value), reason)

    def _middle(self, nodes):
        """Number of the node at the estimate."""
        return int(np.argmin([n.deviance for n in nodes]))

    def _end(self, node, coordinates, side):
        low, high = coordinates.limits
        bound = high if side else low
        if node.coordinate == bound:
            return Limit(coordinates.parameter(bound), self.ends[side])
        return Limit(np.nan, self.ends[side])


def signed_root(deviance, best, sign) -> float:
    """sign * sqrt(deviance - best), zero where rounding makes the difference negative."""
    return float(sign * np.sqrt(max(deviance - best, 0.0)))


def _end_slope(x, y, i):
    """Slope at a point without its own: of the parabola through it and two neighbours."""
    if len(x) == 2:
        return (y[1] - y[0]) / (x[1] - x[0])
    j = min(max(i, 1), len(x) - 2)
    a, b, c = x[j - 1 : j + 2]
    left, right = (y[j] - y[j - 1]) / (b - a), (y[j + 1] - y[j]) / (c - b)
    bend = (right - left) / (c - a)
    return left + bend * (2 * x[i] - a - b)


# ---- the restricted minimum ----


def _minimize(coordinates: Coordinates, z, tolerance) -> tuple[State, np.ndarray, float]:
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


def _node(coordinates: Coordinates, z, tolerance=PATH_DECREMENT) -> _Node:
    """The restricted minimum near z, with the direction of the path there."""
    state, step, gain = _minimize(coordinates, z, tolerance)
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
    moved = State(
        state.z + step, state.value - gain, state.gradient, hessian, state.inner
    )
    return _Node(
        float(state.z[held]), moved.value, float(slope), tangent, float(bend), moved
    )


# ---- the path ----


def profile_curve(
    model: ProfileModel,
    target: Target,
    fitted: Estimates,
    best: float,
    zeta_max: float,
    step: float,
) -> Curve:
    """Profile one parameter both ways from the estimate.

    Parameters
    ----------
    model : ProfileModel
        The model.
    target : Target
        The parameter.
    fitted : Estimates
        Maximum-likelihood estimates of all parameters.
    best : float
        Deviance there.
    zeta_max : float
        Where the path ends.
    step : float
        Distance of points, in zeta.

    Returns
    -------
    Curve

    Raises
    ------
    LowerDevianceError
        If a point has a lower deviance than the fit.
    """
    coordinates = Coordinates(model, target)
    start = coordinates.start(fitted)
    middle = _node(coordinates, start, LIMIT_DECREMENT)
    _check_lower(coordinates, middle, best)
    cap = _cap(coordinates, fitted, best)
    sides = []
    for sign in (-1, 1):
        nodes, end = _walk(coordinates, middle, best, sign, zeta_max, step)
        if cap is not None:
            nodes, end = _capped(coordinates, middle, nodes, end, cap, best, sign)
        sides.append((nodes, end))
    (below, end_below), (above, end_above) = sides
    nodes = below[::-1] + [middle] + above
    signs = [-1] * len(below) + [0] + [1] * len(above)
    value, deviance, zeta, slope = (np.empty(len(nodes)) for _ in range(4))
    for i, (node, sign) in enumerate(zip(nodes, signs, strict=True)):
        value[i] = coordinates.parameter(node.coordinate)
        deviance[i] = node.deviance
        zeta[i] = signed_root(node.deviance, best, sign)
        slope[i] = _zeta_slope(coordinates, node, zeta[i])
    estimate = model.value(target, fitted)
    return Curve(
        target,
        estimate,
        value,
        deviance,
        zeta,
        slope,
        [_estimates(coordinates, n) for n in nodes],
        (end_below, end_above),
        best,
        coordinates.evaluations,
        nodes,
    )


def _estimates(coordinates, node):
    return coordinates.estimates(node.state)


def _check_lower(coordinates, node, best):
    if node.deviance < best - LOWER * max(1.0, 1e-6 * abs(best)):
        raise LowerDevianceError(_estimates(coordinates, node), node.deviance)


def _zeta_slope(coordinates, node, zeta):
    """d zeta / d value."""
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
        typical = np.exp(z[tau] / 2) / np.sqrt(_column_square(coordinates))
        most = max(0.5 * abs(node.coordinate), 0.2 * typical)
    else:
        most = np.inf
    if curvature > 0:
        return min(step / curvature, most)
    return most


def _column_square(coordinates):
    """Sum of squares of the effect's column of Z per level, in the data's units."""
    model, target = coordinates.model, coordinates.target
    transform = model.design.transforms[target.term]
    a = target.rows[0] if transform.shape[0] > target.rows[0] else 0
    # the engine's columns have rms 1 and are those of the data times T
    size = np.linalg.norm(np.linalg.inv(transform)[:, a]) if transform.size else 1.0
    return 1.0 / max(size, 1e-300) ** 2


def _walk(coordinates, middle, best, sign, zeta_max, step):
    """Points on one side, and why they end."""
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
            node = _node(coordinates, guess)
            _check_lower(coordinates, node, best)
            jump = np.sqrt(max(node.deviance - best, 0)) - np.sqrt(
                max(last.deviance - best, 0)
            )
            if abs(jump) <= 2.5 * step:
                break
            target = last.coordinate + moved * max(step / abs(jump), 0.1)
        nodes.append(node)
        zeta = np.sqrt(max(node.deviance - best, 0.0))
        if zeta >= zeta_max:
            return nodes, "level"
        if node.coordinate == bound:
            return nodes, _bound_reason(coordinates, sign)
        moved = abs(node.coordinate - last.coordinate)
        rate = abs(node.slope) / (2 * zeta) if zeta > SMALL_ZETA else 0.0
        # to a bit beyond the end, so that no further point is needed
        wanted = min(step, max(zeta_max - zeta, 0.1 * step) * 1.02)
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


def _cap(coordinates, fitted, best):
    """For a correlation the best model in which one of its effects is zero.

    Such a model has every value of the correlation: the profile cannot lie above it.
    """
    target, found = coordinates.target, None
    if target.kind != "correlation":
        return None
    for row in target.rows:
        without = Coordinates(coordinates.model, Target("sd", target.term, (row,)))
        z = without.start(fitted)
        z[without.held] = 0.0
        node = _node(without, z, LIMIT_DECREMENT)
        _check_lower(without, node, best)
        if found is None or node.deviance < found[0]:
            z = coordinates.start(_estimates(without, node))
            found = node.deviance, z, row
    return found


def _capped(coordinates, middle, nodes, end, cap, best, sign):
    """The path with what lies above the cap replaced by it."""
    deviance, z, row = cap
    above = [i for i, n in enumerate(nodes) if n.deviance > deviance]
    if not above:
        return nodes, end
    inner = nodes[above[0] - 1] if above[0] else middle
    outer, wanted = nodes[above[0]], np.sqrt(max(deviance - best, 0.0))
    if inner.deviance < deviance:
        crossing = _solve_limit(coordinates, inner, outer, best, wanted)
    else:
        crossing = inner.coordinate
    bound = coordinates.limits[1 if sign > 0 else 0]
    flat = []
    for place in (crossing, bound):
        at = z.copy()
        at[coordinates.held] = place
        state = coordinates.at(at)
        flat.append(_Node(place, deviance, 0.0, np.zeros(len(at)), 0.0, state))
    kept = nodes[: above[0]]
    if kept and crossing == kept[-1].coordinate or crossing == middle.coordinate:
        flat = flat[1:]
    end = (
        f"the profile is flat from {coordinates.parameter(crossing):.4g} on, where the "
        f"standard deviation of effect {row} is zero"
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


def _solve_limit(coordinates, inner, outer, best, wanted):
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
        node = _node(coordinates, guess, LIMIT_DECREMENT)
        _check_lower(coordinates, node, best)
        height = np.sqrt(max(node.deviance - best, 0.0))
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
    slopes = [
        n.slope / (2 * h) for n, h in zip((inner, outer), heights, strict=True)
    ]
    if not (slopes[0] * slopes[1] > 0):
        return otherwise
    inverse = CubicHermiteSpline(
        heights, [inner.coordinate, outer.coordinate], [1 / s for s in slopes]
    )
    at = float(inverse(wanted))
    low, high = sorted((inner.coordinate, outer.coordinate))
    return at if low < at < high else otherwise
