"""Profiles of the likelihood of a generalized mixed model.

One parameter is held and the deviance minimized over all others, by the search of the fit
from where the path so far points to.  What is held is a coordinate of psi:

* a fixed effect or the logarithm of a dispersion as it is;
* a standard deviation: the columns of its term are ordered so that its own comes first and
  its row of the factor has one element, which may be zero;
* a correlation sin t of two effects: rows (a, 0, ...) and e (sin t, cos t, 0, ...);
* of a structured covariance the element of theta that alone makes the parameter.

Limits are Newton steps on the signed root zeta = sqrt(D(c) - D^), of which the slope is
dD/dc / (2 zeta): each a restricted minimum, no interpolation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from mixedext.algebra.roots import nearest_root
from mixedext.engine.generalized.design import prepare_rows
from mixedext.engine.generalized.fit import GeneralizedFit, make_deviance
from mixedext.engine.generalized.outer import OuterDeviance
from mixedext.engine.generalized.search import search_minimum
from mixedext.engine.threads import blas_threads
from mixedext.exceptions import ConvergenceError, LowerDevianceWarning, user_stacklevel
from mixedext.inference.profile.coordinates import Target
from mixedext.inference.profile.signed_root import Curve, Limit, Profile
from mixedext.limits import FREE_LIMIT, LIMIT_ZETA
from mixedext.specification.terms.random_terms import RandomTerm

__all__ = [
    "GeneralizedCurve",
    "generalized_targets",
    "is_followed",
    "profile_generalized",
]

# Points of a side, how much longer a step may become, how far a side may lead in units of
# the standard error, and steps that find a limit.
MOST_POINTS, LONGER, FARTHEST, LIMIT_STEPS = 80, 2.5, 100.0, 30
# Rise of the deviance over a step below which the profile has levelled off, and fall below
# that of the fit that is told.
LEVEL, FALL = 1e-7, 1e-5
# Shortest step, in units of the standard error.
SHORTEST = 1e-4
NO_END = "the likelihood cannot be followed any further"
FLAT = "the profile stays below the level up to there"
AT_BOUND = "the bound: the profile stays below the level up to there"


def generalized_targets(fit: GeneralizedFit) -> list[Target]:
    """All parameters: by term, then the dispersion ("sigma"), then the fixed effects."""
    out = []
    for i, s in enumerate(fit.design.units.structures):
        if not s.linear:
            kinds = np.where(s.is_variance, "sd", "natural")
            out += [Target(str(kind), i, (j,)) for j, kind in enumerate(kinds)]
            continue
        for b, a in _pairs(s):
            same = a == b
            out.append(Target("sd", i, (a,)) if same else Target("correlation", i, (a, b)))
    out += [Target("sigma")] * len(fit.kappa)
    return out + [Target("fixed", -1, (j,)) for j in range(len(fit.coefficients))]


def is_followed(fit: GeneralizedFit, target: Target) -> bool:
    """Whether one element of theta alone makes the parameter, so that it can be held.

    Of Toeplitz correlations that of the first lag does; others are functions of several.
    """
    if target.kind != "natural":
        return True
    s: Any = fit.design.units.structures[target.term]
    slopes = s.jacobian(s.typical())[target.rows[0]]
    return bool(np.count_nonzero(slopes) == 1 and slopes[target.rows[0]])


def _pairs(s: Any) -> list[tuple[int, int]]:
    """Pairs of effects that a structure has an element for."""
    return [(0, 0)] if s.shares_one_variance else list(s.pairs)


@dataclass(frozen=True, eq=False)
class _Rows:
    """What profiles of one fit share: X, terms with their rows, offset, and the fit."""

    fit: GeneralizedFit
    exog: np.ndarray
    terms: list[Any]
    offset: np.ndarray | None
    targets: list[Target]
    dispersion: Callable[[np.ndarray], float]

    def values(self, point: np.ndarray) -> np.ndarray:
        """All parameters at a point of a curve, which has them already."""
        return point


class _HeldDeviance:
    """The deviance in coordinates of which one is the parameter that is held.

    Parameters
    ----------
    rows : _Rows
        The model.
    target : Target
        What is held.

    Attributes
    ----------
    held : int
        Number of the coordinate.
    start : ndarray
        Coordinates of the fit.
    """

    def __init__(self, rows: _Rows, target: Target):
        self.rows, self.target, fit = rows, target, rows.fit
        structures = fit.design.units.structures
        sizes = [s.n_theta for s in structures]
        self.n_theta = sum(sizes)
        self.n_psi = self.n_theta + len(fit.coefficients) + len(fit.kappa)
        self.first = [0, *np.cumsum(sizes)[:-1].tolist()] if sizes else []
        theta = [fit.theta[a : a + n] for a, n in zip(self.first, sizes, strict=True)]
        design = fit.design
        self.order: np.ndarray | None = None
        self.angle: tuple[int, int] | None = None
        self.curved: Any = None
        term = target.term
        if term >= 0 and not structures[term].linear:
            s = structures[term]
            self.curved, self.curved_theta = s, s.canonical(theta[term])
            theta[term] = self.curved_theta
            self.held = self.first[term] + target.rows[0]
        elif term >= 0:
            s = structures[term]
            if s.has_correlations and s.k > 1:
                rest = [a for a in range(s.k) if a not in target.rows]
                self.order = np.array([*target.rows, *rest])
                covariance = fit.covariances[term][np.ix_(self.order, self.order)]
                theta[term] = s.theta(nearest_root(covariance))
                if (self.order != np.arange(s.k)).any():
                    design = prepare_rows(rows.exog, self._terms(), rows.offset)
                self.held = self.first[term]
                if target.kind == "correlation":
                    self.held = self.first[term] + 1
                    self.angle = self.held, self.first[term] + s.k
            else:
                own = 0 if s.shares_one_variance else target.rows[0]
                self.held = self.first[term] + own
                theta[term] = np.abs(theta[term])
        elif target.kind == "sigma":
            self.held = self.n_psi - 1
        else:
            self.held = self.n_theta + target.rows[0]
        if design is fit.design:  # with arrays of its own
            design = fit.design.with_offset(fit.design.offset)
        inner = make_deviance(design, fit.rows, max(fit.n_agq, 1), fit.laplace)
        self.outer = OuterDeviance(inner)
        self.evaluations = 0
        x = np.concatenate([*theta, fit.coefficients, fit.kappa])
        if self.angle is not None:
            i, j = self.angle
            x[i], x[j] = np.arctan2(x[i], x[j]), np.hypot(x[i], x[j])
        self.start = x
        # a dispersion at the limit of its law stays there
        moving = np.asarray(fit.determined)
        self.free = moving[moving != self.held]

    def _terms(self):
        terms = list(self.rows.terms)
        own = terms[self.target.term]
        order = [] if self.order is None else self.order.tolist()
        columns = [own.columns[a] for a in order]
        names = [own.names[a] for a in order]
        terms[self.target.term] = RandomTerm.of_columns(
            own.codes, columns, own.group, names, own.structure, own.levels
        )
        return terms

    # ---- the held coordinate and its parameter ----

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest value of the coordinate."""
        if self.target.kind == "correlation":
            return -np.pi / 2, np.pi / 2
        if self.curved is not None and (self.curved.het or self.target.kind == "natural"):
            return -np.inf, np.inf
        return (0.0 if self.target.kind == "sd" else -np.inf), np.inf

    def parameter(self, coordinate: float) -> float:
        """The parameter's value."""
        if self.curved is not None:
            value = self.curved.natural(self._curved_at(coordinate))[self.target.rows[0]]
            return float(np.sqrt(value) if self.target.kind == "sd" else value)
        if self.target.kind == "correlation":
            return float(np.sin(coordinate))
        if self.target.kind == "sigma":
            return self.rows.dispersion(np.array([coordinate]))
        return float(coordinate)

    def rate(self, coordinate: float) -> float:
        """d parameter / d coordinate."""
        if self.curved is not None:
            own, j = self.curved, self.target.rows[0]
            if self.target.kind == "sd":
                return self.parameter(coordinate) if own.het else 1.0
            return float(own.jacobian(self._curved_at(coordinate))[j, j])
        if self.target.kind == "correlation":
            return float(np.cos(coordinate))
        if self.target.kind == "sigma":
            size = self.parameter(coordinate)
            return size if self.parameter(coordinate + 0.1) > size else -size
        return 1.0

    def _curved_at(self, coordinate):
        """Theta of the structure with the held element at a coordinate."""
        theta = self.curved_theta.copy()
        theta[self.target.rows[0]] = np.clip(coordinate, -FREE_LIMIT, FREE_LIMIT)
        return theta

    # ---- evaluation ----

    def psi(self, x: np.ndarray) -> np.ndarray:
        """(theta, coefficients, kappa) of the ordered columns."""
        if self.angle is None:
            return x
        i, j = self.angle
        out = x.copy()
        out[i], out[j] = x[j] * np.sin(x[i]), x[j] * np.cos(x[i])
        return out

    def evaluate(self, x: np.ndarray, modes: Any = None) -> _HeldEvaluation:
        """The deviance in these coordinates; what searches ask for."""
        self.evaluations += 1
        return _HeldEvaluation(self, np.array(x, float), modes)

    def all_values(self, x: np.ndarray) -> np.ndarray:
        """All parameters of the model at coordinates, in the order of the targets."""
        psi, fit = self.psi(x), self.rows.fit
        values = []
        for i, s in enumerate(fit.design.units.structures):
            a = self.first[i]
            if not s.linear:
                eta = s.natural(psi[a : a + s.n_theta])
                values += np.where(s.is_variance, np.sqrt(np.abs(eta)), eta).tolist()
                continue
            lam = s.lam(psi[a : a + s.n_theta])
            if i == self.target.term and self.order is not None:
                back = np.argsort(self.order)
                lam = lam[back]
            sigma = lam @ lam.T
            sd = np.sqrt(np.diag(sigma))
            for b, c in _pairs(s):
                if b == c:
                    values.append(sd[b])
                    continue
                both = sd[b] * sd[c]
                inside = np.clip(sigma[b, c] / both, -1, 1) if both > 0 else np.nan
                values.append(inside)
        rank = len(fit.coefficients)
        if len(fit.kappa):
            values.append(self.rows.dispersion(psi[self.n_theta + rank :]))
        return np.concatenate([values, psi[self.n_theta : self.n_theta + rank]])


