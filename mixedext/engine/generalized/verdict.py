"""The verdict on an optimum of a generalized model's likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixedext.algebra.definiteness import unit_diagonal
from mixedext.engine.generalized.search import SearchEnd
from mixedext.engine.generalized.separation import recession_direction
from mixedext.engine.search.verdict import Convergence

__all__ = ["RUN_OFF", "Separation", "at_limit", "judge"]

# Gradient, in units of a curvature of one, that is no minimum's.
LARGE_GRADIENT = 1e-3
# Curvature relative to that along each parameter alone that leaves one undetermined.
FLAT = 1e-7
# Linear predictor of the fixed effects, and standard deviation of an effect on its scale,
# beyond which the estimates may be infinite.
FAR, RUN_OFF = 12.0, 30.0
# Standard deviation on the scale of the link from which on levels are looked at.
WIDE = 3.0
# Logarithm of a size or precision beyond which the law is that of its limit: Poisson of a
# negative binomial one, binomial of a beta-binomial one.
LIMIT_KAPPA = 11.0
_LIMITS = {
    "negative binomial": ("alpha", "Poisson"),
    "nb1": ("alpha", "Poisson"),
    "beta binomial": ("1 / precision", "binomial"),
}


class Separation:
    """What of a model has infinite estimates.

    Attributes
    ----------
    direction : ndarray or None
        Of the columns of X that are kept; None where none separates.
    terms : tuple of int
        Numbers of the random terms whose variances run off.
    """

    def __init__(self, direction: np.ndarray | None, terms: tuple[int, ...]):
        self.direction, self.terms = direction, terms

    def __bool__(self) -> bool:
        return self.direction is not None or bool(self.terms)


def at_limit(deviance: Any, psi: np.ndarray) -> bool:
    """Whether the dispersion has run to where the law is a simpler one."""
    kappa = deviance.split(psi)[2]
    known = deviance.rows.family.name in _LIMITS
    return bool(len(kappa)) and known and float(kappa[0]) > LIMIT_KAPPA


def judge(
    deviance: Any, end: SearchEnd, singular: bool, exact: bool = True
) -> tuple[Convergence, Separation]:
    """Verdict on where a search has ended, and what separates.

    Parameters
    ----------
    deviance : LaplaceDeviance or another
        The deviance, engine's units.
    end : SearchEnd
        Where the search has ended.
    singular : bool
        Whether some covariance is singular there.
    exact : bool
        Whether the gradient should be zero there; it is not where the coefficients were
        found with the modes.
    """
    found = end.evaluation
    if not np.isfinite(found.value):
        text = f"no likelihood at the start: {end.reason}"
        return _verdict("failed", np.inf, end, np.nan, text), Separation(None, ())
    hessian = found.hessian
    if end.correction.shape == hessian.shape:
        hessian = hessian + end.correction
    size = np.sqrt(np.maximum(np.abs(np.diag(found.hessian)), 1e-300))
    slopes = np.abs(found.gradient / size)
    limit = at_limit(deviance, found.psi)
    # what runs on, as kappa does, has slope and curvature that fall off to nothing at last
    moves = ~_without_room(deviance, found.psi)
    if limit:
        moves[-1] = False
    hessian, slopes = hessian[np.ix_(moves, moves)], slopes[moves]
    gradient = float(slopes.max(initial=0.0))
    unit = unit_diagonal(hessian)[0] if len(hessian) else np.ones((1, 1))
    curvature = float(np.linalg.eigvalsh(unit)[0]) if np.isfinite(unit).all() else np.nan
    separation = _separation(deviance, found, curvature)
    failed = end.failed or (exact and gradient > LARGE_GRADIENT)
    flat = not curvature > FLAT
    if separation:
        status = "separated"
        text = "the likelihood still rises where estimates run to infinity"
    elif failed:
        status = "failed"
        reason = end.reason or "the gradient is not zero"
        text = f"no minimum: {reason}; try other starts (start_params) or a simpler model"
    elif singular or limit:
        status = "boundary"
        parts = []
        if singular:
            parts.append("a variance is zero or a correlation is +-1")
        if limit:
            name, law = _LIMITS[deviance.rows.family.name]
            parts.append(f"{name} is zero: the law is the {law} one")
        text = "a minimum at which " + " and ".join(parts)
        if flat:
            text += "; some direction is undetermined"
    elif flat:
        status, text = "flat", "some direction of the parameters is undetermined"
    else:
        status, text = "interior", "an ordinary minimum of the deviance"
    return _verdict(status, gradient, end, curvature, text, singular, flat), separation


def _without_room(deviance, psi):
    """Which parameters are at a limit of their range, such as log 0, (n_psi,)."""
    out = np.zeros(len(psi), bool)
    theta, _, _ = deviance.split(psi)
    parts = deviance.parameters.parts(theta)
    for at, (s, own) in zip(deviance.parameters.theta_slices, parts, strict=True):
        if not s.linear:
            out[at] = s.at_limit(own)
    return out


def _verdict(status, gradient, end, curvature, text, singular=False, flat=False):
    n = end.n_evaluations
    return Convergence(
        status=status,
        gradient=gradient,
        decrement=end.decrement,
        curvature=curvature,
        n_evaluations=n,
        n_derivatives=n,
        method="newton",
        message=text,
        is_singular=singular,
        is_flat=flat,
        minima=(float(end.evaluation.value),),
    )


def _separation(deviance, found, curvature):
    """Columns and terms whose estimates run to infinity."""
    rows, design = deviance.rows, deviance.design
    theta, beta, _ = deviance.split(found.psi)
    family = rows.family
    counts = family.name in ("poisson", "negative binomial", "nb1")
    trials = rows.response.trials
    if not counts and trials is None:
        return Separation(None, ())
    lams = deviance.parameters.lams(theta)
    terms = tuple(
        i
        for i, lam in enumerate(lams)
        if not np.abs(lam).max() < RUN_OFF
        or (np.abs(lam).max() > WIDE and _levels_are_alike(design, rows.response, i))
    )
    direction = None
    far = float(np.abs(design.x @ beta).max(initial=0.0)) > FAR
    if far or not curvature > FLAT:
        x = design.x @ design.units.basis.r if design.rank else design.x
        direction = recession_direction(x, rows.response.y, trials)
    return Separation(direction, terms)


def _levels_are_alike(design, response, term):
    """Whether a term of intercepts has levels of successes and of failures alone.

    The likelihood rises with its standard deviation then, whatever Laplace's does.
    """
    if response.trials is None or not design.nobs:
        return False
    _, columns = design.place[term]
    if columns.stop - columns.start != 1:
        return False
    ones, layout = np.ones(design.nobs), design.layout
    sums = [layout.sums(own) for own in (ones, response.y, response.trials)]
    sums.append(layout.sums(ones, squared=True))
    size, y, trials, square = (design.of_term(term, own)[:, 0] for own in sums)
    used = size != 0
    if not used.any():
        return False
    scale = square[used] / size[used]  # of a constant column the constant
    if np.ptp(scale) > 1e-9 * np.abs(scale).max():
        return False
    y, trials = y[used] / scale, trials[used] / scale
    whole = trials > 0.5
    none, all_of_them = y < 1e-9 * trials, y > (1 - 1e-9) * trials
    alike = (none | all_of_them)[whole].all()
    return bool(alike and none[whole].any() and all_of_them[whole].any())
