"""Strata whose residual variance is zero beside random effects.

Where random effects vary by what the residual variance varies by, the likelihood may be
greatest where the residuals of a stratum have no variance: V stays definite, for the random
effects carry the stratum.  A search runs after it through ever smaller ratios of standard
deviations; where the stratum is the first, to which the others are relative, all of them
and the random effects run off.  Such a stratum is held at a small share of its rows'
standard deviations, at which whitened rows keep their digits.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from mixedext.engine.residual.marginal import MarginalDeviance
from mixedext.engine.residual.roots import log_deviations
from mixedext.engine.residual.rows import ResidualRows
from mixedext.engine.residual.search import Far, FarEnds, Found, search_residual
from mixedext.exceptions import DevianceError
from mixedext.limits import NO_SHARE, RISE_AT_NO_SHARE, SMALL_SHARE
from mixedext.specification.covariance.variance_functions import VarIdent

# Factor of a share that is still none, the rise of its logarithm that shows if it is told,
# and that of the deviance then, by what it may be where a stratum is held at none.
NEAR, MORE, TOLD = 1.2, 0.5, 100.0
# Steps of a search before it is asked where it runs, and how often; the share of a stratum
# that may be running to none, and those of which the deviance tells whether it does.
FIRST_STEPS, EVERY_STEPS, RUNS_OFF, TELLS = 6, 3, 0.1, (3e-4, 3e-3, 0.03)
__all__ = ["Vanished", "hold_vanished", "vanished_strata", "vanishing_ends"]


class Vanished(NamedTuple):
    """Strata without a residual variance.

    Attributes
    ----------
    words : dict
        From the element of psi that is held to words on the stratum.
    for_sigma : int or None
        The element that is held for sigma: a search profiles that out, and where the first
        stratum is without a variance sigma moves with another.
    """

    words: dict[int, str]
    for_sigma: int | None = None


def vanished_strata(
    rows: ResidualRows, deviance: MarginalDeviance, x: np.ndarray
) -> Vanished:
    """The strata without a residual variance.

    Parameters
    ----------
    rows : ResidualRows
        The model.
    deviance : MarginalDeviance
        Its deviance.
    x : ndarray
        (theta, psi).
    """
    words: dict[int, str] = {}
    for_sigma = None
    for number, share in _log_shares(rows, deviance, x):
        near = np.flatnonzero(share < np.log(NEAR * NO_SHARE))
        if len(near) == len(share):  # all residuals: no matter of the strata
            continue
        near = near[[not _is_told(deviance, x, (number, k), rows) for k in near]]
        for stratum in near[::-1].tolist():  # the first has what the others leave
            label = rows.bound.strata_labels[number][stratum]
            at = rows.curves[0].slices[number]
            held = at.start + stratum - 1
            if not stratum:
                held = next(k for k in range(at.start, at.stop) if k not in words)
                for_sigma = held
            words[held] = f"residual variance of {label} at 0"
    return Vanished(dict(reversed(words.items())), for_sigma)


def hold_vanished(
    rows: ResidualRows, deviance: MarginalDeviance, found: Found, held: np.ndarray
) -> Found:
    """The end of a search with strata that lose their residual variance held at none.

    Parameters
    ----------
    rows : ResidualRows
        The model.
    deviance : MarginalDeviance
        Its deviance; it stands at the end afterwards.
    found : Found
        Where the search has ended.
    held : ndarray of bool
        Elements of psi that were held.
    """
    for number, share in _log_shares(rows, deviance, found.x):
        if (share < np.log(SMALL_SHARE)).all():
            continue
        order = np.argsort(share)
        for stratum in order[share[order] < np.log(SMALL_SHARE)].tolist():
            end = _held_at_none(rows, deviance, found, held, (number, stratum))
            if end is not None:
                found = end
    if deviance.at is None or not np.array_equal(deviance.at.x, found.x):
        deviance.evaluate(found.x)
    return found


def vanishing_ends(
    rows: ResidualRows, deviance: MarginalDeviance, held: np.ndarray
) -> FarEnds | None:
    """From (theta, psi) at which a stratum loses its residual to where it has none.

    None of a model without such strata, or of which elements are held.

    Parameters
    ----------
    rows : ResidualRows
        The model.
    deviance : MarginalDeviance
        Its deviance.
    held : ndarray of bool
        Elements of psi that do not move.
    """
    functions = rows.curves[0].functions
    strata = any(isinstance(f, VarIdent) and f.n_psi for f in functions)
    if not rows.terms or not strata or held.any():
        return None

    def far(x: np.ndarray, at_none: frozenset[int], n_steps: int) -> Far | None:
        if n_steps < FIRST_STEPS or n_steps % EVERY_STEPS:
            return None
        for number, share in _log_shares(rows, deviance, x):
            if (share < np.log(SMALL_SHARE)).all():
                continue
            near = np.flatnonzero(share < np.log(RUNS_OFF))
            for stratum in near[np.argsort(share[near])].tolist():
                change = np.log(NO_SHARE) - share[stratum]
                moved = _moved(rows, deviance, x, (number, stratum), change)
                found = vanished_strata(rows, deviance, moved).words
                fresh = {deviance.n_theta + k for k in found} - at_none
                here = deviance.evaluate(x).value
                if fresh and deviance.evaluate(moved).value < here:
                    back = partial(_with_more, rows, deviance, (number, stratum))
                    return Far(moved, tuple(sorted(fresh)), back, RISE_AT_NO_SHARE)
        return None

    return far


def _with_more(rows, deviance, which, x):
    """Points with some more residual in a stratum that has none."""
    changes = np.log(np.array(TELLS) / NO_SHARE)
    return [_moved(rows, deviance, x, which, change) for change in changes]


def _is_told(deviance, x, which, rows):
    """Whether the deviance rises where a stratum has more residual: its rows tell it."""
    before = deviance.evaluate(x).value
    rise = deviance.evaluate(_moved(rows, deviance, x, which, MORE)).value - before
    deviance.evaluate(x)
    return not rise < TOLD * RISE_AT_NO_SHARE * deviance.nobs


def _moved(rows, deviance, x, which, change):
    """(theta, psi) with the log standard deviation of a stratum changed, and no other."""
    number, stratum = which
    at = rows.curves[0].slices[number]
    log_sd = np.concatenate([[0.0], x[deviance.n_theta :][at]])
    log_sd[stratum] += change
    out = x.copy()
    # sigma is the standard deviation of the first stratum
    out[: deviance.n_theta] = deviance.scaled_theta(x, np.exp(-log_sd[0]))
    out[deviance.n_theta :][at] = log_sd[1:] - log_sd[0]
    return out


def _held_at_none(rows, deviance, found, held, which):
    """The lowest end with a stratum at no share; None where the deviance is higher."""
    number, stratum = which
    share = dict(_log_shares(rows, deviance, found.x))[number]
    x = _moved(rows, deviance, found.x, which, np.log(NO_SHARE) - share[stratum])
    at, fixed = rows.curves[0].slices[number], held.copy()
    fixed[list(vanished_strata(rows, deviance, x).words)] = True
    if held[at].any() or (fixed == held).all():
        return None
    try:
        end = search_residual(deviance, [x], fixed)
    except DevianceError:
        return None
    if not end.value <= found.value + RISE_AT_NO_SHARE * deviance.nobs:
        return None
    return replace(
        end,
        minima=(end.value, *(v for v in found.minima[1:] if v > end.value)),
        found_from=found.found_from,
        records=np.concatenate([found.records, end.records]),
    )


def _log_shares(rows, deviance, x):
    """Mean log share of residuals in the standard deviations of each stratum's rows."""
    functions = rows.curves[0].functions
    if not rows.terms or not any(isinstance(f, VarIdent) and f.n_psi for f in functions):
        return
    own = log_deviations(rows.bound, deviance.psi(x))
    weight = 1.0 if rows.root_weights is None else rows.root_weights**2
    random = np.zeros(len(own))
    for term, sigma in zip(rows.terms, deviance.covariances(x), strict=True):
        z = np.asarray(term.z, float)
        random += np.einsum("nk,nk->n", z @ sigma, z)
    with np.errstate(over="ignore", divide="ignore"):
        whole = np.logaddexp(2 * own, np.log(weight * np.maximum(random, 0.0)))
    share = own - whole / 2
    for number, function in enumerate(functions):
        if isinstance(function, VarIdent) and function.n_psi:
            strata = np.empty(len(own), np.intp)
            for batch in rows.bound.batches:
                strata[batch.rows] = batch.strata[number][batch.pattern]
            count = np.bincount(strata, minlength=function.n_strata)
            yield number, np.bincount(strata, share, function.n_strata) / count
