"""Where the search of a generalized model starts.

The coefficients of the generalized linear model without random effects, by a few weighted
least-squares fits; variances by moments at its fit: with S_l = -sum s z and W_l = sum W z^2
over the rows of level l,

    E[S_l^2] = W_ll + sum_f tau_f^2 sum_h W_lh^2,    W = Z'WZ,

h the levels of factor f, summed over the levels of each factor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from mixedext.engine.generalized.design import GeneralizedDesign
from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance

__all__ = ["linear_start", "moment_start"]

# Weighted least-squares fits; more would not help the mixed model.
PASSES, CLOSE = 8, 0.03
LEAST_VARIANCE, LARGEST_VARIANCE = 0.01, 25.0
# Rows of which half tell a start for all.
MANY_ROWS = 20_000
# Largest change of the linear predictor in one pass.
LONGEST_PASS = 8.0


def linear_start(
    design: GeneralizedDesign, rows: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients on the basis of X, kappa and eta of the model without random effects."""
    x, offset = design.x, 0.0 if design.offset is None else design.offset
    with np.errstate(all="ignore"):
        start = None
        if design.nobs > MANY_ROWS:
            start = _from_some(design, rows, offset)
        beta, kappa = _scored(x, offset, rows, start)
        return beta, kappa, np.broadcast_to(x @ beta + offset, (design.nobs,))


