"""Minimization of the profiled deviance: trust-region Newton, verdict, fit log.

The model Hessian is the average information carried to theta plus the exact bend of
Sigma = lam lam'.  The bend makes a variance of zero an ordinary minimum where zero is
right, and a saddle that the step leaves where it is not, so theta needs no bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import optimize

from mixedext.engine.deviance.profiled import ProfiledDeviance
from mixedext.engine.search.flatness import is_flat
from mixedext.engine.search.rivals import (
    FAR_OUT,
    NO_OTHERS,
    OtherStarts,
    may_be_others,
    most_searches,
    promising_points,
)
from mixedext.engine.search.starting_values import (
    WITHIN_SIZE,
    several_moments,
    within_start,
)
from mixedext.engine.search.verdict import Convergence
from mixedext.exceptions import DevianceError
from mixedext.kernels.search.look import look, look_along
from mixedext.kernels.search.newton import Newton
from mixedext.kernels.search.records import METHODS
from mixedext.limits import (
    CONSTANT_DEVIANCE,
    DECREMENT_ACCEPTED,
    DISTINCT_MINIMA,
    HARDLY_LEFT,
    LARGE_LOOK,
    LEAST_RESIDUAL,
    NOISE_ACCEPTED,
    RESTART_GAIN,
    ROUNDED,
    RUNAWAY,
    SHARE_ACCEPTED,
    SUSPICIOUS_CURVATURE,
    ZERO_SINGULAR_VALUE,
    ZERO_THETA,
)

__all__ = [
    "Optimum",
    "SearchLog",
    "evaluate",
    "minimize_deviance",
]

_NOT_FINITE = (
    "the deviance is not finite where the search has ended: the random effects nearly "
    "explain the response (endog), or columns differ too much in size. Leave out a term, "
    "or centre and rescale the columns"
)
MAX_ITERATIONS = 200
# Times that is looked from the lowest minimum along single standard deviations, while that
# leads to lower ones.
MOST_LOOKS = 3
# Searches from far out, times parameters: each takes as many more steps as there are.
MOST_OUTSIDE = 300


@dataclass(frozen=True, eq=False)
class SearchLog:
    """What a search did, one entry an evaluation of the deviance.

    Attributes
    ----------
    method : list of str
        Why it was made.
    deviance : ndarray
        The deviance.
    step : ndarray
        Length of the step to it.
    expected_fall : ndarray
        Fall of the deviance that the quadratic model promised.
    theta : list of ndarray
        Where it was made.
    """

    method: list[str]
    deviance: np.ndarray
    step: np.ndarray
    expected_fall: np.ndarray
    theta: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.method)


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where the minimization ended.

    Attributes
    ----------
    theta : ndarray
        Minimizer, rectified: diagonals not negative, singular directions exactly zero.
    deviance : float
        Profiled deviance there (engine's units).
    gradient, hessian : ndarray or None
        Derivatives in theta at the last Newton iterate; None without random terms.
    is_singular : bool
        Whether some relative covariance factor is singular there.
    convergence : Convergence
        The verdict.
    records : ndarray
        One row an evaluation: number of the method, deviance, step length, expected
        fall, theta.
    other_minima : tuple of ndarray
        Theta of the higher minima that were seen, as in ``convergence.minima``.
    """

    theta: np.ndarray
    deviance: float
    gradient: np.ndarray | None
    hessian: np.ndarray | None
    is_singular: bool
    convergence: Convergence
    records: np.ndarray
    other_minima: tuple[np.ndarray, ...] = ()

    @cached_property
    def log(self) -> SearchLog:
        """What the search did, evaluation by evaluation."""
        method, deviance, step, fall = self.records[:, :4].T
        names = [METHODS[int(m)] for m in method]
        return SearchLog(names, deviance, step, fall, list(self.records[:, 4:].copy()))