class _HeldEvaluation:
    """An evaluation in the coordinates of a target; the chain rule."""

    def __init__(self, deviance, x, modes):
        self.deviance, self.psi = deviance, x
        self.inner = deviance.outer.evaluate(deviance.psi(x), modes)
        self.value, self.reason = self.inner.value, self.inner.reason
        self.iterations = self.inner.iterations

    @property
    def modes(self):
        return self.inner.modes

    @property
    def _jacobian(self):
        (i, j), x = self.deviance.angle, self.psi
        out = np.eye(len(x))
        sine, cosine = np.sin(x[i]), np.cos(x[i])
        out[i, i], out[i, j] = x[j] * cosine, sine
        out[j, i], out[j, j] = -x[j] * sine, cosine
        return out

    @property
    def gradient(self):
        own = self.inner.gradient
        return own if self.deviance.angle is None else self._jacobian.T @ own

    @property
    def hessian(self):
        own = self.inner.hessian
        if self.deviance.angle is None:
            return own
        (i, j), x, g = self.deviance.angle, self.psi, self.inner.gradient
        jacobian = self._jacobian
        out = jacobian.T @ own @ jacobian
        sine, cosine = np.sin(x[i]), np.cos(x[i])
        out[i, i] -= x[j] * (g[i] * sine + g[j] * cosine)
        cross = g[i] * cosine - g[j] * sine
        out[i, j] += cross
        out[j, i] += cross
        return out

    def predicted(self, step):
        before = self.deviance.psi(self.psi)
        return self.inner.predicted(self.deviance.psi(self.psi + step) - before)


