"""Dense n x n statements of the likelihood: slow, plain, and independent of the engine."""

from __future__ import annotations

import numpy as np


def dense_z(term) -> np.ndarray:
    """Z of one random term, (n, L k)."""
    if hasattr(term, "matrix"):
        return term.matrix.toarray()
    n = len(term.codes)
    z = np.zeros((n, term.n_levels * term.k))
    for j in range(term.k):
        z[np.arange(n), term.codes * term.k + j] = term.z[:, j]
    return z


def covariance(terms, lams, weights=None) -> np.ndarray:
    """V0 = W^-1 + sum_i Z_i (I kron lam lam') Z_i'."""
    n = terms[0].n_rows
    v = np.eye(n) if weights is None else np.diag(1 / np.asarray(weights, float))
    for term, lam in zip(terms, lams, strict=True):
        z = dense_z(term)
        v += z @ np.kron(np.eye(term.n_levels), lam @ lam.T) @ z.T
    return v


def deviance(y, x, terms, lams, reml, weights=None) -> float:
    """Profiled -2 log-likelihood with all constants."""
    v = covariance(terms, lams, weights)
    n, p = x.shape
    inverse = np.linalg.inv(v)
    information = x.T @ inverse @ x
    beta = np.linalg.solve(information, x.T @ inverse @ y) if p else np.zeros(0)
    residual = y - x @ beta
    square = residual @ inverse @ residual
    dof = n - p if reml else n
    value = np.linalg.slogdet(v)[1] + dof * (1 + np.log(2 * np.pi * square / dof))
    return value + (np.linalg.slogdet(information)[1] if reml and p else 0.0)


def gradient(y, x, terms, structures, theta, reml, weights=None) -> np.ndarray:
    """tr(P V_k) - y'P V_k P y / s2 for every element of theta."""
    slices, lams, start = [], [], 0
    for s in structures:
        slices.append(slice(start, start + s.n_theta))
        lams.append(s.lam(theta[slices[-1]]))
        start += s.n_theta
    inverse = np.linalg.inv(covariance(terms, lams, weights))
    n, p = x.shape
    cross = inverse @ x
    projector = inverse - cross @ np.linalg.solve(x.T @ cross, cross.T)
    square = y @ projector @ y / (n - p if reml else n)
    py = projector @ y
    out = np.empty(start)
    for term, s, at, lam in zip(terms, structures, slices, lams, strict=True):
        z = dense_z(term)
        for r, basis in enumerate(s.lam_basis):
            derivative = basis @ lam.T + lam @ basis.T
            v = z @ np.kron(np.eye(term.n_levels), derivative) @ z.T
            trace = np.sum((projector if reml else inverse) * v)
            out[at.start + r] = trace - py @ v @ py / square
    return out


def effects(y, x, terms, lams, reml, weights=None):
    """beta, sigma^2, conditional modes and conditional covariances of every term.

    The covariances given theta, beta and sigma are those of all effects of a term
    together, (L k, L k).
    """
    inverse = np.linalg.inv(covariance(terms, lams, weights))
    n, p = x.shape
    beta = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y) if p else np.zeros(0)
    residual = y - x @ beta
    scale = residual @ inverse @ residual / (n - p if reml else n)
    modes, covariances = [], []
    for term, lam in zip(terms, lams, strict=True):
        prior = np.kron(np.eye(term.n_levels), lam @ lam.T)
        z = dense_z(term) @ prior
        modes.append((z.T @ inverse @ residual).reshape(term.n_levels, term.k))
        covariances.append(scale * (prior - z.T @ inverse @ z))
    return beta, scale, modes, covariances