@dataclass(frozen=True, eq=False)
class _Point:
    """Where a search ended, and what one more step would bring."""

    theta: np.ndarray
    deviance: float
    residual_square: float
    gradient: np.ndarray
    hessian: np.ndarray
    slope: float
    decrement: float
    curvature: float
    has_way_down: bool

    @classmethod
    def of(
        cls,
        search: Newton,
        theta: np.ndarray,
        deviance: float,
        residual_square: float,
        gradient: np.ndarray,
        hessian: np.ndarray,
    ) -> _Point:
        decrement, curvature, way_down = search.outlook(theta, gradient, hessian)
        slope = float(np.abs(gradient).max())
        if search.remainder >= 0:  # no derivatives were taken after the last step
            slope *= math.sqrt(search.remainder / max(decrement, 1e-300))
            decrement = search.remainder
        return cls(
            theta,
            deviance,
            residual_square,
            gradient,
            hessian,
            slope,
            decrement,
            curvature,
            way_down,
        )

    def settled(self, objective: ProfiledDeviance) -> bool:
        return self.decrement <= self.accepted(objective) and not self.has_way_down

    def accepted(self, objective: ProfiledDeviance) -> float:
        """The largest decrement of a minimum."""
        share = SHARE_ACCEPTED * abs(self.deviance)
        return max(DECREMENT_ACCEPTED, share, NOISE_ACCEPTED * objective.noise)


def minimize_deviance(
    objective: ProfiledDeviance,
    start: np.ndarray,
    others: OtherStarts = NO_OTHERS,
    max_iterations: int | None = None,
    far: bool = True,
) -> Optimum:
    """Minimize the profiled deviance over theta.

    Parameters
    ----------
    objective : ProfiledDeviance
        The function; on return its factor is that of the optimum.
    start : ndarray
        Starting theta (columns of Z at rms 1).
    others : OtherStarts, optional
        Where else to look for minima.
    max_iterations : int, optional
        Newton iterations, after which no fallback is tried.
    far : bool, optional
        Whether to find out whether the deviance has a lower bound.

    Returns
    -------
    Optimum
        Never raises for want of convergence: the verdict says so.

    Raises
    ------
    DevianceError
        If the deviance is not finite at the start, nor at a start near zero, or where
        the search has ended.
    """
    search = Newton(objective.function)
    if objective.n_theta == 0:
        return _closed_form(objective, start, search)
    limit = MAX_ITERATIONS if max_iterations is None else max_iterations
    point = _newton(objective, search, start, limit)
    method = "trust-region Newton"
    ended = max_iterations is not None or point.settled(objective)
    if not ended and not (search.led_by_noise and objective.function.sharp):
        start, method = _fallback(objective, point, search), "L-BFGS-B, Newton"
        point = _newton(objective, search, start, limit)
    seen = _Minima(objective, search, limit, point, others.least_residual)
    alone = objective.n_values
    singular = _smallest_root(objective, point.theta) < ZERO_SINGULAR_VALUE
    if others.always or (len(others.starts) and singular):
        for other in others.starts:
            seen.search_from(other, "other")
    # where the moments were the minimum, as in balanced designs, it is the only one
    if others.looks and objective.n_derivatives > 1:
        seen.look(others)
    unbounded, limit_lower = seen.far_out(others) if far else (False, False)
    point = seen.best
    if objective.n_values > alone:  # the function stands elsewhere
        objective.value(point.theta, floor=True)
    theta, deviance = _rectify(objective, point.theta, point.deviance, search)
    smallest = _smallest_root(objective, theta)
    if others.looks and smallest < ZERO_SINGULAR_VALUE and _may_leave(objective):
        seen.search_from(theta, "boundary")
        if seen.best is not point:
            point = seen.best
            theta, deviance = _rectify(objective, point.theta, point.deviance, search)
            smallest = _smallest_root(objective, theta)
        else:
            objective.stand(theta)
    alone = objective.n_values
    higher = seen.higher(deviance)
    if objective.n_values > alone:
        objective.stand(theta)
    optimum = _optimum(objective, theta, deviance, point, smallest, search, method)
    verdict = replace(
        optimum.convergence,
        minima=(float(deviance), *(end.deviance for end in higher)),
        found_from=seen.found_from,
        is_unbounded=unbounded,
        has_lower_limit=limit_lower,
        others_may_exist=unbounded
        or limit_lower
        or may_be_others(
            others,
            objective.blocks.nobs,
            objective.reml,
            point.residual_square,
            theta,
            optimum.convergence.status == "flat",
        ),
    )
    thetas = tuple(end.theta for end in higher)
    return replace(optimum, convergence=verdict, other_minima=thetas)


