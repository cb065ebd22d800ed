"""Minimization of the profiled deviance: trust-region Newton, verdict, fit log.

The model Hessian is the average information carried to theta plus the exact bend of
Sigma = lam lam'.  The bend makes a variance of zero an ordinary minimum where zero is
right, and a saddle that the step leaves where it is not, so theta needs no bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import optimize

from mixedext.engine.deviance.profiled import ProfiledDeviance
from mixedext.engine.rows.blocks import Blocks
from mixedext.exceptions import DevianceError
from mixedext.kernels.search.newton import METHODS, Newton
from mixedext.limits import (
    CONCENTRATED,
    CONSTANT_DEVIANCE,
    DECREMENT_ACCEPTED,
    FLAT_CURVATURE,
    LEAST_RESIDUAL,
    NOISE_ACCEPTED,
    PROMISING,
    REMAINDER,
    RESTART_GAIN,
    ROUNDED,
    SHARE_ACCEPTED,
    ZERO_SINGULAR_VALUE,
    ZERO_THETA,
)

__all__ = [
    "Convergence",
    "Optimum",
    "SearchLog",
    "evaluate",
    "may_have_rivals",
    "minimize_deviance",
]

_NOT_FINITE = (
    "the deviance is not finite where the search has ended: the random effects nearly "
    "explain the response (endog), or columns differ too much in size. Leave out a term, "
    "or centre and rescale the columns"
)
MAX_ITERATIONS = 200
# Other minima of models with several grouping factors are looked for up to this many rows
# (of 200 unbalanced designs with 150 to 900 rows none had more than one minimum; of those
# with less than 70, two in a hundred).
FEW_ROWS = 200
# With up to this many also from where all have much (nine of 600 designs with up to 70 rows
# had a lower minimum there, none of them with more than 37).
VERY_FEW_ROWS = 50


@dataclass(frozen=True)
class Convergence:
    """Verdict on an optimum, from the gradient and curvature on the active set.

    Attributes
    ----------
    status : {"interior", "boundary", "flat", "failed"}
        An ordinary minimum; a minimum with some variance zero or correlation +-1; a
        minimum along which some direction is undetermined; no minimum.
    gradient : float
        Largest absolute element of the gradient of the deviance in theta (columns of Z
        scaled to rms 1).
    decrement : float
        Fall of the deviance that one more Newton step would bring; where the derivatives
        after the last step were saved, estimated from how well that step was foreseen.
    curvature : float
        Smallest eigenvalue of the Hessian in theta, relative to the largest; elements of
        theta above 100 in units of themselves.
    n_evaluations, n_derivatives : int
        Evaluations of the deviance, and of its derivatives.
    method : str
        The optimizer that ended there.
    message : str
        The verdict in words, with advice where it is not clean.

    Examples
    --------
    >>> import mixedext as mx
    >>> data = mx.datasets.dyestuff.load().data
    >>> verdict = mx.mixedlm("Yield ~ 1 + (1 | Batch)", data).fit().convergence
    >>> bool(verdict), verdict.status
    (True, 'interior')
    """

    status: str
    gradient: float
    decrement: float
    curvature: float
    n_evaluations: int
    n_derivatives: int
    method: str
    message: str

    @property
    def converged(self) -> bool:
        """Whether the optimum may be used."""
        return self.status != "failed"

    def __bool__(self) -> bool:
        return self.converged

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"


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
    """

    theta: np.ndarray
    deviance: float
    gradient: np.ndarray | None
    hessian: np.ndarray | None
    is_singular: bool
    convergence: Convergence
    records: np.ndarray

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

    def beats(self, best: _Point, objective: ProfiledDeviance) -> bool:
        """Whether this end of another search is preferred."""
        return (
            self.deviance < best.deviance - RESTART_GAIN
            and self.residual_square > LEAST_RESIDUAL * best.residual_square
            and self.settled(objective)
        )

    def accepted(self, objective: ProfiledDeviance) -> float:
        """The largest decrement of a minimum."""
        share = SHARE_ACCEPTED * abs(self.deviance)
        return max(DECREMENT_ACCEPTED, share, NOISE_ACCEPTED * objective.noise)


