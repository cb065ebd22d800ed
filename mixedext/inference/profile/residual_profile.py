"""Profiles of the likelihood of a model with a residual covariance.

Each parameter is followed from its estimate to both sides, in the coordinate of its target;
at each value the ML deviance is minimized over all others.  Limits are Newton's steps on
the signed root, each a restricted minimum.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from scipy import stats

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.engine.fit import Fit
from mixedext.engine.residual.estimate import ResidualEstimate
from mixedext.engine.residual.fit import fit_residual_rows
from mixedext.engine.residual.natural import natural_parameters
from mixedext.engine.residual.search import search_residual
from mixedext.engine.rows.design import prepare_design
from mixedext.engine.threads import blas_threads
from mixedext.exceptions import DesignError, DevianceError
from mixedext.inference.profile.residual_minimum import JointDeviance, restricted_point
from mixedext.inference.profile.residual_targets import ResidualTarget, residual_targets
from mixedext.inference.profile.signed_root import Curve, Limit, Profile
from mixedext.limits import LIMIT_ZETA

__all__ = [
    "ResidualCurve",
    "ResidualValues",
    "ml_fit",
    "profile_residual_fit",
    "profile_target",
]

# Points of a side, how much longer a step may become, how far a side may lead in units of
# the standard error, and steps that find a limit.
MOST_POINTS, LONGER, FARTHEST, LIMIT_STEPS = 60, 2.0, 60.0, 30
# Rise of the deviance over a step below which the profile has levelled off.
LEVEL = 1e-7
NO_END = "the likelihood cannot be followed any further"
FLAT = "the profile stays below the level up to there"


class ResidualValues:
    """Values of all parameters at a point, in the order of the targets."""

    def __init__(self, fit: Fit, targets: list[ResidualTarget]):
        assert fit.residual is not None
        assert fit.residual.rows is not None
        self.fit, self.estimate, self.targets = fit, fit.residual, targets
        self.rows = fit.residual.rows
        self.deviance = self.rows.deviance(False)
        self.joint = JointDeviance(self.deviance)
        moving = np.ones(self.deviance.n_theta + self.deviance.n_psi + 1, bool)
        moving[self.deviance.n_theta : -1] = ~self.estimate.fixed_psi
        self.free = np.flatnonzero(moving)
        scale = fit.scale / self.deviance.y_scale**2
        self.z = np.concatenate([self.estimate.theta, self.estimate.psi, [np.log(scale)]])

    def coefficients(self, z: np.ndarray) -> np.ndarray:
        """Fixed effects of the columns kept, given the other parameters."""
        deviance = self.deviance
        deviance.evaluate(z[:-1])
        inner = deviance.least_squares + deviance.y_scale * deviance.coefficients()
        return deviance.basis.coefficients(inner)

    def coordinate(self, target: ResidualTarget, z: np.ndarray) -> float:
        """Of a target, at z."""
        if target.held is not None:
            return target.held.value(z)
        return float(self.coefficients(z)[target.target.rows[0]])

    def values(self, point: _Point) -> np.ndarray:
        """All parameters at a point of a profile."""
        return np.array([self._value(target, point) for target in self.targets])

    def _value(self, target, point):
        if target.held is None:
            return point.coefficients[target.target.rows[0]]
        if target.target.kind == "residual":
            own = natural_parameters(
                self.estimate.bound, point.z[self.deviance.n_theta : -1]
            )
            return float(own[target.target.rows[0]])
        u = target.held.value(point.z)
        return target.value(u, point.z) if np.isfinite(u) else 0.0

    def estimates(self) -> np.ndarray:
        """All parameters of the fit."""
        return self.values(_Point(0.0, 0.0, 0.0, self.z, self.coefficients(self.z)))

    # ---- restricted minima ----

    def at(self, target: ResidualTarget, u: float, z: np.ndarray) -> _Point | None:
        """The minimum where a target has a coordinate, from z; None if there is none."""
        if target.held is not None:
            found = restricted_point(self.joint, target.held, u, z, self.free)
            if found is None:
                return None
            return _Point(*found, self.coefficients(found.z))
        return self._fixed(target.target.rows[0], u, z)

    def _fixed(self, j, u, z):
        """The minimum with a fixed effect held: its column times it is taken off y."""
        rows = self.rows
        kept = rows.design.basis.kept
        column, others = rows.x[:, kept[j]], np.delete(kept, j)
        y, x = rows.y - u * column, rows.x[:, others]
        try:
            design = prepare_design(y, x, [], rows.weights)
            deviance = replace(rows, y=y, x=x, design=design).deviance(False)
            found = search_residual(deviance, [z[:-1]], self.estimate.fixed_psi, 100)
        except (DesignError, DevianceError):
            return None
        self.joint.evaluations += deviance.n_values
        own = deviance.least_squares + deviance.y_scale * deviance.coefficients()
        others = deviance.basis.coefficients(own)
        scale = deviance.residual_square / deviance.nobs * deviance.y_scale**2
        at = np.concatenate([found.x, [np.log(scale / self.deviance.y_scale**2)]])
        b = self.coefficients(at)[j]
        # of n log(rss + (u - b)^2 / F) at the covariance that was found
        slope = 2 * (u - b) / self._spread(j) / scale
        coefficients = np.insert(others, j, u)
        value = found.value + deviance.shift
        return _Point(u, float(value), float(slope), at, coefficients)

    def _spread(self, j):
        """Variance of a coefficient over sigma^2 where the deviance stands."""
        deviance = self.deviance
        root = deviance.basis.coefficients(deviance.solved.change[:-1, :-1])
        return float(root[j] @ root[j])

    def standard_error(self, target: ResidualTarget) -> float:
        """Of a coordinate, by the curvature of the deviance."""
        self.joint.value(self.z)
        if target.held is None:
            return float(np.sqrt(self.fit.scale * self._spread(target.target.rows[0])))
        _, hessian = self.joint.derivatives(self.z)
        hessian = hessian[np.ix_(self.free, self.free)] / 2
        slope = target.held.slope(self.z)[self.free]
        scaled, size = unit_diagonal(hessian)
        value, vector = np.linalg.eigh(scaled)
        value = np.maximum(value, 1e-10 * value[-1])
        return float(np.sqrt(((vector.T @ (slope / size)) ** 2 / value).sum()))


@dataclass(frozen=True, eq=False)
class _Point:
    """A restricted minimum with the fixed effects there."""

    coordinate: float
    deviance: float
    slope: float
    z: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True, eq=False)
class ResidualCurve(Curve):
    """The profile of one parameter."""

    own: Any = field(default=None, repr=False)
    whole: Any = field(default=None, repr=False)

    def limits(self, model: Any, level: float) -> tuple[Limit, Limit]:
        """Ends of the interval at a confidence level."""
        wanted = float(np.sqrt(stats.chi2.ppf(level, 1)))
        with blas_threads():
            lower, upper = (self._side(wanted, sign) for sign in (-1, 1))
        if lower.value > upper.value:  # the coordinate falls where the parameter rises
            return upper, lower
        return lower, upper

    def _side(self, wanted, sign):
        nodes: Any = self.nodes if sign > 0 else self.nodes[::-1]
        middle = self.middle if sign > 0 else len(nodes) - 1 - self.middle
        heights = [self._height(node) for node in nodes]
        for i in range(middle + 1, len(nodes)):
            if heights[i] >= wanted:
                return Limit(self._solve(nodes[i - 1], nodes[i], wanted))
        reason = self.ends[int(sign > 0)]
        end = self.own.ends[int(sign > 0)]
        if reason == FLAT and not np.isnan(end):
            return Limit(float(end), reason)
        return Limit(np.nan, reason)

    def _height(self, node):
        return float(np.sqrt(max(node.deviance - self.best, 0.0)))

    def _solve(self, low, high, wanted):
        """The parameter where zeta has a value, between two points."""
        ends = [(p.coordinate, self._height(p)) for p in (low, high)]
        at = np.interp(wanted, [h for _, h in ends], [u for u, _ in ends])
        near = low
        for _ in range(LIMIT_STEPS):
            node = self.whole.at(self.own, float(at), near.z)
            if node is None:
                return np.nan
            height = self._height(node)
            low, high = (node, high) if height < wanted else (low, node)
            near = node
            if abs(height - wanted) < LIMIT_ZETA:
                break
            step = (wanted - height) * 2 * max(height, 1e-8) / node.slope
            a, b = sorted((low.coordinate, high.coordinate))
            trial = node.coordinate + step
            at = trial if a < trial < b else (a + b) / 2
            if b - a <= 1e-12 * max(abs(a), abs(b)):
                break
        return self.own.value(near.coordinate, near.z)


def ml_fit(fit: Fit) -> Fit:
    """The fit by maximum likelihood."""
    estimate = fit.residual
    assert estimate is not None
    assert estimate.rows is not None
    if not fit.reml:
        return fit
    held = estimate.held if estimate.held.any() else None
    return fit_residual_rows(estimate.rows, False, estimate.theta, estimate.psi, held)


def profile_residual_fit(
    fit: Fit, chosen: list[int], zeta_max: float, step: float
) -> Profile:
    """Profile parameters of a model with a residual covariance.

    Parameters
    ----------
    fit : Fit
        Of the model; by maximum likelihood it is fitted again where it is not.
    chosen : list of int
        Numbers of the targets.
    zeta_max, step : float
        Where profiles end, and the distance of their points, on the scale of zeta.
    """
    with blas_threads():
        own = ml_fit(fit)
        estimate: ResidualEstimate | None = own.residual
        assert estimate is not None
        assert estimate.rows is not None
        deviance = estimate.rows.deviance(False)
        targets = residual_targets(deviance, estimate.bound, estimate.psi)
        whole = ResidualValues(own, targets)
        curves = [
            profile_target(whole, targets[number], zeta_max, step) for number in chosen
        ]
    return Profile(own, cast(Any, whole), list(curves), [])


def profile_target(
    whole: ResidualValues, target: ResidualTarget, zeta_max: float, step: float
) -> ResidualCurve:
    """Profile one parameter.

    Parameters
    ----------
    whole : ResidualValues
        The fit by maximum likelihood.
    target : ResidualTarget
        The parameter.
    zeta_max, step : float
        Where the profile ends, and the distance of its points, on the scale of zeta.
    """
    best, before = whole.fit.deviance, whole.joint.evaluations
    z = whole.z
    middle = _Point(whole.coordinate(target, z), best, 0.0, z, whole.coefficients(z))
    error = whole.standard_error(target)
    sides, ends = [], []
    for sign in (-1, 1):
        nodes, end = _side(whole, target, middle, sign, error, zeta_max, step, best)
        sides.append(nodes)
        ends.append(end)
    nodes = [*sides[0][::-1], middle, *sides[1]]
    number = len(sides[0])
    value = np.array([target.value(p.coordinate, p.z) for p in nodes])
    rise = np.array([target.rise(p.coordinate, p.z) for p in nodes])
    rises = np.array([max(p.deviance - best, 0.0) for p in nodes])
    side = np.sign(np.arange(len(nodes)) - number)
    zeta = side * np.sqrt(rises)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.array([p.slope for p in nodes]) / (2 * zeta) / rise
    slope[number] = 1 / (error * rise[number])
    order = np.argsort(value, kind="stable")
    falls = value[-1] < value[0]
    return ResidualCurve(
        target=target.target,
        estimate=float(value[number]),
        value=value[order],
        deviance=rises[order] + best,
        zeta=np.where(falls, -zeta, zeta)[order],
        slope=np.where(falls, np.abs(slope), slope)[order],
        points=[nodes[i] for i in order],
        ends=(ends[0], ends[1]),
        best=best,
        evaluations=whole.joint.evaluations - before,
        middle=number,
        nodes=nodes,
        own=target,
        whole=whole,
    )


def _side(whole, target, middle, sign, error, zeta_max, step, best):
    """Points from the estimate to one side, and why they end."""
    nodes: list[_Point] = []
    last, before = middle, None
    move = step * error
    while len(nodes) < MOST_POINTS:
        u = last.coordinate + sign * move
        start = last.z if before is None else _ahead(before, last, u)
        node = whole.at(target, u, start)
        if node is None and before is not None:
            node = whole.at(target, u, last.z)
        if node is None or node.deviance < best - 1e-6:
            move /= 4
            if move < 1e-4 * error:
                return nodes, NO_END
            continue
        nodes.append(node)
        rise = node.deviance - last.deviance
        before, last = last, node
        height = np.sqrt(max(node.deviance - best, 0.0))
        if height >= zeta_max:
            return nodes, "level"
        far = abs(u - middle.coordinate) > FARTHEST * error or abs(rise) < LEVEL
        if far and len(nodes) > 3:
            return nodes, FLAT
        speed = abs(node.slope) / (2 * max(height, 1e-8))
        move = min(LONGER * move, step / max(speed, 1e-300))
    return nodes, FLAT


def _ahead(before, last, u):
    """Where the path so far points to."""
    width = last.coordinate - before.coordinate
    if not width:
        return last.z
    return last.z + (last.z - before.z) * (u - last.coordinate) / width