@dataclass(frozen=True, eq=False)
class _Point:
    """A restricted minimum."""

    coordinate: float
    deviance: float
    slope: float
    x: np.ndarray
    modes: Any


@dataclass(frozen=True, eq=False)
class GeneralizedCurve(Curve):
    """The profile of one parameter of a generalized model."""

    own: Any = field(default=None, repr=False)

    def limits(self, model: Any, level: float) -> tuple[Limit, Limit]:
        """Ends of the interval at a confidence level."""
        wanted = float(np.sqrt(stats.chi2.ppf(level, 1)))
        with blas_threads():
            sides = [self._side(wanted, sign) for sign in (-1, 1)]
        if self.own.rate(self.nodes[self.middle].coordinate) < 0:
            sides.reverse()  # the coordinate falls where the parameter rises
        return sides[0], sides[1]

    def _height(self, node):
        return float(np.sqrt(max(node.deviance - self.best, 0.0)))

    def _side(self, wanted, sign):
        nodes: Any = self.nodes if sign > 0 else self.nodes[::-1]
        middle = self.middle if sign > 0 else len(nodes) - 1 - self.middle
        for i in range(middle + 1, len(nodes)):
            if self._height(nodes[i]) >= wanted:
                return Limit(self._solve(nodes[i - 1], nodes[i], wanted))
        reason, bound = self.ends[int(sign > 0)], self.own.bounds[int(sign > 0)]
        if nodes[-1].coordinate == bound or reason == FLAT:
            bound = bound if np.isfinite(bound) else sign * np.inf
            value = self.own.parameter(bound) if np.isfinite(bound) else bound
            if self.own.target.kind == "natural":  # a limit of correlations
                value = self.own.parameter(bound)
            elif self.own.target.kind == "sd" and bound < 0:
                value = 0.0
            elif self.own.target.kind == "sigma":
                with np.errstate(over="ignore", under="ignore"):
                    value = self.own.parameter(bound)
            return Limit(float(value), reason)
        return Limit(np.nan, reason)

    def _solve(self, low, high, wanted):
        """The parameter where zeta has a value, between two points."""
        ends = [(p.coordinate, self._height(p)) for p in (low, high)]
        at = float(np.interp(wanted, [h for _, h in ends], [u for u, _ in ends]))
        near = low
        for _ in range(LIMIT_STEPS):
            node = _minimum(self.own, at, near.x, near.modes)
            if node is None:
                return np.nan
            height = self._height(node)
            low, high = (node, high) if height < wanted else (low, node)
            near = node
            if abs(height - wanted) < LIMIT_ZETA:
                break
            a, b = sorted((low.coordinate, high.coordinate))
            with np.errstate(divide="ignore", invalid="ignore"):
                trial = node.coordinate + (wanted - height) * 2 * height / node.slope
            at = float(trial) if a < trial < b else (a + b) / 2
            if b - a <= 1e-12 * max(abs(a), abs(b)):
                break
        return self.own.parameter(near.coordinate)