def _from_some(design, rows, offset):
    """Coefficients and kappa from a part of the rows; None if they do not suit all."""
    some = np.arange(0, design.nobs, design.nobs // (MANY_ROWS // 2))
    part = rows.with_response(rows.response.take(some))
    near = offset if np.ndim(offset) == 0 else offset[some]
    beta, kappa = _scored(np.asfortranarray(design.x[some]), near, part)
    value = rows.newton(design.x @ beta + offset, kappa)[0]
    mean = np.mean(rows.family.start_mean(rows.response))
    level = np.full(design.nobs, float(rows.family.link.eta(mean)))
    return (beta, kappa) if value <= rows.newton(level, kappa)[0] else None


def _scored(x, offset, rows, start=None):
    """Coefficients and kappa by scoring, in two passes from a start that is given."""
    family, response = rows.family, rows.response
    mean = family.start_mean(response)
    if start is None:
        eta = np.asarray(family.link.eta(mean), float)
        kappa = np.atleast_1d(family.start_kappa(response, mean)).astype(float)
        kappa = kappa[: family.n_dispersion]
        beta, last = np.zeros(x.shape[1]), np.inf
    else:
        beta, kappa = start
        eta = np.asarray(x @ beta + offset)
        last = rows.newton(eta, kappa)[0]
    for turn in range(PASSES) if start is None else (1, 2):
        _, slope, weight = rows.scoring(eta, kappa)
        good = np.isfinite(slope) & np.isfinite(weight) & (weight > 0)
        weight = np.where(good, weight, 0.0)
        step = np.where(good, slope / np.where(good, weight, 1.0), 0.0)
        target = np.where(good, eta - offset - step, 0.0)
        found = _least_squares(x, weight, target)
        if not np.isfinite(found).all():
            break
        if turn:
            move = x @ (found - beta)
            size = float(np.abs(move).max(initial=0.0))
            length = min(1.0, LONGEST_PASS / size) if size > 0 else 1.0
            value = np.inf
            while length > 1e-4:
                trial = beta + length * (found - beta)
                value = rows.newton(x @ trial + offset, kappa)[0]
                if np.isfinite(value) and value <= last + 1e-9 * abs(last):
                    break
                length *= 0.5
            else:
                break
            beta, close = trial, size * length < CLOSE
            last = value
        else:
            beta, close = found, False
            last = rows.newton(x @ beta + offset, kappa)[0]
            if not np.isfinite(last):  # the same mean in all rows is in the domain
                level = float(family.link.eta(np.mean(mean)))
                beta = _least_squares(x, np.ones(len(x)), level - offset)
                last = rows.newton(x @ beta + offset, kappa)[0]
            if not np.isfinite(last):
                last = np.inf
        eta = x @ beta + offset
        if family.n_dispersion and turn >= 1:
            mean = family.mean(eta)
            kappa = np.atleast_1d(family.start_kappa(response, mean)).astype(float)
            last = rows.newton(eta, kappa)[0]
        if close:
            break
    return beta, kappa


def _least_squares(x, weight, target):
    target = np.broadcast_to(target, (len(x),))
    if not x.shape[1]:
        return np.zeros(0)
    scaled = weight[:, None] * x
    gram, cross = x.T @ scaled, scaled.T @ target
    if not (np.isfinite(gram).all() and np.isfinite(cross).all()):
        return np.full(x.shape[1], np.nan)
    _, found, failed = linalg.lapack.dposv(gram, cross)
    return np.linalg.lstsq(gram, cross, rcond=None)[0] if failed else found


def moment_start(
    deviance: LaplaceDeviance, beta: np.ndarray, kappa: np.ndarray, eta: np.ndarray
) -> np.ndarray:
    """Psi with variances from moments at the fit without random effects."""
    design, parts = deviance.design, deviance.parameters
    number, count = _columns(design)
    with np.errstate(all="ignore"):
        _, slope, weight = deviance.rows.scoring(eta, kappa)
        slope, weight = np.nan_to_num(slope), np.nan_to_num(weight)
        spread = design.layout.sums(slope) ** 2 - design.layout.sums(weight, squared=True)
        rises = np.bincount(number, spread, count)
        found = _variances(_squares(deviance, weight, number, count), rises)
    if deviance.rows.family.link.name == "log" and found.sum() > 0:
        # moments of exp(b): exp(tau^2) - 1 stands in the place of tau^2
        found *= np.log1p(found.sum()) / found.sum()
    found = np.clip(np.nan_to_num(found), LEAST_VARIANCE, LARGEST_VARIANCE)
    theta, first = np.zeros(deviance.n_theta), 0
    for layout in design.blocks.factors:
        for term, at in zip(layout.terms, layout.slices, strict=True):
            own = found[first + at.start : first + at.stop]
            theta[parts.theta_slices[term]] = parts.structures[term].start(np.diag(own))
        first += layout.width
    return np.concatenate([theta, _conditional(deviance, beta, found), kappa])


def _columns(design):
    """Number of each effect's column among those of all factors, and of these columns."""
    widths = [layout.width for layout in design.blocks.factors]
    first = np.concatenate([[0], np.cumsum(widths)]).astype(np.intp)
    return first[design.layout.factor] + design.layout.column, int(first[-1])


def _squares(deviance, weight, number, count):
    """Sums of squares of the elements of Z'WZ, by columns of factors (count, count)."""
    design = deviance.design
    if not isinstance(deviance, LaplaceDeviance):  # one factor
        total = design.layout.sums(weight, squared=True)
        return np.diag(np.bincount(number, total**2, count))
    own = deviance.factor.blocks
    own.fill(deviance.z_rows, weight, scaled=False)
    blocks, head = own.blocks, design.layout.head
    out = np.zeros((count, count))
    k = blocks.lead_gram.shape[1]
    out[:k, :k] = (blocks.lead_gram**2).sum(axis=0)
    tail = number[head:]
    for a in range(k):
        of_links = np.bincount(tail[blocks.link_index], blocks.link_value[:, a] ** 2, count)
        out[a, k:] = out[k:, a] = of_links[k:]
    if blocks.pattern is None:
        low, high = np.tril(blocks.tail_gram, -1) ** 2, blocks.tail_gram.diagonal() ** 2
        by_row = np.zeros((count, len(tail)))
        np.add.at(by_row, tail, low)
        pairs = np.zeros((count, count))
        np.add.at(pairs.T, tail, by_row.T)
    else:
        column = np.repeat(np.arange(len(tail)), np.diff(blocks.pattern.pointers))
        square, row = blocks.tail_gram**2, blocks.pattern.rows
        high = square[row == column]
        off = row != column
        at = tail[row[off]] * count + tail[column[off]]
        pairs = np.bincount(at, square[off], count**2).reshape(count, count)
    return out + pairs + pairs.T + np.diag(np.bincount(tail, high, count))


def _variances(squares, rises):
    """Variances that solve the moment equations; those that would be negative are zero."""
    out = np.zeros(len(rises))
    size = np.sqrt(squares.diagonal())
    if not (np.isfinite(squares).all() and np.isfinite(rises).all()):
        return out
    at = np.flatnonzero(size > 0)
    while len(at):
        unit = squares[np.ix_(at, at)] / (size[at, None] * size[at])
        found = np.linalg.lstsq(unit, rises[at] / size[at], rcond=1e-10)[0]
        if (found >= 0).all():
            out[at] = found / size[at]
            break
        at = np.delete(at, found.argmin())
    return out


def _conditional(deviance, beta, variances):
    """Coefficients given random effects of such variances, from those of the mean.

    By the mean of exp(eta + b), and by Zeger, Liang and Albert (1988), Biometrics 44,
    1049-1060, for the logit and probit links.
    """
    link, total = deviance.rows.family.link.name, float(variances.sum())
    if link == "log":
        x = deviance.design.x
        return beta - 0.5 * total * x.sum(axis=0)
    share = {"logit": 0.346, "probit": 1.0}.get(link, 0.0)
    return beta * np.sqrt(1.0 + share * total)
