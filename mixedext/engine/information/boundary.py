"""Directions in which the variances of a fit are free, also at the boundary.

The covariance matrices of rank r form a smooth set.  Around a Sigma of that rank, with
eigenvectors U (of positive eigenvalues, S) and V (of zeros), it is

    Sigma(M, m) = U (S + M) U' + U m V' + V m'U' + V m'(S + M)^-1 m V'

so M and m are free and all else is held.  Of a covariance that is a curve of theta the
elements of theta that are not at a limit are free.

Where the deviance is stationary on that set its second derivatives are those of V, linear
in gamma, plus the score times the last term, or times the bend of the curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixedext.algebra.roots import principal_root
from mixedext.engine.fit import Fit
from mixedext.engine.information.expected import variance_information
from mixedext.limits import ZERO_SINGULAR_VALUE
from mixedext.specification.covariance.curved import CurvedStructure

__all__ = ["FreeDirections", "free_directions"]

# Columns of a term that are all named.
MOST_NAMES = 6


@dataclass(frozen=True, eq=False)
class FreeDirections:
    """Tangents of the set of variances that a fit lies on.

    Attributes
    ----------
    directions : ndarray
        Columns are changes of (gamma, V0), the directions of ``VarianceInformation``.
    bend : ndarray
        What curvature of the set adds to the observed information.
    held : tuple of str
        What is held: a variance at zero, or the rank of a covariance matrix.
    at_boundary : ndarray of bool
        Elements of gamma that cannot move by themselves, (n_gamma,): a variance at zero,
        and all of a covariance matrix of lower rank.
    holds_scale : bool
        Whether V0 is none of the directions, for sigma^2 is at zero: residuals of other
        strata and random effects have variances without it.
    """

    directions: np.ndarray
    bend: np.ndarray
    held: tuple[str, ...]
    at_boundary: np.ndarray
    holds_scale: bool = False


def free_directions(fit: Fit) -> FreeDirections:
    """Directions in which the variances of a fit may move.

    Parameters
    ----------
    fit : Fit
        A fitted model.

    Returns
    -------
    FreeDirections
    """
    info = variance_information(fit)
    score = _score(info)
    scores = _scores(fit)
    count = info.n_gamma
    columns, bends, held = [], [], []
    at_boundary = np.zeros(count, bool)
    lams = fit.design.lams(fit.optimum.theta)
    terms = zip(fit.design.terms, fit.design.structures, lams, strict=True)
    for number, (term, structure, lam) in enumerate(terms):
        at = fit.objective.gamma_slices[number]
        if isinstance(structure, CurvedStructure):
            theta = fit.optimum.theta[fit.objective.theta_slices[number]]
            found = _of_curve(term, structure, theta, scores[number])
        else:
            found = _of_term(term, structure, lam, score[at])
        own, bend, names, at_boundary[at] = found
        block = np.zeros((count + 1, own.shape[1]))
        block[at] = own
        columns.append(block)
        bends.append(bend)
        held += names
    if fit.residual is not None:  # its parameters move freely, but at ends of their range
        estimate = fit.residual
        start = count - len(estimate.psi)
        moving = start + np.flatnonzero(estimate.moving_psi)
        columns.append(np.eye(count + 1)[:, moving])
        bends.append(np.zeros((len(moving),) * 2))
        held += estimate.at_limit.values()
        at_boundary[start:] = ~estimate.moving_psi
    holds_scale = fit.residual is not None and fit.residual.held_for_sigma is not None
    if not holds_scale:
        columns.append(np.eye(count + 1)[:, -1:])
    directions = np.hstack(columns)
    curved = np.zeros((directions.shape[1],) * 2)
    start = 0
    for bend in bends:
        stop = start + len(bend)
        curved[start:stop, start:stop] = bend
        start = stop
    return FreeDirections(directions, curved, tuple(held), at_boundary, holds_scale)


def _score(info):
    """d dev / d gamma_r = tr P G_r (ML: tr V0^-1 G_r) - y'P G_r P y."""
    score = info.traces[:-1, -1] - info.first[:, -1, -1]
    if info.reml:
        score = score - np.einsum("rii->r", info.on_fixed[:-1])
    return score


def _scores(fit):
    """d dev / d Sigma of every term, (k, k); nothing where no covariance is curved."""
    if not fit.design.is_curved:
        return []
    objective, theta = fit.objective, fit.optimum.theta
    objective.stand(theta)
    found = objective.derivatives(theta).scores
    objective.stand(theta)
    return found


def _of_curve(term, s, theta, score):
    """Free directions of a curved covariance: those elements of theta not at a limit."""
    held = s.at_limit(theta)
    directions = np.eye(s.n_theta)[:, ~held]
    bend = s.bend(theta, score)[np.ix_(~held, ~held)] / 2
    # as text: what a limit is called
    names = []
    for name, variance, own in zip(s.names(term.names), s.is_variance, held, strict=True):
        if own and variance:
            what = name.effects[0] if name.effects else _joined(term.names)
            names.append(f"variance of {what} by {term.group} at 0")
        elif own:
            names.append(f"{name.kind} of {term.label} at its limit")
    return directions, bend, names, held


def _of_term(term, s, lam, score):
    """Free directions in gamma of one term, their bend, what is held, and where."""
    whole = _joined(term.names)
    if not s.has_correlations:
        size = np.einsum("raa->r", s.covariance_basis @ np.abs(lam))
        free = size >= ZERO_SINGULAR_VALUE
        directions = np.eye(s.n_gamma)[:, free]
        names = term.names if len(term.names) == s.n_gamma else [whole]
        held = [
            f"variance of {name} by {term.group} at 0"
            for name, f in zip(names, free, strict=True)
            if not f
        ]
        return directions, np.zeros((directions.shape[1],) * 2), held, ~free
    vector, size = principal_root(lam)
    rank = int((size >= ZERO_SINGULAR_VALUE).sum())
    u, v = vector[:, :rank], vector[:, rank:]
    inner = [(a, b) for b in range(rank) for a in range(b, rank)]
    across = [(a, b) for b in range(s.k - rank) for a in range(rank)]
    changes = [np.outer(u[:, a], u[:, b]) for a, b in inner]
    changes += [np.outer(u[:, a], v[:, b]) for a, b in across]
    directions = np.zeros((s.n_gamma, len(changes)))
    for c, change in enumerate(changes):
        directions[:, c] = s.gamma(change + change.T)
    bend = np.zeros((len(changes),) * 2)
    for i, (a, b) in enumerate(across, len(inner)):
        for j, (c, d) in enumerate(across, len(inner)):
            if a == c:  # e_a e_b' and e_c e_d': m' S^-1 m in its polar form
                rise = np.outer(v[:, b], v[:, d]) / (2 * size[a] ** 2)
                bend[i, j] = score @ s.gamma(rise + rise.T)
    if rank == s.k:
        held = []
    elif rank == 0:
        kind = "variance" if s.k == 1 else "covariance matrix"
        held = [f"{kind} of {whole} by {term.group} at 0"]
    else:
        held = [f"rank of the covariance matrix of {whole} by {term.group} at {rank}"]
    return directions, bend, held, rank < s.k


def _joined(names):
    if len(names) > MOST_NAMES:
        return f"{names[0]} + ... + {names[-1]}"
    return " + ".join(names)