def profile_generalized(
    fit: GeneralizedFit,
    rows: Any,
    dispersion: Callable[[np.ndarray], float],
    chosen: list[int],
    zeta_max: float,
    step: float,
) -> Profile:
    """Profile parameters of a generalized model.

    Parameters
    ----------
    fit : GeneralizedFit
        The fit, at a minimum of its deviance.
    rows : ModelRows
        The rows of the data.
    dispersion : callable
        The dispersion of kappa.
    chosen : list of int
        Numbers of the targets.
    zeta_max, step : float
        Where profiles end, and the distance of their points, on the scale of zeta.
    """
    targets = generalized_targets(fit)
    shared = _Rows(fit, rows.exog, rows.terms, rows.offset, targets, dispersion)
    with blas_threads():
        curves = [_curve(shared, targets[i], zeta_max, step) for i in chosen]
    lowest = min([fit.deviance, *(float(c.deviance.min()) for c in curves)])
    if lowest < fit.deviance - FALL:
        warnings.warn(
            f"the profile has found a deviance that is lower than that of the fit by "
            f"{fit.deviance - lowest:.6g}: the fit is at a local minimum. Fit the model "
            "with other start_params",
            LowerDevianceWarning,
            stacklevel=user_stacklevel(),
        )
    whole: Any = shared
    own: Any = fit
    return Profile(own, whole, list(curves), [])


