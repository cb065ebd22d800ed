"""Profile likelihood of one parameter: path, signed root, spline and limits.

At each value of the parameter the ML deviance is minimized over all others by Newton steps
with exact derivatives, from where the path so far points to.  The signed root

    zeta(v) = sign(v - v^) sqrt(dev(v) - dev^)

has the derivative dev'(v) / (2 zeta), which the restricted minimum gives with it, so that
few points determine a smooth curve.  Limits are found by Newton steps on zeta, each a
restricted minimum: no interpolation is left in them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from scipy import stats
from scipy.interpolate import CubicHermiteSpline

from mixedext.engine.fit import Fit, evaluate_design, fit_design
from mixedext.engine.threads import blas_threads
from mixedext.exceptions import ConvergenceError, DevianceError
from mixedext.inference.profile.branches import Cap, check_fit, cut, seek_lower
from mixedext.inference.profile.coordinates import (
    Coordinates,
    Estimates,
    ProfileModel,
    Target,
)
from mixedext.inference.profile.path import (
    LowerDevianceError,
    Path,
    check_lower,
    signed_root,
    solve_limit,
    zeta_slope,
)
from mixedext.inference.profile.restricted_minimum import (
    RestrictedMinimum,
    restricted_minimum,
)
from mixedext.limits import LIMIT_DECREMENT

__all__ = ["Curve", "Limit", "Profile", "profile_curve", "profile_fit", "refit_from"]

Outcome: TypeAlias = "Curve | LowerDevianceError"

# Refits from lower deviances.
MOST_REFITS = 5


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
    middle : int
        Number of the point at the estimate.
    nodes : list of RestrictedMinimum
        The points as they were found.
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
    middle: int
    nodes: list[RestrictedMinimum] = field(repr=False)

    def spline(self) -> CubicHermiteSpline:
        """Cubic spline zeta(value) through points and slopes, monotone where they are.

        Slopes are cut to what keeps each piece monotone (Fritsch and Carlson 1980).
        """
        x, y = self.value, self.zeta
        if len(x) < 2:
            raise ValueError("the profile has a single point: no spline")
        chord = np.diff(y) / np.diff(x)
        slope = self.slope.copy()
        for i in np.flatnonzero(~np.isfinite(slope)).tolist():
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
        with blas_threads():
            lower, upper = (self._limit(coordinates, zeta, side) for side in (0, 1))
        return lower, upper

    def _limit(self, coordinates: Coordinates, wanted: float, side: int) -> Limit:
        sign = 1 if side else -1
        outward = self.nodes if side else self.nodes[::-1]
        height = np.array([sign * z for z in (self.zeta if side else self.zeta[::-1])])
        middle = self.middle if side else len(outward) - 1 - self.middle
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
        near = outward[first - 1], outward[first]
        try:
            value = solve_limit(coordinates, *near, self.best, wanted)
        except np.linalg.LinAlgError:
            return Limit(np.nan, "near the limit the deviance is no number")
        return Limit(coordinates.parameter(value), reason)

    def _end(self, node: RestrictedMinimum, coordinates: Coordinates, side: int) -> Limit:
        low, high = coordinates.limits
        bound = high if side else low
        if node.coordinate == bound:
            return Limit(coordinates.parameter(bound), self.ends[side])
        return Limit(np.nan, self.ends[side])


def _end_slope(x, y, i):
    """Slope at a point without its own: of the parabola through it and two neighbours."""
    if len(x) == 2:
        return (y[1] - y[0]) / (x[1] - x[0])
    j = min(max(i, 1), len(x) - 2)
    a, b, c = x[j - 1 : j + 2]
    left, right = (y[j] - y[j - 1]) / (b - a), (y[j + 1] - y[j]) / (c - b)
    bend = (right - left) / (c - a)
    return left + bend * (2 * x[i] - a - b)


# ---- all parameters ----


@dataclass(frozen=True, eq=False)
class Profile:
    """Profiles of several parameters.

    Attributes
    ----------
    fit : Fit
        By maximum likelihood; a refit where a lower deviance turned up.
    model : ProfileModel
        The design.
    curves : list of Curve
        One a parameter.
    falls : list of float
        By how much the deviance fell in each refit that a point of a profile led to.
    """

    fit: Fit
    model: ProfileModel
    curves: list[Curve]
    falls: list[float]


def profile_fit(
    fit: Fit,
    targets: list[Target],
    zeta_max: float,
    step: float,
    n_jobs: int | None = None,
) -> Profile:
    """Profile parameters of a model by maximum likelihood.

    Parameters
    ----------
    fit : Fit
        A fit; one by REML is repeated by ML.
    targets : list of Target
        The parameters.
    zeta_max, step : float
        Where a path ends, and the distance of its points, in zeta.
    n_jobs : int, optional
        Jobs of joblib; by default what its configuration says, or else one.

    Raises
    ------
    ConvergenceError
        If lower deviances keep turning up.
    ImportError
        If joblib is asked for and not installed.
    """
    design = fit.design
    if fit.reml:
        fit = fit_design(design, False)
    model, falls = ProfileModel(design), list[float]()
    for _ in range(MOST_REFITS):
        fitted, others = model.fitted(fit), _at_other_minima(model, fit)
        arguments = [
            (model, t, fitted, fit.deviance, zeta_max, step, others) for t in targets
        ]
        outcomes = _outcomes(arguments, n_jobs)
        lower = [o for o in outcomes if isinstance(o, LowerDevianceError)]
        if not lower:
            curves = [o for o in outcomes if isinstance(o, Curve)]
            return Profile(fit, model, curves, falls)
        better = refit_from(model, lower[0])
        falls.append(fit.deviance - better.deviance)
        fit = better
    raise ConvergenceError(
        f"the profile has found a lower deviance {MOST_REFITS} times in turn (by "
        f"{', '.join(f'{f:.3g}' for f in falls)}): the likelihood has many maxima. Rescale "
        "the covariates, or simplify the random effects"
    )


def _outcomes(arguments: list[tuple], n_jobs: int | None) -> list[Outcome]:
    """Curves, up to the first lower deviance if they are computed one after the other."""
    # a backend can only have been chosen where joblib has been imported
    if n_jobs is None and "joblib" in sys.modules:
        n_jobs = sys.modules["joblib"].effective_n_jobs(None)
        n_jobs = None if n_jobs > 1 else 1
    elif n_jobs is None:
        n_jobs = 1
    if n_jobs == 1:
        outcomes: list[Outcome] = []
        for own in arguments:
            outcomes.append(_outcome(*own))
            if isinstance(outcomes[-1], LowerDevianceError):
                break
        return outcomes
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise ImportError(
            f"n_jobs={n_jobs!r} needs joblib: pip install 'mixedext[parallel]'"
        ) from error
    return Parallel(n_jobs)(delayed(_outcome)(*own) for own in arguments)


def _at_other_minima(model, fit):
    """Estimates at the higher minima that the search has seen."""
    theta = [fit.design.outer_theta(t) for t in fit.optimum.other_minima]
    return tuple(model.fitted(evaluate_design(fit.design, False, t)) for t in theta)


def refit_from(model: ProfileModel, lower: LowerDevianceError) -> Fit:
    """The maximum-likelihood fit from a start at which a profile was lower than the fit."""
    return fit_design(model.design, False, start=model.theta(lower.estimates))


def _outcome(
    model: ProfileModel,
    target: Target,
    fitted: Estimates,
    best: float,
    zeta_max: float,
    step: float,
    others: tuple[Estimates, ...],
) -> Outcome:
    """A curve, or the lower deviance that was found."""
    with blas_threads():
        try:
            return profile_curve(model, target, fitted, best, zeta_max, step, others)
        except LowerDevianceError as lower:
            return lower
        except (np.linalg.LinAlgError, DevianceError):
            raise ConvergenceError(
                "the profile cannot be computed: near the estimates the deviance is no "
                "number, as where the random effects nearly explain the response or the "
                "fit did not converge; see convergence of the results, and simplify the "
                "model"
            ) from None


# ---- one parameter ----


def profile_curve(
    model: ProfileModel,
    target: Target,
    fitted: Estimates,
    best: float,
    zeta_max: float,
    step: float,
    others: tuple[Estimates, ...] = (),
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
    others : tuple of Estimates, optional
        Estimates at higher minima: away from the fit they may lead to the lowest.

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
    middle = restricted_minimum(coordinates, start, LIMIT_DECREMENT)
    check_lower(coordinates, middle, best)
    cap = Cap(coordinates, fitted, best) if target.kind == "correlation" else None
    sides = []
    for sign in (-1, 1):
        path = Path(coordinates, middle, best, sign, zeta_max, step, others)
        path.walk()
        seek_lower(path)
        if cap is not None:
            cut(path, cap)
        sides.append(path)
    below, above = sides
    check_fit(above)
    nodes = [*below.nodes[::-1], middle, *above.nodes]
    signs = [-1] * len(below.nodes) + [0] + [1] * len(above.nodes)
    value, deviance, zeta, slope = (np.empty(len(nodes)) for _ in range(4))
    for i, (node, sign) in enumerate(zip(nodes, signs, strict=True)):
        value[i] = coordinates.parameter(node.coordinate)
        deviance[i] = node.deviance
        zeta[i] = signed_root(node.deviance, best, sign)
        slope[i] = zeta_slope(coordinates, node, zeta[i])
    estimate = model.value(target, fitted)
    return Curve(
        target,
        estimate,
        value,
        deviance,
        zeta,
        slope,
        [coordinates.estimates(n.state) for n in nodes],
        (below.end, above.end),
        best,
        coordinates.evaluations,
        len(below.nodes),
        nodes,
    )