def minimize_deviance(
    objective: ProfiledDeviance,
    start: np.ndarray,
    others: tuple[np.ndarray, ...] = (),
    thorough: bool = False,
    max_iterations: int | None = None,
) -> Optimum:
    """Minimize the profiled deviance over theta.

    Parameters
    ----------
    objective : ProfiledDeviance
        The function; on return its factor is that of the optimum.
    start : ndarray
        Starting theta (columns of Z at rms 1).
    others : tuple of ndarray, optional
        Other starts, tried where the first ends on the boundary: there may be a lower
        minimum.
    thorough : bool, optional
        Try the other starts wherever the first ends.
    max_iterations : int, optional
        Newton iterations, after which no fallback is tried.

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
    if max_iterations is None and not point.settled(objective):
        start, method = _fallback(objective, point, search), "L-BFGS-B, Newton"
        point = _newton(objective, search, start, limit)
    if thorough or (
        others and _smallest_root(objective, point.theta) < ZERO_SINGULAR_VALUE
    ):
        for other in others:
            found = _another(objective, search, other, limit, point.deviance)
            if found is not None and found.beats(point, objective):
                point = found
        objective.value(point.theta, floor=True)
    # where the moments were the minimum, as in balanced designs, it is the only one
    several = max_iterations is None and may_have_rivals(objective.blocks)
    if several and objective.n_derivatives > 1:
        point = _rival(objective, search, point, limit)
    theta, deviance = _rectify(objective, point.theta, point.deviance, search)
    smallest = _smallest_root(objective, theta)
    return _optimum(objective, theta, deviance, point, smallest, search, method)


def may_have_rivals(blocks: Blocks) -> bool:
    """Whether terms may share the variance out in several ways.

    Terms of crossed and nested factors can stand in for one another where data are few.
    """
    return len(blocks.factors) > 1 and blocks.nobs <= FEW_ROWS


def _rival(objective, search, point, limit):
    """The lowest minimum near points in which one term, or all, have much variance."""
    starts = [s.start() for s in objective.structures]
    lams = objective.lams(point.theta)
    total = math.sqrt(sum(float((lam**2).sum()) / len(lam) for lam in lams))
    sizes = [total] if total > CONCENTRATED[0] else CONCENTRATED
    best = point
    # the last: all terms
    for number in range(len(starts) + (objective.blocks.nobs <= VERY_FEW_ROWS)):
        for size in sizes:
            large = number == len(starts)
            other = np.concatenate(
                [
                    (size if large or i == number else REMAINDER) * s
                    for i, s in enumerate(starts)
                ]
            )
            value = objective.value(other)
            if not value < best.deviance + PROMISING:
                continue
            found = _another(objective, search, other, limit, best.deviance)
            if found is not None and found.beats(best, objective):
                best = found
    objective.value(best.theta, floor=True)
    return best


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
    objective.value(theta)
    derivatives = found.gradient, found.hessian
    point = _Point.of(search, theta, deviance, objective.residual_square, *derivatives)
    smallest = _smallest_root(objective, theta)
    return _optimum(objective, theta, deviance, point, smallest, search, "none")


def _optimum(objective, theta, deviance, point, smallest, search, method):
    verdict = _verdict(objective, point, smallest, method)
    singular = smallest < ZERO_SINGULAR_VALUE
    gradient, hessian = point.gradient, point.hessian
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


def _newton(objective, search, start, limit, to_beat=-np.inf):
    deviance = search.minimize(start, limit, to_beat)
    theta = search.point
    objective.stand_at(theta)
    square = objective.residual_square
    return _Point.of(search, theta, deviance, square, *search.last_derivatives())


def _another(objective, search, start, limit, to_beat):
    """Where a search from another start has ended; None if it could not go on."""
    try:
        return _newton(objective, search, start, limit, to_beat)
    except DevianceError:
        return None


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
        pairs = zip(objective.structures, lams, strict=True)
        truncated = [s.truncated(lam, ZERO_SINGULAR_VALUE) for s, lam in pairs]
        exact = _theta(objective, truncated)
        exact[np.abs(exact) < ZERO_THETA] = 0.0
        value = objective.value(exact)
        search.note("rectified", value, np.nan, np.nan, exact)
        if value <= deviance + ROUNDED * np.sqrt(max(1.0, abs(deviance))):
            return exact, value
    elif all((lam.diagonal() >= 0).all() for lam in lams):
        return theta, deviance
    pairs = zip(objective.structures, lams, strict=True)
    plain = _theta(objective, [s.triangular(lam) for s, lam in pairs])
    deviance = objective.value(plain)
    search.note("rectified", deviance, np.nan, np.nan, plain)
    if np.isfinite(deviance):
        return plain, deviance
    # rounding rejects it: back to where the search has ended
    deviance = objective.value(theta, floor=True)
    if not np.isfinite(deviance):
        raise DevianceError(_NOT_FINITE)
    return theta, deviance


def _theta(objective, lams):
    pairs = zip(objective.structures, lams, strict=True)
    return np.concatenate([s.theta(lam) for s, lam in pairs])


def _is_constant(point):
    """Whether the deviance does not depend on theta, in units of a log-likelihood."""
    reach = max(1.0, float(np.abs(point.theta).max()))
    return float(np.abs(point.hessian).max()) * reach**2 < CONSTANT_DEVIANCE


def _verdict(objective, point, smallest, method):
    decrement, curvature = point.decrement, point.curvature
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
    elif smallest < ZERO_SINGULAR_VALUE:
        status = "boundary"
        message = (
            "minimum on the boundary: some variance is zero or some correlation is +-1"
        )
    elif curvature < FLAT_CURVATURE or _is_constant(point):
        status = "flat"
        message = (
            "minimum, but flat in some direction: the data do not determine all "
            "variances and covariances; simplify the random effects"
        )
    else:
        status, message = "interior", "minimum with positive curvature"
    return Convergence(
        status,
        point.slope,
        decrement,
        curvature,
        objective.n_values,
        objective.n_derivatives,
        method,
        message,
    )