def _curve(rows: _Rows, target: Target, zeta_max: float, step: float) -> GeneralizedCurve:
    own = _HeldDeviance(rows, target)
    best = rows.fit.deviance
    x = own.start
    known = rows.fit.evaluation.modes if own.order is None else None
    at = own.evaluate(x, known)
    if not np.isfinite(at.value):
        raise ConvergenceError(
            f"the profile cannot be computed: no likelihood at the estimates ({at.reason})"
        )
    middle = _Point(float(x[own.held]), best, 0.0, x, at.modes)
    error, tangent = _standard_error(own, at)
    sides, ends = [], []
    for sign in (-1, 1):
        found, end = _side(own, middle, sign, error, tangent, zeta_max, step, best)
        sides.append(found)
        ends.append(end)
    nodes: Any = [*sides[0][::-1], middle, *sides[1]]
    number = len(sides[0])
    value = np.array([own.parameter(p.coordinate) for p in nodes])
    rates = np.array([own.rate(p.coordinate) for p in nodes])
    rises = np.array([max(p.deviance - best, 0.0) for p in nodes])
    zeta = np.sign(np.arange(len(nodes)) - number) * np.sqrt(rises)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.array([p.slope for p in nodes]) / (2 * zeta) / rates
        slope[number] = 1 / (error * rates[number])
    falls = rates[number] < 0
    order = np.argsort(value, kind="stable")
    return GeneralizedCurve(
        target=target,
        estimate=float(value[number]),
        value=value[order],
        deviance=np.array([p.deviance for p in nodes])[order],
        zeta=np.where(falls, -zeta, zeta)[order],
        slope=np.where(np.isfinite(slope), np.abs(slope), np.nan)[order],
        points=[_values(own, nodes[i].x) for i in order],
        ends=(ends[0], ends[1]),
        best=best,
        evaluations=own.evaluations,
        middle=number,
        nodes=nodes,
        own=own,
    )


def _values(own, x) -> Any:
    return own.all_values(x)


def _standard_error(own, at):
    """Of the coordinate, by the model of the Hessian; how the others move with it."""
    hessian, held, free = at.hessian, own.held, own.free
    tangent = np.zeros(own.n_psi)
    tangent[held] = 1.0
    size = np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-300))
    unit = hessian / np.outer(size, size)
    bend = hessian[held, held]
    if len(free):
        value, vector = np.linalg.eigh(unit[np.ix_(free, free)])
        # directions that the data do not determine do not move
        good = value > 1e-9 * value[-1]
        cross = hessian[free, held] / size[free]
        along = vector[:, good] @ ((vector[:, good].T @ cross) / value[good])
        tangent[free] = -along / size[free]
        bend = bend + hessian[held, free] @ tangent[free]
    if not bend > 1e-10 * abs(hessian[held, held]):
        bend = max(abs(hessian[held, held]), 1e-8)
        tangent[free] = 0.0
    return float(np.sqrt(2.0 / bend)), tangent


def _minimum(own: _HeldDeviance, coordinate: float, x: np.ndarray, modes: Any):
    """The minimum with the coordinate held; None where it cannot be computed."""
    start = x.copy()
    start[own.held] = coordinate
    end = search_minimum(own, start, modes, own.free)
    if not np.isfinite(end.evaluation.value) and modes is not None:
        end = search_minimum(own, start, None, own.free)
    found = end.evaluation
    if not np.isfinite(found.value) or (end.failed and end.decrement > 1e-4):
        return None
    if own.angle is not None:
        # the sign of a column of the factor must not turn the correlation
        _, j = own.angle
        if found.psi[own.held - 1] * found.psi[j] < 0:
            return None
    slope = float(found.gradient[own.held])
    modes = getattr(found, "modes", None)
    return _Point(coordinate, float(found.value), slope, found.psi, modes)


def _side(own, middle, sign, error, tangent, zeta_max, step, best):
    """Points from the estimate to one side, and why they end."""
    nodes: list[_Point] = []
    last, before, move = middle, None, step * error
    bound = own.bounds[int(sign > 0)]
    while len(nodes) < MOST_POINTS:
        if last.coordinate == bound:
            return nodes, AT_BOUND
        u = last.coordinate + sign * move
        if (bound - u) * sign < 0.1 * move:
            u = bound
        width = u - last.coordinate
        if before is None:
            ahead = last.x + width * tangent
        else:
            gap = last.coordinate - before.coordinate
            ahead = last.x + (last.x - before.x) * (width / gap)
        node = _minimum(own, u, ahead, last.modes)
        if node is None:
            node = _minimum(own, u, last.x, last.modes)
        if node is None:
            move = abs(width) / 4
            if move < SHORTEST * error:
                return nodes, NO_END
            continue
        nodes.append(node)
        rise = node.deviance - last.deviance
        before, last = last, node
        height = np.sqrt(max(node.deviance - best, 0.0))
        if height >= zeta_max:
            return nodes, "level"
        far = abs(u - middle.coordinate) > FARTHEST * error or abs(rise) < LEVEL
        if far and len(nodes) > 3 and last.coordinate != bound:
            return nodes, FLAT
        speed = abs(node.slope) / (2 * max(height, 1e-8))
        move = min(LONGER * move, step / max(speed, 1e-300))
    return nodes, FLAT
