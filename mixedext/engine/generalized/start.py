"""Where the search of a generalized model starts.

The coefficients of the generalized linear model without random effects, by a few weighted
least-squares fits; variances by moments at its fit: with S_l = -sum s z and W_l = sum W z^2
over the rows of level l,  E[S_l^2] = W_l + tau^2 W_l^2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from mixedext.engine.generalized.design import GeneralizedDesign
from mixedext.engine.generalized.laplace_deviance import LaplaceDeviance

__all__ = ["linear_start", "moment_start"]

# Weighted least-squares fits; more would not help the mixed model.
PASSES, CLOSE = 8, 1e-3
LEAST_VARIANCE, LARGEST_VARIANCE = 0.01, 25.0
# Largest change of the linear predictor in one pass.
LONGEST_PASS = 8.0


def linear_start(
    design: GeneralizedDesign, rows: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients on the basis of X, kappa and eta of the model without random effects."""
    family, response = rows.family, rows.response
    mean = family.start_mean(response)
    offset = 0.0 if design.offset is None else design.offset
    with np.errstate(all="ignore"):
        eta = np.asarray(family.link.eta(mean), float)
        kappa = np.atleast_1d(family.start_kappa(response, mean)).astype(float)
        kappa = kappa[: family.n_dispersion]
        beta, last = np.zeros(design.rank), np.inf
        for turn in range(PASSES):
            _, slope, weight = rows.scoring(eta, kappa)
            good = np.isfinite(slope) & np.isfinite(weight) & (weight > 0)
            weight = np.where(good, weight, 0.0)
            step = np.where(good, slope / np.where(good, weight, 1.0), 0.0)
            target = np.where(good, eta - offset - step, 0.0)
            found = _least_squares(design.x, weight, target)
            if not np.isfinite(found).all():
                break
            if turn:
                move = design.x @ (found - beta)
                size = float(np.abs(move).max(initial=0.0))
                length = min(1.0, LONGEST_PASS / size) if size > 0 else 1.0
                value = np.inf
                while length > 1e-4:
                    trial = beta + length * (found - beta)
                    value = rows.newton(design.x @ trial + offset, kappa)[0]
                    if np.isfinite(value) and value <= last + 1e-9 * abs(last):
                        break
                    length *= 0.5
                else:
                    break
                beta, close = trial, size * length < CLOSE
                last = value
            else:
                beta, close = found, False
                last = rows.newton(design.x @ beta + offset, kappa)[0]
                if not np.isfinite(last):  # the same mean in all rows is in the domain
                    level = float(family.link.eta(np.mean(mean)))
                    beta = _least_squares(design.x, np.ones(design.nobs), level - offset)
                    last = rows.newton(design.x @ beta + offset, kappa)[0]
                if not np.isfinite(last):
                    last = np.inf
            eta = design.x @ beta + offset
            if family.n_dispersion and turn >= 1:
                mean = family.mean(eta)
                kappa = np.atleast_1d(family.start_kappa(response, mean)).astype(float)
                last = rows.newton(eta, kappa)[0]
            if close:
                break
    return beta, kappa, np.broadcast_to(eta, (design.nobs,))


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
    with np.errstate(all="ignore"):
        _, slope, weight = deviance.rows.scoring(eta, kappa)
    slope, weight = np.nan_to_num(slope), np.nan_to_num(weight)
    sums = design.layout.sums(slope)
    weights = design.layout.sums(weight, squared=True)
    theta = np.zeros(deviance.n_theta)
    for term, s in enumerate(parts.structures):
        own, total = design.of_term(term, sums), design.of_term(term, weights)
        with np.errstate(all="ignore"):
            found = (own**2 - total).sum(axis=0) / (total**2).sum(axis=0)
        found = np.clip(np.nan_to_num(found), LEAST_VARIANCE, LARGEST_VARIANCE)
        theta[parts.theta_slices[term]] = s.start(np.diag(found))
    return np.concatenate([theta, beta, kappa])