def _may_leave(objective):
    """Whether the turn of a singular lam matters: it is none of variances alone.

    The triangle of a singular covariance is not unique.  Of all those only the one with
    zeros at the end has a gradient along which the deviance falls to first order.
    """
    return any(not s.is_diagonal for s in objective.structures)


class _Minima:
    """The minima that searches of one deviance have ended at."""

    def __init__(self, objective, search, limit, first, least):
        self.objective, self.search, self.limit = objective, search, limit
        self.least = least  # share of the best's residual that another must leave
        self.ends, self.left = [], most_searches(objective.n_theta)
        self._take(first, first.settled(objective), "moments")

    def _take(self, point, settled, kind):
        self.best, self.found_from, self.ends = point, kind, [*self.ends, point]
        self.to_beat, self.known = point.deviance, point.theta
        if not settled:  # one as low that has settled is preferred
            self.to_beat += 2 * RESTART_GAIN + self.objective.noise
            self.known = None

    def search_from(self, start, kind):
        """Another start, preferred if it ends lower; given up as soon as it cannot."""
        if self.left <= 0 and kind != "boundary":
            return
        self.left -= 1
        objective, bar = self.objective, (self.to_beat, self.known)
        try:
            found = _newton(objective, self.search, start, self.limit, *bar)
        except ValueError:  # a start that rounding rejects
            return
        if self.search.returned:
            return
        enough = found.residual_square > self.least * self.best.residual_square
        lower = found.deviance < self.to_beat - RESTART_GAIN
        if lower and enough and found.settled(objective):
            self._take(found, True, kind)
        else:
            self.ends.append(found)

    def look(self, others):
        """Searches from the lowest points of those that are looked at."""
        values = look(self.search, others.points)
        for number in promising_points(values, others.neighbours, others.lowest):
            if values[number] < self.best.deviance + others.reach:
                self.search_from(others.points[number], "grid")
        if self.objective.n_theta > 1:  # one is looked along
            zero = np.zeros((1, self.objective.n_theta))
            (value,) = look(self.search, zero)
            if value < self.best.deviance - RESTART_GAIN:
                self.search_from(zero[0], "grid")
        self._look_along(others.axes)
        self._look_far(others.large)
        start = self._within() if others.within else None
        if start is not None:
            (value,) = look(self.search, start[None])
            if value < self.best.deviance + others.reach:
                self.search_from(start, "within")

    def far_out(self, others):
        """Whether the deviance has no lower bound, and whether it has a lower limit.

        Where effects of rank r < n and X explain any y, the least residual sum of squares
        is of the order of 1 / s^2 at standard deviations s: the deviance of maximum
        likelihood falls as 2 (r - n) log s, the restricted one to a limit.  Else both rise,
        or do not change.  Where one ratio of standard deviations explains this y, both
        fall along it: a search from outside ends there.
        """
        if not others.far.size:
            return False, False
        own = self.best.theta
        if self._falls(others.far) or self._falls(_along(own, RUNAWAY)):
            return True, False
        lowest = np.argsort(look(self.search, others.outside))
        for start in others.outside[lowest[: MOST_OUTSIDE // len(own)]]:
            end = self._without_residual(start)
            if end is not None:
                falls = self._falls(_along(end))
                return falls, not falls
        return False, False

    def _falls(self, far):
        """Whether the deviance falls between any points far out and those beyond."""
        near, beyond = (look(self.search, points) for points in far)
        return bool((beyond < near - 1.0).any())

    def _without_residual(self, start):
        """Where a search has ended lower than the lowest minimum with no residual."""
        objective, bar = self.objective, (self.best.deviance, self.best.theta)
        try:
            end = _newton(objective, self.search, start, self.limit, *bar)
        except DevianceError:  # rounding rejects a start that far out
            return None
        least = LEAST_RESIDUAL * self.best.residual_square
        lower = end.deviance < self.best.deviance - RESTART_GAIN
        return end.theta if lower and end.residual_square <= least else None

    def _look_along(self, axes):
        """Searches from other minima along single standard deviations."""
        for _ in range(MOST_LOOKS):
            best = self.best
            starts = look_along(self.search, best.theta, best.deviance, **vars(axes))
            for start in starts:
                self.search_from(start, "grid")
            if self.best is best:
                break

    def _look_far(self, large):
        """On from variances beyond all others, if they explain nearly all of y.

        As where the mean lies far from zero, and is no column of X.
        """
        for theta in large:
            if not np.isfinite(look(self.search, theta[None])[0]):
                continue
            self.objective.stand_at(theta)  # where the function stands since it looked
            share = self.objective.residual_square / self.objective.blocks.nobs
            if 0.0 < share < HARDLY_LEFT:
                self.search_from(theta / (LARGE_LOOK * math.sqrt(share)), "grid")

    def _within(self):
        objective = self.objective
        moments = several_moments(objective.blocks, objective.structures)
        if moments is None:
            return None
        theta = WITHIN_SIZE * np.concatenate([s.start() for s in objective.structures])
        if not np.isfinite(look(self.search, theta[None])[0]):
            return None
        objective.stand_at(theta)
        return within_start(moments, objective.structures, objective.coefficients())

    def higher(self, lowest):
        """The minima seen above the lowest deviance, ascending."""
        out, last = [], lowest
        least = self.least * self.best.residual_square
        for end in sorted(self.ends, key=lambda end: end.deviance):
            if end.has_way_down or end.residual_square <= least:
                continue
            if end.deviance - end.decrement > last + DISTINCT_MINIMA:
                end = self._finished(end)
                if end is not None and end.deviance > last + DISTINCT_MINIMA:
                    out.append(end)
                    last = end.deviance
        return out

    def _finished(self, end):
        """The minimum that a search was given up on the way to; None if there is none."""
        try:
            if not end.settled(self.objective):
                end = _newton(self.objective, self.search, end.theta, self.limit)
            return end if end.settled(self.objective) else None
        except DevianceError:  # rounding rejects a minimum that is only told of
            return None


def _along(theta, least=0.0):
    """Points far out along theta, (2, 1, n_theta); none if it is not beyond ``least``."""
    size = np.abs(theta).max()
    if not size > least:
        return np.empty((2, 0, len(theta)))
    return np.multiply.outer(FAR_OUT, theta[None] / size)


def evaluate(objective: ProfiledDeviance, theta: np.ndarray) -> Optimum:
    """The deviance at one theta, with a verdict on that point."""
    search = Newton(objective.function)
    if objective.n_theta == 0:
        return _closed_form(objective, theta, search)
    theta = np.asarray(theta, float)
    deviance = objective.value(theta)
    if not np.isfinite(deviance):
        raise ValueError("the deviance is not finite at the start (start_params)")
    search.note("given", deviance, 0.0, np.nan, theta)
    found = objective.derivatives(theta)
    objective.stand(theta)
    derivatives = found.gradient, found.hessian
    point = _Point.of(search, theta, deviance, objective.residual_square, *derivatives)
    smallest = _smallest_root(objective, theta)
    return _optimum(objective, theta, deviance, point, smallest, search, "none")


def _optimum(objective, theta, deviance, point, smallest, search, method):
    verdict = _verdict(objective, theta, point, smallest, method)
    gradient, hessian = point.gradient, point.hessian
    singular = verdict.is_singular
    return Optimum(theta, deviance, gradient, hessian, singular, verdict, search.records())


def _closed_form(objective, theta, search):
    theta = np.asarray(theta, float)
    deviance = objective.value(theta)
    search.note("closed form", deviance, 0.0, 0.0, theta)
    verdict = Convergence(
        "interior", 0.0, 0.0, 1.0, 1, 0, "closed form", "no variance to estimate"
    )
    return Optimum(theta, deviance, None, None, False, verdict, search.records())


def _smallest_root(objective, theta):
    """Smallest singular value of the relative covariance factors."""
    return min(_smallest_singular_value(lam) for lam in objective.lams(theta))


def _smallest_singular_value(lam):
    if len(lam) == 1:
        return abs(float(lam[0, 0]))
    if len(lam) == 2:  # from determinant and norm
        (a, c), (b, d) = lam.tolist()
        product, square = abs(a * d - b * c), a * a + b * b + c * c + d * d
        largest = math.sqrt(
            0.5 * (square + math.sqrt(max(square * square - 4 * product * product, 0.0)))
        )
        return product / largest if largest > 0 else 0.0
    return float(np.linalg.svd(lam, compute_uv=False)[-1])


def _newton(objective, search, start, limit, to_beat=-math.inf, known=None):
    deviance = search.minimize(start, limit, to_beat, known)
    theta = search.point
    objective.stand_at(theta)
    square = objective.residual_square
    return _Point.of(search, theta, deviance, square, *search.last_derivatives())


def _fallback(objective, point, search):
    """Quasi-Newton from where Newton stopped; keeps the better of the two points."""

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        value = objective.value(x, floor=True)
        if not np.isfinite(value):
            return 1e300, np.zeros_like(x)
        search.note("l-bfgs-b", value, np.nan, np.nan, x)
        return value, objective.derivatives(x).gradient

    found = optimize.minimize(both, point.theta, jac=True, method="L-BFGS-B")
    return found.x if found.fun < point.deviance else point.theta


def _rectify(objective, theta, deviance, search):
    """Canonical lam: diagonal not negative, negligible singular values exactly zero."""
    lams = objective.lams(theta)
    if min(_smallest_singular_value(lam) for lam in lams) < ZERO_SINGULAR_VALUE:
        exact = np.concatenate(
            [s.singular(own, ZERO_SINGULAR_VALUE) for s, own in objective.parts(theta)]
        )
        exact[np.abs(exact) < ZERO_THETA] = 0.0
        value = objective.value(exact)
        search.note("rectified", value, np.nan, np.nan, exact)
        if value <= deviance + ROUNDED * np.sqrt(max(1.0, abs(deviance))):
            return exact, value
    elif all((lam.diagonal() >= 0).all() for lam in lams):
        return theta, deviance
    plain = np.concatenate([s.canonical(own) for s, own in objective.parts(theta)])
    deviance = objective.value(plain)
    search.note("rectified", deviance, np.nan, np.nan, plain)
    if np.isfinite(deviance):
        return plain, deviance
    # rounding rejects it: back to where the search has ended
    deviance = objective.value(theta, floor=True)
    if not np.isfinite(deviance):
        raise DevianceError(_NOT_FINITE)
    return theta, deviance


def _is_constant(point):
    """Whether the deviance does not depend on theta, in units of a log-likelihood."""
    reach = max(1.0, float(np.abs(point.theta).max()))
    return float(np.abs(point.hessian).max()) * reach**2 < CONSTANT_DEVIANCE


_BOUNDARY = "minimum on the boundary: some variance is zero or some correlation is +-1"
_FLAT = (
    "flat in some direction: the data do not determine all variances and covariances; "
    "simplify the random effects"
)
# Status and words by whether a minimum is singular, and flat.
_STATUS = {
    (False, False): ("interior", "minimum with positive curvature"),
    (False, True): ("flat", f"minimum, but {_FLAT}"),
    (True, False): ("boundary", _BOUNDARY),
    (True, True): ("boundary", f"{_BOUNDARY}; it is also {_FLAT}"),
}


def _verdict(objective, theta, point, smallest, method):
    decrement, curvature = point.decrement, point.curvature
    singular, flat = smallest < ZERO_SINGULAR_VALUE, False
    if not point.settled(objective):
        status = "failed"
        if decrement <= point.accepted(objective):
            message = "a saddle: the deviance falls along some direction"
        else:
            message = f"no minimum: the deviance could still fall by about {decrement:.2g}"
        if method != "none":
            message += (
                "; rescale or centre the columns of the random effects, or simplify them"
            )
    else:
        flat = curvature < SUSPICIOUS_CURVATURE or _is_constant(point)
        flat = flat and is_flat(objective, theta)
        status, message = _STATUS[singular, flat]
    return Convergence(
        status,
        point.slope,
        decrement,
        curvature,
        objective.n_values,
        objective.n_derivatives,
        method,
        message,
        singular,
        flat,
    )
