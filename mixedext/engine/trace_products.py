"""tr(B_r N B_s N), N = Z'V0^-1 Z: curvature of log det V0 in the covariances.

With one grouping factor N is block-diagonal and its blocks say it.  With several N is
computed whole while it is small.  A large one is not: then the traces are the derivative
of sum_l [N]_ll, which the factor gives, along Sigma + t D.  That is analytic in t, so that
a polynomial through Chebyshev points of a short interval [0, H] has the derivative at 0
but for rounding.  All directions D are positive semidefinite, so that Sigma may be
singular, or zero.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

__all__ = ["directional_traces", "trace_products", "whole_traces"]

# Rows of N up to which it is computed whole.
LARGEST_WHOLE = 1500

# Degree of the polynomial, and its interval in units of the distance of the nearest pole:
# the remainder falls as 42^-degree.
DEGREE = 8
REACH = 0.1
# Levels that are worked on at a time.
CHUNK = 50_000


def trace_products(factored, theta) -> np.ndarray:
    """tr(B_r N B_s N) for all elements gamma, (n_gamma, n_gamma).

    Parameters
    ----------
    factored : FactorDeviance
        It stands at ``theta``, and does so afterwards.
    theta : ndarray
        Relative covariance factors, engine's units.
    """
    if len(factored.blocks.factors) == 1:
        return _by_level(factored, theta)
    if factored.blocks.lead_gram[..., 0].size + factored.blocks.tail_size <= LARGEST_WHOLE:
        return whole_traces(factored, theta)
    return directional_traces(factored, theta)


def _by_level(factored, theta):
    gram = factored.blocks.lead_gram
    width = gram.shape[1]
    lam = factored._factor_lams(theta)[0]
    sigma = lam @ lam.T
    total = np.zeros((width**2, width**2))
    for start in range(0, len(gram), CHUNK):
        a = gram[start : start + CHUNK]
        n = np.linalg.solve(np.eye(width) + a @ sigma, a)  # (A^-1 + Sigma)^-1
        flat = n.reshape(len(n), -1)
        total += flat.T @ flat
    # sum_l N_ab N_cd E_r[b, c] E_s[d, a]
    total = total.reshape((width,) * 4)
    basis = np.zeros((factored.gamma_slices[-1].stop, width, width))
    for i, s in enumerate(factored.structures):
        columns = factored.place[i][1]
        basis[factored.gamma_slices[i], columns, columns] = s.covariance_basis
    return np.einsum("abcd,rbc,sda->rs", total, basis, basis, optimize=True)


def whole_traces(factored, theta) -> np.ndarray:
    """The same from all of N = (I + Z'Z Sigma)^-1 Z'Z."""
    blocks = factored.blocks
    n_levels, width = blocks.lead_gram.shape[:2]
    lead, m = n_levels * width, blocks.tail_size
    gram = np.zeros((lead + m, lead + m))
    for level in range(n_levels):
        at = slice(level * width, (level + 1) * width)
        gram[at, at] = blocks.lead_gram[level]
        linked = slice(blocks.link_pointers[level], blocks.link_pointers[level + 1])
        rows = lead + blocks.link_index[linked]
        gram[rows, at] = blocks.link_value[linked]
        gram[at, rows] = blocks.link_value[linked].T
    gram[lead:, lead:] = blocks.multiply_tail_gram(np.eye(m))
    # places of the effects of every term, (L, k)
    numbers = np.arange(lead).reshape(n_levels, width), lead + np.arange(m)
    places = [
        factored.by_term(i, numbers[0][..., None], numbers[1][..., None])[..., 0]
        for i in range(len(factored.structures))
    ]
    times_sigma = np.zeros_like(gram)
    for place, lam in zip(places, factored.lams(theta), strict=True):
        own = gram[:, place] @ (lam @ lam.T)
        times_sigma[:, place.ravel()] += own.reshape(len(gram), -1)
    times_sigma[np.diag_indices_from(gram)] += 1.0
    n = linalg.solve(times_sigma, gram)
    out = np.empty((factored.gamma_slices[-1].stop,) * 2)
    for i, s in enumerate(factored.structures):
        for j, t in enumerate(factored.structures):
            rows, columns = places[i], places[j]
            block = n[rows[:, None, :, None], columns[None, :, None, :]]
            flat = block.reshape(-1, s.k * t.k)
            pairs = (flat.T @ flat).reshape(s.k, t.k, s.k, t.k)
            # sum_lm N_lm[b, c] N_lm[a, d] E_r[a, b] E_s[c, d]
            out[factored.gamma_slices[i], factored.gamma_slices[j]] = np.einsum(
                "bcad,rab,scd->rs",
                pairs,
                s.covariance_basis,
                t.covariance_basis,
                optimize=True,
            )
    return (out + out.T) / 2


def directional_traces(factored, theta) -> np.ndarray:
    """The same from derivatives of sum_l [N]_ll along directions of Sigma."""
    if factored.factor.singular_tail:
        factored.value(theta, floor=True)
    lams = factored.lams(theta)
    covariances = [lam @ lam.T for lam in lams]
    size = factored.gamma_slices[-1].stop
    # derivatives along positive semidefinite D = sum_r change_r E_r
    along, change = np.empty((size, size)), np.zeros((size, size))
    number = 0
    for i, s in enumerate(factored.structures):
        basis = s.covariance_basis
        diagonal = {a: r for r, (a, b) in enumerate(s.gamma_pairs()) if a == b}
        for r, (a, b) in enumerate(s.gamma_pairs()):
            members = [r] if a == b else [r, diagonal[a], diagonal[b]]
            change[number, np.array(members) + factored.gamma_slices[i].start] = 1.0
            direction = basis[members].sum(axis=0)
            along[number] = _derivative(factored, covariances, i, direction)
            number += 1
    factored.value(theta)
    if factored.factor.singular_tail:
        factored.value(theta, floor=True)
    out = -linalg.solve(change, along)
    return (out + out.T) / 2


def _derivative(factored, covariances, term, direction):
    """d/dt sum_l tr(E_r [N]_ll) at Sigma_term + t direction, t = 0."""
    structures = factored.structures
    number, columns = factored.place[term]
    # The pole nearest to t = 0 is -1 / lambda_max(N kron D); N is at most its trace, and
    # at most Sigma^-1 on every level.
    curvature = factored.factor.curvature[number][columns, columns]
    size = float((curvature * direction).sum())
    value = np.linalg.eigvalsh(covariances[term])
    if value[0] > 1e-10 * value[-1]:
        inverse = np.linalg.inv(covariances[term])
        size = min(size, float((inverse * direction).sum()))
    interval = REACH / size if size > 0 else 1.0
    nodes, weights = _endpoint_rule(DEGREE)
    total = 0.0
    fixed = factored.factor.fixed
    for node, weight in zip(nodes, weights, strict=True):
        moved = list(covariances)
        moved[term] = covariances[term] + node * interval * direction
        theta = np.concatenate(
            [s.theta(s.nearest(c)) for s, c in zip(structures, moved, strict=True)]
        )
        factored.value(theta, floor=True)
        total = total + weight / interval * _traces(factored)
    factored.factor.fixed = fixed
    return total


def _traces(factored):
    parts = []
    for i, s in enumerate(factored.structures):
        number, columns = factored.place[i]
        own = factored.factor.curvature[number][columns, columns]
        parts.append(np.einsum("rab,ab->r", s.covariance_basis, own))
    return np.concatenate(parts)


def _endpoint_rule(degree):
    """Points of [0, 1] and weights: derivative at 0 of the polynomial through them."""
    # Trefethen (2000), Spectral Methods in MATLAB, chapter 6: last row of D
    j = np.arange(degree + 1)
    x = np.cos(np.pi * j / degree)  # from 1 to -1
    c = np.where((j == 0) | (j == degree), 2.0, 1.0) * (-1.0) ** j
    weights = np.empty(degree + 1)
    last = degree
    weights[:last] = (c[last] / c[:last]) / (x[last] - x[:last])
    weights[last] = -weights[:last].sum()
    return (x + 1) / 2, 2 * weights
