"""Minimization of the profiled deviance: trust-region Newton, verdict, fit log.

The model Hessian is the average information carried to theta plus the exact bend of
Sigma = lam lam'.  The bend makes a variance of zero an ordinary minimum where zero is
right, and a saddle that the step leaves where it is not, so theta needs no bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize

from mixedext.engine.objective import Derivatives, ProfiledDeviance

__all__ = ["Convergence", "Optimum", "evaluate", "minimize_deviance"]

MAX_ITERATIONS = 200
# Expected fall of the deviance below which Newton stops.  It is judged by the gradient,
# so it may lie far below the rounding noise of the deviance itself.
DECREMENT_TOLERANCE = 1e-13
# A decrement below this that falls no more has met the rounding of the gradient.
STALL_BELOW = 1e-9
# The gradient has about this share of the noise of the deviance.
NOISE_SHARE = 1e-3
# The most by which the deviance may still be above its minimum at convergence; this many
# times the rounding error of the deviance is allowed, too.
DECREMENT_ACCEPTED = 1e-7
NOISE_ACCEPTED = 30.0
# Expected fall below which the last change of the gradient corrects the model Hessian.
SECANT_BELOW = 1.0
# A second start is preferred if it ends lower by this, and given up where it cannot: the
# true fall is hardly ever more than this many times the expected one.
RESTART_GAIN = 1e-7
HOPE = 20.0
# Curvature below minus this share of the largest is a way down.
CURVATURE_TOLERANCE = 1e-7
# Singular values of lam (columns of Z at rms 1) below this count as zero.
ZERO_SINGULAR_VALUE = 1e-4
# Curvature below this share of the largest leaves a direction undetermined.
FLAT_CURVATURE = 1e-10


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
        Fall of the deviance that one more Newton step would bring.
    curvature : float
        Smallest eigenvalue of the Hessian in theta, relative to the largest.
    n_evaluations, n_derivatives : int
        Evaluations of the deviance, and of its derivatives.
    method : str
        The optimizer that ended there.
    message : str
        The verdict in words, with advice where it is not clean.
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

    def __bool__(self):
        return self.converged

    def __str__(self):
        return f"{self.status}: {self.message}"


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where the minimization ended.

    Attributes
    ----------
    theta : ndarray
        Minimizer, rectified: diagonals not negative, singular directions exactly zero.
    deviance : float
        Profiled deviance there (engine's units).
    derivatives : Derivatives or None
        At the last Newton iterate; None without random terms.
    is_singular : bool
        Whether some relative covariance factor is singular there.
    convergence : Convergence
        The verdict.
    log : DataFrame
        One row an evaluation: deviance, step length, expected fall, theta.
    """

    theta: np.ndarray
    deviance: float
    derivatives: Derivatives | None
    is_singular: bool
    convergence: Convergence
    log: pd.DataFrame


class _Model:
    """Quadratic model of the deviance at one theta, by eigenvectors of its Hessian."""

    def __init__(self, derivatives: Derivatives, secant=None):
        self.gradient = derivatives.gradient
        hessian = derivatives.hessian
        if secant is not None:
            hessian = _corrected(hessian, *secant)
        value, self.vector = np.linalg.eigh(hessian)
        self.value = value
        self.largest = max(np.abs(value).max(), 1e-300)
        self.slope = self.vector.T @ self.gradient

    @property
    def has_way_down(self):
        return self.value[0] < -CURVATURE_TOLERANCE * self.largest

    @property
    def decrement(self):
        """Expected fall along the directions of positive curvature."""
        floor = FLAT_CURVATURE * self.largest
        return 0.5 * float((self.slope**2 / np.maximum(np.abs(self.value), floor)).sum())

    def step(self, radius):
        """Minimizer of the model within ``radius`` (More and Sorensen 1983)."""
        slope, value = self.slope, self.value
        floor = FLAT_CURVATURE * self.largest

        def at(shift):
            return -slope / np.maximum(value + shift, floor)

        if value[0] > floor:
            step = at(0.0)
            if np.linalg.norm(step) <= radius:
                return self.vector @ step
            low = 0.0
        else:
            low = -value[0]
            step = at(low + floor)
            length = np.linalg.norm(step)
            if length < radius:  # hard case: the way down is free of slope
                step[0] += np.copysign(np.sqrt(radius**2 - length**2), step[0])
                return self.vector @ step
        high = low + np.linalg.norm(slope) / radius + floor
        for _ in range(60):
            middle = 0.5 * (low + high)
            if np.linalg.norm(at(middle)) > radius:
                low = middle
            else:
                high = middle
            if high - low < 1e-3 * high:
                break
        return self.vector @ at(high)

    def expected_fall(self, step):
        along = self.vector.T @ step
        return -float(self.slope @ along + 0.5 * (self.value * along**2).sum())


