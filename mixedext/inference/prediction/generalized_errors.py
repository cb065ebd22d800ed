"""Errors of predicted linear predictors of generalized models.

Given y and psi = (theta, b, kappa) the effects are normal about their modes with covariance
Lam M^-1 Lam', and the modes move with psi.  For a row (x, z) of which the levels are known

    Var(eta) = z'Lam M^-1 Lam'z + d' V d,    d = d eta / d psi = (z'd(Lam u)/d psi) + (x),

V the covariance of the estimates of psi; the second term is what is left out where the
covariances are taken as known.  At u = 0 it is x'V_b x, and with a level that the fit had
not z'Sigma z stands in place of the first term.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg, sparse

from mixedext.engine.generalized.fit import GeneralizedFit
from mixedext.fitted import Fitted
from mixedext.inference.prediction.new_rows import NewRows, effect_columns
from mixedext.inference.random_effects.live_engine import live_engine
from mixedext.specification.covariance.curved import CurvedStructure

__all__ = ["conditional_variance", "marginal_slopes", "population_variance"]

# Numbers of the right-hand sides that are solved at once.
AT_ONCE = 4_000_000


def population_variance(fitted: Fitted, exog: np.ndarray) -> np.ndarray:
    """x'V_b x of rows of all columns of the fixed effects, (n,)."""
    x = exog[:, fitted.fixed.kept]
    return np.einsum("ij,jk,ik->i", x, fitted.fit.covariance, x)


def conditional_variance(fitted: Fitted, rows: NewRows) -> np.ndarray:
    """Variances of linear predictors given the data, (n,); NaN for rows with gaps."""
    lost = rows.missing if not rows.own else np.zeros(len(rows), bool)
    engine = live_engine(fitted)
    given = [_columns_of(own, lost) for own in rows.terms]
    total = _prior_of_new(fitted, rows, lost)
    if rows.own and all(z is not None for z in given):
        total += engine.variance_eta
    else:
        total += _given_modes(engine, given, len(rows))
    d = _slopes(engine, fitted, rows, given, lost)
    at = engine.determined
    spread = engine.inner_covariance[np.ix_(at, at)]
    total += np.einsum("ij,jk,ik->i", d[:, at], spread, d[:, at])
    return np.where(lost, np.nan, total)


def _columns_of(own, lost):
    """Z of one term, (n, L k) up to the last level that occurs; None if not given."""
    if own is None:
        return None
    if own.new_square is not None or sparse.issparse(own.z):
        z = sparse.csr_array(own.z)
        return sparse.csr_array(sparse.diags_array(np.where(lost, 0.0, 1.0)) @ z)
    k, codes = own.z.shape[1], own.codes
    known = (codes >= 0) & ~lost
    at = codes[known, None].astype(np.int64) * k + np.arange(k)
    pointers = np.concatenate([[0], np.cumsum(np.where(known, k, 0))])
    entries = own.z[known].ravel().astype(float), at.ravel(), pointers
    width = int(codes.max(initial=-1) + 1) * k
    return sparse.csr_array(entries, shape=(len(codes), width))


def _prior_of_new(fitted, rows, lost):
    """z'Sigma z of levels that the fit had not, (n,)."""
    total = np.zeros(len(rows))
    for own, covariance in zip(rows.terms, fitted.random.covariances, strict=True):
        if own is None:
            continue
        if own.new_square is not None:
            total += own.new_square * covariance[0, 0]
            continue
        new = (own.codes < 0) & ~lost
        if new.any():
            z = own.z[new]
            total[new] += np.einsum("na,ab,nb->n", z, covariance, z)
    return total


def _given_modes(engine: GeneralizedFit, given: list[Any], n: int) -> np.ndarray:
    """z'Lam M^-1 Lam'z of rows, (n,)."""
    design = engine.design
    levels, width = design.blocks.lead_gram.shape[:2]
    head, size = levels * width, design.z.shape[1]
    whole = sparse.csr_array((n, size))
    for i, z in enumerate(given):
        if z is None:
            continue
        number, at = design.place[i]
        if number == 0:
            grid = np.arange(head).reshape(levels, width)[:, at]
        else:
            grid = head + design.blocks.tail_columns(number - 1)[:, at]
        places = grid.ravel()
        inverse = design.units.inverse_transforms[i]
        count = z.shape[1]
        if i in design.units.scalar_terms:
            changed = z * float(inverse[0, 0])
        else:
            eye = sparse.eye_array(count // len(inverse))
            changed = sparse.csr_array(z @ sparse.kron(eye, inverse))
        moved = sparse.coo_array(changed)
        entries = moved.data, (moved.coords[0], places[moved.coords[1]])
        whole = whole + sparse.csr_array(sparse.coo_array(entries, shape=(n, size)))
    factor, out = engine.at_modes.stand(), np.zeros(n)
    step = max(1, AT_ONCE // max(size, 1))
    for first in range(0, n, step):
        own = whole[first : first + step]
        right = np.ascontiguousarray(own.toarray().T)
        lead, tail = design.split(right)
        found = factor.respond(np.ascontiguousarray(lead), np.ascontiguousarray(tail))
        effect = design.joined(*found.effect)
        out[first : first + step] = np.einsum("qr,qr->r", right, effect)
    return out


def _slopes(engine, fitted, rows, given, lost):
    """d eta / d psi of rows, in the engine's psi, (n, n_psi)."""
    theta, _, _ = engine.objective.split(engine.evaluation.psi)
    n_theta = len(theta)
    out = np.zeros((len(rows), len(engine.evaluation.psi)))
    for z, moves in zip(given, engine.mode_derivatives, strict=True):
        if z is not None:
            flat = moves.reshape(-1, moves.shape[-1])
            out += z @ flat[: z.shape[1]]
    # what stands at zero is taken to be zero
    start = 0
    for s in engine.design.units.structures:
        own = theta[start : start + s.n_theta]
        if not np.abs(s.lam(own)).max(initial=0.0) > 0:
            out[:, start : start + s.n_theta] = 0.0
        start += s.n_theta
    x = np.where(lost[:, None], 0.0, rows.exog)[:, fitted.fixed.kept]
    r = engine.design.units.basis.r
    if len(r):
        inner = linalg.solve_triangular(r, x.T, trans="T").T
        out[:, n_theta : n_theta + len(r)] += inner
    return out


def marginal_slopes(fitted: Fitted, rows: NewRows) -> tuple[np.ndarray, np.ndarray]:
    """Variance of the random part of rows, (n,), and its derivatives, (n, n_gamma).

    The latter are by the natural elements of the covariances of all terms.
    """
    total, slopes = np.zeros(len(rows)), [np.zeros((len(rows), 0))]
    for number, (_, s, covariance) in enumerate(fitted.random.blocks()):
        z = effect_columns(fitted, rows, number)
        if z.shape[1] < len(covariance):  # of a variance component
            covariance = covariance[:1, :1]
            own = np.zeros((len(rows), s.n_gamma))
            own[:, 0] = z[:, 0] ** 2
        else:
            basis: Any = s.covariance_basis if s.linear else None
            if isinstance(s, CurvedStructure):
                basis = np.asarray(s.natural_slopes(covariance))
            own = np.einsum("na,rab,nb->nr", z, basis, z)
        total += np.einsum("na,ab,nb->n", z, covariance, z)
        slopes.append(own)
    return total, np.concatenate(slopes, axis=1)
