"""Restricted minima of the deviance of a model with a residual covariance.

With z = (theta, psi, t), t = log sigma^2, and the fixed effects profiled out, the ML
deviance is

    log|V0| + n t + n log 2 pi + exp(-t) y'P0y,

of which a part of the engine gives exact derivatives.  What is held is a function c(z) = u:
Newton's steps go along c, with the curvature of c times its multiplier in the Hessian, and
are brought back to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mixedext.engine.residual.marginal import MarginalDeviance
from mixedext.engine.residual.parts import Moments, Solved

__all__ = ["Held", "JointDeviance", "RestrictedPoint", "restricted_point"]

# Newton's steps, halvings of one, fall foreseen at which a search ends, and curvature, by
# the largest, below which a direction has none.
MOST_STEPS, MOST_HALVINGS, DECREMENT, NO_CURVATURE = 60, 30, 1e-11, 1e-10
# Steps back to the value held, what is left of it, and differences of its slope.
MOST_CORRECTIONS, ON_VALUE, DIFFERENCE = 30, 1e-12, 1e-5


class Held(NamedTuple):
    """What is held.

    Attributes
    ----------
    value : callable
        c of z.
    slope : callable
        Its gradient, (n,).
    """

    value: Callable[[np.ndarray], float]
    slope: Callable[[np.ndarray], np.ndarray]


class RestrictedPoint(NamedTuple):
    """A minimum of the deviance given a value.

    Attributes
    ----------
    coordinate : float
        The value held.
    deviance : float
        -2 log-likelihood, data's units.
    slope : float
        Its derivative by the value.
    z : ndarray
        Where it lies.
    """

    coordinate: float
    deviance: float
    slope: float
    z: np.ndarray


class JointDeviance:
    """The ML deviance of (theta, psi, log sigma^2).

    Parameters
    ----------
    deviance : MarginalDeviance
        By maximum likelihood.
    """

    def __init__(self, deviance: MarginalDeviance):
        self.inner, self.nobs = deviance, deviance.nobs
        self.evaluations = 0

    def value(self, z: np.ndarray) -> float:
        """The deviance in the data's units; infinite where V is not positive definite."""
        self.evaluations += 1
        found = self.inner.evaluate(z[:-1])
        if not np.isfinite(found.value):
            return np.inf
        n, square = self.nobs, self.inner.residual_square
        log_det = found.value - n * (1 + np.log(2 * np.pi * square / n))
        with np.errstate(over="ignore"):
            rest = square * np.exp(-z[-1])
        return float(log_det + n * (np.log(2 * np.pi) + z[-1]) + rest + self.inner.shift)

    def derivatives(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian where ``value`` was asked for last."""
        inner, kappa = self.inner, float(np.exp(-z[-1]))
        x, n = z[:-1], len(z) - 1
        solved = Solved(inner.solved.change, kappa, False)
        moments = Moments.zeros(n, inner.rank)
        pairs = list(zip(inner.structures, inner.theta_slices, strict=True))
        tangents = [s.tangent(x[at]) for s, at in pairs]
        scores = [np.zeros((s.k, s.k)) for s in inner.structures]
        for part in inner.parts:
            own = part.add_moments(tangents, inner.psi(x), solved, moments)
            for score, more in zip(scores, own, strict=False):
                score += more
        gradient, bend = moments.gradient, moments.bend
        for (s, at), score in zip(pairs, scores, strict=True):
            gradient[at] = s.gradient(x[at], score)
            bend[at, at] = s.bend(x[at], score)
        on_x = moments.on_fixed
        quadratic = kappa * (moments.quadratic - on_x @ on_x.T)
        hessian = np.empty((n + 1, n + 1))
        hessian[:-1, :-1] = 2 * quadratic - moments.traces + bend
        hessian[-1, :-1] = hessian[:-1, -1] = kappa * moments.residual
        rest = inner.residual_square * kappa
        hessian[-1, -1] = rest
        return np.append(gradient, self.nobs - rest), (hessian + hessian.T) / 2


def restricted_point(
    joint: JointDeviance, held: Held, coordinate: float, z: np.ndarray, free: np.ndarray
) -> RestrictedPoint | None:
    """The minimum with a value held; None where no point has it, or no step leads on.

    Parameters
    ----------
    joint : JointDeviance
        The deviance.
    held : Held
        What is held.
    coordinate : float
        At which value.
    z : ndarray
        Where the search starts.
    free : ndarray of int
        Elements of z that move.
    """
    at: Any = _brought(held, coordinate, z, free)
    if at is None:
        return None
    value = joint.value(at)
    if not np.isfinite(value):
        return None
    slope = np.nan
    for _ in range(MOST_STEPS):
        gradient, hessian = joint.derivatives(at)
        gradient, hessian = gradient[free], hessian[np.ix_(free, free)]
        normal = held.slope(at)[free]
        size = np.sqrt(np.maximum(np.abs(hessian.diagonal()), 1e-300))
        g, c = gradient / size, normal / size
        slope = float(g @ c / (c @ c))
        curved = hessian - slope * _curvature(held, at, free)
        along = np.linalg.svd(c[None])[2][1:].T  # orthogonal to c
        if not along.shape[1]:
            break
        own = along.T @ (curved / np.outer(size, size)) @ along
        values, vectors = np.linalg.eigh(own)
        floor = NO_CURVATURE * max(np.abs(values).max(), 1e-300)
        descent = vectors.T @ (along.T @ g)
        move = along @ (vectors @ (descent / np.maximum(np.abs(values), floor)))
        decrement = float((descent**2 / np.maximum(np.abs(values), floor)).sum())
        if decrement < DECREMENT and values.min() > -floor:
            break
        step, found = -move / size, None
        for halving in range(MOST_HALVINGS):
            trial = at.copy()
            trial[free] += step * 0.5**halving
            brought = _brought(held, coordinate, trial, free)
            other = np.inf if brought is None else joint.value(brought)
            if other < value:
                found = brought, other
                break
        if found is None:  # rounding is all that is left
            joint.value(at)
            break
        at, value = found
    return RestrictedPoint(coordinate, value, slope, at)


def _brought(held, coordinate, z, free):
    """The nearest point with the value; None if none is found."""
    z = z.copy()
    for _ in range(MOST_CORRECTIONS):
        off = held.value(z) - coordinate
        if not np.isfinite(off):
            return None
        if abs(off) <= ON_VALUE * max(1.0, abs(coordinate)):
            return z
        normal = held.slope(z)[free]
        square = normal @ normal
        if not square > 0 or not np.isfinite(square):
            return None
        z[free] -= off * normal / square
    return None


def _curvature(held, z, free):
    """Second derivatives of what is held, by differences of its slope."""
    out = np.empty((len(free), len(free)))
    for i, k in enumerate(free):
        step = DIFFERENCE * max(1.0, abs(z[k]))
        ends = []
        for sign in (1, -1):
            moved = z.copy()
            moved[k] += sign * step
            ends.append(held.slope(moved)[free])
        out[i] = (ends[0] - ends[1]) / (2 * step)
    return (out + out.T) / 2