def _corrected(hessian, step, change):
    """The model Hessian made to agree with the last change of the gradient.

    The average information may be far from the curvature where groups are few; one
    symmetric rank-one correction (Davidon) turns linear convergence into superlinear.
    """
    miss = change - hessian @ step
    along = float(miss @ step)
    size = np.linalg.norm(miss) * np.linalg.norm(step)
    if size == 0.0 or abs(along) < 1e-3 * size:
        return hessian
    corrected = hessian + np.outer(miss, miss) / along
    # A correction that is no small one, or makes a way down, is not to be trusted.
    value = np.linalg.eigvalsh(corrected)
    own = np.linalg.eigvalsh(hessian)
    if value[0] < 1e-6 * own[-1] or value[-1] > 1e3 * own[-1]:
        return hessian
    return corrected


class _Log:
    def __init__(self):
        self.rows = []

    def add(self, method, deviance, step, fall, theta):
        self.rows.append((method, deviance, step, fall, np.array(theta)))

    def frame(self):
        columns = ["method", "deviance", "step", "expected_fall", "theta"]
        return pd.DataFrame(self.rows, columns=columns)


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
    ValueError
        If the deviance is not finite at the start, nor at a start near zero.
    """
    log = _Log()
    if objective.n_theta == 0:
        return _closed_form(objective, start, log)
    limit = MAX_ITERATIONS if max_iterations is None else max_iterations
    theta, deviance, derivatives = _newton(objective, start, log, limit)
    method = "trust-region Newton"
    if max_iterations is None and not _settled(objective, derivatives):
        theta, method = _fallback(objective, theta, deviance, log), "L-BFGS-B, Newton"
        theta, deviance, derivatives = _newton(objective, theta, log, limit)
    if thorough or _smallest_root(objective, theta) < ZERO_SINGULAR_VALUE:
        for other in others:
            found = _newton(objective, other, log, limit, to_beat=deviance)
            if found[1] < deviance - RESTART_GAIN and _settled(objective, found[2]):
                theta, deviance, derivatives = found
        objective.value(theta, floor=True)
    theta, deviance = _rectify(objective, theta, deviance, log)
    verdict = _verdict(objective, theta, derivatives, method)
    singular = _smallest_root(objective, theta) < ZERO_SINGULAR_VALUE
    return Optimum(theta, deviance, derivatives, singular, verdict, log.frame())


def evaluate(objective: ProfiledDeviance, theta: np.ndarray) -> Optimum:
    """The deviance at one theta, with a verdict on that point."""
    log = _Log()
    if objective.n_theta == 0:
        return _closed_form(objective, theta, log)
    theta = np.asarray(theta, float)
    deviance = objective.value(theta)
    if not np.isfinite(deviance):
        raise ValueError("the deviance is not finite at the start (start_params)")
    log.add("given", deviance, 0.0, np.nan, theta)
    derivatives = objective.derivatives(theta)
    objective.value(theta)
    verdict = _verdict(objective, theta, derivatives, "none")
    singular = _smallest_root(objective, theta) < ZERO_SINGULAR_VALUE
    return Optimum(theta, deviance, derivatives, singular, verdict, log.frame())


def _closed_form(objective, theta, log):
    deviance = objective.value(theta)
    log.add("closed form", deviance, 0.0, 0.0, theta)
    verdict = Convergence(
        "interior", 0.0, 0.0, 1.0, 1, 0, "closed form", "no variance to estimate"
    )
    return Optimum(np.asarray(theta, float), deviance, None, False, verdict, log.frame())


def _smallest_root(objective, theta):
    """Smallest singular value of the relative covariance factors."""
    lams = objective.lams(theta)
    return float(min(np.linalg.svd(lam, compute_uv=False)[-1] for lam in lams))


def _settled(objective, derivatives):
    model = _Model(derivatives)
    return model.decrement <= _accepted(objective) and not model.has_way_down


def _accepted(objective):
    return max(DECREMENT_ACCEPTED, NOISE_ACCEPTED * objective.noise)


def _newton(objective, start, log, max_iterations, to_beat=-np.inf):
    theta = np.array(start, float)
    deviance = objective.value(theta, floor=True)
    shrink = 0
    while not np.isfinite(deviance) and shrink < 60:  # a start that rounding rejects
        theta, shrink = theta / 2, shrink + 1
        deviance = objective.value(theta, floor=True)
    log.add("newton", deviance, 0.0, np.nan, theta)
    if not np.isfinite(deviance):
        raise ValueError(
            "the deviance is not finite at the start (start_params), nor at starts closer "
            "to zero; the columns of the model differ too much in size"
        )
    derivatives = objective.derivatives(theta)
    radius = max(1.0, np.linalg.norm(theta))
    secant, smallest, stalled = None, np.inf, 0
    for _ in range(max_iterations):
        model = _Model(derivatives, secant)
        decrement = model.decrement
        if not model.has_way_down:
            if decrement < max(DECREMENT_TOLERANCE, NOISE_SHARE * objective.noise):
                break
            stalled = stalled + 1 if decrement > 0.9 * smallest else 0
            smallest = min(smallest, decrement)
            if decrement < STALL_BELOW and stalled >= 3:
                break  # rounding of the gradient is all that is left
            if deviance - HOPE * decrement > to_beat - RESTART_GAIN > -np.inf:
                break  # another minimum is lower than this one can be
        noise = 1e-11 * max(abs(deviance), 1.0)
        while True:
            step = model.step(radius)
            length = float(np.linalg.norm(step))
            fall = model.expected_fall(step)
            trial = objective.value(theta + step, floor=True)
            log.add("newton", trial, length, fall, theta + step)
            ratio = (deviance - trial) / fall if fall > 0 else -1.0
            judged = fall >= 10 * noise
            if not judged and trial - deviance < noise:
                break  # too small a change to judge by the deviance: trust the gradient
            if ratio > 1e-4:
                break
            radius = 0.25 * min(radius, length)
            if radius < 1e-12 * (1 + np.linalg.norm(theta)):
                objective.value(theta, floor=True)
                return theta, deviance, objective.derivatives(theta)
        if not judged:
            radius = max(radius, 10 * length)
        elif ratio > 0.75 and length > 0.9 * radius:
            radius *= 3.0
        elif ratio < 0.25:
            radius = 0.5 * length
        theta, deviance = theta + step, trial
        before, derivatives = derivatives, objective.derivatives(theta)
        if fall < SECANT_BELOW:
            secant = (step, derivatives.gradient - before.gradient)
    return theta, deviance, derivatives


def _fallback(objective, theta, deviance, log):
    """Quasi-Newton from where Newton stopped; keeps the better of the two points."""

    def both(x):
        value = objective.value(x, floor=True)
        if not np.isfinite(value):
            return 1e300, np.zeros_like(x)
        log.add("l-bfgs-b", value, np.nan, np.nan, x)
        return value, objective.derivatives(x).gradient

    found = optimize.minimize(both, theta, jac=True, method="L-BFGS-B")
    return found.x if found.fun < deviance else theta


def _rectify(objective, theta, deviance, log):
    """Canonical lam: diagonal not negative, negligible singular values exactly zero."""
    lams = objective.lams(theta)
    roots = [np.linalg.svd(lam) for lam in lams]
    singular = any(size[-1] < ZERO_SINGULAR_VALUE for _, size, _ in roots)
    if singular:
        truncated = [
            s.nearest(
                (vector * np.where(size < ZERO_SINGULAR_VALUE, 0.0, size**2)) @ vector.T
            )
            for s, (vector, size, _) in zip(objective.structures, roots, strict=True)
        ]
        exact = _theta(objective, truncated)
        exact[np.abs(exact) < 1e-12] = 0.0
        value = objective.value(exact)
        log.add("rectified", value, np.nan, np.nan, exact)
        if value <= deviance + 1e-9 * np.sqrt(max(1.0, abs(deviance))):
            return exact, value
    elif all((np.diag(lam) >= 0).all() for lam in lams):
        return theta, deviance
    pairs = zip(objective.structures, lams, strict=True)
    plain = _theta(objective, [s.nearest(lam @ lam.T) for s, lam in pairs])
    deviance = objective.value(plain)
    log.add("rectified", deviance, np.nan, np.nan, plain)
    return plain, deviance


def _theta(objective, lams):
    pairs = zip(objective.structures, lams, strict=True)
    return np.concatenate([s.theta(lam) for s, lam in pairs])


def _verdict(objective, theta, derivatives, method):
    model = _Model(derivatives)
    smallest = _smallest_root(objective, theta)
    gradient = float(np.abs(model.gradient).max())
    decrement, curvature = model.decrement, float(model.value[0] / model.largest)
    if not decrement <= _accepted(objective) or model.has_way_down:
        status = "failed"
        if decrement <= _accepted(objective):
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
    elif curvature < FLAT_CURVATURE:
        status = "flat"
        message = (
            "minimum, but flat in some direction: the data do not determine all "
            "variances and covariances; simplify the random effects"
        )
    else:
        status, message = "interior", "minimum with positive curvature"
    return Convergence(
        status,
        gradient,
        decrement,
        curvature,
        objective.n_values,
        objective.n_derivatives,
        method,
        message,
    )
